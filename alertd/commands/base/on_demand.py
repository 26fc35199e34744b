"""Loads a command's module only when the command runs. The service's modules take a second to load, and `--help` and a
health check do not need them.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from alertd.commands.base.options import take_common


class Place(NamedTuple):
    """A command before it is loaded: where it is, and its line in the list of commands."""

    where: str  # module:function, or module:Typer application for a group
    summary: str  # the help of a group, or the first paragraph of a command's help; so the list loads no module
    answers: bool = True  # the command takes --json


class OnDemand(TyperGroup):
    """A group of commands, which it imports when they run. `places`: the commands by name, in the order of the help."""

    places: ClassVar[dict[str, Place]] = {}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  typer passes it
        return list(self.places)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  typer passes it
        """Imports and returns a command, with the shared options added; None for an unknown name."""
        if cmd_name not in self.places:
            return None
        place = self.places[cmd_name]
        module, _, name = place.where.partition(":")
        loaded = getattr(importlib.import_module(module), name)
        if not isinstance(loaded, typer.Typer):
            function, loaded = loaded, typer.Typer(add_completion=False)
            loaded.command()(function)
        command = typer.main.get_command(loaded)
        command.name = cmd_name
        if isinstance(command, TyperGroup):
            command.help = place.summary
        take_common(command, answers=place.answers)
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the group's help with its list of commands and their summaries, without importing them."""
        self._listing().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Returns the names that complete `incomplete`, each with its summary, without importing the commands."""
        listing = self._listing()
        return listing.shell_complete(typer.Context(listing, info_name=ctx.info_name, parent=ctx.parent), incomplete)

    def _listing(self) -> TyperGroup:
        """Returns a copy of this group whose commands have only a name and a summary."""
        commands = [TyperCommand(name, help=place.summary) for name, place in self.places.items()]
        return TyperGroup(name=self.name, help=self.help, params=self.params, commands=commands)
