"""What an administrator was told to be stored is on the required replica, too: a server that takes over has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.organisations.api_keys import ApiKeys, StoredKey
from alertd.store.organisations.operators import OperatorStore, StoredOperator
from alertd.store.sharing.webhooks import Hook, Hooks

KEY = StoredKey(org="centre", subject="ana@centre.example", scopes=("submit",), test=False, digest="0" * 64)
OPERATOR = StoredOperator(id="0123456789ab", org="centre", subject="ana", name="Ana", roles=("author",), made=1)
HOOK = Hook(id="h1", org="centre", url="https://centre.example/h", types=(), secrets=(("s", 0),), by="ana", made=1)

WRITES: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "a key": lambda store: ApiKeys(store).add("k1", KEY),
    "an operator": lambda store: OperatorStore(store).add(OPERATOR),
    "a webhook": lambda store: Hooks(store, Hook).put(HOOK, queued=0),
    "a webhook that is turned on": lambda store: Hooks(store, Hook).turn_on(HOOK),
    "a webhook that is sent events again": lambda store: Hooks(store, Hook).rewind(HOOK, 0),
    "the end of a webhook": lambda store: Hooks(store, Hook).remove("centre", "h1"),
}


@pytest.mark.parametrize("name", WRITES)
async def test_an_administrators_act_waits_for_the_required_replica(redis: Redis, codec: Codec, name: str):
    """There is no replica, so it is not confirmed."""
    await WRITES[name](Connection(redis, codec))
    with pytest.raises(StoreUnavailableError):
        await WRITES[name](Connection(redis, codec, replicas_required=1))
