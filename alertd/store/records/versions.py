"""Which versions chains have."""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.ids import version_id
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection


async def version_ids(db: Connection, chains: Sequence[str]) -> list[str]:
    """The ids of all versions of chains, in one round trip."""
    found = await db.execute_many([("HMGET", keys.chain(chain), "last", "lives") for chain in chains]) if chains else []
    return [
        version_id(chain, n, (lives or b"").decode())
        for chain, (last, lives) in zip(chains, found, strict=True)
        for n in range(1, int(last or 1) + 1)
    ]
