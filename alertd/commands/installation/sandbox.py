"""`alertd sandbox`: local carriers in a separate process, which loads nothing else and so starts at once."""

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
            help="The relay takes the user sandbox with this password alone. Without it any user and password will do."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print where it listens.")] = False,
) -> None:
    """The local carriers alone."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        uvloop.run(
            _serve(directory.resolve(), mail_password, quiet=quiet)
        )  # whoever reads sandbox.json may be elsewhere
    except OSError as error:
        raise RefusedError(f"{error.filename or directory} cannot be written: {error.strerror}") from None


async def _serve(directory: Path, mail_password: str | None, *, quiet: bool) -> None:
    """Runs the sandbox until SIGTERM or SIGINT. Prints the addresses unless `quiet`."""
    die_with_parent()
    life = Life()
    life.ready()
    await life.run(run(directory, mail_password=mail_password, listens=_ignore if quiet else remark))


def _ignore(line: str) -> None:
    """Prints nothing."""
