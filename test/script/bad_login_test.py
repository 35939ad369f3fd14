#!/usr/bin/env python3
"""Logins that `add` must not take: held already, spent, revoked, of another subject or provider;
and servers that do not answer it. Nothing is left behind, nothing that was held suffers."""

import json
import subprocess
import time

import runner
from harness import World
from refusals import INPUT, LATER, POLICY, UNKNOWN, assert_refused, generation, profiles
from runner import assert_took, wait_until


def furnish(world, **options):
    lab = world.start_lab(access_life="1h", **options)
    world.write_provider("lab", **lab.provider_keys())
    return lab


def assert_nothing_left(world, name):
    """As if it had never been added: no profile, no history, and the name is free."""
    assert name not in profiles(world)
    assert_refused(world.cw("history", name, check=False), UNKNOWN, f"there is no profile {name}")


def begin_add(world, name, path):
    return world.start([world.programs / "credwarden", "add", name, "--provider", "lab", "--from",
                        path], stdout=subprocess.DEVNULL)


def presented(lab):
    return [line["presented"] for line in lab.log(endpoint="token")]


def test_a_login_that_is_held_is_not_held_twice():
    with World() as world:
        lab = furnish(world)
        pair = lab.login("alice")
        world.add("work", "lab", pair)
        before = len(lab.log())
        for name in ("home", "work"):
            assert_refused(world.add(name, "lab", pair, check=False), INPUT,
                           "this login is held already, as work")
        static = {"access_token": pair["access_token"]}
        assert_refused(world.add("home", "lab", static, check=False), INPUT,
                       "this login is held already, as work")
        assert len(lab.log()) == before, "somebody was asked"
        assert_nothing_left(world, "home")
        world.cw("renew", "work")


def test_a_spent_refresh_token_is_known_and_never_presented_again():
    with World() as world:
        lab = furnish(world)
        pair = lab.login("alice")
        world.add("work", "lab", pair)
        world.cw("renew", "work")
        for name in ("home", "work"):
            assert_refused(world.add(name, "lab", pair, check=False), INPUT,
                           "this refresh token has been spent already (work, generation 1)",
                           "would end the login", "sign in again and add what that gives")
        world.cw("daemon", "restart")
        assert_refused(world.add("home", "lab", pair, check=False), INPUT, "spent already (work")
        world.cw("remove", "work", "--yes")
        assert_refused(world.add("work", "lab", pair, check=False), INPUT,
                       "spent already (a former profile, generation 1)")
        assert len(presented(lab)) == 1 and lab.family("f1")["alive"]


def test_a_revoked_login_is_refused_and_leaves_its_name_free():
    with World() as world:
        lab = furnish(world)
        pair = lab.login("alice")
        lab.revoke(pair["family"])
        assert_refused(world.add("work", "lab", pair, check=False), INPUT,
                       "work: the server refuses this login (400 invalid_grant",
                       "nothing was added: sign in again and add what that gives")
        assert_nothing_left(world, "work")
        # Where we may not spend, the refusal of the access token is all there is to know.
        other = lab.login("alice")
        lab.revoke(other["family"])
        result = world.add("work", "lab", other, "--policy", "never", check=False)
        assert_refused(result, INPUT, "work: the server refuses this login (401", "revoked")
        assert_nothing_left(world, "work")
        world.add("work", "lab", lab.login("alice"))


def test_an_expired_access_token_that_may_not_be_renewed_is_refused_with_the_policy_to_change():
    with World() as world:
        lab = furnish(world)
        pair = {**lab.login("alice", access_life="1s"), "expires_at": 1}
        result = world.add("work", "lab", pair, "--policy", "never", check=False)
        assert_refused(result, POLICY, "policy", "always")
        assert_nothing_left(world, "work")
        world.add("work", "lab", pair, "--policy", "always")
        assert generation(world, "work") == 2


def test_another_subjects_login_does_not_take_over_a_profile():
    with World() as world:
        lab = furnish(world)
        world.add("work", "lab", lab.login("alice"))
        bobs = lab.login("bob")
        assert_refused(world.add("work", "lab", bobs, check=False), INPUT,
                       "work: this login is not shown to be the same subject's as the profile's",
                       "`credwarden remove work` first, or add it under another name")
        assert profiles(world)["work"]["label"] == "alice@lab.invalid"
        assert generation(world, "work") == 1 and not presented(lab)
        world.add("home", "lab", bobs)
        world.cw("renew", "work")


def test_a_login_of_another_provider_is_refused_and_not_spoiled():
    with World() as world:
        other = world.start_lab(access_life="1h")
        world.write_provider("other", **other.provider_keys())
        lab = furnish(world)
        pair = lab.login("alice")
        assert_refused(world.add("work", "other", pair, check=False), INPUT,
                       "work: the server refuses this login", "nothing was added")
        assert_nothing_left(world, "work")
        # Its own provider has not heard of it, so it is as good as before.
        world.add("work", "lab", pair)
        world.cw("renew", "work")

        theirs = {"claudeAiOauth": {"accessToken": "sk-ant-oat01-" + "x" * 40,
                                    "refreshToken": "sk-ant-ort01-" + "x" * 40,
                                    "expiresAt": 0, "scopes": []}}
        assert_refused(world.add("home", "codex", theirs, check=False), INPUT,
                       "holds neither tokens.access_token nor access_token")
        assert_refused(world.add("home", "lab", theirs, check=False), INPUT,
                       "holds no access_token")
        assert_refused(world.add("home", "lab", "sk-ant-oat01-" + "x" * 40, check=False), INPUT,
                       "is not an access token of lab, which begin with lab-at-")


def test_an_unknown_provider_is_answered_with_the_nearest_one():
    with World() as world:
        lab = furnish(world)
        pair = lab.login("alice")
        for name, text in (("cluade", "did you mean claude?"), ("lba", "did you mean lab?"),
                           ("Codex", "did you mean codex?"),
                           ("nobody", "put its definition into "
                            f"{world.config}/credwarden/providers/nobody.ini, or give the issuer's "
                            "URL and --client-id")):
            assert_refused(world.add("work", name, pair, check=False), UNKNOWN,
                           f"there is no provider {name}; {text}")
        for name in ("../lab", "x y", ".lab", "x" * 65):
            assert_refused(world.add("work", name, pair, check=False), UNKNOWN,
                           "provider: expected a name or an issuer's https URL")
        assert not lab.log(endpoint="identity") and not profiles(world)


def test_a_server_that_cannot_be_reached_leaves_nothing_behind_and_add_works_later():
    with World() as world:
        lab = furnish(world)
        pair = lab.login("alice")
        # One that is not there: the port of a lab that has gone.
        gone = world.start_lab()
        gone.process.terminate()
        gone.process.wait()
        world.write_provider("lab", **gone.provider_keys())
        began = time.monotonic()
        result = world.add("work", "lab", pair, check=False)
        assert_refused(result, LATER, "work: the provider gave no usable answer (no answer: ")
        assert_took(began, 18, "what a person waits for")
        assert_nothing_left(world, "work")
        world.write_provider("lab", **lab.provider_keys())
        world.add("work", "lab", pair)
        world.cw("renew", "work")
        assert generation(world, "work") == 2 and len(presented(lab)) == 1


def test_an_identity_answer_that_says_nothing_is_asked_for_again():
    with World() as world:
        lab = furnish(world)
        names = iter("abcdefghijkl")
        for quirk in ({"body": "html"}, {"status": 503}, {"torn_after": 20}, {"huge_mib": 1},
                      {"non_utf8": True}, {"duplicate_key": "sub"}, {"unset": ["sub"]},
                      {"redirect": f"{lab.url}/oauth/identity"}, {"lose_before_commit": True},
                      {"status": 429, "retry_after": "1"}):
            name = next(names)
            lab.script("identity", subject=name, **quirk)
            pair = world.write_file(f"{name}.json", lab.login(name))
            begin_add(world, name, pair)
        for name in "abcdefghij":
            wait_until(lambda: name in profiles(world), what=f"{name} to be added")
            assert profiles(world)[name]["label"] == f"{name}@lab.invalid"
        # Each was asked twice: what says nothing is no answer, and nothing was spent on it.
        asked = [line["family"] for line in lab.log(endpoint="identity")]
        assert all(asked.count(f"f{i}") == 2 for i in range(1, 11)), asked
        assert not presented(lab)


def test_whoever_leaves_while_adding_loses_nothing():
    with World() as world:
        lab = furnish(world)
        lab.script("identity", delay_before_ms=700)
        pair = world.write_file("alice.json", lab.login("alice"))
        adding = begin_add(world, "work", pair)
        wait_until(lambda: lab.stats()["endpoints"]["identity"]["open"] == 1, what="the question")
        again = world.cw("add", "work", "--provider", "lab", "--from", pair, check=False)
        assert_refused(again, LATER, "work is just being added or renamed; try again")
        adding.kill()
        adding.wait()
        wait_until(lambda: "work" in profiles(world), what="the add to go on without its asker")
        world.cw("renew", "work")
        assert json.loads(pair.read_text()), "the file stays the user's"


if __name__ == "__main__":
    runner.main()
