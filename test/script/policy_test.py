#!/usr/bin/env python3
"""Who may spend, and when: policies, wishes, the ration of comfort, back-off, single flight."""

import json
import subprocess
import time

import runner
from harness import World
from runner import assert_took, in_threads, wait_until

POLICY, SIGN_IN, LATER = 4, 5, 6


def new_world(world, provider=None, **lab_options):
    lab = world.start_lab(**lab_options)
    world.write_provider("lab", **lab.provider_keys(**(provider or {})))
    return lab


def spends(lab):
    return lab.log(endpoint="token")


def show(world, name="work"):
    return world.cw("show", name, "--json").json


def test_never_never_spends():
    with World() as world:
        lab = new_world(world, access_life="2s")
        world.add("work", "lab", lab.login("alice"), "--policy", "never")
        for args in (("renew", "work"), ("token", "work", "--min-ttl", "1999ms")):
            refused = world.cw(*args, check=False)
            assert refused.code == POLICY, refused
            assert "credwarden policy work always" in refused.stderr, refused
        time.sleep(2.5)  # past its expiry
        refused = world.cw("token", "work", check=False)
        assert refused.code == POLICY, refused
        assert show(world)["next_spend_in_ms"] is None
        world.kill_daemon()
        assert show(world)["policy"] == "never"
        time.sleep(1)
        assert spends(lab) == []
        world.cw("policy", "work", "always")
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        assert len(spends(lab)) == 1


def test_standby_spends_only_when_nobody_holds_the_pair():
    """What came from a file is held by the program whose file it is, until its access token's end
    and a margin. The daemon's own restart does not shorten that."""
    with World() as world:
        lab = new_world(world, {"skew": "1s"}, access_life="6s")
        pair = lab.login("alice")
        path = world.write_file("client.json", pair)
        world.cw("add", "work", "--provider", "lab", "--from", path, "--policy", "standby")
        refused = world.cw("renew", "work", "--timeout", "1s", check=False)
        assert refused.code == POLICY and "credwarden policy work always" in refused.stderr, refused
        world.kill_daemon()
        assert world.cw("renew", "work", "--timeout", "500ms", check=False).code == POLICY
        first = wait_until(lambda: spends(lab), 20, "the first spend")[0]
        assert first["wall_ms"] >= pair["expires_at"] + 900, \
            f"spent {pair['expires_at'] + 1000 - first['wall_ms']} ms too early"
        # Nobody has our new pair: from now on it is kept alive like any other, restart or not.
        wait_until(lambda: len(spends(lab)) >= 2, 10, "the second spend")
        world.kill_daemon()
        world.start_daemon()
        at = len(spends(lab))
        wait_until(lambda: len(spends(lab)) > at, 10, "a spend after the restart")
        assert lab.family("f1")["alive"]


def test_standby_from_a_pipe_is_ours_at_once():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.cw("add", "work", "--provider", "lab", "--from", "-", "--policy", "standby",
                 input=json.dumps(lab.login("alice")))
        assert world.cw("renew", "work", "--json").json["generation"] == 2


def test_always_keeps_it_alive_without_being_asked():
    with World() as world:
        lab = new_world(world, access_life="2s")
        world.add("work", "lab", lab.login("alice"))
        wait_until(lambda: lab.family("f1")["spends"] >= 3, 15, "three spends")
        family = lab.family("f1")
        assert family["alive"] and family["reuses"] == 0
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200


def test_a_wish_that_no_token_fulfils_is_refused_without_a_spend():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        for wish in ("6m", "2h", "300d"):
            refused = world.cw("token", "work", "--min-ttl", wish, check=False)
            assert refused.code == POLICY and "the most is 5m" in refused.stderr, refused
        assert spends(lab) == []


def test_a_spend_for_comfort_is_rationed_where_it_kills_the_others_token():
    with World() as world:
        lab = new_world(world, {"refresh_kills_access": True}, access_life="40s", kills_access=True)
        world.add("work", "lab", lab.login("alice"))
        assert world.cw("renew", "work", "--json").json["generation"] == 2
        time.sleep(2.1)  # beyond what one renewal answers
        refused = world.cw("renew", "work", check=False)
        assert refused.code == POLICY and "rationed" in refused.stderr, refused
        answer = world.api("GET", "/v1/profiles/work/token?min_ttl=39s")
        assert answer.status == 429 and answer.json["code"] == "spend-capped", answer
        assert 1 <= int(answer.headers["Retry-After"]) <= 10, answer.headers["Retry-After"]
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        assert len(spends(lab)) == 1


def test_sixteen_renewals_at_once_are_one_spend():
    with World() as world:
        lab = new_world(world, access_life="5m", delay_after="300ms")
        world.add("work", "lab", lab.login("alice"))
        answers = in_threads(16, lambda _: world.cw("renew", "work", "--json").json)
        assert {answer["generation"] for answer in answers} == {2}
        assert len(spends(lab)) == 1
        tokens = in_threads(16, lambda _: world.cw("token", "work").stdout)
        assert len(set(tokens)) == 1 and lab.use(tokens[0].strip()).status == 200


def test_a_slow_provider_delays_nobody_else():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("slow", "lab", lab.login("alice"))
        world.add("fast", "lab", lab.login("bob"))
        lab.script("token", family="f1", delay_before_ms=4000)
        slow = world.start([world.programs / "credwarden", "renew", "slow"],
                           stdout=subprocess.DEVNULL)
        wait_until(lambda: lab.stats()["endpoints"]["token"]["arrived"] == 1, what="the slow one")
        for generation in (2, 3, 4):
            began = time.monotonic()
            world.cw("token", "fast")
            assert world.cw("renew", "fast", "--json").json["generation"] == generation
            assert_took(began, 1.5, "one profile beside another one's slow server")
            time.sleep(0.1 if generation == 4 else 2.1 - (time.monotonic() - began))
            if generation == 2:
                assert slow.poll() is None, "the slow one was not slow"
        assert slow.wait(20) == 0


def test_a_life_counts_from_before_the_server_committed():
    """The server commits and takes its time to say so: its token is half over when it arrives."""
    with World() as world:
        lab = new_world(world, access_life="10s")
        world.add("work", "lab", lab.login("alice"))
        lab.script("token", delay_after_ms=5000)
        renewed = world.cw("renew", "work", "--json").json
        assert 0 < renewed["left_ms"] <= 5000, renewed
        shown = show(world)
        assert shown["left_ms"] <= 5000, shown
        answer = world.cw("token", "work", "--min-ttl", "6s", check=False)
        promised = time.monotonic() + 5.9
        assert answer.code in (0, POLICY, LATER), answer
        if answer.code == 0:
            time.sleep(max(0, promised - time.monotonic()))
            assert lab.use(answer.stdout.strip()).status == 200


def test_retry_after_is_honoured():
    with World() as world:
        lab = new_world(world, access_life="60s")
        world.add("work", "lab", lab.login("alice"))
        lab.script("token", status=429, retry_after="3")
        lab.script("token", status=429, retry_after_date_s=3)
        answer = world.api("POST", "/v1/profiles/work/renew?timeout=1s")
        assert answer.status == 429 and answer.json["code"] == "throttled", answer
        assert 1 <= int(answer.headers["Retry-After"]) <= 4  # spread a little
        began = time.monotonic()
        assert world.cw("token", "work").code == 0, "the old one still works"
        assert_took(began, 1, "the old one, handed out at once")
        assert world.cw("renew", "work", "--json", "--timeout", "30s").json["generation"] == 2
        times = [line["arrived_ms"] for line in spends(lab)]
        pauses = [after - before for before, after in zip(times, times[1:])]
        assert len(pauses) == 2 and pauses[0] >= 2950 and pauses[1] >= 2000, pauses


def test_failures_back_off_further_each_time():
    with World() as world:
        lab = new_world(world, {"uncommitted_answers": "503"}, access_life="2m")
        world.add("work", "lab", lab.login("alice"))
        lab.script("token", times=4, status=503)
        assert world.cw("renew", "work", "--json", "--timeout", "40s").json["generation"] == 2
        times = [line["arrived_ms"] for line in spends(lab)]
        pauses = [after - before for before, after in zip(times, times[1:])]
        assert len(pauses) == 4, pauses
        assert all(pause >= 490 * 2 ** i for i, pause in enumerate(pauses)), pauses
        outcomes = [entry["outcome"] for entry in
                    world.cw("history", "work", "--json").json["lineages"][0]["entries"]
                    if entry["kind"] == "spend"]
        assert outcomes == ["uncommitted"] * 4 + ["granted"], outcomes


def test_an_unreachable_provider_is_told_and_alarmed_once_the_token_is_over():
    with World() as world:
        lab = new_world(world, access_life="3s")
        world.add("work", "lab", lab.login("alice"))
        lab.process.terminate()
        lab.process.wait()
        assert world.cw("token", "work").code == 0
        wait_until(lambda: show(world)["alarms"] == ["unreachable"], 10, "the alarm")
        refused = world.cw("token", "work", "--timeout", "1s", check=False)
        assert refused.code == LATER and "gave no usable answer" in refused.stderr, refused
        outcomes = {entry["outcome"] for entry in
                    world.cw("history", "work", "--json").json["lineages"][0]["entries"]
                    if entry["kind"] == "spend"}
        assert outcomes == {"unsent"}, outcomes
        kinds = [line.split()[3] for line in world.cw("events").stdout.splitlines()]
        assert kinds.count("alarm-raised") == 1, kinds


def test_a_static_pair_is_never_due():
    with World() as world:
        lab = new_world(world, access_life="3s")
        pair = lab.login("alice")
        del pair["refresh_token"]
        world.add("work", "lab", pair)
        shown = show(world)
        assert shown["refresh_fingerprint"] is None and shown["next_spend_in_ms"] is None, shown
        assert world.cw("token", "work").stdout.strip() == pair["access_token"]
        refused = world.cw("token", "work", "--min-ttl", "10s", check=False)
        assert refused.code == POLICY, refused
        wait_until(lambda: show(world)["alarms"] == ["expiring"], 6, "the alarm before its end")
        wait_until(lambda: world.cw("token", "work", check=False).code == SIGN_IN, 6, "its end")
        refused = world.cw("token", "work", check=False)
        assert "no refresh token" in refused.stderr and "credwarden add work" in refused.stderr
        assert spends(lab) == []


def test_an_answer_without_a_refresh_token_keeps_the_old_one():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        before = show(world)
        lab.script("token", missing_refresh_token=True)
        world.cw("renew", "work")
        after = show(world)
        assert after["refresh_fingerprint"] == before["refresh_fingerprint"]
        assert after["access_fingerprint"] != before["access_fingerprint"]
        world.kill_daemon()
        time.sleep(2.1)
        assert world.cw("renew", "work", "--json").json["generation"] == 3
        assert lab.family("f1")["alive"] and lab.family("f1")["reuses"] == 0


def test_answers_in_other_shapes():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        lab.script("token", expires_in="string", set={"unknown": {"nested": [1, None]}})
        renewed = world.cw("renew", "work", "--json").json
        assert 290_000 < renewed["left_ms"] <= 300_000, renewed
        time.sleep(2.1)
        lab.script("token", expires_in="absent")
        assert world.cw("renew", "work", "--json").json["generation"] == 3
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200


def test_another_subject_in_the_answer_is_set_aside():
    with World() as world:
        lab = new_world(world, {"answer_subject_paths": "sub"}, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        lab.script("token", changed_subject="mallory", set={"sub": "mallory"})
        refused = world.cw("renew", "work", check=False)
        assert refused.code == SIGN_IN and "another subject" in refused.stderr, refused
        shown = show(world)
        assert shown["standing"] == "quarantined" and shown["alarms"] == ["subject"], shown
        assert shown["generation"] == 2, "what was granted is kept all the same"
        refused = world.cw("token", "work", check=False)
        assert refused.code == SIGN_IN and refused.stdout == "", refused
        world.add("work", "lab", lab.login("alice"))
        assert lab.use(world.cw("token", "work").stdout.strip()).json["sub"] == "alice"
        assert show(world)["alarms"] == []


if __name__ == "__main__":
    runner.main()
