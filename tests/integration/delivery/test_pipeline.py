"""An alert in, the right phones out: the whole way in one process."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import numpy as np
import pytest

from alertd.common.errors import Problem
from alertd.model.alert import Alert
from alertd.model.registration import Registration
from alertd.model.states import AlertState, State
from alertd.runtime.worker import worker_of
from alertd.service.access import Credential
from alertd.service.container import Container
from alertd.service.delivery.planner import Planner
from alertd.service.people.registration_intake import Entry
from alertd.store.people.subscribers import People
from channels.sandbox import Sandbox
from tests.integration.acts import reached, yes

ANA = Credential(key_id="a", org="default", subject="ana@centre.example", scopes=frozenset({"admin"}))
BEA = Credential(key_id="b", org="default", subject="bea@centre.example", scopes=frozenset({"admin"}))
PEOPLE = 300


def registration(i: int, lon: float, lat: float) -> Registration:
    return Registration.model_validate_json(
        json.dumps(
            {
                "languages": ["es", "en"][i % 2 :],
                "kinds": ["missing-child"],
                "places": {"home": {"point": [lon, lat]}},
                "addresses": [
                    {"channel": "push", "token": f"token-{i}"},
                    {"channel": "sms", "number": f"+346{i:08d}"},
                    {"channel": "mail", "mailbox": f"p{i}@people.example"},
                ],
                "consent": {"at": "2026-01-01T00:00:00Z", "source": "app"},
            }
        )
    )


@pytest.fixture
async def people(parts: Container) -> tuple[set[int], set[int]]:
    """Who lives in Sevilla, and who in Cádiz."""
    chance = np.random.default_rng(1)
    spots = [(-5.98, 37.39), (-6.29, 36.53)]
    entries = []
    for i in range(PEOPLE):
        lon, lat = spots[i % 2] + chance.normal(0, 0.002, 2)
        entries.append(Entry(f"p{i}", registration(i, lon, lat)))
    outcomes = await parts.registry.put_many(entries)
    assert not [o for o in outcomes if o is None or isinstance(o, Problem)]
    return set(range(0, PEOPLE, 2)), set(range(1, PEOPLE, 2))


def alert(sample: dict, **changes: object) -> Alert:
    return Alert.model_validate_json(json.dumps({**sample, "target": {"regions": ["41091"]}, **changes}))


@asynccontextmanager
async def working(parts: Container):
    worker = worker_of(parts)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await task


async def until(parts: Container, alert_id: str, state: AlertState) -> None:
    async with asyncio.timeout(60):
        while await parts.alerts.state(alert_id) is not state:  # noqa: ASYNC110  it is in the store: nobody sets an event
            await asyncio.sleep(0.02)


async def test_everyone_inside_and_nobody_else(parts: Container, sandbox: Sandbox, people, sample: dict):
    """Every phone, number and mailbox of Sevilla gets the alert once, and none of Cádiz."""
    inside, _ = people
    taken = await parts.intake.submit(alert(sample), ANA)
    assert len(await reached(parts, taken.record)) == len(inside)
    await parts.approval.approve(taken.record.id, BEA)
    async with working(parts):
        await until(parts, taken.record.id, AlertState.SENT)
    told = {int(address.removeprefix("token-")) for _, _, address, *_ in sandbox.push.recorded}
    assert told == inside
    counts = await parts.work.counts(taken.record.id)
    for channel in ("push", "sms", "mail"):
        assert counts[channel]["targeted"] == counts[channel]["accepted"] == len(inside)
    texts = [record async for _, rows, _ in parts.work.ledger(taken.record.id) for record in rows]
    assert {State(row["state"]) for row in texts} == {State.ACCEPTED}


class PlannerDiedError(Exception):
    """The planner's process is gone."""


class Dying(People):
    """Reads subscribers a given number of times, then dies."""

    reads_left = 0

    async def read_many(self, numbers):
        self.reads_left -= 1
        if self.reads_left < 0:
            raise PlannerDiedError
        return await super().read_many(numbers)


def planner(parts: Container, people: People) -> Planner:
    """One whose chunks are small enough for several."""
    return Planner(parts.alerts, people, parts.work, parts.renderer, parts.clock, chunks=(50, 60))


@pytest.mark.parametrize("reads", [0, 1, 2])
async def test_planner_that_dies_is_followed(parts: Container, people, sample: dict, reads: int):
    """Whatever chunk a planner dies after, the next one goes on from there, and everyone is planned once."""
    inside, _ = people
    taken = await parts.intake.submit(alert(sample), ANA)
    record = await parts.approval.approve(taken.record.id, BEA)
    dying = Dying(parts.db, parts.clock)
    dying.reads_left = reads
    with pytest.raises(PlannerDiedError):
        await planner(parts, dying).plan(record)
    again = await parts.alerts.get(record.id)
    assert again.plan.cursor == (0, 50, 110)[reads]
    follower = planner(parts, parts.people)
    assert await follower.plan(again)
    assert not await follower.plan(record)  # one that slept since the beginning changes nothing
    refs = [ref async for _, _, refs in parts.work.ledger(record.id) for ref in refs]
    assert len(refs) == len(set(refs)) == 3 * len(inside)


async def test_planner_gives_way_and_goes_on(parts: Container, people, sample: dict):
    """Between two chunks it may let another alert go first; then it goes on where it was, and everyone is planned once."""
    inside, _ = people
    taken = await parts.intake.submit(alert(sample), ANA)
    record = await parts.approval.approve(taken.record.id, BEA)
    first = planner(parts, parts.people)
    assert not await first.plan(record, yes)
    again = await parts.alerts.get(record.id)
    assert again.plan.cursor == 50
    assert await first.plan(again)
    refs = [ref async for _, _, refs in parts.work.ledger(record.id) for ref in refs]
    assert len(refs) == len(set(refs)) == 3 * len(inside)
