"""Organisations: one record each, sealed because it decides who may tell whom, the list of them, and every revision of their own texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from alertd.store.engine import keys
from alertd.store.engine.bulk_reads import Batcher
from alertd.store.engine.connection import Connection
from alertd.store.organisations.stops import READ, StandingStops, standing_of


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
        """What is stopped, the revision of an organisation's own texts, and what `get` answers, in one round trip. Raises as `Stops.read_standing` does."""
        return await self._stances.one(org)

    async def _read_stances(self, asked: Sequence[str]) -> list[_Stance]:
        orgs = list(dict.fromkeys(asked))
        own = [(what, keys.org(org, part)) for org in orgs for what, part in (("HLEN", "texts"), ("GET", "record"))]
        found = await self._db.execute_many([*READ, *own])
        stops, parts = standing_of(self._db, found[: len(READ)]), iter(found[len(READ) :])
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


#: Message, channel, language, part.
TextKey = tuple[str, str, str, str]


class StoredText(msgspec.Struct, frozen=True):
    """One text and where it stands."""

    place: TextKey
    template: str


_decode_texts = msgspec.json.Decoder(list[StoredText]).decode


class TextStore:
    """The repository of own texts. Sealed, so that nobody puts words into an organisation's mouth by way of the store."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def revision(self, org: str) -> int:
        """The latest revision, 0 for none."""
        return int(await self._db.execute("HLEN", keys.org(org, "texts")))

    async def read_revision(self, org: str, revision: int) -> dict[TextKey, str]:
        """All texts of one revision; none of revision 0. Raises `KeyError` for one that was never made."""
        if not revision:
            return {}
        name = keys.org(org, "texts")
        sealed = await self._db.execute("HGET", name, revision)
        if sealed is None:
            raise KeyError(f"There is no revision {revision} of these texts.")
        opened = self._db.codec.master.open(sealed, _bound(name, revision))
        return {text.place: text.template for text in _decode_texts(opened)}

    async def add(self, org: str, texts: Iterable[tuple[TextKey, str]], *, after: int) -> bool:
        """The revision that follows `after`, durably. False when there is one already."""
        name = keys.org(org, "texts")
        plain = _encode([StoredText(place, template) for place, template in sorted(texts)])
        sealed = self._db.codec.master.seal(plain, _bound(name, after + 1))
        return bool(await self._db.run_durably("texts_add", [name], after, sealed))


def _bound(name: str, revision: int) -> str:
    return f"{name} {revision}"
