#!/usr/bin/env python3
"""Power may fail at any moment, and every sync is there for a reason. The short form of power.py.

CW_SEED repeats the choice of moments and disks; the recordings are made anew each time.
"""

import functools
import pathlib
import random
import sys
import time
import types

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import power  # noqa: E402
import power_disk  # noqa: E402
import power_thin  # noqa: E402
import runner  # noqa: E402
from power_disk import CREATE, RENAME, SIZE, SYNC, WRITE, Disk, Draw  # noqa: E402

IMAGES, PATIENCE_S = 400, 15


# ---- the model of a disk ----

def disk_after(*steps):
    """A disk in an empty folder, after steps like (WRITE, 1, 0, b"bytes")."""
    disk = Disk.__new__(Disk)
    disk.root, disk.top = pathlib.Path("/r"), power_disk.Folder("r")
    disk.nodes = {0: disk.top}
    for number, (kind, ino, what, more) in enumerate(steps):
        disk.apply(number, types.SimpleNamespace(
            kind=kind, ino=ino, path=what, other=more, at=what, bytes=more))
    return disk


def states(disk):
    """All that may be found there, as often as they are drawn: {name: content}."""
    rng = random.Random(1)
    draws = power_disk.extremes() + [power_disk.drawn(rng, 0, 10) for _ in range(400)]
    return [{name: bytes(node.content(draw)) for name, node in disk.top.listing(draw).items()}
            for draw in draws]


def test_what_was_synced_is_there_and_nothing_else_for_sure():
    made = [(CREATE, 1, "/r/a", None), (WRITE, 1, 0, b"x" * 1024)]
    found = states(disk_after(*made))
    assert {} in found and {"a": b""} in found and {"a": b"x" * 1024} in found
    assert {"a": bytes(512) + b"x" * 512} in found  # a sector each
    found = states(disk_after(*made, (SYNC, 1, None, None)))
    assert {} in found and all(state in ({}, {"a": b"x" * 1024}) for state in found)
    found = states(disk_after(*made, (SYNC, 1, None, None), (SYNC, 0, None, None)))
    assert all(state == {"a": b"x" * 1024} for state in found)
    found = states(disk_after(*made, (SYNC, 0, None, None)))
    assert {} not in found and {"a": b""} in found  # a name, and nothing in it


def test_a_file_that_is_replaced_is_the_old_one_or_the_new_one():
    steps = [(CREATE, 1, "/r/a", None), (WRITE, 1, 0, b"old"), (SYNC, 1, None, None),
             (SYNC, 0, None, None), (CREATE, 2, "/r/t", None), (WRITE, 2, 0, b"new")]
    rename = (RENAME, 0, "/r/t", "/r/a")
    found = [state["a"] for state in states(disk_after(*steps, (SYNC, 2, None, None), rename))]
    assert set(found) == {b"old", b"new"}
    found = [state["a"] for state in states(disk_after(*steps, rename))]  # not synced before
    assert b"" in found and b"old" in found and b"new" in found


def test_a_file_that_was_cut_may_be_as_long_as_before():
    disk = disk_after((CREATE, 1, "/r/a", None), (WRITE, 1, 0, b"x" * 600), (SYNC, 1, None, None),
                      (SYNC, 0, None, None), (SIZE, 1, 10, None))
    assert {len(state["a"]) for state in states(disk)} == {10, 600}
    assert disk.top.names["a"].content(Draw()) == b"x" * 10


def test_one_way_for_what_lacks_a_sync_and_another_for_the_rest():
    disk = disk_after((CREATE, 1, "/r/a", None), (CREATE, 2, "/r/b", None),
                      (SYNC, 0, None, None), (WRITE, 1, 0, b"x"), (WRITE, 2, 0, b"y"))
    disk.apply(9, types.SimpleNamespace(kind=SYNC, ino=1), is_lost=True)
    nothing, everything = Draw(meta="none", content="none"), Draw()
    content = {name: node.content(power_disk.Split(nothing, everything).of(node))
               for name, node in disk.top.names.items()}
    assert content == {"a": b"", "b": b"y"}
    disk.apply(10, types.SimpleNamespace(kind=SYNC, ino=1))
    assert disk.top.names["a"].content(nothing) == b"x" and not disk.top.names["a"].lacks_sync


def test_a_sector_that_holds_a_change_holds_those_before_it():
    disk = disk_after((CREATE, 1, "/r/a", None), (SYNC, 0, None, None),
                      (WRITE, 1, 0, b"old"), (WRITE, 1, 3, b"new"))
    assert {state["a"].rstrip(b"\0\xa5") for state in states(disk)} == {b"", b"old", b"oldnew"}


# ---- the real programs ----

@functools.lru_cache(maxsize=1)
def proof():
    """One, because the recordings take a while."""
    return power.Proof(runner.seed())


@runner.limit(150)
def test_power_is_lost_at_random_moments_and_nothing_that_was_promised():
    with proof() as on:
        on.lose_power(IMAGES, time.monotonic() + PATIENCE_S)
    print(f"# {on.images} disks")
    assert on.images >= 50, "too few to mean anything"
    assert not on.violations, "\n".join(on.violations)


@runner.limit(150)
def test_every_sync_is_missed_when_it_is_not_made():
    with proof() as on:
        removed = on.remove_each(power.TRIES_SHORT)
    tries = [tried for _, tried, *_ in removed]
    print(f"# {len(removed)} syncs, {sum(tries)} disks, {max(tries)} for one at most")
    missing = [label for label, *_, wrong in removed if not wrong]
    assert not missing, f"nobody misses {missing}: superfluous, or a story is missing" \
                        f" (again: power.py --seed {runner.seed()} --without LABEL)"
    unseen = on.sites_never_seen()
    assert not unseen, f"no story comes to the syncs in {unseen}"
    stale = {*power.WITHOUT_EFFECT, *power.BACKED, *sum(power.BACKED.values(), [])} - \
        on.labels().keys()
    assert not stale, f"no sync has these names any more: {stale}"


def test_on_a_thin_disk_nothing_is_presented_without_room_for_the_answer():
    assert power_thin.presented() == 0
    assert power_thin.presented(lacking=True) == 1, "nobody misses the sync of a new spool file"


if __name__ == "__main__":
    runner.main()
