"""`alertd serve`, `api` and `worker`: the processes of an installation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
import uvloop

from alertd import config, logs, serving
from alertd.commands.client import RefusedError
from alertd.commands.options import common
from alertd.store.connection import StoreRefusedError
from alertd.store.data_directory import DirectoryInUseError
from alertd.store.embedded import EmbeddedServerError
from alertd.store.server_binary import ServerNotFoundError

serving_all = typer.Typer(add_completion=False)
serving_api = typer.Typer(add_completion=False)
working = typer.Typer(add_completion=False)

SAMPLE_PEOPLE = 1_000
#: What a person can mend: told in a sentence, without a traceback.
REFUSALS = (serving.StartError, StoreRefusedError, DirectoryInUseError, EmbeddedServerError, ServerNotFoundError)


@serving_all.command()
def serve(
    ctx: typer.Context,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Local carriers instead of the configured ones, and sample people.")
    ] = False,
    people: Annotated[int | None, typer.Option(help="Sample people, with --sandbox. Default: 1000.")] = None,
) -> None:
    """API, workers and embedded store in one."""
    if people is not None and not sandbox:
        raise RefusedError(
            "--people makes sample people, whom only the sandbox's carriers may be asked to reach: add --sandbox"
        )
    sample = SAMPLE_PEOPLE if people is None else people
    _run(ctx, lambda settings: serving.run_all(settings, sandbox=sandbox, sample_people=sample))


@serving_api.command()
def api(ctx: typer.Context) -> None:
    """The API alone, over `store.url`."""
    _run(ctx, serving.run_api)


@working.command()
def worker(ctx: typer.Context) -> None:
    """One worker, over `store.url`."""
    _run(ctx, serving.run_worker)


def _run(ctx: typer.Context, what: Any) -> None:
    """Load the settings and run. Raises ConfigError, RefusedError."""
    settings = config.load(common(ctx).config_file)
    logs.set_up(settings.log_level)
    job: Coroutine[Any, Any, None] = what(settings)
    try:
        uvloop.run(job)
    except REFUSALS as error:
        raise RefusedError(str(error)) from None
    except asyncio.CancelledError:
        raise typer.Exit(1) from None
