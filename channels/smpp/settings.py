"""The settings of one account at one SMS centre."""

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
NATIONAL = 2  # type of number, with any plan
SHORT: Numbering = (3, 0)  # "network specific": the type that carriers use for their short numbers
LETTERS: Numbering = (5, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SmppSettings:
    """The settings of one account. Raises `ValueError` if a value does not fit its field, or if settings conflict."""

    host: str
    port: int = 3550  # the port of SMPP over TLS; 2775 is the one without TLS
    tls: bool = True
    # An unencrypted connection to another machine exposes every number and text. Some carriers offer it in a VPN.
    plain_allowed: bool = False
    ca_file: str | None = None  # None: the system's authorities
    session: SessionSettings  # credentials and time-outs of each bind
    sender: str  # E.164, short number or letters
    sender_numbering: Numbering | None = None  # None: derived from the sender
    number_numbering: Numbering = INTERNATIONAL  # of the recipients' numbers
    service_type: str = ""
    calling_code: str = ""  # of the country, if the centre writes national numbers

    binds: int = 1  # number of sending binds; the carrier says how many an account may have
    # Number of extra binds that only receive. 0: the sending binds receive too (transceiver).
    receivers: int = 0
    connect_timeout_s: float = 5.0  # seconds until bound
    back_off_s: float = 0.5  # seconds before the first reconnect; doubled, with jitter
    back_off_max_s: float = 5.0  # seconds; finds a centre that returns within 15 s

    # How texts may be encoded. A national table needs `long = "udh"`.
    text: SmsSettings = field(default_factory=SmsSettings)
    # How to send a text of several segments: as parts with a header, or as one `message_payload`.
    long: Literal["udh", "payload"] = "udh"
    validity: Literal["relative", "absolute", "none"] = "relative"
    receipt_ids: IdForm = "same"
    remember: int = 300_000  # messages to match receipts to; 250 octets each
    # Seconds until a receipt that matches no message is reported without a tag.
    patience_s: float = 10.0
    languages: tuple[str, ...] = ()  # stop, help and start words of these languages and English count
    words: Mapping[str, Word] = field(default_factory=dict)  # the carrier's own words

    def __post_init__(self) -> None:
        if not (self.tls or self.plain_allowed or is_this_machine(self.host)):
            raise ValueError("an SMS centre on another machine needs tls, or plain_allowed")
        if min(self.binds, self.session.window) < 1 or self.receivers < 0:
            raise ValueError("an SMS channel has at least one bind that sends and a window of at least one")
        for name, size in LAYOUTS[Command.BIND_TRANSCEIVER]:
            cell(name, size, getattr(self.session, name, None))  # raises ValueError if the value does not fit its field
        cell("source_addr", 21, self.sender)
        if self.text.tables and self.long != "udh":
            raise ValueError(
                'national_tables needs long = "udh": a text in one piece has no header that could name the table'
            )

    @property
    def server(self) -> str:
        """Returns host and port."""
        return f"{self.host}:{self.port}"

    @property
    def roles(self) -> tuple[Role, ...]:
        """Returns one role for each bind, sending binds first. They are transceivers, or transmitters if there are
        extra receivers.
        """
        sends: Role = "transmitter" if self.receivers else "transceiver"
        receives: Role = "receiver"
        return (sends,) * self.binds + (receives,) * self.receivers


def numbering(sender: str) -> Numbering:
    """Returns type of number and numbering plan of a sender: international with a plus, short for other digits, else
    letters.
    """
    if sender.startswith("+"):
        return INTERNATIONAL
    return SHORT if sender.isdigit() else LETTERS
