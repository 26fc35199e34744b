"""One session with an SMS centre, as a state machine without sockets: it takes octets and times (monotonic seconds),
and returns octets and events.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from channels.base import ACCEPTED, Answer, Outcome, Reason, Subject
from channels.smpp.pace import Pace
from channels.smpp.pdu import (
    HEADER,
    LAST_SEQUENCE,
    RESPONSE,
    Command,
    Frames,
    Pdu,
    PduError,
    Status,
    decode,
    encode,
    name_of,
)

Role = Literal["transceiver", "transmitter", "receiver"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSettings:
    """The settings of a session, the same for all binds of an account."""

    system_id: str
    password: str = field(repr=False)
    system_type: str = ""
    window: int = 50  # maximum unanswered messages on each bind
    timeout_s: float = 15.0  # seconds to wait for each answer
    # Seconds of silence after which `enquire_link` checks that the centre is alive. Carriers ask for 10 to 60.
    enquire_s: float = 30.0
    throttle_pause_s: float = 1.0  # first pause of a throttled bind; doubled if throttling continues
    throttle_pause_max_s: float = 60.0
    statuses: Mapping[int, Outcome] = field(default_factory=dict)  # the carrier's own codes


@dataclass(frozen=True, slots=True)
class Bound:
    """The centre accepted the bind: messages may be sent."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of the message with this `key`. `late`: a time-out was reported for it before."""

    key: Hashable
    outcome: Outcome
    late: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message or receipt from the centre. It waits for `Session.acknowledge`."""

    pdu: Pdu


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event: the caller must close the connection. Every open message had its `Answered` before."""

    reason: Reason


Event = Bound | Answered | Delivered | Ended


#: Refusals that mean "send less": the bind pauses.
THROTTLES: Final = frozenset({Status.THROTTLED, Status.QUEUE_FULL})

#: Refusals that concern alertd's account or settings, and not a phone number. They stop when an operator has corrected
#: the settings.
_OURS: Final = (
    Status.INVALID_COMMAND,
    Status.INVALID_BIND_STATE,
    Status.ALREADY_BOUND,
    Status.INVALID_SOURCE,
    Status.BIND_FAILED,
    Status.INVALID_PASSWORD,
    Status.INVALID_SYSTEM_ID,
    Status.INVALID_SERVICE_TYPE,
    Status.INVALID_SOURCE_TON,
    Status.INVALID_SOURCE_NPI,
    Status.INVALID_DESTINATION_TON,
    Status.INVALID_DESTINATION_NPI,
    Status.INVALID_SYSTEM_TYPE,
)
_MESSAGE: Final = (
    Status.INVALID_LENGTH,
    Status.INVALID_PRIORITY,
    Status.INVALID_REGISTERED,
    Status.INVALID_ESM_CLASS,
    Status.INVALID_SCHEDULE,
    Status.INVALID_EXPIRY,
    Status.INVALID_PARAMETERS,
    Status.PARAMETER_NOT_ALLOWED,
    Status.INVALID_PARAMETER_LENGTH,
    Status.MISSING_PARAMETER,
    Status.INVALID_PARAMETER_VALUE,
)

BY_STATUS: Final[Mapping[int, Outcome]] = {
    **dict.fromkeys(_OURS, Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    **dict.fromkeys(_MESSAGE, Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
    **dict.fromkeys(THROTTLES, Outcome(Answer.RETRY, Reason.THROTTLED)),
    Status.INVALID_COMMAND_LENGTH: Outcome(Answer.RETRY, Reason.GARBAGE),  # the frame was damaged in transit
    Status.SYSTEM_ERROR: Outcome(Answer.RETRY, Reason.UNAVAILABLE),
    Status.INVALID_DESTINATION: Outcome(Answer.NEVER, Reason.BAD_ADDRESS),
    Status.RECEIVER_PERMANENT: Outcome(Answer.NEVER, Reason.BLOCKED),
    Status.RECEIVER_REJECTS: Outcome(Answer.NEVER, Reason.BLOCKED),
}

#: For "Submit failed" and every unknown code: the centre refuses this message now, but may accept it later.
OTHERWISE: Final = Outcome(Answer.RETRY, Reason.UNAVAILABLE, of=Subject.RECIPIENT)


def refusal(status: int, own: Mapping[int, Outcome]) -> Outcome:
    """Returns the outcome for a status other than OK. `own` holds the carrier's own codes, which take precedence."""
    return own.get(status) or BY_STATUS.get(status, OTHERWISE)


BINDS: Final[Mapping[Role, Command]] = {
    "transceiver": Command.BIND_TRANSCEIVER,
    "transmitter": Command.BIND_TRANSMITTER,
    "receiver": Command.BIND_RECEIVER,
}

INTERFACE_VERSION: Final = 0x34

#: Maximum number of timed-out messages to remember. A late answer then still gives the ids that match the receipts.
MOST_LATE: Final = 1_000

LOST: Final = Outcome(Answer.UNKNOWN, Reason.CONNECTION)
TIMED_OUT: Final = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)
GARBLED: Final = Outcome(Answer.UNKNOWN, Reason.GARBAGE)


class Phase(enum.Enum):
    """The phase of the session."""

    BINDING = "binding"
    BOUND = "bound"
    UNBINDING = "unbinding"
    LEAVING = "leaving"  # the centre sent `unbind`, and some messages are unanswered
    ENDED = "ended"


@dataclass(slots=True)
class _Open:
    key: Hashable
    written_s: float
    due_s: float
    is_new: bool


class Session:
    """One session with the centre. It starts by queueing the bind; `take` returns the octets to write."""

    def __init__(self, settings: SessionSettings, now_s: float, role: Role = "transceiver") -> None:
        self._settings = settings
        self._role = role
        self.phase = Phase.BINDING
        self.bind_status = 0  # status of the centre's answer to the bind
        self.pace = Pace(settings.throttle_pause_s, settings.throttle_pause_max_s)
        self.strays = 0  # answers that match no request
        self._frames = Frames()
        self._out: list[bytes] = []
        self._sequence = 0
        self._open: dict[int, _Open] = {}  # by sequence number, the oldest first
        self._late: dict[int, Hashable] = {}
        self._unbind = 0  # sequence number of the centre's `unbind`
        self._heard_s = now_s
        self._due_s: float | None = now_s + settings.timeout_s  # for the answer to bind, enquire_link or unbind
        self._handlers: dict[int, Callable[[Pdu, float], list[Event]]] = {
            Command.SUBMIT_SM_RESP: self._answer,
            Command.GENERIC_NACK: self._answer,
            Command.DELIVER_SM: self._deliver,
            Command.DATA_SM: self._deliver,  # some centres send receipts this way
            Command.ENQUIRE_LINK: self._enquired,
            Command.UNBIND: self._asked_to_leave,
            Command.UNBIND_RESP: self._left,
            BINDS[self._role] | RESPONSE: self._bound,
        }
        self._bind()

    def room(self, now_s: float) -> int:
        """Returns how many more messages may be written now, 0 or less if none."""
        if self.phase is not Phase.BOUND or self._role == "receiver" or not self.pace.allows(now_s):
            return 0
        return self._settings.window - len(self._open)

    @property
    def open(self) -> int:
        """Returns how many messages are unanswered."""
        return len(self._open)

    def request(self, body: bytes, key: Hashable, now_s: float, *, is_new: bool = True) -> None:
        """Queues one part of a message. Its `Answered` has this `key`. `body` is everything after the PDU header.

        `is_new`: neither the part nor its message was tried before. If a repeat is throttled, the bind does not pause,
        because the limit may belong to the recipient's number.
        """
        sequence = self._next()
        self._out.append(HEADER.pack(16 + len(body), Command.SUBMIT_SM, 0, sequence) + body)
        self._open[sequence] = _Open(key, now_s, now_s + self._settings.timeout_s, is_new)
        self.pace.sent(now_s)

    def acknowledge(self, pdu: Pdu, status: Status = Status.OK) -> None:
        """Answers a `Delivered`. With a status other than OK, the centre keeps the message and delivers it again."""
        self._reply(Command(pdu.command | RESPONSE), pdu.sequence, status)

    def unbind(self, now_s: float) -> None:
        """Queues `unbind`. No more messages can be sent, and `Ended` follows the centre's answer."""
        if self.phase is Phase.BOUND:
            self.phase = Phase.UNBINDING
            self._out.append(encode(Pdu(Command.UNBIND, self._next())))
            self._due_s = now_s + self._settings.timeout_s

    def take(self) -> bytes:
        """Returns the octets to write now, in one piece."""
        out, self._out = b"".join(self._out), []
        return out

    def receive(self, data: bytes, now_s: float) -> list[Event]:
        """Handles received bytes and returns the events. Never raises."""
        if self.phase is Phase.ENDED:
            return []
        events: list[Event] = []
        try:
            for frame in self._frames.feed(data):
                self._lives(now_s)
                events += [*self._handle(frame, now_s), *self._let_go()]
        except PduError as error:  # no later frame can be found
            self._reply(Command.GENERIC_NACK, error.sequence, error.status)
            events += self._end(Reason.GARBAGE, GARBLED)
        return events

    def _lives(self, now_s: float) -> None:
        """Records that a whole frame arrived. Single bytes do not count: after a damaged length, all further bytes look
        like the rest of that frame and answer nothing.
        """
        self._heard_s = now_s
        if self.phase is Phase.BOUND:
            self._due_s = None

    def lost(self) -> list[Event]:
        """Ends the session because the connection is gone."""
        return self._end(Reason.GARBAGE if self._frames.half else Reason.CONNECTION, LOST)

    def tick(self, now_s: float) -> list[Event]:
        """Handles the time-outs. Times out unanswered messages, ends the session if the centre is silent, and sends
        `enquire_link` when it is due.
        """
        if self.phase is Phase.ENDED:
            return []
        if self._due_s is not None and now_s >= self._due_s:
            return self._end(Reason.TIMEOUT, TIMED_OUT)
        events, mute = self._overdue(now_s)
        if mute:
            return events + self._end(Reason.TIMEOUT, TIMED_OUT)
        events += self._let_go()
        if self.phase is Phase.BOUND and self._due_s is None and now_s - self._heard_s >= self._settings.enquire_s:
            self._out.append(encode(Pdu(Command.ENQUIRE_LINK, self._next())))
            self._due_s = now_s + self._settings.timeout_s
        return events

    def _bind(self) -> None:
        settings = self._settings
        fields: dict[str, int | str | bytes] = {
            "system_id": settings.system_id,
            "password": settings.password,
            "system_type": settings.system_type,
            "interface_version": INTERFACE_VERSION,
        }
        self._out.append(encode(Pdu(BINDS[self._role], self._next(), fields=fields)))

    def _next(self) -> int:
        while True:
            self._sequence = self._sequence % LAST_SEQUENCE + 1
            if self._sequence not in self._open and self._sequence not in self._late:
                return self._sequence

    def _overdue(self, now_s: float) -> tuple[list[Event], bool]:
        """Returns the `Answered` of timed-out messages, and whether nothing arrived since the last of them was written.

        A bind that still answers other messages is kept: the sequence number identifies a late answer.
        """
        events: list[Event] = []
        mute = False
        for sequence, waiting in list(self._open.items()):
            if now_s < waiting.due_s:
                break
            del self._open[sequence]
            self._late[sequence] = waiting.key
            events.append(Answered(waiting.key, TIMED_OUT))
            mute = self._heard_s <= waiting.written_s
        while len(self._late) > MOST_LATE:
            del self._late[next(iter(self._late))]
        return events, mute

    def _handle(self, frame: bytes, now_s: float) -> list[Event]:
        """Handles one frame. An unreadable frame is refused, and the session continues with the next one."""
        if self.phase is Phase.ENDED:
            return []
        try:
            pdu = decode(frame)
        except PduError as error:
            return self._unreadable(error)
        handler = self._handlers.get(pdu.command)
        if handler is not None:
            return handler(pdu, now_s)
        if not pdu.command & RESPONSE and pdu.command != Command.ALERT_NOTIFICATION:
            self._reply(Command.GENERIC_NACK, pdu.sequence, Status.INVALID_COMMAND)
        return []

    def _unreadable(self, error: PduError) -> list[Event]:
        if not error.command & RESPONSE:
            self._reply(Command.GENERIC_NACK, error.sequence, error.status)
            return []
        waiting = self._open.pop(error.sequence, None)
        if waiting is None:
            self.strays += 1
            return []
        return [Answered(waiting.key, GARBLED)]

    def _answer(self, pdu: Pdu, now_s: float) -> list[Event]:
        """Handles the answer to a message. `generic_nack` is one too."""
        waiting = self._open.pop(pdu.sequence, None)
        if waiting is not None:
            return [Answered(waiting.key, self._outcome(pdu, now_s, is_new=waiting.is_new))]
        if pdu.sequence in self._late and pdu.command == Command.SUBMIT_SM_RESP:
            return [Answered(self._late.pop(pdu.sequence), self._outcome(pdu, now_s, is_new=True), late=True)]
        self.strays += 1
        return []

    def _outcome(self, pdu: Pdu, now_s: float, *, is_new: bool) -> Outcome:
        if pdu.status == Status.OK:
            if pdu.command == Command.GENERIC_NACK:
                return GARBLED
            self.pace.accepted(now_s)
            message_id = pdu.text("message_id")
            return Outcome(Answer.ACCEPTED, message_id=message_id) if message_id else ACCEPTED
        if pdu.status in THROTTLES:
            self.pace.throttled(now_s, is_new=is_new)
        return refusal(pdu.status, self._settings.statuses)._replace(said=name_of(pdu.status))

    def _deliver(self, pdu: Pdu, _: float) -> list[Event]:
        return [Delivered(pdu)]

    def _enquired(self, pdu: Pdu, _: float) -> list[Event]:
        self._reply(Command.ENQUIRE_LINK_RESP, pdu.sequence)
        return []

    def _bound(self, pdu: Pdu, _: float) -> list[Event]:
        if self.phase is not Phase.BINDING:
            self.strays += 1
            return []
        self._due_s = None
        self.bind_status = pdu.status
        if pdu.status != Status.OK:
            return self._end(refusal(pdu.status, self._settings.statuses).reason, LOST)
        self.phase = Phase.BOUND
        return [Bound()]

    def _asked_to_leave(self, pdu: Pdu, _: float) -> list[Event]:
        """Handles the centre's `unbind`. The centre may still answer messages, so the reply waits for the last answer;
        otherwise open messages would stay unknown.
        """
        self.phase, self._unbind = Phase.LEAVING, pdu.sequence
        return []

    def _let_go(self) -> list[Event]:
        """Replies to the centre's `unbind` and ends the session, if no message is open."""
        if self.phase is not Phase.LEAVING or self._open:
            return []
        self._reply(Command.UNBIND_RESP, self._unbind)
        return self._end(Reason.NONE, LOST)

    def _left(self, _: Pdu, __: float) -> list[Event]:
        return self._end(Reason.NONE, LOST) if self.phase is Phase.UNBINDING else []

    def _reply(self, command: Command, sequence: int, status: int = Status.OK) -> None:
        self._out.append(encode(Pdu(command, sequence, status)))

    def _end(self, reason: Reason, outcome: Outcome) -> list[Event]:
        if self.phase is Phase.ENDED:
            return []
        self.phase = Phase.ENDED
        unanswered, self._open = self._open, {}
        return [*(Answered(waiting.key, outcome) for waiting in unanswered.values()), Ended(reason)]
