"""Caches recent results. Most systems that submit alerts repeat a few targets."""

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
    """Returns the SHA-256 of content that is too long, or too private, to be kept as a cache key."""
    return hashlib.sha256(content).digest()


@dataclass(eq=False, slots=True)
class _Value(Generic[V]):
    """A cached value, as the future that makes it. Times are seconds of the cache's clock."""

    future: asyncio.Future[V]
    fresh_until_s: float
    ends_s: float
    follows: asyncio.Future[V] | None = None  # the value that will replace it


class SingleFlightCache(Generic[V]):
    """Caches the most recently used values by name, and computes each only once. Drops all values if a caller names
    another source object than the last.

    With `fresh_s`, a value that is requested when older than that is computed again in the background. The caller gets
    the old value. A value twice as old is dropped. Each value uses up to half less than `fresh_s`, chosen at random, so
    that values made at once are not all renewed at once.
    """

    def __init__(self, most: int, *, fresh_s: float = math.inf, now: Callable[[], float] = time.monotonic) -> None:
        self._most, self._fresh_s, self._now = most, fresh_s, now
        self._source: object = None
        self._values: OrderedDict[Hashable, _Value[V]] = OrderedDict()

    async def once(self, source: object, name: Hashable, make: Callable[[], Awaitable[V]]) -> V:
        """Returns the cached value of a name, or makes it with `make`. Concurrent callers wait for the same value. If
        making fails, raises the error and caches nothing. `source` is the object that values are made from, such as a
        library.
        """
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
            # Shield it: other callers wait for the same value.
            return value.future.result() if value.future.done() else await asyncio.shield(value.future)
        except BaseException:
            if value.future.done() and (value.future.cancelled() or value.future.exception()):
                _drop(values, name, value)
            raise

    def _keep(
        self, values: OrderedDict[Hashable, _Value[V]], name: Hashable, future: asyncio.Future[V], began_s: float
    ) -> _Value[V]:
        """Caches a value that began to be made at `began_s`, and returns it. Drops the least recently used value if
        there are too many.
        """
        fresh_s = self._fresh_s * (1 - secrets.randbelow(500) / 1000)
        value = _Value(future, began_s + fresh_s, began_s + 2 * self._fresh_s)
        values[name] = value
        if len(values) > self._most:
            values.popitem(last=False)
        if self._fresh_s < math.inf:  # the value may have megabytes, and may never be requested again
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
        """Replaces a value by the one made in the background. If that failed, drops the old value, so that the next
        caller makes it again and gets the exception.
        """
        failed = made.cancelled() or made.exception() is not None
        if values.get(name) is not old:
            return
        if failed:
            del values[name]
        else:
            self._keep(values, name, made, began_s)


def _drop(values: OrderedDict[Hashable, _Value[V]], name: Hashable, value: _Value[V]) -> None:
    """Removes a value, unless another one has its name by now."""
    if values.get(name) is value:
        del values[name]
