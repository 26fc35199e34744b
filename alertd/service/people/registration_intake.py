"""Reads registrations from JSON, whole or in part, and makes a subscriber's record from one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from alertd.common.errors import Problem
from alertd.model import registration
from alertd.model.faults import faults_of
from alertd.model.registration import Registration
from alertd.model.subscriber import AddressesUsedUpError, Subscriber, from_document, to_document


@dataclass(frozen=True, slots=True)
class Entry:
    """One subscriber to write. If the subscriber exists and `only` names parts, only these parts change (see
    `registration.within`).
    """

    id: str
    document: Registration
    only: tuple[str, ...] = ()


def parse_registration(document: dict[str, Any]) -> Registration:
    """Returns a registration from JSON values. Raises Problem with every fault."""
    with _told():
        return Registration.model_validate_json(json.dumps(document))


def whole(entry: Entry, previous: Subscriber | None) -> Registration:
    """Returns the whole registration as it will be after an entry is written. Raises Problem with every fault."""
    if previous is None or not entry.only:
        return entry.document
    before = parse_registration(to_document(previous))
    with _told():
        return registration.within(entry.document, entry.only, before)


@contextmanager
def _told() -> Iterator[None]:
    """Turns a ValidationError of the block into a Problem that lists every fault of the registration."""
    try:
        yield
    except ValidationError as error:
        raise Problem(
            "invalid-request", "The registration is refused; see the faults.", faults=tuple(faults_of(error))
        ) from None


def record(document: Registration, number: int, name: str, previous: Subscriber | None) -> Subscriber:
    """Returns the record of a valid registration; `previous` is the subscriber's present record. Raises Problem if the
    subscriber has had 256 addresses and needs another.
    """
    try:
        return from_document(document, number=number, subscriber_id=name, previous=previous)
    except AddressesUsedUpError as error:
        raise Problem("invalid-request", str(error)) from None
