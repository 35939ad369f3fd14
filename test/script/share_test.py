#!/usr/bin/env python3
"""A login is shared with clients that rotate it, too: what they do to their store is noticed,
understood, and never the end of a login."""

import os
import threading
import time

import harness
import runner
import siblings
from harness import World
from runner import wait_until
from siblings import PoliteClient, RudeClient, Session, login_in, read_store, write_store


def furnish(world, names=("work",), policy="never", kill_grace=None, **options):
    """A lab, a login of each name, and the folder of a client, nobody signed in."""
    lab = world.start_lab(**{"access_life": "10m", **options})
    world.write_provider("lab", **lab.provider_keys(default_policy=policy))
    logins = {}
    for name in names:
        logins[name] = lab.login(f"owner-of-{name}")
        world.add(name, "lab", logins[name])
    folder = world.home / ".claude"
    folder.mkdir(mode=0o700)
    return lab, folder, logins


def bound(world, name="work", *options, to="claude"):
    said = world.cw("bind", name, "--to", to, *options).stdout
    assert "in step" in said, said
    return said


def consumer(world, at=0):
    return world.api("GET", "/v1/consumers").json["consumers"][at]


def becomes(world, state, at=0, timeout=8):
    return wait_until(lambda: consumer(world, at)["state"] == state, timeout,
                      lambda: f"the place to be {state}; it is {consumer(world, at)}")


def profile(world, name="work"):
    return world.api("GET", f"/v1/profiles/{name}").json


def presented(lab):
    return [line["presented"] for line in lab.log(endpoint="token")]


def assert_never_twice(lab):
    tokens = presented(lab)
    assert len(tokens) == len(set(tokens)), tokens
    assert all(family["reuses"] == 0 for family in lab.families()), lab.families()


def kinds(world):
    return [line.split("  ")[2] for line in world.cw("events").stdout.splitlines()]


def left_over(folder):
    return [path.name for path in folder.parent.rglob("*")
            if ".lock" in path.name or ".tmp" in path.name or "credwarden-tmp" in path.name]


# ---- in step ----

def test_a_client_gets_the_pair_and_each_renewal_of_its_own_is_adopted():
    with World() as world:
        lab, folder, _ = furnish(world, access_life="3s")
        bound(world)
        client = PoliteClient(folder, lab, "A", buffer_s=1.5)
        with Session(client, seconds=9, pause_s=0.05) as session:
            session.join()
        assert client.failed == 0 and client.refreshes >= 3 and not client.blanked, client.report()
        wait_until(lambda: profile(world)["generation"] == client.refreshes + 1, 5,
                   lambda: f"{profile(world)['generation']} of {client.refreshes}")
        [family] = lab.families()
        assert family["alive"] and family["spends"] == client.refreshes
        becomes(world, "in-step")
        assert_never_twice(lab)
        assert {line["agent"] for line in lab.log(endpoint="token")} == {"sibling/A"}
        assert kinds(world).count("adopted") == client.refreshes
        assert not left_over(folder), left_over(folder)


def test_with_access_tokens_alone_clients_never_see_a_refresh_token():
    with World() as world:
        lab, folder, _ = furnish(world, policy="always", access_life="4s")
        other = world.home / "agent"
        other.mkdir(mode=0o700)
        bound(world)
        bound(world, to=f"claude:{other}")
        clients = [PoliteClient(place, lab, f"{i}", buffer_s=1)
                   for i, place in enumerate((folder, other, other))]
        seen = set()
        with Session(clients[0], seconds=9), Session(clients[1], seconds=9), \
                Session(clients[2], seconds=9) as last:
            while last.is_alive():
                for place in (folder, other):
                    seen.add(login_in(place).get("refreshToken"))
                time.sleep(0.02)
        assert seen <= {None}, "a refresh token was in a place"
        for client in clients:
            assert client.failed == 0 and client.refreshes == 0, client.report()
        assert profile(world)["generation"] >= 3
        assert_never_twice(lab)
        assert "nobody renews it" in world.cw("policy", "work", "never").stdout


def test_a_pair_is_taken_away_before_it_is_spent_and_given_back_after():
    with World() as world:
        lab, folder, _ = furnish(world, policy="always", access_life="4s")
        bound(world, "work", "--mode", "pair")
        client = PoliteClient(folder, lab, "A", buffer_s=0.2)
        with Session(client, seconds=10, pause_s=0.02) as session:
            for _ in range(4):
                time.sleep(1.8)
                world.cw("renew", "work")
            session.join()
        assert client.failed == 0 and not client.blanked, client.report()
        assert profile(world)["generation"] >= 5
        assert lab.families()[0]["alive"]
        assert_never_twice(lab)
        becomes(world, "in-step")
        assert login_in(folder)["refreshToken"]


def test_members_that_are_not_ours_survive_every_write():
    with World() as world:
        lab, folder, logins = furnish(world, policy="always")
        write_store(folder, logins["work"])
        before = read_store(folder)
        (folder / siblings.STORE).chmod(0o640)
        bound(world, "work", "--mode", "pair")
        world.cw("renew", "work")
        becomes(world, "in-step")
        after = read_store(folder)
        assert after.pop(siblings.LOGIN) != before.pop(siblings.LOGIN)
        assert after == before == {**siblings.FOREIGN}
        assert (folder / siblings.STORE).stat().st_mode & 0o777 == 0o640


# ---- the ways in which a parked login dies elsewhere ----

def test_somebody_signs_in_as_another_profile_and_ours_is_put_back():
    with World() as world:
        lab, folder, _ = furnish(world, ("work", "home"))
        bound(world)
        before = profile(world, "home")["generation"]
        RudeClient(folder, lab, "rude").sign_in("owner-of-home")
        wait_until(lambda: profile(world, "home")["generation"] == before + 1, 5,
                   "home to go on with the new login")
        becomes(world, "in-step")
        for name in ("work", "home"):
            answer = lab.use(world.cw("token", name).stdout.strip())
            assert answer.status == 200 and answer.json["sub"] == f"owner-of-{name}"
        assert_never_twice(lab)


def test_a_stranger_is_set_aside_and_left_alone_until_he_is_somebody_we_know():
    with World() as world:
        lab, folder, _ = furnish(world)
        bound(world)
        RudeClient(folder, lab, "rude").sign_in("somebody")
        becomes(world, "drifted")
        time.sleep(0.5)
        theirs = login_in(folder)
        assert lab.use(theirs["accessToken"]).json["sub"] == "somebody"
        assert "quarantined" in kinds(world)
        assert "subject" in profile(world)["alarms"]
        world.cw("add", "guest", "--provider", "lab", "--from", "claude")
        assert profile(world, "guest")["subject"] == "somebody"
        becomes(world, "in-step")  # the place is work's, and he is not lost without it
        assert lab.use(login_in(folder)["accessToken"]).json["sub"] == "owner-of-work"
        answer = lab.use(world.cw("token", "guest").stdout.strip())
        assert answer.json["sub"] == "somebody"
        assert_never_twice(lab)


def test_what_a_client_loses_is_never_mirrored():
    with World() as world:
        lab, folder, _ = furnish(world)
        bound(world)
        RudeClient(folder, lab, "rude").sign_out()
        becomes(world, "signed-out")
        for content in (b"", b"{", b"\xff\xfe", b'{"a":1,"a":2}'):
            (folder / siblings.STORE).write_bytes(content)
            becomes(world, "torn")
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        assert profile(world)["generation"] == 1 and profile(world)["state"] == "live"


def test_what_happened_while_nobody_looked_is_found_at_the_next_start():
    with World() as world:
        lab, folder, _ = furnish(world, access_life="3s")
        bound(world)
        world.cw("daemon", "stop")
        client = PoliteClient(folder, lab, "A", buffer_s=2.5)
        wait_until(lambda: client.turn() and client.refreshes >= 2, 8, "two renewals")
        world.cw("status")
        wait_until(lambda: profile(world)["generation"] == 2, 8, "the last one to be adopted")
        becomes(world, "in-step")
        assert_never_twice(lab)


def test_an_older_pair_that_is_written_back_is_replaced():
    with World() as world:
        lab, folder, _ = furnish(world, access_life="6s")
        bound(world)
        rude = RudeClient(folder, lab, "rude")
        rude.remember()
        client = PoliteClient(folder, lab, "A", buffer_s=10)
        assert client.turn()
        wait_until(lambda: profile(world)["generation"] == 2, 5, "the renewal to be adopted")
        rude.write_back()
        wait_until(lambda: login_in(folder)["accessToken"] == client.pair["accessToken"], 5,
                   "the newer pair to be put back")
        becomes(world, "in-step")
        assert_never_twice(lab)


# ---- things that stand in the way ----

def test_a_lock_of_the_client_is_waited_for_and_named():
    with World() as world:
        lab, folder, _ = furnish(world, policy="always")
        bound(world)
        lock = folder / ".oauth_refresh.lock"
        lock.mkdir()
        world.cw("renew", "work")
        becomes(world, "unreadable")
        assert "oauth_refresh.lock" in consumer(world)["detail"], consumer(world)
        began = time.monotonic()
        assert world.cw("token", "work").stdout
        assert time.monotonic() - began < 1
        lock.rmdir()
        becomes(world, "in-step", timeout=20)


def test_a_place_that_cannot_be_written_is_told_of_and_tried_again():
    with World() as world:
        lab, folder, _ = furnish(world, policy="always")
        bound(world)
        store = folder / siblings.STORE
        real = folder / "real"
        os.replace(store, real)
        store.symlink_to("loop")
        (folder / "loop").symlink_to(siblings.STORE)
        world.cw("renew", "work")
        becomes(world, "unreadable")
        store.unlink()
        store.symlink_to("real")
        becomes(world, "in-step", timeout=20)
        assert store.is_symlink()  # it is followed, not replaced
        assert "place-failed" in kinds(world)


def test_a_profile_is_renamed_and_removed_with_its_places():
    with World() as world:
        _, folder, _ = furnish(world, policy="always")
        bound(world)
        world.cw("rename", "work", "job")
        assert consumer(world)["profile"] == "job"
        world.cw("renew", "job")
        becomes(world, "in-step")
        world.cw("daemon", "restart")
        becomes(world, "in-step")
        world.cw("remove", "job", "--yes")
        assert world.api("GET", "/v1/consumers").json["consumers"] == []
        world.cw("daemon", "restart")
        assert world.api("GET", "/v1/consumers").json["consumers"] == []
        assert (folder / siblings.STORE).exists()


def test_what_is_unbound_is_left_as_it_is():
    with World() as world:
        _, folder, _ = furnish(world, policy="always")
        bound(world)
        before = (folder / siblings.STORE).read_bytes()
        world.cw("unbind", "claude")
        world.cw("renew", "work")
        time.sleep(0.3)
        assert (folder / siblings.STORE).read_bytes() == before
        assert world.cw("unbind", "claude", check=False).code != 0


def test_a_daemon_that_dies_leaves_no_lock_behind_for_the_clients():
    with World() as world:
        _, folder, _ = furnish(world, policy="always")
        bound(world)
        for moment in range(24):
            lock = folder / ".oauth_refresh.lock"
            thread = threading.Thread(target=lambda: world.cw("renew", "work", check=False))
            thread.start()
            end = time.monotonic() + 0.5
            while not lock.exists() and time.monotonic() < end and moment % 2 == 0:
                pass
            world.kill_daemon()
            thread.join()
            world.cw("status")
            becomes(world, "in-step")
            assert not left_over(folder), left_over(folder)


# ---- a client was refused ----

def test_a_report_is_checked_with_the_server_and_answered_truthfully():
    with World() as world:
        lab, _, logins = furnish(world, ("work", "kept"), policy="always", kills_access=True)
        said = world.cw("report", "work").stdout
        assert "the token works" in said and not presented(lab), said
        before = world.cw("token", "work").stdout
        family = next(family["family"] for family in lab.families()
                      if family["subject"] == "owner-of-work")
        lab.control("POST", "/lab/revoke", family=family, what="access")
        reports = runner.in_threads(8, lambda _: world.cw("report", "work").stdout)
        assert any("renewed" in said for said in reports), reports  # others may ask after that
        assert all("renewed" in said or "works" in said for said in reports), reports
        assert world.cw("token", "work").stdout != before and len(presented(lab)) == 1
        world.cw("policy", "kept", "never")
        family = next(family["family"] for family in lab.families()
                      if family["subject"] == "owner-of-kept")
        lab.control("POST", "/lab/revoke", family=family, what="access")
        refused = world.cw("report", "kept", check=False)
        assert refused.code != 0 and "credwarden policy kept" in refused.stderr, refused
        assert len(presented(lab)) == 1


def test_a_store_that_never_rests_costs_nobody_else_anything():
    with World() as world:
        lab, folder, logins = furnish(world, ("work", "home"))
        bound(world)
        store = read_store(folder)
        written, slow = 0, []
        began = time.monotonic()
        while time.monotonic() - began < 4:
            for _ in range(50):
                pair = {"accessToken": f"lab-at-{os.urandom(16).hex()}",
                        "refreshToken": f"lab-rt-{os.urandom(16).hex()}",
                        "expiresAt": int(time.time() * 1000) + 600_000}
                siblings.replace_store(folder, {**store, siblings.LOGIN: {
                    **store[siblings.LOGIN], **pair}})
                written += 1
            asked = time.monotonic()
            assert world.api("GET", "/v1/profiles/home/token").status == 200
            slow.append(time.monotonic() - asked)
        print(f"# {written / 4:.0f} writes a second; the slowest answer: {max(slow) * 1000:.0f} ms")
        assert written >= 300 and max(slow) < 1
        write_store(folder, logins["work"])
        becomes(world, "in-step", timeout=20)
        world.cw("daemon", "restart")
        becomes(world, "in-step", timeout=20)
        assert lab.use(world.cw("token", "work").stdout.strip()).status == 200
        assert not presented(lab)


def test_a_store_that_is_too_large_or_no_file_is_left_alone():
    with World() as world:
        lab, folder, _ = furnish(world, policy="always")
        bound(world)
        path = folder / siblings.STORE
        with open(path, "r+b") as file:
            file.truncate(100 * 1024 * 1024)
        world.cw("renew", "work")
        becomes(world, "unreadable")
        assert path.stat().st_size == 100 * 1024 * 1024
        path.unlink()
        os.mkfifo(path)
        world.cw("renew", "work")
        becomes(world, "unreadable")
        path.unlink()
        path.mkdir()
        world.cw("renew", "work")
        becomes(world, "unreadable")
        path.rmdir()
        becomes(world, "signed-out", timeout=20)
        world.cw("use", "work")
        becomes(world, "in-step")
        folder.chmod(0o500)
        if os.geteuid() != 0:
            world.cw("renew", "work")
            becomes(world, "unreadable")
        folder.chmod(0o700)
        assert lab.families()[0]["alive"]


# ---- doctor ----

def test_doctor_names_what_stands_in_the_way_and_what_mends_it():
    with World() as world:
        _, folder, _ = furnish(world)
        bound(world)
        assert "nothing is wrong" in world.cw("doctor").stdout
        (folder / ".storage-write.lock").write_text("a file")
        (folder / ".oauth_refresh.lock").mkdir()
        os.utime(folder / ".oauth_refresh.lock", (time.time() + 10_000,) * 2)
        (folder / siblings.STORE).chmod(0o644)
        (world.home / ".claude.json").write_text(
            '{"oauthAccount": {"emailAddress": "other@lab.invalid"}}')
        told = world.cw("doctor", env={"ANTHROPIC_API_KEY": "made-up"}).stdout
        for words in (f"rm {folder}/.storage-write.lock", f"rmdir {folder}/.oauth_refresh.lock",
                      f"chmod 600 {folder}/{siblings.STORE}", "names another account",
                      "ANTHROPIC_API_KEY is set"):
            assert words in told, told
        assert "made-up" not in told
        (folder / ".storage-write.lock").unlink()
        (folder / ".oauth_refresh.lock").rmdir()
        RudeClient(folder, world.lab, "rude").sign_in("somebody")
        becomes(world, "drifted")
        told = world.cw("doctor").stdout
        assert "somebody else is signed in" in told and "credwarden use work" in told, told
        assert world.cw("doctor", "--json").json["findings"]


# ---- places that only we write ----

def test_files_and_commands_get_each_new_access_token():
    with World() as world:
        lab, _, _ = furnish(world, policy="always")
        env, seen = world.home / "agent.env", world.home / "seen"
        env.write_text("# mine\nOTHER=1\n")
        (world.home / "in").write_text("token: {{access_token}} of {{profile}}\n")
        places = (f"env:{env}#TOKEN", f"json:{world.home}/app.json#auth.token=access",
                  f"template:{world.home}/in=>{world.home}/out", f"exec:cat > {seen}")
        for place in places:
            bound(world, to=place)
        for _ in range(2):
            world.cw("renew", "work")
            token = world.cw("token", "work").stdout.strip()
            wait_until(lambda: token in env.read_text(), 5, "the env file")
            wait_until(lambda: token in (world.home / "app.json").read_text(), 5, "the JSON file")
            wait_until(lambda: token in (world.home / "out").read_text(), 5, "the template")
            wait_until(lambda: token in seen.read_text(), 5, "the command")
        assert env.read_text().startswith("# mine\nOTHER=1\n")
        assert (world.home / "out").stat().st_mode & 0o777 == 0o600
        refused = world.cw("bind", "work", "--to", "env:relative", check=False)
        assert refused.code != 0 and "absolute" in refused.stderr, refused
        wrong = world.cw("bind", "work", "--to", f"exec:exit 7", check=False)
        wait_until(lambda: "7" in (consumer(world, 4)["detail"] or ""), 5,
                   lambda: f"the exit code to be told: {consumer(world, 4)} {wrong}")
        assert lab.families()[0]["alive"]


if __name__ == "__main__":
    runner.main()
