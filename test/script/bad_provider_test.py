#!/usr/bin/env python3
"""Provider definitions with errors, and issuers that must not be believed: refused where they are
read, with the line or the field, before a token has gone anywhere."""

import contextlib
import http.server
import json
import threading

import runner
from harness import World, descendants
from refusals import INPUT, LATER, USAGE, assert_refused, profiles
from runner import in_threads

OIDC = ("--client-id", "lab-client")


def spender_runs():
    """Only the spender can speak to a server: the daemon links no HTTP client."""
    def name(pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                return file.read().strip()
        except OSError:
            return ""
    return any(name(pid).startswith("credwarden-spen") for pid in descendants())


@contextlib.contextmanager
def issuer(document):
    """A server whose every answer is `document(its own address)`: (status, headers, body)."""
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            status, headers, body = document(self.server.address)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def do_POST(self):
            self.server.asked.append(f"POST {self.path}")
            self.send_error(500)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def metadata(**changes):
    """A document as an honest server would give it, but for the changes; None takes a field out."""
    def document(address):
        fields = {"issuer": address, "token_endpoint": f"{address}/token",
                  "userinfo_endpoint": f"{address}/me", **changes}
        fields = {key: value for key, value in fields.items() if value is not None}
        return 200, {"Content-Type": "application/json"}, json.dumps(fields).encode()
    return document


def test_a_definition_with_an_error_is_refused_at_its_line():
    good = "[provider lab]\ntoken_url = http://127.0.0.1:9/t\nclient_id = x\n"
    rows = (
        (b"", "lab.ini: no section [provider NAME]"),
        (b"\xff\xfe", "lab.ini: not UTF-8 text"),
        (b"[provider lab", "lab.ini:1: expected a section, [provider NAME]"),
        (b"token_url = http://127.0.0.1:9/t\n",
         "lab.ini:1: 'token_url' stands before the section [provider NAME]"),
        (b"[provider lab]\n# nothing yet\n", "lab.ini:1: token_url is required"),
        (b"[provider other]\n" + good[15:].encode(), "lab.ini: defines provider other; rename"),
        (b"[provider x y]\n" + good[15:].encode(), "lab.ini:1: a provider's name has 1 to 64"),
        (good.encode() + b"[provider more]\n", "lab.ini:4: a second section", "is in line 1"),
        (good.encode() + b"client_id = y\n", "lab.ini:4: client_id is already set in line 3"),
        (good.encode() + b"\n\nclient_idd = y\n",
         "lab.ini:6: unknown key 'client_idd'; did you mean 'client_id'?"),
        (good.encode() + b"half-writ", "lab.ini:4: expected 'key = value'"),
        (good.encode() + b"skew = soon\n", "lab.ini:4: skew: expected a duration like 90s"),
        (good.encode() + b"rotates = perhaps\n", "lab.ini:4: rotates: expected yes or no"),
        (good.encode() + b"default_policy = often\n", "lab.ini:4: default_policy: expected never"),
        (good.encode() + b"body = xml\n", "lab.ini:4: body: expected form or json"),
        (good.encode() + b"identity_url = http://192.0.2.1/me\nsubject_paths = sub\n",
         "lab.ini:4: identity_url: expected"),
        (good.encode() + b"identity_url = https://u:p@host.invalid/\n", "lab.ini:4: identity_url"),
        (good.encode() + b"identity_url = http://127.0.0.1:9/me\n",
         "lab.ini:4: identity_url: needs subject_paths as well"),
        (good.encode() + b"final_errors = 400\n", "lab.ini:4: final_errors: '400' is a status"),
        (good.encode() + b"access_prefix = a-\nrefresh_prefix = a-b\n",
         "lab.ini:5: refresh_prefix: one of the two prefixes begins with the other"),
        (good.encode() + b"title = " + b"x" * 3000 + b"\n", "lab.ini:4: the line is too long"),
        (good.encode() + b"#" * 70000, "lab.ini is larger than the 65536 bytes"),
    )
    with World() as world:
        path = world.write_provider("lab")
        pair = {"access_token": "made-up-access-token", "refresh_token": "made-up-refresh-token"}
        for content, *texts in rows:
            path.write_bytes(content)
            assert_refused(world.add("work", "lab", pair, check=False), INPUT, *texts)
        path.unlink()
        path.mkdir()
        assert_refused(world.add("work", "lab", pair, check=False), INPUT,
                       f"{path} is not a regular file")
        assert not profiles(world) and not spender_runs()


def test_editing_a_definition_does_not_redirect_a_login_that_is_held():
    with World() as world:
        lab = world.start_lab(access_life="1h")
        other = world.start_lab()
        world.write_provider("lab", **lab.provider_keys())
        world.add("work", "lab", lab.login("alice"))
        world.write_provider("lab", **other.provider_keys())
        world.cw("renew", "work")
        world.cw("daemon", "restart")
        path = world.config / "credwarden" / "providers" / "lab.ini"
        path.write_text("no longer a definition")
        assert world.cw("token", "work").code == 0
        assert not other.log() and lab.family("f1")["spends"] == 1


def test_an_issuer_that_is_http_and_not_on_this_machine_is_refused_without_a_word_to_anybody():
    pair = {"access_token": "made-up-access-token", "refresh_token": "made-up-refresh-token"}
    with World() as world:
        for url in ("http://issuer.invalid", "http://192.0.2.1/", "http://127.0.0.1@192.0.2.1/",
                    "http://localhost.issuer.invalid", "http://127.0.0.1.issuer.invalid/",
                    "http://[2001:db8::1]/", "HTTP://ISSUER.INVALID", "ftp://127.0.0.1/",
                    "https://user:word@issuer.invalid", "https://issuer.invalid/#part",
                    "https://", "http://127.1:99999/", "file:///etc/passwd"):
            result = world.add("work", url, pair, *OIDC, check=False)
            assert_refused(result, INPUT, url,
                           "an issuer must be https; plain http is for loopback only")
            assert not spender_runs(), f"somebody was spoken to about {url}"
        assert_refused(world.add("work", "https://issuer.invalid", pair, check=False), USAGE,
                       "client_id: needed with an issuer's URL")
        assert_refused(world.add("work", "https://issuer.invalid", pair, "--client-id", "x" * 300,
                                 check=False), USAGE, "client_id: at most 255 bytes")
        assert not profiles(world) and not spender_runs()


def test_metadata_that_lies_is_not_believed():
    rows = (
        (metadata(issuer="https://other.invalid"), "is that of the issuer 'https://other.invalid'"),
        (metadata(issuer=None), "names no issuer"),
        (metadata(issuer=7), "names no issuer"),
        (metadata(token_endpoint=None), "has no usable token_endpoint"),
        (metadata(token_endpoint="http://192.0.2.1/token"), "token_endpoint is not on this mach"),
        (metadata(token_endpoint="https://issuer.invalid/t"), "token_endpoint is not on this mach"),
        (metadata(token_endpoint="/token"), "token_endpoint"),
        (metadata(userinfo_endpoint="http://issuer.invalid/me"), "userinfo_endpoint is not on"),
        (metadata(userinfo_endpoint=["x"]), "has no usable userinfo_endpoint"),
        (metadata(revocation_endpoint="https://issuer.invalid/r"), "revocation_endpoint is not on"),
    )
    with World() as world:
        lab = world.start_lab()
        pair = lab.login("alice")
        for document, text in rows:
            with issuer(document) as server:
                result = world.add("work", server.address, pair, *OIDC, check=False)
                assert_refused(result, INPUT, f"the metadata of {server.address}", text)
                asked = server.asked
            assert asked and all(path.startswith("/.well-known/") for path in asked), asked
        assert not profiles(world)
        # The same login, given to its honest issuer.
        world.add("work", lab.url, pair, *OIDC)
        assert profiles(world)["work"]["subject"] == "alice"
        world.cw("renew", "work")


def test_an_issuer_without_usable_metadata_leaves_nothing_behind():
    def answer(status, body, **headers):
        return lambda address: (status, headers, body)

    rows = (
        (answer(404, b"{}"), "404"),
        (answer(500, b"<html>"), "500"),
        (answer(200, b"<html>captive</html>"), "200"),
        (answer(200, b""), "200"),
        (answer(200, b'{"issuer":"\xff"}'), "200"),
        (answer(200, b'{"issuer":"a","issuer":"b"}'), "200"),
        (answer(200, b'{"issuer":"' + b"x" * 2_000_000 + b'"}'), "too large"),
        (answer(200, b'{"issuer"', **{"Content-Length": "500"}), "200"),
        (lambda address: (302, {"Location": f"{address}/elsewhere"}, b""), "302"),
    )
    with World() as world:
        lab = world.start_lab()
        pair = lab.login("alice")

        def meet(index):
            document, text = rows[index]
            with issuer(document) as server:
                path = world.write_file(f"{index}.json", pair)
                result = world.cw("add", f"p{index}", "--provider", server.address, "--from", path,
                                  *OIDC, check=False)
                assert_refused(result, LATER, f"{server.address} gave no usable metadata (", text)
                assert "/elsewhere" not in server.asked, "a redirect was followed"

        world.start_daemon()
        in_threads(len(rows), meet)
        with issuer(metadata()) as server:
            pass  # and this one is no longer there
        assert_refused(world.add("work", server.address, pair, *OIDC, check=False), LATER,
                       f"{server.address} gave no usable metadata (no answer: Failed to connect")
        assert not profiles(world)
        world.add("work", lab.url, pair, *OIDC)


if __name__ == "__main__":
    runner.main()
