#!/usr/bin/env python3
"""Command lines that are wrong: refused before anything is read or started, in one line that names
the word and what would be right."""

import os
import pty
import subprocess

import runner
from harness import Result, World
from refusals import DAEMON, FAILED, INPUT, POLICY, UNKNOWN, USAGE, assert_refused

HUGE = "x" * 100_000

WRONG = (
    # missing
    ("", "a command is missing; `credwarden help` lists them"),
    ("--", "a command is missing"),
    ("add", "NAME is missing; usage: credwarden add NAME [options]"),
    ("add a", "--provider is missing: the name of a provider, or the address of an issuer"),
    ("add a --from f", "--provider is missing"),
    ("add a --provider p", "--from is missing: the credential file, or - for standard input"),
    ("add a --provider", "option '--provider' needs a value: --provider PROVIDER"),
    ("show", "NAME is missing; usage: credwarden show NAME"),
    ("token", "NAME is missing; usage: credwarden token NAME [options]"),
    ("token --min-ttl 5m", "NAME is missing"),
    ("token work --min-ttl", "option '--min-ttl' needs a value: --min-ttl DURATION"),
    ("token work --min-ttl=", "option '--min-ttl' needs a value"),
    ("renew", "NAME is missing; usage: credwarden renew NAME [options]"),
    ("history", "NAME is missing; usage: credwarden history NAME [options]"),
    ("policy", "NAME is missing; usage: credwarden policy NAME [POLICY]"),
    ("rename", "OLD is missing; usage: credwarden rename OLD NEW"),
    ("rename a", "NEW is missing; usage: credwarden rename OLD NEW"),
    ("remove", "NAME is missing; usage: credwarden remove NAME [options]"),
    ("remove a", "remove asks before it wipes tokens, and standard input is no terminal: say"),
    ("backup", "FILE is missing; usage: credwarden backup FILE [options]"),
    ("daemon", "ACTION is missing; usage: credwarden daemon ACTION"),
    # surplus
    ("add a b --provider p --from f", "'b' is one argument too many; usage: credwarden add NAME"),
    ("list x", "'x' is one argument too many; usage: credwarden list"),
    ("status x", "'x' is one argument too many; usage: credwarden status"),
    ("show a b", "'b' is one argument too many; usage: credwarden show NAME"),
    ("token work home", "'home' is one argument too many; usage: credwarden token NAME"),
    ("renew a b", "'b' is one argument too many"),
    ("history a b", "'b' is one argument too many"),
    ("policy a never b", "'b' is one argument too many; usage: credwarden policy NAME [POLICY]"),
    ("rename a b c", "'c' is one argument too many"),
    ("remove a b", "'b' is one argument too many"),
    ("events x", "'x' is one argument too many; usage: credwarden events [options]"),
    ("backup a b", "'b' is one argument too many"),
    ("daemon start x", "'x' is one argument too many; usage: credwarden daemon ACTION"),
    ("version x", "'x' is one argument too many; usage: credwarden version"),
    ("help token x", "'x' is one argument too many; usage: credwarden help [TOPIC]"),
    # contradictory
    ("token a --min-ttl 5m --min-ttl 6m", "option '--min-ttl' is given twice"),
    ("add a --provider p --provider q --from f", "option '--provider' is given twice"),
    ("remove a --yes --yes", "option '--yes' is given twice"),
    ("list --json=yes", "option '--json' takes no value"),
    ("events --follow=yes", "option '--follow' takes no value"),
    ("list --no-start=1", "option '--no-start' takes no value"),
    # no such word
    ("tokne work", "there is no command 'tokne'; did you mean 'token'?"),
    ("zzz", "there is no command 'zzz'; `credwarden help` lists the commands"),
    ("-", "there is no command '-'"),
    ("token work --min-tll 5m", "'token' has no option '--min-tll'; did you mean '--min-ttl'?"),
    ("token work --zzz", "'token' has no option '--zzz'; `credwarden help token` lists them"),
    ("add a --provdier p", "'add' has no option '--provdier'; did you mean '--provider'?"),
    ("--jsno list", "'credwarden' has no option '--jsno'; did you mean '--json'?"),
    ("--verson", "'credwarden' has no option '--verson'; did you mean '--version'?"),
    ("list -v", "there is no option '-v'; options are whole words behind two dashes"),
    ("policy a alway", "there is no policy 'alway'; did you mean 'always'?"),
    ("policy a zzz", "there is no policy 'zzz': never, standby and always are"),
    ("add a --provider p --from f --policy often", "there is no policy 'often'"),
    ("daemon strat", "there is no 'daemon strat'; did you mean 'daemon start'?"),
    ("daemon zzz", "there is no 'daemon zzz': start, stop, restart, reload, status and run are"),
    ("help tokn", "there is no command 'tokn'; did you mean 'token'?"),
    # values
    ("token a --min-ttl soon", "'--min-ttl soon': a duration is like 90s, 10m, 1h30m or 2d"),
    ("token a --min-ttl -5s", "'--min-ttl -5s': a duration is like"),
    ("token a --min-ttl 99999999999999999d", "a duration is like"),
    ("token a --timeout 5x", "'--timeout 5x': a duration is like"),
    ("renew a --timeout 1e3s", "'--timeout 1e3s': a duration is like"),
    ("history a --limit x", "'--limit x': a whole number from 1 on is expected"),
    ("history a --limit 0", "'--limit 0': a whole number from 1 on is expected"),
    ("history a --limit 99999999999999999999", "a whole number from 1 on is expected"),
    ("events --limit -1", "'--limit -1': a whole number from 1 on is expected"),
    ("events --after x", "'--after x': a whole number from 0 on is expected"),
    # names
    ("token .hidden", "'.hidden' cannot be the name of a profile: 1 to 64 of the letters A-Z a-z"),
    ("token -- -rf", "'-rf' cannot be the name of a profile"),
    ("token ../work", "'../work' cannot be the name of a profile"),
    ("rename a b/c", "'b/c' cannot be the name of a profile"),
    ("show " + "x" * 65, "cannot be the name of a profile"),
    ("show żółw", "'żółw' cannot be the name of a profile"),
    # huge: the sentence goes on behind the word
    (f"token {HUGE}", "…' cannot be the name of a profile: 1 to 64 of the letters"),
    (f"list {HUGE}", "…' is one argument too many; usage: credwarden list"),
    (HUGE, "…'; `credwarden help` lists the commands"),
    (f"list --{HUGE}", "there is no option '--xxx"),
    (f"token a --min-ttl {HUGE}", "…': a duration is like 90s, 10m, 1h30m or 2d"),
    (f"history a --limit {HUGE}", "…': a whole number from 1 on is expected"),
    (f"policy a {HUGE}", "…': never, standby and always are"),
    (f"daemon {HUGE}", "…': start, stop, restart, reload, status and run are"),
    (f"help {HUGE}", "…'; `credwarden help` lists the commands"),
)


def run(world, *words, stdin=subprocess.DEVNULL):
    """`credwarden` with arguments of any bytes."""
    done = subprocess.run([bytes(world.programs / "credwarden"), *words], env=world.env,
                          stdin=stdin, capture_output=True, timeout=20, check=False)
    return Result([repr(word[:60]) for word in words], done.returncode, done.stdout.decode(),
                  done.stderr.decode())


def test_a_wrong_command_line_is_refused_before_anything_is_started():
    with World() as world:
        for line, text in WRONG:
            result = world.cw(*line.split(), check=False)
            assert_refused(result, USAGE, text)
            assert len(result.stderr) < 560, "a line"
        assert world.daemon_pid() is None and not (world.share / "credwarden").exists()


def test_arguments_that_are_empty_or_not_utf8_are_refused_and_harmless_to_a_terminal():
    rows = (
        ([b"token", b"\xff\xfe"], "argument 2 is not valid UTF-8: '??'"),
        ([b"\xff"], "argument 1 is not valid UTF-8"),
        ([b"token", b"a", b"--min-ttl", b"\xc3("], "argument 4 is not valid UTF-8"),
        ([b"token", b"a", b"--\xff"], "argument 3 is not valid UTF-8"),
        ([b"add", b"a", b"--provider", b"p", b"--from", b"\xff"], "argument 6 is not valid UTF-8"),
        ([b"token", b"a\nb"], "'a?b' cannot be the name of a profile"),
        ([b"tok\x1b[31men"], "there is no command 'tok?[31men'"),
        ([b"token", b"a", b"--\x1b]0;title\x07"], "has no option '--?]0;title?'"),
        ([b"token", b""], "NAME is empty"),
        ([b"rename", b"a", b""], "NEW is empty"),
        ([b""], "there is no command ''"),
    )
    with World() as world:
        for words, text in rows:
            assert_refused(run(world, *words), USAGE, text)
        assert world.daemon_pid() is None


def test_what_only_the_daemon_can_judge_is_refused_with_the_same_code():
    with World() as world:
        lab = world.start_lab(access_life="1h")
        world.write_provider("lab", **lab.provider_keys())
        world.add("work", "lab", lab.login("alice"))
        for line, code, text in (
                ("token work --timeout 1d", USAGE, "timeout: expected a duration like 90s, 10m"),
                ("token work --min-ttl 400d", USAGE, "min_ttl: expected a duration"),
                ("token work --min-ttl 2h", POLICY, "the most is 1h"),
                ("history work --limit 6000", USAGE, "limit: expected a number from 0 to 5000"),
                ("token wrok", UNKNOWN, "there is no profile wrok; did you mean work?"),
                ("show zzz", UNKNOWN, "there is no profile zzz; `credwarden list` shows those"),
                ("remove zzz --yes", UNKNOWN, "there is no profile zzz"),
                ("policy zzz never", UNKNOWN, "there is no profile zzz"),
                ("rename zzz home", UNKNOWN, "there is no profile zzz"),
                ("backup /proc/nowhere/store.db", FAILED, "cannot open /proc/nowhere: ")):
            assert_refused(world.cw(*line.split(), check=False), code, text)
        result = world.cw("add", "a", "--provider", HUGE, "--from", "-", input="{}", check=False)
        assert_refused(result, USAGE, "the arguments are longer than a request may be")
        assert world.cw("token", "work", "--json", "--json").json["access_token"]
        asked = world.cw("show", "zzz", "--json", check=False)
        assert asked.code == UNKNOWN and '"code":"profile-unknown"' in asked.stderr


def test_without_a_daemon_and_without_leave_to_start_one_it_says_so():
    with World() as world:
        for command in (("list",), ("status",), ("token", "work"), ("renew", "work")):
            assert_refused(world.cw(*command, "--no-start", check=False), DAEMON,
                           "credwardend is not running; `credwarden daemon start` starts it")
            assert_refused(world.cw(*command, env={"CREDWARDEN_NO_START": "yes"}, check=False),
                           DAEMON, "credwardend is not running")
        assert_refused(world.cw("daemon", "reload", check=False), DAEMON, "is not running")
        assert world.cw("daemon", "stop").stdout == "credwardend: was not running\n"
        assert world.daemon_pid() is None


def test_a_credential_is_not_read_from_a_terminal():
    with World() as world:
        terminal, other = pty.openpty()
        try:
            words = (b"add", b"work", b"--provider", b"claude", b"--from", b"-")
            result = run(world, *words, stdin=other)
        finally:
            os.close(terminal)
            os.close(other)
        assert_refused(result, INPUT, "standard input is a terminal: pipe the credential file")


def test_output_that_cannot_be_written_is_a_failure():
    with World() as world:
        world.start_daemon()
        if not os.path.exists("/dev/full"):
            runner.skip("no /dev/full")
        for command in (["list"], ["help"], ["version"], ["status", "--json"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([world.programs / "credwarden", *command], env=world.env,
                                      stdin=subprocess.DEVNULL, stdout=full,
                                      stderr=subprocess.PIPE, text=True, timeout=10, check=False)
            assert done.returncode == FAILED, (command, done)
            assert "cannot write to standard output" in done.stderr, (command, done)


if __name__ == "__main__":
    runner.main()
