#!/usr/bin/env python3
"""The short form of kills.py: daemon, spender and both die at some points of every scenario, chosen
evenly by a seed that is printed, and at some random moments; kill_test.py has more of the daemon's.

CW_SEED repeats the choice, CW_FAULT_KILLS (20) is how many there are of each scenario.
"""

import os
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "script")]

import killing  # noqa: E402
import kills  # noqa: E402
import points  # noqa: E402
import runner  # noqa: E402
from harness import World  # noqa: E402
from nth_stand import SCENARIOS, Case, Stand  # noqa: E402

VICTIMS = {killing.DAEMON, killing.SPENDER, killing.BOTH}
KILLS = int(os.environ.get("CW_FAULT_KILLS", "20"))
MOMENTS = 12
ROUNDS = 5


def short(*scenarios, victims=frozenset()):
    for scenario in scenarios:
        tally = kills.CAMPAIGN.work(scenario, runner.seed(), KILLS)
        print(f"# {scenario}: {tally.tried} of {tally.points} kills, answers lost: {tally.lost}")
        assert tally.tried > KILLS // 2, "most of the points were never reached"
        assert tally.failed == 0, f"{tally.failed} of {tally.tried} ended badly"
        missing = [victim for victim in victims if not tally.victims[victim]]
        assert not missing, f"never killed: {missing}"


def test_kills_around_a_refresh():
    short("refresh", victims=VICTIMS)
    short("settle")


def test_kills_around_an_add_and_a_removal():
    short("add", victims=VICTIMS)
    short("remove")


def test_kills_around_starts():
    short("start-fresh", "start-again")


def test_kills_around_a_migration_and_a_backup():
    short("migration", "backup")


def test_kills_around_a_repair():
    short("repair")


def test_kills_around_a_place_that_is_shared_with_a_client():
    """Each leaves locks of the client's, and what was being written, to the next start."""
    short("share", victims=VICTIMS)


def test_kills_at_random_moments():
    for dies, counts in kills.at_random(MOMENTS, runner.seed(), shares=1).items():
        print(f"# {dies}: {dict(counts)}")
        assert counts["failed"] == 0 and counts["kills"] == MOMENTS, counts
        assert counts["logins_lost"] == counts["presented_twice"] == 0, counts
        assert dies != killing.DAEMON or counts["answers_lost"] == 0, counts


def test_a_login_that_vanishes_counts_as_lost():
    """At points, too: each campaign sees to that before it begins (nth_stand.py)."""
    with World() as world:
        story = killing.Story(world, seed=1)
        assert story.holds_everything() and not story.behind()
        world.cw("remove", "p0", "--yes")
        assert not story.holds_everything() and story.behind() == ["p0"]


def where_one_is_lost(stand, name, act):
    """Where the spender held an answer when it died at the latest of these calls that loses one.
    More than one round: a message more or less to the daemon may move the moment by a call."""
    for _ in range(ROUNDS):
        for nth in range(stand.count()["spender"][name], 0, -1):
            case = Case("refresh", "spender", (name,), act, nth)
            _, complaints = stand.run(case)
            assert not complaints, (str(case), complaints)
            if stand.lost:
                print(f"# {case}: {stand.lost_where()}")
                return stand.lost_where()
    return "nowhere"


def test_an_answer_that_is_lost_is_counted_where_it_was():
    """The spender dies with its request sent and nothing heard, and with the answer in its hand."""
    with Stand(SCENARIOS["refresh"]()) as stand:
        assert where_one_is_lost(stand, "send", points.KILL_AFTER) == "on the wire"
        assert where_one_is_lost(stand, "write", points.KILL_BEFORE) == \
            "received, not yet in the spool"


def test_a_death_between_two_names_leaves_nothing():
    """A store, the key and the folders get their names: some by a link, so that for a moment there
    are two. What a new store was built under once stayed then."""
    each_name("start-fresh", points.KILL_AFTER)


def test_a_repair_that_dies_between_two_names_is_taken_up():
    """What it was gets another name, in two steps, and what it is now gets its own, in two more."""
    each_name("repair", points.KILL_AFTER, points.KILL_BEFORE)


def test_a_death_between_two_names_of_a_clients_leaves_nothing_there():
    """A lock is made under another name and noted before it gets its own; what is written, too."""
    each_name("share", points.KILL_AFTER, step=5)


def each_name(scenario, *acts, step=1):
    """Of so many names one, from a first one by the seed."""
    with Stand(SCENARIOS[scenario]()) as stand:
        calls = stand.count()["daemon"]["name"]
        for case in (Case(scenario, "daemon", ("name",), act, nth)
                     for act in acts for nth in range(1 + runner.seed() % step, calls + 1, step)):
            struck, complaints = stand.run(case)
            assert struck and not complaints, f"{case}: {complaints or 'never came there'}"


if __name__ == "__main__":
    runner.main()
