"""The clock of tests in which time must pass."""

from __future__ import annotations

from dataclasses import dataclass

from alertd.common.clock import SystemClock


@dataclass
class Later(SystemClock):
    """The machine's clock, so much later."""

    ahead_ms: int = 0
    back_ms: int = 0  # by so much it was set back; what has gone by stays that

    def pass_by(self, seconds: float) -> None:
        """So much time goes by at once."""
        self.ahead_ms += int(seconds * 1000)

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms - self.back_ms

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_ms / 1000
