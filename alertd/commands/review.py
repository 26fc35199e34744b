"""What the second person reads before they say yes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alertd.commands.client import Client, RefusedError
from alertd.commands.output import remark, tell, tell_facts

_WAITS = {
    "unasked": "will ask {}", "asked": "waits for {}", "granted": "is permitted by {}", "refused": "is refused by {}",
    "lapsed": "was not answered by {}",
}  # fmt: skip
#: In these somebody is yet to decide.
OPEN = {"draft", "pending", "returned"}


def tell_review(client: Client, alert: dict[str, Any]) -> None:
    """An alert as it stands; while it is to be decided, what it asks for and the messages in its first language, too."""
    document = alert.get("alert") or {}
    facts = {name: value for name, value in alert.items() if name not in {"alert", "permissions"}}
    tell_facts(facts | _asked(document) | {"neighbours": waits(alert["permissions"])})
    if document and alert["state"] in OPEN:
        for line in _messages(client, document):
            tell(line)


def waits(permissions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where each permission of a neighbour stands, in words."""
    return [_WAITS[one["state"]].format(one["name"]) for one in permissions]


def _asked(document: dict[str, Any]) -> dict[str, Any]:
    """What a document asks for, and on what grounds."""
    target, verification = document.get("target", {}), document.get("case", {}).get("verification") or {}
    drawn = sum(len(target.get(kind, [])) for kind in ("polygons", "circles", "rings"))
    return {
        "channels": ", ".join(document.get("channels", [])),
        "regions": ", ".join(target.get("regions", [])),
        "drawn shapes": drawn or None,
        "verified by": verification.get("authority"),
        "criteria": ", ".join(verification.get("criteria", [])),
    }


def _messages(client: Client, document: dict[str, Any]) -> Iterator[str]:
    try:
        found = client.post("/v1/messages/preview", document)
    except RefusedError as error:
        remark(f"What it would say cannot be shown: {error}")
        return
    yield from message_lines(found)


def message_lines(found: dict[str, Any]) -> Iterator[str]:
    """Messages as they were previewed, those of the first language in full."""
    first = found["languages"][0]["language"]
    for message in found["messages"]:
        if message["language"] == first:
            head, text = message["title"] or message["subject"], message["body"] or message["text"]
            yield f"\n{message['channel']}, {first}:"
            yield from (f"  {line}" for line in f"{head or ''}\n{text}".strip().splitlines())
    yield f"\nAlso in: {', '.join(one['language'] for one in found['languages'][1:])}" if found["languages"][1:] else ""
