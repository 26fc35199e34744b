"""The keyed hashes that name people's ids and addresses in the store, and the keys that a rotation adds to them."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass

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
        """The new name for an old one."""
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
