#!/usr/bin/env python3
"""Fail the Nth: every call of the daemon, the spender and the command line that can fail, fails
once, in every scenario, with every error that its class can come to; and with the first of them it
also goes on failing for a while, with all calls of its class after it. Of the tens of thousands of
allocations, most of them in loops, the first that is made in each place (by its stack) is tried;
with --every each single one.

    python3 test/fault/nth.py --proof [--every] [--minutes M] [--seed N]
                                                       all of them, or what fits into the time
    python3 test/fault/nth.py --scenario refresh       one scenario
    python3 test/fault/nth.py --only refresh:daemon:open:fails:2:EMFILE
    python3 test/fault/nth.py --sanitized --minutes 5  some of all, by chance, sanitized programs

After each: no login is lost, nothing is presented twice, nothing is left over, the message the user
saw is true, and the next start repairs (nth_stand.py asks). nth_test.py is the short form.
"""

import json
import os
import pathlib
import subprocess
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "script")]

import harness  # noqa: E402
import points  # noqa: E402
import runner  # noqa: E402
from nth_campaign import MISSES, Campaign, words_of  # noqa: E402
from nth_stand import Case  # noqa: E402

ROOT = harness.ROOT
SHORT_OF_MEMORY = 8  # memory stays short at every eighth of its points: there are thousands


def firsts(places, count):
    """[1, 2, 5, …]: of `count` allocations those that are the first of their place."""
    seen = set()
    return [nth for nth in range(1, count + 1)
            if nth > len(places) or not (places[nth - 1] in seen or seen.add(places[nth - 1]))]


def all_cases(scenario, counts, memory_places, every=True):
    """Every point of every class of every program, with every error that it can come to; and with
    the first of them it also goes on failing for a while (nth_stand.SHORTAGE_S)."""
    def numbers(role, name):
        count = counts[role][name]
        if name != "memory" or every:
            return range(1, count + 1 + MISSES)
        return firsts(memory_places[role], count + MISSES)

    def acts_at(name, index):
        acts = [(points.FAIL_ONCE, error) for error in points.ERRORS[name]]
        if name != "memory" or index % SHORT_OF_MEMORY == 0:
            acts.append((points.FAIL_ON, points.ERRORS[name][0]))
        return acts

    return [Case(scenario, role, (name,), act, nth, error)
            for role in ("cli", "daemon", "spender")
            for name in points.ERRORS if name in counts[role]
            for index, nth in enumerate(numbers(role, name))
            for act, error in acts_at(name, index)]


def cases_of(scenario, counts, memory_places):
    """The same, but of allocations the first of each place."""
    return all_cases(scenario, counts, memory_places, every=False)


# gcc's sanitizer is a library, so the points can stand before it (points.c).
SANITIZED = ROOT / "build" / "asan-points"
SANITIZED_OPTIONS = ["-Db_sanitize=address,undefined", "-Dtests=false",
                     "-Dc_args=-fno-sanitize-recover=undefined"]


def with_sanitized_programs():
    """Builds them, and lets this process and those that it starts use them."""
    os.environ["CW_POINTS"] = str(points.module_path())
    if not (SANITIZED / "build.ninja").exists():
        subprocess.run(["meson", "setup", SANITIZED, *SANITIZED_OPTIONS], check=True, cwd=ROOT,
                       stdout=subprocess.DEVNULL, env={**os.environ, "CC": "gcc"})
    subprocess.run(["ninja", "-C", SANITIZED], check=True, stdout=subprocess.DEVNULL)
    os.environ["CW_BUILD"] = str(SANITIZED)
    os.environ["ASAN_OPTIONS"] = "abort_on_error=1:handle_abort=0"
    os.environ["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1:abort_on_error=1"


EVERY = "--every"
CAMPAIGN = Campaign(__file__, cases_of)
WHOLE_CAMPAIGN = Campaign(__file__, all_cases, [EVERY])


def main(words):
    runner.stop_by_exception()
    campaign = WHOLE_CAMPAIGN if EVERY in words else CAMPAIGN
    words = [word for word in words if word != EVERY]
    if words[:1] == ["--share"]:
        campaign.share(words[1:])
        return 0
    if "--sanitized" in words:
        with_sanitized_programs()
        words = [word for word in words if word != "--sanitized"]
        os.execv(sys.executable, [sys.executable, __file__, *campaign.words, *words])
    minutes, only, scenario, workers = words_of(words, "--minutes", "--only", "--scenario",
                                                "--workers")
    if only:
        return 0 if campaign.only(only) else 1
    tallies = campaign.run(runner.seed(), float(minutes) if minutes else None,
                           int(workers) if workers else None, [scenario] if scenario else None)
    wrong = {f"nth_{name}": sum(getattr(tally, name) for tally in tallies.values())
             for name in ("logins_lost", "presented_twice", "failed")}
    print("proof: " + json.dumps({
        "nth_tried": {name: tally.tried for name, tally in tallies.items()},
        "nth_points": {name: tally.points for name, tally in tallies.items()},
        "nth_total": sum(tally.tried for tally in tallies.values()),
        "nth_programs": "sanitized" if harness.is_sanitized() else "as they are shipped",
        "nth_ended_by_a_library": sum(tally.ends for tally in tallies.values()),
        **wrong}))
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
