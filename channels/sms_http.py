"""Text messages through a provider's HTTP API, in the shape of Twilio's (and the many that copy it).

API: twilio.com/docs/messaging/api/message-resource; error codes: twilio.com/docs/api/errors.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

from channels.base import MayWrite, Outcome, Prepared, Reason, Recipient, ReportState, SmsMessage
from channels.https import HttpsTransport
from channels.posting import PostSettings, Reply, post_each
from channels.sms_answers import outcome, status
from channels.text import Coding, SmsSettings, codings

# The provider refuses a longer body (error 21617).
TEXT_CHARACTERS = 1600

# What the provider allows in ValidityPeriod.
VALIDITY_MAX_S = 36_000

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSmsSettings:
    account: str  # the account's SID
    secret: str  # its auth token
    sender: str  # E.164, short code or letters
    endpoint: str = "https://api.twilio.com"
    callback_base: str | None = None  # status reports go to this URL + "/" + tag; None: no reports are asked for
    text: SmsSettings = field(
        default_factory=SmsSettings
    )  # how texts may be coded: the provider has no national tables
    ca_file: str | None = None  # None: the system's authorities
    connections: int = 32
    timeout_s: float = 15.0
    connect_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.endpoint.startswith("https://"):
            raise ValueError("the SMS endpoint must be https: every request carries the account's secret")


@dataclass(frozen=True, slots=True)
class SmsPayload:
    """The form without what differs per recipient."""

    form: bytes
    expires_s: int


class HttpSmsChannel:
    """One account. Implements `channels.base.Channel`, `Reporting` and `Texting`."""

    name = "sms"

    def __init__(self, settings: HttpSmsSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._transport = HttpsTransport(
            PostSettings(
                url=f"{settings.endpoint.rstrip('/')}/2010-04-01/Accounts/{settings.account}/Messages.json",
                ca_file=settings.ca_file,
                connections=settings.connections,
                timeout_s=settings.timeout_s,
                connect_timeout_s=settings.connect_timeout_s,
            )
        )
        credentials = base64.b64encode(f"{settings.account}:{settings.secret}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}", "Content-Type": FORM}

    async def open(self) -> None:
        await self._transport.open()

    async def close(self) -> None:
        await self._transport.close()

    def prepare(self, message: SmsMessage) -> Prepared:
        """Costs what the provider bills: segments. Raises `ValueError` for an empty text and one that is too long."""
        coding = self.codings(message)[0]
        text = coding.text
        if not 0 < len(text) <= TEXT_CHARACTERS:
            raise ValueError(f"an SMS has 1 to {TEXT_CHARACTERS} characters, not {len(text)}")
        form = urlencode({"From": self._settings.sender, "Body": text}).encode()
        return Prepared(SmsPayload(form, message.stamp.expires_s), cost=len(coding.parts))

    def codings(self, message: SmsMessage) -> list[Coding]:
        """Implements `channels.base.Texting`."""
        return codings(message.text, self._settings.text, message.names)

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """The validity period is what is left at this call."""
        payload: SmsPayload = prepared.payload
        left_s = int(payload.expires_s - self._clock())
        validity_s = min(max(1, left_s), VALIDITY_MAX_S)
        form = b"%b&ValidityPeriod=%d" % (payload.form, validity_s)
        answers = await post_each(
            self._transport, recipients, lambda one: form + self._for(one), self._headers, may_write
        )
        return [outcome(answer) if isinstance(answer, Reply) else answer for answer in answers]

    def read_report(self, form: Mapping[str, str]) -> tuple[ReportState, Reason, str]:
        """Implements `channels.base.Reporting`."""
        return *status(form), form.get("To", "")

    def _for(self, recipient: Recipient) -> bytes:
        spliced = f"&To={quote_plus(recipient.address)}"
        if self._settings.callback_base is not None:
            url = f"{self._settings.callback_base.rstrip('/')}/{recipient.tag}"
            spliced += f"&StatusCallback={quote_plus(url)}"
        return spliced.encode()
