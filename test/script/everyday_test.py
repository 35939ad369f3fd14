#!/usr/bin/env python3
"""A user's days with credwarden: every command, in text and in JSON, and what it exits with."""

import json
import re
import signal
import sqlite3
import subprocess
import time

import runner
from harness import World, ask, ask_url, bearer, program
from runner import wait_until

# As `credwarden help exit-codes` lists them.
OK, FAILED, USAGE, UNKNOWN, POLICY, SIGN_IN, LATER, DAEMON, INPUT = range(9)


def new_world(world, provider=None, **lab_options):
    lab = world.start_lab(**lab_options)
    world.write_provider("lab", **lab.provider_keys(**(provider or {})))
    return lab


def refused(world, code, *args, **options):
    """The command fails with this exit code and says one line. Returns the line."""
    result = world.cw(*args, check=False, **options)
    assert result.code == code, result
    assert result.stdout == "", result
    assert result.stderr.startswith("credwarden: ") and result.stderr.count("\n") == 1, result
    return result.stderr


def spends(lab):
    return lab.log(endpoint="token")


def decided(lab):
    """Token requests that are past the instant of their commit."""
    return lab.stats()["endpoints"]["token"]["decided"]


def refresh_behind_our_back(lab, pair):
    """What a program does that has its own copy of the pair."""
    form = f"grant_type=refresh_token&client_id=lab-client&refresh_token={pair['refresh_token']}"
    return ask_url(f"{lab.url}/oauth/token", "POST", form,
                   {"Content-Type": "application/x-www-form-urlencoded"})


def test_a_day_in_text():
    with World() as world:
        lab = new_world(world, access_life="5m")
        assert "no profiles yet" in world.cw("list").stdout
        said = world.add("work", "lab", lab.login("alice")).stdout
        assert said == "added work: alice@lab.invalid (live, policy always)\n", said

        header, line = world.cw("list").stdout.splitlines()
        assert header.split()[:4] == ["NAME", "PROVIDER", "SUBJECT", "STATE"], header
        assert line.split()[:4] == ["work", "lab", "alice@lab.invalid", "live"], line
        assert re.search(r"credwardend \S+, pid \d+, up", world.cw("status").stdout)
        shown = world.cw("show", "work").stdout
        for words in ("alice (alice@lab.invalid)", "always: spent by us alone",
                      "generation       1", "alarms           none"):
            assert words in shown, shown

        access = world.cw("token", "work").stdout
        assert access.endswith("\n") and access.count("\n") == 1
        assert lab.use(access.strip()).status == 200
        assert world.cw("token", "work").stdout == access
        renewed = world.cw("renew", "work").stdout
        assert renewed.startswith("work: renewed, generation 2, "), renewed
        fresh = world.cw("token", "work").stdout
        assert fresh != access and lab.use(fresh.strip()).status == 200
        assert len(spends(lab)) == 1

        assert world.cw("policy", "work").stdout == "always\n"
        assert world.cw("policy", "work", "standby").stdout == "work: policy standby\n"
        assert world.cw("policy", "work").stdout == "standby\n"
        assert world.cw("rename", "work", "home").stdout == "work is now called home\n"
        refused(world, UNKNOWN, "token", "work")
        assert world.cw("token", "home").stdout == fresh
        assert "gen 2" in world.cw("history", "home").stdout
        assert world.cw("remove", "home", "--yes").stdout == "removed home; its history is kept\n"
        refused(world, UNKNOWN, "token", "home")
        assert "gen 2" in world.cw("history", "home").stdout
        kinds = [line.split()[3] for line in world.cw("events").stdout.splitlines()]
        assert kinds == ["started", "added", "renewed", "policy", "renamed", "removed"], kinds


def test_a_day_in_json():
    with World() as world:
        lab = new_world(world, access_life="5m")
        pair = lab.login("alice")
        added = json.loads(world.add("work", "lab", pair, "--json").stdout)
        assert added["name"] == "work" and added["standing"] == "live", added
        assert added["subject"] == "alice" and added["policy"] == "always", added

        shown = world.cw("show", "work", "--json").json
        assert [shown] == [{**profile, "left_ms": shown["left_ms"],
                            "next_spend_in_ms": shown["next_spend_in_ms"]}
                           for profile in world.cw("list", "--json").json["profiles"]]
        assert shown["generation"] == 1 and shown["lineage"] == added["lineage"]
        assert 280_000 < shown["left_ms"] <= 300_000 and shown["alarms"] == [], shown
        status = world.cw("status", "--json").json
        assert status["alarms"] == [] and status["profiles"][0]["name"] == "work"
        assert status["daemon"]["pid"] == world.daemon_pid()
        assert not status["daemon"]["restored"] and not status["daemon"]["binary_replaced"]

        token = world.cw("token", "work", "--json").json
        assert token["access_token"] == pair["access_token"] and token["generation"] == 1
        assert world.cw("renew", "work", "--json").json["generation"] == 2
        assert world.cw("policy", "work", "--json").json["policy"] == "always"
        assert "done" in world.cw("policy", "work", "never", "--json").json
        assert "done" in world.cw("rename", "work", "home", "--json").json
        versions = world.cw("version", "--json").json
        assert versions["daemon"]["version"] == versions["client"]
        target = world.folder / "copy.db"
        backup = world.cw("backup", target, "--json").json
        assert backup == {"path": str(target), "bytes": target.stat().st_size}
        assert "done" in world.cw("daemon", "reload", "--json").json
        assert "done" in world.cw("remove", "home", "--yes", "--json").json
        events = [json.loads(line) for line in world.cw("events", "--json").stdout.splitlines()]
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        problem = world.cw("token", "home", "--json", check=False)
        assert problem.code == UNKNOWN
        assert "profile-unknown" in problem.stdout + problem.stderr, problem


def test_standard_input_and_files():
    with World() as world:
        lab = new_world(world, access_life="5m")
        alice, bob = lab.login("alice"), lab.login("bob")
        world.cw("add", "work", "--provider", "lab", "--from", "-", input=json.dumps(alice))
        path = world.write_file("bob.json", bob)
        world.cw("add", "home", "--provider", "lab", "--from", path)
        assert json.loads(path.read_text()) == bob, "the file is the user's: it stays as it was"
        sources = [world.cw("history", name, "--json").json["lineages"][0]["entries"][0]["source"]
                   for name in ("work", "home")]
        assert sources == ["stdin", str(path)], sources
        assert lab.use(world.cw("token", "home").stdout.strip()).json["sub"] == "bob"
        assert lab.use(world.cw("token", "work").stdout.strip()).json["sub"] == "alice"


def test_a_long_path_is_cut_between_two_characters():
    """Half a character at the end of a text would make the JSON around it unreadable for good."""
    with World() as world:
        lab = new_world(world, access_life="5m")
        for shift in range(2):
            folder = world.home / ("x" * shift + "é" * 90) / ("é" * 100)
            folder.mkdir(parents=True)
            path = folder / "login.json"
            path.write_text(json.dumps(lab.login("alice")))
            world.cw("add", f"work{shift}", "--provider", "lab", "--from", path)
            [lineage] = world.cw("history", f"work{shift}", "--json").json["lineages"]
            assert str(path).startswith(lineage["entries"][0]["source"])
            world.cw("backup", folder / "copy.db")
        events = [json.loads(line) for line in world.cw("events", "--json").stdout.splitlines()]
        assert [event["kind"] for event in events] == ["started"] + ["added", "backup"] * 2


def test_token_waits_for_the_life_that_was_asked_for():
    with World() as world:
        lab = new_world(world, access_life="20s")
        world.add("work", "lab", lab.login("alice"))
        first = world.cw("token", "work", "--min-ttl", "5s", "--json").json
        assert first["generation"] == 1 and not spends(lab)
        time.sleep(1.2)
        second = world.cw("token", "work", "--min-ttl", "19s", "--json").json
        assert second["generation"] == 2 and second["expires_in_ms"] >= 19_000, second["generation"]
        said = refused(world, POLICY, "token", "work", "--min-ttl", "2h")
        assert "the most is 20s" in said, said
        assert len(spends(lab)) == 1
        for wrong in ("soon", "-5s", "5 s", "", "999999999999h"):
            refused(world, USAGE, "token", "work", "--min-ttl", wrong)


def test_exit_codes():
    with World() as world:
        lab = new_world(world, access_life="5m")
        listed = world.cw("help", "exit-codes").stdout
        assert [int(code) for code in re.findall(r"^  (\d)  ", listed, re.M)] == list(range(9))
        refused(world, DAEMON, "list", "--no-start")
        refused(world, DAEMON, "list", env={"CREDWARDEN_NO_START": "yes"})
        assert world.cw("daemon", "status", check=False).code == DAEMON
        assert world.daemon_pid() is None, "asking with --no-start started it"

        pair = lab.login("alice")
        world.add("work", "lab", pair)
        assert "did you mean 'token'" in refused(world, USAGE, "tokn", "work")
        assert "did you mean work?" in refused(world, UNKNOWN, "token", "wrok")
        assert "did you mean" not in refused(world, UNKNOWN, "token", "completely-different")
        refused(world, USAGE, "token")
        refused(world, USAGE, "token", "work", "--colour")
        refused(world, USAGE, "rename", "work", ".hidden")
        refused(world, USAGE, "policy", "work", "sometimes")
        refused(world, UNKNOWN, "add", "x", "--provider", "labb", "--from", "-",
                input=json.dumps(pair))
        assert "held already, as work" in refused(world, INPUT, "add", "x", "--provider", "lab",
                                                  "--from", "-", input=json.dumps(pair))
        refused(world, INPUT, "add", "x", "--provider", "lab", "--from", "-", input="{")
        refused(world, INPUT, "add", "x", "--provider", "lab", "--from", world.home / "nothing")
        world.cw("policy", "work", "never")
        assert "credwarden policy work always" in refused(world, POLICY, "renew", "work")
        lab.revoke("f1")
        world.cw("policy", "work", "always")
        said = refused(world, SIGN_IN, "renew", "work")
        assert "credwarden add work --provider lab" in said and "credwarden history work" in said
        refused(world, SIGN_IN, "token", "work")
        assert not spends(lab)[1:], "a dead token was presented again"

        world.add("late", "lab", lab.login("bob"))
        lab.script("token", times=50, status=429, retry_after="120")
        said = refused(world, LATER, "renew", "late", "--timeout", "2s")
        assert "asks to wait" in said, said
        world.cw("backup", world.folder / "copy.db")
        refused(world, FAILED, "backup", world.folder / "copy.db")
        world.cw("backup", world.folder / "copy.db", "--overwrite")
        refused(world, FAILED, "rename", "late", "work")


def test_help_of_every_command():
    with World() as world:
        text = world.cw("help").stdout
        commands = re.findall(r"^  ([a-z]+) {2,}\S", text.split("Options")[0], re.M)
        assert commands == ["add", "list", "status", "show", "token", "renew", "report", "history",
                            "policy", "rename", "remove", "bind", "unbind", "consumers", "use",
                            "exec", "doctor", "events", "backup", "repair", "daemon", "version", "help"]
        for command in commands:
            told = world.cw("help", command).stdout
            assert told.startswith(f"usage: credwarden {command}"), told
            assert world.cw(command, "--help").stdout == told
            assert world.cw("help", command, "--json").json["name"] == command
        said = world.cw("help", "--json").json["commands"]
        assert [item["name"] for item in said] == commands
        codes = world.cw("help", "exit-codes", "--json").json["exit_codes"]
        assert [item["exit"] for item in codes] == list(range(9))
        assert "did you mean" in refused(world, USAGE, "help", "histroy")
        assert world.daemon_pid() is None, "help started the daemon"
        out = world.cw("version").stdout
        assert re.fullmatch(r"credwarden \S+\ncredwardend is not running\n", out), out


def test_history_tells_who_obtained_and_who_spent():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        world.cw("renew", "work")
        history = world.cw("history", "work", "--json").json
        [lineage] = history["lineages"]
        first, spend, second = lineage["entries"]
        assert (first["kind"], first["origin"], first["parent_fingerprint"]) == ("pair", "added",
                                                                                  None)
        assert spend["kind"] == "spend" and spend["outcome"] == "granted"
        assert spend["refresh_fingerprint"] == first["refresh_fingerprint"]
        assert spend["took_ms"] is not None and spend["source"] == "asked for", spend
        assert second["parent_fingerprint"] == first["refresh_fingerprint"]
        assert second["origin"] == "spent" and second["source"] == "credwarden"
        assert history["verdict"] is None
        lines = world.cw("history", "work").stdout.splitlines()
        assert len(lines) == 4 and "spent → granted" in lines[2] and "took " in lines[2], lines
        assert f"pair obtained with {first['refresh_fingerprint']} by credwarden" in lines[3], lines


def test_who_killed_this_token():
    """Another program has a copy and spends behind our back: our next spend is the reuse, the
    family ends, and history says that it was not us."""
    with World() as world:
        lab = new_world(world, access_life="5m")
        pair = lab.login("alice")
        world.add("work", "lab", pair)
        assert refresh_behind_our_back(lab, pair).status == 200
        refused(world, SIGN_IN, "renew", "work")
        assert not lab.family("f1")["alive"] and lab.family("f1")["ended_by"] == "reuse"
        history = world.cw("history", "work", "--json").json
        fingerprint = history["lineages"][0]["entries"][0]["refresh_fingerprint"]
        assert f"refresh token {fingerprint} was refused" in history["verdict"], history["verdict"]
        assert "credwarden had not spent it before" in history["verdict"], history["verdict"]
        assert history["verdict"] in world.cw("history", "work").stdout
        assert world.cw("show", "work", "--json").json["standing"] == "dead"
        presented = [line["presented"] for line in spends(lab)]
        assert len(presented) == 2 and len(set(presented)) == 1


def test_a_refusal_after_a_lost_answer_accuses_nobody():
    """The one more presentation was refused: our own first one may have been the spend."""
    with World() as world:
        lab = new_world(world, access_life="4s")
        world.add("work", "lab", lab.login("alice"))
        lab.script("token", lose_after_commit=True)
        world.cw("renew", "work", check=False, timeout=30)
        wait_until(lambda: world.cw("show", "work", "--json").json["standing"] == "dead", 20,
                   "the end of the doubt")
        verdict = world.cw("history", "work", "--json").json["verdict"]
        assert "had not spent it before" not in verdict, verdict
        assert "answer" in verdict and "lost" in verdict, verdict


def test_the_same_profile_with_a_new_login():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        world.cw("policy", "work", "standby")
        before = world.cw("show", "work", "--json").json
        said = world.add("work", "lab", lab.login("bob"), check=False)
        assert said.code == INPUT and "the same subject" in said.stderr, said
        assert "credwarden remove work" in said.stderr, said
        assert world.cw("show", "work", "--json").json["lineage"] == before["lineage"]

        new = lab.login("alice")
        world.add("work", "lab", new)
        after = world.cw("show", "work", "--json").json
        assert after["lineage"] != before["lineage"] and after["subject"] == "alice"
        assert after["policy"] == "standby", "the policy is the profile's, not the login's"
        assert after["created_at"] == before["created_at"]
        assert world.cw("token", "work").stdout.strip() == new["access_token"]
        lineages = world.cw("history", "work", "--json").json["lineages"]
        assert [item["lineage"] for item in lineages] == [after["lineage"], before["lineage"]]
        assert not spends(lab), "nothing here takes a spend"


def test_the_old_lineage_ends_only_at_rest():
    """A new login arrives while the old one's spend is under way: that one is settled first."""
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        old = world.cw("show", "work", "--json").json["lineage"]
        new = lab.login("alice")
        lab.script("token", delay_after_ms=1500)
        renewal = world.start([world.programs / "credwarden", "renew", "work"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: decided(lab) == 1, what="the commit")
        world.add("work", "lab", new)
        assert world.cw("token", "work").stdout.strip() == new["access_token"]
        out, err = renewal.communicate(timeout=20)
        assert renewal.returncode == OK, (out, err)
        lineages = world.cw("history", "work", "--json").json["lineages"]
        past = next(item for item in lineages if item["lineage"] == old)["entries"]
        assert [entry.get("outcome") for entry in past] == [None, "granted", None], past


def test_removed_means_wiped_but_remembered():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        said = refused(world, USAGE, "remove", "work")
        assert "--yes" in said
        world.cw("remove", "work", "--yes")
        assert world.cw("list", "--json").json["profiles"] == []
        assert len(world.cw("history", "work", "--json").json["lineages"]) == 1
        refused(world, UNKNOWN, "remove", "work", "--yes")
        world.add("work", "lab", lab.login("bob"))  # another subject may have the name now
        assert len(world.cw("history", "work", "--json").json["lineages"]) == 2


def test_events_are_followed():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.start_daemon()
        follower = world.start([world.programs / "credwarden", "events", "--follow", "--json"],
                               stdout=subprocess.PIPE)
        assert json.loads(follower.stdout.readline())["kind"] == "started"
        world.add("work", "lab", lab.login("alice"))
        world.cw("renew", "work")
        followed = [json.loads(follower.stdout.readline()) for _ in range(2)]
        assert [event["kind"] for event in followed] == ["added", "renewed"], followed
        assert all(event["profile"] == "work" for event in followed)
        late = world.cw("events", "--after", followed[0]["id"], "--json").stdout.splitlines()
        assert [json.loads(line)["kind"] for line in late] == ["renewed"]
        last = world.cw("events", "--limit", "1", "--json").stdout.splitlines()
        assert [json.loads(line)["kind"] for line in last] == ["renewed"], last
        world.cw("daemon", "stop")
        rest = [json.loads(line)["kind"] for line in follower.stdout.read().splitlines()]
        assert rest == ["stopping"], rest
        assert follower.wait(10) == OK


def test_following_from_a_number_leaves_no_gap():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        connection = world.connection()
        for _ in range(110):  # more than one page
            for policy in ("never", "always"):
                answer = ask(connection, "POST", f"/v1/profiles/work/policy?to={policy}")
                assert answer.status == 200
        follower = world.start([world.programs / "credwarden", "events", "--follow", "--json",
                                "--after", "1"], stdout=subprocess.PIPE)
        ids = [json.loads(follower.stdout.readline())["id"] for _ in range(221)]
        world.cw("policy", "work", "standby")
        ids += [json.loads(follower.stdout.readline())["id"]]
        follower.send_signal(signal.SIGTERM)
        assert ids == list(range(2, 2 + 222)), f"events are missing between {ids}"
        listed = world.cw("events", "--after", "1", "--json").stdout.splitlines()
        assert [json.loads(line)["id"] for line in listed] == ids
        listed = world.cw("events", "--after", "1", "--limit", "3", "--json").stdout.splitlines()
        assert [json.loads(line)["id"] for line in listed] == ids[:3]
        assert world.api("GET", "/v1/events?after=1&limit=0").body == b""


def test_a_backup_is_a_store_of_sealed_tokens():
    with World() as world:
        lab = new_world(world, access_life="5m")
        world.add("work", "lab", lab.login("alice"))
        world.cw("renew", "work")
        target = world.folder / "copy.db"
        world.cw("backup", "copy.db")  # from the current folder
        assert target.stat().st_mode & 0o777 == 0o600
        with sqlite3.connect(target) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert copy.execute("SELECT name FROM profile").fetchall() == [("work",)]
        refused(world, FAILED, "backup", world.folder / "no" / "such" / "folder.db")
        for own in (world.share / "credwarden" / "vault.key", world.state / "credwarden" / "new.db",
                    world.state / "credwarden" / "spool" / "new.db"):
            before = own.read_bytes() if own.exists() else None
            refused(world, FAILED, "backup", own, "--overwrite")
            assert (own.read_bytes() if own.exists() else None) == before


def test_the_daemon_on_command():
    with World() as world:
        new_world(world)
        assert world.cw("daemon", "start").code == OK
        first = world.daemon_pid()
        assert world.cw("daemon", "start").code == OK
        assert world.daemon_pid() == first
        world.cw("daemon", "restart")
        second = world.daemon_pid()
        assert second and second != first
        assert str(second) in world.cw("daemon", "status").stdout
        assert world.cw("daemon", "status", "--json").json
        world.cw("daemon", "stop")
        assert world.daemon_pid() is None and world.cw("daemon", "stop").code == OK
        own = world.start([program("credwarden"), "daemon", "run"], stderr=subprocess.PIPE,
                          env={**world.env})
        wait_until(world.daemon_pid, what="a daemon in the foreground")
        assert world.daemon_pid() == own.pid
        own.send_signal(signal.SIGTERM)
        assert "started" in own.stderr.read().decode() and own.wait(10) == OK


CLAUDE_FILE = {
    "import_access": "claudeAiOauth.accessToken",
    "import_refresh": "claudeAiOauth.refreshToken",
    "import_expires_ms": "claudeAiOauth.expiresAt",
    "import_deadline_ms": "claudeAiOauth.refreshTokenExpiresAt",
    "import_scopes": "claudeAiOauth.scopes",
}


def test_a_login_of_claude_code():
    """The user's own definition goes before the built-in one of the same name."""
    with World() as world:
        lab = world.start_lab(access_life="5m")
        world.write_provider("claude", **lab.provider_keys(
            body="json", subject_paths="account.uuid organization.uuid", label_path="account.email",
            default_policy="never", refresh_kills_access=True, **CLAUDE_FILE))
        pair = lab.login("alice", scope="user:profile user:inference")
        deadline_ms = pair["expires_at"] + 20 * 86400_000
        path = world.write_file(".claude/.credentials.json", {
            "claudeAiOauth": {
                "accessToken": pair["access_token"], "refreshToken": pair["refresh_token"],
                "expiresAt": pair["expires_at"], "refreshTokenExpiresAt": deadline_ms,
                "scopes": ["user:profile", "user:inference"], "subscriptionType": "max"},
            "mcpOAuth": {"kept": True}})
        before = path.read_bytes()
        said = world.cw("add", "work", "--provider", "claude", "--from", path)
        assert "policy never" in said.stdout, said
        assert "credwarden policy work always" in said.stdout, said
        shown = world.cw("show", "work", "--json").json
        assert shown["policy"] == "never" and shown["label"] == "alice@lab.invalid", shown
        assert shown["subject"].count("/") == 1 and shown["login_deadline"], shown
        assert shown["next_spend_in_ms"] is None, "never means never"
        assert world.cw("token", "work").stdout.strip() == pair["access_token"]
        for args in (("renew", "work"), ("token", "work", "--min-ttl", "6m")):
            assert "`credwarden policy work always`" in refused(world, POLICY, *args)
        assert not spends(lab) and path.read_bytes() == before
        world.cw("policy", "work", "always")
        assert world.cw("renew", "work", "--json").json["generation"] == 2
        assert len(spends(lab)) == 1 and path.read_bytes() == before


def test_a_login_of_codex():
    """No identity endpoint, no expiry in the file: believed as it is, and the command line says
    that nobody vouches for the subject."""
    with World() as world:
        lab = world.start_lab(access_life="5m")
        keys = lab.provider_keys(body="json", send_scope=False, default_policy="never",
                                 import_access="tokens.access_token",
                                 import_refresh="tokens.refresh_token",
                                 import_id_token="tokens.id_token")
        for absent in ("identity_url", "subject_paths", "label_path"):
            del keys[absent]
        world.write_provider("codex", **keys)
        pair = lab.login("alice")
        path = world.write_file(".codex/auth.json", {
            "auth_mode": "chatgpt", "OPENAI_API_KEY": None,
            "tokens": {"id_token": "e30.e30.e30", "access_token": pair["access_token"],
                       "refresh_token": pair["refresh_token"], "account_id": "a-1"},
            "last_refresh": "2026-11-20T08:00:00Z"})
        said = world.cw("add", "work", "--provider", "codex", "--from", path)
        assert "cannot say whose login" in said.stdout, said
        assert world.cw("token", "work").stdout.strip() == pair["access_token"]
        assert "policy work always" in refused(world, POLICY, "renew", "work")
        world.cw("policy", "work", "always")
        assert world.cw("renew", "work", "--json").json["generation"] == 2
        fresh = world.cw("token", "work").stdout.strip()
        assert ask_url(f"{lab.url}/resource", headers=bearer(fresh)).status == 200


def test_tokens_that_are_mixed_up_are_refused():
    with World() as world:
        lab = new_world(world)
        pair = lab.login("alice")
        mixed = {**pair, "refresh_token": pair["access_token"]}
        refused(world, INPUT, "add", "work", "--provider", "lab", "--from", "-",
                input=json.dumps(mixed))
        assert world.cw("list", "--json").json["profiles"] == [] and not spends(lab)


if __name__ == "__main__":
    runner.main()
