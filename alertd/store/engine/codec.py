"""Sealing: AES-256-GCM for addresses and case data, a keyed hash for finding addresses without storing them in clear.

Subscribers are sealed under the master key; an alert's document under its case's own key, which is kept wrapped by the
master key, so that destroying the wrapped key destroys every copy of the document. The records of the cells are sealed under a
key of their own (`cell_seal`), wrapped in the same way. A sealed value is
`1 byte format | 12 bytes nonce | ciphertext and tag`, bound to its key's name as associated data, so that a value moved to
another key does not open. Nonces are random: 96 bits allow 2^32 seals a key before a repeat is likelier than 2^-32.

The master key rotates (decision 0056). While it does, a process holds two of them: a `Ring` seals under the current key and opens under
every key that it holds. Its values have a format of their own, and one byte more that names the key. The audit's stream cannot be
rewritten, so its entries are sealed under a key derived from the master key: the derived key outlives the rotation, the master key does not.

A rotation also adds a hashing secret. The first secret names what the store finds by a hash. The current secret signs, and every secret verifies. `hash.key` holds
the current secret. The store keeps all of them, sealed under the master key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from alertd.common.ids import SigningKeys
from alertd.store.engine.cell_seal import CellSeal
from geofences.files import to_disk

_FORMAT, _RING_FORMAT = b"\x01", b"\x02"
_MARK = 2  # bytes
_NONCE = 12
#: In a data directory, during a rotation: the master key that takes the place of the one in `master.key`.
NEXT_KEY = "master.next.key"
KEY_BYTES = 32
#: After this many seals the operator should rotate the key: half of the limit that random nonces set.
MOST_SEALS = 2**31
_HASH_BYTES = 12  # 96 bits: among 10^9 addresses a chance collision is below 10^-10


@dataclass(frozen=True, slots=True)
class NameKeys:
    """The keys on top of the hashing key that make the names of people's ids and addresses in the store. Each rotation adds one.

    Each key hashes the name once more, so the walk makes a new name from an old one, without the plain text. The number of keys stands before a
    name. While a key is `joining`, the store has a value under the old or the new name.
    """

    settled: tuple[bytes, ...] = ()
    joining: bytes | None = None
    prefers_new: bool = False  # under which of the two something new is kept

    def stored(self, hashed: str) -> tuple[str, ...]:
        """The names in the store for a value that `Codec.hashed` made. Two during a rotation: writers use the first for something new."""
        old = hashed
        for number, key in enumerate(self.settled, 1):
            old = _renamed(number, key, old)
        if self.joining is None:
            return (old,)
        return (self.after(old), old) if self.prefers_new else (old, self.after(old))

    def after(self, old: str) -> str:
        """Returns the name under the key that a rotation adds, for a name under the keys before."""
        assert self.joining is not None
        return _renamed(len(self.settled) + 1, self.joining, old)

    def is_old(self, name: str) -> bool:
        """Whether a name in the store was made without the key that is joining."""
        number = name.partition(".")[0] if "." in name else "0"
        return int(number) == len(self.settled)


def _renamed(number: int, key: bytes, name: str) -> str:
    return f"{number}.{short_name(hmac.digest(key, name.encode(), 'sha256'))}"


def short_name(digest: bytes) -> str:
    """The name that the store has for a keyed hash."""
    return base64.urlsafe_b64encode(digest[:_HASH_BYTES]).decode()


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
        own_key = hmac.digest(self._key, b"values", "sha256")
        return hmac.digest(own_key, value, "sha256").hex()


@dataclass(slots=True)
class _Held:
    """A key of a ring."""

    name: str
    mark: bytes  # how its values begin: the ring's format, and a byte that names the key
    box: Box
    seals: int = 0  # that nobody has counted yet


class Ring:
    """Seals under the current key and opens under every key that it holds. Counts the seals of each key."""

    def __init__(self) -> None:
        # Replaced as a whole, never changed: other threads open values meanwhile.
        self._keys: tuple[_Held, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that it holds, the current one first."""
        return tuple(key.name for key in self._keys)

    def mark(self, name: str) -> bytes:
        """How the values begin that a key of these sealed. Raises KeyError."""
        return {key.name: key.mark for key in self._keys}[name]

    def hold(self, name: str, key: bytes) -> None:
        """Open with this key too, from now on. The first key becomes the current one."""
        if name not in self.names:
            self._keys = (*self._keys, _Held(name, mark_of(key), Box(key)))

    def use(self, name: str) -> None:
        """Seal with this key, from now on. Raises SealError if it is not held."""
        if name not in self.names:
            raise SealError("the store's current master key is not held here")
        self._keys = tuple(sorted(self._keys, key=lambda key: key.name != name))

    def drop_all(self) -> None:
        """Hold no key."""
        self._keys = ()

    def drop_others(self) -> None:
        """Hold the current key alone."""
        self._keys = self._keys[:1]

    def seal(self, plain: bytes, name: str) -> bytes:
        """Seal under the current key, bound to a name."""
        current = self._keys[0]
        current.seals += 1
        return current.mark + current.box.seal(plain, name)[1:]

    def open(self, sealed: bytes, name: str) -> bytes:
        """Raises SealError if no key that is held opens it."""
        for key in self._keys:
            if sealed[:_MARK] == key.mark:
                with suppress(SealError):  # another key may have the same byte
                    return key.box.open(_FORMAT + sealed[_MARK:], name)
        raise SealError("a sealed value does not open under a key that is held here")

    def take_seals(self) -> dict[str, int]:
        """How often each key sealed since this was last asked."""
        taken = {key.name: key.seals for key in self._keys if key.seals}
        for key in self._keys:
            key.seals -= taken.get(key.name, 0)
        return taken


def mark_of(key: bytes) -> bytes:
    """How the values begin that a ring seals under a key: two bytes, of which the second is one of 256 and names the key."""
    return _RING_FORMAT + hmac.digest(key, b"key mark", "sha256")[:1]


@dataclass(frozen=True)
class Keys:
    """The secrets everything hangs on."""

    master: bytes
    hashing: bytes | None  # None: the store keeps it, sealed under the master key
    next: bytes | None = None  # during a rotation: the master key that takes the place of `master`

    @classmethod
    def load(cls, directory: Path) -> Keys:
        """The keys in a folder. Raises OSError, and ValueError or SealError for what is no key."""
        master, hashing = ((directory / name).read_text(encoding="ascii") for name in ("master.key", "hash.key"))
        return cls.from_text(master, hashing, next_key(directory / NEXT_KEY))

    @classmethod
    def load_or_make(cls, directory: Path) -> Keys:
        """The keys in a data directory, made where there are none, readable by their owner alone."""
        return cls(
            _key_file(directory / "master.key"), _key_file(directory / "hash.key"), next_key(directory / NEXT_KEY)
        )

    @classmethod
    def from_text(cls, master: str, hashing: str | None, following: bytes | None = None) -> Keys:
        """From configuration: base64 or hexadecimal of 32 bytes each."""
        return cls(_key_text(master), None if hashing is None else _key_text(hashing), following)


class Codec:
    """The one way in and out of sealed values and hashed names."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        # The hashing secrets, the oldest first: it makes the names. Without the key of the configuration they come from the store.
        self._secrets: tuple[bytes, ...] = (keys.hashing or b"",)
        self._current = 0
        self._derived: dict[str, SigningKeys] = {}
        self._cells: CellSeal | None = None
        self.master, self.audit = Ring(), Ring()
        self.names = NameKeys()
        self.audit_keys: dict[str, bytes] = {}  # of the audit's entries, by the master key that each belongs to
        self._hold_own()

    def name_of(self, master: bytes) -> str:
        """What a master key is called in the store: its check value."""
        return self.hashed("key-check", hashlib.sha256(b"alertd" + master).hexdigest())

    def hold(self, master: bytes) -> None:
        """Open with this master key too, from now on."""
        name = self.name_of(master)
        self.master.hold(name, master)
        self.hold_audit(name, hmac.digest(master, b"audit entries", "sha256"))

    def hold_audit(self, name: str, key: bytes) -> None:
        """Read what the audit's entries say that were sealed under a master key, which may be gone."""
        self.audit_keys[name] = key
        self.audit.hold(name, key)

    def use(self, name: str) -> None:
        """Seal with this master key, from now on. Raises SealError if it is not held."""
        self.master.use(name)
        self.audit.use(name)

    def hashed(self, space: str, value: str) -> str:
        """A name for a value nobody can turn back: addresses, subscriber ids, case numbers."""
        return short_name(hmac.digest(self._secrets[0], f"{space}\0{value}".encode(), "sha256"))

    def derived(self, purpose: str) -> SigningKeys:
        """The keys for one purpose, from the hashing secrets. They change with the secrets."""
        if purpose not in self._derived:
            keys = self._keys_for(purpose)
            self._derived[purpose] = SigningKeys(*keys)
            self._derived[purpose].take(keys, keys[self._current])
        return self._derived[purpose]

    def take_secrets(self, found: Sequence[bytes], current: int) -> None:
        """Take the hashing secrets that the store keeps, the oldest first, and the number of the one that signs. Raises SealError if the hashing key that
        this codec was made with is none of them.
        """
        if self._keys.hashing is not None and self._keys.hashing not in found:
            raise SealError("the hashing key is not one of this store's")
        if (self._secrets, self._current) == (tuple(found), current):
            return
        renames = self._secrets[0] != found[0]
        self._secrets, self._current = tuple(found), current
        for purpose, signing in self._derived.items():
            keys = self._keys_for(purpose)
            signing.take(keys, keys[current])
        if renames:
            self.master.drop_all()
            self.audit.drop_all()
            self._hold_own()

    @property
    def has_secret(self) -> bool:
        """Whether it knows a hashing secret, of the configuration or of the store."""
        return self._secrets != (b"",)

    @property
    def first_secret(self) -> bytes:
        """The hashing secret that makes the names."""
        return self._secrets[0]

    @property
    def current_secret(self) -> bytes:
        """The hashing secret that signs."""
        return self._secrets[self._current]

    def _keys_for(self, purpose: str) -> tuple[bytes, ...]:
        said = b"derive\0" + purpose.encode()
        return tuple(hmac.digest(secret, said, hashlib.sha256) for secret in self._secrets)

    def _hold_own(self) -> None:
        for master in (self._keys.master, self._keys.next):
            if master is not None:
                self.hold(master)

    def new_key(self, name: str) -> bytes:
        """A fresh key, of a case or of the cells, wrapped under the master key."""
        return self.master.seal(secrets.token_bytes(KEY_BYTES), name)

    def case_box(self, wrapped: bytes, name: str) -> Box:
        return Box(self.master.open(wrapped, name))

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
        """Names the current master key. Kept in the store, so that a store is never opened with other keys than it was made with."""
        return self.master.names[0]


def next_key(path: Path) -> bytes | None:
    """Read a key file, None if it does not exist. Raises OSError; ValueError or SealError if it holds no key."""
    try:
        return _key_text(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def write_key(path: Path, key: bytes) -> None:
    """A key file for its owner alone, whole or not at all, on disk when this returns. Raises OSError."""
    part = path.with_suffix(".new")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, base64.b64encode(key) + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    part.rename(path)
    to_disk(path.parent)


def _key_file(path: Path) -> bytes:
    key = next_key(path)
    if key is None:
        key = secrets.token_bytes(KEY_BYTES)
        write_key(path, key)
    return key


def _key_text(text: str) -> bytes:
    text = text.strip()
    key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text)
    if len(key) != KEY_BYTES:
        raise SealError(f"a key must be {KEY_BYTES} bytes, as base64 or hexadecimal")
    return key
