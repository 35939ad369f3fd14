#!/usr/bin/env python3
"""The same scenario under ThreadSanitizer: the store's thread beside the loop, in a whole daemon.
$CW_BUILD must be a build with it (tools/run-tests makes build/tsan)."""

import json

import scenario
import runner
from harness import BUILD, World, redact
from runner import limit, skip


def has_thread_sanitizer():
    options = json.loads((BUILD / "meson-info" / "intro-buildoptions.json").read_text())
    return any(option["name"] == "b_sanitize" and option["value"] == "thread"
               for option in options)


@limit(120)
def test_one_life_of_a_login():
    if not has_thread_sanitizer():
        skip(f"{BUILD} is built without ThreadSanitizer")
    with World() as world:
        reports = world.folder / "reports"
        reports.mkdir()
        scenario.wrap(world, f"export TSAN_OPTIONS='log_path={reports}/{{name}}:exitcode=66'\n"
                             "exec {program} \"$@\"")
        scenario.tell(world)
        found = sorted(reports.iterdir())
        assert not found, redact("\n".join(path.read_text() for path in found)[:20000])


if __name__ == "__main__":
    runner.main()
