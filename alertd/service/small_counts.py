"""Shows the exact counts of an approved alert, but not the small ones, and none that nobody but its author answers for.

Before the approval every count is an estimate (`reach`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import WithJsonSchema

from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.alert import Status
from alertd.model.states import AlertState
from alertd.service import reach
from alertd.service.reach import Estimate
from alertd.store.alerts.records import AlertRecord

SMALL_COUNT = 20  # below this a count could tell where one person lives, so it is shown as "<20"

#: What a small count is shown as. In JSON Schema an enum: clients that are generated from a `const` refuse every other form.
Small = Annotated[Literal["<20"], WithJsonSchema({"type": "string", "enum": ["<20"]})]
#: An exact count from 20 up.
Shown = int | Small


def is_exact(record: AlertRecord) -> bool:
    """Whether its counts are exact: it was approved, and a second person approved it or reviewed it since.

    Whoever sends alone could compare the counts of two alerts, and so learn where one person lives.
    """
    return bool(record.start) and is_answered_for(record.status, sent_alone=bool(record.sent_alone))


def is_answered_for(status: str, *, sent_alone: bool) -> bool:
    """Whether a second person answers for an approved alert of such a status."""
    return status == Status.ACTUAL and not sent_alone


def had_nobody_to_notify(record: AlertRecord) -> bool:
    """Whether an alert was sent without a single message, because nobody was in its audience or nobody had an address for its channels.

    Known only after it ended. It reveals no more than the progress of the alert, which has no first hand-over then.
    """
    return record.state is AlertState.SENT and not record.batches and record.id == chain_of(record.id)


def people_shown(record: AlertRecord) -> Shown | Estimate:
    """The people of an alert: the frozen audience where counts are exact, otherwise the estimate at submission."""
    return shown(record.people) if is_exact(record) else reach.shown(record.seen)


def shown(count: int) -> Shown:
    """An exact count of people. Nobody and a few read the same."""
    return count if count >= SMALL_COUNT else "<20"


def too_few_people(least: int) -> Problem:
    """An Actual alert would reach so few that telling them tells who they are."""
    return Problem(
        "audience-too-small", f"Fewer than {least} people are in the area: telling them would tell who they are."
    )
