#!/usr/bin/env python3
"""The real Codex client and credwarden on one store: it renews while we watch, we renew while it
runs, and both at once."""

import contextlib
import pathlib
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import codex  # noqa: E402
import runner  # noqa: E402
from codex import Codex, Vendor  # noqa: E402
from harness import World  # noqa: E402
from runner import wait_until  # noqa: E402

ROUNDS, SPENDS = 20, 3


@contextlib.contextmanager
def a_shared_client(policy, **vendor_options):
    """(world, client, vendor): signed in, taken over by its name, and bound."""
    codex.program()
    codex.cut_off()
    with World() as world, Vendor(**vendor_options) as vendor:
        world.write_provider("vendor", **vendor.provider_keys(default_policy=policy))
        client = Codex(world, vendor)
        client.sign_in(vendor.pair("alice", life_s=codex.EARLY_S - 60))
        world.cw("add", "work", "--provider", "vendor", "--from", "codex")
        said = world.cw("bind", "work", "--to", "codex").stdout
        assert "in step" in said, said
        yield world, client, vendor
        assert not vendor.seen("stray"), vendor.seen("stray")


def profile(world):
    return world.api("GET", "/v1/profiles/work").json


def in_step(world):
    return wait_until(lambda: world.api("GET", "/v1/consumers").json["consumers"][0]["state"] ==
                      "in-step", 8, lambda: world.cw("consumers").stdout)


def test_it_renews_while_we_watch():
    with a_shared_client("never") as (world, client, vendor):
        assert client.run().subject == "alice"
        wait_until(lambda: profile(world)["generation"] == 2, 8, "its new pair to be adopted")
        in_step(world)
        assert client.tokens() == 2 * (("alice", "f1", 2),)
        assert [event["outcome"] for event in vendor.seen("token")] == ["granted"]
        assert vendor.name(world.cw("token", "work").stdout.strip()) == ("alice", "f1", 2)


def test_we_renew_while_it_runs():
    with a_shared_client("always") as (world, client, vendor):
        assert client.store()["tokens"]["refresh_token"] == "", "it has nothing to spend"
        vendor.further = 6  # several requests in one turn
        process = client.start()
        for _ in range(4):
            world.cw("renew", "work")
        assert client.end_of(process).subject == "alice"
        in_step(world)
        assert {event["reason"] for event in vendor.seen("token")} == {None}, "only we have spent"
        assert client.store()["auth_mode"] == "chatgpt"


@runner.limit(90)
def test_both_at_once_twenty_times():
    with a_shared_client("always") as (world, client, vendor):
        rounds = 0
        # Wishes within two seconds of each other are one spend, so a fast machine needs more rounds.
        while rounds < ROUNDS or len(vendor.seen("token")) < SPENDS:
            rounds += 1
            thread = threading.Thread(target=lambda: world.cw("renew", "work"))
            process = client.start()
            thread.start()
            turn = client.end_of(process)
            thread.join()
            assert turn.subject == "alice", turn
            in_step(world)
            assert client.tokens() == (("alice", "f1", profile(world)["generation"]), "")
        assert vendor.is_alive("f1")
        spends = vendor.seen("token")
        assert all(event["outcome"] == "granted" for event in spends), spends
        assert len({event["generation"] for event in spends}) == len(spends)


if __name__ == "__main__":
    runner.main()
