"""While much comes in, no processor of this machine halts: one that does is slow to wake, on a virtual machine above all, and an alert that
comes in wakes one three times.

Linux is asked for it by its PM QoS interface (`Documentation/power/pm_qos_interface.rst`): as long as somebody has the device open, having written
that they bear no wait. Only root may, where the machine does not say otherwise (`ops/operations.md`). Where it is not allowed, nothing is done.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import structlog

DEVICE = Path("/dev/cpu_dma_latency")
#: So many posts that were taken within a second are many: what people do at their screens is a few.
MANY = 50
LOOKED_EVERY_S = 1.0
_NO_WAIT = (0).to_bytes(4, "little")  # microseconds


class Awake:
    """Holds the device from a second in which much came in until one in which little did. `look` is to be called each second."""

    def __init__(self, device: Path = DEVICE) -> None:
        self._device = device
        self._taken = 0
        self._held: int | None = None

    def taken(self) -> None:
        """Something was."""
        self._taken += 1

    async def look(self) -> None:
        """What came in since the last look decides until the next."""
        many, self._taken = self._taken >= MANY, 0
        if not many:
            self.close()
        elif self._held is None:
            with suppress(OSError):
                self._held = os.open(self._device, os.O_WRONLY)
                os.write(self._held, _NO_WAIT)
                structlog.get_logger().info("processors are kept awake")

    def close(self) -> None:
        """It is let go, as it is, too, when the process ends."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
