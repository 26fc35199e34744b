"""Test messages to carriers that an operator requests: the queue until a worker takes a test, and the carrier's answers."""

from __future__ import annotations

import msgspec

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: How long an answer is stored: as long as an Idempotency-Key, because a repeated request with the same key returns the
#: same answer.
KEPT_MS = DAY_MS
#: Tests that no worker takes are deleted this long after the latest request: no operator waits for them, and each
#: contains a person's address.
WAITS_MS = 60_000


class CarrierTest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to send one test message to one address."""

    id: str
    carrier: str
    to: str  # secret
    language: str
    until: int  # UNIX ms; later no operator waits for the result, and nothing is sent


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a test message: the carrier's answer, as in `channels.base`."""

    answer: str
    reason: str
    took_ms: int
    code: str = ""  # with `server`, `said` and `settings`: a `service.causes.Cause`; "" if accepted
    server: str = ""
    said: str = ""
    settings: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode
_test = msgspec.json.Decoder(CarrierTest).decode
_answered = msgspec.json.Decoder(Answered).decode


class CarrierTestQueue:
    """The repository of carrier tests and their results."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def add(self, test: CarrierTest) -> None:
        sealed = self._db.codec.master.seal(_encode(test), keys.CARRIER_TESTS)
        await self._db.execute_many([("RPUSH", keys.CARRIER_TESTS, sealed), ("PEXPIRE", keys.CARRIER_TESTS, WAITS_MS)])

    async def take(self) -> CarrierTest | None:
        """Removes and returns the next test, None if there is none. No other worker gets it."""
        sealed = await self._db.execute("LPOP", keys.CARRIER_TESTS)
        return None if sealed is None else _test(self._db.codec.master.open(sealed, keys.CARRIER_TESTS))

    async def answer(self, test_id: str, answered: Answered) -> None:
        await self._db.execute("SET", keys.carrier_test(test_id), _encode(answered), "PX", KEPT_MS)

    async def answered(self, test_id: str) -> Answered | None:
        raw = await self._db.execute("GET", keys.carrier_test(test_id))
        return None if raw is None else _answered(raw)
