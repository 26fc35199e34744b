"""A legal hold: a case is kept whole, with its photos and ledgers, until another person lets it go. It is not purged, and nothing of it goes by its age.

Each organisation has a hold of its own: others know that the case is kept, and neither why nor how to change it. One person holds, for it stops harm; another releases, as an end is put off by a second person.
"""

from __future__ import annotations

from alertd.alerts import AlertState
from alertd.clock import Clock
from alertd.errors import Problem
from alertd.fields import folded_subject
from alertd.service.access import Credential
from alertd.service.approval import Approval
from alertd.store.alerts import AlertRecord
from alertd.store.cases import Cases, Hold
from alertd.store.media import KEPT_AFTER_MS


class LegalHolds:
    """Holds cases and releases them, by any alert of theirs. Whoever says the same twice gets the same answer."""

    def __init__(self, cases: Cases, approval: Approval, clock: Clock) -> None:
        self._cases = cases
        self._approval = approval
        self._clock = clock

    async def of(self, record: AlertRecord) -> Hold | None:
        """The hold of an alert's organisation on its case, or None."""
        found = await self._cases.hold(record.case, record.org)
        return found[0] if found else None

    async def is_kept(self, record: AlertRecord) -> bool:
        """Whether a hold, whoever's, keeps an alert's case."""
        return await self._cases.is_kept(record.case)

    async def hold(self, alert_id: str, who: Credential, reason: str) -> AlertRecord:
        """Keep its case. One hold of an organisation is enough: who asks while there is one finds it as it is. Raises Problem."""
        record = await self._approval.get(alert_id, who)
        await self._approval.check_case(record, who)
        hold = Hold(
            org=record.org, by=who.subject, hands=tuple(sorted(who.hands)), at=self._clock.now_ms(), reason=reason
        )
        if record.state is AlertState.PURGED or await self._cases.keep(record.case, hold) is None:
            raise Problem("precondition-failed", "Nothing is left to keep: the case is purged, or is being purged.")
        return record

    async def release(self, alert_id: str, who: Credential) -> AlertRecord:
        """Let its case go; it may be purged then, unless another organisation holds it. Raises Problem for whoever put the hold there, or could have,
        and where only others hold it.
        """
        record = await self._approval.get(alert_id, who)
        await self._approval.check_case(record, who)
        found = await self._cases.hold(record.case, record.org)
        if found is None:
            if await self._cases.is_kept(record.case):
                raise Problem("not-allowed", "Another organisation holds this case: its people release it.")
            return record
        hold, seen = found
        if folded_subject(who.subject) in hold.hands or folded_subject(hold.by) in who.hands:
            raise Problem("same-person", "Another person than who put it there releases a legal hold.")
        if not await self._cases.let_go(record.case, record.org, seen, until_ms=self._clock.now_ms() + KEPT_AFTER_MS):
            raise Problem("precondition-failed", "Somebody else changed the hold at this moment. Look at it again.")
        return record
