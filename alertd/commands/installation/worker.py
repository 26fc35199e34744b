"""`alertd worker`."""

from __future__ import annotations

import typer

from alertd.commands.base.running import run
from alertd.runtime import worker_process

app = typer.Typer(add_completion=False)


@app.command()
def worker(ctx: typer.Context) -> None:
    """One worker, over `store.url`."""
    run(ctx, worker_process.run_worker)
