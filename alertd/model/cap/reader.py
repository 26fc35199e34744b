"""Reads a CAP document into a message.

Tolerates what has one meaning only: the order of elements, white space, `Z` for UTC, open rings and empty elements.
Everything else is a fault, and CapError reports all faults together.
"""

from __future__ import annotations

from typing import Any, cast

from lxml import etree

from alertd.common.errors import Fault
from alertd.model.cap import values
from alertd.model.cap.elements import Children, Notes
from alertd.model.cap.messages import DEFAULT_LANGUAGE, Area, CapError, Info, Message, MsgType, Resource, Scope, Status
from alertd.model.cap.parsing import NAMESPACES, line_of, parsed
from alertd.model.faults import MAX_FAULTS
from alertd.model.kinds import Category, ResponseType, Severity, Urgency

#: Maximum number of infos, one for each language; the largest document seen so far has 20, in two languages.
MAX_INFOS = 100

SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}Signature"
#: The MIME type of a resource that names none (RFC 2046, section 4.5.1). CAP 1.2 requires a type; CAP 1.1 and 1.0 did
#: not.
_UNTOLD = "application/octet-stream"

#: Types that refer to another message and so need references (section 3.2.1, msgType).
ABOUT_OTHERS = frozenset(MsgType) - {MsgType.ALERT}

_ALERT = (
    "identifier", "sender", "sent", "status", "msgType", "source", "scope", "restriction", "addresses", "note",
    "references", "incidents", "password",
)  # fmt: skip
_INFO = (
    "language", "event", "urgency", "severity", "certainty", "audience", "effective", "onset", "expires", "senderName",
    "headline", "description", "instruction", "web", "contact",
)  # fmt: skip
_INFOS_LISTS = ("category", "responseType", "eventCode", "parameter", "resource", "area")
_RESOURCE = ("resourceDesc", "mimeType", "size", "uri", "derefUri", "digest")


def parse_message(raw: bytes) -> Message:
    """Returns the message in a CAP document. Raises CapError with the faults in line order, at most `MAX_FAULTS`."""
    root, notes = parsed(raw), Notes()
    message = _message(root, notes)
    faults = [*notes.faults, *_contradictions(message, notes, line_of(root))]
    if faults:
        raise CapError(tuple(sorted(faults, key=lambda fault: fault.line)[:MAX_FAULTS]))
    return message


def _message(root: etree._Element, notes: Notes) -> Message:
    """Returns the message. If there are faults, parts of the message are missing."""
    of = Children(root, "", _ALERT, ("code", "info"), notes)
    infos = of.nodes("info")
    if len(infos) > MAX_INFOS:
        notes.fault("/info", f"There may be at most {MAX_INFOS} of these.", line_of(infos[MAX_INFOS][0]))
    members: dict[str, Any] = {
        "identifier": of.value("identifier", values.name, required=True),
        "sender": of.value("sender", values.name, required=True),
        "sent": of.value("sent", values.instant, required=True),
        "status": of.value("status", values.code_of(Status), required=True),
        "msg_type": of.value("msgType", values.code_of(MsgType), required=True),
        "scope": of.value("scope", values.code_of(Scope), required=True),
    }
    return Message(
        **members,
        source=of.text("source"),
        restriction=of.text("restriction"),
        addresses=of.text("addresses"),
        codes=of.values("code", str),
        note=of.text("note"),
        references=of.value("references", values.references) or (),
        incidents=of.text("incidents"),
        infos=tuple(_info(node, pointer, notes) for node, pointer in infos[:MAX_INFOS]),
        version=NAMESPACES[cast("str", etree.QName(root).namespace)],
        signed=root.find(SIGNATURE) is not None,
        lines=notes.lines,
    )


def _info(node: etree._Element, pointer: str, notes: Notes) -> Info:
    """Returns the info of an element. Notes its faults; parts with a fault are missing."""
    of = Children(node, pointer, _INFO, _INFOS_LISTS, notes)
    members: dict[str, Any] = {
        "event": of.text("event", required=True),
        "urgency": of.value("urgency", values.code_of(Urgency), required=True),
        "severity": of.value("severity", values.code_of(Severity), required=True),
        "certainty": of.value("certainty", values.certainty, required=True),
        "language": of.value("language", values.language) or DEFAULT_LANGUAGE,
    }
    return Info(
        **members,
        categories=of.values("category", values.code_of(Category), required=True),
        response_types=of.values("responseType", values.code_of(ResponseType)),
        audience=of.text("audience"),
        event_codes=of.named("eventCode"),
        effective=of.value("effective", values.instant),
        onset=of.value("onset", values.instant),
        expires=of.value("expires", values.instant),
        sender_name=of.text("senderName"),
        headline=of.text("headline"),
        description=of.text("description"),
        instruction=of.text("instruction"),
        web=of.value("web", values.uri),
        contact=of.text("contact"),
        parameters=of.named("parameter"),
        resources=tuple(_resource(*each, notes) for each in of.nodes("resource")),
        areas=tuple(_area(*each, notes) for each in of.nodes("area")),
    )


def _resource(node: etree._Element, pointer: str, notes: Notes) -> Resource:
    """Returns the resource (a file) of an element. Notes its faults."""
    of = Children(node, pointer, _RESOURCE, (), notes)
    return Resource(
        description=of.text("resourceDesc", required=True) or "",
        mime_type=of.text("mimeType") or _UNTOLD,
        size=of.value("size", values.whole),
        uri=of.value("uri", values.uri),
        deref_uri=of.text("derefUri"),
        digest=of.text("digest"),
    )


def _area(node: etree._Element, pointer: str, notes: Notes) -> Area:
    """Returns the area of an element. Notes its faults."""
    of = Children(node, pointer, ("areaDesc", "altitude", "ceiling"), ("polygon", "circle", "geocode"), notes)
    return Area(
        description=of.text("areaDesc", required=True) or "",
        polygons=of.values("polygon", values.polygon),
        circles=of.values("circle", values.circle),
        geocodes=of.named("geocode"),
        altitude_ft=of.value("altitude", values.number),
        ceiling_ft=of.value("ceiling", values.number),
    )


def _contradictions(message: Message, notes: Notes, line: int) -> list[Fault]:
    """Returns the faults that concern several elements: missing references, too many positions, an expiry before
    `sent`.
    """
    faults = []
    if message.msg_type in ABOUT_OTHERS and not message.references and not _at(notes, "/references"):
        sentence = f"A message of type {message.msg_type} must name in references what it is about."
        faults.append(Fault("/references", sentence, line=notes.lines.get("/references", line)))
    positions = sum(len(ring) for info in message.infos for area in info.areas for ring in area.polygons)
    if positions > values.MAX_POSITIONS:
        faults.append(Fault("/info", f"The polygons have more than {values.MAX_POSITIONS:,} positions.", line=line))
    for i, info in enumerate(message.infos):
        if message.sent and info.expires and info.expires < message.sent and message.msg_type is not MsgType.CANCEL:
            sentence = "This ends before it was sent."
            pointer = f"/info/{i}/expires"
            faults.append(Fault(pointer, sentence, line=notes.lines.get(pointer, line)))
    return faults


def _at(notes: Notes, pointer: str) -> bool:
    """Returns whether there already is a fault at this pointer."""
    return any(fault.pointer == pointer for fault in notes.faults)
