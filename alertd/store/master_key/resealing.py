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
#: The kinds of store keys that hold values sealed under the master key: how each holds them, by its name in the table of keys.
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
    """A sealed value as it was read."""

    name: str  # store key
    field: str  # field of a hash; '' for a string
    blob: bytes
    head: int  # bytes before the sealed part, not encrypted
    bound: str  # name to which the value is bound (associated data)


class Resealing:
    """Carries out a rotation's passes over all keys of the store, one page (SCAN step) at a time."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def begin(self) -> tuple[Place, int]:
        """Returns the position at which a new pass starts, and the number of keys in the store."""
        sizes = [await self._ask(at, "DBSIZE") for at in range(len(self._db.nodes.all))]
        return Place(await self._servers()), sum(map(int, sizes))

    async def goes_on(self, place: Place) -> bool:
        """Returns whether the pass can continue at this position: the store has the same servers, and none restarted."""
        return place.servers == await self._servers()

    async def page(self, place: Place, old: bytes) -> tuple[Place, Found]:
        """Seals the values of the next page that begin with `old` (the old key's two-byte mark) under the new key. If
        `old` is empty, renames store keys with old hashed names. Returns the next position and this page's counts. The
        caller checks `goes_on` first: `page` does not notice a restarted server. Raises StoreUnavailableError.
        """
        cursor, raw = await self._ask(place.at, "SCAN", place.cursor, "COUNT", PAGE)
        names = [name.decode(errors="replace") for name in raw]
        found = Found(done=len(names)) + await (self._renewed(names, old) if old else self._renamed(names))
        cursor = int(cursor)
        return (replace(place, cursor=cursor) if cursor else replace(place, at=place.at + 1, cursor=0)), found

    async def _renamed(self, names: Iterable[str]) -> Found:
        """Renames those of the store keys that contain an old hashed name, durably."""
        name_keys, pairs = self._db.codec.names, list[str]()
        for name in names:
            parts = NAMED.fullmatch(name)
            if parts and name_keys.is_old(parts[2]):
                pairs += [name, f"{parts[1]}{name_keys.after(parts[2])}{parts[3]}"]
        return Found(resealed=await self._db.run_durably("rename", pairs) if pairs else 0)

    async def _renewed(self, names: Iterable[str], old: bytes) -> Found:
        """Seals anew those values of these store keys that begin with `old`, the mark of the old key. Values in lists that soon expire are
        only counted.
        """
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
        """Reads the values of store keys that are strings."""
        blobs = await self._db.mget([name for name, _ in kinds])
        return [
            _Value(name, "", blob, kind.head, kind.bound(name))
            for (name, kind), blob in zip(kinds, blobs, strict=True)
            if blob
        ]

    async def _fields(self, kinds: Sequence[tuple[str, Fields]]) -> list[_Value]:
        """Reads the sealed fields of store keys that are hashes."""
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
        """Seals the values under the current key and stores each, durably, if it is unchanged. Counts those that changed meanwhile as
        `left`.
        """
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
    """Returns for each kind of store key with sealed values a pattern of its name, grouped by the first letter of the hash tag."""
    found: dict[str, list[tuple[re.Pattern[str], Sealed]]] = {}
    for name, kind in SEALED.items():
        form = re.sub(r"<[^>]+>", "[^{}]+", re.sub(r"([{}])", r"\\\1", name))
        found.setdefault(name[1], []).append((re.compile(form), kind))
    return found


def kind_of(name: str) -> Sealed | None:
    """Returns how this store key holds values sealed under the master key (in a string, in fields or in an expiring list), None if it holds
    none.
    """
    for pattern, kind in _patterns().get(name[1:2], ()):
        if pattern.fullmatch(name):
            return kind
    return None
