#!/usr/bin/env python3
"""Mutants: would the simulator notice, if the core were wrong?

    sim/mutants.py [--build DIR] [--proof] [--list] [NAME…]

Each sim/mutants/NN-name.patch is one bug, put into a copy of the core, or of what plays the daemon,
the spender or the store in the simulated world. It begins with what is wrong, and "Oracle: …": who
is expected to notice. The copy is built as the simulator is and runs schedules until an oracle
speaks. That is what counts: a mutant that does not build, hangs, or only trips a check in the code
is not caught (but for one whose patch says "Oracle: invariant"). The simulator itself must pass all
the schedules that its mutants were caught by.

Short: each from one seed on. --proof: from several, and the median is told; the last line is
"proof: {…}". Exit status 0 only when all are caught.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test" / "script"))
import runner  # noqa: E402

PATCHES = ROOT / "sim" / "mutants"
COPIED = ("src/base", "src/core", "sim")  # all that the simulator is made of
MUTATED = ("src/core/", "sim/")

AT_ONCE = 2
BUILD_TIMEOUT_S = 300
RUN_MARGIN_S = 60  # the simulator ends itself at its limit; one that does not hangs


@dataclasses.dataclass(frozen=True)
class Effort:
    seeds: tuple  # where the schedules begin
    schedules: int  # at most, from each
    seconds: int


# The seconds only end what hangs: how many schedules a mutant needs does not depend on the machine.
SHORT = Effort(seeds=(1,), schedules=20_000, seconds=120)
PROOF = Effort(seeds=(1, 10_000_001, 20_000_001, 30_000_001, 40_000_001), schedules=200_000,
               seconds=600)


class NotCaught(Exception):
    """Why a mutant does not count as caught."""


@dataclasses.dataclass
class Mutant:
    number: str
    name: str
    patch: pathlib.Path
    expected: list  # oracles
    changes: list  # files

    @classmethod
    def read(cls, patch):
        text = patch.read_text(encoding="utf-8")
        number, name = patch.stem.split("-", 1)
        oracle = re.search(r"^Oracle: (.+)$", text, re.MULTILINE)
        changes = re.findall(r"^\+\+\+ b/(\S+)$", text, re.MULTILINE)
        if not oracle or not changes:
            sys.exit(f"{patch.name}: no \"Oracle:\" line, or no change")
        return cls(number, name, patch, re.split(r",\s*", oracle[1]), changes)


def run(argv, why, timeout=BUILD_TIMEOUT_S, **more):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False,
                          **more)
    if done.returncode != 0:
        raise NotCaught(f"{why}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


class Simulator:
    """As meson has built it: its objects, and how each came about."""

    def __init__(self, build):
        run(["ninja", "-C", str(build), "sim/sim"], "the simulator does not build")
        self.build = build
        self.program = build / "sim" / "sim"
        self.base = build / "src" / "base" / "libbase.a"
        self.commands = {}
        commands = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
        for entry in commands:
            folder = pathlib.Path(entry["directory"])
            source = (folder / entry["file"]).resolve()
            if source.is_relative_to(ROOT):
                source = str(source.relative_to(ROOT))
                if source.startswith(MUTATED) and source not in self.commands:
                    self.commands[source] = (shlex.split(entry["command"]),
                                             folder / entry["output"])

    def compile(self, source, tree):
        """The same command, for the copy in `tree`. Returns the object."""
        out = tree / (source.replace("/", "-") + ".o")
        argv, words = [], iter(self.commands[source][0])
        for word in words:
            if word in ("-o", "-c", "-MQ", "-MF"):
                next(words)
            elif word != "-MD" and not word.startswith("-I"):
                argv.append(word.replace(str(ROOT), str(tree)))
        run([*argv, "-g0", "-o", str(out), "-c", str(tree / source)], "does not compile")
        return out

    def build_mutant(self, mutant, tree):
        for folder in COPIED:
            shutil.copytree(ROOT / folder, tree / folder,
                            ignore=lambda _, names: [n for n in names if n == "mutants"])
        run(["git", "apply", str(mutant.patch)], "the patch does not apply any more", cwd=tree,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)})
        headers = any(change.endswith(".h") for change in mutant.changes)
        objects = []
        for source, (_, built) in self.commands.items():
            again = headers or source in mutant.changes
            objects.append(self.compile(source, tree) if again else built)
        program = tree / "mutant"
        compiler = next(iter(self.commands.values()))[0][0]
        run([compiler, "-o", str(program), *map(str, objects), str(self.base)], "does not link")
        return program


def first_violation(program, seed, effort):
    """(schedules, oracle) of the first broken oracle; (schedules, None) when all of them held."""
    argv = [str(program), "--from", str(seed), "--runs", str(effort.schedules), "--seconds",
            str(effort.seconds), "--no-shrink", "--quiet"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False,
                              timeout=effort.seconds + RUN_MARGIN_S)
    except subprocess.TimeoutExpired as late:
        raise NotCaught("it hangs") from late
    last = (done.stdout.splitlines() or [""])[-1]
    found = re.fullmatch(r"(violation|runs): (\{.*\})", last)
    if not found or done.returncode != (found[1] == "violation"):
        raise NotCaught(f"it ends with status {done.returncode}:\n{done.stdout}{done.stderr}"
                        .rstrip())
    told = json.loads(found[2])
    return told["schedules"], told.get("oracle")


def first_by_mutant(simulator, program, mutant, seed, effort):
    """As first_violation(), but for what is no credit to any oracle: a check in the code, and a
    schedule that the simulator does not pass itself (control() tells of it)."""
    done = checks = 0
    while done < effort.schedules:
        rest = dataclasses.replace(effort, schedules=effort.schedules - done)
        schedules, oracle = first_violation(program, seed + done, rest)
        done += schedules
        if oracle is None:
            break
        if oracle == "invariant" and oracle not in mutant.expected:
            checks += 1
            continue
        alone = dataclasses.replace(effort, schedules=1)
        if first_violation(simulator.program, seed + done - 1, alone)[1] is not None:
            continue
        if oracle not in mutant.expected:
            raise NotCaught(f"oracle {oracle} spoke, which its patch does not name (seed "
                            f"{seed + done - 1})")
        return done, oracle
    raise NotCaught(f"no oracle spoke in {done} schedules from seed {seed} on; "
                    f"a check in the code did in {checks}")


def catch(simulator, mutant, effort, folder):
    """[schedules, of each seed], the oracle that spoke most often."""
    tree = folder / mutant.patch.stem
    program = simulator.build_mutant(mutant, tree)
    needed, oracles = [], []
    for seed in effort.seeds:
        schedules, oracle = first_by_mutant(simulator, program, mutant, seed, effort)
        needed.append(schedules)
        oracles.append(oracle)
    shutil.rmtree(tree)
    return needed, statistics.mode(oracles)


def control(simulator, seed, schedules):
    effort = Effort(seeds=(seed,), schedules=schedules, seconds=3600)
    done, oracle = first_violation(simulator.program, seed, effort)
    if oracle is not None:
        raise NotCaught(f"without a mutant: oracle {oracle}, in seed {seed + done - 1}")


@contextlib.contextmanager
def emptied_at_once(pool):
    """Whatever ends the block early: what has not begun by then does not begin."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def show(mutant, schedules, oracle):
    print(f"{mutant.number} {mutant.name:<36} {schedules:>9}  {oracle}", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Is each mutant of the core caught?")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--proof", action="store_true", help="from several seeds: the long form")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="only those whose name has this in it")
    options = parser.parse_args()
    runner.stop_by_exception()
    mutants = [Mutant.read(patch) for patch in sorted(PATCHES.glob("*.patch"))]
    if options.names:
        mutants = [m for m in mutants if any(name in m.patch.stem for name in options.names)]
    if options.list:
        for mutant in mutants:
            show(mutant, "", ", ".join(mutant.expected))
        return 0
    if not mutants:
        sys.exit("no such mutant")
    effort = PROOF if options.proof else SHORT
    began = time.monotonic()
    table, missed = [], 0
    longest = dict.fromkeys(effort.seeds, 0)
    try:
        simulator = Simulator(options.build.resolve())
    except NotCaught as why:
        sys.exit(str(why))
    print(f"{'':2} {'mutant':<36} {'schedules':>9}  oracle")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, \
            concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool, emptied_at_once(pool):
        caught = [pool.submit(catch, simulator, m, effort, pathlib.Path(folder)) for m in mutants]
        for mutant, result in zip(mutants, caught):
            try:
                needed, oracle = result.result()
            except NotCaught as why:
                missed += 1
                show(mutant, "-", f"NOT CAUGHT: {why}")
                continue
            table.append([mutant.name, int(statistics.median(needed)), oracle])
            show(mutant, table[-1][1], oracle)
            for seed, schedules in zip(effort.seeds, needed):
                longest[seed] = max(longest[seed], schedules)
        controls = [pool.submit(control, simulator, seed, n) for seed, n in longest.items() if n]
        for result in controls:
            try:
                result.result()
            except NotCaught as why:
                missed += 1
                print(f"CONTROL: {why}")
    took = time.monotonic() - began
    print(f"{len(table)} of {len(mutants)} mutants caught; the simulator itself passes the same "
          f"{sum(longest.values())} schedules; {took:.0f} s" if not missed else
          f"{len(table)} of {len(mutants)} mutants caught; {took:.0f} s")
    if options.proof:
        print("proof: " + json.dumps({"mutants": len(mutants), "caught": len(table),
                                      "table": table}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
