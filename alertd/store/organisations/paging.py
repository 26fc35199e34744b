"""Rotas, the alerts that the people on call are called for, and the pages about each.

What waits is found by when it is due, in another slot than the alert. That is an index: what was told, and what is told next and when,
stands beside the alert itself, sealed because it names people. Nobody's address is in it.
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

#: Of one alert so many pages are remembered, the latest.
REMEMBERED = 200


#: Of the command ZADD.
Rule = Literal["LT", "NX"]


class StoredRota(msgspec.Struct, frozen=True, kw_only=True):
    """A rota as kept."""

    rev: int
    document: str  # JSON of `alertd.model.oncall.OnCall`
    by: str  # the subject of the person who wrote it
    at: int  # UNIX ms


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One person who was told of an alert, or was to be."""

    at: int  # UNIX ms
    step: int  # of the rota, from 1
    name: str  # as the rota calls them
    channel: str  # by which a carrier took it; the last that was tried where none did
    taken: bool  # a carrier took it


class Paged(msgspec.Struct, frozen=True, kw_only=True):
    """How far the people on call were told of one alert. Times are UNIX ms, 0 for never."""

    since: int  # when the calls began, by the clock that people read: of an earlier time that it waited nothing counts
    due: int  # when the next are told, by the steady clock
    step: int = 0  # index of the step whose turn it is; as many as there are: a round is over
    rounds: int = 0  # how often all steps were gone through and somebody was reached
    reached: bool = False  # somebody was, in this round
    over: bool = False  # all rounds were in vain, and nobody more is told
    rev: int = 0  # of the rota by which it is over
    told: int = 0  # pages that there ever were, those that are no longer remembered among them
    alone: bool = False  # nobody was on duty
    by: str = ""  # the subject of whoever has it
    taken: int = 0  # since when
    until: int = 0  # until when alertd calls nobody else, by the steady clock; 0: for ever
    pages: tuple[Page, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether somebody took it and alertd calls nobody else."""
        return bool(self.taken and not self.until)


_encode = msgspec.json.Encoder().encode
_rota = msgspec.json.Decoder(StoredRota).decode
_paged = msgspec.json.Decoder(Paged).decode


class Rotas:
    """The repository of rotas."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def get(self, org: str) -> tuple[StoredRota | None, bytes]:
        """A rota, None where nobody wrote one, and what stands for it in `put`. Raises SealError for one that was tampered with."""
        name = keys.org(org, "oncall")
        sealed = await self._db.execute("GET", name) or b""
        return _rota(self._db.codec.master.open(sealed, name)) if sealed else None, sealed

    async def put(self, org: str, stored: StoredRota, *, seen: bytes) -> bool:
        """Keep a rota in place of what was seen, durably. False when it is another since."""
        name = keys.org(org, "oncall")
        return bool(
            await self._db.run_durably("replace", [name], seen, self._db.codec.master.seal(_encode(stored), name))
        )


class Waiting:
    """The repository of what waits, and of what was told of it."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def add(self, due: Mapping[str, int], *, rule: Rule | None = None) -> None:
        """These versions wait, and are looked at when they are due (by the steady clock), and not when they were to be: unless that is earlier (`LT`),
        or at all (`NX`). To look early does no harm.
        """
        if due:
            rules = [rule] if rule else []
            await self._db.execute_many([("ZADD", _index(one), *rules, at, one) for one, at in due.items()])

    async def all(self, upto_ms: int | None = None) -> list[str]:
        """Those that are due by then, or all there are."""
        top = "+inf" if upto_ms is None else upto_ms
        found = await self._db.execute_many(
            [("ZRANGEBYSCORE", keys.waiting(shard), "-inf", top) for shard in range(keys.SHARDS)]
        )
        return [raw.decode() for shard in found for raw in shard]

    async def remove(self, alert_ids: Sequence[str]) -> None:
        """These wait no more."""
        await self._db.execute_many([("ZREM", _index(one), one) for one in alert_ids])

    async def paged(self, alert_ids: Sequence[str]) -> list[tuple[Paged | None, bytes]]:
        """What is known of each, None for nothing, and what stands for it in `put`; in one round trip."""
        names = [_paged_key(one) for one in alert_ids]
        found = await self._db.execute_many([("GET", name) for name in names]) if names else []
        return [
            (_paged(self._db.codec.master.open(sealed, name)) if sealed else None, sealed or b"")
            for name, sealed in zip(names, found, strict=True)
        ]

    async def put(self, alert_id: str, paged: Paged, *, seen: bytes, word: str = "", step: int = 0) -> str:
        """Keep it in place of what was seen, durably, with an event called `word`. Answers `done`, `changed` where it is another since,
        or `over` where the alert waits no more.
        """
        paged = msgspec.structs.replace(paged, pages=paged.pages[-REMEMBERED:])
        sealed, chain = self._db.codec.master.seal(_encode(paged), _paged_key(alert_id)), chain_of(alert_id)
        await asyncio.gather(  # first, so that neither the event nor the next page is out of sight
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
    return keys.waiting(keys.shard_of(chain_of(alert_id)))


def _paged_key(alert_id: str) -> str:
    return keys.of_chain(chain_of(alert_id), "paged", alert_id)
