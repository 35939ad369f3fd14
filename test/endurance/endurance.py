#!/usr/bin/env python3
"""Everybody at once, for as long as it is told: three accounts, two folders of a client, eight
siblings in them (half of them rude), tokens of four seconds, another account every two seconds, and
a SIGKILL of the daemon every five. No login is lost, no token is presented twice, and nobody who
asks credwarden is given another's token.

    endurance.py [--minutes M]   with credwarden, and before that for comparison without it

CW_SEED repeats the choices (not the moments).
"""

import argparse
import os
import pathlib
import random
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "script"))

import harness  # noqa: E402
import runner  # noqa: E402
import siblings  # noqa: E402
from harness import World  # noqa: E402
from siblings import PoliteClient, RudeClient  # noqa: E402

ACCOUNTS = ("anna", "bert", "cleo")
LIFE_S = 4
SWITCH_S = 2
KILL_S = 5
PATIENCE_S = 2.5
DEEDS = 8 * ("turn",) + 4 * ("remember", "write_back") + 2 * ("half",) + ("sign_out",)


class Actor(threading.Thread):
    """Does something again and again; what goes wrong there is told at the end."""

    def __init__(self, over, act, pause_s):
        super().__init__(daemon=True)
        self.over, self.act, self.pause_s, self.error = over, act, pause_s, None

    def run(self):
        try:
            while not self.over.wait(self.pause_s):
                self.act()
        except Exception as error:
            self.error = error
            self.over.set()


def act_rudely(client, rng):
    """No lock, an old memory, half a file, and away with it."""
    deed = rng.choice(DEEDS)
    if deed == "half":
        (client.folder / siblings.STORE).write_bytes(b'{"claudeAiOauth": {"accessTo')
    elif deed == "write_back" and not client.first:
        client.remember()
    else:
        getattr(client, deed)()


def people_of(lab, folders, rng):
    """Eight clients, in both folders, and what each of them does again and again."""
    polite = [PoliteClient(folders[i % 2], lab, f"polite-{i}", buffer_s=1, patience_s=PATIENCE_S)
              for i in range(4)]
    rude = [RudeClient(folders[i % 2], lab, f"rude-{i}", buffer_s=1, in_place=i > 1)
            for i in range(4)]
    for client in rude:
        client.store = {}
    acts = [(client.turn, 0.1) for client in polite]
    acts += [(lambda c=client, r=random.Random(rng.random()): act_rudely(c, r), 0.7)
             for client in rude]
    return polite, rude, acts


def without(seconds, seed):
    """The same people share one login without anybody's help. How long it lives, in seconds."""
    with World() as world:
        lab = world.start_lab(access_life=f"{LIFE_S}s", max_seconds=3600)
        folder = world.home / ".claude"
        siblings.write_store(folder, lab.login(ACCOUNTS[0]))
        _, _, acts = people_of(lab, (folder, folder), random.Random(seed))
        over = threading.Event()
        actors = [Actor(over, act, pause) for act, pause in acts]
        began = time.monotonic()
        for actor in actors:
            actor.start()
        while time.monotonic() - began < seconds:
            family = lab.families()[0]
            if not family["alive"] or not siblings.login_in(folder):
                break
            time.sleep(0.05)
        lived = time.monotonic() - began
        over.set()
        for actor in actors:
            actor.join()
        return lived


class Endurance:
    def __init__(self, world, seed):
        self.world, self.rng = world, random.Random(seed)
        self.lab = world.start_lab(access_life=f"{LIFE_S}s", max_seconds=3600)
        world.write_provider("lab", **self.lab.provider_keys(default_policy="always",
                                                             skew="500ms"))
        self.folders = (world.home / ".claude", world.home / "agent")
        for name in ACCOUNTS:
            world.add(name, "lab", self.lab.login(name))
        for folder in self.folders:
            folder.mkdir(mode=0o700)
        self.world.cw("bind", ACCOUNTS[0], "--to", "claude")
        self.world.cw("bind", ACCOUNTS[2], "--to", f"claude:{self.folders[1]}")
        self.over = threading.Event()
        self.kills = self.switches = self.refused_switches = self.answers = self.late = 0
        self.wrong = []
        self.at = 0

    def switch(self):
        """Now this folder, now the other; it also signs in whoever a rude one has signed out."""
        self.at += 1
        place = "claude" if self.at % 4 else f"claude:{self.folders[1]}"
        done = self.world.cw("use", ACCOUNTS[self.at % 3], "--for", place, check=False)
        self.switches += done.code == 0
        self.refused_switches += done.code != 0

    def kill(self):
        pid = self.world.daemon_pid()
        if pid:
            harness.send_signal(pid, signal.SIGKILL)
            self.kills += 1

    def ask(self, name):
        done = self.world.cw("token", name, check=False)
        if done.code != 0:
            self.late += 1
            return
        answer = self.lab.use(done.stdout.strip())
        if answer.status == 200:
            self.answers += 1
            if answer.json["sub"] != name:
                self.wrong.append((name, answer.json["sub"]))
        else:
            self.late += 1  # it ended between the answer and its use

    def run(self, seconds):
        polite, rude, acts = people_of(self.lab, self.folders, self.rng)
        acts += [(self.switch, SWITCH_S), (self.kill, KILL_S)]
        acts += [(lambda n=name: self.ask(n), 0.3) for name in ACCOUNTS]
        actors = [Actor(self.over, act, pause) for act, pause in acts]
        for actor in actors:
            actor.start()
        self.over.wait(seconds)
        self.over.set()
        for actor in actors:
            actor.join()
        errors = [actor.error for actor in actors if actor.error]
        if errors:
            raise errors[0]
        return polite, rude

    def tell(self, polite, rude):
        ok = sum(client.ok for client in polite)
        failed = sum(client.failed for client in polite)
        stolen = sum(client.refreshes for client in polite + rude)
        print(f"# {self.switches} switches ({self.refused_switches} taken back), {self.kills} kills,"
              f" {self.answers} answers of ours used ({self.late} late); the polite: {ok} requests"
              f" answered, {failed} not; spends by siblings: {stolen}", flush=True)

    def judge(self, polite, rude):
        tokens = [line["presented"] for line in self.lab.log(endpoint="token")]
        twice = len(tokens) - len(set(tokens))
        assert not self.wrong, f"answered as another: {self.wrong[:5]}"
        assert twice == 0, f"{twice} presented twice"
        assert all(family["reuses"] == 0 for family in self.lab.families())
        for name in ACCOUNTS:
            answer = self.lab.use(self.world.cw("token", name, "--min-ttl", "2s").stdout.strip())
            assert answer.status == 200 and answer.json["sub"] == name, name
            self.world.cw("renew", name)
        assert all(family["alive"] for family in self.lab.families()), self.lab.families()
        for client in polite + rude:
            assert client.refreshes == 0, "a client was given a refresh token"
            assert set(client.subjects) <= set(ACCOUNTS)
        assert self.kills > 0 and self.switches > 0 and self.answers > 0


def endure(seconds):
    seed = runner.seed()
    lived = without(60, seed)
    print(f"# without credwarden the login lived {lived:.1f} s", flush=True)
    assert lived < 60, "it should not have"
    with World() as world:
        story = Endurance(world, seed)
        people = story.run(seconds)
        story.tell(*people)
        story.judge(*people)
    print(f"# with it, three lived {seconds:.0f} s, and live on", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    runner.stop_by_exception()
    endure(options.minutes * 60)


if __name__ == "__main__":
    main()
