#!/usr/bin/env python3
"""Three minutes of the endurance run; `make endurance` is as long as one likes."""

import endurance
import runner

SECONDS = 180


@runner.limit(SECONDS + 120)
def test_nothing_is_lost_among_rude_siblings_kills_and_switches():
    endurance.endure(SECONDS)


if __name__ == "__main__":
    runner.main()
