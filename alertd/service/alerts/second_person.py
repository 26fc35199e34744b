"""Who may decide about an alert, and what they are told who may not: an Actual one takes two persons, and no test key."""

from __future__ import annotations

from alertd.common.errors import Problem
from alertd.model.alert import Status
from alertd.model.fields import folded_subject
from alertd.model.states import AlertState
from alertd.service.access import Credential, hands_of
from alertd.service.revision_check import has_ended
from alertd.store.alerts.records import AlertRecord


def check_second_person(record: AlertRecord, who: Credential) -> None:
    """Whoever made a key may have kept it. So the approver is none of those through whose hands the author's key came, and the author is
    none of those of the approver's key. Two keys that a third made are two persons': every first administrator makes them so, and could
    act as both; whose hands each came through is listed with it (`made_by`).
    """
    check_key(record, who)
    if who.is_person(record.author):
        raise Problem("same-person", "An Actual alert needs a second person: its author cannot approve it.")
    if (
        folded_subject(who.subject) in hands_of(record.author, record.hands)
        or folded_subject(record.author) in who.hands
    ):
        raise Problem(
            "same-person",
            "An Actual alert needs a second person: you submitted it, or of you two one made the other's key.",
        )


def check_key(record: AlertRecord, who: Credential) -> None:
    """Raises Problem where a test key would decide about an Actual alert."""
    if who.test and record.status == Status.ACTUAL:
        raise Problem("not-allowed", "A test key decides nothing about an Actual alert.")


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
