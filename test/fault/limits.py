#!/usr/bin/env python3
"""Means that run out: a disk that fills up with so many bytes left, a disk that cannot be written,
too few descriptors, too little memory, and a kernel that kills who wants more. The programs may
refuse to start or answer with an error; what they say is true, nothing is lost, no login is spent
twice, and when the means are back all is well without a word.

    python3 limits.py --proof [--minutes M] [--seed N]    every step, or what there is time for
    python3 limits.py --case KIND STEP                    one step, as it is told beforehand

Kinds and their steps: data, state (bytes left on that disk), descriptors (how many the daemon may
have), address, heap (MiB of RLIMIT_AS, RLIMIT_DATA), group (KiB of a control group: beyond them the
kernel kills one of the two), read-only (data or state).
"""

import argparse
import contextlib
import errno
import json
import os
import pathlib
import random
import re
import resource
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import harness  # noqa: E402
import runner  # noqa: E402
import truth  # noqa: E402
from harness import World, is_running  # noqa: E402
from mounts import read_only, small_disk  # noqa: E402
from refusals import DAEMON, TOKEN, profiles  # noqa: E402
from runner import Skip, in_threads, stop_by_exception, wait_until  # noqa: E402

PAGE = 4096
CALLERS = 24
PATIENCE = ("--timeout", "1s")

# What each kind is short of, as errno has it.
SHORT_OF = {"data": errno.ENOSPC, "state": errno.ENOSPC, "descriptors": errno.EMFILE,
            "address": errno.ENOMEM, "heap": errno.ENOMEM, "group": errno.ENOMEM}
# What the kernel has killed says nothing; nor does the command line start another one here.
GONE = re.compile(r"credwardend is not running|the answer breaks off: credwardend went away")

STEPS = {
    "data": [*range(0, 40 * PAGE, PAGE), *range(40 * PAGE, 300 * PAGE, 10 * PAGE)],
    "state": [*range(0, 40 * PAGE, PAGE)],
    "descriptors": [*range(4, 48)],
    "address": [*range(8, 200, 4)],
    "heap": [*range(1, 40)],
    "group": [*range(1024, 5120, 128)],
}


class Scene:
    """A world with one login in it, and what the end of every story has to find."""

    def __init__(self, world, forgiving=False):
        """Forgiving: the server lets a token that was spent be presented once more. Where a spender
        is killed in mid-spend an answer is lost with it, and no login."""
        self.world, self.forgiving = world, forgiving
        self.lab = world.start_lab(access_life="1h", **({"grace": "10m"} if forgiving else {}))
        world.write_provider("lab", **self.lab.provider_keys(
            **({"reuse_grace": "3s"} if forgiving else {})))
        world.write_config(spend_deadline="5s", spender_idle="1s")
        self.n = 0
        self.added = set()    # acknowledged
        self.standby = set()  # of them: acknowledged to have this policy
        self.add()

    def add(self):
        """One more login, while all means are there."""
        self.n += 1
        name = f"login{self.n}"
        self.world.add(name, "lab", self.lab.login(name))
        self.added.add(name)
        return name

    def try_all(self, name, kind):
        """Everything a person does, with too little of something. What fails says so."""
        world = self.world
        late = f"late{self.n}"
        calls = {
            "renew": lambda: world.cw("renew", name, *PATIENCE, check=False),
            "add": lambda: world.add(late, "lab", self.lab.login(late), check=False),
            "token": lambda: world.cw("token", name, *PATIENCE, check=False),
            "policy": lambda: world.cw("policy", name, "standby", check=False),
            "backup": lambda: world.cw("backup", world.home / f"{name}.db", check=False),
            "status": lambda: world.cw("status", check=False),
        }
        done = {what: call() for what, call in calls.items()}
        for what, result in done.items():
            if result.code != 0:
                judge_words(what, result, kind)
        if done["add"].code == 0:
            self.added.add(late)
        if done["policy"].code == 0:
            self.standby.add(name)
        return {what: result.code for what, result in done.items()}, late

    def judge(self, name, late):
        """The means are back. Whatever was acknowledged is durable: every login that was said to be
        added is there and lives. Nothing was presented twice."""
        world, lab = self.world, self.lab
        world.cw("daemon", "restart")
        there = self.settled(late)
        for known in self.standby:
            assert profiles(world)[known]["policy"] == "standby", \
                f"{known}: it said that it was done"
        self.standby.clear()
        for known in self.added & {name, late}:
            assert known in there, f"{known} is lost: {sorted(there)}"
            world.cw("policy", known, "always")
            if there[known] == "live":
                world.cw("renew", known)
            used = lab.use(world.cw("token", known).stdout.strip())
            assert used.status == 200, (known, used)
            shown = profiles(world)[known]
            expected = ("live", []) if there[known] == "live" else ("in-doubt", ["in-doubt"])
            assert (shown["standing"], shown["alarms"]) == expected, shown
        for family in lab.families():
            assert family["reuses"] == (family["graced"] if self.forgiving else 0) <= 1, \
                f"a token of {family['subject']} was presented twice"
            assert family["alive"], f"the login of {family['subject']} is over"
        spool = list((world.state / "credwarden" / "spool").iterdir())
        assert not spool or "in-doubt" in there.values(), f"left over: {spool}"

    def settled(self, late):
        """{name: standing}, once what was begun with too little is over. An `add` whose caller was
        told of an error may have come to its end since; it is then one like any other."""
        rest = ("live", "in-doubt") if self.forgiving else ("live",)

        def over():
            shown = profiles(self.world)
            return all(one["standing"] in rest for one in shown.values()) and shown
        there = {name: one["standing"] for name, one in
                 wait_until(over, 40, "logins that live").items()}
        if late in there:
            self.added.add(late)
        return there


def judge_words(what, result, kind):
    """An error, in a sentence, that names what is short."""
    assert result.stderr.startswith(("credwarden: ", "credwardend: ")), (what, result)
    assert result.code > 0, f"{what} died: {result}"
    assert not TOKEN.search(result.stderr + result.stdout) or what == "token", (what, result)
    said = result.stderr.splitlines()[-1]
    wrong = truth.fault_of(said, SHORT_OF[kind])
    assert not wrong or kind == "group" and GONE.search(said), f"{what} {wrong}: {result}"


# ---- disks ----

class Disk:
    """A small one in memory, that can be filled but for so many bytes."""

    def __init__(self, path):
        self.path, self.ballast = path, path / "ballast"

    def fill(self, left):
        size = 0
        with self.ballast.open("wb", buffering=0) as file:
            while True:
                free = os.statvfs(self.path).f_bavail * PAGE
                if free <= left:
                    break
                with contextlib.suppress(OSError):
                    size += file.write(bytes(min(free - left, 1 << 20)))
        return size

    def make_room(self):
        self.ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def scene_on_disk(which):
    with World() as world:
        folder = {"data": world.share, "state": world.state}[which] / "credwarden"
        with small_disk(folder, "6m"):
            yield Scene(world), Disk(folder)


def disk_step(scene, disk, kind, left):
    name = scene.add()
    disk.fill(left)
    codes, late = scene.try_all(name, kind)
    disk.make_room()
    scene.judge(name, late)
    return codes


def disk_restart_step(scene, disk, kind, left):
    """The daemon starts on a disk that is nearly full, too."""
    name = scene.add()
    scene.world.cw("daemon", "stop")
    disk.fill(left)
    codes, late = scene.try_all(name, kind)
    disk.make_room()
    scene.judge(name, late)
    return codes


def disk_steps(which, steps):
    for left in steps:
        with scene_on_disk(which) as (scene, disk):
            yield (left, disk_step(scene, disk, which, left),
                   disk_restart_step(scene, disk, which, left))


def read_only_step(which):
    """Refused in words that name the folder; back to writing, nothing is missing."""
    with scene_on_disk(which) as (scene, disk):
        world = scene.world
        name = scene.add()
        world.cw("daemon", "stop")
        before = {path: path.read_bytes() for path in disk.path.rglob("*") if path.is_file()}
        with read_only(disk.path):
            done = world.cw("status", check=False)
            assert done.code == DAEMON and str(disk.path) in done.stderr, done
            assert "read-only" in done.stderr.lower(), done
            assert before == {path: path.read_bytes() for path in before}
        scene.judge(name, "nobody")
        return done.stderr


# ---- limits of the daemon's process ----

def group_root():
    """Where a group of our own may be made below the one that we are in; the old way or the new."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return pathlib.Path(f"/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes"
        root = pathlib.Path(f"/sys/fs/cgroup{path}")
        if not controllers and "memory" in read_words(root / "cgroup.subtree_control"):
            return root, "memory.max"
    raise Skip("no control group for memory is ours to divide")


def read_words(path):
    with contextlib.suppress(OSError):
        return path.read_text().split()
    return []


@contextlib.contextmanager
def memory_group(kib):
    """A file: whoever writes a process's id into it has that and its children limited."""
    root, limit = group_root()
    group = root / f"credwarden-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(kib << 10))
    except OSError as error:
        raise Skip(f"no control group for memory can be made: {error}") from None
    try:
        yield group / "cgroup.procs"
    finally:
        wait_until(lambda: not read_words(group / "cgroup.procs"), 20, "the group to be empty")
        group.rmdir()


def limited(kind, step):
    """What a child does before it becomes the daemon."""
    if kind == "group":
        return lambda: step.write_text(str(os.getpid()))
    what = {"descriptors": resource.RLIMIT_NOFILE, "address": resource.RLIMIT_AS,
            "heap": resource.RLIMIT_DATA}[kind]
    value = step if kind == "descriptors" else step << 20
    return lambda: resource.setrlimit(what, (value, value))


@contextlib.contextmanager
def limited_daemon(scene, kind, step):
    """The daemon with this limit; what it says goes to a file. None: it did not start."""
    world = scene.world
    said = world.folder / "said"
    with said.open("wb") as log:
        process = world.start([world.programs / "credwardend", "--foreground"], stderr=log,
                              stdout=log, preexec_fn=limited(kind, step))
    try:
        wait_until(lambda: process.poll() is not None or world.daemon_pid(), 20, "the daemon")
        yield (process if process.poll() is None else None), said
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(40)


def many_connections(world):
    """More callers at once than there may be descriptors for: each is answered or turned away."""
    def one(_):
        with contextlib.suppress(OSError, TimeoutError):
            connection = world.connection(timeout=3)
            try:
                connection.request("GET", "/v1/status")
                connection.getresponse().read()
            except Exception:  # turned away in whatever way: what counts is what comes after
                pass
            finally:
                connection.close()
    in_threads(CALLERS, one)


def group_step(kib):
    """As below; who is killed for wanting more memory is SIGKILLed, and that is no fault of his."""
    with World() as world, memory_group(kib) as group:
        try:
            return process_step(Scene(world, forgiving=True), "group", group)
        finally:
            harness.end_descendants()


def process_step(scene, kind, step):
    """Returns "refused", or the exit codes of what was done under the limit."""
    name = scene.add()
    scene.world.cw("daemon", "stop")
    late = "nobody"
    with limited_daemon(scene, kind, step) as (process, said):
        if process is None and kind == "group":
            outcome = "killed"
        elif process is None:
            text = said.read_text(errors="replace")
            assert text.strip(), f"{kind} {step}: it ended without a word"
            assert "CHECK" not in text and "assert" not in text.lower(), f"{kind} {step}: {text}"
            wrong = truth.fault_of(text.splitlines()[-1], SHORT_OF[kind])
            assert not wrong, f"{kind} {step} {wrong}: {text}"
            outcome = "refused"
        else:
            many_connections(scene.world)
            scene.world.env["CREDWARDEN_NO_START"] = "yes"
            try:
                outcome, late = scene.try_all(name, kind)
                alive = is_running(process.pid) or \
                    kind == "group" and process.wait(5) == -signal.SIGKILL
            finally:
                del scene.world.env["CREDWARDEN_NO_START"]
            assert alive, f"{kind} {step}: the daemon died: {said.read_text(errors='replace')}"
    scene.judge(name, late)
    return outcome


def process_steps(kind, steps):
    """Each with a fresh world, so that a failure is repeated by its step alone."""
    for step in steps:
        with World() as world:
            yield step, process_step(Scene(world), kind, step)


# ---- proof ----

def one(kind, step):
    """One step: what came of it. How to repeat it is said before it is known whether it fails."""
    print(f"# again: CW_BUILD={harness.BUILD} python3 test/fault/limits.py --case {kind} {step}",
          flush=True)
    if kind == "read-only":
        return read_only_step(step)
    if kind in ("data", "state"):
        return list(disk_steps(kind, [int(step)]))
    if kind == "group":
        return [(int(step), group_step(int(step)))]
    return list(process_steps(kind, [int(step)]))


def in_turn(chance):
    """All steps, drawn, in an order in which a short proof has some of each kind."""
    drawn = {kind: chance.sample(steps, len(steps)) for kind, steps in STEPS.items()}
    cases = [("read-only", "data"), ("read-only", "state")]
    for at in range(max(map(len, drawn.values()))):
        cases += [(kind, steps[at]) for kind, steps in drawn.items() if at < len(steps)]
    return cases


def proof(minutes):
    end = time.monotonic() + minutes * 60 if minutes else None
    counts, skipped, failures = {}, {}, []
    for kind, step in in_turn(random.Random(runner.seed())):
        if kind in skipped:
            continue
        if end and time.monotonic() > end:
            break
        try:
            one(kind, step)
            counts[kind] = counts.get(kind, 0) + 1
        except Skip as reason:
            skipped[kind] = str(reason)
            print(f"SKIPPED {kind}: {reason}")
        except Exception as error:
            failures.append((kind, step))
            print(f"{kind} {step}: {error}", flush=True)
    print("proof: " + json.dumps({"limits_steps": counts, "limits_failures": len(failures),
                                  **({"skipped": skipped} if skipped else {})}))
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proof", action="store_true")
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--case", nargs=2, metavar=("KIND", "STEP"))
    args = parser.parse_args()
    stop_by_exception()
    runner.take_seed(args.seed)
    if args.case:
        print(one(*args.case))
        return 0
    return proof(args.minutes)


if __name__ == "__main__":
    sys.exit(main())
