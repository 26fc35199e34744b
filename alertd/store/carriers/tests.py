"""Tests of carriers: what an operator asked for, until a worker takes it, and what the carrier answered."""

from __future__ import annotations

import msgspec

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: As long as an Idempotency-Key is kept: asked again under it, the same answer is told.
KEPT_MS = DAY_MS
#: What no worker takes is gone so long after the last one was asked for: nobody waits for it, and each has somebody's address.
WAITS_MS = 60_000


class CarrierTest(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one address."""

    id: str
    carrier: str
    to: str  # secret
    language: str
    until: int  # UNIX milliseconds: later nobody waits for it, and it is not sent


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it, in the words of `channels.base`."""

    answer: str
    reason: str
    took_ms: int
    code: str = ""  # with `server`, `said` and `settings`: a `service.causes.Cause`; "" where the carrier accepted it
    server: str = ""
    said: str = ""
    settings: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode
_test = msgspec.json.Decoder(CarrierTest).decode
_answered = msgspec.json.Decoder(Answered).decode


class CarrierTestQueue:
    """The repository of tests."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def add(self, test: CarrierTest) -> None:
        sealed = self._db.codec.master.seal(_encode(test), keys.CARRIER_TESTS)
        await self._db.execute_many([("RPUSH", keys.CARRIER_TESTS, sealed), ("PEXPIRE", keys.CARRIER_TESTS, WAITS_MS)])

    async def take(self) -> CarrierTest | None:
        """The next one, which is nobody else's from now on."""
        sealed = await self._db.execute("LPOP", keys.CARRIER_TESTS)
        return None if sealed is None else _test(self._db.codec.master.open(sealed, keys.CARRIER_TESTS))

    async def answer(self, test_id: str, answered: Answered) -> None:
        await self._db.execute("SET", keys.carrier_test(test_id), _encode(answered), "PX", KEPT_MS)

    async def answered(self, test_id: str) -> Answered | None:
        raw = await self._db.execute("GET", keys.carrier_test(test_id))
        return None if raw is None else _answered(raw)
