#!/usr/bin/env python3
"""A store, its log, its mark, its key and its spool, damaged bit by bit: noticed, told, never
believed; and `credwarden repair` saves what is sound.

    python3 corrupt.py --proof [--minutes M] [--seed N]    every byte and every page; M limits it
    python3 corrupt.py --case FILE HOW VALUE               one case, as a failure prints it

A house with a login of every kind is built once by the real daemon (`build`), killed in the middle
of a spend whose answer is then in the spool. Two images are kept of it: as the kill left it, with
a log; and checkpointed. store_look judges most cases, with the real store in one process; the real
daemon is started on a sample; repairs are done by the real program, and their logins used.

The oracles are in judge_… below and in store_look.c.
"""

import argparse
import collections
import contextlib
import json
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
PATHS = "account.uuid organization.uuid"
# Of damage: neither noticed nor the same as without; what was there is changed; refused without
# the words that help.
WRONG = ("SILENT", "CHANGED", "WORDLESS")
SHOWN = 20
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
        world.cw("policy", "home", "standby")
        lab.script("token", subject="doubt", lose_after_commit=True)
        world.cw("renew", "doubt", check=False)
        lab.revoke(next(f["family"] for f in lab.families() if f["subject"] == "over"))
        world.cw("renew", "over", check=False)
        lab.script("token", subject="apart", changed_subject="mallory")
        world.cw("renew", "apart", check=False)
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
    """Every byte with three flips; every bit of the headers and of the pages with pairs."""
    store, log, mark = (house.read(image, file) for file in (STORE, LOG, MARK))
    cases = flips(store, (0x01, 0x80, 0xFF), STORE) + structural(store, STORE)
    cases += [(STORE, at, 1 << bit) for page in pages_with_pairs(store)
              for at in range(page * PAGE, (page + 1) * PAGE) for bit in range(8)]
    cases += [(STORE, at, 1 << bit) for at in range(100) for bit in range(8)]
    cases += flips(used_part(log), (0x01, 0x80, 0xFF), LOG) + structural(log, LOG)
    cases += [(MARK, "gone", 0)] + structural(mark, MARK)
    cases += [(MARK, at, 1 << bit) for at in range(len(mark)) for bit in range(8)
              if at % PAGE < 64]
    return cases + ([(LOG, "gone", 0)] if log else [])


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


# ---- the store alone ----

def judge_many(house, image, cases):
    """By store_look: {outcome: count}. Says how to repeat what must not be (WRONG)."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="cw-look-", dir=scratch_place()))
    try:
        done = subprocess.run(
            [program("store_look"), house.images[image] / "look", scratch],
            input="".join(f"{file} {how} {value}\n" for file, how, value in cases),
            stdout=subprocess.PIPE, text=True, check=False)
    finally:
        shutil.rmtree(scratch)
    lines = done.stdout.splitlines()
    bad = [line for line in lines if ":" in line]
    for line in bad[:SHOWN]:
        print(f"{image}: {line} (python3 test/fault/corrupt.py --case FILE HOW VALUE)", flush=True)
    counts = {outcome: int(count) for outcome, count in map(str.split, lines[len(bad):])}
    assert set(WRONG) <= set(counts) and done.returncode == int(not nothing_wrong(counts)), done
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


def proof(minutes, seed):
    rng, failures = random.Random(seed), load.Failures()
    end = time.monotonic() + minutes * 60 if minutes else None
    totals, repairs, lost = collections.Counter(), 0, 0
    with house() as home:
        for image in home.images:
            cases = long_cases(home, image)
            if end:
                rng.shuffle(cases)
            for at in range(0, len(cases), 5000):
                totals.update(judge_many(home, image, cases[at:at + 5000]))
                if end and time.monotonic() > end - minutes * 20:
                    break
        content = home.read("checkpointed", STORE)
        expected = expected_answers(home, "checkpointed")
        for page in range(len(content) // PAGE):
            if end and time.monotonic() > end:
                break
            with failures.counted():
                judge_mend(home, page, rng.randrange(PAGE), rng.randrange(1, 256), expected)
            with failures.counted():
                lost += judge_repair(home, page, rng)
            repairs += 2
    print("proof: " + json.dumps({"corrupt": {
        "seed": seed, "cases": sum(totals.values()), **totals, "repairs": repairs,
        "repairs_failed": failures.count, "logins_not_saved": lost}}))
    return nothing_wrong(totals) and not failures.count


def one_case(case):
    file, how, value = case
    with house() as home:
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
