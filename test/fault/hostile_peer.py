"""A crowd of peers that behave badly on the API's socket: one process, many connections.

    hostile_peer.py SOCKET KIND COUNT SEED

Opens COUNT connections, says "ready" when as many have been opened, and keeps up the pressure until
its standard input ends: one that is dropped comes back. Prints {"opened", "dropped",
"sent"} at the end.
"""

import json
import random
import resource
import select
import selectors
import socket
import sys
import time

HOST = b"Host: localhost\r\n"
TOKEN = b"GET /v1/profiles/work/token HTTP/1.1\r\n" + HOST + b"\r\n"
BIG = b"GET /v1/openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
ADD = b"POST /v1/profiles/a?provider=lab HTTP/1.1\r\n" + HOST


def words_of(kind, chance):
    """What a connection of this kind says, in pieces; after the last one it falls silent."""
    if kind == "stall":
        return []
    if kind == "half":
        return [chance.choice((b"G", TOKEN[:-2], TOKEN[:40], ADD + b"Content-Length: 90\r\n\r\n{",
                               ADD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"))]
    if kind == "garbage":
        garbage = bytearray(TOKEN * 2)
        for _ in range(20):
            garbage[chance.randrange(len(garbage))] = chance.randrange(256)
        return [chance.choice((bytes(garbage), chance.randbytes(chance.randrange(1, 3000))))]
    if kind == "pipeline":
        return [TOKEN * 400, TOKEN * 400]
    if kind == "unread":
        return [BIG * 60, BIG * 60]
    if kind == "drip":
        return [TOKEN[i:i + 1] for i in range(len(TOKEN) - 1)]
    if kind in ("leave", "half-close"):
        return [TOKEN]
    if kind == "body":
        return [ADD + b"Content-Length: 1000000\r\n\r\n" + b" " * 60000]
    if kind == "wait":
        return [TOKEN.replace(b"/token", b"/token?min_ttl=50m&timeout=10m")]
    raise SystemExit(f"no such kind: {kind}")


KINDS = ("stall", "half", "garbage", "pipeline", "unread", "drip", "leave", "half-close", "body",
         "wait")


class Crowd:
    def __init__(self, path, kind, count, seed):
        self.path, self.kind, self.count = path, kind, count
        self.chance = random.Random(seed)
        self.selector = selectors.DefaultSelector()
        self.open = {}  # socket → what is still to be said
        self.opened = self.dropped = self.sent = 0

    def enter(self):
        peer = socket.socket(socket.AF_UNIX)
        peer.setblocking(False)
        try:
            peer.connect(self.path)
        except OSError:  # the queue is full: come back
            peer.close()
            return False
        self.opened += 1
        self.open[peer] = words_of(self.kind, self.chance)
        self.selector.register(peer, selectors.EVENT_READ)
        return True

    def say(self, peer):
        words = self.open[peer]
        if not words:
            return
        try:
            done = peer.send(words[0])
        except BlockingIOError:
            return
        except OSError:
            self.drop(peer)
            return
        self.sent += done
        words[0] = words[0][done:]
        if not words[0]:
            words.pop(0)
        if not words and self.kind == "half-close":
            peer.shutdown(socket.SHUT_WR)
        if not words and self.kind == "leave":
            self.drop(peer)

    def drop(self, peer):
        self.selector.unregister(peer)
        del self.open[peer]
        peer.close()
        self.dropped += 1

    def look(self):
        """Whom the daemon has dropped. What it says is not read: not by us."""
        for key, _ in self.selector.select(0):
            peer = key.fileobj
            try:
                gone = peer.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone or self.kind == "garbage":
                self.drop(peer)

    def run(self):
        told = False
        while not select.select([sys.stdin], [], [], 0)[0]:
            wanted = self.count - len(self.open)
            for _ in range(min(wanted, 500)):
                if not self.enter():
                    break
            for peer in list(self.open):
                self.say(peer)
            if not told and self.opened >= self.count:
                print("ready", flush=True)
                told = True
            self.look()
            time.sleep(0.05)


def main():
    path, kind, count, seed = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, int(count) + 100), hard))
    crowd = Crowd(path, kind, int(count), int(seed))
    crowd.run()
    print(json.dumps({"kind": kind, "opened": crowd.opened, "dropped": crowd.dropped,
                      "sent": crowd.sent}))


if __name__ == "__main__":
    main()
