"""Which sync is which: a name for every sync in a journal, by who asked for it and of what file,
and the list of all places in our programs that ask for one.

Names come from the programs' own code (objdump, addr2line), so a new place in the source is a new
name without anybody listing it: of ours, each call has its own (tell_apart); SQLite's go by what it
was asked for. A function that ends in a jump leaves no frame behind; it is found
again by looking at where the call before went.
"""

import collections
import functools
import re
import subprocess

CALL = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s.*?([0-9a-f]+) <([^>+]+)(@plt)?>")
ANY = re.compile(r"^\s*([0-9a-f]+):\s")
HEAD = re.compile(r"^([0-9a-f]+) <([^>]+)>:")
KERNEL = ("fsync", "fdatasync")
WAL_HEADER = 32

# Who asks for a sync: the function outside of sys/, and its caller with the lines of both calls.
Site = collections.namedtuple("Site", "function what caller lines", defaults=("", (0, 0)))


def run(*words, stdin=None):
    return subprocess.run(words, input=stdin, stdout=subprocess.PIPE, check=True, text=True).stdout


class Program:
    """The code of one of our programs."""

    def __init__(self, path):
        self.path = str(path)
        self.target_before = {}  # return address: (name, address) of the function that was called
        self.sites = collections.defaultdict(set)  # function that is called: its callers
        self._read_code()

    def _read_code(self):
        function, call = None, None
        for line in run("objdump", "-d", "--no-show-raw-insn", self.path).splitlines():
            if head := HEAD.match(line):
                function, call = head[2], None
                continue
            if not (here := ANY.match(line)):
                continue
            if call:
                self.target_before[int(here[1], 16)] = call
            found = CALL.match(line)
            is_call = found and found[2].startswith(("call", "bl"))
            call = (found[4].split(".")[0], int(found[3], 16)) if is_call else None
            if found and found[4] != function:
                self.sites[found[4].split(".")[0]].add(function.split(".")[0])

    @functools.lru_cache(maxsize=None)
    def functions_at(self, address):
        """[(function, file, line)] of the code before a return address, the innermost first: more
        than one where the compiler put functions into each other."""
        lines = run("addr2line", "-e", self.path, "-f", "-i", hex(address - 1)).splitlines()
        places = (place.partition(" ")[0].rpartition(":") for place in lines[1::2])
        return [(name.split(".")[0], file, int(line) if line.isdigit() else 0)
                for name, (file, _, line) in zip(lines[::2], places)]

    def chain(self, frames):
        """Who called whom, the innermost first; None for a library."""
        found, inner = [], None
        for address in frames:
            if address == 0:
                found.append((None, "", 0))
                inner = None
                continue
            called, target = self.target_before.get(address, (None, 0))
            if called and inner and called != inner:  # it ended in a jump
                function, file, _ = self.functions_at(target + 1)[-1]
                found.append((function, file, 0))
            here = self.functions_at(address)
            found += here
            inner = here[-1][0]
        return found

    def callers(self):
        """Functions that sync something by way of sys/."""
        return {caller for callee in ("fd_sync", "fd_sync_content", "dir_sync")
                for caller in self.sites[callee]}

    def strangers(self):
        """Functions that sync behind sys/'s back."""
        return {caller for name in (*KERNEL, "sync", "syncfs", "sync_file_range", "msync")
                for caller in self.sites[name]} - {"fd_sync", "fd_sync_content"}


def role(name):
    """What a file is for, by its name."""
    if name.startswith(".credwarden-tmp-"):
        return "new file"
    for end in (".spool", ".aside"):
        if name.endswith(end):
            return "spool file"
    return name


class Namer:
    """Names the syncs of one journal, in its order."""

    def __init__(self, programs):
        self.programs = programs  # {path: Program}
        self.of_process = {}
        self.functions = set()  # that were seen on the way to a sync

    def note_program(self, record):
        self.of_process[record.pid] = self.programs[record.path]

    def name(self, record, node):
        """The Site: SQLite's have no lines."""
        chain = self.of_process[record.pid].chain(record.frames)
        self.functions |= {function for function, *_ in chain if function}
        what = f"folder {node.name}" if hasattr(node, "names") else role(node.name)
        if chain[0][0] is None:
            return Site(self._of_sqlite(chain, what, node), what)
        ours = [(function, line) for function, place, line in chain
                if function and "/src/sys/" not in place]
        (function, line), (caller, caller_line) = (*ours, ("", 0))[:2]
        return Site(function, what, caller, (caller_line, line))

    @staticmethod
    def _of_sqlite(chain, what, node):
        names = [function for function, *_ in chain if function]
        step = "commit"
        if "checkpoint" in names:
            step = "checkpoint"
        elif "store_disconnect" in names:
            step = "close"
        elif "store_add_sums" in names and "store_copy" not in names:
            step = "sums"
        elif "store_copy" in names:
            step = "copy"
        elif "store_create" in names:
            step = "creation"
        if what == "store.db-wal" and step == "commit" and \
                [(at, len(written or b"")) for _, at, written in node.since] == [(0, WAL_HEADER)]:
            step = "log begun anew"
        return f"SQLite, {step}"


def tell_apart(sites):
    """[{number: Site}] → [{number: name}]. Where several places in the source come to a sync of the
    same kind of file by the same function, each has a name of its own: by who called that function,
    and if that does not tell, by their order there."""
    found = collections.defaultdict(set)
    for site in (site for numbered in sites for site in numbered.values()):
        found[site.function, site.what].add(site)

    def name(site):
        alike = found[site.function, site.what]
        callers = {other.caller for other in alike}
        places = sorted(other.lines for other in alike if other.caller == site.caller)
        called = f" for {site.caller}" if len(callers) > 1 else ""
        place = f", place {places.index(site.lines) + 1}" if len(places) > 1 else ""
        return f"{site.function}{called}: {site.what}{place}"

    return [{number: name(site) for number, site in numbered.items()} for numbered in sites]
