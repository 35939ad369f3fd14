#!/usr/bin/env python3
"""How long a new refresh token exists nowhere but in memory: from the last byte of the answer to
the end of the sync that makes it durable. In multiples of one fdatasync on the same file system,
because the disk's part is nobody's fault. `make bench` measures more of them."""

import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "script"))

import runner  # noqa: E402
from harness import World, is_sanitized  # noqa: E402
from stopwatch import Stopwatch, durable_times  # noqa: E402

SPENDS = 150
MULTIPLE_MAX = 5


def test_an_answer_is_durable_within_a_few_fdatasyncs():
    if is_sanitized():
        runner.skip("a sanitized build would time the sanitizer")
    with World() as world:
        times = durable_times(world, Stopwatch(world), SPENDS)
    durable, bare = statistics.median(times.durable), statistics.median(times.bare)
    print(f"# answer received to durable: median {durable / 1000:.0f} us of {SPENDS}, one "
          f"fdatasync {bare / 1000:.0f} us: {durable / bare:.1f} of it")
    assert durable <= MULTIPLE_MAX * bare


if __name__ == "__main__":
    runner.main()
