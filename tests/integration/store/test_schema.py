"""A store is opened by the alertd that can read it, for what it was made for."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from alertd.store.engine import keys
from alertd.store.engine.codec import Codec, Keys
from alertd.store.engine.connection import Connection, StoreRefusedError
from alertd.store.master_key.schema import SCHEMA_VERSION, open_store


@pytest.mark.parametrize("sandbox", [False, True])
async def test_a_store_is_for_trials_or_for_the_real_thing(store: Connection, sandbox: bool):
    """No carrier is asked to reach sample people, and no alert is handed to a sandbox, because somebody started in the wrong folder."""
    await store.execute("DEL", keys.SCHEMA, keys.KEY_CHECK, keys.SANDBOX, keys.CELL_KEY)
    for _ in range(2):
        await open_store(store, sandbox=sandbox)
    with pytest.raises(StoreRefusedError, match="sandbox"):
        await open_store(store, sandbox=not sandbox)


@pytest.mark.parametrize(("schema", "words"), [(SCHEMA_VERSION - 1, "older"), (SCHEMA_VERSION + 1, "newer")])
async def test_data_of_another_schema_is_refused_at_the_start(store: Connection, schema: int, words: str):
    """What cannot be read is said in a sentence, before anything is asked of it."""
    await open_store(store)
    await store.execute("SET", keys.SCHEMA, schema)
    with pytest.raises(StoreRefusedError, match=words):
        await open_store(store)


async def test_processes_that_open_a_new_store_at_once_seal_alike(redis: Redis):
    """The store has one cell key, whoever made it: each process opens what another sealed."""
    own = Keys(master=b"m" * 32, hashing=b"h" * 32)
    several = [Connection(redis, Codec(own)) for _ in range(8)]
    await asyncio.gather(*map(open_store, several))
    cell = keys.tile_cell(300)
    assert len({one.codec.cells.seal(cell, bytes(range(16))) for one in several}) == 1


@pytest.mark.parametrize("command", [("DEL", keys.CELL_KEY), ("SET", keys.CELL_KEY, "damaged")])
async def test_a_store_without_its_cell_key_is_refused(store: Connection, command: tuple[str, ...]):
    """A new key would open all records as strangers' places: it is never made for a store that has data."""
    await open_store(store)
    await store.execute(*command)
    with pytest.raises(StoreRefusedError):
        await open_store(store)
