"""The command line: which commands there are, and how every refusal is told."""

from __future__ import annotations

import gc
import io
import sys
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from alertd import __version__
from alertd.commands.client import RefusedError
from alertd.commands.on_demand import OnDemand
from alertd.commands.options import Common, ConfigOption
from alertd.commands.output import remark, tell
from alertd.errors import ConfigError
from alertd.logs import places_of

#: What is loaded to start is no garbage: collecting it every 700 objects is a fifth of the time that starting takes.
COLLECTED_AT = (50_000, 10, 10)


class Commands(OnDemand):
    places: ClassVar[dict[str, str]] = {
        "serve": "alertd.commands.serving:serving_all",
        "api": "alertd.commands.serving:serving_api",
        "worker": "alertd.commands.working:app",
        "sandbox": "alertd.commands.sandbox:app",
        "check": "alertd.commands.check:app",
        "send": "alertd.commands.alerts:sending",
        "alerts": "alertd.commands.alerts:app",
        "permissions": "alertd.commands.permissions:app",
        "regions": "alertd.commands.regions:app",
        "subscribers": "alertd.commands.subscribers:app",
        "keys": "alertd.commands.keys:app",
        "oncall": "alertd.commands.oncall:app",
        "operators": "alertd.commands.operators:app",
        "organisations": "alertd.commands.organisations:app",
        "carriers": "alertd.commands.carriers:app",
        "webhooks": "alertd.commands.webhooks:app",
        "distributors": "alertd.commands.distributors:app",
        "audit": "alertd.commands.audit:app",
        "evidence": "alertd.commands.evidence:app",
        "backup": "alertd.commands.backup:backing_up",
        "restore": "alertd.commands.backup:restoring",
        "stop": "alertd.commands.stopping:stopping",
        "resume": "alertd.commands.stopping:resuming",
    }


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Geo-targeted alert distribution.",
)  # fmt: skip


def _tell_version(wanted: bool) -> None:
    if wanted:
        tell(f"alertd {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    ctx: typer.Context,
    config_file: ConfigOption = None,
    url: Annotated[
        str | None,
        typer.Option(envvar="ALERTD_URL", help="Where the service is. Default: what the configuration says."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="ALERTD_KEY", hidden=True)  # others see a command line; so the environment
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="ALERTD_KEY_FILE", exists=True, dir_okay=False, help="Holds your key, if ALERTD_KEY does not."
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  its callback acts
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Which alertd this is.")
    ] = False,
) -> None:
    if key is None and key_file is not None:
        key = key_file.read_text(encoding="utf-8", errors="replace")  # the client refuses what is no key
    ctx.obj = Common(config_file=config_file, url=url, key=key.strip() or None if key else None)


def main() -> None:
    """Entry point: 0 done, 1 refused with the reason on standard error, 2 wrong usage."""
    gc.set_threshold(*COLLECTED_AT)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows few letters is told all the others
    try:
        app()
    except (RefusedError, ConfigError) as error:
        remark(f"alertd: {error}")
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 whatever it is, its text is not told: it may hold what was sent
        remark(
            f"alertd: something that nobody foresaw: {type(error).__qualname__} at {' < '.join(reversed(places_of(error)))}"
        )
        sys.exit(1)
