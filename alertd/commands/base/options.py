"""Options that all commands share: configuration file, service URL, key, JSON output; and arguments
that several use.
"""

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
#: Values of `api.host` that mean all interfaces of the machine. A client cannot connect to them.
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  compared with, never bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The values of the shared options, from the command line or the environment."""

    config_file: Path | None
    url: str | None
    key: str | None
    as_json: bool = False

    def settings(self) -> Settings:
        """Loads the installation's settings from the file and the environment. Raises ConfigError."""
        from alertd.config.settings import load  # noqa: PLC0415  half a command's time; --url needs no settings

        return load(self.config_file)

    def client(self) -> Client:
        """Returns a client for --url or ALERTD_URL, else for the address in the settings. It does not connect yet and
        needs no key. Raises ConfigError if the settings cannot be loaded, and RefusedError if the URL or the key is
        malformed.
        """
        return Client(self.url or address_of(self.settings()), self.key)


def people_seen(text: str | None) -> int | str | None:
    """Returns the value of --people as the API takes it: a number, else the text (such as "<100"), which the API
    checks; None without the option.
    """
    return int(text) if text and text.isdecimal() else text


_common: ContextVar[Common] = ContextVar("common")


def common() -> Common:
    """Returns the shared options of the command that runs."""
    return _common.get()


def keep(said: Common) -> None:
    """Stores the shared options of the command that runs, in place of earlier ones."""
    _common.set(said)


def connect() -> Client:
    """Returns an API client for the service of the command line or the settings. Raises ConfigError, RefusedError."""
    return common().client()


def take_common(command: Any, *, answers: bool = True) -> None:
    """Adds the options --config, --url and --key-file to a command and all its subcommands, so that they may also
    follow the command's name. Adds --json, too, if the command `answers` and is no group.
    """
    for each in getattr(command, "commands", {}).values():
        take_common(each)
    params = typer.main.get_command(_later).params
    answers = answers and not isinstance(command, TyperGroup)
    command.params.extend(one for one in params if answers or one.name != "later_json")


def read_key(file: Path) -> str:
    """Returns the content of a key file, stripped. Does not check it: the client refuses an invalid key."""
    return file.read_text(encoding="utf-8", errors="replace").strip()


def _keep(ctx: typer.Context, **given: Any) -> None:
    """Stores the values of options after the command's name, in place of those before it. None means not given."""
    said = {name: value for name, value in given.items() if value is not None}
    if said and not ctx.resilient_parsing:  # during completion, the options before the command's name are not read
        keep(replace(common(), **said))


_later = typer.Typer(add_completion=False)
_PANEL = "Where and as whom"


# Never called: `take_common` adds its parameters to every command.
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
    """Returns the `http://` URL at which a client on the same machine reaches a service with these settings. Uses
    127.0.0.1 if the service listens on every address, and ignores `public_url`.
    """
    host = "127.0.0.1" if settings.api.host in EVERYWHERE else settings.api.host
    return f"http://[{host}]:{settings.api.port}" if ":" in host else f"http://{host}:{settings.api.port}"


WholeFile = Annotated[
    typer.FileBinaryRead,
    typer.Argument(help="The complete document as JSON, or the output of `show --json`; - is standard input."),
]


def whole(given: bytes, part: str) -> bytes:
    """Returns the document to send from a file: the member `part` if the file is the output of `show --json`, else the
    bytes unchanged, which the API checks. Raises RefusedError if the member is null: this caller may not see it.
    """
    try:
        document = json.loads(given)
    except ValueError:
        return given
    if not isinstance(document, dict) or part not in document:
        return given
    if document[part] is None:
        raise RefusedError(
            f"`show` did not tell you the whole of it: its {part} is null. An administrator of it sees it."
        )
    return json.dumps(document[part]).encode()
