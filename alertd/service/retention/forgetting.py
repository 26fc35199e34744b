"""Whom an alert sought with a child, and what they drove, is forgotten soon after its end, long before its case is purged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import structlog

from alertd.common.clock import DAY_MS, Clock
from alertd.common.ids import chain_of
from alertd.config.sections import RetentionSection
from alertd.model.kinds import Kind
from alertd.model.presumption_of_innocence import has_sought, sought_in, without_sought
from alertd.model.states import ENDED, AlertState
from alertd.service.access import Credential
from alertd.service.alerts.follow_up_audience import versions_of
from alertd.service.records.audit import DONE, Audit, Noted
from alertd.service.records.published_history import PublishedHistory
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import Footing
from alertd.store.records.case_keys import Cases

ACT = "alert.forget"
#: Who does it, in the audit: no person, and no key.
BY = "alertd retention"
#: Nobody is told of these any more, but that they are over, or ever was; what is purged says nothing.
FORGETS = ENDED - {AlertState.PURGED}


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Looks at alerts, one by one. Two at it do no harm: the second finds nothing, or another revision."""

    alerts: Alerts
    cases: Cases
    past: PublishedHistory
    audit: Audit
    settings: RetentionSection
    clock: Clock

    async def look(self, alert_id: str) -> bool:
        """Take them out of all versions of an alert that ended so long ago, unless a legal hold keeps its case. Answers whether it was done now."""
        if alert_id != chain_of(alert_id):
            return False  # an update goes the way of its alert
        record = await self.alerts.get(alert_id)
        if record is not None and await self.past.settle(record):
            structlog.get_logger().info("words of before a restriction forgotten", alert=alert_id)
        last_ms = self.clock.now_ms() - self.settings.sought_days * DAY_MS
        if record is None or record.kind != Kind.MISSING_CHILD or record.state not in FORGETS or record.since > last_ms:
            return False
        heads = await versions_of(self.alerts, alert_id)
        found = [await self.alerts.get(one.id) for one in heads]
        versions = [(one, one.alert) for one in found if one and one.document]
        said = [*(alert for _, alert in versions), *await self.past.read_documents(record)]
        if not any(map(has_sought, said)) or await self.cases.is_kept(record.case):
            return False
        forget = partial(without_sought, theirs=sought_in(said))
        anew = [
            replace(one, document=less.model_dump_json(by_alias=True).encode())
            for one, alert in versions
            if (less := forget(alert)) != alert
        ]
        who = Credential(key_id="", org=record.org, subject=BY, scopes=frozenset())
        entry = await self.audit.begin(who, ACT, alert_id)
        await self.past.keep(record)
        footing = Footing(sources=FORGETS, last=len(heads), rev=record.rev)
        done, _ = await self.alerts.follow(record, footing, None, None, fields={}, anew=anew) if anew else (True, "")
        if done:  # last: whom only words of before name is found by them
            await self.past.forget(record, forget)
            await self.audit.end(who, ACT, DONE, Noted(record=await self.alerts.get(alert_id)), of=entry)
            structlog.get_logger().info("persons sought forgotten", alert=alert_id, versions=len(anew))
        return done
