"""Who has an id, and who has an address: claims under keyed hashes, so that neither can be read from the store.

A claim is made before the record that confirms it is written, and given up after the record is gone. One that no record
confirms is somebody's unfinished work: what was refused is withdrawn at once, what a crash left can be taken over after a grace.

No two claims of an address are the same bytes, so whoever read one and withdraws or replaces it never meets a later one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alertd.model.states import CHANNELS, folded_address
from alertd.store.engine import keys
from alertd.store.engine.connection import Call, Connection, names_of, values_of

_ONCE_BYTES = 2  # with the second: two alike would have to meet within one race of four steps


@dataclass(frozen=True, slots=True)
class AddressClaim:
    """An address (hashed) for a subscriber, under that subscriber's number for it, since a time (UNIX s)."""

    hashed: str
    number: int
    address: int
    since_s: int
    once: bytes = b""  # tells it from every other

    @classmethod
    def fresh(cls, hashed: str, number: int, address: int, since_s: int) -> AddressClaim:
        return cls(hashed, number, address, since_s, secrets.token_bytes(_ONCE_BYTES))

    def packed(self) -> bytes:
        """As it is kept: 5 bytes, 1, 4, 2."""
        return _number(self.number) + bytes((self.address,)) + self.since_s.to_bytes(4, "little") + self.once

    @classmethod
    def unpacked(cls, hashed: str, raw: bytes) -> AddressClaim:
        return cls(hashed, int.from_bytes(raw[:5], "little"), raw[5], int.from_bytes(raw[6:10], "little"), raw[10:])


class NameIndex:
    """The claims."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def claim_ids(self, ids: Sequence[str], numbers: Sequence[int]) -> list[int]:
        """The number of each id: the one offered if the id is new."""
        answers = await self._db.run_many_ahead(
            [
                ("claim", self._id_names(name), [_number(number), b"", ""])
                for name, number in zip(ids, numbers, strict=True)
            ]
        )
        return [int.from_bytes(answer, "little") for answer in answers]

    async def number_of(self, name: str) -> int | None:
        return (await self.numbers_of([name]))[0]

    async def numbers_of(self, names: Sequence[str]) -> list[int | None]:
        blobs = await values_of(self._db, keys.subscriber_id, [self._hashed(name) for name in names])
        return [int.from_bytes(blob, "little") if blob else None for blob in blobs]

    async def release_ids(self, held: Iterable[tuple[str, int]]) -> None:
        """Give up (id, subscriber) claims that still are that subscriber's."""
        await self._give_up((self._id_names(name), _number(number)) for name, number in held)

    async def claim_addresses(
        self, wanted: Sequence[tuple[AddressClaim, bool]], *, durably: bool = False
    ) -> list[AddressClaim]:
        """Claim each that is free; with True, put this claim in place of the same holder's. Answers the claims that stand. `durably`, where no
        record is written after it.
        """
        calls: list[Call] = [
            ("claim", self._address_names(claim), [claim.packed(), b"", int(renew)]) for claim, renew in wanted
        ]
        answers = await (self._db.run_many(calls, durable=True) if durably else self._db.run_many_ahead(calls))
        return [AddressClaim.unpacked(claim.hashed, answer) for (claim, _), answer in zip(wanted, answers, strict=True)]

    async def replace(self, pairs: Sequence[tuple[AddressClaim, AddressClaim]]) -> list[bool]:
        """Put a claim in place of this very one: pairs of what stands and what is wanted. Answers of each whether it was done."""
        answers = await self._db.run_many_ahead(
            [("claim", self._address_names(claim), [claim.packed(), old.packed(), ""]) for old, claim in pairs]
        )
        return [bool(answer == claim.packed()) for (_, claim), answer in zip(pairs, answers, strict=True)]

    async def holder(self, hashed: str) -> AddressClaim | None:
        """The claim that stands for an address."""
        return (await self.holders([hashed]))[0]

    async def holders(self, hashed: Sequence[str]) -> list[AddressClaim | None]:
        """The claims that stand for addresses."""
        blobs = await values_of(self._db, keys.address, hashed)
        return [AddressClaim.unpacked(name, blob) if blob else None for name, blob in zip(hashed, blobs, strict=True)]

    async def withdraw(self, claims: Iterable[AddressClaim]) -> None:
        """Give up these very claims, where they stand."""
        await self._give_up((self._address_names(claim), claim.packed()) for claim in claims)

    def address_hash(self, channel: int, value: str) -> str:
        """The name an address goes by, however it is spelt. It never changes, and no key of the store shows it after a rotation."""
        return self._db.codec.hashed(f"address:{CHANNELS[channel]}", folded_address(CHANNELS[channel], value))

    async def _give_up(self, claims: Iterable[tuple[list[str], bytes]]) -> None:
        calls = [("unclaim", names, [start]) for names, start in claims]
        if calls:
            await self._db.run_many(calls)

    def _hashed(self, name: str) -> str:
        return self._db.codec.hashed("subscriber", name)

    def _id_names(self, name: str) -> list[str]:
        return names_of(self._db, keys.subscriber_id, self._hashed(name))

    def _address_names(self, claim: AddressClaim) -> list[str]:
        return names_of(self._db, keys.address, claim.hashed)


def _number(number: int) -> bytes:
    return number.to_bytes(5, "little")
