"""With which regions the places of all subscribers are labelled."""

from __future__ import annotations

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection


class LabelMark:
    """The mark of the last time that everybody was gone through."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def get(self) -> str:
        """Empty when nobody ever was."""
        return (await self._db.execute("GET", keys.LABELS) or b"").decode()

    async def set(self, fingerprint: str) -> None:
        await self._db.execute("SET", keys.LABELS, fingerprint)
