"""Who approved alone what they wrote, or was about to: by operator, written before the alert itself says so.

An alert's record is the authority. These are how it is found from its organisation, in another slot: nobody approves alone while
there is a line of theirs for another alert that stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection


class Claim(NamedTuple):
    """A try of one operator."""

    alert: str
    rev: int  # of the alert that they saw: of another revision it comes to nothing
    attempt: str  # a random name


class Claims:
    """The repository of approvals by one person."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def of_org(self, org: str) -> dict[str, tuple[Claim, ...]]:
        """Returns an organisation's claims by operator."""
        found = await self._db.hash_of(keys.org(org, "glass"))
        return {operator.decode(): _decoded(raw) for operator, raw in found.items()}

    async def of(self, org: str, operator: str) -> tuple[Claim, ...]:
        return _decoded(await self._db.execute("HGET", keys.org(org, "glass"), operator) or b"")

    async def replace(self, org: str, operator: str, seen: Sequence[Claim], new: Sequence[Claim]) -> bool:
        """Replace an operator's claims, durably, if they still are `seen`. Returns False if they changed."""
        name = keys.org(org, "glass")
        return bool(await self._db.run_durably("exchange", [name], operator, _encoded(seen), _encoded(new)))


def _encoded(claims: Sequence[Claim]) -> bytes:
    return "\n".join(f"{one.alert} {one.rev} {one.attempt}" for one in claims).encode()


def _decoded(raw: bytes) -> tuple[Claim, ...]:
    return tuple(Claim(alert, int(rev), attempt) for alert, rev, attempt in map(str.split, raw.decode().splitlines()))
