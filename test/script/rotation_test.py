#!/usr/bin/env python3
"""The main job against the lab: callers that never notice a rotation. (test/real has the same story
against a real server.)"""

import runner
from callers import assert_all_served, crowd
from harness import World

CALLERS = 16
ROTATIONS = 50


@runner.limit(120)
def test_fifty_rotations_sixteen_callers_and_one_that_stalls():
    with World() as world:
        lab = world.start_lab(access_life="4s", delay_after="50ms")
        world.write_provider("lab", **lab.provider_keys())
        world.add("work", "lab", lab.login("alice"))
        crew = crowd(world, "work", CALLERS, "3s", lambda access: lab.use(access).status == 200,
                     until=lambda: lab.family("f1")["spends"] >= ROTATIONS)
        assert_all_served(crew, answers_min=ROTATIONS)

        world.cw("daemon", "stop")  # or it may spend between the two looks at the server
        family = lab.family("f1")
        assert family["alive"] and family["reuses"] == 0, family
        assert family["spends"] == family["generation"] - 1, family
        presented = [line["presented"] for line in lab.log(endpoint="token")]
        assert len(presented) == len(set(presented)) == family["spends"]
        world.cw("renew", "work")
        assert lab.family("f1")["alive"]


if __name__ == "__main__":
    runner.main()
