"""Claims of operators who approve alone an alert that they wrote (break glass). A claim is written before the alert's record is.

The alert's record is the authority. The claims only lead from an organisation to such alerts, which are in other slots. An operator with a
claim for another alert that still counts cannot approve alone again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection


class Claim(NamedTuple):
    """One attempt of an operator to approve an alert alone."""

    alert: str  # id of the alert
    rev: int  # revision of the alert that the operator saw; void if the alert has another
    attempt: str  # a random name


class Claims:
    """The repository of the claims of operators who approve alone an alert that they wrote."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def of_org(self, org: str) -> dict[str, tuple[Claim, ...]]:
        """Returns an organisation's claims by operator."""
        found = await self._db.hash_of(keys.org(org, "glass"))
        return {operator.decode(): _decoded(raw) for operator, raw in found.items()}

    async def of(self, org: str, operator: str) -> tuple[Claim, ...]:
        """Returns the claims of one operator."""
        return _decoded(await self._db.execute("HGET", keys.org(org, "glass"), operator) or b"")

    async def replace(self, org: str, operator: str, seen: Sequence[Claim], new: Sequence[Claim]) -> bool:
        """Replaces an operator's claims, durably, if they are still `seen`. Returns False if they have changed."""
        name = keys.org(org, "glass")
        return bool(await self._db.run_durably("exchange", [name], operator, _encoded(seen), _encoded(new)))


def _encoded(claims: Sequence[Claim]) -> bytes:
    """Returns the stored form of an operator's claims."""
    return "\n".join(f"{one.alert} {one.rev} {one.attempt}" for one in claims).encode()


def _decoded(raw: bytes) -> tuple[Claim, ...]:
    """Reads an operator's claims from their stored form."""
    return tuple(Claim(alert, int(rev), attempt) for alert, rev, attempt in map(str.split, raw.decode().splitlines()))
