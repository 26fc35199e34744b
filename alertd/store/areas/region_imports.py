"""The progress and the result of each import of regions. A record contains codes and names of regions, and no personal data."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: How long the record of an import is stored (ms). By then the person who started it has read the report; the audit keeps that it was done.
KEPT_MS = 7 * DAY_MS


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """Progress and result of one import of regions."""

    id: str
    org: str
    name: str  # name under which the regions are stored
    dry_run: bool
    state: Literal["running", "done", "stored", "refused"]  # stored: in the folder, but not loaded yet
    step: Literal["reading", "checking", "trying", "storing"] = "reading"
    regions: int = 0  # number of regions in the file, 0 while unknown
    seen: int  # UNIX ms of the last report by the process that imports
    why: str = ""  # why it was refused, or is only stored
    faults: int = 0  # number of features that cannot be regions
    problems: list[dict[str, Any]] = []  # the first of these features: row, code, fault
    report: dict[str, Any] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Import).decode


class ImportRecords:
    """The repository of the records of region imports."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, one: Import) -> None:
        """Stores the record of an import for KEPT_MS."""
        await self._db.execute("SET", keys.regions_import(one.id), _encode(one), "PX", KEPT_MS)

    async def get(self, import_id: str) -> Import | None:
        """Returns the record of an import, None if it does not exist or has expired."""
        raw = await self._db.execute("GET", keys.regions_import(import_id))
        return None if raw is None else _decode(raw)
