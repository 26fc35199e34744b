"""Encodes a push message for browsers once, then encrypts it for each browser, so that the push service cannot read it
(RFC 8291).

The JSON is declarative web push (W3C Push API). Safari shows it by itself if the message has a link; in other browsers
alertd's service worker shows it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import secrets
import struct
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from channels.base import Loudness, PushMessage, Stamp
from channels.http2_frames import path_of
from channels.push_content import data_of, fitted, inside_string

CURVE = ec.SECP256R1()
POINT_BYTES, SECRET_BYTES, SALT_BYTES = 65, 16, 16
#: Maximum length of an endpoint. Current endpoints have up to 600 characters, and 2,048 fit the head of a request.
ENDPOINT_CHARACTERS = 2_048
#: Maximum bytes of a body, in one record. Every push service accepts as many (RFC 8030 section 7.2).
RECORD_BYTES = 4096
#: Bytes of a record's head: salt, record size, and the sender's key with its length. Then come the text, its end mark
#: of one byte and the cipher's tag of 16 (RFC 8188 section 2). `PLAIN_BYTES` is the maximum for the text.
HEAD_BYTES = SALT_BYTES + 4 + 1 + POINT_BYTES
PLAIN_BYTES = RECORD_BYTES - HEAD_BYTES - 1 - 16
#: Bytes reserved for the tag, which differs for each recipient.
TAG_BYTES = 128
#: Four weeks in seconds. No push service keeps a waiting message for longer.
TTL_MAX_S = 2_419_200
#: Form of a topic: at most 32 characters of base64url (RFC 8030 section 5.4). A new message replaces a waiting message
#: of the same topic.
TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
#: How soon a browser wakes up (RFC 8030 section 5.3). A silent message may remove a name from a screen, so it does not
#: wait for mains power.
URGENCY = {Loudness.LOUD: "high", Loudness.NORMAL: "high", Loudness.SILENT: "normal"}


@dataclass(frozen=True, slots=True)
class Subscription:
    """The address of a browser and its keys (W3C PushSubscription)."""

    endpoint: str
    key: bytes  # p256dh: a point of P-256, uncompressed
    secret: bytes  # auth

    @classmethod
    def parse(cls, address: str) -> Self:
        """Parses `endpoint p256dh auth`, both keys in base64url without padding. Raises `ValueError` if the text has
        another form. Does not check whether the key is a point of the curve.
        """
        endpoint, key, secret = address.split(" ")
        made = cls(endpoint, _decoded(key), _decoded(secret))
        if len(made.key) != POINT_BYTES or len(made.secret) != SECRET_BYTES:
            raise ValueError("a key of a subscription has the wrong length")
        if not (endpoint.isascii() and endpoint.isprintable() and len(endpoint) <= ENDPOINT_CHARACTERS):
            raise ValueError("an endpoint is no URL")
        return made

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Returns the public key. Raises `ValueError` if it is not a point of the curve."""
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVE, self.key)

    @property
    def origin(self) -> str:
        """Returns scheme, host and port in the form of the VAPID token (RFC 6454 section 6.2)."""
        url = urlsplit(self.endpoint)
        port = "" if url.port in {None, 443} else f":{url.port}"
        return f"{url.scheme}://{url.hostname}{port}"

    @property
    def path(self) -> str:
        """Returns path and query of the endpoint."""
        return path_of(urlsplit(self.endpoint))


@dataclass(frozen=True, slots=True)
class WebPushPayload:
    """The JSON in two pieces, between which the recipient's tag goes, and the headers for the push service."""

    pieces: tuple[bytes, bytes]
    expires_s: int
    headers: dict[str, str]

    def headers_at(self, now_s: float) -> dict[str, str]:
        """Returns the headers with the time to live that is left at `now_s`."""
        return {"TTL": str(min(max(0, int(self.expires_s - now_s)), TTL_MAX_S)), **self.headers}

    def sealed(self, subscription: Subscription, tag: str) -> bytes:
        """Returns the encrypted body for one browser. Raises `ValueError` if its key is not a point of the curve."""
        before, after = self.pieces
        return seal(b"".join((before, inside_string(tag), after)), subscription)


def encode(message: PushMessage) -> WebPushPayload:
    """Encodes the message once. If it is too long, shortens or removes the least important members; the title stays.

    Raises `ValueError` if it does not fit even without its body, or if its chain is not a valid topic.
    """
    stamp = message.stamp
    if not TOPIC.fullmatch(stamp.chain):
        raise ValueError("the chain's name is no topic")
    ack = secrets.token_hex(16)  # unguessable, so that no text can contain it
    before, _, after = _json(fitted(message, PLAIN_BYTES, _size), ack).partition(ack.encode())
    headers = {
        "Urgency": URGENCY[stamp.loudness],
        "Topic": stamp.chain,
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
    }
    return WebPushPayload((before, after), stamp.expires_s, headers)


def seal(plain: bytes, subscription: Subscription) -> bytes:
    """Encrypts a text for one browser and returns it as one record of `aes128gcm` (RFC 8291 section 3.4). Makes a new
    key each time. Raises `ValueError` if the browser's key is not a point of the curve.
    """
    theirs = subscription.public_key
    key = ec.generate_private_key(CURVE)
    ours = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    salt = secrets.token_bytes(SALT_BYTES)
    cipher, nonce = derived(key.exchange(ec.ECDH(), theirs), subscription, ours, salt)
    head = salt + struct.pack(">IB", RECORD_BYTES, POINT_BYTES) + ours
    return head + AESGCM(cipher).encrypt(nonce, plain + b"\x02", None)


def derived(shared: bytes, subscription: Subscription, sender: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Returns the cipher's key (16 bytes) and nonce (12 bytes) (RFC 8291 section 3.4, RFC 8188 section 2.2). `shared`:
    the result of the key exchange; `sender`: the sender's public key. Both sides get the same result.
    """
    first = hmac.digest(subscription.secret, shared, "sha256")
    second = hmac.digest(first, b"WebPush: info\0" + subscription.key + sender + b"\1", "sha256")
    key = hmac.digest(salt, second, "sha256")
    cipher = hmac.digest(key, b"Content-Encoding: aes128gcm\0\1", "sha256")
    return cipher[:16], hmac.digest(key, b"Content-Encoding: nonce\0\1", "sha256")[:12]


def base64url(raw: bytes) -> str:
    """Returns base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    """Returns the octets of base64url. Raises `ValueError`."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("a key of a subscription is not in base64url") from None


def _size(message: PushMessage) -> int:
    """Returns the bytes of the JSON with the longest tag."""
    return len(_json(message, "x" * TAG_BYTES))


def _json(message: PushMessage, ack: str) -> bytes:
    value = {"web_push": 8030, "notification": _notification(message, message.stamp, ack), "mutable": True}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _notification(message: PushMessage, stamp: Stamp, ack: str) -> dict[str, Any]:
    """Returns the members of `showNotification`'s options, and `navigate`: the link that a tap opens."""
    is_silent = stamp.loudness is Loudness.SILENT
    links = {"navigate": message.url, "image": message.image_url}
    return {
        "title": message.title,
        "body": message.body,
        "lang": stamp.language,
        "dir": "auto",
        "tag": stamp.chain,  # one chain is one notification
        "renotify": not is_silent,
        "silent": is_silent,
        "requireInteraction": stamp.loudness is Loudness.LOUD,
        **{name: link for name, link in links.items() if link},
        "data": data_of(message, ack),
    }
