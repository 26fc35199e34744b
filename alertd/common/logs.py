"""Logs: one JSON object a line on stderr, events with ids. Never a person: no name, number, token, mailbox or text.

So of an exception only its class and the places it passed are told, ours and the libraries' alike: its text may hold what was sent.
"""

from __future__ import annotations

import io
import json
import logging
import math
import re
import select
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

import channels

#: How many of the places that an exception passed are told, innermost last.
PLACES = 6
#: What says that the store is away: the event of a step, and the problem of a request.
STORE_AWAY, STORE_AWAY_PROBLEM = "store unavailable", "store-unavailable"
STORE_AWAY_EVERY_S = 1.0
#: From here on asyncio tells of what: of the task with its exception's text, of the callback with its arguments.
_PUT_IN = re.compile(r"[\n(<]")


def set_up(level: str = "info") -> None:
    """Once, by the composition root."""
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            Throttle(),
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _tell_fault,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(file=_Lines()),  # type: ignore[arg-type]  # it is written to and flushed
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_Lines())
    handler.setFormatter(OneLine())
    logging.basicConfig(level=max(numeric, logging.WARNING), handlers=[handler], force=True)
    warnings.showwarning = _tell_warning  # type: ignore[assignment]  # Python calls it by places alone
    threading.excepthook = sys.unraisablehook = _tell_unhandled


class Throttle:
    """Drops lines that say the store is away, except one a second in this process: every step of a worker and every request meets it. The
    next line has the number of dropped lines as `more`.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._next = -math.inf
        self._dropped = 0

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if event.get("event") != STORE_AWAY and event.get("problem") != STORE_AWAY_PROBLEM:
            return event
        now = self._monotonic()
        if now < self._next:
            self._dropped += 1
            raise structlog.DropEvent
        self._next = now + STORE_AWAY_EVERY_S
        if self._dropped:
            event["more"] = self._dropped
            self._dropped = 0
        return event


class _Lines(io.TextIOBase):
    """Standard error, for as long as somebody takes it: on a disk that is full, or when its reader is gone or hangs, lines are lost,
    and whoever wrote one goes on. A log must not be what an alert waits for. Nothing is buffered: what is left of a line is tried once
    more when Python ends, which would end with 120 then.
    """

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # closed
            if _is_taken():
                _write(text)
        return len(text)


def _write(text: str) -> None:
    raw = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    if raw is None:  # it has no buffer, or is no file
        sys.stderr.write(text)
        sys.stderr.flush()
    else:
        raw.write(text.encode(errors="backslashreplace"))


def _is_taken() -> bool:
    """Whether a line is taken at once. A pipe that says so has room for 4,096 bytes, and hardly a line is longer."""
    try:
        return bool(select.select([], [sys.stderr], [], 0)[1])
    except (OSError, ValueError):  # it is no file
        return True


def places_of(error: BaseException) -> list[str]:
    """The last few places an exception passed, innermost last: file, line and function."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[-PLACES:]


class OneLine(logging.Formatter):
    """What libraries log, in the same form. Their words are kept as they wrote them, without what they put into them, which nobody here knows.
    What our own channels put into theirs is a server's name, or a number.
    """

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        words = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        if record.name.partition(".")[0] == channels.__name__:
            words = record.getMessage()
        told = {
            "event": _PUT_IN.split(words, 1)[0].rstrip() if record.name == "asyncio" else words,
            "logger": record.name,
            "level": record.levelname.lower(),
            "at": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            **({} if error is None else {"error": type(error).__qualname__, "places": places_of(error)}),
        }
        return json.dumps(told, ensure_ascii=False)


def _tell_warning(_: Warning | str, category: type[Warning], filename: str, lineno: int, *_more: object) -> None:
    """A library's, whose text may quote a value: pydantic's does."""
    structlog.get_logger().warning("a library warns", warning=category.__qualname__, place=f"{filename}:{lineno}")


def _tell_unhandled(what: Any) -> None:
    """What was raised where nobody could catch it, in a thread or while an object was let go: Python would tell its text."""
    structlog.get_logger().error("nobody could catch an exception", exc_info=what.exc_value)


def _tell_fault(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    error = event.pop("exc_info", None)
    error = sys.exc_info()[1] if error is True else error[1] if isinstance(error, tuple) else error
    if isinstance(error, BaseException):
        event.update(error=type(error).__qualname__, places=places_of(error))
    return event
