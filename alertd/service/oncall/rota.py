"""Keeps the rotas of organisations, and records which person took an alert that people are paged about.

A person who takes an alert decides nothing about it. If it waits for its second person, alertd pages no one else for a
while, and then the next people. If another organisation asks to stand it down, alertd pages no one else for that
request, because the person may keep the alert running. Reading an alert ends no paging: a screen on a wall reads it all
night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from alertd.common.clock import Clock
from alertd.common.errors import Fault, Problem
from alertd.model.alert import Status
from alertd.model.oncall import Cause, OnCall, OnCallPerson, OnCallStep, cause_of, on_duty
from alertd.model.permission import parse_requests
from alertd.model.states import AlertState
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.decision_checks import TRIES, changed_since, check_key, check_second_person
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.organisations.paging import Paged, Rotas, StoredRota, Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRota:
    """An organisation's current rota. `rev` is 0 until the first write."""

    rev: int
    rota: OnCall | None
    by: str  # the subject of the person who last wrote it
    at: int  # UNIX ms

    @property
    def steps(self) -> Sequence[OnCallStep]:
        """Returns the steps of the rota; none if there is no rota, so that no one is paged."""
        return self.rota.steps if self.rota else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An alert that people are paged about, and its pages. `due` and `until` of `paged` are wall-clock times (UNIX ms),
    not those of the steady clock.
    """

    record: AlertRecord
    paged: Paged | None


@dataclass(frozen=True, slots=True)
class OnCallRota:
    """Reads and writes rotas, and records who took a waiting alert."""

    rotas: Rotas
    waiting: Waiting
    alerts: Alerts
    approval: Approval
    channels: frozenset[str]
    clock: Clock

    async def get(self, org: str) -> KnownRota:
        """Returns an organisation's rota, with revision 0 and no rota if none was written."""
        return _known((await self.rotas.get(org))[0])

    async def put(self, rota: OnCall, who: Credential, *, rev: int | None = None) -> KnownRota:
        """Replaces the rota of the caller's organisation and returns the new one.

        If `rev` is given, it must be the current revision. Writing the same rota again changes nothing. Afterwards the
        waiting alerts are checked again, because the new rota may name other people. Raises Problem for a test key,
        another revision or a channel without a carrier.
        """
        if who.test:
            raise Problem("not-allowed", "A test key may not change the rota for Actual alerts.")
        stored, seen = await self.rotas.get(who.org)
        old = _known(stored)
        if rev not in {None, old.rev}:
            raise changed_since("rota")
        self._check_channels(rota)
        if rota == old.rota:
            return old
        fresh = StoredRota(
            rev=old.rev + 1, document=rota.model_dump_json(by_alias=True), by=who.subject, at=self.clock.now_ms()
        )
        if not await self.rotas.put(who.org, fresh, seen=seen):
            raise changed_since("rota")
        now = self.clock.now_ms()
        await self.waiting.add({call.record.id: now for call in await self.calls(who.org)}, rule="LT")
        return _known(fresh)

    def _check_channels(self, rota: OnCall) -> None:
        """Raises Problem with a fault for each address on a channel without a carrier."""
        faults = tuple(
            Fault(f"/steps/{i}/people/{j}/addresses/{k}/channel", f"No carrier is configured for {address.channel}.")
            for i, step in enumerate(rota.steps)
            for j, person in enumerate(step.people)
            for k, address in enumerate(person.addresses)
            if address.channel not in self.channels
        )
        if faults:
            raise Problem("channel-unavailable", "A channel has no carrier.", faults=faults)

    def now(self, rota: OnCall) -> Sequence[tuple[OnCallPerson, ...]]:
        """Returns the people on duty now, for each step."""
        now = self.clock.now_ms()
        return [on_duty(rota, step, now) for step in range(len(rota.steps))]

    async def calls(self, org: str) -> list[Call]:
        """Returns the alerts of the organisation that people are paged about, the longest waiting first."""
        ids = await self.waiting.all()
        heads = await self.alerts.listed(ids)
        own = [one for one in heads if one is not None and one.org == org and cause(one)]
        known = await self.waiting.paged([one.id for one in own])
        calls = [self._call(record, paged) for record, (paged, _) in zip(own, known, strict=True)]
        return sorted(
            calls, key=lambda one: (one.paged.since if one.paged else one.record.times.created, one.record.id)
        )

    async def call(self, alert_id: str, who: Credential) -> Call:
        """Returns one alert and its pages, whether or not it still waits. Raises Problem."""
        record = await self.approval.get(alert_id, who)
        [(paged, _)] = await self.waiting.paged([alert_id])
        return self._call(record, paged)

    def _call(self, record: AlertRecord, paged: Paged | None) -> Call:
        """Returns an alert with its pages, with times of the steady clock turned into wall-clock times. While the alert
        waits, pages for an earlier cause do not count.
        """
        if cause(record):
            paged = paged and begun(paged, record)  # if the alert was returned since, an earlier taker no longer has it
        if paged is not None and (back_ms := self.clock.back_ms):
            until = paged.until and paged.until - back_ms
            paged = msgspec.structs.replace(paged, due=paged.due - back_ms, until=until)
        return Call(record=record, paged=paged)

    async def head(self, alert_id: str) -> AlertRecord | None:
        """Returns an alert without its document; None if it no longer exists."""
        return (await self.alerts.heads([alert_id]))[0]

    async def take(self, alert_id: str, who: Credential) -> Call:
        """Records that the caller took the alert, and returns it. alertd pages no one for `hold_min` minutes; about a
        request to stand it down it pages no one else at all.

        Raises Problem: not-found, not-allowed, precondition-failed, and same-person if the caller could not approve the
        alert.
        """
        for _ in range(TRIES):
            record = await self.approval.get(alert_id, who)
            _check_taker(record, who)
            [(paged, seen)] = await self.waiting.paged([alert_id])
            rota = (await self.get(record.org)).rota
            hold_min = rota.hold_min if rota else _HOLD_MIN
            fresh = _taken(begun(paged, record), who, self.clock, 0 if cause(record) is Cause.STAND_DOWN else hold_min)
            match await self.waiting.put(alert_id, fresh, seen=seen, word="taken"):
                case "done":
                    return self._call(record, fresh)
                case "over":
                    break
        raise _waits_no_more((await self.approval.get(alert_id, who)).state)


#: The default of a rota, for an organisation without one; minutes.
_HOLD_MIN: int = OnCall.model_fields["hold_min"].default


def cause(record: AlertRecord) -> Cause | None:
    """Returns what an alert waits for that people are paged about, approval first; None if it waits for nothing. Does
    not check whether a person took the alert, or whether the rota still pages people.
    """
    return cause_of(record.state, is_asked=bool(record.neighbours.stand_down_asked))


def begun(paged: Paged | None, record: AlertRecord) -> Paged:
    """Returns the record of the pages (messages to the people on call) for what the alert waits for now. It begins
    anew with each cause, and each time another organisation asks for a stand-down. Only the count of pages goes on,
    because a mail's id contains it.
    """
    asked = [one.at for one in parse_requests(record.neighbours.stand_down_asked)]
    since = max(asked) if cause(record) is Cause.STAND_DOWN else record.last_step.since or record.times.created
    if paged is not None and paged.since == since:
        return paged
    return Paged(since=since, due=since, told=paged.told if paged else 0)


def _taken(paged: Paged, who: Credential, clock: Clock, hold_min: int) -> Paged:
    """Returns the page record after a person took the alert. After `hold_min` minutes people are paged again, with all
    rounds of the rota anew; 0 ends the paging.
    """
    now, due = clock.now_ms(), clock.steady_ms() + hold_min * 60_000
    return msgspec.structs.replace(
        paged, due=due, rounds=0, reached=False, over=False, alone=False, by=who.subject, taken=now,
        until=due if hold_min else 0,
    )  # fmt: skip


def _check_taker(record: AlertRecord, who: Credential) -> None:
    """Raises Problem if the alert does not wait, or the caller may not take it: an Actual alert that waits for approval
    needs a person who could approve it.
    """
    why = cause(record)
    if why is None:
        raise _waits_no_more(record.state)
    if record.status == Status.ACTUAL and why is Cause.APPROVAL:
        check_second_person(record, who)
    else:
        check_key(record, who)


def _waits_no_more(state: AlertState) -> Problem:
    """Returns the Problem for an alert that people are not paged about."""
    return Problem("precondition-failed", f"An alert that is {state} waits for no decision.")


def _known(stored: StoredRota | None) -> KnownRota:
    """Returns a rota from its stored form (None: never written)."""
    if stored is None:
        return KnownRota(rev=0, rota=None, by="", at=0)
    rota = OnCall.model_validate_json(stored.document)
    return KnownRota(rev=stored.rev, rota=rota, by=stored.by, at=stored.at)
