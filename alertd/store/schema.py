"""Opening a store: whether it may be, and its schema."""

from __future__ import annotations

import numpy as np
from redis.exceptions import ResponseError

from alertd.store import keys
from alertd.store.connection import Connection, StoreRefusedError

SCHEMA_VERSION = 3
#: The oldest that is read. Data of 1 has names of staff and ids of cases in clear; no release wrote it.
OLDEST_SCHEMA = 2
A_SANDBOX = (
    "the store is a sandbox's, with sample people whose numbers may be somebody's: start it with --sandbox, or use another "
    "(store.directory, store.url)"
)
NO_SANDBOX = (
    "the store is no sandbox's: what is sent there would count as sent and reach nobody. Give the sandbox a store of its own "
    "(store.directory, store.url)"
)
UPGRADED_AT_ONCE = 1_000  # groups of cells, of the tens of thousands that a world has


async def open_store(connection: Connection, *, sandbox: bool = False) -> None:
    """Check that this store may be used by this program with these keys, for a `sandbox` or for none, and mark a new one. What an earlier
    alertd stored is brought to the present schema before anything is read of it. Raises StoreRefusedError and StoreUnavailableError.
    """
    await connection.meet()
    found = await look(connection, sandbox=sandbox)
    if not found:
        own = (keys.SCHEMA, SCHEMA_VERSION, keys.KEY_CHECK, connection.codec.check_value, keys.SANDBOX, int(sandbox))
        if await connection.execute("MSETNX", *own):
            return
        found = await look(connection, sandbox=sandbox)  # another process was here first
    await _upgrade(connection)
    if found < SCHEMA_VERSION:
        await connection.execute("SET", keys.SCHEMA, SCHEMA_VERSION)


async def look(connection: Connection, *, sandbox: bool) -> int:
    """Which schema this store has, 0 for a new one; changes nothing. Raises StoreRefusedError where it may not be opened."""
    try:
        found, check, is_sandbox = await connection.execute("MGET", keys.SCHEMA, keys.KEY_CHECK, keys.SANDBOX)
    except ResponseError as error:  # a Sentinel, or a database that there is not
        raise StoreRefusedError(f"what is asked at store.url holds no data for alertd: {error}") from None
    if found is None:
        return 0
    if int(found) > SCHEMA_VERSION:
        raise StoreRefusedError(
            f"the store holds data of schema {int(found)}, newer than this alertd's {SCHEMA_VERSION}: run the newer alertd"
        )
    if int(found) < OLDEST_SCHEMA:
        raise StoreRefusedError(
            f"the store holds data of schema {int(found)}, which this alertd does not read any more (from {OLDEST_SCHEMA} on)"
        )
    if check.decode() != connection.codec.check_value:
        raise StoreRefusedError("the store was made with other keys: give the master and hashing keys it was made with")
    if (is_sandbox == b"1") != sandbox:
        raise StoreRefusedError(NO_SANDBOX if sandbox else A_SANDBOX)
    return int(found)


async def used_groups(connection: Connection) -> list[str]:
    """The groups that have cells, or had."""
    used = await connection.execute("GET", keys.TILE_GROUPS)
    tiles = np.flatnonzero(np.unpackbits(np.frombuffer(used or b"", np.uint8)))
    regions = await connection.execute("SMEMBERS", keys.REGION_GROUPS)
    return [f"g:{int(group)}" for group in tiles] + [f"r:{int(number)}" for number in regions]


async def _upgrade(connection: Connection) -> None:
    """From 2 to 3: the counts of a group's cells, a hash of which a country's took a fifth of finding who is in it, become a
    string; announced chains, read as a whole five times a second, are kept by when they are due. No harm where two
    processes do it at once. At every start, since an earlier alertd that still ran may have written as it knew: none is to run
    beside this one, and one that did is made good by starting anew.
    """
    await connection.run_many([("told_upgrade", [keys.told(shard)], []) for shard in range(keys.SHARDS)])
    every = await used_groups(connection)
    for first in range(0, len(every), UPGRADED_AT_ONCE):
        some = every[first : first + UPGRADED_AT_ONCE]
        await connection.run_many(
            [("cells_upgrade", [keys.cells(group)], [keys.first_member(group)]) for group in some]
        )
