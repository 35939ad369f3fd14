#!/usr/bin/env python3
"""A store or a vault key that is not what it should be: the daemon does not start, says in one
sentence which file and what to do, and leaves every file as it was, byte for byte. With the right
file back, nothing is missing."""

import os
import shutil
import sqlite3
import stat

import runner
import sums
from harness import World
from refusals import DAEMON, assert_refused, generation, profiles
from runner import skip

START = "credwardend does not start: "
KEY_LINE = 'one line "credwarden-vault-key-1 <64 hex digits>" was expected'


class House:
    """A world with one login that was renewed once, its daemon stopped, its folders kept aside."""

    def __init__(self, world):
        self.world = world
        self.data, self.state = world.share / "credwarden", world.state / "credwarden"
        self.store, self.key = self.data / "store.db", self.data / "vault.key"
        self.lab = world.start_lab(access_life="1h")
        world.write_provider("lab", **self.lab.provider_keys())
        world.add("work", "lab", self.lab.login("alice"))
        world.cw("renew", "work")
        world.cw("daemon", "stop")
        self.kept = world.folder / "kept"
        for name, folder in (("data", self.data), ("state", self.state)):
            shutil.copytree(folder, self.kept / name)

    def restore(self):
        for name, folder in (("data", self.data), ("state", self.state)):
            shutil.rmtree(folder)
            shutil.copytree(self.kept / name, folder)

    def print(self):
        """Every file of the data folder: kind, mode, owner, and what is in it."""
        found = {}
        for path in sorted(self.data.iterdir()):
            st = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(st.st_mode) else None
            found[path.name] = (stat.S_IFMT(st.st_mode), st.st_mode, st.st_uid, content)
        return found

    def assert_does_not_start(self, *texts, logged=True):
        before = self.print()
        for command in (("token", "work"), ("status",), ("daemon", "start")):
            assert_refused(self.world.cw(*command, check=False), DAEMON, START, *texts)
        assert self.world.daemon_pid() is None
        assert self.print() == before, "a file was changed"
        log = (self.state / "credwardend.log").read_text()
        assert logged == all(str(text) in log for text in texts), "what the log says"

    def assert_nothing_lost(self):
        self.restore()
        shown = profiles(self.world)["work"]
        assert shown["generation"] == 2 and shown["standing"] == "live" and not shown["alarms"]
        access = self.world.cw("token", "work").stdout.strip()
        assert self.lab.use(access).status == 200
        self.world.cw("renew", "work")
        assert generation(self.world, "work") == 3 and self.lab.family("f1")["alive"]
        assert not self.lab.family("f1")["reuses"]


def sql(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    sums.stamp(path)


def test_a_store_from_the_future_is_refused_untouched():
    with World() as world:
        house = House(world)
        sql(house.store, "PRAGMA user_version = 99")
        house.assert_does_not_start(f"{house.store} has version 99", "upgrade it, or put a backup")
        house.restore()
        sql(house.store, "PRAGMA user_version = 2147483647")
        house.assert_does_not_start(f"{house.store} has version 2147483647")
        house.assert_nothing_lost()


def test_a_database_of_somebody_else_is_refused_untouched():
    with World() as world:
        house = House(world)
        for statement in ("PRAGMA application_id = 7", "PRAGMA user_version = 0",
                          "PRAGMA user_version = -5"):
            house.restore()
            sql(house.store, statement)
            house.assert_does_not_start(f"{house.store} is a database, but not a store of "
                                        "credwarden; move it away")
        house.assert_nothing_lost()


def test_a_file_that_is_no_database_is_refused_untouched():
    with World() as world:
        house = House(world)
        for content, text in ((b"", "is empty; run `credwarden repair`, or put a backup in its"
                               " place, or move"),
                              (b"hello, world\n" * 1000,
                               "is not a store; run `credwarden repair`, or"),
                              (b"SQLite format 3\0", "put a backup in its place"),
                              (b"SQLite format 3\0" + bytes(8176), "put a backup in its place")):
            house.store.write_bytes(content)
            house.assert_does_not_start(house.store, text)
        house.assert_nothing_lost()


def test_a_store_that_is_cut_or_damaged_anywhere_is_refused_untouched():
    with World() as world:
        house = House(world)
        whole = house.store.read_bytes()
        pages = len(whole) // 4096
        for length in (100, 4096, 5000, len(whole) // 2 // 4096 * 4096, len(whole) - 1):
            house.store.write_bytes(whole[:length])
            house.assert_does_not_start(house.store, "put a backup in its place")
        for page in (0, 1, pages // 2):
            start = page * 4096 + (100 if page == 0 else 0)
            damaged = bytearray(whole)
            damaged[start:start + 2000] = b"\xff" * 2000
            house.store.write_bytes(damaged)
            house.assert_does_not_start(house.store, "put a backup in its place")
        house.assert_nothing_lost()


def test_what_is_no_plain_file_of_ours_is_refused_untouched():
    with World() as world:
        house = House(world)
        elsewhere = world.folder / "elsewhere.db"
        elsewhere.write_bytes(house.store.read_bytes())

        def replaced(make):
            house.store.unlink()
            make()

        for make, text in ((lambda: replaced(house.store.mkdir), "is not a regular file"),
                           (lambda: replaced(lambda: os.mkfifo(house.store)), "is not a regular"),
                           (lambda: replaced(lambda: house.store.symlink_to(elsewhere)),
                            "is a symbolic link"),
                           (lambda: replaced(lambda: house.store.symlink_to("nowhere")),
                            "is a symbolic link")):
            make()
            house.assert_does_not_start(house.store, text, "move it away")
            house.restore()
        assert elsewhere.read_bytes() == house.store.read_bytes()
        house.assert_nothing_lost()


def test_files_of_another_user_are_refused_untouched():
    if os.geteuid() != 0:
        skip("only root can make files of another user")
    with World() as world:
        house = House(world)
        for path in (house.store, house.key, house.data, house.state):
            os.chown(path, 65534, 65534)
            house.assert_does_not_start(f"{path} belongs to uid 65534", "not to uid 0",
                                        logged=path in (house.store, house.key))
            os.chown(path, 0, 0)
        house.assert_nothing_lost()


def test_folders_that_are_open_to_others_are_refused_with_the_chmod_that_mends_it():
    with World() as world:
        house = House(world)
        for path in (house.data, house.state, house.state / "spool"):
            path.chmod(0o750)
            # What could not be opened safely is not written to either.
            house.assert_does_not_start(f"{path} is open to other users (mode 0750): run chmod 700",
                                        logged=False)
            path.chmod(0o700)
        house.assert_nothing_lost()


def test_a_store_without_its_vault_key_is_refused_untouched():
    with World() as world:
        house = House(world)
        house.key.unlink()
        house.assert_does_not_start(f"{house.key} is not there", "put it back, for without it the "
                                    "stored pairs stay sealed")
        assert not house.key.exists(), "a new key was made for sealed pairs"
        house.assert_nothing_lost()


def test_the_vault_key_of_another_store_is_refused_untouched():
    with World() as world:
        house = House(world)
        right = house.key.read_text()
        words = right.split()
        other = words[1].translate(str.maketrans("0123456789abcdef", "1234567890bcdefa"))
        house.key.write_text(f"{words[0]} {other}\n")
        house.assert_does_not_start(
            f"{house.key}: the fingerprint key in the store does not open with this vault key",
            "put the key file and the store of the same backup back")
        house.key.write_text(right)
        house.assert_nothing_lost()


def test_a_vault_key_that_is_cut_or_garbage_is_refused_untouched():
    with World() as world:
        house = House(world)
        right = house.key.read_bytes()
        for content in (b"", right[:10], right[:-2], right + b"x", right * 2, bytes(88),
                        right.replace(b"key-1", b"key-2"), b"\xff" * len(right), b"x" * 100_000):
            house.key.write_bytes(content)
            house.assert_does_not_start(house.key)
        house.key.write_bytes(right[:30])
        house.assert_does_not_start(f"{house.key} is not a vault key: {KEY_LINE}",
                                    "put the right file back, for without it the stored pairs stay")
        house.assert_nothing_lost()


def test_a_vault_key_that_others_can_read_is_refused_untouched():
    with World() as world:
        house = House(world)
        house.key.chmod(0o644)
        house.assert_does_not_start(f"{house.key} is open to other users (mode 0644): "
                                    f"run chmod 600 '{house.key}'")
        elsewhere = world.folder / "elsewhere.key"
        shutil.copy(house.kept / "data" / "vault.key", elsewhere)
        house.key.unlink()
        house.key.symlink_to(elsewhere)
        house.assert_does_not_start(f"{house.key} is a symbolic link")
        house.key.unlink()
        house.key.mkdir()
        house.assert_does_not_start(f"{house.key} is not a regular file")
        house.assert_nothing_lost()


def test_a_log_of_the_store_that_is_garbage_costs_nothing_that_was_settled():
    with World() as world:
        house = House(world)
        log = house.data / "store.db-wal"
        for content in (b"garbage" * 1000, b"\x37\x7f\x06\x82" + bytes(100), b"\0" * 4096):
            house.restore()
            log.write_bytes(content)
            assert generation(world, "work") == 2
            world.cw("daemon", "stop")
        house.assert_nothing_lost()


def test_a_high_water_mark_that_is_lost_or_garbage_does_not_stop_the_daemon():
    with World() as world:
        house = House(world)
        mark = house.state / "high-water"
        for content in (b"", b"garbage", b"\xff" * 4096, None):
            house.restore()
            mark.unlink()
            if content is not None:
                mark.write_bytes(content)
            assert generation(world, "work") == 2
            assert house.lab.use(world.cw("token", "work").stdout.strip()).status == 200
            world.cw("daemon", "stop")
        house.assert_nothing_lost()


def test_an_older_copy_of_the_store_is_noticed_and_its_spent_token_is_not_presented():
    with World() as world:
        house = House(world)
        world.cw("renew", "work")  # generation 3: what is kept aside is older now
        world.cw("daemon", "stop")
        shutil.rmtree(house.data)
        shutil.copytree(house.kept / "data", house.data)
        status = world.cw("status").stdout
        assert "The store is a restored copy" in status, status
        shown = profiles(world)["work"]
        assert shown["standing"] == "in-doubt" and "restored" in shown["alarms"], shown
        assert len(house.lab.log(endpoint="token")) == 2 and house.lab.family("f1")["alive"]


if __name__ == "__main__":
    runner.main()
