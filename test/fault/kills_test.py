#!/usr/bin/env python3
"""The short form of kills.py: daemon, spender and both die at some of their points in every scenario,
chosen evenly by a seed that is printed. Random moments are kill_test.py's.

CW_FAULT_SEED repeats the choice, CW_FAULT_KILLS (20) is how many there are of each scenario.
"""

import os
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "script")]

import kills  # noqa: E402
import points  # noqa: E402
import runner  # noqa: E402
from nth_campaign import new_seed  # noqa: E402
from nth_stand import SCENARIOS, Case, Stand  # noqa: E402

KILLS = int(os.environ.get("CW_FAULT_KILLS", "20"))


def short(*scenarios):
    for scenario in scenarios:
        tally = kills.CAMPAIGN.work(scenario, new_seed(), KILLS)
        print(f"# {scenario}: {tally.tried} of {tally.points} kills, answers lost: {tally.lost}")
        assert tally.tried > KILLS // 2, "most of the points were never reached"
        assert tally.failed == 0, f"{tally.failed} of {tally.tried} ended badly"


def test_kills_around_a_refresh():
    short("refresh", "settle")


def test_kills_around_an_add_and_a_removal():
    short("add", "remove")


def test_kills_around_starts():
    short("start-fresh", "start-again")


def test_kills_around_a_migration_and_a_backup():
    short("migration", "backup")


def test_an_answer_that_is_lost_is_counted_where_it_was():
    """The spender dies with its request sent and nothing heard, and with the answer in its hand."""
    with Stand(SCENARIOS["refresh"]()) as stand:
        counts = stand.count()["spender"]
        seen = {}
        for name, act in (("send", points.KILL_AFTER), ("write", points.KILL_BEFORE)):
            for nth in range(counts[name], 0, -1):
                case = Case("refresh", "spender", (name,), act, nth)
                struck, complaints = stand.run(case)
                assert not complaints, (str(case), complaints)
                if struck and stand.graced:
                    seen.setdefault(stand.lost_where(), str(case))
        print(f"# {seen}")
        assert set(seen) == {"on the wire", "received, not yet in the spool"}, seen


if __name__ == "__main__":
    runner.main()
