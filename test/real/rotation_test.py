#!/usr/bin/env python3
"""The main job against a real authorization server: panva's oidc-provider, rotation on, no grace.
Two concurrent spends there end the family, so everything here rests on there being one."""

import pathlib
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import harness  # noqa: E402
import runner  # noqa: E402
from callers import assert_all_served, crowd  # noqa: E402
from harness import World  # noqa: E402
from oidc import OidcServer  # noqa: E402

CALLERS = 16
ROTATIONS = 50
ACCESS_TTL_S = 5
# A caller that wants this much life left makes the pair due when it is older than the rest of its
# life: one rotation in a good second instead of one in three.
WISH = "4s"


def add_from(world, server, name="work"):
    """Hand a fresh grant over by discovery."""
    path = world.write_file("given.json", server.pair("alice"))
    world.cw("add", name, "--provider", server.issuer, "--client-id", server.client_id,
             "--from", path)
    path.unlink()


@runner.limit(150)
def test_fifty_rotations_sixteen_callers_and_one_that_stalls():
    with World() as world:
        server = OidcServer(world, ACCESS_TTL_S, delay_ms=50)
        add_from(world, server)

        def spends():
            return server.families()[0]["spends"]

        def use(access):
            return server.subject_of(access) == "alice"

        crew = crowd(world, "work", CALLERS, WISH, use, until=lambda: spends() >= ROTATIONS)
        assert_all_served(crew, answers_min=ROTATIONS)
        [family] = server.families()
        assert family["alive"] and not server.events("refused") and not server.events("revoked")
        # Every pair the server issued reached a caller (the first may have been too short for the
        # wish): no spend was for nothing.
        handed_out = len(set().union(*(caller.seen for caller in crew)))
        assert family["spends"] in (handed_out - 1, handed_out), (family["spends"], handed_out)
        # What is held now is the end of the chain: it can be spent once more. (A renewal is content
        # with a pair that is only just there.)
        time.sleep(ACCESS_TTL_S / 4 + 0.2)
        world.cw("renew", "work")
        assert server.families()[0]["alive"] and spends() == family["spends"] + 1
        leaks = harness.scan_for_tokens(world, server.tokens())
        assert not leaks, leaks
    print(f"# {sum(caller.answers for caller in crew)} answers, {family['spends']} spends")


def test_a_renewal_wished_for_by_sixteen_at_once_is_one_spend():
    with World() as world:
        server = OidcServer(world, access_ttl=600, delay_ms=200)
        add_from(world, server)
        before = server.families()[0]["spends"]
        start = threading.Barrier(CALLERS)

        def renew(_):
            start.wait()
            return world.api("POST", "/v1/profiles/work/renew")

        answers = runner.in_threads(CALLERS, renew)
        assert all(answer.status == 200 for answer in answers), answers
        [family] = server.families()
        assert family["alive"] and family["spends"] == before + 1, family


def test_the_server_is_as_merciless_as_it_should_be():
    # Without credwarden: the second presentation of a refresh token ends the family.
    with World() as world:
        server = OidcServer(world)
        pair = server.pair()
        successor = server.spend(pair["refresh_token"])
        assert successor.status == 200
        assert server.spend(pair["refresh_token"]).status == 400
        assert server.spend(successor.json["refresh_token"]).status == 400
        assert server.subject_of(successor.json["access_token"]) is None
        [family] = server.families()
        assert not family["alive"] and server.events("revoked")


if __name__ == "__main__":
    runner.main()
