"""A thin disk: it takes bytes for which it has no room, and says so only when they are synced
(blocks given out late, a thin volume, a quota far away). What is then held back is not a loss of
power but the spend: a sync that is made for room's sake is missed when a token is presented whose
answer may find none.

    presented()              how often a token is presented on such a disk: never
    presented(lacking=True)  the same without the sync of the new spool file
"""

import errno
import re
import time

import harness
import points
import power_syncs
from harness import World

QUIET_S = 1.0
SYNC_OF = "spool_create"  # the function that makes that sync


def asked_by(where):
    """The functions of the daemon on the way to a call, as the points tell it."""
    program = power_syncs.Program(harness.program("credwardend"))
    return {name for offset in re.findall(r"credwardend\+0x([0-9a-f]+)", where)
            for name, *_ in program.functions_at(int(offset, 16))}


def until_quiet(sheet):
    """What an add leaves to be stored behind its back (an event, an alarm) is on the disk."""
    sheet.arm()
    before, since = None, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        if (now := sheet.counts()) != before:
            before, since = now, time.monotonic()
        time.sleep(QUIET_S / 20)
    sheet.clear()


def presented(lacking=False):
    """Token requests that the server saw when a login should be renewed."""
    with World() as world:
        sheet = points.Sheet(world)
        lab = world.start_lab(access_life="2h")
        world.write_provider("lab", **lab.provider_keys())
        world.add("work", "lab", lab.login("alice"))
        until_quiet(sheet)
        if lacking:  # it is not made, and the disk has no say
            sheet.arm("daemon", ["sync"], points.FAIL_ONCE, 1, points.LEFT_OUT)
        else:
            sheet.arm("daemon", ["sync"], points.FAIL_ON, 1, errno.ENOSPC)
        result = world.cw("renew", "work", "--timeout", "2s", check=False)
        sheet.disarm()
        assert sheet.struck and SYNC_OF in asked_by(sheet.where), \
            f"the first sync of a renewal is another one: {asked_by(sheet.where)}"
        if not lacking:
            assert result.code != 0 and "the disk is full" in result.stderr, result
            world.cw("renew", "work")  # there is room again
            assert lab.family("f1")["alive"] and not lab.family("f1")["reuses"]
            return len(lab.log(endpoint="token")) - 1
        return len(lab.log(endpoint="token"))
