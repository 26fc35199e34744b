"""Waiting for what comes by itself: of what another process does, or stands in the store, nobody sets an event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def until(true: Callable[[], Any]) -> None:
    """It is asked again and again, and may answer something to be awaited."""
    async with asyncio.timeout(120):
        while not (await found if isinstance(found := true(), Awaitable) else found):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
