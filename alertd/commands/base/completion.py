"""`alertd completion`: prints the script with which a shell completes alertd's commands."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """The shells that the completion supports."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(ctx: typer.Context, shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the completion script of a shell.

    For this shell: source <(alertd completion bash). For good: write the output to the file that your shell loads completions from.
    """
    os.environ["_ALERTD_COMPLETE"] = f"source_{shell}"  # makes typer print the script
    ctx.find_root().command.main(prog_name="alertd")
