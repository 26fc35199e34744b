"""Whether the workers' carrier accounts can log in, as each worker found it last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from channels.login import Login, LoginState

#: A worker repeats its finding more often than this, so that the finding of a dead worker goes away.
LIFE_MS = 60_000


class LoginRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The finding of one worker."""

    worker: str
    login: Login
    since_ms: int  # UNIX milliseconds: since when the worker finds this state
    settings: str = ""  # a keyed hash of what it logs in with


class Logins:
    """One finding for each worker and carrier."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, carrier: str, worker: str, login: Login, settings: str = "") -> Sequence[LoginRecord]:
        """Store what a worker found with these `settings`, of which the store gets a keyed hash. Returns the findings of all workers. Raises
        StoreUnavailableError.
        """
        rest = msgspec.json.encode((login.server, login.said, self._hashed(carrier, settings)))
        found = await self._db.run(
            "login", [keys.logins(carrier)], worker, login.state.value, rest, LIFE_MS, self._db.skew_ms
        )
        return _records(dict(zip(found[::2], found[1::2], strict=True)))

    async def drop(self, carriers: Iterable[str], worker: str) -> None:
        """Deletes a worker's findings about these carriers. Raises StoreUnavailableError."""
        await self._db.execute_many([("HDEL", keys.logins(name), worker) for name in carriers])

    async def get(self, carriers: Iterable[str]) -> dict[str, LoginRecord | None]:
        """Returns one finding for each carrier: one that works if any worker has one, else the newest. None if no worker stored one in the
        last minute. Raises StoreUnavailableError.
        """
        return {name: chosen(records) for name, records in (await self._all(carriers)).items()}

    async def get_same(self, settings: Mapping[str, str]) -> dict[str, LoginRecord | None]:
        """As `get`, but counts only the workers that log in with these settings, which are given by carrier. Raises StoreUnavailableError."""
        found = await self._all(settings)
        return {
            name: chosen([one for one in records if one.settings == self._hashed(name, settings[name])])
            for name, records in found.items()
        }

    async def _all(self, carriers: Iterable[str]) -> dict[str, list[LoginRecord]]:
        names = list(carriers)
        found = await self._db.execute_many([("HGETALL", keys.logins(name)) for name in names])
        return {name: _records(raw) for name, raw in zip(names, found, strict=True)}

    def _hashed(self, carrier: str, settings: str) -> str:
        return self._db.codec.hashed("login", f"{carrier}\0{settings}")


def chosen(records: Sequence[LoginRecord]) -> LoginRecord | None:
    """Returns the finding that decides for all workers. If one worker can log in, the others' machines have the fault, or the carrier limits
    the connections.
    """
    return max(records, key=lambda one: (not one.login.fails, one.since_ms), default=None)


def _records(found: dict[bytes, bytes]) -> list[LoginRecord]:
    return [_record(worker.decode(), value) for worker, value in found.items()]


def _record(worker: str, value: bytes) -> LoginRecord:
    since, _, state, rest = value.split(b" ", 3)
    server, said, settings = msgspec.json.decode(rest, type=tuple[str, str, str])
    login = Login(_state(state.decode()), server, said)
    return LoginRecord(worker=worker, login=login, since_ms=int(since), settings=settings)


def _state(word: str) -> LoginState:
    """A worker of a newer version may store a state that this version does not know."""
    return LoginState(word) if word in tuple(LoginState) else LoginState.NOT_KNOWN
