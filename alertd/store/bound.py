"""Which carriers processes are bound to: each says so again and again, for those that are not."""

from __future__ import annotations

from collections.abc import Mapping

from alertd.store import keys
from alertd.store.connection import Connection

BOUND_MS = 3_000  # a process that is silent this long is bound no more: it says so every second


class Bound:
    """What all of them said."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def said(self, here: Mapping[str, bool]) -> dict[str, bool]:
        """Say of each carrier whether this process is bound to it. Answers whether any process is."""
        calls = [
            ("SET", keys.bound(name), 1, "PX", BOUND_MS) if is_here else ("EXISTS", keys.bound(name))
            for name, is_here in here.items()
        ]
        return {name: bool(found) for name, found in zip(here, await self._db.execute_many(calls), strict=True)}
