"""Who is on call, who may say that they have an alert, and what nobody learns of either."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.common.ids import TokenPurpose
from alertd.model.states import AlertState
from tests.integration.acts import ANA, BEA, CARL, alert_of
from tests.integration.nights import DEPUTY, DESK, THREE, Night, person, rota_of, sms


async def test_only_who_could_approve_it_takes_it(night: Night):
    """Not its author, nor somebody through whose hands the author's key came, nor a test key, nor once it waits no more."""
    await night.rota()
    alert_id = await night.waits()
    made_by_ana = replace(BEA, makers=("ana@centre.example",))
    for who, slug in ((ANA, "same-person"), (made_by_ana, "same-person"), (replace(BEA, test=True), "not-allowed"),
                      (replace(BEA, org="other"), "not-found")):  # fmt: skip
        with pytest.raises(Problem) as refused:
            await night.parts.rota.take(alert_id, who)
        assert refused.value.slug == slug
    await night.parts.approval.approve(alert_id, BEA)
    with pytest.raises(Problem) as refused:
        await night.parts.rota.take(alert_id, CARL)
    assert refused.value.slug == "precondition-failed"
    assert await night.call(alert_id) is None


async def test_who_gave_it_back_does_not_have_it_when_it_comes_again(night: Night):
    """Also where nobody is on call, and so nothing else is written of it: nobody waits for somebody who does not look."""
    alert_id = await night.waits()
    assert (await night.parts.rota.take(alert_id, BEA)).paged.by == BEA.subject
    await night.parts.approval.give_back(alert_id, BEA, "The area is wrong")
    night.clock.ahead_ms += 60_000
    await night.parts.approval.submit(alert_id, ANA)
    await night.round()
    [call] = await night.parts.rota.calls("default")
    assert (call.record.id, call.paged and call.paged.by) == (alert_id, "")
    await night.parts.rota.take(alert_id, CARL)
    await night.parts.approval.approve(alert_id, BEA)
    assert (await night.call(alert_id)).by == CARL.subject  # what was, still is told


async def test_who_wrote_it_is_not_called_for_it(night: Night):
    """They could not approve it: the next who can is called at once."""
    await night.rota([person("Ana", sms(DESK), subject="ANA@centre.example")], [person("Bea", sms(DEPUTY))])
    await night.waits()
    await night.round()
    assert night.got() == [DEPUTY]


async def test_an_exercise_says_so(night: Night):
    """Exercise and Test wait for nobody, unless something keeps them from going out; then a page says in front what it is."""
    await night.rota([person("Desk", sms(DESK), {"channel": "mail", "mailbox": "desk@centre.example"})])
    taken = await night.parts.intake.submit(alert_of(night.sample, status="Exercise"), ANA)
    assert taken.record.state is AlertState.PENDING
    await night.round()
    [text] = night.texts()
    assert text.startswith("EXERCISE")


async def test_the_calls_are_in_the_audit_and_in_no_ledger(night: Night):
    """Which step, and how many were reached; no name and no address. The alert's own messages count nobody more."""
    await night.rota()
    alert_id = await night.waits()
    await night.round()
    acts = [
        (one.act, one.outcome, dict(one.facts), one.by)
        for one in await night.parts.audit.page("default", before=None, limit=10)
    ]
    assert ("alert.page", "done", {"step": 1, "told": 1, "failed": 0}, "alertd") in acts
    assert DESK not in repr(acts)
    assert await night.parts.work.counts(alert_id) == {}


async def test_no_address_of_anybody_on_call_is_ever_told(night: Night, caplog: pytest.LogCaptureFixture):
    """Not in a log, not in an event, not in the store in clear."""
    caplog.set_level("DEBUG")
    await night.rota()
    await night.waits()
    await night.round()
    await night.round(5)
    assert DESK not in caplog.text
    found = await night.parts.events.read_page("default", None, 100)
    assert DESK not in repr(found)
    kept = [
        await night.parts.db.execute("DUMP", key) async for key in night.parts.db.nodes.first.scan_iter("{o:*}:oncall")
    ]
    assert len(kept) == 1
    assert DESK.encode() not in kept[0]


async def test_a_push_to_somebody_on_call_is_no_alert(night: Night, client: Any):
    """It goes by an id of its own; an app that asks is told to show it while the alert waits, and that it came is nobody's ledger."""
    await night.rota([person("Desk", {"channel": "push", "token": "desk-phone"})])
    alert_id = await night.waits()
    await night.round()
    [(chain, _, _, _, _, _)] = [row for row in night.sandbox.push.recorded if row[2] == "desk-phone"]
    assert chain != alert_id
    tag = night.parts.tags.make(alert_id, 0, TokenPurpose.PAGE)
    async with client.get(f"/r/{tag}") as answer:
        assert (await answer.json())["show"] is True
    async with client.post(f"/r/{tag}?state=seen") as answer:
        assert answer.status == 204
    async with client.post(f"/v1/receipts/text/{tag}", data={"MessageStatus": "delivered"}) as answer:
        assert answer.status == 204  # an SMS has the same tag
    await night.parts.approval.approve(alert_id, BEA)
    async with client.get(f"/r/{tag}") as answer:
        assert (await answer.json())["show"] is False


async def test_the_rota_is_of_its_administrators(night: Night, client: Any):
    """They alone write it and see its addresses; others see who is on duty. Over what somebody else wrote meanwhile it is not written."""
    made = {}
    for subject, scopes in (("root@x.example", {"admin"}), ("bea@x.example", {"alerts:read", "alerts:approve"})):
        _, token = await night.parts.access.create(org="default", subject=subject, scopes=frozenset(scopes))
        made[subject[:4].strip("@")] = {"Authorization": f"Bearer {token}"}
    body = json.loads(rota_of(*THREE).model_dump_json(by_alias=True))
    async with client.put("/v1/oncall", json=body, headers=made["bea"]) as answer:
        assert answer.status == 403
    async with client.put("/v1/oncall", json=body, headers=made["root"]) as answer:
        assert answer.status == 200
        tag = answer.headers["ETag"]
    async with client.get("/v1/oncall", headers=made["bea"]) as answer:
        shown = await answer.json()
    assert shown["rota"] is None
    assert shown["now"][0]["people"] == [{"name": "Desk", "channels": ["sms"]}]
    assert DESK not in json.dumps(shown)
    async with client.put("/v1/oncall", json={**body, "times": 5}, headers=made["root"] | {"If-Match": tag}) as answer:
        assert answer.status == 200
    async with client.put("/v1/oncall", json={**body, "times": 6}, headers=made["root"] | {"If-Match": tag}) as answer:
        assert answer.status == 412
    async with client.get("/v1/oncall", headers=made["root"]) as answer:
        assert (await answer.json())["rota"]["times"] == 5


async def test_over_the_api_what_waits_is_listed_and_taken(night: Night, client: Any):
    """With who was called and when, and who has it until when."""
    await night.rota()
    alert_id = await night.waits()
    await night.round()
    scopes = frozenset({"alerts:read", "alerts:approve"})
    _, token = await night.parts.access.create(org="default", subject="bea@centre.example", scopes=scopes)
    headers = {"Authorization": f"Bearer {token}"}
    async with client.post(f"/v1/alerts/{alert_id}/take", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    async with client.get("/v1/oncall/alerts", headers=headers) as answer:
        [call] = (await answer.json())["calls"]
    assert call["alert"]["id"] == alert_id
    assert [(one["step"], one["name"], one["channel"], one["taken"]) for one in call["pages"]] == [
        (1, "Desk", "sms", True)
    ]
    assert call["taken"]["by"] == "bea@centre.example"
    assert call["next"] == call["taken"]["until"]
    await night.parts.approval.approve(alert_id, CARL)
    async with client.get("/v1/oncall/alerts", headers=headers) as answer:
        assert (await answer.json())["calls"] == []
