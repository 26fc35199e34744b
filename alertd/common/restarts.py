"""Keeps a child process running: started again whenever it ends, soon at first, then ever later while it keeps ending."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from alertd.common.clock import Clock

#: The first restart is at once for a person's eye; a child that cannot start must not fill the log or the processor.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
#: A child that lived this long did not die of starting: its next restart is soon again.
HEALTHY_S = 60.0

Wait = Callable[[], Awaitable[int]]
Start = Callable[[], Awaitable[object]]


async def keep_running(
    what: str, wait: Wait, start: Start, clock: Clock, *, faults: tuple[type[Exception], ...] = (OSError,)
) -> NoReturn:
    """Run until cancelled. `wait` answers the exit code of the child of the moment, `start` makes the next.

    A start that raises one of `faults` is told and tried again.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        since = clock.monotonic()
        code = await wait()
        if clock.monotonic() - since >= HEALTHY_S:
            pause_s = FIRST_PAUSE_S
        structlog.get_logger().error("child ended", what=what, code=code)
        pause_s = await _started(what, start, clock, pause_s, faults)


async def _started(what: str, start: Start, clock: Clock, pause_s: float, faults: tuple[type[Exception], ...]) -> float:
    """Try until it starts. Takes and gives the pause before the next try."""
    while True:
        await clock.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        try:
            await start()
        except faults as error:
            structlog.get_logger().error("child does not start", what=what, error=str(error), again_in_s=pause_s)
        else:
            return pause_s
