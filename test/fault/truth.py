"""What a person is told when something failed: the thing that did, and not another one.

    wrong = truth.fault_of(said, errno.ENOSPC)      None, or what is wrong with it

Who says less has to be in SUMMARIES, each of which is true whatever failed, with the reason why
nobody there knows better.
"""

import errno
import re

# A message that says nothing, or what only we understand.
VAGUE = re.compile(r"internal|must hold|unknown error|success\b|\(null\)|: ok\b|: unknown\b|: *$",
                   re.I)

# By the system's own words (strerror, SQLite, libuv) or by ours (base/err.c).
NAMES = {
    errno.ENOMEM: r"memory",
    errno.ENOSPC: r"no space left|disk is full|make room|disk is full",
    errno.EMFILE: r"open files|files may be open|descriptor",
    errno.EIO: r"input/output error|disk i/o error|a disk or a descriptor failed",
    errno.EACCES: r"permission denied|not allowed|check the owner and mode",
    errno.EROFS: r"read-only",
    errno.EPERM: r"not permitted|not allowed",
    errno.ENOLCK: r"no locks available|a disk or a descriptor failed",
    errno.EAGAIN: r"processes|temporarily unavailable",
    errno.ENOBUFS: r"buffer space|a queue are at their limit",
    errno.ECONNREFUSED: r"refused|connect to server|takes no requests",
    errno.ECONNRESET: r"reset|went away|breaks off|ended before",
    errno.ECONNABORTED: r"abort|went away",
    errno.EPIPE: r"broken pipe|went away|breaks off|ended before",
}

SUMMARIES = {
    r"went away before it answered, or its memory is at its limit":
        "the command line sees a connection that ends, and not why",
    r"takes no requests: it stands still, or its memory or open files are at their limit":
        "nor whether anybody would take it",
    r"its places are looked at before anything is spent":
        "what was the matter with one is over, and the spend that was called off for it is not back",
    r"no token within the time allowed":
        "the time is over; what it was waited for is tried again, and has its alarm",
    r"the answer to the last spend was lost, so nobody knows which token is alive":
        "whatever happened to the answer, this is what it comes to",
    r"the spender ended before it (was ready: memory or open files may be at their limit|"
    r"had an answer)":
        "a program that is gone, perhaps killed, does not say why",
    r"\(nothing was sent\)":
        "read in the spool, in which a spender has no room for words",
    r"not sent: (Could not resolve host|Failed to connect to)":
        "libcurl's own words: it does not keep what the system said",
    r"The system does not say whose connection this is":
        "who is turned away is told so in one word, before his request is read",
    r"it ended without saying why":
        "libuv ends its process where it cannot go on (nth_stand.ended_by_library)",
}


def fault_of(said, error):
    """What is wrong with the line that was said of a failure with this errno; None of one that has
    none, as a kill. A short write is none either: it is gone on with."""
    if VAGUE.search(said):
        return "says nothing that helps"
    if error <= 0 or any(re.search(summary, said) for summary in SUMMARIES):
        return None
    if not re.search(NAMES[error], said, re.I):
        return f"does not say that it was {errno.errorcode[error]}"
    return None
