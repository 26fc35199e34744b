"""Sends to many recipients with a bounded number of concurrent sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence

from channels.base import FAULT, WITHHELD, Outcome, Recipient

_log = logging.getLogger(__name__)

SendOne = Callable[[Recipient], Awaitable[Outcome]]


async def in_lanes(recipients: Sequence[Recipient], lanes: int, send_one: SendOne) -> list[Outcome]:
    """Calls `send_one` for each recipient and returns the outcomes in their order. At most `lanes` sends run at a time.

    The lanes share one iterator, so a slow answer only delays its own lane. If a send raises, its recipient gets the
    outcome FAULT, and the other outcomes are not lost. The exception goes to the log and may hold an address: a log
    formatter must only show its class and place.
    """
    outcomes = [WITHHELD] * len(recipients)
    todo = iter(enumerate(recipients))
    async with asyncio.TaskGroup() as group:
        for _ in range(min(lanes, len(recipients))):
            group.create_task(_lane(todo, outcomes, send_one))
    return outcomes


async def _lane(todo: Iterator[tuple[int, Recipient]], outcomes: list[Outcome], send_one: SendOne) -> None:
    """Sends to recipients from `todo`, one after the other, and stores each outcome."""
    for index, recipient in todo:
        outcomes[index] = await _caught(send_one, recipient)
        raise_if_cancelled()


async def _caught(send_one: SendOne, recipient: Recipient) -> Outcome:
    try:
        return await send_one(recipient)
    except Exception as fault:  # noqa: BLE001 any fault is logged, and the other sends continue
        _log.error("message.send_failed", exc_info=fault)
        return FAULT


def raise_if_cancelled() -> None:
    """Raises `CancelledError` if this task was cancelled and a library swallowed the exception.

    Until Python 3.12 `asyncio.wait_for`, which aiosmtplib uses, swallows a cancellation that arrives together with its
    result (python/cpython issue 86296).
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
