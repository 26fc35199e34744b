"""Idempotency keys. A record holds the digest of the request, the id that the request makes, and the status of its answer.

The store has the key and the digest as HMACs. A plain digest of a body reveals a phone number in it: a thief can try all numbers of a country
in minutes.
"""

from __future__ import annotations

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

CLAIM_MS = 60_000  # longer than any request may take
KEPT_MS = DAY_MS


class Requests:
    """The repository of idempotency keys."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def claim(self, caller: str, key: str, digest: str, fresh_id: str) -> tuple[str, str, int]:
        """Claims a key. Returns ('fresh', id, 0), ('done', id, status), ('running', '', ms left) or ('mismatch', '', 0)."""
        word, *rest = await self._db.run_durably(
            "idempotency",
            [self._name(caller, key)],
            self._db.codec.hashed("idempotency-request", digest),
            fresh_id,
            CLAIM_MS,
            KEPT_MS,
            self._db.skew_ms,
        )
        match word.decode(), rest:
            case "done", [name, status]:
                return "done", name.decode(), int(status)
            case "running", [left]:
                return "running", "", int(left)
            case "fresh", [name]:
                return "fresh", name.decode(), 0
            case other, _:
                return other, "", 0

    async def finish(self, caller: str, key: str, made_id: str, status: int) -> None:
        """Stores the status of the answer and the id that the key stands for."""
        await self._db.execute("HSET", self._name(caller, key), "id", made_id, "status", status)

    async def release(self, caller: str, key: str, *, forget: bool) -> None:
        """Ends the claim of a request that was not carried out. `forget` deletes the key, else digest and id stay for the next try."""
        if forget:
            await self._db.execute("DEL", self._name(caller, key))
        else:
            await self._db.execute("HDEL", self._name(caller, key), "until")

    def _name(self, caller: str, key: str) -> str:
        return keys.idempotency(caller, self._db.codec.hashed("idempotency-key", key))
