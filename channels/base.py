"""What every channel has in common: a message to prepare once, recipients to send it to, and an outcome for each.

A carrier's "no" is data, never an exception: `send` answers one `Outcome` per recipient, in their order, and raises only
for a fault of our own. There are three answers (accepted, retry, never) and two ways to have none: the carrier may or may
not have it (`UNKNOWN`), or nothing was written at all (`WITHHELD`).
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
    """How one send ended."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    NEVER = "never"
    UNKNOWN = "unknown"  # written, and no answer came: it may have arrived
    WITHHELD = "withheld"  # never written: `may_write` said no, or its call was over

    __hash__ = object.__hash__  # Python's own hashes the name each time, and answers are counted by the million


class Reason(enum.Enum):
    """Why: a closed set, so that it can be one byte in a ledger and a label in a metric. Values are never reused."""

    NONE = 0
    GONE = 1  # the address is dead, the carrier says so
    BAD_MESSAGE = 2  # the carrier refuses this message, whoever it is for
    BAD_ADDRESS = 3  # malformed or not of this carrier, but not declared dead
    THROTTLED = 4
    UNAVAILABLE = 5  # the carrier's own failure (5xx)
    TIMEOUT = 6
    CONNECTION = 7
    CREDENTIALS = 8
    GARBAGE = 9  # an answer that is not of the protocol
    BLOCKED = 10  # the recipient or the carrier's policy refuses
    FAULT = 11  # a fault of our own

    __hash__ = object.__hash__  # as `Answer`


class Subject(enum.Enum):
    """What an answer is about: the carrier or one recipient."""

    CARRIER = "carrier"  # the carrier itself, whatever the recipient is: no connection, no login, no sender accepted
    EITHER = "either"  # the carrier, or this one recipient: only several new recipients can tell
    RECIPIENT = "recipient"  # this recipient or this message, so the carrier works
    NOBODY = "nobody"  # nothing was written

    __hash__ = object.__hash__  # as `Answer`


#: How a carrier refused a message: a reply in words, or the status and the body of an HTTP answer.
Said = str | tuple[int, bytes]


class ReportState(enum.Enum):
    """How far a message has come, by its carrier's late report."""

    ACCEPTED = "accepted"  # on its way; nothing new
    DELIVERED = "delivered"
    SEEN = "seen"
    FAILED = "failed"


class Outcome(NamedTuple):
    """A carrier's answer for one recipient."""

    answer: Answer
    reason: Reason = Reason.NONE
    retry_after_s: float | None = None  # the carrier's own delay, if it named one
    message_id: str | None = None  # the carrier's name for what it accepted
    partly: bool = False  # it was not taken whole, and some of it may be on a screen by now
    of: Subject | None = None  # what it is about, if the protocol says; None: see `SUBJECTS`
    said: Said = ""  # as the carrier wrote it, so it may hold an address: show `words` in its place

    def __repr__(self) -> str:
        """Leaves out `said`, because a log or an exception may hold this text."""
        return f"Outcome{tuple(self[:-1])}"

    @property
    def subject(self) -> Subject:
        """Returns what this answer is about."""
        if self.of is not None:
            return self.of
        if (self.answer, self.reason) in OF_THE_CARRIER:
            return Subject.CARRIER
        return SUBJECTS[self.answer]

    def words(self, *secrets: str) -> str:
        """Returns what the carrier said on one line, "" if nothing is known, without mailboxes, numbers and the given secrets."""
        return clean(self.said if isinstance(self.said, str) else words_of_reply(*self.said), *secrets)

    @property
    def may_have_left(self) -> bool:
        """Somebody may see some of it, and the carrier bills it."""
        return self.partly or self.answer in {Answer.ACCEPTED, Answer.UNKNOWN}

    @property
    def address_gone(self) -> bool:
        """Only an answer that says so removes an address."""
        return self.answer is Answer.NEVER and self.reason is Reason.GONE


#: What an answer is about if its protocol does not say.
SUBJECTS = {
    Answer.ACCEPTED: Subject.RECIPIENT,
    Answer.NEVER: Subject.RECIPIENT,
    Answer.RETRY: Subject.EITHER,
    Answer.UNKNOWN: Subject.EITHER,
    Answer.WITHHELD: Subject.NOBODY,
}

#: No connection could be made; or what answered does not speak the protocol, whoever the recipient is: a proxy's page in HTML.
OF_THE_CARRIER = {(Answer.RETRY, Reason.CONNECTION), (Answer.UNKNOWN, Reason.GARBAGE)}

ACCEPTED = Outcome(Answer.ACCEPTED)
WITHHELD = Outcome(Answer.WITHHELD)
NOT_CONNECTED = Outcome(Answer.RETRY, Reason.CONNECTION)
#: Our own fault, somewhere between the address and the answer: it may have been sent.
FAULT = Outcome(Answer.UNKNOWN, Reason.FAULT)


class Loudness(enum.StrEnum):
    """How loud a message is on the phone, and in which lane it is sent."""

    LOUD = "loud"
    NORMAL = "normal"
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """What every payload carries, so that late and out-of-order messages are harmless. Times are UNIX seconds."""

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
        """Test or Exercise: must look different."""
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
    text: str  # as written; the carrier codes it by its settings
    names: tuple[str, ...] = ()  # in the text, which no coding may change


@dataclass(frozen=True, kw_only=True, slots=True)
class MailMessage:
    stamp: Stamp
    subject: str
    text: str
    html: str


Message = PushMessage | SmsMessage | MailMessage

#: Stands in the text and the page of a mail where each reader's own `Recipient.leave` goes. Whoever could write it in an alert would have
#: everybody's, in a link of their own: it is another in each process, and nobody is shown it.
OWN_LEAVE = secrets.token_hex(16)
#: What is shown in its place, in a preview and to a reader who has none.
NO_LEAVE = "your-own-link"


class Recipient(NamedTuple):
    """One way to reach one subscriber. `address` is secret; `tag` is not."""

    address: str  # token, E.164 number or short number, mailbox
    tag: str  # opaque and signed by the caller: names the reference in callbacks, VERP and Message-ID ([A-Za-z0-9_-]+)
    is_new: bool  # this message was never tried for this recipient; without a default, so that no sender forgets it
    leave: str | None = None  # such a tag, too: whoever shows it wants no more; where a message holds a link to leave
    is_alone: bool = False  # one single message, as to a person on call: a slow carrier may take its time


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message encoded once for a carrier: per recipient only the address and the tag are spliced in."""

    payload: Any  # the channel's own
    cost: int = 1  # per recipient, in the unit the carrier bills and limits (SMS segments)


MayWrite = Callable[[], bool]


class Channel(Protocol):
    """One account at one carrier."""

    name: str  # "push", "webpush", "sms", "mail"

    def prepare(self, message: Any) -> Prepared:
        """Encode once. Raises `ValueError` for a message this carrier can never take."""
        ...

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """Hand over to all, concurrently. `may_write` is asked right before each write to a socket; once it says
        no, nothing more is written and the rest is `WITHHELD`.
        """
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def log_in(self) -> Login:
        """Connect and log in once, without sending a message. The channel must be open. Does not raise for a fault of the carrier or the
        network. A channel that stays bound returns what its binds found.
        """
        ...


@runtime_checkable
class Reporting(Protocol):
    """A channel whose carrier posts late reports to a URL of ours: only the channel knows its carrier's words."""

    def read_report(self, form: Mapping[str, str]) -> tuple[ReportState, Reason, str]:
        """What a report says, and of whose address ("" where it names none). Raises `ValueError` when it says nothing that we know."""
        ...


@runtime_checkable
class Binding(Protocol):
    """A channel that writes over binds, of which its carrier allows so many: it may let in one process of ours and refuse another. It tries
    to bind by itself, whether or not anything is sent.
    """

    def is_bound(self) -> bool:
        """Whether it is let in now."""
        ...

    def bind_soon(self) -> None:
        """Do not wait until the next attempt is due: a place has become free."""
        ...


@runtime_checkable
class Sharing(Protocol):
    """A channel with one limit of connections for the whole installation. Each process gets a share of them."""

    @property
    def connections(self) -> int:
        """The limit of the installation."""
        ...

    def share(self, connections: int) -> None:
        """Sets the share of this process. The channel ends connections above it when they carry nothing, and answers `WITHHELD` if the
        share is 0.
        """
        ...

    def held(self) -> int:
        """Returns the connections of this process, including those that open or close."""
        ...

    def is_connected(self) -> bool:
        """Whether a connection of this process is open and the carrier answered lately."""
        ...


@runtime_checkable
class ReportingById(Protocol):
    """A channel whose carrier's reports name a message by the carrier's own id alone."""

    def names_of(self, message_id: str) -> tuple[str, ...]:
        """Of the id of an outcome, one name for each part, as reports speak of it."""
        ...


@runtime_checkable
class Texting(Protocol):
    """A channel of text messages."""

    def codings(self, message: SmsMessage) -> list[Coding]:
        """Returns the ways to send a message that the settings allow. The carrier uses the first."""
        ...


@runtime_checkable
class Subscribed(Protocol):
    """A channel whose messages are for those who subscribed with our key."""

    @property
    def public_key(self) -> str:
        """What they subscribe with, in base64url."""
        ...


@runtime_checkable
class Apart(Protocol):
    """A channel whose recipients are with servers of their own, which it heeds one by one: what one of them says is not the carrier's word."""

    def server_of(self, address: str) -> str:
        """Which it is, whatever the address holds: nothing secret."""
        ...
