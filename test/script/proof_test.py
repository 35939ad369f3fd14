#!/usr/bin/env python3
"""tools/proof: what it says of its parts, and that none of them outlives it."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import harness
import runner
from runner import wait_until

PROOF = harness.ROOT / "tools" / "proof"
GOOD = "print('proof: {\"violations\": 0}')"
BAD = "print('proof: {\"violations\": 1}'); raise SystemExit(1)"
PARTLY = "print('proof: {\"skipped\": {\"other users\": \"needs root\"}}')"
MUTE = "print('nothing to say')"
# A part with a child in a session of its own; both would last.
LASTING = "import subprocess, time; subprocess.Popen(['sleep', '99'], start_new_session=True); " \
          "time.sleep(99)"


def proof_of(folder, **parts):
    """The tool, with these parts in place of its own, and what it keeps in this folder."""
    loader = importlib.machinery.SourceFileLoader("proof", str(PROOF))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("proof", loader))
    loader.exec_module(module)
    module.commands = lambda minutes: {name: [sys.executable, "-c", text]
                                       for name, text in parts.items()}
    module.KEPT, module.ROOT = pathlib.Path(folder) / "proof", pathlib.Path(folder)
    module.PART_LIMIT_S, module.PATIENCE_S = 2, 2
    return module


def told(proof, *words):
    """(exit status, the page)"""
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        status = proof.main(list(words))
    print("\n".join(f"# {line}" for line in page.getvalue().splitlines()))
    return status, page.getvalue()


def test_a_part_that_fails_is_told_of_and_the_others_go_on():
    with tempfile.TemporaryDirectory() as folder:
        proof = proof_of(folder, lasting=LASTING, bad=BAD, mute=MUTE, good=GOOD)
        status, page = told(proof)
        assert status == 1 and "NOT all held" in page
        assert "lasting     FAILED (took too long)" in page
        assert "bad         FAILED (exit status 1)" in page and "violations" in page
        assert "mute        FAILED (no counts)" in page
        assert "good        ok" in page
        assert not harness.descendants(), "a part outlived its time"
        assert told(proof, "good")[0] == 0


def test_what_was_skipped_stands_on_the_page():
    with tempfile.TemporaryDirectory() as folder:
        proof = proof_of(folder, partly=PARTLY, good=GOOD)
        status, page = told(proof)
        assert status == 0 and page.endswith("\nall held that was looked at\n"), page
        assert "partly      ok, but for what is SKIPPED" in page
        assert page.count("SKIPPED other users (needs root)") == 1
        assert "SKIPPED partly: other users (needs root)" in page
        assert told(proof, "--page")[1].endswith("\nall held that was looked at\n")
        assert told(proof, "good")[1].endswith("\nall held\n")


def test_the_page_is_printed_again_from_what_is_kept():
    with tempfile.TemporaryDirectory() as folder:
        proof = proof_of(folder, first=GOOD, second=GOOD)
        assert proof.commit() == "unknown"
        proof.commit = lambda: "abc"
        told(proof, "first")
        status, page = told(proof, "--page")
        assert status == 1 and "second      MISSING" in page and "commit abc, " in page
        proof.commit = lambda: "def-dirty"
        told(proof, "second")
        status, page = told(proof, "--page")
        assert status == 0 and "of several commits" in page
        assert "commit abc" in page and "commit def-dirty" in page


def test_told_to_stop_it_ends_its_parts():
    for number in (signal.SIGTERM, signal.SIGINT):
        with tempfile.TemporaryDirectory() as folder:
            code = f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r}); " \
                   f"import proof_test; proof_test.proof_of({folder!r}, " \
                   f"lasting={LASTING!r}).main([])"
            tool = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL,
                                    env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
            harness.adopt_orphans()
            wait_until(lambda: len(harness.descendants()) == 3, what="the part and its child")
            tool.send_signal(number)
            assert tool.wait(10) == 1
            assert not harness.descendants(), "a part outlives the tool"
            assert not (pathlib.Path(folder) / "proof" / "lasting.json").exists()


if __name__ == "__main__":
    runner.main()
