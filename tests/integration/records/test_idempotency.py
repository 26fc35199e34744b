"""A request that failed because the store was away can be sent again at once, and one that was done is not done twice."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from redis.asyncio import Redis

from alertd.api.http.idempotency import OWED_S, Done, Fresh, KeptKeys, Mismatch, Running
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.records.idempotency import Requests
from tests.clocks import Later

Away = Callable[[], AbstractAsyncContextManager[None]]
ASKED = ("key", "once", b"digest")


@pytest.fixture
def kept(store: Connection) -> KeptKeys:
    return KeptKeys(Requests(store), Later())


@pytest.fixture
def away(redis: Redis) -> Away:
    """The store refuses writes, as one does whose replicas are gone."""

    @asynccontextmanager
    async def refusing() -> AsyncIterator[None]:
        await redis.config_set("min-replicas-to-write", 1)
        try:
            yield
        finally:
            await redis.config_set("min-replicas-to-write", 0)

    return refusing


async def test_what_failed_is_free_as_soon_as_the_store_is_back(kept: KeptKeys, away: Away):
    """Whoever pressed while it was away, and presses again, does not hear for a minute that the first press is under way."""
    first = await kept.begin(*ASKED)
    async with away():
        with pytest.raises(StoreUnavailableError):
            await kept.release("key", "once", forget=False)
        with pytest.raises(StoreUnavailableError):
            await kept.begin(*ASKED)
    assert await kept.begin(*ASKED) == first
    assert isinstance(await kept.begin(*ASKED), Running)


async def test_what_was_done_is_known_to_be_done(kept: KeptKeys, away: Away):
    """Though the store could not note it then."""
    first = await kept.begin(*ASKED)
    assert isinstance(first, Fresh)
    async with away():
        with pytest.raises(StoreUnavailableError):
            await kept.finish("key", "once", first.id, 202)
    assert await kept.begin(*ASKED) == Done(first.id, 202)


async def test_a_claim_that_may_be_another_s_by_now_is_let_be(store: Connection, away: Away):
    """It ended by itself, and another process has it."""
    kept = KeptKeys(Requests(store), clock := Later())
    await kept.begin(*ASKED)
    async with away():
        with pytest.raises(StoreUnavailableError):
            await kept.release("key", "once", forget=True)
    clock.pass_by(OWED_S)
    assert isinstance(await kept.begin(*ASKED), Running)


async def test_a_copy_of_the_store_does_not_confirm_a_guessed_request(store: Connection, redis: Redis):
    """A thief tries every phone number of a country: each guess of a body gives a digest to compare with what is stored."""
    body = b'{"addresses":[{"channel":"sms","number":"+34600123456"}]}'
    guessed = hashlib.sha256(b"PUT /v1/subscribers/ana\n" + body)
    await KeptKeys(Requests(store), Later()).begin("key", "+34600123456", guessed.digest())
    [name] = await redis.keys("{p:*")
    stored = [name, *(await redis.hgetall(name)).values()]
    guesses = [guessed, hashlib.sha256(b"+34600123456")]
    for value in stored:
        assert not [one for one in guesses if one.digest() in value or one.hexdigest().encode() in value]


async def test_another_request_under_the_same_key_is_refused(kept: KeptKeys):
    """The HMAC of the digest still tells two requests apart."""
    await kept.begin(*ASKED)
    assert isinstance(await kept.begin("key", "once", b"another digest"), Mismatch)
