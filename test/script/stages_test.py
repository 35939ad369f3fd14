#!/usr/bin/env python3
"""tools/run-tests: what a failure that does not repeat itself counts for."""

import contextlib
import importlib.machinery
import importlib.util
import io
import pathlib
import tempfile

import harness
import runner

TOOL = harness.ROOT / "tools" / "run-tests"
HEAD = f"import pathlib, sys\nsys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n" \
       "import runner\nhere = pathlib.Path(__file__).parent\n" \
       "def is_first():\n" \
       "    with (here / 'tries').open('a+') as tries:\n" \
       "        print('x', file=tries)\n" \
       "    return (here / 'tries').read_text() == 'x\\n'\n"
# Each goes wrong the first time only.
LATE = "def test_it():\n    assert not is_first() or runner.wait_until(lambda: False, 0.01)\n"
TOO_LONG = "import time\n@runner.limit(1)\ndef test_it():\n    is_first() and time.sleep(9)\n"
WRONG = "def test_it():\n    assert not is_first(), 'a login is lost'\n"
LATE_THEN_WRONG = "def test_it():\n    try:\n        runner.wait_until(lambda: False, 0.01)\n" \
                  "    except AssertionError as error:\n" \
                  "        assert not is_first(), f'a login is lost: {error}'\n"
DRAWN = "def test_it():\n    with (here / 'seeds').open('a') as seeds:\n" \
        "        print(runner.seed(), file=seeds)\n" \
        "    assert not is_first() or runner.wait_until(lambda: False, 0.01)\n"
DIES = "import os\ndef test_it():\n    is_first() and os.kill(os.getpid(), 9)\n"


def run_tests(folder):
    """The tool, with its folders in this one."""
    loader = importlib.machinery.SourceFileLoader("run_tests", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_tests", loader))
    loader.exec_module(module)
    module.ROOT, module.LOGS = folder, folder / "logs"
    return module


def stage_of(text, waits_on_clock):
    """(exit status, what was said, seeds drawn) of a run with one stage that has one story."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        story = folder / "one_test.py"
        story.write_text(HEAD + text + "runner.main()\n")
        tool = run_tests(folder)

        def told(stage):
            tool.python_tests(stage, [story], 2, waits_on_clock=waits_on_clock)

        tool.STAGES = {"one": (10, told, "a story")}
        page = io.StringIO()
        with contextlib.redirect_stdout(page):
            status = tool.main([])
        seeds = (folder / "seeds").read_text().split() if (folder / "seeds").exists() else []
        print("\n".join(f"# {line}" for line in page.getvalue().splitlines()))
        return status, page.getvalue(), seeds


def test_who_was_late_beside_others_and_is_not_alone_has_passed():
    for text in (LATE, TOO_LONG):
        status, page, _ = stage_of(text, waits_on_clock=True)
        assert status == 0 and "UNSTEADY" in page and "1 passed, 0 failed" in page, page


def test_nowhere_else_is_a_failure_forgiven():
    for text in (LATE, WRONG):
        status, page, _ = stage_of(text, waits_on_clock=False)
        assert status == 1 and "0 passed, 1 failed" in page, page


def test_what_was_found_wrong_is_not_forgiven_though_it_does_not_repeat_itself():
    for text in (WRONG, LATE_THEN_WRONG, DIES):
        status, page, _ = stage_of(text, waits_on_clock=True)
        assert status == 1 and "0 passed, 1 failed" in page, page
        assert "test_it: alone, it passes" in page, page


def test_who_draws_is_told_again_with_the_same_seed_and_not_forgiven():
    status, page, seeds = stage_of(DRAWN, waits_on_clock=True)
    assert status == 1 and "0 passed, 1 failed" in page, page
    assert len(seeds) == 2 and seeds[0] == seeds[1], seeds
    assert f"alone, {runner.SEED}={seeds[0]}, it passes" in page, page


if __name__ == "__main__":
    runner.main()
