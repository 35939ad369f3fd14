#!/usr/bin/env python3
"""A backup is put back, by the very steps of README, and in the other ways in which people do it:
whatever the daemon that died has left beside it, the log of another store is never played into the
copy, nothing of it is thrown away, and what `repair` calls sound can be opened."""

import os
import shutil
import signal
import sqlite3

import runner
import sums
from harness import World
from refusals import DAEMON, assert_refused, profiles

FRAME = 24 + sums.PAGE
LEGACY, WAL = bytes((1, 1)), bytes((2, 2))


class House:
    """Three logins, a backup of them, and what happened since: in the log, for the most part."""

    def __init__(self, world):
        self.world = world
        self.data, self.state = world.share / "credwarden", world.state / "credwarden"
        self.store, self.log = self.data / "store.db", self.data / "store.db-wal"
        self.lab = world.start_lab(access_life="2h")
        world.write_provider("lab", **self.lab.provider_keys())
        for name in ("ada", "bob", "eve"):
            world.add(name, "lab", self.lab.login(name))
        backups = world.folder / "backups"
        backups.mkdir(mode=0o700)
        self.backup = backups / "credwarden.db"
        world.cw("backup", self.backup)
        assert self.backup.read_bytes()[18:20] == LEGACY
        assert self.store.read_bytes()[18:20] == WAL
        for _ in range(5):
            world.cw("rename", "ada", "ann")
            world.cw("rename", "ann", "ada")

    def kill(self):
        self.world.kill_daemon(signal.SIGKILL)
        assert self.log.stat().st_size > 0, "nothing is left beside the store"

    def put_back(self, copy):
        """README: "put the copy in the place of `store.db`"."""
        shutil.copy(copy, self.store)

    def damage_log(self, frame=2):
        content = bytearray(self.log.read_bytes())
        content[32 + frame * FRAME + 1000] ^= 1
        self.log.write_bytes(content)

    def asides(self):
        return {path.name: path.read_bytes() for path in self.data.glob("store.db-wal.aside-*")}

    def assert_lives(self, names=("ada", "bob", "eve")):
        """Every login answers, after a doubt that its server has ended."""
        world = self.world
        assert sorted(profiles(world)) == sorted(names)
        for name in names:
            access = world.cw("token", name).stdout.strip()
            assert self.lab.use(access).status == 200
        assert all(f["alive"] and not f["reuses"] for f in self.lab.families())

    def assert_restored(self):
        status = self.world.cw("status")
        assert "The store is a restored copy" in status.stdout, status

    def print(self):
        return {path.name: path.read_bytes() for path in self.data.iterdir() if path.is_file()}


def test_a_backup_is_put_back_after_a_kill_by_the_steps_of_the_readme():
    with World() as world:
        house = House(world)
        house.kill()
        log = house.log.read_bytes()
        house.put_back(house.backup)
        house.assert_restored()
        assert list(house.asides().values()) == [log], "the log is not kept as it was"
        [name] = house.asides()
        told = world.cw("events").stdout
        assert "restored" in told and name in told, told
        house.assert_lives()
        house.kill()  # what is beside it now is its own
        assert "restored copy" not in world.cw("status").stdout
        house.assert_lives()
        assert len(house.asides()) == 1


def test_a_backup_is_put_back_beside_a_damaged_log():
    with World() as world:
        house = House(world)
        house.kill()
        house.damage_log()
        assert_refused(world.cw("status", check=False), DAEMON, f"{house.log} is damaged",
                       "credwarden repair", "put a backup in its place")
        log = house.log.read_bytes()
        house.put_back(house.backup)
        before = house.print()
        assert "is sound" in world.cw("repair").stdout
        assert house.print() == before
        house.assert_restored()
        assert list(house.asides().values()) == [log]
        house.assert_lives()


def test_a_backup_that_is_as_old_as_the_mark_is_still_an_older_copy_than_the_log():
    """The mark is written when nobody waits: a kill may leave it behind the log."""
    with World() as world:
        house = House(world)
        world.cw("daemon", "stop")
        mark = (house.state / "high-water").read_bytes()
        world.cw("status")
        aside = house.backup.with_name("newest.db")
        world.cw("backup", aside)
        world.cw("renew", "bob")
        house.kill()
        (house.state / "high-water").write_bytes(mark)
        house.put_back(aside)
        house.assert_restored()


def test_repair_after_a_kill_takes_nothing_from_the_log_of_another_store():
    with World() as world:
        house = House(world)
        house.kill()
        content = bytearray(house.backup.read_bytes())
        for at in range(2 * sums.PAGE, 2 * sums.PAGE + 500):
            content[at] ^= 0x5A
        house.backup.write_bytes(content)
        log = house.log.read_bytes()
        house.put_back(house.backup)
        before = house.print()
        assert_refused(world.cw("status", check=False), DAEMON, house.store, "credwarden repair")
        assert house.print() == before, "a refusal changed something"
        world.cw("repair", check=False)
        assert list(house.asides().values()) == [log]
        assert not list(house.data.glob("store.db.damaged-*-wal")), "the log is not that store's"
        house.assert_restored()


def test_an_older_file_copy_does_not_get_the_log_of_its_successor():
    """A plain copy, as a backup of the whole home has it: made while the daemon was stopped, so it
    looks like the live store."""
    with World() as world:
        house = House(world)
        world.cw("daemon", "stop")
        copy = house.backup.with_name("copied.db")
        shutil.copy(house.store, copy)
        assert copy.read_bytes()[18:20] == WAL
        world.cw("renew", "eve")
        world.cw("daemon", "stop")
        world.cw("rename", "bob", "rob")
        world.cw("rename", "rob", "bob")
        house.kill()
        log = house.log.read_bytes()
        house.put_back(copy)
        house.assert_restored()
        assert list(house.asides().values()) == [log]
        assert profiles(world)["eve"]["standing"] != "live", "its spent token is believed"


def test_a_copy_that_comes_with_its_own_log_keeps_it():
    with World() as world:
        house = House(world)
        house.kill()
        copies = {path: path.read_bytes() for path in (house.store, house.log)}
        world.cw("renew", "eve")
        house.kill()
        for path, content in copies.items():
            path.write_bytes(content)
        house.assert_restored()  # older than the mark
        assert not house.asides()
        names = profiles(world)
        assert sorted(names) == ["ada", "bob", "eve"] and names["eve"]["generation"] == 1
        assert names["eve"]["standing"] != "live"


def test_the_store_that_was_there_before_comes_back_with_its_log():
    """The copy was the wrong one: nothing has happened to what lay beside it."""
    with World() as world:
        house = House(world)
        house.kill()
        kept, log = house.store.read_bytes(), house.log.read_bytes()
        content = bytearray(house.backup.read_bytes())
        house.store.write_bytes(content[:-5000])
        assert_refused(world.cw("status", check=False), DAEMON, house.store)
        assert house.log.read_bytes() == log and not house.asides()
        house.store.write_bytes(kept)
        house.assert_lives()
        assert "restored copy" not in world.cw("status").stdout


def test_repair_calls_sound_only_what_can_be_opened():
    with World() as world:
        house = House(world)
        world.cw("daemon", "stop")
        kept = house.store.read_bytes()

        def change(sql):
            house.store.write_bytes(kept)
            connection = sqlite3.connect(house.store, isolation_level=None)
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(sql)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
            sums.stamp(house.store)

        change("PRAGMA user_version = 99")  # not ours to mend
        before = house.print()
        assert world.cw("status", check=False).code == DAEMON
        done = world.cw("repair", check=False)
        assert done.code == 1 and "has version 99" in done.stderr, done
        assert house.print() == before

        change("DELETE FROM sqlite_schema WHERE name = 'profile'")
        assert world.cw("status", check=False).code == DAEMON
        done = world.cw("repair")
        assert "is repaired" in done.stdout and "Nothing was lost" not in done.stdout, done
        house.assert_restored()
        house.assert_lives()


if __name__ == "__main__":
    runner.main()
