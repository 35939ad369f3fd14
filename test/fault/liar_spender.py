"""A spender that lies: what stands in for credwarden-spender when a story says so. It speaks the
protocol of src/issuer/wire.h and src/issuer/spool.h, written here a second time, so that the
daemon's own code cannot agree with itself.

    liar_spender.py FOLDER

FOLDER/lie names the lie to tell; it is read for each question. What the daemon sent is kept in
FOLDER/seen-<n> (made-up tokens only), for lies that need an earlier question and for the daemon
that lies (liar.py).
"""

import array
import ctypes
import ctypes.util
import json
import os
import pathlib
import random
import socket
import struct
import sys
import time

SODIUM = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
SOCKET_FD = 3
HELLO, QUESTION, ANSWER = 1, 2, 3
KIND, ID, ASK = 1, 2, 3
VERSION, SECCOMP, LANDLOCK = 10, 11, 12
DEADLINE, PROVIDER, TOKEN, SCOPE, SECRET, BOX_PUBLIC = 20, 21, 22, 23, 24, 25
REPLY, RESCUED = 30, 31
SPEND, IDENTITY, USAGE = 0, 1, 2
PREPARED, STARTED, ANSWERED = 2, 3, 4
HEADER = struct.Struct("<8sIIQ40sQ32sq32s")
ANSWER_AT = 4096
MAX64, MIN64 = (1 << 63) - 1, -(1 << 63)


# ---- records ----

def field(tag, value):
    if isinstance(value, int):
        value = struct.pack("<q", value)
    elif isinstance(value, str):
        value = value.encode()
    return struct.pack("<HI", tag, len(value)) + value


def record(*fields):
    return b"".join(field(tag, value) for tag, value in fields)


def parse(content):
    found, at = {}, 0
    while at < len(content):
        tag, length = struct.unpack_from("<HI", content, at)
        found[tag] = content[at + 6:at + 6 + length]
        at += 6 + length
    return found


def number(value):
    return struct.unpack("<q", value)[0]


# ---- answers ----



def reply(ask="spend", verdict="in-doubt", identity="unanswered", status=200, access=b"",
          refresh=b"", life_ms=0, subject="", detail="as the liar says", numbers=None, body=b""):
    now_boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000
    now_wall = time.time_ns() // 1000000
    told = {6: 0, 7: now_wall, 8: now_wall, 9: now_boot, 16: now_boot - 5, 11: life_ms, 12: 0,
            **(numbers or {})}
    tokens = record(*[(tag, token) for tag, token in ((1, access), (2, refresh)) if token])
    return record((1, ask), (2, verdict), (3, identity), (4, status), *told.items(), (5, detail),
                  (13, subject), (14, ""), (10, tokens), (15, body))


def granted(**more):
    return reply(verdict="granted", access=b"lab-at-" + b"1" * 32, refresh=b"lab-rt-" + b"2" * 32,
                 **{"life_ms": 3600000, **more})


def seal(plain, public):
    box = ctypes.create_string_buffer(len(plain) + 48)
    assert SODIUM.crypto_box_seal(box, plain, ctypes.c_ulonglong(len(plain)), public) == 0
    return box.raw


def checksum(content):
    out = ctypes.create_string_buffer(32)
    length = ctypes.c_ulonglong(len(content))
    assert SODIUM.crypto_generichash(out, 32, content, length, None, 0) == 0
    return out.raw


def write_header(fd, stage, intent=None, answer=b"", length=None):
    magic, version, _, was, boot, _, _, made, _ = HEADER.unpack(os.pread(fd, HEADER.size, 0))
    head = HEADER.pack(magic, version, stage, was if intent is None else intent, boot,
                       len(answer) if length is None else length,
                       checksum(answer) if answer else bytes(32), made, bytes(32))
    os.pwrite(fd, head[:-32] + checksum(head[:-32]), 0)


def write_answer(fd, sealed):
    os.pwrite(fd, sealed, ANSWER_AT)
    write_header(fd, ANSWERED, answer=sealed)
    os.fsync(fd)


# ---- the lies ----

class Case:
    """One question at hand, and the means to lie about it."""

    def __init__(self, sock, folder, packet, fds, serial):
        self.sock, self.folder, self.serial = sock, folder, serial
        self.q = parse(packet)
        self.id, self.ask = number(self.q[ID]), number(self.q[ASK])
        self.fd = fds[0] if fds else -1
        self.chance = random.Random(self.id)

    def answer(self, ask=None, id=None, **fields):
        tags = {"reply": REPLY, "rescued": RESCUED}
        more = [(tags[key], value) for key, value in fields.items()]
        self.send(record((KIND, ANSWER), (ID, self.id if id is None else id),
                         (ASK, self.ask if ask is None else ask), *more))

    def send(self, content, fds=()):
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([content], extra)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has hung up, as it should

    def sealed(self, said, secret=None, public=None):
        plain = record((SECRET, self.q[SECRET] if secret is None else secret), (REPLY, said))
        return seal(plain, self.q[BOX_PUBLIC] if public is None else public)

    def spool(self, sealed):
        write_header(self.fd, STARTED)
        write_answer(self.fd, sealed)

    def let_go(self):
        os.close(self.fd)
        self.fd = -1

    def finish(self, sealed):
        self.spool(sealed)
        self.let_go()
        self.answer()

    def earlier_spend(self):
        """The parsed question of an earlier spend."""
        for n in range(self.serial - 1, -1, -1):
            path = self.folder / f"seen-{n}"
            if path.exists():
                q = parse(path.read_bytes())
                if number(q[ASK]) == SPEND and q[SECRET] != self.q[SECRET]:
                    return q
        raise AssertionError("no earlier spend")


def wrong_secret(c):
    c.finish(c.sealed(granted(), secret=os.urandom(32)))


def no_secret(c):
    c.finish(seal(record((REPLY, granted())), c.q[BOX_PUBLIC]))


def secret_of_another(c):
    c.finish(c.sealed(granted(), secret=c.earlier_spend()[SECRET]))


def wrong_key(c):
    public, private = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    SODIUM.crypto_box_keypair(public, private)
    c.finish(c.sealed(granted(), public=public.raw))


def cut_box(c):
    c.finish(c.sealed(granted())[:-7])


def bent_box(c):
    sealed = bytearray(c.sealed(granted()))
    sealed[60] ^= 1
    c.finish(bytes(sealed))


def replayed(c):
    """The box of an earlier spend, word for word."""
    kept = c.folder / "kept-box"
    if not kept.exists():
        kept.write_bytes(c.sealed(granted(), secret=c.earlier_spend()[SECRET]))
    c.finish(kept.read_bytes())


def rubbish_inside(c):
    c.finish(seal(c.chance.randbytes(500), c.q[BOX_PUBLIC]))


def reply_of_another_kind(c):
    c.finish(c.sealed(reply(ask="identity", identity="named", subject="mallory")))


def granted_nothing(c):
    c.finish(c.sealed(reply(verdict="granted")))


def absurd_numbers(c):
    values = [MAX64, MIN64, -1, 0, 1, MAX64 - 1, MIN64 + 1]
    c.finish(c.sealed(granted(numbers={tag: c.chance.choice(values)
                                       for tag in (6, 7, 8, 9, 11, 12, 16)})))


def largest_numbers(c):
    c.finish(c.sealed(granted(numbers={tag: MAX64 for tag in (6, 7, 8, 9, 11, 12, 16)})))


def least_numbers(c):
    c.finish(c.sealed(granted(numbers={tag: MIN64 for tag in (6, 7, 8, 9, 11, 12, 16)})))


def verdict_unheard_of(c):
    c.finish(c.sealed(reply(verdict="splendid")))


def enormous_tokens(c):
    c.finish(c.sealed(reply(verdict="granted", access=b"lab-at-" + b"1" * 40000)))


def before_started(c):
    c.let_go()
    c.answer()


def started_without_answer(c):
    write_header(c.fd, STARTED)
    c.let_go()
    c.answer()


def contradicted(c):
    """The spool says throttled; the message brings a grant."""
    c.spool(c.sealed(reply(verdict="throttled", status=429)))
    c.let_go()
    c.answer(rescued=c.sealed(granted(), secret=os.urandom(32)))


def rescued_forgery(c):
    write_header(c.fd, STARTED)
    c.let_go()
    c.answer(rescued=c.sealed(granted(), secret=os.urandom(32)))


def rescued_rubbish(c):
    write_header(c.fd, STARTED)
    c.let_go()
    c.answer(rescued=c.chance.randbytes(66000))


def twice(c):
    c.finish(c.sealed(reply(verdict="throttled", status=429)))
    c.answer()


def of_another_question(c):
    c.answer(id=c.id + 1000)
    c.answer(id=max(1, c.id - 1))


def ids_out_of_range(c):
    for wrong in (0, -1, MIN64, MAX64):
        c.answer(id=wrong)


def identity_nobody_asked(c):
    c.answer(ask=IDENTITY, id=c.id + 7,
             reply=reply(ask="identity", identity="named", subject="mallory"))


def spend_told_as_identity(c):
    c.answer(ask=IDENTITY, reply=reply(ask="identity", identity="named", subject="mallory"))


def a_question_back(c):
    c.send(record((KIND, QUESTION), (ID, c.id), (ASK, SPEND), (DEADLINE, 1000)))


def hello_that_prints(c):
    c.send(record((KIND, HELLO), (VERSION, "\x1b[2Jnew\nline"), (SECCOMP, 1), (LANDLOCK, 1)))


def hello_absurd(c):
    c.send(record((KIND, HELLO), (VERSION, "0"), (SECCOMP, 7), (LANDLOCK, MAX64)))


def flood_of_hellos(c):
    for _ in range(3000):
        c.send(record((KIND, HELLO), (VERSION, "0.0"), (SECCOMP, 0), (LANDLOCK, 0)))
    c.finish(c.sealed(reply(verdict="throttled", status=429)))


def oversized(c):
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    try:
        c.send(record((KIND, ANSWER), (ID, c.id), (ASK, SPEND), (RESCUED, bytes(180 * 1024))))
    except OSError:
        pass  # the system's own limit is below it
    c.send(b"x" * 100)


def empty_packet(c):
    c.send(b"")


def torn_record(c):
    c.send(record((KIND, ANSWER), (ID, c.id))[:-3])


def repeated_fields(c):
    c.send(record((KIND, ANSWER), (ID, c.id), (ID, c.id), (ASK, SPEND)))


def many_fields(c):
    c.send(record((KIND, ANSWER), *[(1000 + i, b"") for i in range(200)]))


def descriptors(c):
    """As many as a message holds, with each of a few messages."""
    null = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
    for _ in range(50):
        c.send(record((KIND, HELLO), (VERSION, "0.0"), (SECCOMP, 1), (LANDLOCK, 1)), null)
    c.finish(c.sealed(reply(verdict="throttled", status=429)))


def nonsense(c):
    for _ in range(20):
        c.send(c.chance.randbytes(c.chance.randrange(1, 400)))


def gone_without_a_word(_c):
    pass


def spool_emptied(c):
    os.ftruncate(c.fd, 0)


def spool_shortened(c):
    write_header(c.fd, STARTED)
    os.ftruncate(c.fd, 4096)


def spool_scribbled(c):
    os.pwrite(c.fd, c.chance.randbytes(HEADER.size), 0)


def spool_of_another_intent(c):
    write_header(c.fd, STARTED, intent=42)


def spool_length_absurd(c):
    write_header(c.fd, ANSWERED, answer=b"x", length=MAX64)


def spool_grown(c):
    write_header(c.fd, STARTED)
    os.ftruncate(c.fd, 1 << 40)  # a hole: it takes no room


def lock_left_to_a_child(c):
    """We are gone; somebody else still holds the file, for a while."""
    if os.fork() == 0:
        c.sock.close()
        time.sleep(1.5)
        os._exit(0)


def deaf(_c):
    time.sleep(600)


LIVE, DOUBT = "live", "in-doubt"
# What the lineage at hand may be afterwards. A spend that the spool's own word says was not sent,
# or an answer that says "later", leaves it live; with the intent's own secret a lie about the spend
# at hand is believed: "granted" is (rest: GRANTED), and that too is the one lineage's.
GRANTED = "granted"
LIES = {
    wrong_secret: {DOUBT}, no_secret: {DOUBT}, secret_of_another: {DOUBT}, wrong_key: {DOUBT},
    cut_box: {DOUBT}, bent_box: {DOUBT}, replayed: {DOUBT}, rubbish_inside: {DOUBT},
    reply_of_another_kind: {DOUBT}, granted_nothing: {DOUBT, GRANTED},
    absurd_numbers: {DOUBT, GRANTED}, largest_numbers: {DOUBT, GRANTED},
    least_numbers: {DOUBT, GRANTED}, verdict_unheard_of: {DOUBT}, enormous_tokens: {DOUBT},
    before_started: {LIVE}, started_without_answer: {DOUBT}, contradicted: {LIVE},
    rescued_forgery: {DOUBT}, rescued_rubbish: {DOUBT}, twice: {LIVE},
    of_another_question: {LIVE}, ids_out_of_range: {LIVE}, identity_nobody_asked: {LIVE},
    spend_told_as_identity: {LIVE}, a_question_back: {LIVE}, hello_that_prints: {LIVE},
    hello_absurd: {LIVE}, flood_of_hellos: {LIVE}, oversized: {LIVE}, empty_packet: {LIVE},
    torn_record: {LIVE}, repeated_fields: {LIVE}, many_fields: {LIVE}, descriptors: {LIVE},
    nonsense: {LIVE}, gone_without_a_word: {LIVE}, spool_emptied: {LIVE, DOUBT},
    spool_shortened: {LIVE, DOUBT}, spool_scribbled: {DOUBT}, spool_of_another_intent: {DOUBT},
    spool_length_absurd: {DOUBT}, spool_grown: {DOUBT}, lock_left_to_a_child: {LIVE},
    deaf: {LIVE},
}


def main():
    folder = pathlib.Path(sys.argv[1])
    sock = socket.socket(fileno=SOCKET_FD)
    sock.setblocking(True)
    lie = next(lie for lie in LIES if lie.__name__ == (folder / "lie").read_text())
    sock.send(record((KIND, HELLO), (VERSION, "liar"), (SECCOMP, 0), (LANDLOCK, 0)))
    if lie is deaf:
        deaf(None)
    packet, fds, _, _ = socket.recv_fds(sock, 1 << 18, 4)
    if not packet:
        return
    serial = len(list(folder.glob("seen-*")))
    (folder / f"seen-{serial}").write_bytes(packet)
    case = Case(sock, folder, packet, fds, serial)
    if case.ask == SPEND:
        lie(case)
    (folder / "told").write_text(json.dumps({"lie": lie.__name__, "ask": case.ask}))


if __name__ == "__main__":
    main()
