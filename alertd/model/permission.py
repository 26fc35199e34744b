"""What other organisations permit of an alert that reaches beyond its own jurisdiction, and ask of it. Pure: no I/O, no clock.

A permission stands in the record of the alert itself. What was answered is kept; whether an answer is still wanted follows from the
state of the alert, so that no crash leaves the two apart.
The requests to stand an alert down stand there, too: one for each organisation that knows that the child was found.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alertd.model.kinds import PermissionState
from alertd.model.states import SHOWN, UNTOLD, AlertState


class Permission(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One organisation's, for the part of the target that lies in its jurisdiction and not in that of whoever alerts."""

    org: str
    name: str  # of the organisation, as it was when the target was divided
    ground: str  # a digest of that part: another ground is another question
    km2: float
    seen: int  # people in it then
    people: int | str  # the same as it may be told
    regions: str  # numbers of the regions whose people are told there, as an alert's record has them
    answer: str = ""  # a PermissionState, '' before there is one
    at: int = 0  # of the answer, UNIX milliseconds
    version: str = ""  # of the alert, by which its people were told
    key: str = ""  # ids of the keys that permitted it, or ground of this organisation that was asked for before

    def with_key(self, key: str) -> str:
        """Its keys, and one that permits it now: what those before permitted is told on."""
        return " ".join(dict.fromkeys([*self.key.split(), key]))

    def state(self, alert: AlertState) -> PermissionState:
        """Where it stands while the alert is in this state."""
        if self.answer:
            return PermissionState(self.answer)
        if alert in SHOWN:
            return PermissionState.ASKED
        return PermissionState.UNASKED if alert in UNTOLD | {AlertState.SCHEDULED} else PermissionState.LAPSED


class StandDownRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One organisation's request."""

    org: str
    name: str  # of the organisation, as it was when it asked
    by: str  # the subject of its person
    at: int  # UNIX milliseconds
    reason: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[Permission, ...]).decode
_decode_requests = msgspec.json.Decoder(tuple[StandDownRequest, ...]).decode
_decode_words = msgspec.json.Decoder(dict[str, str]).decode


def written(asked: Sequence[Permission | StandDownRequest]) -> str:
    """Permissions, or requests, as a record keeps them; '' for none."""
    return _encode(asked).decode() if asked else ""


def parse_permissions(text: str) -> tuple[Permission, ...]:
    return _decode(text) if text else ()


def permitting(text: str) -> list[str]:
    """The keys by which something of it is permitted, as a chain has those of other organisations: one that is stopped stops what it permitted."""
    return [f"{one.org}:{key}" for one in parse_permissions(text) for key in one.key.split()]


def words_of(text: str) -> dict[str, str]:
    """What was said with the answers, by organisation: who answered, or why."""
    return _decode_words(text) if text else {}


def with_words(text: str, org: str, words: str) -> str:
    """The same with what one organisation says now; '' says nothing."""
    said = words_of(text) | {org: words}
    return _encode({name: one for name, one in said.items() if one}).decode()


def parse_requests(text: str) -> tuple[StandDownRequest, ...]:
    """The requests that a record keeps, the oldest first."""
    return _decode_requests(text) if text else ()
