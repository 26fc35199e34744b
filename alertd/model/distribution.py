"""Decides which message to send next to one distributor about one alert, from what the distributor has. Pure: no I/O,
no clock.

A message is one CAP document with its own identifier. A distributor that may have a shown message gets every later
message, in order. A distributor that certainly has none gets no Cancel. A newer message replaces an older unsent one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from alertd.model.cap.messages import MsgType

#: Maximum number of messages kept for an alert at a distributor. An alert changes a few times, and a person approves
#: each change.
MOST_ENTRIES = 200


class MessageState(enum.StrEnum):
    """State of one message."""

    QUEUED = "queued"
    ACCEPTED = "accepted"  # taken, with a status from 200 to 299
    ACKNOWLEDGED = "acknowledged"  # confirmed by a CAP Ack
    REFUSED = "refused"  # refused by a CAP Error or by the status, or no such document can be written
    GIVEN_UP = "given_up"  # not accepted in time
    SUPERSEDED = "superseded"  # replaced by a newer message before it was accepted


_S = MessageState
#: By state of a message: the states that it may change to. An Ack or Error that arrives late replaces what alertd
#: assumed without one: accepted after a 2xx, given up after no answer in time. Only a person resends a failed message.
MESSAGE_STEPS: dict[MessageState, frozenset[MessageState]] = {
    _S.QUEUED: frozenset(_S) - {_S.QUEUED},
    _S.ACCEPTED: frozenset({_S.ACKNOWLEDGED, _S.REFUSED}),
    _S.ACKNOWLEDGED: frozenset(),
    _S.REFUSED: frozenset({_S.ACKNOWLEDGED}),
    _S.GIVEN_UP: frozenset({_S.ACKNOWLEDGED, _S.REFUSED}),
    _S.SUPERSEDED: frozenset({_S.ACKNOWLEDGED, _S.REFUSED}),
}
#: States of a message that failed: there are no more tries, unless a person asks for one.
FAILED = frozenset({_S.REFUSED, _S.GIVEN_UP})
#: States in which a Cancel is taken as effective.
_EFFECTIVE = frozenset({_S.ACCEPTED, _S.ACKNOWLEDGED})
#: Ms after a request without an answer in which it may still take effect. Exceeds every wait for an answer
#: (`webhooks.timeout_s`, 30 s at most, and a gateway's own proxies, a minute by default).
DOUBT_MS = 90_000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one distributor. Times are UNIX ms, 0 for never."""

    identifier: str
    sender: str
    sent: int
    type: MsgType
    of: str  # identifier of the alert's state that the message announces
    expires: int  # the alert's expiry
    state: MessageState = MessageState.QUEUED
    maybe: bool = False  # it has arrived, or may have
    tries: int = 0
    first: int = 0  # time of the first try
    last: int = 0
    due: int = 0  # earliest time of the next try, by the steady clock
    answered: int = 0  # status of the last answer, 0 for none
    ack: str = ""  # identifier of the Ack, or of the Error
    note: bytes = b""  # reason of a refusal, encrypted under the case's key
    down: bool = False  # of a Cancel: known to have removed everything before it
    repeated: bool = False  # accepted and sent again, because its predecessor may have taken effect after it


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """The messages about one alert to one distributor, and what the distributor has confirmed."""

    name: str = ""  # last known name of the distributor
    entries: tuple[Entry, ...] = ()  # oldest first
    owed: int = 0  # since when it owes the confirmation of a take-down, UNIX ms; 0 if it owes none
    told: bool = False  # this debt was reported
    confirmed: int = 0  # time of the last take-down
    by: str = ""  # subject of the person who confirmed it; '' if the distributor did
    over: bool = False  # it ended by itself, when its messages expired

    def entry(self, identifier: str) -> Entry | None:
        """Returns the message with this identifier, or None."""
        return next((one for one in reversed(self.entries) if one.identifier == identifier), None)

    @property
    def live(self) -> tuple[Entry, ...]:
        """Returns the messages after the last Cancel that certainly took effect."""
        return self.entries[_after(self.entries, _is_effective) :]

    @property
    def refused(self) -> bool:
        """Returns whether the distributor owes a take-down and the last Cancel failed. Then there are no more tries."""
        ends = _cancels(self)
        return bool(self.owed and ends and ends[-1].state in FAILED)

    @property
    def has(self) -> bool:
        """Returns whether the distributor may show a message that was not cancelled."""
        return bool(self.arrived)

    @property
    def arrived(self) -> tuple[Entry, ...]:
        """Returns the messages that the distributor may show and that were not cancelled."""
        return tuple(one for one in self.live if one.maybe and one.type is not MsgType.CANCEL)

    @property
    def shown_until(self) -> int:
        """Returns the latest expiry of the messages that the distributor may show, UNIX ms, or 0 for none. Counts the
        last message that it certainly accepted, all later ones, and earlier ones that may have taken effect after that
        one.
        """
        arrived = self.arrived
        sure = max((place for place, one in enumerate(arrived) if one.state in _EFFECTIVE), default=0)
        late = [one for one in arrived[:sure] if _in_doubt_until(one) > arrived[sure].first]
        return max((one.expires for one in (*late, *arrived[sure:])), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The current state of the alert that distributors may show. Times are UNIX ms."""

    identifier: str  # of its CAP document
    sender: str
    sent: int
    expires: int
    shown: bool  # the alert is active
    restricted: int = 0  # when a child's facts were removed from the alert, 0 if never
    down: bool  # must be taken down; with neither flag, it ended by itself
    at: int  # the current time


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of one try, or of a later Ack or Error from the distributor."""

    state: MessageState
    maybe: bool
    due: int = 0
    answered: int = 0
    ack: str = ""
    note: bytes = b""


def decided(track: Track, now: Now, *, fits: bool) -> tuple[Track, Entry | None]:
    """Returns the new track, and the message to send next (None if there is nothing to send). `fits`: whether the
    distributor may receive such an alert.
    """
    if now.down or (now.shown and still_names(track, now)):
        return _down(track, now)
    if now.shown:
        return _shown(track, now, fits=fits)
    fresh = _without_queued(track)
    return msgspec.structs.replace(fresh, over=not fresh.owed), None


def still_names(track: Track, now: Now) -> bool:
    """Returns whether the distributor may still show facts that were removed from the alert, and the Update without
    them failed. A Cancel must follow.
    """
    live = [one for one in track.live if one.type is not MsgType.CANCEL]
    if not now.restricted or not any(one.maybe and _changed(one) < now.restricted for one in live):
        return False
    return any(one.of == now.identifier and one.state in FAILED for one in live)


def says_less(track: Track, entry: Entry, restricted: int) -> bool:
    """Returns whether a message removes content, so that no stop and no pause may delay it.

    True for a Cancel, and for an Update if the distributor may show facts that were removed from the alert.
    `restricted`: time of the removal, UNIX ms, 0 for never.
    """
    if entry.type is not MsgType.UPDATE:
        return entry.type is MsgType.CANCEL
    arrived = track.arrived
    shows_less = any(_changed(one) >= restricted and one.state in _EFFECTIVE and not one.repeated for one in arrived)
    return not shows_less and any(_changed(one) < restricted for one in arrived)


def _shown(track: Track, now: Now, *, fits: bool) -> tuple[Track, Entry | None]:
    """Decides for an alert that is active: sends an Alert, or an Update if the distributor may have an earlier message."""
    wanted = fits or track.has
    fresh = _without_queued(track, but=now.identifier if wanted else "")
    if not now.restricted:  # otherwise it may have received more than it may show now
        fresh = msgspec.structs.replace(fresh, owed=0, told=False)
    fresh = msgspec.structs.replace(fresh, over=False)
    since = fresh.live[_after(fresh.live, lambda one: one.type is MsgType.CANCEL and one.maybe) :]
    messages = [one for one in since if one.type is not MsgType.CANCEL and one.state is not MessageState.SUPERSEDED]
    if messages and messages[-1].of == now.identifier:
        return fresh, messages[-1] if messages[-1].state is MessageState.QUEUED else None
    if not wanted:
        return fresh, None
    names_more = any(_changed(one) < now.restricted for one in fresh.arrived)
    has_now = any(one.maybe for one in since if one.type is not MsgType.CANCEL)
    return _with(fresh, now, MsgType.UPDATE if has_now or names_more else MsgType.ALERT)


def _down(track: Track, now: Now) -> tuple[Track, Entry | None]:
    """Decides for an alert that must be taken down: sends a Cancel if the distributor may show a message of it."""
    since = track.live[_after(track.live, lambda one: one.type is not MsgType.CANCEL and one.maybe) :]
    ends = [one for one in since if one.type is MsgType.CANCEL and one.state is not MessageState.SUPERSEDED]
    if ends and ends[-1].state is MessageState.QUEUED:
        return track, ends[-1]
    fresh = _without_queued(track)
    if not fresh.has or (fresh.owed and ends and ends[-1].of == now.identifier):
        return fresh, None
    fresh = msgspec.structs.replace(fresh, owed=fresh.owed or now.at, confirmed=0, by="", over=False)
    return _with(fresh, now, MsgType.CANCEL)


def _after(entries: Sequence[Entry], ends: Callable[[Entry], bool]) -> int:
    """Returns the index after the last entry for which `ends` holds, 0 if there is none."""
    return max((place for place, one in enumerate(entries, start=1) if ends(one)), default=0)


def _with(track: Track, now: Now, type_: MsgType) -> tuple[Track, Entry]:
    """Returns the track with one more message, and that message. A state that was announced before gets a new
    identifier.
    """
    is_used = track.entry(now.identifier) is not None
    made = Entry(
        identifier=_unused(track, now.identifier, now.at) if is_used else now.identifier,
        sender=now.sender, sent=now.at if is_used else now.sent, type=type_, of=now.identifier, expires=now.expires,
    )  # fmt: skip
    return _appended(track, made), made


def _unused(track: Track, of: str, now_ms: int) -> str:
    """Returns an identifier that no message of the track has, made of the alert's id and a time from `now_ms` on."""
    while track.entry(name := f"{of.partition('.')[0]}.{now_ms}"):
        now_ms += 1
    return name


def _appended(track: Track, entry: Entry) -> Track:
    """Returns the track with one more message. At the limit, drops the oldest message that never arrived, or else the
    oldest. A message that may have arrived is kept if possible, because it may still need a Cancel.
    """
    entries = track.entries
    if len(entries) >= MOST_ENTRIES:
        spare = next((place for place, one in enumerate(entries) if not one.maybe), 0)
        entries = entries[:spare] + entries[spare + 1 :]
    return msgspec.structs.replace(track, entries=(*entries, entry))


def _without_queued(track: Track, but: str = "") -> Track:
    """Marks the queued messages of a track as superseded, and returns the new track. Leaves a queued Alert or Update
    whose `of` is `but`, the identifier of a state of the alert. Always marks a queued Cancel.
    """
    return msgspec.structs.replace(
        track,
        entries=tuple(
            msgspec.structs.replace(one, state=MessageState.SUPERSEDED)
            if one.state is MessageState.QUEUED and (one.of != but or one.type is MsgType.CANCEL)
            else one
            for one in track.entries
        ),
    )


def begun(track: Track, identifier: str, now_ms: int) -> Track:
    """Returns the track with one more try of a message. Call it before the message is posted: from then on it may
    arrive.
    """
    entry = track.entry(identifier)
    assert entry is not None
    tried = msgspec.structs.replace(entry, maybe=True, tries=entry.tries + 1, first=entry.first or now_ms, last=now_ms)
    return _replaced(track, tried)


def put_back(track: Track) -> Track:
    """Returns the track with its queued messages marked as possibly posted, after the store was restored from a backup.
    They may have been posted since, and more than once. So a late Error about one try does not mean that every try
    failed.
    """
    entries = tuple(
        msgspec.structs.replace(one, maybe=True, tries=max(one.tries, 2)) if one.state is MessageState.QUEUED else one
        for one in track.entries
    )
    return msgspec.structs.replace(track, entries=entries)


def settled(
    track: Track, identifier: str, verdict: Verdict, now_ms: int,
    *, acknowledges: bool, restricted: int, back_ms: int = 0,
) -> Track:  # fmt: skip
    """Returns the track after a verdict on one of its messages. If the distributor `acknowledges`, only its Ack
    confirms a take-down; otherwise its 2xx does. `restricted`: when facts of a child were removed from the alert, UNIX
    ms, 0 for never. `back_ms`: ms by which the steady clock is ahead of the wall clock.
    """
    entry = track.entry(identifier)
    if entry is None:
        return track
    is_step = verdict.state is entry.state or verdict.state in MESSAGE_STEPS[entry.state]
    fresh = msgspec.structs.replace(
        entry, state=verdict.state if is_step else entry.state, maybe=verdict.maybe or (entry.maybe and not is_step),
        due=verdict.due,
        answered=verdict.answered or entry.answered, ack=verdict.ack if is_step and verdict.ack else entry.ack,
        note=verdict.note if is_step and verdict.note else entry.note,
    )  # fmt: skip
    until = _overtaken_until(track, entry, restricted)
    track = _replaced(track, fresh)
    # The first try may have been accepted, although it was not answered.
    if fresh.state in _EFFECTIVE and not fresh.repeated and until > fresh.first:
        wait_ms = min(max(until - now_ms, 0), DOUBT_MS)  # the doubt may date from before the clock was set back
        return _repeated(track, fresh, now_ms + back_ms + wait_ms, now_ms)
    if track.owed and fresh in _cancels(track) and _is_taken_down(track, acknowledges=acknowledges):
        return confirmed(track, now_ms, "")
    return track


def _overtaken_until(track: Track, entry: Entry, restricted: int) -> int:
    """Returns until when (UNIX ms) an older message may still take effect after `entry`, if `entry` cancels it or
    leaves out facts of it. Returns 0 if none may.
    """
    if not says_less(track, entry, restricted):
        return 0
    is_cancel = entry.type is MsgType.CANCEL
    return max((_in_doubt_until(one) for one in track.arrived if is_cancel or _changed(one) < restricted), default=0)


def _in_doubt_until(one: Entry) -> int:
    """Returns until when (UNIX ms) a message may still take effect, or 0 if its answer shows whether it did. A later
    Ack gives no time.
    """
    was_taken = one.state in _EFFECTIVE and 200 <= one.answered < 300
    is_refused = one.state is MessageState.REFUSED and one.tries == 1
    return 0 if was_taken or is_refused else one.last + DOUBT_MS


def _repeated(track: Track, entry: Entry, due: int, now_ms: int) -> Track:
    """Returns the track with the message queued again for the time `due` (ms of the steady clock), with a new
    identifier: a gateway ignores an identifier that it knows.
    """
    track = _replaced(track, msgspec.structs.replace(entry, repeated=True))
    name = _unused(track, entry.of, now_ms)
    fresh = Entry(
        identifier=name, sender=entry.sender, sent=now_ms, type=entry.type, of=entry.of, expires=entry.expires, due=due
    )  # fmt: skip
    return _appended(track, fresh)


def _is_taken_down(track: Track, *, acknowledges: bool) -> bool:
    """Returns whether the last Cancel took effect. An Error for the repetition of an accepted Cancel confirms it too."""
    does = {MessageState.ACKNOWLEDGED} if acknowledges else _EFFECTIVE
    *earlier, last = _cancels(track)
    if last.state is MessageState.REFUSED and last.ack and earlier:
        return earlier[-1].repeated and earlier[-1].state in does
    return last.state in does


def confirmed(track: Track, now_ms: int, by: str) -> Track:
    """Returns the track with the take-down confirmed, by the distributor or by the person `by`, who asked the
    distributor.
    """
    if ends := _cancels(track):
        track = _replaced(track, msgspec.structs.replace(ends[-1], down=True))
    return msgspec.structs.replace(track, owed=0, confirmed=now_ms, by=by)


def _cancels(track: Track) -> list[Entry]:
    """Returns the Cancels, oldest first, except those that were replaced before they were sent."""
    return [
        one
        for one in track.entries
        if one.type is MsgType.CANCEL and (one.maybe or one.state is not MessageState.SUPERSEDED)
    ]


def again(track: Track) -> Track | None:
    """Returns the track with its last message queued again, as if never tried; None if that message did not fail."""
    last = track.entries[-1] if track.entries else None
    if last is None or last.state not in FAILED:
        return None
    return _replaced(track, msgspec.structs.replace(last, state=MessageState.QUEUED, first=0, tries=0, due=0))


def _changed(one: Entry) -> int:
    """Returns when the alert got the content that a message announces (UNIX ms, from its identifier); 0 for the first
    content.
    """
    return int(one.of.partition(".")[2] or 0)


def _replaced(track: Track, entry: Entry) -> Track:
    """Returns the track with `entry` in place of the message that has the same identifier."""
    entries = tuple(entry if one.identifier == entry.identifier else one for one in track.entries)
    return msgspec.structs.replace(track, entries=entries)


def _is_effective(one: Entry) -> bool:
    """Returns whether a message certainly took down everything before it."""
    return one.type is MsgType.CANCEL and (one.down or (one.state in _EFFECTIVE and not one.repeated))
