"""After a silence a carrier gets what is not loud little by little, however many workers there are; what is loud at once."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.model.states import AlertState
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.carriers.carriers import Carrier
from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from alertd.store.carriers.limits import RAMP_FLOOR, Limits
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import (
    ANA,
    BEA,
    CADIZ,
    SEVILLA,
    alert_of,
    api_of,
    counts,
    is_about,
    lease_of,
    planned,
    register,
    submitted,
    working,
)
from tests.integration.conftest import settings_for
from tests.waiting import until

HOUR_MS = 3_600_000
RATE, RAMP_S = 1_000.0, 60.0
RING = {"center": list(SEVILLA), "radius_km": 20}


@pytest.fixture
def limits(store: Connection) -> Limits:
    store.skew_ms = HOUR_MS
    return Limits(store)


class Greedy:
    """Asks for as much as there is, in blocks of a hundred, by several workers in turn; its time is the store's."""

    def __init__(self, store: Connection, workers: int = 1) -> None:
        self.store, self.got = store, 0
        self.crew = [Limits(store) for _ in range(workers)]
        self.began = self.now()

    def now(self) -> float:
        return time.monotonic() + self.store.skew_ms / 1000

    async def until(self, seconds: float, *, rate: float = RATE, ramp_s: float = RAMP_S, cost: int = 1) -> int:
        """All it got from the start until so many seconds later."""
        while (left := self.began + seconds - self.now()) > 0:
            waits = []
            for worker in self.crew:
                block = await worker.take("c", rate, rate, 100 * cost, cost, loud=False, ramp_s=ramp_s)
                self.got += block.granted
                waits.append(0 if block.granted else block.wait_s)
            self.store.skew_ms += int(1000 * min(left, max(0.05, min(waits)))) + 1
        return self.got


def ramped(seconds: float) -> float:
    """What a ramp from a hundredth of RATE has given by then, and after it the whole rate."""
    on_it = min(seconds, RAMP_S)
    floor = RATE * RAMP_FLOOR
    return floor * on_it + (RATE - floor) * on_it**2 / (2 * RAMP_S) + RATE * (seconds - on_it)


@pytest.mark.parametrize("workers", [1, 3])
async def test_the_rate_grows_in_a_line_and_is_shared(store: Connection, limits: Limits, workers: int):
    """A tenth of the way, half of it, all of it, and on: what was given is the line's, with no burst at its end."""
    greedy = Greedy(store, workers)
    for seconds in (6, 30, 60, 90):
        got, told = await greedy.until(seconds), ramped(greedy.now() - greedy.began)
        second = RATE * min(1, seconds / RAMP_S)  # of it, which a machine that is busy elsewhere may miss
        assert 0.9 * told - second - 20 <= got <= 1.05 * told + second + 20, seconds


async def test_what_is_loud_never_waits_for_it(store: Connection, limits: Limits):
    """In its first second the rest has a hundredth, and what is loud has all that the carrier takes."""
    assert (await limits.take("c", RATE, RATE, 1_000, loud=False, ramp_s=RAMP_S)).granted == 10
    block = await limits.take("c", RATE, RATE, 1_000, loud=False, ramp_s=RAMP_S)
    assert block.granted == 0
    assert 0 < block.wait_s <= 0.1
    assert (await limits.take("c", RATE, RATE, 990, loud=True, ramp_s=RAMP_S)).granted == 990


async def test_it_begins_anew_after_as_long_a_silence(store: Connection, limits: Limits):
    """Half a minute later it goes on where it would be by then; after a whole one, and after a pause as long, from the start."""
    await Greedy(store).until(20)
    store.skew_ms += 35_000
    assert (await limits.take("c", RATE, RATE, 1_000, loud=False, ramp_s=RAMP_S)).granted > 800
    store.skew_ms += 61_000
    assert (await limits.take("c", RATE, RATE, 1_000, loud=False, ramp_s=RAMP_S)).granted == 10
    await Greedy(store).until(50)
    await limits.pause("c", 60)
    store.skew_ms += 30_000
    assert (await limits.take("c", RATE, RATE, 1_000, loud=False, ramp_s=RAMP_S)).granted == 0
    store.skew_ms += 31_000
    assert (await limits.take("c", RATE, RATE, 1_000, loud=False, ramp_s=RAMP_S)).granted == 10


async def test_a_clock_set_back_does_not_begin_it_anew(store: Connection, limits: Limits):
    """After a step of an hour back it goes on from the rate it had."""
    greedy = Greedy(store)
    await greedy.until(30)
    store.skew_ms -= HOUR_MS
    again = Greedy(store)
    assert await again.until(10) >= 0.9 * (ramped(40) - ramped(30)) - RATE


@pytest.mark.parametrize(("rate", "ramp_s", "cost"), [(0.05, 60, 1), (2, 60, 1), (2, 1, 8), (10, 2, 30), (0.5, 3, 4)])
async def test_a_slow_carrier_is_never_stuck_on_it(
    store: Connection, limits: Limits, rate: float, ramp_s: float, cost: int
):
    """Even where one message takes longer than the ramp: in the end it is at its rate."""
    seconds = ramp_s + 40 * cost / rate
    got = await Greedy(store).until(seconds, rate=rate, ramp_s=ramp_s, cost=cost)
    assert got >= 30 * cost


async def test_permits_given_back_make_it_no_steeper(store: Connection, limits: Limits):
    """Somebody who gives back all he takes gets no more than the line in the end."""
    for _ in range(100):
        granted = (await limits.take("c", RATE, RATE, 10, loud=False, ramp_s=RAMP_S)).granted
        await limits.give_back("c", RATE, granted, loud=False)
    assert (await limits.take("c", RATE, RATE, 1_000, loud=False, ramp_s=RAMP_S)).granted <= 10


@pytest.mark.parametrize("permits", [1, 90, 9_000, 100_000, 272_700, 1_000_000])
def test_the_time_foretold_is_the_line_s(permits: int):
    """By the formula both ways; without a ramp, and for what is loud, by the rate alone."""
    carrier = Carrier(name="c", number=1, channel=None, rate=RATE, ramp_s=RAMP_S)
    assert ramped(carrier.seconds_for(permits, loud=False)) == pytest.approx(permits)
    assert carrier.seconds_for(permits, loud=True) == permits / RATE
    slow = Carrier(name="c", number=1, channel=None, rate=0.5, ramp_s=RAMP_S)
    assert slow.seconds_for(permits, loud=False) == pytest.approx(permits / 0.5)


@asynccontextmanager
async def process(
    redis: Redis, codec: Codec, sandbox: Sandbox, *, lanes: int = 8, **push: Any
) -> AsyncIterator[Container]:
    """One whose push carrier ramps up."""
    settings = settings_for(sandbox)
    changed = settings.carriers["fcm"].model_copy(update={"ramp_s": 60.0, **push})
    worker = settings.worker.model_copy(update={"lanes": lanes})
    update = {"carriers": {**settings.carriers, "fcm": changed}, "worker": worker}
    async with opened(settings.model_copy(update=update), redis, codec) as parts:
        yield parts


def in_a_ramp(pushes: int) -> float:
    """The seconds t for so many pushes: in t seconds, 10 t + 8.25 t^2 of them go out."""
    return (math.sqrt(100 + 33 * pushes) - 10) / 16.5


def loud(pushes: int) -> float:
    return pushes / RATE


def paced(pushes: int) -> float:
    return 60 * pushes / 62


@pytest.mark.parametrize(
    ("changes", "seconds_for"),
    [
        ({"level": "endangered"}, in_a_ramp),
        ({"level": "child-alert"}, loud),
        ({"level": "endangered", "target": {"rings": [{**RING, "loudness": "loud"}]}}, loud),
        ({"level": "child-alert", "target": {"rings": [{**RING, "loudness": "normal"}]}}, in_a_ramp),
        (
            {"level": "child-alert", "target": {"rings": [{**RING, "loudness": "silent"}], "regions": ["ES-SE"]}},
            in_a_ramp,
        ),
        ({"level": "child-alert", "policy": {"pace_per_min": 62}}, paced),
        (
            {
                "level": "child-alert",
                "policy": {"pace_per_min": 6_200},
                "target": {"rings": [{**RING, "pace_per_min": 62}]},
            },
            paced,
        ),
    ],
)
async def test_a_submission_foretells_it(
    redis: Redis,
    codec: Codec,
    sandbox: Sandbox,
    sample: dict,
    aiohttp_client: Any,
    changes: dict,
    seconds_for: Callable[[int], float],
):
    """The seconds for the estimated pushes count the ramp, unless all are loud, and a pace that is slower."""
    async with process(redis, codec, sandbox, rate=RATE) as parts:
        await register(parts, 217, places={"home": {"point": SEVILLA}})
        client = await aiohttp_client(api_of(parts))
        _, key = await parts.access.create(
            org="default", subject="ana@centre.example", scopes=frozenset({"alerts:write"}), maker=ANA
        )
        document = alert_of(sample, **changes).model_dump(mode="json", by_alias=True)
        answer = await client.post("/v1/alerts?dry_run=true", json=document, headers={"Authorization": f"Bearer {key}"})
        shown = await answer.json()
        pushes = shown["audience"]["addresses"]["push"]
        assert is_about(pushes, 217)
        assert shown["eta"] == {"push": pytest.approx(seconds_for(pushes), rel=0.01)}


async def test_what_the_gate_refuses_costs_no_permits(redis: Redis, codec: Codec, sandbox: Sandbox, sample: dict):
    """A cancelled alert leaves the carrier's whole second to the next one."""
    async with process(redis, codec, sandbox, rate=1.0, burst=100.0, ramp_s=0.0) as parts:
        await register(parts, 60)
        record = await planned(parts, sample)
        lease = await lease_of(parts.work, record.id, "push")
        await parts.alerts.step(record.id, AlertState.CANCELLED)
        await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
        assert (await parts.limits.take("fcm", 1.0, 100.0, 100)).granted == 100
    assert sandbox.push.recorded.total == 0


async def test_two_workers_ramp_up_as_one_and_lose_nobody(redis: Redis, codec: Codec, sandbox: Sandbox, sample: dict):
    """An appeal goes out on the line; a child alert in the middle of it is told to all at once; both end, nobody is told twice."""
    async with process(redis, codec, sandbox, rate=200.0) as one, process(redis, codec, sandbox, rate=200.0) as two:
        await register(one, 60)
        quiet, began = await planned(one, sample, level="appeal"), one.clock.monotonic()
        async with working(one, two):
            await until(lambda: _has(one, quiet, "accepted"))
            loud = await one.approval.approve((await submitted(one, sample, level="child-alert")).record.id, BEA)
            await until(lambda: _is_sent(one, loud))
            assert await counts(one, loud) == {"accepted": 60}
            assert (await counts(one, quiet))["accepted"] < 60
            await until(lambda: _is_sent(one, quiet))
        assert one.clock.monotonic() - began >= 5  # 2 + 2 t + 1.65 t^2 = 60
        assert await counts(one, quiet) == {"accepted": 60}
    assert sandbox.push.recorded.counts() == {"total": 120, "addresses": 120, "doubled": 0}


async def test_lanes_that_wait_for_it_are_given_up_to_what_is_loud(
    redis: Redis, codec: Codec, sandbox: Sandbox, sample: dict
):
    """An appeal on its ramp holds two of three lanes; a child alert elsewhere soon has all three under way, and both end."""
    sandbox.push.script.set(*(Rule(f"token-{n}", "slow", delay_s=8) for n in range(1000, 1075)))
    async with process(redis, codec, sandbox, lanes=3, rate=1_000.0, ramp_s=600.0) as parts:
        for n, language in enumerate(("es", "en", "fr")):  # a batch each
            await register(parts, 25, first=25 * n, languages=[language])
            home = {"places": {"home": {"point": CADIZ}}, "languages": [language]}
            await register(parts, 25, first=1000 + 25 * n, **home)
        quiet = await planned(parts, sample, level="appeal")
        async with working(parts):
            await until(lambda: _has(parts, quiet, "accepted"))
            circle = {"circles": [{"center": CADIZ, "radius_km": 5}]}
            taken = await submitted(parts, sample, level="child-alert", target=circle)
            loud = await parts.approval.approve(taken.record.id, BEA)
            await until(lambda: _has(parts, loud, "in_flight", more_than=50))
            for record in (loud, quiet):
                await until(lambda record=record: _is_sent(parts, record))
    assert sandbox.push.recorded.counts() == {"total": 150, "addresses": 150, "doubled": 0}


async def _has(parts: Container, record: AlertRecord, state: str, more_than: int = 0) -> bool:
    return (await parts.work.counts(record.id)).get("push", {}).get(state, 0) > more_than


async def _is_sent(parts: Container, record: AlertRecord) -> bool:
    return await parts.alerts.state(record.id) is AlertState.SENT
