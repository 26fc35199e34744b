"""One message is one alert of an organisation, whichever of its keys submits it, and however often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.service.alerts.approval import submit
from alertd.service.alerts.intake import Taken
from alertd.service.container import Container
from alertd.store.engine import keys
from alertd.store.engine.connection import names_of
from tests.integration.acts import ANA, BEA, CARL, alert_of, register
from tests.integration.sharing.cap_intake import told, update
from tests.unit.alertd.model.cap_documents import named
from tests.unit.alertd.samples import changed

#: A key of another organisation.
OTHER = replace(ANA, key_id="o", org="police", subject="olga@police.example")


@pytest.fixture
def unsigned(sample: dict[str, Any]) -> dict[str, Any]:
    """The sample alert without an author, so that anybody may submit it."""
    return changed(sample, "author/subject", None)


async def posted(parts: Container, sample: dict[str, Any], who: Any = ANA, **changes: Any) -> Taken:
    return await submit(parts.intake, parts.approval, alert_of(sample, **changes), who)


async def problem_of(call: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        await call
    return caught.value


async def ids_of(parts: Container, org: str = "default") -> list[str]:
    return [one for _, one in await parts.alerts.of_org(org, before=None, limit=100)]


async def test_an_external_id_is_one_alert_for_all_keys_of_an_organisation(parts: Container, unsigned: dict[str, Any]):
    """Six submissions by three keys at once store one alert. Five are answered with it."""
    people = (ANA, BEA, CARL, ANA, BEA, CARL)
    found = await asyncio.gather(*(posted(parts, unsigned, who, external_id="cms-1") for who in people))
    assert len({one.record.id for one in found}) == 1
    assert sorted(one.is_repeat for one in found) == [False] + 5 * [True]
    assert await ids_of(parts) == [found[0].record.id]


async def test_an_external_id_names_its_alert_until_that_ends(parts: Container, unsigned: dict[str, Any]):
    """While it waits, while it is sent, and after it was sent; once it was cancelled, the id is free."""
    await register(parts, 25)
    first = await posted(parts, unsigned, ANA, external_id="cms-1")
    await parts.approval.approve(first.record.id, BEA)
    again = await posted(parts, unsigned, CARL, external_id="cms-1")
    assert (again.record.id, again.record.state, again.is_repeat) == (first.record.id, "approved", True)
    for state in ("sending", "sent"):
        assert (await parts.alerts.step(first.record.id, state))[0]
        again = await posted(parts, unsigned, CARL, external_id="cms-1")
        assert (again.record.id, again.record.state) == (first.record.id, state)
    await parts.follow_ups.cancel(first.record.id, BEA, "Found")
    anew = await posted(parts, unsigned, CARL, external_id="cms-1")
    assert (anew.record.id != first.record.id, anew.is_repeat) == (True, False)


async def test_another_alert_under_the_same_external_id_is_refused(parts: Container, unsigned: dict[str, Any]):
    """Nobody takes a change for stored that was not. Kind and status are part of the identity, the author is not."""
    first = await posted(parts, unsigned, ANA, external_id="cms-1")
    for dry_run in (False, True):
        problem = await problem_of(
            parts.intake.submit(
                alert_of(unsigned, external_id="cms-1", target={"regions": ["ES-CA"]}), BEA, dry_run=dry_run
            )
        )
        assert (problem.slug, problem.status, problem.extra) == ("duplicate-case", 409, {"alert": first.record.id})
    signed = changed(unsigned, "author/subject", BEA.subject)
    assert (await posted(parts, signed, BEA, external_id="cms-1")).record.id == first.record.id
    test = await posted(parts, unsigned, BEA, external_id="cms-1", status="Test")
    assert (test.is_repeat, test.record.id != first.record.id) == (False, True)


async def test_an_external_id_of_another_organisation_is_another_alert(parts: Container, unsigned: dict[str, Any]):
    """It learns nothing of the first."""
    first = await posted(parts, unsigned, ANA, external_id="cms-1")
    other = await posted(parts, unsigned, OTHER, external_id="cms-1")
    assert (other.is_repeat, other.record.id != first.record.id) == (False, True)
    assert (await ids_of(parts), await ids_of(parts, "police")) == ([first.record.id], [other.record.id])


async def test_a_cap_message_that_two_keys_hand_in_is_one_alert(parts: Container):
    """At once, while it waits, and after it was sent; a dry run says so, too. Another organisation's is another alert."""
    await register(parts, 25, kinds=["general"])
    document = named("z-1").encode()
    found = await asyncio.gather(*(parts.cap_intake.take(document, who) for who in (ANA, CARL, ANA)))
    (alert_id,) = {taken.record.id for taken, _ in found}
    assert sorted(taken.is_repeat for taken, _ in found) == [False, True, True]
    dry, _ = await parts.cap_intake.take(document, BEA, dry_run=True)
    assert (dry.record.id, dry.is_repeat) == (alert_id, True)
    await parts.approval.approve(alert_id, BEA)
    for state in ("sending", "sent"):
        await parts.alerts.step(alert_id, state)
        again, _ = await parts.cap_intake.take(document, CARL)
        assert (again.record.id, again.record.state, again.is_repeat) == (alert_id, state, True)
    assert await ids_of(parts) == [alert_id]
    other, _ = await parts.cap_intake.take(document, OTHER)
    assert (other.record.id != alert_id, other.is_repeat) == (True, False)


async def test_a_cap_message_with_other_content_is_refused(parts: Container):
    """It has the identity of the first, and would be taken for it."""
    await register(parts, 25, kinds=["general"])
    first, _ = await parts.cap_intake.take(named("z-2").encode(), ANA)
    changed_text = named("z-2").replace("No beba agua del grifo", "Ya puede beber")
    assert changed_text != named("z-2")
    problem = await problem_of(parts.cap_intake.take(changed_text.encode(), BEA))
    assert (problem.slug, problem.extra) == ("duplicate-case", {"alert": first.record.id})


async def test_a_cap_update_that_two_keys_hand_in_is_one_update(parts: Container):
    """At once, while it waits, and after it was approved."""
    await register(parts, 25, kinds=["general"])
    first = named("z-3")
    (alert,) = await told(parts, first)
    document = update("z-4", first).encode()
    found = await asyncio.gather(*(parts.cap_intake.take(document, who) for who in (ANA, CARL)))
    assert {taken.record.id for taken, _ in found} == {f"{alert.id}-2"}
    assert sorted(taken.is_repeat for taken, _ in found) == [False, True]
    await parts.approval.approve(f"{alert.id}-2", BEA)
    again, _ = await parts.cap_intake.take(document, CARL)
    assert (again.record.id, again.record.state, again.is_repeat) == (f"{alert.id}-2", "approved", True)


async def test_a_repeat_of_an_alert_that_ends_meanwhile_stores_no_alert(parts: Container, unsigned: dict[str, Any]):
    """Nobody asked for another alert, and nothing stored one without its approval."""
    first = await posted(parts, unsigned, ANA, external_id="cms-1")
    await parts.approval.reject(first.record.id, BEA, "Not so.")
    alert = alert_of(unsigned, external_id="cms-1")
    problem = await problem_of(parts.intake.submit(alert, CARL, known=first.record.id))
    assert (problem.slug, problem.extra) == ("duplicate-case", {"alert": first.record.id})
    assert await ids_of(parts) == [first.record.id]


async def test_a_repeated_cap_message_is_refused_while_its_sender_is_stopped(parts: Container):
    """As every other submission is."""
    document = named("z-6").replace("<status>Actual</status>", "<status>Test</status>").encode()
    await parts.cap_intake.take(document, ANA)
    await parts.stop_control.stop("org:default", ANA, "reason")
    problem = await problem_of(parts.cap_intake.take(document, CARL))
    assert problem.slug == "stop-active"


async def test_a_retry_that_fails_leaves_the_external_id_to_its_alert(parts: Container, unsigned: dict[str, Any]):
    """Its first try stored the alert and was cut off before the answer. The retry is refused, for example because the author's alerts take too
    many bytes.
    """
    first = await posted(parts, unsigned, ANA, external_id="cms-1")
    await parts.alerts.external_ids.release(first.record)
    again = await posted(parts, unsigned, CARL, external_id="cms-1")
    assert (again.record.id, again.is_repeat) == (first.record.id, True)


async def test_an_external_id_that_an_older_version_stored_still_names_its_alert(
    parts: Container, unsigned: dict[str, Any]
):
    """That version stored it for each author. The author who submits the case again after an upgrade gets the first alert."""
    first = (await posted(parts, unsigned, ANA, external_id="cms-1")).record
    ids = (first.org, first.kind, first.status, "cms-1"), (first.org, ANA.subject, first.kind, first.status, "cms-1")
    now, before = (
        names_of(parts.db, keys.external_id, parts.db.codec.hashed("external-id", "\0".join(one)))[0] for one in ids
    )
    assert await parts.db.execute("GET", now)
    await parts.db.execute("RENAME", now, before)
    again = await posted(parts, unsigned, ANA, external_id="cms-1")
    assert (again.record.id, again.is_repeat) == (first.id, True)
    assert await ids_of(parts) == [first.id]


async def test_a_case_that_is_posted_twice_without_an_external_id_names_the_first(
    parts: Container, unsigned: dict[str, Any]
):
    """Two alerts of one case may both be meant, so the second is stored. Its answer and its approver see the first, unless that has ended, or
    is a Test.
    """
    test = await posted(parts, unsigned, status="Test")
    first = await posted(parts, unsigned, ANA)
    assert first.similar == []
    second = await posted(parts, unsigned, CARL)
    assert [one.id for one in second.similar] == [first.record.id]
    shown = await parts.approval.get(first.record.id, BEA)
    assert [one.id for one in await parts.reports.similar(shown)] == [second.record.id]
    await parts.approval.reject(first.record.id, BEA, "Twice")
    assert await parts.reports.similar(second.record) == []
    assert test.record.id in await ids_of(parts)
    other = await posted(parts, unsigned, OTHER)
    assert other.similar == []
