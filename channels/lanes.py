"""Send to many recipients with a bounded number of sends at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from channels.base import WITHHELD, Outcome, Recipient

SendOne = Callable[[Recipient], Awaitable[Outcome]]


async def in_lanes(recipients: Sequence[Recipient], lanes: int, send_one: SendOne) -> list[Outcome]:
    """One outcome per recipient, in their order; at most `lanes` sends run at the same time.

    The lanes share one iterator: a slow answer holds up its own lane only.
    """
    outcomes = [WITHHELD] * len(recipients)
    todo = iter(enumerate(recipients))
    async with asyncio.TaskGroup() as group:
        for _ in range(min(lanes, len(recipients))):
            group.create_task(_lane(todo, outcomes, send_one))
    return outcomes


async def _lane(todo: Iterator[tuple[int, Recipient]], outcomes: list[Outcome], send_one: SendOne) -> None:
    for index, recipient in todo:
        outcomes[index] = await send_one(recipient)
        heed_cancelling()


def heed_cancelling() -> None:
    """Raise `CancelledError` when this task has been cancelled and did not notice.

    Until Python 3.12 `asyncio.wait_for`, which aiosmtplib uses, swallows a cancellation that comes together with its result
    (python/cpython issue 86296).
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
