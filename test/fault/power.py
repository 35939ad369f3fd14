#!/usr/bin/env python3
"""Power loss: what the real daemon finds after it, at every moment, and what each sync is good for.

    power.py [--images N] [--seed N]        losses at random moments
    power.py --without LABEL [--without …]  as if these syncs were never asked for
    power.py --labels                       the syncs, by the names they have here
    power.py --again FILE                   one loss that was kept, once more
    power.py --proof [--minutes M]          all of it, and a last line of figures

Stories of the real programs are recorded (power_story.py), disks are made of the recordings as a
loss of power could leave them (power_disk.py), and a real daemon is started on each and asked what
it holds (power_judge.py). Without any one sync, some disk must be found wanting.
"""

import argparse
import collections
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import pickle
import random
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import harness  # noqa: E402
import power_disk  # noqa: E402
import power_judge  # noqa: E402
import power_story  # noqa: E402
import power_syncs  # noqa: E402
from power_disk import SYNC  # noqa: E402

WINDOW = 80  # records: how far back the one moment of an "ordered" loss may lie
SPANS_AT_ONCE = 20  # of the many times that a story asks for the same sync
TRIES_SHORT, TRIES_LONG = 1500, 6000  # disks, until a sync counts as one that nobody misses
N_EXTREMES = len(power_disk.extremes())

# Not missed alone, because another sync of the same thing stands close behind: both together are.
BACKED = {
    # SQLite syncs a copy as it makes it, and file_put() does again before it has its name: how
    # VACUUM INTO syncs is not documented, and changed between versions.
    "store_copy: new file": ["SQLite, copy: new file"],
    "SQLite, copy: new file": ["store_copy: new file"],
    "SQLite, sums: new file": ["store_add_sums: new file"],
    # With the first commit, which follows at once, SQLite syncs the folder for its log's sake.
    "vault_create_key: folder share/credwarden": ["SQLite, commit: folder share/credwarden"],
    "store_add_sums: folder share/credwarden": ["SQLite, commit: folder share/credwarden"],
    # As it does for the journal of the next copy.
    "store_copy: folder share/credwarden": ["SQLite, sums: folder share/credwarden"],
}

# SQLite's own, which it asks for whatever we do, and nothing here rests on.
FOR_A_JOURNAL = "for the name of a journal of a copy that is thrown away if it is not finished"
OF_SQLITE = {
    "SQLite, close: store.db-wal":
        "each commit has synced the log; what was not synced because of a crash, the start does",
    "SQLite, checkpoint: folder share/credwarden":
        "the log's name was synced with its header, before the first commit in it",
    "SQLite, copy: folder home/backups": FOR_A_JOURNAL,
    "SQLite, copy: folder share/credwarden": FOR_A_JOURNAL,
    "SQLite, sums: folder share/credwarden": FOR_A_JOURNAL,
}

Case = collections.namedtuple("Case", "story at seed without")


def draw_of(case):
    if case.seed < N_EXTREMES:
        return power_disk.extremes()[case.seed]
    return power_disk.drawn(random.Random(case.seed), max(0, case.at - WINDOW), case.at)


# ---- in a worker: one disk after the other ----

class Worker:
    """Recordings, a machine, and the disk of each recording at the moment looked at last."""

    def __init__(self, recordings):
        self.recordings = recordings
        self.disks = {}
        self.machine = power_judge.Machine()

    def disk(self, case):
        recording, key = self.recordings[case.story], (case.story, case.without)
        at, disk = self.disks.get(key, (None, None))
        if at is None or at > case.at:
            at, disk = 0, recording.disk()
        for number in range(at, case.at):
            disk.apply(number, recording.records[number],
                       recording.labels.get(number) in case.without)
        self.disks = {key: (case.at, disk)}
        return disk

    def look(self, case):
        """What is wrong after this loss, or None."""
        return power_judge.judge(self.recordings[case.story], self.disk(case), case.at,
                                 draw_of(case), self.machine, with_copy=case.seed % 2 == 0)


worker = None


def begin_worker(recordings):
    global worker
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    worker = Worker(recordings)


def look(case):
    return case, worker.look(case)


def next_sync(recording, number, without):
    """The next one of the same file or folder that is not taken away, too."""
    ino = recording.records[number].ino
    for later in range(number + 1, len(recording.records)):
        record = recording.records[later]
        if record.kind == SYNC and record.ino == ino and recording.labels[later] not in without:
            return later
    return len(recording.records)


def cases_without(recordings, without, seed, tries):
    """Moments at which the lack of these syncs may show, the likely ones first."""
    rng = random.Random(seed)
    spans = [(story, number + 1, next_sync(recording, number, without))
             for story, recording in recordings.items()
             for number, label in recording.labels.items() if label in without]
    rng.shuffle(spans)
    spans = spans[:SPANS_AT_ONCE] if len(spans) > SPANS_AT_ONCE else spans
    for i in range(tries):
        story, first, last = spans[i % len(spans)]
        turn = i // len(spans)
        moments = sorted(at for at in recordings[story].moments if first < at <= last)[:5]
        brinks = [at for at in recordings[story].brinks if first < at <= last][:3]
        at = (last, rng.choice(moments or [last]), rng.choice(moments or [first]),
              rng.choice(brinks or [last]), rng.randint(first, last))[turn % 5]
        draw = 0 if turn < 3 else rng.randrange(N_EXTREMES) if turn % 3 == 0 else \
            rng.randrange(N_EXTREMES, 1 << 32)
        while turn % 10 == 8 and power_disk.drawn(random.Random(draw), 0, 0).meta != "loose":
            draw = rng.randrange(N_EXTREMES, 1 << 32)
        yield Case(story, at, draw, without)


def find_loss(order):
    """(labels, disks tried, the case that shows that they are missed, what is wrong there)."""
    without, seed, tries = order
    for i, case in enumerate(cases_without(worker.recordings, without, seed, tries)):
        wrong = worker.look(case)
        if wrong:
            return without, i + 1, case, wrong
    return without, tries, None, None


# ---- the whole ----

CONTEXT = multiprocessing.get_context("fork")
WORKERS = max(2, os.cpu_count() or 1)


class Proof:
    """All recordings, made side by side, and workers that look at disks of them."""

    def __init__(self, seed, stories=power_story.STORIES):
        self.seed = seed
        with concurrent.futures.ProcessPoolExecutor(WORKERS, CONTEXT) as pool:
            made = pool.map(power_story.record, stories)
            self.recordings = {story.__name__: made for story, made in zip(stories, made)}
        self.images, self.violations = 0, []
        self.ports = [power_judge.port_kept(recording.lab_port)
                      for recording in self.recordings.values()]

    def __enter__(self):
        harness.adopt_orphans()
        for port in self.ports:
            port.__enter__()
        self.pool = CONTEXT.Pool(WORKERS, begin_worker, (self.recordings,))
        return self

    def __exit__(self, *_):
        self.pool.terminate()
        self.pool.join()
        harness.end_descendants()
        power_judge.remove_machines()
        for port in self.ports:
            port.__exit__(None, None, None)

    def labels(self):
        return collections.Counter(label for recording in self.recordings.values()
                                   for label in recording.labels.values())

    def random_cases(self, rng, count, without=frozenset()):
        """Half of them right after something was promised, where most is at stake."""
        cases = []
        for _ in range(count):
            story = rng.choices(list(self.recordings),
                                [len(r.records) for r in self.recordings.values()])[0]
            recording = self.recordings[story]
            at = rng.choice(recording.moments) if rng.random() < 0.5 else \
                rng.randint(0, len(recording.records))
            seed = rng.randrange(N_EXTREMES) if rng.random() < 0.3 else \
                rng.randrange(N_EXTREMES, 1 << 32)
            cases.append(Case(story, at, seed, without))
        return sorted(cases)

    def lose_power(self, count, until=None, without=frozenset()):
        """So many random losses, or as many as there is time for."""
        rng = random.Random(self.seed)
        while count > 0 and (until is None or time.monotonic() < until):
            cases = self.random_cases(rng, min(count, 200), without)
            for case, wrong in self.pool.imap_unordered(look, cases, chunksize=10):
                self.images += 1
                if wrong:
                    self.violations.append(self.keep(case, wrong))
            count -= len(cases)

    def keep(self, case, wrong):
        """Write a case down, so that it can be looked at again, and say how."""
        folder = harness.BUILD / "test-logs"
        folder.mkdir(exist_ok=True)
        path = folder / f"power-{case.story}-{case.at}-{case.seed}.case"
        path.write_bytes(pickle.dumps((tuple(case), self.recordings[case.story])))
        return f"{wrong}\n  {case.story}, record {case.at}, {draw_of(case)}" \
               f"\n  again: CW_BUILD={harness.BUILD} python3 test/fault/power.py --again {path}"

    def remove_each(self, tries):
        """[(label, disks tried, where, what is wrong)] for every sync that was seen."""
        labels = sorted(self.labels().keys() - OF_SQLITE.keys())
        orders = [(frozenset({label, *BACKED.get(label, [])}), self.seed, tries)
                  for label in labels]
        found = []
        for label, (_, tried, case, wrong) in zip(labels, self.pool.imap(find_loss, orders)):
            self.images += tried
            found.append((label, tried, case, wrong))
        return found

    def sites_never_seen(self):
        """Functions that sync something and no story reached, or that do it behind sys/'s back."""
        programs = [power_syncs.Program(harness.program(name))
                    for name in ("credwardend", "credwarden-spender")]
        seen = set().union(*(recording.functions for recording in self.recordings.values()))
        return set().union(*(program.callers() - seen | program.strangers()
                             for program in programs))


def prove(minutes, seed):
    began = time.monotonic()
    with Proof(seed) as proof:
        removed = proof.remove_each(TRIES_LONG)
        proof.lose_power(1 << 30, began + 60 * minutes)
        return tell(proof, removed, time.monotonic() - began)


def tell(proof, removed, took):
    missed = [label for label, *_, wrong in removed if not wrong]
    for label, tried, case, wrong in sorted(removed, key=lambda found: found[0]):
        print(f"missed     {label}: disk {tried}, {case.story} {case.at} {case.seed}: {wrong}"
              if wrong else f"NOT MISSED {label}: {tried} disks")
    for text in proof.violations:
        print(f"VIOLATION {text}")
    unseen = proof.sites_never_seen()
    for name in sorted(unseen):
        print(f"NEVER SEEN: a sync in {name}()")
    figures = {"power_images": proof.images, "violations": len(proof.violations),
               "syncs": len(removed), "removals_noticed": len(removed) - len(missed),
               "noticed_in_pairs": len(BACKED), "sqlite_own_without_effect": len(OF_SQLITE),
               "sites_never_seen": len(unseen), "seconds": round(took), "seed": proof.seed}
    print("proof: " + json.dumps(figures))
    return not (proof.violations or missed or unseen)


def again(path):
    words, recording = pickle.loads(pathlib.Path(path).read_bytes())
    case = Case(*words)
    harness.adopt_orphans()
    with power_judge.port_kept(recording.lab_port):
        one = Worker({case.story: recording})
        try:
            wrong = one.look(case)
        finally:
            harness.end_descendants()
            power_judge.remove_machines()
    print(f"{case.story}, record {case.at}, {draw_of(case)}: {wrong or 'all is well'}")
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 32))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--without", action="append", default=[], metavar="LABEL")
    parser.add_argument("--again", metavar="FILE")
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--proof", action="store_true")
    options = parser.parse_args()
    if options.again:
        return again(options.again)
    print(f"seed {options.seed}", flush=True)
    if options.proof:
        return prove(options.minutes, options.seed)
    with Proof(options.seed) as proof:
        if options.labels:
            for label, count in sorted(proof.labels().items()):
                print(f"{count:5} {label}")
            return True
        unknown = set(options.without) - proof.labels().keys()
        assert not unknown, f"no sync has the name {unknown}: see --labels"
        if options.without:
            order = (frozenset(options.without), options.seed, options.images)
            _, tried, _, wrong = proof.pool.apply(find_loss, (order,))
            print(f"{tried} disks: {wrong or 'nobody misses them'}")
            return not wrong
        proof.lose_power(options.images)
        print("\n".join(proof.violations) or f"{proof.images} disks, all is well")
        return not proof.violations


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
