#!/usr/bin/env python3
"""What is handed to `add`: bytes that are no credential are refused in a sentence that names the
file and the fault, before any server is asked, and what is held already stays as it was."""

import json
import os
import socket
import subprocess

import runner
from harness import Result, World
from refusals import INPUT, USAGE, assert_refused, generation, profiles
from runner import skip

MIB = 1024 * 1024

# A provider of the lab whose client keeps its login as Claude Code does.
CLIENT_FILE = {
    "import_access": "claudeAiOauth.accessToken",
    "import_refresh": "claudeAiOauth.refreshToken",
    "import_expires_ms": "claudeAiOauth.expiresAt",
    "import_scopes": "claudeAiOauth.scopes",
}


def client_file(pair):
    return {"mcpOAuth": {}, "claudeAiOauth": {
        "accessToken": pair["access_token"], "refreshToken": pair["refresh_token"],
        "expiresAt": pair["expires_at"], "scopes": pair["scope"].split(),
        "subscriptionType": None}}


def furnish(world):
    lab = world.start_lab(access_life="1h")
    world.write_provider("lab", **lab.provider_keys())
    world.write_provider("app", **lab.provider_keys(**CLIENT_FILE))
    return lab


def asked(lab):
    """How often the lab's provider side was spoken to."""
    return len([line for line in lab.log() if line["endpoint"] in ("token", "identity")])


def unprivileged(world, *args):
    """`credwarden` as our own user, but stopped by the modes of files like everybody else."""
    words = [str(word) for word in args]
    command = [str(world.programs / "credwarden"), *words]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    done = subprocess.run(command, env=world.env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=30, check=False)
    return Result(words, done.returncode, done.stdout, done.stderr)


def test_a_path_that_gives_no_bytes_is_refused_before_a_daemon_is_needed():
    with World() as world:
        os.mkfifo(world.home / "pipe")
        (world.home / "loop").symlink_to("loop")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(world.home / "socket"))
        rows = ((world.home / "gone", "No such file or directory"),
                (world.home / "gone" / "beyond", "No such file or directory"),
                (world.home, "is a folder, not a credential file"),
                (world.home / "pipe", "is not a regular file; to read from a pipe, use --from -"),
                (world.home / "socket", "No such device or address"),
                (world.home / "loop", "Too many levels of symbolic links"),
                ("/dev/zero", "is not a regular file"),
                ("/" + "x" * 300, "File name too long"),
                ("/" + "x/" * 2500, "the path is longer than"),
                (world.write_file("empty", b""), "is empty: there is no credential in it"))
        for path, text in rows:
            result = world.cw("add", "work", "--provider", "claude", "--from", path, check=False)
            assert_refused(result, INPUT, text, str(path)[:60])
        assert_refused(world.cw("add", "work", "--provider", "claude", "--from", "-", check=False),
                       INPUT, "standard input is empty")
        assert_refused(world.cw("add", "work", "--provider", "claude", "--from", "", check=False),
                       USAGE, "'--from' needs a value")
        assert world.daemon_pid() is None and not (world.share / "credwarden").exists()


def test_a_file_that_may_not_be_read_is_refused():
    with World() as world:
        path = world.write_file("closed.json", {"access_token": "x" * 20}, mode=0o000)
        try:
            result = unprivileged(world, "add", "work", "--provider", "claude", "--from", path)
        except FileNotFoundError:
            skip("no setpriv, and root reads every file")
        assert_refused(result, INPUT, f"cannot read '{path}': Permission denied")
        assert world.daemon_pid() is None


def test_an_enormous_file_is_refused_unread():
    with World() as world:
        sparse = world.home / "sparse.json"
        with sparse.open("wb") as file:
            file.truncate(100 * MIB)
        just_too_large = world.write_file("large.json", b'{"access_token":"' + b"x" * MIB)
        for path in (sparse, just_too_large):
            result = world.cw("add", "work", "--provider", "claude", "--from", path, check=False,
                              timeout=5)
            assert_refused(result, INPUT, f"'{path}' is larger than 1048575 bytes")
        result = world.cw("add", "work", "--provider", "claude", "--from", "-", check=False,
                          input=b" " * (4 * MIB), timeout=5)
        assert_refused(result, INPUT, "standard input is larger than 1048575 bytes")
        assert world.daemon_pid() is None
        # The largest that is taken reaches the daemon, which reads it to its end.
        path = world.write_file("full.json", b" " * (MIB - 1))
        assert_refused(world.cw("add", "work", "--provider", "claude", "--from", path, check=False),
                       INPUT, f"{path}: empty")


def test_a_file_that_is_cut_at_any_length_is_refused_and_the_whole_one_is_added():
    with World() as world:
        lab = furnish(world)
        pair = lab.login("alice")
        plain = json.dumps(pair, indent=1).encode()
        theirs = json.dumps(client_file(lab.login("bob")), indent=1).encode()
        for name, provider, whole in (("work", "lab", plain), ("home", "app", theirs)):
            for length in {*range(1, len(whole), 29), len(whole) - 1}:
                result = world.add(name, provider, whole[:length], check=False)
                assert_refused(result, INPUT, f"given-{name}.json: line ", "it ends too early")
        assert not profiles(world) and asked(lab) == 0
        world.add("work", "lab", plain)
        world.add("home", "app", theirs)
        assert set(profiles(world)) == {"work", "home"}


def test_text_that_is_not_strict_json_is_refused_at_its_line_and_column():
    good = '"access_token":"made-up-access","refresh_token":"made-up-refresh"'
    rows = (
        (b" \n\t ", ": empty"),
        (b"\xef\xbb\xbf{" + good.encode() + b"}", "begins with a byte order mark; save it without"),
        (("{" + good + "}").encode("utf-16"), "not UTF-8 text"),
        (b'{"access_token":"\xff\xfe"}', "not UTF-8 text"),
        (b'{"access_token":"\xed\xa0\x80"}', "not UTF-8 text"),
        (b"{\n" + good.encode() + b"\n}\n{}", "line 4, column 1"),
        (b"{\n" + good.encode() + b",\n}", "line 3, column"),
        (b"{'access_token':'made-up-access'}", "line 1, column 2"),
        (b"[" + b'"made-up-access"]', "line 1, column 1: not a JSON object"),
        (b"{\n" + good.encode() + b',\n"access_token":"made-up-other"}',
         "line 3, column 14: a key stands there twice"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "nested too deeply"),
        (b"[" * (MIB // 2), "line 1, column 1: too many values"),
        (b'{"access_token":"made\\u0000up-access-1"}', "line 1, column"),
        (b'{"expires_in":1e999,' + good.encode() + b"}", "a number too large"),
        (b"# made-up-access-token", "neither a JSON object nor one access token on a line"),
        (b"made-up-access-token\nmade-up-refresh-token", "neither a JSON object nor one access"),
        (b"too-short", "neither a JSON object nor one access token on a line"),
    )
    with World() as world:
        for content, text in rows:
            result = world.add("work", "codex", content, check=False)
            assert_refused(result, INPUT, "given-work.json", text)
            assert "made-up" not in result.stderr, "a file's content is quoted"
        assert not profiles(world)


def test_fields_that_are_no_pair_are_refused_by_their_name():
    with World() as world:
        lab = furnish(world)
        pair = lab.login("alice")

        def changed(**fields):
            without = fields.pop("no", ())
            return {**{key: value for key, value in pair.items() if key not in without}, **fields}

        rows = (
            ({}, "holds no access_token"),
            (changed(no=("access_token",)), "a refresh token but no access token"),
            (changed(access_token=""), "a refresh token but no access token"),
            (changed(access_token="", refresh_token=""), "whoever wrote this has signed out"),
            (changed(access_token=5), "access_token is not a string"),
            (changed(refresh_token=["x"]), "refresh_token is not a string"),
            (changed(access_token="two words"), "access_token holds blanks, control bytes or non-"),
            (changed(refresh_token="line\nend"), "refresh_token holds blanks, control bytes"),
            (changed(access_token="żółw" * 8), "blanks, control bytes or non-ASCII, so it is no"),
            (changed(access_token="x" * 16385), "access_token is longer than 16384 bytes"),
            (changed(scope=7), "scope is not a list of scopes"),
            (changed(scope="x" * 5000), "scope is longer than"),
            (changed(expires_at=-5), "expires_at is not a Unix time in seconds or milliseconds"),
            (changed(expires_at=1e300), "expires_at is not a Unix time"),
            (changed(expires_at="soon"), "expires_at is not a time like 2026-11-20T23:24:01Z"),
            (changed(no=("expires_at",), expires_in=-1), "expires_in is not a number of seconds"),
            (changed(no=("expires_at",), expires_in=10 ** 12), "from 0 to ten years"),
            (changed(no=("expires_at",), expires_in=[3600]), "expires_in is not a number"),
            (changed(no=("expires_at",), expiry="yesterday"), "expiry is not a time like"),
            (changed(no=("expires_at",), obtained_at="then"), "obtained_at is not a time like"),
        )
        for content, text in rows:
            assert_refused(world.add("work", "lab", content, check=False), INPUT,
                           "given-work.json: ", text)
        assert not profiles(world) and asked(lab) == 0
        world.add("work", "lab", pair)


def test_a_token_where_the_other_belongs_is_refused_before_anybody_is_asked():
    with World() as world:
        lab = furnish(world)
        pair = lab.login("alice")
        access, refresh = pair["access_token"], pair["refresh_token"]
        as_access = "a refresh token stands where the access token belongs"
        as_refresh = "an access token stands where the refresh token belongs"
        for mixed, text in (((refresh, access), as_access), ((refresh, refresh), as_access),
                            ((access, access), as_refresh)):
            content = {**pair, "access_token": mixed[0], "refresh_token": mixed[1]}
            assert_refused(world.add("work", "lab", content, check=False), INPUT, text)
            assert_refused(world.add("work", "app", client_file(content), check=False), INPUT, text)
        assert_refused(world.add("work", "lab", refresh, check=False), INPUT,
                       "a refresh token alone; a pair is added as JSON")
        vendors = {"access_token": "sk-ant-ort01-" + "x" * 40,
                   "refresh_token": "sk-ant-oat01-" + "x" * 40, "scope": "a", "expires_at": 0}
        assert_refused(world.add("work", "claude", client_file(vendors), check=False), INPUT,
                       as_access)
        same = {"access_token": "same-word-in-both", "refresh_token": "same-word-in-both"}
        assert_refused(world.add("work", "codex", same, check=False), INPUT,
                       "the same token stands as access token and as refresh token")
        assert asked(lab) == 0 and not profiles(world)


def test_a_signed_out_clients_file_never_takes_the_place_of_a_good_login():
    with World() as world:
        lab = furnish(world)
        theirs = client_file(lab.login("alice"))
        world.add("work", "app", theirs, "--policy", "always")
        before = profiles(world)["work"]
        theirs["claudeAiOauth"].update(accessToken="", refreshToken="", expiresAt=0)
        for provider in ("app", "claude"):
            result = world.add("work", provider, theirs, check=False)
            assert_refused(result, INPUT, "given-work.json: claudeAiOauth.accessToken is empty",
                           "has signed out; sign in there and add the file again")
        after = profiles(world)["work"]
        assert after["refresh_fingerprint"] == before["refresh_fingerprint"]
        world.cw("renew", "work")
        assert generation(world, "work") == 2


if __name__ == "__main__":
    runner.main()
