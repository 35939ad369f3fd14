"""The real authorization server (server.mjs) as a story sees it."""

import json
import os
import pathlib
import subprocess

import harness

SERVER = pathlib.Path(__file__).resolve().parent / "server.mjs"


class OidcServer:
    def __init__(self, world, access_ttl=60, delay_ms=0):
        env = {**world.env, "ACCESS_TTL": str(access_ttl), "TOKEN_DELAY_MS": str(delay_ms)}
        env["PATH"] = os.environ["PATH"]  # node may live anywhere
        # Its standard input is our end of a pipe: it goes when we go.
        self.process = world.start(["node", SERVER], env=env, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line = self.process.stdout.readline()
        assert line, "the server did not start: are the npm packages there (npm ci)?"
        told = json.loads(line)
        self.issuer, self.client_id = told["issuer"], told["client_id"]
        self.control_url = told["control"]
        metadata = harness.ask_url(f"{self.issuer}/.well-known/openid-configuration").json
        self.userinfo_url = metadata["userinfo_endpoint"]
        self.token_url = metadata["token_endpoint"]

    def control(self, method, target):
        answer = harness.ask_url(self.control_url + target, method)
        assert answer.status == 200, answer
        return answer.json

    def pair(self, subject="alice"):
        """A new grant: the token answer of its sign-in."""
        return self.control("POST", f"/pair?sub={subject}")

    def families(self):
        return self.control("GET", "/families")

    def events(self, kind=None):
        return [event for event in self.control("GET", "/events") if kind in (None, event["kind"])]

    def tokens(self):
        return self.control("GET", "/tokens")

    def set(self, **settings):
        return self.control("POST", "/set?" + "&".join(f"{k}={v}" for k, v in settings.items()))

    def subject_of(self, access):
        """Whom the server takes the bearer for; None when it refuses the token."""
        answer = harness.ask_url(self.userinfo_url, headers=harness.bearer(access))
        return answer.json["sub"] if answer.status == 200 else None

    def spend(self, refresh):
        """Present a refresh token by hand, as a racing client would."""
        body = f"grant_type=refresh_token&refresh_token={refresh}&client_id={self.client_id}"
        return harness.ask_url(self.token_url, "POST", body,
                               {"Content-Type": "application/x-www-form-urlencoded"})
