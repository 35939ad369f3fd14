#!/usr/bin/env python3
"""A full disk: before a spend nothing is spent, during one the answer waits in its spool, and when
there is room again everything goes on by itself. The disks are small ones in memory, mounted where
only these processes see them; that takes root or a user namespace."""

import contextlib
import os
import pathlib
import resource
import signal
import subprocess

import runner
from harness import World, descendants
from mounts import small_disk
from refusals import DAEMON, FAILED, assert_refused, generation, profiles
from runner import wait_until

PAGE = 4096
FULL = ("the store cannot be written (", "the disk is full); nothing was lost, it is tried again")


class Disk:
    def __init__(self, path):
        self.path, self.ballast = path, path / "ballast"

    def fill(self):
        with contextlib.suppress(OSError), self.ballast.open("ab", buffering=0) as file:
            while file.write(b"x" * PAGE):
                pass
        assert os.statvfs(self.path).f_bavail == 0

    def make_room(self):
        self.ballast.unlink()


@contextlib.contextmanager
def disk(path, size="4m"):
    with small_disk(path, size):
        yield Disk(path)


def furnish(world):
    lab = world.start_lab(access_life="1h")
    world.write_provider("lab", **lab.provider_keys())
    world.add("work", "lab", lab.login("alice"))
    return lab


@contextlib.contextmanager
def house(which):
    """A world whose data or state folder is a disk of its own, with one login in it."""
    with World() as world:
        folder = {"data": world.share, "state": world.state}[which] / "credwarden"
        with disk(folder) as small:
            yield world, furnish(world), small


def comm(pid):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def spends(lab):
    return len(lab.log(endpoint="token"))


def assert_token_works(world, lab):
    assert lab.use(world.cw("token", "work").stdout.strip()).status == 200


def alarm(world):
    """What `status` says of the store."""
    lines = world.cw("status").stdout.splitlines()
    return next(line for line in lines if line.startswith("alarm: work store since "))


def before(which):
    with house(which) as (world, lab, small):
        small.fill()
        assert_refused(world.cw("renew", "work", "--timeout", "1s", check=False), FAILED,
                       "work: ", *FULL)
        assert spends(lab) == 0, "a token was spent with no room for the answer"
        assert_token_works(world, lab)
        shown = profiles(world)["work"]
        assert shown["standing"] == "live" and shown["alarms"] == ["store"], shown
        assert alarm(world).endswith(": intent: the disk is full")
        small.make_room()
        world.cw("renew", "work")
        assert generation(world, "work") == 2 and not profiles(world)["work"]["alarms"]
        assert lab.family("f1")["spends"] == spends(lab) == 1
        assert not spool(world)


def test_nothing_is_spent_when_the_store_has_no_room():
    before("data")


def test_nothing_is_spent_when_the_spool_has_no_room():
    before("state")


def begin_spend(world, lab):
    """A spend whose answer is on its way."""
    lab.script("token", delay_before_ms=500)
    asking = world.start([world.programs / "credwarden", "renew", "work"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: lab.stats()["endpoints"]["token"]["open"] == 1, what="the spend")
    return asking


@contextlib.contextmanager
def no_growth(pid):
    """Writes of this process fail as on a full disk, even where room was reserved."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def spool(world):
    return list((world.state / "credwarden" / "spool").iterdir())


def settled(world, lab):
    """One spend, its pair in the store, nothing left over, and the login alive."""
    shown = profiles(world)["work"]
    assert shown["generation"] == 2 and shown["standing"] == "live", shown
    assert not shown["alarms"], shown
    assert spends(lab) == 1 and lab.family("f1")["alive"] and not spool(world)
    assert_token_works(world, lab)


def test_a_settlement_has_its_room_before_the_spend():
    for which in ("data", "state"):
        with house(which) as (world, lab, small):
            asking = begin_spend(world, lab)
            small.fill()
            assert asking.wait(10) == 0, which
            settled(world, lab)


def test_an_answer_that_cannot_be_settled_waits_in_its_spool():
    with World() as world:
        lab = furnish(world)
        asking = begin_spend(world, lab)
        with no_growth(world.daemon_pid()):
            wait_until(lambda: profiles(world)["work"]["alarms"] == ["store"], what="the alarm")
            assert lab.family("f1")["spends"] == 1 and generation(world, "work") == 1
            assert len(spool(world)) == 1 and asking.poll() is None
            assert_token_works(world, lab)
            assert alarm(world).endswith(": settlement: the disk is full")
        assert asking.wait(10) == 0, "the waiter gets what it waited for"
        settled(world, lab)


def test_an_answer_that_cannot_be_settled_survives_a_crash_in_its_spool():
    with World() as world:
        lab = furnish(world)
        asking = begin_spend(world, lab)
        with no_growth(world.daemon_pid()):
            wait_until(lambda: profiles(world)["work"]["alarms"] == ["store"], what="the alarm")
            world.kill_daemon(signal.SIGKILL)
        assert asking.wait(10) != 0 and len(spool(world)) == 1
        world.start_daemon()
        wait_until(lambda: generation(world, "work") == 2, what="the settlement")
        settled(world, lab)
        world.cw("renew", "work")
        assert lab.family("f1")["alive"] and not lab.family("f1")["reuses"]


def test_a_spender_that_cannot_write_the_spool_hands_the_answer_over():
    with World() as world:
        lab = furnish(world)
        asking = begin_spend(world, lab)
        [spender] = [pid for pid in descendants() if comm(pid) == "credwarden-spen"]
        with no_growth(spender):
            assert asking.wait(10) == 0
            settled(world, lab)


def test_add_on_a_full_disk_adds_nothing_and_works_when_there_is_room():
    with house("data") as (world, lab, small):
        bobs = lab.login("bob")
        small.fill()
        assert_refused(world.add("home", "lab", bobs, check=False), FAILED,
                       "the store cannot be written: the disk is full; nothing was added, the file "
                       "is untouched")
        for command in (("policy", "work", "never"), ("rename", "work", "else")):
            assert_refused(world.cw(*command, check=False), FAILED,
                           "the disk is full; nothing was changed")
        assert set(profiles(world)) == {"work"}
        assert profiles(world)["work"]["policy"] == "always"
        small.make_room()
        world.add("home", "lab", bobs)
        world.cw("renew", "home")
        assert set(profiles(world)) == {"home", "work"}


def test_a_removal_on_a_full_disk_is_refused_and_keeps_the_login():
    with house("data") as (world, lab, small):
        small.fill()
        assert_refused(world.cw("remove", "work", "--yes", check=False), FAILED, *FULL)
        assert_token_works(world, lab)
        small.make_room()
        world.cw("remove", "work", "--yes")
        assert not profiles(world)


def started_on_a_full_disk(which):
    with house(which) as (world, lab, small):
        world.cw("daemon", "stop")
        small.fill()
        assert_token_works(world, lab)
        assert_refused(world.cw("renew", "work", "--timeout", "1s", check=False), FAILED, *FULL)
        assert spends(lab) == 0
        small.make_room()
        world.cw("renew", "work")
        assert spends(lab) == 1


def test_a_daemon_that_starts_on_a_full_data_disk_serves_what_it_has():
    started_on_a_full_disk("data")


def test_a_daemon_that_starts_on_a_full_state_disk_serves_what_it_has():
    started_on_a_full_disk("state")


def test_a_new_store_on_a_full_disk_is_refused_and_made_when_there_is_room():
    with World() as world:
        with disk(world.share / "credwarden", "1m") as small:
            small.fill()
            result = world.cw("status", check=False)
            assert_refused(result, DAEMON, "credwardend does not start: ", small.path,
                           "make room on that disk")
            assert {path.name for path in small.path.iterdir()} <= {"lock", "ballast"}
            small.make_room()
            assert "no profiles yet" in world.cw("status").stdout


def test_a_backup_to_a_full_disk_is_refused_and_leaves_nothing():
    with World() as world:
        with disk(world.folder / "elsewhere", "1m") as small:
            furnish(world)  # now: who was there before the mount does not see it
            small.fill()
            target = small.path / "backup.db"
            result = world.cw("backup", target, check=False)
            assert_refused(result, FAILED, target)
            assert "No space left on device" in result.stderr, result
            assert [path.name for path in small.path.iterdir()] == ["ballast"]
            small.make_room()
            world.cw("backup", target)
            assert target.stat().st_mode & 0o777 == 0o600


def test_a_log_without_room_harms_nothing_and_goes_on_later():
    with house("state") as (world, lab, small):
        small.fill()
        for number in range(60):  # more than the log's last page has room for
            assert world.cw("rename", "work", f"work{number}", check=False).code == 0
            world.cw("rename", f"work{number}", "work")
        assert_token_works(world, lab)
        small.make_room()
        world.cw("rename", "work", "after-the-flood")
        log = (small.path / "credwardend.log").read_text()
        assert "after-the-flood" in log and len(log.splitlines()[-1]) > 20


if __name__ == "__main__":
    runner.main()
