#!/usr/bin/env python3
"""One name, one login: adds, renames and removals that meet each other half-way, and callers that
leave in the middle. Whatever the order, no login is lost and none is held twice."""

import json
import subprocess
import time

import runner
from harness import World
from runner import assert_took, in_threads, wait_until


def new_world(world, **lab_options):
    lab = world.start_lab(**{"access_life": "5m", **lab_options})
    world.write_provider("lab", **lab.provider_keys())
    world.start_daemon()
    return lab


def add(world, name, pair, **query):
    """The API's own answer: no command line in between."""
    tail = "&".join(f"{key}={value}" for key, value in {"provider": "lab", **query}.items())
    return world.api("POST", f"/v1/profiles/{name}?{tail}", json.dumps(pair))


def begin(world, *args):
    """A command that goes on while the story does."""
    return world.start([world.programs / "credwarden", *args], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)


def code_of(answer):
    return answer.json.get("code", "done")


def profiles(world):
    return {item["name"]: item for item in world.cw("list", "--json").json["profiles"]}


def arrived(lab, endpoint, count):
    wait_until(lambda: lab.stats()["endpoints"][endpoint]["arrived"] >= count,
               what=f"{count} requests to {endpoint}")


def expired_login(lab, subject):
    """Its access token is over, so that a spend must come before every question."""
    life_ms = lab.config()["access_life_ms"]
    lab.config(access_life_ms=1)
    pair = lab.login(subject)
    lab.config(access_life_ms=life_ms)
    return pair


def leave_in_the_middle(world, method, target, body, until):
    """Sends a request and closes the connection once until() is true."""
    with world.raw_socket() as peer:
        body = json.dumps(body).encode() if body else b""
        peer.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
                     f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(until, what="the middle of the request")


def test_two_logins_for_one_new_name():
    with World() as world:
        lab = new_world(world)
        lab.script("identity", times=2, delay_before_ms=500)
        pairs = [lab.login("alice"), lab.login("bob")]
        answers = in_threads(2, lambda i: add(world, "work", pairs[i]))
        assert sorted(code_of(answer) for answer in answers) == ["busy", "done"], answers
        [held] = profiles(world).values()
        winner = answers.index(next(item for item in answers if item.status == 200))
        assert held["subject"] == ["alice", "bob"][winner]
        assert code_of(add(world, "home", pairs[1 - winner])) == "done", "the loser's is untouched"


def test_two_logins_for_one_name_while_the_issuer_is_asked():
    with World() as world:
        lab = new_world(world)
        lab.script("discovery", times=2, delay_before_ms=500)
        pairs = [lab.login("alice"), lab.login("bob")]
        answers = in_threads(2, lambda i: add(world, "work", pairs[i], provider=lab.url,
                                              client_id="lab-client"))
        assert sorted(code_of(answer) for answer in answers) == ["busy", "done"], answers
        assert len(profiles(world)) == 1


def test_one_pair_under_two_names():
    with World() as world:
        lab = new_world(world)
        lab.script("identity", times=2, delay_before_ms=300)
        pair = lab.login("alice")
        answers = in_threads(2, lambda i: add(world, ("work", "home")[i], pair))
        assert sorted(code_of(answer) for answer in answers) == ["done", "pair-known"], answers
        assert len(profiles(world)) == 1


def test_a_rename_does_not_take_a_name_that_is_being_added():
    """Else the new login would take the renamed profile over, another subject's, and end it."""
    with World() as world:
        lab = new_world(world)
        add(world, "home", lab.login("alice"))
        lab.script("identity", delay_before_ms=800)
        pair = lab.login("bob")
        adding = begin(world, "add", "work", "--provider", "lab", "--from",
                       world.write_file("bob.json", pair))
        arrived(lab, "identity", 2)
        assert code_of(world.api("POST", "/v1/profiles/home/rename?to=work")) == "busy"
        assert adding.wait(20) == 0
        assert {name: item["subject"] for name, item in profiles(world).items()} == \
            {"home": "alice", "work": "bob"}
        assert code_of(world.api("POST", "/v1/profiles/home/rename?to=work")) == "profile-exists"


def test_many_renames_at_once():
    with World() as world:
        lab = new_world(world)
        for name, subject in (("a", "alice"), ("b", "bob")):
            add(world, name, lab.login(subject))
        for _ in range(10):
            in_threads(4, lambda i: world.api("POST", f"/v1/profiles/{'ab'[i % 2]}/rename?to=c"))
            held = profiles(world)
            assert sorted(item["subject"] for item in held.values()) == ["alice", "bob"], held
            old = ({"a", "b"} - set(held)).pop()
            assert world.api("POST", f"/v1/profiles/c/rename?to={old}").status == 200


def test_a_profile_that_is_renamed_while_its_new_login_is_asked():
    with World() as world:
        lab = new_world(world)
        add(world, "work", lab.login("alice"))
        lab.script("identity", delay_before_ms=600)
        pair = lab.login("alice")
        adding = begin(world, "add", "work", "--provider", "lab", "--from",
                       world.write_file("alice.json", pair))
        arrived(lab, "identity", 2)
        assert code_of(world.api("POST", "/v1/profiles/work/rename?to=home")) == "done"
        assert adding.wait(20) == 0
        held = profiles(world)
        assert set(held) == {"work", "home"} and held["home"]["standing"] == "live", held


def test_a_policy_that_is_set_while_a_new_login_is_asked():
    with World() as world:
        lab = new_world(world)
        add(world, "work", lab.login("alice"), policy="always")
        lab.script("identity", delay_before_ms=600)
        pair = lab.login("alice")
        adding = begin(world, "add", "work", "--provider", "lab", "--from",
                       world.write_file("alice.json", pair))
        arrived(lab, "identity", 2)
        assert code_of(world.api("POST", "/v1/profiles/work/policy?to=never")) == "done"
        assert adding.wait(20) == 0
        assert profiles(world)["work"]["policy"] == "never", "the old policy came back"
        world.kill_daemon()
        assert profiles(world)["work"]["policy"] == "never", "… in the store"


def test_callers_of_the_old_login_are_served_by_the_new_one():
    """Throttled for a minute, somebody waits; a new login of the same subject takes over."""
    with World() as world:
        lab = new_world(world)
        add(world, "work", lab.login("alice"))
        lab.script("token", status=429, retry_after="50", family="f1")
        waiting = begin(world, "renew", "work", "--json")
        wait_until(lambda: profiles(world)["work"]["tries"] == 1, what="the refusal")
        assert add(world, "work", lab.login("alice")).status == 200
        out, err = waiting.communicate(timeout=20)
        assert waiting.returncode == 0, err
        assert json.loads(out)["generation"] == 2
        assert lab.family("f1")["spends"] == 0 and lab.family("f2")["spends"] == 1


def test_who_adds_may_leave():
    with World() as world:
        lab = new_world(world)
        pid = world.daemon_pid()
        lab.script("discovery", delay_before_ms=500)
        leave_in_the_middle(world, "POST",
                            f"/v1/profiles/work?provider={lab.url}&client_id=lab-client",
                            lab.login("alice"),
                            lambda: lab.stats()["endpoints"]["discovery"]["arrived"] == 1)
        wait_until(lambda: "work" in profiles(world), what="the add going on")
        lab.script("identity", delay_before_ms=500)
        leave_in_the_middle(world, "POST", "/v1/profiles/home?provider=lab", lab.login("bob"),
                            lambda: lab.stats()["endpoints"]["identity"]["arrived"] == 2)
        wait_until(lambda: "home" in profiles(world), what="the add going on")
        lab.script("token", delay_after_ms=500)
        leave_in_the_middle(world, "POST", "/v1/profiles/home/renew", None,
                            lambda: lab.stats()["endpoints"]["token"]["decided"] == 1)
        wait_until(lambda: profiles(world)["home"]["generation"] == 2, what="the spend going on")
        assert world.daemon_pid() == pid


def test_a_profile_is_removed_in_mid_spend():
    with World() as world:
        lab = new_world(world)
        add(world, "work", lab.login("alice"))
        lab.script("token", delay_after_ms=700)
        renewing = begin(world, "renew", "work")
        wait_until(lambda: lab.stats()["endpoints"]["token"]["decided"] == 1, what="the commit")
        world.cw("remove", "work", "--yes")
        assert renewing.wait(20) == 0, "who had asked before is answered"
        entries = world.cw("history", "work", "--json").json["lineages"][0]["entries"]
        assert [item["outcome"] for item in entries] == [None, "granted", None], entries


def test_a_removal_does_not_wait_until_the_provider_has_time():
    with World() as world:
        lab = new_world(world)
        add(world, "work", lab.login("alice"))
        lab.script("token", times=9, status=429, retry_after="3600")
        world.cw("renew", "work", "--timeout", "1s", check=False)
        began = time.monotonic()
        world.cw("remove", "work", "--yes")
        assert not profiles(world)
        assert_took(began, 3, "a removal")


def test_an_add_that_cannot_be_proven_can_be_given_up():
    """Its access token was over, so it was spent; now nobody says whose it is. It is ours alone:
    it is kept, its name is taken, and only the user ends it."""
    with World() as world:
        lab = new_world(world)
        lab.script("identity", times=99, status=500)
        pair = expired_login(lab, "alice")
        path = world.write_file("pair.json", pair)
        adding = begin(world, "add", "work", "--provider", "lab", "--from",
                       path)
        arrived(lab, "identity", 1)
        assert lab.family("f1")["spends"] == 1
        assert code_of(add(world, "work", lab.login("alice"))) == "busy"
        world.kill_daemon()
        adding.wait(20)
        arrived_before = lab.stats()["endpoints"]["identity"]["arrived"]
        world.start_daemon()
        arrived(lab, "identity", arrived_before + 1)
        world.cw("remove", "work", "--yes")
        lab.clear_script()
        assert code_of(add(world, "work", lab.login("alice"))) == "done"


def test_who_still_adds_is_told_that_it_was_removed():
    with World() as world:
        lab = new_world(world)
        lab.script("identity", times=99, status=500)
        path = world.write_file("pair.json", lab.login("alice"))
        adding = begin(world, "add", "work", "--provider", "lab", "--from", path)
        arrived(lab, "identity", 1)
        world.cw("remove", "work", "--yes")
        _, said = adding.communicate(timeout=20)
        assert b"work was removed before it was added" in said, said


def test_a_policy_holds_for_the_login_that_is_to_take_over_also_after_a_crash():
    with World() as world:
        lab = new_world(world)
        add(world, "work", lab.login("alice"), policy="always")
        lab.script("identity", times=99, status=500)
        path = world.write_file("pair.json", expired_login(lab, "alice"))
        adding = begin(world, "add", "work", "--provider", "lab", "--from", path)
        arrived(lab, "identity", 2)
        world.cw("policy", "work", "never")
        world.kill_daemon()
        adding.communicate(timeout=20)
        lab.clear_script()
        world.start_daemon()
        wait_until(lambda: profiles(world)["work"]["generation"] == 2, what="the adoption")
        assert profiles(world)["work"]["policy"] == "never", profiles(world)


def test_an_unproven_login_is_adopted_when_the_server_speaks_again():
    with World() as world:
        lab = new_world(world)
        pair = expired_login(lab, "alice")
        lab.script("identity", times=2, status=500)
        assert code_of(add(world, "work", pair)) == "done"
        assert profiles(world)["work"]["generation"] == 2
        assert lab.family("f1")["spends"] == 1


def test_another_subjects_login_that_was_spent_is_kept_and_can_be_claimed():
    """The access token was over, so whose it is could only be asked after a spend: then the file's
    token is of no use any more, and what we hold is all there is."""
    with World() as world:
        lab = new_world(world)
        add(world, "work", lab.login("alice"))
        pair = expired_login(lab, "bob")
        refusal = add(world, "work", pair)
        assert code_of(refusal) == "subject-differs", refusal
        assert "another name" in refusal.json["detail"]
        assert profiles(world)["work"]["subject"] == "alice"
        claimed = add(world, "home", pair)
        assert code_of(claimed) == "done", claimed
        assert claimed.json["subject"] == "bob"
        access = world.cw("token", "home").stdout.strip()
        assert lab.use(access).json["sub"] == "bob"
        assert lab.family("f2")["spends"] == 1 and lab.family("f2")["alive"]


def test_who_was_refused_may_try_again_at_once():
    with World() as world:
        lab = new_world(world)
        for _ in range(5):
            pair = lab.login("alice")
            lab.revoke(pair["family"])
            assert code_of(add(world, "work", pair)) == "pair-rejected"
            pair = lab.login("alice")
            assert code_of(add(world, "work", pair)) == "done"
            assert code_of(add(world, "work", lab.login("bob"))) == "subject-differs"


def test_no_more_profiles_than_the_configuration_allows():
    with World() as world:
        world.write_config(profiles_max=2)
        lab = new_world(world)
        for name in ("a", "b"):
            assert code_of(add(world, name, lab.login(name))) == "done"
        refusal = add(world, "c", lab.login("c"))
        assert code_of(refusal) == "profiles-full" and "profiles_max" in refusal.text, refusal
        world.cw("daemon", "restart")
        assert code_of(add(world, "c", lab.login("c"))) == "profiles-full"
        assert code_of(add(world, "a", lab.login("a"))) == "done", "a new login is no new profile"
        world.cw("remove", "b", "--yes")
        assert code_of(add(world, "c", lab.login("c"))) == "done"


def test_at_the_limit_a_profile_is_given_a_new_login():
    with World() as world:
        world.write_config(profiles_max=1)
        lab = new_world(world)
        for _ in range(3):
            answer = add(world, "work", lab.login("alice"))
            assert code_of(answer) == "done", answer


def test_no_room_beside_what_is_set_aside_is_said_to_be_that():
    with World() as world:
        path = world.write_config(profiles_max=1)
        lab = new_world(world)
        assert code_of(add(world, "work", lab.login("alice"))) == "done"
        strangers = [lab.login("bob", access_life="1s") for _ in range(2)]
        time.sleep(1.2)
        # It takes a spend to learn whose they are: from then on they are nowhere but here.
        for stranger in strangers:
            assert code_of(add(world, "work", stranger)) == "subject-differs"
        refusal = add(world, "work", lab.login("alice"))
        assert code_of(refusal) == "profiles-full", refusal
        words = ("set aside", "nothing was added", f"profiles_max in {path}", "daemon restart")
        assert all(word in refusal.text for word in words), refusal
        world.cw("daemon", "restart")
        assert code_of(add(world, "work", lab.login("alice"))) == "done"


def test_another_limit_is_taken_at_the_next_start_and_a_refusal_says_so():
    with World() as world:
        path = world.write_config(profiles_max=1)
        lab = new_world(world)
        assert code_of(add(world, "a", lab.login("a"))) == "done"
        world.write_config(profiles_max=9)
        told = world.cw("daemon", "reload").stdout
        assert "profiles_max" in told and "next start" in told, told
        for _ in range(3):
            refusal = add(world, "b", lab.login("b"))
            assert code_of(refusal) == "profiles-full", refusal
            words = (f"profiles_max in {path}", "daemon restart", "credwarden remove")
            assert all(word in refusal.text for word in words), refusal
        world.cw("daemon", "restart")
        assert code_of(add(world, "b", lab.login("b"))) == "done"
        assert "profiles_max" not in world.cw("daemon", "reload").stdout


if __name__ == "__main__":
    runner.main()
