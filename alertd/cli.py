"""Entry point of the command line: the table of commands, the options before the command's name, and the exit codes."""

from __future__ import annotations

import gc
import io
import sys
from typing import Annotated, ClassVar

import typer

from alertd import __version__
from alertd.commands.base.client import RefusedError
from alertd.commands.base.on_demand import OnDemand, Place
from alertd.commands.base.options import Common, ConfigOption, KeyFileOption, UrlOption, keep, read_key
from alertd.commands.base.output import remark, tell
from alertd.common.errors import ConfigError
from alertd.common.logs import places_of

#: Thresholds of the garbage collector. With Python's default of 700 objects, collection takes a fifth of the start-up
#: time and frees nothing, because objects created at start-up live on.
COLLECTED_AT = (50_000, 10, 10)


class Commands(OnDemand):
    """The top-level commands, in the order of the help."""

    places: ClassVar[dict[str, Place]] = {
        "serve": Place("alertd.commands.installation.serve:serve", "API, workers and embedded store in one.", answers=False),
        "api": Place("alertd.commands.installation.serve:api", "The API alone, over `store.url`.", answers=False),
        "worker": Place("alertd.commands.installation.worker:worker", "One worker, over `store.url`.", answers=False),
        "sandbox": Place("alertd.commands.installation.sandbox:sandbox", "The local carriers alone.", answers=False),
        "check": Place(
            "alertd.commands.installation.check:check",
            "Look at configuration, store and carriers; with --ready at the running service.",
        ),
        "send": Place("alertd.commands.alerts.alerts:send", "Submit an alert."),
        "alerts": Place("alertd.commands.alerts.alerts:app", "Alerts: list, show, decide, watch, pause, account for."),
        "permissions": Place(
            "alertd.commands.alerts.permissions:app", "Permissions of neighbours: list, show, grant, refuse, ask."
        ),
        "regions": Place("alertd.commands.organisations.regions:app", "Regions: search, show, list, import, remove."),
        "subscribers": Place(
            "alertd.commands.people.subscribers:app", "Subscribers: import, count, show, explain, forget."
        ),
        "suppressions": Place("alertd.commands.people.suppressions:app", "The suppression list: add, show, remove."),
        "keys": Place(
            "alertd.commands.organisations.keys:app", "Keys: make, list, rotate, revoke, recover; rotate the master key."
        ),
        "oncall": Place("alertd.commands.alerts.oncall:app", "People on call: show, set, alerts, take."),
        "operators": Place("alertd.commands.organisations.operators:app", "Operators: add, list, invite, remove."),
        "organisations": Place("alertd.commands.organisations.organisations:app", "Organisations: list, show, set."),
        "carriers": Place("alertd.commands.installation.carriers:app", "Carriers: list, test."),
        "webhooks": Place(
            "alertd.commands.organisations.webhooks:app", "Webhooks: add, list, show, test, replay, rotate, resume, remove."
        ),
        "distributors": Place(
            "alertd.commands.organisations.distributors:app",
            "Distributors: list, add, show, set, rotate, test, remove; of an alert: having, confirm, resend.",
        ),
        "audit": Place("alertd.commands.alerts.audit:app", "The audit: list, verify."),
        "evidence": Place("alertd.commands.alerts.evidence:app", "Signed evidence: export, key, verify."),
        "backup": Place(
            "alertd.commands.installation.backup:backup",
            "Copy the embedded store, running or not; the copy holds every acknowledged write.",
        ),
        "restore": Place(
            "alertd.commands.installation.backup:restore",
            "Put a backup into a data directory that has no store, whole or not at all.",
        ),
        "stop": Place(
            "alertd.commands.alerts.stops:stop",
            "Halt everything that your organisation sends, at once. Two people resume.",
        ),
        "resume": Place(
            "alertd.commands.alerts.stops:resume", "Lift a stop: the first person asks, the second lifts it."
        ),
        "completion": Place("alertd.commands.base.completion:completion", "Print the completion script of a shell.", answers=False),
    }  # fmt: skip


app = typer.Typer(
    cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, help="Geo-targeted alert distribution."
)


def _tell_version(wanted: bool) -> None:
    """Prints the version and ends the command with 0 if `wanted`: the command line has --version."""
    if wanted:
        tell(f"alertd {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    ctx: typer.Context,
    config_file: ConfigOption = None,
    url: UrlOption = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="ALERTD_KEY", hidden=True),  # hidden: other users see a command line in the process list
    ] = None,
    key_file: KeyFileOption = None,
    version: Annotated[  # noqa: ARG001  its callback acts
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Which alertd this is.")
    ] = False,
) -> None:
    """Stores the options that all commands share. The key comes from --key-file, else from ALERTD_KEY, else from the
    file that ALERTD_KEY_FILE names.
    """
    if key_file is not None and (key is None or _is_on_the_line(ctx, "key_file")):
        key = read_key(key_file)
    keep(Common(config_file=config_file, url=url, key=key.strip() or None if key else None))


def _is_on_the_line(ctx: typer.Context, option: str) -> bool:
    """Returns whether the option is on the command line: False if its value is from the environment or a default."""
    source = ctx.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def main() -> None:
    """Runs the command line and exits: 0 done, 1 refused or failed with the reason on standard error, 2 wrong usage,
    3 the alert had no one to notify. Of an unexpected error it prints the type and the place in the code only.
    """
    gc.set_threshold(*COLLECTED_AT)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal with a small character set still shows the other characters
    try:
        app()
    except (RefusedError, ConfigError) as error:
        remark(f"alertd: {error}")
        sys.exit(getattr(error, "exit_code", 1))
    except Exception as error:  # noqa: BLE001 never prints the text, which may contain personal data
        remark(f"alertd: unexpected error: {type(error).__qualname__} at {' < '.join(reversed(places_of(error)))}")
        sys.exit(1)
