"""Kills at random moments around a spend, and the proof that nothing was lost.

A round: several profiles of one daemon are asked for a longer life than their tokens have left,
each at its own moment, so that the one kill that ends the round meets each spend at another point.
Who dies is the daemon, the spender alone, or both in one instant. Then it is looked up where the
kill met them: in what it left behind (store, spool) and in the lab's log. Then somebody asks for a
token, which starts what is dead again, and all that the lab granted must be held by credwarden.
"""

import collections
import hashlib
import os
import random
import select
import shutil
import signal
import sqlite3
import struct
import sys
import time

import harness
from runner import wait_until

BATCH = 4
RESTART_EVERY = 4  # rounds: a daemon that outlived its spender is followed by another
DAEMON, SPENDER, BOTH = "daemon", "spender", "both"  # who dies
LAB_MS = 100  # the answer takes this long, half of it before the lab's commit

# Where a kill met a spend, in the order of its life.
BEFORE = "before the intent"
ROOM = "room for the answer made, no intent yet"
INTENT = "intent durable, nothing sent"
ASKED = "in flight, the server has not committed"
COMMITTED = "in flight, the server has committed"
ANSWERED = "answer in the spool, not settled"
SETTLED = "settled, spool file still there"
AFTER = "after the settlement"
PLACES = (BEFORE, ROOM, INTENT, ASKED, COMMITTED, ANSWERED, SETTLED, AFTER)

SPOOL_MAGIC = b"CWSPOOL\n"
SPOOL_HEAD = struct.Struct("<8sIIQ")  # magic, version, stage, intent: as src/issuer/spool.c has it
PREPARED, STARTED, SPOOL_ANSWERED = 2, 3, 4


def short_id(token):
    """As the lab's log names a token."""
    return hashlib.sha256(token.encode()).hexdigest()[:10]


def name_of_process(pid):
    """The kernel's name of a process: the first 15 bytes of its program's."""
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def spenders():
    return [pid for pid in harness.descendants() if name_of_process(pid) == "credwarden-spen"]


# ---- what a dead daemon left behind ----

def read_spool(world):
    """{intent: (stage, when it was last written)} of the files in the spool."""
    found = {}
    for path in (world.state / "credwarden" / "spool").glob("*.spool"):
        try:
            with open(path, "rb") as file:
                head = file.read(SPOOL_HEAD.size)
                written = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            continue
        magic, _, stage, intent = SPOOL_HEAD.unpack(head.ljust(SPOOL_HEAD.size, b"\0"))
        found[int(path.stem, 16)] = (stage if magic == SPOOL_MAGIC else PREPARED, written)
        assert magic != SPOOL_MAGIC or intent == int(path.stem, 16)
    return found


def reseal(content):
    """A spool file whose answer is whole, but sealed to another key: one byte of it differs, and
    the sums are right (src/issuer/spool.c)."""
    content = bytearray(content)
    content[4096 + 40] ^= 1
    length = int.from_bytes(content[64:72], sys.byteorder)
    content[72:104] = hashlib.blake2b(content[4096:4096 + length], digest_size=32).digest()
    content[112:144] = hashlib.blake2b(content[:112], digest_size=32).digest()
    return bytes(content)


def read_store(world):
    """({profile: generation}, {profile: open intent}, intents that are closed), read from a copy:
    the store itself is left exactly as the kill left it."""
    folder = world.folder / "look"
    folder.mkdir(exist_ok=True)
    for suffix in ("", "-wal"):
        source = world.share / "credwarden" / f"store.db{suffix}"
        if source.exists():
            shutil.copyfile(source, folder / f"store.db{suffix}")
    connection = sqlite3.connect(folder / "store.db")
    try:
        lineages = connection.execute(
            "SELECT profile.name, lineage.generation, lineage.id"
            " FROM profile JOIN lineage ON lineage.id = profile.lineage").fetchall()
        spends = connection.execute("SELECT intent, lineage, verdict IS NULL FROM spend").fetchall()
    finally:
        connection.close()
        shutil.rmtree(folder)
    name_of = {lineage: name for name, _, lineage in lineages}
    return ({name: generation for name, generation, _ in lineages},
            {name_of[lineage]: intent & (1 << 64) - 1
             for intent, lineage, is_open in spends if is_open},
            {intent & (1 << 64) - 1 for intent, _, is_open in spends if not is_open})


class Ask:
    """A wish on its way: which profile, asked when, answered when."""

    def __init__(self, connection, name, wish_ms):
        self.connection, self.name = connection, name
        self.asked, self.took, self.answer = time.monotonic(), None, None
        connection.request("GET", f"/v1/profiles/{name}/token?min_ttl={wish_ms}ms")

    def fileno(self):
        return self.connection.sock.fileno()

    def read(self):
        self.took = time.monotonic() - self.asked
        response = self.connection.getresponse()
        self.answer = harness.Answer(response.status, response.headers, response.read())


class Story:
    """One world, one lab, so many families; rounds of kills; what is true at the end. `batch`
    spends are under way when `dies` (DAEMON, SPENDER or BOTH) is killed."""

    def __init__(self, world, seed, batch=BATCH, dies=DAEMON, kills_access=False, **provider):
        self.world, self.rng, self.batch, self.dies = world, random.Random(seed), batch, dies
        self.places, self.answered, self.kills, self.rounds = collections.Counter(), 0, 0, 0
        self.graced = collections.Counter()  # answers lost with the spender, of each profile
        self.logins_lost, self.presented_twice = 0, 0
        self.answer_s = 0.2  # from asking to the answer: what is aimed at; learned
        self.seen_seq = 0
        options = {"grace": provider.pop("lab_grace")} if "lab_grace" in provider else {}
        self.lab = world.start_lab(access_life="10m", kills_access=kills_access, max_seconds=3600,
                                   **options)
        world.write_provider("lab", **self.lab.provider_keys(refresh_kills_access=kills_access,
                                                             **provider))
        self.families = {}
        for i in range(2 * batch):
            login = self.lab.login(f"user{i}")
            world.add(f"p{i}", "lab", login)
            self.families[f"p{i}"] = login["family"]
        self.lab.config(delay_before_ms=LAB_MS // 2, delay_after_ms=LAB_MS - LAB_MS // 2)
        self.names = sorted(self.families)

    # ---- one round ----

    def draw_age(self):
        """How long before the kill a spend is asked for: anywhere, but often at the two moments
        that pass so quickly: the intent, and the answer's way to the disk."""
        kind = self.rng.random()
        if kind < 0.45:
            return self.rng.uniform(-0.005, self.answer_s * 1.25)
        if kind < 0.6:
            return self.rng.uniform(0, 0.008)
        return max(0.0, self.answer_s + self.rng.uniform(-0.012, 0.008))

    def ask_and_kill(self, profiles):
        """Returns the asks, and when (wall time) the victims were killed; None: there were none.
        A daemon that outlives its spender is stopped where it is, until go_on()."""
        batch = self.rng.sample(self.names, self.batch)
        ages = sorted(((self.draw_age(), name) for name in batch), reverse=True)
        connections = {name: self.world.connection() for name in batch}
        for connection in connections.values():
            connection.connect()
        pid, there = self.world.daemon_pid(), spenders()
        time.sleep(0.003)  # so that no token lives as long any more as it did when we looked
        asks, end = [], time.monotonic() + ages[0][0]
        while True:
            now = time.monotonic()
            while ages and now >= end - ages[0][0]:
                name = ages.pop(0)[1]
                asks.append(Ask(connections[name], name, profiles[name]["left_ms"]))
            if now >= end:
                break
            open_asks = [ask for ask in asks if ask.took is None]
            pause = max(0.0, min(end, end - ages[0][0] if ages else end) - time.monotonic())
            for ask in select.select(open_asks, [], [], pause)[0]:
                ask.read()
        killed = self.kill(pid, there)
        self.learn(asks)
        for name in set(connections) - {ask.name for ask in asks}:
            connections[name].close()
        return asks, killed

    def kill(self, daemon, there):
        """`there`: spenders that were there a moment ago; to look for them takes its time."""
        spender = [] if self.dies == DAEMON else \
            [pid for pid in there if harness.is_running(pid)] or spenders()
        victims = {DAEMON: [daemon], SPENDER: spender, BOTH: [daemon, *spender]}[self.dies]
        if self.dies == SPENDER:  # first, or it might have dealt with the death before we look
            harness.send_signal(daemon, signal.SIGSTOP)
        killed = time.time()
        for victim in victims:
            harness.send_signal(victim, signal.SIGKILL)
        wait_until(lambda: not any(harness.is_running(victim) for victim in victims), pause=0.001)
        self.kills += self.dies == DAEMON or len(spender) > 0
        return killed if victims else None

    def go_on(self, asks):
        """A daemon that outlived its spender answers who has asked; else nobody does."""
        if self.dies == SPENDER:
            harness.send_signal(self.world.daemon_pid(), signal.SIGCONT)
            for ask in asks:
                if ask.took is None:
                    ask.read()
        for ask in asks:
            ask.connection.close()

    def learn(self, asks):
        for ask in asks:
            if ask.took is not None:
                self.answer_s += 0.2 * (ask.took - self.answer_s)

    def locate(self, profiles, asks, killed):
        """Where the kill met each spend that had been asked for."""
        spool = read_spool(self.world)
        generations, opened, closed = read_store(self.world)
        lines = self.lab.log(after=self.seen_seq, endpoint="token")
        self.seen_seq = max([self.seen_seq, *(line["seq"] for line in lines)])
        committed = {line["family"] for line in lines
                     if line["committed"] and line["wall_ms"] <= killed * 1000}
        met = {}
        for ask in asks:
            name = ask.name
            if generations[name] > profiles[name]["generation"]:
                met[name] = AFTER
            elif name not in opened:
                met[name] = BEFORE
            else:
                assert opened[name] in spool, f"{name}: an intent is open, its spool file is gone"
                stage, written = spool[opened[name]]
                if stage == PREPARED:
                    met[name] = INTENT
                elif stage == SPOOL_ANSWERED and (self.dies != DAEMON or written <= killed):
                    met[name] = ANSWERED
                else:
                    met[name] = COMMITTED if self.families[name] in committed else ASKED
        self.places.update(met.values())
        # These two moments leave a file without an open intent, which says no more whose it was.
        for place, owner, count in (
                (ROOM, BEFORE, len(spool.keys() - set(opened.values()) - closed)),
                (SETTLED, AFTER, len(spool.keys() & closed))):
            self.places[place] += count
            self.places[owner] -= count
        return met

    def current(self):
        answer = self.world.api("GET", "/v1/profiles")
        assert answer.status == 200, answer
        return {profile["name"]: profile for profile in answer.json["profiles"]}

    def holds_everything(self):
        """The profiles, when credwarden holds what the lab issued last to each, at rest."""
        issued = {family["family"]: family for family in self.lab.families()}
        profiles = self.current()
        for name, family in self.families.items():
            profile = profiles.get(name)
            if profile is None or profile["state"] != "live" or \
                    profile["generation"] != issued[family]["generation"]:
                return None
        return profiles if self.lab.stats()["endpoints"]["token"]["open"] == 0 else None

    def recover(self, asks, met, timeout=10):
        """Whoever asks next gets a token that works; nothing that was granted is lost."""
        first = True
        for ask in asks:
            if first:
                access = self.world.cw("token", ask.name).stdout.strip()  # starts a daemon
            else:
                answer = self.world.api("GET", f"/v1/profiles/{ask.name}/token")
                assert answer.status == 200, (met[ask.name], answer)
                access = answer.json["access_token"]
            first = False
            assert self.lab.use(access).status == 200, f"refused after a kill {met.get(ask.name)}"
        try:
            profiles = wait_until(self.holds_everything, timeout, "what the lab granted")
        except AssertionError as error:
            self.logins_lost = len(self.behind())
            raise AssertionError(f"{error}; the kill was {met}") from None
        self.check_presented(met)
        for ask in asks:
            if ask.answer is not None:
                self.answered += 1
                self.check_answer(ask, profiles[ask.name]["generation"])
        return profiles

    def check_answer(self, ask, generation):
        """What somebody was told before the kill still holds."""
        if ask.answer.status == 422:  # it was spent, and the new pair is already older than wished
            assert ask.answer.json["code"] == "wish-too-long", ask.answer
            return
        assert ask.answer.status == 200, ask.answer
        told = ask.answer.json["generation"]
        assert told <= generation, f"{ask.name} was told of {told}, now there is {generation}"

    def check_presented(self, met):
        """No token twice; but once more, where its answer was lost with the spender."""
        families = {family["family"]: family for family in self.lab.families()}
        self.logins_lost = sum(not family["alive"] for family in families.values())
        for name in self.names:
            family = families[self.families[name]]
            again = family["reuses"] - self.graced[name]
            may = self.dies != DAEMON and met.get(name) in (ASKED, COMMITTED)
            self.presented_twice += max(0, again - may)
            assert again <= may, f"presented twice after a kill {met.get(name)}: {family}"
            self.graced[name] += again
        assert self.logins_lost == 0, families

    def round(self, profiles):
        self.rounds += 1
        asks, killed = self.ask_and_kill(profiles)
        met = self.locate(profiles, asks, killed) if killed else {}
        self.go_on(asks)
        profiles = self.recover(asks, met)
        if self.dies == SPENDER and self.rounds % RESTART_EVERY == 0:
            profiles = self.restart()
        return profiles

    def restart(self):
        self.world.kill_daemon()
        self.world.cw("token", self.names[0])
        profiles = wait_until(self.holds_everything)
        self.check_presented({})
        return profiles

    def run(self, kills):
        for name in self.names:  # from now on every pair is one that credwarden obtained
            self.world.cw("renew", name)
        profiles = self.restart()
        while self.kills < kills:
            profiles = self.round(profiles)

    # ---- the end ----

    def assert_all_live(self):
        """Each can be spent again; no token was presented twice, but after a lost answer."""
        for name in self.names:
            wait_until(lambda name=name: self.world.api(
                "POST", f"/v1/profiles/{name}/renew").status == 200, what=f"a renewal of {name}")
        self.check_presented({})

    def assert_nothing_lost(self):
        """Every family alive, no refresh token presented twice, and each can be spent again."""
        self.assert_all_live()
        assert not self.graced.total(), self.graced
        for family in self.lab.families():
            assert family["spends"] == family["generation"] - 1, family
        counts = self.count()
        assert counts["lost"] == counts["presented twice"] == 0, counts
        return counts["spent"]

    def count(self):
        """What became of the refresh tokens, from the lab's log and what credwarden holds."""
        presented = [line["presented"] for line in self.lab.log(endpoint="token")]
        return {"spent": len(presented), "lost": len(self.behind()),
                "presented twice": len(presented) - len(set(presented))}

    def behind(self):
        """Profiles of which credwarden does not hold what was granted last."""
        profiles = self.current()
        return [name for name, family in self.families.items()
                if name not in profiles or
                profiles[name]["generation"] != self.lab.family(family)["generation"]]

    def tell(self, out=print):
        out(f"# {self.kills} kills met {sum(self.places.values())} spends:")
        for place in PLACES:
            out(f"# {self.places[place]:6}  {place}")

    def assert_met(self, *places):
        missing = [place for place in places if self.places[place] <= 0]
        assert not missing, f"no kill came {missing}"
