"""Follows an alert up (stand down, reopen, close, cancel) and notifies everyone who received it.

One authorised person may do each step. Only a reopening sends a child's name again, so it takes a person who may
approve the alert. One write stores both the new state of the alert and the version that announces it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alertd.common.clock import DAY_MS, Clock
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.kinds import CancelReason, Occasion
from alertd.model.permission import permitting
from alertd.model.states import KNOWN, OPEN_STATES, SHOWN, UNTOLD, AlertState
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.later_audience import TELLS, check_room, if_told, later_version, versions_of
from alertd.service.alerts.stops import StopControl
from alertd.service.decision_checks import TRIES, changed_since, check_key, has_ended, refused
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord, Footing
from channels.base import Loudness

#: Maximum time in ms for sending a follow-up: 7 days. A phone that was off for days still learns that the alert is
#: over. A stop, or some days of carrier trouble, do not prevent that.
TELLS_MS = 7 * DAY_MS
#: A follow-up of a loud alert is sent at normal loudness, so that it wakes no one.
QUIETER = {Loudness.LOUD.value: Loudness.NORMAL.value}
_S = AlertState


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A decision about an alert that people may have received."""

    occasion: Occasion
    new: AlertState
    sources: frozenset[AlertState]  # the states in which it is allowed
    follows: tuple[Occasion, ...]  # recipients of these occasions are notified
    then: frozenset[AlertState] = frozenset()  # states that the alert reaches later without a decision
    late: frozenset[AlertState] = frozenset()  # in these states the step only sends the follow-up
    alive: bool = False  # allowed only before the alert's end


STAND_DOWN = Step(occasion=Occasion.STAND_DOWN, new=_S.STOOD_DOWN, sources=SHOWN, follows=TELLS)
REOPEN = Step(
    occasion=Occasion.UPDATE,
    new=_S.SENDING,
    sources=frozenset({_S.STOOD_DOWN}),
    follows=(Occasion.STAND_DOWN,),
    then=frozenset({_S.SENT}),
    alive=True,
)
CLOSE = Step(
    occasion=Occasion.CLOSE, new=_S.CLOSED, sources=KNOWN, follows=TELLS,
    late=frozenset({_S.CLOSED, _S.EXPIRED}),
)  # fmt: skip
CANCEL = Step(
    occasion=Occasion.CANCEL, new=_S.CANCELLED, sources=KNOWN, follows=TELLS,
    late=frozenset({_S.CANCELLED}),
)  # fmt: skip

#: An alert gets only one of these two follow-ups: its recipients must not get a second one.
_ENDS = frozenset({Occasion.CLOSE, Occasion.CANCEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """An alert after a step, and the id of the version that announces it; None if no version does."""

    record: AlertRecord
    told_by: str | None


@dataclass(slots=True)
class FollowUps:
    """Takes the decisions stand down, reopen, close and cancel. Idempotent: repeating a decision returns the first
    result.
    """

    alerts: Alerts
    approval: Approval
    stop_control: StopControl
    clock: Clock

    async def stand_down(self, alert_id: str, who: Credential, reason: str, *, rev: int | None = None) -> Followed:
        """Hides the alert everywhere and pauses its sending, until it is reopened, closed or cancelled, or reaches its
        end. Returns the alert and the version that announces this. Raises Problem.
        """
        return await self._step(alert_id, STAND_DOWN, who, rev, reason=reason)

    async def reopen(self, alert_id: str, who: Credential, reason: str, *, rev: int | None = None) -> Followed:
        """Shows the alert again, and returns it with the version that announces this. Queued messages are sent, and
        recipients of the stand-down are notified that the alert is active again. The caller must be a person who could
        approve the alert now: the stand-down may rest on facts that were unknown at the first approval. Raises Problem.
        """
        record = await self.approval.get(alert_id, who)
        await self.stop_control.check(record.org, record.author.key, who.key_id)
        if record.state is _S.STOOD_DOWN and record.expires <= self.clock.now_ms():
            raise has_ended()
        return await self._step(alert_id, REOPEN, who, rev, reason=reason)

    async def close(
        self, alert_id: str, who: Credential, outcome: str, *, notify: bool = True, rev: int | None = None
    ) -> Followed:
        """Closes the alert, because the case is over, and returns it with the version that announces this. The outcome
        is stored, but never sent. Without `notify` no follow-up is sent yet. Closing the alert again with `notify`
        sends it, also after the alert's end. Raises Problem.
        """
        return await self._step(alert_id, CLOSE, who, rev, notify=notify, reason=outcome)

    async def cancel(
        self,
        alert_id: str,
        who: Credential,
        reason: str,
        *,
        code: CancelReason = CancelReason.WITHDRAWN,
        notify: bool = True,
        rev: int | None = None,
    ) -> Followed:
        """Cancels an alert that should not have been sent, and returns it with the version that announces this. Nothing
        more of it is sent, and its recipients get a message in prepared words. A scheduled alert is cancelled without a
        message, and an undecided one is rejected. Raises Problem.
        """
        for _ in range(TRIES):
            record = await self.approval.get(alert_id, who)
            if record.state not in UNTOLD | {_S.SCHEDULED}:
                return await self._step(alert_id, CANCEL, who, rev, notify=notify, code=code, reason=reason)
            try:
                return Followed(record=await self.approval.call_off(record, who, reason, rev=rev), told_by=None)
            except Problem:
                if (await self.approval.get(alert_id, who)).state is record.state:
                    raise
        raise changed_since()

    async def _step(
        self,
        alert_id: str,
        step: Step,
        who: Credential,
        rev: int | None,
        *,
        reason: str,
        notify: bool = True,
        code: CancelReason | None = None,
    ) -> Followed:
        """Takes a step, and stores the version that announces it (none without `notify`). Tries again if another
        version came meanwhile. Returns the first result if the caller took this step before. Raises Problem.
        """
        for _ in range(TRIES):
            record = await self.approval.get(alert_id, who)
            check_key(record, who)
            versions = await versions_of(self.alerts, alert_id)
            told = _already(versions, step)
            there = {step.new, *step.then, *step.late}
            if told or (record.state in there and not (notify and record.state in step.late)):
                return self._again(record, step, who, told, (reason, code))
            if step is REOPEN:
                check_room(len(versions) + 1)
                await self._check_return(record, who)
            told_by = self._notice(record, len(versions), step, code, who) if notify else None
            done, old = await self._follow(record, step, who, len(versions), told_by, reason, rev)
            if not done and old == "again":
                continue
            if not done:
                raise changed_since() if old == "changed" else refused(old, step.new)
            return Followed(record=await self.approval.get(alert_id, who), told_by=told_by.id if told_by else None)
        raise changed_since()

    async def _check_return(self, record: AlertRecord, who: Credential) -> None:
        """Raises Problem if the alert is not stood down, or if the caller may not approve it. The second check is
        needed because a reopening sends the alert again.
        """
        if record.state not in REOPEN.sources:
            raise refused(record.state, REOPEN.new)
        await self.approval.check_approver(record, who)

    async def _follow(
        self, record: AlertRecord, step: Step, who: Credential, last: int, told_by: AlertRecord | None,
        reason: str, rev: int | None,
    ) -> tuple[bool, str]:  # fmt: skip
        """Stores a step with the version that announces it (`told_by`; None for none). `last` is the number of the
        latest version that the caller knows. Returns whether it was stored, and the state that prevented it.
        """
        late = record.state in step.late
        # A stop of the alert's sender must not delay its end, but does prevent a reopening.
        again = (record.author.key, *permitting(record.neighbours.permissions)) if step is REOPEN else ()
        footing = Footing(
            sources=[record.state] if late else step.sources, last=last, rev=rev, alive=step.alive and not late
        )
        done, old = await self.alerts.follow(
            record, footing, None if late else step.new, told_by,
            fields={"by": who.signature, "reason": reason, "stand_down_asked": ""}, sent_by=(*again, who.sender),
        )  # fmt: skip
        if done:
            await self.stop_control.apply_stops(chain_of(record.id))
        return done, old

    def _notice(
        self, record: AlertRecord, last: int, step: Step, code: CancelReason | None, who: Credential
    ) -> AlertRecord | None:
        """Returns the version that announces a step, or None if it would have no recipient."""
        version = later_version(
            record,
            last + 1,
            step.occasion,
            _follows(step, record),
            by=who.signature,
            expires=record.expires if step is REOPEN else self.clock.now_ms() + TELLS_MS,
            loudness=QUIETER.get(record.loudness, record.loudness),
            code=code,
        )
        return if_told(version)

    def _again(
        self, record: AlertRecord, step: Step, who: Credential, told: AlertRecord | None,
        words: tuple[str, CancelReason | None],
    ) -> Followed:  # fmt: skip
        """Returns the first result to the person who repeats a step. Raises Problem for any other person. Also raises
        Problem for an end with a different reason or code, because it would not be stored.
        """
        by = (told or record).last_step.by  # a person who paused the alert since has signed the alert itself
        if not who.is_person(by):
            raise refused(record.state, step.new)
        reason, code = words
        if step.occasion in _ENDS and (
            record.last_step.reason != reason or (told and code and told.last_step.code != code)
        ):
            raise Problem(
                "precondition-failed",
                f"The alert is {record.state} already, with another reason. The new reason is not stored.",
            )
        return Followed(record=record, told_by=told.id if told else None)


def _follows(step: Step, record: AlertRecord) -> tuple[Occasion, ...]:
    """Returns which occasions' recipients a follow-up notifies. For a restricted alert, these are the recipients of all
    occasions: a phone that received nothing since the restriction still shows the removed facts.
    """
    return tuple(dict.fromkeys((*step.follows, *TELLS))) if record.times.restricted else step.follows


def _already(versions: Sequence[AlertRecord], step: Step) -> AlertRecord | None:
    """Returns the version that has announced this step before, or None. For close and cancel, it is the first version
    of either. For any other step, it is a version of the same step that is still being sent.
    """
    ends = [one for one in versions if one.occasion in _ENDS]
    if step.occasion in _ENDS and ends:
        return ends[0]
    said = _follows(step, versions[0])
    same = [
        one
        for one in versions
        if one.follow_up and (one.occasion, one.follow_up.follows) == (step.occasion, said) and one.state in OPEN_STATES
    ]
    return same[-1] if same and versions[0].state is step.new else None
