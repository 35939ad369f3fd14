"""Mounts that only this process and its descendants see, and that go with them. As root, or in a
user namespace where the system allows one; otherwise the story is skipped, and says why."""

import contextlib
import ctypes
import os

from harness import end_descendants
from runner import skip

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_REMOUNT = 0x1, 0x20
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

libc = ctypes.CDLL(None, use_errno=True)
made = []  # our namespace, once it is there


def _why():
    return os.strerror(ctypes.get_errno())


def _own_namespace():
    if made:
        return
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNS if uid == 0 else CLONE_NEWNS | CLONE_NEWUSER) != 0:
        skip(f"no mounts of our own: {_why()} (root, or user namespaces)")
    if uid != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"),
                           ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:
                file.write(text)
    if libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        skip(f"no private mounts: {_why()}")
    made.append(True)


@contextlib.contextmanager
def _mounted(source, path, kind, flags, options):
    _own_namespace()
    if libc.mount(source, os.fsencode(path), kind, flags, options) != 0:
        skip(f"nothing can be mounted on {path}: {_why()}")
    try:
        yield
    finally:
        end_descendants()
        assert libc.umount2(os.fsencode(path), 0) == 0, _why()


@contextlib.contextmanager
def small_disk(path, size):
    """A disk in memory, of this size, on a folder of mode 0700 that is made."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _mounted(b"none", path, b"tmpfs", 0, f"size={size},mode=700".encode()):
        yield


@contextlib.contextmanager
def read_only(path):
    """A small_disk() that nobody has open for writing can for a while not be written."""
    def remount(flags):
        if libc.mount(b"none", os.fsencode(path), None, MS_REMOUNT | flags, None) != 0:
            skip(f"{path} cannot be mounted again: {_why()}")
    remount(MS_RDONLY)
    try:
        yield
    finally:
        remount(0)


@contextlib.contextmanager
def file_in_place_of(path, source):
    """For the time being, `path` is the file `source`."""
    with _mounted(os.fsencode(source), path, None, MS_BIND, None):
        yield
