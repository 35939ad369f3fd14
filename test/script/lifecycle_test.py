#!/usr/bin/env python3
"""The daemon's own life: who starts it and with what, how it goes, what a signal does, and what a
newer command line says to an older daemon. (A suspend cannot be played here: that time asleep
counts is held by test/unit/sys_clock.c and by the core's stories.)"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import harness
import runner
from harness import World, is_running, program
from runner import assert_took, in_threads, wait_until

OK, LATER, DAEMON = 0, 6, 7


def new_world(world, **lab_options):
    lab = world.start_lab(**{"access_life": "5m", **lab_options})
    world.write_provider("lab", **lab.provider_keys())
    return lab


def name_of(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return None


def running(name):
    """Ids of the story's processes of this name (the kernel keeps 15 bytes of it)."""
    return [pid for pid in harness.descendants() if name_of(pid) == name[:15]]


def environment(pid):
    content = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    return dict(item.split("=", 1) for item in content.decode().split("\0") if "=" in item)


def session(pid):
    return os.getsid(pid)


def spender_in_flight(world, lab, delay_ms):
    """A spend whose answer is on its way; returns the command that waits for it."""
    lab.script("token", delay_after_ms=delay_ms)
    before = lab.stats()["endpoints"]["token"]["decided"]
    renewal = world.start([world.programs / "credwarden", "renew", "work", "--json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: lab.stats()["endpoints"]["token"]["decided"] > before, what="the commit")
    return renewal


def test_many_start_it_and_one_wins():
    with World() as world:
        new_world(world)
        for _ in range(3):
            results = in_threads(12, lambda _: world.cw("list"))
            assert all("no profiles yet" in result.stdout for result in results)
            one = [world.daemon_pid()]
            # Those that came too late are on their way out.
            wait_until(lambda one=one: running("credwardend") == one, what="one daemon alone")
            world.cw("daemon", "stop")


def test_a_second_daemon_says_that_there_is_one():
    with World() as world:
        pid = world.start_daemon()
        reader, writer = os.pipe()
        second = world.start([world.programs / "credwardend", "--ready-fd", str(writer)],
                             pass_fds=[writer], stderr=subprocess.PIPE)
        os.close(writer)
        assert second.wait(10) == LATER
        assert os.read(reader, 100) == b"already\n"
        os.close(reader)
        assert b"credwardend: " in second.stderr.read()
        assert world.daemon_pid() == pid and world.cw("list").code == OK


def test_a_clean_environment_and_a_session_of_its_own():
    with World() as world:
        lab = new_world(world)
        given = {"AWS_SECRET_ACCESS_KEY": "made-up", "LD_DEBUG": "", "LD_LIBRARY_PATH": "/nowhere",
                 "http_proxy": "http://127.0.0.1:9", "no_proxy": "localhost,127.0.0.1",
                 "LC_TIME": "C", "CREDWARDEN_X": "1"}
        world.cw("status", env=given)
        world.add("work", "lab", lab.login("alice"))
        pid = world.daemon_pid()
        kept = environment(pid)
        assert not {"AWS_SECRET_ACCESS_KEY", "LD_DEBUG", "LD_LIBRARY_PATH", "TMPDIR"} & set(kept)
        assert kept["http_proxy"] == given["http_proxy"] and kept["HOME"] == str(world.home)
        assert session(pid) == pid != session(os.getpid())
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
        [spender] = running("credwarden-spender")
        if not harness.is_sanitized():
            assert set(environment(spender)) == {"http_proxy", "no_proxy", "LANG", "LC_TIME"}
        assert session(spender) != session(pid), "a signal to the daemon's group must not reach it"


class Proxy(threading.Thread):
    """Answers whatever it is asked with 502, and remembers the first lines."""

    def __init__(self):
        super().__init__(daemon=True)
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                self.asked.append(peer.recv(4096).split(b"\r\n")[0].decode())
                peer.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


def test_a_proxy_is_used_for_the_world_and_not_for_loopback():
    """`.invalid` never resolves: only a proxy is ever asked about it."""
    with World() as world:
        lab = new_world(world)
        proxy = Proxy()
        proxy.start()
        try:
            world.cw("status", env={"http_proxy": proxy.url, "https_proxy": proxy.url})
            world.add("work", "lab", lab.login("alice"))
            assert world.cw("renew", "work", "--json").json["generation"] == 2
            assert proxy.asked == [], "loopback went through the proxy"
            refused = world.cw("add", "far", "--provider", "https://issuer.invalid", "--client-id",
                               "x", "--from", "-", input=json.dumps(lab.login("bob")), check=False)
            assert refused.code == LATER, refused
            assert proxy.asked and proxy.asked[0].startswith("CONNECT issuer.invalid:443 "), \
                proxy.asked
        finally:
            proxy.listener.close()


def test_a_stop_waits_for_the_spend_in_flight():
    with World() as world:
        lab = new_world(world)
        world.add("work", "lab", lab.login("alice"))
        renewal = spender_in_flight(world, lab, 1500)
        pid = world.daemon_pid()
        os.kill(pid, signal.SIGTERM)
        out, err = renewal.communicate(timeout=20)
        assert renewal.returncode == OK and json.loads(out)["generation"] == 2, err
        wait_until(lambda: not is_running(pid), what="the end of the daemon")
        assert world.cw("show", "work", "--json").json["generation"] == 2
        assert len(lab.log(endpoint="token")) == 1
        details = [entry["outcome"] for entry in
                   world.cw("history", "work", "--json").json["lineages"][0]["entries"]]
        assert details == [None, "granted", None], "it was recovered, not waited for"


def test_who_waits_for_more_is_told_that_it_stops():
    with World() as world:
        lab = new_world(world)
        world.add("work", "lab", lab.login("alice"))
        lab.script("token", times=9, status=429, retry_after="40")
        waiting = world.start([world.programs / "credwarden", "renew", "work", "--no-start"],
                              stderr=subprocess.PIPE)
        wait_until(lambda: world.cw("show", "work", "--json").json["waiters"] == 1, what="a waiter")
        world.cw("daemon", "stop")
        assert waiting.wait(10) == LATER
        said = waiting.stderr.read().decode()
        assert "stopping" in said, said


def test_a_reload_reads_the_configuration_and_survives_a_wrong_one():
    with World() as world:
        lab = new_world(world)
        world.add("work", "lab", lab.login("alice"))
        pid = world.daemon_pid()
        log = world.state / "credwarden" / "credwardend.log"
        assert "debug" not in log.read_text()
        world.write_config(log_level="debug", spender_idle="300ms", spend_deadline="1s")
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: world.cw("token", "work") and "debug" in log.read_text(),
                   what="the debug log")
        assert running("credwarden-spender")
        wait_until(lambda: not running("credwarden-spender"), 5, "the spender's leave")
        lab.script("token", delay_before_ms=4000)
        began = time.monotonic()
        world.cw("renew", "work", "--timeout", "3s", check=False)
        wait_until(lambda: world.cw("show", "work", "--json").json["standing"] == "in-doubt",
                   what="the new deadline's doubt")
        assert_took(began, 3.5, "the new deadline")

        world.write_config(log_level="loud")
        refused = world.cw("daemon", "reload", check=False)
        assert refused.code != OK and "log_level must be error" in refused.stderr, refused
        assert ":2:" in refused.stderr, "the line is not named"
        world.write_config(log_levle="debug")
        refused = world.cw("daemon", "reload", check=False)
        assert 'did you mean "log_level"' in refused.stderr, refused
        assert world.daemon_pid() == pid and world.cw("list").code == OK

        moved = log.rename(log.with_suffix(".moved"))
        world.write_config(log_level="info")
        world.cw("daemon", "reload")
        assert "configuration read" in log.read_text() and moved.exists()


def test_the_log_is_bounded():
    with World() as world:
        world.write_config(log_level="debug")
        world.start_daemon()
        log = world.state / "credwarden" / "credwardend.log"
        world.cw("daemon", "stop")
        with log.open("ab") as file:
            file.truncate(1024 * 1024 - 20)
        world.start_daemon()
        assert log.stat().st_size < 100_000
        assert log.with_suffix(".log.old").stat().st_size < 1_200_000


def test_the_daemon_notices_that_it_was_replaced():
    with World() as world:
        if harness.is_sanitized():
            runner.skip("a wrapper script stands where the program would")
        place = world.programs / "credwardend"
        place.unlink()
        shutil.copy(program("credwardend"), place)
        pid = world.start_daemon()
        assert not world.cw("status", "--json").json["daemon"]["binary_replaced"]
        newer = world.programs / "new"
        shutil.copy(program("credwardend"), newer)
        newer.rename(place)
        assert world.cw("status", "--json").json["daemon"]["binary_replaced"]
        assert "credwarden daemon restart" in world.cw("status").stdout
        world.cw("daemon", "restart")
        assert world.daemon_pid() != pid
        assert not world.cw("status", "--json").json["daemon"]["binary_replaced"]


def test_a_daemon_that_takes_nothing_is_told_from_one_that_is_slow():
    with World() as world:
        lab = new_world(world)
        world.add("work", "lab", lab.login("alice"))
        pid = world.daemon_pid()
        os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        for words in (["list"], ["remove", "work", "--yes"]):
            refused = world.cw(*words, check=False)
            assert refused.code == DAEMON, refused
            assert f"credwardend (process {pid}) takes no requests: " in refused.stderr, refused
        assert "see `credwarden status` for whether it was done" in refused.stderr, refused
        assert_took(begun, 40, "no waiting for an answer that cannot come")
        with contextlib.ExitStack() as crowd:
            for _ in range(1000):
                peer = crowd.enter_context(socket.socket(socket.AF_UNIX))
                peer.setblocking(False)
                if peer.connect_ex(str(world.socket)) != 0:
                    break
            refused = world.cw("list", check=False)
        assert refused.code == DAEMON and "takes no requests" in refused.stderr, refused
        assert "nothing was asked" in refused.stderr, refused
        os.kill(pid, signal.SIGCONT)
        assert world.cw("list").code == OK and world.daemon_pid() == pid


class OldDaemon(threading.Thread):
    """Speaks for a daemon of an older version."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self.listener.bind(str(path))
        self.listener.listen()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(4096)
                body = b"work\n"
                peer.sendall(b"HTTP/1.1 200 OK\r\nServer: credwarden/0.0.9\r\n"
                             b"Credwarden-Version: 0.0.9\r\nContent-Type: text/plain\r\n"
                             b"Content-Length: %d\r\n\r\n%s" % (len(body), body))


def test_an_older_daemon_is_named():
    with World() as world:
        old = OldDaemon(world.socket)
        old.start()
        try:
            said = world.cw("version")
            assert "credwardend 0.0.9" in said.stdout, said
            for command in ("version", "status"):
                said = world.cw(command)
                assert "0.0.9" in said.stderr and "credwarden daemon restart" in said.stderr, said
            assert world.cw("list").stderr == "", "a script that only lists is not told"
        finally:
            old.listener.close()


def test_spends_outlive_an_upgrade():
    """`daemon restart` in mid-spend, as a package's upgrade does: not one token is lost."""
    with World() as world:
        lab = new_world(world)
        world.add("work", "lab", lab.login("alice"))
        for generation in (2, 3):
            renewal = spender_in_flight(world, lab, 600)
            world.cw("daemon", "restart")
            renewal.wait(20)
            wait_until(lambda: world.cw("show", "work", "--json").json["generation"] == generation,
                       what="the new pair")
            time.sleep(2.1)
        assert lab.family("f1")["alive"] and lab.family("f1")["reuses"] == 0


if __name__ == "__main__":
    runner.main()
