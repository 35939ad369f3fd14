"""What the stories of network, hostile peers and liars share: many profiles at once, and a look at
what a process holds. `--proof` runs print one JSON object as their last line."""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import random
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "script"))
import harness  # noqa: E402
import runner  # noqa: E402
from runner import in_threads, wait_until  # noqa: E402

WORKERS = 8


def shares(items, count):
    """The items, dealt out to `count` hands."""
    return [items[i::count] for i in range(count)]


def in_hands(items, work, count=WORKERS):
    """work(hand) for each hand of items, at once."""
    hands = [hand for hand in shares(items, count) if hand]
    in_threads(len(hands), lambda i: work(hands[i]))


def log_in(lab, names):
    """One login of each subject, by kept connections: {name: token answer}."""
    result = {}
    host, port = lab.url.removeprefix("http://").split(":")

    def work(hand):
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        for name in hand:
            answer = harness.ask(connection, "POST", f"/lab/login?subject={name}")
            assert answer.status == 200, answer
            result[name] = answer.json
        connection.close()

    in_hands(names, work)
    return result


def add_all(world, provider, pairs):
    """Hand many pairs to the daemon at once, through its socket. Seconds taken."""
    began = time.monotonic()

    def work(hand):
        connection = world.connection()
        for name in hand:
            answer = harness.ask(connection, "POST", f"/v1/profiles/{name}?provider={provider}",
                                 pairs[name])
            assert answer.status in (200, 201), (name, answer)
        connection.close()

    in_hands(list(pairs), work)
    return time.monotonic() - began


def profiles(world):
    """{name: what the daemon says of it}."""
    return {row["name"]: row for row in world.api("GET", "/v1/profiles").json["profiles"]}


def facts_of(pid):
    """Resident memory in MiB, and open descriptors."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines()
                    if line.startswith("VmRSS:"))
    return {"rss_mib": resident / 1024, "fds": count_fds(pid)}


def count_fds(pid):
    """None: it holds secrets, so that nobody but root may look."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return None


def assert_fds_come_back(pid, before, more, settle_s):
    """`before`: by count_fds()."""
    if before is None:
        skip("the daemon's descriptors", "only root may count them")
        return
    wait_until(lambda: count_fds(pid) <= before + more, settle_s,
               f"the descriptors to come back to {before}, {count_fds(pid)} are open")


def count_connections(path):
    """Those that the listener on this path has taken and holds, by the kernel's list, which anybody
    may read. Who still waits to be taken is not among them."""
    taken = "03"  # SS_CONNECTED
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        return sum(line.split()[5] == taken for line in table if line.endswith(f" {path}\n"))


skipped = {}  # what was not looked at in this process, and why


def skip(what, why):
    skipped[what] = why
    print(f"# SKIPPED {what}: {why}", flush=True)


def end_of_story():
    """The rest has held; what was skipped is told by whoever runs the stories."""
    if skipped:
        runner.skip("; ".join(f"{what}: {why}" for what, why in skipped.items()))


class Watch(threading.Thread):
    """The most that a process held while it was watched."""

    def __init__(self, pid, pause=0.1):
        super().__init__(daemon=True)
        self.pid, self.pause, self.over = pid, pause, threading.Event()
        self.before = facts_of(pid)
        self.most = dict(self.before)
        self.start()

    def run(self):
        while not self.over.wait(self.pause):
            try:
                now = facts_of(self.pid)
            except (FileNotFoundError, ProcessLookupError, StopIteration):
                return
            self.most = {key: self.most[key] and max(self.most[key], now[key]) for key in now}

    def end(self, settle_s=5, fds_more=4):
        """Descriptors must come back to what they were."""
        self.over.set()
        self.join()
        assert_fds_come_back(self.pid, self.before["fds"], fds_more, settle_s)
        return facts_of(self.pid)


class Callers:
    """Programs that ask for tokens and use them, until told to stop. Each answer is counted by its
    status; a token that was handed out and is refused is a complaint."""

    def __init__(self, world, names, threads, wishes=("",), is_judged=lambda name: True,
                 pause=0.01):
        self.pause = pause
        self.world, self.wishes, self.is_judged = world, wishes, is_judged
        self.over = threading.Event()
        self.counts, self.complaints, self.served = {}, [], {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(hand, i), daemon=True)
                        for i, hand in enumerate(shares(names, threads)) if hand]
        for thread in self.threads:
            thread.start()

    def _run(self, names, number):
        chance = random.Random(number)
        connection = self.world.connection()
        host, port = self.world.lab.url.removeprefix("http://").split(":")
        server = http.client.HTTPConnection(host, int(port), timeout=30)
        for name in itertools.cycle(names):
            if self.over.wait(self.pause):
                break
            wish = chance.choice(self.wishes)
            target = f"/v1/profiles/{name}/token?timeout=1s" + (f"&{wish}" if wish else "")
            try:
                answer = harness.ask(connection, "GET", target)
                self._note(name, answer, server)
            except Exception as error:  # told at the end, by whoever ends them
                with self.lock:
                    self.complaints.append(f"{name}: {error!r}")
                connection.close()
                server.close()
        connection.close()
        server.close()

    def _note(self, name, answer, server):
        code = "token" if answer.status == 200 else answer.json.get("code", "?")
        refused = ""
        if answer.status == 200:
            used = harness.ask(server, "GET", "/resource",
                               headers=harness.bearer(answer.json["access_token"]))
            # One that had hardly any life left may have been overtaken by its end.
            left = answer.json["expires_in_ms"]
            hardly = left is not None and left < 1000
            if used.status != 200 and self.is_judged(name) and not hardly:
                refused = f"{name}: a token just handed out was refused: {used}"
        with self.lock:
            self.counts[code] = self.counts.get(code, 0) + 1
            if answer.status == 200 and not refused:
                self.served[name] = self.served.get(name, 0) + 1
            if refused:
                self.complaints.append(refused)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(40)
        return self.counts


class Failures:
    """What did not hold, told and counted, so that the rest is tried as well."""

    def __init__(self):
        self.count = 0

    @contextlib.contextmanager
    def counted(self):
        try:
            yield
        except AssertionError:
            traceback.print_exc(file=sys.stdout)
            self.count += 1


def proof(run, none_of):
    """For the main of a tool: --proof, --minutes, --seed. `run(seed, minutes)` returns counts;
    those that are named in `none_of` must be 0. The exit status."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--proof", action="store_true", required=True)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    runner.stop_by_exception()
    runner.take_seed(given.seed)
    counts = run(runner.seed(), given.minutes)
    counts |= {"skipped": skipped} if skipped else {}
    print("proof: " + json.dumps(counts))
    return 1 if any(counts[name] for name in none_of) else 0
