"""Send to many recipients with a bounded number of sends at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence

from channels.base import FAULT, WITHHELD, Outcome, Recipient

_log = logging.getLogger(__name__)

SendOne = Callable[[Recipient], Awaitable[Outcome]]


async def in_lanes(recipients: Sequence[Recipient], lanes: int, send_one: SendOne) -> list[Outcome]:
    """One outcome per recipient, in their order; at most `lanes` sends run at the same time.

    The lanes share one iterator: a slow answer holds up its own lane only. A fault in one send is that recipient's outcome, so that
    what is known of the others is never lost. Its exception may hold an address: whoever formats the log tells its class and place alone.
    """
    outcomes = [WITHHELD] * len(recipients)
    todo = iter(enumerate(recipients))
    async with asyncio.TaskGroup() as group:
        for _ in range(min(lanes, len(recipients))):
            group.create_task(_lane(todo, outcomes, send_one))
    return outcomes


async def _lane(todo: Iterator[tuple[int, Recipient]], outcomes: list[Outcome], send_one: SendOne) -> None:
    for index, recipient in todo:
        outcomes[index] = await _caught(send_one, recipient)
        heed_cancelling()


async def _caught(send_one: SendOne, recipient: Recipient) -> Outcome:
    try:
        return await send_one(recipient)
    except Exception as fault:  # noqa: BLE001 whatever it is, it is told and the others go on
        _log.error("a send failed", exc_info=fault)
        return FAULT


def heed_cancelling() -> None:
    """Raise `CancelledError` when this task has been cancelled and did not notice.

    Until Python 3.12 `asyncio.wait_for`, which aiosmtplib uses, swallows a cancellation that comes together with its result
    (python/cpython issue 86296).
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
