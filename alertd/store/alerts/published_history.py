"""The earlier public content of an alert, by the time of its publication, sealed under its case's key. Only the evidence reads it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from alertd.common.ids import chain_of
from alertd.model.alert import Alert
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine import keys
from alertd.store.engine.codec import Box
from alertd.store.engine.connection import Connection


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A public document of an alert, valid from `since` until the next document."""

    since: int  # UNIX milliseconds
    document: str  # JSON; without the facts that were removed later
    digest: str  # keyed hash of the document as published, under the case's key, as in the audit
    whole: bool = True  # False if facts were removed


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Published).decode


class PublishedWords:
    """The repository of earlier contents of alerts: what the public saw before each change. The alert's document has the current content."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def keep(self, record: AlertRecord) -> None:
        """Stores the current public content before a change replaces it. Idempotent. The stored entry is correct even if the change fails.
        Does nothing if the alert was never sent.
        """
        if record.times.start and record.document and record.box:
            said = self._now(record, record.box)
            sealed = record.box.seal(_encode(said), _place(record, said.since))
            await self._db.execute("HSETNX", _name(record), said.since, sealed)

    async def of(self, record: AlertRecord) -> list[Published]:
        """Returns all public content of an alert in order, the current one last; an empty list if the alert was never sent."""
        if not (record.times.start and record.document and record.box):
            return []
        now = self._now(record, record.box)
        kept = [one for one in await self._kept(record, record.box) if one.since <= now.since]
        return kept if kept and kept[-1].since == now.since else [*kept, now]  # stored: shows later removals

    async def rewrite(self, record: AlertRecord, change: Callable[[Alert], Alert]) -> int:
        """Removes facts from all earlier content, for good. `change` returns an alert without these facts. Returns the number of documents
        that changed.
        """
        done = 0
        for one in await self._kept(record, record.box) if record.box else ():
            document = change(Alert.model_validate_json(one.document)).model_dump_json(by_alias=True)
            if document != one.document and record.box:
                less = msgspec.structs.replace(one, document=document, whole=False)
                sealed = record.box.seal(_encode(less), _place(record, one.since))
                done += 1
                await self._db.execute("HSET", _name(record), one.since, sealed)
        return done

    async def _kept(self, record: AlertRecord, box: Box) -> list[Published]:
        """Returns the stored earlier content of an alert, the oldest first."""
        found = await self._db.hash_of(_name(record))
        opened = [_decode(box.open(sealed, _place(record, int(since)))) for since, sealed in found.items()]
        return sorted(opened, key=lambda one: one.since)

    def _now(self, record: AlertRecord, box: Box) -> Published:
        """Returns the alert's current public content."""
        since = int(record.times.changes.split()[-1]) if record.times.changes else record.times.start
        document = record.document.decode()
        return Published(
            since=since, document=document, digest=box.hashed(record.document), whole=not record.times.restricted
        )


def _name(record: AlertRecord) -> str:
    """Returns the store key of an alert's earlier public content."""
    return keys.of_chain(chain_of(record.id), "published")


def _place(record: AlertRecord, since: int) -> str:
    """Returns the name to which sealed content is bound."""
    return f"{record.id} published {since}"
