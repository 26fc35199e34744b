"""Break-glass: an author approves their own alert, because no other person can be reached. Another person must review
it later.

This takes a signed-in person, and a policy that their organisation set before. The person who set the policy counts as
the second person, as for unattended alerts. All other checks of an approval apply.
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
    """Approves alerts by break-glass, and records the reviews. A person cannot approve another alert alone before the
    review.
    """

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
        """Approves the caller's own alert without a second person, and returns it. Repeating the call changes nothing.

        Raises Problem: not-allowed, same-person, review-pending, precondition-failed, and all problems of an ordinary
        approval.
        """
        record = await self.approval.get(alert_id, who)
        _check_operator(who)
        if record.approval.glass and who.is_person(record.author.subject):
            return record
        _check_alert(record, who)
        check_revision(record, rev)
        allowed = await self.organisations.alone(record)
        if allowed is None:
            raise Problem("not-allowed", "Your organisation does not allow break-glass approval of such an alert.")
        _check_setter(record, who, allowed)
        self._check_wait(record, allowed)
        claim = await self._claim(record, who)
        try:
            return await self.approval.approve_alone(record, who, why, people=people, plates=plates)
        except Problem:
            await self._release(who, claim)
            raise

    async def review(self, alert_id: str, who: Credential, verdict: Verdict, note: str) -> AlertRecord:
        """Records the verdict of another operator on a break-glass approval, once and for good. Returns the alert.
        Afterwards the author may approve alone again. The same person may repeat the call with the same verdict.

        Raises Problem: not-allowed, same-person, precondition-failed.
        """
        _check_operator(who)
        for _ in range(TRIES):
            record = await self.approval.get(alert_id, who)
            if not record.approval.glass:
                raise Problem("precondition-failed", "This alert has no break-glass approval.")
            check_second_person(record, who)
            if record.approval.glass.review:
                return await self._reviewed(record, record.approval.glass.review, who, verdict)
            if await self._write(record, who, verdict, note):
                await self._forget(record)
                return await self.approval.get(alert_id, who)
        raise changed_since()

    async def awaiting(self, org: str) -> list[AlertRecord]:
        """Returns the organisation's break-glass alerts that nobody has reviewed yet, without their documents. The alert
        that was approved first comes first.
        """
        claims = (await self.claims.of_org(org)).values()
        heads = await self._heads(one.alert for each in claims for one in each)
        return sorted(
            filter(_is_owed, heads.values()), key=lambda one: one.approval.glass.at if one.approval.glass else 0
        )

    async def _write(self, record: AlertRecord, who: Credential, verdict: Verdict, note: str) -> bool:
        """Writes the review. Returns False if the alert was changed meanwhile, and must be read again."""
        footing = Footing(
            sources=AlertState, last=len(await versions_of(self.alerts, record.id)), rev=record.rev, word="reviewed"
        )
        now = str(self.clock.now_ms())
        fields = {"reviewed": now, "reviewer": who.subject, "verdict": verdict.value, "note": note, "sent_alone": "0"}
        done, _ = await self.alerts.follow(record, footing, None, None, fields=fields)
        return done

    async def _reviewed(self, record: AlertRecord, review: Review, who: Credential, verdict: Verdict) -> AlertRecord:
        """Returns the alert to the person who repeats their review. Raises Problem for any other review."""
        if not who.is_person(review.by) or review.verdict is not verdict:
            raise Problem("precondition-failed", "The alert was reviewed already. A review cannot be changed.")
        await self._forget(record)
        return record

    def _check_wait(self, record: AlertRecord, allowed: Alone) -> None:
        """Raises Problem if the alert has not waited long enough for a second person."""
        since = record.last_step.since or record.times.created  # a record without `since` was never in another state
        left_ms = since + allowed.after_ms - self.clock.now_ms()
        if left_ms > 0:
            raise Problem(
                "precondition-failed", "The alert must wait longer for a second person before its author may approve it.",
                headers={"Retry-After": str(-(-left_ms // 1000))}, wait_s=-(-left_ms // 1000),
            )  # fmt: skip

    async def _claim(self, record: AlertRecord, who: Credential) -> Claim:
        """Stores that this operator is approving this alert alone, and returns the claim. Raises Problem if another
        alert that the same operator approved alone still awaits its review.
        """
        own = Claim(record.id, record.rev, secrets.token_hex(8))
        for _ in range(TRIES):
            seen = await self.claims.of(who.org, who.key_id)
            others = [one for one in seen if one.alert != record.id]
            heads = await self._heads(one.alert for one in others)
            if standing := [one.alert for one in others if one.alert in heads and _stands(heads[one.alert], one)]:
                raise Problem(
                    "review-pending",
                    "You approved another alert alone, and it was not reviewed yet.",
                    alert=standing[0],
                )
            kept = [one for one in seen if one.alert == record.id]
            if await self.claims.replace(who.org, who.key_id, seen, (*kept, own)):
                return own
        raise changed_since()

    async def _release(self, who: Credential, claim: Claim) -> None:
        """Removes the claim of a failed attempt, and no other claim. If it cannot be removed, a later attempt ignores
        it.
        """
        for _ in range(TRIES):
            seen = await self.claims.of(who.org, who.key_id)
            if await self.claims.replace(who.org, who.key_id, seen, [one for one in seen if one != claim]):
                return

    async def _forget(self, record: AlertRecord) -> None:
        """Removes the claims of all operators about this alert, so that its author may approve alone again."""
        for operator, seen in (await self.claims.of_org(record.org)).items():
            rest = [one for one in seen if one.alert != record.id]
            if len(rest) < len(seen):
                await self.claims.replace(record.org, operator, seen, rest)

    async def _heads(self, alert_ids: Iterable[str]) -> dict[str, AlertRecord]:
        """Returns the alerts with these ids by id, without their documents. Leaves out unknown and damaged ones."""
        ids = sorted(set(alert_ids))
        found = await self.alerts.listed(ids)
        return {one.id: one for one in found if one is not None}


def _is_owed(record: AlertRecord) -> bool:
    """Returns whether the alert was approved by break-glass and not reviewed yet."""
    return record.approval.glass is not None and not record.approval.glass.review


def _stands(record: AlertRecord, claim: Claim) -> bool:
    """Returns whether a claim still blocks another attempt: its alert has a break-glass approval that awaits its
    review, or an unfinished attempt may still approve it (it is pending at the revision of the claim).
    """
    return _is_owed(record) or (record.state is AlertState.PENDING and record.rev == claim.rev)


def _check_operator(who: Credential) -> None:
    """Raises Problem unless the caller is an operator with a session: a key may not approve alone or review. The API
    also requires that the operator proved their identity in the last minutes.
    """
    if not who.signed_in:
        raise Problem("not-allowed", "Only a person who signed in can do this; a key cannot.")


def _check_alert(record: AlertRecord, who: Credential) -> None:
    """Raises Problem if the alert is not the caller's own, is an update, or does not wait for a second person."""
    if not who.is_person(record.author.subject):
        raise Problem(
            "not-allowed",
            "Only the author can approve an alert alone. You may be its second person: approve it as usual.",
        )
    if record.id != chain_of(record.id):
        raise Problem(
            "precondition-failed", "An update must have a second person. One person can stand down the alert itself."
        )
    if record.status != Status.ACTUAL or record.state is not AlertState.PENDING:
        raise refused(record.state, AlertState.APPROVED)


def _check_setter(record: AlertRecord, who: Credential, allowed: Alone) -> None:
    """Raises Problem if the person who set the policy and the author may be the same human."""
    setter, hands = allowed.setter, hands_of(record.author.subject, record.author.hands) | who.hands
    if folded_subject(setter.subject) in hands or folded_subject(who.subject) in setter.hands:
        raise Problem(
            "same-person",
            "The person who allowed break-glass counts as the second person: you are that person, or one of you made the other's access.",
        )


def broken_by(record: AlertRecord) -> str:
    """Returns the subject of the person who approved the alert alone."""
    return record.approval.by.removeprefix(BY_GLASS)
