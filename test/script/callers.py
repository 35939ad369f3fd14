"""Programs that use tokens through credwarden, in numbers, and one that behaves badly."""

import threading
import time

import harness


class Caller(threading.Thread):
    """Asks for a token that lives `wish` at least and uses it at once, again and again.
    `use(access)` is true when the server took it."""

    def __init__(self, world, name, wish, use, over):
        super().__init__(daemon=True)
        self.world, self.use, self.over = world, use, over
        self.target = f"/v1/profiles/{name}/token?min_ttl={wish}"
        self.answers, self.failures, self.seen = 0, [], set()

    def run(self):
        connection = self.world.connection()
        while not self.over.is_set():
            try:
                self._once(connection)
            except Exception as error:  # a caller's failure is the story's, told at its end
                self.failures.append(repr(error))
                connection.close()
            time.sleep(0.02)
        connection.close()

    def _once(self, connection):
        answer = harness.ask(connection, "GET", self.target)
        if answer.status != 200:
            self.failures.append(repr(answer))
            return
        access = answer.json["access_token"]
        self.seen.add(access)
        if self.use(access):
            self.answers += 1
        else:
            self.failures.append("the server refused a token that was just handed out")


class Staller(threading.Thread):
    """Sends half a request and then nothing; comes back whenever it is thrown out."""

    def __init__(self, world, over):
        super().__init__(daemon=True)
        self.world, self.over, self.times = world, over, 0

    def run(self):
        while not self.over.is_set():
            with self.world.raw_socket(timeout=0.2) as peer:
                peer.sendall(b"GET /v1/profiles/work/token HTTP/1.1\r\nHost: local")
                self.times += 1
                self._wait_for_the_end(peer)

    def _wait_for_the_end(self, peer):
        while not self.over.is_set():
            try:
                if not peer.recv(4096):
                    return
            except TimeoutError:
                pass
            except OSError:
                return


def crowd(world, name, callers, wish, use, until):
    """So many callers, and one that stalls, until `until()` is true. Returns the callers."""
    over = threading.Event()
    crew = [Caller(world, name, wish, use, over) for _ in range(callers)]
    staller = Staller(world, over)
    for thread in (staller, *crew):
        thread.start()
    try:
        while not until():
            time.sleep(0.1)
    finally:
        over.set()
    for thread in (staller, *crew):
        thread.join(40)
    assert staller.times > 0
    return crew


def assert_all_served(crew, answers_min):
    failures = [failure for caller in crew for failure in caller.failures]
    assert not failures, f"{len(failures)} failed, the first: {harness.redact(failures[0])}"
    fewest = min(caller.answers for caller in crew)
    assert fewest >= answers_min, f"a caller got {fewest} answers only"
