"""What follows an alert that came as CAP: which alert is meant by the messages that a Cancel or an Update names, and that nothing is told
again by a document that was told, or is older than what is.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alertd.common.clock import DAY_MS
from alertd.common.errors import Problem
from alertd.model.states import AlertState
from alertd.service.alerts.intake import Taken
from alertd.service.alerts.updates import UpdateProposals
from alertd.service.container import Container
from alertd.service.delivery.schedule import Expiry
from alertd.store.alerts.records import AlertRecord
from alertd.store.approvals.later_versions import Updates
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, register
from tests.integration.sharing.cap_intake import after, taken, told, update
from tests.unit.alertd.model.cap_documents import CANCEL, SENT, named


async def ended_unapproved(parts: Container, document: str) -> AlertRecord:
    """One that waited for its second person until its end had passed."""
    waiting = await taken(parts, document)
    await Expiry(parts.alerts, parts.work, Later(DAY_MS), parts.metrics).expire(waiting.id)
    return await parts.approval.get(waiting.id, BEA)


async def states(parts: Container, *records: AlertRecord) -> list[AlertState]:
    return [(await parts.approval.get(one.id, BEA)).state for one in records]


async def whole(parts: Container, document: str) -> Taken:
    """The answer to it, with what stands beside the alert."""
    answer, _ = await parts.cap_intake.take(document.encode(), ANA)
    return answer


async def refused(parts: Container, document: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await taken(parts, document)
    return caught.value


@pytest.fixture(autouse=True)
async def people(parts: Container):
    """Whom a general alert reaches."""
    await register(parts, 25, kinds=["general"])


async def test_a_cancel_that_names_every_message_of_an_alert_ends_it(parts: Container):
    """CAP 1.2, section 3.2.1, `references`: the earlier messages. One was replaced while it was still being told, another waits."""
    first = named("a-1")
    second, third = update("a-2", first), update("a-3", first)
    alert, replaced, _ = await told(parts, first, second, third)
    assert await states(parts, replaced) == ["superseded"]
    fourth = update("a-4", first, second, third)
    waiting = await taken(parts, fourth)
    cancel = after(named("a-1", CANCEL), first, second, third, fourth)
    ended = await taken(parts, cancel)
    again, _ = await parts.cap_intake.take(cancel.encode(), ANA, again=True)
    assert {(one.id, one.state) for one in (ended, again.record)} == {(alert.id, "cancelled")}
    assert await states(parts, waiting) == ["rejected"]


async def test_an_update_that_names_every_message_of_an_alert_is_of_that_alert(parts: Container):
    first = named("b-1")
    second, third = update("b-2", first), update("b-3", first)
    alert, *_ = await told(parts, first, second, third)
    fourth = await taken(parts, update("b-4", first, second, third))
    assert (fourth.id, fourth.state) == (f"{alert.id}-4", "pending")


async def test_a_cancel_of_an_update_alone_ends_what_is_told_or_else_the_update(parts: Container):
    """One that was replaced was told, so its alert is meant; of one that waits nobody knows yet."""
    first = named("c-1")
    second, third = update("c-2", first), update("c-3", first)
    alert, *_ = await told(parts, first, second, third)
    fourth = update("c-4", first)
    waiting = await taken(parts, fourth)
    assert (await taken(parts, after(CANCEL, fourth).replace("sv-2026-8", "c-5"))).id == waiting.id
    assert await states(parts, waiting, alert) == ["rejected", "approved"]
    assert (await taken(parts, after(named("c-1", CANCEL), second))).id == alert.id
    assert await states(parts, alert) == ["cancelled"]


async def test_a_cancel_of_an_update_that_nobody_approved_in_time_ends_nothing(parts: Container):
    """It was never told; named with its alert it keeps nobody from ending that."""
    first = named("i-1")
    (alert,) = await told(parts, first)
    second = update("i-2", first)
    late = await ended_unapproved(parts, second)
    problem = await refused(parts, after(named("i-1", CANCEL), second))
    assert (problem.slug, [fault.pointer for fault in problem.faults]) == ("not-found", ["/references"])
    assert await states(parts, late, alert) == ["expired", "approved"]
    assert (await taken(parts, after(named("i-1", CANCEL), first, second))).id == alert.id
    assert await states(parts, late, alert) == ["expired", "cancelled"]


async def test_a_cancel_passes_over_what_is_over(parts: Container):
    """Of two alerts one was closed: the other is ended, and after that nothing is left to cancel."""
    one, other = named("d-1"), named("d-2")
    closed, going = await told(parts, one, other)
    await parts.follow_ups.close(closed.id, BEA, "Mended.", notify=False)
    ended = await taken(parts, after(named("d-2", CANCEL), one, other))
    assert ended.id == going.id
    assert await states(parts, closed, going) == ["closed", "cancelled"]
    over = await refused(parts, after(named("d-1", CANCEL), one))
    assert (over.slug, [fault.pointer for fault in over.faults]) == ("not-found", ["/references"])


async def test_a_cancel_that_also_names_a_message_unknown_here_ends_the_alert(parts: Container):
    """alertd refused an update of it, or never saw it. The answer names that reference, for another alert may be meant."""
    first, lost = named("u-1"), named("u-2")
    (alert,) = await told(parts, first)
    nothing = await refused(parts, after(named("u-3", CANCEL), lost))
    assert [fault.detail for fault in nothing.faults] == ["Reference 1 names no alert here."]
    assert await states(parts, alert) == ["approved"]
    ended = await whole(parts, after(named("u-3", CANCEL), lost, first))
    assert ended.record.id == alert.id
    [reference] = ended.unknown_references
    assert "u-2" in reference
    assert await states(parts, alert) == ["cancelled"]


async def test_an_update_that_also_names_a_message_unknown_here_updates_the_alert(parts: Container):
    """It names the whole history of the alert, and alertd has seen a part of that."""
    first, lost = named("v-1"), named("v-2")
    (alert,) = await told(parts, first)
    updated = await whole(parts, update("v-3", first, lost))
    assert updated.record.id == f"{alert.id}-2"
    assert len(updated.unknown_references) == 1


async def test_an_update_of_what_is_left_of_several_is_of_that(parts: Container):
    """Of two alerts that were made one, the other was closed before."""
    one, other = named("e-1"), named("e-2")
    closed, going = await told(parts, one, other)
    both = update("e-3", one, other)
    assert (await refused(parts, both)).slug == "not-found"
    await parts.follow_ups.close(closed.id, BEA, "Mended.", notify=False)
    assert (await taken(parts, both)).id == f"{going.id}-2"


async def test_an_update_that_is_older_than_what_is_told_is_refused(parts: Container):
    """It names the alert that both follow, and was late. Nobody has to see that it says less; what is later is taken."""
    first = named("f-1")
    earlier, told_now = update("f-2", first, minutes=1), update("f-3", first, minutes=2)
    alert, current = await told(parts, first, told_now)
    problem = await refused(parts, earlier)
    assert (problem.slug, problem.status) == ("superseded", 409)
    assert [(fault.pointer, fault.line > 1) for fault in problem.faults] == [("/sent", True)]
    assert (await refused(parts, update("f-4", first, told_now, minutes=-1))).slug == "superseded"
    later = await taken(parts, update("f-5", first, minutes=3))
    assert (later.id, later.state) == (f"{alert.id}-3", "pending")
    await parts.approval.reject(later.id, BEA, "Not so.")
    beside = await taken(parts, update("f-6", first, minutes=2))  # the seconds of CAP tell no order within one
    assert beside.state == "pending"
    assert await states(parts, current) == ["approved"]


class _Overtaken(Updates):
    """A store that writes an update just after another one was told."""

    def __init__(self, parts: Container, other: str) -> None:
        super().__init__(parts.db, parts.alerts)
        self._parts = parts
        self._other = [other]

    async def propose(self, *args: Any, **more: Any) -> tuple[bool, str]:
        if self._other:
            await told(self._parts, self._other.pop())
        return await super().propose(*args, **more)


async def test_an_update_is_refused_where_a_later_one_is_told_meanwhile(parts: Container):
    """That came and was approved after the first look at what is told: the second person is not asked for what says less."""
    first = named("m-1")
    earlier, later = update("m-2", first, minutes=1), update("m-3", first, minutes=2)
    await told(parts, first)
    store = _Overtaken(parts, later)
    update_proposals = UpdateProposals(parts.alerts, store, parts.work, parts.intake, parts.approval, parts.photos)
    with pytest.raises(Problem) as caught:
        await replace(parts.cap_intake, update_proposals=update_proposals).take(earlier.encode(), ANA)
    problem = caught.value
    assert (problem.slug, [fault.pointer for fault in problem.faults]) == ("superseded", ["/sent"])


async def test_an_update_that_nobody_approved_in_time_keeps_none_away(parts: Container):
    """Nobody was told what it said: one that was sent before it is taken, and so is itself, sent again."""
    first, late = named("j-1"), update("j-2", named("j-1"), minutes=2)
    alert, *_ = await told(parts, first)
    await ended_unapproved(parts, late)
    earlier = await taken(parts, update("j-3", first, minutes=1))
    assert (earlier.id, earlier.state) == (f"{alert.id}-3", "pending")
    await parts.approval.reject(earlier.id, BEA, "Not so.")
    assert (await taken(parts, late)).id == f"{alert.id}-4"


async def test_an_alert_that_was_called_off_before_it_began_is_not_told_by_its_document(parts: Container):
    """It was approved: whoever approved it and called it off decided. One that nobody approved in time may come again."""
    begins = (SENT + timedelta(hours=2)).isoformat()
    later = named("k-1").replace("2026-11-25T08:05:00+01:00", begins)
    (alert,) = await told(parts, later)
    assert alert.state == "scheduled"
    await parts.follow_ups.cancel(alert.id, BEA, "Mended before.", notify=False)
    problem = await refused(parts, later)
    assert (problem.slug, problem.extra["alert"]) == ("duplicate-case", alert.id)
    missed = await ended_unapproved(parts, named("k-2"))
    anew = await taken(parts, named("k-2"))
    assert (anew.state, anew.id != missed.id) == ("pending", True)


async def test_an_update_that_was_replaced_is_not_told_again(parts: Container):
    """The very same document, by whomever; while it waits or is told it is the same update, and once it was rejected it may come again."""
    first = named("g-1")
    second, third = update("g-2", first), update("g-3", first)
    _, replaced, newest = await told(parts, first, second, third)
    problem = await refused(parts, second)
    assert (problem.slug, problem.status, problem.extra["alert"]) == ("duplicate-case", 409, replaced.id)
    assert (await taken(parts, third)).id == newest.id
    fourth = update("g-4", first)
    waiting = await taken(parts, fourth)
    assert (await taken(parts, fourth)).id == waiting.id
    await parts.approval.reject(waiting.id, BEA, "Not so.")
    assert (await taken(parts, fourth)).state == "pending"


async def test_an_alert_that_is_over_is_not_told_again_by_its_document(parts: Container):
    """Whoever means it anew says so by an identifier of its own; what was only rejected comes again under the same. A request that was cut
    off is answered as before.
    """
    first = named("h-1")
    (alert,) = await told(parts, first)
    retried, _ = await parts.cap_intake.take(first.encode(), ANA, alert_id=alert.id)
    assert (retried.record.id, retried.record.state) == (alert.id, "approved")
    await parts.follow_ups.close(alert.id, BEA, "Mended.", notify=False)
    for who in (ANA, BEA):
        with pytest.raises(Problem) as caught:
            await parts.cap_intake.take(first.encode(), who)
        problem = caught.value
        assert (problem.slug, problem.status, problem.extra["alert"]) == ("duplicate-case", 409, alert.id)
    rejected = await taken(parts, named("h-2"))
    await parts.approval.reject(rejected.id, BEA, "Not so.")
    anew = await taken(parts, named("h-2"))
    assert (anew.state, anew.id != rejected.id) == ("pending", True)


async def test_a_document_is_found_however_far_ahead_its_senders_clock_is(parts: Container):
    """By its Cancel, and by itself where it comes again."""
    ahead = named("l-1").replace(SENT.isoformat(), (SENT + timedelta(days=3)).isoformat())
    ahead = ahead.replace((SENT + timedelta(hours=12)).isoformat(), (SENT + timedelta(days=4)).isoformat())
    (alert,) = await told(parts, ahead)
    assert (await taken(parts, ahead)).id == alert.id
    assert (await taken(parts, after(named("l-1", CANCEL), ahead))).id == alert.id
    assert (await refused(parts, ahead)).slug == "duplicate-case"


async def test_an_update_that_names_one_that_nobody_approved_in_time_is_of_their_alert(parts: Container):
    """It was never told, and the alert is: what its sender says last is of that."""
    first = named("m-1")
    (alert,) = await told(parts, first)
    second = update("m-2", first)
    await ended_unapproved(parts, second)
    third = await taken(parts, update("m-3", second))
    assert (third.id, third.state) == (f"{alert.id}-3", "pending")
