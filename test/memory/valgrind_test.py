#!/usr/bin/env python3
"""One full scenario under valgrind: daemon, spender and command line, the plain build.

The spender runs with its seccomp filter as always; what valgrind itself asks of the kernel is in
it. Landlock is not known to valgrind, so the spender does without, as on a kernel that lacks it.
Memory in secret slabs is valgrind's as one piece: AddressSanitizer, which is told of the slabs'
parts, looks closer there.
"""

import pathlib
import re
import shutil
import subprocess

import scenario
import runner
from harness import World, redact
from runner import limit, skip

OPTIONS = ("--quiet --vgdb=no --error-exitcode=99 --leak-check=full "
           "--show-leak-kinds=definite,indirect "
           "--errors-for-leak-kinds=definite,indirect --child-silent-after-fork=yes")
HERE = pathlib.Path(__file__).resolve().parent
ERROR = re.compile(r"^==\d+== (?!Warning: (?:noted but unhandled|set address range))\S", re.M)


def build_shim(world):
    shim = world.folder / "pidfd_shim.so"
    compiler = shutil.which("cc") or skip("no C compiler to build the preloaded library with")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", shim, HERE / "pidfd_shim.c", "-ldl",
                    "-lpthread"], check=True)
    return shim


def errors_of(report):
    """The complaints in a report, but those about the spender's trial of its own sandbox, which
    asks for refusals on purpose. (A suppression had to name every argument of every call.)"""
    blocks = re.split(r"^==\d+== *\n", report.read_text(), flags=re.M)
    return [block for block in blocks if ERROR.search(block)
            and not ("== Syscall param " in block and "by 0x" in block
                     and "vital_calls_pass (sandbox.c" in block)
            and not re.match(r"==\d+==  Address 0x\w+ is not stack'd", block)]


@limit(170)
def test_one_life_of_a_login():
    if shutil.which("valgrind") is None:
        skip("no valgrind")
    with World() as world:
        reports = world.folder / "reports"
        reports.mkdir()
        scenario.wrap(world, f"export LD_PRELOAD='{build_shim(world)}'\n"
                             f"exec valgrind {OPTIONS} --log-file='{reports}/{{name}}.%p' "
                             "{program} \"$@\"")
        scenario.tell(world)
        found = [error for path in sorted(reports.iterdir()) for error in errors_of(path)]
        names = {path.name.split(".")[0] for path in reports.iterdir()}
        assert names == {"credwarden", "credwardend", "credwarden-spender"}, names
        assert not found, redact("\n\n".join(found)[:20000])


if __name__ == "__main__":
    runner.main()
