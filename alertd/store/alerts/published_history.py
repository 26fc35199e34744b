"""What an alert said to the public before it was changed, by when it began to say so, sealed under its case's key: for the evidence alone."""

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
    """Words, from then on until the next."""

    since: int  # UNIX milliseconds
    document: str  # JSON; without what was taken out of it since
    digest: str  # of the document as it was published: as the audit has it, under the case's key
    whole: bool = True  # nothing was taken out of it


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Published).decode


class PublishedWords:
    """The repository of what was said before. What an alert says now is its own document."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def keep(self, record: AlertRecord) -> None:
        """What an alert says, before that is changed; whatever comes of the change, it was true until then. Again changes nothing."""
        if record.times.start and record.document and record.box:
            said = self._now(record, record.box)
            sealed = record.box.seal(_encode(said), _place(record, said.since))
            await self._db.execute("HSETNX", _name(record), said.since, sealed)

    async def of(self, record: AlertRecord) -> list[Published]:
        """All that an alert ever said in public, in order, its words of now at the end; nothing of one that was never told."""
        if not (record.times.start and record.document and record.box):
            return []
        now = self._now(record, record.box)
        kept = [one for one in await self._kept(record, record.box) if one.since <= now.since]
        return kept if kept and kept[-1].since == now.since else [*kept, now]  # that one knows what was taken out since

    async def rewrite(self, record: AlertRecord, change: Callable[[Alert], Alert]) -> int:
        """Take out of all that was said before what is to be forgotten, for good. Answers of how many something was taken."""
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
        found = await self._db.hash_of(_name(record))
        opened = [_decode(box.open(sealed, _place(record, int(since)))) for since, sealed in found.items()]
        return sorted(opened, key=lambda one: one.since)

    def _now(self, record: AlertRecord, box: Box) -> Published:
        since = int(record.times.changes.split()[-1]) if record.times.changes else record.times.start
        document = record.document.decode()
        return Published(
            since=since, document=document, digest=box.hashed(record.document), whole=not record.times.restricted
        )


def _name(record: AlertRecord) -> str:
    return keys.of_chain(chain_of(record.id), "published")


def _place(record: AlertRecord, since: int) -> str:
    return f"{record.id} published {since}"
