"""Walks over all keys of the store, page by page, to seal values under the new master key, or to rename keys with old hashed names.

The second byte of a sealed value names its key. The walk replaces a value only if it has not changed since it was read. A concurrent write
therefore wins, and it is sealed under the new key anyway. A cursor of SCAN is invalid after its server restarts, so a pass starts again if
the servers have changed. The walk is complete when one whole pass finds no old value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from alertd.store.engine import key_table
from alertd.store.engine.codec import SealError
from alertd.store.engine.connection import UNAVAILABLE, Arg, Connection, checked, hash_in, translated
from alertd.store.engine.key_table import Fields, Passing, Sealed, Strings
from alertd.store.master_key.state import Found

#: Matches the store's keys whose names contain a hash of a person's data: subscriber ids, addresses, hard bounces, the suppression list,
#: external ids. A rotation renames them.
NAMED = re.compile(r"(\{[htie]:)([^{}]+)(\}(?::dead)?)")
#: Number of keys that one SCAN step reads: a few milliseconds of the server and of this process.
PAGE = 500
#: The kinds of keys with values sealed under the master key, by their names in the table of keys.
SEALED: dict[str, Sealed] = {kind.name: kind.sealed for kind in key_table.TABLE if kind.sealed}


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a pass over the store: the servers that it visits, the index of the current one, and that server's SCAN cursor."""

    servers: tuple[str, ...]
    at: int = 0
    cursor: int = 0

    @property
    def is_end(self) -> bool:
        """Returns whether the pass has visited all servers."""
        return self.at >= len(self.servers)

    def __str__(self) -> str:
        return f"{','.join(self.servers)} {self.at} {self.cursor}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Returns the position in a text made by `str`. For an empty text returns a position that fits no pass."""
        servers, at, cursor = text.split() if text else ("", "0", "0")
        return cls(tuple(servers.split(",")), int(at), int(cursor))


@dataclass(frozen=True, slots=True)
class _Value:
    """A sealed value as it was read: store key, field of a hash ('' for a string), bytes, length of the plain head, associated data."""

    name: str
    field: str
    blob: bytes
    head: int
    bound: str


class Resealing:
    """Performs the walk, one page at a time."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def begin(self) -> tuple[Place, int]:
        """Returns the start of a new pass, and the number of keys in the store."""
        sizes = [await self._ask(at, "DBSIZE") for at in range(len(self._db.nodes.all))]
        return Place(await self._servers()), sum(map(int, sizes))

    async def goes_on(self, place: Place) -> bool:
        """Returns whether the pass can continue: its servers are still the current ones and did not restart."""
        return place.servers == await self._servers()

    async def page(self, place: Place, old: bytes) -> tuple[Place, Found]:
        """Processes the next page of keys: seals anew the values that begin with the key mark `old`, or, if `old` is empty, renames keys
        with old names. Returns the next position and the counts. Raises StoreUnavailableError.
        """
        cursor, raw = await self._ask(place.at, "SCAN", place.cursor, "COUNT", PAGE)
        names = [name.decode(errors="replace") for name in raw]
        found = Found(done=len(names)) + await (self._renewed(names, old) if old else self._renamed(names))
        cursor = int(cursor)
        return (replace(place, cursor=cursor) if cursor else replace(place, at=place.at + 1, cursor=0)), found

    async def _renamed(self, names: Iterable[str]) -> Found:
        name_keys, pairs = self._db.codec.names, list[str]()
        for name in names:
            parts = NAMED.fullmatch(name)
            if parts and name_keys.is_old(parts[2]):
                pairs += [name, f"{parts[1]}{name_keys.after(parts[2])}{parts[3]}"]
        return Found(resealed=await self._db.run_durably("rename", pairs) if pairs else 0)

    async def _renewed(self, names: Iterable[str], old: bytes) -> Found:
        strings, hashes, left = list[tuple[str, Strings]](), list[tuple[str, Fields]](), 0
        for name in names:
            match kind_of(name):
                case Strings() as kind:
                    strings.append((name, kind))
                case Fields() as kind:
                    hashes.append((name, kind))
                case Passing():
                    entries = await self._db.execute("LRANGE", name, 0, -1)
                    left += sum(entry.startswith(old) for entry in entries)
        values = [*await self._strings(strings), *await self._fields(hashes)]
        return Found(left=left) + await self._replaced([one for one in values if one.blob.startswith(old, one.head)])

    async def _strings(self, kinds: Sequence[tuple[str, Strings]]) -> list[_Value]:
        blobs = await self._db.mget([name for name, _ in kinds])
        return [
            _Value(name, "", blob, kind.head, kind.bound(name))
            for (name, kind), blob in zip(kinds, blobs, strict=True)
            if blob
        ]

    async def _fields(self, kinds: Sequence[tuple[str, Fields]]) -> list[_Value]:
        asked = [("HMGET", name, *kind.names) if kind.names else ("HGETALL", name) for name, kind in kinds]
        answers = await self._db.execute_many(asked) if asked else []
        found = list[_Value]()
        for (name, kind), answer in zip(kinds, answers, strict=True):
            pairs = (
                zip(kind.names, answer, strict=True)
                if kind.names
                else ((field.decode(), blob) for field, blob in hash_in(answer).items())
            )
            found += [_Value(name, field, blob, 0, kind.bound(name, field)) for field, blob in pairs if blob]
        return found

    async def _replaced(self, values: Sequence[_Value]) -> Found:
        names, args, unreadable, ring = list[str](), list[tuple[Arg, Arg, Arg]](), list[str](), self._db.codec.master
        for one in values:
            try:
                fresh = ring.seal(ring.open(one.blob[one.head :], one.bound), one.bound)
            except SealError:
                unreadable.append(f"{one.name} {one.field}".rstrip())
            else:
                names.append(one.name)
                args.append((one.field, one.blob, one.blob[: one.head] + fresh))
        calls = [
            ("reseal", [names[i] for i in part], [arg for i in part for arg in args[i]])
            for part in self._db.nodes.parts(names)
        ]
        done = sum(await self._db.run_many(calls, durable=True)) if calls else 0
        return Found(resealed=done, left=len(names) - done, unreadable=len(unreadable), named=tuple(unreadable))

    async def _servers(self) -> tuple[str, ...]:
        """Returns the run id of each server, which changes when the server restarts."""
        found = [await self._ask(at, "INFO", "server") for at in range(len(self._db.nodes.all))]
        return tuple(str(one["run_id"]) for one in found)

    async def _ask(self, at: int, *command: Arg) -> Any:
        """Sends a command to the server with index `at`, and returns its answer. Raises StoreUnavailableError."""
        nodes = self._db.nodes
        try:
            return checked(await nodes.lines(nodes.all[at]).ask([command]))[0]
        except UNAVAILABLE as error:
            raise translated(error) from error


@cache
def _patterns() -> dict[str, list[tuple[re.Pattern[str], Sealed]]]:
    """Returns the patterns of the sealed kinds of keys, grouped by the first letter of the hash tag."""
    found: dict[str, list[tuple[re.Pattern[str], Sealed]]] = {}
    for name, kind in SEALED.items():
        form = re.sub(r"<[^>]+>", "[^{}]+", re.sub(r"([{}])", r"\\\1", name))
        found.setdefault(name[1], []).append((re.compile(form), kind))
    return found


def kind_of(name: str) -> Sealed | None:
    """Returns how a store key holds values sealed under the master key, or None if it holds none."""
    for pattern, kind in _patterns().get(name[1:2], ()):
        if pattern.fullmatch(name):
            return kind
    return None
