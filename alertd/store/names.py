"""Who has an id, and who has an address: claims under keyed hashes, so that neither can be read from the store.

A claim is made before the record that confirms it is written, and given up after the record is gone. One that no record
confirms is somebody's unfinished work: what was refused is withdrawn at once, what a crash left can be taken over after a grace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alertd.alerts import CHANNELS
from alertd.store import keys
from alertd.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Claim:
    """An address (hashed) for a subscriber, under that subscriber's number for it, since a time (UNIX s)."""

    hashed: str
    number: int
    address: int
    since_s: int

    def packed(self) -> bytes:
        """As it is kept: 5 bytes, 1, 4."""
        return _number(self.number) + bytes((self.address,)) + self.since_s.to_bytes(4, "little")

    @classmethod
    def unpacked(cls, hashed: str, raw: bytes) -> Claim:
        return cls(hashed, int.from_bytes(raw[:5], "little"), raw[5], int.from_bytes(raw[6:10], "little"))


class Names:
    """The claims."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def claim_ids(self, ids: Sequence[str], numbers: Sequence[int]) -> list[int]:
        """The number of each id: the one offered if the id is new."""
        answers = await self._db.run_many(
            [("claim", [self._id_key(name)], [_number(number), b""]) for name, number in zip(ids, numbers, strict=True)]
        )
        return [int.from_bytes(answer, "little") for answer in answers]

    async def number_of(self, name: str) -> int | None:
        return (await self.numbers_of([name]))[0]

    async def numbers_of(self, names: Sequence[str]) -> list[int | None]:
        blobs = await self._db.mget([self._id_key(name) for name in names])
        return [int.from_bytes(blob, "little") if blob else None for blob in blobs]

    async def release_ids(self, held: Iterable[tuple[str, int]]) -> None:
        """Give up (id, subscriber) claims that still are that subscriber's."""
        await self._give_up((self._id_key(name), _number(number)) for name, number in held)

    async def claim_addresses(self, wanted: Sequence[Claim]) -> list[Claim]:
        """Claim each that is free. Answers the claims that stand."""
        answers = await self._db.run_many(
            [("claim", [keys.address(claim.hashed)], [claim.packed(), b""]) for claim in wanted]
        )
        return [Claim.unpacked(claim.hashed, answer) for claim, answer in zip(wanted, answers, strict=True)]

    async def take_over(self, claim: Claim, *, grace_s: int) -> bool:
        """Take an address whose holder's record does not confirm it, once that claim is older than the grace."""
        standing = await self.holder(claim.hashed)
        if standing and claim.since_s - standing.since_s < grace_s:
            return False
        replaced = standing.packed() if standing else b""
        answer = await self._db.run("claim", [keys.address(claim.hashed)], claim.packed(), replaced)
        return bool(answer == claim.packed())

    async def holder(self, hashed: str) -> Claim | None:
        """The claim that stands for an address."""
        raw = await self._db.execute("GET", keys.address(hashed))
        return Claim.unpacked(hashed, raw) if raw else None

    async def release_addresses(self, held: Iterable[tuple[str, int]]) -> None:
        """Give up (hashed address, subscriber) claims that still are that subscriber's."""
        await self._give_up((keys.address(hashed), _number(number)) for hashed, number in held)

    async def withdraw(self, claims: Iterable[Claim]) -> None:
        """Give up these very claims, where they stand."""
        await self._give_up((keys.address(claim.hashed), claim.packed()) for claim in claims)

    def address_hash(self, channel: int, value: str) -> str:
        return self._db.codec.hashed(f"address:{CHANNELS[channel]}", value)

    async def _give_up(self, claims: Iterable[tuple[str, bytes]]) -> None:
        calls = [("unclaim", [name], [start]) for name, start in claims]
        if calls:
            await self._db.run_many(calls)

    def _id_key(self, name: str) -> str:
        return keys.subscriber_id(self._db.codec.hashed("subscriber", name))


def _number(number: int) -> bytes:
    return number.to_bytes(5, "little")
