#!/usr/bin/env python3
"""Clocks that jump a day, ours and the server's: a jump alone spends nothing, tokens go on working,
and what a restart or another boot reads off a wrong clock is put right by the server's Date. The
machine's own clock is left alone: a library that shifts it is preloaded into daemon and spender."""

import shutil
import struct
import subprocess
import time
import uuid

import runner
from harness import ROOT, World
from mounts import file_in_place_of
from refusals import generation, profiles
from runner import skip, wait_until

BOOT_ID = "/proc/sys/kernel/random/boot_id"
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
BOTH_WAYS = (DAY_MS, -DAY_MS)


class Clock:
    """The clocks of the daemon and the spender of a world: by the wall, and since boot."""

    def __init__(self, world):
        self.file = world.folder / "clock"
        self.shift(0)
        shim = world.folder / "clock_shim.so"
        compiler = shutil.which("cc") or skip("no C compiler to build the clock with")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", shim,
                        ROOT / "test" / "script" / "clock_shim.c", "-ldl"], check=True)
        for name in ("credwardend", "credwarden-spender"):
            place, inner = world.programs / name, world.programs / f"{name}.true-clock"
            place.rename(inner)
            place.write_text(f"#!/bin/sh\nexport CLOCK_SHIM='{self.file}' LD_PRELOAD='{shim}'\n"
                             f"exec '{inner}' \"$@\"\n")
            place.chmod(0o700)

    def shift(self, wall_ms, boot_ms=0):
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=qq", wall_ms, boot_ms))


def furnish(world, **options):
    clock = Clock(world)
    lab = world.start_lab(**{"access_life": "1h", **options})
    world.write_provider("lab", **lab.provider_keys())
    world.add("work", "lab", lab.login("alice"))
    return clock, lab


def spends(lab):
    return len(lab.log(endpoint="token"))


def about_an_hour(world):
    return abs(profiles(world)["work"]["left_ms"] - HOUR_MS) < MINUTE_MS


def assert_as_if_nothing_happened(world, lab):
    """A working token at once, about an hour of life, nothing due, nothing spent."""
    assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
    wait_until(lambda: about_an_hour(world), 3, "the Date")
    shown = profiles(world)["work"]
    assert shown["standing"] == "live" and not shown["alarms"], shown
    assert shown["left_ms"] <= HOUR_MS, shown
    assert shown["next_spend_in_ms"] > 30 * MINUTE_MS, shown
    assert lab.use(world.cw("token", "work", "--min-ttl", "50m").stdout.strip()).status == 200
    assert spends(lab) == 0


def test_the_shim_shifts_the_daemons_clock_or_these_stories_prove_nothing():
    with World() as world:
        clock, _ = furnish(world)
        pid = world.daemon_pid()
        clock.shift(DAY_MS)
        world.cw("rename", "work", "home")
        last = world.cw("events", "--json").stdout.splitlines()[-1]
        tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))
        assert tomorrow in last, last
        assert world.daemon_pid() == pid


def test_a_jump_alone_spends_nothing_and_tokens_go_on_working():
    for jump_ms in BOTH_WAYS:
        with World() as world:
            clock, lab = furnish(world)
            for shift_ms in (jump_ms, 0, jump_ms):
                clock.shift(shift_ms)
                time.sleep(0.3)
                assert_as_if_nothing_happened(world, lab)
            world.cw("renew", "work")
            shown = profiles(world)["work"]
            assert shown["generation"] == 2 and spends(lab) == 1
            assert HOUR_MS - MINUTE_MS < shown["left_ms"] <= HOUR_MS, shown


def test_a_short_token_is_renewed_on_time_by_a_clock_that_jumps_to_and_fro():
    with World() as world:
        clock, lab = furnish(world, access_life="4s")
        until = time.monotonic() + 9
        jump = 0
        while time.monotonic() < until:
            jump += 1
            clock.shift((0, DAY_MS, -DAY_MS)[jump % 3])
            assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
            time.sleep(0.1)
        family = lab.family("f1")
        assert family["alive"] and not family["reuses"] and 2 <= family["spends"] <= 6, family


def test_a_restart_under_a_wrong_clock_changes_nothing_within_a_boot():
    for jump_ms in BOTH_WAYS:
        with World() as world:
            clock, lab = furnish(world)
            clock.shift(jump_ms)
            world.cw("daemon", "restart")
            assert_as_if_nothing_happened(world, lab)
            clock.shift(0)
            world.kill_daemon()
            assert_as_if_nothing_happened(world, lab)
            world.cw("renew", "work")
            assert generation(world, "work") == 2


def test_after_another_boot_the_servers_date_puts_a_wrong_clock_right():
    for jump_ms in (-DAY_MS, -10 * MINUTE_MS, 10 * MINUTE_MS, DAY_MS):
        with World() as world:
            clock, lab = furnish(world)
            world.cw("daemon", "stop")
            boot_id = world.write_file("boot_id", f"{uuid.uuid4()}\n")
            clock.shift(jump_ms)
            with file_in_place_of(BOOT_ID, boot_id):
                assert_as_if_nothing_happened(world, lab)
                world.cw("renew", "work")
                assert generation(world, "work") == 2 and lab.family("f1")["alive"]


def test_a_token_that_ended_while_the_machine_was_down_is_not_handed_out_by_a_slow_clock():
    with World() as world:
        clock, lab = furnish(world, access_life="3s")
        lab.config(access_life_ms=HOUR_MS)
        world.cw("daemon", "stop")
        old = spends(lab)
        time.sleep(3.2)
        boot_id = world.write_file("boot_id", f"{uuid.uuid4()}\n")
        clock.shift(-DAY_MS)
        with file_in_place_of(BOOT_ID, boot_id):
            world.start_daemon()
            wait_until(lambda: generation(world, "work") > old + 1, what="a new pair")
            assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
            assert lab.family("f1")["alive"]


def test_a_server_whose_date_is_a_day_off_costs_nothing():
    for offset_ms in BOTH_WAYS:
        with World() as world:
            clock, lab = furnish(world)
            lab.config(date_offset_ms=offset_ms)
            world.cw("renew", "work")
            for command in ((), ("daemon", "restart")):
                if command:
                    world.cw(*command)
                shown = profiles(world)["work"]
                assert HOUR_MS - MINUTE_MS < shown["left_ms"] <= HOUR_MS, shown
                assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
            assert spends(lab) == 1
            world.cw("daemon", "stop")
            # What it says is measured by what it says: the same after a boot.
            boot_id = world.write_file("boot_id", f"{uuid.uuid4()}\n")
            clock.shift(0)
            with file_in_place_of(BOOT_ID, boot_id):
                world.start_daemon()
                wait_until(lambda: about_an_hour(world), what="the Date")
                assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
                assert lab.family("f1")["alive"]


def test_a_login_is_added_under_a_wrong_clock():
    for jump_ms in BOTH_WAYS:
        with World() as world:
            clock = Clock(world)
            clock.shift(jump_ms)
            lab = world.start_lab(access_life="1h")
            world.write_provider("lab", **lab.provider_keys())
            world.add("work", "lab", lab.login("alice"))
            shown = profiles(world)["work"]
            assert shown["standing"] == "live", shown
            assert HOUR_MS - MINUTE_MS < shown["left_ms"] <= HOUR_MS, shown
            assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
            assert spends(lab) <= 1 and lab.family("f1")["alive"]


if __name__ == "__main__":
    runner.main()
