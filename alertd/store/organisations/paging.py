"""Rotas, the alerts for which alertd pages people on call, and the pages about each alert.

An index holds the due time of each waiting alert, in another slot than the alert. The pages, and the next one with its time, are stored
beside the alert, encrypted because they name people. They contain no address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from alertd.common.ids import chain_of
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.records.events import announcement

#: Number of pages (messages to people on call) that are stored for an alert, the latest ones.
REMEMBERED = 200


#: Option of ZADD for a stored due time: LT replaces it only by an earlier one, NX never.
Rule = Literal["LT", "NX"]


class StoredRota(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation's rota as stored: the people on call, with their times and their order."""

    rev: int
    document: str  # JSON of `alertd.model.oncall.OnCall`
    by: str  # the subject of the person who wrote it
    at: int  # UNIX ms


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One message to a person on call, or the attempt to send it."""

    at: int  # UNIX ms
    step: int  # step of the rota, from 1
    name: str  # the person's name in the rota
    channel: str  # channel of the carrier that accepted the page, else the last channel that was tried
    taken: bool  # whether a carrier accepted the page


class Paged(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of paging for one alert. Times are UNIX ms, 0 for never."""

    since: int  # when paging began (wall clock); the alert's earlier waits do not count
    due: int  # time of the next page (steady clock)
    step: int = 0  # index of the rota's next step; the number of steps if a round is over
    rounds: int = 0  # complete rounds in which a carrier accepted a page
    reached: bool = False  # a carrier accepted a page in this round
    over: bool = False  # all rounds ended without an answer, so paging stopped
    rev: int = 0  # revision of the rota with which paging stopped
    told: int = 0  # number of all pages, also those that are not stored any more
    alone: bool = False  # no person was on duty
    by: str = ""  # the subject of the person who took the alert over
    taken: int = 0  # since when that person has taken it over
    until: int = 0  # until when alertd pages no other person then (steady clock); 0: for ever
    pages: tuple[Page, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Returns whether a person has taken the alert over for good, so that alertd pages no other person."""
        return bool(self.taken and not self.until)


_encode = msgspec.json.Encoder().encode
_rota = msgspec.json.Decoder(StoredRota).decode
_paged = msgspec.json.Decoder(Paged).decode


class Rotas:
    """The repository of rotas, one for each organisation."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def get(self, org: str) -> tuple[StoredRota | None, bytes]:
        """Returns the rota of an organisation, or None, and its stored bytes, which `put` compares. Raises SealError if it was tampered with."""
        name = keys.org(org, "oncall")
        sealed = await self._db.execute("GET", name) or b""
        return _rota(self._db.codec.master.open(sealed, name)) if sealed else None, sealed

    async def put(self, org: str, stored: StoredRota, *, seen: bytes) -> bool:
        """Replaces the organisation's rota that was read as `seen`, durably. Returns False if it was changed since."""
        name = keys.org(org, "oncall")
        return bool(
            await self._db.run_durably("replace", [name], seen, self._db.codec.master.seal(_encode(stored), name))
        )


class Waiting:
    """The repository of alerts that wait for a second person or for an answer to a stand-down request, and of the pages about them. `due`:
    time of the next page.
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def add(self, due: Mapping[str, int], *, rule: Rule | None = None) -> None:
        """Stores when the next page of each waiting version is due (ms, steady clock).

        Replaces a stored due time, with `LT` only by an earlier one, with `NX` never. A due time that is too early does no harm.
        """
        if due:
            rules = [rule] if rule else []
            await self._db.execute_many([("ZADD", _index(one), *rules, at, one) for one, at in due.items()])

    async def all(self, upto_ms: int | None = None) -> list[str]:
        """Returns the ids of the versions that are due for their next page by `upto_ms` (steady clock), or of all that wait (None)."""
        top = "+inf" if upto_ms is None else upto_ms
        found = await self._db.execute_many(
            [("ZRANGEBYSCORE", keys.waiting(shard), "-inf", top) for shard in range(keys.SHARDS)]
        )
        return [raw.decode() for shard in found for raw in shard]

    async def remove(self, alert_ids: Sequence[str]) -> None:
        """Removes versions from the list of those that wait."""
        await self._db.execute_many([("ZREM", _index(one), one) for one in alert_ids])

    async def paged(self, alert_ids: Sequence[str]) -> list[tuple[Paged | None, bytes]]:
        """Returns for each version the progress of paging, or None, and its stored bytes, which `put` compares. One round trip."""
        names = [_paged_key(one) for one in alert_ids]
        found = await self._db.execute_many([("GET", name) for name in names]) if names else []
        return [
            (_paged(self._db.codec.master.open(sealed, name)) if sealed else None, sealed or b"")
            for name, sealed in zip(names, found, strict=True)
        ]

    async def put(self, alert_id: str, paged: Paged, *, seen: bytes, word: str = "", step: int = 0) -> str:
        """Replaces a version's progress of paging that was read as `seen`, durably, and writes an event of type `word` ('' for none) with
        the rota's `step`.

        Returns `done`, `changed` if it was changed since, or `over` if the alert does not wait any more.
        """
        paged = msgspec.structs.replace(paged, pages=paged.pages[-REMEMBERED:])
        sealed, chain = self._db.codec.master.seal(_encode(paged), _paged_key(alert_id)), chain_of(alert_id)
        await asyncio.gather(  # first, so that neither the event nor the next page can be missed
            self._db.execute(*announcement(chain)),
            self.add({alert_id: paged.due}, rule="LT"),
        )
        said: bytes = await self._db.run_durably(
            "page", [keys.chain(chain)], alert_id, seen, sealed, self._db.skew_ms, word, step or ""
        )
        if said == b"done":
            await self.add({alert_id: paged.due})
        return said.decode()


def _index(alert_id: str) -> str:
    """Returns the store key of the list of waiting versions that an alert's versions belong to."""
    return keys.waiting(keys.shard_of(chain_of(alert_id)))


def _paged_key(alert_id: str) -> str:
    """Returns the store key of a version's progress of paging."""
    return keys.of_chain(chain_of(alert_id), "paged", alert_id)
