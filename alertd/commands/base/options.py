"""Options that all commands share: the service's address, the key, and the form of answers."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from alertd.commands.base.client import Client, RefusedError

if TYPE_CHECKING:
    from alertd.config.settings import Settings

CONFIG_HELP = "TOML file; see ops/alertd.toml."
URL_HELP = "The service's address. Default: from the configuration."
KEY_FILE_HELP = "Holds your key. Without it ALERTD_KEY does."
ConfigOption = Annotated[Path | None, typer.Option("--config", envvar="ALERTD_CONFIG", help=CONFIG_HELP)]
UrlOption = Annotated[str | None, typer.Option("--url", envvar="ALERTD_URL", help=URL_HELP)]
KeyFileOption = Annotated[
    Path | None,
    typer.Option("--key-file", envvar="ALERTD_KEY_FILE", exists=True, dir_okay=False, help=KEY_FILE_HELP),
]
AlertId = Annotated[str, typer.Argument(metavar="ID", help="The alert's id.")]
PeopleSeen = Annotated[
    str | None,
    typer.Option(
        "--people", metavar="ESTIMATE", help="The estimate you saw, if another than at submission: 480 or '<100'."
    ),
]
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  compared with, never bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The service's address, the key and the form of answers, from the command line or the environment."""

    config_file: Path | None
    url: str | None
    key: str | None
    as_json: bool = False

    def settings(self) -> Settings:
        """Returns the installation's settings. Raises ConfigError."""
        from alertd.config.settings import load  # noqa: PLC0415  half of what a command takes that is told where to ask

        return load(self.config_file)

    def client(self) -> Client:
        """Returns a client for `ALERTD_URL`, else for the address in the settings. Raises ConfigError, RefusedError."""
        return Client(self.url or address_of(self.settings()), self.key)


def people_seen(text: str | None) -> int | str | None:
    """Returns the value of --people as the API takes it: a number, or the words of an estimate, which the API checks.
    None if the option is absent.
    """
    return int(text) if text and text.isdecimal() else text


_common: ContextVar[Common] = ContextVar("common")


def common() -> Common:
    """Returns the common options of this call."""
    return _common.get()


def keep(said: Common) -> None:
    """Stores common options from the command line."""
    _common.set(said)


def connect() -> Client:
    """Returns a client of the service that the command line or the settings name. Raises ConfigError, RefusedError."""
    return common().client()


def take_common(command: Any, *, answers: bool = True) -> None:
    """Lets a command and all its subcommands take `--config`, `--url` and `--key-file` after their name, too, and `--json` if it `answers`."""
    for each in getattr(command, "commands", {}).values():
        take_common(each)
    params = typer.main.get_command(_later).params
    answers = answers and not isinstance(command, TyperGroup)
    command.params.extend(one for one in params if answers or one.name != "later_json")


def read_key(file: Path) -> str:
    """Returns the key in a file. The client refuses an invalid one."""
    return file.read_text(encoding="utf-8", errors="replace").strip()


def _keep(ctx: typer.Context, **given: Any) -> None:
    """Stores the options given after the command's name, in place of those before it."""
    said = {name: value for name, value in given.items() if value is not None}
    if said and not ctx.resilient_parsing:  # during completion, the options before the command's name are not read
        keep(replace(common(), **said))


_later = typer.Typer(add_completion=False)
_PANEL = "Where and as whom"


@_later.command()
def _said_later(
    later_json: Annotated[
        bool,
        typer.Option(
            "--json", expose_value=False, callback=lambda ctx, value: _keep(ctx, as_json=value or None), help="Answer in JSON."
        ),
    ] = False,
    later_config: Annotated[
        Path | None,
        typer.Option(
            "--config", expose_value=False, callback=lambda ctx, value: _keep(ctx, config_file=value), help=CONFIG_HELP,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    later_url: Annotated[
        str | None,
        typer.Option(
            "--url", expose_value=False, callback=lambda ctx, value: _keep(ctx, url=value), help=URL_HELP,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    later_key: Annotated[
        Path | None,
        typer.Option(
            "--key-file", expose_value=False, callback=lambda ctx, value: _keep(ctx, key=value and read_key(value)),
            exists=True, dir_okay=False, help=KEY_FILE_HELP, rich_help_panel=_PANEL,
        ),
    ] = None,
) -> None: ...  # fmt: skip


def address_of(settings: Settings) -> str:
    """Returns the address of a service with these settings, seen from its own machine."""
    host = "127.0.0.1" if settings.api.host in EVERYWHERE else settings.api.host
    return f"http://[{host}]:{settings.api.port}" if ":" in host else f"http://{host}:{settings.api.port}"


WholeFile = Annotated[
    typer.FileBinaryRead,
    typer.Argument(help="The complete document as JSON, or the output of `show --json`; - is standard input."),
]


def whole(given: bytes, part: str) -> bytes:
    """Returns the document under `part` in the output of `show`; any other text is returned unchanged, for the API to check. Raises
    RefusedError if that part is null.
    """
    try:
        told = json.loads(given)
    except ValueError:
        return given
    if not isinstance(told, dict) or part not in told:
        return given
    if told[part] is None:
        raise RefusedError(
            f"`show` did not tell you the whole of it: its {part} is null. An administrator of it sees it."
        )
    return json.dumps(told[part]).encode()
