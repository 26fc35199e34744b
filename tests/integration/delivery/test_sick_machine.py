"""A process to which a carrier takes nothing while it takes messages of others: it rests alone, and nobody waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alertd.model.states import AlertState
from alertd.rendering.renderer import Renderer
from alertd.runtime.assembly import opened
from alertd.service.carriers.health import LEFT_S, TAKEN_S, CarrierHealth
from alertd.service.container import Container
from alertd.store.carriers.limits import FAILURES, ConnectionShares
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.engine.heartbeats import TAKING_MS, bound, taking
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from geofences.regions import Library
from tests.integration.acts import BEA, counts, register, submitted, working
from tests.integration.conftest import settings_for
from tests.integration.nights import ROOT, person, rota_of
from tests.waiting import until

PEOPLE, ALERTS = 100, 24


class Ticking:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.s = 1_000.0

    def monotonic(self) -> float:
        return self.s


@pytest.fixture
async def sick(
    redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, renderer: Renderer, tmp_path: Path
) -> AsyncIterator[Container]:
    """A process on a machine that does not know who signed the carriers' certificates, or has another date."""
    (tmp_path / "other").mkdir()
    other = Sandbox(tmp_path / "other")
    await other.start()
    settings = settings_for(sandbox)
    push = settings.carriers["fcm"].model_copy(update={"ca_file": other.endpoints["push"]["ca_file"]})
    settings = settings.model_copy(update={"carriers": {**settings.carriers, "fcm": push}})
    async with opened(settings, redis, codec, library=library, renderer=renderer) as made:
        yield made
    await other.stop()


async def test_one_sick_machine_stops_nobody_else(
    parts: Container, sick: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Everybody is told by the others, once; the carrier rests for nobody, and what that machine tried counts as tried."""
    await register(parts, PEOPLE)
    sandbox.push.script.set(Rule("token-", "slow", delay_s=0.1))
    waiting = [(await submitted(parts, sample, channels=["push"])).record.id for _ in range(ALERTS)]
    async with working(parts):
        records = [await parts.approval.approve(waiting[0], BEA)]
        await until(lambda: _is_taking(parts))
        with capture_logs() as logs:
            async with working(sick):
                records += [await parts.approval.approve(alert_id, BEA) for alert_id in waiting[1:]]
                await until(lambda: _are_sent(parts, waiting))
    assert [await counts(parts, record) for record in records] == [{"accepted": PEOPLE}] * ALERTS
    assert sandbox.push.recorded.total == ALERTS * PEOPLE
    assert await parts.limits.open_breakers(["fcm"]) == {"fcm": False}
    assert "carrier.failed_here" in {one["event"] for one in logs}
    assert "carrier.failed" not in {one["event"] for one in logs}


async def _is_taking(parts: Container) -> bool:
    return (await taking(parts.db).find(["fcm"]))["fcm"]


async def _are_sent(parts: Container, alert_ids: Sequence[str]) -> bool:
    return set(await parts.alerts.states(alert_ids)) == {AlertState.SENT}


@pytest.fixture
def health(parts: Container, store: Connection) -> tuple[CarrierHealth, CarrierHealth, Ticking]:
    """Those of two processes, and their clock."""
    clock = Ticking()
    one, two = (
        CarrierHealth(
            carriers=parts.carriers, limits=parts.limits, bound=bound(store), taking=taking(store),
            shares=ConnectionShares(store), clock=clock, metrics=parts.metrics,
        )
        for _ in range(2)
    )  # fmt: skip
    return one, two, clock


async def test_a_carrier_is_left_to_those_whom_it_takes_messages_of(
    parts: Container, health: tuple[CarrierHealth, CarrierHealth, Ticking]
):
    """For a while, and then tried again; meanwhile it takes no work of the channel. Who can send nothing at all tells nobody on call either."""
    well, here, clock = health
    push, *others = parts.carriers.all()
    for one in (push, *others):
        well.took(one)
    await well.beat()
    assert await here.leave(push, FAILURES)
    assert not here.may_use(push)
    assert not here.reaches(push.channel.name)
    assert all(here.reaches(one.channel.name) for one in others)
    assert here.reaches_all(), "by the other channels"
    assert [await here.leave(one, FAILURES) for one in others] == [True] * len(others)
    assert not here.reaches_all()
    assert well.reaches_all()
    clock.s += LEFT_S
    assert here.may_use(push)
    assert here.reaches_all()


async def test_what_was_left_to_others_is_taken_up_when_they_are_gone(
    parts: Container, store: Connection, health: tuple[CarrierHealth, CarrierHealth, Ticking]
):
    """Nobody waits for a process that has no message taken any more."""
    well, here, _ = health
    carrier = parts.carriers.named("fcm")
    well.took(carrier)
    await well.beat()
    assert not await here.leave(carrier, FAILURES - 1), "a few may fail anywhere"
    assert await here.leave(carrier, 1)
    await here.beat()
    assert not here.may_use(carrier)
    await store.execute("DEL", keys.taking("fcm"))  # as the server does by itself
    await here.beat()
    assert here.may_use(carrier)


async def test_a_carrier_that_takes_nothing_of_anybody_is_left_to_nobody(
    parts: Container, health: tuple[CarrierHealth, CarrierHealth, Ticking]
):
    """Nor is one that took a message of this process a moment ago: it fails, and all are to know it."""
    well, here, clock = health
    carrier = parts.carriers.named("fcm")
    assert not await here.leave(carrier, FAILURES)
    here.took(carrier)
    well.took(carrier)
    await well.beat()
    assert not await here.leave(carrier, FAILURES)
    clock.s += TAKEN_S
    assert await here.leave(carrier, FAILURES)


async def test_nobody_takes_their_own_sign_for_anothers(
    store: Connection, health: tuple[CarrierHealth, CarrierHealth, Ticking]
):
    """It is said once for each time that a message was taken, and gone before that is forgotten here."""
    here, _, _ = health
    carrier = here.carriers.named("fcm")
    here.took(carrier)
    await here.beat()
    assert 0 < await store.execute("PTTL", keys.taking("fcm")) <= TAKING_MS < 1000 * TAKEN_S
    await store.execute("DEL", keys.taking("fcm"))
    await here.beat()
    assert not await store.execute("EXISTS", keys.taking("fcm"))


async def test_a_sick_machine_leaves_it_to_another_to_tell_people_on_call(
    parts: Container, sick: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """In a quiet night nothing else shows that it is sick: whoever it was to wake is woken by another within seconds."""
    phones = [[person(name, {"channel": "push", "token": f"token-{name}"})] for name in ("desk", "chief")]
    await register(parts, 20)
    await parts.rota.put(rota_of(*phones), ROOT)
    async with working(sick):
        await until(sick.events.leads)
        async with working(parts):
            with capture_logs() as logs:
                await submitted(parts, sample, channels=["push"])
                await until(lambda: _is_paged(sandbox))
    assert "page.round_failed" in {one["event"] for one in logs}


async def _is_paged(sandbox: Sandbox) -> bool:
    return sandbox.push.recorded.total > 0
