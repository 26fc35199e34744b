"""Who we are to push services: a token for each of them, signed by the key that browsers subscribed with (VAPID, RFC 8292)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey

from channels.webpush_message import base64url

#: A token is good for a day at most (RFC 8292 section 2). Half of it: clocks differ. It is made anew when half of that is over.
LIFE_S = 12 * 3600
RENEW_S = LIFE_S / 2
#: Tokens that are kept. There are four push services of browsers, one of them with some ten names.
MOST = 64


class Vapid:
    """One key. `public_key` is what pages subscribe with (`applicationServerKey`), in base64url."""

    def __init__(self, private_key: str, contact: str, clock: Callable[[], float]) -> None:
        """`private_key` is a PEM of P-256, `contact` a `mailto:` or `https:` address for whoever runs a push service, `clock` answers UNIX
        seconds. Raises `ValueError`.
        """
        if urlsplit(contact).scheme not in {"mailto", "https"}:
            raise ValueError("the contact is a mailto: or an https: address")
        key = _p256(private_key)
        self._key = ECKey.import_key(key)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = base64url(point)
        self._contact = contact
        self._clock = clock
        self._made: dict[str, tuple[float, str]] = {}  # by origin: when, and the header

    def authorization(self, origin: str) -> str:
        """The header's value for a push service, named by scheme, host and port."""
        now_s = self._clock()
        made_s, header = self._made.get(origin, (0.0, ""))
        if not made_s <= now_s < made_s + RENEW_S:  # or the clock was put back
            claims = {"aud": origin, "exp": int(now_s) + LIFE_S, "sub": self._contact}
            header = f"vapid t={jwt.encode({'alg': 'ES256', 'typ': 'JWT'}, claims, self._key)}, k={self.public_key}"
            if len(self._made) >= MOST:  # whoever made up names below a served one
                self._made.clear()
            self._made[origin] = now_s, header
        return header

    def forget(self, origin: str) -> None:
        """Its token is refused: the next is another."""
        self._made.pop(origin, None)


def _p256(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the private key is no PEM, or encrypted") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError("the private key is not one of P-256")
    return key
