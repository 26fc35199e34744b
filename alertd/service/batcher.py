"""Many callers' items in one call: whoever comes while a call is under way goes with the next, and nobody waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from alertd.store.engine.connection import StoreUnavailableError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST = 500  # items in a call


class Together(Generic[Item, Answer]):
    """Calls `many`, which answers each of its items by itself."""

    def __init__(self, many: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        self._many = many
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._calling: asyncio.Task[None] | None = None

    async def one(self, item: Item) -> Answer:
        """Its answer. Raises what the call raised; what an item brings about alone, the others do not suffer."""
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
