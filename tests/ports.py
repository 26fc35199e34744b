"""Ports for programs that cannot take port 0 and say which they got."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import time

#: Below what systems give out by themselves (32768 and up), so that nobody is given a port between its choice and its use.
#: In an order of this process's own, because others choose at the same time.
_PORTS = itertools.cycle(random.SystemRandom().sample(range(20_000, 32_000), 12_000))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def wait_for_port(port: int) -> None:
    """Wait until somebody listens there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the peer did not start listening")
