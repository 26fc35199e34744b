"""The submitted alert document: its JSON fields, their limits, and the rules that need no other information.

Parse it with `Alert.model_validate_json(body)` (see `fields.Document`). Turn the exception into faults with
`faults.faults_of`. Rules that need a clock, other data or a decision are in `rules`. A document that parses may still
use fields that alertd does not support: see `rules.not_honoured`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, FailFast, Field, ValidationInfo, field_validator, model_validator
from pydantic.config import JsonDict

from alertd.model.case import Case
from alertd.model.faults import Location, refusal, refuse
from alertd.model.fields import (
    MAX_LANGUAGES,
    Code,
    Document,
    Finite,
    Instant,
    Language,
    Line,
    Point,
    RegionCode,
    Subject,
    Words,
)
from alertd.model.kinds import (
    KINDS,
    Category,
    Certainty,
    Channel,
    Kind,
    Level,
    Notify,
    PlaceKind,
    ResponseType,
    Severity,
    Urgency,
)
from channels.base import Loudness

#: Maximum number of regions in a target: enough for every municipality of the largest countries in the library. For a
#: larger target, name the parent regions.
MAX_REGIONS = 10_000
#: Maximum number of polygons, as in GOV.UK Emergency Alerts: more than a person draws, and few enough to check in one
#: request. The target has its own limit for the vertices of all polygons together.
MAX_POLYGONS = 1_000
MAX_CIRCLES = 1_000
MAX_RINGS = 10
#: Maximum radius of a circle. Larger areas are drawn or named as regions; a larger radius is a wrong unit.
MAX_RADIUS_KM = 2_000
#: Maximum age, in hours, of a `now` position that counts. A position older than a month does not show where a person is
#: now. Position times are stored for 170 days.
MAX_AGE_H = 24 * 30
#: Maximum characters of a headline: CAP consumers show headlines of this length (CAP 1.2, section 3.2.2, headline).
MAX_HEADLINE = 160
MAX_DESCRIPTION = 4_000
MAX_INSTRUCTION = 2_000


class Status(StrEnum):
    """The CAP status. Test and Exercise alerts are sent to testers only."""

    ACTUAL = "Actual"
    EXERCISE = "Exercise"
    TEST = "Test"


class Author(Document):
    """The author of an alert. The default is the person to whom the API key belongs."""

    subject: Subject | None = None
    on_behalf_of: Line | None = None


class Info(Document):
    """The author's own text in one language. `machine` text is never sent before a person has reviewed it."""

    headline: Annotated[str, Words(MAX_HEADLINE)] | None = None
    description: Annotated[str, Words(MAX_DESCRIPTION)] | None = None
    instruction: Annotated[str, Words(MAX_INSTRUCTION)] | None = None
    source: Literal["human", "reviewed", "machine"] = "human"


#: The types of GeoJSON coordinates. Validation of a shape stops at its first fault, because listing a million broken
#: vertices takes half a minute.
Position = Annotated[tuple[Finite, ...], Field(min_length=2, max_length=3), FailFast()]
LinearRing = Annotated[tuple[Position, ...], FailFast()]
Rings = Annotated[tuple[LinearRing, ...], FailFast()]


class Polygon(Document):
    """A GeoJSON Polygon (RFC 7946): rings of [longitude, latitude], the first the outline, the others holes."""

    type: Literal["Polygon"]
    coordinates: Rings


class MultiPolygon(Document):
    """A GeoJSON MultiPolygon (RFC 7946)."""

    type: Literal["MultiPolygon"]
    coordinates: Annotated[tuple[Rings, ...], FailFast()]


Shape = Annotated[Polygon | MultiPolygon, Field(discriminator="type")]
RadiusKm = Annotated[float, Field(ge=0, le=MAX_RADIUS_KM, allow_inf_nan=False)]


class Circle(Document):
    """The area within a geodesic distance of a point. A radius of 0 needs a buffer."""

    center: Point
    radius_km: RadiusKm


#: Description of the field `pace_per_min`. The pace does not limit follow-ups: existing recipients get a change or the
#: end at once.
_PACE = (
    "Messages a minute at most, of all channels together, in steps of ten seconds: as many calls as a hotline can take."
)


class Ring(Circle):
    """A circle with its own loudness and a delay after the approval.

    A person in several rings gets the smallest one's.
    """

    loudness: Annotated[Loudness | None, Field(description="Default: the alert's.")] = None
    delay_min: Annotated[int, Field(ge=0, le=24 * 60)] = 0
    pace_per_min: Annotated[
        int | None, Field(ge=1, description=f"{_PACE} Default: with the others, at the policy's.")
    ] = None


class Exclusion(Document):
    """An area that is removed from the target."""

    regions: Annotated[tuple[RegionCode, ...], Field(max_length=MAX_REGIONS)] = ()
    polygons: Annotated[tuple[Shape, ...], Field(max_length=MAX_POLYGONS)] = ()
    circles: Annotated[tuple[Circle, ...], Field(max_length=MAX_CIRCLES)] = ()


class Target(Exclusion):
    """The recipients: everyone who belongs to any of these areas or groups, unless `exclude` removes them."""

    rings: Annotated[tuple[Ring, ...], Field(max_length=MAX_RINGS)] = ()
    buffer_km: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0
    exclude: Exclusion = Exclusion()
    groups: Annotated[tuple[Code, ...], Field(max_length=100)] = ()
    beyond: Annotated[
        Literal["refuse", "ask"],
        Field(
            description="For ground outside the jurisdiction: `refuse` the alert, or `ask` the neighbours and send it there"
            " if they permit it."
        ),
    ] = "refuse"

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        """Refuses a target without any region, polygon, circle, ring or group."""
        if not (self.regions or self.polygons or self.circles or self.rings or self.groups):
            raise refusal("A target needs at least one region, polygon or circle.")
        return self


class Policy(Document):
    """Which places of a subscriber count, the maximum age of a `now` position (hours), and how fast to send."""

    places: Annotated[tuple[PlaceKind, ...], Field(min_length=1)] = tuple(PlaceKind)
    max_age_h: Annotated[int, Field(ge=1, le=MAX_AGE_H)] = 24
    mode: Annotated[
        Literal["all", "escalate"],
        Field(description="`escalate`: people with push or web push get an SMS only if they do not acknowledge."),
    ] = "all"
    after_s: Annotated[int, Field(ge=10, le=3_600, description="When that SMS goes, after the approval.")] = 60
    pace_per_min: Annotated[
        int | None, Field(ge=1, description=f"{_PACE} Default: as fast as the carriers take them.")
    ] = None

    @property
    def escalates(self) -> bool:
        """Returns whether people on push or web push get an SMS only if they do not acknowledge."""
        return self.mode == "escalate"

    @model_validator(mode="after")
    def _waits_for_something(self) -> Self:
        """Refuses a delay of the SMS (`after_s`, other than the default) without mode escalate."""
        if "after_s" in self.model_fields_set and not self.escalates and self.after_s != Policy().after_s:
            refuse("Policy", [(("after_s",), "Only with mode escalate does anything wait.")])
        return self


class Publish(Document):
    """Where the alert is also published while it is active. Only an Actual alert to the public is."""

    page: bool = False  # a page at /a/{public id}, to which every message links
    feed: bool = False  # /feed.atom, and its CAP document for everyone
    area: Literal["regions", "exact", "none"] = "regions"  # the area to publish; `regions` leaves out drawn shapes


class Alert(Document):
    """One alert, as submitted and as stored."""

    kind: Kind
    level: Level
    status: Status
    scope: Literal["Public", "Restricted", "Private"] = "Public"
    expires: Instant
    starts: Annotated[
        Instant | None,
        Field(description="alertd sends it from then on, to the people in its area then. Null: on approval."),
    ] = None
    external_id: Annotated[str, Words(128), Field(examples=["cms-88213"])] | None = None
    author: Author = Author()
    case: Case
    info: dict[Language, Info] = Field(default_factory=dict, max_length=MAX_LANGUAGES, validate_default=True)
    target: Target
    channels: Annotated[
        tuple[Channel, ...], Field(min_length=1, description="Where none is named, those that have a carrier.")
    ] = tuple(Channel)
    policy: Policy = Policy()
    publish: Publish = Publish()
    category: Category | None = None
    event: Annotated[str, Words(35)] | None = None
    urgency: Urgency | None = None
    severity: Severity | None = None
    certainty: Certainty | None = None
    response_type: Annotated[ResponseType | None, Field(alias="responseType")] = None
    sender_name: Annotated[Line | None, Field(alias="senderName")] = None

    @property
    def has_page(self) -> bool:
        """Returns whether the alert has a public page while it is active."""
        return self.publish.page and self.status is Status.ACTUAL and self.scope == "Public"

    @field_validator("level")
    @classmethod
    def _level_of_kind(cls, level: Level, info: ValidationInfo) -> Level:
        """Refuses a level that the alert's kind does not have."""
        kind = info.data.get("kind")
        levels = KINDS[kind] if kind else (level,)  # an unknown kind is a fault of its own
        if level not in levels:
            raise refusal(f"The levels of this kind are {', '.join(levels)}.")
        return level

    @field_validator("case")
    @classmethod
    def _case_of_kind(cls, case: Case, info: ValidationInfo) -> Case:
        """Refuses a case in a general alert, and a missing-child alert without the members of `CHILD_NEEDS`."""
        kind = info.data.get("kind")
        if kind is Kind.GENERAL and case != Case():
            raise refusal("The case of a general alert is empty.")
        missing = [((name,), why) for name, why in CHILD_NEEDS if not getattr(case, name)]
        if kind is Kind.MISSING_CHILD and missing:
            refuse("Case", missing)
        return case

    @field_validator("info")
    @classmethod
    def _words_of_kind(cls, texts: dict[str, Info], info: ValidationInfo) -> dict[str, Info]:
        """Refuses a general alert without a headline and a description in the same language."""
        complete = any(text.headline and text.description for text in texts.values())
        if info.data.get("kind") is Kind.GENERAL and not complete:
            if not texts:
                raise refusal(GENERAL_NEEDS)
            refuse("Info", _missing_words(texts))
        return texts

    @field_validator("channels")
    @classmethod
    def _once_each(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        """Refuses channels of which one is repeated."""
        if len(set(channels)) != len(channels):
            raise refusal("Each channel is named once.")
        return channels


GENERAL_NEEDS = "A general alert needs a headline and a description in at least one language."


def _missing_words(texts: Mapping[str, Info]) -> list[tuple[Location, str]]:
    """Returns the location of each headline and description that an info lacks, with a sentence that names it."""
    return [
        ((language, name), f"The {name} is missing. {GENERAL_NEEDS}")
        for language, text in texts.items()
        for name in ("headline", "description")
        if not getattr(text, name)
    ]


#: Required fields of a missing-child alert. Without them the message has no content or no contact.
CHILD_NEEDS = (
    ("number", "A missing-child alert needs the number of its case."),
    ("children", "A missing-child alert needs at least one child."),
    ("contact", "A missing-child alert needs at least one contact, so that people can answer."),
)


EXAMPLE: JsonDict = {
    "kind": "general",
    "level": "warning",
    "status": "Test",
    "expires": "2026-11-26T08:00:00+01:00",
    "case": {},
    "info": {"es": {"headline": "Corte de agua", "description": "No beba agua del grifo hasta nuevo aviso."}},
    "target": {"regions": ["ES-SE"], "circles": [{"center": [-5.9756, 37.3919], "radius_km": 30}]},
}


class _Request(Alert):
    """An alert as posted, with one extra member of the request (`state` or `notify`)."""

    def alert(self) -> Alert:
        """Returns the alert without the extra member of the request."""
        fields, said = Alert.model_fields, Alert.__new__(Alert)
        said.__setstate__(
            {  # `model_construct` looks up other names of each field and takes three times as long
                "__dict__": {name: value for name, value in self.__dict__.items() if name in fields},
                "__pydantic_fields_set__": self.model_fields_set & fields.keys(),
                "__pydantic_extra__": None,
                "__pydantic_private__": None,
            }
        )
        return said


class AlertRequest(_Request):
    """A posted alert. `"state": "draft"` stores it without submitting it."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    state: Literal["draft"] | None = None


class UpdateRequest(_Request):
    """The complete new content of an alert, and how to notify its recipients of the change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**EXAMPLE, "notify": "full"}]})

    notify: Literal[Notify.FULL, Notify.SILENT, Notify.NONE]


def loudness(alert: Alert, ring: int = 0) -> Loudness:
    """Returns the loudness in a ring (1 is the first ring, 0 the rest of the target).

    The ring's own loudness comes first, then that of the alert's level. The CAP severity has no effect.
    """
    own = alert.target.rings[ring - 1].loudness if ring else None
    return own or KINDS[alert.kind][alert.level].loudness


def loudest(alert: Alert) -> Loudness:
    """Returns the loudest loudness that the alert has in any ring."""
    said = {loudness(alert, ring) for ring in range(len(alert.target.rings) + 1)}
    return next(one for one in (Loudness.LOUD, Loudness.NORMAL, Loudness.SILENT) if one in said)
