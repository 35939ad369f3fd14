#!/usr/bin/env python3
"""An answer that is in the spool and cannot be read: for want of descriptors, locks or memory, and
for longer than anybody has patience. It is waited for, nobody is ended for it, and what people are
told is true; when the means are back the answer is settled. Patience is counted on the boot clock,
so the stories do not wait for it: they shift that clock."""

import errno
import fcntl
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "script")]

import points  # noqa: E402
import runner  # noqa: E402
from bad_clock_test import Clock  # noqa: E402
from harness import World  # noqa: E402
from killing import SPOOL_ANSWERED, read_spool, spenders  # noqa: E402
from refusals import profiles  # noqa: E402
from runner import wait_until  # noqa: E402

LONG_MS = 600_000  # beyond every patience
LOOKS_S = 0.5  # in which a daemon that waits for an answer has looked for it several times
SLOW_MS = 600  # from the server's decision to its answer


class Story:
    """A login that is being spent for the second time: the server has decided, its answer is under
    way."""

    def __init__(self, world, access_life="12h"):
        self.world = world
        self.sheet = points.Sheet(world)
        self.clock = Clock(world)
        self.lab = lab = world.start_lab(access_life=access_life)
        world.write_provider("lab", **lab.provider_keys())
        world.write_config(spend_deadline="1s", ask_deadline="1s")
        login = lab.login("alice")
        self.family = login["family"]
        world.add("work", "lab", login)
        self.spool = world.state / "credwarden" / "spool"
        self._begin()

    def _begin(self):
        lab = self.lab
        lab.script("token", delay_after_ms=SLOW_MS)
        self.asking = self.world.start([self.world.programs / "credwarden", "renew", "work"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: lab.stats()["endpoints"]["token"]["decided"] > 0, what="the decision")
        [self.spender] = spenders()

    def stop_spender(self):
        os.kill(self.spender, signal.SIGSTOP)

    def let_spender_go_on(self):
        """When the answer has come: its own patience may be over at once."""
        wait_until(lambda: self.lab.stats()["endpoints"]["token"]["open"] == 0, what="the lab")
        os.kill(self.spender, signal.SIGCONT)

    def start_again(self):
        """Another daemon, that finds the spend in hand."""
        self.world.kill_daemon()
        self.asking.wait(10)
        self.world.start_daemon()

    def answer_is_there(self):
        [(stage, _)] = read_spool(self.world).values()
        return stage == SPOOL_ANSWERED

    def is_in_hand(self):
        """The spender has the spool's lock."""
        [path] = self.spool.iterdir()
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def assert_waited_for(self, *words):
        """Neither given up nor in doubt, and people know why."""
        time.sleep(LOOKS_S)
        shown = profiles(self.world)["work"]
        assert (shown["state"], shown["standing"]) == ("spending", "live"), shown
        assert [path.suffix for path in self.spool.iterdir()] == [".spool"]
        said = [line for line in self.world.cw("events").stdout.splitlines() if "stuck" in line]
        assert said and all(word in said[-1] for word in words), (words, said)

    def assert_settled(self):
        """The very pair that the server granted, and nothing was presented twice."""
        wait_until(lambda: profiles(self.world)["work"]["state"] == "live", 20, "the answer")
        shown, family = profiles(self.world)["work"], self.lab.family(self.family)
        assert (shown["generation"], shown["alarms"]) == (family["generation"], []), shown
        assert (family["generation"], family["reuses"]) == (2, 0), family
        assert not list(self.spool.iterdir())
        assert "in-doubt" not in self.world.cw("events").stdout
        access = self.world.cw("token", "work").stdout.strip()
        assert self.lab.use(access).status == 200


def test_an_answer_that_cannot_be_read_is_waited_for_beyond_every_patience():
    with World() as world:
        story = Story(world)
        story.sheet.arm("daemon", ["open"], points.FAIL_ON, 1, errno.EMFILE)
        wait_until(story.answer_is_there, what="the answer")
        time.sleep(LOOKS_S)
        for turn in range(1, 4):
            story.clock.shift(0, turn * LONG_MS)
            story.assert_waited_for("cannot be read", "open files")
        story.sheet.disarm()
        story.assert_settled()


def test_with_the_access_token_over_there_is_an_alarm_that_says_why():
    with World() as world:
        story = Story(world, access_life="2s")
        story.sheet.arm("daemon", ["open"], points.FAIL_ON, 1, errno.EMFILE)
        wait_until(lambda: profiles(world)["work"]["alarms"] == ["unreachable"], 20, "the alarm")
        assert "open files" in world.cw("status").stdout
        story.lab.config(access_life_ms=LONG_MS)
        story.sheet.disarm()
        wait_until(lambda: not profiles(world)["work"]["alarms"], 20, "its end")
        assert story.lab.family(story.family)["reuses"] == 0
        assert "in-doubt" not in world.cw("events").stdout


def test_after_a_restart_an_answer_that_cannot_be_read_is_waited_for_too():
    with World() as world:
        story = Story(world)
        story.stop_spender()
        story.start_again()
        story.sheet.arm("daemon", ["lock"], points.FAIL_ON, 1, errno.ENOLCK)
        story.let_spender_go_on()
        wait_until(story.answer_is_there, what="the answer")
        story.clock.shift(0, LONG_MS)
        story.assert_waited_for("cannot be read")
        story.sheet.disarm()
        story.assert_settled()


def test_nobody_is_ended_because_it_cannot_be_told_whether_he_has_begun():
    for kind, error in (("open", errno.EMFILE), ("lock", errno.ENOLCK)):
        with World() as world:
            story = Story(world)
            story.stop_spender()
            story.sheet.arm("daemon", [kind], points.FAIL_ON, 1, error)
            wait_until(lambda: story.sheet.struck, 20, "the end of the daemon's patience")
            time.sleep(LOOKS_S)
            story.sheet.disarm()
            story.let_spender_go_on()
            story.assert_settled()


def test_after_a_restart_a_spend_in_hand_is_not_doubted_for_want_of_a_lock():
    with World() as world:
        story = Story(world)
        story.stop_spender()
        story.start_again()
        # The first lock of a look tells that it is in hand; the second one would tell whether it
        # can be taken back.
        pid = world.daemon_pid()
        os.kill(pid, signal.SIGSTOP)
        story.clock.shift(0, LONG_MS)
        story.sheet.arm("daemon", ["lock"], points.FAIL_ON, 2, errno.ENOLCK)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: story.sheet.struck, what="the second lock")
        assert story.sheet.call.startswith("fcntl"), story.sheet.call
        story.assert_waited_for("cannot be read")
        story.sheet.disarm()
        story.let_spender_go_on()
        story.assert_settled()


def test_an_answer_that_came_without_its_spool_is_not_lost_for_want_of_memory():
    """The spender cannot write it down, and hands it over; the daemon has no memory to open it."""
    with World() as world:
        story = Story(world)
        resource.prlimit(story.spender, resource.RLIMIT_FSIZE, (0, 0))
        story.sheet.arm("daemon", ["memory", "map"], points.FAIL_ON, 1, errno.ENOMEM)
        wait_until(lambda: not story.is_in_hand(), 20, "the answer, handed over")
        time.sleep(LOOKS_S)
        assert story.sheet.struck and not story.answer_is_there()
        story.sheet.disarm()
        story.assert_settled()


def test_a_leftover_that_somebody_has_in_hand_is_kept_and_said_to_be_in_hand():
    with World() as world:
        spool = world.state / "credwarden" / "spool"
        world.start_daemon()
        world.cw("daemon", "stop")
        left = spool / "00000000000000aa.spool"
        left.touch(mode=0o600)
        with left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            world.start_daemon()
            [said] = [line for line in world.cw("events").stdout.splitlines() if "kept" in line]
            assert left.stem in said and said.endswith("is in the hands of a spender"), said
            world.cw("daemon", "stop")
            assert left.exists()
        world.start_daemon()
        assert not left.exists()


if __name__ == "__main__":
    runner.main()
