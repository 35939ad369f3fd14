"""Programs that share one store of Claude Code's, each with a mind of its own.

    PoliteClient   a long-lived session that acts as the client was observed to: it reads the store
                   before each request, takes the three locks, re-reads under them, and spends
    RudeClient     what other tools do: no lock, a pair kept in memory and spent from there, old
                   pairs written back, logins of somebody else's

Both talk to the lab and keep count of what came of it. As threads (Session) or as processes:

    siblings.py polite|rude --folder F --lab URL --name N [--seconds 10] [--turns 1000]
                            [--pause 0.1] [--buffer 300]

A process ends after so many seconds or turns and prints its report as one line of JSON. No token
is ever printed.

What was not observed is not done. The client's waits are real by default and scaled down by those
who start it: a buffer of five minutes leaves a token of four seconds always due.
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import secrets
import subprocess
import sys
import threading
import time

import harness

STORE = ".credentials.json"
LOGIN = "claudeAiOauth"
BUFFER_S = 300  # before the expiry, in which the client renews
PATIENCE_S = 2.5  # after a refusal, for a better pair to appear in the store
LOCK_WAIT_S = 8
LOCK_STALE_S = 10
LOCK_TOUCH_S = 2
LOOK_PAUSE_S = 0.05
SECONDS_MAX = 120
TURNS_MAX = 100_000
CLIENT_ID = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
SENTINEL = {"accessToken": "", "refreshToken": "", "expiresAt": 0}

# What else stands in a store: the machine's members and the account's, and nobody's business here.
FOREIGN = {
    "mcpOAuth": {
        "wiki|1f0c": {"serverName": "wiki · 維基 · 🗝", "serverUrl": "https://wiki.example.test/sse",
                      "clientId": "made-up", "accessToken": "made-up", "expiresAt": 0},
    },
    "pluginSecrets": {"größe": {"serial": 2 ** 53 + 1, "ratio": 0.1, "text": "\u2028 \\ \" /"}},
    "organizationUuid": "6f4c2a10-0000-4000-8000-000000000001",
}


# ---- the store ----

def read_store(folder):
    """All of the document; {} where there is none, or none that can be read."""
    try:
        store = json.loads((pathlib.Path(folder) / STORE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return store if isinstance(store, dict) else {}


def login_in(folder):
    """Who is signed in there: the members of the login; {} where nobody is."""
    login = read_store(folder).get(LOGIN)
    return login if isinstance(login, dict) and login.get("accessToken") else {}


def replace_store(folder, store):
    """As the client does it: another file in the place of the old one, a link replaced as well,
    and nothing synced."""
    path = pathlib.Path(folder) / STORE
    other = path.with_name(f"{STORE}.tmp.{secrets.token_hex(8)}")
    with open(os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w",
              encoding="utf-8") as file:
        json.dump(store, file, ensure_ascii=False)
    os.rename(other, path)
    try:
        path.chmod(0o600)
    except FileNotFoundError:
        pass  # another one has signed out in between


def login_members(answer, access_only=False):
    """A token answer of the lab's in the words of the store."""
    expires_ms = answer.get("expires_at") or \
        int(time.time() * 1000) + answer["expires_in"] * 1000
    members = {"accessToken": answer["access_token"], "expiresAt": expires_ms,
               "scopes": answer["scope"].split()}
    if "refresh_token" in answer and not access_only:
        members["refreshToken"] = answer["refresh_token"]
        members["refreshTokenExpiresAt"] = \
            int(time.time() * 1000) + answer["refresh_token_expires_in"] * 1000
    return members


def write_store(folder, login, access_only=False, **members):
    """A store as it is found in the field, with this login of the lab's in it and with members
    that are none of ours; `members` are put beside them, or in their place. Returns its path."""
    pathlib.Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    signed_in = {**login_members(login, access_only), "subscriptionType": "max",
                 "rateLimitTier": None}
    replace_store(folder, {**FOREIGN, LOGIN: signed_in, **members})
    return pathlib.Path(folder) / STORE


# ---- the locks ----

class FolderLock:
    """Whoever makes the folder has it, touches it while he holds it, and removes it. One that was
    not touched for LOCK_STALE_S is taken over; one that is dated in the future never is."""

    def __init__(self, path):
        self.path, self.toucher, self.over = pathlib.Path(path), None, None

    def try_take(self):
        for _ in range(2):
            try:
                self.path.mkdir()
            except FileExistsError:
                if not self._clear_leftover():
                    return False
            except FileNotFoundError:
                return False
            else:
                self.over = threading.Event()
                self.toucher = threading.Thread(target=self._touch, daemon=True)
                self.toucher.start()
                return True
        return False

    def take(self, wait_s):
        end = time.monotonic() + wait_s
        while not self.try_take():
            if time.monotonic() > end:
                return False
            time.sleep(random.uniform(0.02, 0.1))
        return True

    def give(self):
        if self.toucher:
            self.over.set()
            self.toucher.join()
            self.toucher = None
            try:
                self.path.rmdir()
            except OSError:
                pass  # taken over by somebody who found it stale, or never a folder again

    def _touch(self):
        while not self.over.wait(LOCK_TOUCH_S):
            try:
                os.utime(self.path)
            except FileNotFoundError:
                return

    def _clear_leftover(self):
        """True when it is worth trying again."""
        try:
            if time.time() - self.path.stat().st_mtime <= LOCK_STALE_S:
                return False
            self.path.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return False  # a file, or a folder with something in it: nobody gets past that
        return True


# ---- the clients ----

class Client:
    """What all have in common: a folder, a lab, a name, and a count of what came of the turns."""

    def __init__(self, folder, lab, name, buffer_s=BUFFER_S):
        harness.assert_outside_real_home(folder)
        self.folder, self.lab, self.name, self.buffer_s = pathlib.Path(folder), lab, name, buffer_s
        self.agent = {"User-Agent": f"sibling/{name}"}
        self.pair = {}  # the members of a login, as the store has them
        self.ok = self.failed = self.refreshes = self.refused = self.blanked = self.lost_writes = 0
        self.subjects = []  # whom the lab took each of the answered requests for, in order
        self.problems = []  # why the others failed

    def report(self):
        return {name: getattr(self, name)
                for name in ("name", "ok", "failed", "refreshes", "refused", "blanked",
                             "lost_writes", "subjects", "problems")}

    def is_due(self):
        return bool(self.pair.get("refreshToken")) and \
            self.pair.get("expiresAt", 0) - time.time() * 1000 < self.buffer_s * 1000

    def _send(self):
        """One request with the pair at hand. Its status; 0: no answer."""
        headers = {**self.agent, **harness.bearer(self.pair["accessToken"])}
        try:
            answer = self.lab.ask("GET", "/resource", headers=headers)
        except (OSError, http.client.HTTPException):
            return 0
        if answer.status == 200:
            self.subjects.append(answer.json["sub"])
        return answer.status

    def _present(self):
        """The refresh token at the token endpoint: the members of the new login; {}: refused for
        good; None: nothing is known."""
        body = {"grant_type": "refresh_token", "refresh_token": self.pair["refreshToken"],
                "client_id": CLIENT_ID, "scope": " ".join(self.pair.get("scopes", []))}
        headers = {**self.agent, "Content-Type": "application/json"}
        try:
            answer = self.lab.ask("POST", "/oauth/token", body, headers)
            if answer.status == 200:
                self.refreshes += 1
                return login_members(answer.json)
            if answer.status == 400 and answer.json.get("error") == "invalid_grant":
                self.refused += 1
                return {}
        except (OSError, http.client.HTTPException, ValueError):
            pass
        return None

    def _over(self, problem=None):
        if problem:
            self.failed += 1
            self.problems.append(problem)
        else:
            self.ok += 1
        return problem is None


class PoliteClient(Client):
    """A session of the client, as observed."""

    def __init__(self, folder, lab, name, buffer_s=BUFFER_S, patience_s=PATIENCE_S,
                 lock_wait_s=LOCK_WAIT_S):
        super().__init__(folder, lab, name, buffer_s)
        self.patience_s, self.lock_wait_s = patience_s, lock_wait_s
        self.refresh_lock = FolderLock(self.folder / ".oauth_refresh.lock")
        real = self.folder.resolve()
        self.folder_lock = FolderLock(real.with_name(real.name + ".lock"))
        self.write_lock = FolderLock(self.folder / ".storage-write.lock")

    def turn(self):
        """One request. True when it was answered."""
        self.pair = login_in(self.folder)
        if self.is_due():
            self._renew()
        if not self.pair.get("accessToken"):
            return self._over("not signed in")
        status = self._send()
        end = time.monotonic() + self.patience_s
        while status in (401, 403) and time.monotonic() < end:
            time.sleep(LOOK_PAUSE_S)
            found = login_in(self.folder)
            if found and found["accessToken"] != self.pair["accessToken"]:
                self.pair = found
                status = self._send()
        return self._over(None if status == 200 else f"status {status}")

    def _renew(self):
        """Whoever does not get the locks in time goes on with the pair at hand."""
        if not self._take_both():
            return
        try:
            self.pair = login_in(self.folder)
            if self.is_due():
                self._spend()
        finally:
            self.folder_lock.give()
            self.refresh_lock.give()

    def _take_both(self):
        end = time.monotonic() + self.lock_wait_s
        while self.refresh_lock.take(end - time.monotonic()):
            if self.folder_lock.try_take():
                return True
            self.refresh_lock.give()
            if time.monotonic() > end:
                return False
            time.sleep(random.uniform(0.02, 0.1))
        return False

    def _spend(self):
        members = self._present()
        if members is None:
            return
        if not members:
            members = SENTINEL
            self.blanked += 1
        self.pair = {**self.pair, **members}
        self._write(members)

    def _write(self, members):
        """Without its lock nothing is written, and nobody is told."""
        if not self.write_lock.take(self.lock_wait_s):
            self.lost_writes += 1
            return
        try:
            store = read_store(self.folder)
            replace_store(self.folder, {**store, LOGIN: {**store.get(LOGIN, {}), **members}})
        finally:
            self.write_lock.give()


class RudeClient(Client):
    """Another tool with a copy. It reads the store once and writes all of it as it remembers it.
    `in_place`: others may see half of what it writes."""

    def __init__(self, folder, lab, name, buffer_s=BUFFER_S, in_place=False):
        super().__init__(folder, lab, name, buffer_s)
        self.in_place = in_place
        self.first = self.store = None  # the documents it read and would write

    def remember(self):
        """Take up what stands in the store, to hold on to it."""
        self.store = read_store(self.folder)
        self.first = self.first or self.store
        self.pair = login_in(self.folder)

    def turn(self):
        """One request. True when it was answered."""
        if not self.pair:
            self.remember()
        if self.is_due():
            self.spend()
        if not self.pair:
            return self._over("not signed in")
        status = self._send()
        if status in (401, 403) and self.pair.get("refreshToken"):
            self.spend()
            status = self._send() if self.pair else status
        return self._over(None if status == 200 else f"status {status}")

    def spend(self):
        """What it remembers, whatever the others did meanwhile. Refused, it forgets everything."""
        members = self._present()
        if members:
            self.pair = {**self.pair, **members}
            self._write({**self.store, LOGIN: self.pair})
        elif members is not None:
            self.pair = {}

    def write_back(self):
        """The store as it was when this client first saw it."""
        self._write(self.first)

    def sign_in(self, subject):
        """As somebody else: a new login, in the middle of what it remembers. Its token answer."""
        login = self.lab.login(subject)
        self.pair = {**(self.store or {}).get(LOGIN, {}), **login_members(login)}
        self._write({**(self.store or {}), LOGIN: self.pair})
        return login

    def sign_out(self):
        (self.folder / STORE).unlink(missing_ok=True)
        self.pair = {}

    def _write(self, store):
        self.store = store
        if self.in_place:
            path = self.folder / STORE
            path.write_text(json.dumps(store))
        else:
            replace_store(self.folder, store)


# ---- at work ----

def work(client, seconds, turns=TURNS_MAX, pause_s=0.1, over=None):
    """Turn after turn, for so long or so many, or until `over` is set."""
    over = over or threading.Event()
    end = time.monotonic() + min(seconds, SECONDS_MAX)
    for _ in range(min(turns, TURNS_MAX)):
        if over.is_set() or time.monotonic() > end:
            return
        client.turn()
        over.wait(pause_s)


class Session(threading.Thread):
    """A client at work beside the story. `with Session(client): …` ends it."""

    def __init__(self, client, seconds=30, turns=TURNS_MAX, pause_s=0.1):
        super().__init__(daemon=True)
        self.client, self.over, self.error = client, threading.Event(), None
        self.bounds = (seconds, turns, pause_s)

    def run(self):
        try:
            work(self.client, *self.bounds, self.over)
        except Exception as error:  # handed to the story by stop()
            self.error = error

    def stop(self):
        self.over.set()
        self.join()
        if self.error:
            raise self.error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        self.stop()


def start_process(world, kind, folder, lab, name, **options):
    """The same as a process: report_of() waits for its end."""
    words = [sys.executable, __file__, kind, "--folder", folder, "--lab", lab.url, "--name", name]
    for option, value in options.items():
        words += [f"--{option}", value]
    # The guard in there must know which home is the real one.
    env = {**world.env, "HOME": os.environ.get("HOME", "/nonexistent")}
    return world.start(words, env=env, stdout=subprocess.PIPE)


def report_of(process):
    out, _ = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0, f"a sibling's exit code: {process.returncode}"
    return json.loads(out)


def main():
    parser = argparse.ArgumentParser(description="A client that shares a store with others.")
    parser.add_argument("kind", choices=("polite", "rude"))
    parser.add_argument("--folder", required=True)
    parser.add_argument("--lab", required=True, type=harness.Lab)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--pause", type=float, default=0.1)
    parser.add_argument("--buffer", type=float, default=BUFFER_S)
    given = parser.parse_args()
    make = PoliteClient if given.kind == "polite" else RudeClient
    client = make(given.folder, given.lab, given.name, given.buffer)
    work(client, given.seconds, given.turns, given.pause)
    print(json.dumps(client.report()))


if __name__ == "__main__":
    main()
