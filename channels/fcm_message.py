"""A push message as FCM HTTP v1 takes it: encoded once, cut open where the recipient goes.

The shape is firebase-admin's `Message`; what differs per recipient (token and acknowledgement tag) and per moment (the time to
live) is spliced in as bytes.
"""

from __future__ import annotations

import bisect
import json
import secrets
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from firebase_admin import messaging

from channels.base import Loudness, PushMessage, Stamp

# FCM refuses more ("Message payload size limit", 4096 bytes). We count the whole JSON, keys included, which is always more than FCM counts.
PAYLOAD_BYTES = 4096

# Room kept inside PAYLOAD_BYTES for the tag, which is known only per recipient.
TAG_BYTES = 128

# FCM's longest time to live is four weeks; beyond it the request is refused.
TTL_MAX_S = 2_419_200

# APNs refuses a longer apns-collapse-id.
COLLAPSE_ID_BYTES = 64

ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Sound:
    """How a loudness is spelled for each phone system."""

    android_priority: str  # when FCM wakes the phone
    notification_priority: str  # how Android shows it
    channel_id: str  # the app makes these notification channels
    apns_priority: str
    interruption_level: str  # "critical" needs Apple's entitlement, so it is not ours to claim
    sound: str | None


SOUNDS = {
    Loudness.LOUD: Sound("high", "max", "alert-loud", "10", "time-sensitive", "default"),
    Loudness.NORMAL: Sound("high", "high", "alert-normal", "10", "active", "default"),
    Loudness.SILENT: Sound("normal", "low", "alert-silent", "5", "passive", None),
}


@dataclass(frozen=True, slots=True)
class FcmPayload:
    """The request body in four pieces: `ttl`, `ack` and `token` go between them, in this order."""

    pieces: tuple[bytes, bytes, bytes, bytes]
    expires_s: int

    def at(self, now_s: float) -> tuple[bytes, bytes, bytes]:
        """The pieces for one chunk, with the time to live that is left at `now_s`."""
        ttl_s = min(max(0, int(self.expires_s - now_s)), TTL_MAX_S)
        before_ttl, before_ack, before_token, end = self.pieces
        return (b"%b%ds%b" % (before_ttl, ttl_s, before_ack), before_token, end)


def body_for(pieces: tuple[bytes, bytes, bytes], token: str, tag: str) -> bytes:
    """The request body for one recipient. Whatever the token holds stays inside its JSON string."""
    head, before_token, end = pieces
    return b"".join((head, _inside_string(tag), before_token, _inside_string(token), end))


def encode(message: PushMessage) -> FcmPayload:
    """Encode once. The body is shortened until the payload fits; the title is kept.

    Raises `ValueError` when the message does not fit even without its body, or its chain is no collapse id.
    """
    if not 0 < len(message.stamp.chain.encode()) <= COLLAPSE_ID_BYTES:
        raise ValueError("the chain's name is empty or longer than an APNs collapse id")
    fitted = replace(message, body=_shortened(message))
    marks = [secrets.token_hex(16) for _ in range(3)]  # unguessable, so that no text can hold one
    ttl, ack, token = marks
    encoded = _fields(fitted, ttl=ttl, ack=ack)
    encoded["token"] = token
    rest = _json({"message": encoded})
    pieces: list[bytes] = []
    for mark in marks:
        piece, _, rest = rest.partition(mark.encode())
        pieces.append(piece)
    return FcmPayload((pieces[0], pieces[1], pieces[2], rest), message.stamp.expires_s)


def _fields(message: PushMessage, *, ttl: str, ack: str) -> dict[str, Any]:
    """The message's JSON without its token.

    firebase-admin wants a target and warns at its `token`, although tokens are what apps hold today: encode for a
    placeholder in its other field, then leave that away.
    """
    sound = SOUNDS[message.stamp.loudness]
    built = messaging.Message(
        data=_data(message, ack),
        notification=messaging.Notification(title=message.title, body=message.body, image=message.image_url),
        android=_android(message.stamp, sound),
        apns=_apns(message, sound),
        fid="placeholder",
    )
    encoded: dict[str, Any] = messaging._MessagingService.encode_message(built)  # noqa: SLF001 held by a test
    del encoded["fid"]
    encoded["android"]["ttl"] = ttl
    return encoded


def _data(message: PushMessage, ack: str) -> dict[str, str]:
    """What the app reads. FCM takes strings only."""
    stamp = message.stamp
    data = {
        "chain": stamp.chain,
        "version": stamp.version,
        "sent": str(stamp.sent_s),
        "expires": str(stamp.expires_s),
        "loudness": stamp.loudness.value,
        "language": stamp.language,
        "url": message.url or "",
        "test": "1" if stamp.test else "",
        "ack": ack,
    }
    return {name: value for name, value in data.items() if value}


def _android(stamp: Stamp, sound: Sound) -> messaging.AndroidConfig:
    """No collapse key: FCM keeps four of them a device. The notification's tag replaces an older version on the phone."""
    return messaging.AndroidConfig(
        priority=sound.android_priority,
        ttl=0,
        notification=messaging.AndroidNotification(
            tag=stamp.chain, channel_id=sound.channel_id, priority=sound.notification_priority, sound=sound.sound
        ),
    )


def _apns(message: PushMessage, sound: Sound) -> messaging.APNSConfig:
    stamp = message.stamp
    aps = messaging.Aps(
        sound=sound.sound,
        thread_id=stamp.chain,
        mutable_content=message.image_url is not None,
        custom_data={"interruption-level": sound.interruption_level},
    )
    headers = {
        "apns-priority": sound.apns_priority,
        "apns-expiration": str(stamp.expires_s),  # an absolute UNIX time, unlike Android's ttl
        "apns-collapse-id": stamp.chain,
    }
    return messaging.APNSConfig(headers=headers, payload=messaging.APNSPayload(aps=aps))


def _shortened(message: PushMessage) -> str:
    """The body, or as much of it as fits with an ellipsis, cut between characters as people see them."""
    room = PAYLOAD_BYTES - _size(replace(message, body=""))
    if room < len(ELLIPSIS.encode()):
        raise ValueError("the push message is too long even without its body")
    body = message.body
    if len(_inside_string(body)) <= room:
        return body
    keep = bisect.bisect_right(range(len(body)), room, key=lambda end: len(_inside_string(body[:end] + ELLIPSIS))) - 1
    while keep > 0 and _continues(body[keep - 1], body[keep]):
        keep -= 1
    return body[:keep].rstrip(" \n.,;:…") + ELLIPSIS


def _continues(before: str, character: str) -> bool:
    """Whether a cut between the two would split what people see as one character (marks, joiners, skin tones)."""
    joiner = "\N{ZERO WIDTH JOINER}"
    return (
        unicodedata.category(character).startswith("M")
        or joiner in {before, character}
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )


def _size(message: PushMessage) -> int:
    """Bytes of the whole request without its token, the tag and the time to live at their longest."""
    fields = _fields(message, ttl=f"{TTL_MAX_S}s", ack="x" * TAG_BYTES)
    return len(_json({"message": {**fields, "token": ""}}))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _inside_string(text: str) -> bytes:
    return msgspec.json.encode(text)[1:-1]  # once or twice a message: json takes ten times as long
