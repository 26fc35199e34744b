"""What was worked out a moment ago and is asked for again: the targets of one case system are few."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


def digest(content: bytes) -> bytes:
    """A name for what is too long, or too much somebody's own, to be kept as a name (SHA-256)."""
    return hashlib.sha256(content).digest()


class Kept(Generic[V]):
    """The values asked for last, by name, each worked out once. All are forgotten when what they are made from is another object."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._source: object = None
        self._values: OrderedDict[Hashable, asyncio.Future[V]] = OrderedDict()

    def forget(self) -> None:
        """Let go of all values."""
        self._values = OrderedDict()

    async def once(self, source: object, name: Hashable, make: Callable[[], Awaitable[V]]) -> V:
        """The value of a name. Whoever asks while it is being made waits for it; what cannot be made is not kept, and raises."""
        if source is not self._source:
            self._source = source
            self._values = OrderedDict()
        values = self._values
        if name not in values:
            values[name] = asyncio.ensure_future(make())
            if len(values) > self._most:
                values.popitem(last=False)
        values.move_to_end(name)
        future = values[name]
        try:
            return await asyncio.shield(future)  # it is made for others, too
        except BaseException:
            if future.done() and values.get(name) is future and (future.cancelled() or future.exception()):
                del values[name]
            raise
