"""Why somebody was told, or was not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from alertd.runtime.worker import worker_of
from alertd.service.alerts.approval import submit
from alertd.service.container import Container
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import ANA, CADIZ, SEVILLA, alert_of, explained, planned, register, send, submitted


async def test_who_was_told_and_who_was_refused(parts: Container, sandbox: Sandbox, sample: dict):
    """Inside by which place, each message with its carrier, state and reason, in the order of the ledger."""
    await register(parts, 25)
    sandbox.push.script.set(Rule("token-3", "bad-request", times=1))
    record = await planned(parts, sample, channels=["push", "mail"])
    await send(parts, record)
    await send(parts, record, "mail")
    told = await explained(parts, "p1", record)
    assert (told.told, told.why, told.in_audience) == ("yes", "has-messages", True)
    assert [(place.name, place.standing) for place in told.places] == [("home", "inside")]
    assert {(one.channel, one.state, one.carrier) for one in told.messages} == {
        ("push", "accepted", "fcm"), ("mail", "accepted", "relay"),
    }  # fmt: skip
    assert [(one.channel, one.asked_for) for one in told.addresses] == [("push", True), ("sms", False), ("mail", True)]
    refused = await explained(parts, "p3", record)
    assert {one.channel: one.state for one in refused.messages} == {"push": "failed", "mail": "accepted"}


async def test_who_was_not_told(parts: Container, sandbox: Sandbox, sample: dict):
    """Outside, without consent, without an address, too old a place, there since, or of an alert that nobody approved."""
    await register(parts, 25)
    old = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    now = {"point": list(SEVILLA), "at": old, "accuracy_m": 10}
    for i, changes in {
        100: {"places": {"home": {"point": list(CADIZ), "at": old}, "now": now}},
        101: {"kinds": ["general"]},
        102: {"addresses": [{"channel": "mail", "mailbox": "p102@people.example"}]},
    }.items():
        await register(parts, 1, first=i, **changes)
    draft = (await submitted(parts, sample)).record
    record = await planned(parts, sample)
    await register(parts, 1, first=103)
    outside = await explained(parts, "p100", record)
    assert (outside.told, outside.why, outside.messages) == ("no", "outside", [])
    assert {place.name: place.standing for place in outside.places} == {"home": "outside", "now": "too-old"}
    assert [(await explained(parts, f"p{i}", record)).why for i in (101, 102, 103)] == [
        "no-consent", "no-address", "not-then",
    ]  # fmt: skip
    assert (await explained(parts, "p1", draft)).why == "not-approved"


async def test_nobody_finds_where_somebody_lives_by_alerts_that_one_person_writes(
    parts: Container, sample: dict[str, Any]
):
    """As many drafts as one likes, and Tests of as little ground: of whoever they are not for they say nothing of a place."""
    await register(parts, 25)
    await register(parts, 1, first=30, tester=True)
    here = {"circles": [{"center": list(SEVILLA), "radius_km": 0.05}]}
    draft = (await parts.intake.submit(alert_of(sample), ANA, draft=True)).record
    drill = (await submit(parts.intake, parts.approval, alert_of(sample, target=here, status="Test"), ANA)).record
    assert drill.times.start
    for record, why in ((draft, "not-approved"), (drill, "no-tester")):
        found = await explained(parts, "p1", record)
        assert (found.why, found.places, found.in_audience) == (why, [], False)
    assert [place.standing for place in (await explained(parts, "p30", drill)).places] == ["inside"]


async def test_an_alert_that_is_over_follows_nobody(parts: Container, sample: dict[str, Any]):
    """Its area stays: whoever asks again and again would be told when somebody comes there, and goes."""
    await register(parts, 25)
    now = {"point": list(SEVILLA), "at": datetime.now(UTC).isoformat(), "accuracy_m": 10}
    await register(parts, 1, first=30, places={"home": {"point": list(CADIZ)}, "now": now})
    record = await planned(parts, sample)
    told = {place.name: place.standing for place in (await explained(parts, "p30", record)).places}
    assert told == {"home": "outside", "now": "inside"}
    await parts.follow_ups.close(record.id, ANA, "found")
    over = {place.name: place.standing for place in (await explained(parts, "p30", record)).places}
    assert over == {"home": "outside"}


async def test_the_answer_names_no_address_and_is_in_the_audit(
    parts: Container, client: Any, sandbox: Sandbox, sample: dict
):
    """It takes a scope of its own; nothing by which somebody is reached or found is in it; who asked is written down."""
    await register(parts, 25)
    record = await planned(parts, sample)
    _, reader = await parts.access.create(
        org="default", subject="carl", scopes=frozenset({"ledger:read", "subscribers:read"})
    )
    _, token = await parts.access.create(
        org="default", subject="bea", scopes=frozenset({"ledger:explain", "audit:read"})
    )
    path, headers = f"/v1/subscribers/p1/explain?alert={record.id}", {"Authorization": f"Bearer {token}"}
    assert (await client.get(path, headers={"Authorization": f"Bearer {reader}"})).status == 403
    response = await client.get(path, headers=headers)
    answer = await response.json()
    assert (response.status, answer["told"], answer["why"], answer["messages"][0]["state"]) == (
        200,
        "no",
        "has-messages",
        "queued",
    )
    text = json.dumps(answer)
    assert not [word for word in ("token-", "+346", "people.example", "37.39", "-5.98") if word in text]
    log = await (await client.get("/v1/audit", headers=headers)).json()
    (entry,) = [
        entry for entry in log["entries"] if entry["act"] == "subscriber.explain" and entry["outcome"] == "done"
    ]
    assert (entry["by"], entry["facts"]["alert"]) == ("bea", record.id)
    assert "p1" not in json.dumps(entry["object"])
    for missing in (
        f"/v1/subscribers/nobody/explain?alert={record.id}",
        "/v1/subscribers/p1/explain?alert=01ARZ3NDEKTSV4RRFFQ69G5FAV",
    ):
        assert (await client.get(missing, headers=headers)).status == 404


async def test_what_only_tells_of_an_alert_is_explained_by_the_alert_s_area(parts: Container, sample: dict[str, Any]):
    """An end has no ground of its own."""
    await register(parts, 25)
    await register(parts, 1, first=30, places={"home": {"point": list(CADIZ)}})
    record = await planned(parts, sample)
    await send(parts, record)
    end = await parts.alerts.get((await parts.follow_ups.close(record.id, ANA, "found")).told_by)
    await worker_of(parts).plans.planner.plan(end)
    told, outside = await explained(parts, "p1", end), await explained(parts, "p30", end)
    assert (told.why, [place.standing for place in told.places]) == ("has-messages", ["inside"])
    assert (outside.why, [place.standing for place in outside.places]) == ("outside", ["outside"])
