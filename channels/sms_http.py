"""Sends SMS through a provider's HTTP API in Twilio's form, which many providers copy.

API: twilio.com/docs/messaging/api/message-resource; error codes: twilio.com/docs/api/errors.
"""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

import aiohttp

from channels.base import Answer, MayWrite, Outcome, Prepared, Reason, Recipient, ReportState, SmsMessage, Subject
from channels.https import HttpsTransport
from channels.login import Login, LoginState, fault_of_https, server_of, words_of_reply
from channels.posting import PostSettings, Reply, outcome_of, post_each
from channels.sms_answers import outcome, status
from channels.text import Coding, SmsSettings, codings

#: After this many unknown answers since the last clear one, a process sends one message of a chunk first.
ENOUGH = 10


class Unknowns:
    """Counts the unknown answers of one carrier since it last accepted or refused a recipient, over all chunks of this
    process.

    A message with an unknown answer may never be sent again. So alertd must not send every message to a proxy that
    answers with a page in the carrier's place.
    """

    def __init__(self) -> None:
        self._count = 0

    @property
    def are_enough(self) -> bool:
        return self._count >= ENOUGH

    def hear(self, outcome: Outcome) -> None:
        """Records an answer as soon as it comes."""
        if outcome.answer is Answer.UNKNOWN:
            self._count += 1
        elif outcome.subject is Subject.RECIPIENT:
            self._count = 0


# The provider refuses a longer body (error 21617).
TEXT_CHARACTERS = 1600

# The provider's maximum ValidityPeriod.
VALIDITY_MAX_S = 36_000

FORM = "application/x-www-form-urlencoded"

#: The result of a login by the HTTP status of the request for the account.
_BY_ACCOUNT_STATUS = {
    200: LoginState.WORKS,
    401: LoginState.LOGIN_REFUSED,
    403: LoginState.LOGIN_REFUSED,
    404: LoginState.NOT_KNOWN,
    405: LoginState.NOT_KNOWN,
    429: LoginState.BUSY,
}
_MOST_OF_ACCOUNT = 4_096


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSmsSettings:
    """The settings of one account. Raises `ValueError` if the endpoint is not https."""

    account: str  # the account's SID
    secret: str  # its auth token
    sender: str  # E.164, short code or letters
    endpoint: str = "https://api.twilio.com"
    # Status reports go to this URL + "/" + tag. None: requests no reports.
    callback_base: str | None = None
    # How texts may be encoded. The provider has no national tables.
    text: SmsSettings = field(default_factory=SmsSettings)
    ca_file: str | None = None  # None: the system's authorities
    connections: int = 32
    timeout_s: float = 15.0
    connect_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.endpoint.startswith("https://"):
            raise ValueError("the SMS endpoint must be https: every request carries the account's secret")


@dataclass(frozen=True, slots=True)
class SmsPayload:
    """The form, without the number and the callback of a recipient."""

    form: bytes
    expires_s: int


class HttpSmsChannel:
    """One account. Implements `channels.base.Channel`, `Reporting` and `Texting`."""

    name = "sms"

    def __init__(self, settings: HttpSmsSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._unknowns = Unknowns()
        self._account_url = f"{settings.endpoint.rstrip('/')}/2010-04-01/Accounts/{settings.account}"
        self._transport = HttpsTransport(
            PostSettings(
                url=f"{self._account_url}/Messages.json",
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

    async def log_in(self) -> Login:
        """Requests the account, which is free of charge (twilio.com/docs/iam/api/account), and returns the result. A
        provider that copies the API may lack this call. Its account is then not verified before the first message.
        """
        settings, server = self._settings, server_of(self._account_url)
        within = aiohttp.ClientTimeout(total=settings.timeout_s, sock_connect=settings.connect_timeout_s)
        context = ssl.create_default_context(cafile=settings.ca_file)  # aiohttp only speaks HTTP/1.1
        try:
            async with (
                aiohttp.ClientSession(timeout=within, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.get(
                    f"{self._account_url}.json", headers=self._headers, ssl=context, allow_redirects=False
                ) as answer,
            ):
                status, body = answer.status, await answer.content.read(_MOST_OF_ACCOUNT)
        except (aiohttp.ClientError, OSError) as error:
            return await fault_of_https(error, self._account_url, settings.connect_timeout_s)
        state = _BY_ACCOUNT_STATUS.get(status, LoginState.BUSY if status > 499 else LoginState.WRONG_PROTOCOL)
        said = "" if state is LoginState.WORKS else words_of_reply(status, body, settings.account, settings.secret)
        return Login(state, server, said)

    def prepare(self, message: SmsMessage) -> Prepared:
        """Returns the prepared message. Its cost is the number of segments, which the provider bills. Raises
        `ValueError` for an empty text or one of more than 1,600 characters.
        """
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
        """Sends the message. The validity period is the time left at this call. After many unknown answers, sends one
        message first, and the others only if its answer is clear.
        """
        payload: SmsPayload = prepared.payload
        left_s = int(payload.expires_s - self._clock())
        validity_s = min(max(1, left_s), VALIDITY_MAX_S)
        form = b"%b&ValidityPeriod=%d" % (payload.form, validity_s)
        tries = 1 if self._unknowns.are_enough else 0
        tried = await self._post(form, recipients[:tries], may_write)
        return tried + await self._post(form, recipients[tries:], lambda: may_write() and not self._unknowns.are_enough)

    async def _post(self, form: bytes, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        answers = await post_each(
            self._transport, recipients, lambda one: form + self._for(one), self._headers, may_write, self._hear
        )
        return [outcome_of(answer, outcome) for answer in answers]

    def _hear(self, answer: Reply | Outcome) -> None:
        self._unknowns.hear(outcome_of(answer, outcome))

    def read_report(self, form: Mapping[str, str]) -> tuple[ReportState, Reason, str]:
        """Implements `channels.base.Reporting`."""
        return *status(form), form.get("To", "")

    def _for(self, recipient: Recipient) -> bytes:
        """Returns the recipient's part of the form: the number, and the URL for status reports."""
        spliced = f"&To={quote_plus(recipient.address)}"
        if self._settings.callback_base is not None:
            url = f"{self._settings.callback_base.rstrip('/')}/{recipient.tag}"
            spliced += f"&StatusCallback={quote_plus(url)}"
        return spliced.encode()
