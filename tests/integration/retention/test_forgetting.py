"""Whom an alert sought with a child, and what they drove: told without a word of guilt, and forgotten soon after the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.model.states import AlertState
from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from tests.clocks import Later
from tests.integration.acts import ANA, BEA, alert_of, planned, register, submitted
from tests.integration.retention.closings import DAY_MS, closing, told, with_sought
from tests.unit.alertd.samples import changed

#: What is told of whom is sought, and nowhere else in the sample.
THEIRS = ("Jan K.", "1234", "BCD", "furgoneta", "tall", "order of the judge", "يان")
DAYS = 7


async def documents(parts: Container, record: AlertRecord) -> list[str]:
    versions = await parts.alerts.versions([record.id])
    found = [await parts.alerts.get(one) for one in versions]
    return [json.dumps(json.loads(one.document), ensure_ascii=False) for one in found if one.document]


async def later(parts: Container, days: float) -> int:
    """A round of the keeper so many days after now. Answers how many versions still tell of them."""
    clock = Later(int(days * DAY_MS))
    await closing(parts, clock, sought_days=DAYS).round()
    return len([text for text in await documents(parts, await first(parts)) if any(one in text for one in THEIRS)])


async def first(parts: Container) -> AlertRecord:
    """The alert that there is, not its update."""
    places = await parts.alerts.of_org("default", before=None, limit=9)
    return await parts.alerts.get(places[-1][1])


async def test_who_was_sought_is_forgotten_before_the_case(parts: Container, sample: dict[str, Any]):
    """Not while they are sought, and not a day too early; then in every version of the alert and in its own words, and all else
    of the case is there. It is in the audit, and done once.
    """
    record = await told(parts, sample)
    assert await later(parts, 2 * DAYS) == 2  # its end has not come: nothing is forgotten of what is told
    await parts.follow_ups.close(record.id, ANA, "found", notify=False)
    assert await later(parts, DAYS - 0.1) == 2
    assert await later(parts, DAYS + 0.1) == 0
    texts = await documents(parts, record)
    assert len(texts) == 2
    for text in texts:
        assert "Look for – and for –, in Seville." in text
        assert all(kept in text for kept in ("Lucía P.", "red coat", "SE-2026-117"))
    rev = (await parts.alerts.get(record.id)).rev
    assert await later(parts, DAYS + 1) == 0
    assert (await parts.alerts.get(record.id)).rev == rev
    entries = await parts.audit.page("default", before=None, limit=9)
    forgot = [(one.outcome, one.by, one.object) for one in entries if one.act == "alert.forget"]
    assert forgot == [("done", "alertd retention", record.id), ("begun", "alertd retention", record.id)]


async def test_who_was_sought_until_an_update_is_forgotten_too(parts: Container, sample: dict[str, Any]):
    """What the alert says now names nobody as sought, but its words do, and so does what it said before. The child keeps its name."""
    await register(parts, 20)
    document = changed(with_sought(sample), "case/children/0/clothing/en", "red coat; a gift of Jan K.")
    record = await parts.approval.approve((await submitted(parts, document)).record.id, BEA, plates=["1234bcd"])
    now = with_sought(sample, persons_sought=[], vehicles=[])
    now = {
        **now,
        "event": "Van 1234-BCD of Jan K.",
        "info": {"en": {"instruction": "Jan K. (1234 BCD) is no longer looked for.", "source": "human"}},
    }
    update = await parts.update_proposals.submit(record.id, alert_of(now), "none", ANA)
    await parts.approval.approve(update.record.id, BEA)
    await parts.follow_ups.close(record.id, ANA, "found", notify=False)
    assert await later(parts, DAYS + 0.1) == 0
    record = await parts.alerts.get(record.id)
    said = [one.document for one in await parts.published_history.words.of(record)]
    assert len(said) > 1
    assert not [text for text in said if any(one in text for one in THEIRS)]
    assert all("Lucía P." in text for text in said)
    assert record.alert.info["en"].instruction == "– (–) is no longer looked for."
    assert await later(parts, DAYS + 1) == 0


async def test_what_was_never_told_is_forgotten_too(parts: Container, sample: dict[str, Any]):
    """An alert that was rejected sought somebody, too."""
    await register(parts, 20)
    taken = await submitted(parts, with_sought(sample))
    assert await later(parts, 2 * DAYS) == 1  # a second person may still approve it
    await parts.approval.reject(taken.record.id, BEA, "x")
    assert await later(parts, DAYS + 0.1) == 0
    assert (await parts.alerts.get(taken.record.id)).state is AlertState.REJECTED


async def test_a_legal_hold_keeps_them(parts: Container, client: Any, sample: dict[str, Any]):
    """Until it is released: a court may ask who was sought."""
    record = await told(parts, sample)
    await parts.follow_ups.close(record.id, ANA, "found", notify=False)
    holds = parts.legal_holds
    await holds.hold(record.id, ANA, "a court asks")
    assert await later(parts, DAYS + 1) == 2
    await holds.release(record.id, BEA)
    assert await later(parts, DAYS + 1) == 0


async def test_other_alerts_stay_as_they_are(parts: Container, sample: dict[str, Any]):
    """What sought nobody is not written anew."""
    await register(parts, 20)
    record = await planned(parts, sample)
    await parts.follow_ups.close(record.id, ANA, "found", notify=False)
    before = await parts.alerts.get(record.id)
    await later(parts, 10 * DAYS)
    assert await parts.alerts.get(record.id) == before


@pytest.mark.parametrize(
    ("part", "value", "place"),
    [
        ("persons_sought", [{"description": {"en": "the Kidnapper, tall"}, "legal_basis": "x"}], "description/en"),
        ("persons_sought", [{"description": {"es-MX": "el secuestrador"}, "legal_basis": "x"}], "description/es-MX"),
        ("vehicles", [{"description": {"ar": "سيارة المجرم"}, "legal_basis": "x"}], "description/ar"),
    ],
)
async def test_nobody_is_called_guilty(parts: Container, sample: dict[str, Any], part: str, value: Any, place: str):
    """Refused where it is said, in the language it is said in; looks are told."""
    await register(parts, 20)
    with pytest.raises(Problem) as refusal:
        await submitted(parts, changed(sample, f"case/{part}", value))
    assert refusal.value.slug == "invalid-request"
    assert [fault.pointer for fault in refusal.value.faults] == [f"/case/{part}/0/{place}"]
    fine = [{"description": {"en": "a tall man, with a scar"}, "legal_basis": "x"}]
    assert (await submitted(parts, changed(sample, f"case/{part}", fine))).record.state is AlertState.PENDING
