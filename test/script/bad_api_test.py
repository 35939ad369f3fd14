#!/usr/bin/env python3
"""Clients of the socket that send garbage, half a request, too much, too often, or do not read:
each gets a problem it can read or is dropped, and the good one beside them is served at once."""

import contextlib
import http.client
import json
import random
import resource
import time

import runner
from harness import World, ask
from refusals import TOKEN, assert_problem, profiles
from runner import assert_took, in_threads, skip, wait_until

AT_ONCE_S = 1.0
TOKEN_OF_WORK = "/v1/profiles/work/token"
HOST = b"Host: localhost\r\n"
STATUS = b"GET /v1/status HTTP/1.1\r\n" + HOST
ADD = b"POST /v1/profiles/a?provider=lab HTTP/1.1\r\n" + HOST


def furnish(world, **options):
    lab = world.start_lab(**{"access_life": "1h", **options})
    world.write_provider("lab", **lab.provider_keys())
    world.add("work", "lab", lab.login("alice"))
    return lab


def read_answer(peer):
    """One answer off the wire: (status, headers, body). The status is 0 when there is none."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = peer.recv(65536)
        if not piece:
            return 0, {}, got
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    while len(body) < int(headers["Content-Length"]):
        body += peer.recv(65536)
    return int(first.split()[1]), headers, body


def send(world, request):
    with world.raw_socket(timeout=8) as peer:
        with contextlib.suppress(BrokenPipeError):
            peer.sendall(request)
        return read_answer(peer)


class GoodClient:
    """Asks for tokens on new and on kept connections, and is never kept waiting. As every HTTP
    client must, it takes another connection when the kept one was closed while it was idle."""

    def __init__(self, world):
        self.world, self.kept = world, world.connection(timeout=5)
        self.ask()

    def ask(self, times=3):
        for _ in range(times):
            for connection in (self.kept, self.world.connection(timeout=5)):
                began = time.monotonic()
                try:
                    answer = ask(connection, "GET", TOKEN_OF_WORK)
                except (ConnectionError, http.client.RemoteDisconnected):
                    assert connection is self.kept, "a new connection was closed"
                    connection.close()
                    answer = ask(connection, "GET", TOKEN_OF_WORK)
                assert answer.status == 200 and answer.json["access_token"], answer
                assert_took(began, AT_ONCE_S, "a good client")
                if connection is not self.kept:
                    connection.close()


def room_for(descriptors):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < descriptors:
        skip(f"{descriptors} descriptors are needed, {hard} may be had")
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))


def test_what_is_no_http_gets_a_problem_that_says_what_is_wrong():
    rows = (
        (b"\x00\xff\x01garbage\r\n\r\n", 400, "The request line is not 'METHOD /path HTTP/1.1'"),
        (b"\x16\x03\x01\x02\x00\x01\x00" + b"a" * 99 + b"\r\n\r\n", 400, "The request line is"),
        (b"GET /v1/status\r\n\r\n", 400, "The request line is not"),
        (b"\r\n\r\n" + STATUS + b"\r\n", 400, "The request line is not"),
        (b"GET /v1/status HTTP/1.0\r\n\r\n", 505, "Only HTTP/1.1 is spoken here"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "Only HTTP/1.1 is spoken here"),
        (b"GET /v1/status HTTP/1.1\r\n\r\n", 400, "The request has no Host header"),
        (STATUS + b"Host: other\r\n\r\n", 400, "more than one Host header"),
        (STATUS + b"X: a\rb\r\n\r\n", 400, "A carriage return stands without its line feed"),
        (STATUS + b" folded\r\n\r\n", 400, "starts with a blank (obsolete line folding)"),
        (STATUS + b"X : a\r\n\r\n", 400, "header"),
        (STATUS + b"X: \x00\r\n\r\n", 400, "header"),
        (STATUS + b"X: " + b"y" * 20000 + b"\r\n\r\n", 431, "The request's head is too large"),
        (b"GET /" + b"x" * 70000, 431, "The request's head is too large"),
        (STATUS + b"A: b\r\n" * 100 + b"\r\n", 431, "The request has too many header lines"),
        (STATUS.replace(b"/v1", b"//v1") + b"\r\n", 400, "is not a well-formed '/path?query'"),
        (STATUS.replace(b"/v1", b"http://x/v1") + b"\r\n", 400, "is not a well-formed"),
        (STATUS.replace(b"status", b"%0") + b"\r\n", 400, "is not a well-formed"),
        (STATUS + b"Expect: 200-maybe\r\n\r\n", 417, "The only expectation that can be met"),
        (ADD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, "more than one"),
        (ADD + b"Content-Length: 5, 5\r\n\r\nhello", 400, "is not a plain decimal number"),
        (ADD + b"Content-Length: -1\r\n\r\n", 400, "is not a plain decimal number"),
        (ADD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400, "is not a plain decimal number"),
        (ADD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", 400, "contradict"),
        (ADD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "is 'chunked'"),
        (ADD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "The chunked body is malformed"),
        (ADD + b"Transfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n", 400, "extensions"),
    )
    with World() as world:
        furnish(world)
        good = GoodClient(world)
        for request, status, text in rows:
            got, headers, body = send(world, request)
            assert got == status, (request[:80], got, body)
            assert headers["Content-Type"] == "application/problem+json"
            assert headers["Connection"] == "close", "what follows garbage is not read"
            assert text in json.loads(body)["detail"], (text, body)
            assert json.loads(body)["code"] == "http-malformed"
        good.ask()
        assert set(profiles(world)) == {"work"}


def test_garbage_by_chance_harms_nobody():
    chance = random.Random(runner.seed())
    good_bytes = ADD + b"Content-Length: 2\r\n\r\n{}" + STATUS + b"\r\n"
    with World() as world:
        furnish(world)
        good = GoodClient(world)
        pid = world.daemon_pid()
        for _ in range(300):
            garbage = bytearray(chance.choice((good_bytes, chance.randbytes(200))))
            for _ in range(chance.randrange(1, 6)):
                at = chance.randrange(len(garbage))
                garbage[at:at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
            with world.raw_socket(timeout=5) as peer, contextlib.suppress(OSError):
                for cut in range(0, len(garbage), 50):
                    peer.sendall(garbage[cut:cut + 50])
        good.ask()
        assert world.daemon_pid() == pid and "work" in profiles(world)


def test_requests_for_what_there_is_not_are_told_what_there_is():
    rows = (
        ("GET", "/", 404, "not-found", "There is nothing at /; /v1/openapi.json says what"),
        ("GET", "/v2/status", 404, "not-found", "There is nothing at /v2/status"),
        ("GET", "/v1/profiles/", 404, "not-found", "There is nothing at /v1/profiles/"),
        ("GET", "/v1/profiles/work/secrets", 404, "not-found", "There is nothing at"),
        ("PUT", "/v1/status", 405, "method-not-allowed", "PUT is not possible here, only GET"),
        ("get", "/v1/status", 405, "method-not-allowed", "get is not possible here, only GET"),
        ("GET", "/v1/profiles/work/renew", 405, "method-not-allowed", "only POST"),
        ("GET", "/v1/status?x=1", 400, "usage", "'x' is not known here: status takes no param"),
        ("GET", "/v1/profiles/work/token?min_tll=1s", 400, "usage", "did you mean 'min_ttl'?"),
        ("GET", "/v1/profiles/work/token?min_ttl=1s&min_ttl=2s", 400, "usage", "is given twice"),
        ("GET", "/v1/profiles/work/token?min_ttl=soon", 400, "usage", "min_ttl: expected a durat"),
        ("GET", "/v1/profiles/work/token?min_ttl=-1s", 400, "usage", "min_ttl: expected a durat"),
        ("GET", "/v1/profiles/work/token?min_ttl=99999999d", 400, "usage", "of at most 365d"),
        ("GET", "/v1/profiles/work/token?timeout=1d", 400, "usage", "of at most 10m"),
        ("GET", "/v1/profiles/work/token?min_ttl=20h", 422, "wish-too-long", "the most is 1h"),
        ("GET", "/v1/profiles/wrok", 404, "profile-unknown", "did you mean work?"),
        ("GET", "/v1/profiles/%ff", 400, "name-invalid", "is not a profile name: 1 to 64 letters"),
        ("GET", "/v1/profiles/%00", 400, "name-invalid", "is not a profile name"),
        ("GET", "/v1/profiles/..%2f..%2fetc", 400, "name-invalid", "is not a profile name"),
        ("GET", "/v1/profiles/-rf", 400, "name-invalid", "is not a profile name"),
        ("GET", f"/v1/profiles/{'x' * 65}", 400, "name-invalid", "is not a profile name"),
        ("GET", "/v1/profiles/work/history?limit=x", 400, "usage", "limit: expected a number"),
        ("GET", "/v1/events?after=-1", 400, "usage", "after: expected a number"),
        ("GET", "/v1/events?follow=perhaps", 400, "usage", "follow: expected yes or no"),
        ("POST", "/v1/profiles/work/policy", 400, "usage", "to: expected never, standby or always"),
        ("POST", "/v1/profiles/work/policy?to=often", 400, "usage", "to: expected never, standby"),
        ("POST", "/v1/profiles/work/rename?to=a%20b", 400, "name-invalid", "to: expected a name"),
        ("POST", "/v1/profiles/work/rename", 400, "name-invalid", "to: expected a name"),
        ("POST", "/v1/backup?path=relative", 400, "usage", "path: expected an absolute path"),
        ("POST", "/v1/profiles/a", 400, "usage", "provider: which provider is this login from?"),
        ("POST", "/v1/profiles/a?provider=lab&as_of=now", 400, "usage", "as_of: expected a time"),
        ("POST", "/v1/profiles/a?provider=lab&policy=x", 400, "usage", "policy: expected never"),
        ("POST", "/v1/profiles/a?provider=lab", 422, "input-invalid", "stdin: empty"),
        ("DELETE", "/v1/profiles/nobody", 404, "profile-unknown", "there is no profile nobody"),
    )
    with World() as world:
        furnish(world)
        connection = world.connection(timeout=5)  # one for all: a problem is not the end of it
        for method, target, status, code, text in rows:
            answer = ask(connection, method, target)
            assert_problem(answer, status, code, text)
            if status == 405:
                assert answer.headers["Allow"] in text, answer.headers
        body = ask(connection, "GET", "/v1/status", body="not expected")
        assert_problem(body, 400, "usage", "status takes no body")
        # An answer to HEAD would have no body, so nothing may follow this one.
        assert send(world, STATUS.replace(b"GET", b"HEAD") + b"\r\n")[1]["Connection"] == "close"


def test_pipelined_requests_are_answered_in_order():
    with World() as world:
        furnish(world)
        with world.raw_socket(timeout=8) as peer:
            for target in (b"token", b"history", b"nothing", b"token"):
                peer.sendall(b"GET /v1/profiles/work/" + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
            stream = peer.makefile("rb")
            statuses = []
            for _ in range(4):
                statuses.append(int(stream.readline().split()[1]))
                length = 0
                while (line := stream.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length"):
                        length = int(line.split()[1])
                body = json.loads(stream.read(length))
            assert statuses == [200, 200, 404, 200] and body["access_token"]


def test_half_sent_requests_are_thrown_out_in_time_and_delay_nobody():
    halves = (b"G", STATUS, STATUS + b"X: y", ADD + b"Content-Length: 100\r\n\r\n{",
              ADD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
              ADD + b"Content-Length: 1\r\n\r\n")
    with World() as world:
        furnish(world)
        good = GoodClient(world)
        with contextlib.ExitStack() as stack:
            stalled = [stack.enter_context(world.raw_socket(timeout=8)) for _ in range(150)]
            for number, peer in enumerate(stalled):
                peer.sendall(halves[number % len(halves)])
            good.ask(10)
            for peer in stalled[:len(halves)]:
                status, _, body = read_answer(peer)
                assert status == 408 and b"The request was not sent in time" in body, (status, body)
            good.ask()
        assert set(profiles(world)) == {"work"}


def test_a_body_that_is_too_large_is_refused_by_its_announcement():
    with World() as world:
        furnish(world)
        good = GoodClient(world)
        status, _, body = send(world, ADD + b"Content-Length: 2000000\r\n\r\n")
        assert status == 413 and b"The request's body is too large" in body
        chunk = b"ffff\r\n" + b" " * 0xFFFF + b"\r\n"
        status, _, body = send(world, ADD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17)
        assert status == 413, (status, body)
        # Many at once, each of a size that is allowed: together they have a limit as well.
        with contextlib.ExitStack() as stack:
            statuses = []
            for _ in range(12):
                peer = stack.enter_context(world.raw_socket(timeout=8))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    peer.sendall(ADD + b"Content-Length: 1048575\r\n\r\n" + b" " * 1048574)
                peer.settimeout(0.3)
                with contextlib.suppress(TimeoutError):
                    statuses.append(read_answer(peer)[0])
            assert statuses and set(statuses) == {503}, statuses
            good.ask()
        good.ask()
        lab = world.lab
        world.add("home", "lab", lab.login("bob"))


def flood(world, good, beginning, count=700):
    """So many connections, each with this beginning of a request, one after the other."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            peer = stack.enter_context(world.raw_socket(timeout=5))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                peer.sendall(beginning)
            if number % 100 == 99 or number == count - 1:
                good.ask(1)
        began = time.monotonic()
        assert world.cw("token", "work").stdout
        assert_took(began, AT_ONCE_S, "a token in a flood")
    good.ask()


def test_a_flood_of_idle_connections_makes_room_for_the_good_one():
    room_for(1024)
    with World() as world:
        furnish(world)
        flood(world, GoodClient(world), b"")


def test_a_flood_of_half_sent_requests_makes_room_for_the_good_one():
    room_for(1024)
    with World() as world:
        furnish(world)
        flood(world, GoodClient(world), STATUS)


def test_more_callers_than_may_wait_are_told_to_come_back():
    with World() as world:
        lab = furnish(world)
        lab.script("token", delay_before_ms=1500)
        target = "/v1/profiles/work/renew?timeout=8s"
        answers = in_threads(140, lambda _: world.api("POST", target, timeout=15))
        served = [answer for answer in answers if answer.status == 200]
        assert 128 <= len(served) <= 130, len(served)
        for answer in answers:
            if answer.status != 200:
                assert_problem(answer, 503, "busy", "too many callers wait; try again")
        assert lab.family("f1")["spends"] == 1 and profiles(world)["work"]["waiters"] == 0


def test_callers_that_leave_while_they_wait_are_forgotten():
    with World() as world:
        lab = furnish(world)
        good = GoodClient(world)
        lab.script("token", delay_before_ms=1500)
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                peer = stack.enter_context(world.raw_socket())
                peer.sendall(b"POST /v1/profiles/work/renew HTTP/1.1\r\n" + HOST + b"\r\n")
            wait_until(lambda: profiles(world)["work"]["waiters"] == 100, what="the waiters")
            good.ask()
        wait_until(lambda: profiles(world)["work"]["waiters"] == 0, what="their end")
        wait_until(lambda: profiles(world)["work"]["generation"] == 2, what="the spend they began")
        good.ask()
        assert lab.family("f1")["spends"] == 1


def test_readers_of_events_that_do_not_read_delay_nobody():
    with World() as world:
        furnish(world)
        good = GoodClient(world)
        follow = b"GET /v1/events?follow=yes HTTP/1.1\r\n" + HOST + b"\r\n"
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(world.raw_socket(timeout=8))
            reader.sendall(follow)
            for _ in range(31):
                stack.enter_context(world.raw_socket()).sendall(follow)
            wait_until(lambda: send(world, follow)[0] == 503, what="the limit of streams")
            for number in range(60):
                name = ("work", "home")[number % 2], ("home", "work")[number % 2]
                answer = world.api("POST", f"/v1/profiles/{name[0]}/rename?to={name[1]}")
                assert answer.status == 200, answer
            good.ask()
            got = b""
            while got.count(b"event: renamed") < 60:
                got += reader.recv(65536)
            assert not TOKEN.search(got.decode())
        wait_until(lambda: send(world, STATUS + b"\r\n")[0] == 200, what="an end")


def test_a_profile_that_is_removed_meanwhile_is_unknown_not_a_failure_of_the_store():
    with World() as world:
        lab = furnish(world)
        codes = set()
        for number in range(20):
            world.add(f"p{number}", "lab", lab.login("alice"))
            with world.raw_socket(timeout=8) as remover, world.raw_socket(timeout=8) as other:
                path = f"/v1/profiles/p{number}".encode()
                remover.sendall(b"DELETE " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
                other.sendall(b"POST " + path + b"/policy?to=always HTTP/1.1\r\n" + HOST + b"\r\n")
                assert read_answer(remover)[0] == 200
                status, _, body = read_answer(other)
            codes.add(json.loads(body).get("code", "done"))
            assert status in (200, 404), (status, body)
        assert codes <= {"done", "profile-unknown"}, codes


if __name__ == "__main__":
    runner.main()
