"""A short queue in the store whose entries contain an address: encrypted, and deleted if no worker takes them."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from alertd.store.engine.connection import Connection

#: All entries of a queue are deleted this long (ms) after the last was added.
WAITS_MS = 60_000
T = TypeVar("T", bound=msgspec.Struct)


class SealedQueue(Generic[T]):
    """A queue of encrypted entries of one type, under one key of the store."""

    def __init__(self, connection: Connection, key: str, entry: type[T]) -> None:
        self._db = connection
        self._key = key
        self._encoder, self._decoder = msgspec.json.Encoder(), msgspec.json.Decoder(entry)

    async def add(self, entry: T) -> None:
        """Appends an entry, and lets all entries live WAITS_MS from now. Raises StoreUnavailableError."""
        sealed = self._db.codec.master.seal(self._encoder.encode(entry), self._key)
        await self._db.execute_many([("RPUSH", self._key, sealed), ("PEXPIRE", self._key, WAITS_MS)])

    async def take(self) -> T | None:
        """Removes and returns the next entry, None if there is none. No other worker gets it. Raises
        StoreUnavailableError.
        """
        sealed = await self._db.execute("LPOP", self._key)
        return None if sealed is None else self._decoder.decode(self._db.codec.master.open(sealed, self._key))
