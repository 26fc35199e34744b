"""The document of an organisation: its name, jurisdiction and rules for approval. No I/O and no clock."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from alertd.model.alert import MAX_POLYGONS, MAX_REGIONS, Shape
from alertd.model.case import MAX_CONTACTS, Contact
from alertd.model.faults import refusal, refuse
from alertd.model.fields import MAX_LANGUAGES, Document, Form, Language, Line, RegionCode
from alertd.model.kinds import KINDS, Criterion, Kind, Level

#: Maximum number of authorities in a rule: far more than verify cases of one organisation.
MOST_AUTHORITIES = 50


class VerificationRule(Document):
    """Requirements for the case of an Actual alert of one level, checked before the alert is sent."""

    all_of: Annotated[
        tuple[Criterion, ...], Field(max_length=len(Criterion), description="It meets each of these,")
    ] = ()
    any_of: Annotated[
        tuple[Criterion, ...], Field(max_length=len(Criterion), description="and at least `at_least` of these.")
    ] = ()
    at_least: Annotated[int, Field(ge=1, le=len(Criterion))] = 1
    authorities: Annotated[
        tuple[Line, ...],
        Field(
            max_length=MOST_AUTHORITIES,
            description="The authorities that verify cases, as named in alerts; empty: any.",
        ),
    ] = ()
    custody_checked: bool = Field(True, description="Whether custody must have been checked.")

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        """Refuses a rule without a criterion, or with fewer `any_of` criteria than `at_least`."""
        if not (self.all_of or self.any_of):
            raise refusal(
                "A rule names a criterion in all_of or any_of; leave it out where the service's own is enough."
            )
        if self.at_least > max(len(set(self.any_of)), 1):
            refuse("VerificationRule", [(("at_least",), "any_of has fewer criteria.")])
        return self


#: The organisation's id in records and keys.
OrganisationId = Annotated[
    str,
    Form(r"[a-z0-9][a-z0-9-]*", "An organisation's id is small letters, digits and hyphens, at most 40.", 40, "police"),
]
#: A CAP sender (CAP 1.2, section 3.2.1): no spaces, commas, < or &.
CapSender = Annotated[
    str,
    Form(r"[^\s,<&]+", "A CAP sender has no space, comma, < or & in it.", 200, "alerts@police.example"),
    Field(min_length=1),
]
#: Maximum values of `unattended`: no alert has more recipients, and no service more subscribers.
MOST_PEOPLE, MOST_ALERTS = 100_000_000, 10_000
#: Maximum minutes that an alert must wait before break-glass. An alert that can wait for a day can wait for an
#: approver.
MOST_WAIT_MIN = 24 * 60


class Jurisdiction(Document):
    """An area of regions and polygons together: where an organisation or a key may alert, or from where a distributor
    gets alerts. The service refuses drawn regions, because an organisation can redraw them.
    """

    regions: Annotated[tuple[RegionCode, ...], Field(max_length=MAX_REGIONS, examples=[["ES"]])] = ()
    polygons: Annotated[tuple[Shape, ...], Field(max_length=MAX_POLYGONS)] = ()

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        """Refuses a jurisdiction without regions and polygons."""
        if not (self.regions or self.polygons):
            raise refusal("A jurisdiction names a region or a polygon; leave it out where it is everywhere.")
        return self


class Unattended(Document):
    """Limits for alerts without an approver: their levels, recipients and number per hour."""

    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=len(Level))]
    people: Annotated[int, Field(ge=1, le=MOST_PEOPLE, description="An alert to more waits for a second person.")]
    alerts_per_hour: Annotated[
        int,
        Field(
            ge=1, le=MOST_ALERTS, description="After this many in an hour, the next alert waits for a second person."
        ),
    ]


class BreakGlass(Document):
    """The levels of alerts that an author may approve alone if no approver can be reached."""

    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=len(Level))]
    after_min: Annotated[
        int,
        Field(ge=0, le=MOST_WAIT_MIN, description="Minutes that it must have waited for its second person before."),
    ]


class Organisation(Document):
    """An organisation that sends alerts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Policía Nacional",
                    "cap_sender": "alerts@police.example",
                    "languages": ["es"],
                    "jurisdiction": {"regions": ["ES"]},
                    "unattended": {"levels": ["information"], "people": 2000, "alerts_per_hour": 4},
                    "break_glass": {"levels": ["child-alert"], "after_min": 10},
                    "verification": {
                        "endangered": {"all_of": ["minor"], "any_of": ["high-risk", "abduction"], "at_least": 1}
                    },
                }
            ]
        }
    )
    name: Line
    cap_sender: CapSender | None = Field(
        None, description="What its CAP documents call it; null: as the configuration says."
    )
    languages: Annotated[tuple[Language, ...], Field(max_length=MAX_LANGUAGES, examples=[["es"]])] = Field(
        (), description="Each of its alerts must be available in all of these, or it is refused."
    )
    jurisdiction: Jurisdiction | None = Field(None, description="Where it may alert; null: everywhere.")
    unattended: Unattended | None = Field(None, description="Null: every Actual alert needs a second person.")
    break_glass: BreakGlass | None = Field(None, description="Null: no author approves an alert alone.")
    verification: Annotated[
        dict[Level, VerificationRule],
        Field(max_length=len(Level), examples=[{"endangered": {"all_of": ["minor", "registered"]}}]),
    ] = Field(
        default_factory=dict,
        description="By level of a missing-child alert, what its case must meet. A level that is not here is as the service has it; "
        "at `child-alert` this comes on top of that.",
    )

    contact: Annotated[tuple[Contact, ...], Field(max_length=MAX_CONTACTS)] = Field(
        (),
        description="Ways to answer without a voice, which its alerts of missing children get that have none.",
        examples=[[{"text": "sms:+34600000000", "role": "deaf"}]],
    )

    @field_validator("contact")
    @classmethod
    def _without_a_voice(cls, contacts: tuple[Contact, ...]) -> tuple[Contact, ...]:
        """Refuses contacts that deaf and mute people cannot use."""
        wrong = [((i,), "This one needs a voice.") for i, one in enumerate(contacts) if not one.is_voiceless]
        if wrong:
            refuse("Organisation", wrong)
        return contacts

    @field_validator("verification")
    @classmethod
    def _of_a_case(cls, rules: dict[Level, VerificationRule]) -> dict[Level, VerificationRule]:
        """Refuses rules for levels that a missing-child alert does not have, and one for a child-alert that waives the
        custody check.
        """
        levels = KINDS[Kind.MISSING_CHILD]
        if wrong := [
            ((level,), "Alerts of this level have no case to verify.") for level in rules if level not in levels
        ]:
            refuse("Organisation", wrong)
        rule = rules.get(Level.CHILD_ALERT)
        if rule is not None and not rule.custody_checked:
            sentence = "A child-alert wakes everybody: its custody is always checked."
            refuse("Organisation", [((Level.CHILD_ALERT, "custody_checked"), sentence)])
        return rules


#: Fields that only the organisation that runs the service sets. Otherwise an organisation could alert anywhere, under
#: any name.
GRANTED = ("cap_sender", "jurisdiction")
