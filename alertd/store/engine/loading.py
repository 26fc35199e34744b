"""Waits for a store of somebody else's that is still reading its files: a restart of ten million subscribers takes minutes."""

from __future__ import annotations

from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, RedisError

from alertd.common.clock import Clock

#: How often a loading server is asked: a start should not be later for it.
LOOK_EVERY_S = 0.25


async def until_loaded(client: Redis, tell: Callable[[], None], clock: Clock) -> None:
    """Return once the store no longer says that it loads, whatever it says then; `tell` is called once if it does."""
    told = False
    while await _is_loading(client):
        if not told:
            tell()
            told = True
        await clock.sleep(LOOK_EVERY_S)


async def _is_loading(client: Redis) -> bool:
    try:
        await client.ping()
    except BusyLoadingError:
        return True
    except (RedisError, OSError):  # whoever opens the store finds the words for that
        return False
    return False
