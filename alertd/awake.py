"""While much is asked, no processor of this machine halts: one that does is slow to wake, on a virtual machine above all, and an alert that
comes in wakes one three times.

Linux is asked for it by its PM QoS interface (`Documentation/power/pm_qos_interface.rst`): as long as somebody has the device open, having written
that they bear no wait. Only root may, where the machine does not say otherwise (`ops/operations.md`). Where it is not allowed, nothing is done.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

DEVICE = Path("/dev/cpu_dma_latency")
#: So many answers within a second are many: people at their screens cause fewer.
MANY = 50
WINDOW_S = 1.0
_NO_WAIT = (0).to_bytes(4, "little")  # microseconds


class Awake:
    """Holds the device from the moment when many were answered within a second until a second in which they were not. At its end it is
    let go.
    """

    def __init__(self, device: Path = DEVICE, *, window_s: float = WINDOW_S) -> None:
        self._device = device
        self._window_s = window_s
        self._answered = 0
        self._window: asyncio.TimerHandle | None = None
        self._held: int | None = None

    def answered(self) -> None:
        """Somebody was. From the event loop."""
        self._answered += 1
        if self._window is None:
            self._next_window()
        if self._answered == MANY and self._held is None:
            with suppress(OSError):
                self._hold()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._window is not None:
            self._window.cancel()
        self._let_go()

    def _next_window(self) -> None:
        self._window = asyncio.get_running_loop().call_later(self._window_s, self._over)

    def _over(self) -> None:
        many, self._answered, self._window = self._answered >= MANY, 0, None
        if many:
            self._next_window()
        else:
            self._let_go()

    def _hold(self) -> None:
        self._held = os.open(self._device, os.O_WRONLY)
        os.write(self._held, _NO_WAIT)

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None
