"""Reading megabytes from the store, in threads.

The client of the event loop copies every byte six times, and on the loop; the blocking one does it in half the time and beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import redis
from redis import asyncio as aioredis
from redis.backoff import NoBackoff
from redis.retry import Retry

from alertd.store.connection import UNAVAILABLE, checked, translated

READ_BYTES = 1 << 18  # a turn: more is no quicker, less is
#: What of a client's settings says where the store is and who may enter.
_WHERE = ("path", "host", "port", "db", "username", "password")


class Bulk:
    """The same store as an asynchronous client's, for any number of threads."""

    def __init__(self, client: aioredis.Redis, *, timeout_s: float) -> None:
        settings: dict[str, Any] = client.connection_pool.connection_kwargs
        same = {name: value for name, value in settings.items() if name in _WHERE or name.startswith("ssl_")}
        kind = next(
            blocking for name, blocking in _CLASSES.items() if issubclass(client.connection_pool.connection_class, name)
        )
        self._client = redis.Redis.from_pool(
            redis.ConnectionPool(
                connection_class=kind,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                socket_read_size=READ_BYTES,
                retry=Retry(NoBackoff(), 0),
                **same,
            )
        )

    def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """Many values, missing ones as None. Raises StoreUnavailableError."""
        try:
            return cast("list[bytes | None]", self._client.mget(names))
        except (*UNAVAILABLE, redis.ResponseError) as error:
            raise translated(error) from error

    def many(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Plain commands in one round trip. Raises StoreUnavailableError."""
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        try:
            return checked(pipe.execute(raise_on_error=False))
        except UNAVAILABLE as error:
            raise translated(error) from error

    def close(self) -> None:
        self._client.close()


_CLASSES: dict[type[Any], type[Any]] = {
    aioredis.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
    aioredis.SSLConnection: redis.SSLConnection,
    aioredis.Connection: redis.Connection,
}
