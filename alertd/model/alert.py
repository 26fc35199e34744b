"""An alert as it is sent: the whole JSON, its limits, and what follows from its own words alone.

Read it with `Alert.model_validate_json(body)` (see `fields.Document`) and turn what that raises into faults with
`faults.faults_of`. What needs a clock, a second look or a decision is in `rules`. Accepted here does not mean honoured:
ask `rules.not_honoured`.
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

#: Every municipality of the largest countries that have them in the library; above that, name their parent.
MAX_REGIONS = 10_000
#: As GOV.UK Emergency Alerts has it: more polygons than anyone draws, few enough to check at once. The limit of
#: vertices over all of them is the target's own.
MAX_POLYGONS = 1_000
MAX_CIRCLES = 1_000
MAX_RINGS = 10
#: Wider areas are drawn or named as regions: a larger radius is a mistake of unit.
MAX_RADIUS_KM = 2_000
#: A place older than a month says nothing about where someone is; the hours of a place are kept for 170 days.
MAX_AGE_H = 24 * 30
#: CAP consumers show headlines of this length (CAP 1.2, section 3.2.2, headline).
MAX_HEADLINE = 160
MAX_DESCRIPTION = 4_000
MAX_INSTRUCTION = 2_000


class Status(StrEnum):
    """Whether it is meant: Test and Exercise reach only testers."""

    ACTUAL = "Actual"
    EXERCISE = "Exercise"
    TEST = "Test"


class Author(Document):
    """Who speaks. Without it, the person the key belongs to."""

    subject: Subject | None = None
    on_behalf_of: Line | None = None


class Info(Document):
    """The sender's own words in one language. `machine` text is never sent before a person has reviewed it."""

    headline: Annotated[str, Words(MAX_HEADLINE)] | None = None
    description: Annotated[str, Words(MAX_DESCRIPTION)] | None = None
    instruction: Annotated[str, Words(MAX_INSTRUCTION)] | None = None
    source: Literal["human", "reviewed", "machine"] = "human"


#: A shape stops at its first fault: a million broken vertices would otherwise take half a minute to list.
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
    """All ground within a true distance of a point. A radius of 0 needs a buffer."""

    center: Point
    radius_km: RadiusKm


#: Whoever was told already hears of a change, or of the end, at once.
_PACE = "At most so many messages a minute, of all channels together, ten seconds' worth at a time: as many calls as a hotline can take."


class Ring(Circle):
    """A circle told at its own loudness, so long after the approval. Whoever is in several is in the smallest."""

    loudness: Annotated[Loudness | None, Field(description="Default: the alert's.")] = None
    delay_min: Annotated[int, Field(ge=0, le=24 * 60)] = 0
    pace_per_min: Annotated[
        int | None, Field(ge=1, description=f"{_PACE} Default: with the others, at the policy's.")
    ] = None


class Exclusion(Document):
    """Ground taken out of the target."""

    regions: Annotated[tuple[RegionCode, ...], Field(max_length=MAX_REGIONS)] = ()
    polygons: Annotated[tuple[Shape, ...], Field(max_length=MAX_POLYGONS)] = ()
    circles: Annotated[tuple[Circle, ...], Field(max_length=MAX_CIRCLES)] = ()


class Target(Exclusion):
    """Whom to tell: everyone who belongs to any of this, save what is excluded."""

    rings: Annotated[tuple[Ring, ...], Field(max_length=MAX_RINGS)] = ()
    buffer_km: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0
    exclude: Exclusion = Exclusion()
    groups: Annotated[tuple[Code, ...], Field(max_length=100)] = ()
    beyond: Annotated[
        Literal["refuse", "ask"],
        Field(
            description="What lies outside the jurisdiction: `refuse` the whole, or `ask` the organisations whose it is, and tell it where"
            " they permit it."
        ),
    ] = "refuse"

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.regions or self.polygons or self.circles or self.rings or self.groups):
            raise refusal("A target needs at least one region, polygon or circle.")
        return self


class Policy(Document):
    """Which places of a subscriber count, how long ago they may have been seen where they are `now`, and how fast to send."""

    places: Annotated[tuple[PlaceKind, ...], Field(min_length=1)] = tuple(PlaceKind)
    max_age_h: Annotated[int, Field(ge=1, le=MAX_AGE_H)] = 24
    mode: Annotated[
        Literal["all", "escalate"],
        Field(
            description="`escalate`: whoever can be reached by push or web push gets an SMS only without an acknowledgement."
        ),
    ] = "all"
    after_s: Annotated[int, Field(ge=10, le=3_600, description="When that SMS goes, after the approval.")] = 60
    pace_per_min: Annotated[
        int | None, Field(ge=1, description=f"{_PACE} Default: as fast as the carriers take them.")
    ] = None

    @property
    def escalates(self) -> bool:
        return self.mode == "escalate"

    @model_validator(mode="after")
    def _waits_for_something(self) -> Self:
        if "after_s" in self.model_fields_set and not self.escalates and self.after_s != Policy().after_s:
            refuse("Policy", [(("after_s",), "Only with mode escalate does anything wait.")])
        return self


class Publish(Document):
    """Where else it is shown, while it is told. There are no public pages yet: asking for one is refused."""

    page: bool = False
    feed: bool = False  # /feed.atom, and its CAP document for everyone
    area: Literal["regions", "exact", "none"] = (
        "regions"  # of what is published; of regions, what was drawn is not shown
    )


class Alert(Document):
    """One alert, as sent and as kept."""

    kind: Kind
    level: Level
    status: Status
    scope: Literal["Public", "Restricted", "Private"] = "Public"
    expires: Instant
    starts: Annotated[
        Instant | None,
        Field(description="It is told from then on, to whoever is in its area then. Null: once it is approved."),
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

    @field_validator("level")
    @classmethod
    def _level_of_kind(cls, level: Level, info: ValidationInfo) -> Level:
        kind = info.data.get("kind")
        levels = KINDS[kind] if kind else (level,)  # an unknown kind is a fault of its own
        if level not in levels:
            raise refusal(f"The levels of this kind are {', '.join(levels)}.")
        return level

    @field_validator("case")
    @classmethod
    def _case_of_kind(cls, case: Case, info: ValidationInfo) -> Case:
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
        complete = any(text.headline and text.description for text in texts.values())
        if info.data.get("kind") is Kind.GENERAL and not complete:
            if not texts:
                raise refusal(GENERAL_NEEDS)
            refuse("Info", _missing_words(texts))
        return texts

    @field_validator("channels")
    @classmethod
    def _once_each(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        if len(set(channels)) != len(channels):
            raise refusal("Each channel is named once.")
        return channels


GENERAL_NEEDS = "A general alert needs a headline and a description in at least one language."


def _missing_words(texts: Mapping[str, Info]) -> list[tuple[Location, str]]:
    """The place of each headline and description that is missing, and a sentence that names it."""
    return [
        ((language, name), f"The {name} is missing. {GENERAL_NEEDS}")
        for language, text in texts.items()
        for name in ("headline", "description")
        if not getattr(text, name)
    ]


#: Without these there is nothing to tell, or nobody to tell it to.
CHILD_NEEDS = (
    ("number", "A missing-child alert needs the number of its case."),
    ("children", "A missing-child alert needs at least one child."),
    ("contact", "A missing-child alert needs at least one contact, or nobody can answer."),
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
    """An alert as posted, with what its sender wishes of it."""

    def alert(self) -> Alert:
        """The alert without the wish."""
        fields, said = Alert.model_fields, Alert.__new__(Alert)
        said.__setstate__(
            {  # `model_construct`, which looks for other names of each field, takes three times as long
                "__dict__": {name: value for name, value in self.__dict__.items() if name in fields},
                "__pydantic_fields_set__": self.model_fields_set & fields.keys(),
                "__pydantic_extra__": None,
                "__pydantic_private__": None,
            }
        )
        return said


class AlertRequest(_Request):
    """An alert as posted: with `"state": "draft"` it is kept and goes no further."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    state: Literal["draft"] | None = None


class UpdateRequest(_Request):
    """What an alert is to say from now on, whole, and who is told of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**EXAMPLE, "notify": "full"}]})

    notify: Literal[Notify.FULL, Notify.SILENT, Notify.NONE]


def loudness(alert: Alert, ring: int = 0) -> Loudness:
    """How loud the alert is in a ring (1 is the first, 0 the rest): as the ring says, else by its level, whatever CAP severity
    it names.
    """
    own = alert.target.rings[ring - 1].loudness if ring else None
    return own or KINDS[alert.kind][alert.level].loudness


def loudest(alert: Alert) -> Loudness:
    """How loud the alert is where it is loudest."""
    said = {loudness(alert, ring) for ring in range(len(alert.target.rings) + 1)}
    return next(one for one in (Loudness.LOUD, Loudness.NORMAL, Loudness.SILENT) if one in said)
