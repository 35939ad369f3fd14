#!/usr/bin/env python3
"""The clients of siblings.py among themselves, without credwarden: stories that have clients rest
on these."""

import os
import threading
import time

import runner
import siblings
from harness import World
from runner import wait_until
from siblings import PoliteClient, RudeClient, Session, login_in, read_store, write_store


def furnish(world, access_life="2s", **options):
    """A lab, and the folder of a client that is signed in there as alice."""
    lab = world.start_lab(access_life=access_life, **options)
    folder = world.home / ".claude"
    login = lab.login("alice")
    write_store(folder, login)
    return lab, folder, login


def others_members(folder):
    return {key: value for key, value in read_store(folder).items() if key != siblings.LOGIN}


def left_over(world):
    """Locks and temporary files that should be gone."""
    return [path.name for path in world.home.rglob("*") if ".lock" in path.name
            or ".tmp." in path.name]


def presented(lab):
    return [line["presented"] for line in lab.log(endpoint="token")]


def test_two_polite_clients_never_break_the_login_they_share():
    with World() as world:
        lab, folder, _ = furnish(world, delay_before="20ms")
        other = siblings.start_process(world, "polite", folder, lab, "B", seconds="6",
                                       buffer="1.6", pause="0.05")
        one = PoliteClient(folder, lab, "A", buffer_s=1.6)
        with Session(one, seconds=6, pause_s=0.05) as session:
            session.join()
        reports = [one.report(), siblings.report_of(other)]
        [family] = lab.families()
        assert family["alive"] and family["reuses"] == 0, family
        assert family["spends"] == sum(report["refreshes"] for report in reports) >= 5, reports
        assert len(presented(lab)) == len(set(presented(lab)))
        for report in reports:
            assert report["failed"] == 0 and report["ok"] >= 10, report
            assert set(report["subjects"]) == {"alice"}, report
        assert others_members(folder) == siblings.FOREIGN
        assert (folder / siblings.STORE).stat().st_mode & 0o777 == 0o600
        assert not left_over(world), left_over(world)


def test_a_rude_client_beside_a_polite_one_ends_their_login():
    with World() as world:
        lab, folder, _ = furnish(world)
        rude = RudeClient(folder, lab, "rude", buffer_s=0.5)
        rude.turn()  # it has a copy from now on
        polite = PoliteClient(folder, lab, "polite", buffer_s=1.2)
        with Session(polite), Session(rude):
            wait_until(lambda: not lab.family("f1")["alive"], 8, "the end of the login")
            wait_until(lambda: polite.blanked, 8, "the sentinel")
        assert lab.family("f1")["ended_by"] == "reuse"
        agents = {line["agent"] for line in lab.log(endpoint="token")}
        assert agents == {"sibling/rude", "sibling/polite"}, agents
        assert rude.refused >= 1 and polite.ok > 0 and rude.ok > 0
        assert not login_in(folder) and polite.problems[-1] == "not signed in"


def test_a_refused_login_is_blanked_and_a_new_one_is_taken_up():
    with World() as world:
        lab, folder, _ = furnish(world)
        client = PoliteClient(folder, lab, "A", buffer_s=3)
        before = read_store(folder)
        lab.revoke("f1")
        assert not client.turn() and client.blanked == 1
        after = read_store(folder)
        assert after[siblings.LOGIN] == {**before[siblings.LOGIN], **siblings.SENTINEL}
        assert others_members(folder) == siblings.FOREIGN
        assert not client.turn() and client.blanked == 1
        assert len(presented(lab)) == 1, "a blanked login was presented"
        write_store(folder, lab.login("alice", access_life="1m"))
        assert client.turn() and client.subjects == ["alice"]


def test_an_access_token_alone_never_leads_to_the_token_endpoint():
    with World() as world:
        lab, folder, login = furnish(world)
        write_store(folder, login, access_only=True)
        client = PoliteClient(folder, lab, "A", buffer_s=3, patience_s=0.3)
        assert client.turn() and client.turn()
        # What the store says of its end is not believed: the server decides.
        write_store(folder, {**lab.login("alice", access_life="1m"), "expires_at": 1},
                    access_only=True)
        assert client.turn() and client.ok == 3
        write_store(folder, login, access_only=True)
        wait_until(lambda: lab.use(login["access_token"]).status == 401)
        assert not client.turn() and client.problems == ["status 401"]
        assert not presented(lab) and client.blanked == 0


def test_another_pair_in_the_store_is_used_by_the_next_turn():
    with World() as world:
        lab, folder, _ = furnish(world, access_life="1m")
        client = PoliteClient(folder, lab, "A", buffer_s=1)
        assert client.turn()
        write_store(folder, lab.login("bob"))
        assert client.turn()
        elsewhere = write_store(world.home / "elsewhere", lab.login("carol"))
        (folder / siblings.STORE).unlink()
        assert not client.turn()
        (folder / siblings.STORE).symlink_to(elsewhere)
        assert client.turn()
        write_store(world.home / "elsewhere", lab.login("dave"))
        assert client.turn()
        assert client.subjects == ["alice", "bob", "carol", "dave"]
        assert client.problems == ["not signed in"] and not presented(lab)


def test_a_refused_session_recovers_when_a_good_pair_appears():
    with World() as world:
        lab, folder, _ = furnish(world, access_life="1m", dialect="older")
        client = PoliteClient(folder, lab, "A", buffer_s=1)
        lab.revoke("f1")
        later = threading.Timer(0.6, write_store, (folder, lab.login("alice")))
        later.start()
        assert client.turn() and client.subjects == ["alice"]
        later.join()
        assert [line["status"] for line in lab.log(endpoint="resource")] == [403, 200]
        # Nothing better comes: that turn is lost, the next is not.
        lab.revoke("f2")
        began = time.monotonic()
        assert not client.turn() and time.monotonic() - began > 2.4
        runner.assert_took(began, 5, "a turn that fails")
        write_store(folder, lab.login("bob"))
        assert client.turn() and client.subjects == ["alice", "bob"]


def test_what_was_renewed_meanwhile_is_adopted_under_the_locks():
    with World() as world:
        lab, folder, _ = furnish(world)
        client = PoliteClient(folder, lab, "A", buffer_s=3)
        foreign = siblings.FolderLock(world.home / ".claude.lock")
        assert foreign.try_take()
        before = folder.stat().st_mtime_ns
        with Session(client, turns=1) as session:
            wait_until(lambda: folder.stat().st_mtime_ns != before, what="the first lock")
            first = siblings.FolderLock(folder / ".oauth_refresh.lock")
            assert first.take(5), "it keeps the first while it waits for the second"
            write_store(folder, lab.login("bob", access_life="1m"))
            foreign.give()
            first.give()
            session.join()
        assert client.subjects == ["bob"] and not presented(lab)
        assert not left_over(world), left_over(world)


def test_a_lock_that_stays_is_waited_for_and_then_done_without():
    with World() as world:
        lab, folder, _ = furnish(world, access_life="5s")
        client = PoliteClient(folder, lab, "A", buffer_s=6, lock_wait_s=0.5)
        lock = folder / ".oauth_refresh.lock"
        lock.mkdir()
        began = time.monotonic()
        assert client.turn() and time.monotonic() - began > 0.5
        future = time.time() + 3600
        os.utime(lock, (future, future))
        assert client.turn() and not presented(lab)
        past = time.time() - siblings.LOCK_STALE_S - 1
        os.utime(lock, (past, past))
        assert client.turn() and client.refreshes == 1
        assert not left_over(world), left_over(world)


def test_a_lock_is_touched_while_it_is_held():
    with World() as world:
        lock = siblings.FolderLock(world.home / "lock")
        assert lock.try_take() and not siblings.FolderLock(lock.path).try_take()
        past = time.time() - siblings.LOCK_STALE_S + 3
        os.utime(lock.path, (past, past))
        wait_until(lambda: lock.path.stat().st_mtime > past + 1, 5, "the touch")
        lock.give()
        assert not lock.path.exists()


def test_a_wedged_write_lock_loses_the_new_pair():
    with World() as world:
        lab, folder, login = furnish(world)
        wedge = folder / ".storage-write.lock"
        wedge.write_text("")
        client = PoliteClient(folder, lab, "A", buffer_s=3, patience_s=0.2, lock_wait_s=0.2)
        assert client.turn() and (client.refreshes, client.lost_writes) == (1, 1)
        assert login_in(folder)["refreshToken"] == login["refresh_token"]
        client.turn()  # what it reads now was spent by itself
        assert lab.family("f1")["ended_by"] == "reuse" and client.refused == 1
        wedge.unlink()
        client.turn()
        assert not login_in(folder) and not left_over(world), left_over(world)


def test_rude_clients_do_all_that_is_rude():
    with World() as world:
        lab, folder, login = furnish(world, access_life="1m")
        rude = RudeClient(folder, lab, "rude", buffer_s=1, in_place=True)
        assert rude.turn()
        rude.spend()
        assert login_in(folder)["accessToken"] == rude.pair["accessToken"] != login["access_token"]
        assert others_members(folder) == siblings.FOREIGN
        rude.write_back()
        assert login_in(folder)["refreshToken"] == login["refresh_token"]
        assert rude.turn(), "what it writes is not what it uses"
        rude.sign_in("mallory")
        assert rude.turn() and rude.subjects == ["alice", "alice", "mallory"]
        rude.sign_out()
        assert not (folder / siblings.STORE).exists() and not rude.turn()
        write_store(folder, lab.login("alice"))
        assert rude.turn()
        process = siblings.start_process(world, "rude", folder, lab, "R", turns="3", pause="0",
                                         buffer="90")
        report = siblings.report_of(process)
        assert report["ok"] == report["refreshes"] == 3, report


if __name__ == "__main__":
    runner.main()
