#!/usr/bin/env python3
"""The harness itself: its guards hold, its search finds, nothing outlives it."""

import os
import pathlib
import subprocess
import sys

import harness
import runner
from harness import World


def refused(function, *args):
    try:
        function(*args)
    except AssertionError:
        return True
    return False


def test_only_loopback_is_spoken_to():
    for url in ("http://example.com/", "https://10.0.0.1/", "http://127.0.0.1.example.com/",
                "http://[::2]/", "http://localhost.example.com:80/"):
        assert refused(harness.assert_loopback, url), url
    for url in ("http://127.0.0.1:1/", "http://[::1]:80/", "http://localhost/", "form", "yes"):
        harness.assert_loopback(url)


def test_the_real_home_is_refused():
    home = os.environ["HOME"]
    try:
        os.environ["HOME"] = "/tmp"  # where the world's folder is: now it counts as the real home
        assert refused(World)
    finally:
        os.environ["HOME"] = home


def test_the_world_is_a_home_of_its_own():
    os.environ["https_proxy"] = "http://127.0.0.1:9"
    with World() as world:
        assert not [name for name in world.env if "proxy" in name.lower()]
        for name, value in world.env.items():
            if name.startswith("XDG_") or name in ("HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
                assert str(world.folder) in value, name
        folder = world.folder
    assert not folder.exists()


def test_a_process_that_leaves_its_parent_is_ended():
    with World() as world:
        world.start(["sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000 &"]).wait()
        runner.wait_until(lambda: len(harness.descendants()) == 2)
        left = harness.descendants()
    assert not any(harness.is_running(pid) for pid in left)


def test_the_folder_goes_when_a_story_fails():
    try:
        with World() as world:
            folder = world.folder
            world.start(["sleep", "1000"])
            raise KeyError("the story")
    except KeyError:
        pass
    assert not folder.exists() and not harness.descendants()


def test_the_search_finds_tokens_wherever_they_are():
    # Put together here, so that this process's own arguments and files hold none.
    token = "lab-" + "rt-" + "0123456789abcdef" * 2
    other = "made-up-token-of-" + "another-server"
    with World() as world:
        assert not harness.scan_for_tokens(world, [other])
        world.write_file("log.txt", f"spent {token}, it said")
        world.write_file("cut.txt", "ends in " + other[-12:])
        world.outputs.append(("a program", token.encode()))
        process = world.start(["sleep", "1000"], env={**world.env, "SECRET": token})
        runner.wait_until(lambda: len(harness.scan_for_tokens(world, [other])) == 4,
                          what="four places")
        places = harness.scan_for_tokens(world, [other], [world.home / "log.txt"])
        assert sorted(places) == ["a program", f"environ of process {process.pid}",
                                  "home/cut.txt"], places


def test_the_lab_is_at_hand():
    with World() as world:
        lab = world.start_lab(access_life="1h", kills_access=True)
        assert lab.config()["kills_access"] and lab.config()["access_life_ms"] == 3600 * 1000
        pair = lab.login("alice")
        assert lab.use(pair["access_token"]).json["sub"] == "alice"
        lab.script("resource", status=503, times=2)
        assert [lab.use(pair["access_token"]).status for _ in range(3)] == [503, 503, 200]
        assert [line["status"] for line in lab.log(endpoint="resource")] == [200, 503, 503, 200]
        lab.revoke(pair["family"])
        assert not lab.family(pair["family"])["alive"]
        assert harness.LAB_TOKEN.match(pair["refresh_token"].encode())


def test_a_failing_test_shows_no_token():
    token = "lab-" + "at-" + "0123456789abcdef" * 2
    assert token not in harness.redact(f"got {token}")
    assert "x" * 43 not in harness.redact("got " + "x" * 43)


def run_tests(folder, text):
    """A test file of its own; returns its exit status and TAP."""
    path = pathlib.Path(folder) / "made_test.py"
    path.write_text(f"import sys\nsys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n"
                    f"import runner\n{text}\nrunner.main()\n")
    done = subprocess.run([sys.executable, path], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


def test_the_runner_counts_what_happened():
    with World() as world:
        status, tap = run_tests(world.folder, """
def test_a(): pass
def test_b(): runner.skip("no such privilege")
def test_c(): assert False
@runner.limit(1)
def test_d():
    import time
    time.sleep(100)
""")
        assert status == 1
        assert "ok 1 - test_a\n" in tap and "ok 2 - test_b # SKIP no such privilege\n" in tap
        assert "not ok 3 - test_c\n" in tap and "not ok 4 - test_d\n" in tap
        assert run_tests(world.folder, "def test_a(): pass")[0] == 0
        assert run_tests(world.folder, "")[0] == 1


if __name__ == "__main__":
    runner.main()
