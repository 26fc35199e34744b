"""Rotates the master key while the service runs.

    spreading   alertd makes the new master key, or the operator supplies it. Every process loads it
    sealing     the new master key is the current one. When every process seals with it, a walk seals all old values again
    joining     the store has a new hashing secret and a new name key. Every process verifies with the secret too, and looks for people's ids
                and addresses under the old and the new name
    naming      processes sign with the new hashing secret and write new names. When every process does, a walk renames the rest
    finishing   alertd destroys the old keys on disk and rewrites the append-only file
    done        every process has dropped the old key

The API process that holds the lease takes these steps. The store has each step, so another process continues where one stopped. The service
never stops for it: a process opens values of both keys from `spreading` to `done`. In a cluster an old name and its new one are on two servers,
and no step covers both, so the names stay.
"""

from __future__ import annotations

import secrets
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import msgspec
import structlog

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.repetition import repeated
from alertd.store.engine import keys
from alertd.store.engine.codec import MOST_SEALS, Codec, SealError, next_key
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.master_key.key_files import make_next, replace_hash_key, retire_old
from alertd.store.master_key.key_watch import KeyWatch
from alertd.store.master_key.resealing import Place, Resealing
from alertd.store.master_key.state import SIGN_MS, Found, MasterKeys, Phase, Rotation

POLL_S = 1.0
LEADS_MS = 15_000
#: Ms after a new key became the current one until the walk (encrypting the old values again) starts. Requests that were
#: under way then still write values sealed with the old key.
SETTLE_MS = SIGN_MS
#: Seconds that the walk works in one round. Then it stores how far it got, and continues in the next round.
BITE_S = 2.0
WARN_EVERY_S = 3_600.0

NO_NEW_KEY = (
    "Each process needs the new key first. Set store.next_master_key_file to a file with 32 random bytes in base64 "
    "(openssl rand -base64 32), the same on every machine, and try again."
)
SAME_MARK = "The new key has the same mark as the old one, as 1 of 256 keys has. Make another key."


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state of a rotation."""

    rotation: Rotation
    waiting: int  # processes that do not hold the new key, or do not seal with it yet
    seals: dict[str, int]  # number of seals by the current key, and by the audit's key


@dataclass(kw_only=True)
class KeyRotation:
    """Starts a rotation, reports its state, and takes its steps."""

    connection: Connection
    watch: KeyWatch
    directory: Path | None  # the directory of an embedded store's keys; alertd makes the new key there
    next_file: Path | None
    clock: Clock
    _name: str = field(default_factory=lambda: secrets.token_hex(8))
    _warned: float = -inf

    def __post_init__(self) -> None:
        self._keys = MasterKeys(self.connection)
        self._walk = Resealing(self.connection)

    @property
    def _codec(self) -> Codec:
        """Returns the codec of the store, which holds the master keys."""
        return self.connection.codec

    async def start(self, *, give_up: bool = False) -> Standing:
        """Starts a rotation, or returns the running one. If unreadable values have stopped that one, it checks all
        values again. With `give_up` it finishes without them.

        Raises Problem, StoreUnavailableError.
        """
        seen = await self._keys.rotation()
        if not seen.is_running:
            await self._begin(seen)
        elif give_up or seen.blocked:
            await self._keys.note(give_up=give_up, blocked=False)
        return await self.standing()

    async def standing(self) -> Standing:
        """Returns the state of the last rotation."""
        rotation = await self._keys.rotation()
        waiting = len(await self._without(rotation)) if rotation.is_running else 0
        return Standing(rotation=rotation, waiting=waiting, seals=await self.seals())

    async def seals(self) -> dict[str, int]:
        """Returns the number of seals by the current master key, and by the audit's key derived from it."""
        return await self._keys.seals(self._codec.check_value)

    def run(self) -> AbstractAsyncContextManager[None]:
        """Returns a context: while it is open, this process takes the steps of a rotation."""
        return repeated("rotation of the master key", self.round, POLL_S, self.clock)

    async def round(self) -> None:
        """Takes the next step of a running rotation, unless another process takes the steps."""
        with suppress(StoreUnavailableError):
            await self._warn()
            rotation = await self._keys.rotation()
            if rotation.is_running and await self._leads():
                await self.watch.beat()  # this process does not trail behind the step that it takes
                await self._step(rotation)

    async def _leads(self) -> bool:
        """Returns whether this process takes the steps. Takes or renews the lease; another process takes over 15
        seconds after the last renewal.
        """
        return bool(await self.connection.run("process_lease", [keys.ROTATOR], self._name, LEADS_MS))

    async def _begin(self, seen: Rotation) -> None:
        """Gets the new master key, loads it in this process, and stores that the rotation spreads it. Raises Problem if
        it is the old key, or has the same mark (the first two bytes of every value that a key sealed).
        """
        new = self._new_key()
        old_name, new_name = self._codec.check_value, self._codec.name_of(new)
        if new_name == old_name:
            raise Problem("precondition-failed", NO_NEW_KEY)
        self._codec.hold(new)
        if self._codec.master.mark(new_name) == self._codec.master.mark(old_name):
            self._codec.master.drop_others()
            raise Problem("precondition-failed", SAME_MARK)
        now = self.clock.now_ms()
        fresh = Rotation(
            phase=Phase.SPREADING, old=old_name, new=new_name, started=now, named=seen.named, secrets=seen.secrets
        )
        if await self._keys.step(seen.phase, **msgspec.structs.asdict(fresh)):
            structlog.get_logger().info("master_key.rotation_started")
            await self.watch.beat()  # announces that this process holds the new key

    def _new_key(self) -> bytes:
        """Returns the new key: made in the directory, or read from the operator's file. Raises Problem if there is none
        or it is unusable.
        """
        try:
            if self.directory:
                return make_next(self.directory, self._codec.master.mark(self._codec.check_value))
            found = next_key(self.next_file) if self.next_file else None
        except (OSError, ValueError, SealError):
            raise Problem("precondition-failed", f"{self.next_file} cannot be read or written as a key.") from None
        if found is None:
            raise Problem("precondition-failed", NO_NEW_KEY)
        return found

    async def _without(self, rotation: Rotation) -> list[tuple[str, ...]]:
        """Returns the running processes that are not ready for the next step of the rotation."""
        return [said for said in await self._keys.processes() if not rotation.is_ready(said)]

    async def _step(self, rotation: Rotation) -> None:
        """Takes the step of the rotation's phase, if every process is ready for it."""
        if rotation.new not in self._codec.master.names or await self._without(rotation):
            return
        now = self.clock.now_ms()
        match rotation.phase:
            case Phase.SPREADING:
                await self._keys.step(Phase.SPREADING, check=rotation.new, phase=Phase.SEALING, flipped=now)
            case Phase.JOINING:
                await self._keys.step(Phase.JOINING, phase=Phase.NAMING, flipped=now)
            case Phase.NAMING if not self.connection.nodes.only:
                await self._end_naming(rotation)
            case Phase.SEALING | Phase.NAMING if now - rotation.flipped >= SETTLE_MS:
                await self._walk_on(rotation)
            case Phase.FINISHING:
                await self._finish(rotation)

    async def _walk_on(self, rotation: Rotation) -> None:
        """Continues the walk over the store for `BITE_S` seconds: encrypts values of the old key again or, in the phase
        `naming`, renames old names. Ends the walk after a pass that found nothing more to change; otherwise another
        pass follows.
        """
        if rotation.blocked and not rotation.give_up:
            return
        place, total, found = Place.parse(rotation.place), rotation.total, rotation.found
        if not rotation.place or not await self._walk.goes_on(place):
            (place, total), found = await self._walk.begin(), Found()
        place, bite = await self._bite(place, rotation)
        found += bite
        counted = "renamed" if rotation.phase is Phase.NAMING else "resealed"
        so_far: dict[str, int] = {counted: getattr(rotation, counted) + bite.resealed}
        await self._keys.note(found=found, total=total, place="" if place.is_end else str(place), **so_far)
        if place.is_end and not found.resealed and not found.left:
            await self._end_walk(rotation, found)

    async def _bite(self, place: Place, rotation: Rotation) -> tuple[Place, Found]:
        """Handles pages of the store for `BITE_S` seconds. Returns where to continue and the findings. After each page
        it rests as long as the page took, because sending has priority.
        """
        found, ends = Found(), self.clock.monotonic() + BITE_S
        old = b"" if rotation.phase is Phase.NAMING else self._codec.master.mark(rotation.old)
        while not place.is_end and self.clock.monotonic() < ends:
            began = self.clock.monotonic()
            place, page = await self._walk.page(place, old)
            found += page
            await self.clock.sleep(self.clock.monotonic() - began)
        return place, found

    async def _end_walk(self, rotation: Rotation, found: Found) -> None:
        """Ends the walk and starts the next phase. If values are unreadable, it stops the rotation instead, so that
        their key is not destroyed, unless the operator gives these values up.
        """
        if rotation.phase is Phase.NAMING:
            await self._end_naming(rotation)
            return
        if found.unreadable:
            log = structlog.get_logger()
            log.error(
                "master_key.values_found_unreadable",
                values=found.unreadable,
                first=found.named,
                given_up=rotation.give_up,
            )
            if not rotation.give_up:
                await self._keys.note(blocked=True)
                return
        await self._keys.keep_secrets(rotation.old)
        await self._keys.add_secret(rotation.secrets + 1)
        if self.connection.nodes.only:
            await self._keys.add_name_key(rotation.named + 1)
        await self._keys.step(Phase.SEALING, phase=Phase.JOINING, blocked=False)

    async def _end_naming(self, rotation: Rotation) -> None:
        """Ends the phase `naming`. All names in the store are new by now; in a cluster they keep the old form."""
        named = rotation.named + bool(self.connection.nodes.only)
        await self._keys.step(Phase.NAMING, phase=Phase.FINISHING, named=named, secrets=rotation.secrets + 1)

    async def _finish(self, rotation: Rotation) -> None:
        """Destroys the old keys. After a crash, a repeated call completes the work."""
        if self.directory:
            replace_hash_key(self.directory, self._codec.current_secret)
            retire_old(self.directory)
        await self._keys.forget(rotation.old)
        await self._keys.step(Phase.FINISHING, phase=Phase.DONE, finished=self.clock.now_ms())
        await self.watch.beat()
        structlog.get_logger().info("master_key.rotated", values=rotation.resealed, names=rotation.renamed)

    async def _warn(self) -> None:
        """Logs a warning long before a key reaches its limit of seals, at most once an hour."""
        now = self.clock.monotonic()
        if now - self._warned < WARN_EVERY_S:
            return
        for ring, seals in (await self.seals()).items():
            if seals >= MOST_SEALS:
                self._warned = now
                log = structlog.get_logger()
                log.warning("master_key.overused", key=ring, seals=seals, run="alertd keys rotate-master")
