"""Several carriers of one channel: each has its share, a broken one rests while the others do its work, and takes it up again."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.config.carriers import FcmCarrier
from alertd.config.settings import Settings
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.carriers.health import ChunkReport
from alertd.service.carriers.refusals import IN_A_ROW
from alertd.service.carriers.retries import Signs
from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from alertd.store.carriers.limits import FAILURES, LONGEST_REST_MS, PROBE_MS, SHORTEST_REST_MS
from alertd.store.carriers.numbers import CarrierNumbers
from alertd.store.delivery.work import Work
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection, StoreUnavailableError
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from geofences.regions import Library
from tests.integration.acts import counts, lease_of, planned, register, send
from tests.sampling import sampled

PEOPLE = 400


@pytest.fixture
async def second(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """The carriers of another provider."""
    (tmp_path / "second").mkdir()
    carriers = Sandbox(tmp_path / "second")
    await carriers.start()
    yield carriers
    await carriers.stop()


def push_of(sandbox: Sandbox, weight: float) -> FcmCarrier:
    push = sandbox.endpoints["push"]
    return FcmCarrier(
        kind="fcm", credentials=push["credentials"], endpoint=push["endpoint"], ca_file=push["ca_file"], rate=0,
        ramp_s=0, weight=weight,
    )  # fmt: skip


@pytest.fixture
async def parts(
    redis: Redis,
    codec: Codec,
    sandbox: Sandbox,
    second: Sandbox,
    library: Library,
    renderer: Renderer,
    weights: tuple[float, float],
) -> AsyncIterator[Container]:
    """Everything a process has, with two carriers of push."""
    settings = Settings(carriers={"one": push_of(sandbox, weights[0]), "two": push_of(second, weights[1])})
    async with opened(settings, redis, codec, library=library, renderer=renderer) as made:
        yield made


async def told(parts: Container, record: AlertRecord) -> Counter[str]:
    """Who was told by which carrier, by the ledger."""
    names = await CarrierNumbers(parts.db).names()
    return Counter([names[row["carrier"]] async for _, rows, _ in parts.work.ledger(record.id) for row in rows])


async def breakers(parts: Container) -> dict[str, bool]:
    return await parts.limits.open_breakers(["one", "two"])


async def breaks(parts: Container, carrier: str) -> None:
    """It fails again and again, until it rests for as long as one may."""
    while (rest_s := await parts.limits.failed(carrier, FAILURES)) < LONGEST_REST_MS / 1000:
        parts.db.skew_ms += int(1000 * rest_s) + 1


@pytest.mark.parametrize("weights", [(3, 1)])
async def test_each_has_its_share(parts: Container, sandbox: Sandbox, second: Sandbox, sample: dict[str, Any]):
    """Both carriers get chunks, and each person is notified once, by one of them. The carrier of a chunk is drawn at random, so alerts follow
    one another until each has had one (less than one in 100,000 runs draws the same carrier every time).
    """
    await register(parts, PEOPLE)
    shares = Counter[str]()
    rounds = 0
    while len(shares) < 2 and rounds < 40:
        rounds += 1
        record = await planned(parts, sample)
        await send(parts, record)
        assert await counts(parts, record) == {"accepted": PEOPLE}
        shares += await told(parts, record)
    assert shares == {"one": sandbox.push.recorded.total, "two": second.push.recorded.total}
    assert sandbox.push.recorded.total + second.push.recorded.total == rounds * PEOPLE


@pytest.mark.parametrize(
    ("how", "weights"),
    sampled(
        itertools.product(["unavailable", "unregistered", "sender-mismatch", "unexplained"], [(3, 1), (1, 0)]),
        lambda how, weights: (how in {"unavailable", "sender-mismatch"}) == (weights == (3, 1)),
    ),
)
async def test_one_carries_on_where_another_breaks(
    parts: Container, sandbox: Sandbox, second: Sandbox, sample: dict[str, Any], weights: tuple[float, float], how: str
):
    """What a broken carrier did not take is taken by the other within ten seconds, and nobody is told twice. One that calls
    everybody's address dead takes no more along than are believed in a row, before it is known; one that is set up for another project takes nobody.
    """
    await register(parts, PEOPLE)
    sandbox.push.script.set(Rule("token-", how))
    record = await planned(parts, sample)
    for _ in range(5):
        await send(parts, record)
        parts.db.skew_ms += 2_000
    found = await counts(parts, record)
    lost = found.pop("failed", 0)
    assert lost <= (IN_A_ROW if how == "unregistered" else 0)
    assert found == {"accepted": PEOPLE - lost}
    assert (sandbox.push.recorded.total, second.push.recorded.total) == (0, PEOPLE - lost)
    assert await breakers(parts) == {"one": True, "two": False}
    assert b'alertd_breaker_open{carrier="one",channel="push"} 1.0' in (await parts.fleet.metrics()).whole


@pytest.mark.parametrize("weights", [(1, 1), (9, 1), (1, 0)])
async def test_whose_address_is_another_carrier_s_is_told_by_that(
    parts: Container, sandbox: Sandbox, second: Sandbox, sample: dict[str, Any], weights: tuple[float, float]
):
    """As while apps move to another project: each carrier is asked before one is asked again, a reserve too, though the first works."""
    await register(parts, PEOPLE)
    sandbox.push.script.set(*(Rule(f"token-{i}", "sender-mismatch") for i in range(100, PEOPLE, 4)))
    record = await planned(parts, sample)
    for _ in range(2):
        await send(parts, record)
        parts.db.skew_ms += 2_000
    assert await counts(parts, record) == {"accepted": PEOPLE}
    assert await breakers(parts) == {"one": False, "two": False}
    if weights == (1, 0):
        assert await told(parts, record) == {"one": PEOPLE - 75, "two": 75}


async def test_a_reserve_has_nothing_while_the_first_waits_for_permits(
    redis: Redis, codec: Codec, sandbox: Sandbox, second: Sandbox, library: Library, sample: dict[str, Any]
):
    """One that has a rate does not rest when it has had its share of this instant."""
    first = push_of(sandbox, 1).model_copy(update={"rate": 40.0})
    settings = Settings(carriers={"one": first, "two": push_of(second, 0)})
    async with opened(settings, redis, codec, library=library) as parts:
        await register(parts, 100)
        record = await planned(parts, sample)
        await send(parts, record)
        assert await told(parts, record) == {"one": 100}
        await breaks(parts, "one")
        record = await planned(parts, sample)
        await send(parts, record)
        assert await told(parts, record) == {"two": 100}


@pytest.mark.parametrize("weights", [(1, 0)])
async def test_a_carrier_that_works_again_has_its_share_again(
    parts: Container, sandbox: Sandbox, second: Sandbox, sample: dict[str, Any]
):
    """After its rest one message tries it, and when that is accepted it has the rest."""
    await register(parts, PEOPLE)
    await breaks(parts, "one")
    await send(parts, await planned(parts, sample))
    assert (sandbox.push.recorded.total, second.push.recorded.total) == (0, PEOPLE)
    parts.db.skew_ms += LONGEST_REST_MS + 1
    await send(parts, await planned(parts, sample))
    assert (sandbox.push.recorded.total, second.push.recorded.total) == (PEOPLE, PEOPLE)
    assert await breakers(parts) == {"one": False, "two": False}


@pytest.mark.parametrize("weights", [(1, 1)])
async def test_a_carrier_that_others_replace_has_to_accept_somebody(parts: Container):
    """It may refuse everybody: that it refused one who was tried before is no reason to give it the rest. An only carrier would have it."""
    health, carrier = worker_of(parts).health, parts.carriers.named("one")

    async def probed(report: ChunkReport) -> dict[str, bool]:
        block = await parts.limits.take("one", 100, 100, 1)
        assert block.granted == 1
        assert block.wait_s
        await health.apply_report(carrier, report, block)
        return await breakers(parts)

    for name in ("one", "two"):
        await parts.limits.failed(name, FAILURES)
    await parts.limits.resume("two")
    parts.db.skew_ms += SHORTEST_REST_MS
    assert await probed(ChunkReport(signs=Signs(works=True))) == {"one": True, "two": False}
    assert await probed(ChunkReport(signs=Signs(works=True), accepted=True)) == {"one": False, "two": False}
    for name in ("one", "two"):
        await parts.limits.failed(name, FAILURES)
    parts.db.skew_ms += SHORTEST_REST_MS
    assert await probed(ChunkReport(signs=Signs(works=True))) == {"one": False, "two": True}


@pytest.mark.parametrize("weights", [(1, 0)])
async def test_what_may_have_arrived_is_repeated_by_the_same_carrier(
    parts: Container, sandbox: Sandbox, second: Sandbox, sample: dict[str, Any]
):
    """Only there are both seen as one message: the other never gets what was cut off before its answer."""
    await register(parts, 30)
    sandbox.push.script.set(Rule("token-7", "reset", times=1))
    record = await planned(parts, sample)
    await send(parts, record)
    assert (await counts(parts, record))["queued"] >= 1
    parts.db.skew_ms += 60_000
    await parts.limits.failed("one", FAILURES)  # it rests for a second when the message is due again
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 30, "doubled": 1}
    assert (sandbox.push.recorded.count("token-7"), second.push.recorded.count("token-7")) == (2, 0)


@pytest.mark.parametrize("weights", [(1, 0)])
async def test_what_only_a_carrier_that_rests_may_have_keeps_no_lane(
    parts: Container, sandbox: Sandbox, second: Sandbox, sample: dict[str, Any]
):
    """It waits in the queue as often as it takes, still in doubt and still that carrier's, while the other has the rest; and goes
    once the carrier works again.
    """
    await register(parts, 30)
    sandbox.push.script.set(Rule("token-7", "reset", times=1))
    record = await planned(parts, sample)
    await send(parts, record)
    parts.db.skew_ms += 60_000
    await parts.limits.pause("one", 3_600)
    for _ in range(3):
        async with asyncio.timeout(60):
            assert await send(parts, record) >= 1  # every lease comes to its end
        found = await counts(parts, record)
        assert (found["queued"] >= 1, found["accepted"] + found["queued"]) == (True, 30)
        assert (sandbox.push.recorded.count("token-7"), second.push.recorded.count("token-7")) == (1, 0)
        parts.db.skew_ms += PROBE_MS + 1_000
    await parts.limits.resume("one")
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 30, "doubled": 1}
    assert (sandbox.push.recorded.count("token-7"), second.push.recorded.count("token-7")) == (2, 0)


class Deaf(Connection):
    """A store that is away once it has done what it is first asked for, and cannot say so."""

    calls = 0

    async def run_durably(self, *args: Any) -> Any:
        self.calls += 1
        said = await super().run_durably(*args)
        if self.calls == 1:
            raise StoreUnavailableError
        return said


@pytest.mark.parametrize("weights", [(1, 0)])
async def test_what_may_have_arrived_stays_its_carrier_s_when_leave_is_not_heard_of(
    parts: Container, redis: Redis, sandbox: Sandbox, second: Sandbox, sample: dict[str, Any]
):
    """The store gives leave and cannot say so: what goes back unsent is still nobody's but whose it was, if that rests by then."""
    await register(parts, 30)
    sandbox.push.script.set(Rule("token-7", "reset", times=1))
    record = await planned(parts, sample)
    await send(parts, record)
    parts.db.skew_ms += 60_000
    lease = await lease_of(parts.work, record.id, "push", parts.carriers.held("push"))
    deaf = Deaf(redis, parts.db.codec)
    deaf.skew_ms = parts.db.skew_ms
    await replace(worker_of(parts).feeder.dispatch, work=Work(deaf)).drain(lease, lambda: False)
    await parts.limits.pause("one", 3_600)
    parts.db.skew_ms += 1_000
    async with asyncio.timeout(60):
        await send(parts, record)
    assert (sandbox.push.recorded.count("token-7"), second.push.recorded.count("token-7")) == (1, 0)
