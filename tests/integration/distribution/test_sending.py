"""What distributors are sent of an alert, and who of them: each in order, until they take it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from alertd.common.errors import Problem
from alertd.model.distributor import Distributor
from alertd.model.kinds import Notify
from alertd.model.organisation import Organisation
from alertd.runtime.worker import worker_of
from alertd.service.alerts.approval import submit
from alertd.service.container import Container
from alertd.service.records.events import envelope
from alertd.store.sharing.webhooks import DistributorHook, DistributorHooks
from tests.integration.acts import ANA, BEA, CARL, alert_of, planned, register, submitted
from tests.integration.distribution.acts import (
    ACK,
    events,
    made,
    receipts,
    share,
    states,
    takedowns,
    told,
    updated,
)
from tests.integration.gateways import Gateway


async def test_a_distributor_gets_the_whole_course_of_an_alert(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """An Alert when it is approved, an Update with each change, a Cancel when it is closed: each names all that it takes the place of, is valid
    by the schema of OASIS, and carries our signature (the gateway checks). What it acknowledges is known by the Ack's name.
    """
    gateway.answers["/radio"] = [ACK]
    radio = await made(parts, gateway, "/radio", "Bearer abc")
    await submitted(parts, sample)
    await told(parts)
    assert gateway.types("/radio") == []
    record = await planned(parts, sample)
    await told(parts)
    await updated(parts, record, sample)
    await told(parts)
    await parts.amendment.restrict(record.id, BEA, "protected")
    await told(parts)
    await parts.follow_ups.close(record.id, BEA, "found")
    await told(parts)
    await told(parts)
    assert gateway.types("/radio") == ["Alert", "Update", "Update", "Cancel"]
    messages = [message for _, message in gateway.got["/radio"]]
    assert "Luc" in str(messages[1].infos)
    assert "Luc" not in str(messages[2].infos)
    names = [one.identifier for one in messages]
    assert len(set(names)) == 4
    for place, message in enumerate(messages):
        assert [one.identifier for one in message.references] == names[:place]
        assert all(one.sent == messages[i].sent for i, one in enumerate(message.references))
    headers = gateway.got["/radio"][0][0]
    assert headers["authorization"] == "Bearer abc"
    assert headers["alertd-receipts"] == (await receipts(parts, radio))
    assert await states(parts, record, radio) == [
        ("Alert", "acknowledged"), ("Update", "acknowledged"), ("Update", "acknowledged"), ("Cancel", "acknowledged"),
    ]  # fmt: skip
    found = await share(parts, record, radio)
    assert found.track
    assert found.track.entries[-1].ack == f"ack-{names[-1]}"
    assert (found.track.has, found.track.confirmed > 0, await takedowns(parts)) == (False, True, 0)
    assert await events(parts) == ["distributor.takedown_confirmed"]


async def test_each_gets_what_it_asked_for(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """By status, level and ground; in its languages where there are any; one that is off gets no new alert."""
    wants: dict[str, dict[str, Any]] = {
        "/all": {"statuses": ["Actual", "Test"]},
        "/actual": {"languages": ["en"]},
        "/level": {"levels": ["appeal"]},
        "/here": {"jurisdiction": {"regions": ["ES-SE"]}},
        "/madrid": {"jurisdiction": {"regions": ["ES-M"]}},
        "/off": {"enabled": False},
    }
    ids = {path: await made(parts, gateway, path, **what) for path, what in wants.items()}
    record = await planned(parts, sample)
    await told(parts)
    await register(parts, 3, first=50, tester=True)
    drill = (await submit(parts.intake, parts.approval, alert_of(sample, status="Test"), ANA)).record
    await told(parts)
    got = {path: [message.status for _, message in found] for path, found in gateway.got.items()}
    assert got == {"/all": ["Actual", "Test"], "/actual": ["Actual"], "/here": ["Actual"]}
    assert {one.language for one in gateway.last("/actual").infos} == {"en"}
    assert {one.language for one in gateway.last("/here").infos} > {"en", "es"}
    why = {path: (await share(parts, record, name)).why_not for path, name in ids.items()}
    assert why == {"/all": "", "/actual": "", "/level": "level", "/here": "", "/madrid": "elsewhere", "/off": "off"}
    assert (await share(parts, drill, ids["/actual"])).why_not == "status"
    late = await made(parts, gateway, "/late")
    assert (await share(parts, record, late)).why_not == "later"
    await parts.follow_ups.close(record.id, BEA, "x")
    assert (await share(parts, record, late)).why_not == "over"


async def test_who_wants_a_region_that_is_gone_hides_no_other(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """As an edition of the library that knew the region left it: it is said so, and it gets the alert once it has a region that there is."""
    radio, other = [
        await made(parts, gateway, path, jurisdiction={"regions": ["ES-SE"]}) for path in ("/radio", "/other")
    ]

    def as_before(hook: DistributorHook) -> DistributorHook:
        return msgspec.structs.replace(hook, document=hook.document.replace("ES-SE", "MA-15"))

    assert await DistributorHooks(parts.db).change("default", radio, as_before)
    record = await planned(parts, sample)
    await told(parts)
    assert gateway.types("/other") == ["Alert"]
    assert gateway.types("/radio") == []
    assert (await share(parts, record, radio)).why_not == "unresolved"
    assert await states(parts, record, other) == [("Alert", "accepted")]
    mended = (await parts.distributors.get("default", radio)).distributor.model_dump_json().replace("MA-15", "ES-SE")
    await parts.distributors.change("default", radio, Distributor.model_validate_json(mended), None)
    await told(parts, after_s=15)
    assert gateway.types("/radio") == ["Alert"]


async def test_what_was_not_taken_gives_way_to_what_is_true_now(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """Its first message is an Alert, whatever came before it: an Update never arrives before its Alert, and nothing old after something new."""
    gateway.answers["/radio"] = [503, 404, 202]
    radio = await made(parts, gateway, "/radio")
    gateway.answers["/late"] = [404, 404, 202]
    late = await made(parts, gateway, "/late")
    record = await planned(parts, sample)
    await told(parts)
    await updated(parts, record, sample)
    await told(parts)
    await told(parts, after_s=30)
    await told(parts, after_s=300)
    assert gateway.types("/radio") == ["Alert", "Update", "Update"]  # 503: it may have arrived
    assert gateway.types("/late") == ["Alert", "Alert", "Alert"]  # 404: it surely has not
    assert [one.identifier for one in gateway.last("/radio").references] == [record.id]
    assert (gateway.last("/late").references, gateway.last("/late").identifier != record.id) == ((), True)
    assert await states(parts, record, radio) == [("Alert", "superseded"), ("Update", "accepted")]
    assert await states(parts, record, late) == [("Alert", "superseded"), ("Alert", "accepted")]


async def test_who_is_slow_to_take_one_alert_gets_the_others(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """Side by side, each alert by itself in order."""
    radio = await made(parts, gateway, "/radio")
    gateway.answers["/radio"] = ["silence", 202]
    first, second = await planned(parts, sample), await planned(parts, sample)
    assert await parts.events.leads()
    await parts.events.bring()
    await parts.webhook_delivery.round()
    while len(gateway.types("/radio")) < 2:
        await parts.clock.sleep(0.01)
    assert {one.identifier for _, one in gateway.got["/radio"]} == {first.id, second.id}
    await parts.webhook_delivery.close()
    taken = [(await states(parts, one, radio))[-1][1] for one in (first, second)]
    assert "queued" in taken
    await told(parts)
    assert [(await states(parts, one, radio))[-1][1] for one in (first, second)] == ["accepted", "accepted"]


async def test_what_is_another_organisations_is_sent_to_nobody(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """Also where an event tells of it, as a neighbour is told what it is asked to permit."""
    await made(parts, gateway, "/radio")
    police = replace(ANA, org="police")
    await parts.organisations.put("police", Organisation(name="Police"), ANA)
    taken = await parts.intake.submit(alert_of(sample), police)
    record = await parts.approval.approve(taken.record.id, replace(BEA, org="police"))
    await told(parts)
    event = envelope("evt_1", "alert.permission_granted", 1, {"alert": record.id, "chain": record.id})
    await parts.events._events.bring("default", [(record.id, 99, event)])
    await told(parts)
    assert gateway.types("/radio") == []
    own = await planned(parts, sample)
    await told(parts)
    assert [one.identifier for _, one in gateway.got["/radio"]] == [own.id]


async def test_what_cannot_be_told_in_a_profile_is_refused_and_said(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """Sevilla has no SAME code. Mended, it is sent again by a person's word. A Cancel has the profile's code, whatever else it lacks."""
    radio = await made(parts, gateway, "/radio", profile="ipaws")
    record = await planned(parts, sample)
    await told(parts)
    assert gateway.types("/radio") == []
    assert await states(parts, record, radio) == [("Alert", "refused")]
    assert await events(parts) == ["distributor.refused"]
    old = (await parts.distributors.get("default", radio)).distributor
    await parts.distributors.change("default", radio, old.model_copy(update={"profile": None}), None)
    await parts.acknowledgements.send_again(await parts.alerts.get(record.id), radio, CARL)
    await told(parts)
    assert await states(parts, record, radio) == [("Alert", "accepted")]
    with pytest.raises(Problem, match="neither"):
        await parts.acknowledgements.send_again(await parts.alerts.get(record.id), radio, CARL)
    await parts.distributors.change("default", radio, old, None)
    await parts.follow_ups.close(record.id, BEA, "x")
    await told(parts)
    assert gateway.types("/radio") == ["Alert", "Cancel"]
    assert gateway.last("/radio").codes == ("IPAWSv1.0",)


async def test_what_is_reopened_is_sent_under_a_new_name(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """A gateway that took it down would not show the old one again. One that had not heard of the stand-down yet just keeps it."""
    gateway.answers = {"/radio": [ACK], "/slow": [ACK, 404, ACK]}
    names = {path: await made(parts, gateway, path) for path in gateway.answers}
    record = await planned(parts, sample)
    await told(parts)
    for _ in range(2):
        await parts.follow_ups.stand_down(record.id, BEA, "x")
        await told(parts)
        await parts.follow_ups.reopen(record.id, BEA, "y")
        await told(parts)
    assert gateway.types("/radio") == ["Alert", "Cancel", "Alert", "Cancel", "Alert"]
    identifiers = [one.identifier for _, one in gateway.got["/radio"]]
    assert len(set(identifiers)) == 5
    assert [one.identifier for one in gateway.got["/radio"][3][1].references] == [identifiers[2]]
    assert gateway.types("/slow") == ["Alert", "Cancel", "Cancel", "Alert"]
    assert await states(parts, record, names["/slow"]) == [
        ("Alert", "acknowledged"), ("Cancel", "superseded"), ("Cancel", "acknowledged"), ("Alert", "acknowledged"),
    ]  # fmt: skip
    assert await takedowns(parts) == 0


async def test_an_alert_is_never_sent_past_its_end(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """It is given up. What ended when its messages said owes no take-down, unless it ended earlier than what was sent last says."""
    gateway.answers = {"/none": [404], "/radio": [202], "/late": [202]}
    names = {path: await made(parts, gateway, path) for path in gateway.answers}
    soon = (datetime.now(UTC) + timedelta(minutes=20)).isoformat()
    record = await planned(parts, sample)
    await told(parts)
    gateway.answers["/late"] = [404]
    taken = await parts.update_proposals.submit(record.id, alert_of(sample, expires=soon), Notify.NONE, ANA)
    await parts.approval.approve(taken.record.id, BEA)
    await told(parts)
    for _ in range(10):
        await told(parts, after_s=300)
    assert await worker_of(parts).ending.expire(record.id) is None
    gateway.answers["/late"] = [202]
    await told(parts)
    assert (await states(parts, record, names["/none"]))[-1] in {("Alert", "given_up"), ("Alert", "superseded")}
    assert gateway.types("/radio") == ["Alert", "Update"]
    assert gateway.types("/late")[-1] == "Cancel"
    assert await takedowns(parts) == 1
    assert {one.has for one in await parts.distributors.of_org("default")} == {0}
