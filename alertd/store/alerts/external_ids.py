"""The external ids of alerts. One organisation has at most one active alert of a kind and status under an external id, whichever key
submits it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from alertd.model.fields import folded_subject
from alertd.model.states import KNOWN, WAITING
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Connection, named, names_of, values_of

#: The states in which an alert keeps its external id: a second alert under it would notify the same people twice.
UNDER_WAY = KNOWN | WAITING
#: A claim of an external id holds for this long (ms). If the alert has not become pending by then, another alert can
#: take the id.
CLAIM_MS = 10_000

#: Function that reads alerts by their ids, without their documents; None for an unknown id.
Heads = Callable[[Sequence[str]], Awaitable[list[AlertRecord | None]]]


class ExternalIds:
    """Index from an external id to the alert that has it, for each organisation, kind and status."""

    def __init__(self, connection: Connection, heads: Heads) -> None:
        self._db = connection
        self._heads = heads

    async def twin(self, record: AlertRecord) -> str | None:
        """Returns the id of another active alert that has the same external id as this alert, or None."""
        if not record.external_id:
            return None
        hashed = self._hashed(record)
        # An older version stored the external id of an alert for each author. Such alerts may still be under way after an upgrade.
        of_author = self._hashed(record, folded_subject(record.author.subject))
        for standing in await values_of(self._db, keys.external_id, [hashed, of_author]):
            other = (standing or b"").decode().partition(" ")[0]
            if other not in {"", record.id} and await self._goes_as(other, hashed):
                return other
        return None

    async def claim(self, record: AlertRecord) -> str | None:
        """Claims the external id for an alert that is about to become pending. Returns the id of the other alert that has it, or None if
        the claim succeeded or the alert has no external id.
        """
        if not record.external_id:
            return None
        if other := await self.twin(record):
            return other
        hashed, other = self._hashed(record), ""
        names = names_of(self._db, keys.external_id, hashed)
        for _ in range(2):
            asked: list[Arg] = [record.id, record.rev, CLAIM_MS, record.expires, self._db.skew_ms]
            (found,) = await self._db.run_many_ahead([("claim_name", names, asked)])
            if not found:
                return None
            standing, in_time = found
            words = standing.decode().split(" ")
            other = words[0]
            if await self._goes_as(other, hashed, words[-1] if in_time else ""):
                break
            await self._db.run("unclaim", names, standing)
        return other

    async def release(self, record: AlertRecord) -> None:
        """Deletes the claim of an external id by an alert that was not stored in the end. Does nothing if the alert is stored."""
        if record.external_id and await self._heads([record.id]) == [None]:
            names = names_of(self._db, keys.external_id, self._hashed(record))
            await self._db.run("unclaim", names, record.id)

    async def keep(self, record: AlertRecord) -> None:
        """Makes the claim of an extended alert last until the alert's new end."""
        if record.external_id:
            call = named(self._db, keys.external_id, self._hashed(record), "PEXPIREAT", record.expires, "GT")
            await self._db.run_many([call])

    async def _goes_as(self, alert_id: str, hashed: str, claimed: str = "") -> bool:
        """Returns whether an alert holds the external id with this hash: it is active and still has this id (its external id may have been
        changed), or it claimed the id a moment ago for revision `claimed` and has not become pending yet.
        """
        (head,) = await self._heads([alert_id])
        if head is None:
            return bool(claimed)
        if head.state in UNDER_WAY:
            return self._hashed(head) == hashed
        return str(head.rev) == claimed

    def _hashed(self, record: AlertRecord, *author: str) -> str:
        """Returns the hash under which an alert's external id is stored."""
        parts = (record.org, *author, record.kind, record.status, record.external_id)
        return self._db.codec.hashed("external-id", "\0".join(parts))
