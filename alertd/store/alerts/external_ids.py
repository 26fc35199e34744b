"""The external ids of alerts. One organisation has at most one living alert under an external id, whichever key submits it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from alertd.model.fields import folded_subject
from alertd.model.states import KNOWN, WAITING
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Connection, named, names_of, values_of

#: The states in which an alert keeps its external id: a second alert under it would notify the same people twice.
UNDER_WAY = KNOWN | WAITING
#: An external id waits so long for its alert to be pending; later it is free, unless it is.
CLAIM_MS = 10_000

#: Alerts by their ids, without their documents.
Heads = Callable[[Sequence[str]], Awaitable[list[AlertRecord | None]]]


class ExternalIds:
    """Index from external id to alert, for each organisation, kind and status."""

    def __init__(self, connection: Connection, heads: Heads) -> None:
        self._db = connection
        self._heads = heads

    async def twin(self, record: AlertRecord) -> str | None:
        """Returns the id of the other alert that has the external id of this one, or None."""
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
        """Claims the external id for this alert, which becomes pending next. Returns the id of the alert that has it already, or None."""
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
        """Gives up the claim of an alert that was not stored after all. An alert that is stored keeps it."""
        if record.external_id and await self._heads([record.id]) == [None]:
            names = names_of(self._db, keys.external_id, self._hashed(record))
            await self._db.run("unclaim", names, record.id)

    async def keep(self, record: AlertRecord) -> None:
        """The external id lasts as long as the alert, whose end is put off."""
        if record.external_id:
            call = named(self._db, keys.external_id, self._hashed(record), "PEXPIREAT", record.expires, "GT")
            await self._db.run_many([call])

    async def _goes_as(self, alert_id: str, hashed: str, claimed: str = "") -> bool:
        """Whether an alert is under way under this very external id: it may have been changed to another since. Or is about to be: it
        was `claimed` for that revision a moment ago, and is still that or not yet there.
        """
        (head,) = await self._heads([alert_id])
        if head is None:
            return bool(claimed)
        if head.state in UNDER_WAY:
            return self._hashed(head) == hashed
        return str(head.rev) == claimed

    def _hashed(self, record: AlertRecord, *author: str) -> str:
        parts = (record.org, *author, record.kind, record.status, record.external_id)
        return self._db.codec.hashed("external-id", "\0".join(parts))
