"""Stands down a whole case, because the child was found.

An organisation stands down its own alerts of the case, and asks the other organisations, whose people decide. Only the administrator of the
organisation that runs the service stands down the alerts of all: an alert of one's own under the same number proves nothing, because one
administrator can make the two keys that it takes. The answer to a request is the same whether or not the number exists, so that nobody learns
numbers by guessing.
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

#: An organisation asks others so often in an hour, whatever keys it has: enough for the cases of a night, too few to guess numbers. Every request counts, so that
#: counting them does not tell which numbers exist.
ASKS_PER_HOUR = 30
#: What the event is called by which an organisation is asked, and the act in its audit.
ASKED, ACT = "stand_down_asked", "alert.stand-down-asked"


_Failure = Problem | StoreUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What a stand-down of a case came to."""

    own: list[Followed]  # the caller's organisation's alerts
    others: int | None  # alerts of other organisations that were stood down; None if their people were only asked


@dataclass(slots=True)
class CaseStandDown:
    """Stands down all alerts of a case, or asks for that. Repeating a call does the same to alerts that came since."""

    alerts: Alerts
    approval: Approval
    follow_ups: FollowUps
    organisations: Organisations
    limits: Limits
    audit: Audit
    clock: Clock

    async def stand_down(self, number: str, who: Credential, reason: str) -> Hidden:
        """Stand down every alert of a case that is shown, and return those that wait to their authors: the caller's own, and those of other
        organisations if the caller may; otherwise ask the other organisations. One alert that cannot be stood down holds up none of the others.

        Raises Problem before anything is done if this key may not decide about one of them. Raises Problem or StoreUnavailableError at the end for
        an alert that failed, not-found if the caller sees the whole case and it is empty, and rate-limited if its organisation asked too often: the caller's
        own alerts are stood down by then.
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
        """The alerts of a case as they stand, as far as `stand_down` reaches them. Raises Problem as it does where there is none."""
        may_all = self.organisations.administers_host(who)
        heads = await self._reached(number, who, may_all=may_all)
        if not heads and (may_all or who.test):
            raise _no_case()
        return _hidden([Followed(record=one, told_by=None) for one in heads], who, may_all=may_all)

    async def _reached(self, number: str, who: Credential, *, may_all: bool) -> list[AlertRecord]:
        orgs = await self.organisations.names() if may_all else []
        return await self.alerts.in_case(*(self.alerts.case_id(org, number) for org in dict.fromkeys([who.org, *orgs])))

    async def _stand_down(
        self, number: str, who: Credential, reason: str, *, may_all: bool
    ) -> tuple[dict[str, Followed], _Failure | None]:
        """Every alert that the caller reaches, by its id, and what the first of them failed with. Looks again for alerts that came meanwhile."""
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
        """An alert that is sent to nobody any more, until it is reopened or approved."""
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
        """Into the audit of the alert's own organisation, and so into its history: who stood it down, and of which organisation they are."""
        if now.state is head.state:
            return
        act = "alert.stand-down" if now.state is AlertState.STOOD_DOWN else "alert.return"
        noted = Noted(record=now, facts={"whole_case": True, "organisation": who.org})
        await self.audit.end(who.acting_for(head.org), act, DONE, noted, of=0)

    async def _ask_others(self, number: str, who: Credential, reason: str) -> None:
        """Ask every other organisation that has alerts of the case. Raises Problem for an organisation that asks too often."""
        block = await self.limits.take(f"ask/{who.org}", ASKS_PER_HOUR / 3600, ASKS_PER_HOUR, 1)
        if not block.granted:
            raise Problem(
                "rate-limited", f"Your organisation asks others {ASKS_PER_HOUR} times an hour. Your own alerts of the case are stood down.",
                headers={"Retry-After": str(math.ceil(block.wait_s))},
            )  # fmt: skip
        others = [org for org in await self.organisations.names() if org != who.org]
        name = (await self.organisations.get(who.org)).organisation.name
        request = StandDownRequest(org=who.org, name=name, by=who.subject, at=self.clock.now_ms(), reason=reason)
        for head in await self.alerts.in_case(*(self.alerts.case_id(org, number) for org in others)):
            await self._ask(head, request, who)

    async def _ask(self, head: AlertRecord, request: StandDownRequest, who: Credential) -> None:
        """Ask the people of an alert to stand it down. An organisation that asked already is not noted again until they have."""
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
    """What a step failed with."""
    try:
        await step
    except (Problem, StoreUnavailableError) as one:
        return one
    return None


def _hidden(found: list[Followed], who: Credential, *, may_all: bool) -> Hidden:
    own = [one for one in found if one.record.org == who.org]
    return Hidden(own=own, others=len(found) - len(own) if may_all else None)


def _no_case() -> Problem:
    return Problem("not-found", "No alert is of this case.")
