"""Decisions about alerts: each is made by whoever may, on what they saw, and making it twice is making it once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import shapely
from redis.asyncio import Redis

from alertd.common.errors import Problem
from alertd.model.alert import Alert
from alertd.model.kinds import Channel, Notify, Protection
from alertd.model.redaction import restricted
from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from alertd.service.access import Credential
from alertd.service.container import Container
from alertd.store.alerts.alerts import Alerts
from alertd.store.engine.connection import Arg, Connection
from alertd.store.records.case_keys import Cases
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, CADIZ, CARL, SEVILLA, alert_of, draw, is_about, register, slug, submitted


@pytest.fixture(autouse=True)
async def people(parts: Container) -> None:
    await register(parts, 30)


async def refused(deed: Any) -> tuple[str, int]:
    with pytest.raises(Problem) as caught:
        await deed
    return caught.value.slug, caught.value.status


async def test_approving_twice_is_approving_once(parts: Container, sample: dict[str, Any]):
    """The same person gets the same answer again; another one learns that it is decided."""
    taken = await submitted(parts, sample)
    first = await parts.approval.approve(taken.record.id, BEA)
    assert await parts.approval.approve(taken.record.id, BEA, people=1, rev=taken.record.rev) == first
    assert await refused(parts.approval.approve(taken.record.id, CARL)) == ("precondition-failed", 409)
    await worker_of(parts).plans.planner.plan(first)
    now = await parts.alerts.get(taken.record.id)
    assert now.rev > first.rev
    for rev in (taken.record.rev, now.rev):
        assert await parts.approval.approve(taken.record.id, BEA, rev=rev) == now
    await parts.follow_ups.cancel(taken.record.id, BEA, "Found", notify=False)
    assert await refused(parts.approval.approve(taken.record.id, BEA)) == ("precondition-failed", 409)


async def test_what_is_approved_no_more_is_said_first(parts: Container, sample: dict[str, Any]):
    """Whoever comes too late is not sent to look at another revision, or another count, of what ended or was rejected."""
    rejected, late = [(await submitted(parts, sample)).record for _ in range(2)]
    await parts.approval.reject(rejected.id, BEA, "wrong area")
    stale = {"rev": 99, "people": 1}
    assert await refused(parts.approval.approve(rejected.id, BEA, **stale)) == ("precondition-failed", 409)
    clock = Later()
    clock.pass_by((late.expires - clock.now_ms()) / 1000 + 1)
    parts.approval.clock = clock
    assert await refused(parts.approval.approve(late.id, BEA, **stale)) == ("expired", 409)


async def test_no_other_revision_is_approved_by_saying_it_again(parts: Container, sample: dict[str, Any]):
    """Whoever means an update and names the alert hears that this is not what they looked at, also where it was to start later."""
    for starts in (None, (datetime.now(UTC) + timedelta(hours=1)).isoformat()):
        taken = await submitted(parts, {**sample, "starts": starts})
        await parts.approval.approve(taken.record.id, BEA, rev=taken.record.rev)
        for rev in (taken.record.rev - 1, taken.record.rev + 9):
            assert await refused(parts.approval.approve(taken.record.id, BEA, rev=rev)) == ("version-changed", 412)


class Late(Connection):
    """Something comes before the first approval that is written over it."""

    before: Any = None

    async def run_durably(self, name: str, names: Sequence[str], *args: Arg) -> Any:
        if name == "approve" and (before := self.before):
            self.before = None
            await before()
        return await super().run_durably(name, names, *args)


async def test_a_slow_approval_says_nothing_of_another_revision(parts: Container, redis: Redis, sample: dict[str, Any]):
    """While it looks for the people, the alert is changed and approved anew by the same person: that was not what it was asked for."""
    taken, late = await submitted(parts, sample), Late(redis, parts.db.codec)
    parts.freezing.alerts = Alerts(late)

    async def changed() -> None:
        returned = await parts.approval.give_back(taken.record.id, CARL, "Which exit?")
        await parts.intake.amend(returned, {"external_id": "x"}, ANA)
        again = await parts.approval.submit(taken.record.id, ANA)
        await parts.approval.approve(again.id, BEA, rev=again.rev)

    late.before = changed
    asked = parts.approval.approve(taken.record.id, BEA, rev=taken.record.rev)
    assert (await refused(asked))[0] == "precondition-failed"
    assert (await parts.alerts.get(taken.record.id)).state is AlertState.APPROVED


def person(subject: str, *makers: str, test: bool = False) -> Credential:
    """A key of that person, made by these."""
    return Credential(
        key_id=subject, org="default", subject=subject, scopes=frozenset({"admin"}), test=test, makers=makers
    )


@pytest.mark.parametrize("subject", ["ana@centre.example ", "Ana@Centre.Example", "\uff41na@centre.example"])
async def test_another_spelling_is_no_second_person(parts: Container, sample: dict[str, Any], subject: str):
    """Whoever is called the same, but for spaces, letter case and forms of letters, is the author."""
    taken = await submitted(parts, sample)
    assert await refused(parts.approval.approve(taken.record.id, person(subject))) == ("same-person", 403)
    amended = await parts.approval.give_back(taken.record.id, BEA, "Which exit?")
    assert (await parts.intake.amend(amended, {"external_id": "x"}, person(subject))).record.external_id == "x"


async def test_whoever_made_a_key_is_no_second_person_beside_it(parts: Container, sample: dict[str, Any]):
    """However many keys lie between them, and whichever of the two wrote the alert; keys of one maker are two persons."""
    made_by_ana = person("eva@centre.example", "administrator", "ana@centre.example")
    taken = await submitted(parts, sample)
    assert await refused(parts.approval.approve(taken.record.id, made_by_ana)) == ("same-person", 403)
    by_eva = {**sample, "author": {}}
    taken = await parts.intake.submit(alert_of(by_eva), made_by_ana)
    for maker in (ANA, person("Administrator")):
        assert await refused(parts.approval.approve(taken.record.id, maker)) == ("same-person", 403)
    approver = person("bea@centre.example", "administrator")
    assert (await parts.approval.approve(taken.record.id, approver)).state is AlertState.APPROVED


async def test_changing_an_alert_with_another_key_forgets_no_maker(parts: Container, sample: dict[str, Any]):
    """A draft that was written with a key of somebody's making stays theirs."""
    draft = await parts.intake.submit(alert_of(sample), person(ANA.subject, "bea@centre.example"), draft=True)
    await parts.intake.amend(draft.record, {"external_id": "x"}, ANA)
    await parts.approval.submit(draft.record.id, ANA)
    assert await refused(parts.approval.approve(draft.record.id, BEA)) == ("same-person", 403)


async def test_a_child_under_protection_has_a_protection_officer(parts: Container, sample: dict[str, Any]):
    """Who may approve others may not approve this one without that scope; nor an update that takes the protection away."""
    bare = restricted(alert_of(sample))
    case = bare.case.model_copy(update={"protection": (Protection.THREATENED,)})
    taken = await parts.intake.submit(bare.model_copy(update={"case": case}), ANA)
    second = replace(BEA, scopes=frozenset({"alerts:approve"}))
    assert await refused(parts.approval.approve(taken.record.id, second)) == ("protection-review-required", 422)
    officer = replace(second, scopes=frozenset({"alerts:approve", "alerts:protect"}))
    assert (await parts.approval.approve(taken.record.id, officer)).state is AlertState.APPROVED
    update = await parts.update_proposals.submit(taken.record.id, alert_of(sample), Notify.FULL, ANA)
    assert await refused(parts.approval.approve(update.record.id, second)) == ("protection-review-required", 422)


async def test_protection_is_of_the_child(parts: Container, sample: dict[str, Any]):
    """A second alert of the case that says nothing of it takes an officer, too, while the first is told or waits; afterwards no more."""
    bare = restricted(alert_of(sample))
    case = bare.case.model_copy(update={"protection": (Protection.THREATENED,)})
    first = await parts.intake.submit(bare.model_copy(update={"case": case}), ANA)
    second = await submitted(parts, sample)
    approver = replace(BEA, scopes=frozenset({"alerts:approve"}))
    for _ in range(2):
        assert (await refused(parts.approval.approve(second.record.id, approver)))[0] == "protection-review-required"
        if await parts.alerts.state(first.record.id) is AlertState.PENDING:
            await parts.approval.approve(first.record.id, CARL)
    await parts.follow_ups.close(first.record.id, CARL, "found", notify=False)
    assert (await parts.approval.approve(second.record.id, approver)).state is AlertState.APPROVED


async def test_the_plate_of_a_vehicle_is_typed_again(parts: Container, sample: dict[str, Any]):
    """Another plate, or none, tells nobody; how it is spaced does not matter."""
    van = {"plate": "1234-BCD", "legal_basis": "order of the judge"}
    taken = await submitted(parts, sample, case={**sample["case"], "vehicles": [van]})
    for typed in ((), ("1234 BCE",), ("1234 BCD", "0000 AAA")):
        assert await refused(parts.approval.approve(taken.record.id, BEA, plates=typed)) == ("invalid-request", 400)
    assert (await parts.approval.approve(taken.record.id, BEA, plates=["1234 bcd"])).state is AlertState.APPROVED


async def test_a_test_key_decides_nothing_of_an_actual_alert(parts: Container, sample: dict[str, Any]):
    """Neither before it is sent nor after."""
    taken = await submitted(parts, sample)
    tester = person("tess@centre.example", test=True)
    for deed in (parts.approval.give_back, parts.approval.reject, parts.follow_ups.cancel):
        assert await refused(deed(taken.record.id, tester, "No")) == ("not-allowed", 403)
    assert await refused(parts.approval.approve(taken.record.id, tester)) == ("not-allowed", 403)


@pytest.mark.parametrize("deed", ["give_back", "reject"])
async def test_what_was_decided_may_be_said_again(parts: Container, sample: dict[str, Any], deed: str):
    """By the same person, whose first answer may have been lost, with the first reason standing; by nobody else."""
    taken = await submitted(parts, sample)
    decide = getattr(parts.approval, deed)
    first = await decide(taken.record.id, BEA, "Found")
    assert await decide(taken.record.id, BEA, "Found again") == first
    assert await refused(decide(taken.record.id, CARL, "Found")) == ("precondition-failed", 409)


@pytest.mark.parametrize("status", ["Test", "Exercise"])
async def test_a_test_needs_nobody_else_and_may_be_taken_in_again(
    parts: Container, sample: dict[str, Any], status: str
):
    """It is approved at once, also when the request was cut off in between and came again, and when it was a draft."""
    taken = await submitted(parts, sample, status=status)
    assert taken.record.state is AlertState.PENDING  # here the first request is cut off
    first = await parts.approval.begin(taken.record, ANA)
    assert first.state is AlertState.APPROVED
    assert await parts.approval.begin(taken.record, ANA) == first
    draft = await parts.intake.submit(alert_of(sample, status=status), ANA, draft=True)
    assert (await parts.approval.begin(draft.record, ANA)).state is AlertState.DRAFT
    assert (await parts.approval.submit(draft.record.id, ANA)).state is AlertState.APPROVED


async def test_the_same_case_sent_again_makes_no_second_alert(parts: Container, sample: dict[str, Any]):
    """While the first one is under way, however often and at once it comes; the answer is the first. A dry run says it too, and a draft and a
    test are none of it.
    """
    outcomes = await asyncio.gather(*(submitted(parts, sample, external_id="cms-1") for _ in range(5)))
    (taken,) = (one for one in outcomes if not one.is_repeat)
    assert {one.record.id for one in outcomes} == {taken.record.id}
    assert await parts.alerts.ids_in_case(taken.record.case) == [taken.record.id], "of the others nothing is left"
    alert = alert_of(sample, external_id="cms-1")
    assert (await parts.intake.submit(alert, ANA, dry_run=True)).record.id == taken.record.id
    again = await parts.intake.submit(alert, ANA, alert_id=taken.record.id)  # the same request, cut off before
    assert (again.record.id, again.is_repeat) == (taken.record.id, False)
    await parts.intake.submit(alert, ANA, draft=True)
    assert not (await submitted(parts, sample, external_id="cms-1", status="Test")).is_repeat
    await parts.approval.approve(taken.record.id, BEA)
    assert (await submitted(parts, sample, external_id="cms-1")).record.id == taken.record.id
    await parts.follow_ups.cancel(taken.record.id, BEA, "Wrong child", notify=False)
    second = await submitted(parts, sample, external_id="cms-1")
    assert (second.record.id != taken.record.id, second.is_repeat) == (True, False)


async def test_a_draft_is_no_way_around_that(parts: Container, sample: dict[str, Any]):
    """A second draft of one case is refused when it is submitted, as is one that was amended or returned, until the first is
    over; what was changed to another external id keeps only that.
    """
    first, second = [
        (await parts.intake.submit(alert_of(sample, external_id="cms-1"), ANA, draft=True)).record.id for _ in range(2)
    ]
    outcomes = await asyncio.gather(
        *(parts.approval.submit(one, ANA) for one in (first, second)), return_exceptions=True
    )
    (refusal,) = (outcome for outcome in outcomes if isinstance(outcome, Problem))
    (pending,) = (outcome for outcome in outcomes if not isinstance(outcome, BaseException))
    late = second if pending.id == first else first
    assert (refusal.slug, refusal.extra) == ("duplicate-case", {"alert": pending.id})
    assert await parts.approval.submit(pending.id, ANA) == pending  # said again, as after a lost answer
    assert (await refused(parts.approval.submit(late, ANA)))[0] == "duplicate-case"
    assert (await submitted(parts, sample, external_id="cms-1")).record.id == pending.id
    returned = await parts.approval.give_back(pending.id, BEA, "Which exit?")
    assert (await parts.approval.submit(late, ANA)).state is AlertState.PENDING
    assert (await refused(parts.approval.submit(pending.id, ANA)))[0] == "duplicate-case"
    await parts.intake.amend(await parts.approval.get(returned.id, ANA), {"external_id": "cms-2"}, ANA)
    assert (await parts.approval.submit(returned.id, ANA)).state is AlertState.PENDING
    await parts.approval.reject(late, BEA, "No")
    assert (await submitted(parts, sample, external_id="cms-1")).record.id not in {first, second}


async def test_an_external_id_that_was_given_up_is_free(parts: Container, sample: dict[str, Any]):
    """An alert that was returned and goes on under another one holds its first no more."""
    taken = await submitted(parts, sample, external_id="cms-1")
    returned = await parts.approval.give_back(taken.record.id, BEA, "Which exit?")
    await parts.intake.amend(returned, {"external_id": "cms-2"}, ANA)
    await parts.approval.submit(taken.record.id, ANA)
    await parts.intake.submit(alert_of(sample, external_id="cms-1"), ANA, dry_run=True)
    assert (await submitted(parts, sample, external_id="cms-1")).record.id != taken.record.id
    assert (await submitted(parts, sample, external_id="cms-2")).record.id == taken.record.id


async def test_an_actual_alert_waits(parts: Container, sample: dict[str, Any]):
    """Taking it in decides nothing."""
    taken = await submitted(parts, sample)
    assert await parts.approval.begin(taken.record, ANA) == taken.record


async def test_an_audience_that_has_shrunk_below_the_least_is_notified(parts: Container, sample: dict[str, Any]):
    """Two persons answered for the alert, and a refusal by the exact count would tell that count."""
    taken = await submitted(parts, sample)
    for i in range(11):
        await parts.registry.forget(f"p{i}")
    approved = await parts.approval.approve(taken.record.id, BEA)
    assert (approved.state, approved.people) == (AlertState.APPROVED, 19)


async def test_a_decision_is_about_what_was_seen(parts: Container, sample: dict[str, Any]):
    """Whoever saw an older revision approves, rejects and changes nothing."""
    taken = await submitted(parts, sample)
    seen = (await parts.approval.get(taken.record.id, BEA)).rev
    await parts.approval.give_back(taken.record.id, BEA, "Which exit?")
    returned = await parts.approval.get(taken.record.id, ANA)
    changed = await parts.intake.amend(returned, {"target": {"regions": ["ES-SE"]}}, ANA)
    assert await refused(parts.intake.amend(returned, {"external_id": "x"}, ANA)) == ("version-changed", 412)
    await parts.approval.submit(taken.record.id, ANA, rev=changed.record.rev)
    for deed in (
        parts.approval.approve(taken.record.id, BEA, rev=seen),
        parts.approval.reject(taken.record.id, BEA, "No", rev=seen),
    ):
        assert await refused(deed) == ("version-changed", 412)
    now = await parts.approval.get(taken.record.id, BEA)
    assert (await parts.approval.approve(taken.record.id, BEA, rev=now.rev)).state is AlertState.APPROVED


async def test_an_approval_of_what_changes_under_it_is_stale(parts: Container, sample: dict[str, Any]):
    """The audience that is frozen is that of the text that was read, or nothing is sent."""
    taken = await submitted(parts, sample)
    await parts.approval.give_back(taken.record.id, BEA, "Which exit?")
    await parts.approval.submit(taken.record.id, ANA)
    everybody = np.arange(1, 31, dtype=np.uint64)
    done, why = await parts.alerts.approve(taken.record.id, everybody, BEA.subject, rev=taken.record.rev)
    assert (done, why) == (False, "changed")
    assert (await parts.approval.get(taken.record.id, BEA)).state is AlertState.PENDING


async def test_the_ground_that_is_told_is_what_its_approver_is_shown(parts: Container, sample: dict[str, Any]):
    """A screen shows what the target comes to now: where that is another than was submitted, nobody is told of either. Returned, and submitted
    again, it is the ground of now that is told.
    """
    await register(parts, 300, first=30, places={"home": {"point": CADIZ}})
    await draw(parts, CADIZ)
    waits = (await submitted(parts, sample, target={"regions": ["X-PATROL"]})).record
    await draw(parts, SEVILLA)
    assert is_about(waits.target.seen, 300)
    assert await slug(parts.approval.approve(waits.id, BEA)) == "approval-stale"
    await parts.approval.give_back(waits.id, BEA, "The region is another")
    again = await parts.approval.submit(waits.id, ANA)
    assert is_about(again.target.seen, 30)
    assert (await parts.approval.approve(waits.id, BEA)).people == 30
    area = await parts.alerts.area(waits.id)
    assert area.contains(shapely.Point(SEVILLA))
    assert not area.intersects(shapely.Point(CADIZ))


async def test_a_ring_that_nobody_would_be_told_in_is_not_approved(parts: Container, sample: dict[str, Any]):
    """Its second person comes later than the alert's end allows: nobody is told that they are told while some never are."""
    rings = [{"center": SEVILLA, "radius_km": 1 + minutes, "delay_min": minutes} for minutes in (0, 60)]
    ends = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    waits = (await submitted(parts, sample, target={"rings": rings}, expires=ends)).record
    parts.approval.clock = clock = Later()
    clock.ahead_ms = 90 * 60_000
    with pytest.raises(Problem) as caught:
        await parts.approval.approve(waits.id, BEA)
    assert [fault.pointer for fault in caught.value.faults] == ["/target/rings/1/delay_min"]


async def test_an_alert_has_one_case_for_life(parts: Container, sample: dict[str, Any]):
    """A hold, a purge and a stand-down of a case find its alerts by it, so a draft does not move to another; its number may be spelled anew."""
    draft = (await parts.intake.submit(alert_of(sample), ANA, draft=True)).record
    number = sample["case"]["number"]
    with pytest.raises(Problem) as refusal:
        await parts.intake.amend(draft, {"case": {"number": "SE-2026-118"}}, ANA)
    assert (refusal.value.slug, [one.pointer for one in refusal.value.faults]) == ("invalid-request", ["/case/number"])
    await parts.intake.amend(draft, {"case": {"number": f" {number.lower()}"}}, ANA)
    kept = await parts.approval.get(draft.id, ANA)
    assert (kept.case, kept.rev) == (draft.case, draft.rev + 1)
    assert set(await Cases(parts.db).held(draft.case)) == {draft.id}


async def test_an_alert_that_names_no_channels_goes_by_all_that_have_a_carrier(
    parts: Container, sample: dict[str, Any]
):
    """Nobody is left out for a word that is missing, and whoever approves reads by which it goes."""
    words = json.loads(alert_of(sample).model_dump_json(exclude={"channels"}, by_alias=True))
    taken = await parts.intake.submit(Alert.model_validate_json(json.dumps(words)), ANA)
    assert set(taken.record.alert.channels) == parts.carriers.channels != set(Channel)


async def test_a_draft_is_changed_by_its_author_alone(parts: Container, sample: dict[str, Any]):
    """What it says, where and how long is replaced and checked anew; once somebody else has it before them, no more."""
    draft = (await parts.intake.submit(alert_of(sample, external_id="one"), ANA, draft=True)).record
    case = {
        "case": {"contact": [{"dial": "112", "countries": ["ES"]}, {"url": "https://centre.example/tell"}]},
        "target": {"regions": ["ES-SE"]},
        "external_id": None,
    }
    await register(parts, 300, first=30, places={"home": {"point": SEVILLA}})
    taken = await parts.intake.amend(draft, case, ANA)
    kept = await parts.approval.get(draft.id, ANA)
    assert is_about(kept.target.seen, 330)
    assert (kept.rev, kept.external_id, kept.target.seen, kept.state) == (
        draft.rev + 1,
        "",
        taken.people,
        AlertState.DRAFT,
    )
    assert b'"112"' in kept.document
    assert (await parts.alerts.area(draft.id)).equals(taken.area.geometry)
    assert (await refused(parts.intake.amend(kept, {"level": "nonsense"}, ANA)))[0] == "invalid-request"
    assert (await refused(parts.intake.amend(kept, {"channels": ["webpush"]}, ANA)))[0] == "channel-unavailable"
    assert (await refused(parts.intake.amend(kept, case, BEA)))[0] == "not-allowed"
    await parts.approval.submit(draft.id, ANA)
    pending = await parts.approval.get(draft.id, ANA)
    assert await refused(parts.intake.amend(pending, case, ANA)) == ("precondition-failed", 409)


async def test_a_cancel_wins_over_an_approval_that_comes_with_it(parts: Container, sample: dict[str, Any]):
    """Whichever is first, nobody's cancel is refused for it, and the alert does not go on."""
    for _ in range(20):
        taken = await submitted(parts, sample)
        approving = asyncio.ensure_future(parts.approval.approve(taken.record.id, BEA))
        cancelled = [parts.follow_ups.cancel(taken.record.id, ANA, "stop", notify=False) for _ in range(3)]
        states = {done.record.state for done in await asyncio.gather(*cancelled)}
        await asyncio.gather(approving, return_exceptions=True)
        assert states <= {AlertState.REJECTED, AlertState.CANCELLED}
        assert (await parts.approval.get(taken.record.id, ANA)).state in states
