"""Limits how often a key may ask how many people an area holds, and enters each question in the audit."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import shapely

from alertd.common.errors import Problem
from alertd.service.access import Credential
from alertd.service.cache import digest
from alertd.service.records.audit import DONE, Audit, Noted
from alertd.store.carriers.limits import Limits
from alertd.store.engine.connection import StoreUnavailableError

ACT = "target.preview"
#: Seconds in which the same question of one key is entered in the audit only once. A screen repeats the question while
#: an operator draws.
ONCE_IN_S = 86_400
#: Maximum number of an organisation's questions that are computed at the same time. A target may take a processor for
#: many seconds; other organisations must not wait for it.
AT_ONCE = 2


class ReachAudit:
    """Limits questions about reach, and enters them in the audit."""

    def __init__(self, limits: Limits, audit: Audit, *, per_min: int) -> None:
        """`per_min` is the number of questions that a key may ask in a minute; 0: no limit."""
        self._limits = limits
        self._audit = audit
        self._per_min = per_min
        self._turns: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def turn(self, who: Credential) -> AsyncIterator[None]:
        """Counts one question. Waits until fewer than `AT_ONCE` questions of the organisation are computed, and counts
        as one of them inside the block. Raises Problem `rate-limited` if the key asked too often.
        """
        await self._meter(who)
        async with self.one_of_few(who):
            yield

    def one_of_few(self, who: Credential) -> asyncio.Semaphore:
        """Returns the semaphore that lets an organisation compute `AT_ONCE` targets at once."""
        return self._turns.setdefault(who.org, asyncio.Semaphore(AT_ONCE))

    async def _meter(self, who: Credential) -> None:
        """Counts one question of the key. Raises Problem `rate-limited` if it asked too often."""
        if not self._per_min:
            return
        block = await self._limits.take(f"reach/{who.key_id}", self._per_min / 60, self._per_min, 1)
        if not block.granted:
            headers = {"Retry-After": str(math.ceil(block.wait_s))}
            detail = f"This key may ask {self._per_min} times a minute for the reach of a target."
            raise Problem("rate-limited", detail, headers=headers)

    async def enter(self, who: Credential, area: shapely.MultiPolygon, kind: str) -> None:
        """Enters a question before it is answered: the digest of the area, its bounds in degrees and the kind of alert.
        Skips it if the key asked the same in the last `ONCE_IN_S` seconds. Raises StoreUnavailableError.
        """
        facts = facts_of(area, kind)
        name = f"reach/{who.key_id}/{kind}/{facts['digest']}"
        if not (await self._limits.take(name, 1 / ONCE_IN_S, 1, 1)).granted:
            return
        try:
            await self._audit.end(who, ACT, DONE, Noted(facts=facts), of=0)
        except StoreUnavailableError:
            await self._limits.give_back(name, 1 / ONCE_IN_S, 1)
            raise


def facts_of(area: shapely.MultiPolygon, kind: str) -> dict[str, str]:
    """Returns the facts of a question for the audit: digest of the area, its west, south, east and north edge in
    degrees, and the kind.
    """
    bounds = [] if area.is_empty else [round(side, 4) for side in area.bounds]
    return {"digest": digest(shapely.to_wkb(area)).hex()[:32], "bounds": " ".join(map(str, bounds)), "kind": kind}
