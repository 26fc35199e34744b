"""What follows an alert: it is stood down, comes back, is closed or cancelled, and those who were told are told of it.

One authorised person may do each, but for the return, which tells a child's name again and takes whoever may approve. The step of
the alert and the version that tells of it are one write.
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

#: How long people are told of what followed: a phone that was off for days still hears that it is over, and a stop or a carrier's bad week
#: takes it from nobody.
TELLS_MS = 7 * DAY_MS
#: Nothing that follows an alert wakes anybody.
QUIETER = {Loudness.LOUD.value: Loudness.NORMAL.value}
_S = AlertState


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A decision about an alert that people may know of."""

    occasion: Occasion
    new: AlertState
    sources: frozenset[AlertState]  # the states that it may come from
    follows: tuple[Occasion, ...]  # who was told of these is told of it
    then: frozenset[AlertState] = frozenset()  # what becomes of it by itself
    late: frozenset[AlertState] = frozenset()  # in these nothing is left to do but to tell it
    alive: bool = False  # only while its end is to come


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

#: Of these there is one for an alert: whoever was told that it is over is not told again.
_ENDS = frozenset({Occasion.CLOSE, Occasion.CANCEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """An alert after a step, and the version that tells of it; None where nobody is told."""

    record: AlertRecord
    told_by: str | None


@dataclass(slots=True)
class FollowUps:
    """Does these steps. Whoever says the same twice gets the same answer."""

    alerts: Alerts
    approval: Approval
    stop_control: StopControl
    clock: Clock

    async def stand_down(self, alert_id: str, who: Credential, reason: str, *, rev: int | None = None) -> Followed:
        """Hide it everywhere and send nothing more, until it is reopened, closed or cancelled, or its end has passed."""
        return await self._step(alert_id, STAND_DOWN, who, rev, reason=reason)

    async def reopen(self, alert_id: str, who: Credential, reason: str, *, rev: int | None = None) -> Followed:
        """It is shown again; what was queued goes out, and who was told that it was stood down is told that it is not. It takes one who
        could approve it now: what was known when it was approved is not why it was stood down. Raises Problem.
        """
        record = await self.approval.get(alert_id, who)
        await self.stop_control.check(record.org, record.author.key, who.key_id)
        if record.state is _S.STOOD_DOWN and record.expires <= self.clock.now_ms():
            raise has_ended()
        return await self._step(alert_id, REOPEN, who, rev, reason=reason)

    async def close(
        self, alert_id: str, who: Credential, outcome: str, *, notify: bool = True, rev: int | None = None
    ) -> Followed:
        """It is over. What came of it is kept inside and never told. Without `notify` nobody is told yet; closing it again
        with it tells them, also after its end has passed.
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
        """It should not have been: nothing more is sent, and who was told is told so, in prepared words."""
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
        """Raises Problem where it is not stood down as it was read, or the caller could not approve now what is told again."""
        if record.state not in REOPEN.sources:
            raise refused(record.state, REOPEN.new)
        await self.approval.check_approver(record, who)

    async def _follow(
        self, record: AlertRecord, step: Step, who: Credential, last: int, told_by: AlertRecord | None,
        reason: str, rev: int | None,
    ) -> tuple[bool, str]:  # fmt: skip
        late = record.state in step.late
        # A stop of who had it told holds up no end.
        again = (record.author.key, *permitting(record.neighbours.permissions)) if step is REOPEN else ()
        footing = Footing(
            sources=[record.state] if late else step.sources, last=last, rev=rev, alive=step.alive and not late
        )
        done, old = await self.alerts.follow(
            record, footing, None if late else step.new, told_by,
            fields={"by": who.signature, "reason": reason, "stand_down_asked": ""}, sent_by=(*again, who.sender),
        )  # fmt: skip
        if done:
            await self.stop_control.put_on(chain_of(record.id))
        return done, old

    def _notice(
        self, record: AlertRecord, last: int, step: Step, code: CancelReason | None, who: Credential
    ) -> AlertRecord | None:
        """The version that tells of a step; None where nobody is told."""
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
        """The answer to whoever says what they said before. Raises Problem for anybody else, and for an end in other words, which would be thrown away."""
        by = (told or record).last_step.by  # who had it wait since has put their name on the alert itself
        if not who.is_person(by):
            raise refused(record.state, step.new)
        reason, code = words
        if step.occasion in _ENDS and (
            record.last_step.reason != reason or (told and code and told.last_step.code != code)
        ):
            raise Problem(
                "precondition-failed", f"The alert is {record.state} already, in other words: these are not kept."
            )
        return Followed(record=record, told_by=told.id if told else None)


def _follows(step: Step, record: AlertRecord) -> tuple[Occasion, ...]:
    """Who was told of these is told of a step. Of what was restricted everybody: a phone to which nothing came since shows what was taken out."""
    return tuple(dict.fromkeys((*step.follows, *TELLS))) if record.times.restricted else step.follows


def _already(versions: Sequence[AlertRecord], step: Step) -> AlertRecord | None:
    """The version that told of the end before, where this is one; or of this very step, while it is told."""
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
