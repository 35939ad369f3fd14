#!/usr/bin/env python3
"""Whatever dies, and whenever: no refresh token is lost, none is presented twice without a reason,
and what is said meanwhile is true.

CW_SEED repeats the moments of a run, CW_KILLS sets how many there are. `make bench` does the
same a thousand times.
"""

import os
import shutil
import signal
import threading
import time

import harness
import killing
import runner
from harness import World
from killing import spenders
from runner import wait_until

KILLS = int(os.environ.get("CW_KILLS", "200"))


# ---- the daemon is killed at random moments ----

def kill_many(kills, **circumstances):
    with World() as world:
        story = killing.Story(world, runner.seed(), **circumstances)
        try:
            story.run(kills)
        finally:
            story.tell()
        spends = story.assert_nothing_lost()
        print(f"# {spends} refresh tokens spent, none lost, none presented twice")
        story.assert_met(killing.BEFORE, killing.ASKED, killing.COMMITTED, killing.AFTER)


@runner.limit(170)
def test_kills_at_random_moments():
    kill_many(KILLS // 2)


@runner.limit(170)
def test_kills_at_random_moments_where_a_spend_ends_the_access_token():
    kill_many(KILLS - KILLS // 2, kills_access=True)


# ---- one death at a time, each at a moment of its own ----

class Renewal(threading.Thread):
    """Somebody asks for a renewal and waits for it."""

    def __init__(self, world, name):
        super().__init__(daemon=True)
        self.world, self.name, self.answer = world, name, None
        self.start()

    def run(self):
        try:
            self.answer = self.world.api("POST", f"/v1/profiles/{self.name}/renew")
        except (OSError, harness.http.client.HTTPException):
            pass  # whoever is killed does not answer

    def status(self):
        self.join(40)
        return self.answer.status if self.answer else None


def kill_spenders():
    victims = spenders()
    assert victims
    for pid in victims:
        harness.send_signal(pid, signal.SIGKILL)
    wait_until(lambda: not set(victims) & set(spenders()), what="the end of the spender")


def reach(lab, station, spend):
    """Begin a spend and wait until the lab's token endpoint is that far with it: `arrived`, or
    `decided`, which is past the commit."""
    before = lab.stats()["endpoints"]["token"][station]
    begun = spend()
    wait_until(lambda: lab.stats()["endpoints"]["token"][station] > before,
               what=f"a spend that has {station}", pause=0.005)
    return begun


def one_login(world, name="work", keys=None, **lab_options):
    lab = world.lab or world.start_lab(**lab_options)
    world.write_provider("lab", **lab.provider_keys(**(keys or {})))
    login = lab.login(f"owner-of-{name}")
    world.add(name, "lab", login)
    return lab, login["family"]


def profile(world, name="work"):
    answer = world.api("GET", f"/v1/profiles/{name}")
    assert answer.status == 200, answer
    return answer.json


def works(world, lab, name="work"):
    return lab.use(world.cw("token", name).stdout.strip()).status == 200


def becomes(world, state, name="work", timeout=15):
    """Wait for the state; what the profile looks like then."""
    def look():
        found = profile(world, name)
        return found if found["state"] == state else None
    return wait_until(look, timeout, lambda: f"{name} to be {state}; it is {profile(world, name)}")


def presentations(lab, family):
    return [line["presented"] for line in lab.log(endpoint="token") if line["family"] == family]


def assert_never_twice(lab, family):
    shown = presentations(lab, family)
    assert len(shown) == len(set(shown)), "a refresh token was presented twice"
    state = lab.family(family)
    assert state["alive"] and state["reuses"] == 0, state


def assert_in_step(world, lab, family, name="work"):
    """What credwarden holds is what the lab issued last."""
    found, issued = profile(world, name), lab.family(family)
    assert issued["alive"] and found["generation"] == issued["generation"], (found, issued)


def test_a_spend_outlives_the_daemon():
    with World() as world:
        lab, family = one_login(world, access_life="10m")
        lab.script("token", delay_after_ms=1500)
        reach(lab, "decided", lambda: Renewal(world, "work"))
        spender = spenders()
        world.kill_daemon()
        assert spenders() == spender, "the spender is to finish what it has in hand"

        assert works(world, lab)  # a new daemon, which waits for that spender and lives meanwhile
        assert profile(world)["state"] == "spending"
        assert profile(world)["alarms"] == []
        found = becomes(world, "live")
        assert found["generation"] == 2 and not set(spenders()) & set(spender)
        history = world.api("GET", "/v1/profiles/work/history").text
        assert "recovered" in history
        assert_in_step(world, lab, family)
        world.cw("renew", "work")
        assert_never_twice(lab, family)


def test_a_spend_outlives_every_daemon_that_waits_for_it():
    with World() as world:
        lab, family = one_login(world, access_life="10m")
        lab.script("token", delay_after_ms=2000)
        reach(lab, "decided", lambda: Renewal(world, "work"))
        for _ in range(4):
            world.kill_daemon()
            assert works(world, lab)
            assert profile(world)["state"] == "spending"
        assert becomes(world, "live")["generation"] == 2
        assert_in_step(world, lab, family)
        assert_never_twice(lab, family)


def test_a_spender_that_outlived_the_daemon_is_killed_as_well():
    with World() as world:
        lab, family = one_login(world, keys={"reuse_grace": "20s"}, access_life="10m", grace="20s")
        lab.script("token", delay_after_ms=5000)
        reach(lab, "decided", lambda: Renewal(world, "work"))
        world.kill_daemon()
        assert works(world, lab) and profile(world)["state"] == "spending"
        kill_spenders()
        assert_in_doubt(world)
        assert becomes(world, "live")["alarms"] == []
        assert lab.family(family)["graced"] == 1
        assert_in_step(world, lab, family)


def test_told_to_stop_in_mid_spend_the_daemon_finishes_first():
    with World() as world:
        lab, family = one_login(world, access_life="10m")
        lab.script("token", delay_after_ms=700)
        renewal = reach(lab, "decided", lambda: Renewal(world, "work"))
        world.kill_daemon(signal.SIGTERM)
        assert renewal.status() == 200 and renewal.answer.json["generation"] == 2
        assert not list((world.state / "credwarden" / "spool").iterdir())
        assert works(world, lab)
        assert profile(world)["generation"] == 2  # durable before it was answered
        assert_never_twice(lab, family)


def test_a_restart_in_mid_spend_loses_nothing():
    with World() as world:
        lab, family = one_login(world, access_life="10m", kills_access=True,
                                keys={"refresh_kills_access": True})
        first = world.daemon_pid()
        lab.script("token", delay_before_ms=300, delay_after_ms=300)
        renewal = reach(lab, "arrived", lambda: Renewal(world, "work"))
        world.cw("daemon", "restart")
        assert world.daemon_pid() != first
        assert renewal.status() == 200
        assert works(world, lab)
        assert_in_step(world, lab, family)
        assert_never_twice(lab, family)


def copy_programs(world):
    """Programs of the world's own, so that they can be replaced as an upgrade does it."""
    for name in harness.PROGRAMS:
        place = world.programs / name
        copy = world.folder / f"{name}.copy"
        shutil.copy(harness.program(name), copy)
        if place.is_symlink():
            copy.rename(place)
        else:  # the script that sets the sanitizers' environment
            text = place.read_text().replace(str(harness.program(name)),
                                             str(world.programs / f"real-{name}"))
            copy.rename(world.programs / f"real-{name}")
            place.write_text(text)


def install_again(world, name):
    real = world.programs / f"real-{name}"
    place = real if real.exists() else world.programs / name
    copy = world.folder / "new"
    shutil.copy(place, copy)
    copy.rename(place)


def test_an_upgrade_in_mid_spend():
    with World() as world:
        copy_programs(world)
        lab, family = one_login(world, access_life="10m")
        first = world.daemon_pid()
        assert not world.api("GET", "/v1/version").json["binary_replaced"]
        lab.script("token", delay_after_ms=700)
        renewal = reach(lab, "decided", lambda: Renewal(world, "work"))
        for name in ("credwardend", "credwarden-spender"):
            install_again(world, name)
        assert world.api("GET", "/v1/version").json["binary_replaced"]
        assert "upgrade" in world.cw("status").stdout
        world.cw("daemon", "restart")
        assert renewal.status() == 200
        assert world.daemon_pid() != first
        assert not world.api("GET", "/v1/version").json["binary_replaced"]
        assert works(world, lab)
        assert_in_step(world, lab, family)
        assert_never_twice(lab, family)


# ---- the answer is lost with the spender: in doubt ----

def assert_in_doubt(world, name="work"):
    """In doubt, and nothing worse is claimed."""
    found = becomes(world, "doubt", name)
    assert found["alarms"] == ["in-doubt"] and found["standing"] == "in-doubt", found
    status = world.cw("status").stdout
    assert "in doubt" in status or "in-doubt" in status, status
    return found


def test_a_killed_spender_and_a_provider_that_forgives():
    with World() as world:
        lab, family = one_login(world, keys={"reuse_grace": "20s"}, access_life="10m", grace="20s")
        lab.script("token", delay_after_ms=5000)
        renewal = reach(lab, "decided", lambda: Renewal(world, "work"))
        kill_spenders()
        assert_in_doubt(world)
        assert works(world, lab)  # the old access token, until it is known
        assert renewal.status() == 200  # it waited for the presentation that was forgiven
        found = becomes(world, "live")
        assert found["alarms"] == []
        state = lab.family(family)
        assert state["alive"] and state["graced"] == 1, state
        assert len(presentations(lab, family)) == 2
        assert works(world, lab)
        world.cw("renew", "work")
        assert_in_step(world, lab, family)


def test_a_killed_spender_and_an_old_token_that_proves_that_nothing_happened():
    with World() as world:
        world.write_config(spend_deadline="6s")
        lab, family = one_login(world, keys={"refresh_kills_access": True}, access_life="20s",
                                kills_access=True)
        lab.script("token", delay_before_ms=5000, lose_before_commit=True)
        renewal = reach(lab, "arrived", lambda: Renewal(world, "work"))
        kill_spenders()
        assert_in_doubt(world)
        assert works(world, lab)  # it waits for the probe, and the probe says that it works
        # It could still commit: the doubt ends when twice the spend's deadline is over.
        wait_until(lambda: profile(world)["alarms"] == [], 15, "the end of the doubt")
        assert renewal.status() == 200
        wait_until(lambda: lab.stats()["endpoints"]["token"]["open"] == 0)
        assert lab.family(family)["reuses"] == 0
        assert len(set(presentations(lab, family))) == 1  # again, but not in doubt any more
        assert_in_step(world, lab, family)
        assert works(world, lab)


def test_a_killed_spender_and_a_commit_that_nobody_heard_of():
    with World() as world:
        lab, family = one_login(world, keys={"refresh_kills_access": True}, access_life="20s",
                                kills_access=True)
        lab.script("token", delay_after_ms=5000)
        renewal = reach(lab, "decided", lambda: Renewal(world, "work"))
        kill_spenders()
        assert_in_doubt(world)
        found = becomes(world, "dead")  # the probe says dead, so the one chance is taken at once
        assert found["alarms"] == ["dead"], found
        shown = presentations(lab, family)
        assert len(shown) == 2 and len(set(shown)) == 1
        assert renewal.status() == 409 or renewal.answer.json["code"] == "sign-in-needed"
        told = world.cw("token", "work", check=False)
        assert told.code == 5 and "sign in again" in told.stderr, told
        events = world.cw("events").stdout
        assert events.count("alarm-raised  in-doubt") == events.count("alarm-raised  dead") == 1
        world.kill_daemon()
        assert world.cw("token", "work", check=False).code == 5  # dead stays dead
        assert len(presentations(lab, family)) == 2


def test_without_a_way_to_ask_the_old_access_token_is_lived_on():
    """Two logins whose answer is lost, one before the commit and one after it: the same doubt, the
    same calm; when the old access token ends, one goes on and the other is over."""
    with World() as world:
        lab, lucky = one_login(world, "lucky", access_life="9s")
        _, unlucky = one_login(world, "unlucky")
        lab.script("token", family=lucky, delay_before_ms=5000, lose_before_commit=True)
        lab.script("token", family=unlucky, delay_after_ms=5000)
        reach(lab, "arrived", lambda: Renewal(world, "lucky"))
        reach(lab, "decided", lambda: Renewal(world, "unlucky"))
        kill_spenders()
        for name in ("lucky", "unlucky"):
            assert_in_doubt(world, name)
            assert works(world, lab, name)
        left_ms = min(profile(world, name)["left_ms"] for name in ("lucky", "unlucky"))
        time.sleep(max(0, left_ms / 1000 - 1))
        assert len(presentations(lab, lucky)) <= 1 and len(presentations(lab, unlucky)) == 1
        assert profile(world, "lucky")["state"] == profile(world, "unlucky")["state"] == "doubt"

        assert becomes(world, "live", "lucky")["alarms"] == []
        assert becomes(world, "dead", "unlucky")["alarms"] == ["dead"]
        assert works(world, lab, "lucky")
        assert_in_step(world, lab, lucky, "lucky")
        assert len(presentations(lab, unlucky)) == 2  # once more, and never again
        assert world.cw("token", "unlucky", check=False).code == 5


def kill_everything(world):
    """Daemon and spender in the same instant."""
    victims = [world.daemon_pid(), *spenders()]
    assert len(victims) == 2, victims
    for pid in victims:
        harness.send_signal(pid, signal.SIGKILL)
    wait_until(lambda: not any(harness.is_running(pid) for pid in victims))


def test_everything_killed_at_once():
    with World() as world:
        lab, family = one_login(world, keys={"reuse_grace": "20s"}, access_life="10m", grace="20s")
        lab.script("token", delay_after_ms=5000)
        reach(lab, "decided", lambda: Renewal(world, "work"))
        kill_everything(world)
        assert works(world, lab)
        assert_in_doubt(world)
        assert becomes(world, "live")["alarms"] == []
        assert lab.family(family)["graced"] == 1
        assert_in_step(world, lab, family)


def test_everything_killed_and_the_grace_over_before_anything_runs_again():
    with World() as world:
        lab, family = one_login(world, keys={"reuse_grace": "3s"}, access_life="10m", grace="3s")
        lab.script("token", delay_after_ms=5000)
        reach(lab, "decided", lambda: Renewal(world, "work"))
        kill_everything(world)
        time.sleep(3.2)
        assert works(world, lab)
        assert_in_doubt(world)
        time.sleep(2)
        assert profile(world)["state"] == "doubt"
        assert len(presentations(lab, family)) == 1, "presented when nobody forgives it any more"
        assert works(world, lab)


# ---- what a crash leaves in the spool ----

def test_an_answer_is_settled_once_and_leftovers_are_swept():
    with World() as world:
        lab, family = one_login(world, access_life="10m")
        spool = world.state / "credwarden" / "spool"
        lab.script("token", delay_after_ms=300)
        reach(lab, "decided", lambda: Renewal(world, "work"))
        world.kill_daemon()
        wait_until(lambda: not spenders(), what="the spender to finish")
        kept = {path.name: path.read_bytes() for path in spool.iterdir()}
        assert len(kept) == 1
        assert works(world, lab)
        assert becomes(world, "live")["generation"] == 2
        world.cw("daemon", "stop")
        assert not list(spool.iterdir())

        # As if the crash had come after the settlement's commit, before the file was removed; and
        # as if another one had come while a file was being made.
        for name, content in kept.items():
            (spool / name).write_bytes(content)
        (spool / "00000000000000aa.spool").write_bytes(b"")
        (spool / "not-ours").write_bytes(b"left alone")
        assert works(world, lab)
        assert [path.name for path in spool.iterdir()] == ["not-ours"]
        found = profile(world)
        assert found["generation"] == 2 and found["alarms"] == [] and found["state"] == "live"
        world.cw("renew", "work")
        assert_in_step(world, lab, family)
        assert_never_twice(lab, family)


def test_a_damaged_or_missing_spool_file_is_doubt_and_not_death():
    with World() as world:
        lab, _ = one_login(world, "missing", access_life="10m")
        one_login(world, "damaged")
        spool = world.state / "credwarden" / "spool"
        files = {}
        for name in ("missing", "damaged"):
            lab.script("token", delay_after_ms=400)
            seen = set(spool.iterdir())
            reach(lab, "decided", lambda name=name: Renewal(world, name))
            files[name] = next(iter(set(spool.iterdir()) - seen))
        world.kill_daemon()
        wait_until(lambda: not spenders(), what="the spender to finish")
        files["missing"].unlink()
        content = bytearray(files["damaged"].read_bytes())
        content[4200] ^= 1
        files["damaged"].write_bytes(content)
        for name in files:
            assert works(world, lab, name)
            assert_in_doubt(world, name)
        aside = files["damaged"].with_suffix(".aside")  # it may still be good for something
        wait_until(aside.exists, what="the end of the spend")
        assert aside.read_bytes() == content and not files["damaged"].exists()


def test_an_answer_that_does_not_open_is_set_aside_and_not_deleted():
    with World() as world:
        lab, _ = one_login(world, access_life="10m")
        lab.script("token", delay_after_ms=400)
        reach(lab, "decided", lambda: Renewal(world, "work"))
        world.kill_daemon()
        wait_until(lambda: not spenders(), what="the spender to finish")
        [file] = (world.state / "credwarden" / "spool").iterdir()
        content = killing.reseal(file.read_bytes())
        file.write_bytes(content)
        assert works(world, lab)
        assert_in_doubt(world, "work")
        wait_until(lambda: not file.exists(), what="the end of the spend")
        world.cw("daemon", "stop")
        for _ in range(2):  # nor at the next start
            assert file.with_suffix(".aside").read_bytes() == content
            assert works(world, lab)


# ---- a backup is put back ----

def put_back(world, backup):
    store = world.share / "credwarden" / "store.db"
    world.cw("daemon", "stop")
    store.with_name("store.db-wal").unlink(missing_ok=True)
    shutil.copyfile(backup, store)


def backed_up(world, keys=None, **lab_options):
    """Two logins, a backup, and then the second one is spent several times."""
    lab, still = one_login(world, "still", keys=keys, **lab_options)
    _, moved = one_login(world, "moved", keys=keys)
    for name in ("still", "moved"):
        world.cw("renew", name)
    backup = world.home / "backup.db"
    world.cw("backup", backup)
    return lab, still, moved, backup


def rotate(world, name, times):
    """So often, each time as if long after the time before."""
    for _ in range(times):
        generation = profile(world, name)["generation"]
        world.cw("daemon", "restart")
        world.cw("renew", name)
        assert profile(world, name)["generation"] == generation + 1


@runner.limit(170)
def test_a_backup_that_was_put_back_is_in_doubt_and_the_old_token_is_asked():
    with World() as world:
        lab, still, moved, backup = backed_up(world, keys={"refresh_kills_access": True},
                                              access_life="300s", kills_access=True)
        rotate(world, "moved", 3)
        before = len(lab.log(endpoint="token"))
        put_back(world, backup)
        assert "older copy" in world.cw("status").stdout or world.api(
            "GET", "/v1/status").json["daemon"]["restored"]
        for name in ("still", "moved"):
            found = profile(world, name)
            assert found["alarms"] == ["in-doubt", "restored"], found
            assert found["standing"] == "in-doubt"
        assert len(lab.log(endpoint="token")) == before

        # The one that is current says so itself; nothing was spent to learn it.
        # Asked twice: a spend of the run that the copy knows nothing of may be under way at first.
        found = becomes(world, "live", "still", timeout=90)
        assert found["alarms"] == [] and len(presentations(lab, still)) == 1
        assert works(world, lab, "still")
        # The other one's access token is dead: then, and only then, the one chance is taken.
        assert becomes(world, "dead", "moved")["alarms"] == ["dead"]
        asked = [line["endpoint"] for line in lab.log() if line["family"] == moved]
        assert asked[-2:] == ["identity", "token"], asked
        world.cw("renew", "still")
        assert_in_step(world, lab, still, "still")


def test_a_backup_that_was_put_back_is_lived_on_and_not_presented_blindly():
    """Without a token that tells, and with a grace that would forgive one spend but not several."""
    with World() as world:
        world.write_config(spend_deadline="2s")  # twice that is what a forgotten request is given
        lab, still, _, backup = backed_up(world, keys={"reuse_grace": "30s"},
                                          access_life="14s", grace="30s")
        rotate(world, "moved", 2)
        before = len(lab.log(endpoint="token"))
        put_back(world, backup)
        for _ in range(2):  # it is no less an old copy after the next restart
            for name in ("still", "moved"):
                assert works(world, lab, name)
                assert profile(world, name)["alarms"] == ["in-doubt", "restored"]
            world.kill_daemon()
        world.cw("status")
        time.sleep(2.5)
        assert len(lab.log(endpoint="token")) == before, "presented blindly"
        assert becomes(world, "live", "still", timeout=20)["alarms"] == []
        assert_in_step(world, lab, still, "still")
        assert becomes(world, "dead", "moved", timeout=20)["alarms"] == ["dead"]
        assert works(world, lab, "still")


def test_an_answer_that_an_old_copy_does_not_know_waits_for_the_store_that_does():
    with World() as world:
        lab, _ = one_login(world, access_life="10m")
        store, copy, newer = (folder / "store.db" for folder in (
            world.share / "credwarden", world.home, world.folder))
        world.cw("backup", copy)
        lab.script("token", delay_after_ms=400)
        reach(lab, "decided", lambda: Renewal(world, "work"))
        world.kill_daemon()
        wait_until(lambda: not spenders(), what="the spender to finish")
        [(intent, (stage, _))] = killing.read_spool(world).items()
        assert stage == killing.SPOOL_ANSWERED
        for suffix in ("", "-wal"):
            os.replace(f"{store}{suffix}", f"{newer}{suffix}")
        shutil.copyfile(copy, store)
        store.chmod(0o600)
        for _ in range(2):  # the second start knows no more that it is a copy
            assert works(world, lab)
            assert intent in killing.read_spool(world)
            assert f"{intent:016x}" in world.cw("events").stdout
            world.cw("daemon", "stop")
        store.with_name("store.db-wal").unlink(missing_ok=True)
        for suffix in ("", "-wal"):
            os.replace(f"{newer}{suffix}", f"{store}{suffix}")
        assert works(world, lab)
        wait_until(lambda: profile(world)["generation"] == 2, what="the answer that was kept")
        wait_until(lambda: not killing.read_spool(world), what="the end of its file")


if __name__ == "__main__":
    runner.main()
