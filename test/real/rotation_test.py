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
from harness import World  # noqa: E402
from oidc import OidcServer  # noqa: E402

CALLERS = 16
ROTATIONS = 50
ACCESS_TTL_S = 5
# A caller that wants this much life left makes the pair due when it is older than the rest of its
# life: about one rotation in 1.2 s instead of one in 3.
WISH_S = 4


def add_from(world, server, name="work"):
    """Hand a fresh grant over by discovery."""
    path = world.write_file("given.json", server.pair("alice"))
    world.cw("add", name, "--provider", server.issuer, "--client-id", server.client_id,
             "--from", path)
    path.unlink()


class Caller(threading.Thread):
    """Asks for a token and uses it at once, again and again."""

    def __init__(self, world, server, wish_s, over):
        super().__init__(daemon=True)
        self.world, self.server, self.over = world, server, over
        self.target = f"/v1/profiles/work/token?min_ttl={wish_s}s"
        self.answers, self.failures, self.generations = 0, [], set()

    def run(self):
        connection = self.world.connection()
        while not self.over.is_set():
            try:
                self.once(connection)
            except Exception as error:  # a caller's failure is the story's, told at its end
                self.failures.append(repr(error))
                connection = self.world.connection()
            time.sleep(0.02)

    def once(self, connection):
        answer = harness.ask(connection, "GET", self.target)
        if answer.status != 200:
            self.failures.append(repr(answer))
            return
        access = answer.json["access_token"]
        self.generations.add(hash(access))
        if self.server.subject_of(access) != "alice":
            self.failures.append("the server refused a token that was just handed out")
            return
        self.answers += 1


class Staller(threading.Thread):
    """Sends half a request and then nothing; comes back whenever it is thrown out."""

    def __init__(self, world, over):
        super().__init__(daemon=True)
        self.world, self.over, self.times = world, over, 0

    def run(self):
        while not self.over.is_set():
            with self.world.raw_socket(timeout=0.2) as peer:
                peer.sendall(b"GET /v1/profiles/work/token HTTP/1.1\r\nHost: local")
                self.times += 1
                self.wait_for_the_end(peer)

    def wait_for_the_end(self, peer):
        while not self.over.is_set():
            try:
                if not peer.recv(4096):
                    return
            except TimeoutError:
                pass
            except OSError:
                return


@runner.limit(150)
def test_fifty_rotations_sixteen_callers_and_one_that_stalls():
    with World() as world:
        server = OidcServer(world, ACCESS_TTL_S, delay_ms=50)
        add_from(world, server)
        over = threading.Event()
        callers = [Caller(world, server, WISH_S, over) for _ in range(CALLERS)]
        staller = Staller(world, over)
        for thread in (staller, *callers):
            thread.start()
        runner.wait_until(lambda: server.families()[0]["spends"] >= ROTATIONS, timeout=120,
                          what=f"{ROTATIONS} rotations", pause=0.2)
        over.set()
        for thread in (staller, *callers):
            thread.join(40)

        failures = [failure for caller in callers for failure in caller.failures]
        assert not failures, f"{len(failures)} failed, the first: {harness.redact(failures[0])}"
        assert all(caller.answers > ROTATIONS for caller in callers)
        assert staller.times > 1, "the one that stalls was never thrown out"

        [family] = server.families()
        assert family["alive"] and not server.events("refused") and not server.events("revoked")
        # Every pair the server ever issued reached the callers: no spend was for nothing.
        handed_out = set().union(*(caller.generations for caller in callers))
        assert family["spends"] in (len(handed_out) - 1, len(handed_out)), (family, len(handed_out))
        # What is held now is the end of the chain: it can be spent once more.
        assert world.cw("renew", "work").code == 0
        [family] = server.families()
        assert family["alive"]
        leaks = harness.scan_for_tokens(world, server.tokens())
        assert not leaks, leaks
    print(f"# {sum(caller.answers for caller in callers)} answers, {family['spends']} spends")


@runner.limit(60)
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
