"""API keys: one record a key, sealed because it names a person, and each organisation's list of them."""

from __future__ import annotations

import msgspec

from alertd.store import keys
from alertd.store.connection import Connection


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as kept: never its secret."""

    org: str
    subject: str
    scopes: tuple[str, ...]
    test: bool
    digest: str
    makers: tuple[str, ...] = ()  # who made it, who made the key it was made with, and so on


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredKey).decode


class Keyring:
    """The repository of API keys."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def add(self, key_id: str, stored: StoredKey) -> None:
        await self._db.execute("SADD", keys.org(stored.org, "keys"), key_id)  # first, so that no key is out of sight
        name = keys.api_key(key_id)
        await self._db.execute("SET", name, self._db.codec.master.seal(_encode(stored), name))

    async def get(self, key_id: str) -> StoredKey | None:
        name = keys.api_key(key_id)
        sealed = await self._db.execute("GET", name)
        return self._opened(sealed, name) if sealed else None

    async def remove(self, key_id: str, org: str) -> bool:
        stored = await self.get(key_id)
        if stored is None or stored.org != org:
            return False
        await self._db.execute("DEL", keys.api_key(key_id))
        await self._db.execute("SREM", keys.org(org, "keys"), key_id)
        return True

    async def of_org(self, org: str) -> list[tuple[str, StoredKey]]:
        ids = sorted(raw.decode() for raw in await self._db.execute("SMEMBERS", keys.org(org, "keys")))
        names = [keys.api_key(key_id) for key_id in ids]
        blobs = await self._db.mget(names)
        return [
            (key_id, self._opened(blob, name)) for key_id, name, blob in zip(ids, names, blobs, strict=True) if blob
        ]

    def _opened(self, sealed: bytes, name: str) -> StoredKey:
        return _decode(self._db.codec.master.open(sealed, name))
