#!/usr/bin/env python3
"""Kill everywhere: SIGKILL of the daemon, of the spender, and of both, before and after every call by
which they reach the system, in every scenario; and at random moments around spends.

    python3 test/fault/kills.py --proof [--minutes M] [--random N]    all points, then N (1,000) moments
    python3 test/fault/kills.py --scenario refresh                    one scenario's points
    python3 test/fault/kills.py --only refresh:daemon:all:dies-before:17

A login is never lost. An answer may be: with a spender that is killed between its request and the spool.
Each is counted, by where it was (the lab grants the one more presentation that credwarden makes then,
so that the story goes on). kills_test.py is the short form.
"""

import collections
import concurrent.futures
import json
import pathlib
import subprocess
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "script")]

import killing  # noqa: E402
import points  # noqa: E402
from harness import World  # noqa: E402
from nth_campaign import MISSES, Campaign, new_seed, words_of  # noqa: E402
from nth_stand import Case  # noqa: E402
from runner import wait_until  # noqa: E402

VICTIMS = (("daemon", False), ("spender", False), ("daemon", True), ("spender", True))
RANDOM_KILLS = 1000
WORKERS = 2


def cases_of(scenario, counts):
    """Who dies, at which of its calls, before or after it."""
    cases = []
    for role, both in VICTIMS:
        calls = sum(counts[role].get(name, 0) for name in points.KILLABLE)
        cases += [Case(scenario, role, points.KILLABLE, act, nth, both=both)
                  for nth in range(1, calls + 1 + MISSES if calls else 1)
                  for act in (points.KILL_BEFORE, points.KILL_AFTER)]
    return cases


CAMPAIGN = Campaign(__file__, cases_of)


# ---- random moments ----

def random_kills(kills, seed, both):
    """Counts of what became of so many kills. Raises when a login is lost, or a token is presented
    without a reason."""
    with World() as world:
        forgiving = {"lab_grace": "10m", "reuse_grace": "3s"} if both else {}
        story = killing.Story(world, seed, both=both, kills_access=bool(seed % 2) and not both,
                              **forgiving)
        story.run(kills)
        if not both:
            story.assert_nothing_lost()
            return {"kills": story.kills, "lost": 0}
        lost = 0
        for name, family in story.families.items():
            wait_until(lambda name=name: world.api(
                "POST", f"/v1/profiles/{name}/renew").status == 200, what=f"a renewal of {name}")
            state = story.lab.family(family)
            assert state["alive"] and state["reuses"] == state["graced"], state
            lost += state["graced"]
        met = story.places[killing.COMMITTED] + story.places[killing.ASKED]
        assert lost <= met, f"{lost} answers are lost, {met} were under way"
        return {"kills": story.kills, "lost": lost}


def at_random(kills, seed):
    """Half of them the daemon's alone, half of them everybody's, each half in a process."""
    def one(both):
        done = subprocess.run([sys.executable, __file__, "--moments", str(kills // 2),
                               str(seed + both), str(int(both))],
                              stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            print(f"{done.stdout}again: {__file__} --moments {kills // 2} {seed + both} {int(both)}")
            return {"kills": 0, "lost": 0, "failed": 1}
        return json.loads(done.stdout.splitlines()[-1])

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        alone, both = pool.map(one, (False, True))
    return alone, both


# ---- the long form ----

def main(words):
    if words[:1] == ["--share"]:
        CAMPAIGN.share(words[1:])
        return 0
    if words[:1] == ["--moments"]:
        kills, seed, both = (int(word) for word in words[1:4])
        print(json.dumps(random_kills(kills, seed, bool(both))))
        return 0
    minutes, only, scenario, moments = words_of(words, "--minutes", "--only", "--scenario",
                                                "--random")
    if only:
        return 0 if CAMPAIGN.only(only) else 1
    seed = new_seed()
    tallies = CAMPAIGN.run(seed, float(minutes) if minutes else None,
                           scenarios=[scenario] if scenario else None)
    moments = int(moments) if moments else RANDOM_KILLS if not scenario else 0
    alone, both = at_random(moments, seed) if moments else ({"kills": 0, "lost": 0},) * 2
    failed = sum(tally.failed for tally in tallies.values())
    failed += alone.get("failed", 0) + both.get("failed", 0)
    lost = sum((tally.lost for tally in tallies.values()), collections.Counter())
    print("proof: " + json.dumps({
        "kills_at_points": {name: tally.tried for name, tally in tallies.items()},
        "kill_points": {name: tally.points for name, tally in tallies.items()},
        "kills_at_points_total": sum(tally.tried for tally in tallies.values()),
        "answers_lost_at_points": dict(lost),
        "kills_at_random": {"daemon": alone["kills"], "both": both["kills"]},
        "answers_lost_at_random": {"daemon": alone["lost"], "both": both["lost"]},
        "logins_lost": failed, "kills_failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
