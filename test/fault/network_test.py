#!/usr/bin/env python3
"""The short form of network.py: every quirk of the lab under load, and lineages that expire in the
same second, with and without a server that throttles."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import load  # noqa: E402
import network  # noqa: E402
import runner  # noqa: E402  (load.py has made the way)


def tell(seen):
    print(f"# {seen}")
    assert seen["lost_by_us"] == 0


@runner.limit(90)
def test_every_quirk_at_once_loses_no_login_that_it_did_not_end():
    tell(network.quirks_under_load(each=2, threads=16))
    load.end_of_story()


@runner.limit(90)
def test_two_hundred_lineages_that_expire_together_all_live_through_a_server_that_throttles():
    seen = network.herd(200, life_s=14, limit=60, window_s=1)
    tell(seen)
    network.assert_no_stampede(seen, 14, limit=60)
    load.end_of_story()


if __name__ == "__main__":
    runner.main()
