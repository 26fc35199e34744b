"""What ended is looked at again and again: whom it sought is forgotten soon after, and its ledger compressed later, and dated for deletion where
that is set.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from alertd.common.clock import DAY_MS, Clock
from alertd.common.ids import chain_of
from alertd.config.sections import RetentionSection
from alertd.model.kinds import Kind
from alertd.model.presumption_of_innocence import has_sought, sought_in, without_sought
from alertd.model.states import ENDED, QUEUED_BECOMES, AlertState
from alertd.service.access import Credential
from alertd.service.alerts.later_audience import versions_of
from alertd.service.records.audit import DONE, Audit, Noted
from alertd.service.records.published_history import PublishedHistory
from alertd.store.alerts import archive
from alertd.store.alerts.alerts import Alerts, ListPlace
from alertd.store.alerts.records import Footing, unless_damaged
from alertd.store.engine.connection import Connection
from alertd.store.organisations.organisations import OrganisationStore
from alertd.store.records.case_keys import Cases

#: Alerts that are looked at in a round, of one organisation. Nobody waits for it, and each is seen again.
LOOK = 100


@dataclass(slots=True)
class Archiving:
    """Looks at all alerts, a few a round. Two at it do no harm: the script takes one copy."""

    db: Connection
    alerts: Alerts
    organisations: OrganisationStore
    settings: RetentionSection
    clock: Clock
    default: str
    forgetting: Forgetting
    _left: dict[str, ListPlace | None] = field(default_factory=dict)  # organisations of this walk, and where to go on

    async def round(self) -> int:
        """Look at the next alerts. Answers how many versions were compressed."""
        if not self._left:
            self._left = dict.fromkeys(sorted({self.default, *await self.organisations.names()}))
        org, before = next(iter(self._left.items()))
        index = await self.alerts.of_org(org, before=before, limit=LOOK)
        if len(index) < LOOK:
            del self._left[org]
        else:
            self._left[org] = index[-1]
        for _, alert_id in index:
            await unless_damaged(alert_id, self.forgetting.look(alert_id))
        last = self.clock.now_ms() - self.settings.compress_days * DAY_MS
        # An update is one of its alert's versions.
        old = [alert_id for made, alert_id in index if made < last and alert_id == chain_of(alert_id)]
        return sum([await self._look(alert_id, last) for alert_id in old])

    async def _look(self, alert_id: str, last_ms: int) -> int:
        """All versions of an alert whose last one was told, and whose end came, before that; none where one is damaged, for it may have been
        the last.
        """
        found = await self.alerts.listed(await self.alerts.versions([alert_id]))
        versions = [one for one in found if one]
        if not versions or len(versions) < len(found) or versions[0].state not in QUEUED_BECOMES:
            return 0
        if any(max(one.expires, one.times.start, one.times.last_send) > last_ms for one in versions):
            return 0
        keep_ms = self.settings.ledger_days * DAY_MS
        if keep_ms and await Cases(self.db).is_kept(versions[0].case):
            return 0  # what a legal hold keeps gets no date
        done = 0
        for one in versions:
            ends = max(one.expires, versions[0].expires)  # that is told to whom one of them told alone, too
            done += await archive.archive(self.db, one.id, ends + keep_ms if keep_ms else 0)
        if done:
            structlog.get_logger().info("ledger compressed", alert=alert_id, versions=done)
        return done


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
    published_history: PublishedHistory
    audit: Audit
    settings: RetentionSection
    clock: Clock

    async def look(self, alert_id: str) -> bool:
        """Take them out of all versions of an alert that ended so long ago, unless a legal hold keeps its case. Answers whether it was done now."""
        if alert_id != chain_of(alert_id):
            return False  # an update goes the way of its alert
        record = await self.alerts.get(alert_id)
        if record is not None and await self.published_history.settle(record):
            structlog.get_logger().info("words of before a restriction forgotten", alert=alert_id)
        last_ms = self.clock.now_ms() - self.settings.sought_days * DAY_MS
        if (
            record is None
            or record.kind != Kind.MISSING_CHILD
            or record.state not in FORGETS
            or record.last_step.since > last_ms
        ):
            return False
        heads = await versions_of(self.alerts, alert_id)
        found = [await self.alerts.get(one.id) for one in heads]
        versions = [(one, one.alert) for one in found if one and one.document]
        said = [*(alert for _, alert in versions), *await self.published_history.read_documents(record)]
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
        await self.published_history.words.keep(record)
        footing = Footing(sources=FORGETS, last=len(heads), rev=record.rev)
        done, _ = await self.alerts.follow(record, footing, None, None, fields={}, anew=anew) if anew else (True, "")
        if done:  # last: whom only words of before name is found by them
            await self.published_history.words.rewrite(record, forget)
            await self.audit.end(who, ACT, DONE, Noted(record=await self.alerts.get(alert_id)), of=entry)
            structlog.get_logger().info("persons sought forgotten", alert=alert_id, versions=len(anew))
        return done
