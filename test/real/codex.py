"""The real Codex client, and a vendor made up for it: both on loopback, in a network of their own.

    codex.cut_off()
    with World() as world, Vendor() as vendor:
        client = Codex(world, vendor)
        client.sign_in(vendor.pair("alice", life_s=200))
        turn = client.run()
        assert turn.subject == "alice" and vendor.seen("token")

The vendor is an authorization server with single-use refresh tokens and no grace, and the API that
wants the access tokens; it keeps a record of who presented what, by subject, family and generation.
Tokens are made up. The client is the one of the package @openai/codex, as npm ci puts it here.
"""

import base64
import ctypes
import fcntl
import functools
import http.server
import json
import os
import pathlib
import secrets
import socket
import struct
import subprocess
import threading
import time

import harness
import runner

HERE = pathlib.Path(__file__).resolve().parent
RUN_LIMIT_S = 30
EARLY_S = 300  # before the expiry, in which the client renews
CLAIMS = "https://api.openai.com/auth"

CONFIG = """
model = "made-up"
model_provider = "made-up"
chatgpt_base_url = "{url}/backend-api"
cli_auth_credentials_store = "file"
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
plugins = false
apps = false
[model_providers.made-up]
name = "made-up"
base_url = "{url}/v1"
wire_api = "responses"
requires_openai_auth = true
supports_websockets = false
request_max_retries = 0
stream_max_retries = 0
"""


# ---- a network of its own ----

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


@functools.cache
def cut_off():
    """From here on, for this process and those it starts, there is a loopback and nothing else. To
    be called before there is a second thread. The story is skipped where that is not permitted."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET) != 0:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            runner.skip("no network of its own here (unshare), and the real client gets no other")
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = struct.pack("16sH14x", b"lo", 0)
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, name))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))
    assert [name for _, name in socket.if_nameindex()] == ["lo"], "more than a loopback is left"


# ---- the vendor ----

def _base64(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def made_up_jwt(claims):
    parts = (json.dumps({"alg": "RS256", "typ": "JWT"}).encode(), json.dumps(claims).encode(),
             secrets.token_bytes(32))
    return ".".join(map(_base64, parts))


class Vendor:
    """`access_life_s`: of what it grants. `further`: how often the model has the client come back
    within one turn. `events`: dictionaries in the order of arrival, with `kind`

        token   `family`, `subject`, `generation` of the refresh token; `reason` as the client
                says; `outcome` granted | refused | reused | unknown | empty
        api     of the access token, and `account` as the client says; `outcome` served | refused
        revoke, other, stray   `path`; stray: to go somewhere else
    """

    def __init__(self, access_life_s=3600):
        self.access_life_s, self.further = access_life_s, 0
        self.events, self.orders = [], []
        self.issued = {}  # token → {kind, family, subject, account, generation, spent}
        self.dead, self.refused = set(), set()
        self.families = 0
        self.lock = threading.RLock()
        vendor = self

        class Handler(_Handler):
            def __init__(self, *args):
                self.vendor = vendor
                super().__init__(*args)

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind, error, trace):
        self.server.shutdown()
        self.server.server_close()

    # -- for stories --

    def pair(self, subject="alice", account=None, life_s=3600):
        """A new login: the members of `tokens` in the client's store."""
        with self.lock:
            self.families += 1
            return self._issue({"family": f"f{self.families}", "subject": subject,
                                "account": account or f"account-{subject}", "generation": 1},
                               life_s)

    def seen(self, *kinds):
        with self.lock:
            return [event for event in self.events if event["kind"] in kinds]

    def forget(self):
        """Of the record only."""
        with self.lock:
            self.events.clear()

    def before(self, kind, function):
        """Do this when the next request of the kind has been decided on, before it is answered."""
        with self.lock:
            self.orders.append((kind, function))

    def refuse(self, access):
        with self.lock:
            self.refused.add(access)

    def name(self, token):
        """What a token is, without showing it: (subject, family, generation), "" or "unknown"."""
        known = self.issued.get(token)
        return (known["subject"], known["family"], known["generation"]) if known else \
            token and "unknown"

    def is_alive(self, family):
        return family not in self.dead

    def tokens(self):
        """For the search for leaks."""
        return list(self.issued)

    # -- for requests --

    def _issue(self, login, life_s):
        now = int(time.time())
        claims = {"iat": now, "sub": login["subject"], "email": f"{login['subject']}@example.test",
                  "jti": secrets.token_hex(8),
                  CLAIMS: {"chatgpt_plan_type": "plus", "chatgpt_account_id": login["account"],
                           "chatgpt_user_id": f"user-{login['subject']}"}}
        pair = {"id_token": made_up_jwt({**claims, "exp": now + 3600}),
                "access_token": made_up_jwt({**claims, "exp": now + life_s}),
                "refresh_token": f"made-up-{secrets.token_hex(24)}",
                "account_id": login["account"]}
        self.issued[pair["access_token"]] = {**login, "kind": "access"}
        self.issued[pair["refresh_token"]] = {**login, "kind": "refresh", "spent": False}
        return pair

    def _note(self, kind, token="", **more):
        known = self.issued.get(token, {})
        self.events.append({"kind": kind, **{key: known[key] for key in
                                             ("family", "subject", "generation") if key in known},
                            **more})

    def spend(self, body):
        """(status, answer)"""
        with self.lock:
            token = body.get("refresh_token", "")
            known = self.issued.get(token, {"kind": "none"})
            if known["kind"] != "refresh":
                outcome = "empty" if token == "" else "unknown"
            elif known["spent"]:
                outcome = "reused"
                self.dead.add(known["family"])
            else:
                outcome = "refused" if known["family"] in self.dead else "granted"
            self._note("token", token, outcome=outcome, reason=body.get("refresh_reason"))
            if outcome == "granted":
                known["spent"] = True
                login = {key: known[key] for key in ("family", "subject", "account")}
                pair = self._issue({**login, "generation": known["generation"] + 1},
                                   self.access_life_s)
                del pair["account_id"]
                return 200, pair
            code = {"reused": "refresh_token_reused"}.get(outcome, "refresh_token_invalidated")
            return 401, {"error": {"code": code, "message": "made up"}}

    def serve(self, access, account):
        """(status, events of the answer)"""
        with self.lock:
            known = self.issued.get(access, {"kind": "none", "family": None})
            good = known["kind"] == "access" and access not in self.refused and \
                known["family"] not in self.dead
            self._note("api", access, account=account, outcome="served" if good else "refused")
            if not good:
                return 401, {"error": {"code": "token_expired", "message": "made up"}}
            item = {"type": "message", "role": "assistant", "id": "m",
                    "content": [{"type": "output_text", "text": known["subject"]}]}
            if self.further > 0:
                self.further -= 1
                item = {"type": "function_call", "id": "f", "call_id": "c", "name": "no_such_tool",
                        "arguments": "{}"}
            usage = {"input_tokens": 1, "input_tokens_details": None, "output_tokens": 1,
                     "output_tokens_details": None, "total_tokens": 2}
            return 200, [{"type": "response.created", "response": {"id": "r"}},
                         {"type": "response.output_item.done", "item": item},
                         {"type": "response.completed", "response": {"id": "r", "usage": usage}}]

    def identify(self, access):
        """Nothing the client asks; ours does, and it is not on record."""
        with self.lock:
            known = self.issued.get(access, {"kind": "none", "family": None})
            if known["kind"] != "access" or access in self.refused or known["family"] in self.dead:
                return 401, {"error": {"code": "token_expired", "message": "made up"}}
            return 200, {"sub": known["subject"], "email": f"{known['subject']}@example.test"}

    def provider_keys(self, **more):
        """Of a definition like the vendor's own, but for the identity endpoint that it lacks."""
        return {"token_url": f"{self.url}/oauth/token", "identity_url": f"{self.url}/identity",
                "client_id": "app_made_up", "body": "json", "send_scope": "no",
                "subject_paths": "sub", "label_path": "email", "access_is_jwt": "yes",
                "skew": "5m", "rotates": "yes", "final_errors":
                    "invalid_grant refresh_token_reused refresh_token_invalidated", **more}

    def obey(self, kind):
        with self.lock:
            order = next((order for order in self.orders if order[0] == kind), None)
            if order:
                self.orders.remove(order)
        if order:
            order[1]()

    def note_path(self, kind, path):
        with self.lock:
            self._note(kind, path=path)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that left


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):  # the name is the base class's
        pass

    def do_CONNECT(self):  # as a proxy, which is how the client would get out
        self.vendor.note_path("stray", self.path)
        self._answer(502, {})

    def do_GET(self):
        if self.path == "/identity":
            self._answer(*self.vendor.identify(
                self.headers.get("Authorization", "").removeprefix("Bearer ")))
        else:
            self._other()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/oauth/token":
            status, answer = self.vendor.spend(json.loads(body))
            self.vendor.obey("token")
            self._answer(status, answer)
        elif self.path == "/v1/responses":
            access = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, answer = self.vendor.serve(access, self.headers.get("chatgpt-account-id"))
            self.vendor.obey("api")
            self._answer(status, answer)
        elif self.path == "/oauth/revoke":
            self.vendor.note_path("revoke", self.path)
            self._answer(200, {})
        else:
            self._other()

    def _other(self):
        self.vendor.note_path("other" if self.path.startswith("/") else "stray", self.path)
        self._answer(404, {})

    def _answer(self, status, answer):
        if isinstance(answer, list):
            kind = "text/event-stream"
            text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
                           for event in answer)
        else:
            kind, text = "application/json", json.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


# ---- the client ----

def program():
    found = sorted(HERE.glob("node_modules/@openai/codex-*/vendor/*/bin/codex"))
    if not found:
        runner.skip("npm has no Codex for this machine, or did not fetch it (npm ci in test/real)")
    return found[0]


class Turn:
    """What came of a prompt: `subject`, whom the vendor took it for, or the `problem`."""

    def __init__(self, code, out):
        self.code, self.subject, self.problem = code, None, None
        for line in out.decode(errors="replace").splitlines():
            said = json.loads(line) if line.startswith("{") else {}
            item = said.get("item", {})
            if item.get("type") == "agent_message":
                self.subject = item["text"]
            elif said.get("type") == "turn.failed":
                self.problem = said["error"]["message"]

    def __repr__(self):
        return harness.redact(f"<exit {self.code}, subject {self.subject}: {self.problem}>")


class Codex:
    """The client with a home of its own in the world's."""

    def __init__(self, world, vendor):
        self.world, self.vendor, self.program = world, vendor, program()
        self.folder = pathlib.Path(world.env["CODEX_HOME"])
        self.path = self.folder / "auth.json"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        (self.folder / "config.toml").write_text(CONFIG.format(url=vendor.url))
        self.env = {**world.env,
                    "CODEX_REFRESH_TOKEN_URL_OVERRIDE": f"{vendor.url}/oauth/token",
                    "CODEX_REVOKE_TOKEN_URL_OVERRIDE": f"{vendor.url}/oauth/revoke",
                    # Whatever would go elsewhere comes here, and is on record as a stray.
                    "HTTP_PROXY": vendor.url, "HTTPS_PROXY": vendor.url, "ALL_PROXY": vendor.url,
                    "NO_PROXY": "127.0.0.1"}

    def sign_in(self, pair, last_refresh=None, **members):
        """Put a store there as the client writes it, in one rename."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        store = {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": pair,
                 "last_refresh": last_refresh or now, **members}
        other = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        other.write_text(json.dumps(store, indent=2))
        other.chmod(0o600)
        other.rename(self.path)

    def store(self):
        return json.loads(self.path.read_text())

    def tokens(self):
        """What is in the store, by name: (access, refresh); see Vendor.name()."""
        tokens = self.store()["tokens"]
        return tuple(self.vendor.name(tokens[key]) for key in ("access_token", "refresh_token"))

    def start(self):
        """One prompt; end_of() waits for its end."""
        return self.world.start([self.program, "exec", "--skip-git-repo-check", "--json", "hi"],
                                env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def end_of(self, process, timeout=RUN_LIMIT_S):
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise runner.Late(f"the client takes more than {timeout} s for a turn") from None
        return Turn(process.returncode, out)

    def run(self, timeout=RUN_LIMIT_S):
        return self.end_of(self.start(), timeout)
