"""What processes agree on about the master key: which one is current, who holds which, how a rotation stands, how often each key sealed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import count, repeat, takewhile
from typing import NamedTuple

import msgspec
import structlog

from alertd.store.engine import keys
from alertd.store.engine.codec import KEY_BYTES, SealError
from alertd.store.engine.connection import Connection, hash_in

#: A process that is silent for so long is taken for dead: on a machine that is overloaded a second may take several.
SIGN_MS = 10_000
#: So many unreadable values are named. An operator looks at some of them; more would fill the log.
NAMED = 20


class Phase(StrEnum):
    """Where a rotation stands."""

    NONE = ""
    SPREADING = "spreading"  # until every process holds the new key
    SEALING = "sealing"  # processes seal with the new key, and what the old one sealed is sealed anew
    JOINING = "joining"  # until every process verifies with a new hashing secret, and looks for people's names under a new name key
    NAMING = "naming"  # processes sign with the secret and make names with the key, and old names are renamed
    FINISHING = "finishing"  # nothing needs the old key any more
    DONE = "done"


class Found(msgspec.Struct, frozen=True):
    """What one or several pages of the walk found."""

    done: int = 0  # keys of the store that were looked at
    resealed: int = 0  # values, or names that were made anew
    left: int = 0  # values that are still under the old key: a writer came between, or they expire soon
    unreadable: int = 0  # values that are marked with the old key, and do not open under it
    named: tuple[str, ...] = ()  # the first of these, by the keys and fields of the store

    def __add__(self, other: Found) -> Found:
        return Found(
            done=self.done + other.done,
            resealed=self.resealed + other.resealed,
            left=self.left + other.left,
            unreadable=self.unreadable + other.unreadable,
            named=(self.named + other.named)[:NAMED],
        )


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """The last rotation of the master key. Times are UNIX milliseconds, 0 for not yet."""

    phase: Phase = Phase.NONE
    old: str = ""  # names of the keys
    new: str = ""
    started: int = 0
    flipped: int = 0  # when the new key became the current one, of the master key or of the name keys
    finished: int = 0
    total: int = 0  # keys of the store
    resealed: int = 0  # values that were sealed anew, in all passes
    renamed: int = 0  # and names
    named: int = 0  # name keys that everything is named with
    secrets: int = 0  # the number of the hashing secret that signs
    found: Found = Found()  # by the pass that is under way, or by the last
    place: str = ""  # where the pass goes on, see `resealing`; '' between two passes
    blocked: bool = False  # what is left is unreadable
    give_up: bool = False  # the operator gives that up

    @property
    def is_running(self) -> bool:
        """Whether both keys are needed."""
        return self.phase not in {Phase.NONE, Phase.DONE}

    @property
    def joins(self) -> bool:
        """Whether a new hashing secret joins, and people's names are under one of two keys of the store."""
        return self.phase in {Phase.JOINING, Phase.NAMING}

    def is_ready(self, said: Sequence[str]) -> bool:
        """Whether a process, by what it says in `beat`, is ready for the next step."""
        match self.phase:
            case Phase.SPREADING:
                return self.new in said
            case Phase.JOINING:
                return reads(self.secrets + 1) in said
            case Phase.NAMING:
                return makes(self.secrets + 1) in said
            case _:
                return said[:1] == (self.new,)


class StoredSecrets(NamedTuple):
    """The keys that the store keeps, sealed, each kind by its number."""

    names: list[bytes]  # from number 1 on
    secrets: list[bytes]  # hashing secrets, from number 0 on; none before the first rotation


Value = str | int | Found  # of a field of a rotation


def reads(number: int) -> str:
    """What a process says that verifies with this hashing secret, and looks for names under the name key that came with it."""
    return f"+{number}"


def makes(number: int) -> str:
    """What a process says that signs with this hashing secret, and makes names with the name key that came with it."""
    return f"={number}"


class MasterKeys:
    """The repository of what is known about master keys."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def beat(self, process: str, held: str, seals: Mapping[str, int]) -> tuple[str, Rotation]:
        """Say that a process lives, which keys it `held` (with spaces between, '' if it ends) and how often it sealed since. Returns the name
        of the current key, and the rotation.
        """
        names = [keys.PROCESSES, keys.SEALS, keys.ROTATION, keys.KEY_CHECK]
        counts = [part for pair in seals.items() for part in pair]
        check, fields = await self._db.run("keys_beat", names, process, held, SIGN_MS, self._db.skew_ms, *counts)
        return (check or b"").decode(), _rotation(hash_in(fields))

    async def rotation(self) -> Rotation:
        """The last rotation."""
        return _rotation(await self._db.hash_of(keys.ROTATION))

    async def processes(self) -> list[tuple[str, ...]]:
        """What each living process says: the master keys that it holds, the one it seals with first, and how it handles names."""
        found = (await self._db.hash_of(keys.PROCESSES)).values()
        return [tuple(said.decode().split()[1:]) for said in found]

    async def step(self, seen: Phase, *, check: str = "", **changes: Value) -> bool:
        """Take the rotation from a phase on, durably, and with `check` make that key the current one. False if it is in another phase."""
        pairs = [part for pair in _fields(changes).items() for part in pair]
        names = [keys.ROTATION, keys.KEY_CHECK]
        return bool(await self._db.run_durably("keys_rotate", names, str(seen), check, *pairs))

    async def note(self, **changes: Value) -> None:
        """How far the rotation is."""
        await self._db.execute("HSET", keys.ROTATION, *(part for pair in _fields(changes).items() for part in pair))

    async def seals(self, name: str) -> dict[str, int]:
        """How often a master key sealed, and the audit's key that is derived from it."""
        rings = ("master", "audit")
        found = await self._db.execute("HMGET", keys.SEALS, *(seal_counter(ring, name) for ring in rings))
        return {ring: int(count or 0) for ring, count in zip(rings, found, strict=True)}

    async def keep_secrets(self, name: str) -> None:
        """Keep, durably, what a master key that goes away leaves: the key of the audit's entries. Needs the new key to be the current one."""
        field = f"audit {name}"
        sealed = self._db.codec.master.seal(self._db.codec.audit_keys[name], _bound(field))
        await self._db.execute_many([("HSET", keys.SECRETS, field, sealed)], durable=True)

    async def add_name_key(self, number: int) -> None:
        """Make a name key, durably, unless it is there."""
        await self._add({f"names {number}": secrets.token_bytes(KEY_BYTES)})

    async def add_secret(self, number: int) -> None:
        """Make a hashing secret, durably, unless it is there. Keeps the first one too, which was in a file only."""
        await self._add({"hash 0": self._db.codec.first_secret, f"hash {number}": secrets.token_bytes(KEY_BYTES)})

    async def _add(self, made: Mapping[str, bytes]) -> None:
        seal = self._db.codec.master.seal
        commands = [("HSETNX", keys.SECRETS, field, seal(key, _bound(field))) for field, key in made.items()]
        await self._db.execute_many(commands, durable=True)

    async def load_secrets(self) -> StoredSecrets:
        """Take up the keys of the audit's entries that earlier master keys left. Returns the other keys, up to the first that does not open."""
        codec, found = self._db.codec, dict[tuple[str, int], bytes]()
        for raw, sealed in (await self._db.hash_of(keys.SECRETS)).items():
            field = raw.decode()
            kind, _, name = field.partition(" ")
            try:
                key = codec.master.open(sealed, _bound(field))
            except SealError:
                structlog.get_logger().error("store_key.read_failed", key=field)
                continue
            if kind == "audit":
                codec.hold_audit(name, key)
            else:
                found[kind, int(name)] = key
        names, hashing = (
            [found[one] for one in takewhile(found.__contains__, zip(repeat(kind), count(first)))]
            for kind, first in (("names", 1), ("hash", 0))
        )
        return StoredSecrets(names, hashing)

    async def forget(self, name: str) -> None:
        """Deletes the counters of a destroyed master key, and asks for a rewrite of the append-only file."""
        counters = [seal_counter(ring, name) for ring in ("master", "audit")]
        await self._db.execute_many(
            [("HDEL", keys.SEALS, *counters), ("HINCRBY", keys.PURGES, "asked", 1)], durable=True
        )


def _fields(values: Mapping[str, Value]) -> dict[str, str | int | bytes]:
    return {
        name: msgspec.json.encode(value)
        if isinstance(value, Found)
        else value
        if isinstance(value, str)
        else int(value)
        for name, value in values.items()
    }


def _rotation(fields: Mapping[bytes, bytes]) -> Rotation:
    values: dict[str, object] = {name.decode(): value.decode() for name, value in fields.items()}
    if "found" in values:
        values["found"] = msgspec.json.decode(fields[b"found"])
    return msgspec.convert(values, Rotation, strict=False)


def seal_counter(ring: str, name: str) -> str:
    """The field that counts the seals of a key."""
    return f"{ring} {name}"


def _bound(field: str) -> str:
    return f"{keys.SECRETS} {field}"
