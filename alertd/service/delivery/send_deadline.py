"""How long may be written what the gate let through: half a second from the last time it was asked.

A carrier may take longer than that, to connect or to look at an envelope. So the gate is asked again meanwhile, for no rows, and
each "go" is worth another half second (ops/decisions/0022).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from alertd.common.clock import Clock
from alertd.common.repetition import ended

#: Asks the store whether what was begun may still be written.
GoesOn = Callable[[], Awaitable[bool]]

#: From asking the gate to the last write to a socket. A worker that slept in between writes nothing when it wakes.
SEND_WITHIN_S = 0.5
#: Often enough that an answer from the store may take as long.
ASK_AGAIN_S = SEND_WITHIN_S / 2


class SendDeadline:
    """Made right before the gate is asked."""

    def __init__(self, clock: Clock, goes_on: GoesOn) -> None:
        self._clock = clock
        self._goes_on = goes_on
        self._until_s = clock.monotonic() + SEND_WITHIN_S
        self._over = False  # a cancellation that was swallowed has come, too

    def holds(self) -> bool:
        """A `channels.base.MayWrite`."""
        return self._clock.monotonic() < self._until_s

    @asynccontextmanager
    async def keep_asking(self) -> AsyncIterator[None]:
        """While this lasts, and for as long as the answer is yes, it is asked again: at once where the gate itself took long. It
        answers when the disk has what it wrote, and a slow disk would leave no time to write anything, ever.
        """
        asking = asyncio.create_task(self._keep(goes=await self.renewed()))
        try:
            yield
        finally:
            self._over = True
            await ended(asking)

    async def renewed(self) -> bool:
        """Before anything is written: asks again where little of the leave is left, for whatever was asked of the store since may have
        taken it as long. Answers whether it goes on.
        """
        return self._clock.monotonic() < self._until_s - ASK_AGAIN_S or await self._ask()

    async def _keep(self, *, goes: bool) -> None:
        while goes and not self._over:
            await self._clock.sleep(max(0.0, self._until_s - ASK_AGAIN_S - self._clock.monotonic()))
            goes = await self._ask()

    async def _ask(self) -> bool:
        """A yes counts from when it was asked for."""
        until_s = self._clock.monotonic() + SEND_WITHIN_S
        goes = await self._goes_on()
        if goes:
            self._until_s = max(self._until_s, until_s)
        return goes
