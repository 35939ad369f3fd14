#!/usr/bin/env python3
"""A configuration with an error: the daemon does not start and says file, line and what was
expected; one that runs keeps what it has and says so."""

import os
import signal

import runner
from harness import World
from refusals import DAEMON, FAILED, INPUT, assert_problem, assert_refused
from runner import wait_until

BAD = (
    (b"[daemon]\nlog_levle = info\n", ':2: unknown key "log_levle"; did you mean "log_level"?'),
    (b"[daemon]\n\n# why\nzzz = 1\n", ':4: unknown key "zzz"'),
    (b"[daemon]\nlog_level = loud\n", ":2: log_level must be error, warning, info or debug"),
    (b"[daemon]\nlog_level =\n", ":2: log_level must be error"),
    (b"[daemon]\nspend_deadline = 10 parsecs\n", ":2: spend_deadline must be a duration from 1s"),
    (b"[daemon]\nspend_deadline = 1ms\n", ":2: spend_deadline must be a duration from 1s to 5m"),
    (b"[daemon]\nlog_level = info\nask_deadline = 1h\n", ":3: ask_deadline must be a duration"),
    (b"[daemon]\nspender_idle = -1s\n", ":2: spender_idle must be a duration from 100ms to 1h"),
    (b"[daemon]\nprofiles_max = 0\n", ":2: profiles_max must be a number from 1 to 4096"),
    (b"[daemon]\nprofiles_max = " + b"9" * 40 + b"\n", ":2: profiles_max must be a number"),
    (b"[daemon]\nlog_level = info\nlog_level = debug\n", ":3: a second log_level"),
    (b"[daemon]\nlog_level = info\n  debug\n", ":3: a second log_level"),
    (b"[daemon]\nlog_lev", ":2: not a section, a key or a comment"),
    (b"[daem", ":1: not a section, a key or a comment"),
    (b"log_level = info\n", ":1: a key before the section [daemon]: log_level"),
    (b"[deamon]\nlog_level = info\n", ":2: this belongs to no section but [daemon], and stands in"),
    (b"[daemon]\n# caf\xe9\n", ":2: not UTF-8 text"),
    (b"[daemon]\nlog_level = info\0\n", ":2: not UTF-8 text"),
    ("[daemon]\n".encode("utf-16"), ":1: not UTF-8 text"),
    (b"[daemon]\nlog_level = " + b"x" * 5000 + b"\n", ":2: "),
    (b"[daemon]\n" + b"#" * 70000, " is larger than the 65536 bytes"),
)


def assert_does_not_start(world, path, *texts):
    result = world.cw("status", check=False)
    assert_refused(result, DAEMON, "credwardend does not start: ", path, *texts)
    assert world.daemon_pid() is None


def test_a_daemon_does_not_start_with_a_bad_configuration_and_names_file_and_line():
    with World() as world:
        path = world.write_config()
        for content, text in BAD:
            path.write_bytes(content)
            assert_does_not_start(world, path, f"{path}{text}")
        path.unlink()
        path.mkdir()
        assert_does_not_start(world, path, "is not a regular file")
        path.rmdir()
        os.mkfifo(path)
        assert_does_not_start(world, path, "is not a regular file")
        path.unlink()
        path.symlink_to(path)
        assert_does_not_start(world, path, "Too many levels of symbolic links")
        path.unlink()
        # Nothing of it was remembered.
        assert "no profiles yet" in world.cw("status").stdout


def test_a_daemon_that_runs_keeps_its_configuration_when_the_new_one_is_bad():
    with World() as world:
        lab = world.start_lab(access_life="1h")
        world.write_provider("lab", **lab.provider_keys())
        path = world.write_config(log_level="info")
        world.add("work", "lab", lab.login("alice"))
        pid = world.daemon_pid()
        for content, text in BAD:
            path.write_bytes(content)
            result = world.cw("daemon", "reload", check=False)
            assert_refused(result, INPUT, f"{path}{text}", "the configuration is as it was")
        assert_problem(world.api("POST", "/v1/daemon/reload"), 422, "input-invalid", str(path))
        assert world.daemon_pid() == pid and world.cw("token", "work").stdout
        world.write_config(log_level="debug", spend_deadline="2s")
        world.cw("daemon", "reload")
        log = (world.state / "credwarden" / "credwardend.log").read_text()
        assert "reloaded" in log
        world.cw("renew", "work")


def test_a_hangup_with_a_bad_configuration_is_told_in_log_and_events_and_changes_nothing():
    with World() as world:
        path = world.write_config()
        pid = world.start_daemon()
        log = world.state / "credwarden" / "credwardend.log"
        path.write_text("[daemon]\nlog_levle = debug\n")
        os.kill(pid, signal.SIGHUP)
        told = f'reload-refused: {path}:2: unknown key "log_levle"; did you mean "log_level"?'
        wait_until(lambda: told in log.read_text(), what="the log's line")
        assert "log_levle" in world.cw("events").stdout
        path.write_text("[daemon]\nlog_level = debug\n")
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: "reloaded: configuration read" in log.read_text(), what="the reload")
        assert world.daemon_pid() == pid


def test_a_reload_that_cannot_open_the_log_anew_says_so_and_keeps_the_old_one():
    with World() as world:
        world.start_daemon()
        log = world.state / "credwarden" / "credwardend.log"
        moved = log.with_name("moved.log")
        log.rename(moved)
        log.mkdir()
        result = world.cw("daemon", "reload", check=False)
        assert_refused(result, FAILED, f"{log}: cannot open the log", "is as it was")
        assert "reload-refused" in moved.read_text(), "what goes on is logged somewhere"
        log.rmdir()
        world.cw("daemon", "reload")
        assert "reloaded: configuration read" in log.read_text()


if __name__ == "__main__":
    runner.main()
