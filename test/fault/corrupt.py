#!/usr/bin/env python3
"""A store, its log, its mark, its key and its spool, damaged bit by bit: noticed, told, never
believed; and `credwarden repair` saves what is sound.

    python3 corrupt.py --proof [--minutes M] [--seed N]    every byte and every page; M limits it
    python3 corrupt.py --case FILE HOW VALUE               one case, as a failure prints it

A house with a login of every kind is built once by the real daemon (`build`), killed in the middle
of a spend whose answer is then in the spool. Two images are kept of it: as the kill left it, with
a log; and checkpointed. Most cases are judged in one process each core: by store_look, with the real
store, and by key_look, with the real vault and spool. The real daemon is started on a sample;
repairs are done by the real program, and their logins used.

M is shared out among the images by how many cases they have. What there is no time for is left out
evenly, and the last line says how many of how many were tried.

The oracles are in judge_… below, in store_look.c and in key_look.c.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import math
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import load  # noqa: E402
import runner  # noqa: E402
import sums  # noqa: E402
from harness import World, program  # noqa: E402
from refusals import DAEMON, SIGN_IN, assert_refused, profiles  # noqa: E402
from runner import stop_by_exception, wait_until  # noqa: E402

PAGE = sums.PAGE
FRAME = 24 + PAGE
STORE, LOG, MARK = "store.db", "store.db-wal", "high-water"
KEY = "vault.key"
STAGES = ("prepared", "started", "answered")  # of a spool file
SPOOL_HEAD, SPOOL_SIZE = 144, 128 * 1024  # src/issuer/spool.c
PATHS = "account.uuid organization.uuid"
# Of damage: neither noticed nor the same as without; what was there is changed; refused without
# the words that help; a repair would call sound what a start refuses, or the other way.
WRONG = ("SILENT", "CHANGED", "WORDLESS", "DISPUTED")
SHOWN = 20
CORES = os.cpu_count() or 1
BATCH = 4000  # cases of one process, between two looks at the clock
STARTING = 0.25  # of the time, at most, is for the real programs
DAEMONS = 40  # cases of each image that the real daemon is started on
KEYS, ANSWERS = 24, 6  # the same of keys, and of each kind of damage to an answer
LEAF_TABLE, LEAF_INDEX, INNER_TABLE, INNER_INDEX = 0x0D, 0x0A, 0x05, 0x02


# ---- the house ----

class House:
    """A world with a login of every kind in it, no daemon, and two images of its folders."""

    def __init__(self, world):
        self.world = world
        self.data, self.state = world.share / "credwarden", world.state / "credwarden"
        self.lab = world.start_lab(access_life="1h")
        self.images = {}
        self._fill()
        self.keep("killed")
        self._keep_keys()
        self._checkpoint()
        self.keep("checkpointed")
        self.lab.control("POST", "/lab/keep")

    def _fill(self):
        world, lab = self.world, self.lab
        world.write_provider("lab", **lab.provider_keys(subject_paths=PATHS,
                                                        answer_subject_paths=PATHS))
        world.write_config(spend_deadline="5s")
        world.add("gone", "lab", lab.login("gone"))
        world.cw("remove", "gone", "--yes")
        for name in ("work", "home", "doubt", "over", "apart", "flight"):
            world.add(name, "lab", lab.login(name))
        for name, times in (("work", 3), ("home", 1)):
            for _ in range(times):
                world.cw("renew", name)
        lab.script("token", subject="doubt", lose_after_commit=True)
        world.cw("renew", "doubt", check=False)
        lab.revoke(next(f["family"] for f in lab.families() if f["subject"] == "over"))
        world.cw("renew", "over", check=False)
        lab.script("token", subject="apart", changed_subject="mallory")
        world.cw("renew", "apart", check=False)
        world.cw("daemon", "stop")  # a short log: each byte of it is one of the cases
        world.cw("policy", "home", "standby")
        world.cw("rename", "over", "past")
        world.cw("rename", "past", "over")
        self._kill_in_flight()

    def _kill_in_flight(self):
        """The daemon dies while a spend is under way; its spender does not, and ends it."""
        world, lab = self.world, self.lab
        lab.script("token", subject="flight", delay_before_ms=300)
        asking = world.start([world.programs / "credwarden", "renew", "flight"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: lab.stats()["endpoints"]["token"]["open"] == 1, what="the spend")
        world.kill_daemon(signal.SIGKILL)
        asking.wait(20)
        wait_until(lambda: lab.stats()["endpoints"]["token"]["open"] == 0, what="its end")
        wait_until(self._answer_is_there, what="the answer in the spool")

    def _answer_is_there(self):
        spool = next((self.state / "spool").iterdir(), None)
        return spool and int.from_bytes(spool.read_bytes()[12:16], sys.byteorder) == 4

    def _checkpoint(self):
        connection = sqlite3.connect(self.data / STORE)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        sums.stamp(self.data / STORE)  # what Python's SQLite wrote has none

    def keep(self, name):
        place = self.world.folder / "kept" / name
        for part, folder in (("data", self.data), ("state", self.state)):
            shutil.copytree(folder, place / part)
        look = place / "look"
        look.mkdir(mode=0o700)
        for file in (self.data / STORE, self.data / LOG, self.state / MARK):
            if file.exists():
                shutil.copy(file, look)
        self.images[name] = place

    def _keep_keys(self):
        """What key_look wants."""
        self.keys = self.world.folder / "kept" / "keys"
        self.keys.mkdir(mode=0o700)
        shutil.copy(self.data / KEY, self.keys)
        [spool] = (self.state / "spool").iterdir()
        shutil.copy(spool, self.keys / "answered.spool")
        copy = self.keys / STORE
        for end in ("", "-wal"):
            shutil.copy(f"{self.data / STORE}{end}", f"{copy}{end}")
        connection = sqlite3.connect(copy)
        [(sealed,)] = connection.execute("SELECT value FROM meta WHERE key = 'fingerprint_key'")
        connection.close()
        (self.keys / "fingerprint_key").write_bytes(sealed)

    def put(self, name):
        """Everything as it was when the image was made, the lab too."""
        for part, folder in (("data", self.data), ("state", self.state)):
            shutil.rmtree(folder)
            shutil.copytree(self.images[name] / part, folder)
        self.lab.control("POST", "/lab/rewind")

    def read(self, name, file):
        path = self.images[name] / "look" / file
        return path.read_bytes() if path.exists() else b""

    def file(self, name):
        return (self.state if name == MARK else self.data) / name

    def print(self):
        """What is in every file of the data folder and the mark."""
        found = {path.name: path.read_bytes() for path in self.data.iterdir() if path.is_file()}
        return {**found, MARK: (self.state / MARK).read_bytes()
                if (self.state / MARK).exists() else None}


@contextlib.contextmanager
def house():
    with World() as world:
        yield House(world)


# ---- cases ----
# (file, how, value): a flip is (file, offset, mask).

FLIPS = (0x01, 0x80, 0xFF)

def flips(content, masks, file, rng=None, count=None):
    """Each byte of the file with each mask; or `count` of them at random."""
    if count is None:
        return [(file, at, mask) for at in range(len(content)) for mask in masks]
    return [(file, rng.randrange(len(content)), 1 << rng.randrange(8)) for _ in range(count)]


def used_part(log):
    """The log without the room that was made for later."""
    return log[:len(log.rstrip(b"\0"))]


def structural(content, file):
    """What is more than bits: cut at page boundaries and off them, pages emptied, the file gone."""
    pages = len(content) // PAGE
    cuts = sorted({0, 1, 99, 100, PAGE - 1, len(content) - 1, len(content) // 2,
                   *(page * PAGE for page in range(pages))} - {len(content)})
    found = [(file, "cut", at) for at in cuts if at < len(content)]
    if file == STORE:
        found += [(file, "zero", page) for page in range(pages)]
    return found


def long_cases(house, image):
    """Every byte with three flips; every bit of all headers and of the mark's slots. Without a log,
    also every bit of the pages with pairs: whether there is one, their sums are the same."""
    store, log, mark = (house.read(image, file) for file in (STORE, LOG, MARK))
    cases = flips(store, FLIPS, STORE) + structural(store, STORE)
    cases += bits(STORE, range(100))
    if log:
        cases += flips(used_part(log), FLIPS, LOG) + structural(log, LOG) + [(LOG, "gone", 0)]
        cases += bits(LOG, range(32))
        cases += bits(LOG, (at for frame in range(32, len(used_part(log)), FRAME)
                            for at in range(frame, frame + 24)))
    else:
        cases += bits(STORE, (at for page in pages_with_pairs(store)
                              for at in range(page * PAGE, (page + 1) * PAGE)))
    cases += structural(mark, MARK) + [(MARK, "gone", 0)]
    return cases + bits(MARK, (at for at in range(len(mark)) if at % PAGE < 64))


def key_cases(house):
    """Every bit of the key, of each spool file's header and of the answer; the rest of those files
    with three flips."""
    key = (house.keys / KEY).read_bytes()
    answer = int.from_bytes((house.keys / "answered.spool").read_bytes()[64:72], sys.byteorder)
    cases = bits(KEY, range(len(key))) + flips(key, (0xFF,), KEY)
    cases += [(KEY, "cut", at) for at in range(len(key))] + [(KEY, "gone", 0)]
    for stage in STAGES:
        content = bytes(SPOOL_SIZE)
        cases += flips(content, FLIPS, stage) + bits(stage, range(SPOOL_HEAD))
        cases += [(stage, "cut", at) for at in (0, 1, SPOOL_HEAD - 1, SPOOL_HEAD, PAGE,
                                                PAGE + answer, SPOOL_SIZE - 1)]
        cases.append((stage, "gone", 0))
    return cases + bits("answered", range(PAGE, PAGE + answer))


def bits(file, places):
    return [(file, at, 1 << bit) for at in places for bit in range(8)]


def evenly(cases, rng):
    """The same in another order: however far one comes, what was tried is spread over all."""
    step = max(1, int(len(cases) * 0.618034))
    while math.gcd(step, len(cases)) != 1:
        step += 1
    begin = rng.randrange(len(cases))
    return [cases[(begin + i * step) % len(cases)] for i in range(len(cases))]


def short_cases(house, image, rng, count):
    store, log, mark = (house.read(image, file) for file in (STORE, LOG, MARK))
    cases = flips(store, None, STORE, rng, count) + structural(store, STORE)
    cases += flips(mark[:48] or mark, None, MARK, rng, 48) + [(MARK, "gone", 0)]
    if log:
        cases += flips(used_part(log), None, LOG, rng, count // 2) + [(LOG, "gone", 0)]
        cases += [(LOG, at, 1 << rng.randrange(8)) for at in range(32)]
        cuts = structural(log, LOG)
        cases += rng.sample(cuts, min(20, len(cuts)))
    return cases


def page_kind(content, page):
    return content[page * PAGE + (100 if page == 0 else 0)]


def pages_with_pairs(content):
    """Pages of rows: leaves, and the inner pages of trees that keep rows there too."""
    return [page for page in range(1, len(content) // PAGE)
            if page_kind(content, page) in (LEAF_TABLE, LEAF_INDEX, INNER_INDEX)]


# ---- the store alone, the key and the spool alone ----

def judge_many(house, image, cases):
    """By store_look: {outcome: count}. Says how to repeat what must not be (WRONG)."""
    return judge_by("store_look", house.images[image] / "look", image, cases)


def judge_keys(house, cases):
    """The same by key_look."""
    return judge_by("key_look", house.keys, "keys", cases)


def judge_by(look, folder, image, cases):
    """On all cores."""
    shares = [cases[core::CORES] for core in range(min(CORES, len(cases)))]
    total = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        for counts in pool.map(lambda share: judge_here(look, folder, image, share), shares):
            total.update(counts)
    return total


def judge_here(look, folder, image, cases):
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="cw-look-", dir=scratch_place()))
    try:
        done = subprocess.run(
            [program(look), folder, scratch],
            input="".join(f"{file} {how} {value}\n" for file, how, value in cases),
            stdout=subprocess.PIPE, text=True, check=False)
    finally:
        shutil.rmtree(scratch)
    lines = done.stdout.splitlines()
    bad = [line for line in lines if ":" in line]
    for line in bad[:SHOWN]:
        print(f"{image}: {line} (python3 test/fault/corrupt.py --case FILE HOW VALUE)", flush=True)
    counts = collections.Counter({outcome: int(count)
                                  for outcome, count in map(str.split, lines[len(bad):])})
    assert done.returncode == int(not nothing_wrong(counts)), done
    assert counts.total() == len(cases), done
    return counts


def nothing_wrong(counts):
    return not any(counts[outcome] for outcome in WRONG)


def scratch_place():
    """In memory where there is such a place: nothing here is about syncing."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


# ---- the real daemon ----

def apply(house, file, how, value):
    path = house.file(file)
    content = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
        return
    if how == "cut":
        del content[value:]
    elif how == "zero":
        content[value * PAGE:(value + 1) * PAGE] = bytes(PAGE)
    else:
        content[int(how)] ^= value
    path.write_bytes(content)


def answers(house):
    """What a person is told of every login, without what changes by itself."""
    shown = profiles(house.world)
    for profile in shown.values():
        for key in ("left_ms", "next_spend_in_ms"):
            profile.pop(key)
    return json.dumps(shown, sort_keys=True)


def judge_daemon(house, image, case, expected):
    """The daemon does not start, says which file and what to do, and leaves every byte; or what it
    answers is what it answered before; or it says that its store is an older copy."""
    house.put(image)
    apply(house, *case)
    before = house.print()
    started = house.world.cw("status", check=False)
    if started.code == 0:
        restored = house.world.api("GET", "/v1/status").json["daemon"]["restored"]
        if not restored:
            wait_until(lambda: profiles(house.world)["flight"]["generation"] == 2,
                       what="the answer")
        found = answers(house)
        house.world.cw("daemon", "stop")
        assert restored or found == expected, f"{image} {case}: believed"
        return "told" if restored else "same"
    assert_refused(started, DAEMON, "credwardend does not start", house.world.folder)
    assert any(way in started.stderr for way in ("credwarden repair", "backup", "put ")), started
    assert house.print() == before, f"{image} {case}: a file was changed"
    return "refused"


def judge_key(house, rng):
    """A bit of the key is wrong: the daemon does not start, and changes nothing."""
    house.put("checkpointed")
    key = house.file(KEY)
    content = bytearray(key.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(7)
    key.write_bytes(content)
    before = house.print()
    assert_refused(house.world.cw("status", check=False), DAEMON, key)
    assert house.print() == before
    return ["refused"]


def judge_answer(house, rng):
    """An answer in the spool is damaged, or gone: in doubt, and its token is not presented again."""
    world, lab = house.world, house.lab
    for how in ("header", "answer", "cut", "gone"):
        house.put("checkpointed")
        [spool] = (house.state / "spool").iterdir()
        content = bytearray(spool.read_bytes())
        length = int.from_bytes(content[64:72], sys.byteorder)
        if how == "header":
            content[rng.randrange(SPOOL_HEAD)] ^= 1 << rng.randrange(8)
        elif how == "answer":
            content[PAGE + rng.randrange(length)] ^= 1 << rng.randrange(8)
        elif how == "cut":
            del content[PAGE + rng.randrange(length):]
        spool.unlink() if how == "gone" else spool.write_bytes(content)
        wait_until(lambda: profiles(world)["flight"]["standing"] == "in-doubt", what=how)
        shown = profiles(world)["flight"]
        assert shown["generation"] == 1 and "in-doubt" in shown["alarms"], (how, shown)
        [family] = [f for f in lab.families() if f["subject"] == "flight"]
        assert family["alive"] and family["reuses"] == 0, (how, family)
        world.cw("daemon", "stop")
    return ["told"] * 4


# ---- repair ----

def varint(number):
    """As SQLite writes the id of a row."""
    if number >> 56:
        head = [0x80 | number >> (8 + 7 * place) & 0x7F for place in range(7, -1, -1)]
        return bytes([*head, number & 0xFF])
    places = [number >> 7 * place & 0x7F for place in range(8)]
    while places[-1] == 0 and len(places) > 1:
        places.pop()
    return bytes([*(0x80 | part for part in places[:0:-1]), places[0]])


def ids_of(content):
    """{profile: the two forms in which its lineage's id stands in the store}"""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "copy.db"
        path.write_bytes(content)
        connection = sqlite3.connect(path)
        rows = connection.execute("SELECT name, lineage FROM profile").fetchall()
        connection.close()
    return {name: (lineage.to_bytes(8, "big", signed=True), varint(lineage % (1 << 64)))
            for name, lineage in rows}


def may_be_lost(content, ids, page):
    """Logins of which something stands on this page. The rest of a long row does not say whose."""
    part = content[page * PAGE:(page + 1) * PAGE]
    if page_kind(content, page) not in (LEAF_TABLE, LEAF_INDEX, INNER_INDEX, INNER_TABLE):
        return set(ids)
    return {name for name, forms in ids.items() if any(form in part for form in forms)}


SPENDABLE = ("work", "home", "flight")


def repair(house, page, damaged):
    """Puts this page in the place of the sound one, and has it repaired: what is reported."""
    world = house.world
    house.put("checkpointed")
    content = bytearray(house.read("checkpointed", STORE))
    content[page * PAGE:(page + 1) * PAGE] = damaged
    house.file(STORE).write_bytes(content)
    assert world.cw("status", check=False).code == DAEMON, f"page {page}: believed"
    done = world.cw("repair", "--json", check=False)
    assert done.code in (0, SIGN_IN), done
    assert not done.json.get("sound"), f"page {page}: refused by the daemon, but sound for repair"
    assert pathlib.Path(done.json["kept_as"]).read_bytes() == content, "not kept as it was"
    told = {entry["name"]: entry["outcome"] for entry in done.json["profiles"]}
    assert (done.code == SIGN_IN) == ("lost" in told.values()), (done, told)
    return told


def judge_mend(house, page, at, mask, expected):
    """One byte is wrong: everything is as it was, nothing is in doubt."""
    part = bytearray(house.read("checkpointed", STORE)[page * PAGE:(page + 1) * PAGE])
    part[at] ^= mask
    told = repair(house, page, part)
    assert set(told.values()) == {"saved"}, f"page {page} byte {at}: {told}"
    wait_until(lambda: profiles(house.world)["flight"]["generation"] == 2, what="the answer")
    assert answers(house) == expected, f"page {page} byte {at} was mended to something else"
    house.world.cw("daemon", "stop")


def judge_repair(house, page, rng):
    """A piece of a page is noise. Everybody is told of, whoever has nothing on that page is saved,
    and what is saved lives: in doubt first, and no token is presented that was spent. Returns how
    many logins were not saved."""
    world = house.world
    content = house.read("checkpointed", STORE)
    ids = ids_of(content)
    part = bytearray(content[page * PAGE:(page + 1) * PAGE])
    at = rng.randrange(0, PAGE, 512)
    part[at:at + 512] = rng.randbytes(512)
    told = repair(house, page, part)
    lost = {name for name in ids if told.get(name) not in ("saved", "renamed")}
    renamed = sum(how == "renamed" for how in told.values())
    allowed = may_be_lost(content, ids, page)
    assert lost <= allowed, f"page {page}: {lost - allowed} have nothing there, and are lost"
    shown = profiles(world)
    assert set(shown) == {name for name, how in told.items() if how in ("saved", "renamed")}, page
    judge_saved(house, page, shown, told)
    world.cw("daemon", "stop")
    assert world.cw("repair", "--json").json.get("sound"), f"page {page}: repaired, but not sound"
    return max(0, len(lost) - renamed)


def judge_saved(house, page, shown, told):
    """Nothing live is believed outright, and what is saved works."""
    world, lab = house.world, house.lab
    for name, profile in shown.items():
        assert profile["standing"] != "live" or name == "flight", f"page {page}: {name} is believed"
    for name in SPENDABLE:
        if told.get(name) != "saved":
            continue
        used = world.cw("token", name)
        assert lab.use(used.stdout.strip()).status == 200, f"page {page}: {name}"
    for family in lab.families():
        assert family["subject"] in ("over", "doubt", "mallory") or family["reuses"] == 0, \
            f"page {page}: a token of {family['subject']} was presented twice"


# ---- proof ----

def expected_answers(house, image):
    house.put(image)
    house.world.cw("status")
    wait_until(lambda: profiles(house.world)["flight"]["generation"] == 2, what="the answer")
    found = answers(house)
    house.world.cw("daemon", "stop")
    return found


class Clock:
    """Shares of the time there is. None: there is no end to it."""

    def __init__(self, minutes):
        self.end = time.monotonic() + minutes * 60 if minutes else None

    def share(self, part):
        """The end of this part of what is left."""
        return self.end and time.monotonic() + part * (self.end - time.monotonic())

    @staticmethod
    def is_over(end):
        return end is not None and time.monotonic() > end


def look_at_all(home, clock, rng, tried):
    """Whatever the time allows of each image, {name: "so many of so many"}. Outcomes."""
    judges = {"keys": lambda cases: judge_keys(home, cases)}
    all_cases = {"keys": key_cases(home)}
    for image in ("checkpointed", "killed"):  # the slow one has what the others leave
        judges[image] = lambda cases, image=image: judge_many(home, image, cases)
        all_cases[image] = long_cases(home, image)
    left, totals = sum(map(len, all_cases.values())), collections.Counter()
    for name, cases in all_cases.items():
        end = clock.share(len(cases) / left)
        left -= len(cases)
        order, at = evenly(cases, rng), 0
        while at < len(order) and not (at and clock.is_over(end)):
            totals.update(judges[name](order[at:at + BATCH * CORES]))
            at += BATCH * CORES
        tried[name] = f"{min(at, len(order)):,} of {len(order):,}"
        print(f"# {name}: {tried[name]}, {dict(totals)} so far", flush=True)
    return totals


def start_on_some(home, clock, rng, failures):
    """The real daemon, on damage of each kind. Outcomes."""
    outcomes = collections.Counter()
    for image in home.images:
        expected = expected_answers(home, image)
        for case in rng.sample(long_cases(home, image), DAEMONS):
            if not clock.is_over(clock.end):
                with failures.counted():
                    outcomes[judge_daemon(home, image, case, expected)] += 1
    for judge_one, count in ((judge_key, KEYS), (judge_answer, ANSWERS)):
        for _ in range(count):
            if not clock.is_over(clock.end):
                with failures.counted():
                    outcomes.update(judge_one(home, rng))
    return outcomes


def repair_all(home, clock, rng, failures):
    """Each page of the checkpointed image, twice. (so many of so many, logins that were lost)"""
    content = home.read("checkpointed", STORE)
    expected = expected_answers(home, "checkpointed")
    pages, repairs, lost = len(content) // PAGE, 0, 0
    for page in rng.sample(range(pages), pages):
        if clock.is_over(clock.end):
            break
        with failures.counted():
            judge_mend(home, page, rng.randrange(PAGE), rng.randrange(1, 256), expected)
        with failures.counted():
            lost += judge_repair(home, page, rng)
        repairs += 2
    return f"{repairs} of {2 * pages}", lost


def proof(minutes, seed):
    rng, failures, clock, tried = random.Random(seed), load.Failures(), Clock(minutes), {}
    with house() as home:  # its lab lives for ten minutes: who needs it comes first
        first = Clock(minutes * STARTING)
        starts = start_on_some(home, first, rng, failures)
        repairs, lost = repair_all(home, first, rng, failures)
        totals = look_at_all(home, clock, rng, tried)
    print("proof: " + json.dumps({
        "tried": tried, "outcomes": {**dict.fromkeys(WRONG, 0), **totals}, "starts": starts,
        "repairs": repairs, "failed": failures.count, "logins_not_saved": lost, "seed": seed}))
    return nothing_wrong(totals) and not failures.count


def one_case(case):
    file, how, value = case
    with house() as home:
        if file in (KEY, *STAGES):
            counts = judge_keys(home, [(file, how, int(value))])
            print(counts)
            assert nothing_wrong(counts)
        for image in home.images:
            if home.read(image, file):
                counts = judge_many(home, image, [(file, how, int(value))])
                print(image, counts)
                assert nothing_wrong(counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proof", action="store_true")
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--case", nargs=3, metavar=("FILE", "HOW", "VALUE"))
    args = parser.parse_args()
    stop_by_exception()
    runner.take_seed(args.seed)
    if args.case:
        one_case(args.case)
    elif not proof(args.minutes, runner.seed()):
        sys.exit(1)


if __name__ == "__main__":
    main()
