"""The disk under the embedded store: writes stop in time, the ballast is there when it is needed, rewrites wait for quiet."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.service.container import Container
from alertd.store.embedded.aof_rewrite import (
    LEAST_URGENT,
    PAUSE_S,
    AofSize,
    RewritePolicy,
    aof_size,
    give_way,
    is_quiet,
    wants_rewrite,
)
from alertd.store.embedded.server import EmbeddedServer, EmbeddedSettings
from alertd.store.embedded.space import DiskGuard, DiskSettings, Space
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec, Keys
from alertd.store.engine.connection import Connection
from alertd.store.records.case_keys import Cases
from tests.clocks import Later
from tests.integration.acts import over, planned, register, send, submitted

MB = 1024 * 1024
SMALL = DiskSettings(reserve_bytes=100 * MB, ballast_bytes=4 * MB)


class Disk:
    """A disk that says what the test wants."""

    def __init__(self, free_mb: int) -> None:
        self.free_mb = free_mb

    def __call__(self, _directory: Path) -> int:
        return self.free_mb * MB


class FakeClock:
    """Monotonic time that the test moves."""

    now_s = 1000.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s


def test_refuses_writes_below_the_reserve_and_opens_them_above_it(tmp_path: Path) -> None:
    """Writes stop below the reserve, and start again only a ballast above it, so that the border does not flicker."""
    disk = Disk(200)
    guard = DiskGuard(tmp_path, SMALL, disk)
    told = []
    for disk.free_mb in (200, 100, 99, 100, 103, 104, 101):
        guard.check()
        told.append(guard.takes_writes)
    assert told == [True, True, False, False, False, True, True]


def test_gives_the_ballast_up_when_it_is_needed(tmp_path: Path) -> None:
    """The ballast takes real blocks, is kept while other room is left, given up at the last, and made again in plenty."""
    disk, ballast = Disk(200), tmp_path / "ballast"
    guard = DiskGuard(tmp_path, SMALL, disk)
    guard.check()
    assert ballast.stat().st_blocks * 512 >= 4 * MB
    held = []
    for disk.free_mb in (50, 4, 3, 7, 104, 107, 108):
        guard.check()
        held.append(ballast.exists())
    assert held == [True, True, False, False, False, False, True]


def test_a_disk_that_does_not_answer_is_full(tmp_path: Path) -> None:
    """When free space cannot be read nothing is accepted, and the guard stands."""
    guard = DiskGuard(tmp_path / "gone", SMALL)
    assert guard.check() is Space.LOW


@pytest.mark.parametrize(
    ("base_mb", "total_mb", "quiet", "disk_low", "free_mb", "data_mb", "wanted"),
    [
        (200, 401, True, False, 1000, 250, True),
        (200, 400, True, False, 1000, 250, False),  # not grown enough
        (0, 255, True, False, 1000, 250, False),  # not worth it
        (0, 257, True, False, 1000, 250, True),  # the first
        (100, 500, False, False, 1000, 250, False),  # a loud alert is under way
        (220, 270, False, True, 300, 250, True),  # the disk demands it
        (250, 270, True, True, 300, 250, False),  # it would free too little
        (100, 500, True, True, 99, 100, False),  # no room for the new base
        (0, 500, True, True, 300, 450, False),  # nor for one that is larger than the old
        (100, 500, True, True, 499, 900, False),
        (100, 500, True, True, 500, 900, True),  # no file is larger than what it is made of
    ],
)
def test_a_rewrite_waits_for_growth_quiet_and_room(
    base_mb: int, total_mb: int, quiet: bool, disk_low: bool, free_mb: int, data_mb: int, wanted: bool
) -> None:
    """Each reason for and against a rewrite, one by one."""
    size = AofSize(base_bytes=base_mb * MB, total_bytes=total_mb * MB)
    asked = {"quiet": quiet, "disk_low": disk_low, "free_bytes": free_mb * MB, "data_bytes": data_mb * MB}
    assert wants_rewrite(size, **asked) is wanted


async def test_asks_for_no_rewrite_that_the_disk_has_no_room_for(tmp_path: Path) -> None:
    """After a large import the last rewrite tells nothing of how large the next is. One that fills the disk ends the server."""

    async def nothing_loud() -> bool:
        return True

    disk = Disk(200)
    async with (
        EmbeddedServer(EmbeddedSettings(directory=tmp_path, maxmemory_mb=400)) as server,
        Redis(unix_socket_path=server.socket) as client,
    ):
        policy = RewritePolicy(client, tmp_path, DiskGuard(tmp_path, SMALL, disk), nothing_loud, FakeClock())
        for number in range(257):
            await client.set(f"key:{number}", os.urandom(MB))
        assert not await policy.check()
        disk.free_mb = 300
        assert await policy.check()


async def test_rewrites_a_real_aof_once_nothing_loud_is_under_way(tmp_path: Path) -> None:
    """A real AOF that has grown stays as it is during a loud alert, shrinks after it, and keeps its data."""
    quiet, clock = False, FakeClock()

    async def nothing_loud() -> bool:
        return quiet

    guard = DiskGuard(tmp_path, SMALL, Disk(1000))
    async with (
        EmbeddedServer(EmbeddedSettings(directory=tmp_path, maxmemory_mb=64)) as server,
        Redis(unix_socket_path=server.socket) as client,
    ):
        policy = RewritePolicy(client, tmp_path, guard, nothing_loud, clock)
        value = os.urandom(MB)
        for _ in range(257):
            await client.set("overwritten", value)
        grown = aof_size(tmp_path)
        assert grown.total_bytes > 256 * MB
        assert not await policy.check()
        quiet = True
        assert await policy.check()
        assert not await policy.check(), "asked again while it runs"
        deadline = time.monotonic() + 30
        while aof_size(tmp_path).total_bytes > 2 * MB:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert await client.get("overwritten") == value
        clock.now_s += PAUSE_S
        assert not await policy.check(), "nothing to gain now"


async def test_a_rewrite_gives_way_to_alerts() -> None:
    """The server's child is the least urgent of all; the server itself is as urgent as before."""
    server = await asyncio.create_subprocess_exec(
        "sh", "-c", "sleep 60 & echo $!; wait", stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    child = int(await server.stdout.readline())
    try:
        give_way(server.pid)
        assert [os.getpriority(os.PRIO_PROCESS, one) for one in (server.pid, child)] == [0, LEAST_URGENT]
    finally:
        os.kill(child, signal.SIGTERM)
        await server.wait()


@dataclass
class Purged:
    """A store in which the key of a case has just been destroyed, and what has it rewritten."""

    client: Redis
    policy: RewritePolicy
    cases: Cases
    clock: FakeClock
    key: bytes
    quiet: bool = True


@pytest.fixture
async def purged(tmp_path: Path) -> AsyncIterator[Purged]:
    clock, key = FakeClock(), os.urandom(60)

    async def nothing_loud() -> bool:
        return found.quiet

    async with (
        EmbeddedServer(EmbeddedSettings(directory=tmp_path, maxmemory_mb=64)) as server,
        Redis(unix_socket_path=server.socket) as client,
    ):
        policy = RewritePolicy(client, tmp_path, DiskGuard(tmp_path, SMALL, Disk(1000)), nothing_loud, clock)
        cases = Cases(Connection(client, Codec(Keys(b"m" * 32, b"h" * 32))))
        found = Purged(client, policy, cases, clock, key)
        assert not await policy.check()
        await client.set(keys.case_dropped("case"), key)
        await cases.destroy("case")
        assert _stands(tmp_path, key)
        yield found


async def test_a_key_that_was_destroyed_is_rewritten_away(purged: Purged, tmp_path: Path) -> None:
    """However small the file: it stands there until then. Not during a loud alert, and once for all that was purged before."""
    purged.quiet = False
    assert not await purged.policy.check()
    purged.quiet = True
    assert await purged.policy.check()
    await _rewritten(tmp_path, purged.key)
    purged.clock.now_s += PAUSE_S
    assert not await purged.policy.check()
    await purged.cases.destroy("case")
    assert await purged.policy.check()


async def test_what_was_removed_stands_in_the_file_for_a_day_at_most(tmp_path: Path) -> None:
    """Somebody who left, with their home and their number: nothing counts them, so the file is no older, however small it is."""
    clock, person = Later(), os.urandom(60)

    async def nothing_loud() -> bool:
        return True

    async with (
        EmbeddedServer(EmbeddedSettings(directory=tmp_path, maxmemory_mb=64)) as server,
        Redis(unix_socket_path=server.socket) as client,
    ):
        policy = RewritePolicy(client, tmp_path, DiskGuard(tmp_path, SMALL, Disk(1000)), nothing_loud, clock)
        await client.set("subscriber", person)
        await client.delete("subscriber")
        assert not await policy.check()
        assert _stands(tmp_path, person)
        clock.pass_by(25 * 3600)
        assert await policy.check()
        await _rewritten(tmp_path, person)


async def test_a_rewrite_that_was_killed_is_asked_for_again(purged: Purged, tmp_path: Path) -> None:
    """Where memory is short the kernel kills it, or it has no room: what was purged stands there still, and that is not forgotten."""
    await _slow_rewrites(purged.client)
    assert await purged.policy.check()
    os.kill(await _rewriting(tmp_path), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while (await purged.client.info("persistence"))["aof_last_bgrewrite_status"] != "err":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await purged.client.config_set("rdb-key-save-delay", 0)
    assert not await purged.policy.check(), "the next one is not asked for at once"
    purged.clock.now_s += PAUSE_S
    assert await purged.policy.check()
    await _rewritten(tmp_path, purged.key)
    purged.clock.now_s += PAUSE_S
    assert not await purged.policy.check()


async def test_a_rewrite_that_was_killed_with_its_server_leaves_no_file(tmp_path: Path) -> None:
    """It is as large as the data, and would be there for ever, with the keys of cases that are purged since."""
    settings = EmbeddedSettings(directory=tmp_path, maxmemory_mb=64)
    async with EmbeddedServer(settings) as server, Redis(unix_socket_path=server.socket) as client:
        await _slow_rewrites(client)
        await client.bgrewriteaof()
        await _rewriting(tmp_path)
        os.killpg(server.pid or 0, signal.SIGKILL)
    assert _unfinished(tmp_path)
    async with EmbeddedServer(settings):
        assert not _unfinished(tmp_path)


async def _slow_rewrites(client: Redis) -> None:
    """Long enough to be killed in the middle: a millisecond a key."""
    await client.mset({f"key:{number}": "x" for number in range(50_000)})
    await client.config_set("rdb-key-save-delay", 1_000)


def _unfinished(directory: Path) -> list[Path]:
    """What rewrites have not finished writing."""
    return [*directory.glob("temp-*")]


async def _rewriting(directory: Path) -> int:
    """The process of the rewrite that is under way, once its file is there."""
    deadline = time.monotonic() + 30
    while not (parts := _unfinished(directory)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return int(parts[0].stem.rpartition("-")[2])


def _stands(directory: Path, secret: bytes) -> bool:
    """Whether these bytes are in the append-only file; while its files change hands, it is looked at again."""
    try:
        return any(secret in file.read_bytes() for file in (directory / "appendonlydir").iterdir())
    except FileNotFoundError:
        return True


async def _rewritten(directory: Path, secret: bytes) -> None:
    """Until they are in it no more."""
    deadline = time.monotonic() + 30
    while _stands(directory, secret):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_only_what_is_loud_and_being_sent_holds_up_a_rewrite(parts: Container, sample: dict[str, Any]) -> None:
    """A quiet alert does not, nor does a loud one before it is approved or after it has been sent."""
    await register(parts, 30)
    loud = {**sample, "level": "child-alert"}
    await planned(parts, {**sample, "level": "endangered"})
    await submitted(parts, loud)
    assert await is_quiet(parts.alerts)
    record = await planned(parts, loud)
    assert not await is_quiet(parts.alerts)
    await send(parts, record)
    assert await over(parts, record)
    assert await is_quiet(parts.alerts)


async def test_an_alert_that_is_damaged_ends_nobodys_watch_over_the_disk(
    parts: Container, sample: dict[str, Any]
) -> None:
    """What looks whether all is quiet also refuses writes in time: it reads nothing that may not open."""
    await register(parts, 30)
    record = await planned(parts, {**sample, "level": "child-alert"})
    await parts.db.execute("SETRANGE", keys.case(record.case), 20, b"\xff\xff\xff\xff")
    assert not await is_quiet(parts.alerts)
