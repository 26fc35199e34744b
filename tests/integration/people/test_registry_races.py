"""Two at once for one subscriber or one address: whatever comes between any two steps, whoever is told has a name, and an
address has one owner.

Races are driven: the first is held before each of its round trips in turn, and the second runs meanwhile; or it dies there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.service.areas.regions import Regions
from alertd.service.people.address_claims import CLAIM_GRACE_S
from alertd.service.people.registry import Registry
from alertd.store.areas.custom_regions import CustomRegions
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.people.subscribers import People
from geofences.regions import Library
from tests.integration.acts import registration
from tests.integration.people.held import Clock, CrashError, Held
from tests.sampling import sampled

pytestmark = pytest.mark.once

Act = Callable[[Registry], Awaitable[Any]]


def put(name: str, *tokens: str) -> Act:
    addresses = [{"channel": "push", "token": token} for token in tokens]
    return lambda registry: registry.put(name, registration(1, addresses=addresses))


#: `p1` has "b" at first, or is not there; "x" is another's.
ACTS: dict[str, Act] = {
    "add": put("p1", "a", "b"),
    "drop": put("p1", "b"),
    "refused": put("p1", "a", "x"),
    "other": put("p2", "a"),
    "forget": lambda registry: registry.forget("p1"),
}
BETWEEN = ["add", "drop", "refused", "other", "forget", "add drop", "forget add", "add drop other", "drop other"]


async def done(act: Act, registry: Registry) -> None:
    with contextlib.suppress(Problem, CrashError):
        await act(registry)


async def all_is_well(people: People) -> None:
    """Everyone is named, and has what the record says alone."""
    found = await people.get_many(range(1, await people.last() + 1))
    persons = [person for person in found if person]
    for person in persons:
        assert await people.names.number_of(person.id) == person.number
        for address in person.addresses:
            holder = await people.names.holder(people.names.address_hash(address.channel, address.value))
            assert holder, (person.id, address.value)
            assert holder.number == person.number, (person.id, address.value)


async def meet(
    redis: Redis,
    codec: Codec,
    library: Library,
    first: str,
    between: str,
    *,
    is_there: bool,
    dies: bool = False,
    slow: bool = True,
) -> None:
    """`first` is held, or dies, before each of its round trips in turn, and all of `between` runs then."""
    for trips in count():
        clock, later = Clock(), Clock()
        later.seconds += 2 * CLAIM_GRACE_S * slow  # so that what the first has claimed is old
        await redis.flushall()
        store = Connection(redis, codec)
        people, held = People(store, clock), Held(redis, codec, trips, dies=dies)
        regions = Regions(library, CustomRegions(store), Path("nowhere"), clock)
        registry = Registry(people, regions, later)
        for act in [put("p9", "x"), *([put("p1", "b")] if is_there else [])]:
            await act(Registry(people, regions, clock))
        running = asyncio.ensure_future(done(ACTS[first], Registry(People(held, clock), regions, clock)))
        reached = asyncio.ensure_future(held.is_there.wait())
        await asyncio.wait([running, reached], return_when=asyncio.FIRST_COMPLETED)
        for name in between.split():
            await done(ACTS[name], registry)
        clock.seconds = later.seconds
        held.may_go.set()
        await running
        await all_is_well(people)
        if not held.is_there.is_set():
            reached.cancel()
            return


def is_one_of_two(_first: str, between: str, is_there: bool, slow: bool) -> bool:
    """One comes between for the same person and one for another, before an old claim and before a new one."""
    return (between, is_there, slow) in {("forget add", True, True), ("drop other", False, False)}


FOUND = [(True, True), (False, True), (False, False)]
MEETINGS = [(first, between, *found) for first, between, found in itertools.product(ACTS, BETWEEN, FOUND)]


@pytest.mark.parametrize(("first", "between", "is_there", "slow"), sampled(MEETINGS, is_one_of_two))
async def test_whatever_comes_between_nobody_is_nameless_and_no_address_has_two(
    redis: Redis, codec: Codec, library: Library, first: str, between: str, is_there: bool, slow: bool
):
    """At any step, even if the first was held so long that its claims are old."""
    await meet(redis, codec, library, first, between, is_there=is_there, slow=slow)


def is_the_same_or_another(_first: str, between: str) -> bool:
    return between in {"other", "forget add"}


DEATHS = itertools.product(ACTS, ["add", "other", "forget", "forget add"])


@pytest.mark.parametrize(("first", "between"), sampled(DEATHS, is_the_same_or_another))
async def test_whoever_dies_halfway_takes_nothing_along(
    redis: Redis, codec: Codec, library: Library, first: str, between: str
):
    """The next who comes, a grace later, finds everything in order."""
    await meet(redis, codec, library, first, between, is_there=True, dies=True)
