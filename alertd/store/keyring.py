"""API keys: one record a key, and each organisation's list of them."""

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
        await self._db.execute("SET", keys.api_key(key_id), _encode(stored))

    async def get(self, key_id: str) -> StoredKey | None:
        raw = await self._db.execute("GET", keys.api_key(key_id))
        return _decode(raw) if raw else None

    async def remove(self, key_id: str, org: str) -> bool:
        stored = await self.get(key_id)
        if stored is None or stored.org != org:
            return False
        await self._db.execute("DEL", keys.api_key(key_id))
        await self._db.execute("SREM", keys.org(org, "keys"), key_id)
        return True

    async def of_org(self, org: str) -> list[tuple[str, StoredKey]]:
        ids = sorted(raw.decode() for raw in await self._db.execute("SMEMBERS", keys.org(org, "keys")))
        blobs = await self._db.mget([keys.api_key(key_id) for key_id in ids])
        return [(key_id, _decode(blob)) for key_id, blob in zip(ids, blobs, strict=True) if blob]
