"""The states of an alert and of a ledger row (reference), and their allowed changes, as tables. Pure: no I/O, no clock.

Every other module uses these tables, and may allow less. The numbers of row states and reasons are bytes of the ledger:
never change or reuse one.
"""

from __future__ import annotations

import enum

from alertd.model.kinds import Channel, Kind, Occasion, PlaceKind


class AlertState(enum.StrEnum):
    """State of one version of an alert."""

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
    # pending: the content at the start would differ from the approved content
    _S.SCHEDULED: frozenset({_S.APPROVED, _S.PENDING, _S.RETURNED, _S.CANCELLED, _S.EXPIRED}),
    _S.APPROVED: frozenset({_S.SENDING, _S.STOOD_DOWN, *_ENDS}),
    _S.SENDING: frozenset({_S.SENT, _S.STOOD_DOWN, *_ENDS}),
    _S.SENT: frozenset(
        {_S.SENDING, _S.STOOD_DOWN, *_ENDS}
    ),  # sending: an operator resends messages that may not have arrived
    _S.STOOD_DOWN: frozenset({_S.SENDING, _S.CLOSED, _S.CANCELLED, _S.EXPIRED, _S.PURGED}),
    _S.REJECTED: frozenset({_S.PURGED}),
    **{end: frozenset({_S.PURGED}) for end in _ENDS},
    _S.PURGED: frozenset(),
}

#: States in which the content may still be changed, because no approver is reading it.
AMENDABLE = (_S.DRAFT, _S.RETURNED)

#: States in which the gate lets ledger rows pass.
OPEN_STATES = frozenset({_S.APPROVED, _S.SENDING})

#: States in which nothing more is sent, so that a command that follows the progress may end.
UNWATCHED = frozenset({_S.SENT, _S.REJECTED, _S.PURGED, *_ENDS})

#: The public sees an alert's photos in `SHOWN`, no longer in `NO_LONGER_SHOWN`, and not yet in other states.
SHOWN = frozenset({_S.APPROVED, _S.SENDING, _S.SENT})
NO_LONGER_SHOWN = frozenset({_S.STOOD_DOWN, _S.PURGED, *_ENDS})
#: States of an alert whose photos even staff no longer see, also if another coming alert has the same photos.
TAKEN_AWAY = frozenset({_S.STOOD_DOWN, _S.PURGED})

#: States in which people know the alert or may be notified again.
KNOWN = SHOWN | {_S.STOOD_DOWN}
#: States in which nobody has decided about the alert yet.
UNDECIDED = frozenset({_S.DRAFT, _S.PENDING, _S.RETURNED})
#: States in which nothing was sent, and nothing is sent until a later state.
UNTOLD = UNDECIDED | {_S.REJECTED}
#: States that wait for an approver or for the scheduled start.
WAITING = frozenset({_S.PENDING, _S.SCHEDULED})
#: States in which another organisation may request a stand-down.
ASKABLE = SHOWN | WAITING
#: States in which no work continues.
ENDED = frozenset({_S.REJECTED, _S.PURGED, *_ENDS})

#: By occasion of a version: the alert states in which that version is still true. The version is resent in no other
#: state.
TRUE_IN = {
    Occasion.ALERT: SHOWN,
    Occasion.UPDATE: SHOWN,
    Occasion.STAND_DOWN: frozenset({_S.STOOD_DOWN}),
    Occasion.CLOSE: frozenset({_S.CLOSED, _S.EXPIRED}),
    Occasion.CANCEL: frozenset({_S.CANCELLED}),
}

#: By alert state: the new state of queued rows when the gate closes. In any other closed state they stay queued.
QUEUED_BECOMES = {
    _S.CANCELLED: "cancelled",
    _S.CLOSED: "cancelled",
    _S.SUPERSEDED: "cancelled",
    _S.EXPIRED: "expired",
    _S.PURGED: "cancelled",
}


@enum.unique
class State(enum.IntEnum):
    """State of one ledger row. The value is the ledger's first byte."""

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
        """Returns the name in APIs, metrics and logs."""
        return self.name.lower()


#: Allowed changes of a row's state. A carrier's answer to an attempt overrides the row's state. So an in-flight row
#: that became unknown, or was queued again by a successor, may still become accepted. A receipt may arrive before the
#: answer, which waits for the slowest message of its chunk.
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

#: States of a message that a carrier accepted; only a receipt makes it delivered.
HANDED_OVER = (State.ACCEPTED, State.DELIVERED)

#: States in which nothing is left to do for a row. Together with queued and in flight they are all states of a row.
SETTLED = frozenset(State) - {State.QUEUED, State.IN_FLIGHT}


@enum.unique
class LedgerReason(enum.IntEnum):
    """Why a row is in its state, if no carrier decided it.

    Carriers' reasons are lower numbers (`channels.base.Reason`).
    """

    ADDRESS_REMOVED = 32  # the address existed when the audience was planned, but not when it was fetched
    OPTED_OUT = 33
    ATTEMPTS = 34  # may have arrived, and is not tried again
    GATE_CLOSED = 35  # cancelled, closed or expired while it waited
    WORKER_LOST = 36  # its worker stopped its heartbeat with the attempt open
    LEFT_BLANK = 37  # the message cannot be rendered for this row
    UNREADABLE = 38  # the subscriber's record is damaged, or of another version
    SEEN = 39  # delivered, and opened
    RESENT = 40  # queued again by an operator
    SUPERSEDED = 41  # an update replaces it, or goes to other people
    PUT_BACK = 42  # the store was restored from a backup; messages sent since then are unknown
    LEFT = 43  # delivered; then the reader unsubscribed that address
    ACKNOWLEDGED = 44  # the phone acknowledged the alert, so no SMS is needed
    OVER_BUDGET = 45  # deferred until its organisation may send more SMS
    QUIET_HOURS = 46  # deferred to the end of quiet hours, or expired before it


#: The lowest of these reasons. All carriers' reasons are lower numbers.
OWN_REASONS = min(LedgerReason)

#: Rows deferred for these reasons are deferred on purpose and do not count as stalled.
HELD_FOR = frozenset({LedgerReason.QUIET_HOURS})


#: The fourth byte of a ledger row (index 3): five bits count the attempts, and three bits are these flags.
ATTEMPTS_MASK = 0x1F
FLAG_UNSENT = 0x20  # of an outcome, never of a row: nothing was written, so the attempt does not count
FLAG_DELAYED = 0x40  # waits in the chain's delayed set, so no lease may take it from its batch
FLAG_DOUBT = 0x80  # an earlier attempt has an intent but no settlement: it may have been sent twice

#: The words of the enumerations in wire order. The index of a word is its number in records and ledgers, everywhere. So
#: the enumerations only ever grow.
CHANNELS = tuple(channel.value for channel in Channel)


def folded_address(channel: str, value: str) -> str:
    """Returns an address in the form used for comparison.

    Mailboxes are compared in lower case, because people and suppression lists write them in either case. A server may
    distinguish cases (RFC 5321, section 2.4), so mails go to the address as written. A browser's address is reduced to
    its endpoint, without the keys.
    """
    if channel == Channel.WEBPUSH:
        return value.partition(" ")[0]
    return value.lower() if channel == Channel.MAIL else value


PLACE_KINDS = tuple(place.value for place in PlaceKind)
KINDS = tuple(kind.value for kind in Kind)
