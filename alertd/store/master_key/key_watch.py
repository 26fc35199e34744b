"""Keeps the keys of one process in step with the store's, also during a rotation of the master key."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from alertd.common.clock import Clock
from alertd.common.repetition import repeated
from alertd.store.engine.codec import NameKeys, SealError, next_key
from alertd.store.engine.connection import Connection, StoreRefusedError, StoreUnavailableError
from alertd.store.master_key.state import MasterKeys, Phase, Rotation, StoredSecrets, makes, reads, seal_counter

BEAT_S = 1.0


class KeyWatch:
    """Keeps this process's keys in step with the store's. Every process that opens a store runs one, and starts it before anything is
    sealed or named.
    """

    def __init__(self, connection: Connection, next_file: Path | None) -> None:
        self._master_keys = MasterKeys(connection)
        self._codec = connection.codec
        self._next_file = next_file  # file in which the new key appears during a rotation
        self._process = secrets.token_hex(8)
        self._missing = ""  # name of the missing key that was last logged
        self._refused = ""  # last logged reason why the store's keys cannot be used
        self._nodes = connection.nodes
        self._kept: StoredSecrets | None = None  # None: not read yet
        self._joined: tuple[
            str, ...
        ] = ()  # words in the heartbeat about the secret that a rotation adds (`reads`, `makes`)

    @asynccontextmanager
    async def run(self, clock: Clock) -> AsyncIterator[None]:
        """Sends this process's heartbeat (which keys it holds) now, and every second while the context lasts; deletes it at the end. Raises
        StoreUnavailableError if the first heartbeat fails.
        """
        await self.beat()
        await self.beat()  # tells the other processes which key the first beat loaded
        async with repeated("master keys", self._beat_again, BEAT_S, clock):
            yield
        with suppress(StoreUnavailableError):
            await self._master_keys.beat(self._process, "", self._taken())

    async def beat(self) -> None:
        """Stores in the heartbeat which keys this process holds, loads the new master key if a rotation needs it, and seals with the
        current one from then on. Raises StoreUnavailableError, or StoreRefusedError if the store lacks a key that it should keep.
        """
        check, rotation = await self._master_keys.beat(self._process, " ".join(self._says()), self._taken())
        if rotation.is_running and rotation.new not in self._codec.master.names:
            self._load(rotation.new)
        if check in self._codec.master.names:
            self._codec.use(check)
            if rotation.phase is Phase.DONE:
                self._codec.master.drop_others()
            await self._take_keys(rotation)

    def _says(self) -> Iterator[str]:
        """Yields the words of the heartbeat: the names of the master keys that this process holds, then the words about a joining secret."""
        yield from self._codec.master.names
        yield from self._joined

    async def _take_keys(self, rotation: Rotation) -> None:
        """Loads the name keys and hashing secrets that the rotation has added, and puts them into use as its phase demands: first to find
        old and new names and to verify, then also to make names and to sign. Raises StoreRefusedError if the store lacks one.
        """
        single = self._nodes.only is not None  # in a cluster, names are not changed
        renames, uses_new = rotation.joins and single, rotation.phase is Phase.NAMING
        names, newest = rotation.named + renames, rotation.secrets + rotation.joins
        hashing = newest + 1 if newest else 0  # before the first rotation the store keeps no secrets
        if self._kept is None or len(self._kept.names) < names or len(self._kept.secrets) < hashing:
            self._kept = await self._master_keys.load_secrets()
        found = self._kept
        if len(found.names) < names:
            raise StoreRefusedError(
                "the store lacks a name key, or it does not open: without it alertd finds no subscriber"
            )
        if len(found.secrets) < hashing:
            raise StoreRefusedError(
                "the store lacks a hashing secret, or it does not open: without it alertd verifies nothing"
            )
        joining = found.names[rotation.named] if renames else None
        self._codec.names = NameKeys(tuple(found.names[: rotation.named]), joining, renames and uses_new)
        if hashing:
            self._codec.take_secrets(found.secrets[:hashing], rotation.secrets + uses_new)
        self._joined = (reads(newest), *[makes(newest)] * uses_new) if rotation.joins else ()

    async def _beat_again(self) -> None:
        """Sends the next heartbeat. Ignores an unavailable store, and logs once if the store's keys cannot be used."""
        try:
            await self.beat()
        except StoreUnavailableError:  # callers that need the store log it
            return
        except StoreRefusedError as error:  # the process continues with its keys; logged once
            if self._refused != str(error):
                self._refused = str(error)
                structlog.get_logger().error("store_keys.refused", why=self._refused)
            return
        self._refused = ""

    def _load(self, name: str) -> None:
        """Loads the new master key `name` if its file has it, else logs once that it is missing. A rotation cannot continue until every
        process has loaded the new key.
        """
        try:
            key = next_key(self._next_file) if self._next_file else None
        except (OSError, ValueError, SealError):
            key = None
        if key is not None and self._codec.name_of(key) == name:
            self._codec.hold(key)
        elif self._missing != name:
            self._missing = name
            structlog.get_logger().error(
                "master_key.new_key_not_found", file=str(self._next_file), see="store.next_master_key_file"
            )

    def _taken(self) -> dict[str, int]:
        """Returns the numbers of seals since the last heartbeat, by counter, and resets them. They are lost if the store does not answer: a
        few seconds' worth, of a limit of 2^32.
        """
        rings = {"master": self._codec.master, "audit": self._codec.audit}
        return {
            seal_counter(ring, name): count for ring, one in rings.items() for name, count in one.take_seals().items()
        }
