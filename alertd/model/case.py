"""The case of a missing child: the child, the verification, the last sighting and the contacts.

A case file holds public and internal data side by side, and so does this model. Internal are the whole verification,
the exact point of `last_seen` and the case number; templates must not show them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Self
from urllib.parse import quote

import phonenumbers
from phonenumbers import PhoneNumberType
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from alertd.model.faults import refusal, refuse
from alertd.model.fields import (
    MAX_LANGUAGES,
    Code,
    Country,
    Document,
    Form,
    Instant,
    Language,
    Line,
    LocalId,
    Point,
    TextByLanguage,
    TimeZone,
    Words,
    to_e164,
)
from alertd.model.kinds import Eyes, Hair, Protection, Sex

#: Maximum number of children in a case: more than any family that disappears together. A message cannot name more, so
#: such a case must be split.
MAX_CHILDREN = 20
#: Maximum number of contacts. A reader of a poster can check a handful of contacts; an SMS has room for one.
MAX_CONTACTS = 10
MAX_PHOTOS = 5
#: Maximum age of a child in years. A child is below 18 (United Nations' Convention on the Rights of the Child, article
#: 1).
MAX_AGE_YEARS = 17
#: Maximum age in months. Up to this age people count in months.
MAX_AGE_MONTHS = 35


class Decision(Document):
    """The person who decided something, and the time."""

    by: Line
    at: Instant


class Verification(Document):
    """What was verified before a child is named in public, and by whom. An Actual missing-child alert needs every member; an
    organisation may waive `custody_checked` below the level child-alert. Never published.
    """

    authority: Line | None = None
    reference: Line | None = None
    criteria: Annotated[tuple[Code, ...], Field(max_length=20, examples=[["minor", "high-risk"]])] = ()
    custody_checked: bool = False
    protected_identity_checked: bool = False
    publication_risk: Decision | None = None


class Name(Document):
    """The name to publish, and its spelling for readers of other languages."""

    public: Annotated[str, Words(80), Field(examples=["Lucía P."])]
    scripts: dict[Language, Annotated[str, Words(80)]] = Field(
        default_factory=dict, max_length=MAX_LANGUAGES, examples=[{"ar": "لوسيا"}]
    )


class Age(Document):
    """An age in years, or in months for very young children."""

    years: Annotated[int, Field(ge=0, le=MAX_AGE_YEARS)] | None = None
    months: Annotated[int, Field(ge=0, le=MAX_AGE_MONTHS)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        """Refuses an age with both years and months, or with neither."""
        if (self.years is None) == (self.months is None):
            raise refusal("An age is either years or months.")
        return self


MEDIA_ID = Form(r"med_[A-Za-z0-9_-]+", "This is no media id.", 64, "med_0000000000")


class Photo(Document):
    """An uploaded photo and its description in words. Without `alt`, the description from the upload applies."""

    media: Annotated[str, MEDIA_ID]
    alt: TextByLanguage = Field(default_factory=dict)


#: A day, or only a month or year if the day is unknown (ISO 8601).
_DAY = Form(r"(19|20)\d\d(-\d\d(-\d\d)?)?", "This is a day, a month or a year, as in 2026-08-14.", 10, "2026-08-14")


def _of_the_calendar(day: str) -> str:
    """Returns a day, month or year unchanged. Refuses one that the calendar does not have, such as 2026-02-30."""
    try:
        date.fromisoformat(day + "-01-01"[len(day) - 4 :])
    except ValueError:
        raise refusal("There is no such day.") from None
    return day


class PhotoFacts(Document):
    """Required facts about a published photo. A missing `source` or `rights` has its own problem type."""

    source: Annotated[Line | None, Field(description="Who gave it.", examples=["the child's mother"])] = None
    taken: Annotated[str, _DAY, AfterValidator(_of_the_calendar), Field(description="When it was taken.")]
    rights: Annotated[
        Line | None, Field(description="On what ground it is published.", examples=["consent of both parents"])
    ] = None
    alt: Annotated[TextByLanguage, Field(min_length=1, description="What it shows, by language.")]


def _ascending(pair: tuple[int, int]) -> tuple[int, int]:
    """Returns a pair of heights unchanged. Refuses it if the first is greater."""
    if pair[0] > pair[1]:
        raise refusal("The smaller height comes first.")
    return pair


HeightCm = Annotated[int, Field(ge=30, le=230)]


class Child(Document):
    """One missing child. Leave out facts that are unknown or should not be published."""

    id: LocalId
    name: Name | None = None
    age: Age | None = None
    sex: Sex | None = None
    height_cm: (
        Annotated[
            tuple[HeightCm, HeightCm], AfterValidator(_ascending), Field(examples=[[118, 125]], description="From, to")
        ]
        | None
    ) = None
    hair: Hair | None = None
    eyes: Eyes | None = None
    clothing: TextByLanguage = Field(default_factory=dict)
    marks: TextByLanguage = Field(default_factory=dict)
    photos: Annotated[tuple[Photo, ...], Field(max_length=MAX_PHOTOS)] = ()


LegalBasis = Annotated[
    Line | None,
    Field(description="On what ground it is published; internal.", examples=["order of the investigating judge"]),
]


class PersonSought(Document):
    """A person the authority seeks together with the child. Not convicted, so an Actual alert needs a legal basis."""

    name: Name | None = None
    sex: Sex | None = None
    description: TextByLanguage = Field(default_factory=dict)
    legal_basis: LegalBasis = None

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        """Refuses a person without a name, a sex and a description."""
        if self.name is None and self.sex is None and not self.description:
            raise refusal("A person sought needs a name, a sex or a description.")
        return self


class Vehicle(Document):
    """A vehicle that the child may be in. Its holder may be innocent, so an Actual alert needs a legal basis."""

    plate: Annotated[str, Words(20)] | None = None
    country: Annotated[Country, Field(description="Of the plate.")] | None = None
    description: TextByLanguage = Field(default_factory=dict)
    legal_basis: LegalBasis = None

    @model_validator(mode="after")
    def _known_by_something(self) -> Self:
        """Refuses a vehicle without a plate and a description."""
        if self.plate is None and not self.description:
            raise refusal("A vehicle needs a plate or a description.")
        return self


def bare_plate(plate: str) -> str:
    """Returns a plate as letters and digits only, in capitals, so that different spellings of one plate are equal."""
    return "".join(filter(str.isalnum, plate)).upper()


class LastSeen(Document):
    """Time and place of the last sighting.

    The words of `place` are published. `point` is internal: a map must show it no more precisely than
    `public_radius_km`.
    """

    at: Instant
    time_zone: TimeZone
    place: TextByLanguage = Field(default_factory=dict)
    point: Point | None = None
    public_radius_km: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None


class ContactRole(StrEnum):
    """The group that a contact serves. Without a role it serves everyone."""

    ABROAD = "abroad"
    DEAF = "deaf"


#: Region code of `phonenumbers` for numbers that belong to no country.
_NO_COUNTRY = "001"
_SHORT = re.compile(r"[0-9]{2,8}")
#: An https address with a host name. Excludes what can hide the host or end an attribute: user, port, backslash,
#: spaces.
_HTTPS = (
    r"https://(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{1,62}([/?#][^\s\\\x00-\x1f\"<>]*)?"
)


#: Maximum length of a contact's address. It is part of the safety line, which is never shortened: it must fit a push in
#: any language and few SMS parts.
MAX_URL = 500
_NO_URL = f"This must be an https address of at most {MAX_URL} characters."
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


def _uri(address: str) -> str:
    """Returns a web address in ASCII (RFC 3987, 3.1), so that a phone does not cut the link and GSM-7 can carry it.
    Raises the `refusal` of an address that is then longer than `MAX_URL`.
    """
    uri = _BEYOND_ASCII.sub(lambda found: quote(found[0]), address)
    if len(uri) > MAX_URL:
        raise refusal(f"{_NO_URL} A letter beyond ASCII counts as up to twelve.")
    return uri


@lru_cache(maxsize=256)  # an organisation's alerts repeat a few numbers, and a lookup in the plans takes 50 us
def _reachable(number: str, countries: tuple[str, ...] | None) -> str:
    """Returns a number that the public will call: a full number in E.164, a short one unchanged. Refuses a full number
    that is not valid, and a short one that is not valid in every country of `countries`.

    Stricter than for subscribers, because a wrong digit here loses every witness's call.
    """
    if not _SHORT.fullmatch(number):
        number = to_e164(number)
        if not phonenumbers.is_valid_number(phonenumbers.parse(number)):
            raise refusal("No numbering plan has this number.")
        return number
    if countries is None:  # invalid countries have a fault of their own
        return number
    if not countries:
        raise refusal("A short number needs the countries where it works.")
    for country in countries:
        if country not in phonenumbers.SUPPORTED_SHORT_REGIONS or not phonenumbers.is_valid_short_number_for_region(
            phonenumbers.parse(number, country), country
        ):
            raise refusal(f"This short number does not work in {country}.")
    return number


#: Number types that foreign networks rarely connect. An international freephone number belongs to no country.
_AT_HOME = (PhoneNumberType.TOLL_FREE, PhoneNumberType.SHARED_COST, PhoneNumberType.PREMIUM_RATE, PhoneNumberType.UAN)


@lru_cache(maxsize=256)  # as `_reachable`
def _home(number: str) -> tuple[str, ...]:
    """Returns the only countries in which a full number can be dialled, or () if it works everywhere."""
    parsed = phonenumbers.parse(number)
    if phonenumbers.number_type(parsed) not in _AT_HOME or not phonenumbers.is_possible_number(parsed):
        return ()
    countries = phonenumbers.region_codes_for_country_code(parsed.country_code or 0)
    return () if _NO_COUNTRY in countries else tuple(countries)


class Contact(Document):
    """One way for the public to respond: exactly one of a number to dial, an `sms:` URI and an `https` address."""

    countries: Annotated[tuple[Country, ...], Field(max_length=60, examples=[["ES"]])] = ()
    role: ContactRole | None = None
    dial: Annotated[str, Field(max_length=32, examples=["116000", "+34915000000"])] | None = None
    text: Annotated[str, Field(max_length=32, examples=["sms:+34600000000"])] | None = None
    url: Annotated[str, Form(_HTTPS, _NO_URL, MAX_URL, "https://example.org/tell"), AfterValidator(_uri)] | None = None

    @field_validator("dial", "text")
    @classmethod
    def _number(cls, written: str | None, info: ValidationInfo) -> str | None:
        """Returns the number to call, or the `sms:` URI, with a full number in E.164. Refuses numbers that the public
        cannot reach.
        """
        if written is None:
            return None
        scheme = "sms:" if info.field_name == "text" else ""
        if not written.startswith(scheme):
            raise refusal("This is sms: and a number, as in sms:+34600000000.")
        return scheme + _reachable(written.removeprefix(scheme), info.data.get("countries"))

    @property
    def is_voiceless(self) -> bool:
        """Returns whether a deaf or mute person can use this contact: an SMS, a page, or a number for deaf people (such
        as a relay).
        """
        return self.dial is None or self.role is ContactRole.DEAF

    def missing_in(self, countries: Sequence[str]) -> tuple[str, ...]:
        """Returns the given countries in which the contact does not work.

        A contact without countries works everywhere, unless its number type is not connected from abroad.
        """
        number = self.dial or (self.text or "").removeprefix("sms:")
        works = self.countries or (_home(number) if number.startswith("+") else ())
        return tuple(country for country in countries if works and country not in works)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        """Refuses a contact with none, or more than one, of dial, text and url."""
        if sum(way is not None for way in (self.dial, self.text, self.url)) != 1:
            raise refusal("A contact is exactly one of dial, text and url.")
        return self


class Case(Document):
    """The case behind an alert. Empty for a `general` alert."""

    number: Annotated[str, Words(64), Field(examples=["SE-2026-117"])] | None = None
    verification: Verification | None = None
    best_interests: Decision | None = None
    protection: Annotated[tuple[Protection, ...], Field(max_length=20)] = ()
    children: Annotated[tuple[Child, ...], Field(max_length=MAX_CHILDREN)] = ()
    persons_sought: Annotated[tuple[PersonSought, ...], Field(max_length=MAX_CHILDREN)] = ()
    vehicles: Annotated[tuple[Vehicle, ...], Field(max_length=10)] = ()
    last_seen: LastSeen | None = None
    contact: Annotated[tuple[Contact, ...], Field(max_length=MAX_CONTACTS)] = ()

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        """Refuses a case in which two children have the same id."""
        seen: set[str] = set()
        for index, child in enumerate(self.children):
            if child.id in seen:
                refuse("Case", [(("children", index, "id"), "Another child of this case has this id.")])
            seen.add(child.id)
        return self
