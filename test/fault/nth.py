#!/usr/bin/env python3
"""Fail the Nth: every call of the daemon, the spender and the command line that can fail, fails once,
in every scenario, with every error that its class can come to; and with the first of them it also
goes on failing for a while, with all calls of its class after it.

    python3 test/fault/nth.py --proof [--minutes M]    all of them, or what fits into the time
    python3 test/fault/nth.py --scenario refresh       one scenario
    python3 test/fault/nth.py --only refresh:daemon:open:fails:2:EMFILE

After each: no login is lost, nothing is presented twice, nothing is left over, the message the user
saw is true, and the next start repairs (nth_stand.py asks). nth_test.py is the short form.
"""

import json
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "script")]

import points  # noqa: E402
from nth_campaign import MISSES, Campaign, new_seed, words_of  # noqa: E402
from nth_stand import Case  # noqa: E402


SHORT_OF_MEMORY = 8  # memory stays short at every eighth of its points: there are thousands


def cases_of(scenario, counts):
    """Every point of every class of every program, with every error that it can come to; and with the
    first of them it also goes on failing for a while (nth_stand.SHORTAGE_S)."""
    def acts_at(name, nth):
        acts = [(points.FAIL_ONCE, error) for error in points.ERRORS[name]]
        if name != "memory" or nth % SHORT_OF_MEMORY == 1:
            acts.append((points.FAIL_ON, points.ERRORS[name][0]))
        return acts

    return [Case(scenario, role, (name,), act, nth, error)
            for role in ("cli", "daemon", "spender")
            for name in points.ERRORS if name in counts[role]
            for nth in range(1, counts[role][name] + 1 + MISSES)
            for act, error in acts_at(name, nth)]


CAMPAIGN = Campaign(__file__, cases_of)


def main(words):
    if words[:1] == ["--share"]:
        CAMPAIGN.share(words[1:])
        return 0
    minutes, only, scenario, workers = words_of(words, "--minutes", "--only", "--scenario",
                                                "--workers")
    if only:
        return 0 if CAMPAIGN.only(only) else 1
    tallies = CAMPAIGN.run(new_seed(), float(minutes) if minutes else None,
                           int(workers) if workers else None, [scenario] if scenario else None)
    failed = sum(tally.failed for tally in tallies.values())
    print("proof: " + json.dumps({
        "nth_tried": {name: tally.tried for name, tally in tallies.items()},
        "nth_points": {name: tally.points for name, tally in tallies.items()},
        "nth_total": sum(tally.tried for tally in tallies.values()),
        "nth_ended_by_a_library": sum(tally.ends for tally in tallies.values()),
        "nth_failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
