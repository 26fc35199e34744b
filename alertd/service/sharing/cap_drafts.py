"""Converts a CAP message to an alert as JSON, and keeps for each part its place in the CAP document.

A message that an alert cannot hold is refused; no part is dropped in silence. Examples are several texts in one
language, or several areas for several languages. If an area has polygons or circles, its geocodes are another name of
the same area (CAP 1.2, section 3.2.4), and only the CAP document keeps them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alertd.common.errors import Fault, Problem
from alertd.model.cap.messages import Info, Message, MsgType, Reference, Scope, Status
from alertd.model.cap.profiles import CAP_CP_EVENTS, IPAWS_EVENTS
from alertd.model.cap.values import instant, reference_text
from alertd.model.kinds import KINDS, Kind, Level, Severity
from alertd.rendering.markup import as_text
from alertd.rendering.plaintext import clip
from alertd.service.sharing.cap_areas import Draft, Places, line, put_target, refused, tag, unfit_areas
from alertd.service.sharing.child_events import announces_child

#: The alert's limits in characters (alertd.model.alert), and the life of an alert without an end.
MOST_EVENT, MOST_REASON, MOST_NAME, MOST_EXTERNAL_ID = 35, 500, 200, 128
LIFE = timedelta(hours=24)

#: An alert is about a child if it includes a case, if its event has such a code, or if its event announces a missing
#: child (`child_events`).
CHILD_CODES = {IPAWS_EVENTS[Level.CHILD_ALERT].casefold(), CAP_CP_EVENTS[Level.CHILD_ALERT]}
OWN_WORDS = {facts.event.casefold(): level for level, facts in KINDS[Kind.MISSING_CHILD].items()}
#: The name of the CAP parameter (CAP 1.2, section 3.2.2) whose value is the case of a child, as in an alert's JSON. If
#: several infos have it, they must have the same case.
CASE = "alertd:case"
_CASE_MISSING = (
    f"This event is about a child, so the alert needs its case. Send it as JSON in a parameter of the info: <parameter><valueName>{CASE}"
    '</valueName><value>{"number": "SE-2026-117", "children": […], "contact": […], "verification": {…}}</value></parameter>. Its members '
    'are those of "case" in POST /v1/alerts.'
)
#: The CAP parameter with the long text of a wireless alert (IPAWS profile). It becomes the description of a message
#: without one.
_LONG_TEXT = "cmamlongtext"

_GRAVEST = (Level.CHILD_ALERT, Level.WARNING)
_MIDDLE = (Level.ENDANGERED, Level.ADVICE)
_LEAST = (Level.APPEAL, Level.INFORMATION)
#: The level by CAP severity, first for a missing child, then for other alerts. The approver checks it.
LEVELS = {
    Severity.EXTREME: _GRAVEST,
    Severity.SEVERE: _GRAVEST,
    Severity.MODERATE: _MIDDLE,
    Severity.MINOR: _LEAST,
    Severity.UNKNOWN: _LEAST,
}
_NOT_FOR_PEOPLE = {
    MsgType.ACK: "This answers an alert and is none.",
    MsgType.ERROR: "This answers an alert and is none.",
}


def external_id(reference: Reference) -> str:
    """Returns the external id of the alert that this message makes: its CAP reference in UTC, because a relay may write
    the same instant in another offset (CAP 1.2, section 3.2.1). A reference of more than 128 characters is replaced by
    its digest.
    """
    text = reference_text(replace(reference, sent=reference.sent.astimezone(UTC)))
    return text if len(text) <= MOST_EXTERNAL_ID else "cap:" + hashlib.sha256(text.encode()).hexdigest()


def sent_of(name: str) -> datetime | None:
    """Returns the time of the message behind an external id, or None for a digest or an id of another form."""
    try:
        _, _, sent = name.split(",")
        return instant(sent)
    except ValueError:
        return None


def draft_of(message: Message, places: Places, now: datetime, *, again: bool = False) -> Draft:
    """Returns the alert that an Alert message asks for, or the new version that an Update message asks for. An alert
    that takes effect after `now` starts then.

    Raises Problem with every reason why the message cannot be an alert. An expired message is refused for that alone,
    unless the request is made `again`.
    """
    faults, (end, of_end) = _unfit(message), _end(message)
    if end <= now and not (faults or again):
        raise refused("expired", "The CAP message has expired.", [_expired(of_end)], message)
    if faults := [*faults, *_unfit_infos(message), *unfit_areas(message, places)]:
        raise refused("invalid-request", "No alert can be made of the CAP document.", faults, message)
    draft, first = Draft(), message.infos[0]
    draft.origins["/sent"] = "/sent"  # not a part of an alert, but a possible reason to refuse an Update
    child = any(map(_is_of_child, message.infos))
    draft.put("kind", Kind.MISSING_CHILD if child else Kind.GENERAL, "/info/0/event")
    draft.put("level", _level(first, child=child), "/info/0/severity")
    draft.put("status", message.status, "/status")
    draft.put("scope", message.scope, "/scope")
    draft.put("expires", end.isoformat(), of_end)
    if starts := _start(message, now):
        draft.put("starts", starts[0].isoformat(), f"/info/{starts[1]}/effective")
    draft.put("external_id", external_id(message.reference), "/identifier")
    draft.put(
        "author",
        {"on_behalf_of": clip(first.sender_name, MOST_NAME)} if first.sender_name else {},
        "/info/0/senderName",
    )
    draft.put("case", *_case(message))
    draft.put("category", first.categories[0], "/info/0/category/0")
    draft.put("event", clip(first.event, MOST_EVENT), "/info/0/event")
    for name in ("urgency", "severity", "certainty"):
        draft.put(name, getattr(first, name), f"/info/0/{name}")
    if first.response_types:
        draft.put("responseType", first.response_types[0], "/info/0/responseType/0")
    if first.sender_name:
        draft.put("senderName", clip(first.sender_name, MOST_NAME), "/info/0/senderName")
    _put_texts(draft, message)
    put_target(draft, message, places)
    return draft


def retold(problem: Problem, draft: Draft, message: Message) -> Problem:
    """Returns a Problem of the alert as a Problem of its CAP document: its faults point to the CAP elements and name
    their lines.
    """
    faults = tuple(_retold(fault, draft, message) for fault in problem.faults)
    return Problem(
        problem.slug, problem.detail, faults=faults, status=problem.status, headers=problem.headers, **problem.extra
    )


def _retold(fault: Fault, draft: Draft, message: Message) -> Fault:
    pointer = fault.pointer
    while pointer and pointer not in draft.origins:
        pointer = pointer.rpartition("/")[0]
    origin = draft.origins.get(pointer, "")  # a fault without a part belongs to the whole
    inside = fault.pointer.removeprefix("/case")
    detail = f"{CASE}{inside}: {fault.detail}" if pointer == "/case" else fault.detail
    return Fault(origin, detail, line=line(message, origin))


def _unfit(message: Message) -> list[Fault]:
    """Returns the faults of the message as a whole that prevent any alert from it."""
    faults = []
    if message.msg_type in _NOT_FOR_PEOPLE:
        faults.append(Fault("/msgType", _NOT_FOR_PEOPLE[message.msg_type]))
    if message.status in {Status.SYSTEM, Status.DRAFT}:
        faults.append(Fault("/status", "An alert of this status is not for the public."))
    if not message.infos:
        faults.append(Fault("", "An alert needs an info with its text."))
    if message.restriction and message.scope is Scope.PUBLIC:
        faults.append(
            Fault(
                "/restriction",
                "A restriction contradicts the scope Public. Remove the restriction, or change the scope.",
            )
        )
    return faults


def _unfit_infos(message: Message) -> list[Fault]:
    """Returns the faults of infos that contradict each other, or that are about a child and lack the case."""
    faults = []
    of_child = [i for i, info in enumerate(message.infos) if _is_of_child(info)]
    if of_child and not any(parameter.name == CASE for info in message.infos for parameter in info.parameters):
        faults.append(Fault(f"/info/{of_child[0]}/event", _CASE_MISSING))
    languages: set[str] = set()
    for i, info in enumerate(message.infos):
        if info.severity != message.infos[0].severity:
            why = "The info before has another severity. Send each as a separate alert."
            faults.append(Fault(f"/info/{i}/severity", why))
        if (language := tag(info.language)) in languages:
            why = "Another info is in this language. Send each as a separate alert, with its own area."
            faults.append(Fault(f"/info/{i}", why))
        languages.add(language)
    return faults


def _is_of_child(info: Info) -> bool:
    return (
        any(parameter.name == CASE for parameter in info.parameters)
        or any(code.value.casefold() in CHILD_CODES for code in info.event_codes)
        or announces_child(info.event)
        or info.event.casefold() in OWN_WORDS
    )


def _level(info: Info, *, child: bool) -> Level:
    levels = LEVELS[info.severity]
    return OWN_WORDS.get(info.event.casefold(), levels[0]) if child else levels[1]


def _end(message: Message) -> tuple[datetime, str]:
    """Returns the earliest end of all infos, and its JSON pointer. After that end a part of the alert would be untrue.
    Without any end, it is `LIFE` after the message was sent.
    """
    ends = [(info.expires, f"/info/{i}/expires") for i, info in enumerate(message.infos) if info.expires]
    return min(ends, default=(message.sent + LIFE, "/sent"))


def _expired(pointer: str) -> Fault:
    """Returns the fault for a message that has expired. `pointer` is the one that `_end` returned."""
    if pointer == "/sent":
        hours = LIFE // timedelta(hours=1)
        why = f"No info has expires, so the message expired {hours} hours after it was sent. Send it again with a later sent, or with expires."
    else:
        why = "The message has expired: this time has passed. Send it again with a later expires."
    return Fault(pointer, why)


def _start(message: Message, now: datetime) -> tuple[datetime, int] | None:
    """Returns when the last info takes effect, and the index of that info. Returns None if that is now or past. An info
    that takes effect when it is sent starts at once, even if the sender's clock is ahead.
    """
    later = [(info.effective, i) for i, info in enumerate(message.infos) if info.effective]
    at, i = max(later, default=(now, 0))
    return (at, i) if at > max(now, message.sent) else None


def _case(message: Message) -> tuple[Any, str]:
    """Returns the case in the message ({} if there is none), and its pointer. Raises Problem if it is not JSON, or if
    there are two different ones.
    """
    cases: list[Any] = []
    pointers: list[str] = []
    for i, info in enumerate(message.infos):
        for j, parameter in enumerate(info.parameters):
            if parameter.name != CASE:
                continue
            pointers.append(f"/info/{i}/parameter/{j}")
            fault = Fault(pointers[-1], "This must be the case as JSON, as an alert has it.")
            try:
                cases.append(json.loads(parameter.value))
            except (ValueError, RecursionError):
                raise refused("invalid-request", "The case cannot be read.", [fault], message) from None
            if cases[0] != cases[-1]:
                fault = Fault(fault.pointer, "Another case came before. Send each child as an alert of its own.")
                raise refused("invalid-request", "An alert is about one case.", [fault], message)
    return (cases[0], pointers[0]) if cases else ({}, "/info/0/event")


def _put_texts(draft: Draft, message: Message) -> None:
    """Puts each info's words into the draft. The contact and the web address have no member in an alert, so they follow
    the description.
    """
    draft.put("info", {}, "/info/0")
    for i, info in enumerate(message.infos):
        language = tag(info.language)
        described, place = _description(info)
        below = [text for text in (as_text(info.contact or ""), info.web) if text and text not in described]
        headline = as_text(info.headline or "")
        texts = {
            "headline": headline or info.event,
            "description": "\n".join([described, *below]) if described else None,
            "instruction": as_text(info.instruction or ""),
        }
        draft.document["info"][language] = {name: text for name, text in texts.items() if text}
        draft.origins[f"/info/{language}"] = f"/info/{i}"
        for name, own in (
            ("headline", "headline" if headline else "event"), ("description", place), ("instruction", "instruction"),
        ):  # fmt: skip
            draft.origins[f"/info/{language}/{name}"] = f"/info/{i}/{own}"


def _description(info: Info) -> tuple[str, str]:
    """Returns the description of an info, else its long text for phones, and the name of the element that holds it. The
    text is empty if there is neither.
    """
    found = [(info.description or "", "description")]
    found += [
        (one.value, f"parameter/{n}") for n, one in enumerate(info.parameters) if one.name.casefold() == _LONG_TEXT
    ]
    return next(((text, place) for raw, place in found if (text := as_text(raw))), ("", "description"))
