"""What other organisations ask of an alert: that it is stood down, because they know that the child was found. Pure: no I/O, no clock.

The requests stand in the record of the alert itself, one for each organisation that asks.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class StandDownRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One organisation's request."""

    org: str
    name: str  # of the organisation, as it was when it asked
    by: str  # the subject of its person
    at: int  # UNIX milliseconds
    reason: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[StandDownRequest, ...]).decode


def written(requests: Sequence[StandDownRequest]) -> str:
    """As a record keeps them; '' for none."""
    return _encode(requests).decode() if requests else ""


def parse_requests(text: str) -> tuple[StandDownRequest, ...]:
    """The requests that a record keeps, the oldest first."""
    return _decode(text) if text else ()
