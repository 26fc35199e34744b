"""Field types shared by documents: texts, languages, times, points, numbers, mailboxes.

Each type checks the form only, without a clock or I/O, and describes the fault in a sentence.
"""

from __future__ import annotations

import re
import unicodedata
import zoneinfo
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import phonenumbers
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from alertd.model.faults import OWN, refusal
from channels.domains import in_ascii


class Document(BaseModel):
    """A document parsed from JSON: exact types, no unknown fields, immutable.

    Parse it with `model_validate_json`. Only then are arrays accepted for tuples and strings for times and codes, with
    no other conversion (a strict model refuses `"7"` and `true` for a number).
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, serialize_by_alias=True)


@dataclass(frozen=True, slots=True)
class Form:
    """Annotation for a string that must match a pattern. Explains a mismatch and adds the pattern to the schema."""

    pattern: str  # must match whole
    sentence: str
    max_length: int
    example: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        whole = rf"\A(?:{self.pattern})\Z"
        form = core_schema.str_schema(pattern=whole, max_length=self.max_length, regex_engine="python-re")
        said = {"sentence": self.sentence}
        refused = core_schema.custom_error_schema(
            form, OWN, custom_error_message="{sentence}", custom_error_context=said
        )
        return core_schema.chain_schema([handler(source), refused])

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = {"pattern": f"^{self.pattern}$", "maxLength": self.max_length, "examples": [self.example]}
        return {**handler(schema), **shown}


#: Matches characters that no text may have: control characters (a line break in a header, a bell), and the two
#: overrides that make a phone number read backwards. The isolates and marks that right-to-left text needs are allowed,
#: and so are line breaks and tabs.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e\ufeff]")

#: Matches a line end as Windows or an old Mac writes it.
_LINE_END = re.compile("\r\n?")

#: Matches invisible letters, marks and symbols (Unicode: Default_Ignorable_Code_Point, and the blank braille pattern).
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


@lru_cache(maxsize=1_024)  # keys are single characters; each text starts with a check of its first ones
def _is_seen(character: str) -> bool:
    """Returns whether a reader sees this character by itself: a letter, digit, punctuation mark or symbol."""
    return unicodedata.category(character)[0] in "LNPS" and not _UNSEEN.match(character)


@dataclass(frozen=True, slots=True)
class Words:
    r"""Annotation of a text for people, in any script. Limits its length in characters (code points) and writes every
    line end as `\\n`.
    """

    max_length: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "minLength": 1, "maxLength": self.max_length}

    def check(self, value: str) -> str:
        """Returns a text with every line end as a line feed. Refuses one that is empty for a reader, too long, or has
        control characters or a direction override.
        """
        value = _LINE_END.sub("\n", value)
        if not any(map(_is_seen, value)):
            raise refusal("This must not be empty.")
        if len(value) > self.max_length:
            raise refusal(f"This may have at most {self.max_length} characters.")
        if _UNFIT.search(value):
            raise refusal("This has control characters or a direction override in it.")
        return value


#: A BCP 47 language tag, checked by its form in the usual letter case: language, script, region, variants. Private use
#: is not accepted: no template and no reader would know it.
LANGUAGE = Form(
    r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*",
    "A language is a BCP 47 tag such as es, ar, pt-BR or zh-Hans.",
    max_length=35,  # RFC 5646, section 4.4.1: the length every user of tags must have room for
    example="es",
)
Language = Annotated[str, LANGUAGE]

Country = Annotated[str, Form(r"[A-Z]{2}", "A country is two capital letters (ISO 3166-1), such as ES.", 2, "ES")]
Code = Annotated[
    str, Form(r"[a-z0-9][a-z0-9-]*", "A code is small letters, digits and hyphens, at most 40.", 40, "high-risk")
]
LocalId = Annotated[str, Form(r"[a-z0-9_-]+", "This is at most 32 of a-z, 0-9, _ and -.", 32, "c1")]
RegionCode = Annotated[
    str, Form(r"[A-Za-z0-9][A-Za-z0-9._:-]*", "A region code is at most 32 letters, digits and . _ : -", 32, "ES-SE")
]

Finite = Annotated[float, Field(allow_inf_nan=False)]

#: Maximum number of languages: two more than the official ones of the European Union. Every language is rendered for
#: every channel.
MAX_LANGUAGES = 26

#: A text of a sentence or two: clothing, a place or a person's looks.
ShortText = Annotated[str, Words(500)]
TextByLanguage = Annotated[
    dict[Language, ShortText], Field(max_length=MAX_LANGUAGES, examples=[{"es": "abrigo rojo", "en": "red coat"}])
]
#: The name of a person, an authority or a file.
Line = Annotated[str, Words(200)]


def to_subject(value: str) -> str:
    """Returns a person's name as keys and authors use it, with equal letters and spaces in one spelling (NFKC).

    Raises `PydanticCustomError` if the name is empty, too long, or contains an invisible or control character.
    """
    plain = " ".join(unicodedata.normalize("NFKC", value).split())
    if not 0 < len(plain) <= MAX_SUBJECT:
        raise refusal(f"A person's name has 1 to {MAX_SUBJECT} characters.")
    is_plain = value.isascii() and value.isprintable()
    if not is_plain and (
        any(unicodedata.category(c)[0] == "C" for c in value + plain) or _UNSEEN.search(value + plain)
    ):
        raise refusal("A person's name has no control characters and nothing invisible in it.")
    return plain


def folded_subject(subject: str) -> str:
    """Returns the form that all spellings of one person's name share. Compare people by this form only."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", subject).casefold()).split())


def folded_number(number: str) -> str:
    """Returns a case number without differences of case, spacing and invisible characters. Two case numbers are the
    same if these forms are equal.
    """
    folded = folded_subject(number)
    if folded.isascii() and folded.isprintable():
        return folded
    return "".join(c for c in folded if unicodedata.category(c)[0] != "C" and not _UNSEEN.match(c))


MAX_SUBJECT = 254  # a mailbox fits (RFC 5321)
Subject = Annotated[
    str, AfterValidator(to_subject), Field(min_length=1, max_length=MAX_SUBJECT, examples=["a.garcia@centre.example"])
]

#: How far clocks of clients may be ahead of alertd's clock.
CLOCK_SKEW = timedelta(minutes=5)

_RFC_3339 = re.compile(r"(19|20|21)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _rfc_3339(value: object) -> object:
    """Returns a time, or RFC 3339 text with an offset, unchanged. Refuses every other value."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        return value
    raise refusal("This must be a time with its offset, as in 2026-11-26T08:00:00+01:00.")


#: An RFC 3339 time with its offset. Not strict in pydantic's sense: its form is checked before, and a strict time would
#: refuse a string.
Instant = Annotated[
    AwareDatetime,
    Field(strict=False, examples=["2026-11-26T08:00:00+01:00"]),
    BeforeValidator(_rfc_3339),
]


#: Beginnings of names that are refused as time zones: files beside the zones on some machines, and aliases for a zone.
_FILES = ("Factory", "localtime", "posix", "right/")


def _time_zone(value: str) -> str:
    """Returns the name of a time zone if it is valid. Refuses names that exist on some machines only, since processes
    may differ.
    """
    refused = refusal("A time zone is a name of the IANA list, such as Europe/Madrid.")
    if value.startswith(_FILES):
        raise refused
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise refused from None
    return value


TimeZone = Annotated[str, Field(max_length=64, examples=["Europe/Madrid"]), AfterValidator(_time_zone)]


def _on_earth(point: tuple[float, float]) -> tuple[float, float]:
    """Returns a point [longitude, latitude] unchanged. Refuses degrees out of range, and says so if the two look
    swapped.
    """
    lon, lat = point
    if abs(lon) <= 90 < abs(lat) <= 180:
        raise refusal("Longitude comes first, then latitude: these look swapped.")
    if abs(lon) > 180 or abs(lat) > 90:
        raise refusal("A point is [longitude, latitude] in degrees: -180 to 180, -90 to 90.")
    return point


#: `[lon, lat]` in degrees, WGS 84.
Point = Annotated[
    tuple[Finite, Finite],
    AfterValidator(_on_earth),
    Field(description="[longitude, latitude] in degrees, WGS 84", examples=[[-5.9756, 37.3919]]),
]


#: Matches a phone number in international form: a leading + and digits, with spaces, dots, hyphens and brackets between
#: them.
_INTERNATIONAL = re.compile(r"\+[0-9][0-9 .()/-]{3,30}")


def to_e164(value: str) -> str:
    """Returns a phone number with its country code, as E.164.

    Checks only the country code and the length: lists of number ranges lag behind the operators, and the carrier
    decides in the end.

    Raises `PydanticCustomError` if no country can have this number.
    """
    if _INTERNATIONAL.fullmatch(value):
        try:
            parsed = phonenumbers.parse(value)
        except phonenumbers.NumberParseException:
            parsed = None
        if parsed is not None and phonenumbers.is_possible_number(parsed):
            return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    raise refusal("A number starts with + and its country code, as in +34600000000.")


PhoneNumber = Annotated[str, Field(max_length=32, examples=["+34600000000"]), AfterValidator(to_e164)]

_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+([a-z]{2,63}|xn--[a-z0-9-]{1,59})")


def to_mailbox(value: str) -> str:
    """Returns a mail address with its domain in lower-case ASCII (IDNA) and its local part unchanged.

    Raises `PydanticCustomError` unless it is one address that SMTP can carry without extensions (RFC 5321, sections
    4.1.2 and 4.5.3).
    """
    local, _, domain = value.partition("@")
    try:
        domain = in_ascii(domain).lower()
    except UnicodeError:
        domain = ""
    if len(local) > 64 or len(domain) > 253 or not _LOCAL_PART.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise refusal("This is not a mail address such as ana@example.org.")
    return f"{local}@{domain}"


Mailbox = Annotated[str, Field(max_length=254, examples=["ana@example.org"]), AfterValidator(to_mailbox)]
