"""What one distributor has of one alert, and what it is sent next. Pure: no I/O, no clock.

A message is one CAP document under a name of its own. Whoever may have one that is told gets all that follows it, in order; whoever
surely has none gets no Cancel. What was not sent yet gives way to what is true now.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from alertd.model.cap.messages import MsgType

#: Messages that are remembered of one alert; it is changed a few times, and each change is approved by a person.
MOST_ENTRIES = 200


class MessageState(enum.StrEnum):
    """Where one message stands."""

    QUEUED = "queued"
    ACCEPTED = "accepted"  # taken, with a status from 200 to 299
    ACKNOWLEDGED = "acknowledged"  # a CAP Ack says so
    REFUSED = "refused"  # a CAP Error, or its status, says so; or there can be no such document
    GIVEN_UP = "given_up"  # it was not taken in time
    SUPERSEDED = "superseded"  # not taken before it was no longer true


_S = MessageState
#: What may follow what. A late Ack or Error is the truth, whatever was thought before. A person alone sends what failed again (`again`): a
#: try whose answer never came says less than the Error that came meanwhile.
MESSAGE_STEPS: dict[MessageState, frozenset[MessageState]] = {
    _S.QUEUED: frozenset(_S) - {_S.QUEUED},
    _S.ACCEPTED: frozenset({_S.ACKNOWLEDGED, _S.REFUSED}),
    _S.ACKNOWLEDGED: frozenset(),
    _S.REFUSED: frozenset({_S.ACKNOWLEDGED}),
    _S.GIVEN_UP: frozenset({_S.ACKNOWLEDGED, _S.REFUSED}),
    _S.SUPERSEDED: frozenset({_S.ACKNOWLEDGED, _S.REFUSED}),
}
#: Nothing more is tried of these, unless a person wants that.
FAILED = frozenset({_S.REFUSED, _S.GIVEN_UP})
#: A Cancel in these has done its work, as far as anybody can know.
_EFFECTIVE = frozenset({_S.ACCEPTED, _S.ACKNOWLEDGED})
#: What was posted and not answered may be taken up so much later: longer than anybody waits for an answer (`webhooks.timeout_s`, 30 s at most,
#: and a gateway's own proxies, a minute by default).
DOUBT_MS = 90_000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one distributor. Times are UNIX ms, 0 for never."""

    identifier: str
    sender: str
    sent: int
    type: MsgType
    of: str  # what the alert as it then stood was called
    expires: int  # the alert's end, as it says
    state: MessageState = MessageState.QUEUED
    maybe: bool = False  # it has arrived, or may have
    tries: int = 0
    first: int = 0  # try
    last: int = 0
    due: int = 0  # not before is it tried again, by the steady clock
    answered: int = 0  # status of the last answer, 0 for none
    ack: str = ""  # identifier of the Ack, or of the Error
    note: bytes = b""  # why it was refused, sealed under the case's key
    down: bool = False  # of a Cancel: it is known that what was before it is shown no more
    repeated: bool = False  # taken, and sent once more, for what it takes the place of may have been taken up after it


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """What one distributor has of one alert."""

    name: str = ""  # of the distributor, as it was last called
    entries: tuple[Entry, ...] = ()  # oldest first
    owed: int = 0  # since when it has to take it down and has not confirmed that, UNIX ms; 0: it has not to
    told: bool = False  # that it owes that
    confirmed: int = 0  # when the last take-down was
    by: str = ""  # the subject of the person who said so; '' where the distributor did
    over: bool = False  # it ended by itself, when its messages said

    def entry(self, identifier: str) -> Entry | None:
        """The message of that name."""
        return next((one for one in reversed(self.entries) if one.identifier == identifier), None)

    @property
    def live(self) -> tuple[Entry, ...]:
        """What was sent, or is to be, since it was last taken down."""
        return self.entries[_after(self.entries, _is_effective) :]

    @property
    def refused(self) -> bool:
        """Whether it has to take it down, and refused that or never took the word of it: nothing more is tried."""
        ends = _cancels(self)
        return bool(self.owed and ends and ends[-1].state in FAILED)

    @property
    def has(self) -> bool:
        """Whether it may have an alert that it was not told the end of."""
        return bool(self.arrived)

    @property
    def arrived(self) -> tuple[Entry, ...]:
        """What it may have, and was not told the end of."""
        return tuple(one for one in self.live if one.maybe and one.type is not MsgType.CANCEL)

    @property
    def shown_until(self) -> int:
        """When all that it may show has ended by itself, UNIX ms, 0 for nothing: the last that it surely took, whatever came after that, and what
        it may have taken up after it.
        """
        arrived = self.arrived
        sure = max((place for place, one in enumerate(arrived) if one.state in _EFFECTIVE), default=0)
        late = [one for one in arrived[:sure] if _in_doubt_until(one) > arrived[sure].first]
        return max((one.expires for one in (*late, *arrived[sure:])), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """An alert as it stands. Times are UNIX ms."""

    identifier: str  # of its CAP document
    sender: str
    sent: int
    expires: int
    shown: bool  # it is told
    restricted: int = 0  # when what it told of a child was taken out of it
    down: bool  # it is to be taken down; with neither, it ended by itself
    at: int  # this moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of one try, or of a later word of the distributor."""

    state: MessageState
    maybe: bool
    due: int = 0
    answered: int = 0
    ack: str = ""
    note: bytes = b""


def decided(track: Track, now: Now, *, fits: bool) -> tuple[Track, Entry | None]:
    """What it has from now on, and the message to send it, if there is one. `fits`: it is to get such an alert at all."""
    if now.down or (now.shown and still_names(track, now)):
        return _down(track, now)
    if now.shown:
        return _shown(track, now, fits=fits)
    fresh = _without_queued(track)
    return msgspec.structs.replace(fresh, over=not fresh.owed), None


def still_names(track: Track, now: Now) -> bool:
    """Whether it may show what was taken out of the alert, and does not take the Update that says less: then nothing of it may stay."""
    told = [one for one in track.live if one.type is not MsgType.CANCEL]
    if not now.restricted or not any(one.maybe and _changed(one) < now.restricted for one in told):
        return False
    return any(one.of == now.identifier and one.state in FAILED for one in told)


def says_less(track: Track, entry: Entry, restricted: int) -> bool:
    """Whether a message takes something down, so that no stop and no pause keeps it: a Cancel; and an Update to who may show what was taken
    out of the alert (`restricted`: when that was, UNIX ms, 0 for never).
    """
    if entry.type is not MsgType.UPDATE:
        return entry.type is MsgType.CANCEL
    told = track.arrived
    shows_less = any(_changed(one) >= restricted and one.state in _EFFECTIVE and not one.repeated for one in told)
    return not shows_less and any(_changed(one) < restricted for one in told)


def _shown(track: Track, now: Now, *, fits: bool) -> tuple[Track, Entry | None]:
    wanted = fits or track.has
    fresh = _without_queued(track, but=now.identifier if wanted else "")
    if not now.restricted:  # else what it had before may be more than it may show now
        fresh = msgspec.structs.replace(fresh, owed=0, told=False)
    fresh = msgspec.structs.replace(fresh, over=False)
    since = fresh.live[_after(fresh.live, lambda one: one.type is MsgType.CANCEL and one.maybe) :]
    told = [one for one in since if one.type is not MsgType.CANCEL and one.state is not MessageState.SUPERSEDED]
    if told and told[-1].of == now.identifier:
        return fresh, told[-1] if told[-1].state is MessageState.QUEUED else None
    if not wanted:
        return fresh, None
    names_more = any(_changed(one) < now.restricted for one in fresh.arrived)
    has_now = any(one.maybe for one in since if one.type is not MsgType.CANCEL)
    return _with(fresh, now, MsgType.UPDATE if has_now or names_more else MsgType.ALERT)


def _down(track: Track, now: Now) -> tuple[Track, Entry | None]:
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
    """The place behind the last of these, 0 for none."""
    return max((place for place, one in enumerate(entries, start=1) if ends(one)), default=0)


def _with(track: Track, now: Now, type_: MsgType) -> tuple[Track, Entry]:
    """With one more message. A name is used once: after a return the alert has another than before it."""
    is_used = track.entry(now.identifier) is not None
    made = Entry(
        identifier=_unused(track, now.identifier, now.at) if is_used else now.identifier,
        sender=now.sender, sent=now.at if is_used else now.sent, type=type_, of=now.identifier, expires=now.expires,
    )  # fmt: skip
    return _appended(track, made), made


def _unused(track: Track, of: str, now_ms: int) -> str:
    """A name that none of its messages has."""
    while track.entry(name := f"{of.partition('.')[0]}.{now_ms}"):
        now_ms += 1
    return name


def _appended(track: Track, entry: Entry) -> Track:
    """Where there are too many, the oldest that never arrived goes: what it may have is to be taken back one day."""
    entries = track.entries
    if len(entries) >= MOST_ENTRIES:
        spare = next((place for place, one in enumerate(entries) if not one.maybe), 0)
        entries = entries[:spare] + entries[spare + 1 :]
    return msgspec.structs.replace(track, entries=(*entries, entry))


def _without_queued(track: Track, but: str = "") -> Track:
    """What waits is no longer true, but for what tells the alert that is called `but`."""
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
    """Before a message is posted: from then on it may arrive."""
    entry = track.entry(identifier)
    assert entry is not None
    tried = msgspec.structs.replace(entry, maybe=True, tries=entry.tries + 1, first=entry.first or now_ms, last=now_ms)
    return _replaced(track, tried)


def put_back(track: Track) -> Track:
    """Of a store that was put back from a copy: whatever was to be posted then may have been since, and more than once, so that a late Error
    about it is no word of all of them.
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
    """What follows from a verdict. Where the distributor `acknowledges` only its Ack confirms a take-down, else its 2xx does. `restricted`:
    when what the alert told of a child was taken out of it, UNIX ms, 0 for never. `back_ms`: as `Clock` has it.
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
    # Its first try may have been the one that was taken, though it was not answered.
    if fresh.state in _EFFECTIVE and not fresh.repeated and until > fresh.first:
        wait_ms = min(max(until - now_ms, 0), DOUBT_MS)  # the doubt may be of before the clock was set back
        return _repeated(track, fresh, now_ms + back_ms + wait_ms, now_ms)
    if track.owed and fresh in _cancels(track) and _is_taken_down(track, acknowledges=acknowledges):
        return confirmed(track, now_ms, "")
    return track


def _overtaken_until(track: Track, entry: Entry, restricted: int) -> int:
    """Until when what a message takes back, or names less than, may be taken up after it, UNIX ms, 0 for not at all."""
    if not says_less(track, entry, restricted):
        return 0
    is_cancel = entry.type is MsgType.CANCEL
    return max((_in_doubt_until(one) for one in track.arrived if is_cancel or _changed(one) < restricted), default=0)


def _in_doubt_until(one: Entry) -> int:
    """Until when a message may be taken up, UNIX ms, 0 where it was by its answer, or never is. A word that is posted later does not say when."""
    was_taken = one.state in _EFFECTIVE and 200 <= one.answered < 300
    is_refused = one.state is MessageState.REFUSED and one.tries == 1
    return 0 if was_taken or is_refused else one.last + DOUBT_MS


def _repeated(track: Track, entry: Entry, due: int, now_ms: int) -> Track:
    """With the same once more, then. Its name is its own: a gateway takes one that it knows for a repetition, and does nothing."""
    track = _replaced(track, msgspec.structs.replace(entry, repeated=True))
    name = _unused(track, entry.of, now_ms)
    fresh = Entry(
        identifier=name, sender=entry.sender, sent=now_ms, type=entry.type, of=entry.of, expires=entry.expires, due=due
    )  # fmt: skip
    return _appended(track, fresh)


def _is_taken_down(track: Track, *, acknowledges: bool) -> bool:
    """Whether its last Cancel says so. Who took one, and refuses its repetition by an Error, has nothing any more that there is to cancel."""
    does = {MessageState.ACKNOWLEDGED} if acknowledges else _EFFECTIVE
    *earlier, last = _cancels(track)
    if last.state is MessageState.REFUSED and last.ack and earlier:
        return earlier[-1].repeated and earlier[-1].state in does
    return last.state in does


def confirmed(track: Track, now_ms: int, by: str) -> Track:
    """Its take-down is, by its own word or by that of a person who asked."""
    if ends := _cancels(track):
        track = _replaced(track, msgspec.structs.replace(ends[-1], down=True))
    return msgspec.structs.replace(track, owed=0, confirmed=now_ms, by=by)


def _cancels(track: Track) -> list[Entry]:
    """Those that went out, or are to."""
    return [
        one
        for one in track.entries
        if one.type is MsgType.CANCEL and (one.maybe or one.state is not MessageState.SUPERSEDED)
    ]


def again(track: Track) -> Track | None:
    """The last message is to be sent once more, as if it had never been tried; None where it was not refused or given up."""
    last = track.entries[-1] if track.entries else None
    if last is None or last.state not in FAILED:
        return None
    return _replaced(track, msgspec.structs.replace(last, state=MessageState.QUEUED, first=0, tries=0, due=0))


def _changed(one: Entry) -> int:
    """When the alert was changed to what a message tells, UNIX ms; 0 for never: its name says so."""
    return int(one.of.partition(".")[2] or 0)


def _replaced(track: Track, entry: Entry) -> Track:
    entries = tuple(entry if one.identifier == entry.identifier else one for one in track.entries)
    return msgspec.structs.replace(track, entries=entries)


def _is_effective(one: Entry) -> bool:
    """Whether a message surely took everything down that was before it."""
    return one.type is MsgType.CANCEL and (one.down or (one.state in _EFFECTIVE and not one.repeated))
