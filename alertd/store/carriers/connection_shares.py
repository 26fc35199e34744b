"""Shares of the connections that a carrier takes from the whole installation."""

from __future__ import annotations

from typing import NamedTuple

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

SILENT_MS = 3_000  # the share of a worker that is silent this long is free: workers claim theirs every second
#: A worker with fewer connections sends slowly, for one worker sends a whole batch. Only a carrier that takes fewer gives a worker less.
LEAST = 4


class Share(NamedTuple):
    """What one worker may have of a carrier's connections."""

    connections: int
    others: int  # connections that other workers claim
    working: int  # other workers that have a connection that works


class ConnectionShares:
    """Divides connections among workers, on all machines."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def claim(
        self,
        carrier: str,
        worker: str,
        *,
        most: int,
        held: int,
        works: bool,
        behind: bool,
        failed_ms: int | None = None,
    ) -> Share:
        """Returns the worker's share of the carrier's `most` connections. The worker claims it every second. `held` counts its connections that are
        open, and `works` says whether one of them works. A worker that is `behind` gets a share after those that are not. A worker that the
        carrier failed goes behind all others; `failed_ms` is how long ago that was. Raises StoreUnavailableError.
        """
        found = await self._db.run(
            "share", [keys.shares(carrier)],
            worker, most, LEAST, held, int(works), int(behind), "" if failed_ms is None else failed_ms, SILENT_MS, self._db.skew_ms,
        )  # fmt: skip
        return Share(*found)

    async def give_up(self, carrier: str, worker: str) -> None:
        """Frees the share of a worker that ends. Raises StoreUnavailableError."""
        await self._db.execute("HDEL", keys.shares(carrier), worker)
