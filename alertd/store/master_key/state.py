"""The shared state of the master key: which key is current, which keys each process holds, the progress of a rotation, and how many values
each key has sealed.
"""

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

#: A process without a heartbeat for this long (ms) is considered dead. On an overloaded machine a heartbeat, due every second, may take
#: several.
SIGN_MS = 10_000
#: Maximum number of unreadable values that are listed by name: enough for an operator to examine, few enough for the log.
NAMED = 20


class Phase(StrEnum):
    """Phase of a rotation."""

    NONE = ""
    SPREADING = "spreading"  # waits until every process holds the new key
    SEALING = "sealing"  # processes seal with the new key, and old values are sealed again
    JOINING = "joining"  # waits until every process verifies with a new hashing secret and looks for names under a new name key
    NAMING = "naming"  # processes sign with the secret and make names with the key, and old names are renamed
    FINISHING = "finishing"  # nothing needs the old key any more
    DONE = "done"


class Found(msgspec.Struct, frozen=True):
    """Counts of a rotation's walk over all keys of the store, from one or several pages of it."""

    done: int = 0  # number of store keys that were read
    resealed: int = 0  # number of values sealed again, or keys renamed
    left: int = 0  # number of values still under the old key: changed concurrently, or expiring soon
    unreadable: int = 0  # number of values marked as sealed under the old key that it does not open
    named: tuple[str, ...] = ()  # store keys and fields of the first unreadable values

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
    total: int = 0  # number of keys in the store, of which `found.done` are read
    resealed: int = 0  # number of values sealed again, in all passes
    renamed: int = 0  # number of keys renamed, in all passes
    named: int = 0  # number of name keys with which all names are made
    secrets: int = 0  # index of the hashing secret that signs
    found: Found = Found()  # counts of the current pass, or of the last
    place: str = ""  # next position of the pass, see `resealing.Place`; '' between two passes
    blocked: bool = False  # whether only unreadable values are left
    give_up: bool = False  # whether the operator accepts the loss of these values

    @property
    def is_running(self) -> bool:
        """Returns whether a rotation is in progress, so that processes need the old and the new key."""
        return self.phase not in {Phase.NONE, Phase.DONE}

    @property
    def joins(self) -> bool:
        """Returns whether the rotation is adding a hashing secret and a name key. Hashed names are then stored under the old or the new
        name key.
        """
        return self.phase in {Phase.JOINING, Phase.NAMING}

    def is_ready(self, said: Sequence[str]) -> bool:
        """Returns whether a process has done what the current phase waits for. `said`: the words of its heartbeat (see
        `MasterKeys.processes`).
        """
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
    """The keys that the store keeps sealed, each kind in the order of its numbers."""

    names: list[bytes]  # from number 1 on
    secrets: list[bytes]  # hashing secrets, from number 0 on; none before the first rotation


Value = str | int | Found  # value of a field of a rotation


def reads(number: int) -> str:
    """Returns the word in a heartbeat of a process that verifies with this hashing secret and looks for names under the name key that came
    with it.
    """
    return f"+{number}"


def makes(number: int) -> str:
    """Returns the word in a heartbeat of a process that signs with this hashing secret and makes names with the name key that came with it."""
    return f"={number}"


class MasterKeys:
    """The repository of the master keys' shared state."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def beat(self, process: str, held: str, seals: Mapping[str, int]) -> tuple[str, Rotation]:
        """Stores the heartbeat of a process: `held`, the words for the keys that it holds (separated by spaces, '' if the process ends),
        and `seals`, how many values it sealed since the last heartbeat, by `seal_counter`. Returns the name of the current key, and the
        rotation.
        """
        names = [keys.PROCESSES, keys.SEALS, keys.ROTATION, keys.KEY_CHECK]
        counts = [part for pair in seals.items() for part in pair]
        check, fields = await self._db.run("keys_beat", names, process, held, SIGN_MS, self._db.skew_ms, *counts)
        return (check or b"").decode(), _rotation(hash_in(fields))

    async def rotation(self) -> Rotation:
        """Returns the last rotation, in progress or not."""
        return _rotation(await self._db.hash_of(keys.ROTATION))

    async def processes(self) -> list[tuple[str, ...]]:
        """Returns the words of each process's last heartbeat: the names of the master keys that it holds, the one it seals with first, then
        `reads` and `makes`.
        """
        found = (await self._db.hash_of(keys.PROCESSES)).values()
        return [tuple(said.decode().split()[1:]) for said in found]

    async def step(self, seen: Phase, *, check: str = "", **changes: Value) -> bool:
        """Sets the fields `changes` of the rotation, durably, if it is still in the phase `seen`; returns False otherwise. A new `phase` is
        one of them. `check`: name of the key that becomes the current one ('' to keep it).
        """
        pairs = [part for pair in _fields(changes).items() for part in pair]
        names = [keys.ROTATION, keys.KEY_CHECK]
        return bool(await self._db.run_durably("keys_rotate", names, str(seen), check, *pairs))

    async def note(self, **changes: Value) -> None:
        """Stores these fields of the rotation, as its progress."""
        await self._db.execute("HSET", keys.ROTATION, *(part for pair in _fields(changes).items() for part in pair))

    async def seals(self, name: str) -> dict[str, int]:
        """Returns how many values a master key has sealed, and how many the audit key derived from it: by "master" and "audit"."""
        rings = ("master", "audit")
        found = await self._db.execute("HMGET", keys.SEALS, *(seal_counter(ring, name) for ring in rings))
        return {ring: int(count or 0) for ring, count in zip(rings, found, strict=True)}

    async def keep_secrets(self, name: str) -> None:
        """Stores the audit key of the master key `name`, durably, before that master key is destroyed. It is sealed under the current
        master key, which must already be the new one.
        """
        field = f"audit {name}"
        sealed = self._db.codec.master.seal(self._db.codec.audit_keys[name], _bound(field))
        await self._db.execute_durably("HSET", keys.SECRETS, field, sealed)

    async def add_name_key(self, number: int) -> None:
        """Makes the name key with this number, durably, unless it exists."""
        await self._add({f"names {number}": secrets.token_bytes(KEY_BYTES)})

    async def add_secret(self, number: int) -> None:
        """Makes the hashing secret with this number, durably, unless it exists. Also stores the first secret, which was only in a file."""
        await self._add({"hash 0": self._db.codec.first_secret, f"hash {number}": secrets.token_bytes(KEY_BYTES)})

    async def _add(self, made: Mapping[str, bytes]) -> None:
        """Stores keys by field, sealed under the current master key, durably. Keeps those that exist."""
        seal = self._db.codec.master.seal
        commands = [("HSETNX", keys.SECRETS, field, seal(key, _bound(field))) for field, key in made.items()]
        await self._db.execute_many(commands, durable=True)

    async def load_secrets(self) -> StoredSecrets:
        """Reads the keys that the store keeps, sealed under the master key. Audit keys go into the codec. Returns the name keys and hashing
        secrets, each kind up to the first that is missing. Logs and skips a key that does not open.
        """
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
        """Deletes the counters of seals of a destroyed master key, and asks for a rewrite of the append-only file, which may still hold
        values under it.
        """
        counters = [seal_counter(ring, name) for ring in ("master", "audit")]
        await self._db.execute_many(
            [("HDEL", keys.SEALS, *counters), ("HINCRBY", keys.PURGES, "asked", 1)], durable=True
        )


def _fields(values: Mapping[str, Value]) -> dict[str, str | int | bytes]:
    """Returns a rotation's fields as stored: `Found` as JSON, booleans as 0 or 1."""
    return {
        name: msgspec.json.encode(value)
        if isinstance(value, Found)
        else value
        if isinstance(value, str)
        else int(value)
        for name, value in values.items()
    }


def _rotation(fields: Mapping[bytes, bytes]) -> Rotation:
    """Reads a rotation from its stored fields. A missing field has its default."""
    values: dict[str, object] = {name.decode(): value.decode() for name, value in fields.items()}
    if "found" in values:
        values["found"] = msgspec.json.decode(fields[b"found"])
    return msgspec.convert(values, Rotation, strict=False)


def seal_counter(ring: str, name: str) -> str:
    """Returns the name of the counter of a key's seals. `ring`: "master" or "audit"."""
    return f"{ring} {name}"


def _bound(field: str) -> str:
    """Returns the name to which a key that the store keeps is bound when it is sealed."""
    return f"{keys.SECRETS} {field}"
