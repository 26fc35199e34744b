"""`alertd worker`."""

from __future__ import annotations

import typer

from alertd import worker_process
from alertd.commands.running import run

app = typer.Typer(add_completion=False)


@app.command()
def worker(ctx: typer.Context) -> None:
    """One worker, over `store.url`."""
    run(ctx, worker_process.run_worker)
