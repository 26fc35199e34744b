"""The revision of an alert that somebody saw, who decides about it or changes it."""

from __future__ import annotations

from alertd.errors import Problem
from alertd.store.alerts import AlertRecord


def check_revision(record: AlertRecord, seen: int | None) -> None:
    """Raises Problem when the alert is of another revision than the one named; None names none."""
    if seen not in {None, record.rev}:
        raise changed_since()


def changed_since() -> Problem:
    """The alert is of another revision than the one the caller named."""
    return Problem("precondition-failed", "The alert was changed since you read it.", status=412)
