"""Another client of a store: it asks PING all the time and tells the longest it waited, so that nobody is blocked unseen.

As a program (`audience_ping.py SOCKET`) it reads a line whenever the watch begins or ends, and answers each with the longest wait
in ms since the line before. It is a process of its own: in ours it would wait for Python, not for the store.
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

PAUSE_S = 0.001  # between two PINGs: a thousand a second take no processor worth speaking of


@dataclass(kw_only=True)
class Watch:
    """The other client, in its own process."""

    process: subprocess.Popen[str]
    worst_ms: float = 0.0  # in any of the watched times

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
    """Watch the store at a socket."""
    command = [sys.executable, __file__, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Watch(process=process)
        # Leaving closes its input, which ends it.


def main(path: str) -> None:
    """Until the input ends."""
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
