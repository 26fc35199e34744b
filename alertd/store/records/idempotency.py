"""Idempotency keys. A record holds the digest of the request, the id that the request makes, and the status of its answer.

The store has the key and the digest as HMACs. A plain digest of a body reveals a phone number in it: a thief can try all numbers of a country
in minutes.
"""

from __future__ import annotations

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

CLAIM_MS = 60_000  # how long a claim without an answer lasts: longer than any request may take
KEPT_MS = DAY_MS


class Requests:
    """The repository of idempotency keys."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def claim(self, caller: str, key: str, digest: str, fresh_id: str) -> tuple[str, str, int]:
        """Claims an idempotency key for a request with this digest, durably. Returns ('fresh', id, 0) if the request must be carried out,
        with the id for what it makes; ('done', id, status) if it was; ('running', '', ms left) while another try of it runs; ('mismatch',
        '', 0) if the key was used for another request.
        """
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
        """Stores that the request was carried out: the status of the answer and the id that it made."""
        await self._db.execute("HSET", self._name(caller, key), "id", made_id, "status", status)

    async def release(self, caller: str, key: str, *, forget: bool) -> None:
        """Ends the claim of a request that was not carried out, so that it can be tried again. `forget` deletes the key; otherwise its
        digest and id stay for the next try.
        """
        if forget:
            await self._db.execute("DEL", self._name(caller, key))
        else:
            await self._db.execute("HDEL", self._name(caller, key), "until")

    def _name(self, caller: str, key: str) -> str:
        """Returns the store key of a caller's idempotency key."""
        return keys.idempotency(caller, self._db.codec.hashed("idempotency-key", key))
