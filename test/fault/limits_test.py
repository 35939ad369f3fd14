#!/usr/bin/env python3
"""Means that run out, in the short form: a few steps of what limits.py --proof takes all of."""

import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script")]
import limits  # noqa: E402
import runner  # noqa: E402


def some(kind, count, steps=None):
    """So many steps of this kind. limits.one() says before each how it is repeated."""
    for step in random.Random(runner.seed()).sample(steps or limits.STEPS[kind], count):
        print(f"# {kind} {step}: {limits.one(kind, step)[0][1:]}", flush=True)


def test_a_disk_that_cannot_be_written_is_told_and_harms_nothing():
    for which in ("data", "state"):
        limits.one("read-only", which)


def test_a_data_disk_that_fills_up_loses_nothing_and_spends_nothing_twice():
    some("data", 2)


def test_a_state_disk_that_fills_up_loses_nothing_and_spends_nothing_twice():
    some("state", 1)


def test_too_few_descriptors_lose_nothing_and_spend_nothing_twice():
    some("descriptors", 2, range(14, 40))


def test_a_start_with_hardly_any_descriptors_ends_with_a_word():
    for step in (4, 6, 9, 14):  # libuv's own, the loop's, the folders', the store's
        [(_, outcome)] = limits.one("descriptors", step)
        assert outcome == "refused", outcome


def test_too_little_memory_loses_nothing_and_spends_nothing_twice():
    some("address", 1, range(8, 40))
    some("heap", 1, range(3, 20))


def test_whoever_is_killed_for_its_memory_loses_no_login():
    some("group", 2, range(2048, 4096, 128))


if __name__ == "__main__":
    runner.main()
