"""What was worked out a moment ago and is asked for again: the targets of one case system are few."""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


def digest(content: bytes) -> bytes:
    """A name for what is too long, or too much somebody's own, to be kept as a name (SHA-256)."""
    return hashlib.sha256(content).digest()


@dataclass(eq=False, slots=True)
class _Value(Generic[V]):
    """A value, or what makes it."""

    future: asyncio.Future[V]
    fresh_until_s: float
    ends_s: float
    follows: asyncio.Future[V] | None = None  # what is to take its place


class SingleFlightCache(Generic[V]):
    """The values asked for last, by name, each worked out once. All are forgotten when what they are made from is another object.

    With `fresh_s`, one that is asked for when it is that old at most is worked out anew beside whoever asks, who gets the old
    one; twice as old it is forgotten. Each does so at a moment of its own, or those asked for at once were all made anew at once.
    """

    def __init__(self, most: int, *, fresh_s: float = math.inf, now: Callable[[], float] = time.monotonic) -> None:
        self._most, self._fresh_s, self._now = most, fresh_s, now
        self._source: object = None
        self._values: OrderedDict[Hashable, _Value[V]] = OrderedDict()

    async def once(self, source: object, name: Hashable, make: Callable[[], Awaitable[V]]) -> V:
        """The value of a name. Whoever asks while it is being made waits for it; what cannot be made is not kept, and raises."""
        if source is not self._source:
            self._source = source
            self._values = OrderedDict()
        values, now_s = self._values, self._now()
        value = values.get(name)
        if value is None or now_s >= value.ends_s:
            value = self._keep(values, name, asyncio.ensure_future(make()), now_s)
        elif now_s >= value.fresh_until_s and value.follows is None:
            value.follows = asyncio.ensure_future(make())
            value.follows.add_done_callback(lambda made: self._replace(values, name, value, made, now_s))
        values.move_to_end(name)
        try:
            # It is made for others, too.
            return value.future.result() if value.future.done() else await asyncio.shield(value.future)
        except BaseException:
            if value.future.done() and (value.future.cancelled() or value.future.exception()):
                _drop(values, name, value)
            raise

    def _keep(
        self, values: OrderedDict[Hashable, _Value[V]], name: Hashable, future: asyncio.Future[V], began_s: float
    ) -> _Value[V]:
        fresh_s = self._fresh_s * (1 - secrets.randbelow(500) / 1000)
        value = _Value(future, began_s + fresh_s, began_s + 2 * self._fresh_s)
        values[name] = value
        if len(values) > self._most:
            values.popitem(last=False)
        if self._fresh_s < math.inf:  # it may be megabytes, and nobody may ask again
            asyncio.get_running_loop().call_later(2 * self._fresh_s, _drop, values, name, value)
        return value

    def _replace(
        self,
        values: OrderedDict[Hashable, _Value[V]],
        name: Hashable,
        old: _Value[V],
        made: asyncio.Future[V],
        began_s: float,
    ) -> None:
        """By what was made beside it; what could not be made is made for the next who asks, and raises there."""
        failed = made.cancelled() or made.exception() is not None
        if values.get(name) is not old:
            return
        if failed:
            del values[name]
        else:
            self._keep(values, name, made, began_s)


def _drop(values: OrderedDict[Hashable, _Value[V]], name: Hashable, value: _Value[V]) -> None:
    if values.get(name) is value:
        del values[name]
