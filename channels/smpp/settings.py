"""One account at one SMS centre: what can be set, and why it can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from channels.login import is_this_machine
from channels.smpp.pdu import LAYOUTS, Command, cell
from channels.smpp.receipts import IdForm
from channels.smpp.session import Role, SessionSettings
from channels.smpp.words import Word
from channels.text import SmsSettings

#: Type of number and numbering plan (sections 5.2.5 and 5.2.6).
Numbering = tuple[int, int]
INTERNATIONAL: Numbering = (1, 1)
NATIONAL = 2  # type of number, whatever the plan
SHORT: Numbering = (3, 0)  # "network specific": what carriers give their own short numbers
LETTERS: Numbering = (5, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SmppSettings:
    host: str
    port: int = 3550  # the port of SMPP over TLS; 2775 is the plain one
    tls: bool = True
    plain_allowed: bool = (
        False  # plain beyond this machine shows every number and text; some carriers offer it inside a VPN
    )
    ca_file: str | None = None  # None: the system's authorities
    session: SessionSettings  # who we are, and how each bind goes about it
    sender: str  # E.164, short number or letters
    sender_numbering: Numbering | None = None  # None: by what the sender is
    number_numbering: Numbering = INTERNATIONAL  # of the people we write to
    service_type: str = ""
    calling_code: str = ""  # of the country whose numbers the centre writes as they are dialled there

    binds: int = 1  # that send; carriers say how many an account may have
    receivers: int = 0  # 0: the binds that send receive too (transceiver); else so many binds of their own
    connect_timeout_s: float = 5.0  # until bound
    back_off_s: float = 0.5  # before the first new attempt; doubled, with jitter
    back_off_max_s: float = 5.0  # so that a centre that returns is found within 15 s

    text: SmsSettings = field(
        default_factory=SmsSettings
    )  # how texts may be coded; a national table needs `long = "udh"`
    long: Literal["udh", "payload"] = "udh"  # more than one segment: parts with a header, or one `message_payload`
    validity: Literal["relative", "absolute", "none"] = "relative"
    receipt_ids: IdForm = "same"
    remember: int = 300_000  # messages whose receipt can still be told apart; 250 octets each
    patience_s: float = 10.0  # until a receipt for no message of ours is told without a tag
    languages: tuple[str, ...] = ()  # whose words for stop, help and start count; English always does
    words: Mapping[str, Word] = field(default_factory=dict)  # the carrier's own

    def __post_init__(self) -> None:
        if not (self.tls or self.plain_allowed or is_this_machine(self.host)):
            raise ValueError("an SMS centre on another machine needs tls, or plain_allowed")
        if min(self.binds, self.session.window) < 1 or self.receivers < 0:
            raise ValueError("an SMS channel has at least one bind that sends and a window of at least one")
        for name, size in LAYOUTS[Command.BIND_TRANSCEIVER]:
            cell(name, size, getattr(self.session, name, None))  # raises for what no centre could be told
        cell("source_addr", 21, self.sender)
        if self.text.tables and self.long != "udh":
            raise ValueError(
                'national_tables needs long = "udh": a text in one piece has no header that could name the table'
            )

    @property
    def server(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    @property
    def roles(self) -> tuple[Role, ...]:
        """One of each bind."""
        sends: Role = "transmitter" if self.receivers else "transceiver"
        receives: Role = "receiver"
        return (sends,) * self.binds + (receives,) * self.receivers


def numbering(sender: str) -> Numbering:
    """What kind of number a sender is."""
    if sender.startswith("+"):
        return INTERNATIONAL
    return SHORT if sender.isdigit() else LETTERS
