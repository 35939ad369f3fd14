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
import contextlib
import itertools
import json
import multiprocessing
import os
import pathlib
import pickle
import random
import signal
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import harness  # noqa: E402
import power_disk  # noqa: E402
import power_judge  # noqa: E402
import power_story  # noqa: E402
import power_syncs  # noqa: E402
import power_thin  # noqa: E402
import runner  # noqa: E402
from power_disk import SYNC, WRITE  # noqa: E402

WINDOW = 80  # records: how far back the one moment of an "ordered" loss may lie
SPANS_AT_ONCE = 8  # of the many times that a story asks for the same sync
TRIES_SHORT, TRIES_LONG = 400, 2000  # disks, until a sync counts as one that nobody misses
LOSSES_MIN = 5000  # at random moments, before --proof means anything
N_EXTREMES = len(power_disk.extremes())
CERTAIN = power_disk.extremes() + power_disk.splits()  # draws without chance, by their number

# Not missed alone, because another sync of the same thing stands close behind: both together are.
# --proof shows both halves of that: with the first alone left out, none of the certain disks is
# found wanting; with the two left out, one is.
BACKED = {
    # VACUUM INTO syncs a copy as it makes it, and file_put() does again before the copy has its
    # name. SQLite does not document the first (it depends on PRAGMA synchronous), so the second is
    # ours; and whichever is left out, the other has the content on the disk before the name is.
    "store_copy for store_backup: new file": ["SQLite, copy: new file"],
    "store_copy for copy_aside: new file": ["SQLite, copy: new file"],
    "SQLite, copy: new file": ["store_copy for store_backup: new file",
                               "store_copy for copy_aside: new file"],
    # The key's name and the name of the store with sums are synced by us, and again by SQLite: it
    # syncs the same folder for the name of its journal or log when it first commits, which follows
    # before anybody is told anything.
    "vault_create_key: folder share/credwarden": ["SQLite, commit: folder share/credwarden"],
    "store_add_sums: folder share/credwarden": ["SQLite, commit: folder share/credwarden"],
    # The name of the copy of an older store: synced by us, and again for the journal of the copy
    # with sums, which is made next, before the store itself is changed.
    "store_copy: folder share/credwarden": ["SQLite, sums: folder share/credwarden"],
    # A file of a client's: synced when it is written, beside the one that stands there, so that the
    # client's locks are held for the rename alone; and again before it has its name, as all are.
    "swap: new file, place 1": ["swap: new file, place 2"],
    "swap: new file, place 2": ["swap: new file, place 1"],
    "change_once: new file, place 1": ["change_once: new file, place 2"],
    "change_once: new file, place 2": ["change_once: new file, place 1"],
    # The other name of a log that is not the store's: synced by us, and again by SQLite, for the
    # journal with which it first changes the copy that lies there.
    "log_set_aside: folder share/credwarden": ["SQLite, commit: folder share/credwarden"],
    # What is in a mark made anew: synced before it has its name, and again with what is next
    # written into it, which follows before anybody is told anything.
    "mark_make for store_accept_restored: new file": ["mark_write for store_flush_mark: high-water"],
}

# SQLite's own, which it asks for whatever we do, and nothing here rests on.
FOR_A_JOURNAL = "the name of the journal of a copy: a copy that is not finished is thrown away" \
                " whole, and nobody plays its journal back"
OF_SQLITE = {
    "SQLite, close: store.db-wal":
        "before the last checkpoint moves the log into the store: but with synchronous=FULL each"
        " commit has synced the log, and the start syncs what a crash had left unsynced",
    "SQLite, checkpoint: folder share/credwarden":
        "SQLite syncs the folder with the first sync of a log that it has opened; the first commit"
        " in a log has done that before, and without a commit there is nothing in a log",
    "SQLite, copy: folder home/backups": FOR_A_JOURNAL,
    "SQLite, copy: folder share/credwarden": FOR_A_JOURNAL,
    "SQLite, sums: folder share/credwarden": FOR_A_JOURNAL,
    "SQLite, sums: new file":
        "the copy as VACUUM INTO makes it, and its journal: each page is written again, with its sum,"
        " before the copy has a name, and all of it is synced by us then",
}

# Ours, and not for the sake of a power loss: missed on a thin disk (power_thin.py).
FOR_ROOM = {
    "spool_create: spool file":
        "so that a full or failing disk says so before the spend and not when the answer comes,"
        " and so that the answer is written over blocks that are there (src/issuer/spool.c). After"
        " a loss a file that is cut short, and one that is whole and from another boot, both mean"
        " in doubt; and the answer's own sync takes the whole file along",
}
WITHOUT_EFFECT = {**OF_SQLITE, **FOR_ROOM}

Case = collections.namedtuple("Case", "story at seed without")


def draw_of(case):
    if case.seed < len(CERTAIN):
        return CERTAIN[case.seed]
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


def begin_recorder():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # its world is cleared away on the way
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


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


def spans_without(recordings, labels, without):
    """[(story, first, last)]: while one with these names is lacking. From all over the stories."""
    spans = [(story, number + 1, next_sync(recording, number, without))
             for story, recording in recordings.items()
             for number, label in sorted(recording.labels.items()) if label in labels]
    step = max(1, len(spans) / SPANS_AT_ONCE)
    return [spans[int(i * step)] for i in range(min(len(spans), SPANS_AT_ONCE))]


def moments_of(recording, first, last):
    """(stakes, brinks) of a span, the likely ones first. Stakes: just before the sync that makes up
    for the lacking one, and just after something was promised or presented. Brinks: when something
    has been written that may not be there before what was not synced; just before other syncs."""
    stakes = sorted({at for at in recording.moments if first < at < last})
    written = [at + 1 for at in range(first, last) if recording.records[at].kind == WRITE]
    brinks = [at for at in recording.brinks if first < at < last]
    return [last, *stakes[:6]], [*dict.fromkeys((*written[:2], *brinks[:3], first))]


def certain_cases(recordings, labels, without):
    """Without chance: first the worst that can happen to the whole disk, then what can happen to
    that alone which lacks the sync."""
    spans = [(span[0], *moments_of(recordings[span[0]], *span[1:]))
             for span in spans_without(recordings, labels, without)]
    for i in range(max(len(stakes) for _, stakes, _ in spans)):
        for story, stakes, _ in spans:
            if i < len(stakes):
                yield Case(story, stakes[i], 0, without)
    for story, stakes, _ in spans:
        for number in range(1, N_EXTREMES):
            yield Case(story, stakes[0], number, without)
    for story, stakes, brinks in spans:
        for at in (stakes[0], *brinks, *stakes[1:]):
            for number in range(1, len(CERTAIN)):
                yield Case(story, at, number, without)


def drawn_cases(recordings, labels, without, rng):
    spans = spans_without(recordings, labels, without)
    while True:
        story, first, last = rng.choice(spans)
        stakes, brinks = moments_of(recordings[story], first, last)
        at = rng.choice((rng.choice(stakes), rng.choice(brinks), rng.randint(first, last)))
        yield Case(story, at, rng.randrange(len(CERTAIN), 1 << 32), without)


def cases_without(recordings, labels, without, seed, tries):
    """Moments and disks at which the lack of these syncs may show. The certain ones come first, so
    whether it is found does not hang on the seed; most of the rest are drawn."""
    certain = itertools.islice(certain_cases(recordings, labels, without), tries // 2)
    drawn = drawn_cases(recordings, labels, without, random.Random(seed))
    return itertools.islice(itertools.chain(certain, drawn), tries)


def find_loss(order):
    """(disks tried, the case that shows that these syncs are missed, what is wrong there). What is
    just as wrong when only those that back them are left out is none of theirs."""
    labels, backing, seed, tries = order
    without = labels | backing
    for i, case in enumerate(cases_without(worker.recordings, labels, without, seed, tries)):
        wrong = worker.look(case)
        if wrong and not (backing and worker.look(case._replace(without=backing))):
            return i + 1, case, wrong
    return tries, None, None


# ---- the whole ----

CONTEXT = multiprocessing.get_context("fork")
WORKERS = max(2, os.cpu_count() or 1)


class Proof:
    """All recordings, made side by side, and workers that look at disks of them."""

    def __init__(self, seed, stories=power_story.STORIES):
        self.seed = seed
        with CONTEXT.Pool(WORKERS, begin_recorder) as pool:
            made = pool.map(power_story.record, stories, chunksize=1)
            self.recordings = {story.__name__: made for story, made in zip(stories, made)}
        told = power_syncs.tell_apart([recording.sites for recording in made])
        for recording, labels in zip(made, told):
            recording.labels = labels
        self.images, self.losses, self.violations = 0, 0, []
        self.rng = random.Random(seed)

    def __enter__(self):
        harness.adopt_orphans()
        with contextlib.ExitStack() as stack:
            for recording in self.recordings.values():
                stack.enter_context(power_judge.port_kept(recording.lab_port))
            stack.callback(power_judge.remove_machines)
            stack.callback(harness.end_descendants)
            self.pool = stack.enter_context(CONTEXT.Pool(WORKERS, begin_worker,
                                                         (self.recordings,)))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

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
                rng.randrange(len(CERTAIN), 1 << 32)
            cases.append(Case(story, at, seed, without))
        return sorted(cases)

    def lose_power(self, count, until=None, without=frozenset()):
        """So many random losses, or as many as there is time for."""
        while count > 0 and (until is None or time.monotonic() < until):
            cases = self.random_cases(self.rng, min(count, 200), without)
            for case, wrong in self.pool.imap_unordered(look, cases, chunksize=10):
                self.images += 1
                self.losses += 1
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
        """[(label, disks tried, where, what is wrong)] for every sync that is missed."""
        labels = sorted(self.labels().keys() - WITHOUT_EFFECT.keys())
        return self._remove({label: BACKED.get(label, []) for label in labels}, tries)

    def remove_excused(self, tries):
        """The same for those that are said not to be missed, alone: none should be."""
        return self._remove({label: [] for label in WITHOUT_EFFECT | BACKED}, tries)

    def _remove(self, backing, tries):
        orders = [(frozenset({label}), frozenset(backed_by), self.seed, tries)
                  for label, backed_by in backing.items()]
        found = []
        for label, (tried, case, wrong) in zip(backing, self.pool.imap(find_loss, orders)):
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
    # Before there are workers: a world that is left ends all that descends from this process.
    thin = [power_thin.presented(), power_thin.presented(lacking=True)]
    with Proof(seed) as proof:
        removed = proof.remove_each(TRIES_LONG)
        excused = proof.remove_excused(TRIES_SHORT)
        proof.lose_power(LOSSES_MIN)
        proof.lose_power(1 << 30, began + 60 * minutes)
        return tell(proof, removed, excused, thin, time.monotonic() - began)


def tell(proof, removed, excused, thin, took):
    missed = [label for label, *_, wrong in removed if not wrong]
    for label, tried, case, wrong in removed:
        print(f"missed     {label}: disk {tried}, {case.story} {case.at} {case.seed}: {wrong}"
              if wrong else f"NOT MISSED {label}: {tried} disks")
    for label, tried, case, wrong in excused:
        if wrong:
            print(f"MISSED ALONE {label}: disk {tried}, {case.story} {case.at} {case.seed}: "
                  f"{wrong}")
    for text in proof.violations:
        print(f"VIOLATION {text}")
    if thin[0] or not thin[1]:
        print(f"NOT MISSED on a thin disk: presented {thin[0]} times with the sync, {thin[1]} "
              "without")
    unseen = proof.sites_never_seen()
    for name in sorted(unseen):
        print(f"NEVER SEEN: a sync in {name}()")
    tries = [tried for _, tried, *_ in removed]
    surprises = sum(bool(wrong) for *_, wrong in excused)
    on_a_thin_disk = int(thin[1] > 0 == thin[0])
    figures = {"disks": proof.images, "of_these_at_random_moments": proof.losses,
               "violations": len(proof.violations),
               "syncs": len(proof.labels()),
               "removals_noticed": len(removed) - len(missed) + on_a_thin_disk,
               "syncs_of_SQLite's_own_not_needed": len(OF_SQLITE), "these": list(OF_SQLITE),
               "noticed_on_a_thin_disk": on_a_thin_disk,
               "disks_until_noticed_median": statistics.median(tries),
               "disks_until_noticed_max": max(tries), "noticed_in_pairs": len(BACKED),
               "excused_yet_missed": surprises, "sites_never_seen": len(unseen),
               "seconds": round(took), "seed": proof.seed}
    print("proof: " + json.dumps(figures))
    assert proof.losses >= LOSSES_MIN, "too few losses to mean anything"
    return not (proof.violations or missed or surprises or unseen or thin[0] or not thin[1])


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


def stopper():
    """On SIGTERM: here once, because what clears up then is not to be stopped. In a worker that has
    not begun yet it is not ignored, or the pool would wait for that worker for ever."""
    here, told = os.getpid(), []

    def stop(*_):
        if os.getpid() != here or not told:
            told.append(True)
            sys.exit("stopped by SIGTERM" if os.getpid() == here else 1)

    return stop


def main():
    signal.signal(signal.SIGTERM, stopper())
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--without", action="append", default=[], metavar="LABEL")
    parser.add_argument("--again", metavar="FILE")
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--proof", action="store_true")
    options = parser.parse_args()
    if options.again:
        return again(options.again)
    runner.take_seed(options.seed)
    if options.proof:
        return prove(options.minutes, runner.seed())
    with Proof(runner.seed()) as proof:
        if options.labels:
            for label, count in sorted(proof.labels().items()):
                print(f"{count:5} {label}")
            return True
        unknown = set(options.without) - proof.labels().keys()
        assert not unknown, f"no sync has the name {unknown}: see --labels"
        if options.without:
            order = (frozenset(options.without), frozenset(), proof.seed, options.images)
            tried, _, wrong = proof.pool.apply(find_loss, (order,))
            print(f"{tried} disks: {wrong or 'nobody misses them'}")
            return not wrong
        proof.lose_power(options.images)
        print("\n".join(proof.violations) or f"{proof.images} disks, all is well")
        return not proof.violations


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
