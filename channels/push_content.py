"""What all push channels share: the data for the app, and the shortening of a message to the maximum size."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec

from channels.base import PushMessage
from channels.text import whole_until

# A message loses its image, then its link, if otherwise fewer than this many bytes of the body would fit. A body that
# the renderer writes is never longer.
BODY_BYTES = 1_000

# Version of the `data` for apps; alertd/schemas/push-1.json defines the fields. New fields keep the number. A removed
# or redefined field needs the next number.
SCHEMA = "1"

ELLIPSIS = "…"


def data_of(message: PushMessage, ack: str) -> dict[str, str]:
    """Returns the data for the app, as alertd/schemas/push-1.json defines it, without empty members. All values are
    strings, because FCM accepts nothing else. `ack`: the acknowledgement tag.
    """
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
    """Returns the message with its body shortened, so that it has at most `most_bytes`. If otherwise too little of the
    body would fit, first removes the image, then also the link. `size` returns the bytes of a message as sent. Raises
    `ValueError` if the message does not fit even without its body.
    """
    for lighter in _lighter(message):
        room = most_bytes - size(replace(lighter, body=""))
        if room >= min(BODY_BYTES, len(inside_string(message.body))):
            break
    if room < len(ELLIPSIS.encode()):
        raise ValueError("the push message is too long even without its body")
    return replace(lighter, body=_shortened(message.body, room))


def inside_string(text: str) -> bytes:
    """Returns a text in the form that it has inside a JSON string, without the quotes."""
    return msgspec.json.encode(text)[1:-1]  # not `json`, which takes ten times as long for each message


def _lighter(message: PushMessage) -> Iterator[PushMessage]:
    """Yields the message, then without its image, then without image and link."""
    yield message
    yield replace(message, image_url=None)
    yield replace(message, image_url=None, url=None)


def _shortened(body: str, room: int) -> str:
    """Returns the body if it fits `room` bytes, otherwise the longest start that fits with an ellipsis. Never splits a
    visible character.
    """
    if len(inside_string(body)) <= room:
        return body
    keep = bisect.bisect_right(range(len(body)), room, key=lambda end: len(inside_string(body[:end] + ELLIPSIS))) - 1
    return body[: whole_until(body, keep)].rstrip(" \n.,;:…") + ELLIPSIS
