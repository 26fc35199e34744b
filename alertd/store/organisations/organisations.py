"""Organisations: one record each, sealed because it decides who may tell whom, and the list of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alertd.store.engine import keys
from alertd.store.engine.batcher import Batcher
from alertd.store.engine.connection import Connection
from alertd.store.organisations.stops import READ, StandingStops, Stops


class StoredOrganisation(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation as kept."""

    rev: int
    document: str  # JSON of `alertd.model.organisation.Organisation`
    allowed_by: str = ""  # the person who last changed what goes out without a second one
    allowed_hands: tuple[str, ...] = ()  # everyone who has, or can have, that person's key
    allowed_with: tuple[str, str] = ("", "")  # with what: an organisation, and a key or operator of it; or not known
    glass_by: str = ""  # the person who last changed what its author may approve alone
    glass_hands: tuple[str, ...] = ()
    glass_with: tuple[str, str] = ("", "")


_Stance = tuple[StandingStops, int, StoredOrganisation | None, bytes]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredOrganisation).decode


class OrganisationStore:
    """The repository of organisations."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._stances = Batcher(self._read_stances)

    async def get(self, org: str) -> tuple[StoredOrganisation | None, bytes]:
        """A record, None where nothing was written of it, and what stands for it in `put`. Raises SealError for one that was tampered with."""
        sealed = await self._db.execute("GET", keys.org(org, "record")) or b""
        return self._opened(org, sealed), sealed

    async def stance(self, org: str) -> _Stance:
        """What is stopped, the revision of an organisation's own texts, and what `get` answers, in one round trip. Raises as `Stops.read` does."""
        return await self._stances.one(org)

    async def _read_stances(self, asked: Sequence[str]) -> list[_Stance]:
        orgs = list(dict.fromkeys(asked))
        own = [(what, keys.org(org, part)) for org in orgs for what, part in (("HLEN", "texts"), ("GET", "record"))]
        found = await self._db.execute_many([*READ, *own])
        stops, parts = Stops(self._db).standing(found[: len(READ)]), iter(found[len(READ) :])
        by_org = {
            org: (stops, int(texts), self._opened(org, sealed or b""), sealed or b"")
            for org, texts, sealed in zip(orgs, parts, parts, strict=True)
        }
        return [by_org[org] for org in asked]

    async def put(self, org: str, stored: StoredOrganisation, *, seen: bytes) -> bool:
        """Keep a record in place of what was seen, durably. False when it is another since."""
        name = keys.org(org, "record")
        await self._db.execute("SADD", keys.ORGANISATIONS, org)  # first, so that none is out of sight
        return bool(
            await self._db.run_durably("replace", [name], seen, self._db.codec.master.seal(_encode(stored), name))
        )

    async def allow(self, org: str, alert_id: str, most: int) -> bool:
        """Count an alert among those that went out unattended in the last hour, durably. False when there are as many as may be."""
        return bool(
            await self._db.run_durably("allow", [keys.org(org, "unattended")], alert_id, most, self._db.skew_ms)
        )

    def _opened(self, org: str, sealed: bytes) -> StoredOrganisation | None:
        return _decode(self._db.codec.master.open(sealed, keys.org(org, "record"))) if sealed else None

    async def names(self) -> list[str]:
        """Of those that a record was written of, or was about to be."""
        return sorted(raw.decode() for raw in await self._db.execute("SMEMBERS", keys.ORGANISATIONS))
