"""A purged case: nothing of the child can be read, here or in a copy that is put back, and nothing else is touched."""

from __future__ import annotations

import dataclasses
import resource
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alertd.common.errors import Problem
from alertd.common.ids import new_id
from alertd.model.organisation import Organisation
from alertd.model.states import AlertState
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.service.records.audit import Noted
from alertd.store.alerts.records import Footing
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.records.case_keys import Cases
from alertd.store.records.tombstones import Tombstone, Tombstones
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.integration.acts import (
    ANA,
    BEA,
    CARL,
    alert_of,
    counts,
    finish,
    photo,
    planned,
    register,
    sent,
    slug,
    submitted,
    tell,
)
from tests.integration.conftest import settings_for
from tests.integration.media.conftest import showing
from tests.integration.retention.purges import WHY, Meanwhile, closed, everything, put_back

ROOM = 1 << 20  # bytes: more than anything else that this process writes to a file meanwhile


async def test_nothing_of_it_can_be_read(parts: Container, sample: dict[str, Any], store: Connection):
    """In no version; the key, the photo and the area are gone; who was told when, and who decided, stays."""
    media = await photo(parts)
    record = await closed(parts, sample, case=showing(sample, media))
    before = await counts(parts, record)
    purged = await parts.purging.purge(record.id, BEA, WHY)
    for version in await parts.alerts.versions([record.id]):
        found = await parts.alerts.get(version)
        assert (found.state, found.document, found.last_step.reason, found.external_id) == (
            AlertState.PURGED,
            b"",
            "",
            "",
        )
        assert (found.target.regions, found.target.countries) == ("", "")
        assert not await store.execute("EXISTS", keys.of_chain(record.id, "area", version))
    for name in (keys.case, keys.case_held, keys.case_dropped):
        assert not await store.execute("EXISTS", name(record.case))
    assert not await store.execute("EXISTS", keys.media(media))
    with pytest.raises(Problem) as refusal:
        await parts.photos.show(media, "push", ANA)
    assert refusal.value.status == 410
    assert await slug(parts.cap_out.document(purged)) == "not-found"
    assert (await counts(parts, record), purged.approval.by, purged.last_step.by) == (before, BEA.subject, BEA.subject)
    assert purged.last_step.code == "retention"


async def test_what_was_audited_can_be_checked_and_not_read(parts: Container, sample: dict[str, Any]):
    """The chain holds; no value of the case is in what is written after it, and nobody can make the HMACs of before again."""
    record = await closed(parts, sample)
    await parts.audit.end(ANA, "alert.close", "done", Noted(record=record), of=1)
    purged = await parts.purging.purge(record.id, BEA, WHY)
    await parts.audit.end(BEA, "alert.purge", "done", Noted(record=purged), of=2)
    after, before = await parts.audit.page("default", before=None, limit=2)
    assert (bool(before.case), after.case) == (True, {})
    assert (await parts.audit.verify("default", None)).broken is None
    assert await parts.alerts.of_case(record.case, {"document": record.document}) == {}


async def test_all_alerts_of_the_case_go_together(parts: Container, sample: dict[str, Any]):
    """They are sealed under one key. One that is not over keeps it, and them."""
    record = await closed(parts, sample)
    other = await planned(parts, sample)
    assert other.case == record.case
    assert await slug(parts.purging.purge(record.id, BEA, WHY)) == "precondition-failed"
    assert (await parts.alerts.get(record.id)).document == record.document
    await parts.follow_ups.cancel(other.id, BEA, "x", notify=False)
    await parts.purging.purge(record.id, BEA, WHY)
    assert (await parts.alerts.get(other.id)).state is AlertState.PURGED


async def test_the_next_alert_of_the_case_has_a_key_of_its_own(parts: Container, sample: dict[str, Any]):
    """It is read as any other, and purging the first again does not touch it."""
    record = await closed(parts, sample)
    await parts.purging.purge(record.id, BEA, WHY)
    other = (await submitted(parts, sample)).record
    again = await parts.purging.purge(record.id, BEA, WHY)
    assert again.state is AlertState.PURGED
    assert (await parts.alerts.get(other.id)).document == other.document
    assert (await parts.alerts.heads([record.id]))[0].external_id == ""


async def test_one_that_is_stood_down_is_purged_and_settled(parts: Container, sample: dict[str, Any]):
    """When its notice has been told; what was queued is cancelled, and the alert ends."""
    await register(parts, 20)
    record = await planned(parts, sample, channels=["push", "sms"])
    down = await parts.follow_ups.stand_down(record.id, ANA, "x")
    assert await slug(parts.purging.purge(record.id, BEA, WHY)) == "precondition-failed"
    assert await tell(parts, down, ("push",)) == {}
    assert await finish(parts.work, down.told_by) == "done"
    await parts.purging.purge(record.id, BEA, WHY)
    for _ in range(2):
        seen = (await parts.alerts.live()).get(record.id, b"")
        await worker_of(parts).ending.follow(record.id, await finish(parts.work, record.id), seen)
    assert await counts(parts, record, "sms") == {"cancelled": 20}
    assert await finish(parts.work, record.id) == "done"
    assert await slug(parts.follow_ups.reopen(record.id, BEA, "x")) in {"precondition-failed", "expired"}


async def test_what_is_about_to_be_written_keeps_the_key(parts: Container, sample: dict[str, Any]):
    """An alert of the case, between its key and its document, would be sealed and never opened again."""
    record = await closed(parts, sample)
    await parts.alerts.case_box(record.case, new_id(parts.clock.now_ms()))
    assert await slug(parts.purging.purge(record.id, BEA, WHY)) == "precondition-failed"
    held = await parts.purging.cases.held(record.case)
    await parts.alerts.case_box(record.case, record.id)
    assert not await parts.purging.cases.drop(record.case, held)


async def test_a_copy_that_is_put_back_shows_nothing(
    parts: Container, sample: dict[str, Any], redis: Redis, codec: Codec, sandbox: Sandbox, library: Library
):
    """Of a case that was purged since, in whatever state it is there; another case is as it was."""
    media = await photo(parts)
    record = await sent(parts, sample, channels=["push"], case=showing(sample, media))
    other = (await submitted(parts, sample, case={**sample["case"], "number": "another"})).record
    copy = await everything(parts.db)
    done = await parts.follow_ups.close(record.id, ANA, "x")
    await tell(parts, done, ("push",))
    assert await finish(parts.work, done.told_by) == "done"
    await parts.purging.purge(record.id, BEA, WHY)
    await put_back(parts.db, copy)
    assert (await parts.alerts.get(record.id)).document
    async with opened(settings_for(sandbox), redis, codec, library=library) as again:
        found = await again.alerts.get(record.id)
        assert (found.state, found.document) == (AlertState.PURGED, b"")
        assert not await again.db.execute("EXISTS", keys.media(media))
        assert (await again.alerts.get(other.id)).document == other.document


async def test_a_crash_before_the_tombstone_is_gone_on_with(parts: Container, sample: dict[str, Any], tmp_path: Path):
    """The key that was taken away is there until it is written down; the same call writes it, and destroys the key."""
    record = await closed(parts, sample)
    purging = parts.purging
    purging.tombstones = Tombstones(tmp_path / "none" / "tombstones")
    assert await slug(purging.purge(record.id, BEA, WHY)) == "store-unavailable"
    assert await parts.db.execute("EXISTS", keys.case_dropped(record.case))
    assert (await parts.alerts.get(record.id)).document == b""
    purging.tombstones = Tombstones(tmp_path / "tombstones")
    await purging.purge(record.id, BEA, WHY)
    assert not await parts.db.execute("EXISTS", keys.case_dropped(record.case))
    assert [stone.case for stone in purging.tombstones.read_all()] == [record.case]


@pytest.mark.parametrize("goes_on", ["call", "start"])
async def test_what_a_purge_left_undone_touches_nothing_that_came_since(
    parts: Container, sample: dict[str, Any], tmp_path: Path, goes_on: str
):
    """The child is missing again, with another key, photo and hold: the key that was taken away is destroyed, by the same call or the next start,
    and nothing else. The old photo is shown to nobody.
    """
    old_media, media = await photo(parts), await photo(parts)
    record, purging = await closed(parts, sample, case=showing(sample, old_media)), parts.purging
    stones = purging.tombstones
    purging.tombstones = Tombstones(tmp_path / "none" / "tombstones")
    assert await slug(purging.purge(record.id, BEA, WHY)) == "store-unavailable"
    purging.tombstones = stones
    other = await sent(parts, sample, channels=["push"], case=showing(sample, media))
    await parts.legal_holds.hold(other.id, CARL, "x")
    if goes_on == "call":
        assert (await purging.purge(record.id, BEA, WHY)).state is AlertState.PURGED
    else:
        stones.add(await Cases(parts.db).dropped(record.case))
        await purging.restore()
    assert not await parts.db.execute("EXISTS", keys.case_dropped(record.case))
    found = await parts.alerts.get(other.id)
    assert (found.state, found.document) == (AlertState.SENT, other.document)
    assert await Cases(parts.db).is_kept(other.case)
    assert await parts.photos.show(media, "push", None)
    with pytest.raises(Problem) as refusal:
        await parts.photos.show(old_media, "push", ANA)
    assert refusal.value.status in {404, 410}
    assert [stone.case for stone in stones.read_all()] == [record.case]


def test_a_line_that_was_cut_off_is_none(tmp_path: Path):
    """A crash leaves no end of line, and may cut a letter in two. What is added afterwards, and the lines around it, are read, with
    a warning that quotes nothing.
    """
    stones = Tombstones(tmp_path / "tombstones")
    assert stones.read_all() == []
    stones.add(Tombstone(case="a", key="1"))
    for torn in (b'{"case":"b","ke', b'{"case":"b', b'{"case":"b\xc3"}', b"\0\0\0", b'{"case":"b"}'):
        with stones.path.open("ab") as file:
            file.write(torn)
        stones.add(Tombstone(case="c", key="3"))
    with capture_logs() as said:
        assert [stone.case for stone in stones.read_all()] == ["a", *"ccccc"]
    assert [(line["log_level"], line["lines"]) for line in said] == [("warning", [2, 4, 6, 8, 10])]
    assert "case" not in str(said)
    assert stones.path.stat().st_mode & 0o777 == 0o600


def test_a_tombstone_that_has_no_room_is_an_error(tmp_path: Path):
    """Where the disk takes but a part of the line, it is not said to be there; the part harms none that is added later."""
    stones = Tombstones(tmp_path / "tombstones")
    stones.path.write_bytes(b"\n" * ROOM)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM + 10, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            stones.add(Tombstone(case="a", key="1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stones.path.stat().st_size == ROOM + 10
    stones.add(Tombstone(case="a", key="1"))
    assert [stone.case for stone in stones.read_all()] == ["a"]


async def test_another_organisation_with_the_same_number_keeps_nothing_of_a_case(
    parts: Container, sample: dict[str, Any]
):
    """Anyone who knows the number of a case can write a draft of it. The others' case is purged all the same, key and all, and the draft
    stays readable. A backup brings nothing of it back.
    """
    await register(parts, 20)
    police, theirs = (dataclasses.replace(who, org="police") for who in (ANA, BEA))
    await parts.organisations.put("police", Organisation(name="Police"), ANA)
    own = (await submitted(parts, sample)).record
    other = (await parts.intake.submit(alert_of(sample), police, draft=True)).record
    await parts.legal_holds.hold(other.id, police, "theirs")
    await parts.approval.reject(own.id, BEA, "x")
    assert (await parts.purging.purge(own.id, BEA, WHY)).state is AlertState.PURGED
    cases = Cases(parts.db)
    assert await cases.held(own.case) == {}
    assert await parts.db.execute("EXISTS", keys.case(own.case)) == 0
    assert (await parts.alerts.get(own.id)).document == b""
    assert (await parts.alerts.get(other.id)).document == other.document
    await parts.legal_holds.release(other.id, theirs)
    await parts.approval.reject(other.id, theirs, "x")
    await parts.purging.purge(other.id, theirs, WHY)
    assert await cases.held(other.case) == {}


async def test_a_draft_keeps_no_case_from_being_purged(parts: Container, sample: dict[str, Any]):
    """A draft of the same case goes with it, for nobody has submitted it; one that waits for its second person keeps the case."""
    record = await closed(parts, sample)
    draft = (await parts.intake.submit(alert_of(sample), ANA, draft=True)).record
    assert draft.case == record.case
    assert (await parts.purging.purge(record.id, BEA, WHY)).state is AlertState.PURGED
    gone = await parts.alerts.get(draft.id)
    assert (gone.state, gone.document) == (AlertState.PURGED, b"")
    again = await closed(parts, sample)
    await submitted(parts, sample)
    assert await slug(parts.purging.purge(again.id, BEA, WHY)) == "precondition-failed"
    assert (await parts.alerts.get(again.id)).document == again.document


async def test_a_copy_brings_back_no_alert_that_was_purged_without_its_key(
    parts: Container, sample: dict[str, Any], redis: Redis, codec: Codec, sandbox: Sandbox, library: Library
):
    """Something was sealed under the key meanwhile, so that the case keeps it: the purged alert stays away all the same, however often the
    copy is served.
    """
    await register(parts, 20)
    own = (await submitted(parts, sample)).record
    await parts.approval.reject(own.id, BEA, "x")
    copy, cases = await everything(parts.db), parts.purging.cases
    parts.purging.cases = Meanwhile(parts.db)
    with pytest.raises(Problem, match="New data or a hold came to this case meanwhile"):
        await parts.purging.purge(own.id, BEA, WHY)
    parts.purging.cases = cases
    await put_back(parts.db, copy)
    for _ in range(2):
        async with opened(settings_for(sandbox), redis, codec, library=library) as again:
            found = await again.alerts.get(own.id)
            assert (found.state, found.document, found.rev) == (AlertState.PURGED, b"", own.rev + 2)


async def test_words_about_an_alert_are_gone_with_it(parts: Container, sample: dict[str, Any]):
    """Why the glass was broken, and what the review found. Who reviewed it, and the verdict, stay."""
    await register(parts, 20)
    own = (await submitted(parts, sample)).record
    alone = await parts.approval.approve_alone(own, ANA, "Lucía P. is three", people=None, plates=())
    footing = Footing(sources=AlertState, last=1, rev=alone.rev)
    said = {"reviewed": "1", "reviewer": BEA.subject, "verdict": "justified", "note": "Lucía's mother had called"}
    assert (await parts.alerts.follow(alone, footing, None, None, fields=said))[0]
    before = await parts.alerts.get(own.id)
    glass = before.approval.glass
    assert ("Lucía" in glass.why, "Lucía" in glass.review.note) == (True, True)
    await parts.follow_ups.cancel(own.id, BEA, "x", notify=False)
    await parts.purging.purge(own.id, BEA, WHY)
    fields = await parts.db.hash_of(keys.of_chain(own.id, "version", own.id))
    assert not {b"why", b"note", b"doc", b"reason"} & fields.keys()
    purged = await parts.alerts.get(own.id)
    left = purged.approval.glass
    assert (left.why, left.review.note, left.review.verdict, left.review.by) == ("", "", "justified", BEA.subject)


async def test_a_test_key_purges_no_actual_alert_by_a_test_of_its_case(parts: Container, sample: dict[str, Any]):
    """A Test is a test key's own to purge, and the key of its case is the Actual alert's, too: nothing is, then, of neither."""
    tester = dataclasses.replace(ANA, test=True)
    record = await closed(parts, sample)
    drill = (await parts.intake.submit(alert_of(sample, status="Test"), tester, draft=True)).record
    assert drill.case == record.case
    await parts.approval.reject(drill.id, tester, "x")
    assert await slug(parts.purging.purge(drill.id, tester, WHY)) == "not-allowed"
    assert (await parts.alerts.get(record.id)).document == record.document
    assert (await parts.alerts.get(drill.id)).document == drill.document
    alone = {**sample["case"], "number": "a drill's own"}
    own = (await parts.intake.submit(alert_of(sample, status="Test", case=alone), tester, draft=True)).record
    await parts.approval.reject(own.id, tester, "x")
    assert (await parts.purging.purge(own.id, tester, WHY)).state is AlertState.PURGED


@pytest.mark.parametrize("state", ["pending", "sent"])
async def test_breaches_are_refused(parts: Container, sample: dict[str, Any], state: str):
    """What is not over is not purged, nor what is another's, nor a version that tells, nor one that was changed since."""
    if state == "pending":
        await register(parts, 20)
        record = (await submitted(parts, sample)).record
    else:
        record = await sent(parts, sample, channels=["push"])
    assert await slug(parts.purging.purge(record.id, BEA, WHY)) == "precondition-failed"
    assert await slug(parts.purging.purge(record.id, dataclasses.replace(BEA, org="other"), WHY)) == "not-found"
    assert await slug(parts.purging.purge(record.id, dataclasses.replace(BEA, test=True), WHY)) == "not-allowed"
    if state == "sent":
        done = await parts.follow_ups.close(record.id, ANA, "x")
        assert await slug(parts.purging.purge(done.told_by, BEA, WHY)) == "precondition-failed"
        assert await slug(parts.purging.purge(record.id, BEA, WHY, rev=1)) == "version-changed"
    assert (await parts.alerts.get(record.id)).document == record.document


async def test_decisions_about_what_was_purged_are_refused(parts: Container, sample: dict[str, Any]):
    """Each with its problem, and none fails on what is not there any more."""
    await register(parts, 20)
    record = (await submitted(parts, sample)).record
    await parts.approval.reject(record.id, BEA, "x")
    await parts.purging.purge(record.id, BEA, WHY)
    for step in (
        parts.approval.approve(record.id, BEA), parts.approval.submit(record.id, ANA),
        parts.follow_ups.close(record.id, ANA, "x"), parts.follow_ups.cancel(record.id, ANA, "x"),
        parts.amendment.restrict(record.id, ANA, "x"), parts.stop_control.pause(record, ANA, waits=True, rev=None),
    ):  # fmt: skip
        assert await slug(step) == "precondition-failed"
