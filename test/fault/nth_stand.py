"""What the stories of fault points share: a stand on which one moment of a scenario is tried again
and again, always from the same state, and the questions that are asked after each try.

    with Stand(scenario) as stand:
        complaints = stand.run(Case("refresh", "daemon", ("open",), points.FAIL_ONCE, 3, EMFILE))

One try: the folders and the lab go back to what they were, the scenario's command runs with one
point struck, then without any fault: does what still runs answer; does the next start repair; is
every login alive, in step with the server, presented no oftener than the rules allow; is nothing
left over; and was what the user was told true.
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import threading
import time

import corrupt_test
import harness
import mounts
import points
import runner
import siblings
import truth
import version_1
from harness import World

COMMAND_S = 20  # for a command of a try; the daemon answers within its own time-outs
READY_FD = 9
SETTLED_S = 12  # from the end of a fault until nothing is left to be done
SHORTAGE_S = 0.5  # what goes on failing does so for at most so long: then there is room again
QUIET_S = 0.1  # at most, until what a command left behind is done
PEACE_S = 0.005  # between two looks

# A spender that has worked for so long since libseccomp was short of memory goes round in circles
# there (it is ready after a fifth of that). The daemon's patience with it takes seconds and a core:
# each so many-th time it is waited for, else the spender is ended at once.
CIRCLE_CPU_S = 1 if harness.is_sanitized() else 0.1
CIRCLES = 16

STOLEN = "work"  # the login that every scenario has
AGAIN_S = 2.1  # a login that was renewed a moment ago is not renewed again
FURNISHED = 2  # the generation that every login has before a try

# Names that may stand in our folders when a daemon has started and is at rest.
DATA_NAMES = {"lock", "store.db", "store.db-wal", "vault.key"}
STATE_NAMES = {"credwardend.log", "high-water", "spool", "state-lock"}

WORDS = ("write", "writev", "fflush")  # what a program says goes out by these

UNCHANGED = re.compile(r"nothing was (added|changed|removed)")


@dataclasses.dataclass(frozen=True)
class Case:
    """One moment, and what happens there."""
    scenario: str
    role: str
    classes: tuple
    act: int
    nth: int
    error: int = 0
    who: int = points.ITSELF

    ACTS = {points.FAIL_ONCE: "fails", points.FAIL_ON: "fails-on",
            points.KILL_BEFORE: "dies-before", points.KILL_AFTER: "dies-after"}
    WHO = {points.ITSELF: [], points.BOTH: ["both"], points.OTHER: ["other"]}

    def __str__(self):
        """As --only takes it."""
        classes = "all" if len(self.classes) > 1 else self.classes[0]
        words = [self.scenario, self.role, classes, self.ACTS[self.act], str(self.nth)]
        if self.act in (points.FAIL_ONCE, points.FAIL_ON):
            words.append(points.error_name(self.error))
        return ":".join(words + self.WHO[self.who])

    @property
    def kills(self):
        return self.act in (points.KILL_BEFORE, points.KILL_AFTER)

    @property
    def victim(self):
        """Who dies: daemon, spender or both."""
        if self.who == points.OTHER:
            return "spender" if self.role == "daemon" else "daemon"
        return "both" if self.who == points.BOTH else self.role

    @classmethod
    def parse(cls, text):
        scenario, role, classes, act, nth, *rest = text.split(":")
        numbers = {name: number for number, name in cls.ACTS.items()}
        errors = {points.error_name(error): error
                  for errors in points.ERRORS.values() for error in errors}
        who = next((who for who, words in cls.WHO.items() if words and words[0] in rest),
                   points.ITSELF)
        error = next((errors[word] for word in rest if word in errors), 0)
        chosen = points.KILLABLE if classes == "all" else (classes,)
        return cls(scenario, role, tuple(chosen), numbers[act], int(nth), error, who)


class Complaint(Exception):
    """A question of a try that got the wrong answer."""


def ended_by_library(number, where, struck_where):
    """libuv ends its process where the kernel has no room for what it cannot do without (a place in
    the epoll set, its own pipes). libseccomp short of memory crashes, or loads a filter that
    forbids even exiting; the spender holds nothing yet. It remains to ask what is lost."""
    return number == signal.SIGABRT and where.startswith("libuv.so") or "libseccomp" in struck_where


@contextlib.contextmanager
def meanwhile(look, pause_s):
    """look() again and again, and once more at the end."""
    over = threading.Event()

    def watch():
        while not over.wait(pause_s):
            look()
        look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


# ---- processes: all that is not the lab is of the try at hand ----

def ends_within(pid, seconds):
    """Waits for the end of a process, and of all its threads."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def cpu_s(pid):
    """What a process has worked; 0 when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def state_of(pid):
    """As /proc has it; "" when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid=None):
    pid = pid or os.getpid()
    try:
        words = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for word in words.split()]


class Stand:
    def __init__(self, scenario):
        self.scenario = scenario
        self.ends = []  # (pid, status) of what ended in this try
        self.logins_lost, self.presented_twice = set(), set()  # families, in this try
        self.graced = 0  # answers that were lost on the wire in this try
        self.is_patient = True  # wait for a second try of the daemon, or leave it to itself
        self.is_robbed = False  # a login is taken away in this try: see see_a_theft()
        # At the end of this try; and an answer, with its spender.
        self.in_doubt, self.lost = False, False

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._build(stack)
            self.scenario.furnish(self)
            self.end_programs()
            self.kept = [self._read(folder) for folder in self.folders]
            self.lab.control("POST", "/lab/keep")
            self.furniture = stack.pop_all()
        return self

    def __exit__(self, *what):
        self.furniture.__exit__(*what)

    def _build(self, stack):
        self.world = stack.enter_context(World())
        self._on_a_fast_disk(stack)
        self.sheet = points.Sheet(self.world)
        self.elsewhere = self.world.folder / "elsewhere"
        self.elsewhere.mkdir(mode=0o700)
        self.folders = (self.world.share / "credwarden", self.world.state / "credwarden",
                        self.world.runtime, self.elsewhere)
        self.lab = self.world.start_lab(access_life="12h", grace="10m",  # beyond all tries
                                         max_seconds=12 * 3600)
        stack.callback(self._end_lab)
        stack.callback(self.end_programs)
        self.world.write_provider("lab", **self.lab.provider_keys(reuse_grace="3s"))
        self.world.write_config(spend_deadline="5s")

    def _end_lab(self):
        self.lab.process.terminate()
        self.lab.process.wait(10)

    def _on_a_fast_disk(self, stack):
        """In memory where the system allows it: what is tried here is no power loss, and a try
        syncs two dozen times."""
        try:
            stack.enter_context(mounts.small_disk(self.world.home, "256m"))
        except runner.Skip:
            return
        for path in (self.world.config, self.world.share, self.world.state):
            path.mkdir(mode=0o700, parents=True)

    # ---- the state that every try begins with ----

    @staticmethod
    def _read(folder):
        if not folder.exists():
            return None
        return {path.relative_to(folder): path.read_bytes() if path.is_file() else None
                for path in sorted(folder.rglob("*")) if path.is_file() or path.is_dir()}

    @staticmethod
    def _write(folder, kept):
        shutil.rmtree(folder, ignore_errors=True)
        if kept is None:
            return
        folder.mkdir(mode=0o700, parents=True)
        for name, content in kept.items():
            path = folder / name
            if content is None:
                path.mkdir(mode=0o700)
            else:
                path.write_bytes(content)
                path.chmod(0o600)

    def restore(self):
        for folder, kept in zip(self.folders, self.kept):
            self._write(folder, kept)
        self.lab.control("POST", "/lab/rewind")
        self.is_robbed = False
        self.world.outputs.clear()
        self.ends.clear()
        self.logins_lost.clear()
        self.presented_twice.clear()
        self.sheet.clear()
        self.graced, self.in_doubt, self.lost, self.ended_by_library = 0, False, False, False

    # ---- processes ----

    def reap(self):
        """Note how each ended that has ended."""
        while children():
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            if found.si_pid == self.lab.process.pid:
                self.lab.process.wait()  # whoever stops us has ended it, too
            else:
                self.ends.append(os.waitpid(found.si_pid, 0))

    def end_programs(self):
        """By SIGKILL, until nothing but the lab is left. Orphans become our children."""
        while True:
            self.reap()
            left = [pid for pid in children() if pid != self.lab.process.pid]
            if not left:
                return
            for pid in left:
                harness.send_signal(pid, signal.SIGKILL)
            time.sleep(PEACE_S / 5)

    def daemon(self):
        return self.world.daemon_pid()

    def start(self):
        """A daemon without faults, as the command line starts one. It has to start and answer."""
        self.sheet.disarm()
        self.sheet.forgive()
        end = time.monotonic() + COMMAND_S
        while (said := self._start_once()) == b"already\n" and time.monotonic() < end:
            time.sleep(PEACE_S)  # one that could not start is just ending,
            self.stop(True)  # or the command has not waited for one that could
        if said != b"ready\n":
            raise Complaint(f"the next start fails: {said!r}")

    def _start_once(self):
        """What a daemon says of its start."""
        reader, writer = os.pipe()
        path = self.world.programs / "credwardend"
        os.posix_spawn(path, [path, "--ready-fd", str(READY_FD)], self.world.env, setsid=True,
                       file_actions=[(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0)
                                     for fd in range(3)] +
                       [(os.POSIX_SPAWN_DUP2, writer, READY_FD)])
        os.close(writer)
        with open(reader, "rb") as report:
            is_told = select.select([report], [], [], COMMAND_S)[0]
            return report.readline() if is_told else b"nothing"

    def stop(self, gently):
        pid = self.daemon()
        if pid is None:
            return
        harness.send_signal(pid, signal.SIGTERM if gently else signal.SIGKILL)
        end = time.monotonic() + COMMAND_S
        if not ends_within(pid, COMMAND_S):
            raise Complaint("the daemon does not stop when told to")
        # It becomes our child when the command that started it is gone.
        while pid not in dict(self.ends) and time.monotonic() < end:
            self.reap()
            time.sleep(PEACE_S / 5)
        code = dict(self.ends).get(pid)
        if gently and code != 0:
            raise Complaint(f"the daemon stopped with wait status {code}")

    def cw(self, *args, **options):
        """A command. Its end is bounded."""
        try:
            return self.world.cw(*args, check=False, timeout=COMMAND_S, **options)
        except subprocess.TimeoutExpired:
            raise Complaint(f"credwarden {' '.join(map(str, args))}: no end in {COMMAND_S} s") \
                from None

    # ---- one try ----

    def try_without_fault(self):
        """({role: {class: points}}, what the command left behind, complaints)"""
        self.is_patient = True  # noting places takes its time
        self._before()
        self.sheet.arm()
        result = self.scenario.act(self)
        self._until_quiet()
        self.sheet.disarm()
        counts = self.sheet.counts()
        self.memory_places = self.sheet.memory_places()
        complaints = self._ask(result, None)
        self.end_programs()
        return counts, result, complaints

    def count(self):
        """{role: {class: points}} of the scenario when nothing is struck."""
        self.restore()
        counts, result, complaints = self.try_without_fault()
        assert result.code == 0 and not complaints, (result, complaints)
        return counts

    def see_a_theft(self):
        """The questions themselves are put to the test: of a login that has vanished they tell."""
        self.restore()
        self.is_robbed = True
        _, _, complaints = self.try_without_fault()
        assert f"{STOLEN} is gone" in complaints, complaints
        assert self.logins_lost == {self.scenario.families[STOLEN]}, self.logins_lost

    def _before(self):
        if self.scenario.is_running:
            self.start()
        self.sheet.clear()
        self.sheet.know("daemon", self.daemon() or 0)

    def run(self, case):
        """(was struck, complaints)."""
        self.restore()
        self.is_patient = case.nth % 4 == 0
        self._before()
        with self._no_circles(case):
            return self._try(case)

    def _try(self, case):
        self.sheet.arm(case.role, case.classes, case.act, case.nth, case.error, case.who)
        relief = threading.Timer(SHORTAGE_S, self.sheet.disarm)
        if case.act == points.FAIL_ON:
            relief.start()
        try:
            with self._who_is_held(case):
                result = self.scenario.act(self)
                self._until_quiet()
        except Complaint as complaint:
            self.sheet.disarm()
            self.end_programs()
            return True, [str(complaint)]
        finally:
            relief.cancel()
        struck = self.sheet.struck > 0
        complaints = self._ask(result, case) if struck else []
        self.end_programs()
        if not struck:
            self.sheet.disarm()
        return struck, complaints

    @contextlib.contextmanager
    def _who_is_held(self, case):
        """Meanwhile, whoever stands at its point until the other one is dead has its wish."""
        def look():
            if self.sheet.is_held:
                self.sheet.let_go(self._kill(self.sheet.pid(case.victim)))

        if case.who != points.OTHER:
            yield
            return
        with meanwhile(look, PEACE_S / 10):
            try:
                yield
            finally:
                self.sheet.disarm()

    def _no_circles(self, case):
        """Meanwhile, a spender that libseccomp keeps is ended."""
        def look():
            pid = self.sheet.pid("spender")
            if "libseccomp" in self.sheet.where and cpu_s(pid) > CIRCLE_CPU_S and \
                    pid in harness.descendants():
                harness.send_signal(pid, signal.SIGKILL)
                self.ended_by_library = True

        if case.role == "spender" and case.classes == ("memory",) and case.nth % CIRCLES:
            return meanwhile(look, CIRCLE_CPU_S / 4)
        return contextlib.nullcontext()

    def _kill(self, pid):
        """And see it dead; None when it is not there."""
        if pid == 0 or not harness.is_running(pid):
            return None
        harness.send_signal(pid, signal.SIGKILL)
        return pid if ends_within(pid, COMMAND_S) else None

    def _ask(self, result, case):
        complaints = []

        def ask(question, *args):
            try:
                question(*args)
            except Complaint as complaint:
                complaints.append(str(complaint))

        kills = case is not None and case.kills
        if kills:
            ask(self._finish_kill, case)
        self.sheet.disarm()
        self.sheet.forgive()
        ask(self._told_the_truth, result, case)
        ask(self._still_answers)
        ask(self.stop, case is not None and case.nth % 2 == 1 and not kills)
        ask(self.scenario.take_up, self)
        ask(self.start)
        if complaints and "next start" in complaints[-1]:
            ask(self._no_crash)
            return complaints
        ask(self.scenario.effect, self, result)
        if self.is_robbed:
            self.cw("remove", STOLEN, "--yes")
        ask(self.all_is_well, result)
        ask(self._presented_rightly, case)
        ask(self.stop, True)
        ask(self.nothing_left_over, case)
        ask(self._no_crash)
        return complaints

    def _until_quiet(self):
        """What a command leaves to be done behind its back is part of it."""
        before, end = None, time.monotonic() + QUIET_S
        while before != (now := self.sheet.counts()) and time.monotonic() < end:
            before = now
            time.sleep(PEACE_S)

    def _finish_kill(self, case):
        """Whoever is to go with the struck one may still wait for something: it goes now."""
        victims = [self.sheet.victim]
        if case.who == points.BOTH:
            for role in ("daemon", "spender"):
                pid = self.sheet.pid(role)
                if pid in harness.descendants():
                    harness.send_signal(pid, signal.SIGKILL)
                    victims.append(pid)
        for pid in victims:
            if not ends_within(pid, COMMAND_S):
                raise Complaint(f"process {pid} does not die")

    def lost_where(self):
        """Where an answer was when it was lost with its spender."""
        return "received, not yet in the spool" if self.sheet.heard_before else "on the wire"

    # ---- the questions ----

    def _told_the_truth(self, result, case):
        if result.code == 0:
            return
        is_victim = self.scenario.is_the_daemon and case is not None and case.kills
        if is_victim and result.code == -signal.SIGKILL:
            return
        if self.scenario.is_the_daemon and self.sheet.crash and \
                ended_by_library(-result.code, self.sheet.crash[2], self.sheet.where):
            return
        if result.code < 0:
            raise Complaint(f"the command died by signal {-result.code}: {result!r}")
        # A fault in the very words: nothing can be said then.
        if case is not None and case.role == "cli" and self.sheet.call in WORDS:
            return
        lines = result.stderr.splitlines()
        says = ("credwarden: ", "credwardend: ") if self.scenario.is_the_daemon else "credwarden: "
        if not lines or not lines[-1].startswith(says):
            raise Complaint(f"says nothing: {result!r}")
        wrong = truth.fault_of(lines[-1], self._errno_of(case))
        if wrong:
            raise Complaint(f"{wrong}: {result!r}")

    def _errno_of(self, case):
        """What the program that was struck got to see."""
        if case is None or case.kills:
            return 0
        return errno.EAGAIN if self.sheet.call == "pthread_create" else case.error

    def _still_answers(self):
        """What outlived the fault goes on without being told."""
        pid = self.daemon()
        if pid is None:
            return
        try:
            answer = self.world.api("GET", "/v1/profiles", timeout=COMMAND_S)
        except (OSError, harness.http.client.HTTPException) as error:
            raise Complaint(f"the daemon lives and does not answer: {error!r}") from None
        if answer.status != 200:
            raise Complaint(f"the daemon lives and answers {answer!r}")
        self._has_buried_its_dead(pid)

    @staticmethod
    def _has_buried_its_dead(daemon):
        """A process of the daemon's that has ended is let go of."""
        end = time.monotonic() + COMMAND_S / 10
        while dead := [pid for pid in children(daemon) if state_of(pid) == "Z"]:
            if time.monotonic() > end:
                raise Complaint(f"{len(dead)} children of the daemon have ended and stay")
            time.sleep(PEACE_S)

    def profiles(self):
        answer = self.world.api("GET", "/v1/profiles", timeout=COMMAND_S)
        return {profile["name"]: profile for profile in answer.json["profiles"]}

    def until_well(self, name):
        """The profile when it is at rest: live without alarm; or in doubt, living on, when it says
        itself that nothing will be done about that before we would give up."""
        begun = time.monotonic()
        while True:
            shown = self.profiles().get(name)
            if shown and shown["state"] == "live" and not shown["alarms"]:
                return shown
            if shown and self.lives_on(shown) and \
                    (shown["next_spend_in_ms"] or 0) > SETTLED_S * 1000:
                return shown
            took = time.monotonic() - begun
            if took > SETTLED_S and shown is None:
                raise Complaint(f"{name} is gone")
            if took > SETTLED_S:
                return shown
            time.sleep(max(PEACE_S, took / 20))  # to look costs the daemon time, too

    @staticmethod
    def lives_on(shown):
        """In doubt, and says so."""
        return shown["state"] == "doubt" and shown["alarms"] == ["in-doubt"]

    def ask_about(self, name, method, what):
        """As the command line would; without starting a program each time."""
        try:
            return self.world.api(method, f"/v1/profiles/{name}/{what}", timeout=COMMAND_S)
        except TimeoutError:
            raise Complaint(f"{name}: {what}: no answer in {COMMAND_S} s; "
                            f"{self.profiles().get(name)}") from None

    def token_works(self, name):
        answer = self.ask_about(name, "GET", "token")
        if answer.status != 200:
            raise Complaint(f"{name}: no token: {answer!r}")
        if self.lab.use(answer.json["access_token"]).status != 200:
            raise Complaint(f"{name}: the server refuses the token that was handed out")

    def all_is_well(self, result):
        """Every login is there that has to be, and no other; each of them lives. Asked when a
        scenario's effect was seen: what its command may have left undone is done then."""
        there, known = set(self.profiles()), set(self.scenario.families)
        gone = sorted(known - self.scenario.may_be_gone(result) - there)
        self.logins_lost |= {self.scenario.families[name] for name in gone}
        if gone:
            raise Complaint(f"{' and '.join(gone)} is gone")
        if there - known:
            raise Complaint(f"nobody added {sorted(there - known)}")
        for name in sorted(there):
            self._is_well(name)

    def _is_well(self, name):
        shown = self.until_well(name)
        issued = self.lab.family(self.scenario.families[name])
        if shown["state"] == "dead":
            self.logins_lost.add(issued["family"])
        self.token_works(name)
        if self.lives_on(shown):
            self.in_doubt = True
            self.lost |= shown["generation"] < issued["generation"]
            return
        if shown["state"] != "live" or shown["alarms"]:
            raise Complaint(f"{name} does not recover: {shown['state']}, {shown['alarms']}")
        if shown["generation"] != issued["generation"]:
            self.logins_lost.add(issued["family"])
            raise Complaint(f"{name} is at {shown['generation']}, the server at "
                            f"{issued['generation']}: an answer is lost and nobody knows")
        answer = self.ask_about(name, "POST", "renew")
        if answer.status != 200:
            raise Complaint(f"{name} cannot be renewed afterwards: {answer!r}")
        self.token_works(name)

    def _presented_rightly(self, case):
        families = self.lab.families()
        self.graced += sum(family["graced"] for family in families)
        ended = [family for family in families if not family["alive"]]
        again = [family for family in families
                 if family["reuses"] != family["graced"] or family["graced"] > 1]
        self.logins_lost |= {family["family"] for family in ended}
        self.presented_twice |= {family["family"] for family in again}
        if again:
            raise Complaint(f"presented twice without a reason: {again}")
        if ended:
            raise Complaint(f"logins have ended: {ended}")
        self.lost |= self.graced > 0
        if self.graced and "in-doubt" not in self.cw("events").stdout:
            raise Complaint("presented again, though nobody had been told of a doubt")
        # An answer can be lost with the spender only: the daemon is not on its way.
        if self.graced and (case is None or case.victim not in ("spender", "both")):
            raise Complaint("an answer is lost though the spender was not touched")

    def nothing_left_over(self, case):
        data, state, _, elsewhere = self.folders
        if case is not None and (case.kills or self._could_not_remove(case)):
            # A backup that was cut off stays where the user wanted one, by its name what it is.
            # That folder is not ours to clean up.
            for path in elsewhere.glob(".credwarden-tmp-*"):
                path.unlink()
        for folder, allowed in ((data, DATA_NAMES), (state, STATE_NAMES),
                                (elsewhere, self.scenario.elsewhere_names),
                                *self.scenario.client_folders(stand=self)):
            names = {path.name for path in folder.iterdir()} - allowed
            if folder == data:
                names = {name for name in names if not re.fullmatch(self.scenario.kept_names, name)}
            if names:
                raise Complaint(f"left over in {folder.name}: {sorted(names)}")
        spool = [path.name for path in (state / "spool").iterdir()]
        if spool and not self.in_doubt:
            raise Complaint(f"left over in the spool: {spool}")

    def _could_not_remove(self, case):
        return case.classes == ("name",) and \
            (case.act == points.FAIL_ON or self.sheet.call.startswith("unlink"))

    def _no_crash(self):
        allowed = {signal.SIGKILL}
        if self.sheet.crash:
            role, number, where = self.sheet.crash
            if not ended_by_library(number, where, self.sheet.where):
                raise Complaint(f"the {role} crashed (signal {number}) at {where}")
            # Who is not even allowed to abort comes to an instruction that nobody may run.
            allowed |= {number, signal.SIGSEGV}
            self.ended_by_library = True
        self._no_report()
        for pid, status in self.ends:
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) not in allowed:
                raise Complaint(f"process {pid} died by signal {os.WTERMSIG(status)}")

    def _no_report(self):
        """Of sanitized programs: nothing that was freed was used, and the like."""
        for path in self.world.folder.glob("*san.*"):
            text = harness.redact(path.read_text(errors="replace"))
            path.unlink()
            raise Complaint(f"a sanitizer reports: {text[:4000]}")


# ---- the scenarios ----

class Scenario:
    """Something a user does. `is_running`: the daemon runs before it. `families`: of all logins
    that there are after it, by name. `kept_names`: what it leaves beside the store, a pattern."""
    name, is_running, elsewhere_names, kept_names = "", True, set(), ""
    is_the_daemon = False  # the command becomes it, and is not waiting for one

    def furnish(self, stand):
        """Once, before the first try: what there is."""
        self.families = {}
        self.login(stand, "work", "alice")

    def login(self, stand, name, subject):
        """Renewed once: of a pair whose life it has heard of itself, a daemon that starts asks
        nobody for the time. Else there may or may not be a spender when the scenario begins."""
        login = stand.lab.login(subject)
        self.families[name] = login["family"]
        stand.world.add(name, "lab", login)
        stand.world.cw("renew", name)
        time.sleep(AGAIN_S)

    def client_folders(self, stand):
        """[(folder, names that may stand in it)] of clients."""
        return []

    def may_be_gone(self, _result):
        """Names of the families that the command may have taken away."""
        return set()

    def act(self, stand):
        raise NotImplementedError

    def take_up(self, stand):
        """What its user does before the next start, where a start alone is not enough."""

    def effect(self, stand, result):
        """A Complaint unless the command did what it said."""


class Refresh(Scenario):
    name = "refresh"

    def act(self, stand):
        return stand.cw("renew", "work", "--timeout", "3s" if stand.is_patient else "100ms")

    def effect(self, stand, result):
        shown = stand.until_well("work")
        is_told = f"generation {shown['generation']}," in result.stdout
        if result.code == 0 and (shown["generation"] <= FURNISHED or not is_told):
            raise Complaint(f"it said that it had renewed, and it is at {shown['generation']}: "
                            f"{result!r}")


class Add(Scenario):
    name = "add"

    def furnish(self, stand):
        super().furnish(stand)
        self.pair = stand.lab.login("bob")
        self.families["home"] = self.pair["family"]

    def add(self, stand):
        path = stand.world.write_file("given.json", self.pair)
        return stand.cw("add", "home", "--provider", "lab", "--from", path)

    def act(self, stand):
        return self.add(stand)

    def effect(self, stand, result):
        deadline = time.monotonic() + 0.25
        while "home" not in stand.profiles() and time.monotonic() < deadline and result.code != 0 \
                and not UNCHANGED.search(result.stderr):
            time.sleep(PEACE_S)  # it may be waiting to be asked about
        there = "home" in stand.profiles()
        if result.code == 0 and not there:
            raise Complaint("it said that it had added, and it is not there")
        if UNCHANGED.search(result.stderr) and there:
            raise Complaint(f"it is there, though {result!r}")
        if not there:
            again = self.add(stand)
            if again.code != 0:
                raise Complaint(f"it cannot be added again: {again!r}")


class Settle(Scenario):
    """A daemon starts and finds an answer in the spool."""
    name, is_running = "settle", False

    def furnish(self, stand):
        super().furnish(stand)
        lab, world = stand.lab, stand.world
        lab.script("token", delay_after_ms=400)
        decided = lab.stats()["endpoints"]["token"]["decided"]
        asking = world.start([world.programs / "credwarden", "renew", "work"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        harness.wait_until(lambda: lab.stats()["endpoints"]["token"]["decided"] > decided)
        world.kill_daemon()
        asking.wait(10)
        harness.wait_until(lambda: children() == [lab.process.pid] or stand.reap())
        assert list((world.state / "credwarden" / "spool").iterdir())

    def act(self, stand):
        return stand.cw("token", "work")

    def effect(self, stand, result):
        if stand.until_well("work")["generation"] != FURNISHED + 1:
            raise Complaint("the answer in the spool was not settled")
        if result.code == 0 and stand.lab.use(result.stdout.strip()).status != 200:
            raise Complaint("it gave a token that the server refuses")


class Remove(Scenario):
    name = "remove"

    def furnish(self, stand):
        super().furnish(stand)
        self.login(stand, "home", "bob")

    def act(self, stand):
        return stand.cw("remove", "home", "--yes")

    def may_be_gone(self, result):
        return set() if UNCHANGED.search(result.stderr) else {"home"}

    def effect(self, stand, result):
        there = "home" in stand.profiles()
        if result.code == 0 and there:
            raise Complaint("it said that it had removed, and it had not")
        if UNCHANGED.search(result.stderr) and not there:
            raise Complaint(f"it is gone, though {result!r}")


class StartFresh(Scenario):
    """The first start of all: folders, key, store."""
    name, is_running = "start-fresh", False

    def furnish(self, stand):
        self.families = {}
        self.pair = stand.lab.login("alice")
        self.families["work"] = self.pair["family"]

    def act(self, stand):
        return stand.cw("status")

    def effect(self, stand, result):
        if result.code == 0 and "no profiles yet" not in result.stdout:
            raise Complaint(f"it did not say that nothing is there: {result!r}")
        path = stand.world.write_file("given.json", self.pair)
        added = stand.cw("add", "work", "--provider", "lab", "--from", path)
        if added.code != 0:
            raise Complaint(f"nothing can be added afterwards: {added!r}")


class StartAgain(Scenario):
    name, is_running = "start-again", False

    def act(self, stand):
        return stand.cw("status")

    def effect(self, stand, result):
        left_out = [name for name in stand.profiles() if name not in result.stdout]
        if result.code == 0 and left_out:
            raise Complaint(f"it said how things are, and left out {left_out}")


class Migration(StartAgain):
    """A start that finds a store of the first version."""
    name, kept_names = "migration", r"store\.db\.v1"

    def furnish(self, stand):
        super().furnish(stand)
        stand.stop(gently=True)
        store = stand.folders[0] / "store.db"
        version_1.as_version_1(store)
        (stand.folders[0] / "store.db-wal").unlink(missing_ok=True)

    def effect(self, stand, result):
        super().effect(stand, result)
        if not (stand.folders[0] / "store.db.v1").exists():
            raise Complaint("the store was brought over without a copy of what it was")


class Backup(Scenario):
    name, elsewhere_names = "backup", {"backup.db"}

    def act(self, stand):
        return stand.cw("backup", stand.elsewhere / "backup.db")

    def effect(self, stand, result):
        path = stand.elsewhere / "backup.db"
        if result.code == 0 and not path.exists():
            raise Complaint("it said that there is a backup, and there is none")
        if not path.exists():
            again = stand.cw("backup", path)
            if again.code != 0:
                raise Complaint(f"it cannot be backed up afterwards: {again!r}")
        sql = "PRAGMA integrity_check; SELECT name FROM profile"
        whole = subprocess.run(["sqlite3", path, sql], stdout=subprocess.PIPE, text=True,
                               check=False).stdout
        if whole != "ok\nwork\n":
            raise Complaint(f"the backup is not whole: {whole!r}")


class Repair(Scenario):
    """Of a store in which one byte is wrong, with the log that a killed daemon has left."""
    name, is_running, is_the_daemon = "repair", False, True
    kept_names = r"store\.db\.damaged-\d+(-wal)?"
    DAMAGED_AT = 2 * corrupt_test.PAGE + 9

    def furnish(self, stand):
        super().furnish(stand)
        stand.stop(gently=True)
        stand.start()
        stand.cw("policy", "work", "standby")
        stand.stop(gently=False)
        data = stand.folders[0]
        store = bytearray((data / "store.db").read_bytes())
        store[self.DAMAGED_AT] ^= 0x10
        (data / "store.db").write_bytes(store)
        self.damaged = {"": bytes(store), "-wal": (data / "store.db-wal").read_bytes()}

    def act(self, stand):
        return stand.cw("repair")

    def take_up(self, stand):
        again = stand.cw("repair")
        if again.code != 0:
            raise Complaint(f"it cannot be repaired afterwards: {again!r}")

    def effect(self, stand, result):
        """What it was is kept, the log under the name of its store."""
        kept = {path.name: path.read_bytes() for path in stand.folders[0].glob("*.damaged-*")}
        names = [name for name in kept if not name.endswith("-wal")]
        wanted = {names[0] + end: content for end, content in self.damaged.items()} if names else {}
        if kept != wanted:
            raise Complaint(f"the damaged store is not kept as it was: {sorted(kept)}")
        if stand.profiles()["work"]["policy"] != "standby":
            raise Complaint("the log was not heeded")


class Share(Scenario):
    """A client's place: it is bound; we renew, and then the client does; it is switched to another
    profile and back. The client is one of test/script/siblings.py, and no program under test."""
    name, elsewhere_names = "share", {"client"}
    MACHINES = ("mcpOAuth", "pluginSecrets")  # members that stay whoever is signed in
    OWNERS = {"work": "alice", "home": "bob"}
    ALWAYS_DUE_S, NEVER_DUE_S = 24 * 3600, 0
    LOCK_WAIT_S = 3  # what cannot be given back at once is given back by then
    ADOPTED_S = 1  # after it has renewed; what takes longer is waited for afterwards

    def furnish(self, stand):
        super().furnish(stand)
        self.login(stand, "home", self.OWNERS["home"])
        self.folder = stand.elsewhere / "client"
        self.folder.mkdir(mode=0o700)
        siblings.replace_store(self.folder, siblings.FOREIGN)
        self.place = f"claude:{self.folder}"

    def client_folders(self, stand):
        return [(self.folder, {siblings.STORE})]

    # ---- what is done ----

    def act(self, stand):
        """Up to the first step that fails: what that said."""
        self.done = []
        for step in (self.bind, self.renew, self.client_renews, self.use_home, self.use_work):
            result = step(stand)
            if result.code != 0:
                break
            self.done.append(step.__name__)
        return result

    def bind(self, stand):
        return stand.cw("bind", "work", "--to", self.place, "--mode", "pair")

    def renew(self, stand):
        return stand.cw("renew", "work", "--timeout", "3s" if stand.is_patient else "100ms")

    def use_home(self, stand):
        return stand.cw("use", "home", "--for", self.place)

    def use_work(self, stand):
        return stand.cw("use", "work", "--for", self.place)

    def client(self, stand, buffer_s):
        return siblings.PoliteClient(self.folder, stand.lab, "A", buffer_s,
                                     lock_wait_s=self.LOCK_WAIT_S)

    def client_renews(self, stand):
        """And that is heard of, if nothing is in its way."""
        client = self.client(stand, self.ALWAYS_DUE_S)
        client.turn()
        end = time.monotonic() + self.ADOPTED_S
        try:
            while not self.is_heard_of(stand) and time.monotonic() < end:
                time.sleep(PEACE_S)
        except (OSError, KeyError, harness.http.client.HTTPException):
            pass  # the daemon has died: the next command starts another one; or it cannot say
        return harness.Result(["(the client)"], 0, "", "")

    def is_heard_of(self, stand):
        return stand.profiles()["work"]["generation"] == \
            stand.lab.family(self.families["work"])["generation"]

    # ---- what must have come of it ----

    def effect(self, stand, result):
        """Whoever's the place is now, it is in order; it can be work's; and the client goes on."""
        work = stand.until_well("work")
        place = self.bound_place(stand)
        if result.code == 0 and place["profile"] != "work":
            raise Complaint(f"it said that the place was work's again, and it is {place}")
        self.is_in_order(stand, place["profile"])
        if not work or work["state"] != "live":
            return  # in doubt: it is spent, and given to somebody, when its access token is over
        if place["profile"] != "work":
            again = self.use_work(stand)
            if again.code != 0:
                raise Complaint(f"the place cannot be switched afterwards: {again!r}")
            self.is_in_order(stand, "work")
        self.goes_on(stand)

    def bound_place(self, stand):
        places = self.places(stand)
        if not places and "bind" in self.done:
            raise Complaint("it said that the place was bound, and it is not")
        if not places:
            again = self.bind(stand)
            if again.code != 0:
                raise Complaint(f"the place cannot be bound afterwards: {again!r}")
            places = self.places(stand)
        return places[0]

    @staticmethod
    def places(stand):
        return stand.world.api("GET", "/v1/consumers", timeout=COMMAND_S).json["consumers"]

    def is_in_order(self, stand, profile):
        """It holds that profile's login and nobody else's, and nothing of ours lies there."""
        end = time.monotonic() + SETTLED_S
        while not self.is_at_rest(stand, place := self.places(stand)[0]):
            if time.monotonic() > end:
                raise Complaint(f"the place does not come to rest: {place}")
            time.sleep(PEACE_S)
        if place["profile"] != profile:
            raise Complaint(f"the place is {place['profile']}'s, and it was {profile}'s")
        login = siblings.login_in(self.folder)
        answer = stand.lab.use(login.get("accessToken", "none"))
        if answer.status != 200 or answer.json["sub"] != self.OWNERS[profile]:
            raise Complaint(f"the place is {profile}'s, and the server says of what is there: "
                            f"{answer!r}")
        store = siblings.read_store(self.folder)
        changed = [name for name in self.MACHINES if store.get(name) != siblings.FOREIGN[name]]
        if changed:
            raise Complaint(f"members that are none of ours were changed: {changed}")
        left = self.left_over()
        if left:
            raise Complaint(f"left over at the client's, while the daemon runs: {left}")

    @staticmethod
    def is_at_rest(stand, place):
        """What is withheld while nobody knows what became of it is not given back."""
        may_be_behind = place["refresh_fingerprint"] is None and \
            stand.lives_on(stand.profiles()[place["profile"]])
        return place["wish"] == "none" and (place["state"] == "in-step" or
                                            place["state"] == "behind" and may_be_behind)

    def left_over(self):
        names = [path.name for path in self.folder.iterdir()]
        names += [path.name for path in self.folder.parent.iterdir()]
        return sorted(set(names) - {siblings.STORE, self.folder.name})

    def goes_on(self, stand):
        """The client has what it needs, to renew it as well, and we hear of that."""
        client = self.client(stand, self.ALWAYS_DUE_S)
        if not client.turn() or client.refreshes != 1:
            raise Complaint(f"the client cannot go on: {client.report()}")
        end = time.monotonic() + SETTLED_S
        while not self.is_heard_of(stand):
            if time.monotonic() > end:
                raise Complaint(f"it is never heard of what the client renewed: "
                                f"{self.places(stand)}")
            time.sleep(PEACE_S)


SCENARIOS = {scenario.name: scenario for scenario in
             (Add, Refresh, Settle, Remove, StartFresh, StartAgain, Migration, Backup, Repair, Share)}
