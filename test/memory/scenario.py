"""One life of a login, for the memory checkers: added, asked for, renewed, an answer lost and found
again, backed up, removed, the daemon stopped and started. Each of our programs runs under the
checker by a wrapper in the world's bin folder; what the checker reports fails the story."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "script"))

from harness import PROGRAMS, program  # noqa: E402
from runner import wait_until  # noqa: E402


def wrap(world, line):
    """Start each program by `line`, a shell command that {name} and {program} are filled into."""
    for name in PROGRAMS:
        place = world.programs / name
        place.unlink()
        command = line.format(name=name, program=f"'{program(name)}'")
        place.write_text(f"#!/bin/sh\n{command}\n")
        place.chmod(0o700)


def start_daemon(world):
    """Under a checker and beside other work this takes longer than a command waits for it."""
    wait_until(lambda: world.cw("status", check=False).code == 0, 60, "the daemon")


def tell(world):
    world.write_config(ask_deadline="60s", spend_deadline="60s")
    start_daemon(world)
    lab = world.start_lab(access_life="2m", grace="1m")
    world.write_provider("lab", reuse_grace="1m", **lab.provider_keys())
    world.add("work", "lab", lab.login("alice"))
    first = world.cw("token", "work").stdout.strip()
    assert lab.use(first).status == 200
    world.cw("renew", "work")
    second = world.cw("token", "work", "--json").json
    assert second["generation"] == 2 and lab.use(second["access_token"]).status == 200

    lab.script("token", lose_after_commit=True)
    # One that follows the last too closely is answered with what is there.
    wait_until(lambda: world.cw("renew", "work", "--timeout", "2s", check=False)
               and len(lab.log(endpoint="token")) > 1, 30, "an answer that gets lost")
    assert world.cw("renew", "work", "--json", "--timeout", "50s").json["generation"] >= 3
    assert '"alarm-raised"' in world.cw("events", "--json").stdout, "the answer was not lost"
    assert lab.use(world.cw("token", "work").stdout.strip()).status == 200

    world.add("home", "lab", lab.login("bob"))
    assert "seccomp" in world.cw("status", "--json").json["daemon"]["sandbox"]
    world.cw("history", "work")
    world.cw("events")
    world.cw("backup", world.folder / "backup.db")
    world.cw("remove", "home", "--yes")
    assert world.cw("token", "nobody", check=False).code == 3
    pid = world.daemon_pid()
    world.cw("daemon", "stop", check=False)  # it may take longer than the command waits
    wait_until(lambda: world.daemon_pid() is None, 60, f"the end of the daemon {pid}")
    start_daemon(world)
    assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
    world.kill_daemon(15)
