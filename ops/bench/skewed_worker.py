"""Runs `alertd worker` with a wrong clock: `skewed_worker.py SECONDS`."""

from __future__ import annotations

import asyncio
import sys

from alertd.common import logs
from alertd.common.clock import SystemClock
from alertd.config import settings as config
from alertd.runtime import worker_process


def main(skew_s: float) -> None:
    """Shifts wall time from the start, for all of alertd; monotonic time stays correct."""
    right = SystemClock.now_ms

    def wrong(clock: SystemClock) -> int:
        return right(clock) + int(skew_s * 1000)

    SystemClock.now_ms = wrong  # type: ignore[method-assign, assignment]
    settings = config.load()
    logs.set_up(settings.log_level)
    asyncio.run(worker_process.run_worker(settings))


if __name__ == "__main__":
    main(float(sys.argv[1]))
