"""What is read of one alert among many, where one that is damaged keeps nobody from being told of another."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import structlog

from alertd.store.engine.codec import SealError

T = TypeVar("T")


async def unless_damaged(alert_id: str, reading: Awaitable[T]) -> T | None:
    """What is read; None of what cannot be read, which the log tells by the alert's id."""
    try:
        return await reading
    except (SealError, ValueError) as error:
        structlog.get_logger().error("alert cannot be read", alert=alert_id, error=type(error).__name__)
        return None
