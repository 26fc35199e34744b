"""A CAP alert message as values.

Positions are (longitude, latitude) in degrees (WGS 84), as everywhere in alertd; CAP writes the latitude first. Texts
are as sent, without the white space around them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from alertd.common.errors import Fault
from alertd.model.kinds import Category, Certainty, ResponseType, Severity, Urgency

Position = tuple[float, float]

#: The language of an info that names none (CAP 1.2, section 3.2.2, language).
DEFAULT_LANGUAGE = "en-US"


class Status(enum.StrEnum):
    """The CAP status of a message (section 3.2.1, status)."""

    ACTUAL = "Actual"
    EXERCISE = "Exercise"
    SYSTEM = "System"
    TEST = "Test"
    DRAFT = "Draft"


class MsgType(enum.StrEnum):
    """The type of a CAP message (section 3.2.1, msgType)."""

    ALERT = "Alert"
    UPDATE = "Update"
    CANCEL = "Cancel"
    ACK = "Ack"
    ERROR = "Error"


class Scope(enum.StrEnum):
    """The CAP scope of a message (section 3.2.1, scope)."""

    PUBLIC = "Public"
    RESTRICTED = "Restricted"
    PRIVATE = "Private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The unique reference to one message (section 3.2.1, references)."""

    sender: str
    identifier: str
    sent: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A name in a code system and a value for it: valueName and value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A file that belongs to an info (section 3.2.3)."""

    description: str
    mime_type: str
    size: int | None = None  # bytes
    uri: str | None = None
    deref_uri: str | None = None  # the content itself, in base 64
    digest: str | None = None  # SHA-1


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """The area within a distance of a point. CAP allows a radius of 0, which contains no people."""

    center: Position
    radius_km: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Section 3.2.4: polygons, circles and geocodes, all of them together."""

    description: str
    polygons: tuple[tuple[Position, ...], ...] = ()  # closed: the last position is the first
    circles: tuple[Circle, ...] = ()
    geocodes: tuple[Named, ...] = ()
    altitude_ft: float | None = None
    ceiling_ft: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """Section 3.2.2: the content of a message in one language."""

    language: str = DEFAULT_LANGUAGE
    categories: tuple[Category, ...]
    event: str
    response_types: tuple[ResponseType, ...] = ()
    urgency: Urgency
    severity: Severity
    certainty: Certainty
    audience: str | None = None
    event_codes: tuple[Named, ...] = ()
    effective: datetime | None = None
    onset: datetime | None = None
    expires: datetime | None = None
    sender_name: str | None = None
    headline: str | None = None
    description: str | None = None
    instruction: str | None = None
    web: str | None = None
    contact: str | None = None
    parameters: tuple[Named, ...] = ()
    resources: tuple[Resource, ...] = ()
    areas: tuple[Area, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Section 3.2.1: one alert message."""

    identifier: str
    sender: str
    sent: datetime
    status: Status
    msg_type: MsgType
    source: str | None = None
    scope: Scope
    restriction: str | None = None
    addresses: str | None = None
    codes: tuple[str, ...] = ()
    note: str | None = None
    references: tuple[Reference, ...] = ()
    incidents: str | None = None
    infos: tuple[Info, ...] = ()
    version: str = field(default="1.2", compare=False)  # the CAP version of the document
    signed: bool = field(default=False, compare=False)  # the document has a signature, which is not verified yet
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)  # of each element, by pointer

    @property
    def reference(self) -> Reference:
        """Returns the reference by which other messages name this one."""
        return Reference(sender=self.sender, identifier=self.identifier, sent=self.sent)


class CapError(ValueError):
    """A document that is refused or cannot be written. Holds every fault; a fault of a read document has its line."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults
