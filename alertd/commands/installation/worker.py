"""`alertd worker`: runs one worker."""

from __future__ import annotations

from alertd.commands.base.running import run
from alertd.runtime import worker_process


def worker() -> None:
    """One worker, over `store.url`.

    Plans and sends the alerts that the API takes. Runs until SIGTERM or Ctrl-C.
    """
    run(worker_process.run_worker)
