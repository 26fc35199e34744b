"""Sealing: AES-256-GCM for addresses and case data, a keyed hash for finding addresses without storing them in clear.

Subscribers are sealed under the master key; an alert's document under its case's own key, which is kept wrapped by the
master key, so that destroying the wrapped key destroys every copy of the document. The records of the cells are sealed under a
key of their own (`cell_seal.py`), wrapped in the same way. A sealed value is
`1 byte format | 12 bytes nonce | ciphertext and tag`, bound to its key's name as associated data, so that a value moved to
another key does not open. Nonces are random: 96 bits allow 2^32 seals a key before a repeat is likelier than 2^-32.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from alertd.store.cell_seal import SECRET_BYTES, CellSeal

_FORMAT = b"\x01"
_NONCE = 12
KEY_BYTES = 32
_HASH_BYTES = 12  # 96 bits: among 10^9 addresses a chance collision is below 10^-10


class SealError(Exception):
    """A sealed value does not open: wrong key, or not the value that was stored here."""


class Box:
    """Seals and opens under one key."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._key = key

    def seal(self, plain: bytes, name: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return _FORMAT + nonce + self._aead.encrypt(nonce, plain, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        if sealed[:1] != _FORMAT:
            raise SealError("a sealed value has an unknown format")
        try:
            return self._aead.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], name.encode())
        except (InvalidTag, ValueError):
            raise SealError("a sealed value does not open under this key") from None

    def hashed(self, value: bytes) -> str:
        """A name for a value that can be compared with it for as long as there is the key, and then tells nothing."""
        return hmac.digest(self._hashing, value, "sha256").hex()

    @cached_property
    def _hashing(self) -> bytes:
        """A key of its own."""
        return hmac.digest(self._key, b"values", "sha256")


@dataclass(frozen=True)
class Keys:
    """The two secrets everything hangs on."""

    master: bytes
    hashing: bytes

    @classmethod
    def load(cls, directory: Path) -> Keys:
        """The keys in a folder. Raises OSError, and ValueError or SealError for what is no key."""
        return cls.from_text(*((directory / name).read_text(encoding="ascii") for name in ("master.key", "hash.key")))

    @classmethod
    def load_or_make(cls, directory: Path) -> Keys:
        """The keys in a data directory, made where there are none, readable by their owner alone."""
        return cls(_key_file(directory / "master.key"), _key_file(directory / "hash.key"))

    @classmethod
    def from_text(cls, master: str, hashing: str) -> Keys:
        """From configuration: base64 or hexadecimal of 32 bytes each."""
        return cls(_key_text(master), _key_text(hashing))


class Codec:
    """The one way in and out of sealed values and hashed names."""

    def __init__(self, keys: Keys) -> None:
        self.master = Box(keys.master)
        self._hashing = keys.hashing
        self._cells: CellSeal | None = None
        self._check_value = self.hashed("key-check", hashlib.sha256(b"alertd" + keys.master).hexdigest())

    def hashed(self, space: str, value: str) -> str:
        """A name for a value nobody can turn back: addresses, subscriber ids, case numbers."""
        digest = hmac.digest(self._hashing, f"{space}\0{value}".encode(), "sha256")[:_HASH_BYTES]
        return base64.urlsafe_b64encode(digest).decode()

    def derived(self, purpose: str) -> bytes:
        """A key for one purpose, from the hashing key."""
        return hmac.digest(self._hashing, b"derive\0" + purpose.encode(), hashlib.sha256)

    def new_case_key(self, name: str) -> bytes:
        """A fresh key, wrapped."""
        return self.master.seal(secrets.token_bytes(KEY_BYTES), name)

    def case_box(self, wrapped: bytes, name: str) -> Box:
        return Box(self.master.open(wrapped, name))

    def new_cell_key(self, name: str) -> bytes:
        """Returns a fresh key for the seal of the cells, wrapped under the master key."""
        return self.master.seal(secrets.token_bytes(SECRET_BYTES), name)

    def use_cell_key(self, wrapped: bytes, name: str) -> None:
        """Takes the store's cell key. Raises SealError if the master key does not open it."""
        self._cells = CellSeal(self.master.open(wrapped, name))

    @property
    def cells(self) -> CellSeal:
        """The seal of the cells. Raises SealError before the store's cell key was taken: see `schema.load_cell_key`."""
        if self._cells is None:
            raise SealError("the store's cell key was not loaded")
        return self._cells

    @property
    def check_value(self) -> str:
        """Kept in the store, so that a store is never opened with other keys than it was made with."""
        return self._check_value


def _key_file(path: Path) -> bytes:
    try:
        return _key_text(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        key = secrets.token_bytes(KEY_BYTES)
        part = path.with_suffix(".new")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, base64.b64encode(key) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        part.rename(path)
    return key


def _key_text(text: str) -> bytes:
    text = text.strip()
    key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text)
    if len(key) != KEY_BYTES:
        raise SealError(f"a key must be {KEY_BYTES} bytes, as base64 or hexadecimal")
    return key
