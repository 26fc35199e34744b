"""A server without any memory left refuses what is new. Everything else goes on, and so it gets room again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.model.kinds import Channel
from alertd.model.states import CHANNELS
from alertd.model.subscriber import AddressState
from alertd.service.container import Container
from alertd.service.people.suppression import Done
from alertd.service.records.audit import DONE
from alertd.store.delivery.message_ids import MessageIds, Owner
from alertd.store.engine.connection import StoreUnavailableError
from channels.sandbox import Sandbox
from tests.conftest import MAXMEMORY
from tests.integration.acts import BEA, counts, planned, register, submitted, tokens, working
from tests.integration.delivery.workers import ended
from tests.waiting import until


@asynccontextmanager
async def full(redis: Redis) -> AsyncIterator[None]:
    """No memory is left."""
    await redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        await redis.config_set("maxmemory", MAXMEMORY)


async def test_what_is_planned_is_sent_and_what_is_new_waits_for_room(
    parts: Container, redis: Redis, sandbox: Sandbox, sample: dict[str, Any]
):
    """An alert whose plan took the last of it reaches everybody; the next is not planned before there is room, and then it is."""
    await register(parts, 20)
    record = await planned(parts, sample)
    waiting = (await submitted(parts, sample)).record
    async with working(parts):
        async with full(redis):
            assert not await parts.db.takes_writes()
            await until(ended(parts, record.id))
            await parts.approval.approve(waiting.id, BEA)
            with pytest.raises(StoreUnavailableError):
                await submitted(parts, sample)
            await asyncio.sleep(1)  # in which it would have been planned
            assert await parts.work.counts(waiting.id) == {}
        await until(ended(parts, waiting.id))
    assert await parts.db.takes_writes()
    for one in record, waiting:
        assert await counts(parts, one) == {"accepted": 20}
    assert sandbox.push.recorded.counts() == {"total": 40, "addresses": 40, "doubled": 0}


async def test_whoever_stops_it_is_heard(parts: Container, client: Any, redis: Redis, sample: dict[str, Any]):
    """One alert, everything, and one address; each is written down, and said again it is answered the same."""
    await register(parts, 20)
    record, other = await planned(parts, sample), await planned(parts, sample)
    _, token = await parts.access.create(org="default", subject="zoe", scopes=frozenset({"admin", "alerts:write"}))

    async def ask(path: str, body: dict[str, str]) -> int:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": path}
        answer = await client.post(path, json=body, headers=headers)
        return int(answer.status)

    async with full(redis):
        for _ in range(2):
            assert await ask("/v1/stop", {"what": "organisation", "reason": "wrong"}) == 200
            assert await ask(f"/v1/alerts/{record.id}/cancel", {"reason": "wrong"}) == 200
        assert await parts.stop_control.active("default")
        assert await parts.db.execute("HGET", f"{{a:{other.id}}}", "halt")
        [[address]] = await tokens(parts, ["p0"])
        assert await parts.suppression.stop([(CHANNELS.index(Channel.PUSH), address)]) == Done(1, 1)
        person = await parts.registry.get("p0")
        assert {a.state for a in person.addresses if a.value == address} == {AddressState.STOPPED}
        async with working(parts):
            await until(lambda: _is_swept(parts, record.id))
    acts = [(one.act, one.outcome) for one in await parts.audit.page("default", before=None, limit=100)]
    assert acts.count(("stop.set", DONE)) == acts.count(("alert.cancel", DONE)) == 1


async def _is_swept(parts: Container, alert_id: str) -> bool:
    found = (await parts.work.counts(alert_id))["push"]
    return found.get("cancelled") == found["targeted"]


async def test_what_follows_a_refused_command_is_asked_after_it(parts: Container, redis: Redis):
    """Parts of a text message are counted as they are delivered, and forgotten in time; a write that is durable is so."""
    owner, ids = Owner("tag", 2), MessageIds(parts.db)
    async with full(redis):
        assert await ids.whole([(owner, "a")]) == [False]
        assert await ids.whole([(owner, "b")]) == [True]
        (name,) = await parts.db.execute("KEYS", "{n:*}:parts")
        assert await parts.db.execute("PTTL", name) > 0
        first, then, last = await parts.db.execute_many(
            [("SET", "{x}:a", 1), ("GET", "{x}:a"), ("SET", "{y}:a", 2)], durable=True
        )
        assert (bool(first), then, bool(last)) == (True, b"1", True)
