"""Photos once they are handed in: whose they are, who may see them, and when they are gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.common.ids import SigningKeys
from alertd.model.alert import Alert
from alertd.model.states import NO_LONGER_SHOWN, SHOWN, AlertState
from alertd.service.access import Credential, Terms
from alertd.service.container import Container
from alertd.service.records.photos import HELD_S, Decoder, Photos
from alertd.store.alerts.alerts import Alerts
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.organisations.organisations import of_key
from alertd.store.photos.photos import Media
from channels.fetching import Fetcher
from tests.integration.acts import ANA, BEA, alert_of, api_of, photo, register, submitted
from tests.integration.media.conftest import ELSEWHERE, FACTS, approved, showing
from tests.pictures import read


async def standing(parts: Container, media: str, who: Credential | None = None) -> int:
    """The status of a look at a photo."""
    try:
        return 200 if read(await parts.photos.show(media, "push", who)) else 0
    except Problem as problem:
        return problem.status


async def test_the_public_sees_a_photo_while_its_alert_is_told(parts: Container, sample: dict[str, Any]):
    """Not when it was handed in, not while the alert waits for its second person; then everyone; after the alert nobody."""
    await register(parts, 30)
    media = await photo(parts)
    assert await standing(parts, media) == 404
    taken = await submitted(parts, sample, case=showing(sample, media))
    assert await standing(parts, media) == 404
    await parts.approval.approve(taken.record.id, BEA)
    assert await standing(parts, media) == 200
    await parts.follow_ups.cancel(taken.record.id, BEA, "found", notify=False)
    assert await standing(parts, media) == 410
    assert await standing(parts, media, ANA) == 410


async def test_a_draft_shows_its_photo_to_those_who_work_on_it(parts: Container, sample: dict[str, Any]):
    """A key that may read or write alerts of the organisation, and no other."""
    media = await photo(parts)
    assert await standing(parts, media, ANA) == 200
    await parts.intake.submit(alert_of(sample, status="Test", case=showing(sample, media)), ANA, draft=True)
    assert await standing(parts, media, BEA) == 200
    assert await standing(parts, media) == 404
    assert await standing(parts, media, ELSEWHERE) == 404
    assert await standing(parts, media, replace(BEA, scopes=frozenset({"subscribers:write"}))) == 404


async def test_a_photo_is_shown_to_no_stopped_key_and_not_faster_than_a_key_may_ask(
    parts: Container, aiohttp_client: Any, sample: dict[str, Any]
):
    """As on every other path: a stopped key is refused, one that asks too often 429. Without a key the photo stays public or hidden as it was."""
    media, client = await photo(parts), await aiohttp_client(api_of(parts))
    await parts.intake.submit(alert_of(sample, status="Test", case=showing(sample, media)), ANA, draft=True)
    found = {}
    for name, terms in (("stopped", Terms()), ("slow", Terms(rate_per_min=2))):
        key, token = await parts.access.create(
            org="default", subject=name, scopes=frozenset({"alerts:read"}), terms=terms
        )
        headers = {"Authorization": f"Bearer {token}"}
        found[name] = [(await client.get(f"/m/{media}", headers=headers)).status for _ in range(3)]
        await parts.stop_control.stop(of_key("default", key.key_id), BEA, "In the wrong hands")
        found[f"{name} then"] = [(await client.get(f"/m/{media}", headers=headers)).status]
    found["nobody"] = [(await client.get(f"/m/{media}")).status]
    assert found == {
        "stopped": [200, 200, 200], "stopped then": [409], "slow": [200, 200, 429], "slow then": [429], "nobody": [404],
    }  # fmt: skip


async def test_a_drill_brings_no_photo_back(parts: Container, sample: dict[str, Any]):
    """One person alone sends a Test: it shows nothing to the public, be the photo gone or never seen, and those who work on it see it where none is over."""
    await register(parts, 30, tester=True)
    media, fresh = await photo(parts), await photo(parts)
    taken = await submitted(parts, sample, case=showing(sample, media))
    await parts.approval.approve(taken.record.id, BEA)
    await parts.amendment.restrict(taken.record.id, BEA, "protected identity")
    for one in (media, fresh):
        drill = await submitted(parts, sample, status="Test", case=showing(sample, one))
        assert (await parts.approval.begin(drill.record, ANA)).state is AlertState.APPROVED
    assert (await standing(parts, media), await standing(parts, fresh)) == (410, 404)
    assert await standing(parts, fresh, BEA) == 200


async def test_every_state_of_an_alert_says_what_becomes_of_its_photo(parts: Container, sample: dict[str, Any]):
    """Shown, gone, or not yet shown: by the table of states, those to come too."""
    await register(parts, 30)
    media = await photo(parts)
    taken = await submitted(parts, sample, case=showing(sample, media))
    for state in AlertState:
        await parts.db.execute("HSET", keys.of_chain(taken.record.id, "version", taken.record.id), "state", str(state))
        expected = 200 if state in SHOWN else 410 if state in NO_LONGER_SHOWN else 404
        assert (state, await standing(parts, media)) == (state, expected)


async def test_an_alert_past_its_end_shows_nothing(parts: Container, sample: dict[str, Any]):
    """Also when nobody has noted yet that it has expired."""
    await register(parts, 30)
    media = await photo(parts)
    alert_id = await approved(parts, sample, media)
    past = parts.clock.now_ms() - 1
    await parts.db.execute("HSET", keys.of_chain(alert_id, "version", alert_id), "expires", past)
    assert await standing(parts, media) == 410


async def test_a_rush_of_phones_costs_the_store_few_looks_and_one_copy(parts: Container, sample: dict[str, Any]):
    """Everyone who is told asks at once: those who wait together are answered by one look, and the copy is held for a second."""
    await register(parts, 30)
    media = await photo(parts)
    await approved(parts, sample, media)
    first = await parts.photos.show(media, "push")
    await parts.db.execute("DEL", keys.media(media))
    before = await looks(parts)
    assert set(await asyncio.gather(*(parts.photos.show(media, "push") for _ in range(300)))) == {first}
    assert await looks(parts) - before <= 3
    parts.clock.pass_by(HELD_S)
    assert await standing(parts, media) == 404


async def looks(parts: Container) -> int:
    """How often the store was asked for the alerts of a photo."""
    return int((await parts.db.nodes.first.info("commandstats"))["cmdstat_smembers"]["calls"])


class Slow(Alerts):
    """Its answer is under way until `arrives` is set."""

    def __init__(self, store: Connection) -> None:
        super().__init__(store)
        self.asked, self.arrives = asyncio.Event(), asyncio.Event()

    async def get(self, alert_id: str) -> Any:
        found = await super().get(alert_id)
        self.asked.set()
        await self.arrives.wait()
        return found


async def test_a_photo_is_hidden_by_the_answer_of_the_cancel(parts: Container, sample: dict[str, Any]):
    """Whoever asks after it sees nothing, in no process, though it was shown a moment ago and a look from before is under way."""
    await register(parts, 30)
    media = await photo(parts)
    alert_id = await approved(parts, sample, media)
    slow = Slow(parts.db)
    there = Photos(
        Media(parts.db, slow), slow, Decoder(), Fetcher(), parts.clock, parts.settings.media, SigningKeys(b"n")
    )
    early = asyncio.create_task(there.show(media, "push"))
    await slow.asked.wait()
    assert await standing(parts, media) == 200
    await parts.follow_ups.cancel(alert_id, BEA, "found", notify=False)
    assert await standing(parts, media) == 410
    late = asyncio.create_task(there.show(media, "push"))
    await asyncio.sleep(0)
    slow.arrives.set()
    assert read(await early)
    with pytest.raises(Problem, match="no longer shown"):
        await late


async def test_one_alert_that_is_told_is_enough(parts: Container, sample: dict[str, Any]):
    """A photo that a second alert of the case shows stays when the first is cancelled."""
    await register(parts, 30)
    media = await photo(parts)
    first = await approved(parts, sample, media)
    await approved(parts, sample, media)
    await parts.follow_ups.cancel(first, BEA, "wrong area", notify=False)
    assert await standing(parts, media) == 200


async def test_whoever_approves_the_next_alert_of_a_case_sees_its_photo(parts: Container, sample: dict[str, Any]):
    """It is gone for the public, and for all but those who work on the alert that would bring it back, until that is approved."""
    await register(parts, 30)
    media = await photo(parts)
    first = await approved(parts, sample, media)
    await parts.follow_ups.cancel(first, BEA, "found", notify=False)
    taken = await submitted(parts, sample, case=showing(sample, media))
    assert (await standing(parts, media, ANA), await standing(parts, media, BEA)) == (200, 200)
    helper = replace(BEA, scopes=frozenset({"subscribers:write"}))
    assert [await standing(parts, media, one) for one in (None, ELSEWHERE, helper)] == [410, 410, 410]
    await parts.approval.reject(taken.record.id, BEA, "found")
    assert await standing(parts, media, BEA) == 410


@pytest.mark.parametrize(
    ("field", "value"), [("state", AlertState.STOOD_DOWN), ("state", AlertState.PURGED), ("restricted", 1)]
)
async def test_what_was_taken_away_stays_so_for_whoever_approves_the_next(
    parts: Container, sample: dict[str, Any], field: str, value: str | int
):
    """A photo of a child who was hidden, purged or restricted is seen by nobody, though an alert that has it waits."""
    await register(parts, 30)
    media = await photo(parts)
    first = await approved(parts, sample, media)
    await submitted(parts, sample, case=showing(sample, media))
    await parts.db.execute("HSET", keys.of_chain(first, "version", first), field, str(value))
    assert [await standing(parts, media, one) for one in (None, ANA, BEA)] == [410, 410, 410]


async def test_a_photo_that_was_taken_out_of_a_draft_is_shown_to_nobody(parts: Container, sample: dict[str, Any]):
    """It was of another child, and the alert was returned for that."""
    await register(parts, 30)
    wrong, right = await photo(parts), await photo(parts)
    record = (await submitted(parts, sample, case=showing(sample, wrong))).record
    returned = await parts.approval.give_back(record.id, BEA, "This is another child")
    await parts.intake.amend(returned, {"case": showing(sample, right)}, ANA)
    await parts.approval.submit(record.id, ANA)
    await parts.approval.approve(record.id, BEA)
    assert (await standing(parts, wrong), await standing(parts, right)) == (410, 200)


async def test_a_photo_dies_with_the_key_of_its_case(parts: Container, sample: dict[str, Any]):
    """Nothing but that key opens it: not the master key, and no copy of it that was left."""
    await register(parts, 30)
    media = await photo(parts)
    before = await parts.db.hash_of(keys.media(media))
    alert_id = await approved(parts, sample, media)
    record = await parts.alerts.get(alert_id)
    after = await parts.db.hash_of(keys.media(media))
    assert before[b"key"] != after[b"key"]
    assert await parts.db.execute("DEL", keys.case(record.case)) == 1
    assert await standing(parts, media) == 410
    with pytest.raises(Exception, match="does not open"):
        parts.db.codec.master.open(after[b"key"], keys.media(media))


async def test_no_pixel_and_no_word_is_in_the_store_in_clear(parts: Container):
    """Neither picture nor facts."""
    media = await photo(parts)
    fields = await parts.db.hash_of(keys.media(media))
    assert {b"push", b"mail", b"page", b"about", b"key"} < fields.keys()
    assert not [value for value in fields.values() if b"JFIF" in value or b"mother" in value]


async def test_a_photo_that_nobody_uses_is_gone_in_a_day(parts: Container, sample: dict[str, Any]):
    """Taken by an alert it stays for as long as that lives, and 90 days."""
    await register(parts, 30)
    media = await photo(parts)
    day = 86_400_000
    assert 0.99 * day < await parts.db.execute("PTTL", keys.media(media)) <= day
    assert await parts.db.execute("ZCARD", keys.org("default", "media")) == 1
    await approved(parts, sample, media)
    assert 90 * day < await parts.db.execute("PTTL", keys.media(media)) < 92 * day
    assert await parts.db.execute("ZCARD", keys.org("default", "media")) == 0


async def test_a_draft_that_is_given_more_time_keeps_its_photo_for_longer(parts: Container, sample: dict[str, Any]):
    """What moves the end of an alert moves that of its photos."""
    media = await photo(parts)
    draft = alert_of(sample, status="Test", case=showing(sample, media))
    taken = await parts.intake.submit(draft, ANA, draft=True)
    later = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    await parts.intake.amend(taken.record, {"expires": later}, ANA)
    assert await parts.db.execute("PTTL", keys.media(media)) > 109 * 86_400_000


async def test_a_dry_run_takes_no_photo(parts: Container, sample: dict[str, Any]):
    """It answers the same and does nothing."""
    media = await photo(parts)
    draft = alert_of(sample, status="Test", case=showing(sample, media))
    await parts.intake.submit(draft, ANA, dry_run=True)
    assert not await parts.db.execute("EXISTS", keys.media_alerts(media))


async def test_a_photo_belongs_to_one_case_and_one_organisation(parts: Container, redis: Redis, sample: dict[str, Any]):
    """An unknown id, another organisation's photo and one of another case are refused at their places, and nothing is kept."""
    await register(parts, 30)
    mine, theirs = await photo(parts), await photo(parts, ELSEWHERE)
    await approved(parts, sample, mine)
    other = {**showing(sample, "med_unknown", theirs, mine), "number": "SE-2026-118"}
    before = await redis.dbsize()
    with pytest.raises(Problem) as refusal:
        await submitted(parts, sample, case=other)
    assert refusal.value.slug == "photo-unreadable"
    assert [fault.pointer for fault in refusal.value.faults] == [f"/case/children/0/photos/{n}/media" for n in range(3)]
    assert await redis.dbsize() == before


async def test_words_of_a_photo_go_with_it_unless_the_alert_has_its_own(parts: Container, sample: dict[str, Any]):
    """The alert as it is kept says what each photo shows."""
    media = await photo(parts)
    for alt, told in ({}, FACTS["alt"]), ({"en": "Lucía in a red coat"}, {"en": "Lucía in a red coat"}):
        draft = alert_of(sample, status="Test", case=showing(sample, media, alt=alt))
        taken = await parts.intake.submit(draft, ANA, draft=True)
        [kept] = Alert.model_validate_json(taken.record.document).case.children[0].photos
        assert kept.alt == told


async def test_too_many_photos_without_an_alert_are_refused(parts: Container):
    """Who hands in and never alerts cannot fill the store; another organisation's do not count."""
    waiting = {f"med_{n}": parts.clock.now_ms() + 60_000 for n in range(parts.settings.media.waiting)}
    await parts.db.nodes.first.zadd(keys.org("default", "media"), waiting)
    with pytest.raises(Problem) as refusal:
        await photo(parts)
    assert refusal.value.status == 429
    await photo(parts, ELSEWHERE)
    await parts.db.nodes.first.zadd(keys.org("default", "media"), dict.fromkeys(waiting, 1))  # they are gone by now
    await photo(parts)
