"""Processes that work side by side, and end with the one that started them.

    runner.stop_by_exception()
    with Crew(4) as crew:
        begun = [crew.start(command) for command in commands]
        for future in begun:
            status, output = future.result()

Whatever ends the block ends what still runs, and all that descends from it: by SIGTERM, upon which
each clears up for itself, then by SIGKILL.
"""

import concurrent.futures
import subprocess
import threading

import harness

PATIENCE_S = 15


class Crew:
    def __init__(self, at_once):
        self.pool = concurrent.futures.ThreadPoolExecutor(at_once)
        self.lock, self.is_over = threading.Lock(), False

    def __enter__(self):
        harness.adopt_orphans()
        return self

    def __exit__(self, *_):
        with self.lock:
            self.is_over = True
        self.pool.shutdown(wait=False, cancel_futures=True)
        harness.end_descendants(PATIENCE_S)
        self.pool.shutdown()

    def start(self, command):
        """A future of (exit status, standard output)."""
        return self.pool.submit(self._run, [str(word) for word in command])

    def _run(self, command):
        with self.lock:
            if self.is_over:
                return None, ""
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       text=True)
        output, _ = process.communicate()
        return process.returncode, output
