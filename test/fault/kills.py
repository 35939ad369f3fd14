#!/usr/bin/env python3
"""Kill everywhere: SIGKILL of the daemon, of the spender, and of both, at every call by which they
reach the system, in every scenario; and of each at random moments around spends.

    python3 test/fault/kills.py --proof [--minutes M] [--random N] [--seed N]
    python3 test/fault/kills.py --scenario refresh     one scenario's points
    python3 test/fault/kills.py --only refresh:daemon:all:dies-before:17
    python3 test/fault/kills.py --moments 50 SEED spender

--proof: all points, then N (1,000) moments of each victim. A point is before a call and after it;
where the other one dies there, before it.

A login is never lost. An answer may be: with a spender that is killed between its request and the
spool. Each is counted, by where it was (the lab grants the one more presentation that credwarden
makes then, so that the story goes on). kills_test.py is the short form.
"""

import collections
import json
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "script")]

import harness  # noqa: E402
import killing  # noqa: E402
import points  # noqa: E402
import runner  # noqa: E402
from crew import Crew  # noqa: E402
from harness import World  # noqa: E402
from killing import BOTH, DAEMON, SPENDER  # noqa: E402
from nth_campaign import MISSES, Campaign, words_of  # noqa: E402
from nth_stand import Case  # noqa: E402

BEFORE_AND_AFTER = (points.KILL_BEFORE, points.KILL_AFTER)
VICTIMS = {points.ITSELF: BEFORE_AND_AFTER, points.BOTH: BEFORE_AND_AFTER,
           points.OTHER: (points.KILL_BEFORE,)}  # after a call is before the next one to others
RANDOM_KILLS = 1000  # of each victim
SHARES = 4  # of the random kills of each victim: they mostly wait


def cases_of(scenario, counts, _):
    """Who dies, at which call of daemon and spender, before or after it."""
    calls = {role: sum(counts[role].get(name, 0) for name in points.KILLABLE)
             for role in (DAEMON, SPENDER)}
    return [Case(scenario, role, points.KILLABLE, act, nth, who=who)
            for who, acts in VICTIMS.items()
            for role in calls if calls[role] and (who != points.OTHER or all(calls.values()))
            for nth in range(1, calls[role] + 1 + MISSES)
            for act in acts]


CAMPAIGN = Campaign(__file__, cases_of)


# ---- random moments ----

def random_kills(kills, seed, dies):
    """Prints what became of so many kills. Raises when a login is lost, or a token is presented
    without a reason."""
    with World() as world:
        forgiving = {"lab_grace": "10m", "reuse_grace": "3s"} if dies != DAEMON else {}
        story = killing.Story(world, seed, dies=dies,
                              kills_access=dies == DAEMON and seed % 2 == 1, **forgiving)
        try:
            story.run(kills)
            if dies == DAEMON:
                story.assert_nothing_lost()
            else:
                story.assert_all_live()
        finally:
            print(json.dumps({"kills": story.kills, "answers_lost": story.graced.total(),
                              "logins_lost": story.logins_lost,
                              "presented_twice": story.presented_twice}))


def at_random(kills, seed, shares=SHARES):
    """{victim: counts} of so many kills of each, in shares, each in a process of its own."""
    sums = {dies: collections.Counter(failed=0) for dies in (DAEMON, SPENDER, BOTH)}
    orders = [(len(range(index, kills, shares)), seed + index, dies)
              for index in range(min(kills, shares)) for dies in sums]
    with Crew(len(orders) or 1) as crew:
        begun = [crew.start([sys.executable, __file__, "--moments", *order]) for order in orders]
        for order, share in zip(orders, begun):
            status, output = share.result()
            sums[order[-1]].update(json.loads(output) if output else {})
            if status != 0:
                sums[order[-1]]["failed"] += 1
                print(f"# again: CW_BUILD={harness.BUILD} {__file__} --moments "
                      f"{' '.join(map(str, order))}", flush=True)
    return sums


# ---- the long form ----

def main(words):
    runner.stop_by_exception()
    if words[:1] == ["--share"]:
        CAMPAIGN.share(words[1:])
        return 0
    if words[:1] == ["--moments"]:
        random_kills(int(words[1]), int(words[2]), words[3])
        return 0
    minutes, only, scenario, moments = words_of(words, "--minutes", "--only", "--scenario",
                                                "--random")
    if only:
        return 0 if CAMPAIGN.only(only) else 1
    seed = runner.seed()
    tallies = CAMPAIGN.run(seed, float(minutes) if minutes else None,
                           scenarios=[scenario] if scenario else None)
    moments = int(moments) if moments else RANDOM_KILLS if not scenario else 0
    random_sums = at_random(moments, seed)
    wrong = {name: sum(getattr(tally, name) for tally in tallies.values()) +
             sum(counts[name] for counts in random_sums.values())
             for name in ("logins_lost", "presented_twice", "failed")}
    victims = sum((tally.victims for tally in tallies.values()), collections.Counter())
    lost = sum((tally.lost for tally in tallies.values()), collections.Counter())
    print("proof: " + json.dumps({
        "kill_points": {name: tally.points for name, tally in tallies.items()},
        "kills_at_points": {name: tally.tried for name, tally in tallies.items()},
        "kills_at_points_of": {dies: victims[dies] for dies in random_sums},
        "answers_lost_at_points": dict(lost),
        "kills_at_random_of": {dies: counts["kills"] for dies, counts in random_sums.items()},
        "answers_lost_at_random_of": {dies: counts["answers_lost"]
                                      for dies, counts in random_sums.items()},
        **wrong}))
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
