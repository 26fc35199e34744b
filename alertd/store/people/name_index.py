"""Index from subscriber id and address to subscriber number. Keys are HMACs, so the store reveals neither.

A claim is written before the record that confirms it, and deleted after that record. A claim without a record is unfinished work: a
refused registration withdraws it at once, and another subscriber can take over a claim that a crash left, after a grace period.

Each claim of an address contains random bytes, so a process that withdraws or replaces a claim never hits a later one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alertd.model.states import CHANNELS, folded_address
from alertd.store.engine import keys
from alertd.store.engine.connection import Call, Connection, names_of, values_of

_ONCE_BYTES = 2  # random bytes; enough with the time in seconds: two equal claims would have to meet within one race of four steps


@dataclass(frozen=True, slots=True)
class AddressClaim:
    """A claim: the address with the hash `hashed` belongs to the subscriber `number`, as number `address` of that subscriber's addresses,
    since `since_s` (UNIX s).
    """

    hashed: str
    number: int
    address: int
    since_s: int
    once: bytes = b""  # random, makes the claim unique

    @classmethod
    def fresh(cls, hashed: str, number: int, address: int, since_s: int) -> AddressClaim:
        """Returns a new claim, with random bytes that make it unique."""
        return cls(hashed, number, address, since_s, secrets.token_bytes(_ONCE_BYTES))

    def packed(self) -> bytes:
        """Returns the stored form: subscriber number (5 bytes), address number (1), time (4), random bytes (2)."""
        return _number(self.number) + bytes((self.address,)) + self.since_s.to_bytes(4, "little") + self.once

    @classmethod
    def unpacked(cls, hashed: str, raw: bytes) -> AddressClaim:
        """Returns the claim from its stored form."""
        return cls(hashed, int.from_bytes(raw[:5], "little"), raw[5], int.from_bytes(raw[6:10], "little"), raw[10:])


class NameIndex:
    """Reads and writes the index: which subscriber number a subscriber id or an address belongs to. Each entry is a claim."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def claim_ids(self, ids: Sequence[str], numbers: Sequence[int]) -> list[int]:
        """Claims each id for the subscriber number at the same position. Returns for each the number that has the id now: another
        subscriber's if the id was taken.
        """
        answers = await self._db.run_many_ahead(
            [
                ("claim", self._id_names(name), [_number(number), b"", ""])
                for name, number in zip(ids, numbers, strict=True)
            ]
        )
        return [int.from_bytes(answer, "little") for answer in answers]

    async def number_of(self, name: str) -> int | None:
        """Returns the subscriber number that has the subscriber id `name`, None if the id is free."""
        return (await self.numbers_of([name]))[0]

    async def numbers_of(self, names: Sequence[str]) -> list[int | None]:
        """Returns for each subscriber id the number that has it, None if the id is free. One round trip."""
        blobs = await values_of(self._db, keys.subscriber_id, [self._hashed(name) for name in names])
        return [int.from_bytes(blob, "little") if blob else None for blob in blobs]

    async def release_ids(self, held: Iterable[tuple[str, int]]) -> None:
        """Deletes the claims of these (id, subscriber number) pairs that still belong to that subscriber."""
        await self._give_up((self._id_names(name), _number(number)) for name, number in held)

    async def claim_addresses(
        self, wanted: Sequence[tuple[AddressClaim, bool]], *, durably: bool = False
    ) -> list[AddressClaim]:
        """Stores the claim of each address that is free. `wanted`: pairs of a claim, and whether it replaces an earlier claim of the same
        subscriber to this address.

        Returns for each the claim that is stored now: another one if the address was taken. `durably`: waits for the disk, for a caller
        that writes no record afterwards.
        """
        calls: list[Call] = [
            ("claim", self._address_names(claim), [claim.packed(), b"", int(renew)]) for claim, renew in wanted
        ]
        answers = await (self._db.run_many(calls, durable=True) if durably else self._db.run_many_ahead(calls))
        return [AddressClaim.unpacked(claim.hashed, answer) for (claim, _), answer in zip(wanted, answers, strict=True)]

    async def replace(self, pairs: Sequence[tuple[AddressClaim, AddressClaim]]) -> list[bool]:
        """Replaces each stored claim by a new one, given as pairs (stored, new), if the stored claim is unchanged. Returns for each whether
        it was replaced.
        """
        answers = await self._db.run_many_ahead(
            [("claim", self._address_names(claim), [claim.packed(), old.packed(), ""]) for old, claim in pairs]
        )
        return [bool(answer == claim.packed()) for (_, claim), answer in zip(pairs, answers, strict=True)]

    async def holder(self, hashed: str) -> AddressClaim | None:
        """Returns the stored claim of the address with this hash, None if the address is free."""
        return (await self.holders([hashed]))[0]

    async def holders(self, hashed: Sequence[str]) -> list[AddressClaim | None]:
        """Returns the stored claim of each address (given by its hash), None for a free one. One round trip."""
        blobs = await values_of(self._db, keys.address, hashed)
        return [AddressClaim.unpacked(name, blob) if blob else None for name, blob in zip(hashed, blobs, strict=True)]

    async def withdraw(self, claims: Iterable[AddressClaim]) -> None:
        """Deletes these claims of addresses, each only if exactly this claim is still stored."""
        await self._give_up((self._address_names(claim), claim.packed()) for claim in claims)

    def address_hash(self, channel: int, value: str) -> str:
        """Returns the HMAC of an address on a channel (index in `CHANNELS`), the same for each spelling. It never changes. Keys of the
        store contain a name that is derived from it, and that changes with each rotation of the master key.
        """
        return self._db.codec.hashed(f"address:{CHANNELS[channel]}", folded_address(CHANNELS[channel], value))

    async def _give_up(self, claims: Iterable[tuple[list[str], bytes]]) -> None:
        """Deletes each claim, given by its store keys, if its stored bytes still begin with the given ones."""
        calls = [("unclaim", names, [start]) for names, start in claims]
        if calls:
            await self._db.run_many(calls)

    def _hashed(self, name: str) -> str:
        """Returns the HMAC of a subscriber id."""
        return self._db.codec.hashed("subscriber", name)

    def _id_names(self, name: str) -> list[str]:
        """Returns the store keys that may hold the claim of a subscriber id: one, or two during a rotation."""
        return names_of(self._db, keys.subscriber_id, self._hashed(name))

    def _address_names(self, claim: AddressClaim) -> list[str]:
        """Returns the store keys that may hold a claim of this address: one, or two during a rotation."""
        return names_of(self._db, keys.address, claim.hashed)


def _number(number: int) -> bytes:
    """Returns the stored form of a subscriber number: 5 bytes."""
    return number.to_bytes(5, "little")
