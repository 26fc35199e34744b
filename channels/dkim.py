"""DKIM signatures (RFC 6376) with rsa-sha256 and ed25519-sha256 (RFC 8463), relaxed/relaxed.

The mails of one message differ only in a few headers and in one text in the body. The common part is canonicalised
once, and hashed up to the first difference. `Common.signatures` then adds the rest of one mail and signs it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_pem_private_key

#: Receivers refuse shorter keys, or soon will (RFC 8301 3.2).
RSA_BITS_LEAST = 2048

#: Headers that may not be added after signing. The signature lists each one more time than the mail has it (RFC 6376
#: 8.15).
ONCE_ONLY = ("from", "to", "subject", "date", "message-id", "reply-to", "cc", "content-type", "list-unsubscribe")

_FOLD = re.compile(rb"\r\n(?=[ \t])")
_SPACES = re.compile(rb"[ \t]+")
_ENDS_IN_SPACES = re.compile(rb"[ \t]+(?=\r\n)")
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:((?:.|\r\n[ \t])*)\r\n")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_SHA256 = Prehashed(hashes.SHA256())


@dataclass(frozen=True, kw_only=True, slots=True)
class DkimSettings:
    """One key. To rotate keys, set two for a while: receivers find each in the DNS under its selector."""

    domain: str
    selector: str
    key: str = field(repr=False)  # PEM, not encrypted: RSA of 2,048 bits or more, or Ed25519


class Signer:
    """Signs with one domain's key under one selector."""

    def __init__(self, settings: DkimSettings) -> None:
        """Raises `ValueError` if the key or a name is unusable."""
        for name in (settings.domain, settings.selector):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name in the DNS")
        self._key = _private_key(settings)
        algorithm = "rsa-sha256" if isinstance(self._key, RSAPrivateKey) else "ed25519-sha256"
        names = f"d={settings.domain}; s={settings.selector}"
        self.head = f"v=1; a={algorithm}; c=relaxed/relaxed; {names}".encode()

    def sign(self, digest: bytes) -> bytes:
        """Returns the signature of a SHA-256 digest, in base64."""
        key = self._key
        raw = key.sign(digest, PKCS1v15(), _SHA256) if isinstance(key, RSAPrivateKey) else key.sign(digest)
        return base64.b64encode(raw)


class Common:
    """The hashes of the headers and the body that all mails of one message share."""

    def __init__(self, head: bytes, body: Sequence[bytes]) -> None:
        """`head`: the common header lines. `body`: the common pieces of the body. Each mail has its own text without
        white space between the pieces. Both have their wire form, before dots are doubled.
        """
        self._hash = hashlib.sha256()
        self._names = _add(self._hash, head)
        first, *self._rest = [*map(_relaxed, body[:-1]), relaxed_body(body[-1])]
        self._opening = hashlib.sha256(first)

    def signatures(self, own: bytes, signers: Sequence[Signer], now_s: int, fill: bytes = b"") -> bytes:
        """Returns the DKIM-Signature headers of one mail, one for each signer. `own` holds the mail's other header
        lines; `fill` goes between the pieces of the body. `now_s`: UNIX seconds.
        """
        body = self._opening.copy()
        body.update(b"".join(fill + piece for piece in self._rest))
        body_hash = base64.b64encode(body.digest())
        hashed = self._hash.copy()
        names = _signed_names(self._names + _add(hashed, own))
        lines = []
        for signer in signers:
            value = b"%b; t=%d; h=%b; bh=%b; b=" % (signer.head, now_s, names, body_hash)
            last = hashed.copy()
            last.update(b"dkim-signature:" + value)
            folded = (
                value.replace(b"; h=", b";\r\n\th=").replace(b"; bh=", b";\r\n\tbh=").replace(b"; b=", b";\r\n\tb=")
            )
            lines.append(b"DKIM-Signature: %b%b\r\n" % (folded, signer.sign(last.digest())))
        return b"".join(lines)


def relaxed_header(name: bytes, value: bytes) -> bytes:
    """Returns one header line in its relaxed form (RFC 6376 3.4.2)."""
    return b"%b:%b\r\n" % (name.lower(), _SPACES.sub(b" ", _FOLD.sub(b"", value)).strip(b" "))


def relaxed_body(body: bytes) -> bytes:
    """Returns a body in its relaxed form (RFC 6376 3.4.4)."""
    lines = _relaxed(body).rstrip(b"\r\n")
    return lines + b"\r\n" if lines else b""


def _relaxed(lines: bytes) -> bytes:
    return _SPACES.sub(b" ", _ENDS_IN_SPACES.sub(b"", lines))


def _add(hashed: hashlib._Hash, lines: bytes) -> tuple[bytes, ...]:
    """Adds header lines to a hash in relaxed form. Returns their names in lower case."""
    found = [(name.lower(), value) for name, value in _HEADER.findall(lines)]
    for name, value in found:
        hashed.update(relaxed_header(name, value))
    return tuple(name for name, _ in found)


@lru_cache(maxsize=16)  # the mails of an installation have the same headers with other values
def _signed_names(names: tuple[bytes, ...]) -> bytes:
    """Returns the tag h= of a signature: the names of the signed headers, then those in `ONCE_ONLY`."""
    return b":".join([*names, *(name.encode() for name in ONCE_ONLY)])


def _private_key(settings: DkimSettings) -> RSAPrivateKey | Ed25519PrivateKey:
    """Returns the key from its PEM. Raises `ValueError` for another kind of key, a short one or an encrypted one."""
    where = f"the DKIM key of {settings.selector}._domainkey.{settings.domain}"
    try:
        key = load_pem_private_key(settings.key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{where} is not an unencrypted private key in PEM") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        raise ValueError(f"{where} is neither RSA nor Ed25519")  # noqa: TRY004 the fault is in the file, not a type
    if key.key_size < RSA_BITS_LEAST:
        raise ValueError(f"{where} has {key.key_size} bits; receivers want {RSA_BITS_LEAST}")
    return key
