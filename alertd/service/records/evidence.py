"""Signs the evidence of an alert: its decisions and its messages. Anyone with the public key can verify it without this
service.

The signature is a flattened JSON Web Signature (RFC 7515, section 7.2.2) with Ed25519 (RFC 8037). Any library for these
standards can check it, and so can `openssl`. The key is derived from the hashing secret. So there is no further key to
store, and a restored store signs as before. A rotation makes a new key; the public halves of the earlier keys remain
published.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from alertd.store.engine.codec import Codec

TYPE = "alertd-evidence+json"


class EvidenceError(ValueError):
    """The evidence was changed, is malformed, or was signed with another key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A payload and its signature, in the fields of RFC 7515."""

    payload: str
    protected: str
    signature: str


class Seal:
    """Signs evidence for one installation."""

    def __init__(self, codec: Codec) -> None:
        self._keys = codec.derived("evidence")

    @property
    def public(self) -> tuple[str, ...]:
        """Returns the public halves of the keys, in PEM: the current key first, then the keys that rotations replaced."""
        return tuple(_public(Ed25519PrivateKey.from_private_bytes(key)) for key in self._keys.every)

    def signed(self, payload: Mapping[str, Any]) -> Signed:
        """Signs a payload with the current key. Returns the payload and its signature."""
        key = Ed25519PrivateKey.from_private_bytes(self._keys.current)
        protected = _packed({"alg": "EdDSA", "typ": TYPE, "kid": name_of(_public(key))})
        packed = _packed(payload)
        signature = key.sign(f"{protected}.{packed}".encode())
        return Signed(payload=packed, protected=protected, signature=_text(signature))


def name_of(pem: str) -> str:
    """Returns the name of a key in evidence: the SHA-256 of its public half in PEM, as `sha256sum` prints it."""
    return hashlib.sha256(pem.encode()).hexdigest()


def verified(document: Any, public: str) -> dict[str, Any]:
    """Returns the payload of a signed document after checking its signature.

    `public` is the public half of the key, in PEM. The caller must know it beforehand: a key that came with the
    document would prove nothing. Raises EvidenceError.
    """
    try:
        payload, protected, signature = (document[name] for name in ("payload", "protected", "signature"))
        key = load_pem_public_key(public.encode())
        if not isinstance(key, Ed25519PublicKey) or json.loads(_bytes(protected))["alg"] != "EdDSA":
            raise EvidenceError("The key or the signature is not Ed25519.")
        key.verify(_bytes(signature), f"{protected}.{payload}".encode())
        found = json.loads(_bytes(payload))
    except InvalidSignature:
        raise EvidenceError(
            "The signature does not match: the document was changed, or another key signed it."
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, EvidenceError):
            raise
        raise EvidenceError("This is not signed evidence, or the key is not in PEM.") from None
    return dict(found)


def _public(key: Ed25519PrivateKey) -> str:
    """Returns the public half of a key in PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def digest_of(pieces: AsyncIterator[bytes]) -> str:
    """Returns the SHA-256 of the joined pieces, in hex."""
    digest = hashlib.sha256()
    async for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _packed(value: Mapping[str, Any]) -> str:
    """Returns a value as compact JSON in base64url, as RFC 7515 has it."""
    return _text(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _text(raw: bytes) -> str:
    """Returns bytes in base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Returns the bytes of base64url text without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
