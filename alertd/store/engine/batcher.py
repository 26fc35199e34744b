"""What several ask for at once is read once.

Whoever asks for the same in one turn of the event loop shares a reading, which begins when all of them have asked: nobody is told what was so
before they did. So it may serve what must not be a moment old: who calls, and what is stopped. Where a reading is under way, another begins beside it
(`service/together.py` has one at a time, of items that several bring).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Answer = TypeVar("Answer")


class AtOnce(Generic[Name, Answer]):
    """Readings by name. What is read is everybody's: nobody changes it."""

    def __init__(self, read: Callable[[Name], Awaitable[Answer]]) -> None:
        self._read = read
        self._asked: dict[Name, asyncio.Task[Answer]] = {}  # those that did not begin yet

    async def ask(self, name: Name) -> Answer:
        """What is read after this was asked; who leaves meanwhile takes it from nobody else. Raises what reading raises."""
        task = self._asked.get(name)
        if task is None:
            task = self._asked[name] = asyncio.get_running_loop().create_task(self._begun(name))
        return await asyncio.shield(task)

    async def _begun(self, name: Name) -> Answer:
        del self._asked[name]
        return await self._read(name)
