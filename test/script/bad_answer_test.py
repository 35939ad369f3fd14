#!/usr/bin/env python3
"""Answers of a token endpoint that a refresh must not believe, follow or be stopped by. For each:
what `renew`, `token`, `show` and `history` say, and what happens to the refresh token next."""

import contextlib
import re
import socket
import subprocess
import threading
import time
import urllib.parse

import runner
from harness import World
from refusals import LATER, SIGN_IN, assert_problem, assert_refused, generation, profiles
from runner import assert_took, wait_until

LOST = "the answer to the last spend was lost, so nobody knows which token is alive"


def furnish(world, lab_options=None, **keys):
    lab = world.start_lab(**{"access_life": "1h", **(lab_options or {})})
    world.write_provider("lab", **lab.provider_keys(**keys))
    return lab


def renew(world, lab, name, **quirk):
    """A new login whose first refresh is answered like this. Returns what `renew` says."""
    pair = lab.login(name)
    world.add(name, "lab", pair)
    lab.script("token", family=pair["family"], **quirk)
    return world.cw("renew", name, "--timeout", "3s", check=False)


def presented(lab, family):
    return [line for line in lab.log(endpoint="token") if line["family"] == family]


def assert_token_works(world, lab, name):
    access = world.cw("token", name).stdout.strip()
    assert lab.use(access).status == 200, f"{name}: the token that was handed out is refused"


def test_an_answer_that_says_nothing_of_the_grant_leaves_it_in_doubt_and_usable():
    rows = (
        ({"body": "html"}, "200 not an answer in JSON"),
        ({"body": "html", "commit": True}, "200 not an answer in JSON"),
        ({"body": "html", "status": 503}, "503 not an answer in JSON"),
        ({"body": "empty"}, "200 not an answer in JSON: it ends too early"),
        ({"body": "json", "status": 200}, "200 JSON without access_token"),
        ({"torn_after": 40}, "200 the answer was cut"),
        ({"huge_mib": 2}, "200 the answer was cut: the answer is too large"),
        ({"non_utf8": True}, "200 not an answer in JSON: not UTF-8 text"),
        ({"duplicate_key": "access_token"}, "200 not an answer in JSON: a key stands there twice"),
        ({"duplicate_key": "scope"}, "200 not an answer in JSON: a key stands there twice"),
        ({"set": {"access_token": 5}}, "200 JSON without access_token"),
        ({"set": {"access_token": "two words"}}, "200 access_token is not usable"),
        ({"set": {"refresh_token": ["x"]}}, "200 refresh_token is not usable"),
        ({"set": {"refresh_token": "lab-at-01234567"}}, "200 refresh_token begins like an access"),
        ({"body": "nested", "error": "odd_error"}, "400 odd_error"),
        ({"error": "a word with blanks"}, "400 an unknown error code"),
        ({"error": "invalid_grant", "status": 500}, "500 invalid_grant"),
        ({"error": "odd_error", "status": 401}, "401 odd_error"),
        ({"body": "html", "status": 404}, "404 not an answer in JSON"),
        ({"error": "invalid_grant", "status": 408}, "408 invalid_grant"),
        ({"error": "invalid_grant", "status": 425}, "425 invalid_grant"),
        ({"status": 500}, "500 server_error"), ({"status": 502}, "502 server_error"),
        ({"lose_before_commit": True}, "no answer: "),
        ({"lose_after_commit": True}, "no answer: "),
    )
    with World() as world:
        lab = furnish(world)
        for number, (quirk, detail) in enumerate(rows, 1):
            name, family = f"p{number}", f"f{number}"
            assert_refused(renew(world, lab, name, **quirk), LATER, f"{name}: {LOST}")
            assert_token_works(world, lab, name)
            shown = world.cw("show", name, "--json").json
            assert shown["standing"] == "in-doubt" and shown["alarms"] == ["in-doubt"], shown
            # It lives on the old access token, to its end.
            assert shown["left_ms"] > 3_500_000 and shown["next_spend_in_ms"] > 3_500_000, shown
            history = world.cw("history", name).stdout
            assert f"in doubt ({detail}" in history, (detail, history)
            assert len(presented(lab, family)) == 1 and lab.family(family)["alive"]
        status = world.cw("status").stdout
        assert status.count("in-doubt since") == len(rows), status
        for number, (_, detail) in enumerate(rows, 1):
            assert any(line.startswith(f"alarm: p{number} in-doubt since") and detail in line
                       for line in status.splitlines()), (detail, status)


def doubt(world, name, lab, **quirk):
    """A login of 4 s whose answer is lost in this way, with a caller that wants tokens."""
    pair = lab.login(name)
    world.add(name, "lab", pair)
    lab.script("token", family=pair["family"], **quirk)
    wait_until(lambda: profiles(world)[name]["standing"] == "in-doubt", what="doubt")


@runner.limit(20)
def test_in_doubt_the_refresh_token_is_presented_once_more_when_the_old_access_token_ends():
    with World() as world:
        lab = furnish(world, {"access_life": "4s"})
        doubt(world, "kept", lab, body="html")
        doubt(world, "spent", lab, body="html", commit=True)
        doubt(world, "twice", lab, body="html", times=2)
        # Nothing was committed: the second try is the first that counts.
        wait_until(lambda: generation(world, "kept") >= 2, what="the recovery")
        shown = profiles(world)["kept"]
        assert shown["standing"] == "live" and not shown["alarms"], shown
        assert lab.family("f1")["alive"] and not lab.family("f1")["reuses"]
        # It was committed, or still nobody knows: the login is over, and it says what to do.
        for name, family, why in (("spent", "f2", "400 invalid_grant"),
                                  ("twice", "f3", "200 not an answer in JSON")):
            wait_until(lambda: profiles(world)[name]["standing"] == "dead", what="the end")
            result = world.cw("token", name, check=False)
            assert_refused(result, SIGN_IN, why, f"credwarden history {name}",
                           f"credwarden add {name} --provider lab --from FILE")
            assert profiles(world)[name]["alarms"] == ["dead"]
            assert len(presented(lab, family)) == 2, "presented once, and once more"
        world.cw("renew", "kept")
        assert len(presented(lab, "f2")) == len(presented(lab, "f3")) == 2


def test_a_provider_with_grace_is_asked_again_within_it():
    with World() as world:
        lab = furnish(world, {"grace": "30s"}, reuse_grace="30s")
        result = renew(world, lab, "work", lose_after_commit=True)
        assert result.code in (0, LATER), result
        wait_until(lambda: generation(world, "work") == 2, what="the recovery")
        assert lab.family("f1")["graced"] == 1 and lab.family("f1")["alive"]
        assert profiles(world)["work"]["standing"] == "live"
        assert_token_works(world, lab, "work")


def test_an_access_token_that_a_spend_would_have_killed_tells_that_nothing_was_committed():
    with World() as world:
        life = {"access_life": "10s", "kills_access": True}
        lab = furnish(world, life, refresh_kills_access=True)
        result = renew(world, lab, "work", body="html", status=502)
        # Whoever waits gets the refresh it asked for, or is told to come again.
        assert result.code in (0, LATER), result
        wait_until(lambda: profiles(world)["work"]["standing"] == "live", what="an answer")
        world.cw("renew", "work")
        assert lab.family("f1")["alive"] and not lab.family("f1")["reuses"]
        assert_token_works(world, lab, "work")


def test_no_answer_within_the_deadline_is_doubt_and_holds_nobody_up():
    with World() as world:
        world.write_config(spend_deadline="1s")
        lab = furnish(world)
        lab.script("token", subject="slow", delay_before_ms=4000)
        world.add("slow", "lab", lab.login("slow"))
        world.add("fast", "lab", lab.login("fast"))
        began = time.monotonic()
        asking = world.start([world.programs / "credwarden", "renew", "slow"],
                             stderr=subprocess.DEVNULL)
        wait_until(lambda: lab.stats()["endpoints"]["token"]["open"] == 1, what="the spend")
        world.cw("renew", "fast")
        assert_token_works(world, lab, "slow")
        assert_took(began, 1, "one profile beside another one's slow server")
        assert asking.wait(4) == LATER
        assert "in doubt (no answer: " in world.cw("history", "slow").stdout
        assert profiles(world)["slow"]["standing"] == "in-doubt"


def test_an_add_waits_as_long_as_one_question_may_take():
    """Longer than it waits without being told so."""
    with World() as world:
        world.write_config(ask_deadline="30s")
        lab = furnish(world)
        lab.script("identity", subject="slow", delay_before_ms=15500)
        assert "slow" in world.add("slow", "lab", lab.login("slow")).stdout
        assert profiles(world)["slow"]["standing"] == "live"
        assert_token_works(world, lab, "slow")


class Relay:
    """A way to the lab that can be closed and opened: closed, connections are refused."""

    def __init__(self, lab):
        self.to = urllib.parse.urlsplit(lab.url).port
        self.listener, self.port = None, 0
        self.open()

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, args=(self.listener,), daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


@runner.limit(25)
def test_a_server_that_cannot_be_reached_is_tried_again_until_it_can():
    with World() as world:
        lab = world.start_lab(access_life="4s")
        way = Relay(lab)
        url = f"http://127.0.0.1:{way.port}"
        world.write_provider("lab", **lab.provider_keys(token_url=f"{url}/oauth/token"))
        world.add("work", "lab", lab.login("alice"))
        way.close()
        assert_refused(world.cw("renew", "work", "--timeout", "1s", check=False), LATER,
                       "work: the provider gave no usable answer (not sent: Failed to connect")
        assert_token_works(world, lab, "work")
        shown = profiles(world)["work"]
        assert shown["standing"] == "live" and shown["tries"] >= 1, shown
        wait_until(lambda: profiles(world)["work"]["alarms"] == ["unreachable"], what="the alarm")
        assert_refused(world.cw("token", "work", "--timeout", "1s", check=False), LATER,
                       "not sent: Failed to connect")
        assert re.search("alarm: work unreachable since .*: not sent: Failed to connect",
                         world.cw("status").stdout)
        assert not presented(lab, "f1")
        way.open()
        wait_until(lambda: generation(world, "work") >= 2, what="the renewal, by itself")
        assert not profiles(world)["work"]["alarms"] and lab.family("f1")["alive"]
        assert_token_works(world, lab, "work")


def test_a_provider_that_throttles_is_left_alone_for_as_long_as_it_says():
    with World() as world:
        lab = furnish(world)
        for name, quirk in (("seconds", {"retry_after": "120"}),
                            ("date", {"retry_after_date_s": 120})):
            result = renew(world, lab, name, status=429, **quirk)
            assert_refused(result, LATER, f"{name}: the provider asks to wait (429 rate_limit_err")
            answer = world.api("POST", f"/v1/profiles/{name}/renew?timeout=2s")
            assert_problem(answer, 429, "throttled", "the provider asks to wait")
            assert 110 <= int(answer.headers["Retry-After"]) <= 132, answer.headers["Retry-After"]
            assert_token_works(world, lab, name)
            shown = profiles(world)[name]
            assert shown["standing"] == "live" and not shown["alarms"] and shown["tries"] == 1
            assert "throttled (429 rate_limit_error" in world.cw("history", name).stdout
        assert [len(presented(lab, family)) for family in ("f1", "f2")] == [1, 1]


def test_a_refusal_without_a_time_is_tried_again_by_itself_after_a_pause():
    with World() as world:
        lab = furnish(world, None, uncommitted_answers="503 temporarily_unavailable")
        for number, quirk in enumerate(({"status": 429}, {"status": 429, "retry_after": "0"},
                                        {"status": 429, "retry_after": "soon"},
                                        {"status": 429, "retry_after": "-5"},
                                        {"status": 503, "body": "html"},
                                        {"error": "temporarily_unavailable"}), 1):
            result = renew(world, lab, f"p{number}", **quirk)
            assert result.code == 0 and "renewed, generation 2" in result.stdout, result
            first, second = presented(lab, f"f{number}")
            assert second["arrived_ms"] - first["arrived_ms"] >= 450, "no pause"
            assert first["presented"] == second["presented"] and not second["reuse"]


def test_an_answer_with_odd_numbers_and_unknown_fields_is_granted():
    unknown = {"new_field": [1, {"deep": None}], "account": None, "scope": 7, "id_token": {}}
    with World() as world:
        lab = furnish(world)
        for number, (quirk, lasts) in enumerate((
                ({"set": unknown}, True), ({"expires_in": "string"}, True),
                ({"set": {"expires_in": 3600.5}}, True), ({"expires_in": "absent"}, False),
                ({"set": {"expires_in": -5}}, False), ({"set": {"expires_in": 1e30}}, False),
                ({"set": {"expires_in": 0}}, False), ({"set": {"expires_in": "soon"}}, False),
                ({"set": {"expires_in": [3600]}}, False),
                ({"content_type": "text/html"}, True)), 1):
            name = f"p{number}"
            result = renew(world, lab, name, **quirk)
            assert result.code == 0, (quirk, result)
            shown = profiles(world)[name]
            assert shown["standing"] == "live" and shown["generation"] == 2, (quirk, shown)
            assert (shown["left_ms"] is not None) == lasts, (quirk, shown)
            assert_token_works(world, lab, name)
            # A life that is not known is not "long enough for anything", nor a reason to spend.
            wish = world.cw("token", name, "--min-ttl", "30m", check=False)
            assert wish.code == 0, wish
            assert len(presented(lab, f"f{number}")) == 1


def test_a_missing_refresh_token_keeps_the_old_one():
    with World() as world:
        lab = furnish(world, {"access_life": "4s"})
        world.add("work", "lab", lab.login("alice"))
        lab.script("token", missing_refresh_token=True)
        before = profiles(world)["work"]["refresh_fingerprint"]
        wait_until(lambda: generation(world, "work") == 2, what="an answer without one")
        assert profiles(world)["work"]["refresh_fingerprint"] == before
        wait_until(lambda: generation(world, "work") == 3, what="the next one, with it")
        assert profiles(world)["work"]["refresh_fingerprint"] != before
        assert lab.family("f1")["alive"] and not lab.family("f1")["reuses"]


def test_an_answer_for_another_subject_is_kept_apart_and_raises_an_alarm():
    paths = "account.uuid organization.uuid"
    with World() as world:
        lab = furnish(world, None, subject_paths=paths, answer_subject_paths=paths)
        result = renew(world, lab, "work", changed_subject="mallory")
        text = "work: the server named another subject than before; the pair is kept but never used"
        assert_refused(result, SIGN_IN, text, "credwarden history work")
        assert_refused(world.cw("token", "work", check=False), SIGN_IN, text)
        shown = profiles(world)["work"]
        assert shown["standing"] == "quarantined" and shown["alarms"] == ["subject"], shown
        assert shown["label"] == "work@lab.invalid", "whose profile it is has not changed"
        assert re.search("alarm: work subject since .*: the server named another subject than",
                         world.cw("status").stdout)
        assert "spent → granted" in world.cw("history", "work").stdout
        world.cw("daemon", "restart")
        assert profiles(world)["work"]["standing"] == "quarantined"
        assert len(presented(lab, "f1")) == 1
        # The owner signs in again, and the profile is what it was.
        world.add("work", "lab", lab.login("work"))
        shown = profiles(world)["work"]
        assert shown["standing"] == "live" and not shown["alarms"], shown


def test_a_redirect_is_not_followed():
    with World() as world:
        trap = world.start_lab()
        lab = furnish(world)
        for number, status in enumerate((301, 302, 303, 307, 308), 1):
            result = renew(world, lab, f"p{number}", redirect=f"{trap.url}/oauth/token",
                           status=status)
            assert_refused(result, LATER, LOST)
            history = world.cw("history", f"p{number}").stdout
            assert f"in doubt ({status} a redirect, which is not followed)" in history, history
            assert len(presented(lab, f"f{number}")) == 1
        assert not trap.log(), "the refresh token went elsewhere"


def test_a_final_refusal_ends_the_login_and_names_the_way_back():
    with World() as world:
        lab = furnish(world, None, final_errors="invalid_grant invalid_client gone_for_good")
        rows = ({"error": "invalid_grant"}, {"error": "invalid_client", "status": 401},
                {"error": "gone_for_good", "status": 200},
                {"body": "nested", "error": "invalid_grant"})
        for number, quirk in enumerate(rows, 1):
            name = f"p{number}"
            result = renew(world, lab, name, **quirk)
            assert_refused(result, SIGN_IN, quirk["error"],
                           f"credwarden add {name} --provider lab --from FILE")
            shown = profiles(world)[name]
            assert shown["standing"] == "dead" and shown["alarms"] == ["dead"], shown
            assert_refused(world.cw("token", name, check=False), SIGN_IN, quirk["error"])
            assert f"refused ({quirk.get('status', 400)} {quirk['error']}" in \
                world.cw("history", name).stdout
            assert len(presented(lab, f"f{number}")) == 1
        world.cw("daemon", "restart")
        assert_refused(world.cw("renew", "p1", check=False), SIGN_IN, "the login is over")
        assert len(lab.log(endpoint="token")) == len(rows), "a dead one was presented again"


if __name__ == "__main__":
    runner.main()
