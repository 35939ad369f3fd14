#!/usr/bin/env python3
"""The network at its worst, under load: every quirk of the lab at once, each on lineages of its
own, where a token is spent and where it is asked whose it is or how much is used; a server that
refuses in each of its dialects, whose date is off, that does not rotate; and lineages that all
expire in the same second, with and without a server that throttles.

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
from runner import in_threads, wait_until

# What a quirk does to a login. LIVES: the server committed nothing that was not answered. MAY_END:
# a commit whose answer is lost: the next presentation is a reuse, and only the server's grace could
# forgive it. ENDS: the server says so.
# LIED: the server says that a token is dead which lives, so that the one more presentation is made
# at once, and lost as well.
LIVES, MAY_END, ENDS, LIED = "lives", "may end", "ends", "lied about"

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
# A doubt, and what the question meets by which it could be resolved (where a spend ends the access
# token). A lie may cost the login, where the answer is really lost.
DOUBTS = {name: QUIRKS[name] for name in ("lost-before", "lost-after", "s500", "torn")}
PROBES = {**{how: {"deny": how} for how in ("expired", "revoked", "scope")},
          "s500": {"status": 500}, "html": {"body": "html"}, "late": {"delay_before_ms": LATE_MS}}


def fate_of_doubt(doubt, probe):
    is_false = DOUBTS[doubt][0] == LIVES and probe in ("expired", "revoked")
    return LIED if is_false else DOUBTS[doubt][0]


PROBED = {f"{doubt}-probe-{probe}":
          (fate_of_doubt(doubt, probe), DOUBTS[doubt][1], PROBES[probe])
          for doubt in DOUBTS for probe in PROBES}
# The server says of a token that it lives, after a commit that has ended it: so nothing can have
# been committed, and what was spent is presented as often as it says so.
LIES = {"lost-after-probe-scope", "torn-probe-scope"}

# What the question meets whose a new login is, or how much is used. GOOD: it is answered.
GOOD, NONE = "answered", "no answer"
ASKED = {
    "none": (GOOD, None),
    "slow-before": (GOOD, {"delay_before_ms": 400}),
    "slow-after": (GOOD, {"delay_after_ms": 400}),
    "other-type": (GOOD, {"content_type": "text/html"}),
    "new-members": (GOOD, {"set": {"account": None, "new_field": [1]}}),
    "drip": (GOOD, {"drip_ms": 20, "drip_bytes": 64}),
    "late": (NONE, {"delay_before_ms": LATE_MS}),
    "lost-before": (NONE, {"lose_before_commit": True}),
    "lost-after": (NONE, {"lose_after_commit": True}),
    "s500": (NONE, {"status": 500}),
    "s503-after": (NONE, {"status": 503, "retry_after": "1"}),
    "s408": (NONE, {"status": 408}),
    "s429-after": (NONE, {"status": 429, "retry_after": "1"}),
    "s429-date": (NONE, {"status": 429, "retry_after_date_s": 2}),
    "html": (NONE, {"body": "html"}),
    "empty": (NONE, {"body": "empty"}),
    "nested": (NONE, {"status": 529, "body": "nested"}),
    "redirect": (NONE, {"redirect": "http://127.0.0.1:1/elsewhere"}),
    "twice-a-key": (NONE, {"duplicate_key": "sub"}),
    "not-utf8": (NONE, {"non_utf8": True}),
    "huge": (NONE, {"huge_mib": 1}),
    "torn": (NONE, {"torn_after": 20}),
    **{f"deny-{how}": (NONE, {"deny": how})
       for how in ("missing", "unknown", "expired", "revoked", "scope")},
}
DIALECTS = ("older", "newer", "oidc")
# Of a token that lives and may not ask: the login is taken, and nobody says whose it is.
MAY_BE_NOBODYS = {"deny-scope"}
SPENDS_UNNAMED = 8  # at most, of a login that the server calls revoked as often as it is asked

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


def fate_of(name):
    return (QUIRKS | PROBED)[quirk_of(name)][0]


def furnish(world, keys=None, **lab_options):
    lab = world.start_lab(access_life=f"{LIFE_S}s", **lab_options)
    world.write_config(spend_deadline=f"{SPEND_DEADLINE_S}s", ask_deadline=f"{SPEND_DEADLINE_S}s",
                       profiles_max=512)
    world.write_provider("lab", **lab.provider_keys(**(keys or {})))
    world.start_daemon()
    return lab


def assert_presented_truly(lab, families, is_free):
    """No token is presented again after a commit, but once where the answer was lost; nor twice
    more after doubtful answers. Unless that is free: the server was asked and none was committed,
    or nothing is used up by it."""
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
        assert is_free or len(risky) <= 2, what
        is_lied_to = quirk_of(name) in LIES
        assert not committed or len(risky) - committed[0] <= 2 or is_lied_to, what
        known = [line for line in risky[:-1] if line["outcome"] == "granted" and not line["quirk"]]
        assert not known, f"presented again after an answer that was good: {what}"
    return presentations


def assert_truthful(world, lab, names, families, forgives):
    """What the daemon says of each, against what the server knows. Counts: the logins that ended by
    what the server did to them, and those that ended otherwise: lost by us. `forgives`: the server
    lets a token be presented once more."""
    told, ended, lost = profiles(world), 0, 0
    for name in names:
        fate, row, family = fate_of(name), told[name], families[name]
        if forgives and fate == MAY_END:
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
        elif row["standing"] == "dead" and fate != LIED:
            # Nothing that works is thrown away: the family ended, by the reuse nobody could avoid.
            is_lost = family["alive"] or family["ended_by"] != "reuse"
        if is_lost:
            lost += 1
            print(f"LOST {name}: {row}, {family}", flush=True)
        assert ("dead" in row["alarms"]) == (row["standing"] == "dead"), (name, row)
        assert "in-doubt" not in row["alarms"], (name, row)
    return {"logins_ended_by_quirk": ended - lost, "lost_by_us": lost}


def quirks_under_load(each, threads, grace=False, keys=None, date_offset_ms=0, **lab_options):
    """Every quirk, on `each` lineages of its own, all at once. Returns counts. With a grace the
    one more presentation comes soon, and would meet the quirk again: there each quirk strikes once.
    Where a spend ends the access token, the probes meet theirs as well.
    """
    rotates, probed = lab_options.get("rotate", True), "kills_access" in lab_options
    if grace:
        lab_options["grace"] = "60s"
        keys = {**(keys or {}), "reuse_grace": "30s"}
    with World() as world:
        lab = furnish(world, keys, **lab_options)
        lab.config(date_offset_ms=date_offset_ms)
        names = [f"{quirk}.{i}" for quirk in QUIRKS for i in range(each)]
        names += [f"{quirk}.0" for quirk in PROBED if probed]
        pairs = log_in(lab, names)
        for pair in pairs.values():  # by the server's clock, as its client knows it
            pair["expires_at"] += date_offset_ms
        family_names = {pairs[name]["family"]: name for name in names}
        for name in names:
            quirk = (QUIRKS | PROBED)[quirk_of(name)][1]
            if quirk:
                lab.script("token", times=1 if grace else 1000000,
                           family=pairs[name]["family"], **quirk)
        add_all(world, "lab", pairs)
        for name in names:
            if quirk_of(name) in PROBED:
                lab.script("identity", times=1000000, family=pairs[name]["family"],
                           **PROBED[quirk_of(name)][2])
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
        ends = assert_truthful(world, lab, names, families, grace or not rotates)
        presentations = assert_presented_truly(lab, family_names, probed or not rotates)
        end = watch.end()
        complaints = [c for c in callers.complaints
                      if fate_of(c.split(":")[0]) == LIVES]
        assert not complaints, f"{len(complaints)} complaints, the first: {complaints[:3]}"
        assert set(counts) <= SAYINGS, f"told something else: {counts}"
        assert watch.most["rss_mib"] - watch.before["rss_mib"] < 40, (watch.before, watch.most)
        return {"lineages": len(names), "quirks": len({quirk_of(name) for name in names}),
                "presentations": presentations,
                **ends, "answers": sum(counts.values()), "tokens": counts.get("token", 0),
                "daemon_rss_mib": round(end["rss_mib"], 1)}


def add_one(world, name, pair):
    """(status, code) of an add, which takes what time it takes."""
    answer = world.api("POST", f"/v1/profiles/{name}?provider=lab", pair)
    return answer.status, answer.json.get("code")


def questions_under_load(each, threads, burst_s=BURST_S):
    """Logins are added while the question whose they are meets every quirk, in every dialect, and
    others ask how much is used. Who could not be added can be when it is over. Returns counts."""
    names = [f"{quirk}.{i}" for quirk in ASKED for i in range(each)]
    users = [f"user-{name}" for name in names]
    with World() as world:
        lab = furnish(world)
        lab.config(access_life_ms=3600000, usage_gap_ms=0)
        world.write_provider("lab", **lab.provider_keys(
            usage_url=f"{lab.url}/oauth/usage", utilization_paths="five_hour.utilization"))
        pairs = log_in(lab, names + users)
        add_all(world, "lab", {user: pairs[user] for user in users})
        for name in names:
            quirk = ASKED[quirk_of(name)][1]
            if quirk:
                lab.script("identity", times=1000000, family=pairs[name]["family"], **quirk)
                lab.script("usage", times=1000000, family=pairs[f"user-{name}"]["family"], **quirk)
        watch, callers = Watch(world.daemon_pid()), Callers(world, users, threads)

        def turn():
            for dialect in DIALECTS:
                lab.config(dialect=dialect)
                time.sleep(burst_s / len(DIALECTS))
            lab.clear_script()

        def work(i):
            if i == 0:
                return turn()
            name = names[i - 1]
            return add_one(world, name, pairs[name]), usage_of(world, f"user-{name}")

        first = dict(zip(names, in_threads(len(names) + 1, work)[1:]))
        assert_answered_truly(first)
        late = [name for name in names if first[name][0][0] != 200]
        again = dict(zip(late, in_threads(len(late), lambda i: add_one(world, late[i],
                                                                       pairs[late[i]]))))
        # Who was spent to learn whose it is comes in by itself: that pair is known to be spent.
        assert all(told in ((200, None), (409, "pair-known"), (503, "busy"))
                   for told in again.values()), again
        wait_until(lambda: all(is_in(profiles(world).get(name)) for name in names), 30,
                   "every login to be added")
        counts = callers.end()
        rows, families = profiles(world), {f["family"]: f for f in lab.families()}
        spends = {name: families[pairs[name]["family"]]["spends"] for name in names}
        for name in names:
            family = families[pairs[name]["family"]]
            assert family["alive"] and not family["reuses"], (name, family)
            assert rows[name]["subject"] == name or \
                rows[name]["subject"] is None and quirk_of(name) in MAY_BE_NOBODYS, rows[name]
            used = lab.use(world.api("GET", f"/v1/profiles/{name}/token").json["access_token"])
            assert used.status == 200, (name, used)
            assert usage_of(world, f"user-{name}") == (200, None), name
        assert max(spends.values()) <= SPENDS_UNNAMED, spends
        watch.end()
        assert not callers.complaints, callers.complaints[:3]
        assert set(counts) == {"token"}, counts
        return {"lineages": len(names) + len(users), "quirks_of_questions": len(ASKED),
                "added_at_once": len(names) - len(late), "answers": sum(counts.values()),
                "spent_to_learn_whose": sum(spends.values()), "lost_by_us": 0}


def is_in(row):
    return row and row["standing"] == "live" and not row["alarms"]


def usage_of(world, name):
    answer = world.api("GET", f"/v1/profiles/{name}/usage")
    return answer.status, answer.json.get("code")


def assert_answered_truly(told):
    """What was answered well was told; what was not, either not yet or after all, when it was."""
    for name, (added, used) in told.items():
        fate = ASKED[quirk_of(name)][0]
        assert added == (200, None) or fate == NONE and added in (
            (503, "provider-unreachable"), (503, "subject-unproven")), (name, added)
        assert used == (200, None) or fate == NONE and used == (503, "provider-unreachable"), \
            (name, used)


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
        firsts, agains, seen = [], [], set()
        for line in sorted(lines, key=lambda line: line["arrived_ms"]):
            (agains if line["family"] in seen else firsts).append(line["arrived_ms"])
            seen.add(line["family"])
        return {"lineages": n, "added_in_s": round(took, 2), "presentations": len(times),
                "throttled": sum(line["status"] == 429 for line in lines),
                "leads_spread_ms": max(leads) - min(leads),
                "first_spread_ms": firsts[-1] - firsts[0],
                "first_in_a_second": busiest(firsts, 1000),
                "again_in_a_second": busiest(agains, 1000),
                "in_a_second": busiest(times, 1000), "in_100_ms": busiest(times, 100),
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
    fair = min(n, 1.5 * n * 1000 / max(jitter_ms, 1000) + 10)
    assert seen["first_in_a_second"] <= fair, seen
    assert seen["again_in_a_second"] <= fair, seen
    if limit:
        windows = math.ceil(n / (limit / window_s))
        # As many tries as windows at most, in a back-off that doubles: what matters is the sum.
        assert seen["tries_most"] <= 6 + windows, seen
        assert seen["presentations"] <= n * 6, seen
    else:
        assert seen["presentations"] == n, seen


THROTTLES = ({"limit": 20}, {"limit": 20, "retry_after": True},
             {"limit": 100, "window_s": 5, "retry_after": True})
KILLS_ACCESS = {"keys": {"refresh_kills_access": True}, "kills_access": True}
KEEPS_TOKENS = {"keys": {"rotates": False}, "rotate": False}


def circumstances(chance):
    """What a story of quirks is told among: in the long form and in the short one."""
    return {"dialect": chance.choice(DIALECTS), "date_offset_ms": chance.choice((0, 3600000))}


def stories_of(chance):
    """[(name, story)] of one round."""
    quirks = {"each": chance.randrange(3, 6), "threads": chance.choice((16, 32, 64)),
              "grace": chance.random() < 0.5, **circumstances(chance)}
    if chance.random() < 0.5:
        quirks |= KILLS_ACCESS
    kept = {"each": 2, "threads": 32, **KEEPS_TOKENS, **circumstances(chance)}
    throttle = chance.choice(THROTTLES)
    return [(f"quirks: {quirks}", lambda: quirks_under_load(**quirks)),
            (f"quirks where nothing rotates: {kept}", lambda: quirks_under_load(**kept)),
            ("questions", lambda: questions_under_load(each=2, threads=32, burst_s=20)),
            ("herd", lambda: calm_herd(200, 25)),
            (f"herd: {throttle}", lambda: calm_herd(200, 25, **throttle))]


def calm_herd(n, life_s, limit=0, window_s=1, retry_after=False):
    seen = herd(n, life_s, limit, window_s, retry_after)
    assert_no_stampede(seen, life_s, limit, window_s)
    assert (seen["throttled"] > 0) == (limit > 0), seen
    return {**seen, "herds": 1, "herds_throttled": limit > 0}


def run(seed, minutes):
    end = time.monotonic() + minutes * 60
    chance, failures = random.Random(seed), load.Failures()
    totals, most = collections.Counter(), collections.Counter()
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        rounds += 1
        for name, story in stories_of(chance):
            print(name, flush=True)
            with failures.counted():
                seen = story()
                print(f"  {seen}", flush=True)
                totals.update({key: seen.get(key, 0) for key in (
                    "lineages", "presentations", "logins_ended_by_quirk", "spent_to_learn_whose",
                    "answers", "throttled", "herds", "herds_throttled", "lost_by_us")})
                for key in ("in_a_second", "tries_most"):
                    most[key] = max(most[key], seen.get(key, 0))
    return {"network_rounds": rounds, "quirks_of_spends": len(QUIRKS | PROBED),
            "quirks_of_questions": len(ASKED), **totals,
            "herd_in_a_second_most": most["in_a_second"], "herd_tries_most": most["tries_most"],
            "stories_failed": failures.count}


if __name__ == "__main__":
    sys.exit(load.proof(run, none_of=("lost_by_us", "stories_failed")))
