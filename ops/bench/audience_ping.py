"""A second client of a store: it sends PING all the time and reports its longest wait, to show whether a query blocks other clients.

As a program (`audience_ping.py SOCKET`) it reads a line at the start and end of each measurement, and prints the longest wait in ms
since the last line. It runs in a separate process: in the bench's process it would wait for Python, not for the store.
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

PAUSE_S = 0.001  # between two PINGs: a thousand a second cost hardly any processor time


@dataclass(kw_only=True)
class Watch:
    """The second client, in its own process."""

    process: subprocess.Popen[str]
    worst_ms: float = 0.0  # in any measurement

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self._ask()
        yield
        self.worst_ms = max(self.worst_ms, self._ask())

    def _ask(self) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextlib.contextmanager
def watch(path: str) -> Iterator[Watch]:
    """Starts the client on a socket."""
    command = [sys.executable, __file__, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Watch(process=process)
        # Closing its input ends it.


def main(path: str) -> None:
    """Runs until the input ends."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        worst_s = 0.0
        while True:
            asked, _, _ = select.select([sys.stdin], [], [], PAUSE_S)
            if asked:
                if not sys.stdin.readline():
                    return
                print(1_000 * worst_s, flush=True)
                worst_s = 0.0
            started = time.perf_counter()
            client.sendall(b"PING\r\n")
            client.recv(64)
            worst_s = max(worst_s, time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1])
