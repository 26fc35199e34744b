"""What the tests of the engine do again and again: register people, submit and approve an alert, send what is planned."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import shapely
from aiohttp import web

from alertd.api.application import create_app
from alertd.common.errors import Problem
from alertd.model.alert import Alert
from alertd.model.case import PhotoFacts
from alertd.model.registration import Registration
from alertd.model.states import State
from alertd.runtime.worker import worker_of
from alertd.service.access import Credential
from alertd.service.alerts.follow_up import Followed
from alertd.service.alerts.intake import Taken
from alertd.service.container import Container
from alertd.service.delivery.explanations import Explanation
from alertd.service.people.registration_intake import Entry
from alertd.store.alerts.records import AlertRecord, numbers_of
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import Lease
from alertd.store.engine.connection import Connection
from alertd.store.engine.scripts import LEASE_MS
from alertd.store.organisations.operators import OperatorStore, StoredOperator
from alertd.store.people.audience import Matches
from channels.sandbox import Sandbox
from tests.pictures import drawn, written

SEVILLA = (-5.98, 37.39)
CADIZ = (-6.29, 36.53)
ALL = ("push", "sms", "mail")
EVERYTHING = frozenset({"admin"})
ANA = Credential(key_id="a", org="default", subject="ana@centre.example", scopes=EVERYTHING)
BEA = Credential(key_id="b", org="default", subject="bea@centre.example", scopes=EVERYTHING)
CARL = Credential(key_id="c", org="default", subject="carl@centre.example", scopes=EVERYTHING)


def registration(i: int, **changes: Any) -> Registration:
    """Person i, at home in Sevilla, with one address on each channel."""
    document = {
        "languages": ["es"],
        "kinds": ["missing-child"],
        "places": {"home": {"point": [SEVILLA[0] + i * 1e-5, SEVILLA[1]]}},
        "addresses": [
            {"channel": "push", "token": f"token-{i}"},
            {"channel": "sms", "number": f"+346{i:08d}"},
            {"channel": "mail", "mailbox": f"p{i}@people.example"},
        ],
        "consent": {"at": "2026-01-01T00:00:00Z", "source": "app"},
        **changes,
    }
    return Registration.model_validate_json(json.dumps(document))


def started_before(record: AlertRecord, ms: int) -> AlertRecord:
    """The version as if it had been approved so much earlier."""
    return replace(record, times=replace(record.times, start=record.times.start - ms))


async def register(parts: Container, count: int, *, first: int = 0, **changes: Any) -> None:
    """`count` people, from person `first` on."""
    entries = [Entry(f"p{i}", registration(i, **changes)) for i in range(first, first + count)]
    outcomes = await parts.registry.put_many(entries)
    assert not [outcome for outcome in outcomes if outcome is None or isinstance(outcome, Problem)]


def alert_of(sample: dict[str, Any], **changes: Any) -> Alert:
    """The sample alert for the city of Sevilla, by push alone, under no external id: many may be under way at once."""
    document = {**sample, "external_id": None, "target": {"regions": ["41091"]}, "channels": ["push"], **changes}
    return Alert.model_validate_json(json.dumps(document))


async def submitted(parts: Container, sample: dict[str, Any], **changes: Any) -> Taken:
    """Submitted by Ana."""
    return await parts.intake.submit(alert_of(sample, **changes), ANA)


async def reached(parts: Container, record: AlertRecord) -> Matches:
    """Exactly the people whom an approval of this alert would freeze now; everybody is shown an estimate of them."""
    area = await parts.alerts.area(record.id)
    return await parts.targeting.people(area, record.alert, numbers_of(record.target.regions))


def is_about(estimate: float, people: int) -> bool:
    """Whether an estimate is of so many people. Each leaf of the map has noise, and what a lonely place has beyond its leaves, up to
    90 people, counts in a leaf around it.
    """
    return abs(estimate - people) < 100


APPROVER = StoredOperator(id=BEA.key_id, org="default", subject=BEA.subject, name="Bea", roles=("approver",), made=1)


async def employ(parts: Container) -> None:
    """Bea is somebody who may approve, as is asked again when what she approved is to start."""
    assert await OperatorStore(parts.db).add(APPROVER)


async def draw(parts: Container, centre: tuple[float, float]) -> None:
    """The region X-PATROL is a patrol area around this point from now on."""
    shape = shapely.geometry.mapping(shapely.Point(centre).buffer(0.05))
    await parts.regions.draw("X-PATROL", "Patrol", {}, await parts.regions.outline(shape), org="default", seen=None)


async def planned(parts: Container, sample: dict[str, Any], **changes: Any) -> AlertRecord:
    """Submitted by Ana, approved by Bea, planned."""
    taken = await submitted(parts, sample, **changes)
    record = await parts.approval.approve(taken.record.id, BEA)
    assert await worker_of(parts).plans.planner.plan(record)
    return record


async def lease_of(
    work: Work, chain: str, channel: str, hold: bytes = b"", held: Collection[Lease] = ()
) -> Lease | None:
    """Work of one channel of one chain, or None."""
    (lease,) = await work.leases([chain], channel, hold, held)
    return _raised(lease)


async def finish(work: Work, alert_id: str) -> str:
    """What is left to do of one version."""
    (word,) = await work.finish_each([alert_id])
    return _raised(word)


def _raised(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


async def send(parts: Container, record: AlertRecord, channel: str = "push") -> int:
    """Drain every lease there is now. Answers how many there were."""
    dispatch, leases = worker_of(parts).feeder.dispatch, 0
    while lease := await lease_of(parts.work, record.id, channel, parts.carriers.held(channel)):
        await dispatch.drain(lease, lambda: False)
        leases += 1
    return leases


@asynccontextmanager
async def working(*processes: Container) -> AsyncIterator[None]:
    """Their workers, until the end."""
    workers = [worker_of(parts) for parts in processes]
    async with asyncio.TaskGroup() as tasks:
        for worker in workers:
            tasks.create_task(worker.run())
        yield
        for worker in workers:
            worker.stop()


async def silence(store: Connection, chain: str) -> None:
    """As long as a lease lasts nothing is heard of whoever holds one, while others are."""
    for _ in range(4):
        store.skew_ms += LEASE_MS // 3
        await finish(Work(store), chain)


async def counts(parts: Container, record: AlertRecord, channel: str = "push") -> dict[str, int]:
    """References of one channel by state, without those that are none; the identity is checked on the way."""
    found = (await parts.work.counts(record.id))[channel]
    assert found["targeted"] == sum(found.get(state.word, 0) for state in State)
    recounted = [State(row["state"]).word async for _, rows, _ in parts.work.ledger(record.id) for row in rows]
    everywhere = await parts.work.counts(record.id)
    assert len(recounted) == sum(by_state["targeted"] for by_state in everywhere.values())
    return {word: count for word, count in found.items() if count and word != "targeted"}


async def over(parts: Container, record: AlertRecord) -> bool:
    """Whether the alert has ended."""
    answer = await finish(parts.work, record.id)
    for batch in range(record.plan.batches if answer == "sweep" else 0):
        await parts.work.sweep(record.id, batch, 1)
    return await finish(parts.work, record.id) == "done"


async def sent(parts: Container, sample: dict[str, Any], people: int = 20, **changes: Any) -> AlertRecord:
    """An alert that everyone was told on all channels, and is over."""
    await register(parts, people)
    record = await planned(parts, sample, **{"channels": list(ALL), **changes})
    for channel in record_channels(changes):
        await send(parts, record, channel)
    assert await over(parts, record)
    return await parts.alerts.get(record.id)


def record_channels(changes: dict[str, Any]) -> tuple[str, ...]:
    return tuple(changes.get("channels", ALL))


async def tell(parts: Container, followed: Followed, channels: tuple[str, ...] = ALL) -> dict[str, dict[str, int]]:
    """Plans and sends the version that tells of a step; answers its counts."""
    assert followed.told_by is not None
    notice = await parts.alerts.get(followed.told_by)
    assert await worker_of(parts).plans.planner.plan(notice)
    chain = replace(notice, id=followed.record.id)
    for channel in channels:
        await send(parts, chain, channel)
    found = await parts.work.counts(notice.id)
    return {channel: {word: n for word, n in by_state.items() if n} for channel, by_state in found.items()}


async def yes() -> bool:
    return True


def api_of(parts: Container) -> web.Application:
    """Its API: ready, and taking writes."""
    return create_app(parts)


async def tokens(parts: Container, names: Sequence[str]) -> list[list[str]]:
    """The push tokens of subscribers."""
    people = [await parts.registry.get(name) for name in names]
    return [[a.value for a in person.addresses if a.channel == 0] for person in people]


async def photo(parts: Container, who: Credential = ANA) -> str:
    """A photo that Ana, or somebody else, hands in."""
    facts = PhotoFacts(source="the mother", taken="2026-08", rights="consent of both parents", alt={"es": "Lucía"})
    return (await parts.photos.take(written(drawn()), facts, who, place="/photo")).id


async def slug(call: Any) -> str:
    """Of the problem that a call raises."""
    with pytest.raises(Problem) as refusal:
        await call
    return refusal.value.slug


async def explained(parts: Container, name: str, record: AlertRecord) -> Explanation:
    return await parts.explanations.explain(await parts.registry.get(name), await parts.alerts.get(record.id))


def told(sandbox: Sandbox) -> list[int]:
    """Whom pushes went to, by the number in their token."""
    return sorted(int(address.removeprefix("token-")) for _, _, address, *_ in sandbox.push.recorded)


def texted(sandbox: Sandbox) -> list[str]:
    return sorted(address for _, _, address, *_ in sandbox.sms.recorded)
