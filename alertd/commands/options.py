"""What commands have in common: where the service is, whose key is used, and how answers are told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alertd.commands.client import Client

if TYPE_CHECKING:
    from alertd.config import Settings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="ALERTD_CONFIG", help="TOML file; see ops/alertd.toml.")
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
    """What was said before the command's name, or stands in the environment."""

    config_file: Path | None
    url: str | None
    key: str | None

    def settings(self) -> Settings:
        """The installation's settings. Raises ConfigError."""
        from alertd.config import load  # noqa: PLC0415  half of what a command takes that is told where to ask

        return load(self.config_file)

    def client(self) -> Client:
        """For `ALERTD_URL`, else for the address that the settings name. Raises ConfigError, RefusedError."""
        return Client(self.url or address_of(self.settings()), self.key)


def people_seen(text: str | None) -> int | str | None:
    """`PeopleSeen` as the API takes it: a number, or the words of an estimate, which the API checks."""
    return int(text) if text and text.isdecimal() else text


def take_config(command: Any) -> None:
    """Let every command take `--config` after its name, too: it is where people write it."""
    for each in getattr(command, "commands", {}).values():
        take_config(each)
    if not hasattr(command, "commands"):
        command.params.extend(typer.main.get_command(_later).params)


def _keep_config(ctx: typer.Context, value: Path | None) -> None:
    if value is not None:
        ctx.obj = replace(common(ctx), config_file=value)


_later = typer.Typer(add_completion=False)


@_later.command()
def _said_later(
    config_file: Annotated[
        Path | None,
        typer.Option("--config", expose_value=False, callback=_keep_config, help="TOML file; see ops/alertd.toml."),
    ] = None,
) -> None: ...


def address_of(settings: Settings) -> str:
    """Where a service with these settings is found on its own machine."""
    host = "127.0.0.1" if settings.api.host in EVERYWHERE else settings.api.host
    return f"http://[{host}]:{settings.api.port}" if ":" in host else f"http://{host}:{settings.api.port}"


def common(ctx: typer.Context) -> Common:
    """What the callback of `cli` kept."""
    found = ctx.find_object(Common)
    assert found is not None
    return found
