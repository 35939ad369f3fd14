#!/usr/bin/env python3
"""The real Codex client by itself, without credwarden: how it treats its store, as far as we rely
on it or have to live with it. A new release that acts differently is told here first."""

import contextlib
import fcntl
import pathlib
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import codex  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402
from codex import Codex, Vendor  # noqa: E402
from harness import World  # noqa: E402
from runner import wait_until  # noqa: E402


@contextlib.contextmanager
def a_client():
    """(client, vendor), cut off from the world; nothing of what they say may go elsewhere."""
    codex.program()
    codex.cut_off()
    with World() as world, Vendor() as vendor:
        yield Codex(world, vendor), vendor
        assert not vendor.seen("stray"), vendor.seen("stray")
        leaks = harness.scan_for_tokens(world, vendor.tokens())
        assert all(place.startswith("home/.codex/") for place in leaks), leaks


def access_only(pair):
    """Published so, the client has nothing to spend. Its store wants the member."""
    return {**pair, "refresh_token": ""}


def spends(vendor):
    return [(event["generation"], event["outcome"]) for event in vendor.seen("token")]


def served(vendor):
    """(family, generation) of the access tokens the API took, in order."""
    return [(event["family"], event["generation"]) for event in vendor.seen("api")
            if event["outcome"] == "served"]


def test_the_client_renews_in_the_last_five_minutes_and_keeps_the_new_pair():
    with a_client() as (client, vendor):
        client.sign_in(vendor.pair("alice", life_s=codex.EARLY_S + 60),
                       last_refresh="2026-01-01T00:00:00Z")
        assert client.run().subject == "alice" and not vendor.seen("token")
        pair = vendor.pair("alice", life_s=codex.EARLY_S - 60)
        client.sign_in(pair, last_refresh="2026-01-01T00:00:00Z", odd={"kept": False})
        assert client.run().subject == "alice"
        [spend] = vendor.seen("token")
        assert spend["outcome"] == "granted" and spend["reason"] == "proactive_expiry", spend
        assert served(vendor) == [("f1", 1), ("f2", 2)], vendor.seen("api")
        assert {event["account"] for event in vendor.seen("api")} == {"account-alice"}
        after = client.store()
        assert client.tokens() == (("alice", "f2", 2), ("alice", "f2", 2))
        assert after["tokens"]["account_id"] == "account-alice"
        assert after["tokens"]["id_token"] != pair["id_token"]
        assert after["last_refresh"] > "2026-01-02"
        assert after["auth_mode"] == "chatgpt" and after["OPENAI_API_KEY"] is None
        assert "odd" not in after, "it keeps what it does not know by now"
        assert client.path.stat().st_mode & 0o777 == 0o600


def test_an_access_token_alone_is_enough_while_it_is_fresh():
    with a_client() as (client, vendor):
        pair = vendor.pair("alice")
        client.sign_in(access_only(pair))
        assert client.run().subject == "alice" and not vendor.seen("token")
        # The member has to be there: without it nobody is signed in.
        client.sign_in({key: pair[key] for key in pair if key != "refresh_token"})
        turn = client.run()
        assert turn.subject is None and vendor.seen("api")[-1]["outcome"] == "refused", turn
        assert "generation" not in vendor.seen("api")[-1], "it sent a token"
        # In the last five minutes it presents the empty word, and goes on with what it has.
        client.sign_in(access_only(vendor.pair("alice", life_s=codex.EARLY_S - 60)))
        assert client.run().subject == "alice"
        assert {event["outcome"] for event in vendor.seen("token")} == {"empty"}
        assert client.tokens() == (("alice", "f2", 1), "")


def test_a_session_that_is_refused_takes_up_a_new_pair_of_its_account():
    with a_client() as (client, vendor):
        for publish in (dict, access_only):
            pair, better = vendor.pair("alice"), vendor.pair("alice")
            client.sign_in(pair)
            vendor.refuse(pair["access_token"])
            vendor.before("api", lambda better=better, publish=publish:
                          client.sign_in(publish(better)))
            assert client.run().subject == "alice"
        assert served(vendor) == [("f2", 1), ("f4", 1)] and not vendor.seen("token")
        # With nothing new in the store it spends what it has.
        pair = vendor.pair("alice")
        client.sign_in(pair)
        vendor.refuse(pair["access_token"])
        assert client.run().subject == "alice" and served(vendor)[-1] == ("f5", 2)
        assert [event["reason"] for event in vendor.seen("token")] == ["unauthorized_recovery"]


def test_a_session_stays_with_its_account_and_its_pair_while_they_work():
    with a_client() as (client, vendor):
        for other in (vendor.pair("alice"), vendor.pair("bob")):
            client.sign_in(vendor.pair("alice"))
            vendor.further = 1
            vendor.before("api", lambda other=other: client.sign_in(other))
            assert client.run().subject == "alice"
        assert served(vendor) == [("f3", 1)] * 2 + [("f4", 1)] * 2
        # Somebody else in the store is no help to a session that is refused …
        pair, other = vendor.pair("alice"), vendor.pair("bob")
        client.sign_in(pair)
        vendor.refuse(pair["access_token"])
        vendor.before("api", lambda: client.sign_in(other))
        turn = client.run()
        assert turn.subject is None and "another account" in turn.problem, turn
        # … but the next one is his.
        assert client.run().subject == "bob" and not vendor.seen("token")


def test_a_store_that_is_swapped_in_mid_renewal_wins_over_what_was_granted():
    """So a refresh token taken out of the store while the client presents it is lost: the client
    throws its new pair away, and nobody has it."""
    with a_client() as (client, vendor):
        pair = vendor.pair("alice", life_s=codex.EARLY_S - 60)
        client.sign_in(pair)
        vendor.before("token", lambda: client.sign_in(access_only(pair)))
        assert client.run().subject == "alice"
        assert vendor.seen("token")[0]["outcome"] == "granted"
        assert client.tokens() == (("alice", "f1", 1), "")
        # The same tokens beside another date are no swap.
        pair = vendor.pair("alice", life_s=codex.EARLY_S - 60)
        client.sign_in(pair)
        vendor.before("token", lambda: client.sign_in(pair, last_refresh="2026-01-01T00:00:00Z"))
        assert client.run().subject == "alice"
        assert client.tokens() == (("alice", "f2", 2), ("alice", "f2", 2))


def test_its_locks_are_around_the_writing_and_not_around_the_spending():
    with a_client() as (client, vendor):
        client.sign_in(vendor.pair("alice", life_s=codex.EARLY_S - 60))
        with open(client.folder / "auth.lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            turn = client.start()
            wait_until(lambda: vendor.seen("token"), what="the spend")
            assert client.tokens()[1] == ("alice", "f1", 1)
        assert client.end_of(turn).subject == "alice"
        assert client.tokens()[1] == ("alice", "f1", 2) and spends(vendor) == [(1, "granted")]
        # It writes through a link, and there the second lock is that of the link's target.
        client.sign_in(vendor.pair("alice", life_s=codex.EARLY_S - 60))
        client.path.rename(client.folder / "elsewhere.json")
        client.path.symlink_to("elsewhere.json")
        assert client.run().subject == "alice"
        assert client.path.is_symlink() and client.tokens()[1] == ("alice", "f2", 2)
        assert (client.folder / "elsewhere.json.lock").exists()


def test_two_clients_at_once_end_the_login_they_share():
    with a_client() as (client, vendor):
        client.sign_in(vendor.pair("alice", life_s=codex.EARLY_S - 60))
        both = threading.Barrier(2, timeout=10)
        for _ in range(2):
            vendor.before("token", both.wait)
        turns = [client.start() for _ in range(2)]
        for turn in turns:
            client.end_of(turn)
        assert spends(vendor)[:2] == [(1, "granted"), (1, "reused")], spends(vendor)
        assert not vendor.is_alive("f1") and client.run().subject is None


if __name__ == "__main__":
    runner.main()
