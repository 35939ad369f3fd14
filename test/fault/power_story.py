"""What is recorded: stories of real daemons and spenders under disk_log.c, and the facts that their
journals hold, each at its place: what was promised to whom, what had been presented to the server.
"""

import contextlib
import hashlib
import json
import pathlib
import re
import shutil
import socket
import sqlite3
import struct
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import harness  # noqa: E402
import killing  # noqa: E402
import power_disk  # noqa: E402
import siblings  # noqa: E402
import version_1  # noqa: E402
from power_disk import CREATE, MARK, PROGRAM, RENAME, REMOVE, SENT, SYNC, WRITE  # noqa: E402
from power_syncs import Namer, Program  # noqa: E402
from runner import wait_until  # noqa: E402
from sums import PAGE  # noqa: E402

SPOOL_HEADER = 144  # bytes, as src/issuer/spool.c writes it
MARK_SLOT = struct.Struct("<8sQ16sQQ")  # as src/store/mark.c has it
MARK_FILE_SIZE = 8192
PRESENTED = re.compile(rb"refresh_token=(lab-[0-9a-z-]+)")
BEFORE = ("kept", "restored", "older", "damaged", "shared")  # facts that were there when the recording began
MADE_UP_BOOT = "00000000-0000-4000-8000-00000000b007"
INET, UNIX, STREAM, PACKET = socket.AF_INET, socket.AF_UNIX, socket.SOCK_STREAM, \
    socket.SOCK_SEQPACKET


def disk_log():
    targets = json.loads((harness.BUILD / "meson-info" / "intro-targets.json").read_text())
    return next(pathlib.Path(target["filename"][0]) for target in targets
                if target["name"] == "disk_log")


class Recorder:
    """A world whose daemon and spender write down what they do to the disk."""

    def __init__(self, world):
        self.world = world
        self.journal = None
        self.journal_path = world.folder / "journal"

    def begin(self):
        """From now on; what is in the home by now counts as synced."""
        pathlib.Path(f"{self.journal_path}.boot-id").write_text(MADE_UP_BOOT + "\n")
        for name in ("credwardend", "credwarden-spender"):
            place = self.world.programs / name
            place.unlink()
            place.write_text("#!/bin/sh\n"
                             f"export LD_PRELOAD='{disk_log()}' DISK_LOG='{self.journal_path}'\n"
                             f"exec '{harness.program(name)}' \"$@\"\n")
            place.chmod(0o700)
        self.journal = power_disk.Journal(disk_log(), self.journal_path, self.world.home)

    def begin_shared(self, path, held):
        """The same, with a client's file and these profiles."""
        self.begin()
        self.mark(at="shared", path=str(path), content=path.read_text())
        for profile in held:
            self.mark(at="done", what="add", name=profile["name"], lineage=profile["lineage"])
        self.world.cw("status")

    def mark(self, **words):
        self.journal.mark(**words)

    @contextlib.contextmanager
    def promise(self, **words):
        """What is asked for; and, when it returns, done as far as anybody was told."""
        self.mark(at="begun", **words)
        yield
        self.mark(at="done", **words)

    # ---- what people and programs do ----

    def add(self, name, provider="lab", **options):
        login = self.world.lab.login(name, **options)
        self.mark(at="begun", what="add", name=name)
        self.world.add(name, provider, login)
        self.mark(at="done", what="add", name=name, lineage=self.profile(name)["lineage"])

    def remove(self, name):
        with self.promise(what="remove", name=name):
            self.world.cw("remove", name, "--yes")

    def policy(self, name, value):
        with self.promise(what="policy", name=name, value=value):
            self.world.cw("policy", name, value)

    def backup(self, path):
        with self.promise(what="backup", path=str(path)):
            self.world.cw("backup", path)

    def profile(self, name):
        return next(profile for profile in self.world.api("GET", "/v1/profiles").json["profiles"]
                    if profile["name"] == name)

    def tell(self, name):
        profile = self.profile(name)
        self.mark(at="told", lineage=profile["lineage"], generation=profile["generation"])
        return profile

    def ask(self, name, timeout_ms=30000):
        """A wish for more life than the pair has left: a spend."""
        left_ms = self.profile(name)["left_ms"]
        time.sleep(0.002)
        return self.world.api("GET", f"/v1/profiles/{name}/token?min_ttl={left_ms}ms&"
                                     f"timeout={timeout_ms}ms")

    def spend(self, name):
        before = self.profile(name)["generation"]
        answer = self.ask(name)
        assert answer.status in (200, 422), answer
        assert self.tell(name)["generation"] == before + 1

    def place(self, profile, *command):
        """By this command, or since, the client's place is this profile's and holds its pair."""
        with self.promise(what="place", profile=profile):
            self.world.cw(*command)
            wait_until(lambda: self.consumer()["state"] == "in-step", what="the place in step")
            assert self.consumer()["profile"] == profile

    def consumer(self):
        return self.world.api("GET", "/v1/consumers").json["consumers"][0]

    def quiet(self):
        """Nobody has wanted anything for a while: the high-water mark has followed."""
        time.sleep(0.15)
        self.mark(at="quiet")

    def stop(self):
        self.world.kill_daemon(15)
        wait_until(lambda: not killing.spenders(), what="the end of the spender")

    def kill(self):
        pid = self.world.daemon_pid()
        self.journal.kill(pid)
        wait_until(lambda: not harness.is_running(pid))

    @contextlib.contextmanager
    def death_at_sync(self, path):
        """The daemon of now dies at its next sync of this file. What is asked for meanwhile may
        have started another one."""
        pid = self.world.daemon_pid()
        self.journal.kill_at_sync(path)
        yield
        wait_until(lambda: not harness.is_running(pid), what="the death of the daemon")

    # ---- the end ----

    def end(self):
        self.stop()
        return Recording(self)


class Intent:
    """A spend of the recording, and the numbers of the records at which things happened to it."""

    def __init__(self, row):
        self.lineage, self.generation, self.verdict, self.is_replay = row
        self.begun = self.presented = self.answered = self.reported = self.swept = None


class Recording:
    """A journal that is over, read: records, names of syncs, facts."""

    def __init__(self, recorder):
        world = recorder.world
        self.records = recorder.journal.end()
        self.baseline = recorder.journal.disk
        self.root = world.home
        self.lab_port = int(world.lab.url.rpartition(":")[2])
        self.namer = Namer({str(harness.program(name)): Program(harness.program(name))
                            for name in ("credwardend", "credwarden-spender")})
        self.intents = read_intents(world.share / "credwarden" / "store.db")
        self.promises = []  # (number, words)
        self.mark_values = []  # (number, uuid, spends) of the high-water mark
        self.shared = None  # path of a client's file
        self.stores = []  # (number, content): what was given its name
        self.sent = []  # (number, refresh token that was presented)
        self.sites = {}  # number of a sync: its Site
        self.labels = {}  # … and its name, once those of all stories are told apart (power.py)
        self._read()
        self.functions = self.namer.functions

    def _read(self):
        disk = self.baseline.copy()
        hands = {}  # process: the intent it has in hand
        for number, record in enumerate(self.records):
            if record.kind == PROGRAM:
                self.namer.note_program(record)
            elif record.kind == MARK:
                words = json.loads(record.bytes)
                self.promises.append((number if words["at"] not in BEFORE else -1, words))
                self.shared = words["path"] if words["at"] == "shared" else self.shared
            elif record.kind == SENT:
                self._read_sent(number, record, hands)
            elif record.kind in (CREATE, RENAME, REMOVE) and record.path.endswith(".spool"):
                self._read_spool_name(number, record)
            elif record.kind == RENAME and record.other == self.shared:
                content = disk.node(record.path).content(power_disk.EVERYTHING)
                self.stores.append((number, content))
            elif record.kind == SYNC and record.ino in disk.nodes:
                self.sites[number] = self.namer.name(record, disk.nodes[record.ino])
            elif record.kind == WRITE and record.ino in disk.nodes:
                self._read_write(number, record, disk.nodes[record.ino], hands)
            disk.apply(number, record)
        for intent in self.intents.values():
            if intent.begun is None:  # before the recording
                intent.begun = intent.presented = -1
        # Where most is at stake: something was just promised; much is written, and not yet synced.
        self.brinks = sorted(self.sites)
        self.moments = [number + 1 for number, _ in self.promises if number >= 0] + [
            number + 1 for intent in self.intents.values()
            for number in (intent.begun, intent.presented, intent.reported, intent.swept) if number]
        different = disk.differences()
        assert not different, f"the journal does not lead to these files: {different}"

    def _intent(self, name):
        return self.intents.get(int(pathlib.Path(name).stem, 16))

    def _read_spool_name(self, number, record):
        if intent := self._intent(record.path):
            if record.kind == CREATE:
                intent.begun = number
            else:
                intent.swept = number

    def _read_write(self, number, record, node, hands):
        if node.name == "high-water" and len(record.bytes) == MARK_SLOT.size:
            self._read_mark(number, record.bytes)
        elif len(record.bytes) == MARK_FILE_SIZE:  # made anew
            self._read_mark(number, record.bytes[MARK_FILE_SIZE // 2:])
        if node.name.endswith(".spool") and record.at == 0 and len(record.bytes) == SPOOL_HEADER:
            hands[record.pid] = (self._intent(node.name), record.bytes[12])
            if record.bytes[12] == killing.SPOOL_ANSWERED and self._intent(node.name):
                self._intent(node.name).answered = number

    def _read_mark(self, number, slot):
        magic, _, uuid, spends, _ = MARK_SLOT.unpack_from(slot)
        if magic == b"cwmark1\0":
            self.mark_values.append((number, uuid, spends))

    def _read_sent(self, number, record, hands):
        kind = divmod(record.at, 256)
        intent, stage = hands.get(record.pid, (None, None))
        if kind == (INET, STREAM) and b"refresh_token=lab-" in bytes(record.bytes):
            assert intent and stage == killing.STARTED, "presented without a word in the spool"
            intent.presented = number
            self.sent.append((number, PRESENTED.search(bytes(record.bytes))[1].decode()))
        elif kind == (UNIX, PACKET) and intent and stage == killing.SPOOL_ANSWERED:
            intent.reported = intent.reported or number

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "namer"}

    def disk(self):
        return self.baseline.copy()


# ---- the stories ----

def a_life(recorder):
    """From the first start: profiles come and go, spends of every outcome, backups, restarts."""
    world = recorder.world
    share = world.share / "credwarden"
    backups = world.home / "backups"
    backups.mkdir(mode=0o700)
    recorder.begin()
    world.cw("status")
    recorder.add("work")
    recorder.spend("work")
    recorder.add("home")
    recorder.add("guest")
    recorder.policy("home", "standby")
    recorder.policy("home", "always")
    recorder.spend("home")
    recorder.quiet()
    recorder.backup(backups / "first.db")
    recorder.remove("guest")
    for _ in range(24):  # until the log is long enough for a checkpoint, and beyond
        recorder.spend("work")
    recorder.quiet()
    for _ in range(3):
        recorder.spend("work")
    recorder.backup(backups / "second.db")

    # Stopped and started; killed before the first commit in a new log is synced.
    recorder.stop()
    world.cw("status")
    recorder.add("late")
    recorder.stop()
    world.cw("status")
    with recorder.death_at_sync(share / "store.db-wal"):
        recorder.mark(at="begun", what="policy", name="home", value="standby")
        world.cw("policy", "home", "standby", check=False)
    world.cw("status")
    recorder.spend("late")

    # The daemon dies with a spend under way; the spender lives on.
    world.lab.script("token", delay_after_ms=150)
    lost_in_the_crowd = threading.Thread(target=ask_in_vain, args=(recorder, "work"))
    lost_in_the_crowd.start()
    wait_until(lambda: world.lab.stats()["endpoints"]["token"]["open"] > 0)
    recorder.kill()
    lost_in_the_crowd.join()
    wait_until(lambda: not killing.spenders())
    world.cw("status")
    wait_until(lambda: recorder.profile("work")["state"] == "live")
    recorder.tell("work")

    # The daemon dies between writing a commit into the log and syncing it.
    with recorder.death_at_sync(share / "store.db-wal"):
        ask_in_vain(recorder, "home")
    world.cw("status")
    wait_until(lambda: recorder.profile("home")["state"] in ("live", "doubt"))
    recorder.tell("home")
    recorder.spend("work")

    # Answers that are lost: one is asked for again at once, one is not.
    recorder.add("forgiven", "forgiving")
    for name in ("forgiven", "late"):
        world.lab.script("token", lose_after_commit=True)
        recorder.ask(name, timeout_ms=300)
    wait_until(lambda: recorder.profile("forgiven")["standing"] == "live")
    recorder.tell("forgiven")
    recorder.quiet()


def ask_in_vain(recorder, name):
    try:
        recorder.ask(name)
    except (OSError, harness.http.client.HTTPException):
        pass  # whoever is killed does not answer


def a_shut_answer(recorder):
    """An answer that does not open with the key at hand: it is set aside, and never deleted."""
    world = recorder.world
    world.cw("status")
    world.add("work", "lab", world.lab.login("work"))
    world.lab.script("token", delay_after_ms=150)
    asking = threading.Thread(target=ask_in_vain, args=(recorder, "work"))
    asking.start()
    wait_until(lambda: world.lab.stats()["endpoints"]["token"]["open"] > 0)
    world.kill_daemon()
    asking.join()
    wait_until(lambda: not killing.spenders())
    [path] = (world.state / "credwarden" / "spool").glob("*.spool")
    path.write_bytes(killing.reseal(path.read_bytes()))
    recorder.begin()
    recorder.mark(at="kept", path=str(path), content=hashlib.sha256(path.read_bytes()).hexdigest())
    world.cw("status")
    wait_until(lambda: not path.exists())
    recorder.quiet()


def a_restored_store(recorder):
    """A backup was put back after a crash, and the log still lies there, of which the high-water mark
    had not yet heard: in doubt until it is signed in again, and then no longer. Spent is again when
    nothing of what the copy does not know of can be under way: two deadlines."""
    world = recorder.world
    world.write_config(spend_deadline="3s")
    store = world.share / "credwarden" / "store.db"
    mark = world.state / "credwarden" / "high-water"
    backup = world.home / "backups" / "old.db"
    backup.parent.mkdir(mode=0o700)
    world.cw("status")
    for name in ("work", "home"):
        world.add(name, "lab", world.lab.login(name))
    world.cw("backup", backup)
    told = mark.read_bytes()
    recorder.ask("work")
    world.kill_daemon()
    wait_until(lambda: not killing.spenders())
    mark.write_bytes(told)
    backup.rename(store)
    recorder.begin()
    recorder.mark(at="restored")
    world.cw("status")
    recorder.add("work")
    recorder.spend("work")
    recorder.quiet()


def a_repaired_store(recorder):
    """A byte of it is wrong, and a daemon that was killed has left its log: both get other names,
    and what is made of them gets theirs."""
    world = recorder.world
    store = world.share / "credwarden" / "store.db"
    world.cw("status")
    for name in ("work", "home"):
        world.add(name, "lab", world.lab.login(name))
    world.kill_daemon(15)
    world.cw("status")
    recorder.ask("work")
    held = [recorder.profile(name) for name in ("work", "home")]
    world.kill_daemon()
    wait_until(lambda: not killing.spenders())
    content = bytearray(store.read_bytes())
    content[2 * PAGE + 9] ^= 0x10
    store.write_bytes(content)
    log = pathlib.Path(f"{store}-wal")
    recorder.begin()
    recorder.mark(at="damaged", path=str(store), contents=[
        hashlib.sha256(file.read_bytes()).hexdigest() for file in (store, log)])
    for profile in held:
        recorder.mark(at="told", lineage=profile["lineage"], generation=profile["generation"])
    world.cw("repair")
    recorder.mark(at="repaired")
    world.cw("status")
    recorder.spend("work")
    recorder.quiet()


def a_lost_spool(recorder):
    """Somebody cleaned up: the spool's folder is gone, and made again at the start."""
    world = recorder.world
    state = world.state / "credwarden"
    world.cw("status")
    world.add("work", "lab", world.lab.login("work"))
    world.kill_daemon(15)
    (state / "spool").rmdir()
    recorder.begin()
    world.cw("status")
    recorder.spend("work")
    recorder.spend("work")
    recorder.quiet()


def a_lost_mark(recorder):
    """The high-water mark is gone, and made again at the start."""
    world = recorder.world
    world.cw("status")
    world.add("work", "lab", world.lab.login("work"))
    world.kill_daemon(15)
    (world.state / "credwarden" / "high-water").unlink()
    recorder.begin()
    world.cw("status")
    recorder.tell("work")
    recorder.quiet()


def an_older_store(recorder):
    """A store from before its pages had sums is copied, and brought up to date, at the start."""
    world = recorder.world
    store = world.share / "credwarden" / "store.db"
    world.cw("status")
    world.add("work", "lab", world.lab.login("work"))
    recorder.ask("work")
    profile = recorder.profile("work")
    world.kill_daemon(15)
    wait_until(lambda: not killing.spenders())
    version_1.as_version_1(store)
    recorder.begin()
    recorder.mark(at="older", path=str(store))
    recorder.mark(at="done", what="add", name="work", lineage=profile["lineage"])
    recorder.mark(at="told", lineage=profile["lineage"], generation=profile["generation"])
    world.cw("status")
    recorder.spend("work")
    recorder.quiet()


def a_shared_place(recorder):
    """A client's place: what stands there is taken away before it is spent, given back after, and
    changed for another login."""
    world = recorder.world
    folder = world.home / ".claude"
    folder.mkdir(mode=0o700)
    world.cw("status")
    for name in ("work", "home"):
        world.add(name, "lab", world.lab.login(name))
    siblings.replace_store(folder, siblings.FOREIGN)
    held = [recorder.profile(name) for name in ("work", "home")]
    world.kill_daemon(15)
    wait_until(lambda: not killing.spenders())
    recorder.begin_shared(folder / siblings.STORE, held)
    recorder.place("work", "bind", "work", "--to", "claude", "--mode", "pair")
    recorder.spend("work")
    recorder.place("work", "status")
    recorder.place("home", "use", "home")
    recorder.spend("home")
    recorder.place("home", "status")
    recorder.place("work", "use", "work")
    recorder.spend("work")
    recorder.spend("work")
    recorder.place("work", "status")
    recorder.quiet()


def a_fed_file(recorder):
    """A file that we alone write gets each access token; once the daemon dies with the new file under
    its name, and its folder not yet synced."""
    world = recorder.world
    path = world.home / "app" / "token.env"
    path.parent.mkdir(mode=0o700)
    path.write_text("KEPT=1\n")
    world.cw("status")
    world.add("work", "lab", world.lab.login("work"))
    held = [recorder.profile("work")]
    world.kill_daemon(15)
    wait_until(lambda: not killing.spenders())
    recorder.begin_shared(path, held)
    recorder.place("work", "bind", "work", "--to", f"env:{path}#TOKEN")
    recorder.spend("work")
    recorder.place("work", "status")
    with recorder.death_at_sync(path.parent):
        ask_in_vain(recorder, "work")
    recorder.place("work", "status")
    recorder.tell("work")
    recorder.quiet()


STORIES = (a_life, a_shut_answer, a_restored_store, a_repaired_store, a_lost_spool, a_lost_mark,
           an_older_store, a_shared_place, a_fed_file)


def record(story):
    with harness.World() as world:
        lab = world.start_lab(access_life="10m", grace="30s")
        world.write_provider("lab", **lab.provider_keys())
        world.write_provider("forgiving", **lab.provider_keys(reuse_grace="30s"))
        recorder = Recorder(world)
        story(recorder)
        return recorder.end()


def read_intents(path):
    """{id: Intent} of all spends that a store knows of."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            if pathlib.Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{folder}/store.db{suffix}")
        connection = sqlite3.connect(f"{folder}/store.db")
        try:
            rows = connection.execute("SELECT intent, lineage, generation, verdict, replay"
                                      " FROM spend ORDER BY seq").fetchall()
        finally:
            connection.close()
    return {unsigned(row[0]): Intent((f"{unsigned(row[1]):016x}", *row[2:])) for row in rows}


def unsigned(number):
    """As the store keeps a 64-bit id, and as it is."""
    return number & (1 << 64) - 1
