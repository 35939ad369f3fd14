#!/usr/bin/env python3
"""The network at its worst, under load: every quirk of the lab at once, each on lineages of its
own, and lineages that all expire in the same second against a server that throttles.

    python3 test/fault/network.py --proof [--minutes M] [--seed N]
"""

import collections
import math
import random
import sys
import time

import load
from harness import World
from load import Callers, Watch, add_all, log_in, profiles
from runner import wait_until

# What a quirk does to a login. LIVES: the server committed nothing that was not answered. MAY_END:
# a commit whose answer is lost: the next presentation is a reuse, and only the server's grace could
# forgive it. ENDS: the server says so.
LIVES, MAY_END, ENDS = "lives", "may end", "ends"

SPEND_DEADLINE_S = 2
# Beyond our patience, but within the time that the core gives a server to commit (twice that).
LATE_MS = SPEND_DEADLINE_S * 1500
LIFE_S = 12
BURST_S = 5  # the quirks are on for so long, well within the life of the first tokens

# name: (what becomes of it, the quirk, more for the script)
QUIRKS = {
    "none": (LIVES, None),
    "slow-before": (LIVES, {"delay_before_ms": 400}),
    "slow-after": (LIVES, {"delay_after_ms": 400}),
    "late-before": (MAY_END, {"delay_before_ms": LATE_MS}),
    "late-after": (MAY_END, {"delay_after_ms": LATE_MS}),
    "lost-before": (LIVES, {"lose_before_commit": True}),
    "lost-after": (MAY_END, {"lose_after_commit": True}),
    "s500": (LIVES, {"status": 500}),
    "s500-commit": (MAY_END, {"status": 500, "commit": True}),
    "s503-after": (LIVES, {"status": 503, "retry_after": "1"}),
    "s408": (LIVES, {"status": 408}),
    "s425": (LIVES, {"status": 425}),
    "s429": (LIVES, {"status": 429}),
    "s429-after": (LIVES, {"status": 429, "retry_after": "1"}),
    "s429-zero": (LIVES, {"status": 429, "retry_after": "0"}),
    "s429-soon": (LIVES, {"status": 429, "retry_after": "soon"}),
    "s429-date": (LIVES, {"status": 429, "retry_after_date_s": 2}),
    "html": (LIVES, {"body": "html"}),
    "html-commit": (MAY_END, {"body": "html", "commit": True}),
    "empty": (LIVES, {"body": "empty"}),
    "nested": (LIVES, {"status": 529, "body": "nested"}),
    "redirect": (LIVES, {"redirect": "http://127.0.0.1:1/elsewhere"}),
    "unavailable": (LIVES, {"error": "temporarily_unavailable"}),
    "invalid-grant": (ENDS, {"error": "invalid_grant"}),
    "other-type": (LIVES, {"content_type": "text/html"}),
    "unrotated": (LIVES, {"missing_refresh_token": True}),
    "new-members": (LIVES, {"set": {"account": None, "new_field": [1]}}),
    "no-access": (MAY_END, {"unset": ["access_token"]}),
    "no-refresh": (MAY_END, {"unset": ["refresh_token"]}),
    "no-expiry": (LIVES, {"expires_in": "absent"}),
    "text-expiry": (LIVES, {"expires_in": "string"}),
    "twice-a-key": (MAY_END, {"duplicate_key": "access_token"}),
    "not-utf8": (MAY_END, {"non_utf8": True}),
    "huge": (MAY_END, {"huge_mib": 1}),
    "torn": (MAY_END, {"torn_after": 20}),
    "drip": (LIVES, {"drip_ms": 20, "drip_bytes": 64}),
    "other-subject": (LIVES, {"changed_subject": "mallory"}),
}
# The lab ends these tokens at a time that the answer did not tell: nobody can know.
UNTOLD_LIFE = {"no-expiry"}
# What callers may be told; anything else would be a surprise.
SAYINGS = {"token", "timed-out", "throttled", "provider-unreachable", "in-doubt", "sign-in-needed",
           "spend-capped", "wish-too-long"}
# Answers that say themselves that nothing was committed: a 429, or an error code of which the
# definition's uncommitted_answers says so. The token may be presented again as often as needed.
SAYS_UNCOMMITTED = {"s408", "s425", "unavailable"}


def quirk_of(name):
    return name.rsplit(".", 1)[0]


def furnish(world, keys=None, **lab_options):
    lab = world.start_lab(access_life=f"{LIFE_S}s", **lab_options)
    world.write_config(spend_deadline=f"{SPEND_DEADLINE_S}s", ask_deadline=f"{SPEND_DEADLINE_S}s",
                       profiles_max=512)
    world.write_provider("lab", **lab.provider_keys(**(keys or {})))
    world.start_daemon()
    return lab


def assert_presented_truly(lab, families, may_ask):
    """No token is presented again after a commit, but once where the answer was lost; nor twice
    more after doubtful answers, unless the server was asked (`may_ask`) and none was committed."""
    by_token = collections.defaultdict(list)
    for line in lab.log(endpoint="token"):
        if line["family"] in families:
            by_token[line["presented"]].append(line)
    presentations = 0
    for lines in by_token.values():
        presentations += len(lines)
        name = families[lines[0]["family"]]
        what = (name, [(line["outcome"], line["status"], line["quirk"]) for line in lines])
        # A token that is not rotated away is presented as often as it is needed. Of the others,
        # presented, the answer lost, and once more: that is the rule for doubt.
        risky = [line for line in lines if line["outcome"] != "granted-unrotated" and
                 line["status"] != 429 and
                 not (line["quirk"] and quirk_of(name) in SAYS_UNCOMMITTED)]
        committed = [i for i, line in enumerate(risky) if line["rotated"]]
        assert may_ask or len(risky) <= 2, what
        assert not committed or len(risky) - committed[0] <= 2, what
        known = [line for line in risky[:-1] if line["outcome"] == "granted" and not line["quirk"]]
        assert not known, f"presented again after an answer that was good: {what}"
    return presentations


def assert_truthful(world, lab, names, families, grace):
    """What the daemon says of each, against what the server knows. Counts: the logins that ended by
    what the server did to them, and those that ended otherwise: lost by us."""
    told, ended, lost = profiles(world), 0, 0
    for name in names:
        fate, row, family = QUIRKS[quirk_of(name)][0], told[name], families[name]
        if grace and fate == MAY_END:
            fate = LIVES
        if row["standing"] == "live" and quirk_of(name) not in UNTOLD_LIFE:
            answer = world.api("GET", f"/v1/profiles/{name}/token")
            assert answer.status == 200, (name, answer)
            used = lab.use(answer.json["access_token"])
            assert used.status == 200, (name, used)
        assert row["standing"] in ("live", "dead"), (name, row)
        ended += row["standing"] == "dead"
        is_lost = False
        if fate == LIVES:
            is_lost = row["standing"] != "live" or not family["alive"]
        elif fate == ENDS:
            assert row["standing"] == "dead", (name, row)
        elif row["standing"] == "dead":
            # Nothing that works is thrown away: the family ended, by the reuse nobody could avoid.
            is_lost = family["alive"] or family["ended_by"] != "reuse"
        if is_lost:
            lost += 1
            print(f"LOST {name}: {row}, {family}", flush=True)
        assert ("dead" in row["alarms"]) == (row["standing"] == "dead"), (name, row)
        assert "in-doubt" not in row["alarms"], (name, row)
    return {"logins_ended_by_quirk": ended - lost, "lost_by_us": lost}


def quirks_under_load(each, threads, grace=False, keys=None, **lab_options):
    """Every quirk, on `each` lineages of its own, all at once. Returns counts. With a grace the
    one more presentation comes soon, and would meet the quirk again: there each quirk strikes once.
    """
    if grace:
        lab_options["grace"] = "60s"
        keys = {**(keys or {}), "reuse_grace": "30s"}
    with World() as world:
        lab = furnish(world, keys, **lab_options)
        names = [f"{quirk}.{i}" for quirk in QUIRKS for i in range(each)]
        pairs = log_in(lab, names)
        family_names = {pairs[name]["family"]: name for name in names}
        for name in names:
            quirk = QUIRKS[quirk_of(name)][1]
            if quirk:
                lab.script("token", times=1 if grace else 1000000,
                           family=pairs[name]["family"], **quirk)
        add_all(world, "lab", pairs)
        watch = Watch(world.daemon_pid())
        callers = Callers(world, names, threads, wishes=("", f"min_ttl={LIFE_S - 2}s"),
                          is_judged=lambda name: quirk_of(name) not in UNTOLD_LIFE)
        time.sleep(BURST_S)
        wait_until(lambda: {line["family"] for line in lab.log(endpoint="token")} >=
                   set(family_names), LIFE_S - BURST_S - 2, "every lineage to meet its quirk")
        lab.clear_script()
        wait_until(lambda: all(row["standing"] in ("live", "dead") and not row["in_doubt_since"]
                               for row in profiles(world).values()), 3 * LIFE_S,
                   "everything to come to rest", pause=0.5)
        counts = callers.end()
        families = {family_names[f["family"]]: f for f in lab.families()
                    if f["family"] in family_names}
        ends = assert_truthful(world, lab, names, families, grace)
        presentations = assert_presented_truly(lab, family_names, "kills_access" in lab_options)
        end = watch.end()
        complaints = [c for c in callers.complaints
                      if QUIRKS[quirk_of(c.split(":")[0])][0] == LIVES]
        assert not complaints, f"{len(complaints)} complaints, the first: {complaints[:3]}"
        assert set(counts) <= SAYINGS, f"told something else: {counts}"
        assert watch.most["rss_mib"] - watch.before["rss_mib"] < 40, (watch.before, watch.most)
        return {"lineages": len(names), "quirks": len(QUIRKS), "presentations": presentations,
                **ends, "answers": sum(counts.values()), "tokens": counts.get("token", 0),
                "daemon_rss_mib": round(end["rss_mib"], 1)}


def busiest(times, window_ms):
    """The most of them in any such window."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= window_ms:
            first += 1
        most = max(most, last - first + 1)
    return most


def herd(n, life_s, limit=0, window_s=1, retry_after=False, patience_s=60):
    """`n` lineages whose tokens expire in the same second, one caller for each eight. With `limit`,
    the server lets so many token requests through in each window. Returns what was seen."""
    with World() as world:
        lab = furnish(world)
        names = [f"p{i}" for i in range(n)]
        target = time.time() + life_s

        pairs = {}
        for some in load.shares(names, max(1, n // 20)):
            lab.config(access_life_ms=int((target - time.time()) * 1000))
            pairs.update(log_in(lab, some))
        took = add_all(world, "lab", pairs)
        ends = [pairs[name]["expires_at"] for name in names]
        assert max(ends) - min(ends) < 1000, f"they expire within {max(ends) - min(ends)} ms"
        lab.config(access_life_ms=3600000, token_limit=limit, token_window_ms=window_s * 1000,
                   token_retry_after=retry_after)
        began = time.monotonic()
        leads = [row["left_ms"] - row["next_spend_in_ms"] for row in profiles(world).values()]
        watch = Watch(world.daemon_pid())
        callers = Callers(world, names, max(1, n // 8), wishes=("",))
        wait_until(lambda: all(f["spends"] for f in lab.families()), life_s + patience_s,
                   "every lineage to be renewed", pause=0.5)
        all_after_s = time.monotonic() - began
        wait_until(lambda: set(callers.served) == set(names), 20, "a token for every caller")
        counts = callers.end()
        watch.end()
        assert not callers.complaints, callers.complaints[:3]
        assert set(counts) <= {"token", "throttled", "timed-out"}, counts
        lines = lab.log(endpoint="token")
        assert not any(line["reuse"] for line in lines)
        wait_until(lambda: all(row["standing"] == "live" and not row["alarms"]
                               for row in profiles(world).values()), 5, "an end of all alarms")
        families = lab.families()
        assert all(family["spends"] == 1 for family in families), families
        tries = collections.Counter(line["family"] for line in lines)
        times = sorted(line["arrived_ms"] for line in lines)
        firsts = {}
        for line in sorted(lines, key=lambda line: line["arrived_ms"]):
            firsts.setdefault(line["family"], line["arrived_ms"])
        firsts = sorted(firsts.values())
        return {"lineages": n, "added_in_s": round(took, 2), "presentations": len(times),
                "throttled": sum(line["status"] == 429 for line in lines),
                "leads_spread_ms": max(leads) - min(leads),
                "first_spread_ms": firsts[-1] - firsts[0],
                "first_in_a_second": busiest(firsts, 1000), "in_a_second": busiest(times, 1000),
                "in_100_ms": busiest(times, 100),
                "tries_most": max(tries.values()), "all_after_s": round(all_after_s, 1),
                "answers": sum(counts.values()),
                "lost_by_us": sum(not family["alive"] for family in families)}


def assert_no_stampede(seen, life_s, limit=0, window_s=1):
    """The first presentations are spread over the jitter (a tenth of the life); what is sent away
    comes back by and by, no faster than it came first, and nobody starves."""
    jitter_ms = life_s * 100
    n = seen["lineages"]
    assert seen["leads_spread_ms"] > 0.6 * jitter_ms, seen
    assert seen["first_spread_ms"] > 0.6 * jitter_ms, seen
    fair = n * 1000 / max(jitter_ms, 1000)
    assert seen["first_in_a_second"] <= min(n, 1.5 * fair + 10), seen
    assert seen["in_a_second"] <= min(n, 1.5 * fair + 10) + (limit if limit else 0), seen
    if limit:
        windows = math.ceil(n / (limit / window_s))
        # As many tries as windows at most, in a back-off that doubles: what matters is the sum.
        assert seen["tries_most"] <= 6 + windows, seen
        assert seen["presentations"] <= n * 6, seen
    else:
        assert seen["presentations"] == n, seen


def run(seed, minutes):
    end = time.monotonic() + minutes * 60
    chance, failures = random.Random(seed), load.Failures()
    totals = collections.Counter(lineages=0, presentations=0, logins_ended_by_quirk=0, answers=0,
                                 lost_by_us=0)
    herds = []
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        rounds += 1
        options = {"grace": chance.random() < 0.5, "each": chance.randrange(3, 7),
                   "threads": chance.choice((16, 32, 64))}
        if chance.random() < 0.5:
            options.update(keys={"refresh_kills_access": True}, kills_access=True)
        print(f"quirks: {options}", flush=True)
        with failures.counted():
            seen = quirks_under_load(**options)
            print(f"  {seen}", flush=True)
            totals.update({key: seen[key] for key in totals})
        throttle = chance.choice(({}, {"limit": 20}, {"limit": 20, "retry_after": True},
                                  {"limit": 100, "window_s": 5, "retry_after": True}))
        print(f"herd: {throttle}", flush=True)
        with failures.counted():
            seen = herd(200, 25, **throttle)
            print(f"  {seen}", flush=True)
            herds.append(seen)
            totals["lost_by_us"] += seen["lost_by_us"]
            assert_no_stampede(seen, 25, throttle.get("limit", 0), throttle.get("window_s", 1))
    return {"network_rounds": rounds, "quirks": len(QUIRKS), **totals, "herds": len(herds),
            "herd_in_a_second_most": max((h["in_a_second"] for h in herds), default=0),
            "herd_tries_most": max((h["tries_most"] for h in herds), default=0),
            "stories_failed": failures.count}


if __name__ == "__main__":
    sys.exit(load.proof(run, none_of=("lost_by_us", "stories_failed")))
