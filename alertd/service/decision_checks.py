"""Who may decide about an alert, and what stands against a decision: a change since the person looked, an end that came first.

A decision about an Actual alert takes two persons, and no test key.
"""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.errors import Fault, Problem
from alertd.model import rules
from alertd.model.alert import Status
from alertd.model.case import bare_plate
from alertd.model.fields import folded_subject
from alertd.model.states import AlertState
from alertd.service.access import Credential, hands_of
from alertd.service.reach import LEAST_SHOWN, about
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


def check_second_person(record: AlertRecord, who: Credential) -> None:
    """Whoever made a key may have kept it. So the approver is none of those through whose hands the author's key came, and the author is
    none of those of the approver's key. Two keys that a third made are two persons': every first administrator makes them so, and could
    act as both; whose hands each came through is listed with it (`made_by`).
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
            "An Actual alert needs a second person: you submitted it, or of you two one made the other's key.",
        )


def check_key(record: AlertRecord, who: Credential) -> None:
    """Raises Problem where a test key would decide about an Actual alert."""
    if who.test and record.status == Status.ACTUAL:
        raise Problem("not-allowed", "A test key decides nothing about an Actual alert.")


def check_drift(seen: int, now: int, most_share: float) -> None:
    """Raises Problem `audience-changed` if the estimate differs too much from the one that was seen; "<100" counts as 100."""
    before, after = max(seen, LEAST_SHOWN), max(now, LEAST_SHOWN)
    if abs(after - before) > most_share * before:
        raise Problem(
            "audience-changed",
            "The audience is no longer the one that was seen. Look at it again, then approve with its count.",
            seen=about(seen),
            now=about(now),
        )


def check_plates(record: AlertRecord, plates: Sequence[str]) -> None:
    """Raises Problem where these are not those of its vehicles."""
    if record.document and rules.plates(record.alert) != frozenset(map(bare_plate, plates)):
        fault = Fault("/plates", "Type the plate of each vehicle as the case has it: these are others.")
        raise Problem("invalid-request", "The plates are typed again before anybody is told.", faults=(fault,))


def refused(old: str, new: AlertState) -> Problem:
    """Why an alert in an old state (or "expired", "changed", "revised") did not become what was asked."""
    if old == "expired":
        return has_ended()
    if old == "changed":
        return Problem("approval-stale", "The alert was changed while it was being approved.")
    if old == "revised":
        return Problem(
            "approval-stale",
            "The alert was changed, or put back from a backup, since this update of it was written. Return it, and have the alert updated as it"
            " is now.",
        )
    return Problem("precondition-failed", f"An alert that is {old or 'gone'} cannot become {new}.")
