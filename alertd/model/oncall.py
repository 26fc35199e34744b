"""Calls the people on call: why about an alert, by which rota, and who is next. No I/O and no clock."""

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

#: A duty office has a desk, its deputy and whoever answers for both. More steps than this are never reached in time.
MOST_STEPS = 10
#: Who is told at the same time; beyond is a mailing list, which has one address.
MOST_PEOPLE = 20
MOST_ADDRESSES = 5
#: Shifts of a week, on each day others.
MOST_HOURS = 21


class Cause(enum.StrEnum):
    """Why the people on call are called about an alert."""

    APPROVAL = "approval"  # it waits for its second person
    STAND_DOWN = "stand_down"  # another organisation asks to stand it down


def cause_of(state: AlertState, *, is_asked: bool) -> Cause | None:
    """Returns why alertd calls people about an alert, or None. `is_asked`: another organisation asks to stand it down."""
    if state is AlertState.PENDING:
        return Cause.APPROVAL
    return Cause.STAND_DOWN if is_asked and state in ASKABLE else None


class Day(enum.StrEnum):
    """In the order of `datetime.weekday`."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_DAYS = tuple(Day)
#: By channel.
CONTACTS: dict[str, type[PushAddress | SmsAddress | MailAddress]] = {
    "sms": SmsAddress, "push": PushAddress, "mail": MailAddress,
}  # fmt: skip
ContactAddress = Annotated[PushAddress | SmsAddress | MailAddress, Field(discriminator="channel")]


class Hours(Document):
    """Hours of duty on some days of the week, by the rota's clocks. They go over midnight, and belong to the day that they begin on, if
    they end before they begin.
    """

    days: Annotated[tuple[Annotated[Day, Field(strict=False)], ...], Field(min_length=1, max_length=len(Day))] = _DAYS
    start: Annotated[LocalTime, Field(alias="from")]
    end: Annotated[LocalTime, Field(alias="to")]

    @model_validator(mode="after")
    def _is_part_of_a_day(self) -> Self:
        if self.start == self.end:
            refuse("Hours", [(("to",), "Hours end at another time than they begin; leave them out for all day.")])
        return self

    def hold(self, day: int, minute: int) -> bool:
        """Whether they hold at a minute of a day, 0 for Monday."""
        start, end = minutes(self.start), minutes(self.end)
        today, yesterday = _DAYS[day] in self.days, _DAYS[day - 1] in self.days
        if start < end:
            return today and start <= minute < end
        return (today and minute >= start) or (yesterday and minute < end)


class OnCallPerson(Document):
    """Somebody who is on call: a person, or a desk."""

    name: Line
    subject: Line | None = Field(
        None, description="As they sign in or as their key names them: they are not told of what they cannot approve."
    )
    addresses: Annotated[
        tuple[ContactAddress, ...],
        Field(min_length=1, max_length=MOST_ADDRESSES, description="The next is tried where one is not taken."),
    ]
    hours: Annotated[tuple[Hours, ...], Field(max_length=MOST_HOURS, description="Without any: always.")] = ()


class OnCallStep(Document):
    """Who is told at the same time."""

    people: Annotated[tuple[OnCallPerson, ...], Field(min_length=1, max_length=MOST_PEOPLE)]


class OnCall(Document):
    """Who is told that an alert waits for its second person, one step after the other until somebody sees to it."""

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
    time_zone: TimeZone = Field(description="On whose clocks the hours are.")
    after_min: Annotated[int, Field(ge=1, le=120, description="Minutes that a step has before the next is told.")] = 5
    times: Annotated[int, Field(ge=1, le=20, description="How often all steps are gone through.")] = 3
    hold_min: Annotated[
        int, Field(ge=1, le=240, description="Minutes that nobody is told after somebody said that they have it.")
    ] = 15
    steps: Annotated[
        tuple[OnCallStep, ...], Field(max_length=MOST_STEPS, description="In their order; none: nobody is told.")
    ] = ()

    @model_validator(mode="after")
    def _addresses_differ(self) -> Self:
        if again := list(_twice(self.steps)):
            refuse("OnCall", [(place, "This address is in this step already.") for place in again])
        return self


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is."""

    step: int  # index
    people: tuple[OnCallPerson, ...]
    again: bool  # all steps were gone through before it


def on_duty(rota: OnCall, step: int, now_ms: int) -> tuple[OnCallPerson, ...]:
    """Who of a step is on duty at a moment (UNIX ms)."""
    now = time_of(now_ms).astimezone(ZoneInfo(rota.time_zone))
    day, minute = now.weekday(), now.hour * 60 + now.minute
    people = rota.steps[step].people
    return tuple(one for one in people if not one.hours or any(each.hold(day, minute) for each in one.hours))


def turn(rota: OnCall, step: int, now_ms: int, hands: frozenset[str] = frozenset()) -> Turn | None:
    """The first step from this index on, over the end and round, of which somebody is on duty; None where of none anybody is. `hands` are
    the subjects, folded, of those who cannot approve.
    """
    for number in range(step, step + len(rota.steps)):
        index = number % len(rota.steps)
        if people := tuple(one for one in on_duty(rota, index, now_ms) if not _is_of(one, hands)):
            return Turn(index, people, again=number >= len(rota.steps))
    return None


def _is_of(person: OnCallPerson, hands: frozenset[str]) -> bool:
    return person.subject is not None and folded_subject(person.subject) in hands


def anybody(rota: OnCall | None, now_ms: int) -> bool:
    """Whether anybody is on duty."""
    return rota is not None and turn(rota, 0, now_ms) is not None


def _twice(steps: Iterable[OnCallStep]) -> Iterator[tuple[int | str, ...]]:
    """Where an address stands a second time in one step, as places in the document."""
    for i, step in enumerate(steps):
        seen: set[tuple[str, str]] = set()
        for j, person in enumerate(step.people):
            for k, address in enumerate(person.addresses):
                if (address.channel, address.value) in seen:
                    yield "steps", i, "people", j, "addresses", k
                seen.add((address.channel, address.value))
