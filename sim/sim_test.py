#!/usr/bin/env python3
"""The simulator: kept stories are told again, a seed always tells the same story, and many
schedules break no oracle.

    sim_test.py                        a minute of schedules: the same ones every time, as far as
                                       the machine gets. It finds what a change has broken, and
                                       fails for nobody else's sake; it finds nothing new
    sim_test.py --proof [--minutes M] [--from SEED]
                                       schedules that nobody has seen: from a random seed, on all
                                       cores. It is printed at once, and --from repeats it; the last
                                       line is `proof: {…}`
"""

import json
import os
import pathlib
import re
import secrets
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "test" / "script"))
import runner  # noqa: E402

BUILD = pathlib.Path(os.environ.get("CW_BUILD", ROOT / "build")).resolve()
SIM = BUILD / "sim" / "sim"
SECONDS = 60
SHOWN = 20  # violations that are told in full
RUNS_ENOUGH = 15_000  # to see every scene
STEPS_PER_SECOND = 500_000  # of one core, at least


def sim(*args, ok=(0,)):
    done = subprocess.run([SIM, *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode in ok, done.stdout + done.stderr
    return done.stdout


def figures(output, word):
    """The JSON object of the last `word: {…}` line."""
    return json.loads(re.findall(rf"^{word}: (\{{.*\}})$", output, re.M)[-1])


def dead_scenes(output):
    return [scene for scene, times in figures(output, "scenes").items() if times == 0]


def violations(output):
    return [line for line in output.splitlines() if line.startswith("ORACLE ")]


def test_kept_stories_are_told_again():
    stories = [path for path in (HERE / "stories").iterdir() if not path.name.startswith(".")]
    told = figures(sim("--stories", HERE / "stories"), "stories")
    assert told == {"told": len(stories), "broken": False}, told
    assert stories, "no stories at all"


def test_a_story_that_is_kept_for_a_cell_still_reaches_it():
    """reach-EVENT-STATE: of one that schedules hardly ever come to."""
    for story in (HERE / "stories").glob("reach-*"):
        told = sim("--stories", story, "--reach", story.name[len("reach-"):].replace("-", "/", 1),
                   ok=(1,))
        assert "ORACLE reached: " in told, f"{story.name} does not: {told}"


def test_a_seed_tells_one_story():
    for seed in (7, 4711):
        told = sim("--seed", seed, "--trace")
        assert told.count("\n") > 100, told
        assert told == sim("--seed", seed, "--trace")


def test_a_run_of_many_tells_what_it_did():
    runs = figures(sim("--runs", 50), "runs")
    assert runs["schedules"] == 50 and runs["steps"] > 50 * 100, runs


def test_misuse_is_told_from_failure():
    sim("--runs", "many", ok=(2,))
    sim("--stories", HERE / "no-such-folder", ok=(2,))


@runner.limit(SECONDS + 90)
def test_a_minute_of_schedules():
    """From seed 1 on, always: what is new is the proof's to find. With --coverage, a cell of (state ×
    event) that is said to be impossible is an oracle, too."""
    told = sim("--seconds", SECONDS, "--jobs", 2, "--survey", "--quiet", "--coverage", ok=(0, 1))
    broken = violations(told)
    print("#", told.splitlines()[-1])
    assert not broken, "\n".join(broken)
    dead = dead_scenes(told) if figures(told, "runs")["schedules"] >= RUNS_ENOUGH else []
    assert not dead, f"what the world can do, and never did: {dead}"


def fresh_seed():
    """One of so many that no two proofs have a schedule in common; with room for what follows."""
    return secrets.randbits(62)


def proof(minutes, first):
    """Returns the exit status. All schedules are told of, also behind one that breaks an oracle.
    Every cell of (state × event) is to be reached by them or by a kept story, or impossible; every
    scene by them."""
    print(f"schedules from seed {first} on", flush=True)
    told = sim("--from", first, "--seconds", int(minutes * 60), "--jobs", os.cpu_count() or 1,
               "--coverage", "--survey")
    broken = violations(told)
    for line in broken[:SHOWN]:
        seed = re.search(r", seed (\d+),", line)[1]
        print(f"{line}\n  again: {SIM} --seed {seed} --trace")
    print("".join(line for line in told.splitlines(True) if not line.startswith("ORACLE ")), end="")
    runs, coverage = figures(told, "runs"), figures(told, "coverage")
    kept = figures(sim("--stories", HERE / "stories", "--coverage"), "coverage")
    missed = [cell for cell in coverage["missed"] if cell in kept["missed"]]
    reached = coverage["reached"] + len(coverage["missed"]) - len(missed)
    for cell in missed:
        print(f"missed: {cell}\n  a story of it: {SIM} --seconds 600 --reach {cell} --save FILE")
    dead = dead_scenes(told)
    is_slow = runs["steps_per_second"] < STEPS_PER_SECOND
    if is_slow:
        print(f"slow: {runs['steps_per_second']} steps a second of one core")
    for scene in dead:
        print(f"missed: scene/{scene}, which is a part of the world that is dead")
    print("proof:", json.dumps({"from_seed": first, **runs, "violations": len(broken),
                                "cells_reached": reached,
                                "cells_impossible": coverage["impossible"],
                                "cells_missed": len(missed), "scenes_missed": len(dead)}))
    return 1 if broken or missed or dead or is_slow else 0


def option(name, otherwise):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else otherwise


if __name__ == "__main__":
    if "--proof" in sys.argv:
        runner.stop_by_exception()
        sys.exit(proof(float(option("--minutes", 30)), int(option("--from", fresh_seed()))))
    else:
        runner.main()
