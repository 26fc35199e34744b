"""Whoever may have an alert is told its end, and it is known who has not confirmed that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alertd.common.errors import Problem
from alertd.model.cap.messages import MsgType
from alertd.model.distribution import MessageState
from alertd.model.kinds import Notify, PurgeReason
from alertd.model.organisation import Organisation
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.sharing.distributor_acknowledgements import opened_note
from tests.integration.acts import ANA, BEA, CARL, alert_of, planned
from tests.integration.distribution.acts import (
    ACK,
    DAY_MS,
    ERROR,
    events,
    made,
    receipts,
    share,
    states,
    takedowns,
    told,
)
from tests.integration.gateways import Gateway, answering
from tests.integration.retention.backups import copied, put_back
from tests.integration.retention.purges import Meanwhile
from tests.integration.sharing.published import over_and_told


async def test_a_cancel_goes_to_whoever_may_have_the_alert_and_to_nobody_else(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """Who never answered may have it, and so may who keeps what it got and redirects, or has a proxy that waited too long; who could not be
    asked, or said no, has not, and owes nothing.
    """
    in_doubt = {"/fault": [500], "/other": [303], "/moved": [302], "/late": [408], "/silent": ["silence", 202]}
    gateway.answers = in_doubt | {"/none": [404], "/busy": [429], "/bad": [400], "/error": [ERROR]}
    names = {path: await made(parts, gateway, path) for path in gateway.answers}
    names["/inside"] = await made(parts, gateway, "/inside", url=f"https://inside.example:{gateway.port}/")
    record = await planned(parts, sample)
    await told(parts)
    gateway.answers = {path: [ACK] for path in gateway.answers}
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    assert await takedowns(parts) == len(in_doubt)
    await told(parts, after_s=100)
    got = {path: gateway.types(path)[1:] for path in names}
    twice = ["Cancel", "Cancel"]  # for the Alert may have been taken up after the first
    assert got == {path: twice if path in in_doubt else [] for path in names}
    has_none = {
        "/none": "superseded",
        "/busy": "superseded",
        "/bad": "refused",
        "/error": "refused",
        "/inside": "superseded",
    }
    for path, state in has_none.items():
        assert await states(parts, record, names[path]) == [("Alert", state)], path
    assert await takedowns(parts) == 0


async def test_whoever_may_have_taken_an_alert_since_a_copy_that_is_put_back_is_told_its_end(
    parts: Container, gateway: Gateway, sample: dict[str, Any], redis: Redis
):
    """It was to get the alert when the copy was made, and nobody here knows what it took since; who refused it then has not."""
    gateway.answers = {"/busy": [429, ACK], "/bad": [400]}
    names = {path: await made(parts, gateway, path) for path in gateway.answers}
    record = await planned(parts, sample)
    await told(parts)
    copy = await copied(redis)
    await told(parts, after_s=100)
    assert await states(parts, record, names["/busy"]) == [("Alert", "acknowledged")]
    await put_back(redis, copy)
    await parts.restoring.settle("2026-11-24T12:00:00+00:00", parts.clock.now_ms())
    gateway.answers = {path: [ACK] for path in gateway.answers}
    await told(parts)
    assert gateway.types("/busy")[2:] == ["Cancel"]
    assert gateway.types("/bad") == ["Alert"]
    assert await takedowns(parts) == 0


async def test_a_late_error_says_nothing_of_what_was_posted_since_a_copy_that_is_put_back(
    parts: Container, gateway: Gateway, sample: dict[str, Any], redis: Redis, client: Any
):
    """It was tried once when the copy was made, and refused; what it took after that is to be taken down."""
    gateway.answers = {"/busy": [429, 202]}
    busy = await made(parts, gateway, "/busy")
    record = await planned(parts, sample)
    await told(parts)
    error, copy = ERROR(gateway.last("/busy")), await copied(redis)
    await told(parts, after_s=100)
    await put_back(redis, copy)
    await parts.restoring.settle("2026-11-24T12:00:00+00:00", parts.clock.now_ms())
    own = "/v1" + (await receipts(parts, busy)).partition("/v1")[2]
    assert (await client.post(own, data=error, headers={"Content-Type": "application/cap+xml"})).status == 200
    assert await states(parts, record, busy) == [("Alert", "refused")]
    await told(parts)
    assert gateway.types("/busy")[2:] == ["Cancel"]


@pytest.mark.parametrize("step", ["stand_down", "close", "cancel"])
async def test_a_take_down_is_open_until_it_is_confirmed(
    parts: Container, gateway: Gateway, sample: dict[str, Any], client: Any, step: str
):
    """Taken is not confirmed: an Ack is, by a later post to an address that is known to that distributor alone; and a 2xx of one that never
    acknowledges.
    """
    radio, plain = await made(parts, gateway, "/radio"), await made(parts, gateway, "/plain", acknowledges=False)
    record = await planned(parts, sample)
    await told(parts)
    await getattr(parts.follow_ups, step)(record.id, BEA, "x")
    await told(parts)
    assert await states(parts, record, radio) == [("Alert", "accepted"), ("Cancel", "accepted")]
    assert await takedowns(parts) == 1
    assert sorted(await events(parts)) == ["distributor.takedown_confirmed", "distributor.takedown_open"]
    found = await share(parts, record, plain)
    assert found.track
    assert (found.track.owed, found.track.confirmed > 0) == (0, True)
    document, xml = ACK(gateway.last("/radio")), {"Content-Type": "application/cap+xml"}
    stranger = (await receipts(parts, radio))[:-1] + "x"
    for address, status in ((stranger, 404), ((await receipts(parts, plain)), 200)):
        answer = await client.post(address.partition("/v1")[2].join(("/v1", "")), data=document, headers=xml)
        assert answer.status == status
    assert await takedowns(parts) == 1
    own = "/v1" + (await receipts(parts, radio)).partition("/v1")[2]
    for _ in range(2):
        answer = await client.post(own, data=document, headers=xml)
        assert (answer.status, await answer.json()) == (200, {"taken": 1})
    assert await takedowns(parts) == 0
    assert await states(parts, record, radio) == [("Alert", "accepted"), ("Cancel", "acknowledged")]
    assert (await events(parts))[2:] == ["distributor.takedown_confirmed"]
    refused = [b"<alert/>", answering("Alert")(gateway.last("/radio"))]
    for raw, status in zip(refused, (400, 400), strict=True):
        assert (await client.post(own, data=raw, headers=xml)).status == status
    elsewhere = document.replace(record.id.encode(), b"01M885E6PQYDF6FR2R1P9138GR")
    assert (await client.post(own, data=elsewhere, headers=xml)).status == 404


async def test_a_cancel_is_tried_for_three_days_and_then_a_person_asks(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """Whatever it is answered; after that the take-down stays open until somebody's word stands for the distributor's."""
    gateway.answers["/radio"] = [202, 400]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.follow_ups.stand_down(record.id, BEA, "x")
    for _ in range(30):
        await told(parts, after_s=3 * 3600)
    assert len(gateway.types("/radio")) > 20
    assert set(gateway.types("/radio")[1:]) == {"Cancel"}
    assert await states(parts, record, radio) == [("Alert", "accepted"), ("Cancel", "given_up")]
    assert await takedowns(parts) == 1
    assert sorted(await events(parts)) == [
        "distributor.refused", "distributor.takedown_open", "distributor.takedown_refused",
    ]  # fmt: skip
    tries = len(gateway.types("/radio"))
    await told(parts, after_s=DAY_MS)
    assert len(gateway.types("/radio")) == tries
    with pytest.raises(Problem, match="Turn it off"):
        await parts.distributors.remove("default", radio)
    now = await parts.alerts.get(record.id)
    for _ in range(2):
        await parts.acknowledgements.confirm(now, radio, CARL)
    found = await share(parts, record, radio)
    assert found.track
    assert (found.track.by, await takedowns(parts)) == (CARL.subject, 0)
    await parts.distributors.remove("default", radio)
    assert (await share(parts, record, radio)).why_not == "removed"
    assert await parts.distributors.of_org("default") == []


async def test_a_refusals_words_go_with_the_case(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """They may name the child; which messages there were stays. A Cancel that was not taken goes out after the purge, too."""
    gateway.answers = {"/radio": [ERROR], "/slow": [202, 404, 202]}
    radio = await made(parts, gateway, "/radio")
    slow = await made(parts, gateway, "/slow")
    record = await planned(parts, sample)
    await told(parts)
    found = await share(parts, record, radio)
    assert found.track
    [refused] = found.track.entries
    assert opened_note(await parts.alerts.get(record.id), refused) == "Lucía P. is not a word of ours"
    assert "Lucía".encode() not in refused.note
    await parts.follow_ups.cancel(record.id, BEA, "x")
    await told(parts)
    await over_and_told(parts, f"{record.id}-2")
    await parts.purging.purge(record.id, BEA, PurgeReason.RETENTION)
    await told(parts, after_s=60)
    assert gateway.types("/slow") == ["Alert", "Cancel", "Cancel"]
    assert (await share(parts, record, slow)).name == "slow"
    assert len({one.identifier for _, one in gateway.got["/slow"]}) == 2
    assert await states(parts, record, radio) == [("Alert", "refused")]
    assert opened_note(await parts.alerts.get(record.id), refused) == ""


async def test_a_refusals_words_go_though_the_case_keeps_its_key(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """They go like everything that was written of a purged alert, also when something else was sealed under the key meanwhile, so that the key stays."""
    gateway.answers = {"/radio": [ERROR]}
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.follow_ups.cancel(record.id, BEA, "x", notify=False)
    parts.purging.cases = Meanwhile(parts.db)
    with pytest.raises(Problem, match="New data or a hold came to this case meanwhile"):
        await parts.purging.purge(record.id, BEA, PurgeReason.RETENTION)
    found = await share(parts, record, radio)
    assert found.track
    assert found.track.entries[0].note
    assert opened_note(await parts.alerts.get(record.id), found.track.entries[0]) == ""


async def test_a_distributor_may_have_what_nobody_knows_of_until_it_says_so(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """A later Error about its only try says that it has it not; an Ack is true whatever was thought before."""
    radio, other = await made(parts, gateway, "/radio"), await made(parts, gateway, "/other")
    record = await planned(parts, sample)
    await told(parts)
    for name, answer, path in ((radio, ERROR, "/radio"), (other, ACK, "/other")):
        token = (await receipts(parts, name)).rpartition("/")[2]
        assert await parts.acknowledgements.take(token, answer(gateway.last(path))) == 1
    assert await states(parts, record, radio) == [("Alert", MessageState.REFUSED)]
    await parts.follow_ups.close(record.id, BEA, "x")
    await told(parts)
    assert (gateway.types("/radio"), gateway.types("/other")) == (["Alert"], ["Alert", "Cancel"])
    assert gateway.last("/other").msg_type is MsgType.CANCEL


@pytest.mark.parametrize("answer", [503, 202])
async def test_who_may_show_an_alert_longer_than_it_goes_on_is_told_its_end(
    parts: Container, gateway: Gateway, sample: dict[str, Any], answer: int
):
    """An Update brought the end forward. Who took it shows nothing any more when it is over, and owes nothing; who gave no answer to it may show the
    alert until the end that was told first, and gets a Cancel. So does who refuses the Update only after that.
    """
    gateway.answers["/radio"] = [202, answer]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    soon = (datetime.now(UTC) + timedelta(minutes=20)).isoformat()
    taken = await parts.update_proposals.submit(record.id, alert_of(sample, expires=soon), Notify.NONE, ANA)
    await parts.approval.approve(taken.record.id, BEA)
    for _ in range(5):
        await told(parts, after_s=300)
    gateway.answers["/radio"] = [202]
    assert await worker_of(parts).ending.expire(record.id) is None
    await told(parts, after_s=60)
    await told(parts, after_s=60)
    if answer == 202:
        assert (gateway.types("/radio"), await takedowns(parts)) == (["Alert", "Update"], 0)
        token = (await receipts(parts, radio)).rpartition("/")[2]
        assert await parts.acknowledgements.take(token, ERROR(gateway.last("/radio"))) == 1
        await told(parts)
    assert await takedowns(parts) == 1
    assert gateway.types("/radio")[-1] == "Cancel"
    assert gateway.last("/radio").references[0].identifier == record.id


async def test_a_cancel_that_cannot_be_written_is_said_loudly(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """The organisation was given a name meanwhile that no document can hold: nothing is sent, so an event of its own and the log say so, as where
    the distributor refuses it, and the take-down stays open.
    """
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.organisations.put("default", Organisation(name="Centro", cap_sender="centre\x01"), ANA)
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    with capture_logs() as logs:
        await told(parts)
    assert gateway.types("/radio") == ["Alert"]
    assert await states(parts, record, radio) == [("Alert", "accepted"), ("Cancel", "refused")]
    assert [one["alert"] for one in logs if one["event"] == "take_down.refused"] == [record.id]
    assert sorted(await events(parts)) == [
        "distributor.refused", "distributor.takedown_open", "distributor.takedown_refused",
    ]  # fmt: skip
    assert await takedowns(parts) == 1


@pytest.mark.parametrize("step_ms", [3_600_000, 600_000])
async def test_a_clock_that_is_set_back_keeps_no_cancel_waiting(
    parts: Container, gateway: Gateway, sample: dict[str, Any], step_ms: int
):
    """What was to be tried again is tried as soon, whatever the clock shows by then; and not at every look."""
    gateway.answers = {"/radio": [ACK, 503, 503, ACK]}
    await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)
    await parts.follow_ups.cancel(record.id, BEA, "a mistake")
    await told(parts)
    parts.clock.back_ms = step_ms
    parts.db.skew_ms -= step_ms
    await told(parts, after_s=60)
    for _ in range(3):
        await told(parts, after_s=1)
    assert gateway.types("/radio") == ["Alert", "Cancel", "Cancel"]
    await told(parts, after_s=60)
    assert gateway.types("/radio")[3:4] == ["Cancel"]
    await told(parts, after_s=300)
    assert await takedowns(parts) == 0
