"""Converts texts of CAP elements to values and back.

A function that reads a text raises ValueError with a sentence that quotes no input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar
from urllib.parse import quote

from alertd.model.cap.messages import Circle, Position, Reference
from alertd.model.kinds import Certainty

Code = TypeVar("Code", bound=StrEnum)

#: White space in XML; other spaces belong to the text.
SPACE = " \t\r\n"

#: Maximum characters of an identifier or sender. Some senders use urn:oid names that contain a hash; a longer name is
#: not needed.
MAX_NAME = 300
#: Matches an identifier or a sender (section 3.2.1): no spaces, commas or restricted characters (< and &).
_NAME = re.compile(r"[^\s,<&]+")
_TIME = re.compile(
    r"((?:19|20|21)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-](?:0\d|1[0-4]):[0-5]\d)?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?(?:\d{1,9}(?:\.\d{0,30})?|\.\d{1,30})", re.ASCII)
_WHOLE = re.compile(r"\d{1,15}", re.ASCII)
#: Matches a language tag (xs:language).
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,8}", re.ASCII)
#: Matches brackets around more than one position.
_SEVERAL = re.compile(r"\([^(),]*,[^(),]*,[^()]*\)")

_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: The characters of a URI that stay as they are (RFC 3986), without the brackets of numeric hosts and without `#`,
#: which may occur once.
_IN_URIS = "%:/?@!$&'()*+,;=~-._"
#: Matches an optional scheme (required if there is a colon before the first slash). After //, there is a host and
#: perhaps a user and a port.
_URI = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*:|(?![^/?#]*:))(?://(?:[^/?#@]*@)?[^/?#@:]*(?::\d{0,5})?(?=[/?#]|$)|(?!//)).*", re.ASCII
)

#: Limit for all polygons of a document together; a target has the same limit (geofences.shapes).
MAX_POSITIONS = 100_000
#: Maximum number of references: enough in practice, since a year of hourly updates, each naming all earlier ones, does
#: not occur.
MAX_REFERENCES = 1_000
#: Maximum longitude in degrees. A shape may run past 180 up to this longitude to cross the antimeridian
#: (geofences.shapes).
MAX_LONGITUDE = 540


def name(text: str) -> str:
    """Returns an identifier or a sender, read from this text."""
    if len(text) > MAX_NAME or not _NAME.fullmatch(text):
        raise ValueError(f"This is one word of at most {MAX_NAME} characters, without commas, < and &.")
    return text


def instant(text: str) -> datetime:
    """Returns a time with its offset, to the second, read from CAP text. Accepts `Z`, which CAP forbids (section
    3.3.2).
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError("This must be a time with its offset, as in 2026-11-26T08:00:00-00:00.")
    if match[2] is None:
        raise ValueError("This time has no offset: it could be meant in any time zone. Write it as 08:00:00-00:00.")
    try:
        return datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00"))
    except ValueError:
        raise ValueError("There is no such time.") from None


def instant_text(at: datetime) -> str:
    """Returns a time in text, as CAP requires: to the second, UTC as -00:00 and never as Z (section 3.3.2)."""
    offset = at.utcoffset()
    if not offset or offset % timedelta(minutes=1):  # CAP's offsets are of whole minutes
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S-00:00")
    return at.replace(microsecond=0).isoformat()


def language(text: str) -> str:
    """Returns a language tag (xs:language), read from CAP text. Accepts en_US for en-US."""
    tag = text.replace("_", "-")
    if not _LANGUAGE.fullmatch(tag):
        raise ValueError("This must be the tag of a language, as en-US.")
    return tag


def uri(text: str) -> str:
    """Returns an address as a URI: characters that a URI does not allow are percent-encoded, as XML Schema does for
    xs:anyURI.
    """
    before, mark, fragment = _LONE_PERCENT.sub("%25", text).partition("#")
    found = quote(before, safe=_IN_URIS) + mark + quote(fragment, safe=_IN_URIS)
    if not _URI.fullmatch(found):
        raise ValueError("This must be an address, as https://example.org/7.")
    return found


def whole(text: str) -> int:
    """Returns a whole number from 0 up, read from at most 15 digits."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("This must be a whole number.")
    return int(text)


def number(text: str) -> float:
    """Returns a number, read from decimal text without an exponent."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("This must be a number.")
    return float(text)


def number_text(value: float) -> str:
    """Returns a number in text, with all its digits, never with an exponent."""
    return format(Decimal(repr(value)), "f")


def code_of(codes: type[Code]) -> Callable[[str], Code]:
    """Returns a function that converts a text to a member of this enumeration. It raises ValueError for any other text."""

    def parse(text: str) -> Code:
        """Returns the member of the enumeration with this text."""
        try:
            return codes(text)
        except ValueError:
            raise ValueError(f"This must be one of: {', '.join(codes)}.") from None

    return parse


def certainty(text: str) -> Certainty:
    """Returns a certainty, read from CAP text. CAP 1.0's `Very Likely` means Likely (section 3.2.2)."""
    return Certainty.LIKELY if text == "Very Likely" else code_of(Certainty)(text)


def position(text: str) -> Position:
    """Reads `latitude,longitude` and returns (longitude, latitude)."""
    parts = text.split(",")
    if len(parts) != 2 or not all(map(_NUMBER.fullmatch, parts)):
        raise ValueError("A position is latitude,longitude in degrees, without a space.")
    lat, lon = map(float, parts)
    if abs(lat) > 90:
        hint = " They look swapped: latitude comes first." if abs(lon) <= 90 and abs(lat) <= 180 else ""
        raise ValueError(f"A latitude is between -90 and 90.{hint}")
    if abs(lon) > MAX_LONGITUDE:
        raise ValueError("A longitude is between -180 and 180.")
    return lon, lat


def position_text(at: Position) -> str:
    """Returns a position (longitude, latitude) as CAP's `latitude,longitude`."""
    return f"{number_text(at[1])},{number_text(at[0])}"


def polygon(text: str) -> tuple[Position, ...] | None:
    """Reads a polygon and returns it as a closed ring, or None if it is empty. Closes an open ring and ignores
    brackets.
    """
    if text.count(",") > MAX_POSITIONS:
        raise ValueError(f"A polygon has at most {MAX_POSITIONS:,} positions.")
    found: list[Position] = []
    for count, pair in enumerate(text.translate({ord("("): " ", ord(")"): " "}).split(), 1):
        try:
            found.append(position(pair))
        except ValueError as error:
            raise ValueError(f"Position {count}: {error}") from None
    if not found:
        return None
    if len(set(found)) < 3:
        raise ValueError(
            "A polygon needs at least three different positions (section 3.2.4: four, the last as the first)."
        )
    if found[0] == found[-1]:
        return tuple(found)
    first = next(i for i, at in enumerate(found) if at != found[0])
    if found[0] in found[first:] or len(_SEVERAL.findall(text)) > 1:
        raise ValueError("These are several rings, and a polygon is one. Give each a polygon of its own.")
    return (*found, found[0])


def circle(text: str) -> Circle:
    """Returns a circle, read from `latitude,longitude`, a space and the radius in kilometres."""
    parts = text.translate({ord("("): " ", ord(")"): " "}).split()
    if len(parts) != 2:
        raise ValueError("A circle is latitude,longitude, a space, and its radius in kilometres.")
    radius_km = number(parts[1])
    if radius_km < 0:
        raise ValueError("A radius is not below 0.")
    return Circle(center=position(parts[0]), radius_km=radius_km)


def references(text: str) -> tuple[Reference, ...]:
    """Returns references, read from `sender,identifier,sent`, separated by white space."""
    found = []
    if text.count(",") > 3 * MAX_REFERENCES:
        raise ValueError(f"There may be at most {MAX_REFERENCES:,} references.")
    for count, one in enumerate(text.split(), 1):
        try:
            found.append(_reference(one))
        except ValueError as error:
            raise ValueError(f"Reference {count}: {error}") from None
    return tuple(found)


def _reference(text: str) -> Reference:
    """Returns one reference, read from `sender,identifier,sent`."""
    parts = text.split(",")
    if len(parts) != 3:
        raise ValueError("A reference is sender,identifier,sent.")
    return Reference(sender=name(parts[0]), identifier=name(parts[1]), sent=instant(parts[2]))


def reference_text(one: Reference) -> str:
    """Returns a reference as CAP's `sender,identifier,sent`."""
    return f"{one.sender},{one.identifier},{instant_text(one.sent)}"
