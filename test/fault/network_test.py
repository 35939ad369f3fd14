#!/usr/bin/env python3
"""The short form of network.py: every quirk of the lab under load, where tokens are spent and where
they are asked about, and lineages that expire in the same second, at a server that throttles."""

import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import load  # noqa: E402
import network  # noqa: E402
import runner  # noqa: E402  (load.py has made the way)


def tell(seen):
    print(f"# {seen}")
    assert seen["lost_by_us"] == 0


def drawn():
    return network.circumstances(random.Random(runner.seed()))


@runner.limit(90)
def test_every_quirk_at_once_loses_no_login_that_it_did_not_end():
    tell(network.quirks_under_load(each=2, threads=16, **drawn()))
    load.end_of_story()


@runner.limit(90)
def test_a_doubt_is_resolved_by_what_is_true_though_all_kinds_of_things_are_said():
    tell(network.quirks_under_load(each=1, threads=16, **network.KILLS_ACCESS, **drawn()))
    load.end_of_story()


@runner.limit(90)
def test_where_nothing_rotates_only_a_refusal_ends_a_login():
    tell(network.quirks_under_load(each=1, threads=16, **network.KEEPS_TOKENS, **drawn()))
    load.end_of_story()


@runner.limit(90)
def test_who_asks_whose_a_login_is_may_be_told_anything_and_loses_none():
    tell(network.questions_under_load(each=1, threads=16))
    load.end_of_story()


@runner.limit(90)
def test_two_hundred_lineages_that_expire_together_all_live_through_a_server_that_throttles():
    tell(network.calm_herd(200, life_s=14, limit=60))
    load.end_of_story()


if __name__ == "__main__":
    runner.main()
