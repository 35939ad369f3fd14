#!/usr/bin/env python3
"""The short form of liar.py: a spender that is fed lies, a spender that tells them, and one that is
stopped."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import liar  # noqa: E402
import liar_spender as wire  # noqa: E402
import load  # noqa: E402
import runner  # noqa: E402  (load.py has made the way)


@runner.limit(120)
def test_a_spender_that_lies_harms_one_lineage_at_most():
    lies = [lie for lie in wire.LIES if lie is not wire.deaf]  # the stopped one waits long enough
    print(f"# {liar.spender_that_lies(lies)}")
    load.end_of_story()


@runner.limit(60)
def test_a_spender_that_is_lied_to_sends_nothing_and_finishes_what_it_has():
    print(f"# {liar.spender_that_is_lied_to(runner.seed(), every=3)}")
    load.end_of_story()


@runner.limit(60)
def test_a_stopped_spender_holds_up_nobody_else_and_settles_when_it_goes_on():
    liar.stopped_in_mid_spend()
    load.end_of_story()


@runner.limit(60)
def test_a_spender_killed_while_it_is_stuck_leaves_one_lineage_in_doubt():
    liar.stopped_in_mid_spend(kill=True)
    load.end_of_story()


if __name__ == "__main__":
    runner.main()
