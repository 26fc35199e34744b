"""For each worker and carrier: the last result of logging in at the carrier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from channels.login import Login, LoginState

#: A worker stores its result more often than this (ms). The result of a dead worker therefore expires.
LIFE_MS = 60_000


class LoginRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one worker could log in at a carrier."""

    worker: str
    login: Login
    since_ms: int  # UNIX milliseconds: since when the worker finds this state
    settings: str = ""  # keyed hash of the settings with which the worker logs in


class Logins:
    """The repository of login results, one for each worker and carrier."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, carrier: str, worker: str, login: Login, settings: str = "") -> Sequence[LoginRecord]:
        """Stores the result of a worker's last login at a carrier. Of `settings` (those it logs in with) the store gets only a keyed hash.
        Returns the results of all workers for this carrier. Raises StoreUnavailableError.
        """
        rest = msgspec.json.encode((login.server, login.said, self._hashed(carrier, settings)))
        found = await self._db.run(
            "login", [keys.logins(carrier)], worker, login.state.value, rest, LIFE_MS, self._db.skew_ms
        )
        return _records(dict(zip(found[::2], found[1::2], strict=True)))

    async def drop(self, carriers: Iterable[str], worker: str) -> None:
        """Deletes a worker's login results for these carriers. Raises StoreUnavailableError."""
        await self._db.execute_many([("HDEL", keys.logins(name), worker) for name in carriers])

    async def get(self, carriers: Iterable[str]) -> dict[str, LoginRecord | None]:
        """Returns one login result for each carrier, the one that `chosen` returns. None if no worker stored one in the last minute.
        Raises StoreUnavailableError.
        """
        return {name: chosen(records) for name, records in (await self._all(carriers)).items()}

    async def get_same(self, settings: Mapping[str, str]) -> dict[str, LoginRecord | None]:
        """Like `get`, but counts only results of workers that log in with the same settings. `settings`: by carrier, as given to `put`.
        Raises StoreUnavailableError.
        """
        found = await self._all(settings)
        return {
            name: chosen([one for one in records if one.settings == self._hashed(name, settings[name])])
            for name, records in found.items()
        }

    async def _all(self, carriers: Iterable[str]) -> dict[str, list[LoginRecord]]:
        """Returns the stored results of all workers by carrier."""
        names = list(carriers)
        found = await self._db.execute_many([("HGETALL", keys.logins(name)) for name in names])
        return {name: _records(raw) for name, raw in zip(names, found, strict=True)}

    def _hashed(self, carrier: str, settings: str) -> str:
        """Returns a keyed hash of the settings with which a worker logs in at a carrier."""
        return self._db.codec.hashed("login", f"{carrier}\0{settings}")


def chosen(records: Sequence[LoginRecord]) -> LoginRecord | None:
    """Returns the result that stands for all workers; None without results. Prefers one that says that the carrier refuses every recipient,
    because a worker that sent nothing does not know that. Else prefers a login that worked: if one worker can log in, the others fail
    because of their machines, or because the carrier limits connections. Else returns the latest.
    """
    return max(records, key=_weight, default=None)


def _weight(one: LoginRecord) -> tuple[bool, bool, int]:
    return one.login.state is LoginState.REFUSES_RECIPIENTS, not one.login.fails, one.since_ms


def _records(found: dict[bytes, bytes]) -> list[LoginRecord]:
    return [_record(worker.decode(), value) for worker, value in found.items()]


def _record(worker: str, value: bytes) -> LoginRecord:
    """Reads a worker's stored result."""
    since, _, state, rest = value.split(b" ", 3)
    server, said, settings = msgspec.json.decode(rest, type=tuple[str, str, str])
    login = Login(_state(state.decode()), server, said)
    return LoginRecord(worker=worker, login=login, since_ms=int(since), settings=settings)


def _state(word: str) -> LoginState:
    """Returns the login state with this name, or NOT_KNOWN for a state that a newer version of alertd stored."""
    return LoginState(word) if word in tuple(LoginState) else LoginState.NOT_KNOWN
