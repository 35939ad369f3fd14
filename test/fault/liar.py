"""Liars between daemon and spender: a spender that is fed lies (liar_spender.py) in the daemon's
service, and the real spender in the service of a daemon that lies. Nothing is believed without the
secret of the intent, and whatever is told touches the one lineage at hand."""

import array
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

import load  # makes the way to test/script
import liar_spender as wire
from harness import World
from load import add_all, assert_fds_come_back, count_fds, log_in, profiles
from runner import wait_until

HERE = pathlib.Path(__file__).resolve().parent
SETTLED = ("live", "dead", "in-doubt", "doubt", "quarantined", "probing")


def put_in_place(world, text=None):
    """The liar in the spender's place, or the real one back."""
    place = world.programs / "credwarden-spender"
    kept = world.programs / "credwarden-spender.real"
    if not kept.exists() and not kept.is_symlink():
        place.rename(kept)
        os.link(kept, place, follow_symlinks=False)
    new = world.programs / "new"
    if text is None:
        os.link(kept, new, follow_symlinks=False)
    else:
        new.write_text(text)
        new.chmod(0o700)
    new.replace(place)
    new.unlink(missing_ok=True)  # two links of one file: the rename did nothing


def children_of(pid):
    return [int(word) for word in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Court:
    """The world of the lies: one lineage for each, and bystanders."""

    BYSTANDERS = ("other-1", "other-2")

    def __init__(self, world, lies):
        self.world, self.lies = world, lies
        lab = world.start_lab(access_life="1h")
        world.write_config(spend_deadline="1s", ask_deadline="1s", spender_idle="100ms")
        world.write_provider("lab", **lab.provider_keys())
        self.pid = world.start_daemon()
        self.names = {lie: lie.__name__ for lie in lies}
        add_all(world, "lab", log_in(lab, [*self.names.values(), *self.BYSTANDERS]))
        self.folder = world.folder / "liar"
        self.folder.mkdir()
        wait_until(lambda: not children_of(self.pid), 10, "the honest spender to go")
        put_in_place(world, f"#!/bin/sh\nexec {sys.executable} {HERE}/liar_spender.py "
                            f"{self.folder}\n")
        self.before = profiles(world)
        self.fds = count_fds(self.pid)

    def tell(self, lie):
        """One lie to one spend; what became of the lineage."""
        name = self.names[lie]
        (self.folder / "lie").write_text(lie.__name__)
        (self.folder / "told").unlink(missing_ok=True)
        self.world.api("POST", f"/v1/profiles/{name}/renew?timeout=300ms")
        wait_until(lambda: profiles(self.world)[name]["state"] in SETTLED, 12,
                   f"the spend of {name} to end")
        row = profiles(self.world)[name]
        self.judge(lie, row)
        return row

    def judge(self, lie, row):
        name, allowed = row["name"], wire.LIES[lie]
        standing = row["standing"]
        if row["generation"] > self.before[name]["generation"]:
            standing = wire.GRANTED
        assert standing in allowed, f"{name}: {standing}, allowed {allowed}: {row}"
        if standing in (wire.LIVE, wire.DOUBT):
            assert row["refresh_fingerprint"] == self.before[name]["refresh_fingerprint"], row
        assert self.world.daemon_pid() == self.pid, f"{name} ended the daemon"

    def bystanders_are_well(self):
        now = profiles(self.world)
        for name in self.BYSTANDERS:
            same = ("standing", "generation", "refresh_fingerprint", "access_fingerprint",
                    "subject", "alarms")
            assert all(now[name][key] == self.before[name][key] for key in same), now[name]
            began = time.monotonic()
            answer = self.world.api("GET", f"/v1/profiles/{name}/token")
            assert answer.status == 200 and time.monotonic() - began < 1, answer

    def make_peace(self):
        """The honest spender again: whoever is not in doubt is renewed; nothing was presented."""
        assert not self.world.lab.log(endpoint="token"), "a lie reached the server"
        wait_until(lambda: not children_of(self.pid), 15, "the last liar to go")
        assert_fds_come_back(self.pid, self.fds, 4, 5)
        put_in_place(self.world)
        for name in self.BYSTANDERS:
            answer = self.world.api("POST", f"/v1/profiles/{name}/renew")
            assert answer.status == 200, (name, answer)
        rows = profiles(self.world)
        for lie, name in self.names.items():
            if rows[name]["standing"] == "live" and wire.GRANTED not in wire.LIES[lie]:
                wait_until(lambda: self.world.api(
                    "POST", f"/v1/profiles/{name}/renew?timeout=15s").status == 200, 20,
                    f"{name} to be renewed honestly")
        assert all(family["alive"] for family in self.world.lab.families())


def spender_that_lies(lies=None):
    """Every lie once. Returns counts."""
    lies = list(lies or wire.LIES)
    with World() as world:
        court = Court(world, lies)
        ends = {}
        for lie in lies:
            row = court.tell(lie)
            ends[row["standing"]] = ends.get(row["standing"], 0) + 1
            court.bystanders_are_well()
        court.make_peace()
        return {"lies": len(lies), **{f"ended_{key}": n for key, n in sorted(ends.items())}}


# ---- the other way round: a daemon that lies to the real spender ----

class Employer:
    """Starts the real spender as the daemon does, and tells it anything."""

    def __init__(self, world):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 19)

        def give():
            os.dup2(theirs.fileno(), wire.SOCKET_FD, inheritable=True)

        self.process = subprocess.Popen([str(world.programs / "credwarden-spender")],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, preexec_fn=give,
                                        pass_fds=(wire.SOCKET_FD,), env={"LANG": "C.UTF-8"})
        theirs.close()
        ours.settimeout(10)
        self.sock = ours
        assert wire.number(wire.parse(ours.recv(1 << 18))[wire.KIND]) == wire.HELLO

    def send(self, content, fds=()):
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([content], extra)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self):
        try:
            got = self.sock.recv(1 << 18)
        except ConnectionResetError:
            got = b""
        return wire.parse(got) if got else None

    def end(self):
        self.sock.close()
        code = self.process.wait(10)
        assert code >= 0, f"the spender was ended by signal {-code}"
        return code


def template(world):
    """A question as the daemon really asks it: taken from a liar's notes."""
    court = Court(world, [wire.before_started])
    court.tell(wire.before_started)
    put_in_place(world)
    return wire.parse((court.folder / "seen-0").read_bytes())


def question(base, **changes):
    fields = dict(base)
    for key, value in changes.items():
        tag = getattr(wire, key)
        if value is None:
            fields.pop(tag, None)
        else:
            fields[tag] = value
    return wire.record(*fields.items())


def new_spool(folder, intent):
    path = pathlib.Path(folder) / f"{intent:016x}.spool"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.pwrite(fd, bytes(128 * 1024), 0)
    head = wire.HEADER.pack(b"CWSPOOL\n", 2, wire.PREPARED, intent, b"boot".ljust(40, b"\0"), 0,
                            bytes(32), 1, bytes(32))
    os.pwrite(fd, head[:-32] + wire.checksum(head[:-32]), 0)
    return fd


def stage_of(fd):
    return wire.HEADER.unpack(os.pread(fd, wire.HEADER.size, 0))[2]


def lies_of_a_daemon(base, chance):
    """(what, packet, how many descriptors: "spool", "null" or none)."""
    whole = question(base)
    rows = [
        ("no descriptor", whole, ()),
        ("no spool", whole, ("null",)),
        ("two descriptors", whole, ("null", "null")),
        ("a descriptor with an ask", question(base, ASK=wire.IDENTITY), ("spool",)),
        ("id 0", question(base, ID=0), ("spool",)),
        ("id below", question(base, ID=wire.MIN64), ("spool",)),
        ("no such ask", question(base, ASK=9), ("spool",)),
        ("no deadline", question(base, DEADLINE=0), ("spool",)),
        ("a deadline for ever", question(base, DEADLINE=wire.MAX64), ("spool",)),
        ("no provider", question(base, PROVIDER=None), ("spool",)),
        ("a rubbish provider", question(base, PROVIDER=chance.randbytes(300)), ("spool",)),
        ("no token", question(base, TOKEN=None), ("spool",)),
        ("an empty token", question(base, TOKEN=b""), ("spool",)),
        ("an enormous token", question(base, TOKEN=b"r" * 20000), ("spool",)),
        ("a short secret", question(base, SECRET=b"s" * 31), ("spool",)),
        ("no key", question(base, BOX_PUBLIC=None), ("spool",)),
        ("a key that is none", question(base, BOX_PUBLIC=bytes(32)), ("spool",)),
        ("a scope without end", question(base, SCOPE=b"s" * 5000), ("spool",)),
        ("half of it", whole[:len(whole) // 2], ("spool",)),
        ("an answer", wire.record((wire.KIND, wire.ANSWER), (wire.ID, 1), (wire.ASK, 0)), ()),
        ("rubbish", chance.randbytes(200), ()),
        ("an empty packet", b"", ("spool",)),
        ("too much", b"x" * (170 * 1024), ()),
    ]
    for i in range(20):
        bent = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            # Lengths and tags, not the token: what is well formed would be asked.
            at = chance.randrange(min(60, len(bent)))
            bent[at] ^= 1 << chance.randrange(8)
        rows.append((f"bent {i}", bytes(bent), ()))
    return rows


def spender_that_is_lied_to(seed, every=1):
    """Each lie (or every third …) while an honest spend is in its hands: that one is finished, the
    lie sends nothing, nothing crashes. Returns counts."""
    chance = random.Random(seed)
    with World() as world, tempfile.TemporaryDirectory(dir=world.folder) as folder:
        base = template(world)
        lab = world.lab
        lab.config(delay_before_ms=100)
        told = 0
        lies = lies_of_a_daemon(base, chance)[seed % every::every]
        for n, (what, packet, passed) in enumerate(lies):
            employer = Employer(world)
            login = lab.login(f"honest-{n}")
            honest = new_spool(folder, 2 * n + 1)
            other = new_spool(folder, 2 * n + 2)
            employer.send(question(base, ID=1000, TOKEN=login["refresh_token"].encode(),
                                   DEADLINE=9000), (honest,))
            given = {"spool": other, "null": os.open("/dev/null", os.O_RDWR)}
            try:
                employer.send(packet, tuple(given[word] for word in passed))
            except OSError:
                pass  # larger than a packet may be here
            wait_until(lambda: stage_of(honest) == wire.ANSWERED, 10, f"the answer beside {what}")
            assert stage_of(other) == wire.PREPARED, f"{what}: the spool was touched"
            employer.end()
            family = lab.family(login["family"])
            assert family["alive"] and family["spends"] == 1, (what, family)
            for fd in (honest, other, given["null"]):
                os.close(fd)
            told += 1
        presented = lab.log(endpoint="token")
        assert len(presented) == told, f"{len(presented)} requests for {told} honest questions"
        return {"lies_to_the_spender": told}


# ---- a spender that does not answer ----

def stopped_in_mid_spend(kill=False):
    """SIGSTOP in the middle of a spend: others are served within the deadline; SIGCONT: it settles.
    With `kill`: it is killed while it is stuck."""
    with World() as world:
        lab = world.start_lab(access_life="1h")
        world.write_config(spend_deadline="1s", ask_deadline="1s")
        world.write_provider("lab", **lab.provider_keys())
        pid = world.start_daemon()
        names = ["held", *[f"other-{i}" for i in range(6)]]
        pairs = log_in(lab, names)
        add_all(world, "lab", pairs)
        lab.script("token", family=pairs["held"]["family"], delay_after_ms=700)
        held = world.start([world.programs / "credwarden", "renew", "held"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: lab.stats()["endpoints"]["token"]["decided"] == 1, 10, "the commit")
        (spender,) = children_of(pid)
        os.kill(spender, signal.SIGSTOP)
        began = time.monotonic()
        # Half of them at once: their spends are in the stopped one's socket.
        load.in_hands(names[1:4], lambda hand: renew_all(world, hand))
        load.in_hands(names[4:], lambda hand: renew_all(world, hand))
        took = time.monotonic() - began
        assert took < 1 + 3 + 8, f"it took {took:.1f} s"
        told = profiles(world)["held"]
        assert told["state"] == "spending" and told["standing"] == "live", told
        assert "does not answer" in world.cw("events").stdout
        time.sleep(1)
        os.kill(spender, signal.SIGKILL if kill else signal.SIGCONT)
        wait_until(lambda: profiles(world)["held"]["state"] != "spending", 10, "its end")
        held.wait(30)
        told = wait_until(lambda: next((row for row in [profiles(world)["held"]]
                                        if row["state"] in ("live", "doubt")), None), 10)
        assert told["state"] == ("doubt" if kill else "live"), told
        wait_until(lambda: spender not in children_of(pid), 10, "the end of the stopped one")
        lines = lab.log(endpoint="token")
        # Killed, the answer is lost and the lineage in doubt: presented once all the same.
        assert len({line["presented"] for line in lines}) == len(lines) == len(names), lines
        assert not any(line["reuse"] for line in lines)
        return round(took, 1)


def renew_all(world, names):
    for name in names:
        answer = world.api("POST", f"/v1/profiles/{name}/renew?timeout=30s", timeout=60)
        assert answer.status == 200, (name, answer)
