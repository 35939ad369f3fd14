"""Runs the test_* functions of the file that was started, and prints TAP.

    python3 x_test.py             every test
    python3 x_test.py test_a …    those
    python3 x_test.py --list      their names

A test passes by returning, fails by raising, and is skipped by skip("reason"). Each has a time
limit, DEFAULT_LIMIT_S unless @limit(seconds) says otherwise. At the limit, and on SIGTERM, an
exception is raised inside the test, so that `with` and `finally` clean up.

A test that draws takes all of its chances from seed(): what it prints repeats them. A failure that
is nothing but lateness is marked (LATE): on a machine with other work that may mean nothing.
"""

import functools
import os
import random
import signal
import sys
import threading
import time
import traceback

DEFAULT_LIMIT_S = 60
CLEANUP_LIMIT_S = 20
SEED = "CW_SEED"
LATE = "# late: "


class Skip(Exception):
    pass


class Stopped(BaseException):
    """Not an Exception, so that no `except Exception` inside a test swallows it."""


class Late(AssertionError):
    """It took too long."""


def skip(reason):
    raise Skip(reason)


def limit(seconds):
    def mark(function):
        function.limit_s = seconds
        return function
    return mark


@functools.cache
def seed():
    """Of all that is drawn in this process: $CW_SEED, or a new one. It is printed."""
    value = int(os.environ.get(SEED, "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print(f"# seed {value} ({SEED}={value} repeats what is drawn)", flush=True)
    return value


def take_seed(given):
    """From a command line, or None: before it is first asked for."""
    if given is not None:
        os.environ[SEED] = str(given)


def in_threads(count, function):
    """function(0) … function(count - 1) at once; their results, or the first exception."""
    results, errors = [None] * count, []

    def work(index):
        try:
            results[index] = function(index)
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def wait_until(predicate, timeout=10, what=None, pause=0.02):
    """The first true value of predicate(). Late when there is none in time. `what`: what is waited
    for, or a function that says so when the time is over."""
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            said = what() if callable(what) else what
            raise Late(f"waited {timeout} s in vain for {said or predicate}")
        time.sleep(pause)


def assert_took(began, less_than_s, what):
    """Late unless it did. `began`: by time.monotonic()."""
    took = time.monotonic() - began
    if took >= less_than_s:
        raise Late(f"{what}: {took:.2f} s, and not {less_than_s} s at most")


def stop_by_exception():
    """For programs that are no tests: SIGTERM and SIGINT raise SystemExit in the main thread, so
    that `with` and `finally` clean up; once, because that is not to be stopped."""
    told = []

    def stop(number, _frame):
        if not told:
            told.append(number)
            sys.exit(f"stopped by {signal.Signals(number).name}")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _on_alarm(signum, _frame):
    # One more alarm, should the cleanup hang as well.
    signal.alarm(CLEANUP_LIMIT_S)
    raise Stopped("the time limit is over" if signum == signal.SIGALRM else "stopped by SIGTERM")


def _run(number, name, function):
    signal.alarm(getattr(function, "limit_s", DEFAULT_LIMIT_S))
    try:
        function()
    except Skip as reason:
        print(f"ok {number} - {name} # SKIP {reason}")
    except BaseException as error:
        if isinstance(error, (Late, Stopped)):
            print(f"{LATE}{error}")
        for line in traceback.format_exc().rstrip().splitlines():
            print(f"# {line}")
        print(f"not ok {number} - {name}")
        return False
    else:
        print(f"ok {number} - {name}")
    finally:
        signal.alarm(0)
        sys.stdout.flush()
    return True


def main():
    module = sys.modules["__main__"]
    tests = {name: value for name, value in vars(module).items()
             if name.startswith("test_") and callable(value)}
    words = sys.argv[1:]
    if words == ["--list"]:
        print("\n".join(tests))
        return
    unknown = [word for word in words if word not in tests]
    if unknown:
        sys.exit(f"no test {unknown[0]}; there are {', '.join(tests)}")
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.signal(signal.SIGTERM, _on_alarm)
    names = words or list(tests)
    print(f"1..{len(names)}")
    results = [_run(i + 1, name, tests[name]) for i, name in enumerate(names)]
    sys.exit(0 if results and all(results) else 1)
