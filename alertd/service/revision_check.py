"""What somebody saw who decides about something or changes it, what others changed meanwhile, and an end that came first."""

from __future__ import annotations

from alertd.common.errors import Problem
from alertd.store.alerts.records import AlertRecord

#: So often it is tried again where others changed the same at the same moment.
TRIES = 5


def check_revision(record: AlertRecord, seen: int | None) -> None:
    """Raises Problem when the alert is of another revision than the one named; None names none."""
    if seen not in {None, record.rev}:
        raise changed_since()


def changed_since(what: str = "alert") -> Problem:
    """It is of another revision than the one the caller named."""
    return Problem("version-changed", f"The {what} was changed since you read it.")


def contested(what: str) -> Problem:
    """Others were first each time that it was tried."""
    return Problem("precondition-failed", f"Somebody else keeps changing {what}. Try again.")


def has_ended() -> Problem:
    """Whoever decides about the alert comes too late."""
    return Problem("expired", "The alert's end has passed.")
