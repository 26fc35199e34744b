"""A connection comes about in its time, and much may be said until then: what goes out is what holds once there is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from alertd.service.alerts.stops import StopControl
from alertd.service.container import Container
from alertd.service.sharing.distributor_delivery import DistributorDelivery
from alertd.store.alerts.records import AlertRecord
from alertd.store.organisations.organisations import StandingStops
from alertd.store.sharing.webhooks import DistributorHooks, Due
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, CARL, planned
from tests.integration.distribution.acts import made, share, states, takedowns, told
from tests.integration.distribution.standing import Standing, begun
from tests.integration.gateways import Gateway

Act = Callable[[Container, AlertRecord], Awaitable[Any]]
ENDS: dict[str, Act] = {
    "cancel": lambda parts, record: parts.follow_ups.cancel(record.id, BEA, "a mistake"),
    "close": lambda parts, record: parts.follow_ups.close(record.id, BEA, "found"),
    "stand down": lambda parts, record: parts.follow_ups.stand_down(record.id, BEA, "she may be found"),
}


async def stop(parts: Container, record: AlertRecord) -> None:
    await parts.stop_control.stop(f"org:{record.org}", ANA, "a key is in the wrong hands")


async def resume(parts: Container, record: AlertRecord) -> None:
    for who in (ANA, CARL):
        await parts.stop_control.resume(f"org:{record.org}", who)


async def pause(parts: Container, record: AlertRecord) -> None:
    await parts.stop_control.pause(record, ANA, waits=True, rev=None)


async def go_on(parts: Container, record: AlertRecord) -> None:
    await parts.stop_control.pause(record, ANA, waits=False, rev=None)


class Asleep(StopControl):
    """Of a process that stands still once it has read what is stopped; its lease goes on."""

    async def standing(self) -> StandingStops:
        found = await super().standing()
        self._clock.pass_by(1.5)  # type: ignore[attr-defined]
        return found


class Slow:
    """A process whose connection to the gateway comes about only when it is let."""

    def __init__(self, parts: Container, gateway: Gateway, library: Library) -> None:
        self._standing = Standing(gateway)
        self.parts = replace(parts, library=library, poster=self._standing.fetcher(), clock=Later())

    async def begins(self) -> None:
        """A message is made and written down as one that may arrive."""
        self._standing.stands.clear()
        self._standing.goes_on.clear()
        await begun(self.parts)
        await self._standing.stands.wait()

    async def connects(self) -> None:
        assert await self.parts.events.leads()
        self._standing.goes_on.set()
        await self.parts.webhook_delivery.settled()


@pytest.fixture
def slow(parts: Container, gateway: Gateway, library: Library) -> Slow:
    return Slow(parts, gateway, library)


@pytest.mark.parametrize("end", ENDS)
async def test_an_alert_that_is_over_before_there_is_a_connection_is_not_sent(
    parts: Container, gateway: Gateway, slow: Slow, sample: dict[str, Any], end: str
):
    """Nor its Cancel: it surely was not sent."""
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await slow.begins()
    await ENDS[end](parts, record)
    await slow.connects()
    await told(slow.parts, after_s=2)
    assert (gateway.types("/radio"), await takedowns(parts)) == ([], 0)
    assert await states(parts, record, radio) == [("Alert", "superseded")]


async def test_a_child_who_was_restricted_before_there_is_a_connection_is_not_named(
    parts: Container, gateway: Gateway, slow: Slow, sample: dict[str, Any]
):
    await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await slow.begins()
    await parts.amendment.restrict(record.id, BEA, "protected")
    await slow.connects()
    assert gateway.types("/radio") == []
    await told(slow.parts, after_s=2)
    assert gateway.types("/radio") == ["Alert"]
    assert "Luc" not in str(gateway.last("/radio").infos)


@pytest.mark.parametrize(("halts", "lifts"), [(stop, resume), (pause, go_on)])
async def test_what_is_to_wait_before_there_is_a_connection_waits(
    parts: Container, gateway: Gateway, slow: Slow, sample: dict[str, Any], halts: Act, lifts: Act
):
    """And goes out after that as if nobody had tried."""
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await slow.begins()
    await halts(parts, record)
    await slow.connects()
    await told(slow.parts, after_s=2)
    found = await share(parts, record, radio)
    assert found.track
    assert [(one.tries, one.maybe) for one in found.track.entries] == [(0, False)]
    assert gateway.types("/radio") == []
    await lifts(parts, record)
    await told(slow.parts, after_s=6)
    assert gateway.types("/radio") == ["Alert"]


async def test_a_cancel_waits_for_no_stop_once_there_is_a_connection(
    parts: Container, gateway: Gateway, slow: Slow, sample: dict[str, Any]
):
    await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await slow.begins()
    await slow.connects()
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await slow.begins()
    await stop(parts, record)
    await slow.connects()
    assert gateway.types("/radio") == ["Alert", "Cancel"]


async def test_an_alert_that_ends_before_there_is_a_connection_is_not_sent(
    parts: Container, gateway: Gateway, slow: Slow, sample: dict[str, Any]
):
    await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await slow.begins()
    slow.parts.clock.pass_by((record.expires - slow.parts.clock.now_ms()) / 1000 + 1)  # type: ignore[attr-defined]
    await slow.connects()
    assert gateway.types("/radio") == []


async def test_a_process_that_stood_still_after_it_asked_asks_again(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """What it read may be no longer so: a second later an alert that was cancelled meanwhile must not leave."""
    await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    hooks, clock = DistributorHooks(parts.db), parts.clock
    stop_control = Asleep(
        parts.stop_control._stops, parts.alerts, parts.access, parts.stop_control._operators, clock, host="default"
    )
    asleep = DistributorDelivery(
        hooks, parts.tracks, parts.alerts, parts.cap_out, parts.organisations, parts.regions, stop_control, gateway.fetcher(),
        parts.events.may_post, parts.acknowledgements, clock, parts.metrics,
    )  # fmt: skip
    [hook] = await hooks.of_org("default")
    [standing] = await hooks.standing([hook])
    assert await parts.events.leads()
    tried = await asleep.attempt(hook, standing, Due(record.id, 0, 0))
    assert (tried.word, tried.status, gateway.types("/radio")) == ("again", None, [])
    await told(parts)
    assert gateway.types("/radio") == ["Alert"]
