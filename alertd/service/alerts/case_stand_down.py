"""Stands down a whole case, because the child was found.

An organisation stands down its own alerts of the case, and asks the other organisations; their people decide. Only an
administrator of the organisation that runs the service stands down the alerts of all organisations. An alert of one's
own with the same case number proves nothing, because one administrator can make the two keys that it takes. The answer
to a request is the same whether or not the number exists, so that a caller cannot find case numbers by guessing.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.permission import StandDownRequest, parse_requests, written
from alertd.model.states import ASKABLE, SHOWN, WAITING, AlertState
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.follow_up import Followed, FollowUps
from alertd.service.decision_checks import TRIES, check_key
from alertd.service.organisations.organisations import Organisations
from alertd.service.records.audit import DONE, Audit, Noted
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.carriers.limits import Limits
from alertd.store.engine.connection import StoreUnavailableError

#: Maximum number of requests to other organisations per hour, for one organisation with all its keys: enough for the
#: cases of a night, too few to guess numbers. Every request counts, so that the count does not reveal which numbers
#: exist.
ASKS_PER_HOUR = 30
#: The name of the event that notifies an organisation of a request, and the name of the request in its audit.
ASKED, ACT = "stand_down_asked", "alert.stand-down-asked"


_Failure = Problem | StoreUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """The alerts of a case after its stand-down."""

    own: list[Followed]  # the caller's organisation's alerts
    others: int | None  # alerts of other organisations that were stood down; None if their people were only asked


@dataclass(slots=True)
class CaseStandDown:
    """Stands down all alerts of a case, or asks other organisations to do so. A repeated call also covers alerts that
    came since.
    """

    alerts: Alerts
    approval: Approval
    follow_ups: FollowUps
    organisations: Organisations
    limits: Limits
    audit: Audit
    clock: Clock

    async def stand_down(self, number: str, who: Credential, reason: str) -> Hidden:
        """Stands down every shown alert of a case, and returns pending and scheduled ones to their authors.

        Covers the caller's own alerts. Also covers those of other organisations if the caller may do that; otherwise
        asks those organisations. One alert that cannot be stood down delays none of the others.

        Raises Problem before any change if the caller's key may not decide about one of the alerts. Raises at the end,
        after the caller's own alerts were handled: Problem or StoreUnavailableError for the first alert that failed;
        not-found if the caller sees the whole case and it is empty; rate-limited if the organisation has asked too
        often.
        """
        may_all = self.organisations.administers_host(who)
        for head in await self._reached(number, who, may_all=may_all):
            check_key(head, who)
        done, problem = await self._stand_down(number, who, reason, may_all=may_all)
        if not may_all and not who.test:
            asked = await _failure(self._ask_others(number, who, reason))
            problem = problem or asked
        if problem:
            raise problem
        if not done and (may_all or who.test):
            raise _no_case()
        return _hidden([*done.values()], who, may_all=may_all)

    async def of(self, number: str, who: Credential) -> Hidden:
        """Returns the alerts of a case that `stand_down` would cover, in their present state. Raises Problem as it
        does if there are none.
        """
        may_all = self.organisations.administers_host(who)
        heads = await self._reached(number, who, may_all=may_all)
        if not heads and (may_all or who.test):
            raise _no_case()
        return _hidden([Followed(record=one, told_by=None) for one in heads], who, may_all=may_all)

    async def _reached(self, number: str, who: Credential, *, may_all: bool) -> list[AlertRecord]:
        """Returns the alerts of a case that the caller can stand down, without documents: those of the caller's
        organisation or, with `may_all`, of every organisation.
        """
        orgs = await self.organisations.names() if may_all else []
        return await self.alerts.in_case(*(self.alerts.case_id(org, number) for org in dict.fromkeys([who.org, *orgs])))

    async def _stand_down(
        self, number: str, who: Credential, reason: str, *, may_all: bool
    ) -> tuple[dict[str, Followed], _Failure | None]:
        """Stands down every alert that the caller reaches, and looks again for alerts that came meanwhile. Returns the
        results by alert id, and the first failure, if any.
        """
        done, failed = dict[str, Followed](), set[str]()
        problem: _Failure | None = None
        for _ in range(TRIES):
            reached = await self._reached(number, who, may_all=may_all)
            heads = [one for one in reached if one.id not in done and one.id not in failed]
            if not heads:
                break
            for head in heads:
                try:
                    done[head.id] = await self._hidden(head, who.acting_for(head.org), reason)
                    await self._enter(head, done[head.id].record, who)
                except (Problem, StoreUnavailableError) as one:
                    failed.add(head.id)
                    problem = problem or one
        return done, problem

    async def _hidden(self, head: AlertRecord, who: Credential, reason: str) -> Followed:
        """Stands down a shown alert, or returns a waiting one to its author. The alert is not sent again until it is
        reopened or approved. An alert in another state stays as it is.
        """
        if head.state in WAITING:
            try:
                return Followed(record=await self.approval.give_back(head.id, who, reason), told_by=None)
            except Problem:
                head = await self.approval.get(head.id, who)
                if head.state in WAITING:
                    raise  # else it was approved meanwhile
        if head.state in SHOWN:
            return await self.follow_ups.stand_down(head.id, who, reason)
        check_key(head, who)
        return Followed(record=head, told_by=None)

    async def _enter(self, head: AlertRecord, now: AlertRecord, who: Credential) -> None:
        """Writes to the audit of the alert's organisation, and so to the alert's history, which person of which
        organisation stood it down.
        """
        if now.state is head.state:
            return
        act = "alert.stand-down" if now.state is AlertState.STOOD_DOWN else "alert.return"
        noted = Noted(record=now, facts={"whole_case": True, "organisation": who.org})
        await self.audit.end(who.acting_for(head.org), act, DONE, noted, of=0)

    async def _ask_others(self, number: str, who: Credential, reason: str) -> None:
        """Asks every other organisation that has alerts of the case. Raises Problem if the caller's organisation asks
        too often.
        """
        block = await self.limits.take(f"ask/{who.org}", ASKS_PER_HOUR / 3600, ASKS_PER_HOUR, 1)
        if not block.granted:
            raise Problem(
                "rate-limited", f"Your organisation may ask others {ASKS_PER_HOUR} times an hour. Your own alerts of the case are stood down.",
                headers={"Retry-After": str(math.ceil(block.wait_s))},
            )  # fmt: skip
        others = [org for org in await self.organisations.names() if org != who.org]
        name = (await self.organisations.get(who.org)).organisation.name
        request = StandDownRequest(org=who.org, name=name, by=who.subject, at=self.clock.now_ms(), reason=reason)
        for head in await self.alerts.in_case(*(self.alerts.case_id(org, number) for org in others)):
            await self._ask(head, request, who)

    async def _ask(self, head: AlertRecord, request: StandDownRequest, who: Credential) -> None:
        """Stores the request with an alert of another organisation, whose people decide. Skips it if an earlier request
        of the same organisation awaits their decision.
        """
        for _ in range(TRIES):
            asked = parse_requests(head.neighbours.stand_down_asked)
            if head.state not in ASKABLE or any(one.org == request.org for one in asked):
                return
            fields = {ASKED: written([*asked, request])}
            done, old = await self.alerts.note_from(head, who.org, ASKED, fields, states=ASKABLE)
            if done:
                noted = Noted(record=head, facts={"organisation": who.org})
                await self.audit.end(who.acting_for(head.org), ACT, DONE, noted, of=0)
            found = await self.alerts.heads([head.id])
            if done or old != "changed" or found[0] is None:
                return
            head = found[0]


async def _failure(step: Coroutine[Any, Any, None]) -> _Failure | None:
    """Runs a step, and returns the exception that it failed with, or None."""
    try:
        await step
    except (Problem, StoreUnavailableError) as one:
        return one
    return None


def _hidden(found: list[Followed], who: Credential, *, may_all: bool) -> Hidden:
    """Returns the caller's own alerts of `found`. With `may_all`, also counts those of other organisations."""
    own = [one for one in found if one.record.org == who.org]
    return Hidden(own=own, others=len(found) - len(own) if may_all else None)


def _no_case() -> Problem:
    """Returns the Problem for a case number without alerts."""
    return Problem("not-found", "No alert belongs to this case.")
