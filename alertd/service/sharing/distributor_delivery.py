"""Sends distributors the current state of alerts: signed, in order, each distributor by itself, until it accepts the
message or the message is outdated.

An event only marks an alert as due for a check. The queue holds the alert, not the event, and the message has the
alert's state at the time of sending. So a newer message replaces one that was not accepted, no message overtakes
another, and an owed Cancel outlives the event that caused it. Before a message is posted, alertd stores that it may
arrive. So every distributor that may have an alert gets its Cancel, even if a process died in between.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec
import structlog

from alertd.common.clock import DAY_MS, Clock, ms_of, second_of
from alertd.common.errors import Problem
from alertd.metrics import Metrics
from alertd.model.cap.messages import MsgType
from alertd.model.distribution import (
    FAILED,
    Entry,
    MessageState,
    Now,
    Track,
    Verdict,
    begun,
    decided,
    says_less,
    settled,
)
from alertd.model.distributor import Distributor
from alertd.model.states import NO_LONGER_SHOWN, SHOWN, AlertState
from alertd.service.alerts.stops import StopControl
from alertd.service.areas.jurisdiction import Jurisdictions
from alertd.service.areas.regions import Regions
from alertd.service.decision_checks import TRIES
from alertd.service.sharing.cap_out import CapOut
from alertd.service.sharing.distributor_acknowledgements import DistributorAcknowledgements, sealed_note, word_on
from alertd.service.sharing.distributors import goes_down, lies_in, not_taken, references, why_not
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.records.events import KeptEvent
from alertd.store.sharing.webhooks import DistributorHook, DistributorHooks, Due, HookStanding, Tracks, Tried
from channels.fetching import Answered, Fetcher, FetchError, MayPost, NotAskedError, WithheldError
from channels.posting import retry_after_s

#: Events that make a distributor's alert due: each state from approval on, and each change.
WHEN = (
    *(f"alert.{state}" for state in (AlertState.APPROVED, AlertState.SENDING, *sorted(NO_LONGER_SHOWN))),
    "alert.updated", "alert.restricted", "alert.extended", "alert.permission_granted",
)  # fmt: skip
#: Seconds between tries; the last value repeats. A broadcaster that restarts gets the message within a minute. One that
#: is down for a night costs six requests an hour.
WAITS_S = (5, 10, 20, 30, 60, 120, 300, 600)
#: Maximum seconds that alertd waits if a distributor asks for it (Retry-After): an alert is urgent.
LONGEST_WAIT_S = 900
#: Ms for which a Cancel is retried. Other messages are retried until the alert's end.
CANCEL_MS = 3 * DAY_MS
#: Seconds between two checks while all sending is stopped or the alert is paused.
HALTED_S = 5
#: Seconds for which a check allows a post. A process that paused for longer checks again: otherwise its message could
#: leave more than one second after the answer to a cancel, a stop or a restriction.
YES_S = 1.0
#: Ms until the next check of an alert that another process changed at the same moment.
SOON_MS = 1_000
#: Statuses that refuse this document for ever (RFC 9110). All others may pass: a key that is not known yet, too many
#: requests, an error of the distributor.
NEVER = frozenset({400, 406, 409, 410, 413, 415, 422})
#: Client errors that pass by themselves (RFC 9110, section 15.5.9; RFC 8470; RFC 6585). alertd takes no Ack or Error
#: from the body of such an answer.
PASSING = frozenset({408, 425, 429})
#: `LOOKED_AT_ONCE`: number of due alerts that one check reads. `POSTED_AT_ONCE`: maximum number of messages on their
#: way to one distributor. Messages that take an alert down do not count and never wait.
LOOKED_AT_ONCE = 500
POSTED_AT_ONCE = 20
_CHANCE = secrets.SystemRandom()


class _Data(msgspec.Struct):
    """The members of an event's data that this module reads."""

    chain: str = ""


class _Event(msgspec.Struct):
    """The members of an event that this module reads."""

    type: str
    data: _Data


_read = msgspec.json.Decoder(_Event).decode
DONE = Tried(word="told", status=None)


@dataclass(frozen=True, slots=True)
class _Case:
    """One alert at one distributor, as a check read it. `track` has the messages about the alert to that distributor."""

    hook: DistributorHook
    distributor: Distributor
    record: AlertRecord
    track: Track
    seen: bytes


@dataclass(frozen=True, slots=True)
class DistributorDelivery:
    """Sends each distributor its alerts' current state."""

    at_once = LOOKED_AT_ONCE

    hooks: DistributorHooks
    tracks: Tracks
    alerts: Alerts
    cap_out: CapOut
    grounds: Jurisdictions
    regions: Regions
    stop_control: StopControl
    poster: Fetcher
    leads: MayPost  # whether this process may send now
    acknowledgements: DistributorAcknowledgements
    clock: Clock
    metrics: Metrics
    #: Number of messages on their way to each distributor, except those that take an alert down.
    _busy: Counter[str] = field(default_factory=Counter)

    def waiting(self, _hook: DistributorHook, one: KeptEvent) -> str | None:
        """Returns the id of the alert that an event makes due for a check; None for an event that changes no message."""
        event = _read(one.event)
        return (event.data.chain or None) if event.type in WHEN else None

    async def missed(self, hook: DistributorHook) -> Sequence[str]:
        """Returns the ids of all alerts that the distributor may have, and of all live ones: dropped events may have
        been about any of them.
        """
        holders = (await self.tracks.holders([hook.org]))[hook.org]
        held = [one.chain for one in holders if one.distributor == hook.id]
        return sorted({*held, *await self.alerts.live()})

    def lane(self, name: str) -> str:
        """Returns the name of the queue for an alert's checks: one queue for each alert, so that a slow answer about
        one delays no other alert and no Cancel.
        """
        return name

    async def attempt(self, hook: DistributorHook, _standing: HookStanding, due: Due) -> Tried:
        """Sends the alert's current state to the distributor, if the distributor does not have it. Returns what to do
        next.
        """
        record = await self.alerts.get(due.name)
        if record is None or record.org != hook.org:  # events may also be about a neighbour's alert
            return DONE
        track, seen = await self.tracks.get(hook.org, record.id, hook.id)
        case = _Case(hook, hook.distributor, record, track, seen)
        fresh, entry = await self._decided(case)
        fresh = msgspec.structs.replace(fresh, name=case.distributor.name)
        if fresh.entries and not await self._keep(case, fresh):
            return self._soon()
        return await self._go_on(case, entry) if entry else DONE

    async def _go_on(self, case: _Case, entry: Entry) -> Tried:
        """Posts a message, unless it has to wait: for a stop, for its due time, or for other messages on their way to a
        slow distributor. Returns what to do next.
        """
        now, hook = self.clock.steady_ms(), case.hook
        takes_down = says_less(case.track, entry, case.record.times.restricted)
        if not takes_down and await self._has_to_wait(case.record):
            return Tried(word="again", status=None, due=now + HALTED_S * 1000)
        if now < entry.due:
            return Tried(word="again", status=None, due=entry.due)
        track, seen = await self.tracks.get(hook.org, case.record.id, hook.id)
        stands = track.entry(entry.identifier)
        if stands is None or stands.state is not MessageState.QUEUED:  # the distributor may have answered meanwhile
            return DONE
        if not takes_down and self._busy[hook.id] >= POSTED_AT_ONCE:
            return self._soon()
        self._busy[hook.id] += not takes_down
        try:
            return await self._send(replace(case, track=track, seen=seen), entry, takes_down=takes_down)
        finally:
            self._busy[hook.id] -= not takes_down

    async def _decided(self, case: _Case) -> tuple[Track, Entry | None]:
        """Returns the track and the message to send next (None for none), from the alert's state now."""
        record, track, now = case.record, case.track, self.clock.now_ms()
        head = await self.cap_out.head(record)
        shown = bool(record.times.start) and record.state in SHOWN and record.expires > now
        fits = shown and not track.has and await self._fits(case)
        at = Now(
            identifier=head.identifier, sender=head.sender, sent=ms_of(head.sent), expires=record.expires,
            shown=shown, down=bool(record.times.start) and not shown and goes_down(record, track), at=now,
            restricted=record.times.restricted,
        )  # fmt: skip
        return decided(track, at, fits=fits)

    async def _fits(self, case: _Case) -> bool:
        """Returns whether a distributor wants this alert: by its status, level and scope, and by the distributor's
        jurisdiction. Raises Problem if the jurisdiction cannot be resolved.
        """
        wants, record = case.distributor, case.record
        alert = record.alert
        if why_not(wants, record, alert):
            return False
        if wants.jurisdiction is None:
            return True
        await self.regions.ready()
        try:
            return await lies_in(self.grounds, self.alerts, wants.jurisdiction, record)
        except Problem:
            structlog.get_logger().error("jurisdiction.resolve_failed", distributor=case.hook.id, alert=record.id)
            raise  # it is checked again, until the distributor has another jurisdiction or the alert has ended

    async def _has_to_wait(self, record: AlertRecord) -> bool:
        """Returns whether the alert is paused or stopped. A stop of any key that sends it counts, as for phones."""
        return (
            record.chain.paused
            or (await self.stop_control.standing()).of(record.org, record.chain.sent_by or (record.author.key,))
            is not None
        )

    async def _send(self, case: _Case, entry: Entry, *, takes_down: bool) -> Tried:
        """Makes the document of a message, stores that it may arrive, posts it, and stores the result. Returns what to
        do next. If the document cannot be written, the message counts as refused.
        """
        try:
            document = await self._document(case, entry)
        except Problem as problem:
            words = " ".join(fault.detail for fault in problem.faults) or problem.detail
            verdict = Verdict(state=MessageState.REFUSED, maybe=entry.maybe, note=sealed_note(case.record, words))
            return await self._settle(case, entry, verdict, None, tries=entry.tries)
        may_arrive = begun(case.track, entry.identifier, self.clock.now_ms())
        if not await self._keep(case, may_arrive, way=case.hook.way):
            return self._soon()
        may_post = partial(self._may_post, case.record, entry, takes_down=takes_down)
        try:
            answer, was_asked = await self._post(case.hook, entry, document, may_post)
        except WithheldError:
            if not await self.leads():
                raise  # another process leads now and continues
            await self._take_back(case, may_arrive)
            return self._soon()
        verdict = self._verdict(case, entry, answer, was_asked=was_asked)
        return await self._settle(case, entry, verdict, answer, tries=entry.tries + 1)

    async def _document(self, case: _Case, entry: Entry) -> bytes:
        """Returns the CAP document of a message in the distributor's profile; that of a Cancel has no area. Raises
        Problem if it cannot be written.
        """
        record = case.record
        head = await self.cap_out.head(record)
        head = replace(
            head, identifier=entry.identifier, sender=entry.sender, sent=second_of(entry.sent), msg_type=entry.type,
            references=references(case.track, entry),
        )  # fmt: skip
        wants = case.distributor
        if entry.type is MsgType.CANCEL:
            return await self.cap_out.under(head, record, wants.profile, "none")
        await self.regions.ready()
        alert = record.alert
        return await self.cap_out.under(head, record, wants.profile, alert.publish.area, wants.languages)

    async def _may_post(self, record: AlertRecord, entry: Entry, *, takes_down: bool) -> bool:
        """Returns whether a message may be sent as it was made: its alert has not changed or ended and need not wait,
        and this process still leads. Called once a connection exists. Loading the regions and resolving a name may take
        seconds, and by then a person in the message may have to stay unnamed.
        """
        asked = self.clock.monotonic()
        if await self.alerts.rev(record.id) != record.rev or (not takes_down and await self._has_to_wait(record)):
            return False
        is_over = entry.type is not MsgType.CANCEL and record.expires <= self.clock.now_ms()
        return not is_over and self.clock.monotonic() - asked < YES_S and await self.leads()

    async def _take_back(self, case: _Case, may_arrive: Track) -> None:
        """Removes the note that a message may arrive, because alertd wrote nothing to the connection. Leaves the track
        if it changed meanwhile.
        """
        track, seen = await self.tracks.get(case.hook.org, case.record.id, case.hook.id)
        if track == may_arrive:
            await self._keep(replace(case, track=track, seen=seen), case.track)

    async def _post(
        self, hook: DistributorHook, entry: Entry, document: bytes, may_post: MayPost
    ) -> tuple[Answered | None, bool]:
        """Posts a message. Returns the answer (None without one), and whether the message may have arrived. Raises
        WithheldError if `may_post` forbids it.
        """
        try:
            return await self.acknowledgements.post(self.poster, hook, document, entry.identifier, may_post), True
        except NotAskedError:
            return None, False
        except FetchError:
            return None, True

    async def _settle(
        self, case: _Case, entry: Entry, verdict: Verdict, answer: Answered | None, *, tries: int
    ) -> Tried:
        """Stores the result of a try, and returns what to do next. An answer that another process got meanwhile has
        priority. `tries` is the number of tries, including this one.
        """
        now = self.clock.now_ms()
        if verdict.state is MessageState.QUEUED:
            wait_ms = _wait_s(entry.tries, answer) * 1000
            until = (entry.first or now) + CANCEL_MS if entry.type is MsgType.CANCEL else entry.expires
            state = MessageState.GIVEN_UP if now + wait_ms >= until else MessageState.QUEUED
            verdict = replace(verdict, due=self.clock.steady_ms() + wait_ms, state=state)
        for _ in range(TRIES):
            track, seen = await self.tracks.get(case.hook.org, case.record.id, case.hook.id)
            stands = track.entry(entry.identifier)
            if stands is not None and stands.tries != tries:  # another process's try may have arrived
                verdict = replace(verdict, maybe=True)
            fresh = settled(
                track, entry.identifier, verdict, now,
                acknowledges=case.distributor.acknowledges, restricted=case.record.times.restricted, back_ms=self.clock.back_ms,
            )  # fmt: skip
            if await self.acknowledgements.put(case.record, case.hook.id, track, fresh, seen):
                status = answer.status if answer else 0 if tries > entry.tries else None
                return self._outcome(case, entry, verdict, fresh, status)
        return self._soon()

    def _outcome(self, case: _Case, entry: Entry, verdict: Verdict, track: Track, status: int | None) -> Tried:
        """Returns what to do next with an alert after a try. Counts the try in the metrics."""
        state = verdict.state
        self.metrics.distributions.labels("again" if state is MessageState.QUEUED else state).inc()
        if state in FAILED:
            return self._failed(case, entry, status)
        if state is MessageState.QUEUED:
            return Tried(word="again", status=status, due=verdict.due)
        waits = [one.due for one in track.entries if one.state is MessageState.QUEUED]  # its queued repetition
        return Tried(word="again" if waits else "told", status=status, due=min(waits, default=0))

    def _failed(self, case: _Case, entry: Entry, status: int | None) -> Tried:
        """Returns the result that ends the tries of a message. If the message was an Update of a restricted alert, the
        alert is checked again, because a Cancel must then remove the child's identity.
        """
        if entry.type is MsgType.UPDATE and case.record.times.restricted:
            return Tried(word="again", status=status, due=self.clock.steady_ms() + SOON_MS)
        return Tried(word="never", status=status)

    def _verdict(self, case: _Case, entry: Entry, answer: Answered | None, *, was_asked: bool) -> Verdict:
        """Returns what an answer proves about a message. The distributor may have accepted the message even with an
        error status or without a timely answer.
        """
        if answer is None:
            return Verdict(state=MessageState.QUEUED, maybe=entry.maybe or was_asked)
        status, said = answer.status, word_on(answer.body, entry.identifier)
        is_word = 200 <= status < 300 or (400 <= status < 500 and status not in PASSING)
        if is_word and said is not None and said.msg_type is MsgType.ERROR:
            note = sealed_note(case.record, said.note or "")
            return Verdict(
                state=MessageState.REFUSED, maybe=entry.maybe, answered=status, ack=said.identifier, note=note
            )
        if 200 <= status < 300:
            state = MessageState.ACKNOWLEDGED if said is not None else MessageState.ACCEPTED
            return Verdict(state=state, maybe=True, answered=status, ack=said.identifier if said else "")
        if status in NEVER and entry.type is not MsgType.CANCEL:
            return Verdict(state=MessageState.REFUSED, maybe=entry.maybe, answered=status)
        return Verdict(state=MessageState.QUEUED, maybe=entry.maybe or not not_taken(status), answered=status)

    async def _keep(self, case: _Case, track: Track, way: int | None = None) -> bool:
        """Stores the track, if it changed. Returns False, and stores nothing, if another process changed the stored
        track since it was read, or the distributor's URL or way to acknowledge (`way`) changed.
        """
        if track == case.track and case.seen:
            return True
        now, hook = self.clock.now_ms(), case.hook
        return await self.tracks.put(hook.org, case.record.id, hook.id, track, seen=case.seen, now_ms=now, way=way)

    def _soon(self) -> Tried:
        """Returns the result that the alert is checked again after `SOON_MS`."""
        return Tried(word="again", status=None, due=self.clock.steady_ms() + SOON_MS)


def _wait_s(tries: int, answer: Answered | None) -> int:
    """Returns the seconds until the next try: a random moment in the second half of the wait in `WAITS_S`, or later if
    the distributor asks for that.
    """
    wait = WAITS_S[min(tries, len(WAITS_S) - 1)]
    asked_s = min(retry_after_s(answer.headers) or 0, LONGEST_WAIT_S) if answer else 0
    return max(1, round(_CHANCE.uniform(wait / 2, wait)), math.ceil(asked_s))
