"""Test messages to carriers that an operator requests: the queue until a worker takes a test, and the carrier's answers."""

from __future__ import annotations

import msgspec

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.engine.sealed_queue import SealedQueue

#: How long (ms) an answer is stored: as long as an Idempotency-Key, because a repeated request with the same key returns the same answer.
KEPT_MS = DAY_MS


class CarrierTest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to send one test message to one address."""

    id: str
    carrier: str
    to: str  # the address, which is secret
    language: str
    until: int  # UNIX ms; later no operator waits for the result, and nothing is sent


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a test message: the carrier's answer, as in `channels.base`."""

    answer: str
    reason: str
    took_ms: int
    code: str = ""  # with `server`, `said` and `settings`, why it failed, as in `service.causes.Cause`; "" if accepted
    server: str = ""
    said: str = ""
    settings: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode
_answered = msgspec.json.Decoder(Answered).decode


class CarrierTestQueue(SealedQueue[CarrierTest]):
    """The queue of test messages that operators asked for, and their results."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, keys.CARRIER_TESTS, CarrierTest)

    async def answer(self, test_id: str, answered: Answered) -> None:
        """Stores the result of a test for KEPT_MS."""
        await self._db.execute("SET", keys.carrier_test(test_id), _encode(answered), "PX", KEPT_MS)

    async def answered(self, test_id: str) -> Answered | None:
        """Returns the result of a test, None if there is none yet."""
        raw = await self._db.execute("GET", keys.carrier_test(test_id))
        return None if raw is None else _answered(raw)
