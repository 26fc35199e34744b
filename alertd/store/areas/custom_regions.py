"""The regions that operators drew: number, revision, organisation and document of each. Also the numbers of imported regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: Maximum number of drawn regions. Every API process holds all of them in memory.
MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A region that an operator drew."""

    code: str
    number: int  # counted from 1
    revision: int
    org: str
    document: bytes  # JSON


#: Value of `seen` for a region that must not exist yet. No revision is negative; -1 stands for a condition that no revision fulfils.
NOTHING = -2


class TooManyDrawingsError(Exception):
    """The store already has MOST drawn regions."""


class CustomRegions:
    """The repository of drawn regions."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def edition(self) -> int:
        """Returns a number that grows with every change of any drawn region."""
        return int(await self._db.execute("HGET", keys.COUNTERS, "drawings") or 0)

    async def all(self) -> list[Drawing]:
        """Returns all drawn regions, by code."""
        found = await self._db.hash_of(keys.DRAWN)
        return [_drawing(code.decode(), value) for code, value in sorted(found.items())]

    async def put(self, code: str, org: str, document: bytes, *, revision: int, seen: int | None) -> tuple[str, int]:
        """Stores a drawn region, durably. `seen`: the revision that it must have now (None: any; `NOTHING`: it must not exist). Returns
        'done' and its number; 'changed' and 0 if it has another revision; 'foreign' and 0 if it belongs to another organisation. Raises
        TooManyDrawingsError.
        """
        word, *rest = await self._db.run_durably(
            "draw",
            [keys.DRAWN, keys.COUNTERS],
            code,
            quote(org),
            "" if seen is None else seen,
            revision,
            MOST,
            document,
        )
        if word == -2:
            raise TooManyDrawingsError
        return {1: "done", 0: "changed", -1: "foreign"}[word], int(rest[0]) if word == 1 else 0

    async def delete(self, code: str, org: str | None, *, seen: int | None) -> str:
        """Deletes a drawn region of the organisation `org` (None: of any), durably. Its number is not used again.

        Returns 'done', 'changed' if it has another revision than `seen` (None: any), or 'unknown' if there is no such region.
        """
        word = await self._db.run_durably(
            "delete_drawing",
            [keys.DRAWN, keys.COUNTERS],
            code,
            "" if org is None else quote(org),
            "" if seen is None else seen,
        )
        return {1: "done", 0: "changed", -1: "unknown"}[word]

    async def clash(self, numbers: Mapping[str, int]) -> tuple[int, str, str] | None:
        """Stores the numbers of imported regions, given by code. Subscribers' places refer to these numbers, so all machines must use the
        same.

        Returns None if they are stored. If a number belongs to another region already, stores none of them and returns that number, the
        code that has it and the code that wants it.
        """
        if not numbers:
            return None
        known = {int(number): code.decode() for number, code in (await self._db.hash_of(keys.NUMBERS)).items()}
        for code, number in numbers.items():
            if known.get(number, code) != code:
                return number, known[number], code
        fresh = [(number, code) for code, number in numbers.items() if number not in known]
        kept = await self._db.execute_many([("HSETNX", keys.NUMBERS, str(number), code) for number, code in fresh])
        return None if all(kept) else await self.clash(numbers)  # another process stored one of them at the same moment


def _drawing(code: str, value: bytes) -> Drawing:
    """Reads a drawn region from its stored form."""
    number, revision, org, document = value.split(b" ", 3)
    return Drawing(code=code, number=int(number), revision=int(revision), org=unquote(org.decode()), document=document)
