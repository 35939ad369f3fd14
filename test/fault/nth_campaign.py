"""Many tries: which there are, in what order, on how many cores, and what they came to.

A campaign is a program of this folder (nth.py, kills.py) that names its cases; each worker is a
process of it, because there is one world at a time in a process.
"""

import collections
import dataclasses
import json
import os
import random
import sys
import time

import nth_stand
import runner
from crew import Crew
from nth_stand import SCENARIOS, Case, Stand

MISSES = 2  # so many points beyond the last one that was counted are tried as well
WORKERS_A_CORE = 4  # most of a try is waiting
SHOWN = 20  # failures that are told in full


@dataclasses.dataclass
class Tally:
    """What the tries of one scenario came to."""
    tried: int = 0
    points: int = 0  # all there are
    failed: int = 0
    logins_lost: int = 0
    presented_twice: int = 0
    victims: dict = dataclasses.field(default_factory=collections.Counter)  # of those tried
    lost: dict = dataclasses.field(default_factory=collections.Counter)
    ends: int = 0  # a library ended its program: see nth_stand.ended_by_library()

    def add(self, other):
        self.tried += other["tried"]
        self.points += other["points"]
        self.failed += other["failed"]
        self.logins_lost += other["logins_lost"]
        self.presented_twice += other["presented_twice"]
        self.ends += other["ends"]
        self.victims.update(other["victims"])
        self.lost.update(other["lost"])


def chosen(cases, seed, tries):
    """So many of them, evenly, shifted by the seed; all of them for tries None."""
    if tries is None or tries >= len(cases):
        return cases
    step = len(cases) / tries
    shift = random.Random(seed).random() * step
    return [cases[int(shift + i * step)] for i in range(tries)]


class Campaign:
    """`cases_of(scenario, counts, memory_places)`: all the cases, in an order in which neighbours
    are alike. `words`: of the command line, for those that it starts."""

    def __init__(self, program, cases_of, words=()):
        self.program, self.cases_of, self.words = program, cases_of, words

    # ---- in one process ----

    def work(self, scenario, seed, tries=None, share=(0, 1), until=None, out=print):
        """Try a scenario's cases, or this worker's share of them. Returns its Tally."""
        index, of = share
        tally = Tally()
        with Stand(SCENARIOS[scenario]()) as stand:
            cases = self.cases_of(scenario, stand.count(), stand.memory_places)
            stand.see_a_theft()
            mine = chosen(cases, seed, tries)[index::of]
            if until is not None:  # whatever the time allows is spread over all
                random.Random(seed).shuffle(mine)
            tally.points = len(cases) if index == 0 else 0
            for case in mine:
                if until is not None and time.monotonic() > until:
                    break
                self._one(stand, case, tally, out)
        return tally

    def _one(self, stand, case, tally, out):
        struck, complaints = stand.run(case)
        tally.tried += struck
        tally.victims[case.victim] += struck
        tally.ends += stand.ended_by_library
        if stand.lost:
            tally.lost[stand.lost_where()] += 1
        tally.logins_lost += len(stand.logins_lost)
        tally.presented_twice += len(stand.presented_twice)
        if not complaints:
            return
        tally.failed += 1
        if tally.failed <= SHOWN:
            out(f"# {case}: {'; '.join(complaints)}")
            out(f"#   struck {stand.sheet.call} at {stand.sheet.where}")
            out(f"#   again: CW_BUILD={nth_stand.harness.BUILD} {self.program} --only {case}")

    def only(self, text):
        """One case, told in full. Returns whether it went well."""
        case = Case.parse(text)
        with Stand(SCENARIOS[case.scenario]()) as stand:
            struck, complaints = stand.run(case)
            print(f"struck: {stand.sheet.call} at {stand.sheet.where}" if struck else
                  "never came there")
            for what, text in stand.world.outputs:
                print(f"{what}: {nth_stand.harness.redact(text.decode(errors='replace'))}")
            print("\n".join(complaints) or "all is well")
        return not complaints

    # ---- in several ----

    def run(self, seed, minutes=None, workers=None, scenarios=None):
        """All of them; {scenario: Tally}. The time is shared out among the scenarios."""
        workers = workers or WORKERS_A_CORE * (os.cpu_count() or 1)
        names = scenarios or list(SCENARIOS)
        tallies = {name: Tally() for name in names}
        each_s = minutes * 60 / len(names) if minutes else 0
        begun = time.monotonic()

        with Crew(workers) as crew:
            shares = {name: [crew.start([sys.executable, self.program, *self.words, "--share", name,
                                         index, workers, seed, each_s]) for index in range(workers)]
                      for name in names}
            for name, tally in tallies.items():
                for share in shares[name]:
                    tally.add(self._told(*share.result()))
                print(f"{name:12} {tally.tried:6} of {tally.points} tried, {tally.failed} failed, "
                      f"{time.monotonic() - begun:.0f} s since the beginning", flush=True)
        return tallies

    @staticmethod
    def _told(status, output):
        """What a share came to."""
        for line in output.splitlines():
            if line.startswith("#"):
                print(line, flush=True)
        if status != 0:
            sys.exit(f"a share ended with status {status}")
        return json.loads(output.splitlines()[-1])

    def share(self, words):
        """What run() starts: --share SCENARIO INDEX OF SEED SECONDS."""
        name, index, of, seed, seconds = words
        until = time.monotonic() + float(seconds) if float(seconds) else None
        tally = self.work(name, int(seed), share=(int(index), int(of)), until=until)
        print(json.dumps(vars(tally)))


def words_of(words, *names):
    """The values of `--name value` in the command line, None where absent. `--proof` may stand
    there too, and `--seed N`; any other word ends the program, before anything has begun."""
    names = (*names, "--seed")
    values, left = dict.fromkeys(names), list(words)
    while left:
        word = left.pop(0)
        if word == "--proof":
            continue
        if word not in values or not left:
            print(f"{word}: not understood; it may be: {' N, '.join(names)} N, --proof",
                  file=sys.stderr)
            sys.exit(2)
        values[word] = left.pop(0)
    runner.take_seed(values.pop("--seed"))
    return list(values.values())
