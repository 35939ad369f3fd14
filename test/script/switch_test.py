#!/usr/bin/env python3
"""Accounts are switched under running sessions, and none is lost on the way."""

import os
import signal
import threading
import time

import runner
import siblings
from harness import World
from runner import wait_until
from share_test import (assert_never_twice, becomes, bound, consumer, furnish, kinds, left_over,
                        presented, profile)
from siblings import PoliteClient, RudeClient, Session, login_in, read_store

TWO = ("work", "home")


def use(world, name, *options, check=True):
    return world.cw("use", name, *options, check=check)


def signed_in(lab, folder):
    answer = lab.use(login_in(folder)["accessToken"])
    return answer.json["sub"] if answer.status == 200 else None


def test_a_running_session_goes_on_as_the_other_account():
    with World() as world:
        lab, folder, _ = furnish(world, TWO)
        bound(world)
        client = PoliteClient(folder, lab, "A", buffer_s=1)
        with Session(client, seconds=6, pause_s=0.02) as session:
            time.sleep(0.5)
            said = use(world, "home").stdout
            assert "home is signed in, as owner-of-home" in said, said
            assert signed_in(lab, folder) == "owner-of-home"
            time.sleep(0.5)
            assert "work is signed in" in use(world, "-").stdout
            time.sleep(0.5)
            assert "home is signed in" in use(world, "home", "--for", "claude").stdout
            time.sleep(0.5)
            session.stop()
        assert client.failed == 0 and set(client.subjects) == {"owner-of-work", "owner-of-home"}
        order = [client.subjects[0]]
        for subject in client.subjects:
            order += [subject] if subject != order[-1] else []
        assert order == ["owner-of-work", "owner-of-home", "owner-of-work", "owner-of-home"], order
        assert not presented(lab), "a switch spends nothing"
        assert login_in(folder)["refreshToken"], "who renews by himself needs it"
        told = kinds(world)
        for kind in ("switch-begun", "switch-installed", "switch-verified"):
            assert told.count(kind) == 3, told
        assert not left_over(folder), left_over(folder)


def test_what_the_client_renewed_last_is_captured_before_it_is_written_over():
    with World() as world:
        lab, folder, _ = furnish(world, TWO, access_life="5s")
        bound(world)
        for name in ("home", "work", "home", "work"):
            client = PoliteClient(folder, lab, "A", buffer_s=10)  # always due
            assert client.turn() and client.refreshes == 1
            use(world, name)  # at once: the watch may not have told yet
        for name in TWO:
            assert profile(world, name)["generation"] == 3, profile(world, name)
        assert signed_in(lab, folder) == "owner-of-work"
        assert all(family["alive"] for family in lab.families())
        assert_never_twice(lab)


def test_a_switch_waits_for_a_client_that_is_in_the_middle_of_a_renewal():
    with World() as world:
        lab, folder, _ = furnish(world, TWO, access_life="6s")
        bound(world)
        lab.script("token", delay_after_ms=1000)
        client = PoliteClient(folder, lab, "A", buffer_s=10)
        thread = threading.Thread(target=client.turn)
        thread.start()
        wait_until(lambda: lab.stats()["endpoints"]["token"]["arrived"] == 1, 5, "the renewal")
        said = use(world, "home").stdout
        thread.join()
        assert "home is signed in" in said, said
        assert client.refreshes == 1 and client.lost_writes == 0
        assert signed_in(lab, folder) == "owner-of-home"
        wait_until(lambda: profile(world)["generation"] == 2, 5, "work's new pair")
        assert_never_twice(lab)


def test_a_stranger_is_set_aside_before_another_is_signed_in():
    with World() as world:
        lab, folder, _ = furnish(world, TWO)
        bound(world)
        RudeClient(folder, lab, "rude").sign_in("somebody")
        theirs = login_in(folder)["accessToken"]
        use(world, "home")
        assert signed_in(lab, folder) == "owner-of-home"
        assert "quarantined" in kinds(world)
        path = world.write_file("again.json", {"access_token": theirs})
        assert lab.use(theirs).json["sub"] == "somebody"
        assert path.exists()


def test_somebody_who_signed_out_is_signed_in_again_by_use_alone():
    with World() as world:
        lab, folder, _ = furnish(world, TWO)
        bound(world)
        RudeClient(folder, lab, "rude").sign_out()
        becomes(world, "signed-out")
        time.sleep(0.5)
        assert not login_in(folder), "a logout is respected"
        use(world, "work")
        assert signed_in(lab, folder) == "owner-of-work"


def test_what_cannot_be_done_is_taken_back():
    with World() as world:
        lab, folder, _ = furnish(world, TWO)
        bound(world)
        before = read_store(folder)
        lock = folder / ".storage-write.lock"
        lock.write_text("in the place of a folder")  # a wedge: no client gets past it
        failed = use(world, "home", check=False)
        assert failed.code != 0 and "stays work's" in failed.stderr, failed
        assert ".storage-write.lock" in failed.stderr
        assert read_store(folder) == before and consumer(world)["profile"] == "work"
        assert "switch-rolled-back" in kinds(world)
        lock.unlink()
        becomes(world, "in-step", timeout=20)
        assert "home is signed in" in use(world, "home").stdout


def test_a_switch_that_a_crash_cut_short_is_finished_at_the_next_start():
    with World() as world:
        lab, folder, _ = furnish(world, TWO)
        bound(world)
        for round_, name in enumerate(("home", "work") * 6):
            thread = threading.Thread(target=lambda: use(world, name, check=False))
            thread.start()
            time.sleep(0.004 * round_)
            try:
                os.kill(world.daemon_pid(), signal.SIGKILL)
            except (ProcessLookupError, TypeError):
                pass
            thread.join()
            world.cw("status")
            now = consumer(world)["profile"]
            becomes(world, "in-step")
            assert signed_in(lab, folder) == f"owner-of-{now}"
            assert now in TWO
        for name in TWO:
            answer = lab.use(world.cw("token", name).stdout.strip())
            assert answer.status == 200 and answer.json["sub"] == f"owner-of-{name}"
        assert not presented(lab)


def test_a_dry_run_changes_nothing_and_wrong_names_are_told():
    with World() as world:
        lab, folder, _ = furnish(world, TWO)
        said = use(world, "home", check=False)
        assert said.code != 0 and "credwarden bind home" in said.stderr, said
        bound(world)
        before = (folder / siblings.STORE).stat().st_mtime_ns
        said = use(world, "home", "--dry-run").stdout
        assert "would be home's" in said and "work's now" in said, said
        assert (folder / siblings.STORE).stat().st_mtime_ns == before
        assert use(world, "nobody", check=False).code != 0
        assert "not switched before" in use(world, "-", check=False).stderr
        assert signed_in(lab, folder) == "owner-of-work"


def test_an_access_token_that_is_over_is_not_installed():
    with World() as world:
        lab, folder, _ = furnish(world, ("work",), policy="always")
        world.add("home", "lab", lab.login("owner-of-home", access_life="1s"), "--policy", "never")
        bound(world)
        time.sleep(1.2)
        said = use(world, "home", check=False)
        assert said.code != 0 and "credwarden policy home always" in said.stderr, said
        assert signed_in(lab, folder) == "owner-of-work"


def test_a_stale_label_of_the_account_goes_with_the_login():
    with World() as world:
        lab, folder, logins = furnish(world, ())
        for name in TWO:
            login = lab.login(f"owner-of-{name}")
            siblings.write_store(folder, login, organizationUuid=f"org-{name}")
            world.cw("add", name, "--provider", "lab", "--from", "claude")
        bound(world, "home")
        use(world, "work")
        assert read_store(folder)["organizationUuid"] == "org-work"
        use(world, "home")
        assert read_store(folder)["organizationUuid"] == "org-home"


def test_switches_that_come_at_once_come_one_after_the_other():
    with World() as world:
        lab, folder, _ = furnish(world, TWO)
        bound(world)
        for _ in range(4):
            done = runner.in_threads(6, lambda i: use(world, TWO[i % 2], check=False))
            assert any(one.code == 0 for one in done), done
            assert all(one.code == 0 or "try again" in one.stderr for one in done), done
            becomes(world, "in-step")
            assert signed_in(lab, folder) == f"owner-of-{consumer(world)['profile']}"
        assert "switch-rolled-back" not in kinds(world)


def test_one_folder_is_one_place_whatever_it_is_called():
    with World() as world:
        _, folder, _ = furnish(world, TWO)
        bound(world)
        (world.home / "link").symlink_to(folder)
        for name in (folder, f"{folder}/.", f"{folder}//", world.home / "link"):
            said = world.cw("bind", "home", "--to", f"claude:{name}", check=False)
            assert said.code != 0 and "bound already" in said.stderr, said
        assert "home is signed in" in use(world, "home", "--for", f"claude:{world.home}/link").stdout


# ---- exec ----

def test_two_accounts_run_side_by_side():
    with World() as world:
        lab, folder, _ = furnish(world, TWO)
        bound(world)
        show = ("sh", "-c", 'echo "$CLAUDE_CONFIG_DIR"')
        places = [world.cw("exec", name, "--client", "claude", "--", *show).stdout.strip()
                  for name in TWO]
        assert len(set(places)) == 2 and str(folder) not in places, places
        for name, place in zip(TWO, places):
            assert signed_in(lab, place) == f"owner-of-{name}"
            assert os.stat(place).st_mode & 0o777 == 0o700
        assert "refreshToken" not in login_in(places[0]), "one place of a login has it, not two"
        use(world, "home")  # these folders are not meant
        assert signed_in(lab, folder) == "owner-of-home"
        again = world.cw("exec", "work", "--client", "claude", "--", *show).stdout.strip()
        assert again == places[0] and signed_in(lab, again) == "owner-of-work"


def test_a_program_gets_a_token_in_a_variable_and_its_own_exit_code():
    with World() as world:
        lab, _, _ = furnish(world)
        done = world.cw("exec", "work", "--var", "TOKEN", "--", "sh", "-c",
                        'echo "$TOKEN"; exit 42', check=False)
        assert done.code == 42 and lab.use(done.stdout.strip()).status == 200
        assert world.cw("exec", "work", "--var", "T", "--", "no-such-program",
                        check=False).code == 127
        for words in (("work",), ("work", "--"), ("nobody", "--", "true"), ("work", "--", "true")):
            refused = world.cw("exec", *words, check=False)
            assert refused.code not in (0, 42) and refused.stderr, refused


if __name__ == "__main__":
    runner.main()
