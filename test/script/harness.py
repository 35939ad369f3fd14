"""The world of a story: a home of its own, the programs under test, the lab, and what they left.

    with World() as world:
        lab = world.start_lab(access_life="5s")
        world.write_provider("lab", **lab.provider_keys())
        world.add("work", "lab", lab.login("alice"))
        ...

Guards: every path that a program could take for the user's own is inside the world's folder, and
nothing is run otherwise; the environment is built from nothing, so no proxy and no other setting
comes along; only loopback is spoken to. On leaving, every process that descends from the test is
ended by its id, the reports of the sanitizers fail the test, and the folder is removed. One world
at a time in a process.

$CW_BUILD says which build is under test; build/ if unset.
"""

import ctypes
import http.client
import ipaddress
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time
import urllib.parse

from runner import wait_until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("CW_BUILD", ROOT / "build")).resolve()
PROGRAMS = ("credwarden", "credwardend", "credwarden-spender")

SOCKET_PATH_MAX = 107
COMMAND_LIMIT_S = 60
PR_SET_CHILD_SUBREAPER = 36

# What a token of the lab looks like, or enough of one to be a leak.
LAB_TOKEN = re.compile(rb"lab-[ar]t-[0-9a-f]{8}")


# ---- the build under test ----

def program(name):
    """The file of a built program, by meson's own list."""
    targets = json.loads((BUILD / "meson-info" / "intro-targets.json").read_text())
    for target in targets:
        if target["name"] == name and target["type"] == "executable":
            path = pathlib.Path(target["filename"][0])
            assert path.exists(), f"{path} is not built"
            return path
    raise AssertionError(f"{BUILD} builds no {name}")


def is_sanitized():
    options = json.loads((BUILD / "meson-info" / "intro-buildoptions.json").read_text())
    return any(option["name"] == "b_sanitize" and option["value"] != "none" for option in options)


# ---- guards ----

def assert_loopback(url):
    """Refuses any URL that leaves the machine. Values that are no URLs pass."""
    if "://" not in url:
        return
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        good = ipaddress.ip_address(host).is_loopback
    except ValueError:
        good = host == "localhost"
    assert good, f"{url} is not on loopback"


def assert_outside_real_home(path):
    path = pathlib.Path(path).resolve()
    homes = {pwd.getpwuid(os.getuid()).pw_dir, os.environ.get("HOME", "")}
    for home in (pathlib.Path(text).resolve() for text in homes if text.startswith("/")):
        if home == pathlib.Path("/"):
            continue
        assert home != path and home not in path.parents, f"{path} is in the real home {home}"


def redact(text):
    """For messages: what looks like a token is not shown."""
    text = re.sub(r"lab-[ar]t-[0-9a-f]+", "<token>", text)
    return re.sub(r"\b[A-Za-z0-9_-]{40,}\b", "<long word>", text)


# ---- processes ----

def adopt_orphans():
    """A daemon that leaves its parent becomes our child: none can get away unseen."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _stat_of(pid):
    """(state, parent) of a process, or None."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def is_running(pid):
    """Whether any thread of it is: the first one may be gone while others still end, and until
    then the children are theirs."""
    found = _stat_of(pid)
    try:
        return found is not None and (found[0] not in "ZX"
                                      or len(os.listdir(f"/proc/{pid}/task")) > 1)
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants():
    """Ids of all processes below this one, those that have ended left out."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and is_running(int(entry)):
            found = _stat_of(entry)
            if found:
                children.setdefault(found[1], []).append(int(entry))
    result, queue = [], [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        result += below
        queue += below
    return result


def send_signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def end_descendants(patience_s=4):
    for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, patience_s)):
        for pid in descendants():
            send_signal(pid, signal.SIGCONT)
            send_signal(pid, number)
        end = time.monotonic() + wait_s
        while descendants() and time.monotonic() < end:
            time.sleep(0.01)
    left = descendants()
    assert not left, f"processes that do not end: {left}"


# ---- HTTP over the unix socket and over loopback ----

class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return redact(f"<{self.status} {self.body[:300]!r}>")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)  # with a time-out, a full queue would be an error at once
        self.sock.settimeout(self.timeout)


def ask(connection, method, target, body=None, headers=None):
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    connection.request(method, target, body=body, headers=headers or {})
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


def ask_url(url, method="GET", body=None, headers=None, timeout=30):
    assert_loopback(url)
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    target = parts.path or "/"
    try:
        return ask(connection, method, f"{target}?{parts.query}" if parts.query else target, body,
                   headers)
    finally:
        connection.close()


def bearer(access):
    return {"Authorization": f"Bearer {access}"}


class Lab:
    """The authorization server of lab/ (see lab/README.md), through its control side."""

    def __init__(self, url):
        assert_loopback(url)
        self.url = url

    def ask(self, method, path, body=None, headers=None, **query):
        query = {key: value for key, value in query.items() if value is not None}
        tail = "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote) if query else ""
        return ask_url(self.url + path + tail, method, body, headers)

    def control(self, method, path, body=None, **query):
        answer = self.ask(method, path, body, **query)
        assert answer.status == 200, answer
        return answer.json

    def login(self, subject="alice", **query):
        """A new login: its token answer, with `family`, `obtained_at` and `expires_at`."""
        return self.control("POST", "/lab/login", subject=subject, **query)

    def script(self, on, times=1, family=None, subject=None, **quirk):
        """The next `times` requests to endpoint `on` meet these quirks."""
        order = {"on": on, "times": times, "quirk": quirk}
        if family:
            order["family"] = family
        if subject:
            order["subject"] = subject
        return self.control("POST", "/lab/script", order)

    def clear_script(self):
        return self.control("DELETE", "/lab/script")

    def config(self, **settings):
        return self.control("POST", "/lab/config", settings) if settings else \
            self.control("GET", "/lab/config")

    def revoke(self, family, what="family"):
        return self.control("POST", "/lab/revoke", family=family, what=what)

    def log(self, after=0, endpoint=None):
        """Event lines, oldest first; of one endpoint if it is named."""
        lines = []
        while True:  # it answers with a page at a time
            answer = self.ask("GET", "/lab/log", after=after)
            assert answer.status == 200, answer
            page = [json.loads(line) for line in answer.text.splitlines()]
            if not page:
                return [line for line in lines if endpoint in (None, line["endpoint"])]
            lines += page
            after = page[-1]["seq"]

    def families(self):
        return self.control("GET", "/lab/families")["families"]

    def family(self, name):
        return next(family for family in self.families() if family["family"] == name)

    def stats(self):
        return self.control("GET", "/lab/stats")

    def use(self, access, path="/resource"):
        """What a consumer does with a token."""
        return self.ask("GET", path, headers=bearer(access))

    def provider_keys(self, **more):
        """Keys of a provider definition that points here."""
        return {
            "token_url": f"{self.url}/oauth/token",
            "identity_url": f"{self.url}/oauth/identity",
            "client_id": "lab-client",
            "subject_paths": "sub",
            "label_path": "email",
            "access_prefix": "lab-at-",
            "refresh_prefix": "lab-rt-",
            **more,
        }


class Result:
    """What a command left behind."""

    def __init__(self, args, code, stdout, stderr):
        self.args, self.code, self.stdout, self.stderr = args, code, stdout, stderr

    @property
    def json(self):
        return json.loads(self.stdout)

    def __repr__(self):
        return redact(f"credwarden {' '.join(self.args)}\n  exit {self.code}\n"
                      f"  stdout {self.stdout[:2000]!r}\n  stderr {self.stderr[:2000]!r}")


class World:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cw-", dir="/tmp")).resolve()
        self.home = self.folder / "home"
        self.config = self.home / ".config"
        self.share = self.home / ".local" / "share"
        self.state = self.home / ".local" / "state"
        self.runtime = self.folder / "run"
        self.socket = self.runtime / "credwarden" / "api.sock"
        self.programs = self.folder / "bin"
        self.lab = None
        self.outputs = []  # (what, bytes): everything programs printed, but tokens asked for
        self.env = self._environment()
        try:
            self._check()
            self._furnish()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def _furnish(self):
        for path in (self.config, self.share, self.state, self.runtime, self.programs,
                     self.folder / "tmp"):
            path.mkdir(mode=0o700, parents=True)
        sanitized = is_sanitized()
        for name in PROGRAMS:
            place = self.programs / name
            if sanitized:
                # The daemon and the spender get a clean environment; this gives them the one of
                # the sanitizers back, or their reports would go nowhere.
                place.write_text("#!/bin/sh\n"
                                 f"export ASAN_OPTIONS='{self.env['ASAN_OPTIONS']}'\n"
                                 f"export UBSAN_OPTIONS='{self.env['UBSAN_OPTIONS']}'\n"
                                 f"exec '{program(name)}' \"$@\"\n")
                place.chmod(0o700)
            else:
                place.symlink_to(program(name))

    def _environment(self):
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.folder / "tmp"),
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.config),
            "XDG_DATA_HOME": str(self.share),
            "XDG_STATE_HOME": str(self.state),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "CLAUDE_CONFIG_DIR": str(self.home / ".claude"),
            "CODEX_HOME": str(self.home / ".codex"),
            "CREDWARDEN_LIBEXEC": str(self.programs),
            "ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:log_path={self.folder}/asan",
            "UBSAN_OPTIONS": f"{os.environ.get('UBSAN_OPTIONS', '')}:log_path={self.folder}/ubsan",
        }

    def _check(self):
        for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
                     "XDG_RUNTIME_DIR", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
            path = pathlib.Path(self.env[name])
            assert self.folder in path.parents, f"{name} is not in the world's folder"
            assert_outside_real_home(path)
        assert len(str(self.socket)) <= SOCKET_PATH_MAX, f"{self.socket} is too long"

    def __enter__(self):
        adopt_orphans()
        return self

    def __exit__(self, kind, error, trace):
        try:
            end_descendants()
            reports = self.sanitizer_reports()
            assert not reports, "a sanitizer reported:\n" + redact(reports)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def sanitizer_reports(self):
        """What AddressSanitizer and UBSan said, in their own files or in the daemon's log."""
        found = [path.read_text(errors="replace") for path in self.folder.glob("*san.*")]
        mark = re.compile(r"ERROR: \w+Sanitizer|runtime error: ")
        for path in self.state.rglob("*"):
            if path.is_file() and mark.search(path.read_text(errors="replace")):
                found.append(path.read_text(errors="replace"))
        found += [text.decode(errors="replace") for _, text in self.outputs
                  if mark.search(text.decode(errors="replace"))]
        return "\n".join(found)[:20000]

    # ---- programs ----

    def cw(self, *args, check=True, input=None, env=None, timeout=COMMAND_LIMIT_S):
        """Run `credwarden`. `env` is added to the world's; a value of None takes one away."""
        words = [str(word) for word in args]
        given = {**self.env, **(env or {})}
        given = {key: value for key, value in given.items() if value is not None}
        if isinstance(input, str):
            input = input.encode()
        done = subprocess.run([str(self.programs / "credwarden"), *words], env=given,
                              cwd=self.folder, input=input if input is not None else b"",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              check=False)
        label = f"credwarden {' '.join(words)}"
        if "token" not in words:
            self.outputs.append((f"standard output of {label}", done.stdout))
        self.outputs.append((f"standard error of {label}", done.stderr))
        result = Result(words, done.returncode, done.stdout.decode(errors="replace"),
                        done.stderr.decode(errors="replace"))
        if check:
            assert result.code == 0, repr(result)
        return result

    def start(self, command, **options):
        """Any program of the story, ended with the world."""
        return subprocess.Popen([str(word) for word in command], cwd=self.folder,
                                **{"env": self.env, "stdin": subprocess.DEVNULL, **options})

    def start_lab(self, **options):
        """start_lab(access_life="5s", kills_access=True): as on the lab's command line."""
        words = [str(program("credwarden-lab")), "--quiet"]
        if not options.pop("rotate", True):
            words.append("--no-rotate")
        for name, value in options.items():
            value = {True: "on", False: "off"}.get(value, value)
            words += [f"--{name.replace('_', '-')}", str(value)]
        process = self.start(words, stdout=subprocess.PIPE)
        line = process.stdout.readline().decode()
        match = re.search(r"http://[0-9.]+:[0-9]+", line)
        assert match, f"the lab said {line!r}"
        self.lab = Lab(match.group(0))
        self.lab.process = process
        return self.lab

    def write_provider(self, name, **keys):
        folder = self.config / "credwarden" / "providers"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = [f"[provider {name}]"]
        for key, value in keys.items():
            value = {True: "yes", False: "no"}.get(value, value)
            assert_loopback(str(value))
            lines.append(f"{key} = {value}")
        path = folder / f"{name}.ini"
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)
        return path

    def write_config(self, **keys):
        """The daemon's own configuration: section [daemon]."""
        path = self.config / "credwarden" / "credwarden.ini"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text("[daemon]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
        path.chmod(0o600)
        return path

    def write_file(self, name, content, mode=0o600):
        """A file in the world's home; JSON unless it is text or bytes."""
        path = self.home / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if isinstance(content, (dict, list)):
            content = json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def add(self, name, provider, pair, *options, check=True):
        """Hand a pair to credwarden as a file, and take the file away again."""
        path = self.write_file(f"given-{name}.json", pair)
        try:
            return self.cw("add", name, "--provider", provider, "--from", path, *options,
                           check=check)
        finally:
            path.unlink()

    # ---- the daemon ----

    def start_daemon(self):
        """Make sure that there is one; its process id."""
        self.cw("status")
        return wait_until(self.daemon_pid, what="the daemon")

    def daemon_pid(self):
        """Who listens on the socket, as the kernel says; None when nobody does."""
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.connect(str(self.socket))
            pid, _, _ = struct.unpack(
                "3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return pid
        except OSError:
            return None
        finally:
            peer.close()

    def kill_daemon(self, number=signal.SIGKILL, timeout=20):
        """Signal the daemon and wait for its end. Returns its process id."""
        pid = self.daemon_pid()
        assert pid, "no daemon to end"
        send_signal(pid, number)
        wait_until(lambda: not is_running(pid), timeout, f"the end of the daemon {pid}")
        return pid

    def connection(self, timeout=30):
        """A connection that is kept: ask(connection, "GET", "/v1/status")."""
        return UnixConnection(self.socket, timeout)

    def api(self, method, target, body=None, headers=None, timeout=30):
        connection = self.connection(timeout)
        try:
            return ask(connection, method, target, body, headers)
        finally:
            connection.close()

    def raw_socket(self, timeout=30):
        """For requests that http.client would not send."""
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(self.socket))
        peer.settimeout(timeout)
        return peer


# ---- the search for leaks ----

def _processes():
    for pid in descendants():
        for part in ("cmdline", "environ"):
            try:
                yield f"{part} of process {pid}", pathlib.Path(f"/proc/{pid}/{part}").read_bytes()
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                pass  # gone, or closed to others: what we want


def _files(world, excluded):
    for path in sorted(world.folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path in excluded:
            continue
        if stat.S_ISREG(path.stat().st_mode):
            yield str(path.relative_to(world.folder)), path.read_bytes()


def scan_for_tokens(world, tokens=(), excluded=()):
    """Where a token stands in the clear: files of the world but `excluded`, everything programs
    printed, arguments and environments. Tokens of the lab are known by their form; `tokens` are
    those of another server, of which any 12 bytes count. Places only, never the token."""
    pieces = [token.encode()[at:at + 12] for token in tokens for at in (0, len(token) - 12)]
    excluded = {pathlib.Path(path).resolve() for path in excluded}

    def leaks(content):
        return LAB_TOKEN.search(content) or any(piece in content for piece in pieces)

    places = [*_files(world, excluded), *world.outputs, *_processes()]
    return [place for place, content in places if leaks(content)]
