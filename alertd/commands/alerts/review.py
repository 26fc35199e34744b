"""Prints what an approver reads before the approval: the facts, similar alerts and the messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alertd.commands.base.client import Client, RefusedError
from alertd.commands.base.output import remark, tell, tell_facts
from alertd.model.states import OPEN_STATES, AlertState

_WAITS = {
    "unasked": "will ask {}", "asked": "waits for {}", "granted": "is permitted by {}", "refused": "is refused by {}",
    "lapsed": "was not answered by {}",
}  # fmt: skip
#: States of an alert before the decision of the second person, in which `show` prints the messages.
OPEN = {"draft", "pending", "returned"}


def tell_review(client: Client, alert: dict[str, Any], language: str | None = None) -> None:
    """Prints an alert's facts, requests to stand it down, and similar alerts. Before the approval, also prints its
    messages in `language`, or by default in the alert's first language. For an update, these are the messages to people
    who received the alert.
    """
    document = alert.get("alert") or {}
    facts = {
        name: value
        for name, value in alert.items()
        if name not in {"alert", "permissions", "stand_down_asked", "similar"}
    }
    tell_facts(facts | _asked(document) | {"neighbours": waits(alert["permissions"])})
    for one in alert["stand_down_asked"]:
        remark(
            f"{one['name']} asks to stand it down, by {one['by']} of {one['by_org']} at {one['at']}: {one['reason']}"
        )
    remark_similar(alert)
    if document and alert["state"] in OPEN:
        for line in _messages(client, document, {"occasion": "update"} if alert.get("update") else {}, language):
            tell(line)


def remark_similar(alert: Mapping[str, Any]) -> None:
    """Prints the other living alerts of the same case to standard error: if a case system submits a case twice, people
    would be notified twice.
    """
    for one in alert.get("similar", ()):
        remark(
            f"The case has another alert: {one['id']} is {one['state']}, submitted by {one['author']} at {one['created']}."
        )


def standing(alert: Mapping[str, Any]) -> str:
    """Returns the state of an alert as text, followed by "paused" if a pause holds its messages."""
    return f"{alert['state']}, paused" if is_on_hold(alert) else alert["state"]


def is_on_hold(alert: Mapping[str, Any]) -> bool:
    """Returns whether the alert is paused while messages of it may still be sent."""
    return bool(alert.get("paused")) and AlertState(alert["state"]) in OPEN_STATES


def waits(permissions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns a phrase for each neighbour's permission, such as "waits for NAME"."""
    return [_WAITS[one["state"]].format(one["name"]) for one in permissions]


def _asked(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the facts to print from the document that the author submitted, by label: case, children, target,
    verification.
    """
    target, case = document.get("target", {}), document.get("case", {})
    verification = case.get("verification") or {}
    return {
        "case": case.get("number"),
        "children": [child.get("name", {}).get("public") or child["id"] for child in case.get("children", [])],
        "reference": verification.get("reference"),
        "channels": ", ".join(document.get("channels", [])),
        "regions": ", ".join(target.get("regions", [])),
        "drawn shapes": [*_drawn(target)],
        "excluded": [", ".join(target.get("exclude", {}).get("regions", [])), *_drawn(target.get("exclude", {}))],
        "verified by": verification.get("authority"),
        "criteria": ", ".join(verification.get("criteria", [])),
    }


def _drawn(shapes: dict[str, Any]) -> Iterator[str]:
    """Yields the circles, rings and polygons of a target in words. Positions are longitude, latitude."""
    for ring in (*shapes.get("circles", []), *shapes.get("rings", [])):
        how = [ring.get("loudness") or "", f"after {ring['delay_min']} min" if ring.get("delay_min") else ""]
        yield ", ".join([f"{ring['radius_km']:g} km around {ring['center']}", *filter(None, how)])
    yield from (f"a polygon of {len(polygon['coordinates'][0]) - 1} corners" for polygon in shapes.get("polygons", []))


def _messages(client: Client, document: dict[str, Any], query: dict[str, str], language: str | None) -> Iterator[str]:
    """Yields the lines of the messages that the API previews. If the API refuses, prints the refusal as a remark."""
    try:
        found = client.post("/v1/messages/preview", document, query)
    except RefusedError as error:
        remark(f"What it would say cannot be shown: {error}")
        return
    yield from message_lines(found, language)


def message_lines(found: dict[str, Any], wanted: str | None = None) -> Iterator[str]:
    """Yields the lines of a preview's messages in the language `wanted` if the preview has it, else in its first one;
    then a line that lists the other languages.
    """
    languages = [one["language"] for one in found["languages"]]
    first = wanted if wanted in languages else languages[0]
    for message in found["messages"]:
        if message["language"] == first:
            head, text = message["title"] or message["subject"], message["body"] or message["text"]
            yield f"\n{message['channel']}, {first}:"
            yield from (f"  {line}" for line in f"{head or ''}\n{text}".strip().splitlines())
    others = [language for language in languages if language != first]
    yield f"\nAlso in (--language): {', '.join(others)}" if others else ""
