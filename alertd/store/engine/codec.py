"""Encryption of the store's values (sealing), and keyed hashes that find addresses without storing them in clear.

Subscribers are sealed with AES-256-GCM under the master key. An alert's document is sealed under the key of its case, which is stored
wrapped by the master key: destroying the wrapped key destroys every copy of the document. The records of the cells are sealed under a key
of their own (`cell_seal`), wrapped in the same way. A sealed value is `1 byte format | 12 bytes nonce | ciphertext and tag`. The name of
its store key is associated data, so a value that was moved to another store key does not open. Nonces are random: 96 bits allow 2^32 seals
a key before a repeat is likelier than 2^-32.

The master key rotates (decision 0056). During a rotation a process holds two master keys: a `KeyRing` seals under the current key and opens
under every key that it holds. Values sealed by a ring have their own format byte and one more byte that names the key. The audit's stream
cannot be rewritten. Its entries are therefore sealed under a key derived from the master key: the derived key outlives the rotation, the
master key does not.

A rotation also adds a hashing secret. The first secret makes the hashes by which the store finds values. The current secret signs, and
every secret verifies. The file `hash.key` holds the current secret. The store keeps all secrets, sealed under the master key.
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
#: When a key has made this many seals, the operator should rotate it: half of the limit that random nonces set.
MOST_SEALS = 2**31
_HASH_BYTES = 12  # 96 bits: among 10^9 addresses a chance collision is below 10^-10


@dataclass(frozen=True, slots=True)
class NameKeys:
    """The keys that turn a hash of an id or address (`Codec.hashed`) into its name in the store. Each rotation adds a key.

    Each key hashes the previous name once more, so a rotation can make the new name from the old one without the plain text. A name begins
    with the number of keys that made it. During a rotation one key is `joining`: a value is then stored under its old or its new name.
    """

    settled: tuple[bytes, ...] = ()
    joining: bytes | None = None
    prefers_new: bool = False  # whether new values are written under the new name

    def stored(self, hashed: str) -> tuple[str, ...]:
        """Returns the names under which the store may have the value with this hash (from `Codec.hashed`): one, or two during a rotation. A
        new value is written under the first.
        """
        old = hashed
        for number, key in enumerate(self.settled, 1):
            old = _renamed(number, key, old)
        if self.joining is None:
            return (old,)
        return (self.after(old), old) if self.prefers_new else (old, self.after(old))

    def after(self, old: str) -> str:
        """Returns the name that replaces `old` in a rotation: `old` is made with the earlier keys, the new one with the added key."""
        assert self.joining is not None
        return _renamed(len(self.settled) + 1, self.joining, old)

    def is_old(self, name: str) -> bool:
        """Returns whether a name in the store was made before this rotation, without the name key that it adds."""
        number = name.partition(".")[0] if "." in name else "0"
        return int(number) == len(self.settled)


def _renamed(number: int, key: bytes, name: str) -> str:
    """Returns `name` hashed with the name key of this number: `NUMBER.HASH`."""
    return f"{number}.{short_name(hmac.digest(key, name.encode(), 'sha256'))}"


def short_name(digest: bytes) -> str:
    """Returns the first 96 bits of a keyed hash as URL-safe base64: the form in which the store uses it in names."""
    return base64.urlsafe_b64encode(digest[:_HASH_BYTES]).decode()


class SealError(Exception):
    """A sealed value does not open: wrong key, or not the value that was stored here."""


class Box:
    """Encrypts and decrypts values with AES-256-GCM under one key."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._key = key

    def seal(self, plain: bytes, name: str) -> bytes:
        """Returns `plain`, encrypted. `open` needs the same `name`."""
        nonce = os.urandom(_NONCE)
        return _FORMAT + nonce + self._aead.encrypt(nonce, plain, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """Returns the plain value. Raises SealError for another key, format or `name` than it was sealed with."""
        if sealed[:1] != _FORMAT:
            raise SealError("a sealed value has an unknown format")
        try:
            return self._aead.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], name.encode())
        except (InvalidTag, ValueError):
            raise SealError("a sealed value does not open under this key") from None

    def hashed(self, value: bytes) -> str:
        """Returns an HMAC of the value (hex) under a key derived from the box's key. It can be compared only while the key exists;
        afterwards it reveals nothing.
        """
        own_key = hmac.digest(self._key, b"values", "sha256")
        return hmac.digest(own_key, value, "sha256").hex()


@dataclass(slots=True)
class _Held:
    """One key in a `KeyRing`."""

    name: str
    mark: bytes  # first two bytes of its values: the ring's format, a byte that names the key
    box: Box
    seals: int = 0  # number of seals that `take_seals` has not returned yet


class KeyRing:
    """Seals under the current key and opens under every key that it holds. Counts the seals of each key."""

    def __init__(self) -> None:
        # Replaced as a whole, never changed: other threads open values meanwhile.
        self._keys: tuple[_Held, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the names of the keys that the ring holds, the current key first."""
        return tuple(key.name for key in self._keys)

    def mark(self, name: str) -> bytes:
        """Returns the first two bytes of every value that the named key sealed in a ring. Raises KeyError if the ring does not hold the
        key.
        """
        return {key.name: key.mark for key in self._keys}[name]

    def hold(self, name: str, key: bytes) -> None:
        """Adds a key: from now on the ring also opens values under it. The first key that is added is the current one, under which the ring
        seals.
        """
        if name not in self.names:
            self._keys = (*self._keys, _Held(name, mark_of(key), Box(key)))

    def use(self, name: str) -> None:
        """Makes the named key the current one: from now on the ring seals under it. Raises SealError if the ring does not hold it."""
        if name not in self.names:
            raise SealError("the store's current master key is not held here")
        self._keys = tuple(sorted(self._keys, key=lambda key: key.name != name))

    def drop_all(self) -> None:
        """Removes all keys from the ring."""
        self._keys = ()

    def drop_others(self) -> None:
        """Removes all keys but the current one from the ring."""
        self._keys = self._keys[:1]

    def seal(self, plain: bytes, name: str) -> bytes:
        """Returns `plain`, encrypted under the current key. `name` is associated data: `open` needs the same name."""
        current = self._keys[0]
        current.seals += 1
        return current.mark + current.box.seal(plain, name)[1:]

    def open(self, sealed: bytes, name: str) -> bytes:
        """Returns the plain value that was sealed with this name. Raises SealError if no key of the ring opens it."""
        for key in self._keys:
            if sealed[:_MARK] == key.mark:
                with suppress(SealError):  # another held key may have the same mark byte
                    return key.box.open(_FORMAT + sealed[_MARK:], name)
        raise SealError("a sealed value does not open under a key that is held here")

    def take_seals(self) -> dict[str, int]:
        """Returns by key name how many values each key has sealed since the last call of this method. Leaves out keys without seals."""
        taken = {key.name: key.seals for key in self._keys if key.seals}
        for key in self._keys:
            key.seals -= taken.get(key.name, 0)
        return taken


def mark_of(key: bytes) -> bytes:
    """Returns the first two bytes of every value that a ring seals under this key: the ring's format, then a byte derived from the key. Two
    keys may share that byte.
    """
    return _RING_FORMAT + hmac.digest(key, b"key mark", "sha256")[:1]


@dataclass(frozen=True)
class Keys:
    """The secrets on which all encryption and hashing depend: the master key and the hashing key."""

    master: bytes
    hashing: bytes | None  # None: the store keeps it, sealed under the master key
    next: bytes | None = None  # during a rotation: the master key that takes the place of `master`

    @classmethod
    def load(cls, directory: Path) -> Keys:
        """Reads the keys from the files of a folder. Raises OSError, or ValueError or SealError if a file holds no key."""
        master, hashing = ((directory / name).read_text(encoding="ascii") for name in ("master.key", "hash.key"))
        return cls.from_text(master, hashing, next_key(directory / NEXT_KEY))

    @classmethod
    def load_or_make(cls, directory: Path) -> Keys:
        """Reads the keys from a data directory. Makes each missing key file, readable by its owner alone. Raises as `load` does."""
        return cls(
            _key_file(directory / "master.key"), _key_file(directory / "hash.key"), next_key(directory / NEXT_KEY)
        )

    @classmethod
    def from_text(cls, master: str, hashing: str | None, following: bytes | None = None) -> Keys:
        """Makes the keys from configuration texts: 32 bytes each, as base64 or hexadecimal. `following` is the next master key during a
        rotation. Raises ValueError or SealError.
        """
        return cls(_key_text(master), None if hashing is None else _key_text(hashing), following)


class Codec:
    """Seals and opens the store's values, and hashes names. All code does so through this class."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        # The hashing secrets, the oldest first: the oldest makes the names. If the configuration has no hashing key,
        # they come from the store.
        self._secrets: tuple[bytes, ...] = (keys.hashing or b"",)
        self._current = 0
        self._derived: dict[str, SigningKeys] = {}
        self._cells: CellSeal | None = None
        self.master, self.audit = KeyRing(), KeyRing()
        self.names = NameKeys()
        self.audit_keys: dict[str, bytes] = {}  # audit keys, by the name of their master key
        self._hold_own()

    def name_of(self, master: bytes) -> str:
        """Returns the name of a master key in the store: a keyed hash of the key, which also serves as its check value."""
        return self.hashed("key-check", hashlib.sha256(b"alertd" + master).hexdigest())

    def hold(self, master: bytes) -> None:
        """Adds a master key: from now on values under it, and audit entries under the key derived from it, can be opened."""
        name = self.name_of(master)
        self.master.hold(name, master)
        self.hold_audit(name, hmac.digest(master, b"audit entries", "sha256"))

    def hold_audit(self, name: str, key: bytes) -> None:
        """Adds the key of the audit entries that belong to the master key `name` (which may be destroyed), so that they can be opened."""
        self.audit_keys[name] = key
        self.audit.hold(name, key)

    def use(self, name: str) -> None:
        """Seals under this master key from now on, and audit entries under the key that belongs to it. Raises SealError if the codec does
        not hold it.
        """
        self.master.use(name)
        self.audit.use(name)

    def hashed(self, space: str, value: str) -> str:
        """Returns a keyed hash of an address, subscriber id, case number or other value: 96 bits as base64. Equal values in different
        `space`s have different hashes. Always uses the oldest secret, so a hash never changes.
        """
        return short_name(hmac.digest(self._secrets[0], f"{space}\0{value}".encode(), "sha256"))

    def derived(self, purpose: str) -> SigningKeys:
        """Returns the signing keys for one purpose, derived from the hashing secrets. The returned object is updated in place when the
        secrets change.
        """
        if purpose not in self._derived:
            keys = self._keys_for(purpose)
            self._derived[purpose] = SigningKeys(*keys)
            self._derived[purpose].take(keys, keys[self._current])
        return self._derived[purpose]

    def take_secrets(self, found: Sequence[bytes], current: int) -> None:
        """Replaces the hashing secrets by those that the store keeps, the oldest first. `current`: index of the secret that signs. Raises
        SealError if the hashing key that this codec was made with is not among them.
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
        """Returns whether the codec has a hashing secret, from the configuration or from the store."""
        return self._secrets != (b"",)

    @property
    def first_secret(self) -> bytes:
        """Returns the oldest hashing secret, which makes the names in the store."""
        return self._secrets[0]

    @property
    def current_secret(self) -> bytes:
        """Returns the hashing secret that signs."""
        return self._secrets[self._current]

    def _keys_for(self, purpose: str) -> tuple[bytes, ...]:
        """Returns the signing key of one purpose for each hashing secret, the oldest secret first."""
        said = b"derive\0" + purpose.encode()
        return tuple(hmac.digest(secret, said, hashlib.sha256) for secret in self._secrets)

    def _hold_own(self) -> None:
        """Holds the master keys of the configuration: the current one and, during a rotation, the next."""
        for master in (self._keys.master, self._keys.next):
            if master is not None:
                self.hold(master)

    def new_key(self, name: str) -> bytes:
        """Returns a new random key (for a case or for the cells), wrapped under the master key and bound to `name`."""
        return self.master.seal(secrets.token_bytes(KEY_BYTES), name)

    def case_box(self, wrapped: bytes, name: str) -> Box:
        """Returns the key of a case, unwrapped with the master key. Raises SealError if it does not open."""
        return Box(self.master.open(wrapped, name))

    def use_cell_key(self, wrapped: bytes, name: str) -> None:
        """Unwraps the store's cell key and uses it in `cells`. Raises SealError if the master key does not open it."""
        self._cells = CellSeal(self.master.open(wrapped, name))

    @property
    def cells(self) -> CellSeal:
        """Returns the object that seals and opens the records of the cells. Raises SealError before the store's cell key was loaded: see
        `schema.load_cell_key`.
        """
        if self._cells is None:
            raise SealError("the store's cell key was not loaded")
        return self._cells

    @property
    def check_value(self) -> str:
        """Returns the name of the current master key. The store keeps it, so that alertd refuses to open a store with other keys than those
        it was made with.
        """
        return self.master.names[0]


def next_key(path: Path) -> bytes | None:
    """Reads a key file. Returns the 32 bytes, or None if the file does not exist. Raises OSError, or ValueError or SealError if the file
    holds no key.
    """
    try:
        return _key_text(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def write_key(path: Path, key: bytes) -> None:
    """Writes a key file that only its owner can read, whole or not at all. It is on disk on return. Raises OSError."""
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
    """Returns the key in a file. Makes the file with a new random key if it does not exist."""
    key = next_key(path)
    if key is None:
        key = secrets.token_bytes(KEY_BYTES)
        write_key(path, key)
    return key


def _key_text(text: str) -> bytes:
    """Returns the 32 bytes of a key written as base64 or hexadecimal. Raises ValueError or SealError."""
    text = text.strip()
    key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text)
    if len(key) != KEY_BYTES:
        raise SealError(f"a key must be {KEY_BYTES} bytes, as base64 or hexadecimal")
    return key
