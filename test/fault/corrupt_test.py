#!/usr/bin/env python3
"""Damage of the files credwarden lives on, in the short form: a sample of what corrupt.py --proof
does in full. Nothing damaged is believed, and the repair saves what is sound."""

import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import corrupt  # noqa: E402
import runner  # noqa: E402
import version_1  # noqa: E402
from corrupt import FRAME, LOG, MARK, PAGE, STORE, house  # noqa: E402
from harness import World  # noqa: E402
from refusals import DAEMON, FAILED, LATER, assert_refused, profiles  # noqa: E402
from runner import wait_until  # noqa: E402

FLIPS = 250
KEYS, KEY_CASES = 6, 5000
DAEMON_CASES = 5
REPAIRS = 3
KILLS = 12


def test_a_damaged_file_is_never_believed():
    rng = random.Random(runner.seed())
    with house() as home:
        for image in home.images:
            cases = corrupt.short_cases(home, image, rng, FLIPS)
            counts = corrupt.judge_many(home, image, cases)
            print(f"# {image}: {counts}")
            assert corrupt.nothing_wrong(counts)
            expected = corrupt.expected_answers(home, image)
            outcomes = [corrupt.judge_daemon(home, image, case, expected)
                        for case in rng.sample(cases, DAEMON_CASES)]
            print(f"# {image}, the daemon itself: {outcomes}")


def test_a_repair_saves_what_is_sound():
    rng = random.Random(runner.seed())
    with house() as home:
        expected = corrupt.expected_answers(home, "checkpointed")
        pages = len(home.read("checkpointed", STORE)) // PAGE
        for page in rng.sample(range(pages), REPAIRS):
            corrupt.judge_mend(home, page, rng.randrange(PAGE), rng.randrange(1, 256), expected)
            print(f"# page {page}: {corrupt.judge_repair(home, page, rng)} logins not saved")


def test_a_damaged_log_is_refused_and_its_repair_reads_on_behind_the_damage():
    with house() as home:
        world = home.world
        home.put("killed")
        content = bytearray(home.file(LOG).read_bytes())
        content[32 + 2 * FRAME + 1000] ^= 1
        home.file(LOG).write_bytes(content)
        before = home.print()
        assert_refused(world.cw("status", check=False), DAEMON, "store.db-wal is damaged",
                       "credwarden repair")
        assert home.print() == before
        done = world.cw("repair", "--json", check=False)
        told = {entry["name"]: entry["outcome"] for entry in done.json["profiles"]}
        assert set(told) >= {"work", "home", "doubt", "over", "apart", "flight"}, told
        kept = pathlib.Path(done.json["kept_as"])
        assert kept.with_name(kept.name + "-wal").read_bytes() == content, "the log is kept too"
        corrupt.judge_saved(home, "log", profiles(world), told)


def test_a_repair_that_is_killed_is_done_by_the_next():
    rng = random.Random(runner.seed())
    with house() as home:
        world = home.world
        page = 3
        command = [world.programs / "credwarden", "repair"]
        home.put("checkpointed")
        corrupt.apply(home, STORE, page * PAGE + 7, 1)
        begun = time.monotonic()
        assert world.start(command, stdout=subprocess.DEVNULL).wait(20) == 0
        took = time.monotonic() - begun
        for _ in range(KILLS):
            home.put("checkpointed")
            corrupt.apply(home, STORE, page * PAGE + 7, 1)
            damaged = home.file(STORE).read_bytes()
            running = world.start(command, stdout=subprocess.DEVNULL)
            time.sleep(rng.uniform(0, took))
            running.send_signal(signal.SIGKILL)
            running.wait(20)
            world.cw("repair")  # takes it from wherever it was left
            assert set(profiles(world)) == set(corrupt.ids_of(home.read("checkpointed", STORE)))
            assert damaged in [path.read_bytes() for path in home.data.glob("store.db.damaged-*")]
            world.cw("daemon", "stop")
        assert not list(home.data.glob("*.repair*")), "something is left over"


def test_between_the_steps_of_a_repair_a_start_is_refused():
    with house() as home:
        world = home.world
        home.put("checkpointed")
        home.file(STORE).rename(home.data / "store.db.repaired")  # killed before the last step
        before = home.print()
        assert_refused(world.cw("status", check=False), DAEMON, "its repair was interrupted",
                       "credwarden repair")
        assert home.print() == before
        assert "is finished" in world.cw("repair").stdout
        assert "flight" in profiles(world)


def test_what_a_repair_left_beside_a_sound_store_is_never_taken_up():
    with house() as home:
        world = home.world
        repaired = home.data / "store.db.repaired"
        home.put("checkpointed")
        os.link(home.file(STORE), repaired)  # killed within the last step
        assert "is sound" in world.cw("repair").stdout
        assert not repaired.exists()
        os.link(home.file(STORE), repaired)
        assert "flight" in profiles(world)
        assert not repaired.exists()
        world.cw("daemon", "stop")

        repaired.write_bytes(b"of another time")  # killed before; then a backup was put back
        (home.data / "store.db.repairing").write_bytes(b"unfinished")
        (home.data / "store.db.repairing-wal").write_bytes(b"unfinished")
        assert "flight" in profiles(world)
        world.cw("daemon", "stop")
        [aside] = home.data.glob("store.db.repair*")
        assert aside.name.startswith("store.db.repaired.aside-")
        assert aside.read_bytes() == b"of another time"
        home.file(STORE).unlink()
        home.file(MARK).unlink()
        assert profiles(world) == {}, "what was left is in the way of a new beginning"


def test_a_repair_has_its_conditions():
    with house() as home:
        world = home.world
        home.put("checkpointed")
        world.cw("status")
        running = world.cw("repair", check=False)
        assert running.code == LATER and "daemon stop" in running.stderr, running
        world.cw("daemon", "stop")
        assert "is sound: nothing was changed" in world.cw("repair").stdout
        home.put("checkpointed")
        corrupt.apply(home, STORE, 3 * PAGE + 7, 1)
        key = home.data / "vault.key"
        right = key.read_text()
        head, digits = right.split()
        for content in (None, right[:30], f"{head} {digits[::-1]}\n"):
            key.unlink() if content is None else key.write_text(content)
            before = home.print()
            refused = world.cw("repair", check=False)
            assert refused.code == FAILED and str(key) in refused.stderr, refused
            assert home.print() == before, "a repair without the right key changed something"
            key.touch(0o600)
        home.file(STORE).write_bytes(b"\xff" * 20 * PAGE)
        key.write_text(right)
        assert "no page of" in world.cw("repair", check=False).stderr


def test_a_store_that_is_gone_is_not_begun_anew():
    with house() as home:
        world = home.world
        home.put("checkpointed")
        home.file(STORE).unlink()
        before = home.print()
        assert_refused(world.cw("status", check=False), DAEMON, "is gone",
                       "put a backup in its place", home.file(MARK))
        assert home.print() == before
        assert "nothing of it is left" in world.cw("repair", check=False).stderr
        home.file(MARK).rename(world.folder / "mark-aside")  # as the sentence says
        assert not profiles(world)


def test_a_vault_key_with_a_flipped_bit_opens_nothing_and_costs_nothing():
    rng = random.Random(runner.seed())
    with house() as home:
        for _ in range(KEYS):
            corrupt.judge_key(home, rng)
        some = corrupt.evenly(corrupt.key_cases(home), rng)[:KEY_CASES]
        counts = corrupt.judge_keys(home, some)
        print(f"# {counts}")
        assert corrupt.nothing_wrong(counts)


def test_a_damaged_answer_in_the_spool_is_doubt_and_never_a_second_spend():
    with house() as home:
        corrupt.judge_answer(home, random.Random(runner.seed()))


def test_a_store_of_the_first_version_is_brought_over():
    with house() as home:
        world = home.world
        expected = corrupt.expected_answers(home, "checkpointed")
        home.put("checkpointed")
        version_1.as_version_1(home.file(STORE))
        assert home.file(STORE).read_bytes()[20] == 0
        wait_until(lambda: profiles(world)["flight"]["generation"] == 2, what="the answer")
        assert corrupt.answers(home) == expected
        assert not world.api("GET", "/v1/status").json["daemon"]["restored"]
        world.cw("daemon", "stop")
        assert not corrupt.sums.bad_pages(home.file(STORE).read_bytes())
        assert (home.data / "store.db.v1").stat().st_mode & 0o777 == 0o600
        assert "is sound" in world.cw("repair").stdout


def test_garbage_in_the_configuration_stops_a_start_in_words_or_changes_nothing():
    rng = random.Random(runner.seed())
    with World() as world:
        path = world.write_config(spend_deadline="5s", profiles_max="32")
        right = path.read_bytes()
        for _ in range(8):
            content = bytearray(right)
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
            done = world.cw("status", check=False)
            if done.code != 0:
                assert_refused(done, DAEMON, path)
            else:
                world.cw("daemon", "stop")


if __name__ == "__main__":
    runner.main()
