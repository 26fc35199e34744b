"""`alertd sandbox`: runs local stand-ins for carriers. It loads little of the service, so that it starts at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from alertd.commands.base.client import RefusedError
from alertd.commands.base.output import remark
from alertd.runtime.processes import Life, die_with_parent
from channels.sandbox import run


def sandbox(
    directory: Annotated[Path, typer.Option(help="Where its certificates and sandbox.json go.")] = Path(
        "alertd-sandbox"
    ),
    mail_password: Annotated[
        str | None,
        typer.Option(
            help="The relay accepts only the user sandbox with this password. Default: it accepts any user and password."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print where it listens.")] = False,
) -> None:
    """The local carriers alone.

    They record messages and deliver none. Runs until SIGTERM or Ctrl-C.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        uvloop.run(
            _serve(directory.resolve(), mail_password, quiet=quiet)
        )  # an absolute path: readers of sandbox.json may run in another directory
    except OSError as error:
        raise RefusedError(f"{error.filename or directory} cannot be written: {error.strerror}") from None


async def _serve(directory: Path, mail_password: str | None, *, quiet: bool) -> None:
    """Runs the sandbox until a signal ends it. Prints the addresses on which it listens unless `quiet`."""
    die_with_parent()
    life = Life()
    life.ready()
    await life.run(run(directory, mail_password=mail_password, listens=_ignore if quiet else remark))


def _ignore(line: str) -> None:
    """Drops the line: takes the place of `remark` with --quiet."""
