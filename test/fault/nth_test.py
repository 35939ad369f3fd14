#!/usr/bin/env python3
"""The short form of nth.py: some calls of every scenario fail, chosen evenly from all by a seed
that is printed, and those that once ended badly.

CW_SEED repeats the choice, CW_FAULT_TRIES (32) is how many there are of each scenario.
"""

import contextlib
import errno
import os
import pathlib
import re
import sqlite3
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "script")]

import harness  # noqa: E402
import nth  # noqa: E402
import points  # noqa: E402
import runner  # noqa: E402
import truth  # noqa: E402
from nth_stand import SCENARIOS, Case, Complaint, Stand  # noqa: E402

TRIES = int(os.environ.get("CW_FAULT_TRIES", "32"))

# Each of them once ended a program by a signal, or left something behind.
ONCE = (
    "remove:daemon:memory:fails:1:ENOMEM",  # a connection that came without memory
    "start-again:daemon:memory:fails:1:ENOMEM",
    "start-again:daemon:memory:fails-on:15:ENOMEM",  # SQLite, before its first use
    "start-again:daemon:memory:fails-on:16:ENOMEM",
    *(f"remove:daemon:memory:fails-on:{nth}:ENOMEM" for nth in (22, 25, 30, 41)),  # no ROLLBACK
    "start-again:daemon:descriptor:fails:1:EMFILE",  # no event loop
    "start-again:daemon:descriptor:fails:3:EMFILE",
    "start-again:daemon:process:fails:1:EAGAIN",  # no thread for the store
    "backup:daemon:write:fails-on:5:ENOSPC",  # the journal of a copy
    *(f"backup:daemon:sync:fails:{nth}:EIO" for nth in range(4, 9)),  # the journal of a copy
    "refresh:daemon:open:fails:1:EMFILE",  # an alarm that outlived its cause
    *(f"refresh:daemon:descriptor:fails:{nth}:ENOMEM" for nth in range(13, 17)),  # left a zombie
    "refresh:spender:wait:fails:2:ENOMEM",  # libcurl cannot wait
    "refresh:spender:wait:fails-on:2:ENOMEM",
)


def short(scenario):
    tally = nth.CAMPAIGN.work(scenario, runner.seed(), TRIES)
    print(f"# {scenario}: {tally.tried} of {tally.points} points failed once")
    assert tally.tried > TRIES // 2, "most of the points were never reached"
    assert tally.failed == 0, f"{tally.failed} of {tally.tried} ended badly"


def test_add():
    short("add")


def test_refresh():
    short("refresh")


def test_settle():
    short("settle")


def test_remove():
    short("remove")


def test_the_first_start():
    short("start-fresh")


def test_another_start():
    short("start-again")


def test_migration():
    short("migration")


def test_backup():
    short("backup")


def test_repair():
    short("repair")


def test_a_place_that_is_shared_with_a_client():
    short("share")


EVERY_NTH_NAME = 4  # from a first one by the seed


def test_a_clients_lock_that_cannot_be_given_back_is_given_back_later():
    """And whatever else gets a name, or loses one, at a client's. Once such a lock stayed, for the
    client and for us, until it was stale."""
    with Stand(SCENARIOS["share"]()) as stand:
        calls = stand.count()["daemon"]["name"]
        for nth_name in range(1 + runner.seed() % EVERY_NTH_NAME, calls + 1, EVERY_NTH_NAME):
            act = points.FAIL_ONCE if nth_name % 3 else points.FAIL_ON
            case = Case("share", "daemon", ("name",), act, nth_name, errno.EACCES)
            struck, complaints = stand.run(case)
            assert struck and not complaints, f"{case}: {complaints or 'never came there'}"


def test_what_once_ended_badly_does_so_no_more():
    for name in dict.fromkeys(text.split(":")[0] for text in ONCE):
        with Stand(SCENARIOS[name]()) as stand:
            for case in (Case.parse(text) for text in ONCE if text.startswith(name + ":")):
                struck, complaints = stand.run(case)
                assert struck and not complaints, f"{case}: {complaints or 'never came there'}"


def test_a_caller_that_finds_no_memory_is_let_in_when_there_is_some():
    with Stand(SCENARIOS["remove"]()) as stand:
        for call in (1, 2):  # the connection, its buffer
            stand.restore()
            stand.start()
            stand.sheet.arm("daemon", ["memory"], points.FAIL_ONCE, call, errno.ENOMEM)
            begun = time.monotonic()
            told = stand.cw("remove", "home", "--yes")
            assert stand.sheet.struck
            assert time.monotonic() - begun < 5, f"{call}: {told!r}"
            assert told.code == 0 or call > 1, f"{told!r}"
            stand.stop(gently=True)


OF_NO_COMMAND = harness.Result([], 0, "", "")


def words_of(text):
    """Line by line, what does not change from one moment to the next."""
    return [re.findall(r"[a-z-]{3,}", line) for line in text.splitlines()]


def test_an_answer_without_memory_is_whole_or_none():
    with Stand(SCENARIOS["remove"]()) as stand:
        stand.restore()
        stand.start()
        for words in (("list",), ("status",), ("show", "work"), ("history", "work"),
                      ("status", "--json"), ("history", "work", "--json"), ("events",)):
            stand.sheet.clear()
            stand.sheet.arm()
            whole = words_of(stand.cw(*words).stdout)
            counts = stand.sheet.counts()["daemon"]
            points_there = [(name, nth) for name in ("memory", "map", "secret")
                            for nth in range(1, counts.get(name, 0) + 1)]
            assert counts["secret"] > 10, f"jansson's memory is not seen: {counts}"
            for name, nth in points_there:
                stand.sheet.clear()
                stand.sheet.arm("daemon", [name], points.FAIL_ONCE, nth, errno.ENOMEM)
                told = stand.cw(*words)
                stand.sheet.disarm()
                assert told.code != 0 or words_of(told.stdout) == whole, \
                    f"{name} {nth} at {stand.sheet.where}: {told!r}"
                assert told.code == 0 or "memory" in told.stderr or "went away" in told.stderr, \
                    f"{name} {nth} at {stand.sheet.where}: {told!r}"
        stand.stop(gently=True)


def test_an_answer_that_has_arrived_is_not_lost_for_want_of_memory():
    """The spender reads and seals it again when there is some. What it says itself is whole, too."""
    with Stand(SCENARIOS["refresh"]()) as stand:
        stand.world.write_provider("lab", **stand.lab.provider_keys(reuse_grace="3s", body="json"))
        calls = stand.count()["spender"]["secret"]
        assert calls > 40, f"jansson's memory is not seen: {calls}"
        for nth in range(1, calls + 1):
            act = points.FAIL_ON if nth % 4 == 0 else points.FAIL_ONCE
            case = Case("refresh", "spender", ("secret",), act, nth, errno.ENOMEM)
            struck, complaints = stand.run(case)
            assert struck and not complaints, f"{case}: {complaints or 'never came there'}"
            assert not stand.lost, f"{case}: an answer is lost, struck at {stand.sheet.where}"


def complaint_of(question, *args):
    try:
        question(*args)
    except Complaint as complaint:
        return str(complaint)
    return ""


def test_a_fault_that_is_not_survived_is_seen():
    """Or all of the above would prove nothing: the same questions, asked of a broken house."""
    with Stand(SCENARIOS["refresh"]()) as stand:
        stand.restore()
        stand.start()
        stand.cw("renew", "work")
        told = complaint_of(SCENARIOS["start-again"]().effect, stand,
                            harness.Result(["status"], 0, "no profiles yet\n", ""))
        assert "left out ['work']" in told, told
        # The server goes back: what we hold is unknown to it.
        stand.lab.control("POST", "/lab/rewind")
        told = complaint_of(stand.all_is_well, OF_NO_COMMAND)
        assert "the server refuses the token" in told, told
        stand.cw("daemon", "stop")
        (stand.elsewhere / "litter").touch()
        told = complaint_of(stand.nothing_left_over, None)
        assert "litter" in told, told
        (stand.elsewhere / "litter").unlink()
        assert complaint_of(stand.nothing_left_over, None) == ""


def test_what_is_wrong_in_a_clients_place_is_seen():
    with Stand(SCENARIOS["share"]()) as stand:
        stand.restore()
        stand.start()
        result = stand.scenario.act(stand)
        assert result.code == 0, result
        folder = stand.scenario.folder
        for name in (".oauth_refresh.lock", ".credwarden-tmp-1", "../client.lock"):
            (folder / name).mkdir()
            told = complaint_of(stand.scenario.effect, stand, result)
            assert f"left over at the client's, while the daemon runs: ['{(folder / name).name}']" \
                in told, told
            (folder / name).rmdir()
        stand.cw("use", "home")
        told = complaint_of(stand.scenario.effect, stand, result)
        assert "it said that the place was work's again" in told, told
        stand.cw("daemon", "stop")
        for name in (".storage-write.lock", ".credentials.json.lock"):
            (folder / name).mkdir()
            told = complaint_of(stand.nothing_left_over, None)
            assert f"left over in client: ['{name}']" in told, told
            (folder / name).rmdir()
        assert complaint_of(stand.nothing_left_over, None) == ""


def test_an_untrue_reason_is_seen():
    """As the programs gave them before they were asked for the true one."""
    for said, error in (
            ("store.db is in use by another process", errno.ENOLCK),
            ("store.db cannot be opened: attempt to write a readonly database", errno.EMFILE),
            ("store.db is damaged (page 12); run `credwarden repair`", errno.EIO),
            ("its pair does not open with this vault key", errno.ENOMEM),
            ("credwarden-spender was not found beside credwardend", errno.EACCES),
            ("work: the store cannot be written: internal error", errno.ENOSPC)):
        assert truth.fault_of(f"credwarden: {said}", error), said
    assert not truth.fault_of("credwarden: backup.db: No space left on device", errno.ENOSPC)
    for summary in truth.SUMMARIES:
        assert not re.search(summary, "credwarden: the store cannot be written"), summary


def lose_the_store(data, state):
    """All at once, and the mark that would tell of it."""
    for path in [*data.glob("store.db*"), state / "high-water"]:
        path.unlink(missing_ok=True)


def lose_a_row(data, _state):
    with contextlib.closing(sqlite3.connect(data / "store.db")) as store:
        store.execute("DELETE FROM profile")
        store.commit()


def test_logins_that_a_start_or_a_migration_loses_are_missed():
    for name, lose in (("start-again", lose_the_store), ("migration", lose_a_row)):
        with Stand(SCENARIOS[name]()) as stand:
            stand.restore()
            lose(*stand.folders[:2])
            _, result, complaints = stand.try_without_fault()
            assert result.code == 0 and complaints == ["work is gone"], (result, complaints)
            assert stand.logins_lost == {stand.scenario.families["work"]}


def test_a_removal_that_takes_more_than_it_should_is_seen():
    """Of the other scenarios each campaign sees to that before it begins."""
    with Stand(SCENARIOS["remove"]()) as stand:
        stand.see_a_theft()
        stand.restore()
        stand.start()
        stand.cw("remove", "home", "--yes")
        told = complaint_of(stand.all_is_well, harness.Result([], 1, "", "nothing was removed"))
        assert told == "home is gone", told


if __name__ == "__main__":
    runner.main()
