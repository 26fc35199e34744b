"""A store is opened by the alertd that can read it, for what it was made for."""

from __future__ import annotations

import pytest

from alertd.store import keys
from alertd.store.connection import Connection, StoreRefusedError
from alertd.store.schema import SCHEMA_VERSION, open_store


@pytest.mark.parametrize("sandbox", [False, True])
async def test_a_store_is_for_trials_or_for_the_real_thing(store: Connection, sandbox: bool):
    """No carrier is asked to reach sample people, and no alert is handed to a sandbox, because somebody started in the wrong folder."""
    await store.execute("DEL", keys.SCHEMA, keys.KEY_CHECK, keys.SANDBOX, keys.CELL_KEY)
    for _ in range(2):
        await open_store(store, sandbox=sandbox)
    with pytest.raises(StoreRefusedError, match="sandbox's"):
        await open_store(store, sandbox=not sandbox)


@pytest.mark.parametrize(("schema", "words"), [(SCHEMA_VERSION - 1, "older"), (SCHEMA_VERSION + 1, "newer")])
async def test_data_of_another_schema_is_refused_at_the_start(store: Connection, schema: int, words: str):
    """What cannot be read is said in a sentence, before anything is asked of it."""
    await open_store(store)
    await store.execute("SET", keys.SCHEMA, schema)
    with pytest.raises(StoreRefusedError, match=words):
        await open_store(store)
