"""The moves bench: measures memory per subscriber, and the rate of place changes, in groups and one by one.

It uses the registry like the API, on the embedded store, with the AOF synced at every write. See `./ops/bench/moves --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import audience_ping
import numpy as np
import uvloop
from audience_people import points
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from alertd.config.settings import Settings
from alertd.runtime.assembly import opened
from alertd.runtime.processes import keep_loaded
from alertd.service.container import Container
from alertd.service.people.registration_intake import Entry, parse_registration
from alertd.store.embedded.server import EmbeddedServer, EmbeddedSettings
from alertd.store.engine.codec import Codec, Keys

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "bench"
GROUP = 1_000  # people written together
AT_ONCE = 2  # parallel groups
CALLERS = 64  # parallel callers that write one by one
TOKEN_LENGTH = 163  # of an FCM token
told = Console(stderr=True)


@dataclass(frozen=True)
class Took:
    """Duration of some writes; processor time excludes the store's."""

    people: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.people / self.seconds


@dataclass(frozen=True)
class Store:
    """A registry on a separate store."""

    parts: Container
    redis: Redis
    socket: str

    async def used(self) -> int:
        return int((await self.redis.info("memory"))["used_memory"])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="20,000 subscribers instead of 200,000")
    uvloop.run(_measure(20_000 if arguments.parse_args().quick else 200_000))


async def _measure(count: int) -> None:
    lon, lat = points(1_000_000, CACHE).positions()
    chosen = np.random.default_rng(4).choice(len(lon), (3, count), replace=False)
    homes, others, last = (np.column_stack([lon[some], lat[some]]).tolist() for some in chosen)
    with tempfile.TemporaryDirectory() as folder:
        async with _opened(Path(folder)) as store:
            with audience_ping.watch(store.socket) as watch:
                before, arrivals, moves = await store.used(), _entries(homes), _entries(others)
                with watch.watching():
                    came = await _took(count, _in_groups(store, arrivals))
                size = (await store.used() - before) / count
                with watch.watching():
                    grouped = await _took(count, _in_groups(store, moves))
                    singly = await _took(count // 4, _one_by_one(store, last[: count // 4]))
    _tell(count, size, watch.worst_ms, {"registered": came, "moved in groups": grouped, "moved one by one": singly})


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[Store]:
    async with (
        EmbeddedServer(EmbeddedSettings(directory=folder)) as server,
        Redis(unix_socket_path=server.socket) as redis,
        opened(Settings(), redis, Codec(Keys(master=b"m" * 32, hashing=b"h" * 32))) as parts,
    ):
        keep_loaded()
        yield Store(parts, redis, server.socket)


async def _took(people: int, work: Awaitable[None]) -> Took:
    began, cpu = time.perf_counter(), time.process_time()
    await work
    return Took(people, time.perf_counter() - began, time.process_time() - cpu)


def _entries(homes: list[list[float]]) -> list[Entry]:
    """Returns people with one push address and one place each: the case of the promised bytes per subscriber."""
    consent = {"at": "2026-01-01T00:00:00Z", "source": "bench", "version": "1", "purposes": ["missing-child"]}
    return [
        Entry(
            f"bench-{person}",
            parse_registration(
                {
                    "languages": ["es"],
                    "kinds": ["missing-child"],
                    "places": {"home": {"point": home}},
                    "addresses": [{"channel": "push", "token": str(person).rjust(TOKEN_LENGTH, "t")}],
                    "consent": consent,
                }
            ),
        )
        for person, home in enumerate(homes)
    ]


async def _in_groups(store: Store, entries: list[Entry]) -> None:
    """Registers all people, or changes their places, like an import."""
    groups = iter(range(0, len(entries), GROUP))

    async def write() -> None:
        for first in groups:
            _expect_all(await store.parts.registry.put_many(entries[first : first + GROUP]))

    await asyncio.gather(*(write() for _ in range(AT_ONCE)))


async def _one_by_one(store: Store, homes: list[list[float]]) -> None:
    """Writes one person at a time, with as many parallel callers as a busy API."""
    waiting = iter(enumerate(homes))

    async def write() -> None:
        for person, home in waiting:
            await store.parts.registry.patch(f"bench-{person}", {"places": {"home": {"point": home}}})

    await asyncio.gather(*(write() for _ in range(CALLERS)))


def _expect_all(outcomes: Iterable[object]) -> None:
    if bad := [outcome for outcome in outcomes if outcome is None or isinstance(outcome, Exception)]:
        raise SystemExit(f"{len(bad)} people were not written: {bad[0]!r}")


def _tell(count: int, size: float, worst_ms: float, took: dict[str, Took]) -> None:
    table = Table(
        title=f"{count:,} subscribers, {size:.0f} bytes each; another client waited {worst_ms:.0f} ms at most"
    )
    for heading in ("", "people", "a second", "processor ms each"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, one in took.items():
        table.add_row(name, f"{one.people:,}", f"{one.rate:,.0f}", f"{1000 * one.cpu_s / one.people:.3f}")
    told.print(table)
    figures = {name.replace(" ", "_"): round(one.rate) for name, one in took.items()}
    print(json.dumps({"subscribers": count, "bytes": round(size), **figures, "worst_ping_ms": round(worst_ms, 1)}))


if __name__ == "__main__":
    main()
