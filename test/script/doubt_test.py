#!/usr/bin/env python3
"""The answer to a spend is lost: before or after the server committed it, with and without its
grace, and with servers whose spend ends the old access token. The alarm says "in doubt" and not
"dead", whoever can be served is served, and the token is presented exactly once more."""

import collections
import json
import os
import resource
import subprocess
import time

import runner
from harness import World
from runner import assert_took, wait_until

SIGN_IN, LATER = 5, 6


def new_world(world, provider=None, **lab_options):
    lab = world.start_lab(**lab_options)
    world.write_provider("lab", **lab.provider_keys(**(provider or {})))
    world.add("work", "lab", lab.login("alice"))
    return lab


def show(world):
    return world.cw("show", "work", "--json").json


def standing_becomes(world, standing, timeout=15):
    return wait_until(lambda: show(world)["standing"] == standing, timeout, standing)


def alarms_told(world):
    """What the events say of alarms, in order: ["+in-doubt", "-in-doubt"]."""
    events = [json.loads(line) for line in world.cw("events", "--json").stdout.splitlines()]
    return [("+" if event["kind"] == "alarm-raised" else "-") + event["detail"].split(":")[0]
            for event in events if event["kind"].startswith("alarm-")]


def presentations(lab, after=0):
    """How often each refresh token was presented, in order of the first time."""
    lines = lab.log(after=after, endpoint="token")
    return list(collections.Counter(line["presented"] for line in lines).values())


def outcomes(world, name="work"):
    entries = world.cw("history", name, "--json").json["lineages"][0]["entries"]
    return [(entry["outcome"], entry["replay"]) for entry in entries if entry["kind"] == "spend"]


def lose_an_answer(world, lab, **quirk):
    """A renewal that is asked for and whose answer never comes."""
    lab.script("token", **quirk)
    answer = world.api("POST", "/v1/profiles/work/renew?timeout=500ms")
    assert answer.json["code"] in ("in-doubt", "timed-out"), answer


def test_lost_before_the_commit():
    """Nothing is known: the old access token is lived on to its end, then presented once more."""
    with World() as world:
        lab = new_world(world, access_life="5s")
        lose_an_answer(world, lab, lose_before_commit=True)
        shown = show(world)
        assert shown["standing"] == "in-doubt" and shown["alarms"] == ["in-doubt"], shown
        assert shown["in_doubt_since"] and shown["generation"] == 1
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        refused = world.cw("token", "work", "--min-ttl", "4999ms", "--timeout", "300ms",
                           check=False)
        assert refused.code == LATER and "finding out" in refused.stderr, refused
        assert "in doubt" in world.cw("list").stdout
        assert presentations(lab) == [1]
        standing_becomes(world, "live")
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        lines = lab.log(endpoint="token")
        assert lines[1]["presented"] == lines[0]["presented"] and lines[1]["committed"]
        assert lines[1]["at_ms"] - lines[0]["at_ms"] > 3500, "the old token was not lived on"
        assert presentations(lab)[0] == 2 and lab.family("f1")["reuses"] == 0
        assert alarms_told(world) == ["+in-doubt", "-in-doubt"]
        assert outcomes(world)[:2] == [("in-doubt", False), ("granted", True)]


def test_lost_after_the_commit():
    """The truth is bad: it comes out at the end of the old access token, not before."""
    with World() as world:
        lab = new_world(world, access_life="4s")
        lose_an_answer(world, lab, lose_after_commit=True)
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        assert lab.family("f1")["alive"] and show(world)["standing"] == "in-doubt"
        standing_becomes(world, "dead")
        refused = world.cw("token", "work", check=False)
        assert refused.code == SIGN_IN, refused
        assert "credwarden add work --provider lab" in refused.stderr, refused
        assert presentations(lab) == [2]
        assert alarms_told(world) == ["+in-doubt", "-in-doubt", "+dead"]
        world.kill_daemon()
        assert show(world)["standing"] == "dead"
        assert "400 invalid_grant" in world.cw("token", "work", check=False).stderr
        time.sleep(1.5)
        assert presentations(lab) == [2], "a dead token was presented again"
        assert alarms_told(world) == ["+in-doubt", "-in-doubt", "+dead"]


def test_where_a_spend_kills_the_old_token_it_is_asked():
    """It still works, and still does when a late commit is past: so nothing was committed, no
    chance was used up, and nobody had to wait for its end."""
    with World() as world:
        world.write_config(spend_deadline="2s")
        lab = new_world(world, {"refresh_kills_access": True}, access_life="16s",
                        kills_access=True)
        began = time.monotonic()
        lose_an_answer(world, lab, lose_before_commit=True)
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        assert_took(began, 8, "an old token that works, without waiting for its end")
        wait_until(lambda: show(world)["alarms"] == [], 8, "the end of the doubt")
        assert alarms_told(world) == ["+in-doubt", "-in-doubt"]
        standing_becomes(world, "live")
        lab.clear_script()
        wait_until(lambda: outcomes(world) == [("in-doubt", False), ("granted", False)], 20,
                   "the next spend, an ordinary one")
        assert lab.family("f1")["alive"]


def test_where_a_spend_kills_the_old_token_a_dead_one_is_told_soon():
    with World() as world:
        lab = new_world(world, {"refresh_kills_access": True}, access_life="60s",
                        kills_access=True)
        began = time.monotonic()
        lose_an_answer(world, lab, lose_after_commit=True)
        refused = world.cw("token", "work", "--timeout", "20s", check=False)
        assert refused.code == SIGN_IN and refused.stdout == "", refused
        assert_took(began, 15, "an old token that is dead")
        assert presentations(lab) == [2]
        assert alarms_told(world) == ["+in-doubt", "-in-doubt", "+dead"]


def test_a_grace_is_made_use_of_while_it_lasts():
    with World() as world:
        lab = new_world(world, {"reuse_grace": "10s"}, access_life="60s", grace="10s")
        lose_an_answer(world, lab, lose_after_commit=True)
        assert world.cw("renew", "work", "--json", "--timeout", "20s").json["generation"] == 2
        [first, second] = lab.log(endpoint="token")
        assert second["outcome"] == "granted-grace", second
        assert second["at_ms"] - first["at_ms"] < 5000
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        assert lab.family("f1")["alive"]
        assert alarms_told(world) == ["+in-doubt", "-in-doubt"]


def test_a_grace_where_a_spend_kills_the_old_token():
    with World() as world:
        lab = new_world(world, {"reuse_grace": "10s", "refresh_kills_access": True},
                        access_life="60s", grace="10s", kills_access=True)
        lose_an_answer(world, lab, lose_after_commit=True)
        token = world.cw("token", "work", "--timeout", "20s").stdout.strip()
        assert lab.use(token).status == 200, "a token that the lost spend has killed"
        assert lab.family("f1")["alive"] and presentations(lab) == [2]


def test_a_grace_that_is_over_is_not_relied_on():
    """The daemon comes back when the grace has passed: the old access token is lived on instead."""
    with World() as world:
        lab = new_world(world, {"reuse_grace": "2s"}, access_life="9s", grace="2s")
        lab.script("token", lose_after_commit=True)
        world.api("POST", "/v1/profiles/work/renew?timeout=300ms")
        wait_until(lambda: show(world)["standing"] == "in-doubt", what="the doubt")
        world.kill_daemon()
        assert presentations(lab) == [1], "it was presented before the daemon was killed"
        time.sleep(2.2)
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        time.sleep(1)
        assert presentations(lab) == [1] and show(world)["standing"] == "in-doubt"
        standing_becomes(world, "dead")
        assert presentations(lab) == [2]


def test_lost_twice_is_the_end_and_there_is_no_third_time():
    with World() as world:
        lab = new_world(world, access_life="3s")
        lab.script("token", times=2, lose_before_commit=True)
        world.api("POST", "/v1/profiles/work/renew?timeout=300ms")
        standing_becomes(world, "dead")
        assert outcomes(world) == [("in-doubt", False), ("in-doubt", True)]
        verdict = world.cw("history", "work", "--json").json["verdict"]
        assert "lost" in verdict, verdict
        world.kill_daemon()
        assert world.cw("token", "work", check=False).code == SIGN_IN
        time.sleep(1.5)
        assert presentations(lab) == [2]


def test_a_restart_in_doubt_neither_forgets_nor_repeats():
    with World() as world:
        lab = new_world(world, access_life="5s")
        lose_an_answer(world, lab, lose_before_commit=True)
        since = show(world)["in_doubt_since"]
        # An alarm is stored right behind what it is about; between the two it would be told twice.
        wait_until(lambda: alarms_told(world) == ["+in-doubt"], what="the alarm")
        time.sleep(0.3)
        for _ in range(3):
            world.kill_daemon()
            shown = show(world)
            assert shown["standing"] == "in-doubt" and shown["in_doubt_since"] == since, shown
            [alarm] = world.cw("status", "--json").json["alarms"]
            assert alarm["alarm"] == "in-doubt" and alarm["since"] and alarm["detail"], alarm
            assert "alarm: work in-doubt since" in world.cw("status").stdout
        assert presentations(lab) == [1]
        standing_becomes(world, "live")
        assert presentations(lab)[0] == 2
        assert alarms_told(world) == ["+in-doubt", "-in-doubt"]


def test_answers_that_say_nothing():
    """A captive portal, a torn body, a 500, a 408, an empty answer: none is the end of a login."""
    with World() as world:
        lab = world.start_lab(access_life="60s", grace="20s")
        world.write_provider("lab", **lab.provider_keys(reuse_grace="20s"))
        quirks = [{"body": "html"}, {"commit": True, "body": "html"}, {"torn_after": 20},
                  {"status": 500}, {"status": 408, "body": "html"},
                  {"status": 200, "body": "empty"}, {"duplicate_key": "access_token"},
                  {"huge_mib": 4}]
        names = [f"login{i}" for i in range(len(quirks))]
        for name, quirk in zip(names, quirks):
            pair = lab.login(name)
            world.add(name, "lab", pair)
            lab.script("token", family=pair["family"], **quirk)
        renewed = runner.in_threads(len(names), lambda i: world.cw(
            "renew", names[i], "--json", "--timeout", "20s").json)
        assert [answer["generation"] for answer in renewed] == [2] * len(names), renewed
        for name, quirk in zip(names, quirks):
            assert outcomes(world, name) == [("in-doubt", False), ("granted", True)], quirk
        assert all(family["alive"] for family in lab.families())
        assert presentations(lab) == [2] * len(names)
        assert sorted(alarms_told(world)) == ["+in-doubt"] * len(names) + ["-in-doubt"] * len(names)


def test_an_answer_that_cannot_be_read_just_now_is_waited_for():
    """The daemon has no descriptors left when the answer lies in the spool: patience, no doubt."""
    with World() as world:
        lab = new_world(world, access_life="5m")
        daemon = world.daemon_pid()
        lab.script("token", delay_after_ms=600)
        renewal = world.start([world.programs / "credwarden", "renew", "work"],
                              stdout=subprocess.DEVNULL)
        wait_until(lambda: lab.stats()["endpoints"]["token"]["decided"] == 1, what="the commit")
        time.sleep(0.2)
        used = {int(name) for name in os.listdir(f"/proc/{daemon}/fd")}
        next_one = min(set(range(len(used) + 1)) - used)
        soft, hard = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon, resource.RLIMIT_NOFILE, (next_one, hard))
        try:
            time.sleep(1.5)
        finally:
            resource.prlimit(daemon, resource.RLIMIT_NOFILE, (soft, hard))
        assert renewal.wait(20) == 0
        assert show(world)["generation"] == 2 and outcomes(world) == [("granted", False)]
        assert alarms_told(world) == []


def test_a_lost_answer_while_the_login_is_added():
    """The access token was over, so the add had to spend, and the answer is lost: the file is of
    no use to anybody now, so the daemon goes on with it, also after a kill."""
    with World() as world:
        lab = world.start_lab(access_life="5m", grace="60s")
        world.write_provider("lab", **lab.provider_keys(reuse_grace="60s"))
        lab.config(access_life_ms=1)
        pair = lab.login("alice")
        lab.config(access_life_ms=300_000)
        lab.script("token", lose_after_commit=True)
        said = world.add("work", "lab", pair, check=False)
        assert said.code == LATER, said
        world.kill_daemon()
        world.start_daemon()
        wait_until(lambda: world.cw("list", "--json").json["profiles"], 15, "the profile")
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        assert presentations(lab) == [2] and lab.family("f1")["alive"]


if __name__ == "__main__":
    runner.main()
