#!/usr/bin/env python3
"""Build the fuzz targets, replay the saved corpus, and fuzz on from it with fresh seeds.

    python3 test/fuzz/fuzz.py                        every target for 20 seconds, two at a time
    python3 test/fuzz/fuzz.py --seconds 60 http api  those, for that long
    python3 test/fuzz/fuzz.py --replay http FILE…    give a target these inputs, once
    python3 test/fuzz/fuzz.py --minimise             keep what adds coverage in test/fuzz/corpus/
    python3 test/fuzz/fuzz.py --proof --minutes 30   all of them, for half an hour together

What is found new goes to a temporary copy of the corpus, not into the repository. A crash becomes
test/fuzz/corpus/TARGET/crash-…, and the command that repeats it is printed. Output is TAP, with one
test a target; with --proof the last line is the count as JSON. Clang with libFuzzer is needed; the
build is build/fuzz (address and undefined behaviour sanitizers, everything instrumented).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
BUILD = ROOT / "build" / "fuzz"
TARGETS = sorted(path.stem for path in HERE.glob("*.c"))

AT_ONCE = 2
MEMORY_MB = 512  # of one target; an input must not need more
INPUT_MAX = 8192  # while fuzzing: beyond every limit on a line
REPLAY_MAX = 64 * 1024  # the corpus has longer ones, for the limits on whole messages
INPUT_LIMIT_S = 10
REPLAY_LIMIT_S = 120
LIMITS = [f"-rss_limit_mb={MEMORY_MB}", f"-malloc_limit_mb={MEMORY_MB}",
          f"-timeout={INPUT_LIMIT_S}"]
CORPUS_MAX = 300 * 1024  # bytes, of all targets together

OPTIONS = ["-Dfuzz=true", "-Dtests=false", "-Db_sanitize=address,undefined",
           "-Dc_args=-fno-sanitize-recover=undefined"]
ENVIRONMENT = {
    # The stack-use-after-return check costs half the executions; the unit tests have it.
    "ASAN_OPTIONS": "abort_on_error=1:strict_string_checks=1:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def build(targets):
    stamp = BUILD / "fuzz-options"
    wanted = json.dumps(OPTIONS)
    if not (stamp.exists() and stamp.read_text() == wanted and (BUILD / "build.ninja").exists()):
        shutil.rmtree(BUILD, ignore_errors=True)
        run_quietly(["meson", "setup", str(BUILD), *OPTIONS], {**os.environ, "CC": "clang"})
        stamp.write_text(wanted)
    run_quietly(["ninja", "-C", str(BUILD), *(f"test/fuzz/fuzz-{name}" for name in targets)])


def run_quietly(command, env=None):
    done = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        sys.stdout.buffer.write(done.stdout[-8000:])
        sys.exit(f"fuzz.py: {' '.join(command[:3])} … failed")


class Run:
    """A target at work, in a folder of its own that lies in memory where there is one."""

    def __init__(self, target):
        self.target = target
        self.corpus = CORPUS / target
        shm = pathlib.Path("/dev/shm")
        self.folder = pathlib.Path(tempfile.mkdtemp(
            prefix=f"fuzz-{target}-", dir=shm if os.access(shm, os.W_OK) else None))
        self.failures = []
        self.executions = 0
        self.output = ""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, words, limit_s):
        """Run the target's program; its exit status. A crash is kept."""
        artifacts = self.folder / "artifacts"
        scratch = self.folder / "tmp"
        for folder in (artifacts, scratch):
            folder.mkdir(exist_ok=True)
        command = [BUILD / "test" / "fuzz" / f"fuzz-{self.target}", *LIMITS,
                   f"-artifact_prefix={artifacts}/", "-print_final_stats=1", *words]
        process = subprocess.Popen(
            [str(word) for word in command], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT, "TMPDIR": str(scratch)})
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            output += b"\nfuzz.py: ended, it took too long\n"
        except BaseException:
            process.kill()
            process.wait()
            raise
        self.output = output.decode(errors="replace")
        for count in re.findall(r"stat::number_of_executed_units: *(\d+)", self.output):
            self.executions += int(count)
        if process.returncode != 0:
            self.keep(artifacts)
        return process.returncode

    def keep(self, artifacts):
        """Keep the inputs that crashed, and say how to repeat each."""
        self.failures.append("\n".join(self.output.splitlines()[-60:]))
        for path in sorted(artifacts.iterdir()):
            self.corpus.mkdir(parents=True, exist_ok=True)
            name = path.name if path.name.startswith("crash-") else f"crash-{path.name}"
            kept = self.corpus / name
            shutil.copyfile(path, kept)
            self.failures.append(f"repeat it with: python3 test/fuzz/fuzz.py --replay "
                                 f"{self.target} {kept.relative_to(ROOT)}")

    def replay(self):
        """Every saved input, once: these are tests that were won before."""
        files = sorted(self.corpus.iterdir()) if self.corpus.exists() else []
        if not files:
            self.failures.append(f"test/fuzz/corpus/{self.target} holds no input")
            return False
        return self.call([f"-max_len={REPLAY_MAX}", *files], REPLAY_LIMIT_S) == 0

    def fuzz(self, seconds, seed):
        grown = self.folder / "grown"
        shutil.copytree(self.corpus, grown)
        words = [f"-max_total_time={seconds}", f"-seed={seed}", "-reload=0",
                 f"-max_len={INPUT_MAX}", *self.words(), grown]
        return self.call(words, seconds * 2 + REPLAY_LIMIT_S) == 0

    def words(self):
        dictionary = HERE / f"{self.target}.dict"
        return [f"-dict={dictionary}"] if dictionary.exists() else []

    def minimise(self, seconds):
        """The saved corpus and what is found from it, down to what adds coverage."""
        grown, least = self.folder / "grown", self.folder / "least"
        shutil.copytree(self.corpus, grown)
        least.mkdir()
        words = [f"-max_total_time={seconds}", "-reload=0", "-max_len=600", *self.words(), grown]
        if seconds and self.call(words, seconds * 2 + REPLAY_LIMIT_S) != 0:
            return False
        # A place reached counts, how often it was reached does not: fewer files, and readable ones.
        merge = ["-merge=1", "-use_counters=0", f"-max_len={REPLAY_MAX}", least, self.corpus, grown]
        if self.call(merge, REPLAY_LIMIT_S * 3) != 0:
            return False
        named = {path.read_bytes() for path in self.corpus.iterdir()}
        for path in sorted(least.iterdir(), key=lambda path: path.stat().st_size):
            if path.read_bytes() not in named:
                shutil.copyfile(path, self.corpus / path.name[:12])
        return True


def one_target(target, seconds):
    """(target, executions, seed, failures) of a replay and a fuzzing run."""
    seed = random.SystemRandom().randrange(1, 2**31)
    with Run(target) as run:
        if run.replay() and seconds > 0:
            run.fuzz(seconds, seed)
        return target, run.executions, seed, run.failures


def fuzz_all(targets, seconds):
    print(f"1..{len(targets)}", flush=True)
    executions = crashes = 0
    pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
    try:
        results = pool.map(lambda target: one_target(target, seconds), targets)
        for number, (target, count, seed, failures) in enumerate(results, 1):
            executions += count
            crashes += bool(failures)
            for failure in failures:
                print("\n".join(f"# {line}" for line in failure.splitlines()))
            print(f"# {target}: {count} executions, seed {seed}")
            print(f"{'not ok' if failures else 'ok'} {number} - {target}", flush=True)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return executions, crashes


def check_corpus_size():
    size = sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file())
    if size > CORPUS_MAX:
        sys.exit(f"fuzz.py: test/fuzz/corpus has {size} bytes, more than {CORPUS_MAX}")


def main():
    parser = argparse.ArgumentParser(add_help=True, description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="for each target; 0: replay only")
    parser.add_argument("--proof", action="store_true", help="count, as the last line")
    parser.add_argument("--minutes", type=float, help="with --proof: for all targets together")
    parser.add_argument("--replay", action="store_true", help="TARGET FILE…: once, loudly")
    parser.add_argument("--minimise", action="store_true", help="fuzz, then shrink the corpus")
    parser.add_argument("words", nargs="*", metavar="TARGET")
    options = parser.parse_args()

    targets = options.words[:1] if options.replay else options.words or TARGETS
    unknown = [name for name in targets if name not in TARGETS]
    if unknown or not targets:
        sys.exit(f"fuzz.py: no target {unknown[0] if unknown else ''}; there are "
                 f"{', '.join(TARGETS)}")
    build(targets)
    if options.replay:
        files = [pathlib.Path(word).resolve() for word in options.words[1:]]
        program = BUILD / "test" / "fuzz" / f"fuzz-{targets[0]}"
        with tempfile.TemporaryDirectory() as scratch:
            env = {**os.environ, **ENVIRONMENT, "TMPDIR": scratch}
            done = subprocess.run([program, *LIMITS, f"-max_len={REPLAY_MAX}", *files], env=env,
                                  cwd=scratch, check=False)
            sys.exit(done.returncode != 0)
    if options.minimise:
        for target in targets:
            with Run(target) as run:
                if not run.minimise(options.seconds):
                    sys.exit("\n".join(run.failures))
        check_corpus_size()
        return
    # Whoever stops us signals the whole group: the targets end, and their folders go.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("fuzz.py: stopped"))
    seconds = options.seconds
    if options.minutes is not None:
        seconds = max(1, int(options.minutes * 60 * AT_ONCE / len(targets)))
    check_corpus_size()
    executions, crashes = fuzz_all(targets, seconds)
    if options.proof:
        print("proof: " + json.dumps({"fuzz_executions": executions, "targets": len(targets),
                                      "crashes": crashes}))
    sys.exit(1 if crashes else 0)


if __name__ == "__main__":
    main()
