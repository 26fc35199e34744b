"""What begins and ends by a moment does so by the store's time, whatever the clock of a machine shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from alertd.common.clock import SystemClock
from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.store.engine.clock import StoreClock, apart, apart_s
from alertd.store.engine.connection import Connection, StoreUnavailableError
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import BEA, counts, employ, planned, register, send, submitted

HOUR_MS = 3_600_000


class Server:
    """A store whose clock is set by hand, and whose answers travel for as long as is said."""

    skew_ms = 0

    def __init__(self, shown_s: float) -> None:
        self.shown_s, self.passed_s = shown_s, 0.0
        self.there_s = self.back_s = 0.0

    def passes(self, seconds: float) -> None:
        self.passed_s += seconds
        self.shown_s += seconds

    async def run(self, *call: object) -> tuple[int, int, int]:
        assert call == ("hear", ["{m}:clock"], 0)
        self.passes(self.there_s)
        shown = int(self.shown_s), round(self.shown_s % 1 * 1_000_000), 0
        self.passes(self.back_s)
        return shown


class Shown(StoreClock):
    """On a machine where no time passes but that which the server's clock shows."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)  # type: ignore[arg-type]
        self._server = server

    def monotonic(self) -> float:
        return self._server.passed_s


async def test_it_is_never_ahead_of_the_servers_clock():
    """However long an answer takes it shows no later time than the server does, and one that came quickly stands against slow ones."""
    server = Server(1_000_000.0)
    clock = Shown(server)
    for there_s, back_s, behind_ms in ((0.5, 2.0, 2000), (0.0, 0.25, 250), (1.0, 3.0, 250), (2.0, 0.0, 0)):
        server.there_s, server.back_s = there_s, back_s
        await clock.hear()
        assert clock.now_ms() == 1000 * server.shown_s - behind_ms
        server.passes(60)
        assert clock.now_ms() == 1000 * server.shown_s - behind_ms


@pytest.mark.parametrize("set_s", [3600.0, -3600.0])
async def test_it_follows_a_clock_that_is_set(set_s: float):
    """As soon as it is heard again: where the server's clock was put right, or another server has taken over."""
    server = Server(1_000_000.0)
    clock = Shown(server)
    await clock.hear()
    server.shown_s += set_s
    await clock.hear()
    assert clock.now_ms() == 1000 * server.shown_s


@pytest.mark.parametrize(("set_s", "told"), [(-3600.0, [3600.0]), (-0.5, []), (3600.0, [])])
async def test_that_it_was_set_back_is_told(set_s: float, told: list[float]):
    """Nobody would see why ends and starts come later than they were to. Slow answers look like no such thing."""
    server = Server(1_000_000.0)
    clock = Shown(server)
    await clock.hear()
    server.there_s, server.back_s = 2.0, 3.0
    with capture_logs() as logs:
        await clock.hear()
        server.there_s = server.back_s = 0.0
        server.shown_s += set_s
        await clock.hear()
        await clock.hear()
    assert [one["seconds"] for one in logs if one["event"] == "store_clock.set_back"] == told


@pytest.mark.parametrize(("set_s", "told"), [(3600.0, [3600.0]), (10.0, [])])
async def test_that_it_was_set_forward_is_told(set_s: float, told: list[float]):
    """Alerts end by it for good, long before people were told that they do. Neither the first look nor slow answers look like that."""
    server = Server(1_000_000.0)
    clock = Shown(server)
    with capture_logs() as logs:
        await clock.hear()
        server.there_s, server.back_s = 2.0, 3.0
        await clock.hear()
        server.there_s = server.back_s = 0.0
        await clock.hear()
        server.shown_s += set_s
        await clock.hear()
        await clock.hear()
    assert [one["seconds"] for one in logs if one["event"] == "store_clock.set_forward"] == told


async def test_before_it_was_heard_it_shows_nothing(store: Connection):
    """Rather than the time of the machine."""
    with pytest.raises(OverflowError):
        StoreClock(store).now_ms()


async def heard(store: Connection) -> StoreClock:
    """That of a process that begins now."""
    clock = StoreClock(store)
    await clock.hear()
    return clock


async def test_what_waits_goes_on_where_it_is_set_back(store: Connection):
    """By the same clock in every process, whoever begins after the step; people read what the server's shows."""
    clock = await heard(store)
    before = clock.steady_ms()
    assert clock.back_ms == 0
    store.skew_ms -= HOUR_MS
    await clock.hear()
    for one in (clock, await heard(store)):
        assert abs(one.steady_ms() - before) < 5_000
        assert abs(one.now_ms() + HOUR_MS - before) < 5_000
    store.skew_ms += 60_000
    assert abs(clock.steady_ms() - before - 60_000) < 5_000


async def test_a_clock_that_is_put_right_again_keeps_nothing_waiting(store: Connection):
    """What waits is then by the server's clock again, as it was before the step."""
    clock = await heard(store)
    store.skew_ms -= HOUR_MS
    await clock.hear()
    store.skew_ms += HOUR_MS + 10_000
    await clock.hear()
    assert clock.back_ms == 0


async def test_a_store_that_takes_no_writes_shows_its_time(store: Connection):
    """What ends goes by it all the same."""
    await store.execute("CONFIG", "SET", "min-replicas-to-write", 9)
    try:
        with pytest.raises(StoreUnavailableError):
            await store.execute("SET", "{m}:schema", 1)
        assert abs((await heard(store)).now_ms() - SystemClock().now_ms()) < 5_000
    finally:
        await store.execute("CONFIG", "SET", "min-replicas-to-write", 0)


def at(parts: Container, hours: float) -> str:
    """So many hours after what the store's clock shows."""
    shown_s = (datetime.now(UTC).timestamp() * 1000 + parts.db.skew_ms) / 1000
    return (datetime.fromtimestamp(shown_s, UTC) + timedelta(hours=hours)).isoformat()


async def test_a_fast_machine_ends_nothing_early(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """It is two hours ahead of the store: an alert that lasts for one is sent, and what its carrier does not take at first waits for
    its next try, which the alert is there for.
    """
    parts.db.skew_ms = -2 * HOUR_MS
    await register(parts, 20)
    record = await planned(parts, sample, expires=at(parts, 1))
    sandbox.push.script.set(Rule("token-", "unavailable", times=5))
    await send(parts, record)
    assert await counts(parts, record) == {"accepted": 15, "queued": 5}
    worker = worker_of(parts)
    await worker._expire()
    await worker.ending.expire(record.id)
    assert await parts.alerts.state(record.id) is AlertState.SENDING


async def test_a_fast_machine_starts_nothing_early(parts: Container, sample: dict[str, Any]):
    """It is two hours ahead of the store: an alert that is to start in one waits."""
    parts.db.skew_ms = -2 * HOUR_MS
    await register(parts, 20)
    await employ(parts)
    taken = await submitted(parts, sample, starts=at(parts, 1), expires=at(parts, 5))
    record = await parts.approval.approve(taken.record.id, BEA)
    assert record.state is AlertState.SCHEDULED
    worker = worker_of(parts)
    await worker._start()
    await worker.starting.start(record.id)
    assert await parts.alerts.state(record.id) is AlertState.SCHEDULED
    parts.db.skew_ms += HOUR_MS
    await worker._start()
    assert await parts.alerts.state(record.id) is AlertState.APPROVED


async def test_a_slow_machine_ends_nothing_late(parts: Container, sample: dict[str, Any]):
    """It is two hours behind the store: an alert that lasted for one has ended."""
    await register(parts, 20)
    record = (await submitted(parts, sample, expires=at(parts, 1))).record
    parts.db.skew_ms = 2 * HOUR_MS
    await worker_of(parts)._expire()
    assert await parts.alerts.state(record.id) is AlertState.EXPIRED


@pytest.mark.parametrize(
    ("shown", "seconds"),
    [
        ([(5.0, 5.2)], 0.0),
        ([(5.0, 5.2), (5.1, 5.3)], 0.0),
        ([(5.0, 9.0), (5.1, 5.3)], 0.0),  # its answer took four seconds: it may show any of these
        ([(5.0, 5.2), (3605.0, 3605.3), (5.1, 5.4)], 3599.8),
        ([(5.0, 5.2), (-15.0, -14.9)], 19.9),
    ],
)
def test_clocks_are_as_far_apart_as_slow_answers_allow(shown: list[tuple[float, float]], seconds: float):
    """Nobody is told of an hour that was only an answer that came late."""
    assert apart(shown) == pytest.approx(seconds)


async def test_servers_of_one_machine_show_one_time(cluster: Connection):
    """An alert is on each: where they differed it would end on one and go on at another."""
    assert len(cluster.nodes.all) == 3
    assert await apart_s(cluster) < 0.5
