"""What follows an alert that came as CAP: which alert is meant by the messages that it names, as a Cancel and an Update name them."""

from __future__ import annotations

import re

import pytest

from alertd.alerts import AlertState
from alertd.app import Parts
from alertd.cap.reader import read
from alertd.cap.values import reference_text
from alertd.errors import Problem
from alertd.store.alerts import AlertRecord
from tests.integration.acts import ANA, BEA, register
from tests.unit.alertd.cap_documents import CANCEL, named


def after(document: str, *earlier: str) -> str:
    """The document as one that names earlier ones."""
    references = " ".join(reference_text(read(one.encode()).reference) for one in earlier)
    return re.sub("<references>.*</references>", f"<references>{references}</references>", document)


def update(identifier: str, *earlier: str) -> str:
    """An Update in words of its own."""
    document = named(identifier).replace(">Alert<", ">Update<").replace("No beba agua del grifo", identifier)
    return after(document, *earlier)


async def taken(parts: Parts, document: str) -> AlertRecord:
    """What becomes of a document of Ana's."""
    return (await parts.cap_intake.take(document.encode(), ANA))[0].record


async def told(parts: Parts, *documents: str) -> list[AlertRecord]:
    """Each of them, approved by Bea as it came."""
    return [await parts.approval.approve((await taken(parts, one)).id, BEA) for one in documents]


async def states(parts: Parts, *records: AlertRecord) -> list[AlertState]:
    return [(await parts.approval.get(one.id, BEA)).state for one in records]


async def refused(parts: Parts, document: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await taken(parts, document)
    return caught.value


@pytest.fixture(autouse=True)
async def people(parts: Parts):
    """Whom a general alert reaches."""
    await register(parts, 25, kinds=["general"])


async def test_a_cancel_that_names_every_message_of_an_alert_ends_it(parts: Parts):
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


async def test_an_update_that_names_every_message_of_an_alert_is_of_that_alert(parts: Parts):
    first = named("b-1")
    second, third = update("b-2", first), update("b-3", first)
    alert, *_ = await told(parts, first, second, third)
    fourth = await taken(parts, update("b-4", first, second, third))
    assert (fourth.id, fourth.state) == (f"{alert.id}-4", "pending")


async def test_a_cancel_of_an_update_alone_ends_what_is_told_or_else_the_update(parts: Parts):
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


async def test_a_cancel_passes_over_what_is_over(parts: Parts):
    """Of two alerts one was closed: the other is ended, and after that nothing is left to cancel. What is unknown ends nothing."""
    one, other = named("d-1"), named("d-2")
    closed, going = await told(parts, one, other)
    await parts.following.close(closed.id, BEA, "Mended.", notify=False)
    unknown = await refused(parts, after(named("d-2", CANCEL), one, other, named("d-3")))
    assert [fault.detail for fault in unknown.faults] == ["Reference 3 names no alert here."]
    assert await states(parts, going) == ["approved"]
    ended = await taken(parts, after(named("d-2", CANCEL), one, other))
    assert ended.id == going.id
    assert await states(parts, closed, going) == ["closed", "cancelled"]
    over = await refused(parts, after(named("d-1", CANCEL), one))
    assert (over.slug, [fault.pointer for fault in over.faults]) == ("not-found", ["/references"])


async def test_an_update_of_what_is_left_of_several_is_of_that(parts: Parts):
    """Of two alerts that were made one, the other was closed before."""
    one, other = named("e-1"), named("e-2")
    closed, going = await told(parts, one, other)
    both = update("e-3", one, other)
    assert (await refused(parts, both)).slug == "not-found"
    await parts.following.close(closed.id, BEA, "Mended.", notify=False)
    assert (await taken(parts, both)).id == f"{going.id}-2"
