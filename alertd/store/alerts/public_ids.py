"""Index from the public id of an alert's page to the alert. An entry outlives the alert's content, and names nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Connection

if TYPE_CHECKING:
    from alertd.store.alerts.alerts import Alerts


def claim(public_id: str, alert_id: str) -> list[tuple[Arg, ...]]:
    """Returns the commands that store which alert has this public id; none for an alert without one."""
    return [("SET", keys.public(public_id), alert_id)] if public_id else []


class PublicIds:
    """Finds the alert of a public id."""

    def __init__(self, connection: Connection, alerts: Alerts) -> None:
        self._db = connection
        self._alerts = alerts

    async def exists(self, public_id: str) -> bool:
        """Returns whether an alert has, or had, this public id."""
        return bool(await self._db.execute("EXISTS", keys.public(public_id)))

    async def find(self, public_id: str) -> AlertRecord | None:
        """Returns the alert that has this public id (its first version) with its document; None if there is none."""
        found = await self._db.execute("GET", keys.public(public_id))
        record = await self._alerts.get(found.decode()) if found else None
        return record if record and record.chain.public_id == public_id else None
