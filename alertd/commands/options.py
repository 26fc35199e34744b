"""What commands have in common: where the service is, whose key is used, and how answers are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alertd import config
from alertd.commands.client import Client

ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="ALERTD_CONFIG", help="TOML file; see ops/alertd.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  compared with, never bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What was said before the command's name, or stands in the environment."""

    config_file: Path | None
    url: str | None
    key: str | None

    def settings(self) -> config.Settings:
        """The installation's settings. Raises ConfigError."""
        return config.load(self.config_file)

    def client(self) -> Client:
        """For `ALERTD_URL`, else for the address that the settings name. Raises ConfigError, RefusedError."""
        return Client(self.url or address_of(self.settings()), self.key)


def address_of(settings: config.Settings) -> str:
    """Where a service with these settings is found on its own machine."""
    host = "127.0.0.1" if settings.api.host in EVERYWHERE else settings.api.host
    return f"http://[{host}]:{settings.api.port}" if ":" in host else f"http://{host}:{settings.api.port}"


def common(ctx: typer.Context) -> Common:
    """What the callback of `cli` kept."""
    found = ctx.find_object(Common)
    assert found is not None
    return found
