"""What processes agree on about the master key: which one is current, who holds which, how a rotation stands, how often each key sealed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from pathlib import Path

import msgspec
import structlog

from alertd.background import repeated
from alertd.clock import Clock
from alertd.store import keys
from alertd.store.codec import SealError, next_key
from alertd.store.connection import Connection, StoreUnavailableError, hash_in

#: A process that is silent for so long is taken for dead: on a machine that is overloaded a second may take several.
SIGN_MS = 10_000
BEAT_S = 1.0


class Phase(StrEnum):
    """Where a rotation stands."""

    NONE = ""
    SPREADING = "spreading"  # until every process holds the new key
    SEALING = "sealing"  # processes seal with the new key, and what the old one sealed is sealed anew
    FINISHING = "finishing"  # nothing needs the old key any more
    DONE = "done"


class Found(msgspec.Struct, frozen=True):
    """What a page of the walk that seals anew found, or several pages."""

    done: int = 0  # keys of the store that were looked at
    resealed: int = 0
    left: int = 0  # values that are still under the old key: somebody wrote meanwhile, or they will be gone
    unreadable: int = 0  # values that are marked with the old key, and do not open under it

    def __add__(self, other: Found) -> Found:
        return Found(*map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """The last rotation of the master key. Times are UNIX milliseconds, 0 for not yet."""

    phase: Phase = Phase.NONE
    old: str = ""  # names of the keys
    new: str = ""
    started: int = 0
    flipped: int = 0  # when the new key became the current one
    finished: int = 0
    total: int = 0  # keys of the store
    resealed: int = 0  # values that were sealed anew, in all passes
    found: Found = Found()  # by the pass that is under way, or by the last
    place: str = ""  # where the pass goes on, see `resealing`; '' between two passes
    blocked: bool = False  # what is left is unreadable
    give_up: bool = False  # the operator gives that up

    @property
    def is_running(self) -> bool:
        """Whether both keys are needed."""
        return self.phase in {Phase.SPREADING, Phase.SEALING, Phase.FINISHING}


Value = str | int | Found  # of a field of a rotation


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
        """The names of the keys that each living process holds, the one it seals with first."""
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
        found = await self._db.execute("HMGET", keys.SEALS, *(_counter(ring, name) for ring in rings))
        return {ring: int(count or 0) for ring, count in zip(rings, found, strict=True)}

    async def keep_secrets(self, name: str) -> None:
        """Keep, durably, what a master key that goes away leaves: the key of the audit's entries. Needs the new key to be the current one."""
        field = _audit_field(name)
        sealed = self._db.codec.master.seal(self._db.codec.audit_key(name), _bound(field))
        await self._db.execute_durably([("HSET", keys.SECRETS, field, sealed)])

    async def load_secrets(self) -> None:
        """Take up the keys of the audit's entries that earlier master keys left."""
        for raw, sealed in (await self._db.hash_of(keys.SECRETS)).items():
            field = raw.decode()
            try:
                self._db.codec.hold_audit(field.partition(" ")[2], self._db.codec.master.open(sealed, _bound(field)))
            except SealError:
                structlog.get_logger().error("audit key unreadable", key=field)

    async def forget(self, name: str) -> None:
        """Leave nothing of a master key that is gone, and have the append-only file rewritten."""
        counters = [_counter(ring, name) for ring in ("master", "audit")]
        await self._db.execute_durably([("HDEL", keys.SEALS, *counters), ("HINCRBY", keys.PURGES, "asked", 1)])


class KeyWatch:
    """Keeps this process's keys as the store wants them. Every process that opens a store has one."""

    def __init__(self, connection: Connection, next_file: Path | None) -> None:
        self._master_keys = MasterKeys(connection)
        self._codec = connection.codec
        self._next_file = next_file  # where the new key appears during a rotation
        self._process = secrets.token_hex(8)
        self._missing = ""  # the key that the log knows to be missing

    @asynccontextmanager
    async def kept(self, clock: Clock) -> AsyncIterator[None]:
        """Says that this process lives, now and every second as long as this lasts. Raises StoreUnavailableError where it cannot at first."""
        await self.beat()
        await self._master_keys.load_secrets()
        async with repeated("master keys", self._beat_again, BEAT_S, clock):
            yield
        with suppress(StoreUnavailableError):
            await self._master_keys.beat(self._process, "", self._taken())

    async def beat(self) -> None:
        """Say which keys this process holds, load the one that it lacks, and use the current one. Raises StoreUnavailableError."""
        check, rotation = await self._master_keys.beat(self._process, " ".join(self._codec.master.names), self._taken())
        if rotation.is_running and not self._codec.holds(rotation.new):
            self._load(rotation.new)
        if self._codec.holds(check):
            self._codec.use(check)
            if rotation.phase is Phase.DONE:
                self._codec.master.drop_others()

    async def _beat_again(self) -> None:
        with suppress(StoreUnavailableError):  # whoever needs the store logs that
            await self.beat()

    def _load(self, name: str) -> None:
        """Hold the new key if its file has appeared. Without it this process keeps the rotation from going on."""
        try:
            key = next_key(self._next_file) if self._next_file else None
        except (OSError, ValueError, SealError):
            key = None
        if key is not None and self._codec.name_of(key) == name:
            self._codec.hold(key)
        elif self._missing != name:
            self._missing = name
            structlog.get_logger().error(
                "new master key missing", file=str(self._next_file), see="store.next_master_key_file"
            )

    def _taken(self) -> dict[str, int]:
        """The seals that nobody has counted. They are not counted if the store does not answer: a few seconds of 2^32."""
        rings = {"master": self._codec.master, "audit": self._codec.audit}
        return {_counter(ring, name): count for ring, one in rings.items() for name, count in one.take_seals().items()}


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


def _counter(ring: str, name: str) -> str:
    return f"{ring} {name}"


def _audit_field(name: str) -> str:
    return f"audit {name}"


def _bound(field: str) -> str:
    return f"{keys.SECRETS} {field}"
