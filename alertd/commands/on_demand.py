"""Loads a command's module when the command is called: the service's own take a second, which a health check need not wait."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from alertd.commands.options import take_config


class OnDemand(TyperGroup):
    """A group whose commands are named by `places`: the module, and the Typer application in it."""

    places: ClassVar[dict[str, str]] = {}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  typer passes it
        return list(self.places)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  typer passes it
        module, _, name = self.places.get(cmd_name, "").partition(":")
        if not module:
            return None
        loaded: typer.Typer = getattr(importlib.import_module(module), name)
        command = typer.main.get_command(loaded)
        command.name = cmd_name
        take_config(command)
        return command
