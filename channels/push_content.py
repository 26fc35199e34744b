"""What is alike in a push of every kind: what an app reads of it, and how it is made to fit."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec

from channels.base import PushMessage
from channels.text import whole_until

# What is told is worth more than its picture and its link: these go before this much of the body is touched. The renderer makes no more.
BODY_BYTES = 1_000

# Of what an app gets in `data`: alertd/schemas/push-1.json says what each field means. Fields are added under the same number;
# one that goes, or means something else, makes the next.
SCHEMA = "1"

ELLIPSIS = "…"


def data_of(message: PushMessage, ack: str) -> dict[str, str]:
    """What the app reads, by alertd/schemas/push-1.json. FCM takes strings only."""
    stamp = message.stamp
    data = {
        "schema": SCHEMA,
        "chain": stamp.chain,
        "version": stamp.version,
        "sequence": str(stamp.sequence),
        "sent": str(stamp.sent_s),
        "expires": str(stamp.expires_s),
        "kind": stamp.kind,
        "occasion": stamp.occasion,
        "status": stamp.status,
        "loudness": stamp.loudness.value,
        "language": stamp.language,
        "url": message.url or "",
        "ack": ack,
    }
    return {name: value for name, value in data.items() if value}


def fitted(message: PushMessage, most_bytes: int, size: Callable[[PushMessage], int]) -> PushMessage:
    """The message with as much as fits: without its image, then without its link, when otherwise little of the body would be left. `size`
    counts the bytes of a message as it is sent. Raises `ValueError` when it does not fit even without its body.
    """
    for lighter in _lighter(message):
        room = most_bytes - size(replace(lighter, body=""))
        if room >= min(BODY_BYTES, len(inside_string(message.body))):
            break
    if room < len(ELLIPSIS.encode()):
        raise ValueError("the push message is too long even without its body")
    return replace(lighter, body=_shortened(message.body, room))


def inside_string(text: str) -> bytes:
    """A text inside the quotes of JSON."""
    return msgspec.json.encode(text)[1:-1]  # once or twice a message: json takes ten times as long


def _lighter(message: PushMessage) -> Iterator[PushMessage]:
    yield message
    yield replace(message, image_url=None)
    yield replace(message, image_url=None, url=None)


def _shortened(body: str, room: int) -> str:
    """The body, or as much of it as fits with an ellipsis, cut between characters as people see them."""
    if len(inside_string(body)) <= room:
        return body
    keep = bisect.bisect_right(range(len(body)), room, key=lambda end: len(inside_string(body[:end] + ELLIPSIS))) - 1
    return body[: whole_until(body, keep)].rstrip(" \n.,;:…") + ELLIPSIS
