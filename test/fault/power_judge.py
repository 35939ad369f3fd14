"""What must be true after a power loss, and the question put to a real daemon: started on the
disk that was left, is it?

The oracles:
  start    whatever the moment was, the daemon starts, and its store is sound to the last index.
  told     nothing that anybody was told is gone: a profile that was added is there, one that was
           removed is not, a policy is as it was set, a generation that was answered with is
           reached, and so is one whose answer the spender reported as being on the disk.
  spent    a refresh token that was presented is never believed unspent: its pair is superseded,
           or the lineage is in doubt or, when that was its last chance, dead; and the ledger knows
           of each time that it was presented.
  doubt    a doubt has a reason: a spend that was under way, an answer that was lost, a copy of the
           store that was put back.
  backup   a backup that was reported is there, sound, and holds what was held when asked for.
  mark     an older copy of the store that is put back after the loss is noticed, once the
           high-water mark had followed.
  older    a store that was brought up to date was copied before.
  aside    an answer that does not open is not deleted.
  place    what was reported as written into a client's store stands there, or what was written
           after it, whole; the place is the profile's that was reported; and no refresh token that
           was presented stands there still.
  repair   a damaged store is repaired, whenever the power went before: nothing of it is lost, and it
           is kept as it was, with its log.
"""

import collections
import contextlib
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile

import harness
import siblings
from harness import UnixConnection, ask
from power_story import unsigned
from runner import wait_until

START_LIMIT_S = 20
VERSION_AT = 60  # in SQLite's file header
UNDER_WAY = ("leasing", "intending", "spending", "settling", "closing", "asking", "adopting",
             "retiring", "probing")


# On a disk in memory where there is one: what is synced here is of no interest.
MACHINES = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
MACHINE_PREFIX = f"cw-power-{os.getpid()}-"


class Due:
    """What was promised, presented and possible when the power went: facts of the journal whose
    number is below `at`."""

    def __init__(self, recording, at):
        self.names = {}  # name: lineage
        self.gone = set()  # removed
        self.open = set()  # being added or removed: either is right
        self.policies = collections.defaultdict(lambda: {"always"})
        self.told = collections.Counter()  # lineage: the highest generation
        self.presented = collections.Counter()  # (lineage, generation): how often
        self.may_doubt, self.may_be_dead = set(), set()  # lineages
        self.backups, self.kept, self.older, self.damaged = {}, {}, None, None
        self.restored = False
        self.mark = None
        self.shared, self.owners, self.stores_from = None, {None}, -1  # a client's place
        self.recording = recording
        for number, words in recording.promises:
            if number < at:
                self._take(number, words,
                           [value for value in recording.mark_values if value[0] < number])
        for intent in recording.intents.values():
            self._take_intent(intent, at)
        self.sent = {token for number, token in recording.sent if number < at}
        if self.shared:
            self._take_stores(at)

    def _take(self, number, words, mark_values):
        what, begun = words.get("what"), words["at"] == "begun"
        name, lineage = words.get("name"), words.get("lineage")
        if words["at"] == "told":
            self.told[lineage] = max(self.told[lineage], words["generation"])
        elif words["at"] == "quiet":
            self.mark = mark_values[-1] if mark_values else None
        elif words["at"] == "kept":
            self.kept[words["path"]] = words["content"]
        elif words["at"] == "older":
            self.older = words["path"]
        elif words["at"] == "damaged":
            self.damaged = words
        elif words["at"] == "restored":
            self.restored = True
        elif words["at"] == "shared":
            self.shared = words
        elif what == "place" and begun:
            self.owners = self.owners | {words["profile"]}
        elif what == "place":
            self.owners, self.stores_from = {words["profile"]}, number
        elif begun and what in ("add", "remove"):
            self.open.add(name)
        elif what == "add":
            self.names[name] = lineage
            self.told[lineage] = 1
            self.gone.discard(name)
            self.open.discard(name)
        elif what == "remove":
            self.gone.add(name)
            self.open.discard(name)
            del self.names[name]
        elif what == "policy":
            self.policies[name] = self.policies[name] | {words["value"]} if begun else \
                {words["value"]}
        elif what == "backup" and not begun:
            self.backups[words["path"]] = self.backup_due
        elif what == "backup":
            self.backup_due = dict(self.told)

    def _take_stores(self, at):
        """What may stand in the client's store: what stood there when its place was last reported
        on, and all that followed."""
        stores = [(-1, self.shared["content"].encode()), *self.recording.stores]
        stores = [(number, content) for number, content in stores if number < at]
        first = max(i for i, (number, _) in enumerate(stores) if number <= self.stores_from)
        self.stores = [content for _, content in stores[first:]]

    def _take_intent(self, intent, at):
        if intent.begun >= at:
            return
        if not intent.swept or intent.swept >= at or intent.verdict == "in-doubt":
            self.may_doubt.add(intent.lineage)
            if intent.is_replay:
                self.may_be_dead.add(intent.lineage)
        if intent.presented is not None and intent.presented < at:
            self.presented[intent.lineage, intent.generation] += 1
        if intent.verdict != "granted":
            return
        if intent.reported and intent.reported < at:
            self.told[intent.lineage] = max(self.told[intent.lineage], intent.generation + 1)
        if intent.swept and intent.swept < at:
            self.may_doubt.discard(intent.lineage)
            self.may_be_dead.discard(intent.lineage)


class Machine:
    """A folder in which a disk can be looked at by a real daemon, again and again."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=MACHINE_PREFIX, dir=MACHINES))
        harness.assert_outside_real_home(self.folder)
        self.home = self.folder / "home"
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        for name in harness.PROGRAMS:
            (self.programs / name).symlink_to(harness.program(name))
        self.share = self.home / ".local/share/credwarden"
        self.state = self.home / ".local/state/credwarden"
        self.runtime = self.folder / "run"
        self.env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "XDG_STATE_HOME": str(self.home / ".local/state"),
            "XDG_RUNTIME_DIR": str(self.runtime), "CREDWARDEN_LIBEXEC": str(self.programs),
        }

    def put(self, disk, draw):
        for path in (self.home, self.runtime):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(mode=0o700)
        disk.write(draw, self.home)

    def here(self, recording, path):
        """Where a path of the recording is now."""
        return self.home / os.path.relpath(path, recording.root)

    @contextlib.contextmanager
    def daemon(self):
        """A daemon that is ready. AssertionError with what it said instead."""
        ready, theirs = os.pipe()
        process = subprocess.Popen(
            [str(self.programs / "credwardend"), "--ready-fd", str(theirs)], env=self.env,
            pass_fds=[theirs], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(theirs)
        try:
            with open(ready, "rb", closefd=True) as said:
                line = said.readline().decode(errors="replace").strip()
            assert line == "ready", f"start: the daemon does not start: {line}"
            yield UnixConnection(self.runtime / "credwarden" / "api.sock", START_LIMIT_S)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


    def repair(self):
        """(exit status, what it says)"""
        done = subprocess.run([str(self.programs / "credwardend"), "--repair"], env=self.env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=START_LIMIT_S, check=False)
        return done.returncode, done.stdout.decode(errors="replace").strip()


def remove_machines():
    """Those of this process and of its workers, which are gone."""
    for folder in pathlib.Path(MACHINES).glob(f"{MACHINE_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def profiles_at_rest(connection):
    def look():
        profiles = ask(connection, "GET", "/v1/profiles").json["profiles"]
        busy = any(profile["state"] in UNDER_WAY for profile in profiles)
        return None if busy else (True, {profile["name"]: profile for profile in profiles})

    return wait_until(look, START_LIMIT_S, "profiles at rest", pause=0.002)[1]


def rows(path, sql):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def assert_sound(path, what):
    found = rows(path, "PRAGMA integrity_check")
    assert found == [("ok",)], f"start: {what} is not sound: {found[:3]}"


def check_profiles(due, profiles):
    for name in due.names.keys() - due.open:
        assert name in profiles, f"told: {name} was added and is gone"
        assert profiles[name]["lineage"] == due.names[name], f"told: {name} is another login"
    back = (due.gone - due.open) & profiles.keys()
    assert not back, f"told: {back} was removed and is back"
    for name, profile in profiles.items():
        check_profile(due, name, profile)


def check_profile(due, name, profile):
    lineage, generation = profile["lineage"], profile["generation"]
    assert profile["policy"] in due.policies[name], \
        f"told: the policy of {name} is {profile['policy']}, not of {due.policies[name]}"
    assert generation >= due.told[lineage], \
        f"told: {name} is back at generation {generation}, {due.told[lineage]} was there"
    standing = profile["standing"]
    assert standing != "live" or not due.presented[lineage, generation], \
        f"spent: generation {generation} of {name} was presented and is believed alive"
    assert standing != "in-doubt" or lineage in due.may_doubt or due.restored, \
        f"doubt: {name} is in doubt without a reason"
    assert standing != "dead" or lineage in due.may_be_dead, \
        f"doubt: {name} is given up, and there was a chance left"


def check_restored(due, profiles):
    """A copy that was put back before the recording: no lineage that it holds is believed."""
    for name, profile in profiles.items():
        if due.names.get(name) != profile["lineage"] and name not in due.open:
            assert profile["standing"] == "in-doubt", f"mark: {name} is an old copy, and believed"
        elif due.names.get(name) == profile["lineage"]:
            assert profile["standing"] == "live" or profile["lineage"] in due.may_doubt, \
                f"doubt: {name} was signed in again, and is in doubt"


def check_ledger(due, path):
    known = collections.Counter(
        (f"{unsigned(lineage):016x}", generation)
        for lineage, generation in rows(path, "SELECT lineage, generation FROM spend"))
    for key, times in due.presented.items():
        assert known[key] >= times, f"spent: presented {times} times, {known[key]} in the ledger"


def check_backups(due, machine):
    for path, told in due.backups.items():
        path = machine.here(due.recording, path)
        assert path.exists(), f"backup: {path.name} is gone"
        assert_sound(path, "a backup")
        held = {f"{unsigned(lineage):016x}": generation for lineage, generation
                in rows(path, "SELECT id, generation FROM lineage")}
        for lineage, generation in told.items():
            assert held.get(lineage, 0) >= generation, f"backup: {path.name} lacks what was told"


def check_kept(due, machine):
    for path, content in due.kept.items():
        path = machine.here(due.recording, path)
        found = [place for place in (path, path.with_suffix(".aside")) if place.exists()]
        assert found and hashlib.sha256(found[0].read_bytes()).hexdigest() == content, \
            "aside: an answer that does not open was deleted"


def check_older(due, machine):
    if due.older is None:
        return
    store = machine.here(due.recording, due.older)
    with open(store, "rb") as file:
        version = int.from_bytes(file.read(VERSION_AT + 4)[VERSION_AT:], "big")
    if version > 1:
        copied = store.with_suffix(".db.v1")
        assert copied.exists(), "older: a store was changed, and there is no copy of it"
        assert_sound(copied, "the copy of an older store")


def check_shared(due, machine):
    """As it is found, before any daemon does something about it."""
    path = machine.here(due.recording, due.shared["path"])
    assert path.exists(), "place: the client's file is gone"
    assert path.read_bytes() in due.stores, "place: the client's file is none of those it may be"
    login = siblings.login_in(path.parent)
    assert login.get("refreshToken") not in due.sent, \
        "place: a refresh token that was presented stands there still"


def check_owner(due, connection):
    places = ask(connection, "GET", "/v1/consumers").json["consumers"]
    owner = places[0]["profile"] if places else None
    assert owner in due.owners, f"place: it is {owner}'s, not one of {due.owners}"


def repair_damaged(due, machine):
    status, said = machine.repair()
    assert status == 0, f"repair: {said}"
    store = machine.here(due.recording, due.damaged["path"])
    kept = sorted(store.parent.glob(f"{store.name}.damaged-*"))
    assert [path.name.partition("-wal")[1] for path in kept] == ["", "-wal"] and \
        kept[1].name == f"{kept[0].name}-wal", f"repair: kept as {[path.name for path in kept]}"
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in kept]
    assert found == due.damaged["contents"], "repair: the damaged store is not kept as it was"


def check_mark(due, disk, draw, machine):
    """Put back the oldest backup, beside what log there is: it must be noticed if the mark had gone
    beyond it."""
    if not (due.backups and due.mark):
        return
    backup = machine.here(due.recording, next(iter(due.backups)))
    [(uuid, changes)] = rows(backup, "SELECT uuid, changes FROM store")
    if uuid != due.mark[1] or changes >= due.mark[2]:
        return
    machine.put(disk, draw)
    shutil.copyfile(backup, machine.share / "store.db")
    with machine.daemon() as connection:
        for name, profile in profiles_at_rest(connection).items():
            assert profile["standing"] == "in-doubt", \
                f"mark: an old copy was put back, and {name} is believed"
        connection.close()


def judge(recording, disk, at, draw, machine, with_copy=True):
    """What is wrong after this loss; None when all is well. `with_copy`: also if the first thing
    that is done then is to put back a backup."""
    due = Due(recording, at)
    machine.put(disk, draw)
    store = machine.share / "store.db"
    try:
        check_older(due, machine)
        if due.damaged:
            repair_damaged(due, machine)
        if due.shared:
            check_shared(due, machine)
        with machine.daemon() as connection:
            profiles = profiles_at_rest(connection)
            if due.shared:
                check_owner(due, connection)
            connection.close()
        assert_sound(store, "the store")
        if due.restored:
            check_restored(due, profiles)
        check_profiles(due, profiles)
        check_ledger(due, store)
        check_backups(due, machine)
        check_kept(due, machine)
        if with_copy:
            check_mark(due, disk, draw, machine)
    except AssertionError as wrong:
        return str(wrong)
    except sqlite3.DatabaseError as wrong:
        return f"start: a store that SQLite refuses: {wrong}"
    return None


@contextlib.contextmanager
def port_kept(port):
    """Nobody listens there, and nobody else can: what the daemons present reaches no server."""
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", port))
        yield
