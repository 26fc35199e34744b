"""`alertd serve` and `alertd api`: run a complete installation, or only its API."""

from __future__ import annotations

from typing import Annotated

import typer

from alertd.commands.base.client import RefusedError
from alertd.commands.base.running import run
from alertd.runtime import serve as serving

SAMPLE_PEOPLE = 1_000


def serve(
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Local carriers instead of the configured ones, and sample people.")
    ] = False,
    people: Annotated[int | None, typer.Option(help="Sample people, with --sandbox. Default: 1000.")] = None,
) -> None:
    """API, workers and embedded store in one.

    Runs until SIGTERM or Ctrl-C. With `store.url` uses that store in place of an embedded one.
    """
    if people is not None and not sandbox:
        raise RefusedError(
            "--people makes sample people, and only the sandbox's carriers may send to them: add --sandbox"
        )
    sample = SAMPLE_PEOPLE if people is None else people
    run(lambda settings: serving.run_all(settings, sandbox=sandbox, sample_people=sample))


def api() -> None:
    """The API alone, over `store.url`.

    Runs until SIGTERM or Ctrl-C. Workers that use the same store send the messages.
    """
    run(serving.run_api)
