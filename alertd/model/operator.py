"""Operators: the people who sign in, and what the roles of each let them do."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable

from alertd.common.ids import CROCKFORD


class Role(enum.StrEnum):
    """What somebody is in an organisation. One person may be several."""

    AUTHOR = "author"
    APPROVER = "approver"
    PROTECTION_OFFICER = "protection-officer"
    ADMINISTRATOR = "administrator"
    VIEWER = "viewer"


_SEES = frozenset({"alerts:read", "regions:read"})
_DECIDES = _SEES | {"alerts:approve", "ledger:explain"}

#: The scopes of each role. Who decides is asked why somebody was or was not told; who protects reads what was decided.
SCOPES: dict[Role, frozenset[str]] = {
    Role.AUTHOR: _SEES | {"alerts:write"},
    Role.APPROVER: _DECIDES,
    Role.PROTECTION_OFFICER: _DECIDES | {"alerts:protect", "audit:read"},
    Role.ADMINISTRATOR: frozenset({"admin"}),
    Role.VIEWER: _SEES,
}

#: A one-time code as people read it to each other: four groups of Crockford's base 32, 80 random bits.
CODE_GROUPS, CODE_GROUP = 4, 4
_READ_AS = str.maketrans("OIL", "011")  # as Crockford's reading has it


def network_of(address: str) -> str:
    """Under what name tries from an address are counted: of IPv6 what one customer has (/64), of IPv4 the address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    found = getattr(found, "ipv4_mapped", None) or found
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """Everything that somebody with these roles may do."""
    return frozenset().union(*(SCOPES[Role(role)] for role in roles))


def normal_code(text: str) -> str:
    """A one-time code as it was made, whatever its letter case and whatever stands between its groups."""
    return "".join(letter for letter in text.upper().translate(_READ_AS) if letter in CROCKFORD)
