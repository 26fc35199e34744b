"""Sends many callers' items in one call. An item that comes during a call goes with the next, so it is answered by a call that began after it came.

So it serves reads that must not be a moment old, too: who calls, and what is stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from alertd.store.engine.connection import StoreUnavailableError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST = 500  # items in a call


class Batcher(Generic[Item, Answer]):
    """Calls `many` with the items that wait, one call at a time. `many` returns an answer for each item, in their order."""

    def __init__(self, many: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        self._many = many
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._calling: asyncio.Task[None] | None = None

    async def one(self, item: Item) -> Answer:
        """Returns the answer for an item. Raises what the call raised; if one item of several made it fail, only that item's caller gets the error."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._calling is None or self._calling.done():
            self._calling = asyncio.create_task(self._call())
        return await future

    async def _call(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                await self._answer(some)
            finally:
                for _, future in some:
                    future.cancel()  # none is left waiting; what is answered stays so

    async def _answer(self, some: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._many([item for item, _ in some])
        except Exception as error:  # noqa: BLE001  it is raised where it is waited for
            if len(some) == 1 or isinstance(error, StoreUnavailableError):
                for _, future in some:
                    if not future.done():
                        future.set_exception(error)
                return
            for one in some:
                await self._answer([one])
            return
        for (_, future), answer in zip(some, answers, strict=True):
            if not future.done():
                future.set_result(answer)
