"""Whether the workers' carrier accounts can log in, as the workers found it last."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from alertd.store import keys
from alertd.store.connection import Connection
from channels.login import Login, LoginState

#: A worker repeats its finding more often than this, so that the finding of a dead worker goes away.
LIFE_MS = 60_000


class LoginRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The finding of one worker."""

    worker: str
    state: str
    server: str
    said: str
    since_ms: int  # UNIX milliseconds: since when the state is the same

    @property
    def login(self) -> Login:
        """The finding."""
        return Login(LoginState(self.state), self.server, self.said)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LoginRecord).decode


class Logins:
    """One record a carrier. The latest finding wins, but a failed login of one worker does not replace a working login of
    another: its machine has the fault, or the carrier limits the binds.
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, carrier: str, worker: str, login: Login, now_ms: int) -> bool:
        """Store what a worker found. Returns False, and stores nothing, if it failed where another worker can log in."""
        before = (await self.get([carrier]))[carrier]
        is_others = before is not None and before.worker != worker
        if before is not None and is_others and login.fails and not before.login.fails:
            return False
        since_ms = before.since_ms if before is not None and before.state == login.state else now_ms
        record = LoginRecord(
            worker=worker, state=login.state.value, server=login.server, said=login.said, since_ms=since_ms
        )
        await self._db.execute("SET", keys.login(carrier), _encode(record), "PX", LIFE_MS)
        return True

    async def get(self, carriers: Iterable[str]) -> dict[str, LoginRecord | None]:
        """The findings, by carrier; None where no worker told one in the last minute."""
        names = list(carriers)
        found = await self._db.execute_many([("GET", keys.login(name)) for name in names])
        return {name: None if raw is None else _decode(raw) for name, raw in zip(names, found, strict=True)}
