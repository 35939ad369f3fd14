"""Times from inside the running programs, by test/bench/stopwatch.c.

    watch = Stopwatch(world)      before any program runs; from then on all of them are watched
    durable_times(world, watch, spends)
"""

import collections
import json
import mmap
import os
import pathlib
import struct
import time

import harness

RECEIVED, SYNCED = 1, 2
NOTES_MAX = 400_000
HEAD = struct.Struct("<Q")
NOTE = struct.Struct("<qqQii")
Note = collections.namedtuple("Note", "begun_ns done_ns inode pid kind")

SPOOL_BLOCK = 4096  # where the answer begins in a spool file, as src/issuer/spool.c has it


def module_path():
    targets = json.loads((harness.BUILD / "meson-info" / "intro-targets.json").read_text())
    for target in targets:
        if target["name"] == "stopwatch":
            return pathlib.Path(target["filename"][0])
    raise AssertionError(f"{harness.BUILD} builds no stopwatch")


class Stopwatch:
    def __init__(self, world):
        assert not harness.is_sanitized(), "a sanitized build would time the sanitizer"
        self.path = world.folder / "stopwatch"
        with open(self.path, "wb") as file:
            file.truncate(HEAD.size + NOTE.size * NOTES_MAX)
        for name in ("credwardend", "credwarden-spender"):
            place = world.programs / name
            place.unlink()
            place.write_text(f"#!/bin/sh\nexport LD_PRELOAD='{module_path()}'\n"
                             f"export CW_STOPWATCH='{self.path}'\n"
                             f"exec '{harness.program(name)}' \"$@\"\n")
            place.chmod(0o700)
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.read = 0

    def new_notes(self):
        """What was noted since the last look, in the order of its end."""
        count = HEAD.unpack_from(self.map)[0]
        assert count <= NOTES_MAX, "the stopwatch's sheet is full"
        notes = [Note(*NOTE.unpack_from(self.map, HEAD.size + NOTE.size * i))
                 for i in range(self.read, count)]
        self.read = count
        return sorted((note for note in notes if note.done_ns), key=lambda note: note.done_ns)


class Fdatasync:
    """One fdatasync, measured: the same two writes over blocks that are there, then the sync."""

    def __init__(self, folder):
        self.fd = os.open(folder / "one-fdatasync", os.O_RDWR | os.O_CREAT, 0o600)
        os.write(self.fd, bytes(128 * 1024))
        os.fsync(self.fd)

    def once_ns(self):
        os.pwrite(self.fd, os.urandom(700), SPOOL_BLOCK)
        os.pwrite(self.fd, os.urandom(136), 0)
        begun = time.monotonic_ns()
        os.fdatasync(self.fd)
        return time.monotonic_ns() - begun

    def close(self):
        os.close(self.fd)


class Times:
    """Of each spend, in ns: the first is what the promise is about."""

    def __init__(self):
        self.durable, self.settled, self.bare = [], [], []


def one_spend(notes, log_inode):
    """(durable, settled) after the last byte of the answer was received."""
    received = [note for note in notes if note.kind == RECEIVED]
    assert received, "no answer was received"
    last = received[-1]
    spool = [note for note in notes if note.kind == SYNCED and note.pid == last.pid
             and note.begun_ns >= last.done_ns]
    settled = [note for note in notes if note.kind == SYNCED and note.inode == log_inode
               and note.begun_ns >= last.done_ns]
    assert spool and settled, "the answer was not synced"
    return spool[0].done_ns - last.done_ns, settled[0].done_ns - last.done_ns


def durable_times(world, watch, spends):
    """So many spends one after the other, each followed by one bare fdatasync."""
    lab = world.start_lab(access_life="10m")
    world.write_provider("lab", **lab.provider_keys())
    world.add("work", "lab", lab.login("alice"))
    bare, times = Fdatasync(world.state / "credwarden"), Times()
    log = (world.share / "credwarden" / "store.db-wal").stat().st_ino
    world.cw("renew", "work")
    connection = world.connection()
    watch.new_notes()
    try:
        for _ in range(spends):
            left_ms = harness.ask(connection, "GET", "/v1/profiles/work").json["left_ms"]
            time.sleep(0.02)  # so that the wish is for more than is left
            answer = harness.ask(connection, "GET",
                                 f"/v1/profiles/work/token?min_ttl={left_ms - 15}ms")
            assert answer.status in (200, 422), answer  # 422: it took longer than those 15 ms
            time.sleep(0.002)  # what is done behind the answer is over
            durable, settled = one_spend(watch.new_notes(), log)
            times.durable.append(durable)
            times.settled.append(settled)
            times.bare.append(bare.once_ns())
    finally:
        connection.close()
        bare.close()
    return times
