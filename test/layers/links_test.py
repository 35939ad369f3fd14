#!/usr/bin/env python3
"""What the built programs and libraries are linked with. Needs a finished build: $CW_BUILD, or
build/."""

import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "test" / "script"))
import runner  # noqa: E402

BUILD = pathlib.Path(os.environ.get("CW_BUILD", ROOT / "build"))

# Everything the core may call outside itself: memory and text, never the world. A stray time() or
# malloc() fails here.
CORE_MAY_CALL = {
    "memcpy", "memmove", "memset", "memcmp", "strcmp", "strlen",
    "__memcpy_chk", "__memmove_chk", "__memset_chk",
    "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_",
    "check_failed",  # base/check.h
    "fp_is_none", "fp_equal", "pair_equal",  # base/words.h
}


def built(target):
    """The file of a build target, by meson's own list."""
    targets = json.loads((BUILD / "meson-info" / "intro-targets.json").read_text())
    for entry in targets:
        if entry["name"] == target:
            return pathlib.Path(entry["filename"][0])
    raise AssertionError(f"{BUILD.name} builds no {target}")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def needed(target):
    """Shared libraries that the program itself asks for."""
    text = output("readelf", "--dynamic", "--wide", str(built(target)))
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", text))


def loaded(target):
    """All shared libraries that a start of the program loads."""
    return set(re.findall(r"^\s*(\S+)", output("ldd", str(built(target))), re.MULTILINE))


def test_the_core_calls_nothing_but_memory():
    text = output("nm", "--undefined-only", "--format=posix", str(built("core")))
    wanted = {line.split()[0] for line in text.splitlines() if re.match(r"\S+ [Uw]", line)}
    own = {line.split()[0] for line in
           output("nm", "--defined-only", "--format=posix", str(built("core"))).splitlines()
           if " " in line}
    assert own, "the core library is empty"
    stray = wanted - own - CORE_MAY_CALL
    assert not stray, f"the core calls {', '.join(sorted(stray))}"


def test_the_command_line_links_libc_only():
    assert needed("credwarden") <= {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}, \
        f"credwarden links {needed('credwarden')}"


def test_the_daemon_loads_no_libcurl():
    libraries = needed("credwardend") | loaded("credwardend")
    heavy = [library for library in libraries if re.match(r"lib(curl|ssl|gnutls|nghttp)", library)]
    assert not heavy, f"credwardend loads {heavy}"


def test_the_spender_is_the_one_with_libcurl():
    assert any(library.startswith("libcurl") for library in needed("credwarden-spender"))


if __name__ == "__main__":
    runner.main()
