"""Alerts that retention closes."""

from __future__ import annotations

from typing import Any

from alertd.common.clock import SystemClock
from alertd.config.sections import RetentionSection
from alertd.service.container import Container
from alertd.service.retention.archiving import Archiving, Forgetting
from alertd.store.alerts.records import AlertRecord
from alertd.store.organisations.organisations import OrganisationStore
from alertd.store.records.case_keys import Cases
from tests.integration.acts import ANA, BEA, alert_of, register, submitted
from tests.unit.alertd.samples import changed

DAY_MS = 86_400_000


def closing(parts: Container, clock: SystemClock, **settings: int) -> Archiving:
    section = RetentionSection(**settings)
    forgetting = Forgetting(parts.alerts, Cases(parts.db), parts.published_history, parts.audit, section, clock)
    return Archiving(parts.db, parts.alerts, OrganisationStore(parts.db), section, clock, "default", forgetting)


def with_sought(sample: dict[str, Any], **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "persons_sought": [
            {
                "name": {"public": "Jan K.", "scripts": {"ar": "يان"}},
                "description": {"en": "tall"},
                "legal_basis": "order of the judge",
            }
        ],
        "vehicles": [{"plate": "1234-BCD", "description": {"es": "furgoneta"}, "legal_basis": "order of the judge"}],
    }
    for name, value in (said | more).items():
        sample = changed(sample, f"case/{name}", value)
    return {
        **sample,
        "info": {"en": {"instruction": "Look for jan k. and for 1234 BCD, in Seville.", "source": "human"}},
    }


async def told(parts: Container, sample: dict[str, Any]) -> AlertRecord:
    """An alert that seeks a person and a vehicle, updated once, as it is told."""
    await register(parts, 20)
    document = with_sought(sample)
    taken = await submitted(parts, document)
    record = await parts.approval.approve(taken.record.id, BEA, plates=["1234bcd"])
    update = await parts.update_proposals.submit(record.id, alert_of(document, level="appeal"), "none", ANA)
    await parts.approval.approve(update.record.id, BEA, plates=["1234bcd"])
    return await parts.alerts.get(record.id)
