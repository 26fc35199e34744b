"""Writes a message as CAP 1.2 by its schema: elements in order, times without `Z`, positions as latitude,longitude."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from lxml import etree

from alertd.common.errors import Fault
from alertd.model.cap.messages import CapError, Message, Position, Reference
from alertd.model.cap.parsing import refusal
from alertd.model.cap.reader import parse_message
from alertd.model.cap.values import instant_text, number_text, position_text, reference_text

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
MEDIA_TYPE = "application/cap+xml"


@dataclass(frozen=True, slots=True)
class _Row:
    """How one attribute of a value becomes an element: by a function that makes its text, or by the rows of its
    children.
    """

    element: str
    attribute: str
    content: Callable[[Any], str] | tuple[_Row, ...] = str


def _ring(positions: Iterable[Position]) -> str:
    """Returns the positions of a polygon as CAP's `latitude,longitude`, separated by spaces."""
    return " ".join(map(position_text, positions))


_NAMED = (_Row("valueName", "name"), _Row("value", "value"))
_RESOURCE = (
    _Row("resourceDesc", "description"),
    _Row("mimeType", "mime_type"),
    _Row("size", "size"),
    _Row("uri", "uri"),
    _Row("derefUri", "deref_uri"),
    _Row("digest", "digest"),
)
_AREA = (
    _Row("areaDesc", "description"),
    _Row("polygon", "polygons", _ring),
    _Row("circle", "circles", lambda circle: f"{position_text(circle.center)} {number_text(circle.radius_km)}"),
    _Row("geocode", "geocodes", _NAMED),
    _Row("altitude", "altitude_ft", number_text),
    _Row("ceiling", "ceiling_ft", number_text),
)
_INFO = (
    _Row("language", "language"),
    _Row("category", "categories"),
    _Row("event", "event"),
    _Row("responseType", "response_types"),
    _Row("urgency", "urgency"),
    _Row("severity", "severity"),
    _Row("certainty", "certainty"),
    _Row("audience", "audience"),
    _Row("eventCode", "event_codes", _NAMED),
    _Row("effective", "effective", instant_text),
    _Row("onset", "onset", instant_text),
    _Row("expires", "expires", instant_text),
    _Row("senderName", "sender_name"),
    _Row("headline", "headline"),
    _Row("description", "description"),
    _Row("instruction", "instruction"),
    _Row("web", "web"),
    _Row("contact", "contact"),
    _Row("parameter", "parameters", _NAMED),
    _Row("resource", "resources", _RESOURCE),
    _Row("area", "areas", _AREA),
)
_ALERT = (
    _Row("identifier", "identifier"),
    _Row("sender", "sender"),
    _Row("sent", "sent", instant_text),
    _Row("status", "status"),
    _Row("msgType", "msg_type"),
    _Row("source", "source"),
    _Row("scope", "scope"),
    _Row("restriction", "restriction"),
    _Row("addresses", "addresses"),
    _Row("code", "codes"),
    _Row("note", "note"),
    _Row("references", "references"),
    _Row("incidents", "incidents"),
    _Row("info", "infos", _INFO),
)


def write(message: Message) -> bytes:
    """Returns the document. Reads it again, and raises CapError if the result differs from the message."""
    root = etree.Element(f"{{{NAMESPACE}}}alert", nsmap={None: NAMESPACE})
    try:
        _fill(root, _ALERT, message)
    except ValueError:  # lxml's words quote the text
        raise refusal("A text has a character in it that XML does not allow.") from None
    etree.indent(root)
    raw = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    again = parse_message(raw)
    changed = [
        each.name
        for each in fields(message)
        if each.compare and getattr(again, each.name) != getattr(message, each.name)
    ]
    if changed:
        sentence = "This would not read the same: white space at an end of a text, parts of a second, an open ring."
        raise CapError(tuple(Fault(f"/{name}", sentence) for name in changed))
    return raw


def _fill(element: etree._Element, rows: tuple[_Row, ...], value: Any) -> None:
    """Adds the members of a value to an element, in the order of the rows. Leaves out empty members."""
    for row in rows:
        for member in _members(getattr(value, row.attribute)):
            child = etree.SubElement(element, f"{{{NAMESPACE}}}{row.element}")
            if isinstance(row.content, tuple):
                _fill(child, row.content, member)
            else:
                child.text = row.content(member)


def _members(value: Any) -> tuple[Any, ...]:
    """Returns the values that become one element each: many, one or none. All references share one element."""
    if not isinstance(value, tuple):
        return () if value is None else (value,)
    if value and isinstance(value[0], Reference):
        return (" ".join(map(reference_text, value)),)
    return value
