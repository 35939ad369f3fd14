#!/usr/bin/env python3
"""No token where it does not belong: not in a log, a trace, an error, an argument, an environment,
a core file, or in a file that is not sealed; and the walls that see to it are up."""

import ctypes
import http.server
import json
import os
import pathlib
import pwd
import re
import resource
import signal
import stat
import subprocess
import threading
import time
import traceback

import harness
import runner
from harness import World, program, scan_for_tokens
from runner import in_threads, wait_until

NOBODY = 65534
PTRACE_ATTACH = 16

# The sanitizers make reports of some of them.
CRASHES = [signal.SIGKILL] if harness.is_sanitized() else \
    [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT]


class Gossip(http.server.ThreadingHTTPServer):
    """A provider that repeats in every complaint what it was told."""

    daemon_threads = True

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        def answer(self, status, word):
            told = f"The {word} is not known here; did you mean ({word})?"
            body = json.dumps({"error": "invalid_grant", "error_description": told, "message": told,
                               "error_uri": f"https://example.invalid/{word}"}).encode()
            self.send_response(status, f"No {word}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("WWW-Authenticate", f'Bearer error="{word}"')
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.answer(400, re.search(r"lab-rt-[0-9a-f]+", body).group(0))

        def do_GET(self):
            self.answer(500, self.headers["Authorization"].split()[-1])

        def log_message(self, *_):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Watcher(threading.Thread):
    """Looks again and again at what is only there for a moment: arguments, environments, spools."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.over, self.looks, self.found = world, threading.Event(), 0, set()

    def run(self):
        while not self.over.wait(0.05):
            try:
                self.found |= set(scan_for_tokens(self.world, excluded=self.world.given))
                self.looks += 1
            except FileNotFoundError:
                pass  # it went between being listed and being read

    def stop(self):
        self.over.set()
        self.join()
        assert self.looks > 3
        assert not self.found, f"tokens in {sorted(self.found)}"


def busy_world(world):
    """The most verbose daemon there is, with a login that works and one that gossips."""
    world.write_config(log_level="debug", spend_deadline="2s")
    lab = world.start_lab(access_life="5m")
    world.write_provider("lab", **lab.provider_keys(subject_paths="sub", usage_url=lab.url +
                                                    "/oauth/usage",
                                                    utilization_paths="five_hour.utilization"))
    world.given = []
    return lab


def give(world, name, pair):
    """A credential file, which of course holds tokens."""
    path = world.write_file(f"given-{name}.json", pair)
    world.given.append(path)
    return path


def everything(world, lab):
    """One of each operation, and as many ways to fail as there are."""
    world.cw("add", "work", "--provider", "lab", "--from", give(world, "work", lab.login("alice")))
    world.cw("add", "home", "--provider", "lab", "--from", "-", input=json.dumps(lab.login("bob")))
    stranger = give(world, "work", lab.login("mallory"))
    world.cw("add", "work", "--provider", "lab", "--from", stranger, check=False)
    for spoilt in (lambda text: text[:-9], lambda text: text + "}", lambda text: text.upper(),
                   lambda text: text.replace("lab-rt-", "lab-at-")):
        world.cw("add", "x", "--provider", "lab", "--from", "-", check=False,
                 input=spoilt(json.dumps(lab.login("carol"))))
    gossip = Gossip()
    keys = lab.provider_keys(token_url=gossip.url + "/token", identity_url=gossip.url + "/me")
    world.write_provider("gossip", **keys)
    world.cw("add", "gossip", "--provider", "gossip", "--from", "-", check=False,
             input=json.dumps({**lab.login("erin"), "expires_at": 1}))
    del keys["identity_url"], keys["subject_paths"], keys["label_path"]
    world.write_provider("gossip", **keys)
    world.cw("add", "gossip", "--provider", "gossip", "--from", "-", input=json.dumps(
        lab.login("erin")))
    world.cw("renew", "gossip", check=False)
    world.cw("token", "gossip", check=False)
    world.cw("history", "gossip")
    gossip.shutdown()
    gossip.server_close()

    world.cw("renew", "work", "--json")
    quirks = [{"status": 500}, {"body": "html"}, {"torn_after": 60},
              {"duplicate_key": "access_token"}, {"non_utf8": True},
              {"set": {"access_token": "lab-rt-0123456789abcdef"}},
              {"huge_mib": 2}, {"status": 429}, {"redirect": lab.url + "/elsewhere"},
              {"lose_after_commit": True}, {"delay_after_ms": 3000},
              {"missing_refresh_token": True}]
    names = [f"odd{i}" for i in range(len(quirks))]
    for name, quirk in zip(names, quirks):
        pair = lab.login(name)
        world.cw("add", name, "--provider", "lab", "--from", "-", input=json.dumps(pair))
        lab.script("token", family=pair["family"], **quirk)
    in_threads(len(names), lambda i: world.cw("renew", names[i], "--timeout", "4s", check=False))
    world.api("GET", "/v1/profiles/work/usage")
    for args in (("list",), ("list", "--json"), ("status",), ("status", "--json"), ("show", "work"),
                 ("history", "work"), ("history", "odd9", "--json"), ("policy", "work", "standby"),
                 ("rename", "home", "house"), ("events",), ("events", "--json"), ("version",),
                 ("backup", str(world.folder / "copy.db")), ("remove", "house", "--yes")):
        world.cw(*args)


def no_core_files(world, pids):
    """Where the kernel would have put them."""
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    assert not list(world.folder.rglob("core*")), "a core file in the world's folder"
    if pattern.startswith("|"):
        return  # a program gets it; RLIMIT_CORE and the dumpable bit are looked at elsewhere
    for pid in pids:
        name = pattern.replace("%p", str(pid)).replace("%P", str(pid))
        place = pathlib.Path("/") / name
        assert not place.with_name(f"{place.name}.{pid}").exists(), place
        assert "%" in name or name == "core" or not place.exists(), place


@runner.limit(90)
def test_a_full_run_leaves_no_token_behind():
    with World() as world:
        lab = busy_world(world)
        world.start_daemon()
        watcher = Watcher(world)
        watcher.start()
        everything(world, lab)
        watcher.stop()
        log = (world.state / "credwarden" / "credwardend.log").read_text()
        assert " debug " in log and "effect settle" in log and "[...]" in log, \
            "the log is not the most verbose one"
        world.cw("daemon", "stop")
        leaks = scan_for_tokens(world, excluded=world.given)
        assert not leaks, leaks
        found = {world.folder / place for place in scan_for_tokens(world)}
        assert found == set(world.given), "the search does not even find the user's own files"


def test_crashes_leave_no_token_behind():
    with World() as world:
        lab = busy_world(world)
        world.cw("add", "work", "--provider", "lab", "--from", give(world, "work",
                                                                   lab.login("alice")))
        pids = []
        for number in CRASHES:
            lab.script("token", delay_after_ms=400)
            before = lab.stats()["endpoints"]["token"]["decided"]
            renewal = world.start([world.programs / "credwarden", "renew", "work"],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            wait_until(lambda: lab.stats()["endpoints"]["token"]["decided"] > before,
                       what="the commit")
            pids += [world.kill_daemon(number)]
            world.outputs.append(("a renewal whose daemon died", renewal.communicate()[0]))
            world.cw("token", "work", "--timeout", "20s")
            wait_until(lambda: lab.family("f1")["generation"] == world.cw(
                "show", "work", "--json").json["generation"], what="the recovered pair")
            time.sleep(2.1)  # the next renewal is to be another one
        no_core_files(world, pids)
        leaks = scan_for_tokens(world, excluded=world.given)
        assert not leaks, leaks
        assert lab.family("f1")["alive"] and lab.family("f1")["reuses"] == 0


def facts_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def spender_of(daemon):
    for pid in harness.descendants():
        if facts_of(pid)["PPid"] == str(daemon):
            return pid
    raise AssertionError("no spender runs")


def mapped_libraries(pid):
    text = pathlib.Path(f"/proc/{pid}/maps").read_text()
    return {pathlib.Path(path).name for path in re.findall(r"(/\S+\.so\S*)", text)}


def test_the_walls_are_up():
    with World() as world:
        lab = busy_world(world)
        daemon = world.start_daemon()
        world.cw("add", "work", "--provider", "lab", "--from", "-",
                 input=json.dumps(lab.login("alice")))
        spender = spender_of(daemon)
        for pid in (daemon, spender):
            assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0), pid
        assert facts_of(spender)["NoNewPrivs"] == "1", "the spender may gain privileges"
        if harness.is_sanitized():
            runner.skip("the sanitizers' own libraries and tracing stand in the way of the rest")
        assert facts_of(spender)["Seccomp"] == "2", "the spender has no filter"
        assert "seccomp" in world.cw("status").stdout
        loaded = mapped_libraries(daemon)
        found = [name for name in loaded if re.search("curl|ssl|crypto\\.so|nghttp", name)]
        assert not found, loaded
        assert [name for name in mapped_libraries(spender) if "curl" in name]
        follower = world.start([world.programs / "credwarden", "events", "--follow"],
                               stdout=subprocess.PIPE)
        follower.stdout.readline()
        assert all(re.match(r"(libc|ld-linux)", name) for name in mapped_libraries(follower.pid)), \
            mapped_libraries(follower.pid)


def test_everything_is_for_its_owner_only():
    with World() as world:
        lab = busy_world(world)
        os.umask(0o022)
        world.cw("add", "work", "--provider", "lab", "--from", "-",
                 input=json.dumps(lab.login("alice")))
        lab.script("token", delay_after_ms=700)
        renewal = world.start([world.programs / "credwarden", "renew", "work"],
                              stdout=subprocess.DEVNULL)
        wait_until(lambda: list(world.state.rglob("*.spool")), what="a spool file")
        world.cw("backup", world.folder / "run" / "credwarden" / "copy.db")
        seen = set()
        for folder in (world.share, world.state, world.runtime):
            for path in (folder / "credwarden").rglob("*"):
                facts = path.lstat()
                wanted = 0o700 if stat.S_ISDIR(facts.st_mode) else 0o600
                assert stat.S_IMODE(facts.st_mode) == wanted, (path, oct(facts.st_mode))
                seen.add(path.suffix or path.name)
            assert stat.S_IMODE((folder / "credwarden").stat().st_mode) == 0o700
        assert {".db", ".key", ".sock", ".log", ".spool", "high-water", "lock"} <= seen, seen
        assert renewal.wait(20) == 0


def is_refused(attempt):
    try:
        attempt()
    except OSError as error:
        assert isinstance(error, PermissionError), error
        return True
    return False


def attach(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def look_into_our_own_programs():
    """As an ordinary user: their memory and environment are closed to that same user."""
    with World() as world:
        lab = busy_world(world)
        daemon = world.start_daemon()
        world.cw("add", "work", "--provider", "lab", "--from", "-",
                 input=json.dumps(lab.login("alice")))
        spender = spender_of(daemon)
        plain = world.start(["sleep", "30"])
        wait_until(lambda: not is_refused(pathlib.Path(f"/proc/{plain.pid}/environ").read_bytes),
                   what="the counter-check: an ordinary process can be read")
        for pid in (daemon, spender):
            for part in ("environ", "mem", "maps"):
                assert is_refused(lambda: pathlib.Path(f"/proc/{pid}/{part}").open("rb").read(1)), \
                    f"{part} of {pid} can be read"
            assert is_refused(lambda: attach(pid)), f"{pid} can be traced"
        os.kill(daemon, signal.SIGTERM)
        wait_until(lambda: not harness.is_running(daemon), what="its end")


def is_reachable_by(uid, path):
    while True:
        facts = path.stat()
        open_to_all = facts.st_mode & 0o001
        if not open_to_all and facts.st_uid != uid:
            return False
        if path == path.parent:
            return True
        path = path.parent


def test_the_same_user_cannot_look_into_the_daemon():
    if harness.is_sanitized():
        runner.skip("with the sanitizers the programs stay traceable")
    if os.getuid() != 0:
        look_into_our_own_programs()
        return
    if not all(is_reachable_by(NOBODY, program(name)) for name in harness.PROGRAMS):
        runner.skip("as root nothing is closed, and user nobody cannot reach the build folder")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            "".encode("idna")  # loaded while the interpreter's own files can be read
            os.setgroups([])
            os.setgid(pwd.getpwuid(NOBODY).pw_gid)
            os.setuid(NOBODY)
            look_into_our_own_programs()
            code = 0
        except BaseException:  # told here, for nobody else will
            print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "as user nobody"


if __name__ == "__main__":
    runner.main()
