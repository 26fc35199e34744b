"""Removes the identity of the people sought from ended alerts, and later compresses the ledgers.

If `ledger_days` is set, a compressed ledger also gets a date of deletion.
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

#: Number of alerts checked in a round, all of one organisation. The work is not urgent, and later rounds check each
#: alert again.
LOOK = 100


@dataclass(slots=True)
class Archiving:
    """Checks all alerts, a few a round. Two workers may run it at once: the script accepts only one copy of a ledger."""

    db: Connection
    alerts: Alerts
    organisations: OrganisationStore
    settings: RetentionSection
    clock: Clock
    default: str
    forgetting: Forgetting
    _left: dict[str, ListPlace | None] = field(
        default_factory=dict
    )  # remaining organisations of this pass, each with the place to continue from

    async def round(self) -> int:
        """Checks the next alerts. Returns how many versions it compressed."""
        if not self._left:
            self._left = dict.fromkeys(sorted({self.default, *await self.organisations.names()}))
        org, before = next(iter(self._left.items()))
        index = await self.alerts.of_org(org, before=before, limit=LOOK)
        if len(index) < LOOK:
            del self._left[org]
        else:
            self._left[org] = index[-1]
        for _, alert_id in index:
            await unless_damaged(alert_id, self.forgetting.remove_identity(alert_id))
        last = self.clock.now_ms() - self.settings.compress_days * DAY_MS
        # An update is one of its alert's versions.
        old = [alert_id for made, alert_id in index if made < last and alert_id == chain_of(alert_id)]
        return sum([await self._compress(alert_id, last) for alert_id in old])

    async def _compress(self, alert_id: str, last_ms: int) -> int:
        """Compresses the ledgers of all versions of an alert that has ended, if each version expired and was last sent
        by `last_ms` (UNIX ms). Compresses none if a version is damaged, because the damaged one may be the last, or if
        ledgers get a date of deletion and a legal hold keeps the case. Returns how many versions it compressed.
        """
        found = await self.alerts.listed(await self.alerts.versions([alert_id]))
        versions = [one for one in found if one]
        if not versions or len(versions) < len(found) or versions[0].state not in QUEUED_BECOMES:
            return 0
        if any(max(one.expires, one.times.start, one.times.last_send) > last_ms for one in versions):
            return 0
        keep_ms = self.settings.ledger_days * DAY_MS
        if keep_ms and await Cases(self.db).is_kept(versions[0].case):
            return 0  # a ledger under a legal hold gets no date of deletion
        done = 0
        for one in versions:
            ends = max(
                one.expires, versions[0].expires
            )  # the end of the alert is also sent to recipients of a single version
            done += await archive.archive(self.db, one.id, ends + keep_ms if keep_ms else 0)
        if done:
            structlog.get_logger().info("ledger.compressed", alert=alert_id, versions=done)
        return done


ACT = "alert.forget"
#: The actor in the audit: neither a person nor a key.
BY = "alertd retention"
#: States in which the identity of the people sought may be removed: alertd sends at most the end of the alert. A purged
#: alert has no content left to remove.
FORGETS = ENDED - {AlertState.PURGED}


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Removes the identity of the people sought from alerts, one by one. Two workers may run it at once: the second
    finds nothing to do, or another revision.
    """

    alerts: Alerts
    cases: Cases
    published_history: PublishedHistory
    audit: Audit
    settings: RetentionSection
    clock: Clock

    async def remove_identity(self, alert_id: str) -> bool:
        """Removes the identity of the people sought from all versions of a missing-child alert that ended `sought_days`
        ago, unless its case has a legal hold.

        Also removes restricted facts from the earlier public texts of a restricted alert. Returns whether this call
        removed the identity.
        """
        if alert_id != chain_of(alert_id):
            return False  # an update is handled together with its alert
        record = await self.alerts.get(alert_id)
        if record is not None and await self.published_history.settle(record):
            structlog.get_logger().info("published_history.removed", alert=alert_id)
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
        if done:  # last: a person named only in earlier words can be found only through them
            await self.published_history.words.rewrite(record, forget)
            await self.audit.end(who, ACT, DONE, Noted(record=await self.alerts.get(alert_id)), of=entry)
            structlog.get_logger().info("sought_persons.removed", alert=alert_id, versions=len(anew))
        return done
