"""Mobile push through Firebase Cloud Messaging, HTTP v1.

firebase-admin gives the credentials, the message and the error classes; its transport is not used, because it costs a
millisecond of processor per message. Guide: firebase.google.com/docs/cloud-messaging/scale-fcm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from channels.access_token import AccessToken
from channels.base import FAULT, MayWrite, Outcome, Prepared, PushMessage, Recipient
from channels.fcm_answers import outcome, token_refused
from channels.fcm_message import FcmPayload, body_for, encode
from channels.https import HttpsTransport, trust
from channels.login import Login, LoginState, reach
from channels.posting import PostSettings, Reply, Transport, outcome_of, post_each

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FcmSettings:
    credentials: (
        str | Mapping[str, str]
    )  # the service account: path of its JSON, or the content. It names the token endpoint
    project_id: str | None = None  # None: the service account's own
    endpoint: str = "https://fcm.googleapis.com"
    ca_file: str | None = None  # None: the system's authorities
    critical: bool = (
        False  # the app has Apple's entitlement for critical alerts: what is loud sounds on muted phones, too
    )
    connections: int = 800  # messages under way at once: with 80 ms an answer, 10,000/s
    timeout_s: float = 15.0  # FCM asks for at least 10
    connect_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.endpoint.startswith("https://"):
            raise ValueError("the FCM endpoint must be https: every request carries the account's access token")


class FcmChannel:
    """One Firebase project. Implements `channels.base.Channel`."""

    name = "push"

    def __init__(
        self, settings: FcmSettings, clock: Callable[[], float] = time.time, transport: Transport | None = None
    ) -> None:
        """`clock` answers UNIX seconds. Raises `OSError` or `ValueError` when the service account cannot be read."""
        self._settings = settings
        self._clock = clock
        self._token = AccessToken(settings.credentials, settings.ca_file, clock)
        project_id = settings.project_id or self._token.project_id
        self._transport = transport or HttpsTransport(
            PostSettings(
                url=f"{settings.endpoint.rstrip('/')}/v1/projects/{project_id}/messages:send",
                ca_file=settings.ca_file,
                connections=settings.connections,
                timeout_s=settings.timeout_s,
                connect_timeout_s=settings.connect_timeout_s,
            )
        )
        self._headers: tuple[str, dict[str, str]] = ("", {})

    async def open(self) -> None:
        await self._transport.open()

    async def close(self) -> None:
        await self._transport.close()
        await self._token.close()

    async def log_in(self) -> Login:
        """Fetch an access token, or use the present one, and reach FCM."""
        token = await self._token.get()
        if isinstance(token, Outcome):
            return self._token.fault or Login(LoginState.NOT_KNOWN)
        context = trust(self._settings.ca_file)
        return await reach(self._settings.endpoint, context, self._settings.connect_timeout_s)

    def prepare(self, message: PushMessage) -> Prepared:
        """Raises `ValueError` for a message FCM can never take."""
        return Prepared(encode(message, critical=self._settings.critical))

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """The time to live is what is left at this call."""
        payload: FcmPayload = prepared.payload
        pieces = payload.at(self._clock())
        answers = await self._post(pieces, recipients, may_write)
        refused = [i for i, answer in enumerate(answers) if isinstance(answer, Reply) and token_refused(answer)]
        if refused:  # once more, with another token
            again = await self._post(pieces, [recipients[i] for i in refused], may_write)
            for i, answer in zip(refused, again, strict=True):
                answers[i] = answer
        return [outcome_of(answer, outcome) for answer in answers]

    async def _post(
        self, pieces: tuple[bytes, bytes, bytes], recipients: Sequence[Recipient], may_write: MayWrite
    ) -> list[Reply | Outcome]:
        """A fault, as when somebody in between answers for Google, is the outcome of these: what is known of others is never lost."""
        try:
            return await self._posted(pieces, recipients, may_write)
        except Exception as fault:  # noqa: BLE001 whatever it is, it is told
            _log.error("what was to be sent could not be", exc_info=fault)
            return [FAULT] * len(recipients)

    async def _posted(
        self, pieces: tuple[bytes, bytes, bytes], recipients: Sequence[Recipient], may_write: MayWrite
    ) -> list[Reply | Outcome]:
        token = await self._token.get()
        if isinstance(token, Outcome):
            return [token] * len(recipients)
        answers = await post_each(
            self._transport, recipients, lambda one: body_for(pieces, one.address, one.tag),
            self._headers_for(token), may_write,
        )  # fmt: skip
        if any(isinstance(answer, Reply) and token_refused(answer) for answer in answers):
            self._token.refuse(token)
        return answers

    def _headers_for(self, token: str) -> Mapping[str, str]:
        if self._headers[0] != token:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=UTF-8"}
            self._headers = (token, headers)
        return self._headers[1]
