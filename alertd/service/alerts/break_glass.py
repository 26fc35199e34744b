"""An alert that its author approves alone, because nobody else can be reached; and the review that another person owes it.

It takes a person who is signed in, and the word that their organisation gave before: whoever allowed it is the second person, as
where alerts go out unattended. What an approval checks besides is checked all the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.alert import Status
from alertd.model.fields import folded_subject
from alertd.model.kinds import Verdict
from alertd.model.states import AlertState
from alertd.service.access import BY_GLASS, Credential, hands_of
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.later_audience import versions_of
from alertd.service.decision_checks import TRIES, changed_since, check_revision, check_second_person, refused
from alertd.service.organisations.organisations import Alone, Organisations
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord, Footing, Review
from alertd.store.approvals.break_glass import Claim, Claims


@dataclass(slots=True)
class BreakGlass:
    """Breaks the glass, and keeps who broke it from doing so again until it was reviewed."""

    alerts: Alerts
    approval: Approval
    organisations: Organisations
    claims: Claims
    clock: Clock

    async def approve(
        self,
        alert_id: str,
        who: Credential,
        why: str,
        *,
        people: int | None = None,
        plates: Sequence[str] = (),
        rev: int | None = None,
    ) -> AlertRecord:
        """Approve alone what one wrote; said again by the same person it changes nothing. Raises Problem: not-allowed, same-person,
        review-pending, precondition-failed, and all that an approval may raise.
        """
        record = await self.approval.get(alert_id, who)
        _check_operator(who)
        if record.approval.glass and who.is_person(record.author.subject):
            return record
        _check_alert(record, who)
        check_revision(record, rev)
        allowed = await self.organisations.alone(record)
        if allowed is None:
            raise Problem("not-allowed", "Your organisation does not allow that anybody approves such an alert alone.")
        _check_setter(record, who, allowed)
        self._check_wait(record, allowed)
        claim = await self._claim(record, who)
        try:
            return await self.approval.approve_alone(record, who, why, people=people, plates=plates)
        except Problem:
            await self._release(who, claim)
            raise

    async def review(self, alert_id: str, who: Credential, verdict: Verdict, note: str) -> AlertRecord:
        """What another operator thinks of it, once and for good; whoever broke the glass may do so again then. The same person may say
        it again. Raises Problem: not-allowed, same-person, precondition-failed.
        """
        _check_operator(who)
        for _ in range(TRIES):
            record = await self.approval.get(alert_id, who)
            if not record.approval.glass:
                raise Problem("precondition-failed", "Nobody approved this alert alone.")
            check_second_person(record, who)
            if record.approval.glass.review:
                return await self._reviewed(record, record.approval.glass.review, who, verdict)
            if await self._write(record, who, verdict, note):
                await self._forget(record)
                return await self.approval.get(alert_id, who)
        raise changed_since()

    async def awaiting(self, org: str) -> list[AlertRecord]:
        """The organisation's alerts that were approved alone and await their review, the oldest first; without their documents."""
        claims = (await self.claims.of_org(org)).values()
        heads = await self._heads(one.alert for each in claims for one in each)
        return sorted(
            filter(_is_owed, heads.values()), key=lambda one: one.approval.glass.at if one.approval.glass else 0
        )

    async def _write(self, record: AlertRecord, who: Credential, verdict: Verdict, note: str) -> bool:
        """False where the alert was changed meanwhile, and is to be looked at again."""
        footing = Footing(
            sources=AlertState, last=len(await versions_of(self.alerts, record.id)), rev=record.rev, word="reviewed"
        )
        now = str(self.clock.now_ms())
        fields = {"reviewed": now, "reviewer": who.subject, "verdict": verdict.value, "note": note, "sent_alone": "0"}
        done, _ = await self.alerts.follow(record, footing, None, None, fields=fields)
        return done

    async def _reviewed(self, record: AlertRecord, review: Review, who: Credential, verdict: Verdict) -> AlertRecord:
        """The answer to whoever says what they said before. Raises Problem for anything else."""
        if not who.is_person(review.by) or review.verdict is not verdict:
            raise Problem("precondition-failed", "It was reviewed already, and that stands.")
        await self._forget(record)
        return record

    def _check_wait(self, record: AlertRecord, allowed: Alone) -> None:
        """Raises Problem while somebody may still come."""
        since = record.last_step.since or record.times.created  # it was never in another state
        left_ms = since + allowed.after_ms - self.clock.now_ms()
        if left_ms > 0:
            raise Problem(
                "precondition-failed", "It has not waited for its second person for as long as your organisation asks.",
                headers={"Retry-After": str(-(-left_ms // 1000))}, wait_s=-(-left_ms // 1000),
            )  # fmt: skip

    async def _claim(self, record: AlertRecord, who: Credential) -> Claim:
        """A line for this try. Raises Problem while one for another alert stands."""
        own = Claim(record.id, record.rev, secrets.token_hex(8))
        for _ in range(TRIES):
            seen = await self.claims.of(who.org, who.key_id)
            others = [one for one in seen if one.alert != record.id]
            heads = await self._heads(one.alert for one in others)
            if standing := [one.alert for one in others if one.alert in heads and _stands(heads[one.alert], one)]:
                raise Problem(
                    "review-pending",
                    "You approved another alert alone, and nobody has reviewed that.",
                    alert=standing[0],
                )
            kept = [one for one in seen if one.alert == record.id]
            if await self.claims.replace(who.org, who.key_id, seen, (*kept, own)):
                return own
        raise changed_since()

    async def _release(self, who: Credential, claim: Claim) -> None:
        """Takes back the line of a try that came to nothing, and of no other. One that stays for once is found to be nothing later."""
        for _ in range(TRIES):
            seen = await self.claims.of(who.org, who.key_id)
            if await self.claims.replace(who.org, who.key_id, seen, [one for one in seen if one != claim]):
                return

    async def _forget(self, record: AlertRecord) -> None:
        for operator, seen in (await self.claims.of_org(record.org)).items():
            rest = [one for one in seen if one.alert != record.id]
            if len(rest) < len(seen):
                await self.claims.replace(record.org, operator, seen, rest)

    async def _heads(self, alert_ids: Iterable[str]) -> dict[str, AlertRecord]:
        ids = sorted(set(alert_ids))
        found = await self.alerts.listed(ids)
        return {one.id: one for one in found if one is not None}


def _is_owed(record: AlertRecord) -> bool:
    return record.approval.glass is not None and not record.approval.glass.review


def _stands(record: AlertRecord, claim: Claim) -> bool:
    """Whether an alert was approved alone and awaits its review; or may be, by a try that nobody knows the end of."""
    return _is_owed(record) or (record.state is AlertState.PENDING and record.rev == claim.rev)


def _check_operator(who: Credential) -> None:
    """Raises Problem for a key: whoever answers for this is a person who has just shown that it is they."""
    if not who.signed_in:
        raise Problem("not-allowed", "This takes a person who signed in; a key cannot do it.")


def _check_alert(record: AlertRecord, who: Credential) -> None:
    """Raises Problem for one that is not waiting for a second person, or is not the caller's own."""
    if not who.is_person(record.author.subject):
        raise Problem("not-allowed", "Only its author approves an alert alone; you may be its second person.")
    if record.id != chain_of(record.id):
        raise Problem(
            "precondition-failed", "An update waits for its second person: the alert itself can be stood down alone."
        )
    if record.status != Status.ACTUAL or record.state is not AlertState.PENDING:
        raise refused(record.state, AlertState.APPROVED)


def _check_setter(record: AlertRecord, who: Credential, allowed: Alone) -> None:
    """Raises Problem where whoever allowed it and its author may be one."""
    setter, hands = allowed.setter, hands_of(record.author.subject, record.author.hands) | who.hands
    if folded_subject(setter.subject) in hands or folded_subject(who.subject) in setter.hands:
        raise Problem(
            "same-person",
            "Who allowed that alerts are approved alone is their second person: of you two, one let the other in, or you are one.",
        )


def broken_by(record: AlertRecord) -> str:
    """Whoever approved it alone."""
    return record.approval.by.removeprefix(BY_GLASS)
