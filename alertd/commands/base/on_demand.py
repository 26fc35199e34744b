"""Loads a command's module when the command is called: the service's own modules take a second, which `--help` and a health check need not wait."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from alertd.commands.base.options import take_common


class Place(NamedTuple):
    """Where a command is defined, and the line that a list of commands shows for it."""

    where: str  # module:function, or module:Typer application for a group
    summary: str  # the help of a group; of a command the first paragraph of it, so that the list needs no module
    answers: bool = True  # it takes --json


class OnDemand(TyperGroup):
    """A group whose commands are named by `places`."""

    places: ClassVar[dict[str, Place]] = {}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  typer passes it
        return list(self.places)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  typer passes it
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
        """Lists the commands by their summaries."""
        self._listing().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Completes the names of commands by their summaries."""
        listing = self._listing()
        return listing.shell_complete(typer.Context(listing, info_name=ctx.info_name, parent=ctx.parent), incomplete)

    def _listing(self) -> TyperGroup:
        """This group with commands that have a name and a summary, and nothing else."""
        commands = [TyperCommand(name, help=place.summary) for name, place in self.places.items()]
        return TyperGroup(name=self.name, help=self.help, params=self.params, commands=commands)
