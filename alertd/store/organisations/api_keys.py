"""API keys: one encrypted record for each key, because it names a person, and the list of each organisation's keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from alertd.store.engine import keys
from alertd.store.engine.bulk_reads import Batcher
from alertd.store.engine.connection import Connection

#: The time of a key's last use is stored for about a year.
USED_S = 400 * 86_400


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is stored: without its secret, which only its hash (`digest`) stands for."""

    org: str
    subject: str  # the person for whom the key acts
    scopes: tuple[str, ...]
    test: bool  # a test key: it cannot submit Actual alerts, and makes only test keys
    digest: str  # SHA-256 of the secret
    makers: tuple[str, ...] = ()  # the person who made it, the person who made the key used for that, and so on
    maker_org: str = ""  # organisation of the key that was used to make it
    expires: int = 0  # UNIX milliseconds; 0: never
    rate_per_min: int = 0  # maximum number of requests per minute; 0: no limit
    jurisdiction: str = ""  # JSON of `alertd.model.organisation.Jurisdiction`; '': that of its organisation
    old_digest: str = ""  # digest of the secret before the last rotation
    old_until: int = 0  # UNIX milliseconds until which the old secret is valid, too
    recovered: int = (
        0  # UNIX milliseconds at which `alertd keys recover` made it; 0: another key made it, or it is the first
    )


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredKey).decode


class ApiKeys:
    """The repository of API keys."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._reads = Batcher(self._read_many)

    async def add(self, key_id: str, stored: StoredKey) -> None:
        """Stores a new key, durably, and adds it to its organisation's list."""
        await self._db.execute(
            "SADD", keys.org(stored.org, "keys"), key_id
        )  # first, so that no key is missing in the list
        await self._db.execute_durably("SET", keys.api_key(key_id), self._sealed(key_id, stored))

    async def get(self, key_id: str) -> StoredKey | None:
        """Returns the key with this id, None if it does not exist."""
        return (await self._reads.one(key_id))[0]

    async def read_key(self, key_id: str) -> tuple[StoredKey | None, bytes]:
        """Returns the key with this id (None if it does not exist), and its stored bytes, which `replace` compares."""
        return await self._reads.one(key_id)

    async def _read_many(self, key_ids: Sequence[str]) -> list[tuple[StoredKey | None, bytes]]:
        """Reads several keys in one round trip, each with its stored bytes."""
        names = [keys.api_key(key_id) for key_id in key_ids]
        blobs = await self._db.mget(names)
        return [
            (self._opened(blob, name) if blob else None, blob or b"") for blob, name in zip(blobs, names, strict=True)
        ]

    async def replace(self, key_id: str, stored: StoredKey, *, seen: bytes) -> bool:
        """Replaces the key that was read as `seen`, durably. Returns False if it was changed or revoked since."""
        return bool(await self._db.run_durably("replace", [keys.api_key(key_id)], seen, self._sealed(key_id, stored)))

    async def remove(self, key_id: str, org: str) -> bool:
        """Deletes a key of the organisation `org`, durably. Returns False if that organisation has no such key."""
        stored = await self.get(key_id)
        if stored is None or stored.org != org:
            return False
        await self._db.execute_durably("DEL", keys.api_key(key_id), keys.api_key_used(key_id))
        await self._db.execute("SREM", keys.org(org, "keys"), key_id)
        return True

    async def of_org(self, org: str) -> list[tuple[str, StoredKey]]:
        """Returns the organisation's keys with their ids, sorted by id."""
        ids = sorted(raw.decode() for raw in await self._db.execute("SMEMBERS", keys.org(org, "keys")))
        names = [keys.api_key(key_id) for key_id in ids]
        blobs = await self._db.mget(names)
        return [
            (key_id, self._opened(blob, name)) for key_id, name, blob in zip(ids, names, blobs, strict=True) if blob
        ]

    async def use(self, key_id: str, now_ms: int) -> None:
        """Stores `now_ms` (UNIX ms) as the time of the key's last use."""
        await self._db.execute("SET", keys.api_key_used(key_id), now_ms, "EX", USED_S)

    async def used(self, key_ids: Sequence[str]) -> list[int]:
        """Returns the time of each key's last use (UNIX ms), 0 for never or for more than 400 days ago."""
        found = await self._db.mget([keys.api_key_used(key_id) for key_id in key_ids])
        return [int(raw or 0) for raw in found]

    def _sealed(self, key_id: str, stored: StoredKey) -> bytes:
        name = keys.api_key(key_id)
        return self._db.codec.master.seal(_encode(stored), name)

    def _opened(self, sealed: bytes, name: str) -> StoredKey:
        """Decrypts a key's record. Raises SealError if it was tampered with."""
        return _decode(self._db.codec.master.open(sealed, name))


def digest_of(secret: str) -> str:
    """Returns the SHA-256 of a secret of a code, a session or a key. Secrets are random, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
