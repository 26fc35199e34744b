"""The interface of all channels: prepare a message once, send it to recipients, and return an outcome for each.

A carrier's refusal is data, not an exception. `send` returns one `Outcome` per recipient, in their order, and only
raises for a fault of alertd. A carrier has three answers: accepted, retry, never. Without an answer, either the carrier
may have the message (`UNKNOWN`), or nothing was written (`WITHHELD`).
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from channels.login import Login, clean, words_of_reply
from channels.text import Coding


class Answer(enum.Enum):
    """The result of one send."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    NEVER = "never"
    UNKNOWN = "unknown"  # written, but no answer came: it may have arrived
    WITHHELD = "withheld"  # never written: `may_write` refused, or the call was cancelled

    __hash__ = object.__hash__  # Python's own hashes the name each time, and answers are counted by the million


class Reason(enum.Enum):
    """The reason of an answer. The set is closed: a value is one byte in the ledger and a label in metrics. Values are
    never reused.
    """

    NONE = 0
    GONE = 1  # the carrier says that the address is dead
    BAD_MESSAGE = 2  # the carrier refuses this message for any recipient
    BAD_ADDRESS = 3  # malformed or not of this carrier, but not declared dead
    THROTTLED = 4
    UNAVAILABLE = 5  # the carrier's own failure (5xx)
    TIMEOUT = 6
    CONNECTION = 7
    CREDENTIALS = 8
    GARBAGE = 9  # the answer does not follow the protocol
    BLOCKED = 10  # the recipient or the carrier's policy refuses
    FAULT = 11  # a fault of alertd

    __hash__ = object.__hash__  # as in `Answer`


class Subject(enum.Enum):
    """The subject of an answer: the carrier or one recipient."""

    CARRIER = "carrier"  # the carrier, for any recipient: no connection, no login, or sender refused
    EITHER = "either"  # the carrier or this recipient: only answers for several new recipients show which
    RECIPIENT = "recipient"  # this recipient or this message; the carrier works
    NOBODY = "nobody"  # nothing was written

    __hash__ = object.__hash__  # as in `Answer`


#: A carrier's refusal in its own form: a text reply, or status and body of an HTTP answer.
RawAnswer = str | tuple[int, bytes]


class ReportState(enum.Enum):
    """The state of a message in its carrier's later report."""

    ACCEPTED = "accepted"  # in transit; nothing new
    DELIVERED = "delivered"
    SEEN = "seen"
    FAILED = "failed"


class Outcome(NamedTuple):
    """A carrier's answer for one recipient."""

    answer: Answer
    reason: Reason = Reason.NONE
    retry_after_s: float | None = None  # the carrier's own delay in seconds, if it gave one
    message_id: str | None = None  # the carrier's id of an accepted message
    partly: bool = False  # not accepted as a whole; a part of it may be on a screen
    of: Subject | None = None  # the subject, if the protocol gives it; None: `subject` derives it
    said: RawAnswer = ""  # in the carrier's words, which may hold an address: show `words` instead

    def __repr__(self) -> str:
        """Leaves out `said`: a log or an exception may contain this text."""
        return f"Outcome{tuple(self[:-1])}"

    @property
    def subject(self) -> Subject:
        """Returns `of` if it is set. Otherwise derives the subject from answer and reason: see `OF_THE_CARRIER`, then
        `SUBJECTS`.
        """
        if self.of is not None:
            return self.of
        if (self.answer, self.reason) in OF_THE_CARRIER:
            return Subject.CARRIER
        return SUBJECTS[self.answer]

    def words(self, *secrets: str) -> str:
        """Returns the carrier's words on one line of at most 200 characters, or "" if there are none. Hides mailboxes,
        telephone numbers, tokens and the given secrets.
        """
        return clean(self.said if isinstance(self.said, str) else words_of_reply(*self.said), *secrets)

    @property
    def may_have_left(self) -> bool:
        """Returns whether a person may see a part of the message. The carrier then bills it."""
        return self.partly or self.answer in {Answer.ACCEPTED, Answer.UNKNOWN}

    @property
    def address_gone(self) -> bool:
        """Returns whether the carrier says that the address is dead. No other answer removes an address."""
        return self.answer is Answer.NEVER and self.reason is Reason.GONE


#: The subject of an answer if its protocol does not give one.
SUBJECTS = {
    Answer.ACCEPTED: Subject.RECIPIENT,
    Answer.NEVER: Subject.RECIPIENT,
    Answer.RETRY: Subject.EITHER,
    Answer.UNKNOWN: Subject.EITHER,
    Answer.WITHHELD: Subject.NOBODY,
}

#: Answers about the carrier, for any recipient: the connection failed, or the peer does not speak the protocol (a
#: proxy's HTML page).
OF_THE_CARRIER = {(Answer.RETRY, Reason.CONNECTION), (Answer.UNKNOWN, Reason.GARBAGE)}

ACCEPTED = Outcome(Answer.ACCEPTED)
WITHHELD = Outcome(Answer.WITHHELD)
NOT_CONNECTED = Outcome(Answer.RETRY, Reason.CONNECTION)
#: A fault of alertd while it sent a message or read the answer: the message may have been sent.
FAULT = Outcome(Answer.UNKNOWN, Reason.FAULT)


class Loudness(enum.StrEnum):
    """How loud a message is on the phone. It also selects the lane of the queue in which the message waits."""

    LOUD = "loud"
    NORMAL = "normal"
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """The data in every payload that makes late and out-of-order messages harmless. Times are UNIX seconds."""

    chain: str
    version: str
    sent_s: int
    expires_s: int
    loudness: Loudness
    language: str  # BCP 47
    sequence: int = 1  # of the version in its chain
    kind: str = "general"
    occasion: str = "alert"
    status: str = "Actual"

    @property
    def test(self) -> bool:
        """Returns whether the message is a Test or Exercise, which must look different from a real alert."""
        return self.status != "Actual"


@dataclass(frozen=True, kw_only=True, slots=True)
class PushMessage:
    stamp: Stamp
    title: str
    body: str
    url: str | None = None
    image_url: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SmsMessage:
    stamp: Stamp
    text: str  # original text; the carrier encodes it by its settings
    names: tuple[str, ...] = ()  # names in the text that no encoding may change


@dataclass(frozen=True, kw_only=True, slots=True)
class MailMessage:
    stamp: Stamp
    subject: str
    text: str
    html: str


Message = PushMessage | SmsMessage | MailMessage

#: Placeholder in the text and HTML of a mail for the recipient's own `Recipient.leave`, the tag of the unsubscribe
#: link. If an author could write the placeholder in an alert, a link could collect the `leave` of every recipient. So
#: it is random in each process, and never shown.
OPT_OUT_PLACEHOLDER = secrets.token_hex(16)
#: Replaces the placeholder in a preview and for a recipient without `leave`.
SAMPLE_OPT_OUT = "your-own-link"


class Recipient(NamedTuple):
    """One way to reach one subscriber. `address` is secret; `tag` is not."""

    address: str  # token, E.164 number or short number, mailbox
    tag: str  # opaque, signed by the caller: names the reference in callbacks, VERP and Message-ID ([A-Za-z0-9_-]+)
    # Whether this message was never tried for this recipient. It has no default, so that no caller forgets it.
    is_new: bool
    # A signed tag for the unsubscribe link, if the message has one. It proves the recipient's opt-out.
    leave: str | None = None
    is_alone: bool = False  # a single message, as to a person on call: it may wait for a slow carrier


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message encoded once for a carrier. Only the address and the tag are inserted for each recipient."""

    payload: Any  # each channel has its own type
    cost: int = 1  # per recipient, in the unit that the carrier bills and limits (SMS segments)


#: Returns whether a message may still be written. The answer can become False at any time, for instance after a stop.
MayWrite = Callable[[], bool]


class Channel(Protocol):
    """One account at one carrier."""

    name: str  # "push", "webpush", "sms", "mail"

    def prepare(self, message: Any) -> Prepared:
        """Encodes the message once. Raises `ValueError` for a message that this carrier can never accept."""
        ...

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """Sends to all recipients concurrently, and returns their outcomes in their order. Calls `may_write` right
        before each write to a socket. Once it returns False, nothing more is written, and the other outcomes are
        `WITHHELD`.
        """
        ...

    async def open(self) -> None:
        """Prepares the channel for sending. Does not wait for a connection."""
        ...

    async def close(self) -> None:
        """Ends the channel's connections and tasks."""
        ...

    async def log_in(self) -> Login:
        """Connects and logs in once, sends no message, and returns whether that works or why not. The channel must be
        open. Does not raise for a fault of the carrier or the network. A channel with binds (SMPP) only returns their
        state.
        """
        ...


@runtime_checkable
class Reporting(Protocol):
    """A channel with a carrier that posts later reports to a URL of alertd. Only the channel knows the carrier's
    format.
    """

    def read_report(self, form: Mapping[str, str]) -> tuple[ReportState, Reason, str]:
        """Returns state, reason and address of a report; the address is "" if it has none. Raises `ValueError` if its
        content is not known.
        """
        ...


@runtime_checkable
class Binding(Protocol):
    """A channel that writes over binds. Its carrier limits their number, so it may accept one process of alertd and
    refuse another. It binds by itself, even if nothing is sent.
    """

    def is_bound(self) -> bool:
        """Returns whether this process holds a bind to the carrier now."""
        ...

    def bind_soon(self) -> None:
        """Makes the next attempt to bind at once instead of at its due time. Called when no process is bound any more,
        so that the carrier has a free bind.
        """
        ...


@runtime_checkable
class Sharing(Protocol):
    """A channel with one limit of connections for the whole installation. Each process gets a share of them."""

    @property
    def connections(self) -> int:
        """Returns the maximum number of connections of the whole installation."""
        ...

    def share(self, connections: int) -> None:
        """Sets how many connections this process may have. The channel ends idle connections above that number. With
        0, the outcome of every message is `WITHHELD`, unless a connection is still open.
        """
        ...

    def held(self) -> int:
        """Returns how many connections this process has, including those that it is opening or closing."""
        ...

    def is_connected(self) -> bool:
        """Returns whether a connection of this process is open and the carrier answered recently."""
        ...


@runtime_checkable
class ReportingById(Protocol):
    """A channel with a carrier whose reports identify a message only by the carrier's own id."""

    def names_of(self, message_id: str) -> tuple[str, ...]:
        """Returns the ids of the parts of a message, in the form of the reports. `message_id` is from its outcome."""
        ...


@runtime_checkable
class Texting(Protocol):
    """A channel for SMS."""

    def codings(self, message: SmsMessage) -> list[Coding]:
        """Returns the ways to send the message's text that the settings allow, at least one: each with its encoding,
        its table and its text, which may be transliterated. The channel sends the first, which has the fewest segments.
        """
        ...


@runtime_checkable
class Subscribed(Protocol):
    """A channel to browsers that subscribed with alertd's key."""

    @property
    def public_key(self) -> str:
        """Returns the key for subscriptions, in base64url."""
        ...


@runtime_checkable
class MultiServer(Protocol):
    """A channel that sends to several independent servers. It pauses them one by one, because a failure of one server
    is not the carrier's.
    """

    def server_of(self, address: str) -> str:
        """Returns the host of the server that an address names, with its port if the address has one. Accepts any text,
        and returns "" if it names no server. The result contains nothing secret.
        """
        ...

    def use(self, addresses: Sequence[str]) -> None:
        """Makes `log_in` connect to the servers of these addresses, of which some may be invalid. Until an address is
        known, `log_in` returns NOT_KNOWN.
        """
        ...
