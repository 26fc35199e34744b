"""alertd's method: `alertd.store.people.audience.Audience` on the embedded store, with the AOF synced at every write.

It loads people in bulk: it packs the tiles' strings with `geofences.records`, encrypts them, and writes them under the keys of
`alertd.store.engine.keys`, as `alertd.store.people.subscribers.People.put` does in its last step. It leaves out the records of people,
which a query reads only for people who are moving.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from audience_people import FLAGS, HOME, MISSING_CHILD, Points
from numpy.typing import NDArray
from redis.asyncio import Redis

from alertd.common.clock import SystemClock
from alertd.store.embedded.server import EmbeddedServer, EmbeddedSettings
from alertd.store.engine import keys
from alertd.store.engine.bulk_reads import BulkReads
from alertd.store.engine.cell_seal import CellSeal
from alertd.store.engine.codec import Codec, Keys
from alertd.store.engine.connection import Connection
from alertd.store.master_key.schema import open_store
from alertd.store.people.audience import Audience, MatchFilter
from alertd.store.people.subscribers import People
from geofences import records
from geofences.polygons import polygons_of

DEADLINE_S = 60.0  # a slow machine gives a slow result, not none
TILES_A_COMMAND = 500


@dataclass(frozen=True, kw_only=True)
class Alertd:
    """A loaded alertd store."""

    audience: Audience
    socket: str
    index_bytes: float  # a subscriber

    async def find(self, wkb: bytes) -> NDArray[np.int64]:
        """Returns the sorted numbers of the people inside. Builds the shape each time, as for every alert."""
        area = polygons_of(shapely.from_wkb(wkb))
        found = await self.audience.find(MatchFilter(area=area, kind=MISSING_CHILD, places=frozenset({HOME})))
        return found.numbers.view(np.int64)


@contextlib.asynccontextmanager
async def opened(points: Points, folder: Path) -> AsyncIterator[Alertd]:
    """Starts and loads the store; stops it at the end."""
    async with (
        EmbeddedServer(EmbeddedSettings(directory=folder / "alertd")) as server,
        Redis(unix_socket_path=server.socket) as redis,
    ):
        connection = Connection(redis, Codec(Keys(master=b"m" * 32, hashing=b"h" * 32)))
        await open_store(connection)
        before = await _used(redis)
        await _load(connection, points)
        index_bytes = (await _used(redis) - before) / len(points)
        audience = Audience(
            BulkReads(connection.nodes, timeout_s=DEADLINE_S),
            connection.codec.cells,
            People(connection, SystemClock()).authority,
            deadline_s=DEADLINE_S,
        )
        yield Alertd(audience=audience, socket=server.socket, index_bytes=index_bytes)


async def _load(connection: Connection, points: Points) -> None:
    order = np.argsort(points.tiles, kind="stable")
    tiles = points.tiles[order]
    blob = records.pack(points.numbers[order], points.x[order], points.y[order], 0, FLAGS)
    used, first, counts = np.unique(tiles, return_index=True, return_counts=True)
    for chunk in np.array_split(np.arange(len(used)), max(1, len(used) // TILES_A_COMMAND)):
        await connection.execute_many(
            list(_writes(used[chunk], first[chunk], counts[chunk], blob, connection.codec.cells))
        )
    groups = np.zeros(1 << 16, np.uint8)
    groups[used >> 8] = 1
    await connection.execute("SET", keys.TILE_GROUPS, np.packbits(groups).tobytes())


def _writes(
    tiles: NDArray[np.uint32], first: NDArray[np.int64], counts: NDArray[np.int64], blob: bytes, seal: CellSeal
) -> Iterator[tuple[str | bytes | int, ...]]:
    cells = [keys.tile_cell(tile) for tile in tiles.tolist()]
    ends = ((first + counts) * records.SIZE).tolist()
    plain = [blob[at:end] for at, end in zip((first * records.SIZE).tolist(), ends, strict=True)]
    for cell, sealed in zip(cells, seal.seal_each(cells, plain), strict=True):
        yield "SET", cell.key, sealed
        count = len(sealed) // records.SIZE
        yield "SETRANGE", cell.cells, cell.count_at, count.to_bytes(keys.COUNT_BYTES, "little")


async def _used(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])
