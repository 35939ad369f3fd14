"""What a good refusal looks like, for the stories about bad input."""

import re

# Exit codes of the command line (src/base/exits.h).
FAILED, USAGE, UNKNOWN, POLICY, SIGN_IN, LATER, DAEMON, INPUT = range(1, 9)

# A made-up token of any provider in these stories, or enough of one to be a leak.
TOKEN = re.compile(r"(lab-[ar]t|sk-ant-o[ar]t\d\d)-\w{8}")


def assert_refused(result, code, *texts):
    """The command failed with this code, in one sentence that has all of these texts and no
    token, and printed nothing else."""
    assert result.code == code, result
    assert result.stderr.startswith("credwarden: ") and result.stderr.endswith("\n"), result
    assert result.stderr.count("\n") == 1, result
    for text in texts:
        assert str(text) in result.stderr, f"{text!r} is not said by {result}"
    assert not TOKEN.search(result.stderr + result.stdout), f"a token is told: {result}"
    assert result.stdout == "", result


def assert_problem(answer, status, code, *texts):
    """The same of an answer of the API."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    assert answer.json["status"] == status and answer.json["code"] == code, answer
    for text in texts:
        assert text in answer.json["detail"], f"{text!r} is not said by {answer}"
    assert not TOKEN.search(answer.text), "a token is told"


def profiles(world):
    """What `list` knows, by name."""
    return {profile["name"]: profile for profile in world.cw("list", "--json").json["profiles"]}


def generation(world, name):
    return profiles(world)[name]["generation"]
