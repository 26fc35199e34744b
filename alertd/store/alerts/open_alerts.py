"""The alerts of every organisation that have not ended: for the public pages, and for the work after a restore."""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.ids import chain_of, made_ms, with_life
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.records.case_keys import version_ids

#: Batches of rows that one call of `put_back` handles: at most 4,000 rows, so that it holds the server for a few milliseconds only.
_AT_ONCE = 8
#: An alert has fewer revisions than this between two restores of the store.
_REVISIONS = 1_000_000


class OpenAlerts:
    """The repository of alerts that have not ended."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def alerts(self) -> list[str]:
        """Returns the ids (of first versions) of alerts that may not have ended, or still have work, the oldest first."""
        found = await self._db.execute_many([("ZRANGE", keys.expiry(shard), 0, -1) for shard in range(keys.SHARDS)])
        live = await self._db.hashes([keys.live(shard) for shard in range(keys.SHARDS)])
        names = {name for shard in (*found, *live) for name in shard}
        return sorted({chain_of(name.decode()) for name in names})

    async def renumber(self, alert_ids: Sequence[str], orgs: Sequence[str], at: int, put_back: Sequence[int]) -> None:
        """After a restore, raises the counters of these alerts (events, revisions, versions) and of the organisations' events, so that no
        number comes again that was used since the backup was made.

        `at`: time of this restore (UNIX ms); `put_back`: times of all restores, this one included. Idempotent: repeating it for the same
        restore, after a failed start, skips no further numbers.
        """
        mark, gap = str(at).encode(), at // 1000
        fields = ("org", "last", "lives", "put_back")
        found = await self._db.execute_many([("HMGET", keys.chain(one), *fields) for one in alert_ids])
        for chain, (org, last, lives, done) in zip(alert_ids, found, strict=True):
            if org is None or done == mark:  # its creation was never completed, or it is renumbered already
                continue
            life = sum(one >= made_ms(chain) for one in put_back)
            lived = with_life((lives or b"").decode(), int(last or 1), life)
            names = [keys.of_chain(chain, "version", one) for one in await version_ids(self._db, [chain])]
            gaps = [("HINCRBY", name, "rev", int(lived.rpartition(":")[2]) * _REVISIONS) for name in names]
            own = keys.chain(chain)
            begins = ("HSET", own, "lives", lived, "put_back", mark)
            # The field `put_back` is written last: after a crash in between, the next run skips the other numbers a second time, which does
            # no harm.
            await self._db.execute_many([("HINCRBY", own, "told", gap), *gaps, begins])
        names = [keys.org_events(org, ":marks") for org in orgs]
        marks = await self._db.execute_many([("HMGET", name, "last", "put_back") for name in names])
        for name, (count, done) in zip(names, marks, strict=True):
            if count is not None and done != mark:
                await self._db.execute_many([("HINCRBY", name, "last", gap), ("HSET", name, "put_back", mark)])

    async def put_back(self, alert_id: str, batches: int) -> int:
        """After a restore, marks the queued and in-flight rows of a version as unknown. `batches`: number of the version's batches. Returns
        the number of these rows.
        """
        names = [keys.chain(chain_of(alert_id))]
        found = [
            await self._db.run("put_back", names, alert_id, batch, _AT_ONCE, self._db.skew_ms)
            for batch in range(0, batches, _AT_ONCE)
        ]
        return sum(map(int, found))
