"""The alerts whose end is to come, of every organisation: what the public is shown, and what a store that was put back leaves open."""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.ids import chain_of, made_ms, with_life
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.records.case_keys import version_ids

#: Batches a call: 4,000 rows at most, so that the server is held for a few milliseconds.
_AT_ONCE = 8
#: A life of an alert has fewer.
_REVISIONS = 1_000_000


class OpenAlerts:
    """The repository of what is under way."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def alerts(self) -> list[str]:
        """The ids of alerts of which it is not known that their end has come, or that are to be told of something. Oldest first."""
        found = await self._db.execute_many([("ZRANGE", keys.expiry(shard), 0, -1) for shard in range(keys.SHARDS)])
        live = await self._db.hashes([keys.live(shard) for shard in range(keys.SHARDS)])
        names = {name for shard in (*found, *live) for name in shard}
        return sorted({chain_of(name.decode()) for name in names})

    async def renumber(self, alert_ids: Sequence[str], orgs: Sequence[str], at: int, put_back: Sequence[int]) -> None:
        """What happens from now on is called by names, and comes after cursors, that nothing had which was told since the copy was made:
        events, revisions, and later versions of these alerts. `at`: when it was put back, UNIX ms; `put_back`: when any was, this time among
        them. Done once for each time: a life is used up by a restore, and not by each start that fails after it.
        """
        mark, gap = str(at).encode(), at // 1000
        fields = ("org", "last", "lives", "put_back")
        found = await self._db.execute_many([("HMGET", keys.chain(one), *fields) for one in alert_ids])
        for chain, (org, last, lives, done) in zip(alert_ids, found, strict=True):
            if org is None or done == mark:  # whoever began to write it died; or it is renumbered
                continue
            life = sum(one >= made_ms(chain) for one in put_back)
            lived = with_life((lives or b"").decode(), int(last or 1), life)
            names = [keys.of_chain(chain, "version", one) for one in await version_ids(self._db, [chain])]
            gaps = [("HINCRBY", name, "rev", int(lived.rpartition(":")[2]) * _REVISIONS) for name in names]
            own = keys.chain(chain)
            begins = ("HSET", own, "lives", lived, "put_back", mark)
            # That it begins comes last: where a crash comes between, the others leap twice.
            await self._db.execute_many([("HINCRBY", own, "told", gap), *gaps, begins])
        names = [keys.org_events(org, ":marks") for org in orgs]
        marks = await self._db.execute_many([("HMGET", name, "last", "put_back") for name in names])
        for name, (count, done) in zip(names, marks, strict=True):
            if count is not None and done != mark:
                await self._db.execute_many([("HINCRBY", name, "last", gap), ("HSET", name, "put_back", mark)])

    async def put_back(self, alert_id: str, batches: int) -> int:
        """Nobody knows what became of what is queued or in flight of a version. Answers how many rows that are."""
        names = [keys.chain(chain_of(alert_id))]
        found = [
            await self._db.run("put_back", names, alert_id, batch, _AT_ONCE, self._db.skew_ms)
            for batch in range(0, batches, _AT_ONCE)
        ]
        return sum(map(int, found))
