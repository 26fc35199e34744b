"""What alerts and days of an organisation have spent, in units that a carrier bills."""

from __future__ import annotations

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: A day is asked of until it is over everywhere, an alert as long as it may be extended.
KEPT_DAY_MS = 3 * DAY_MS
KEPT_ALERT_MS = 400 * DAY_MS


class Budgets:
    """Counts for all workers."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def take(self, org: str, chain: str, now_ms: int, messages: int, each: int, most: tuple[int, int]) -> int:
        """How many of so many messages may go, at `each` units, where an alert and a day may have `most` (0: no limit). Below 0: these
        did not go after all.
        """
        names = [keys.org_spent(org, chain), keys.org_spent(org, str(now_ms // DAY_MS))]
        granted: int = await self._db.run("spend", names, messages, each, *most, KEPT_ALERT_MS, KEPT_DAY_MS)
        return granted

    async def spent(self, org: str, chain: str, now_ms: int) -> tuple[int, int]:
        """Units of the alert and of the day."""
        names = [keys.org_spent(org, chain), keys.org_spent(org, str(now_ms // DAY_MS))]
        alert, day = await self._db.execute_many([("HGET", name, "units") for name in names])
        return int(alert or 0), int(day or 0)

    async def free(self, org: str, chain: str) -> None:
        """Nothing limits this alert any more."""
        name = keys.org_spent(org, chain)
        await self._db.execute_many([("HSET", name, "free", 1), ("PEXPIRE", name, KEPT_ALERT_MS)])

    async def is_free(self, org: str, chain: str) -> bool:
        return bool(await self._db.execute("HEXISTS", keys.org_spent(org, chain), "free"))
