"""The keys that name people and cases rotate while processes look them up: each process finds them before, amid and after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.model.states import CHANNELS
from alertd.service.people.registration_intake import Entry
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec, Keys
from alertd.store.engine.connection import Connection, StoreRefusedError
from alertd.store.master_key.resealing import Resealing
from alertd.store.master_key.schema import load_cell_key
from alertd.store.master_key.state import Phase
from geofences.regions import Library
from tests.integration.acts import (
    ANA,
    alert_of,
    register,
    registration,
    submitted,
)
from tests.integration.organisations.rotations import (
    Process,
    external_ids,
    names,
    rotated,
    rounds,
)


async def test_people_are_found_by_new_names_and_the_old_ones_are_gone(process: Process, redis: Redis):
    """A thief who had the hashing key can try numbers against the new store for ever: no name in it follows from that key alone."""
    async with process() as api, process() as worker:
        await register(api, 20)
        people = api.people
        hashed = [people.names.address_hash(CHANNELS.index("sms"), f"+346{i:08d}") for i in range(20)]
        await people.suppressions.put(hashed[3:5], 1_700_000_000)
        await people.called_dead.note(hashed[:1], 1_700_000_000)
        before = await names(redis)
        for turn in (1, 2):
            await rotated(api, worker)
            now = await names(redis)
            assert len(now) == len(before)
            assert {name.partition(".")[0][3:] for name in now} == {str(turn)}
            assert not set(now) & set(before)
            for one in (api, worker):
                assert [await one.people.names.number_of(f"p{i}") for i in range(20)] == list(range(1, 21))
                assert [claim.number for claim in await one.people.names.holders(hashed)] == list(range(1, 21))
                assert await one.people.suppressions.since(hashed[2:6]) == [None, 1_700_000_000, 1_700_000_000, None]
            assert await people.called_dead.note(hashed[:1], 1_800_000_000) == [1_700_000_000]
        [dead] = [name for name in await names(redis) if name.endswith(":dead")]
        assert await redis.ttl(dead) > 0
    async with process() as fresh:
        assert await fresh.people.names.number_of("p7") == 8
        [taken] = await fresh.registry.put_many([Entry("another", registration(7))])
        assert isinstance(taken, Problem)
        await fresh.registry.forget("p7")
        assert await fresh.people.names.number_of("p7") is None


async def test_a_case_that_is_sent_again_is_the_same_before_amid_and_after_rotations(
    process: Process, redis: Redis, sample: dict[str, Any]
):
    """Its external id has a new name in the store, which the hashing key does not show, and lasts as long as the alert."""
    async with process() as api, process() as worker:
        alert = await submitted(api, sample, external_id="case-2026-1")
        again = alert_of(sample, external_id="case-2026-1")
        [old] = await external_ids(redis)
        lasts = await redis.pexpiretime(old)
        await api.key_rotation.start()
        for phase in (Phase.JOINING, Phase.NAMING, Phase.FINISHING, Phase.DONE):
            await rounds(api, worker, until=phase)
            for one in (api, worker):
                assert (await one.intake.submit(again, ANA)).is_repeat
                await one.alerts.external_ids.keep(alert.record)
            [now] = await external_ids(redis)
            assert (now == old) == (phase in {Phase.JOINING, Phase.NAMING})
            assert await redis.pexpiretime(now) == lasts
        await rotated(api, worker)
        [last] = await external_ids(redis)
        assert last not in {old, now}
        assert (await worker.intake.submit(again, ANA)).is_repeat


async def test_an_external_id_that_is_taken_amid_a_rotation_is_found_by_every_process(
    process: Process, redis: Redis, sample: dict[str, Any]
):
    """Under its new name, as soon as processes make new names."""
    async with process() as api, process() as worker:
        await api.key_rotation.start()
        await rounds(api, worker, until=Phase.NAMING)
        await submitted(api, sample, external_id="x")
        [name] = await external_ids(redis)
        assert name.startswith("{e:1.")
        assert (await worker.intake.submit(alert_of(sample, external_id="x"), ANA)).is_repeat


@pytest.mark.parametrize("walked", [False, True])
async def test_processes_that_prefer_other_names_see_the_same(
    process: Process, redis: Redis, library: Library, directory: Path, walked: bool
):
    """For a second one process makes new names and another old ones: no address is given twice, and no opt-out is missed."""
    async with process() as api:
        await register(api, 4)
        await api.key_rotation.start()
        await rounds(api, until=Phase.NAMING)
        assert api.db.codec.names.prefers_new
        codec = Codec(Keys.load(directory))
        codec.use(api.db.codec.check_value)
        codec.names = replace(api.db.codec.names, prefers_new=False)
        await load_cell_key(Connection(redis, codec))
        behind = replace(api, db=Connection(redis, codec), library=library, key_watch=None)
        hashed = [api.people.names.address_hash(CHANNELS.index("sms"), f"+346{i:08d}") for i in range(12)]
        if walked:
            walk = Resealing(api.db)
            place, _ = await walk.begin()
            while not place.is_end:
                place, _ = await walk.page(place, b"")
        for first, second, i in ((api, behind, 4), (behind, api, 5)):
            await register(first, 1, first=i)
            [refused] = await second.registry.put_many([Entry(f"thief-{i}", registration(i))])
            assert isinstance(refused, Problem)
            assert await second.people.names.number_of(f"p{i}") is not None
            assert await first.people.suppressions.put(hashed[i : i + 1], 1) == 1
            assert await second.people.suppressions.put(hashed[i : i + 1], 2) == 0
            assert await second.people.suppressions.since(hashed[i : i + 1]) == [1]
            assert await second.people.suppressions.drop(hashed[i : i + 1]) == 1
            assert await first.people.suppressions.since(hashed[i : i + 1]) == [None]
        await behind.registry.forget("p0")
        await api.registry.forget("p1")
        for one in (api, behind):
            assert [await one.people.names.number_of(f"p{i}") for i in (0, 1, 2)] == [None, None, 3]
        await rounds(api)
        assert {name.partition(".")[0][3:] for name in await names(redis)} == {"1"}
        assert [await api.people.names.number_of(f"p{i}") is not None for i in range(6)] == [
            False,
            False,
            *[True] * 4,
        ]


async def test_what_a_process_writes_that_was_taken_for_dead_does_not_replace_what_others_wrote(
    process: Process, redis: Redis
):
    """It slept through the rotation, and claims an address under its old name."""
    async with process() as api:
        await api.key_rotation.start()
        await rounds(api, until=Phase.NAMING)
        await register(api, 1)
        hashed = api.people.names.address_hash(CHANNELS.index("sms"), "+34600000000")
        await redis.set(keys.address(hashed), b"sleeper")
        await rounds(api)
        assert (await api.people.names.holder(hashed)).number == 1
        assert len(await redis.keys("{h:*")) == 3


async def test_a_process_without_a_name_key_does_not_start(process: Process, redis: Redis):
    """It would find nobody, and give every address twice."""
    async with process() as api:
        await register(api, 1)
        await rotated(api)
        await redis.hdel(keys.SECRETS, "names 1")
    with pytest.raises(StoreRefusedError, match="name key"):
        async with process():
            pass
