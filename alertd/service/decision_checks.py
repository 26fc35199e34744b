"""Checks before a decision about an alert: who may decide, whether the alert changed since the person read it, and
whether it has ended.

An Actual alert takes two persons, author and approver, and no test key may decide about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.errors import Fault, Problem
from alertd.model import rules
from alertd.model.alert import Status
from alertd.model.case import bare_plate
from alertd.model.fields import folded_subject
from alertd.model.states import SHOWN, AlertState
from alertd.service.access import Credential, hands_of
from alertd.service.reach import LEAST_SHOWN, about
from alertd.store.alerts.records import AlertRecord

_ON_ITS_WAY = SHOWN | {AlertState.SCHEDULED}

#: Number of attempts when others change the same record at the same moment.
TRIES = 5


def check_revision(record: AlertRecord, seen: int | None) -> None:
    """Raises Problem version-changed if the alert is not of the revision `seen`. None accepts any revision."""
    if seen not in {None, record.rev}:
        raise changed_since()


def changed_since(what: str = "alert") -> Problem:
    """Returns the Problem for a record that has another revision than the caller named. `what` is the noun for the
    record.
    """
    return Problem("version-changed", f"The {what} was changed since you read it.")


def contested(what: str) -> Problem:
    """Returns the Problem for a change that failed on each attempt, because other callers changed the same record."""
    return Problem("precondition-failed", f"Other callers keep changing {what}. Try again.")


def has_ended() -> Problem:
    """Returns the Problem for a decision after the alert's end."""
    return Problem("expired", "The alert's end has passed.")


def check_second_person(record: AlertRecord, who: Credential) -> None:
    """Raises Problem unless the caller is a second person, independent of the author, and if a test key would decide
    about an Actual alert. Callers decide whether the alert needs a second person.

    A person who made a key may have kept it. Therefore the approver must be neither the author nor a maker of the
    author's key. The author must not be a maker of the approver's key. Two keys that a third person made count as two
    persons, because every first administrator makes keys in this way. That administrator could act as both; the list
    of keys shows the makers of each (`made_by`).
    """
    check_key(record, who)
    if who.is_person(record.author.subject):
        raise Problem("same-person", "An Actual alert needs a second person: its author cannot approve it.")
    if (
        folded_subject(who.subject) in hands_of(record.author.subject, record.author.hands)
        or folded_subject(record.author.subject) in who.hands
    ):
        raise Problem(
            "same-person",
            "An Actual alert needs a second person: you submitted it, or one of you and its author made the other's key.",
        )


def check_key(record: AlertRecord, who: Credential) -> None:
    """Raises Problem if a test key would decide about an Actual alert."""
    if who.test and record.status == Status.ACTUAL:
        raise Problem("not-allowed", "A test key cannot decide about an Actual alert.")


def check_drift(seen: int, now: int, most_share: float) -> None:
    """Raises Problem audience-changed if the estimate `now` is more than the share `most_share` of `seen` above or
    below `seen`. Estimates below 100 count as 100.
    """
    before, after = max(seen, LEAST_SHOWN), max(now, LEAST_SHOWN)
    if abs(after - before) > most_share * before:
        raise Problem(
            "audience-changed",
            "The audience is no longer the one that was seen. Look at it again, then approve with its count.",
            seen=about(seen),
            now=about(now),
        )


def check_plates(record: AlertRecord, plates: Sequence[str]) -> None:
    """Raises Problem unless `plates` are exactly the number plates of the alert's vehicles."""
    if record.document and rules.plates(record.alert) != frozenset(map(bare_plate, plates)):
        fault = Fault("/plates", "These are not the plates of the case. Type the plate of each vehicle as in the case.")
        raise Problem("invalid-request", "Type the plates again before the alert is sent.", faults=(fault,))


def refused(old: str, new: AlertState) -> Problem:
    """Returns the Problem for an alert that could not change to the state `new`. `old` is its present state, or why the
    store refused: "expired", "changed" (during the approval), "revised" (since its update was submitted).
    """
    if old == "expired":
        return has_ended()
    if old == "changed":
        return Problem("approval-stale", "The alert was changed while it was being approved.")
    if old == "revised":
        return Problem(
            "approval-stale",
            "The alert was changed, or put back from a backup, since this update was submitted. Return the update, and have a new one submitted.",
        )
    return Problem("precondition-failed", f"An alert that is {old or 'gone'} cannot become {new}.")


def is_approved_by(record: AlertRecord, who: Credential) -> bool:
    """Returns whether this very person approved the alert, and it is scheduled or shown."""
    return record.state in _ON_ITS_WAY and who.is_person(record.approval.by)


def is_as_approved(now: AlertRecord, read: AlertRecord, who: Credential) -> bool:
    """Returns whether this very person has approved the alert meanwhile, at the revision that was read."""
    return is_approved_by(now, who) and now.approval.rev in {read.rev, read.approval.rev}
