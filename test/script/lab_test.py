"""The lab is held to its contract (lab/README.md): other stories build on what it says."""

import contextlib
import hashlib
import http.client
import json
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

from harness import Lab, bearer, program
from runner import in_threads, main, wait_until


class LabUnderTest(Lab):
    def __init__(self, process, folder):
        super().__init__(process.stdout.readline().decode().strip())
        self.process, self.folder = process, folder
        self.port = urllib.parse.urlsplit(self.url).port

    def spend(self, refresh, **more):
        form = urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": refresh,
                                       **more})
        return self.ask("POST", "/oauth/token", form,
                        {"Content-Type": "application/x-www-form-urlencoded"})

    def raw(self, text, timeout=10):
        """Send bytes, read to the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as peer:
            peer.sendall(text.encode())
            answer = b""
            while piece := peer.recv(65536):
                answer += piece
        return answer

    def client(self, *words, **options):
        command = [str(program("credwarden-lab-client")), "--lab", self.url, *map(str, words)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              timeout=60, check=False, **options)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def lab(**options):
    with tempfile.TemporaryDirectory(prefix="cw-lab-") as folder:
        words = [str(program("credwarden-lab")), "--quiet", "--max-seconds", "60"]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            yield LabUnderTest(process, pathlib.Path(folder))
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0  # with sanitizers: also that nothing leaked
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def short_id(token):
    return hashlib.sha256(token.encode()).hexdigest()[:10]


def is_good(lab, pair):
    """Proof by doing: is the refresh token still worth a pair? Spends it."""
    return lab.spend(pair["refresh_token"]).status == 200


def is_lost(call):
    try:
        call()
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return True
    return False


# ---- the program ----

def test_it_ends_on_sigterm_with_requests_under_way():
    with lab(delay_before="30s") as it:
        pair = it.login()
        with socket.create_connection(("127.0.0.1", it.port)) as idle, \
                socket.create_connection(("127.0.0.1", it.port)) as busy:
            body = f"grant_type=refresh_token&refresh_token={pair['refresh_token']}"
            busy.sendall((f"POST /oauth/token HTTP/1.1\r\nHost: localhost\r\n"
                          f"Content-Type: application/x-www-form-urlencoded\r\n"
                          f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
            wait_until(lambda: it.stats()["endpoints"]["token"]["open"] == 1)
            it.process.send_signal(signal.SIGTERM)
            assert it.process.wait(10) == 0
            assert idle.recv(1) == b"" and busy.recv(1) == b""


def test_it_ends_by_itself():
    with lab(max_seconds=1) as it:
        assert it.process.wait(10) == 0


def test_it_refuses_what_is_not_loopback_and_what_it_does_not_know():
    for words, code in ((["--bind", "0.0.0.0"], 1), (["--bind", "192.0.2.1"], 1),
                        (["--bind", "::"], 1), (["--bind", "elsewhere"], 1),
                        (["--port", "65536"], 2), (["--access-life", "soon"], 2),
                        (["--grease", "1s"], 2), (["--port"], 2), (["word"], 2)):
        done = subprocess.run([str(program("credwarden-lab")), *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=10, check=False)
        assert done.returncode == code, (words, done)
        assert done.stdout == b"" and b"credwarden-lab: " in done.stderr


def test_the_log_file_has_every_line_and_no_token():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "events.jsonl"
        with lab(log=path) as it:
            pair = it.login()
            it.use(pair["access_token"])
            it.use("lab-at-a-stranger-with-a-\"quote")
            it.spend(pair["refresh_token"])
            assert path.read_text() == it.ask("GET", "/lab/log").text
            text = path.read_text()
            assert "lab-at-" not in text and "lab-rt-" not in text
            assert len(text.splitlines()) == 4
            after = it.log(after=2)
            assert [line["seq"] for line in after] == [3, 4]


# ---- tokens ----

def test_a_login_works_rotates_and_dies_of_reuse():
    with lab() as it:
        first = it.login(org="acme")
        assert first["expires_at"] - first["obtained_at"] == 5000
        assert first["expires_in"] == 5 and first["organization"]["name"] == "acme"
        identity = it.use(first["access_token"], "/oauth/identity").json
        assert identity["account"]["uuid"] == first["account"]["uuid"]
        assert identity["organization"]["uuid"] == first["organization"]["uuid"]
        assert identity["sub"] == "alice"

        second = it.spend(first["refresh_token"]).json
        assert it.use(first["access_token"]).status == 200  # kills_access is off
        refused = it.spend(first["refresh_token"])
        assert refused.status == 400 and refused.json["error"] == "invalid_grant"
        assert it.use(second["access_token"]).status == 401
        assert it.spend(second["refresh_token"]).status == 400

        spends = it.log(endpoint="token")
        assert [line["outcome"] for line in spends] == ["granted", "reused", "revoked"]
        assert [line["committed"] for line in spends] == [True, False, False]
        assert [line["reuse"] for line in spends] == [False, True, False]
        assert [line["family_revoked"] for line in spends] == [False, True, False]
        assert spends[0]["presented"] == short_id(first["refresh_token"])
        assert spends[0]["issued_refresh"] == short_id(second["refresh_token"])
        family = it.family(first["family"])
        assert not family["alive"] and family["ended_by"] == "reuse"
        assert (family["generation"], family["spends"], family["reuses"]) == (2, 1, 1)


def test_the_log_proves_one_spend_a_rotation():
    with lab() as it:
        pair = it.login()
        for _ in range(20):
            pair = {**pair, **it.spend(pair["refresh_token"]).json}
        lines = it.log(endpoint="token")
        assert len({line["presented"] for line in lines}) == len(lines) == 20
        assert sum(line["rotated"] for line in lines) == it.family("f1")["generation"] - 1 == 20
        for before, after in zip(lines, lines[1:]):
            assert before["issued_refresh"] == after["presented"]
        assert it.family("f1")["refresh"] == short_id(pair["refresh_token"])


def test_of_sixteen_at_once_one_wins_and_the_log_shows_the_crowd():
    with lab(family_revocation="off", delay_before="300ms") as it:
        pair = it.login()
        answers = in_threads(16, lambda _: it.spend(pair["refresh_token"]).status)
        assert sorted(answers) == [200] + [400] * 15
        lines = it.log(endpoint="token")
        assert sum(line["committed"] for line in lines) == 1
        assert sum(line["reuse"] for line in lines) == 15
        assert max(line["in_flight"] for line in lines) == 16
        assert it.family("f1")["alive"]


def test_settings_change_under_way():
    with lab(grace="1h", kills_access="on", dialect="older") as it:
        pair = it.login()
        again = it.spend(pair["refresh_token"]).json
        assert it.use(pair["access_token"]).status == 403
        assert it.spend(pair["refresh_token"]).status == 200  # within the grace
        it.config(grace_ms=0, dialect="newer")
        assert it.config()["grace_ms"] == 0
        assert it.use(pair["access_token"]).status == 401
        assert is_good(it, again)
        assert it.ask("POST", "/lab/config", {"grace": 1}).status == 400


def test_revocation_by_control():
    with lab() as it:
        pair = it.login(access_life="1h")
        it.revoke(pair["family"], "access")
        assert it.use(pair["access_token"]).status == 401
        pair = it.spend(pair["refresh_token"]).json
        it.revoke("f1")
        assert it.use(pair["access_token"]).status == 401 and not is_good(it, pair)
        assert it.ask("POST", "/lab/revoke?family=f2").status == 400
        assert it.ask("POST", "/lab/revoke?family=f1&what=all").status == 400


def test_access_expires_on_time():
    with lab(access_life="300ms") as it:
        pair = it.login()
        assert it.use(pair["access_token"]).status == 200
        time.sleep(0.35)
        assert it.use(pair["access_token"]).status == 401
        assert it.log(endpoint="resource")[-1]["outcome"] == "expired"


# ---- the commit ----

def test_lost_before_the_commit_the_old_token_lives():
    with lab() as it:
        pair = it.login()
        it.script("token", lose_before_commit=True)
        assert is_lost(lambda: it.spend(pair["refresh_token"]))
        line = it.log(endpoint="token")[-1]
        assert not line["committed"] and line["status"] == 0 and line["outcome"] == "lost"
        assert line["presented"] == short_id(pair["refresh_token"])
        assert is_good(it, pair)


def test_lost_after_the_commit_the_old_token_is_spent():
    with lab() as it:
        pair = it.login()
        it.script("token", lose_after_commit=True)
        assert is_lost(lambda: it.spend(pair["refresh_token"]))
        line = it.log(endpoint="token")[-1]
        assert line["committed"] and line["rotated"] and line["status"] == 0
        assert not is_good(it, pair)
        assert not it.family("f1")["alive"]


def test_a_line_is_there_at_the_commit_not_at_the_answer():
    with lab() as it:
        pair = it.login()
        it.script("token", delay_after_ms=30000)
        with socket.create_connection(("127.0.0.1", it.port)) as peer:
            body = f"grant_type=refresh_token&refresh_token={pair['refresh_token']}"
            peer.sendall((f"POST /oauth/token HTTP/1.1\r\nHost: localhost\r\n"
                          f"Content-Type: application/x-www-form-urlencoded\r\n"
                          f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
            lines = wait_until(lambda: it.log(endpoint="token"))
            assert lines[0]["committed"]
            counted = it.stats()["endpoints"]["token"]
            assert (counted["arrived"], counted["decided"], counted["open"]) == (1, 1, 1)


def test_a_request_commits_though_its_client_has_gone():
    with lab() as it:
        pair = it.login()
        it.script("token", delay_before_ms=300)
        with socket.create_connection(("127.0.0.1", it.port)) as peer:
            body = f"grant_type=refresh_token&refresh_token={pair['refresh_token']}"
            peer.sendall((f"POST /oauth/token HTTP/1.1\r\nHost: localhost\r\n"
                          f"Content-Type: application/x-www-form-urlencoded\r\n"
                          f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
            wait_until(lambda: it.stats()["endpoints"]["token"]["open"] == 1)
        assert it.log(endpoint="token") == []
        line = wait_until(lambda: it.log(endpoint="token"))[0]
        assert line["committed"] and line["at_ms"] - line["arrived_ms"] >= 300
        assert not is_good(it, pair)


def test_half_a_request_commits_nothing():
    with lab() as it:
        pair = it.login()
        with socket.create_connection(("127.0.0.1", it.port)) as peer:
            body = f"grant_type=refresh_token&refresh_token={pair['refresh_token']}"
            peer.sendall((f"POST /oauth/token HTTP/1.1\r\nHost: localhost\r\n"
                          f"Content-Type: application/x-www-form-urlencoded\r\n"
                          f"Content-Length: {len(body) + 1}\r\n\r\n{body}").encode())
            assert it.use(pair["access_token"]).status == 200  # nobody else waits
        assert it.log(endpoint="token") == []
        assert is_good(it, pair)


def test_replaced_answers_commit_only_when_told_to():
    quirks = ({"status": 503}, {"status": 429, "retry_after": 7}, {"body": "html"},
              {"status": 503, "body": "html"}, {"redirect": "http://127.0.0.1:9/"},
              {"status": 400, "error": "invalid_grant"}, {"status": 500, "body": "nested"})
    with lab() as it:
        for commit in (False, True):
            for quirk in quirks:
                pair = it.login()
                it.script("token", family=pair["family"], commit=commit, **quirk)
                answer = it.spend(pair["refresh_token"])
                assert answer.status != 200 or b"doctype html" in answer.body
                line = it.log(endpoint="token")[-1]
                assert line["committed"] == commit and line["status"] == answer.status
                assert is_good(it, pair) == (not commit), quirk


def test_what_replaced_answers_look_like():
    with lab() as it:
        pair = it.login()
        it.script("token", status=429, retry_after="soon")
        assert it.spend(pair["refresh_token"]).headers["Retry-After"] == "soon"
        it.script("token", status=429, retry_after_date_s=60)
        assert "GMT" in it.spend(pair["refresh_token"]).headers["Retry-After"]
        it.script("token", body="html")
        answer = it.spend(pair["refresh_token"])
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
        it.script("token", status=400, body="nested", error="invalid_request_error")
        assert it.spend(pair["refresh_token"]).json["error"]["type"] == "invalid_request_error"
        it.script("token", redirect="http://127.0.0.1:9/x", status=307)
        answer = it.spend(pair["refresh_token"])
        assert answer.status == 307 and answer.headers["Location"] == "http://127.0.0.1:9/x"
        it.script("token", status=500, body="empty")
        assert it.spend(pair["refresh_token"]).body == b""


# ---- shapes ----

def test_shapes_of_the_pair():
    with lab() as it:
        pair = it.login()

        def spend(**quirk):
            nonlocal pair
            it.script("token", **quirk)
            answer = it.spend(pair["refresh_token"])
            with contextlib.suppress(ValueError, UnicodeDecodeError):
                pair = {**pair, **json.loads(answer.body)}
            return answer

        assert spend(expires_in="string").json["expires_in"] == "5"
        assert "expires_in" not in spend(expires_in="absent").json
        assert spend(set={"expires_in": -1, "more": {}}).json["expires_in"] == -1
        assert "account" not in spend(unset=["account"]).json
        assert spend(duplicate_key="refresh_token").body.count(b'"refresh_token":') == 2
        assert spend(content_type="text/plain").headers["Content-Type"] == "text/plain"
        answer = spend(missing_refresh_token=True)
        assert "refresh_token" not in answer.json
        assert len(spend(huge_mib=3).body) > 3 * 1024 * 1024
        assert spend(changed_subject="mallory").json["account"]["email_address"] == \
            "mallory@lab.invalid"
        assert it.use(pair["access_token"], "/oauth/identity").json["sub"] == "mallory"
        assert b"\xff" in spend(non_utf8=True).body
        assert it.family("f1")["alive"]


def test_torn_and_dripping_bodies():
    with lab() as it:
        pair = it.login()
        it.script("resource", torn_after=4)
        try:
            it.use(pair["access_token"])
            raise AssertionError("the body came whole")
        except http.client.IncompleteRead as torn:
            assert len(torn.partial) == 4
        it.script("resource", drip_ms=30, drip_bytes=4)
        start = time.monotonic()
        answer = it.use(pair["access_token"])
        assert answer.json["ok"] is True
        assert time.monotonic() - start > 0.03 * (len(answer.body) // 4 - 1)


def test_messages_stream_in_pieces():
    with lab(stream_pause="50ms") as it:
        pair = it.login()
        connection = http.client.HTTPConnection("127.0.0.1", it.port, timeout=10)
        connection.request("POST", "/v1/messages", "{}", bearer(pair["access_token"]))
        response = connection.getresponse()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        times, text = [], b""
        while piece := response.read1():
            times.append(time.monotonic())
            text += piece
        connection.close()
        assert len(times) >= 4 and times[-1] - times[0] > 0.15
        assert text.startswith(b"event: message_start") and b"message_stop" in text
        assert it.ask("POST", "/v1/messages", "{}", bearer("lab-at-x")).status == 401
        assert it.ask("POST", "/v1/messages", "{}").status == 401
        assert it.family("f1")["messages"] == 1


def test_usage_counts_messages_and_throttles():
    with lab(usage_gap="60s") as it:
        pair = it.login()
        for _ in range(3):
            it.ask("POST", "/v1/messages", "{}", bearer(pair["access_token"]))
        usage = it.use(pair["access_token"], "/oauth/usage")
        assert usage.json["five_hour"]["utilization"] == 3
        assert usage.json["seven_day_opus"] is None
        throttled = it.use(pair["access_token"], "/oauth/usage")
        assert throttled.status == 429 and 58 <= int(throttled.headers["Retry-After"]) <= 60


def test_discovery_names_this_server():
    with lab() as it:
        for name in ("openid-configuration", "oauth-authorization-server"):
            found = it.ask("GET", f"/.well-known/{name}").json
            assert found["issuer"] == it.url
            assert found["token_endpoint"] == f"{it.url}/oauth/token"


# ---- connections ----

def test_requests_sent_ahead_are_answered_in_order():
    with lab() as it:
        pair = it.login()
        one = f"GET /resource HTTP/1.1\r\nHost: localhost\r\n" \
              f"Authorization: Bearer {pair['access_token']}\r\n"
        it.script("resource", delay_before_ms=100)
        answer = it.raw(f"{one}\r\nGET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n"
                        f"{one}Connection: close\r\n\r\n")
        statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
        assert statuses == [b"200", b"404", b"200"], statuses


def test_doubtful_heads_are_refused():
    good = "GET /resource HTTP/1.1\r\nHost: localhost\r\n"
    with lab() as it:
        for text, status in ((good + "Host: localhost\r\n\r\n", 400),
                             ("GET /resource HTTP/1.1\r\n\r\n", 400),
                             (good + "X: a\r\n b\r\n\r\n", 400),
                             (good.replace("\r\n", "\n") + "\n", 400),
                             (good.replace("localhost", "evil.example") + "\r\n", 421),
                             (good.replace("localhost", "localhost.evil") + "\r\n", 421),
                             (good + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
                             (good + "Content-Length: 99999999\r\n\r\n", 413),
                             (good + "X: " + "y" * 40000 + "\r\n\r\n", 431)):
            answer = it.raw(text)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (text[:80], answer[:80])
        assert it.stats()["endpoints"]["resource"]["arrived"] == 0


def test_bad_scripts_are_refused_whole():
    with lab() as it:
        for body in ("", "[]", "{", '{"on":"token"}', '{"on":"token","quirk":{"sttus":500}}',
                     '{"on":"token","on":"token","quirk":{}}'):
            answer = it.ask("POST", "/lab/script", body)
            assert answer.status == 400, body
        assert "did you mean \"status\"" in it.ask(
            "POST", "/lab/script", {"on": "token", "quirk": {"sttus": 500}}).json[
                "error_description"]
        it.script("token", times=9, status=500)
        assert it.clear_script() == {"waiting": 0}
        assert is_good(it, it.login())
        assert it.ask("POST", "/lab/login").status == 400
        assert it.ask("POST", "/lab/login?subject=a&access_life=x").status == 400


# ---- the clients ----

def test_racing_clients_kill_their_login():
    with lab(access_life="1500ms", delay_before="100ms") as it:
        store = it.folder / "store.json"
        store.write_text(json.dumps(it.login()))
        code, lines = it.client("--name", "racer", "--store", store, "--clients", 4,
                                "--ahead-ms", 700, "--until-seconds", 20)
        assert code == 3
        died = [line for line in lines if "died" in line]
        assert len(died) == 4 and {line["died"] for line in died} == {"invalid_grant"}
        assert sum(line.get("ok", False) for line in lines) > 4
        assert {line["name"] for line in lines} == {f"racer-{n}" for n in (1, 2, 3, 4)}
        family = it.family("f1")
        assert family["ended_by"] == "reuse" and family["reuses"] >= 1


def test_a_client_alone_keeps_its_login():
    with lab(access_life="1s", stream_pause="1ms") as it:
        store = it.folder / "store.json"
        store.write_text(json.dumps(it.login()))
        code, lines = it.client("--name", "alone", "--store", store, "--period-ms", 50,
                                "--ahead-ms", 300, "--until-seconds", 3)
        assert code == 0 and len(lines) > 10 and all(line["ok"] for line in lines)
        family = it.family("f1")
        assert family["alive"] and family["spends"] >= 2 and family["reuses"] == 0
        assert it.log(endpoint="token")[0]["agent"] == "credwarden-lab-client/alone"


def test_a_client_with_a_command_asks_again_once():
    with lab(access_life="1h", stream_pause="1ms") as it:
        pair = it.login()
        mark = it.folder / "asked"
        command = ("--token-command", "--", "sh", "-c",
                   'if [ -e "$0" ]; then echo "$1"; else : > "$0"; echo "$2"; fi')
        code, lines = it.client("--name", "good", "--until-seconds", 1, "--period-ms", 400,
                                *command, mark, pair["access_token"], "lab-at-nothing")
        assert code == 0
        assert [line["retried"] for line in lines] == [True] + [False] * (len(lines) - 1)
        assert all(line["ok"] and line["status"] == 200 for line in lines)


def test_a_client_tells_why_it_has_no_token():
    with lab() as it:
        common = ("--name", "sad", "--until-seconds", 1, "--period-ms", 600)
        code, lines = it.client(*common, "--token-command", "--", "sh", "-c", "exit 5")
        assert code == 3 and lines[-1]["died"] == "sign-in"
        code, lines = it.client(*common, "--token-command", "--", "sh", "-c", "exit 6")
        assert code == 0 and all(line["error"] == "token command: exit code 6" for line in lines)
        code, lines = it.client(*common, "--store", it.folder / "nothing.json")
        assert code == 0 and not any(line["ok"] for line in lines)
        code, lines = it.client(*common, stderr=subprocess.DEVNULL)  # which way to a token?
        assert code == 2 and lines == []


if __name__ == "__main__":
    main()
