"""Logging: one JSON object per line on stderr: an event of `log_events`, its sentence as `message`, and its members.
Never logs personal data: no name, phone number, token, mail address or text.

For that reason an exception is logged as its class and its stack locations, without its message, which may quote input. This applies to
alertd and to libraries.
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

from alertd.common.log_events import EVENTS, LIBRARY_LOGGED, STORE_UNAVAILABLE

#: Stack locations logged per exception, innermost last.
PLACES = 6
#: Packages whose loggers of the standard library log events of `log_events`, with their members as `extra`.
OWN = frozenset({"alertd", "channels", "geofences"})
#: The problem type of a request that met an unavailable store. `Throttle` limits its log lines.
STORE_AWAY_PROBLEM = "store-unavailable"
STORE_AWAY_EVERY_S = 1.0
#: Attributes that a log record has without `extra`, with those that formatters and newer versions of Python add.
_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
#: Where the details in a message of asyncio begin: a task with its exception's text, or a callback with its
#: arguments. The rest of the message is not logged.
_PUT_IN = re.compile(r"[\n(<]")


def set_up(level: str = "info") -> None:
    """Sets up logging for this process: log lines of at least `level`, and warnings and errors of libraries. The composition root calls it
    once.
    """
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            Throttle(),
            structlog.contextvars.merge_contextvars,
            add_message,
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
    """A structlog processor that lets through one line a second about an unavailable store, and drops the others, because every step and
    request logs one. The next line has the number of dropped lines as `more`.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._next = -math.inf
        self._dropped = 0

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if event.get("event") != STORE_UNAVAILABLE and event.get("problem") != STORE_AWAY_PROBLEM:
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
    """A text stream that writes to standard error as long as its reader accepts data.

    If the disk is full, or the reader is gone or hangs, drops the line instead of blocking: a log must not delay an alert. Writes without a
    buffer, because Python would retry a buffered rest at its end and exit with 120.
    """

    def write(self, text: str) -> int:
        """Writes the text, or drops it if standard error does not take it. Returns its length in both cases."""
        with suppress(OSError, ValueError):  # closed
            if _is_taken():
                _write(text)
        return len(text)


def _write(text: str) -> None:
    """Writes a text to standard error without a buffer."""
    raw = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    if raw is None:  # it has no buffer, or is not a file
        sys.stderr.write(text)
        sys.stderr.flush()
    else:
        raw.write(text.encode(errors="backslashreplace"))


def _is_taken() -> bool:
    """Returns whether a line can be written without blocking.

    A ready pipe has room for 4,096 bytes, more than most lines.
    """
    try:
        return bool(select.select([], [sys.stderr], [], 0)[1])
    except (OSError, ValueError):  # it is no file
        return True


def places_of(error: BaseException) -> list[str]:
    """Returns the last stack locations of an exception, innermost last: file, line and function."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[-PLACES:]


def add_message(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Adds the sentence of a known event as `message`. Leaves an unknown event unchanged, because a log must not fail."""
    event.update(_message_of(event.get("event")))
    return event


def _message_of(event: object) -> dict[str, str]:
    """Returns {"message": the event's sentence}, {} for an unknown event."""
    return {"message": EVENTS[event]} if isinstance(event, str) and event in EVENTS else {}


class OneLine(logging.Formatter):
    """Formats log records of the standard library as JSON lines like those of structlog.

    A record of alertd's own packages has an event of `log_events`, and its `extra` are the members: server names or
    numbers. A record of another library is `library.logged`, with its text as `message`. Its arguments and its `extra`
    are omitted, because their content is unknown.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns a log record as one line of JSON."""
        error = record.exc_info[1] if record.exc_info else None
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        members: dict[str, Any]
        if record.name.partition(".")[0] in OWN:
            extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
            members = {"event": text} | _message_of(text) | extra
        else:
            shown = _PUT_IN.split(text, 1)[0].rstrip() if record.name == "asyncio" else text
            members = {"event": LIBRARY_LOGGED, "message": shown}
        line = {
            **members,
            "logger": record.name,
            "level": record.levelname.lower(),
            "at": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            **({} if error is None else {"error": type(error).__qualname__, "places": places_of(error)}),
        }
        return json.dumps(line, ensure_ascii=False, default=lambda value: type(value).__name__)


def _tell_warning(_: Warning | str, category: type[Warning], filename: str, lineno: int, *_more: object) -> None:
    """Logs a library's warning without its text, which may quote a value, as pydantic's does."""
    structlog.get_logger().warning("library.warned", warning=category.__qualname__, place=f"{filename}:{lineno}")


def _tell_unhandled(what: Any) -> None:
    """Logs an exception that no code could catch, in a thread or a finaliser. Python would print its text."""
    structlog.get_logger().error("exception.escaped", exc_info=what.exc_value)


def _tell_fault(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor that replaces an exception by its class and its stack locations, because its text may quote input."""
    error = event.pop("exc_info", None)
    error = sys.exc_info()[1] if error is True else error[1] if isinstance(error, tuple) else error
    if isinstance(error, BaseException):
        event.update(error=type(error).__qualname__, places=places_of(error))
    return event
