#!/usr/bin/env python3
"""The layers of ARCHITECTURE.md, held against the sources: who includes whom, who may make system
calls, what each library is built from, and the words that must not be in the tree."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "test" / "script"))
import runner  # noqa: E402

# Folder → what it may include besides itself. Parts stand side by side: none includes another.
BASE, SYS = {"base"}, {"base", "sys"}
PARTS = {"store", "vault", "http", "issuer", "replica", "sink", "notify"}
LAYERS = {
    "base": set(),
    "core": BASE,
    "sys": BASE,
    "json": BASE,
    **{part: SYS | {"json"} for part in PARTS},
    "api": SYS | {"http"},
    "gateway": SYS | {"http"},
    "daemon": SYS | PARTS | {"core", "json", "api"},
    "cli": BASE,  # and its own client
    "lab": SYS | {"http"},
    "sim": BASE | {"core"},
}

# Headers through which system calls come. src/sys is the place for them; whoever else needs one
# says here why.
SYSTEM = re.compile(r"(sys/(?!types\.h|queue\.h)|linux/|net|arpa/|asm/)"
                    r"|(aio|dirent|fcntl|grp|ifaddrs|mqueue|poll|pwd|sched|signal|spawn|syslog"
                    r"|termios|unistd|utime)\.h$")
EXCEPTIONS = {
    "src/base/secret.c": "locks and hides its memory; base stands below sys",
    "src/base/paths.c": "only the size of sockaddr_un",
    "src/issuer/provider_url.c": "only inet_pton(), which is no system call",
    "src/issuer/spender/": "a program of its own, with a sandbox to set up",
    "src/cli/client.c": "a thin program without sys: the socket",
    "src/cli/start.c": "a thin program without sys: starts the daemon",
    "src/cli/files.c": "a thin program without sys: reads the file it is given",
}
CORE_HEADERS = {"stdbool.h", "stddef.h", "stdint.h", "string.h", "inttypes.h", "limits.h"}

# Spelled so that this file does not find itself.
BANNED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK|not yet imple" r"mented)\b")
TEXT = {".c", ".h", ".py", ".mjs", ".md", ".ini", ".build", ".txt", ".json", ".html", ".js", ".css",
        ".service", ""}
SKIPPED = {"build", "node_modules", ".git", "__pycache__"}


def layer_of(path):
    """src/core/life.c → core, lab/main.c → lab."""
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "src" else parts[0]


def sources():
    for folder in ("src", "lab", "sim"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            yield path


def includes(path):
    """(line number, kind, header) of each #include; kind is '"' or '<'."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(1), match.group(2)


def name(path):
    return str(path.relative_to(ROOT))


def fail_with(faults):
    assert not faults, "\n" + "\n".join(faults)


def test_every_folder_has_its_place():
    known = set(LAYERS)
    found = {layer_of(path) for path in sources()}
    assert found, "no sources at all"
    fail_with([f"src/{layer} is in no layer: add it to LAYERS and ARCHITECTURE.md"
               for layer in sorted(found - known)])


def test_includes_keep_to_the_layers():
    faults = []
    for path in sources():
        layer = layer_of(path)
        for number, kind, header in includes(path):
            if kind != '"':
                continue
            where = f"{name(path)}:{number}"
            used = header.split("/")[0]
            if "/" not in header or ".." in header:
                faults.append(f'{where}: "{header}" must be a path from src/')
            elif used != layer and used not in LAYERS[layer]:
                faults.append(f"{where}: {layer} must not include {used} ({header})")
            elif not any((ROOT / top / header).exists() for top in ("src", "")):
                faults.append(f"{where}: no such file: {header}")
    fail_with(faults)


def test_system_calls_stay_in_sys():
    # src only: the lab and the simulator are no part of what is shipped.
    faults = []
    for path in (ROOT / "src").rglob("*.[ch]"):
        if layer_of(path) == "sys" or name(path).startswith(tuple(EXCEPTIONS)):
            continue
        faults += [f"{name(path)}:{number}: <{header}> belongs into src/sys"
                   for number, kind, header in includes(path)
                   if kind == "<" and SYSTEM.match(header)]
    fail_with(faults)


def test_exceptions_are_still_needed():
    needy = [name(path) for path in sources()
             if any(kind == "<" and SYSTEM.match(header) for _, kind, header in includes(path))]
    fail_with([f"{prefix} is an exception ({why}), but includes no such header"
               for prefix, why in EXCEPTIONS.items()
               if not any(file.startswith(prefix) for file in needy)])


def test_the_core_sees_nothing_of_the_world():
    fail_with([f"{name(path)}:{number}: the core must not include <{header}>"
               for path in (ROOT / "src/core").rglob("*.[ch]")
               for number, kind, header in includes(path)
               if kind == "<" and header not in CORE_HEADERS])


def test_libraries_are_built_from_their_layers():
    faults = []
    for path in sorted((ROOT / "src").glob("*/meson.build")):
        layer = path.parent.name
        for used in set(re.findall(r"\b([a-z]+)_dep\b", path.read_text())) - {layer}:
            if used not in LAYERS[layer]:
                faults.append(f"{name(path)}: {layer} must not be built from {used}")
    fail_with(faults)


def test_no_banned_words():
    faults = []
    for path in sorted(ROOT.rglob("*")):
        if SKIPPED & set(path.relative_to(ROOT).parts) or path.suffix not in TEXT:
            continue
        if not path.is_file() or path.name in ("LICENSE", "package-lock.json"):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = BANNED.search(line)
            if match:
                faults.append(f"{name(path)}:{number}: {match.group(0)}")
    fail_with(faults)


if __name__ == "__main__":
    runner.main()
