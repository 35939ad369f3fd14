"""The driver's side of the fault points (points.c): a sheet that says which call of which program
is struck, and how, and that tells afterwards what happened.

    sheet = Sheet(world)              before any program runs; from then on all have their points
    sheet.arm("daemon", ["open"], FAIL_ONCE, nth=3, error=errno.EMFILE)
    …
    sheet.disarm()
    sheet.struck                      whether the program came to that point
"""

import collections
import errno
import json
import mmap
import os
import pathlib
import struct

import harness

ROLES = ("none", "daemon", "spender", "cli", "other")
CLASSES = ("memory", "map", "open", "read", "write", "sync", "name", "look", "room", "lock",
           "descriptor", "connect", "accept", "send", "receive", "process", "random", "pipe",
           "setting", "wait", "secret")

# To die at. Allocations are none, nor is what sets or waits: what others can see changes only by the
# calls between them.
NOT_TO_DIE_AT = ("memory", "map", "secret", "setting", "wait")
KILLABLE = tuple(name for name in CLASSES if name not in NOT_TO_DIE_AT)

COUNT, FAIL_ONCE, FAIL_ON, KILL_BEFORE, KILL_AFTER = range(5)
ITSELF, BOTH, OTHER = range(3)  # who dies, of daemon and spender, when one is at its point

SHORT_WRITE = -1  # half of it is written
LEFT_OUT = -2  # a sync that is not made, and said to be

# What each class can come to in earnest. The first is tried at every point, the others in turn.
# Not there: "random", which the kernel always answers once it is up, and "pipe": it cannot fail to
# read or write one. Both are points to die at.
ERRORS = {
    "memory": (errno.ENOMEM,),
    "map": (errno.ENOMEM,),
    "secret": (errno.ENOMEM,),
    "open": (errno.EMFILE, errno.EACCES, errno.EIO, errno.ENOSPC),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EIO, SHORT_WRITE),
    "sync": (errno.EIO, errno.ENOSPC),
    "name": (errno.EIO, errno.ENOSPC, errno.EACCES),
    "look": (errno.EIO, errno.EACCES),
    "room": (errno.ENOSPC, errno.EIO),
    "lock": (errno.ENOLCK,),
    "descriptor": (errno.EMFILE, errno.ENOMEM),
    "connect": (errno.ENOMEM, errno.ECONNREFUSED),
    "accept": (errno.EMFILE, errno.ECONNABORTED),
    "send": (errno.ENOBUFS, errno.EPIPE),
    "receive": (errno.ENOMEM, errno.ECONNRESET),
    "process": (errno.ENOMEM, errno.EAGAIN),
    "setting": (errno.EPERM, errno.ENOMEM),
    "wait": (errno.ENOMEM,),
}

# The points stand before the sanitizer's own calls; who is short of memory may leave some behind.
FIRST_COME = "verify_asan_link_order=0:detect_leaks=0"

TEXT = 2048  # CRASH_TEXT of points.c, and MEMORY_MAX; the fields below are those of its struct sheet
MEMORY_MAX = 32768
_Place = collections.namedtuple("_Place", "offset format")


def _places():
    fields = [("armed", "I"), ("role", "I"), ("classes", "I"), ("act", "I"), ("who", "I"),
              ("errnum", "i"), ("nth", "Q"), ("reached", "Q"), ("struck", "I"), ("doomed", "I"),
              ("held", "I"), ("pids", f"{len(ROLES)}i"), ("heard", "Q"),
              ("heard_before", "Q"), ("victim", "i"), ("counts", f"{len(ROLES) * len(CLASSES)}Q"),
              ("call", "32s"), ("where", f"{TEXT}s"), ("crash_signal", "i"), ("crash_role", "i"),
              ("crash_where", f"{TEXT}s"), ("places", f"{len(ROLES) * MEMORY_MAX}I")]
    places, offset = {}, 0
    for name, form in fields:
        align = struct.calcsize(form[-1])
        offset = (offset + align - 1) // align * align
        places[name] = _Place(offset, form)
        offset += struct.calcsize(form)
    return places, (offset + 7) // 8 * 8


PLACES, SIZE = _places()


def module_path():
    """Of the build under test; of another one where that is sanitized, which these must not be."""
    if "CW_POINTS" in os.environ:
        return pathlib.Path(os.environ["CW_POINTS"])
    targets = json.loads((harness.BUILD / "meson-info" / "intro-targets.json").read_text())
    for target in targets:
        if target["name"] == "points":
            path = pathlib.Path(target["filename"][0])
            assert path.exists(), f"{path} is not built"
            return path
    raise AssertionError(f"{harness.BUILD} builds no fault points")


class Sheet:
    def __init__(self, world):
        guards = "".join(f"export {name}='{world.env[name]}:{FIRST_COME}'\n"
                         for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if harness.is_sanitized())
        self.path = world.folder / "points"
        with open(self.path, "wb") as file:
            file.truncate(SIZE)
        for name in harness.PROGRAMS:
            place = world.programs / name
            place.unlink()
            place.write_text(f"#!/bin/sh\n{guards}"
                             f"export LD_PRELOAD=\"{module_path()}${{LD_PRELOAD:+:$LD_PRELOAD}}\"\n"
                             f"export POINTS_SHEET='{self.path}'\n"
                             f"exec '{harness.program(name)}' \"$@\"\n")
            place.chmod(0o700)
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def _get(self, name):
        place = PLACES[name]
        found = struct.unpack_from("=" + place.format, self.map, place.offset)
        if place.format[-1] == "s":
            return found[0].split(b"\0", 1)[0].decode()
        return found[0] if len(place.format) == 1 else found

    def _set(self, name, *values):
        place = PLACES[name]
        struct.pack_into("=" + place.format, self.map, place.offset, *values)

    def clear(self):
        """As new: nothing is armed, nothing has been counted."""
        self._set("armed", 0)
        self.map[:] = bytes(SIZE)

    def arm(self, role="none", classes=(), act=COUNT, nth=0, error=0, who=ITSELF):
        """From now on calls are counted, and the nth of these classes is struck."""
        self._set("role", ROLES.index(role))
        self._set("classes", sum(1 << CLASSES.index(name) for name in classes))
        self._set("act", act)
        self._set("nth", nth)
        self._set("errnum", error)
        self._set("who", who)
        self._set("armed", 1)

    def disarm(self):
        self._set("armed", 0)

    def forgive(self):
        """Whoever was doomed with another program is not any more."""
        self._set("doomed", 0)

    @property
    def is_held(self):
        """Somebody stands at its point and waits for the other one's end."""
        return self._get("held") != 0

    def let_go(self, victim):
        """Who was held goes on: this one has been killed, or None was there to be."""
        if victim is None:
            self._set("struck", 0)
        else:
            self._set("victim", victim)
        self._set("held", 0)

    @property
    def struck(self):
        return self._get("struck")

    @property
    def heard_before(self):
        """Bytes of the latest answer that the spender had received when it was struck."""
        return self._get("heard_before")

    @property
    def victim(self):
        return self._get("victim")

    @property
    def call(self):
        return self._get("call")

    @property
    def where(self):
        return self._get("where")

    @property
    def crash(self):
        """(role, signal, where) of the first program that crashed, or None."""
        number = self._get("crash_signal")
        if number == 0:
            return None
        return ROLES[self._get("crash_role")], number, self._get("crash_where")

    def know(self, role, pid):
        """A program that was there before the sheet was cleared."""
        pids = list(self._get("pids"))
        pids[ROLES.index(role)] = pid
        self._set("pids", *pids)

    def pid(self, role):
        return self._get("pids")[ROLES.index(role)]

    def counts(self):
        """{role: {class: calls}} since it was armed."""
        flat = self._get("counts")
        return {role: {name: flat[r * len(CLASSES) + c] for c, name in enumerate(CLASSES)
                       if flat[r * len(CLASSES) + c]}
                for r, role in enumerate(ROLES)}

    def memory_places(self):
        """{role: (number of the place where it was made, …)}, of each allocation counted, in their
        order; at most MEMORY_MAX."""
        flat, counts = self._get("places"), self.counts()
        return {role: flat[r * MEMORY_MAX:][:min(MEMORY_MAX, counts[role].get("memory", 0))]
                for r, role in enumerate(ROLES)}


def error_name(number):
    return "SHORT" if number == SHORT_WRITE else errno.errorcode.get(number, str(number))
