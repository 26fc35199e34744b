"""The command line: starts the service, and speaks to it as any client would."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from alertd import config, logs, serving
from alertd.store.connection import StoreRefusedError
from alertd.store.data_directory import DirectoryInUseError
from alertd.store.embedded import EmbeddedServerError
from alertd.store.server_binary import ServerNotFoundError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Geo-targeted alert distribution.")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="ALERTD_CONFIG", help="TOML file; see ops/alertd.toml.")
]
#: What a person can mend: told in a sentence, without a traceback.
REFUSALS = (
    config.ConfigError, serving.StartError, StoreRefusedError, DirectoryInUseError, EmbeddedServerError,
    ServerNotFoundError,
)  # fmt: skip


@app.command()
def serve(
    config_file: ConfigOption = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Add local carriers and sample people.")] = False,
    people: Annotated[int, typer.Option(help="Sample people, with --sandbox.")] = 1_000,
) -> None:
    """API, workers and embedded store in one."""
    _run(config_file, lambda settings: serving.run_all(settings, sandbox=sandbox, sample_people=people))


@app.command()
def api(config_file: ConfigOption = None) -> None:
    """The API alone, over `store.url`."""
    _run(config_file, serving.run_api)


@app.command()
def worker(config_file: ConfigOption = None) -> None:
    """One worker, over `store.url`."""
    _run(config_file, serving.run_worker)


@app.command()
def sandbox(
    directory: Annotated[Path, typer.Option(help="Where its certificates and sandbox.json go.")] = Path(
        "alertd-sandbox"
    ),
) -> None:
    """The local carriers alone."""
    directory.mkdir(parents=True, exist_ok=True)
    uvloop.run(serving.serve_sandbox(directory))


def _run(config_file: Path | None, what: Any) -> None:
    """Load the settings and run; a refusal is one sentence on stderr and exit code 1."""
    try:
        settings = config.load(config_file)
        if config_file is not None:
            os.environ["ALERTD_CONFIG"] = str(config_file.resolve())  # the workers of `serve` read it, too
        logs.set_up(settings.log_level)
        job: Coroutine[Any, Any, None] = what(settings)
        uvloop.run(job)
    except REFUSALS as error:
        sys.stderr.write(f"alertd: {error}\n")
        raise typer.Exit(1) from None
    except asyncio.CancelledError:
        raise typer.Exit(1) from None


def main() -> None:
    """Entry point."""
    app()
