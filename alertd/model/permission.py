"""Permissions and stand-down requests of other organisations for one alert. Pure: no I/O, no clock.

An alert that reaches beyond its organisation's jurisdiction needs the permission of the neighbours there. The alert's
record holds each permission with its answer. Whether an answer is still needed follows from the alert's state, so that
a crash cannot separate the two. The record also holds stand-down requests: one for each organisation that knows that
the child was found.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alertd.model.kinds import PermissionState
from alertd.model.states import SHOWN, UNTOLD, AlertState


class Permission(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The permission of one neighbouring organisation for its part of the target.

    This part lies in the neighbour's jurisdiction, but not in the jurisdiction of the alert's own organisation.
    """

    org: str
    name: str  # name of the organisation when the target was divided
    ground: str  # digest of that part: a different part needs a new permission
    km2: float
    seen: int  # people in that part at that time
    people: int | str  # the same number in the form that may be published
    regions: str  # numbers of the regions whose people are notified there, in the form of the alert's record
    answer: str = ""  # a PermissionState, '' before there is one
    at: int = 0  # of the answer, UNIX milliseconds
    version: str = ""  # version of the alert that was sent to its people
    key: str = ""  # ids of the keys that permitted it, or a part of this organisation's area asked for earlier

    def with_key(self, key: str) -> str:
        """Returns the permission's keys plus `key`, which permits it now. Earlier keys stay: their permission still
        applies.
        """
        return " ".join(dict.fromkeys([*self.key.split(), key]))

    def state(self, alert: AlertState) -> PermissionState:
        """Returns the state of the permission while the alert is in this state."""
        if self.answer:
            return PermissionState(self.answer)
        if alert in SHOWN:
            return PermissionState.ASKED
        return PermissionState.UNASKED if alert in UNTOLD | {AlertState.SCHEDULED} else PermissionState.LAPSED


class StandDownRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One organisation's request to stand an alert down."""

    org: str
    name: str  # name of the organisation when it asked
    by: str  # subject of the person who asked
    at: int  # UNIX milliseconds
    reason: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[Permission, ...]).decode
_decode_requests = msgspec.json.Decoder(tuple[StandDownRequest, ...]).decode
_decode_words = msgspec.json.Decoder(dict[str, str]).decode


def written(asked: Sequence[Permission | StandDownRequest]) -> str:
    """Returns permissions or requests in the form that a record stores; '' for none."""
    return _encode(asked).decode() if asked else ""


def parse_permissions(text: str) -> tuple[Permission, ...]:
    """Returns the permissions in the text that a record stores; none for ''."""
    return _decode(text) if text else ()


def permitting(text: str) -> list[str]:
    """Returns `organisation:key` of each key that permitted a part of the alert. A stop of such a key also stops
    sending in the part that it permitted.
    """
    return [f"{one.org}:{key}" for one in parse_permissions(text) for key in one.key.split()]


def words_of(text: str) -> dict[str, str]:
    """Returns, by organisation, the text that a record stores about each answer: the person who answered, or the
    reason.
    """
    return _decode_words(text) if text else {}


def with_words(text: str, org: str, words: str) -> str:
    """Returns the stored texts with `words` for this organisation; '' removes its text."""
    said = words_of(text) | {org: words}
    return _encode({name: one for name, one in said.items() if one}).decode()


def parse_requests(text: str) -> tuple[StandDownRequest, ...]:
    """Returns the requests of a record, oldest first."""
    return _decode_requests(text) if text else ()
