#!/usr/bin/env python3
"""Hostile peers: crowds on the API's socket that stall, babble and never read, while an honest
caller is answered; tricks with the folders while the daemon runs; and liars on the spender's
socket.

    python3 test/fault/hostile.py --proof [--minutes M] [--seed N]
"""

import collections
import http.client
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

import hostile_peer
import liar
import load
from harness import World, is_running
from load import Watch, add_all, log_in, profiles
from runner import skip, wait_until

HERE = pathlib.Path(__file__).resolve().parent
NOBODY = 65534
CONNECTIONS_MAX = 512  # API_CONNECTIONS_MAX in src/api/api.h
TURNED_AWAY = 64  # more than that, for the moment that it takes to say no
SLOWEST_S = 2.0  # for any single answer
P99_S = 1.0
LOOK_S = 0.5  # between two looks at what everybody holds


def furnish(world, **options):
    lab = world.start_lab(access_life="1h")
    world.write_config(**options)
    world.write_provider("lab", **lab.provider_keys())
    world.start_daemon()
    add_all(world, "lab", log_in(lab, ["work"]))
    return lab


class Honest:
    """A caller who asks for a token again and again, each time on a new connection; once more when
    that is closed before there is an answer, as the command line does (src/cli/ask.c)."""

    def __init__(self, world):
        self.world, self.failures, self.asked_again = world, 0, 0

    def ask(self, until, pause=0.005):
        """Until `until()`: how long each took."""
        took = []
        while not until():
            began = time.monotonic()
            self.failures += not self._is_served()
            took.append(time.monotonic() - began)
            time.sleep(pause)
        return sorted(took)

    def _ask_once_or_twice(self):
        try:
            return self.world.api("GET", "/v1/profiles/work/token", timeout=10)
        except (ConnectionError, http.client.RemoteDisconnected):
            self.asked_again += 1
            return self.world.api("GET", "/v1/profiles/work/token", timeout=10)

    def _is_served(self):
        try:
            answer = self._ask_once_or_twice()
        except (OSError, http.client.HTTPException) as error:
            print(f"not served: {error!r}", flush=True)
            return False
        if answer.status != 200:
            print(f"not served: {answer}", flush=True)
        return answer.status == 200 and bool(answer.json["access_token"])


def after(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def p99(took):
    return took[min(len(took) - 1, len(took) * 99 // 100)]


def other_fds(pid):
    """Descriptors that are no sockets, of a process of ours."""
    folder = pathlib.Path(f"/proc/{pid}/fd")
    return sum(not os.readlink(path).startswith("socket:") for path in folder.iterdir())


def crowds(total, seconds, seed, kinds=hostile_peer.KINDS):
    """`total` connections of all kinds at once, each kind a process. Returns counts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    each = min(total // len(kinds), hard - 200)
    with World() as world:
        furnish(world)
        pid = world.daemon_pid()
        honest = Honest(world)
        idle = honest.ask(after(1))
        watch = Watch(pid)
        peers = [world.start([sys.executable, HERE / "hostile_peer.py", world.socket, kind, each,
                              seed + i], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                 for i, kind in enumerate(kinds)]
        waiting, late = list(peers), after(60)

        def are_all_there():
            assert not late(), f"{len(waiting)} crowds do not get in"
            ready, _, _ = select.select([peer.stdout for peer in waiting], [], [], 0)
            for peer in [peer for peer in waiting if peer.stdout in ready]:
                assert peer.stdout.readline() == b"ready\n"
                waiting.remove(peer)
            return not waiting

        busy, held, taken = honest.ask(are_all_there), [], []
        others = {peer: other_fds(peer.pid) for peer in peers}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            busy += honest.ask(after(LOOK_S))
            held.append(sum(load.count_fds(peer.pid) - count for peer, count in others.items()))
            taken.append(load.count_connections(world.socket))
        busy.sort()
        told = [json.loads(peer.communicate(timeout=60)[0]) for peer in peers]
        assert world.daemon_pid() == pid and is_running(pid)
        end = watch.end(settle_s=15, fds_more=8)
        assert (watch.most["fds"] or 0) < CONNECTIONS_MAX + 100, watch.most
        assert CONNECTIONS_MAX / 2 < max(taken) <= CONNECTIONS_MAX + TURNED_AWAY, taken
        wait_until(lambda: not load.count_connections(world.socket), 15, "an end of the crowd")
        assert watch.most["rss_mib"] - watch.before["rss_mib"] < 64, (watch.before, watch.most)
        assert busy[-1] < SLOWEST_S and p99(busy) < max(P99_S, 10 * p99(idle)), \
            f"p99 {p99(busy):.3f} s, slowest {busy[-1]:.3f} s; idle {p99(idle):.4f} s"
        row = profiles(world)["work"]
        assert row["waiters"] == 0 and row["standing"] == "live", row
        return {"sockets_held_by_the_crowd_at_once": max(held),
                "connections_held_by_the_daemon_at_most": max(taken),
                "connections": sum(t["opened"] for t in told),
                "dropped": sum(t["dropped"] for t in told), "honest_answers": len(busy),
                "honest_failures": honest.failures, "honest_asked_again": honest.asked_again,
                "p99_idle_ms": round(1000 * p99(idle), 1),
                "p99_ms": round(1000 * p99(busy), 1), "slowest_ms": round(1000 * busy[-1], 1),
                "daemon_rss_mib_most": round(watch.most["rss_mib"], 1),
                "daemon_rss_mib_after": round(end["rss_mib"], 1)}


# ---- tricks with the folders, while the daemon runs ----

def need_root():
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        skip("needs root and setpriv, to be another user")


def as_nobody(script, *args):
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            sys.executable, "-c", script, *map(str, args)]


def renew(world, name="work"):
    answer = world.api("POST", f"/v1/profiles/{name}/renew?timeout=20s")
    assert answer.status == 200, answer


def put_aside(path):
    aside = path.with_name(path.name + ".was")
    path.rename(aside)
    return aside


IN_THE_WAY = ("a file", "a folder", "a FIFO", "a link to a file", "a link to nowhere",
              "a link to itself", "a deaf socket", "a datagram socket", "nothing")


def in_the_sockets_place(tricks=IN_THE_WAY):
    """What stands in the socket's place under a running daemon: the command line says so at once
    and touches nothing; the daemon goes on for whom it has; back in its place, all is as before."""
    with World() as world:
        furnish(world)
        precious = world.write_file("precious", b"do not touch")
        pid, kept = world.daemon_pid(), world.connection()
        assert load.harness.ask(kept, "GET", "/v1/status").status == 200
        sink = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for what in tricks:
            aside = put_aside(world.socket)
            deaf = socket.socket(socket.AF_UNIX)
            {"a file": lambda: world.socket.write_bytes(b""),
             "a folder": world.socket.mkdir,
             "a FIFO": lambda: os.mkfifo(world.socket, 0o600),
             "a link to a file": lambda: world.socket.symlink_to(precious),
             "a link to nowhere": lambda: world.socket.symlink_to("nowhere"),
             "a link to itself": lambda: world.socket.symlink_to(world.socket),
             "a deaf socket": lambda: deaf.bind(str(world.socket)),
             "a datagram socket": lambda: sink.bind(str(world.socket)),
             "nothing": lambda: None}[what]()
            began = time.monotonic()
            said = world.cw("status", check=False, timeout=25)
            assert said.code != 0 and said.stderr.count("\n") <= 3 and said.stderr, (what, said)
            assert time.monotonic() - began < 20, f"{what}: it took {time.monotonic() - began} s"
            assert load.harness.ask(kept, "GET", "/v1/status").status == 200, what
            assert is_running(pid)
            if os.path.lexists(world.socket):
                world.socket.rmdir() if stat.S_ISDIR(world.socket.lstat().st_mode) \
                    else world.socket.unlink()
            deaf.close()
            aside.rename(world.socket)
            assert world.cw("token", "work").code == 0 and world.daemon_pid() == pid, what
        assert precious.read_bytes() == b"do not touch"
        return len(tricks)


def state_folder_swapped():
    """The state folder, the spool in it, the runtime folder and the store's folder are swapped
    under the daemon: what it has open counts, nothing is lost, and the next start says what is
    wrong or starts anew from what is there."""
    tricks = 0
    for swap in ("spool", "state", "runtime", "link"):
        with World() as world:
            lab = furnish(world)
            state = world.state / "credwarden"
            path = {"spool": state / "spool", "runtime": world.socket.parent}.get(swap, state)
            elsewhere = world.folder / "elsewhere"
            elsewhere.mkdir(mode=0o700)
            kept = world.connection()
            kept.connect()
            aside = put_aside(path)
            if swap == "link":
                path.symlink_to(elsewhere)
            else:
                path.mkdir(mode=0o700)
            answer = load.harness.ask(kept, "POST", "/v1/profiles/work/renew?timeout=20s")
            assert answer.status == 200, (swap, answer)
            assert not list(elsewhere.iterdir()), f"{swap}: something was put there"
            pid = load.harness.descendants()
            daemon = next(p for p in pid if "credwardend" in
                          pathlib.Path(f"/proc/{p}/comm").read_text())
            os.kill(daemon, signal.SIGTERM)
            wait_until(lambda: not is_running(daemon), 20, "the end of the daemon")
            if swap == "link":
                said = world.cw("status", check=False)
                assert said.code != 0 and "symbolic link" in said.stderr, said
                assert not list(elsewhere.iterdir())
                path.unlink()
                aside.rename(path)
            access = world.cw("token", "work").stdout.strip()
            assert lab.use(access).status == 200
            renew(world)
            lines = lab.log(endpoint="token")
            assert len({line["presented"] for line in lines}) == len(lines)
            tricks += 1
    return tricks


def in_the_logs_place():
    """A start does not wait for a FIFO nor follow a link where the log should be; it says so."""
    with World() as world:
        furnish(world)
        world.kill_daemon()
        log = world.state / "credwarden" / "credwardend.log"
        precious = world.write_file("precious", b"do not touch")
        for make in (os.mkfifo, lambda path: path.symlink_to(precious),
                     lambda path: path.symlink_to("nowhere")):
            log.unlink()
            make(log)
            said = world.cw("status", check=False, timeout=10)
            assert said.code != 0 and str(log) in said.stderr, said
        log.unlink()
        assert world.cw("token", "work").code == 0
        assert precious.read_bytes() == b"do not touch"
        return 3


def planted_in_the_spool():
    """Files of other hands in the spool, named like ours or not at all: the start gets over them,
    follows no link, waits for no FIFO, deletes nothing that it did not make."""
    with World() as world:
        lab = furnish(world)
        world.kill_daemon()
        spool = world.state / "credwarden" / "spool"
        precious = world.write_file("precious", b"do not touch")
        planted = {}

        def plant(name, make):
            path = spool / name
            make(path)
            planted[name] = path

        plant("a\nb", lambda path: path.write_text("x"))
        plant("\x1b[2J", lambda path: path.write_text("x"))
        plant("-rf", lambda path: path.write_text("x"))
        plant("x" * 255, lambda path: path.write_text("x"))
        plant("0123456789abcdeF.spool", lambda path: path.write_text("x"))
        plant("0000000000000001.spool", lambda path: path.symlink_to(precious))
        plant("0000000000000002.spool", lambda path: path.symlink_to("/dev/zero"))
        plant("0000000000000003.spool", os.mkfifo)
        plant("0000000000000004.spool", lambda path: path.mkdir())
        plant("0000000000000005.spool", lambda path: os.link(precious, path))
        plant("0000000000000006.spool", lambda path: path.write_bytes(b"\xff" * 200000))
        plant("0000000000000007.spool", lambda path: os.truncate(os.open(
            path, os.O_CREAT | os.O_RDWR, 0o600), 1 << 40))
        plant("0000000000000008.aside", lambda path: path.write_text("x"))
        began = time.monotonic()
        access = world.cw("token", "work").stdout.strip()
        assert time.monotonic() - began < 5 and lab.use(access).status == 200
        renew(world)
        assert precious.read_bytes() == b"do not touch"
        assert all(os.path.lexists(planted[name]) for name in
                   ("a\nb", "\x1b[2J", "-rf", "x" * 255, "0123456789abcdeF.spool",
                    "0000000000000008.aside"))
        said = world.cw("events").stdout
        assert "\x1b" not in said
        return len(planted)


PLACES = ("share/credwarden/vault.key", "share/credwarden/lock", "share/credwarden/store.db",
          "state/credwarden/credwardend.log", "state/credwarden/high-water",
          "state/credwarden/state-lock")


def links_to_foreign_files(places=PLACES):
    """Files of another user in the places of ours, by hard and by symbolic links: never written."""
    need_root()
    tricks = 0
    for name in places:
        for link in (os.link, lambda to, at: os.symlink(to, at)):
            with World() as world:
                furnish(world)
                world.kill_daemon()
                place = world.home / ".local" / name
                assert place.exists(), f"there is no {name}"
                foreign = world.folder / "foreign"
                foreign.write_bytes(b"another user's")
                os.chown(foreign, NOBODY, NOBODY)
                place.unlink()
                link(foreign, place)
                world.cw("status", check=False, timeout=30)
                assert foreign.read_bytes() == b"another user's", f"{name} was written to"
                facts = foreign.stat()
                assert facts.st_uid == NOBODY and facts.st_mode & 0o777 == 0o644, \
                    f"{name}: mode or owner was changed"
                tricks += 1
    return tricks


RACE = """
import os, sys, time
folder, trap = sys.argv[1:]
end = time.monotonic() + float(6)
while time.monotonic() < end:
    try:
        os.symlink(trap, folder)
        time.sleep(0.002)
        os.unlink(folder)
    except OSError:
        pass
    try:
        os.mkdir(folder, 0o777)
        time.sleep(0.002)
        os.rmdir(folder)
    except OSError:
        pass
"""


def race_in_a_sticky_folder(starts=6):
    """Another user races us for the name of our folder in a /tmp of 1777: each start has its own
    folder, or refuses in a sentence; nothing gets into the trap."""
    need_root()
    with World() as world:
        world.folder.chmod(0o711)
        common, trap = world.folder / "common", world.folder / "trap"
        for folder, mode in ((common, 0o1777), (trap, 0o777)):
            folder.mkdir()
            folder.chmod(mode)
        os.chown(trap, NOBODY, NOBODY)
        env = {"XDG_RUNTIME_DIR": str(common)}
        ours = common / "credwarden"
        racer = world.start(as_nobody(RACE, ours, trap))
        good = refused = 0
        for _ in range(starts):
            said = world.cw("status", env=env, check=False)
            if said.code == 0:
                facts = ours.lstat()
                assert stat.S_ISDIR(facts.st_mode) and facts.st_uid == 0, facts
                assert facts.st_mode & 0o777 == 0o700, facts
                good += 1
                world.cw("daemon", "stop", env=env, check=False)
                shutil.rmtree(ours, ignore_errors=True)
            else:
                assert said.stderr.strip(), said
                refused += 1
            assert not list(trap.iterdir()), "something of ours is in the trap"
        racer.kill()
        racer.wait()
        return {"good": good, "refused": refused}


CONNECT = """
import socket, sys
peers = []
for _ in range(int(sys.argv[2])):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(5)
    try:
        peer.connect(sys.argv[1])
        peer.sendall(b"GET /v1/profiles/work/token HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    except OSError:
        pass
    peers.append(peer)
got = b""
for peer in peers:
    try:
        got += peer.recv(65536)
    except OSError:
        pass
print("leak" if b"access_token" in got else "none", got.count(b" 403 "), got.count(b" 200 "))
"""


def crowd_of_another_user(count=400):
    """Another user, should the folders ever be open to him: turned away each time, at no cost to
    the honest caller; and as the folders are, he does not get near."""
    need_root()
    with World() as world:
        furnish(world)
        for path in (world.folder, world.runtime):
            path.chmod(0o711)
        near = subprocess.run(as_nobody(CONNECT, world.socket, 1), capture_output=True, text=True,
                              timeout=30, check=True)
        assert near.stdout.startswith("none 0 0"), near
        world.socket.parent.chmod(0o711)
        world.socket.chmod(0o666)
        crowd = world.start(as_nobody(CONNECT, world.socket, count), stdout=subprocess.PIPE)
        honest = Honest(world)
        took = honest.ask(after(1.5))
        out = crowd.communicate(timeout=60)[0].decode()
        assert out.startswith("none ") and out.split()[2] == "0", out
        assert took[-1] < SLOWEST_S and not honest.failures, (took[-1], honest.failures)
        return count


def run(seed, minutes):
    end = time.monotonic() + minutes * 60
    failures, counts = load.Failures(), collections.Counter()
    print("liars", flush=True)
    for story in (liar.spender_that_lies, lambda: liar.spender_that_is_lied_to(seed)):
        with failures.counted():
            counts.update(story())
    for kill in (False, True):
        with failures.counted():
            liar.stopped_in_mid_spend(kill)
    print(f"  {dict(counts)}\nfolders", flush=True)
    tricks = [in_the_sockets_place, state_folder_swapped, in_the_logs_place, planted_in_the_spool]
    if os.geteuid() == 0:
        tricks.append(links_to_foreign_files)
    for trick in tricks:
        with failures.counted():
            counts["folder_tricks"] += trick()
    if os.geteuid() == 0:
        with failures.counted():
            counts["races"] = race_in_a_sticky_folder(starts=20)
        with failures.counted():
            counts["other_users_connections"] = crowd_of_another_user(2000)
    else:
        load.skip("other users", "needs root")
    seen, rounds = [], 0
    while rounds == 0 or time.monotonic() < end:
        print("crowd of more than 10,000", flush=True)
        with failures.counted():
            seen.append(crowds(24000, 20, seed + rounds))
            print(f"  {seen[-1]}", flush=True)
            assert seen[-1]["sockets_held_by_the_crowd_at_once"] >= 10000, \
                "a smaller crowd than was meant"
        rounds += 1
    sums = {name: sum(s[name] for s in seen)
            for name in ("connections", "honest_answers", "honest_asked_again", "honest_failures")}
    most = {name: max((s[name] for s in seen), default=0)
            for name in ("p99_idle_ms", "p99_ms", "slowest_ms", "daemon_rss_mib_most",
                         "connections_held_by_the_daemon_at_most")}
    return {**counts, "crowds": rounds,
            "sockets_held_by_the_crowd_at_once":
                min((s["sockets_held_by_the_crowd_at_once"] for s in seen), default=0),
            **sums, **most, "stories_failed": failures.count}


if __name__ == "__main__":
    sys.exit(load.proof(run, none_of=("honest_failures", "stories_failed")))
