"""Reports of mail that relays post to a URL of ours: what SES, Postmark and Mailgun have in common.

A proof of who posts comes first; what is posted is believed only then, and only under a tag of ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from channels.base import Reason, ReportState
from channels.bounces import VERP, MailReport

#: SNS sends no more than this; the others far less.
LIMIT_BYTES = 262_144


class NotVouchedError(Exception):
    """The proof is missing or wrong."""


class HookUnavailableError(Exception):
    """The proof cannot be checked for now; whoever posted should come again."""


class Hook(Protocol):
    """One relay's way of posting reports."""

    async def parse(self, headers: Mapping[str, str], body: bytes) -> list[MailReport]:
        """What is posted; empty when it says nothing that matters. `headers` by lower-case name.

        Raises `NotVouchedError`, `HookUnavailableError`, and `ValueError` for what cannot be read.
        """
        ...


@runtime_checkable
class Hooked(Protocol):
    """A channel whose relay may post reports."""

    hook: Hook | None


def failed(tags: tuple[str, ...], reason: Reason, mailbox: str = "") -> MailReport:
    """It came to nothing; `mailbox` is whom the relay names."""
    named = frozenset({mailbox.lower()}) if mailbox else frozenset()
    return MailReport(tags=tags, state=ReportState.FAILED, reason=reason, mailboxes=named)


def left(tags: tuple[str, ...], state: ReportState = ReportState.DELIVERED) -> MailReport:
    """Whoever got it wants no more."""
    return MailReport(tags=tags, state=state, left=True)


def tags_in(return_path: str, message_id: str) -> tuple[str, ...]:
    """The tags in a return path and a Message-ID."""
    ids = re.match(r"<?([A-Za-z0-9_-]{1,80})@", message_id)
    return tuple(dict.fromkeys([*VERP.findall(return_path)[:1], *([ids[1]] if ids else [])]))


def posted_json(body: bytes) -> dict[str, Any]:
    """The object that was posted. Raises `ValueError`."""
    if len(body) > LIMIT_BYTES:
        raise ValueError("This is longer than any report.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("This is not a report in JSON.") from None
    if not isinstance(found, dict):
        raise ValueError("This is not a report in JSON.")  # noqa: TRY004 what was posted is at fault
    return found


def inner(of: dict[str, Any], name: str) -> dict[str, Any]:
    """An object inside, empty when there is none."""
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def inners(of: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list inside, not too many."""
    found = of.get(name)
    return [one for one in found[:100] if isinstance(one, dict)] if isinstance(found, list) else []


def text_of(of: dict[str, Any], name: str) -> str:
    """A text inside, empty when there is none."""
    found = of.get(name)
    return found if isinstance(found, str) else ""
