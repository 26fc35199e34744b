"""One distributor gets what is told of one alert in order, and what is to be taken back outlives whatever said so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from alertd.commands.installation.inspection import _takedowns
from alertd.common.errors import Problem
from alertd.service.areas.regions import Regions
from alertd.service.container import Container
from alertd.service.sharing.distributor_delivery import POSTED_AT_ONCE, DistributorDelivery
from alertd.store.areas.custom_regions import CustomRegions
from alertd.store.engine import keys
from alertd.store.sharing.webhooks import DistributorHooks, Due, Tried
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import BEA, CARL, planned
from tests.integration.distribution.acts import ACK, ERROR, events, made, receipts, states, takedowns, told
from tests.integration.distribution.standing import Standing, begun, until
from tests.integration.gateways import Gateway, answering


class Loading(Regions):
    """The library as a process has it that is asked for it first: it takes its time."""

    def __init__(self, parts: Container, library: Library) -> None:
        super().__init__(library, CustomRegions(parts.db), parts.settings.store.regions, parts.clock)
        self.asked, self.goes_on = asyncio.Event(), asyncio.Event()

    async def ready(self) -> None:
        self.asked.set()
        await self.goes_on.wait()
        await super().ready()


async def test_a_process_that_stood_still_sends_nothing_that_another_has_taken_over(
    parts: Container, gateway: Gateway, library: Library, sample: dict[str, Any]
):
    """It wrote down that it sends an Alert, and stood still. Another took over and sent the Cancel. When it goes on it sends nothing: an Alert
    after its own Cancel would stand for good.
    """
    standing = Standing(gateway)
    slow = replace(parts, library=library, poster=standing.fetcher(), clock=Later())
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await begun(slow)
    await standing.stands.wait()
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await parts.db.execute("DEL", keys.HERALD)  # its lease ran out meanwhile
    slow.clock.ahead_ms += 5_000
    await told(parts)
    standing.goes_on.set()
    await slow.webhook_delivery.settled()
    assert gateway.types("/radio") == ["Cancel"]
    await told(parts, after_s=100)
    assert gateway.types("/radio") == ["Cancel", "Cancel"]  # nobody knows that the Alert was not sent
    assert await states(parts, record, radio) == [("Alert", "superseded"), *[("Cancel", "accepted")] * 2]
    assert await takedowns(parts) == 1


async def test_what_changed_while_the_regions_were_loaded_is_looked_at_again(
    parts: Container, gateway: Gateway, library: Library, sample: dict[str, Any]
):
    """A child who was restricted meanwhile is not named by what was read before."""
    await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    hooks, loading = DistributorHooks(parts.db), Loading(parts, library)
    slow = DistributorDelivery(
        hooks, parts.tracks, parts.alerts, parts.cap_out, parts.organisations, loading, parts.stop_control, gateway.fetcher(),
        parts.events.may_post, parts.acknowledgements, parts.clock, parts.metrics,
    )  # fmt: skip
    [hook] = await hooks.of_org("default")
    [standing] = await hooks.standing([hook])
    assert await parts.events.leads()
    first = asyncio.create_task(slow.attempt(hook, standing, Due(record.id, 0, 0)))
    await loading.asked.wait()
    await parts.amendment.restrict(record.id, BEA, "protected")
    loading.goes_on.set()
    assert ((await first).word, gateway.types("/radio")) == ("again", [])
    await told(parts)
    assert gateway.types("/radio") == ["Alert"]


async def test_a_take_back_outlives_the_event_that_said_so(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """A distributor is down for days while so much happens that its events are let go of: the Cancel goes out when it is back."""
    gateway.answers["/radio"] = [202, 503, 503, 202]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    await parts.db.execute("XTRIM", keys.org_events("default"), "MAXLEN", 0)
    await told(parts, after_s=3600)
    await told(parts, after_s=3600)
    assert gateway.types("/radio") == ["Alert", "Cancel", "Cancel", "Cancel"]
    assert await states(parts, record, radio) == [("Alert", "accepted"), ("Cancel", "accepted")]


async def test_what_is_let_go_of_before_anybody_looked_is_looked_for(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """All that the distributor has, and all that is told, is looked at where events are missing."""
    await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    other = await planned(parts, sample)
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await parts.events.bring()
    await parts.db.execute("XTRIM", keys.org_events("default"), "MAXLEN", 0)
    await told(parts)
    await told(parts)
    assert sorted(gateway.types("/radio")) == ["Alert", "Alert", "Cancel"]
    assert {one.identifier for _, one in gateway.got["/radio"]} >= {record.id, other.id}


async def test_what_is_asked_for_while_it_is_tried_is_tried_again(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """A try that was under way when it was queued again does not take it out of the queue, whatever came of it; nor does it put it off."""
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    hooks, now = DistributorHooks(parts.db), parts.clock.now_ms()
    [hook] = await hooks.of_org("default")
    await hooks.again(hook, [record.id], now)
    [under_way] = await hooks.due(hook, now, 10)
    await hooks.again(hook, [record.id], now)
    for word in ("told", "again"):
        await hooks.settle(hook, under_way, Tried(word=word, status=None, due=now + 99_000), now)
        assert [one.name for one in await hooks.due(hook, now, 10)] == [record.id]
    assert radio == hook.id
    [again] = await hooks.due(hook, now, 10)
    await hooks.settle(hook, again, Tried(word="told", status=None), now)
    assert await hooks.due(hook, now, 10) == []


async def test_a_take_down_waits_for_no_slow_answer(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """While another alert is on its way to a gateway that does not answer, and as many as may be at once, a Cancel goes out beside them."""
    gateway.answers["/radio"] = [202, "silence"]
    await made(parts, gateway, "/radio")
    first = await planned(parts, sample)
    await told(parts)
    for _ in range(POSTED_AT_ONCE + 1):
        await planned(parts, sample)
    await begun(parts)
    await until(parts, lambda: len(gateway.types("/radio")) == POSTED_AT_ONCE + 1)
    await parts.follow_ups.cancel(first.id, BEA, "a mistake")
    await begun(parts)
    await until(parts, lambda: "Cancel" in gateway.types("/radio"))
    assert gateway.types("/radio").count("Alert") == POSTED_AT_ONCE + 1
    await parts.webhook_delivery.close()


async def test_one_that_cannot_be_read_silences_nobody(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """Its id is in the log, once; others are sent what they are to get, and are shown."""
    broken, radio = await made(parts, gateway, "/broken"), await made(parts, gateway, "/radio")
    await parts.db.execute("HSET", keys.org_events("default", ":distributors"), broken, b"\x00no record")
    await parts.events._events.bring("default", [("01M885E6PQYDF6FR2R1P9138GR", 99, b"no event")])
    record = await planned(parts, sample)
    with capture_logs() as logs:
        await told(parts)
        await told(parts)
    assert gateway.types("/radio") == ["Alert"]
    assert [one["webhook"] for one in logs if one["event"] == "webhook.read_failed"] == [broken]
    assert [one["webhook"] for one in logs if one["event"] == "event.read_failed"] == [radio]
    assert [one.hook.id for one in await parts.distributors.of_org("default")] == [radio]
    assert await states(parts, record, radio) == [("Alert", "accepted")]
    await parts.distributors.remove("default", broken)


async def test_a_cancel_that_an_alert_may_have_followed_is_sent_once_more(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """A gateway had the Alert and gave no answer; it may take it up after the Cancel, whatever it says of that. The take-down is open until the
    Cancel that surely came last is taken.
    """
    gateway.answers["/radio"] = ["silence", ACK]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await begun(parts)
    await until(parts, lambda: gateway.types("/radio") == ["Alert"])
    await parts.webhook_delivery.close()
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    assert (gateway.types("/radio"), await takedowns(parts)) == (["Alert", "Cancel"], 1)
    await told(parts, after_s=30)
    assert len(gateway.types("/radio")) == 2
    await told(parts, after_s=70)
    assert (gateway.types("/radio"), await takedowns(parts)) == (["Alert", "Cancel", "Cancel"], 0)
    assert await states(parts, record, radio) == [("Alert", "superseded"), *[("Cancel", "acknowledged")] * 2]
    assert (
        len({one.identifier for _, one in gateway.got["/radio"]}) == 3
    )  # one that is known would be a repetition, and nothing done


@pytest.mark.parametrize("change", ["url", "acknowledges"])
async def test_the_way_stays_while_there_is_something_to_take_back(
    parts: Container, gateway: Gateway, sample: dict[str, Any], change: str
):
    """Its URL, and whether it acknowledges, are refused another value while it shows an alert or has not confirmed the end of one; then not."""
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    old = (await parts.distributors.get("default", radio)).distributor
    new = old.model_copy(update={change: gateway.url("/new") if change == "url" else False})
    with pytest.raises(Problem, match="It has 1 alerts that may be shown") as refusal:
        await parts.distributors.change("default", radio, new, None)
    assert (refusal.value.status, refusal.value.extra["has"]) == (409, 1)
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    with pytest.raises(Problem, match="1 that it has not confirmed"):
        await parts.distributors.change("default", radio, new, None)
    await parts.distributors.change("default", radio, old.model_copy(update={"name": "Radio"}), "Bearer new")
    await parts.acknowledgements.confirm(await parts.alerts.get(record.id), radio, CARL)
    await parts.distributors.change("default", radio, new, None)
    assert gateway.types("/radio") == ["Alert", "Cancel"]
    assert (await parts.distributors.get("default", radio)).distributor == new


async def test_nothing_is_sent_the_way_that_was(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """Whoever is about to send an Alert to the old URL when that is changed does not: its Cancel would go to the new one."""
    radio = await made(parts, gateway, "/old")
    record = await planned(parts, sample)
    hooks = DistributorHooks(parts.db)
    [before] = await hooks.of_org("default")
    old = (await parts.distributors.get("default", radio)).distributor
    await parts.distributors.change("default", radio, old.model_copy(update={"url": gateway.url("/new")}), None)
    [to] = [one for one in parts.webhook_delivery._destinations if isinstance(one.hooks, DistributorHooks)]
    assert await parts.events.leads()
    [standing] = await hooks.standing([before])
    assert (await to.attempt(before, standing, Due(record.id, 0, 0))).word == "again"
    await told(parts)
    assert (gateway.types("/old"), gateway.types("/new")) == ([], ["Alert"])


async def test_an_error_beside_a_fault_of_its_own_ends_no_cancel(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """With a 503 it is the gateway that failed, whatever is in its answer: the Cancel is tried again."""
    gateway.answers["/radio"] = [202, (503, ERROR), (429, ERROR), 202]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    for _ in range(3):
        await told(parts, after_s=60)
    assert gateway.types("/radio") == ["Alert", "Cancel", "Cancel", "Cancel"]
    assert await states(parts, record, radio) == [("Alert", "accepted"), ("Cancel", "accepted")]
    assert "distributor.refused" not in await events(parts)


@pytest.mark.parametrize("status", [200, 422])
async def test_a_take_down_that_is_refused_is_said_loudly(
    parts: Container, gateway: Gateway, sample: dict[str, Any], status: int
):
    """Nothing more is tried, so the log, the metric, `alertd check` and an event of its own say so, until it is confirmed."""
    gateway.answers["/radio"] = [202, (status, ERROR)]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    with capture_logs() as logs:
        await told(parts)
    [said] = [one for one in logs if one["event"] == "take_down.refused"]
    assert (said["log_level"], said["distributor"], said["alert"]) == ("error", radio, record.id)
    assert sorted(await events(parts)) == [
        "distributor.refused", "distributor.takedown_open", "distributor.takedown_refused",
    ]  # fmt: skip
    assert b"\nalertd_distributor_takedowns_refused 1.0\n" in (await parts.fleet.metrics()).whole
    [said] = (await _takedowns(parts.db))["default"]
    assert said.startswith(f"radio ({radio}) has not confirmed the take-down of 1 alerts, and refused that of 1")
    await parts.acknowledgements.confirm(await parts.alerts.get(record.id), radio, CARL)
    assert b"\nalertd_distributor_takedowns_refused 0.0\n" in (await parts.fleet.metrics()).whole


async def test_another_secret_is_another_address_for_acks(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """Whoever has got hold of the old one can say nothing for the distributor any more, which learns the new one with its next message."""
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    old = (await receipts(parts, radio)).rpartition("/")[2]
    await parts.distributors.rotate("default", radio)
    with pytest.raises(Problem, match="no such address"):
        await parts.acknowledgements.take(old, answering("Error")(gateway.last("/radio")))
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    headers, cancel = gateway.got["/radio"][-1]
    assert len(headers["webhook-signature"].split()) == 2
    assert await parts.acknowledgements.take(headers["alertd-receipts"].rpartition("/")[2], ACK(cancel)) == 1
    await parts.distributors.remove("default", radio)
    with pytest.raises(Problem, match="no such address"):
        await parts.acknowledgements.take(headers["alertd-receipts"].rpartition("/")[2], ACK(cancel))
