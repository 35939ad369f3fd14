#!/usr/bin/env python3
"""The short form of hostile.py: crowds on the API's socket, other users, folder tricks."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import hostile  # noqa: E402
import load  # noqa: E402
import runner  # noqa: E402  (load.py has made the way)


@runner.limit(60)
def test_a_crowd_of_all_kinds_delays_no_honest_caller():
    seen = hostile.crowds(1500, 3, runner.seed())
    print(f"# {seen}")
    assert seen["honest_failures"] == 0
    load.end_of_story()


def test_another_users_crowd_gets_nothing():
    hostile.crowd_of_another_user()


def test_a_fifo_in_the_sockets_place_is_a_sentence():
    hostile.in_the_sockets_place(("a FIFO",))


def test_folders_swapped_under_the_daemon_lose_nothing():
    hostile.state_folder_swapped()


def test_nothing_but_a_file_of_ours_is_the_log():
    hostile.in_the_logs_place()


def test_what_others_planted_in_the_spool_is_neither_read_nor_deleted():
    hostile.planted_in_the_spool()


def test_files_of_another_user_in_our_places_are_not_written():
    hostile.links_to_foreign_files(("state/credwarden/credwardend.log",
                                    "share/credwarden/vault.key"))


def test_a_race_for_the_name_of_our_folder_is_lost_or_won_but_not_shared():
    print(f"# {hostile.race_in_a_sticky_folder()}")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("# not root: what needs another user is SKIPPED")
    runner.main()
