"""Runs a process of an installation until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import typer
import uvloop

from alertd import config, logs
from alertd.commands.client import RefusedError
from alertd.commands.options import common
from alertd.processes import StartError
from alertd.store.connection import StoreRefusedError
from alertd.store.data_directory import DirectoryInUseError
from alertd.store.embedded import EmbeddedServerError
from alertd.store.server_binary import ServerNotFoundError

#: What a person can mend: told in a sentence, without a traceback.
REFUSALS = (StartError, StoreRefusedError, DirectoryInUseError, EmbeddedServerError, ServerNotFoundError)


def run(ctx: typer.Context, what: Callable[[config.Settings], Coroutine[Any, Any, None]]) -> None:
    """Load the settings and run. Raises ConfigError, RefusedError."""
    settings = common(ctx).settings()
    logs.set_up(settings.log_level)
    try:
        uvloop.run(what(settings))
    except REFUSALS as error:
        raise RefusedError(str(error)) from None
    except asyncio.CancelledError:
        raise typer.Exit(1) from None
