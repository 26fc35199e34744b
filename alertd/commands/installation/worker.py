"""`alertd worker`."""

from __future__ import annotations

from alertd.commands.base.running import run
from alertd.runtime import worker_process


def worker() -> None:
    """One worker, over `store.url`."""
    run(worker_process.run_worker)
