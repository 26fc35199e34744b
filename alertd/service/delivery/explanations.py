"""Explains why a person got an alert or did not: from the frozen audience, the ledger, and the person's current record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alertd.common.errors import Problem
from alertd.model.alert import Alert, Status
from alertd.model.kinds import PlaceKind
from alertd.model.states import CHANNELS, PLACE_KINDS, SHOWN, State
from alertd.model.subscriber import AddressState, Subscriber, wants_kind
from alertd.service.alerts.progress import Delivery, ProgressReports
from alertd.service.delivery.expand_addresses import Belongs, Standing
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord, numbers_of
from alertd.store.people.name_index import NameIndex

Notified = Literal["yes", "no", "maybe"]

#: Why a person got a message or not. The reasons are checked in this order; the first that holds counts.
Why = Literal[
    "has-messages", "not-approved", "no-consent", "no-tester", "outside", "not-then", "no-address", "not-planned"
]
NOBODY = 0  # no person's number: people are numbered from 1
_ARRIVED = {State.ACCEPTED.word, State.DELIVERED.word}
_MAY_HAVE = {State.UNKNOWN.word, State.IN_FLIGHT.word}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceStanding:
    """A subscriber's place, by name and kind, and how it relates to the alert."""

    name: str
    kind: str
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressStanding:
    """One address of the subscriber, by its number and never by its value, and whether the alert could use it."""

    number: int
    channel: str
    active: bool
    asked_for: bool  # the alert uses its channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Whether a person got the alert, and the facts behind that.

    Places, consent and addresses are the current ones. For a guest organisation they are empty or None.
    """

    told: Notified
    why: Why
    in_audience: bool
    consents: bool | None
    tester: bool | None
    places: Sequence[PlaceStanding]
    addresses: Sequence[AddressStanding]
    messages: Sequence[Delivery]


@dataclass(slots=True)
class Explanations:
    """Explains one person's part in one alert."""

    alerts: Alerts
    reports: ProgressReports
    names: NameIndex

    async def explain(self, person: Subscriber, record: AlertRecord) -> Explanation:
        """Returns whether the person got the alert, and why.

        For a purged alert, only the ledger's facts. Places are left out if the alert was not approved or is not for
        this person: otherwise its author could find out where the person lives. Raises Problem if the ledger was
        deleted, because nothing is known then.
        """
        alert = record.alert if record.document else None
        tells_all = record.status == Status.ACTUAL
        is_for_them = bool(record.times.start) and (tells_all or person.tester)
        places = await self._places(person, alert, record) if alert and is_for_them else []
        frozen, told = await self.alerts.audience(record.id), await self.alerts.pairs(record.id)
        audience = frozen.numbers if told is None else np.union1d(frozen.numbers, told.numbers >> np.uint64(3))
        in_audience = bool(np.any(audience == person.number))
        messages = [one async for one in self.reports.deliveries_to(record, person.number)]
        consents = wants_kind(person, record.kind)
        addresses = _addresses(person, alert)
        checks: tuple[tuple[bool, Why], ...] = (
            (bool(messages), "has-messages"),
            (not record.times.start, "not-approved"),
            (not consents, "no-consent"),
            (not (tells_all or person.tester), "no-tester"),
            (not in_audience and not any(place.standing == "inside" for place in places), "outside"),
            (not in_audience, "not-then"),
            (not any(address.active and address.asked_for for address in addresses), "no-address"),
        )
        return Explanation(
            told=_notified(messages), why=next((why for holds, why in checks if holds), "not-planned"),
            in_audience=in_audience, consents=consents, tester=person.tester, places=places, addresses=addresses,
            messages=messages,
        )  # fmt: skip

    async def to_guest(self, name: str, record: AlertRecord) -> Explanation:
        """Returns what a guest organisation may know of a subscriber of the host: the outcome of the messages that its
        own alert sent them, and nothing about the person.

        Raises Problem if no message has left. The text and the search are the same whether or not the subscriber
        exists. Otherwise an alert on hold, cancelled in the morning, would reveal unnoticed where a person lives.
        """
        number = await self.names.number_of(name) or NOBODY
        messages = [one async for one in self.reports.deliveries_to(record, number) if _has_left(one)]
        if not messages:
            raise Problem("not-found", "This alert sent no message to such a subscriber.")
        return Explanation(
            told=_notified(messages), why="has-messages", in_audience=True, consents=None, tester=None, places=(), addresses=(),
            messages=messages,
        )  # fmt: skip

    async def _places(self, person: Subscriber, alert: Alert, record: AlertRecord) -> list[PlaceStanding]:
        """Returns how each place of the person relates to the alert. Leaves out the current position if the alert is
        over.
        """
        area = await self.alerts.area(record.id)
        regions = set(numbers_of(record.target.regions))
        belongs = Belongs(alert, area, regions, record.times.start or record.times.created)
        # The current position is not compared with an alert that is over: repeated questions would show when the person
        # enters and leaves its area.
        asked = [one for one in person.places if record.state in SHOWN or PLACE_KINDS[one.kind] != PlaceKind.NOW]
        return [
            PlaceStanding(name=place.name, kind=PLACE_KINDS[place.kind], standing=standing)
            for place, standing in zip(asked, belongs.standings(asked), strict=True)
        ]


def _addresses(person: Subscriber, alert: Alert | None) -> list[AddressStanding]:
    """Returns each address of the person, by its number, with whether it is active and the alert uses its channel."""
    return [
        AddressStanding(
            number=address.number,
            channel=CHANNELS[address.channel],
            active=address.state == AddressState.ACTIVE,
            asked_for=alert is not None and CHANNELS[address.channel] in alert.channels,
        )
        for address in person.addresses
    ]


def _has_left(message: Delivery) -> bool:
    """Returns whether a carrier got the message. False during quiet hours, after an opt-out, or if that is not decided
    yet.
    """
    return message.attempts > 0 and message.state not in {State.IN_FLIGHT.word, State.SUPPRESSED.word}


def _notified(messages: Sequence[Delivery]) -> Notified:
    """Returns "yes" if a carrier accepted a message, "maybe" if one may have arrived, else "no". A message may have
    arrived although the carrier reported a failure, or through an earlier attempt.
    """
    states = {message.state for message in messages}
    doubted = any(message.doubled or message.receipt_ms for message in messages)
    return "yes" if states & _ARRIVED else "maybe" if states & _MAY_HAVE or doubted else "no"
