"""An alert without the child's facts: what was told is replaced, what is queued says no more, and nothing of it is left here."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.common.ids import TokenPurpose
from alertd.model.alert import Alert
from alertd.model.cap.messages import MsgType
from alertd.model.cap.reader import parse_message
from alertd.model.kinds import Occasion
from alertd.model.states import AlertState
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.alerts.follow_up import REOPEN
from alertd.service.alerts.later_audience import SETTLE_MS, later_version
from alertd.service.container import Container
from alertd.service.delivery.message_cache import POLL_S
from alertd.service.delivery.planner import FIRST_BATCH
from alertd.store.alerts.records import AlertRecord, Footing
from alertd.store.delivery.work_records import BatchKey
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.records.tombstones import Tombstones
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from geofences.regions import Library
from tests.integration.acts import (
    ANA,
    BEA,
    counts,
    lease_of,
    photo,
    planned,
    register,
    send,
    sent,
    slug,
    started_before,
    submitted,
)
from tests.integration.conftest import settings_for
from tests.integration.media.conftest import showing
from tests.integration.retention.purges import everything, put_back
from tests.unit.alertd.samples import changed

#: What the sample tells of the child, and what of the rest stays.
FACTS = ("Luc", "لوسيا", "abrigo", "red coat", "[118,", "118–", "brown", "green", "med_")
KEPT = ("Santa Justa", '"years":7', "female", "116000", "SE-2026-117")


async def said(parts: Container, alert_id: str, channel: str = "push") -> str:
    """A message as its carrier takes it, by a worker that had nothing in memory."""
    ready = await worker_of(parts).feeder.dispatch.selection.messages.ready(
        alert_id, BatchKey(channel=channel, language="es"), parts.carriers.of(channel)[0]
    )
    return repr(ready.prepared.payload)


async def test_what_else_still_tells_of_the_case_is_said(parts: Container, client: Any, sample: dict[str, Any]):
    """Of one's own organisation, told or waiting; neither of another case nor what is over, restricted or another organisation's."""
    await register(parts, 20)
    case = {**sample["case"], "number": "SE-2026-9"}
    record, other = [await planned(parts, sample, case=case) for _ in range(2)]
    waits = (await submitted(parts, sample, case=case)).record
    over = await planned(parts, sample, case=case)
    await parts.follow_ups.cancel(over.id, BEA, "x")
    await planned(parts, sample, case={**case, "number": "SE-2026-10"})
    _, token = await parts.access.create(org="default", subject="bea", scopes=frozenset({"admin"}))
    headers = {"Authorization": f"Bearer {token}"}
    answer = await client.post(f"/v1/alerts/{record.id}/restrict", json={"reason": "x"}, headers=headers)
    assert (answer.status, sorted((await answer.json())["still_named"])) == (200, sorted([other.id, waits.id]))
    await parts.amendment.restrict(other.id, BEA, "x")
    shown = await (await client.get(f"/v1/alerts/{record.id}", headers=headers)).json()
    assert shown["still_named"] == [waits.id]
    assert (await (await client.get(f"/v1/alerts/{waits.id}", headers=headers)).json())["still_named"] == []
    await parts.db.execute("HSET", keys.of_chain(waits.id, "version", waits.id), "reason", b"\1damaged")
    shown = await client.get(f"/v1/alerts/{record.id}", headers=headers)
    assert (shown.status, (await shown.json())["still_named"]) == (200, []), "one that is damaged hides no other"


async def replacement(parts: Container, told_by: str) -> AlertRecord:
    """The version that replaces what was told, as if the moment were over in which the old words may still be sent."""
    notice = await parts.alerts.get(told_by)
    return started_before(notice, SETTLE_MS)


async def test_nothing_of_the_child_is_left(parts: Container, sample: dict[str, Any]):
    """In no version of the alert, no message and no CAP; the place, the age and whom to call are still there; the photo is gone."""
    await register(parts, 20)
    media = await photo(parts)
    place = changed(sample, "case/last_seen/place/es", "Santa Justa, ante la casa de Lucía")
    record = await planned(parts, sample, case=showing(place, media))
    await parts.photos.show(media, "push")
    down = await parts.follow_ups.stand_down(record.id, ANA, "x")
    await parts.follow_ups.reopen(record.id, BEA, "x")
    done = await parts.amendment.restrict(record.id, ANA, "Her name is protected")
    assert (done.record.state, done.record.last_step.reason) == (AlertState.SENDING, "Her name is protected")
    for version in await parts.alerts.versions([record.id]):
        document = (await parts.alerts.get(version)).document.decode()
        assert not [fact for fact in FACTS if fact in document], version
    assert not [kept for kept in KEPT if kept not in document]
    texts = [
        await said(parts, one, channel) for one in (record.id, done.told_by) for channel in ("push", "sms", "mail")
    ]
    texts.append((await parts.cap_out.document(done.record)).decode())
    assert not [fact for fact in FACTS for text in texts if fact in text]
    assert all("7" in text for text in texts)
    assert down.told_by == f"{record.id}-2"
    assert await slug(parts.photos.show(media, "push")) == "gone"
    assert await slug(parts.photos.show(media, "push", ANA)) == "gone"


async def test_no_address_that_people_are_given_has_her_name(parts: Container, sample: dict[str, Any]):
    """It could not be taken out of it, and goes on in what is told at the end: the alert is refused where it says so."""
    await register(parts, 20)
    with pytest.raises(Problem) as refusal:
        await submitted(parts, changed(sample, "case/contact/3/url", "https://centre.example/lucia-perez"))
    assert refusal.value.slug == "invalid-request"
    assert [fault.pointer for fault in refusal.value.faults] == ["/case/contact/3/url"]


async def test_who_was_told_gets_it_in_its_place_without_a_sound(parts: Container, sample: dict[str, Any]):
    """By push, at once after the moment in which the old words may still leave, as an update of the same chain."""
    record = await sent(parts, sample)
    done = await parts.amendment.restrict(record.id, ANA, "x")
    assert done.record.state is AlertState.SENT
    notice = await parts.alerts.get(done.told_by)
    planner = worker_of(parts).plans.planner
    assert not await planner.plan(notice)
    assert await planner.plan(await replacement(parts, done.told_by))
    await send(parts, record, "push")
    assert await parts.work.counts(done.told_by) == {
        "push": {"targeted": 20, "queued": 0, "in_flight": 0, "accepted": 20}
    }
    text = await said(parts, done.told_by)
    assert '"loudness":"silent"' in text.replace(" ", "")
    assert '"occasion":"update"' in text.replace(" ", "")


async def test_an_app_shows_no_message_that_left_with_them(parts: Container, client: Any, sample: dict[str, Any]):
    """It asks before it shows a name: no for what was sent before, yes for what takes its place and for what leaves without them."""

    async def shows(version: str, row: int) -> bool:
        async with client.get(f"/r/{parts.tags.make(version, row, TokenPurpose.ACK)}") as answer:
            return bool((await answer.json())["show"])

    await register(parts, FIRST_BATCH + 1)
    record = await planned(parts, sample)
    dispatch = worker_of(parts).feeder.dispatch
    await dispatch.drain(await lease_of(parts.work, record.id, "push"), lambda: False)
    assert await counts(parts, record) == {"accepted": FIRST_BATCH, "queued": 1}
    assert await shows(record.id, 0)
    done = await parts.amendment.restrict(record.id, ANA, "x")
    assert not await shows(record.id, 0)
    parts.db.skew_ms += SETTLE_MS
    await parts.clock.sleep(POLL_S)
    await dispatch.drain(await lease_of(parts.work, record.id, "push"), lambda: False)
    assert await worker_of(parts).plans.planner.plan(await replacement(parts, done.told_by))
    await send(parts, record)
    told = (record.id, 0), (record.id, FIRST_BATCH), (done.told_by, 0)
    assert [await shows(version, row) for version, row in told] == [False, True, True]
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    assert [await shows(version, row) for version, row in told] == [False, False, False]


async def test_an_app_shows_no_message_that_was_under_way_with_them(
    parts: Container, client: Any, sandbox: Sandbox, sample: dict[str, Any]
):
    """Of one that its carrier answered late, it counts when it left."""
    sandbox.push.script.set(Rule("token-", "slow", delay_s=2))
    await register(parts, 20)
    record = await planned(parts, sample)
    lease = await lease_of(parts.work, record.id, "push")
    under_way = asyncio.create_task(worker_of(parts).feeder.dispatch.drain(lease, lambda: False))
    async with asyncio.timeout(60):
        while not (await counts(parts, record)).get("in_flight"):  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.01)
    await parts.amendment.restrict(record.id, ANA, "x")
    await under_way
    assert await counts(parts, record) == {"accepted": 20}
    async with client.get(f"/r/{parts.tags.make(record.id, 0, TokenPurpose.ACK)}") as answer:
        assert not (await answer.json())["show"]


async def test_what_is_queued_goes_out_without_them(parts: Container, sample: dict[str, Any]):
    """Also from a worker that had the old words in memory."""
    await register(parts, 20)
    record = await planned(parts, sample, channels=["sms"])
    messages = worker_of(parts).feeder.dispatch.selection.messages
    alike, carrier = BatchKey(channel="sms", language="es"), parts.carriers.of("sms")[0]
    assert "Luc" in repr((await messages.ready(record.id, alike, carrier)).prepared.payload)
    await parts.amendment.restrict(record.id, ANA, "x")
    await parts.clock.sleep(POLL_S)
    assert "Luc" not in repr((await messages.ready(record.id, alike, carrier)).prepared.payload)
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 20}


async def test_of_one_that_is_stood_down_nobody_hears(parts: Container, sample: dict[str, Any]):
    """The words that it is over stay on the way; when it is reopened it comes back without the facts."""
    record = await sent(parts, sample, channels=["push"])
    down = await parts.follow_ups.stand_down(record.id, ANA, "x")
    done = await parts.amendment.restrict(record.id, ANA, "x")
    assert (done.record.state, done.told_by) == (AlertState.STOOD_DOWN, None)
    assert await parts.alerts.state(down.told_by) is AlertState.APPROVED
    assert await worker_of(parts).plans.planner.plan(await parts.alerts.get(down.told_by))
    await send(parts, record)
    again = await parts.follow_ups.reopen(record.id, BEA, "x")
    assert "Luc" not in await said(parts, again.told_by)


async def test_what_follows_has_none_of_the_words_that_were_taken_out_meanwhile(
    parts: Container, sample: dict[str, Any]
):
    """Who comes back with an alert that was read before it was restricted looks again."""
    record = await sent(parts, sample, channels=["push"])
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    before = await parts.alerts.get(record.id)
    await parts.amendment.restrict(record.id, ANA, "x")
    back = later_version(
        before, 3, Occasion.UPDATE, REOPEN.follows, by="b", expires=before.expires, loudness=before.loudness
    )
    footing = Footing(sources=REOPEN.sources, last=2, rev=None)
    assert await parts.alerts.follow(before, footing, REOPEN.new, back, fields={}) == (False, "again")
    again = await parts.follow_ups.reopen(record.id, BEA, "x")
    assert "Luc" not in (await parts.alerts.get(again.told_by)).document.decode()


@pytest.mark.parametrize("first", ["restricted", "stood down"])
async def test_phones_that_heard_nothing_of_a_stand_down_are_told_without_them_when_it_comes_back(
    parts: Container, sample: dict[str, Any], first: str
):
    """They show the alert as it was: neither what took the facts out nor that it was stood down had come to them."""
    record = await sent(parts, sample, channels=["push"])
    acts = [parts.amendment.restrict, parts.follow_ups.stand_down]
    for act in acts if first == "restricted" else reversed(acts):
        await act(record.id, ANA, "x")
    again = await parts.follow_ups.reopen(record.id, BEA, "x")
    assert (await parts.follow_ups.reopen(record.id, BEA, "x")).told_by == again.told_by
    assert await worker_of(parts).plans.planner.plan(await replacement(parts, again.told_by))
    await send(parts, record)
    assert (await parts.work.counts(again.told_by))["push"]["accepted"] == 20
    assert "Luc" not in await said(parts, again.told_by)


async def test_phones_are_told_without_them_although_the_end_is_told_later(parts: Container, sample: dict[str, Any]):
    """Until the family knows they show what was left of it, and no name; what comes back is not told any more once it is over."""
    record = await sent(parts, sample, channels=["push"])
    done = await parts.amendment.restrict(record.id, ANA, "x")
    other = await sent(parts, sample, channels=["push"])
    await parts.amendment.restrict(other.id, ANA, "x")
    await parts.follow_ups.stand_down(other.id, ANA, "x")
    back = await parts.follow_ups.reopen(other.id, BEA, "x")
    for one in (record, other):
        await parts.follow_ups.close(one.id, ANA, "Found", notify=False)
    assert await parts.alerts.states([done.told_by, back.told_by]) == [AlertState.APPROVED, AlertState.SUPERSEDED]
    assert await worker_of(parts).plans.planner.plan(await replacement(parts, done.told_by))
    await send(parts, record)
    assert (await parts.work.counts(done.told_by))["push"]["accepted"] == 20
    end = await parts.follow_ups.close(record.id, ANA, "Found")
    assert end.told_by == f"{record.id}-3"


async def test_a_halt_stays(parts: Container, sample: dict[str, Any]):
    """An alert that waits goes on waiting, and the key that it is sent by stays the one that a stop finds."""
    await register(parts, 20)
    record = await planned(parts, sample)
    await parts.stop_control.pause(record, ANA, waits=True, rev=None)
    done = await parts.amendment.restrict(record.id, ANA, "x")
    assert done.record.chain.paused
    assert await lease_of(parts.work, record.id, "push") is None


async def test_it_is_said_twice_and_done_once(parts: Container, sample: dict[str, Any]):
    """Whoever says it again, and be it another, gets the same answer; no revision and no version are made."""
    record = await sent(parts, sample, channels=["push"])
    first = await parts.amendment.restrict(record.id, ANA, "x")
    second = await parts.amendment.restrict(record.id, BEA, "y")
    assert (second.told_by, second.record.rev) == (first.told_by, first.record.rev)
    assert len(await parts.alerts.versions([record.id])) == 2


async def test_cap_says_it_as_an_update(parts: Container, sample: dict[str, Any]):
    """Of a name of its own that refers to the first; the end refers to both."""
    record = await sent(parts, sample, channels=["push"])
    first = parse_message(await parts.cap_out.document(record))
    done = await parts.amendment.restrict(record.id, ANA, "x")
    update = parse_message(await parts.cap_out.document(done.record))
    assert (update.msg_type, update.references) == (MsgType.UPDATE, (first.reference,))
    assert update.identifier not in {first.identifier, record.id}
    closed = await parts.follow_ups.close(record.id, ANA, "x")
    assert parse_message(await parts.cap_out.document(closed.record)).references == (first.reference, update.reference)


async def test_breaches_are_refused(parts: Container, sample: dict[str, Any]):
    """Nothing is taken out of what nobody knows yet, or any more; a general alert has no such facts; the seen revision counts."""
    await register(parts, 20)
    pending = (await submitted(parts, sample)).record
    assert await slug(parts.amendment.restrict(pending.id, ANA, "x")) == "precondition-failed"
    record = await planned(parts, sample, case={**sample["case"], "number": "another"})
    assert await slug(parts.amendment.restrict(record.id, ANA, "x", rev=1)) == "version-changed"
    assert await slug(parts.amendment.restrict(record.id, dataclasses.replace(ANA, test=True), "x")) == "not-allowed"
    assert await slug(parts.amendment.restrict(record.id, dataclasses.replace(ANA, org="other"), "x")) == "not-found"
    closed = await parts.follow_ups.close(record.id, ANA, "x")
    for one in (closed.told_by, record.id):
        assert await slug(parts.amendment.restrict(one, ANA, "x")) == "precondition-failed"


async def test_a_general_alert_is_refused(parts: Container, sample: dict[str, Any]):
    """It is about nobody; what is wrong with it is ended or corrected."""
    document = {
        "kind": "general", "level": "warning", "status": "Test", "expires": sample["expires"], "case": {},
        "info": {"es": {"headline": "Agua", "description": "No beba."}}, "target": {"regions": ["41091"]},
        "channels": ["push"],
    }  # fmt: skip
    taken = await parts.intake.submit(Alert.model_validate_json(json.dumps(document)), ANA)
    record = await parts.approval.begin(taken.record, ANA)
    assert record.state is AlertState.APPROVED
    assert await slug(parts.amendment.restrict(record.id, ANA, "x")) == "precondition-failed"


async def test_a_copy_that_is_put_back_names_nobody(
    parts: Container, sample: dict[str, Any], redis: Redis, codec: Codec, sandbox: Sandbox, library: Library
):
    """What was restricted since it was made is so before anything of it is served, in every version, whatever state it has there; what was
    not is as it was.
    """
    media = await photo(parts)
    record = await sent(parts, sample, channels=["push"], case=showing(sample, media))
    other = (await submitted(parts, sample, case={**sample["case"], "number": "another"})).record
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    copy = await everything(parts.db)
    await parts.amendment.restrict(record.id, ANA, "Her name is protected")
    await put_back(parts.db, copy)
    assert b"Luc" in (await parts.alerts.get(record.id)).document
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        found = await again.alerts.get(record.id)
        assert found.times.restricted
        assert found.state is AlertState.STOOD_DOWN
        versions = [await again.alerts.get(one) for one in await again.alerts.versions([record.id])]
        assert len(versions) == 2
        for version in versions:
            assert not [fact for fact in FACTS if fact in version.document.decode()]
        assert await slug(again.photos.show(media, "push", ANA)) == "gone"
        assert (await again.alerts.get(other.id)).document == other.document
        rev = found.rev
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        assert (await again.alerts.get(record.id)).rev == rev


async def test_a_restricted_alert_that_is_damaged_keeps_no_process_from_starting(
    parts: Container, sample: dict[str, Any], redis: Redis, codec: Codec, sandbox: Sandbox, library: Library
):
    """It is restricted, and nothing of it is to be done again: what is sealed of it is not looked at."""
    record = await sent(parts, sample, channels=["push"])
    await parts.amendment.restrict(record.id, ANA, "Her name is protected")
    await parts.db.execute("SETRANGE", keys.case(record.case), 20, b"\xff\xff\xff\xff")
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        assert await again.db.takes_writes()


@pytest.mark.parametrize("what", ["its case", "what followed it"])
async def test_one_that_is_damaged_in_a_copy_keeps_no_process_from_starting(
    parts: Container, sample: dict[str, Any], redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, what: str
):
    """What of it can be read, and so be shown, is restricted."""
    record = await sent(parts, sample, channels=["push"])
    await parts.follow_ups.stand_down(record.id, ANA, "x")
    copy = await everything(parts.db)
    await parts.amendment.restrict(record.id, ANA, "Her name is protected")
    await put_back(parts.db, copy)
    if what == "its case":
        await parts.db.execute("SETRANGE", keys.case(record.case), 20, b"\xff\xff\xff\xff")
    else:
        name = keys.of_chain(record.id, "version", f"{record.id}-2")
        sealed = [field for field, value in (await parts.db.hash_of(name)).items() if value.startswith(b"\x01")]
        await parts.db.execute("HSET", name, *(part for field in sealed for part in (field, b"\x01damaged")))
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        assert await again.db.takes_writes()
        if what == "what followed it":
            found = await again.alerts.get(record.id)
            assert found.times.restricted
            assert not [fact for fact in FACTS if fact in found.document.decode()]


async def test_a_restriction_that_cannot_be_written_down_is_done_and_said_so(
    parts: Container, sample: dict[str, Any], tmp_path: Path
):
    """No full disk keeps a name in public; whoever asked is told that a copy would bring it back, and says it again."""
    record = await sent(parts, sample)
    parts.amendment.tombstones = Tombstones(tmp_path / "none" / "tombstones")
    assert await slug(parts.amendment.restrict(record.id, ANA, "x")) == "store-unavailable"
    assert (await parts.alerts.get(record.id)).times.restricted
    parts.amendment.tombstones = Tombstones(tmp_path / "tombstones")
    await parts.amendment.restrict(record.id, ANA, "x")
    assert list(parts.amendment.tombstones.restrictions()) == [record.id]
    assert parts.amendment.tombstones.read_all() == []
