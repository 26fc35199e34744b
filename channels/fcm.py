"""Mobile push through Firebase Cloud Messaging, HTTP v1.

firebase-admin provides the credentials, the message and the error classes. Its transport is not used, because it costs
a millisecond of processor time per message. Guide: firebase.google.com/docs/cloud-messaging/scale-fcm.

`encode` encodes a message once, in pieces. `body_for` then inserts each recipient's address, acknowledgement tag and
time to live between the pieces, as bytes. Tables hold the meaning of answers
(firebase.google.com/docs/cloud-messaging/error-codes). Only 404 with UNREGISTERED says that a token is dead.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from firebase_admin import messaging

from channels.access_token import AccessToken
from channels.base import (
    FAULT,
    Answer,
    Loudness,
    MayWrite,
    Outcome,
    Prepared,
    PushMessage,
    Reason,
    Recipient,
    Subject,
)
from channels.https import HttpsTransport, trust
from channels.login import Login, LoginState, reach
from channels.posting import COMMON, PostSettings, Reply, Transport, json_object, outcome_of, post_each, refusal
from channels.push_content import data_of, fitted, inside_string

BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"

# The message fields that can hold the recipient.
TARGETS = ("message.token", "message.fid")

# Answer and reason by HTTP status and by firebase-admin's class for the FcmError in the body. Both must match.
BY_FCM_ERROR: dict[tuple[int, type[Exception]], tuple[Answer, Reason]] = {
    (404, messaging.UnregisteredError): (Answer.NEVER, Reason.GONE),
    # The token belongs to another project; alertd's project may be the wrong one.
    (403, messaging.SenderIdMismatchError): (Answer.NEVER, Reason.BAD_ADDRESS),
    (401, messaging.ThirdPartyAuthError): (Answer.RETRY, Reason.CREDENTIALS),  # the APNs key in FCM's console is wrong
}

# Answer and reason by HTTP status, for all other refusals.
BY_STATUS = {**COMMON, 403: (Answer.RETRY, Reason.CREDENTIALS)}

# Statuses below 500 that may concern the project. A 429 may be the project's quota or one device's.
MAYBE_OF_THE_PROJECT = frozenset({401, 403, 404, 429})


class _Taken(msgspec.Struct):
    name: str


_taken = msgspec.json.Decoder(_Taken)  # not `json`, which takes five times as long for each message

# A 200 that is not FCM's: an intermediary answered, before or after FCM accepted the message. It may have arrived.
NOT_FCM = Outcome(Answer.UNKNOWN, Reason.GARBAGE)


def outcome(reply: Reply) -> Outcome:
    """Returns the outcome of one answer. Never raises, for any body."""
    if reply.status == 200:  # FCM answers {"name": "projects/P/messages/ID"}
        try:
            return Outcome(Answer.ACCEPTED, message_id=_taken.decode(reply.body).name)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # invalid UTF-8 does not raise DecodeError
            return NOT_FCM
    error = _error(reply.body)
    answer, reason = _refused(reply.status, error)
    refused = refusal(reply, answer, reason)
    is_of_one = bool(error) and 400 <= reply.status < 500 and reply.status not in MAYBE_OF_THE_PROJECT
    return refused._replace(of=Subject.RECIPIENT) if is_of_one and answer is Answer.RETRY else refused


def token_refused(reply: Reply) -> bool:
    """Returns whether FCM refused the access token. A refused APNs key of the project does not count: another token
    would not help.
    """
    return reply.status == 401 and _fcm_error(_error(reply.body)) is not messaging.ThirdPartyAuthError


def _refused(status: int, error: dict[str, Any]) -> tuple[Answer, Reason]:
    """Returns answer and reason of a refusal. `error` is the error object of `_error`."""
    kind = _fcm_error(error)
    if kind is not None and (status, kind) in BY_FCM_ERROR:
        return BY_FCM_ERROR[status, kind]
    # A 400 without a cause is not final: the message is tried again.
    if status == 400 and error and all(one.get("errorCode") != "UNSPECIFIED_ERROR" for one in error["details"]):
        return Answer.NEVER, _fault(error)
    return BY_STATUS.get(status, (Answer.UNKNOWN if status > 500 else Answer.RETRY, Reason.GARBAGE))


def _fcm_error(error: dict[str, Any]) -> type[Exception] | None:
    """Returns firebase-admin's class for the FcmError in an error object, or None without one."""
    if not all(isinstance(detail.get("errorCode", ""), str) for detail in error.get("details", ())):
        return None
    kind: type[Exception] | None = messaging._MessagingService._build_fcm_error(error)  # noqa: SLF001 a test checks it
    return kind


def _fault(error: dict[str, Any]) -> Reason:
    """Returns the reason of a 400: BAD_ADDRESS if BadRequest names the recipient's field, BAD_MESSAGE for another
    field. Without BadRequest, any details mean a malformed token, because FCM answers that with INVALID_ARGUMENT.
    """
    requests = [detail for detail in error["details"] if detail.get("@type") == BAD_REQUEST]
    if not requests:
        return Reason.BAD_ADDRESS if error["details"] else Reason.BAD_MESSAGE
    violations = requests[0].get("fieldViolations")
    listed = violations if isinstance(violations, list) else []
    fields = [violation.get("field") for violation in listed if isinstance(violation, dict)]
    return Reason.BAD_ADDRESS if any(field in TARGETS for field in fields) else Reason.BAD_MESSAGE


def _error(body: bytes) -> dict[str, Any]:
    """Returns the error object with its `details` as a list of objects, or an empty one if the answer is not FCM's."""
    error = json_object(body).get("error")
    if not isinstance(error, dict):
        return {}
    details = error.get("details")
    listed = details if isinstance(details, list) else []
    return {**error, "details": [detail for detail in listed if isinstance(detail, dict)]}


# Maximum bytes of a message for FCM ("Message payload size limit"). alertd counts the whole JSON with its keys, which
# is always more than FCM counts.
PAYLOAD_BYTES = 4096

# Bytes reserved within PAYLOAD_BYTES for the tag, which differs for each recipient.
TAG_BYTES = 128

# FCM's longest time to live, four weeks in seconds. FCM refuses a longer one.
TTL_MAX_S = 2_419_200

# APNs refuses a longer apns-collapse-id.
COLLAPSE_ID_BYTES = 64

# A Firebase installation ID, which firebase-admin 7.7 calls `fid` and prefers to a token. A token is longer and has a
# colon.
INSTALLATION = re.compile(r"[cdef][A-Za-z0-9_-]{21}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sound:
    """The settings of one loudness for each phone system."""

    android_priority: str  # when FCM wakes the phone
    notification_priority: str  # how Android shows it
    channel_id: str  # the app creates these notification channels
    apns_priority: str
    interruption_level: str
    sound: str | None
    critical: bool = False


SOUNDS = {
    Loudness.LOUD: Sound("high", "max", "alert-loud", "10", "time-sensitive", "default"),
    Loudness.NORMAL: Sound("high", "high", "alert-normal", "10", "active", "default"),
    Loudness.SILENT: Sound("normal", "low", "alert-silent", "5", "passive", None),
}

# Sounds on a muted phone. Needs Apple's entitlement for the app, and the user's consent.
CRITICAL = replace(SOUNDS[Loudness.LOUD], interruption_level="critical", critical=True)


@dataclass(frozen=True, slots=True)
class FcmPayload:
    """The request body in four pieces. The time to live, the tag, and the recipient's field with its value go between
    them.
    """

    pieces: tuple[bytes, bytes, bytes, bytes]
    expires_s: int

    def at(self, now_s: float) -> tuple[bytes, bytes, bytes]:
        """Returns the pieces for one chunk, with the time to live that is left at `now_s`."""
        ttl_s = min(max(0, int(self.expires_s - now_s)), TTL_MAX_S)
        before_ttl, before_ack, before_target, end = self.pieces
        return (b"%b%ds%b" % (before_ttl, ttl_s, before_ack), before_target, end)


def body_for(pieces: tuple[bytes, bytes, bytes], address: str, tag: str) -> bytes:
    """Returns the request body for one recipient. Puts an installation ID into `fid`, any other address into `token`.
    Escapes the address, so that it cannot end its JSON string.
    """
    head, before_target, end = pieces
    target = b'fid":"' if INSTALLATION.fullmatch(address) else b'token":"'
    return b"".join((head, inside_string(tag), before_target, target, inside_string(address), end))


def encode(message: PushMessage, *, critical: bool = False) -> FcmPayload:
    """Encodes the message once. If it is too long, shortens or removes the least important members; the title stays.
    `critical` applies to loud messages.

    Raises `ValueError` if it does not fit even without its body, or if its chain is not a valid collapse id.
    """
    if not 0 < len(message.stamp.chain.encode()) <= COLLAPSE_ID_BYTES:
        raise ValueError("the chain's name is empty or longer than an APNs collapse id")
    ttl, ack, target = (secrets.token_hex(16) for _ in range(3))  # unguessable, so that no text can contain one
    rest = _request(message, critical, ttl=ttl, ack=ack, target=target)
    # The marks are longer than the values in their places, except the tag: for it, `TAG_BYTES` are kept free.
    if len(rest) > PAYLOAD_BYTES - TAG_BYTES:
        lighter = fitted(message, PAYLOAD_BYTES, lambda one: _size(one, critical))
        rest = _request(lighter, critical, ttl=ttl, ack=ack, target=target)
    pieces: list[bytes] = []
    for mark in (ttl, ack, f'{target}":"'):
        piece, _, rest = rest.partition(mark.encode())
        pieces.append(piece)
    return FcmPayload((pieces[0], pieces[1], pieces[2], rest), message.stamp.expires_s)


def _request(message: PushMessage, critical: bool, *, ttl: str, ack: str, target: str) -> bytes:
    """Returns the JSON of a request with these values, and an empty recipient in the field named `target`.

    firebase-admin requires a target and warns about its `token`, although today's apps hold tokens. So this function
    encodes a placeholder as `fid` and removes it. Android gets no collapse key, because FCM keeps only four per device.
    Instead, the notification's tag lets a new version replace the older one on the phone.
    """
    stamp = message.stamp
    sound = CRITICAL if critical and stamp.loudness is Loudness.LOUD else SOUNDS[stamp.loudness]
    built = messaging.Message(
        data=data_of(message, ack),
        notification=messaging.Notification(title=message.title, body=message.body, image=message.image_url),
        android=messaging.AndroidConfig(
            priority=sound.android_priority,
            ttl=0,
            notification=messaging.AndroidNotification(
                tag=stamp.chain, channel_id=sound.channel_id, priority=sound.notification_priority, sound=sound.sound
            ),
        ),
        apns=_apns(message, sound),
        fid="placeholder",
    )
    encoded: dict[str, Any] = messaging._MessagingService.encode_message(built)  # noqa: SLF001 a test checks it
    del encoded["fid"]
    encoded["android"]["ttl"] = ttl
    request = {"message": {**encoded, target: ""}}
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()


def _apns(message: PushMessage, sound: Sound) -> messaging.APNSConfig:
    """Returns the part of the request for Apple's phones."""
    stamp = message.stamp
    aps = messaging.Aps(
        sound=messaging.CriticalSound("default", critical=True, volume=1.0) if sound.critical else sound.sound,
        thread_id=stamp.chain,
        # An app extension may check the state and load the image before the message is shown.
        mutable_content=True,
        custom_data={"interruption-level": sound.interruption_level},
    )
    headers = {
        "apns-priority": sound.apns_priority,
        "apns-expiration": str(stamp.expires_s),  # an absolute UNIX time, unlike Android's ttl
        "apns-collapse-id": stamp.chain,
    }
    image = messaging.APNSFCMOptions(image=message.image_url) if message.image_url else None
    return messaging.APNSConfig(headers=headers, payload=messaging.APNSPayload(aps=aps), fcm_options=image)


def _size(message: PushMessage, critical: bool) -> int:
    """Returns the bytes of the request without the recipient's address, with the longest tag and time to live."""
    return len(_request(message, critical, ttl=f"{TTL_MAX_S}s", ack="x" * TAG_BYTES, target="token"))


_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FcmSettings:
    """The settings of one Firebase project. Raises `ValueError` if the endpoint is not https."""

    # The service account: the path of its JSON, or its content. It names the token endpoint.
    credentials: str | Mapping[str, str]
    project_id: str | None = None  # None: the project of the service account
    endpoint: str = "https://fcm.googleapis.com"
    ca_file: str | None = None  # None: the system's authorities
    # The app has Apple's entitlement for critical alerts: loud messages also sound on muted phones.
    critical: bool = False
    connections: int = 800  # concurrent messages: 10,000/s if FCM answers within 80 ms
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
        """`clock` returns UNIX seconds. Raises `OSError` or `ValueError` if the service account cannot be read."""
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
        """Fetches an access token, unless the channel has one, and connects to FCM without a request. Returns why the
        fetch failed, or whether the connection works.
        """
        token = await self._token.get()
        if isinstance(token, Outcome):
            return self._token.fault or Login(LoginState.NOT_KNOWN)
        context = trust(self._settings.ca_file)
        return await reach(self._settings.endpoint, context, self._settings.connect_timeout_s)

    def prepare(self, message: PushMessage) -> Prepared:
        """Returns the prepared message. Raises `ValueError` if FCM can never accept it."""
        return Prepared(encode(message, critical=self._settings.critical))

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """Sends the message. The time to live is the time left at this call. A message whose access token FCM refused
        is posted once more, with another token.
        """
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
        """Posts one chunk and returns an answer for each recipient. Never raises: without an access token, and after an
        unexpected error, the whole chunk gets one outcome. So the caller keeps the outcomes of its other chunks.
        """
        try:
            token = await self._token.get()
            if isinstance(token, Outcome):
                return [token] * len(recipients)
            if self._headers[0] != token:
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=UTF-8"}
                self._headers = (token, headers)
            answers = await post_each(
                self._transport,
                recipients,
                lambda one: body_for(pieces, one.address, one.tag),
                self._headers[1],
                may_write,
            )
            if any(isinstance(answer, Reply) and token_refused(answer) for answer in answers):
                self._token.refuse(token)
        except Exception as fault:  # noqa: BLE001 any fault is logged
            _log.error("chunk.send_failed", exc_info=fault)
            return [FAULT] * len(recipients)
        return answers
