"""Runs a process of the service, such as the API or a worker, until a signal ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import typer
import uvloop

from alertd.commands.base.client import RefusedError
from alertd.commands.base.options import common
from alertd.common import logs
from alertd.config import settings as config
from alertd.runtime.processes import StartError
from alertd.store.embedded.data_directory import DirectoryInUseError
from alertd.store.embedded.server import EmbeddedServerError, ServerNotFoundError
from alertd.store.engine.connection import StoreRefusedError

#: Errors that the operator can fix. The command prints them as a sentence, without a traceback.
REFUSALS = (StartError, StoreRefusedError, DirectoryInUseError, EmbeddedServerError, ServerNotFoundError)


def run(what: Callable[[config.Settings], Coroutine[Any, Any, None]]) -> None:
    """Loads the settings, sets up the log, and runs the coroutine that `what` makes from the settings until it ends.
    Raises ConfigError, RefusedError for an error that the operator can fix, and Exit(1) if the coroutine was cancelled.
    """
    settings = common().settings()
    logs.set_up(settings.log_level)
    try:
        uvloop.run(what(settings))
    except REFUSALS as error:
        raise RefusedError(str(error)) from None
    except asyncio.CancelledError:
        raise typer.Exit(1) from None
