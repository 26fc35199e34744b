"""The life of an alert and of each reference, as tables. Pure: no I/O, no clock.

Every other part asks these tables what may follow what, and may allow less. The numbers of reference states and
reasons are bytes of the ledger: they are never changed and never reused.
"""

from __future__ import annotations

import enum

from alertd.model.kinds import Channel, Kind, Occasion, PlaceKind


class AlertState(enum.StrEnum):
    """Where one version of an alert stands."""

    DRAFT = "draft"
    PENDING = "pending"
    RETURNED = "returned"
    REJECTED = "rejected"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    SENDING = "sending"
    SENT = "sent"
    STOOD_DOWN = "stood_down"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    PURGED = "purged"


_S = AlertState
_ENDS = frozenset({_S.CLOSED, _S.CANCELLED, _S.SUPERSEDED, _S.EXPIRED})

ALERT_STEPS: dict[AlertState, frozenset[AlertState]] = {
    _S.DRAFT: frozenset({_S.PENDING, _S.REJECTED, _S.EXPIRED, _S.PURGED}),
    _S.PENDING: frozenset({_S.APPROVED, _S.SCHEDULED, _S.RETURNED, _S.REJECTED, _S.EXPIRED}),
    _S.RETURNED: frozenset({_S.PENDING, _S.REJECTED, _S.EXPIRED}),
    # pending: what was approved is not what would be told when its time came
    _S.SCHEDULED: frozenset({_S.APPROVED, _S.PENDING, _S.RETURNED, _S.CANCELLED, _S.EXPIRED}),
    _S.APPROVED: frozenset({_S.SENDING, _S.STOOD_DOWN, *_ENDS}),
    _S.SENDING: frozenset({_S.SENT, _S.STOOD_DOWN, *_ENDS}),
    _S.SENT: frozenset(
        {_S.SENDING, _S.STOOD_DOWN, *_ENDS}
    ),  # sending: an operator sends again what may not have arrived
    _S.STOOD_DOWN: frozenset({_S.SENDING, _S.CLOSED, _S.CANCELLED, _S.EXPIRED, _S.PURGED}),
    _S.REJECTED: frozenset({_S.PURGED}),
    **{end: frozenset({_S.PURGED}) for end in _ENDS},
    _S.PURGED: frozenset(),
}

#: What these say may still be changed: nobody else has it before their eyes.
AMENDABLE = (_S.DRAFT, _S.RETURNED)

#: The gate lets references of these pass, and of no others.
OPEN_STATES = frozenset({_S.APPROVED, _S.SENDING})

#: Nobody more is told of these, so whoever watches may stop.
UNWATCHED = frozenset({_S.SENT, _S.REJECTED, _S.PURGED, *_ENDS})

#: The public sees an alert's photos in these, and in these no more; in all others, not yet.
SHOWN = frozenset({_S.APPROVED, _S.SENDING, _S.SENT})
NO_LONGER_SHOWN = frozenset({_S.STOOD_DOWN, _S.PURGED, *_ENDS})
#: An alert in one of these took its photos away: they are shown to nobody, whatever is still to come.
TAKEN_AWAY = frozenset({_S.STOOD_DOWN, _S.PURGED})

#: People know of it, or may again.
KNOWN = SHOWN | {_S.STOOD_DOWN}
#: Nobody has decided about these.
UNDECIDED = frozenset({_S.DRAFT, _S.PENDING, _S.RETURNED})
#: Nobody was told of these, unless they are sent yet.
UNTOLD = UNDECIDED | {_S.REJECTED}
#: These wait for their second person, or for their time.
WAITING = frozenset({_S.PENDING, _S.SCHEDULED})
#: Another organisation may ask to stand these down.
ASKABLE = SHOWN | WAITING
#: Nothing of these goes on.
ENDED = frozenset({_S.REJECTED, _S.PURGED, *_ENDS})

#: What a version tells is true while its alert is in one of these, and is sent again in no other.
TRUE_IN = {
    Occasion.ALERT: SHOWN,
    Occasion.UPDATE: SHOWN,
    Occasion.STAND_DOWN: frozenset({_S.STOOD_DOWN}),
    Occasion.CLOSE: frozenset({_S.CLOSED, _S.EXPIRED}),
    Occasion.CANCEL: frozenset({_S.CANCELLED}),
}

#: What the queued of a closed gate become. Any state that is not here and not open leaves them queued.
QUEUED_BECOMES = {
    _S.CANCELLED: "cancelled",
    _S.CLOSED: "cancelled",
    _S.SUPERSEDED: "cancelled",
    _S.EXPIRED: "expired",
    _S.PURGED: "cancelled",
}


@enum.unique
class State(enum.IntEnum):
    """Where one reference stands. The value is the ledger's first byte."""

    QUEUED = 1
    IN_FLIGHT = 2
    ACCEPTED = 3
    DELIVERED = 4
    FAILED = 5
    EXPIRED = 6
    CANCELLED = 7
    SUPPRESSED = 8
    UNKNOWN = 9

    @property
    def word(self) -> str:
        """The name as APIs, metrics and logs show it."""
        return self.name.lower()


#: What may follow what. A carrier's answer to the very attempt that was made is the truth, whatever the row says by then:
#: so an in-flight row that was given up as unknown, or queued again by a successor, may still become accepted. A receipt may
#: overtake the answer itself, which waits for the slowest of its chunk.
STEPS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset(State) - {State.QUEUED},
    State.IN_FLIGHT: frozenset(State) - {State.IN_FLIGHT},
    State.ACCEPTED: frozenset({State.DELIVERED, State.FAILED}),
    State.UNKNOWN: frozenset(State) - {State.IN_FLIGHT, State.UNKNOWN},
    State.DELIVERED: frozenset(),
    State.FAILED: frozenset({State.DELIVERED, State.QUEUED}),  # receipts come in any order; an operator sends it again
    State.EXPIRED: frozenset(),
    State.CANCELLED: frozenset(),
    State.SUPPRESSED: frozenset(),
}

#: A message was handed over while it is in one of these; only a receipt makes it delivered.
HANDED_OVER = (State.ACCEPTED, State.DELIVERED)

#: Nothing is left to do for these; the rest of the identity is queued and in flight.
SETTLED = frozenset(State) - {State.QUEUED, State.IN_FLIGHT}


@enum.unique
class LedgerReason(enum.IntEnum):
    """Why a reference is where it is, where no carrier said so. Carriers' reasons are lower numbers (`channels.base.Reason`)."""

    ADDRESS_REMOVED = 32  # there was an address when the audience was planned, and none when it was fetched
    OPTED_OUT = 33
    ATTEMPTS = 34  # may have arrived, and is not tried again
    GATE_CLOSED = 35  # cancelled, closed or expired while it waited
    WORKER_LOST = 36  # its worker went silent with the attempt open
    LEFT_BLANK = 37  # the message cannot be made for this reference
    UNREADABLE = 38  # the subscriber's record is damaged, or not of this version
    SEEN = 39  # delivered, and opened
    RESENT = 40  # queued again by an operator
    SUPERSEDED = 41  # an update tells it anew, or tells it to others
    PUT_BACK = 42  # the store was put back from a copy: what was sent since then is not known
    LEFT = 43  # delivered, and whoever read it wanted no more at that address
    ACKNOWLEDGED = 44  # their phone said that it has the alert, so that no SMS is needed
    OVER_BUDGET = 45  # waits until its organisation may send more SMS
    QUIET_HOURS = 46  # waits for the end of them, or ended while it did


#: Carriers' reasons are below.
OWN_REASONS = min(LedgerReason)

#: What waits for these is held on purpose: nothing stalls.
HELD_FOR = frozenset({LedgerReason.QUIET_HOURS})


#: Ledger byte 3: five bits of attempts and these flags.
ATTEMPTS_MASK = 0x1F
FLAG_UNSENT = 0x20  # of an outcome alone, never of a row: nothing was written, so the attempt does not count
FLAG_DELAYED = 0x40  # waits in the chain's delayed set, so no lease may take it from its batch
FLAG_DOUBT = 0x80  # an earlier attempt had an intent and no settlement: it may have been sent twice

#: The words of the wire: the index is the number in records and ledgers, everywhere. So the enums only ever grow.
CHANNELS = tuple(channel.value for channel in Channel)


def folded_address(channel: str, value: str) -> str:
    """An address as it is compared with others. Whoever writes a mailbox in capitals means the same one, and lists of those who want nothing
    more are often in small letters, though a server may tell them apart (RFC 5321, section 2.4): so mails go as it was written. A browser is
    known by its endpoint, whatever keys it has now.
    """
    if channel == Channel.WEBPUSH:
        return value.partition(" ")[0]
    return value.lower() if channel == Channel.MAIL else value


PLACE_KINDS = tuple(place.value for place in PlaceKind)
KINDS = tuple(kind.value for kind in Kind)
