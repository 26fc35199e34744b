"""Operators: the people who sign in, their roles and the scopes of each role."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable

from alertd.common.ids import CROCKFORD


class Role(enum.StrEnum):
    """The role of a person in an organisation. One person may have several."""

    AUTHOR = "author"
    APPROVER = "approver"
    PROTECTION_OFFICER = "protection-officer"
    ADMINISTRATOR = "administrator"
    VIEWER = "viewer"


_SEES = frozenset({"alerts:read", "regions:read"})
_DECIDES = _SEES | {"alerts:approve", "ledger:explain"}

#: The scopes of each role. Approvers answer why a person was notified or not; protection officers also read the audit
#: log.
SCOPES: dict[Role, frozenset[str]] = {
    Role.AUTHOR: _SEES | {"alerts:write"},
    Role.APPROVER: _DECIDES,
    Role.PROTECTION_OFFICER: _DECIDES | {"alerts:protect", "audit:read"},
    Role.ADMINISTRATOR: frozenset({"admin"}),
    Role.VIEWER: _SEES,
}

#: The groups of a one-time code, and the letters of each: four groups of Crockford's base 32, 80 random bits, to read
#: aloud.
CODE_GROUPS, CODE_GROUP = 4, 4
_READ_AS = str.maketrans("OIL", "011")  # as in Crockford's decoding


def network_of(address: str) -> str:
    """Returns the key under which tries from an address are counted: the /64 network for IPv6 (one customer), the
    address for IPv4.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    found = getattr(found, "ipv4_mapped", None) or found
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """Returns all scopes of these roles."""
    return frozenset().union(*(SCOPES[Role(role)] for role in roles))


def normal_code(text: str) -> str:
    """Returns a one-time code as it was made, without the letter case and separators that a person typed."""
    return "".join(letter for letter in text.upper().translate(_READ_AS) if letter in CROCKFORD)
