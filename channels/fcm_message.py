"""A push message as FCM HTTP v1 takes it: encoded once, cut open where the recipient goes.

The shape is firebase-admin's `Message`; what differs per recipient (its address and the acknowledgement tag) and per moment (the time
to live) is spliced in as bytes.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, replace
from typing import Any

from firebase_admin import messaging

from channels.base import Loudness, PushMessage, Stamp
from channels.push_content import data_of, fitted, inside_string

# FCM refuses more ("Message payload size limit", 4096 bytes). We count the whole JSON, keys included, which is always more than FCM counts.
PAYLOAD_BYTES = 4096

# Room kept inside PAYLOAD_BYTES for the tag, which is known only per recipient.
TAG_BYTES = 128

# FCM's longest time to live is four weeks; beyond it the request is refused.
TTL_MAX_S = 2_419_200

# APNs refuses a longer apns-collapse-id.
COLLAPSE_ID_BYTES = 64

# A Firebase installation ID, which firebase-admin 7.7 names `fid` and prefers to a token. A token is longer and holds a colon.
INSTALLATION = re.compile(r"[cdef][A-Za-z0-9_-]{21}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sound:
    """How a loudness is spelled for each phone system."""

    android_priority: str  # when FCM wakes the phone
    notification_priority: str  # how Android shows it
    channel_id: str  # the app makes these notification channels
    apns_priority: str
    interruption_level: str
    sound: str | None
    critical: bool = False


SOUNDS = {
    Loudness.LOUD: Sound("high", "max", "alert-loud", "10", "time-sensitive", "default"),
    Loudness.NORMAL: Sound("high", "high", "alert-normal", "10", "active", "default"),
    Loudness.SILENT: Sound("normal", "low", "alert-silent", "5", "passive", None),
}

# Sounds where the phone is muted, and needs Apple's entitlement for the app and its user's consent.
CRITICAL = replace(SOUNDS[Loudness.LOUD], interruption_level="critical", critical=True)


@dataclass(frozen=True, slots=True)
class FcmPayload:
    """The request body in four pieces: the time to live, the tag, and the recipient's field with its value go between them."""

    pieces: tuple[bytes, bytes, bytes, bytes]
    expires_s: int

    def at(self, now_s: float) -> tuple[bytes, bytes, bytes]:
        """The pieces for one chunk, with the time to live that is left at `now_s`."""
        ttl_s = min(max(0, int(self.expires_s - now_s)), TTL_MAX_S)
        before_ttl, before_ack, before_target, end = self.pieces
        return (b"%b%ds%b" % (before_ttl, ttl_s, before_ack), before_target, end)


def body_for(pieces: tuple[bytes, bytes, bytes], address: str, tag: str) -> bytes:
    """The request body for one recipient. Whatever the address holds stays inside its JSON string."""
    head, before_target, end = pieces
    target = b'fid":"' if INSTALLATION.fullmatch(address) else b'token":"'
    return b"".join((head, inside_string(tag), before_target, target, inside_string(address), end))


def encode(message: PushMessage, *, critical: bool = False) -> FcmPayload:
    """Encode once. The payload is made to fit by what it can best do without; the title is kept. `critical` is for what is loud.

    Raises `ValueError` when the message does not fit even without its body, or its chain is no collapse id.
    """
    if not 0 < len(message.stamp.chain.encode()) <= COLLAPSE_ID_BYTES:
        raise ValueError("the chain's name is empty or longer than an APNs collapse id")
    ttl, ack, target = (secrets.token_hex(16) for _ in range(3))  # unguessable, so that no text can hold one

    def whole(message: PushMessage) -> bytes:
        return _json({"message": {**_fields(message, critical, ttl=ttl, ack=ack), target: ""}})

    rest = whole(message)
    if (
        len(rest) > PAYLOAD_BYTES - TAG_BYTES
    ):  # the marks are longer than what is counted in their places, but for the tag
        rest = whole(fitted(message, PAYLOAD_BYTES, lambda lighter: _size(lighter, critical)))
    pieces: list[bytes] = []
    for mark in (ttl, ack, f'{target}":"'):
        piece, _, rest = rest.partition(mark.encode())
        pieces.append(piece)
    return FcmPayload((pieces[0], pieces[1], pieces[2], rest), message.stamp.expires_s)


def _fields(message: PushMessage, critical: bool, *, ttl: str, ack: str) -> dict[str, Any]:
    """The message's JSON without whom it is for.

    firebase-admin wants a target and warns at its `token`, although tokens are what apps hold today: encode for a
    placeholder in its other field, then leave that away.
    """
    loudness = message.stamp.loudness
    sound = CRITICAL if critical and loudness is Loudness.LOUD else SOUNDS[loudness]
    built = messaging.Message(
        data=data_of(message, ack),
        notification=messaging.Notification(title=message.title, body=message.body, image=message.image_url),
        android=_android(message.stamp, sound),
        apns=_apns(message, sound),
        fid="placeholder",
    )
    encoded: dict[str, Any] = messaging._MessagingService.encode_message(built)  # noqa: SLF001 held by a test
    del encoded["fid"]
    encoded["android"]["ttl"] = ttl
    return encoded


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
        sound=messaging.CriticalSound("default", critical=True, volume=1.0) if sound.critical else sound.sound,
        thread_id=stamp.chain,
        mutable_content=True,  # an extension of the app may ask for the state and load the image before it is shown
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
    """Bytes of the whole request without the recipient's address, the tag and the time to live at their longest."""
    fields = _fields(message, critical, ttl=f"{TTL_MAX_S}s", ack="x" * TAG_BYTES)
    return len(_json({"message": {**fields, "token": ""}}))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
