"""Decides which people on call alertd pages about an alert: the cause, the rota and the next step. No I/O and no clock."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, model_validator

from alertd.common.clock import time_of
from alertd.model.faults import refuse
from alertd.model.fields import Document, Line, TimeZone, folded_subject
from alertd.model.quiet_hours import minutes
from alertd.model.registration import LocalTime, MailAddress, PushAddress, SmsAddress
from alertd.model.states import ASKABLE, AlertState

#: Maximum number of steps of a rota: a duty office has a desk, a deputy and a chief. Further steps would not be reached
#: in time.
MOST_STEPS = 10
#: Maximum number of people in a step, who are paged together. For more, use a mailing list, which has one address.
MOST_PEOPLE = 20
MOST_ADDRESSES = 5
#: Maximum number of duty hours (`Hours`) of a person: three shifts on each day of a week.
MOST_HOURS = 21


class Cause(enum.StrEnum):
    """The reason for calling people on duty about an alert."""

    APPROVAL = "approval"  # the alert awaits its approver
    STAND_DOWN = "stand_down"  # another organisation asks to stand it down


def cause_of(state: AlertState, *, is_asked: bool) -> Cause | None:
    """Returns why alertd pages people: the alert awaits its approval, or else another organisation asks to stand it
    down (`is_asked`) while it is in one of the states `ASKABLE`. Returns None if alertd pages no one.
    """
    if state is AlertState.PENDING:
        return Cause.APPROVAL
    return Cause.STAND_DOWN if is_asked and state in ASKABLE else None


class Day(enum.StrEnum):
    """Days in the order of `datetime.weekday`."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_DAYS = tuple(Day)
#: The document types of the addresses of people on call, by channel.
CONTACTS: dict[str, type[PushAddress | SmsAddress | MailAddress]] = {
    "sms": SmsAddress, "push": PushAddress, "mail": MailAddress,
}  # fmt: skip
ContactAddress = Annotated[PushAddress | SmsAddress | MailAddress, Field(discriminator="channel")]


class Hours(Document):
    """Duty hours on some days of the week, in the rota's time zone.

    Hours that end before they begin run past midnight and belong to the day on which they begin.
    """

    days: Annotated[tuple[Annotated[Day, Field(strict=False)], ...], Field(min_length=1, max_length=len(Day))] = _DAYS
    start: Annotated[LocalTime, Field(alias="from")]
    end: Annotated[LocalTime, Field(alias="to")]

    @model_validator(mode="after")
    def _is_part_of_a_day(self) -> Self:
        """Refuses hours that begin and end at the same time."""
        if self.start == self.end:
            refuse("Hours", [(("to",), "Hours end at another time than they begin; leave them out for all day.")])
        return self

    def hold(self, day: int, minute: int) -> bool:
        """Returns whether these hours cover a minute of a weekday (0 is Monday)."""
        start, end = minutes(self.start), minutes(self.end)
        today, yesterday = _DAYS[day] in self.days, _DAYS[day - 1] in self.days
        if start < end:
            return today and start <= minute < end
        return (today and minute >= start) or (yesterday and minute < end)


class OnCallPerson(Document):
    """A person or a desk on call."""

    name: Line
    subject: Line | None = Field(
        None,
        description="Their name at sign-in or in their key: alertd does not page them about alerts they cannot approve.",
    )
    addresses: Annotated[
        tuple[ContactAddress, ...],
        Field(min_length=1, max_length=MOST_ADDRESSES, description="The next is tried where one is not taken."),
    ]
    hours: Annotated[tuple[Hours, ...], Field(max_length=MOST_HOURS, description="Without any: always.")] = ()


class OnCallStep(Document):
    """People who are notified at the same time."""

    people: Annotated[tuple[OnCallPerson, ...], Field(min_length=1, max_length=MOST_PEOPLE)]


class OnCall(Document):
    """The people to notify when an alert awaits its approver, step by step until one of them takes it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "time_zone": "Europe/Madrid",
                    "after_min": 5,
                    "times": 3,
                    "hold_min": 15,
                    "steps": [
                        {
                            "people": [
                                {
                                    "name": "Duty desk",
                                    "subject": None,
                                    "addresses": [{"channel": "sms", "number": "+34600000000"}],
                                    "hours": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "20:00"}],
                                }
                            ]
                        }
                    ],
                }
            ]
        }
    )  # fmt: skip
    time_zone: TimeZone = Field(description="Time zone of the hours.")
    after_min: Annotated[int, Field(ge=1, le=120, description="Minutes before the next step is notified.")] = 5
    times: Annotated[int, Field(ge=1, le=20, description="How often all steps are gone through.")] = 3
    hold_min: Annotated[
        int, Field(ge=1, le=240, description="Minutes without a page after a person took the alert.")
    ] = 15
    steps: Annotated[
        tuple[OnCallStep, ...],
        Field(max_length=MOST_STEPS, description="In order of notification. Without any, no calls are made."),
    ] = ()

    @model_validator(mode="after")
    def _addresses_differ(self) -> Self:
        """Refuses an address that is repeated within a step."""
        if again := list(_twice(self.steps)):
            refuse("OnCall", [(place, "This address is in this step already.") for place in again])
        return self


@dataclass(frozen=True, slots=True)
class Turn:
    """The step of the rota to page next."""

    step: int  # index
    people: tuple[OnCallPerson, ...]
    again: bool  # all steps were notified before this one


def on_duty(rota: OnCall, step: int, now_ms: int) -> tuple[OnCallPerson, ...]:
    """Returns the people of a step who are on duty at a time (UNIX ms)."""
    now = time_of(now_ms).astimezone(ZoneInfo(rota.time_zone))
    day, minute = now.weekday(), now.hour * 60 + now.minute
    people = rota.steps[step].people
    return tuple(one for one in people if not one.hours or any(each.hold(day, minute) for each in one.hours))


def turn(rota: OnCall, step: int, now_ms: int, hands: frozenset[str] = frozenset()) -> Turn | None:
    """Returns the first step with people on duty at `now_ms` (UNIX ms), from index `step` on and then from the start.
    Returns None if there is none.

    `hands`: folded subjects of people who cannot approve; they are skipped.
    """
    for number in range(step, step + len(rota.steps)):
        index = number % len(rota.steps)
        if people := tuple(one for one in on_duty(rota, index, now_ms) if not _is_of(one, hands)):
            return Turn(index, people, again=number >= len(rota.steps))
    return None


def _is_of(person: OnCallPerson, hands: frozenset[str]) -> bool:
    """Returns whether a person on call is one of these people (folded subjects). False for a person without a subject."""
    return person.subject is not None and folded_subject(person.subject) in hands


def anybody(rota: OnCall | None, now_ms: int) -> bool:
    """Returns whether a person of the rota is on duty at `now_ms` (UNIX ms)."""
    return rota is not None and turn(rota, 0, now_ms) is not None


def _twice(steps: Iterable[OnCallStep]) -> Iterator[tuple[int | str, ...]]:
    """Yields the location in the document of each address that is repeated in one step."""
    for i, step in enumerate(steps):
        seen: set[tuple[str, str]] = set()
        for j, person in enumerate(step.people):
            for k, address in enumerate(person.addresses):
                if (address.channel, address.value) in seen:
                    yield "steps", i, "people", j, "addresses", k
                seen.add((address.channel, address.value))
