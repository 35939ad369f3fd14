"""The disk that a power loss leaves behind: a journal of disk_log.c, replayed to any point, and
from there every disk that could be found after the power went.

What is believed of a disk, and no more:
- What was synced is there. fsync() and fdatasync() of a file keep its content and its size, not its
  name; fsync() of a folder keeps its names, not what they name.
- Of what was written to a file since its last sync, each sector of 512 bytes holds any of the
  versions it went through; the size is any that the file went through. Where the file has grown and
  nothing of it arrived, there are zeros or what was on the disk before.
- Of the names made, changed and removed in a folder since its last sync, some first part is there;
  a rename is there or not, never half. Some disks are drawn where names are in no order at all.
- A folder that was not kept takes with it all that was in it.
"""

import copy
import ctypes
import json
import mmap
import os
import pathlib
import struct

SECTOR = 512
RECORD = struct.Struct("<IHHiIIIQq")  # struct record of disk_log.c
CREATE, FOLDER, WRITE, SIZE, RENAME, LINK, REMOVE, SYNC, SENT, MARK, PROGRAM = range(1, 12)


class Record:
    __slots__ = ("kind", "pid", "ino", "at", "frames", "path", "other", "bytes")

    def __init__(self, view, offset):
        (_, self.kind, n_frames, self.pid, n_path, n_other, n_bytes, self.ino,
         self.at) = RECORD.unpack_from(view, offset)
        at = offset + RECORD.size
        self.frames = struct.unpack_from(f"<{n_frames}Q", view, at)
        at += 8 * n_frames
        self.path = os.fsdecode(view[at:at + n_path])
        self.other = os.fsdecode(view[at + n_path:at + n_path + n_other])
        at += n_path + n_other
        self.bytes = view[at:at + n_bytes]


class Journal:
    """The journal under way. What is below `root` at this moment counts as synced."""

    def __init__(self, library, path, root):
        self.path, self.root = pathlib.Path(path), pathlib.Path(root)
        self.library = ctypes.CDLL(str(library))
        self.library.disk_log_head.restype = ctypes.c_uint64
        self.disk = Disk(self.root)
        assert self.library.disk_log_begin(os.fsencode(path), os.fsencode(root)) == 0

    def mark(self, **words):
        text = json.dumps(words).encode()
        self.library.disk_log_mark(text, ctypes.c_size_t(len(text)))

    def kill(self, pid):
        """SIGKILL, but not between a call and its record."""
        self.library.disk_log_kill(pid)

    def kill_at_sync(self, path):
        """Whoever syncs this file next dies just before."""
        self.library.disk_log_kill_at_sync(ctypes.c_uint64(os.stat(path).st_ino))

    def end(self):
        """All records, in their order. Nobody writes any more."""
        head = self.library.disk_log_head()
        self.library.disk_log_end()
        with open(self.path, "rb") as file:
            view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        (end,) = struct.unpack_from("<Q", view)
        records, at = [], head
        while at < end:
            records.append(Record(view, at))
            at += struct.unpack_from("<I", view, at)[0]
        return records


# ---- files and folders, with what is synced of them and what was done since ----

class File:
    def __init__(self, name, kept=b""):
        self.name = name  # the last it was given
        self.kept = kept
        self.since = []  # (number of the record, offset, bytes) or (number, size, None)
        self.lacks_sync = False

    def content(self, draw):
        return draw.content(self.kept, self.since) if self.since else self.kept

    def sync(self):
        self.kept = EVERYTHING.content(self.kept, self.since)
        self.since = []
        self.lacks_sync = False


class Folder:
    def __init__(self, name):
        self.name = name  # with that of the folder above
        self.kept = {}
        self.names = {}  # as programs see it
        self.since = []  # (number of the record, {name: node, or None where it goes})
        self.lacks_sync = False

    def put(self, number, changes):
        self.since.append((number, changes))
        apply_names(self.names, changes)

    def listing(self, draw):
        names = dict(self.kept)
        for changes in draw.names(self.since):
            apply_names(names, changes)
        return names

    def sync(self):
        self.kept = dict(self.names)
        self.since = []
        self.lacks_sync = False


def apply_names(names, changes):
    for name, node in changes.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Disk:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.nodes = {}
        self.top = self._scan(self.root)

    def _scan(self, path):
        """What is there already, and synced."""
        if path.is_dir():
            node = Folder("/".join(path.parts[-2:]))
            node.names = {name: self._scan(path / name) for name in os.listdir(path)}
            node.sync()
        else:
            node = File(path.name, path.read_bytes())
        self.nodes[path.stat().st_ino] = node
        return node

    def copy(self):
        return copy.deepcopy(self)

    def place(self, path):
        """(folder, name) of an absolute path."""
        parts = os.path.relpath(os.path.normpath(path), self.root).split("/")
        folder = self.top
        for part in parts[:-1]:
            folder = folder.names[part]
        return folder, parts[-1]

    def node(self, path):
        folder, name = self.place(path)
        return folder.names.get(name)

    def apply(self, number, record, is_lost=False):
        """One record. `is_lost`: a sync as if it had never been asked for."""
        kind, node = record.kind, self.nodes.get(record.ino)
        if kind in (CREATE, FOLDER):
            folder, name = self.place(record.path)
            made = File(name) if kind == CREATE else Folder("/".join(record.path.split("/")[-2:]))
            self.nodes[record.ino] = made
            folder.put(number, {name: made})
        elif kind == WRITE and node:
            node.since.append((number, record.at, record.bytes))
        elif kind == SIZE and node:
            node.since.append((number, record.at, None))
        elif kind in (RENAME, LINK):
            old_folder, old = self.place(record.path)
            folder, new = self.place(record.other)
            assert folder is old_folder, "a name that moves to another folder is not modelled"
            node = folder.names[old]
            node.name = new
            folder.put(number, {old: None, new: node} if kind == RENAME else {new: node})
        elif kind == REMOVE:
            folder, name = self.place(record.path)
            folder.put(number, {name: None})
        elif kind == SYNC and node and is_lost:
            node.lacks_sync = True
        elif kind == SYNC and node:
            node.sync()

    def write(self, draw, target):
        """Make the disk that `draw` decides on, in an empty folder."""
        _write_folder(self.top, draw, os.fspath(target))

    def differences(self):
        """Files that are not as the journal says; logs that stdio writes are left out."""
        return _compare(self.top, self.root)


def _write_folder(folder, draw, target):
    for name, node in folder.listing(draw.of(folder)).items():
        path = f"{target}/{name}"
        if isinstance(node, Folder):
            os.mkdir(path, 0o700)
            _write_folder(node, draw, path)
        else:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, node.content(draw.of(node)))
            os.close(fd)


def _compare(folder, path):
    there, meant = ({name for name in names if not name.endswith(".log")}
                    for names in (os.listdir(path), folder.names))
    found = [str(path / name) for name in there ^ meant]
    for name in there & meant:
        node = folder.names[name]
        if isinstance(node, Folder):
            found += _compare(node, path / name)
        elif node.content(EVERYTHING) != (path / name).read_bytes():
            found.append(str(path / name))
    return found


# ---- what survives ----

class Draw:
    """One way in which it may go. `meta` (names and sizes): "none", "all", "ordered" (one moment
    for the whole disk), "folders" (a moment for each folder and file), "loose" (names in no order),
    "newest" (of the names, the last change alone; sizes all).
    `content`: "none", "all", "ordered" (what was written before one moment), "late" (what was
    written after it), "writes" (each by itself), "torn" (the same, and of some the first part),
    "sectors" (each sector by itself), "even" and "odd" (every other sector)."""

    METAS = ("none", "all", "ordered", "ordered", "folders", "folders", "loose")
    CONTENTS = ("none", "all", "ordered", "late", "writes", "torn", "torn", "sectors", "sectors")

    def __init__(self, rng=None, meta="all", content="all", oldest=0, newest=0):
        self.rng, self.meta, self.data = rng, meta, content
        self.moment = rng.randint(oldest, newest) if rng else 0
        self.kept_share = rng.choice((0.1, 0.5, 0.9)) if rng else 1
        self.old_byte = rng.choice((b"\0", b"\0", b"\xa5")) if rng else b"\0"

    def __repr__(self):
        return f"names and sizes: {self.meta}, content: {self.data}"

    def of(self, node):  # the same for every file and folder
        del node
        return self

    def _first_part(self, since):
        """How many of these changes happened."""
        if self.meta in ("none", "all", "newest") or not since:
            return 0 if self.meta == "none" else len(since)
        if self.meta == "ordered":
            return sum(number <= self.moment for number, *_ in since)
        return self.rng.randint(0, len(since))

    def names(self, since):
        if self.meta == "loose":
            return [changes for _, changes in since if self.rng.random() < 0.5]
        if self.meta == "newest":
            return [changes for _, changes in since[-1:]]
        return [changes for _, changes in since[:self._first_part(since)]]

    def content(self, kept, since):
        n_sized = self._first_part(since)
        buffer, size = bytearray(kept), len(kept)
        versions = self._versions(since)
        for i, (_, at, written) in enumerate(since):
            if written is None:
                if i < n_sized:
                    del buffer[at:]
                    buffer.extend(bytes(at - len(buffer)))
                    size = at
                continue
            end = at + len(written)
            size = max(size, end) if i < n_sized else size
            if len(buffer) < end:
                buffer.extend(self.old_byte * (end - len(buffer)))
            if self.data == "all":
                buffer[at:end] = written
            else:
                land(buffer, i, at, written, versions)
        return bytes(buffer[:size])

    def _versions(self, since):
        """{sector: how many of these changes it has seen}: a sector goes through its versions one
        by one, so with a change come all those before it."""
        versions = {}
        if self.data in ("none", "all"):
            return versions
        for i, (number, at, written) in enumerate(since):
            for sector in () if written is None else self._sectors(number, at, len(written)):
                if self.data != "sectors":
                    versions[sector] = i + 1
                elif sector not in versions:
                    versions[sector] = len(since) if self.rng.random() < self.kept_share else \
                        self.rng.randint(0, len(since))
        return versions

    def _sectors(self, number, at, length):
        """Those of a write that reach the disk."""
        if (self.data == "ordered" and number > self.moment or
                self.data == "late" and number <= self.moment or
                self.data == "writes" and self.rng.random() >= self.kept_share):
            return ()
        sectors = range(at // SECTOR, (at + length - 1) // SECTOR + 1)
        if self.data == "torn":
            torn_at = self.rng.randint(0, len(sectors))
            return sectors[:self.rng.choice((0, len(sectors), torn_at))]
        if self.data in ("even", "odd"):
            return [sector for sector in sectors if sector % 2 == (self.data == "odd")]
        return sectors


def land(buffer, i, at, written, versions):
    """Change number i, as far as its sectors have seen it."""
    end = at + len(written)
    for sector in range(at // SECTOR, (end - 1) // SECTOR + 1):
        if i < versions.get(sector, 0):
            first, last = max(at, sector * SECTOR), min(end, (sector + 1) * SECTOR)
            buffer[first:last] = written[first - at:last - at]


class Split:
    """One way for the files and folders that lack a sync, another for the rest of the disk."""

    def __init__(self, lacking, rest):
        self.lacking, self.rest = lacking, rest

    def __repr__(self):
        return f"what lacks a sync: {self.lacking}; the rest: {self.rest}"

    def of(self, node):
        return self.lacking if node.lacks_sync else self.rest


EVERYTHING = Draw()


def extremes():
    """What is always tried: nothing unsynced survives, everything does, and half and half."""
    return [Draw(meta=meta, content=content)
            for meta, content in (("none", "none"), ("all", "all"), ("all", "none"),
                                  ("none", "all"))]


def splits():
    """What a sync can be wanted for: the disk is not as it would have been only where one is
    lacking; or only there, and the rest is as old or as torn as it may be."""
    nothing, torn = Draw(meta="none", content="none"), Draw(content="even")
    return [Split(nothing, EVERYTHING), Split(Draw(content="none"), EVERYTHING),
            Split(Draw(content="odd"), EVERYTHING), Split(torn, EVERYTHING),
            Split(Draw(meta="newest"), EVERYTHING), Split(EVERYTHING, nothing),
            Split(nothing, torn), Split(Draw(content="none"), torn)]


def drawn(rng, oldest, newest):
    return Draw(rng, rng.choice(Draw.METAS), rng.choice(Draw.CONTENTS), oldest, newest)
