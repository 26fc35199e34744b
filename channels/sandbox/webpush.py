"""A simulated push service of browsers (RFC 8030), over HTTP/2 or HTTP/1.1. It decrypts each message as the browser
would, and records it.

It stands for all push services: it takes the host of an endpoint from the VAPID token. Every path below `/push/` is a
subscription, and all share the keys in `sandbox.json`. It also serves `POST /control`, `GET /counts` and `GET
/recorded`. The recorded addresses are the endpoints; rules match the start of an endpoint.
"""

from __future__ import annotations

import hashlib
import time
from functools import partial
from typing import Any, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from channels.sandbox.authority import Authority, vapid_key
from channels.sandbox.http_wire import Answer, Reply, Request
from channels.sandbox.listener import Control, Listener
from channels.sandbox.script import FAULTS, Recorded, Script, misbehaved
from channels.webpush_message import CURVE, HEAD_BYTES, RECORD_BYTES, SALT_BYTES, Subscription, base64url, derived

#: The paths of subscriptions start with this.
PUSH = "/push/"
#: Maximum lifetime of a VAPID token in seconds (RFC 8292 section 2).
TOKEN_LIFE_S = 24 * 3600
#: The host in the endpoints of the browsers.
HOST = "push.example"
SECRET = b"sandbox browser!"
#: The private key of all browsers. It is the same in every sandbox, so that people can be registered before a sandbox
#: starts.
NUMBER = int.from_bytes(hashlib.sha256(b"a browser of the sandbox").digest(), "big")

# The values of a rule's `do`, with the answer: (status, body).
REFUSALS = {
    "gone": (410, b""),
    "expired": (404, b""),
    "throttle": (429, b""),
    "unavailable": (503, b""),
    "bad-request": (400, b""),
    "too-large": (413, b""),
    "unexplained": (418, b""),
    "other-key": (403, b'{"reason":"VapidPkHashMismatch"}'),
    "unauthorized": (401, b""),
    "apple-token": (403, b'{"reason":"BadJwtToken"}'),
}
BEHAVIOURS = FAULTS.union(REFUSALS)


class _Data(msgspec.Struct):
    chain: str
    version: str


class _Notification(msgspec.Struct):
    title: str
    data: _Data


class _Pushed(msgspec.Struct):
    notification: _Notification


class _Trusted(NamedTuple):
    """A checked VAPID header: its audience, and the UNIX second at which it expires, 0 if it is invalid."""

    origin: str
    until_s: float


class WebPushSandbox:
    """A simulated push service. Tests in the same process use `script` and `recorded`; other processes use the control
    calls.
    """

    def __init__(self, authority: Authority, latency_s: float = 0.0, *, keep: bool = False) -> None:
        """`keep`: stores each decrypted message in `kept`, as JSON by endpoint."""
        self.script = Script(BEHAVIOURS)
        self.recorded = Recorded()
        self.kept: dict[str, bytes] | None = {} if keep else None
        context = authority.server_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        self._listener = Listener(self._serve, context, latency_s)
        self._control = Control(self.script, self.recorded)
        directory = authority.ca_file.parent
        self._browser = ec.derive_private_key(NUMBER, CURVE)
        self._point = self._browser.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.private_key = vapid_key(directory / "vapid.pem")
        self._decode = msgspec.json.Decoder(_Pushed).decode
        self._trusted: dict[bytes, _Trusted] = {}

    async def start(self, port: int = 0) -> None:
        await self._listener.start(port)
        self.endpoint = f"https://127.0.0.1:{self._listener.port}"

    async def stop(self) -> None:
        await self._listener.stop()

    @property
    def open_connections(self) -> int:
        return self._listener.open_connections

    @property
    def keys(self) -> dict[str, str]:
        """Returns the keys of every browser, in the form of a PushSubscription."""
        return {"p256dh": base64url(self._point), "auth": base64url(SECRET)}

    def _serve(self, request: Request) -> Answer:
        method, path, _ = request.line.decode("ascii", "replace").split(" ")
        if method == "POST" and path.startswith(PUSH):
            return self._push(request, path)
        return self._control.serve(request)

    def _push(self, request: Request, path: str) -> Answer:
        """Checks a push by RFC 8030, 8188 and 8292. Answers 400 for a wrong form, 401 for a wrong VAPID token."""
        if not request.header(b"ttl").isdigit() or len(request.body) > RECORD_BYTES:
            return Reply(400, b"")
        trusted = self._looked_at(request.header(b"authorization"))
        if trusted.until_s <= time.time():
            return Reply(401, b"")
        pushed = self._opened(request)
        if pushed is None:
            return Reply(400, b"")
        endpoint = trusted.origin + path
        rule = self.script.match(endpoint)
        accept = partial(self._accept, endpoint, pushed)
        return accept() if rule is None else misbehaved(rule, REFUSALS, accept)

    def _accept(self, endpoint: str, pushed: bytes) -> Reply:
        data = self._decode(pushed).notification.data
        self.recorded.add(data.chain, data.version, endpoint)
        if self.kept is not None:
            self.kept[endpoint] = pushed
        return Reply(201, b"", headers=b"Location: /m/%d\r\n" % self.recorded.total)

    def _opened(self, request: Request) -> bytes | None:
        """Returns the decrypted notification. None if the body is not encrypted for this browser, or is not a
        notification in JSON (RFC 8291 section 3).
        """
        body = request.body
        if request.header(b"content-encoding") != b"aes128gcm" or len(body) <= HEAD_BYTES:
            return None
        salt, sender, record = body[:SALT_BYTES], body[SALT_BYTES + 5 : HEAD_BYTES], body[HEAD_BYTES:]
        try:
            shared = self._browser.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, sender))
            cipher, nonce = derived(shared, Subscription("", self._point, SECRET), sender, salt)
            text, _, _ = AESGCM(cipher).decrypt(nonce, record, None).rpartition(b"\x02")
            self._decode(text)
        except (ValueError, InvalidTag, msgspec.DecodeError):
            return None
        return text

    def _looked_at(self, header: bytes) -> _Trusted:
        """Returns audience and expiry of the VAPID token in an Authorization header (RFC 8292 section 4.2). Checks the
        signature with the key in the same header. Checks each header once and caches the result.
        """
        if header not in self._trusted:
            self._trusted[header] = _read(header.decode("ascii", "replace"))
        return self._trusted[header]


def _read(header: str) -> _Trusted:
    """Checks a VAPID header. Returns an expiry of 0 if it is invalid."""
    scheme, _, rest = header.partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    try:
        claims: dict[str, Any] = jwt.decode(parts["t"], _key(parts["k"]), algorithms=["ES256"]).claims
        until_s, origin = float(claims["exp"]), str(claims["aud"])
    except (JoseError, ValueError, KeyError, TypeError):
        return _Trusted("", 0.0)
    is_whole = scheme == "vapid" and "sub" in claims and until_s - time.time() <= TOKEN_LIFE_S
    return _Trusted(origin, until_s if is_whole else 0.0)


def _key(point: str) -> ECKey:
    """Returns the public key for a point in base64url. Raises `ValueError` if it has the wrong length."""
    raw = Subscription.parse(f"- {point} {base64url(SECRET)}").key
    return ECKey.import_key({"kty": "EC", "crv": "P-256", "x": base64url(raw[1:33]), "y": base64url(raw[33:])})
