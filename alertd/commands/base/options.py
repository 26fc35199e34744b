"""What commands have in common: where the service is, whose key is used, and how answers are told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alertd.commands.base.client import Client

if TYPE_CHECKING:
    from alertd.config.settings import Settings

CONFIG_HELP = "TOML file; see ops/alertd.toml."
URL_HELP = "Where the service is. Default: what the configuration says."
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
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  compared with, never bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Where the service is and whose key to use, from the line or the environment."""

    config_file: Path | None
    url: str | None
    key: str | None

    def settings(self) -> Settings:
        """The installation's settings. Raises ConfigError."""
        from alertd.config.settings import load  # noqa: PLC0415  half of what a command takes that is told where to ask

        return load(self.config_file)

    def client(self) -> Client:
        """For `ALERTD_URL`, else for the address that the settings name. Raises ConfigError, RefusedError."""
        return Client(self.url or address_of(self.settings()), self.key)


def people_seen(text: str | None) -> int | str | None:
    """`PeopleSeen` as the API takes it: a number, or the words of an estimate, which the API checks."""
    return int(text) if text and text.isdecimal() else text


def take_common(command: Any) -> None:
    """Let a command, and every command below it, take `--config`, `--url` and `--key-file` after its name too."""
    for each in getattr(command, "commands", {}).values():
        take_common(each)
    command.params.extend(typer.main.get_command(_later).params)


def read_key(file: Path) -> str:
    """The key in a file. What is no key is left for the client to refuse."""
    return file.read_text(encoding="utf-8", errors="replace").strip()


def _keep_config(ctx: typer.Context, value: Path | None) -> None:
    _keep(ctx, config_file=value)


def _keep_url(ctx: typer.Context, value: str | None) -> None:
    _keep(ctx, url=value)


def _keep_key(ctx: typer.Context, value: Path | None) -> None:
    _keep(ctx, key=read_key(value) if value else None)


def _keep(ctx: typer.Context, **given: Any) -> None:
    """Replaces the value from before the command's name by the one after it."""
    said = {name: value for name, value in given.items() if value is not None}
    if said and not ctx.resilient_parsing:  # while a shell completes a line, nothing before the command's name was read
        ctx.obj = replace(common(ctx), **said)


_later = typer.Typer(add_completion=False)
_PANEL = "Where and as whom"


@_later.command()
def _said_later(
    later_config: Annotated[
        Path | None,
        typer.Option("--config", expose_value=False, callback=_keep_config, help=CONFIG_HELP, rich_help_panel=_PANEL),
    ] = None,
    later_url: Annotated[
        str | None,
        typer.Option("--url", expose_value=False, callback=_keep_url, help=URL_HELP, rich_help_panel=_PANEL),
    ] = None,
    later_key: Annotated[
        Path | None,
        typer.Option(
            "--key-file", expose_value=False, callback=_keep_key, exists=True, dir_okay=False, help=KEY_FILE_HELP,
            rich_help_panel=_PANEL,
        ),
    ] = None,
) -> None: ...  # fmt: skip


def address_of(settings: Settings) -> str:
    """Where a service with these settings is found on its own machine."""
    host = "127.0.0.1" if settings.api.host in EVERYWHERE else settings.api.host
    return f"http://[{host}]:{settings.api.port}" if ":" in host else f"http://{host}:{settings.api.port}"


def common(ctx: typer.Context) -> Common:
    """What the callback of `cli` kept."""
    found = ctx.find_object(Common)
    assert found is not None
    return found
