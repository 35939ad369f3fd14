#!/usr/bin/env python3
"""Folders, sockets and environments that are not ours or not usable: refused in a sentence that
names the path, and nobody else is ever spoken to."""

import os
import shutil
import socket
import subprocess
import sys

import runner
from harness import Result, World, program
from refusals import DAEMON, TOKEN, USAGE, assert_refused, profiles
from runner import skip

START = "credwardend does not start: "
NOBODY = 65534


def as_nobody(world, command):
    """What a program of another user says."""
    done = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                           *map(str, command)], env=world.env, stdin=subprocess.DEVNULL, cwd="/",
                          capture_output=True, text=True, timeout=20, check=False)
    return Result([str(word) for word in command], done.returncode, done.stdout, done.stderr)


def need_root():
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        skip("needs root and setpriv, to be another user")


def assert_works(world, env=None):
    lab = world.lab or world.start_lab(access_life="1h")
    world.write_provider("lab", **lab.provider_keys())
    path = world.write_file("alice.json", lab.login("alice"))
    world.cw("add", "work", "--provider", "lab", "--from", path, env=env)
    assert lab.use(world.cw("token", "work", env=env).stdout.strip()).status == 200
    world.cw("daemon", "stop", env=env)


def test_a_runtime_folder_that_others_can_enter_is_refused():
    with World() as world:
        folder = world.socket.parent
        folder.mkdir()
        for mode in (0o777, 0o1777, 0o750, 0o701):
            folder.chmod(mode)
            assert_refused(world.cw("status", check=False), DAEMON, START,
                           f"{folder} is open to other users (mode {mode:04o}): run chmod 700")
            assert not list(folder.iterdir()), "something was put there all the same"
        done = subprocess.run([world.programs / "credwardend", "--foreground"], env=world.env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                              check=False)
        assert done.returncode == 1 and f"{folder} is open to other users" in done.stderr, \
            f"in the foreground, before there is a log: {done}"
        folder.chmod(0o700)
        assert_works(world)


def test_a_runtime_folder_that_is_no_folder_is_refused():
    with World() as world:
        folder, elsewhere = world.socket.parent, world.folder / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        for make, text in ((lambda: folder.symlink_to(elsewhere), "is a symbolic link"),
                           (lambda: folder.symlink_to("nowhere"), "is a symbolic link"),
                           (lambda: folder.write_text("a file"), "is not a folder"),
                           (lambda: os.mkfifo(folder), "is not a folder")):
            make()
            assert_refused(world.cw("status", check=False), DAEMON, START, folder, text)
            folder.unlink()
        assert not list(elsewhere.iterdir())
        assert_works(world)


def test_a_runtime_folder_of_another_user_is_refused():
    need_root()
    with World() as world:
        folder = world.socket.parent
        folder.mkdir(mode=0o700)
        os.chown(folder, NOBODY, NOBODY)
        assert_refused(world.cw("status", check=False), DAEMON, START,
                       f"{folder} belongs to uid {NOBODY} (mode 0700), not to uid 0")
        assert not list(folder.iterdir())


LISTEN = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
listener.listen()
print("ready", flush=True)
peer, _ = listener.accept()
print(repr(peer.recv(1000)), flush=True)
"""


def test_a_credential_is_not_sent_to_a_socket_of_another_user():
    need_root()
    with World() as world:
        for path in (world.folder, world.runtime):
            path.chmod(0o711)
        trap = world.runtime / "credwarden"
        trap.mkdir(mode=0o755)
        os.chown(trap, NOBODY, NOBODY)
        listener = world.start(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                                "--clear-groups", sys.executable, "-c", LISTEN, world.socket],
                               stdout=subprocess.PIPE)
        assert listener.stdout.readline() == b"ready\n"
        pair = {"access_token": "sk-ant-oat01-" + "x" * 40}
        result = world.add("work", "claude", pair, check=False)
        assert_refused(result, DAEMON, f"{world.socket} belongs to another user (uid {NOBODY}): "
                       "nothing was sent to it")
        assert listener.stdout.readline() == b"b''\n", "something was sent to it"


ASK = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(10)
peer.connect(sys.argv[1])
answer = b""
try:
    if sys.argv[2]:
        peer.sendall(sys.argv[2].encode())
    while piece := peer.recv(1000):
        answer += piece
except ConnectionError:
    pass
print(answer.decode())
"""
REQUEST = "GET /v1/profiles/work/token HTTP/1.1\r\nHost: x\r\n\r\n"


def test_another_users_process_is_turned_away():
    need_root()
    with World() as world:
        lab = world.start_lab(access_life="1h")
        world.write_provider("lab", **lab.provider_keys())
        world.add("work", "lab", lab.login("alice"))
        public = world.folder / "credwarden"
        shutil.copy(program("credwarden"), public)
        asking = [sys.executable, "-c", ASK, world.socket]
        as_it_is = as_nobody(world, [*asking, ""])
        assert "PermissionError" in as_it_is.stderr, "the folders keep others out already"
        for path in (world.folder, world.runtime, world.socket.parent, public):
            path.chmod(0o755)
        world.socket.chmod(0o666)
        answer = as_nobody(world, [*asking, ""]).stdout
        assert answer.startswith("HTTP/1.1 403 ") and "This socket serves another user" in answer
        for _ in range(8):  # nobody waits for the request: the answer may be cut by its arrival
            answer = as_nobody(world, [*asking, REQUEST]).stdout.strip()
            assert not answer or answer.startswith("HTTP/1.1 403 "), answer
            assert "access_token" not in answer and not TOKEN.search(answer)
        world.env["CREDWARDEN_SOCKET"] = str(world.socket)
        assert_refused(as_nobody(world, [public, "token", "work"]), DAEMON,
                       f"{world.socket} belongs to another user (uid 0): nothing was sent to it")
        assert world.cw("token", "work").code == 0 and profiles(world)["work"]["waiters"] == 0


def test_what_is_no_socket_in_the_sockets_place_is_refused_and_a_leftover_is_replaced():
    with World() as world:
        world.socket.parent.mkdir(mode=0o700)
        precious = world.write_file("precious", b"do not lose me")
        for make, remove in ((lambda: world.socket.write_text("a file"), world.socket.unlink),
                             (world.socket.mkdir, world.socket.rmdir),
                             (lambda: os.mkfifo(world.socket), world.socket.unlink),
                             (lambda: world.socket.symlink_to(precious), world.socket.unlink)):
            make()
            # Nobody listens there, so the command tries to start a daemon.
            assert_refused(world.cw("status", check=False), DAEMON, START,
                           f"{world.socket}: something that is not a socket is in the way")
            assert os.path.lexists(world.socket)
            remove()
        assert precious.read_bytes() == b"do not lose me"
        with socket.socket(socket.AF_UNIX) as leftover:
            leftover.bind(str(world.socket))
        assert_works(world)


def test_a_socket_path_that_is_too_long_is_refused_with_its_length_and_the_limit():
    with World() as world:
        tail = len("/credwarden/api.sock")
        room = 107 - tail - len(str(world.folder)) - 1
        longest = {"XDG_RUNTIME_DIR": f"{world.folder}/{'r' * room}"}
        too_long = {"XDG_RUNTIME_DIR": f"{world.folder}/{'r' * (room + 1)}"}
        assert_works(world, longest)
        texts = ("the path of the socket is 108 bytes long, and the system's limit is 107",
                 "set XDG_RUNTIME_DIR to a shorter folder", too_long["XDG_RUNTIME_DIR"])
        for command in (("token", "work"), ("daemon", "start")):
            assert_refused(world.cw(*command, env=too_long, check=False), DAEMON, *texts)
        daemon = subprocess.run([world.programs / "credwardend"], env={**world.env, **too_long},
                                capture_output=True, text=True, timeout=10, check=False)
        assert daemon.returncode != 0 and all(text in daemon.stderr for text in texts), daemon
        given = {"CREDWARDEN_SOCKET": "/" + "s" * 200}
        assert_refused(world.cw("token", "work", env=given, check=False), DAEMON,
                       "is 201 bytes long", "set CREDWARDEN_SOCKET to a shorter path")
        endless = {"XDG_RUNTIME_DIR": "/" + "x" * 2000}
        assert_refused(world.cw("status", env=endless, check=False), DAEMON, "choose a shorter")


def test_without_a_runtime_folder_daemon_and_command_line_meet_in_the_state_folder():
    if os.path.lexists(f"/run/user/{os.getuid()}"):
        skip(f"there is a real /run/user/{os.getuid()}, and nothing of it may be touched")
    for value in (None, "", "relative/path"):
        with World() as world:
            env = {"XDG_RUNTIME_DIR": value}
            assert_works(world, env)
            assert (world.state / "credwarden" / "run").stat().st_mode & 0o777 == 0o700
            assert not world.socket.parent.exists()


def test_a_runtime_folder_that_is_missing_is_made():
    with World() as world:
        env = {"XDG_RUNTIME_DIR": f"{world.folder}/no/such"}
        assert_works(world, env)
        assert (world.folder / "no/such/credwarden").stat().st_mode & 0o777 == 0o700


def test_without_a_home_the_other_folders_are_enough_and_none_is_a_sentence():
    with World() as world:
        assert_works(world, {"HOME": None})
        assert_works(world, {"HOME": "not/absolute"})
        for variable, env in (("XDG_DATA_HOME", {"HOME": None, "XDG_DATA_HOME": None}),
                              ("XDG_STATE_HOME", {"HOME": "", "XDG_STATE_HOME": ""}),
                              ("XDG_CONFIG_HOME", {"HOME": "h", "XDG_CONFIG_HOME": "c"})):
            assert_refused(world.cw("status", env=env, check=False), DAEMON, START,
                           f"HOME is not set to an absolute path, and neither is {variable}: "
                           "set one of them")
        assert not (world.folder / "h").exists() and not (world.folder / "c").exists()


def test_a_daemon_that_cannot_be_found_or_run_is_a_sentence():
    with World() as world:
        empty = {"CREDWARDEN_LIBEXEC": str(world.folder)}
        lonely = world.folder / "lonely"
        lonely.mkdir()
        shutil.copy(program("credwarden"), lonely / "credwarden")
        done = subprocess.run([lonely / "credwarden", "status"], env={**world.env, **empty},
                              capture_output=True, text=True, timeout=10, check=False)
        assert_refused(Result(["status"], done.returncode, done.stdout, done.stderr), DAEMON,
                       "there is no credwardend beside this program", "CREDWARDEN_LIBEXEC")
        place = world.folder / "broken"
        place.mkdir()
        for content, text in ((b"#!/no/such/interpreter\n", "No such file or directory"),
                              (b"\x7fELFgarbage", "Exec format error"),
                              (b"#!/bin/sh\nexit 3\n", "it ended without saying why"),
                              (b"#!/bin/sh\necho 'the sky fell' >&3\n", "the sky fell")):
            (place / "credwardend").write_bytes(content)
            (place / "credwardend").chmod(0o700)
            env = {"CREDWARDEN_LIBEXEC": str(place)}
            assert_refused(world.cw("status", env=env, check=False), DAEMON, text)
        assert_refused(world.cw("status", env={"CREDWARDEN_SOCKET": "s"}, check=False), DAEMON,
                       "CREDWARDEN_SOCKET is s: it must be an absolute path")
        nowhere = str(world.folder / "no.sock")
        assert_refused(world.cw("status", env={"CREDWARDEN_SOCKET": nowhere}, check=False), DAEMON,
                       f"no daemon listens at {nowhere}, which CREDWARDEN_SOCKET names")
        assert_refused(world.cw("status", env={"CREDWARDEN_NO_START": "perhaps"}, check=False),
                       USAGE, "CREDWARDEN_NO_START is 'perhaps': expected yes or no")
        assert world.daemon_pid() is None


def test_a_log_lock_or_spool_that_cannot_be_opened_is_a_sentence():
    with World() as world:
        for path in (world.state / "credwarden" / "credwardend.log",
                     world.state / "credwarden" / "state-lock",
                     world.share / "credwarden" / "lock"):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.unlink(missing_ok=True)
            path.mkdir()
            assert_refused(world.cw("status", check=False), DAEMON, START, path, "Is a directory")
            path.rmdir()
        shutil.rmtree(world.state / "credwarden")
        spool = world.state / "credwarden" / "spool"
        spool.parent.mkdir(mode=0o700)
        spool.symlink_to(world.home)
        assert_refused(world.cw("status", check=False), DAEMON, START, spool, "is a symbolic link")
        spool.unlink()
        assert_works(world)


def test_two_data_folders_do_not_share_a_state_folder():
    with World() as world:
        lab = world.start_lab(access_life="1h")
        world.write_provider("lab", **lab.provider_keys())
        world.add("work", "lab", lab.login("alice"))
        other = {"XDG_DATA_HOME": str(world.folder / "other-data"),
                 "XDG_RUNTIME_DIR": str(world.folder / "other-run")}
        apart = {**other, "XDG_STATE_HOME": str(world.folder / "other-state")}
        for path in apart.values():
            os.mkdir(path, mode=0o700)
        world.cw("status", env=apart)  # its own store is there, and at peace
        world.cw("daemon", "stop", env=apart)
        refused = world.cw("status", check=False, env=other)
        state = world.state / "credwarden"
        assert_refused(refused, DAEMON, f"{state} is in use", "XDG_STATE_HOME")
        world.cw("daemon", "restart")
        shown = world.api("GET", "/v1/status").json
        assert not shown["daemon"]["restored"] and not shown["alarms"], shown


if __name__ == "__main__":
    runner.main()
