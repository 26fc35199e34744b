"""`alertd serve`, `api`, `worker` and `sandbox`: the processes of an installation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from alertd import config, logs, serving
from alertd.commands.client import RefusedError
from alertd.commands.options import ConfigOption, common
from alertd.store.connection import StoreRefusedError
from alertd.store.data_directory import DirectoryInUseError
from alertd.store.embedded import EmbeddedServerError
from alertd.store.server_binary import ServerNotFoundError

serving_all = typer.Typer(add_completion=False)
serving_api = typer.Typer(add_completion=False)
working = typer.Typer(add_completion=False)
sandboxing = typer.Typer(add_completion=False)

#: What a person can mend: told in a sentence, without a traceback.
REFUSALS = (serving.StartError, StoreRefusedError, DirectoryInUseError, EmbeddedServerError, ServerNotFoundError)


@serving_all.command()
def serve(
    ctx: typer.Context,
    config_file: ConfigOption = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Add local carriers and sample people.")] = False,
    people: Annotated[int, typer.Option(help="Sample people, with --sandbox.")] = 1_000,
) -> None:
    """API, workers and embedded store in one."""
    _run(ctx, config_file, lambda settings: serving.run_all(settings, sandbox=sandbox, sample_people=people))


@serving_api.command()
def api(ctx: typer.Context, config_file: ConfigOption = None) -> None:
    """The API alone, over `store.url`."""
    _run(ctx, config_file, serving.run_api)


@working.command()
def worker(ctx: typer.Context, config_file: ConfigOption = None) -> None:
    """One worker, over `store.url`."""
    _run(ctx, config_file, serving.run_worker)


@sandboxing.command()
def sandbox(
    directory: Annotated[Path, typer.Option(help="Where its certificates and sandbox.json go.")] = Path(
        "alertd-sandbox"
    ),
) -> None:
    """The local carriers alone."""
    directory.mkdir(parents=True, exist_ok=True)
    uvloop.run(serving.serve_sandbox(directory))


def _run(ctx: typer.Context, config_file: Path | None, what: Any) -> None:
    """Load the settings and run. Raises ConfigError, RefusedError."""
    settings = config.load(config_file or common(ctx).config_file)
    logs.set_up(settings.log_level)
    job: Coroutine[Any, Any, None] = what(settings)
    try:
        uvloop.run(job)
    except REFUSALS as error:
        raise RefusedError(str(error)) from None
    except asyncio.CancelledError:
        raise typer.Exit(1) from None
