"""A child was found: every alert of the case is hidden at once, whichever organisation's, and nobody looks for ids first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from alertd.alerts import SHOWN, WAITING, AlertState
from alertd.errors import Problem
from alertd.service.access import Credential
from alertd.service.approval import Approval
from alertd.service.audit import DONE, Audit, Noted
from alertd.service.following import Followed, Following
from alertd.service.revisions import TRIES
from alertd.service.second_person import check_key
from alertd.store.alerts import AlertRecord, Alerts
from alertd.store.connection import StoreUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """A case of which nobody is told any more."""

    own: list[Followed]  # the caller's organisation's alerts
    others: int  # how many other organisations have: whose, and which, is theirs to know


class WholeCase:
    """Hides all alerts of a case. Whoever says it again does the same to what came to it since."""

    def __init__(self, alerts: Alerts, approval: Approval, following: Following, audit: Audit) -> None:
        self._alerts = alerts
        self._approval = approval
        self._following = following
        self._audit = audit

    async def stand_down(self, number: str, who: Credential, reason: str) -> Hidden:
        """Hide every alert of a case that is told, whichever organisation's, for a child that was found is hidden everywhere;
        those that wait for their second person, or for their time, go back to their authors. Raises Problem before any is hidden, where
        this key may not do so to one of them. One that cannot be stood down all the same keeps none of the others from it, nor one that
        cannot be written into its organisation's audit. Raises that Problem, or StoreUnavailableError, then, when all were tried.
        """
        for head in await self._of_case(number, who):
            check_key(head, who)
        done = dict[str, Followed]()
        problem: Problem | StoreUnavailableError | None = None
        for _ in range(TRIES):
            heads = [one for one in await self._of_case(number, who) if one.id not in done]
            if not heads or problem:
                break
            for head in heads:
                try:
                    done[head.id] = await self._hidden(head, replace(who, org=head.org), reason)
                    await self._enter(head, done[head.id].record, who)
                except (Problem, StoreUnavailableError) as one:
                    problem = problem or one
        if problem:
            raise problem
        if not done:
            raise Problem("not-found", "No alert is of this case.")
        own = [one for one in done.values() if one.record.org == who.org]
        return Hidden(own=own, others=len(done) - len(own))

    async def of(self, number: str, who: Credential) -> Hidden:
        """The alerts of a case as they stand. Raises Problem where there is none."""
        heads = await self._of_case(number, who)
        if not heads:
            raise Problem("not-found", "No alert is of this case.")
        own = [Followed(record=one, told_by=None) for one in heads if one.org == who.org]
        return Hidden(own=own, others=len(heads) - len(own))

    async def _of_case(self, number: str, who: Credential) -> list[AlertRecord]:
        """To a test key, which decides about no other's, theirs do not exist: who guesses numbers learns nothing."""
        found = await self._alerts.in_case(self._alerts.case_id(number))
        return [one for one in found if one.org == who.org or not who.test]

    async def _hidden(self, head: AlertRecord, who: Credential, reason: str) -> Followed:
        """An alert of which nobody is told any more, until it is reopened or approved."""
        if head.state in WAITING:
            try:
                return Followed(record=await self._approval.give_back(head.id, who, reason), told_by=None)
            except Problem:
                head = await self._approval.get(head.id, who)
                if head.state in WAITING:
                    raise  # else it was approved meanwhile
        if head.state in SHOWN:
            return await self._following.stand_down(head.id, who, reason)
        check_key(head, who)
        return Followed(record=head, told_by=None)

    async def _enter(self, head: AlertRecord, now: AlertRecord, who: Credential) -> None:
        """Into the audit of the alert's own organisation, and so into its history: who hid it, and of which organisation they are."""
        if now.state is head.state:
            return
        act = "alert.stand-down" if now.state is AlertState.STOOD_DOWN else "alert.return"
        noted = Noted(record=now, facts={"whole_case": True, "organisation": who.org})
        await self._audit.end(replace(who, org=head.org), act, DONE, noted, of=0)
