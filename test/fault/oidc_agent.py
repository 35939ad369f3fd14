#!/usr/bin/env python3
"""The same kills, of somebody else's program: oidc-agent holds a login of the lab whose refresh
token rotates, is made to renew it, is killed meanwhile, starts again. Does the login still live?

    python3 test/fault/oidc_agent.py --proof [--tries N] [--minutes M]   200, 5 minutes at most

Where oidc-agent is not installed (Debian: oidc-agent-cli), it says so and is done. Nothing here
passes or fails: it is what the figures of kills.py are measured against. CW_FAULT_SEED repeats the
moments, which are spread evenly over the time that an undisturbed renewal takes (most of that goes
into sealing the new refresh token for the disk), and a little beyond. Everything is in a temporary
folder, and the lab is on loopback.
"""

import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "script")]

import harness  # noqa: E402
import killing  # noqa: E402
import runner  # noqa: E402
from harness import World  # noqa: E402
from nth_campaign import words_of  # noqa: E402
from runner import stop_by_exception, wait_until  # noqa: E402

TRIES, MINUTES = 200, 5
COMMAND_S = 60
SCOPE = "openid offline_access"
PROGRAMS = ("oidc-agent", "oidc-gen", "oidc-add", "oidc-token")

# Where the kill met the renewal, as the server saw it.
BEFORE = "before the request arrived"
ASKED = "asked, not committed"
COMMITTED = "committed, the answer on its way"
AFTER = "after the answer was sent"


class Agent:
    """oidc-agent with one login, `work`."""

    def __init__(self, world, lab):
        self.world, self.lab = world, lab
        self.folder, self.process, self.socket = None, None, ""
        self.count = 0

    def run(self, program, *args, wait=True, **env):
        command = [shutil.which(program), *args]
        given = {**self.world.env, "OIDC_CONFIG_DIR": str(self.folder), "OIDC_SOCK": self.socket,
                 "OIDC_ENCRYPTION_PW": "made-up", **env}
        if "LD_LIBRARY_PATH" in os.environ:  # where its libraries are not the system's
            given["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        started = subprocess.Popen(command, env=given, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return self.end_of(started) if wait else started

    @staticmethod
    def end_of(process):
        """(exit code, what it printed); a code of None: it had to be killed."""
        try:
            output, _ = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            return None, output.decode(errors="replace")
        return process.returncode, output.decode(errors="replace")

    def start(self):
        self.count += 1
        self.socket = str(self.world.folder / f"agent-{self.count}" / "sock")
        pathlib.Path(self.socket).parent.mkdir(mode=0o700)
        self.process = self.run("oidc-agent", "--console", "--pw-store", "--no-autoreauthenticate",
                                "--no-webserver", f"--socket-path={self.socket}", wait=False)
        wait_until(pathlib.Path(self.socket).exists, what="the agent's socket")

    def kill(self):
        """All its processes, in one instant."""
        victims = [pid for pid in harness.descendants()
                   if killing.name_of_process(pid).startswith("oidc-agent")]
        for pid in victims:
            harness.send_signal(pid, signal.SIGKILL)
        self.process.communicate()
        wait_until(lambda: not any(harness.is_running(pid) for pid in victims), pause=0.001)

    def log_in(self, number):
        """A new login, in a configuration of its own. Returns its family."""
        login = self.lab.login(f"user{number}", scope=f"{SCOPE} profile")
        self.folder = self.world.folder / f"logins-{number}"
        self.folder.mkdir(mode=0o700)
        self.start()
        code, output = self.run(
            "oidc-gen", "--manual", f"--issuer={self.lab.url}", "--client-id=lab-client",
            "--client-secret=made-up", "--rt-env", f"--scope={SCOPE}",
            "--redirect-uri=http://localhost:9999", "--pw-env", "--prompt=none",
            "--confirm-default", "work", OIDC_REFRESH_TOKEN=login["refresh_token"])
        assert code == 0, harness.redact(output)
        return login["family"]

    def load(self):
        """As its user would after a crash. True when the login could be renewed."""
        self.start()
        if self.run("oidc-add", "--pw-env", "--pw-store", "work")[0] != 0:
            return False
        return self.run("oidc-token", "--force-new", "work")[0] == 0

    def begin_renewal(self):
        return self.run("oidc-token", "--force-new", "work", wait=False)


class Story:
    def __init__(self, world, seed):
        self.rng, self.world = random.Random(seed), world
        self.lab = world.start_lab(access_life="10m", max_seconds=3600)
        self.agent = Agent(world, self.lab)
        self.met, self.lost = collections.Counter(), collections.Counter()
        self.tries, self.logins = 0, 0
        self.renewal_s = 0.0  # what an undisturbed one takes

    def log_in(self):
        self.lab.config(delay_before_ms=0, delay_after_ms=0)
        self.logins += 1
        self.family = self.agent.log_in(self.logins)
        self.lab.config(delay_before_ms=killing.LAB_MS // 2, delay_after_ms=killing.LAB_MS // 2)
        begun = time.monotonic()
        code, output = self.agent.end_of(self.agent.begin_renewal())
        assert code == 0, harness.redact(output)
        self.renewal_s = time.monotonic() - begun

    def place(self, before):
        """Where the renewal was at this moment."""
        now = self.lab.stats()["endpoints"]["token"]
        if now["arrived"] == before["arrived"]:
            return BEFORE
        if now["decided"] == before["decided"]:
            return ASKED
        return COMMITTED if now["open"] else AFTER

    def one(self):
        before = self.lab.stats()["endpoints"]["token"]
        asking = self.agent.begin_renewal()
        time.sleep(self.rng.uniform(0, self.renewal_s * 1.2))
        self.agent.kill()
        place = self.place(before)
        asking.kill()
        asking.communicate()
        self.tries += 1
        self.met[place] += 1
        wait_until(lambda: self.lab.stats()["endpoints"]["token"]["open"] == 0)
        if self.agent.load() and self.lab.family(self.family)["alive"]:
            return
        self.lost[place] += 1
        self.agent.kill()
        self.log_in()

    def run(self, tries, minutes):
        self.log_in()
        until = time.monotonic() + minutes * 60
        while self.tries < tries and time.monotonic() < until:
            self.one()
        self.agent.kill()


def main(words):
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        print("oidc-agent is not installed (Debian: oidc-agent-cli); nothing to measure against")
        print("proof: " + json.dumps({"skipped": {"oidc-agent": "not installed"}}))
        return 0
    stop_by_exception()
    tries, minutes = words_of(words, "--tries", "--minutes")
    with World() as world:
        story = Story(world, runner.seed())
        story.run(int(tries) if tries else TRIES, float(minutes) if minutes else MINUTES)
    for place in (BEFORE, ASKED, COMMITTED, AFTER):
        print(f"{story.met[place]:6} kills {place}: {story.lost[place]} logins lost")
    print("proof: " + json.dumps({
        "oidc_agent_kills": story.tries, "oidc_agent_logins_lost": sum(story.lost.values()),
        "oidc_agent_renewal_s": round(story.renewal_s, 2), "oidc_agent_met": dict(story.met),
        "oidc_agent_lost": dict(story.lost)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
