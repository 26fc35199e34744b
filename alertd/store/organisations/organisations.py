"""Organisations: the stops, one encrypted record for each organisation, the list of them, and all revisions of their own texts.

All stops are one record with a generation number. A stop also sets a halt on each active chain. The record is in one slot and the chains are
in others. So a process that sends reads the record repeatedly, and a process that stops writes the record first, then halts the chains,
and only then answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from alertd.store.engine import keys
from alertd.store.engine.bulk_reads import Batcher
from alertd.store.engine.connection import Arg, Connection, StoreUnavailableError, checked, hash_in

SERVICE = "service"


def of_org(org: str) -> str:
    """Returns the scope of a stop of one organisation."""
    return f"org:{org}"


def of_key(org: str, key_id: str) -> str:
    """Returns the scope of a stop of one API key."""
    return f"key:{org}:{key_id}"


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """An active stop of the service, an organisation or a key. Stored encrypted, because it names people."""

    by: str  # the person who stopped
    org: str  # the organisation of that person
    at: int  # UNIX milliseconds
    reason: str
    first: str = ""  # the person who asked to resume, which another person must confirm; '' before that
    first_org: str = ""  # the organisation of that person
    first_hands: tuple[str, ...] = ()  # everyone who has, or may have, the API key that this person used


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingStops:
    """All stops in force, by scope: the service, an organisation or an API key. `generation` counts the changes of the stops."""

    generation: int
    stops: dict[str, Stop]

    def of(self, org: str, key_ids: Iterable[str]) -> tuple[str, Stop] | None:
        """Returns the widest stop (service, then organisation, then key) that applies to this organisation and these API keys, with its
        scope, or None.

        A key of another organisation is given as `organisation:key`.
        """
        whole = (key_id if ":" in key_id else f"{org}:{key_id}" for key_id in key_ids)
        for scope in (SERVICE, of_org(org), *(of_key(*key.split(":", 1)) for key in whole)):
            if scope in self.stops:
                return scope, self.stops[scope]
        return None


#: Commands that read the stops, and the check value that identifies the store.
READ = (("HGETALL", keys.STOPS), ("GET", keys.KEY_CHECK))

_encode = msgspec.json.Encoder().encode
_decode_stop = msgspec.json.Decoder(Stop).decode


class Stops:
    """The repository of stops."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._reads = Batcher(self._read_many)

    async def read_standing(self) -> StandingStops:
        """Returns all stops in force, read from the store. Raises StoreUnavailableError, also if another installation's store replaced ours
        at run time.
        """
        return await self._reads.one(None)

    async def _read_many(self, asked: Sequence[None]) -> list[StandingStops]:
        """Reads the stops once and returns them for each of the waiting callers."""
        return [standing_of(self._db, await self._db.execute_many(READ))] * len(asked)

    async def change(self, seen: StandingStops, scope: str, stop: Stop | None) -> bool:
        """Stores a stop of this scope, or removes it (None), durably. Returns False if any stop was changed since `seen`. Does not halt
        alerts: see `apply_stops`.
        """
        sealed = b"" if stop is None else self._db.codec.master.seal(_encode(stop), _stop_bound(scope))
        return bool(await self._db.run_durably("stop", [keys.STOPS], seen.generation, scope, sealed, self._db.skew_ms))

    async def renew(self) -> None:
        """Raises the generation number of the stops, durably, and changes no stop. Once this returns, all earlier writes of the stops are
        on disk too, also those that were never confirmed.
        """
        await self._db.run_durably("stop", [keys.STOPS], "", "", "", self._db.skew_ms)

    async def apply_stops(self, standing: StandingStops, chains: Iterable[str]) -> list[int | StoreUnavailableError]:
        """Halts the sending of those of the alerts (`chains`) that are under a stop, and lifts the halt of the others.

        Returns for each whether it is halted, or the error if its server takes no writes. Tries all alerts before it raises another error.
        """
        said: list[Arg] = [standing.generation, *standing.stops]
        calls = [("halt", [keys.chain(chain)], said) for chain in chains]
        answers = await self._db.run_each(calls) if calls else []
        checked([answer for answer in answers if not isinstance(answer, StoreUnavailableError)])
        return answers


def _stop_bound(scope: str) -> str:
    """Returns the name to which the encrypted stop of a scope is bound."""
    return f"{keys.STOPS} {scope}"


def standing_of(db: Connection, found: Sequence[Any]) -> StandingStops:
    """Returns the stops from the replies to `READ`. Raises StoreUnavailableError if the replies come from another store than the one
    opened.
    """
    record, check = found
    # An empty store has no check value, and nothing to send.
    if check is not None and check.decode() not in db.codec.master.names:
        raise StoreUnavailableError("This is not the store that was opened.")
    fields = {name.decode(): value for name, value in hash_in(record).items()}
    generation, opened = int(fields.pop("generation", b"0")), db.codec.master.open
    stops = {scope: _decode_stop(opened(sealed, _stop_bound(scope))) for scope, sealed in fields.items()}
    return StandingStops(generation=generation, stops=stops)


class StoredOrganisation(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation as stored."""

    rev: int
    document: str  # JSON of `alertd.model.organisation.Organisation`
    allowed_by: str = ""  # the person who last changed which alerts need no second person
    allowed_hands: tuple[str, ...] = ()  # everyone who has, or may have, the API key that this person used
    allowed_with: tuple[str, str] = ("", "")  # organisation, and its key or operator that was used; empty if unknown
    glass_by: str = ""  # the person who last changed which alerts an author may approve alone
    glass_hands: tuple[str, ...] = ()  # everyone who has, or may have, the API key that this person used
    glass_with: tuple[str, str] = ("", "")  # as `allowed_with`


_StoredPolicy = tuple[StandingStops, int, StoredOrganisation | None, bytes]

_decode = msgspec.json.Decoder(StoredOrganisation).decode


class OrganisationStore:
    """The repository of organisations."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._stances = Batcher(self._read_stances)

    async def get(self, org: str) -> tuple[StoredOrganisation | None, bytes]:
        """Returns an organisation's record, None if it has none, and the stored bytes, which `put` compares. Raises SealError if it was
        tampered with.
        """
        sealed = await self._db.execute("GET", keys.org(org, "record")) or b""
        return self._opened(org, sealed), sealed

    async def read_policy(self, org: str) -> _StoredPolicy:
        """Returns the stops, the latest revision of the organisation's own texts, its record (None if there is none), and the record's
        stored bytes. One round trip.

        Raises like `Stops.read_standing`.
        """
        return await self._stances.one(org)

    async def _read_stances(self, asked: Sequence[str]) -> list[_StoredPolicy]:
        """Reads the policies of several organisations in one round trip, in the order of `asked`. Opens each organisation's record once."""
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
        """Replaces the organisation's record that was read as `seen`, durably. Returns False if it was changed since."""
        name = keys.org(org, "record")
        await self._db.execute("SADD", keys.ORGANISATIONS, org)  # first, so that none is missing in the list
        return bool(
            await self._db.run_durably("replace", [name], seen, self._db.codec.master.seal(_encode(stored), name))
        )

    async def allow(self, org: str, alert_id: str, most: int) -> bool:
        """Counts an alert among the organisation's alerts of the last hour that were sent without a second person, durably. Returns whether
        it is counted: False if there are `most` others already; True also for an alert that was counted before.
        """
        return bool(
            await self._db.run_durably("allow", [keys.org(org, "unattended")], alert_id, most, self._db.skew_ms)
        )

    def _opened(self, org: str, sealed: bytes) -> StoredOrganisation | None:
        """Decrypts an organisation's record; None for empty bytes."""
        return _decode(self._db.codec.master.open(sealed, keys.org(org, "record"))) if sealed else None

    async def names(self) -> list[str]:
        """Returns the ids of all organisations that have a record, or had a first write that was interrupted."""
        return sorted(raw.decode() for raw in await self._db.execute("SMEMBERS", keys.ORGANISATIONS))


#: The place of a text in the messages: message, channel, language, part.
TextKey = tuple[str, str, str, str]


class StoredText(msgspec.Struct, frozen=True):
    """One of an organisation's own texts: its message, channel, language and part, and its template."""

    place: TextKey
    template: str


_decode_texts = msgspec.json.Decoder(list[StoredText]).decode


class TextStore:
    """The repository of organisations' own texts. Encrypted, so that an intruder in the store cannot forge them."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def revision(self, org: str) -> int:
        """Returns the number of the latest revision of an organisation's own texts, 0 if it has none."""
        return int(await self._db.execute("HLEN", keys.org(org, "texts")))

    async def read_revision(self, org: str, revision: int) -> dict[TextKey, str]:
        """Returns the templates of one revision by their place, {} for revision 0. Raises KeyError for a revision that does not exist."""
        if not revision:
            return {}
        name = keys.org(org, "texts")
        sealed = await self._db.execute("HGET", name, revision)
        if sealed is None:
            raise KeyError(f"There is no revision {revision} of these texts.")
        opened = self._db.codec.master.open(sealed, _bound(name, revision))
        return {text.place: text.template for text in _decode_texts(opened)}

    async def add(self, org: str, texts: Iterable[tuple[TextKey, str]], *, after: int) -> bool:
        """Stores the texts as the revision after `after`, durably. Returns False if that revision exists already."""
        name = keys.org(org, "texts")
        plain = _encode([StoredText(place, template) for place, template in sorted(texts)])
        sealed = self._db.codec.master.seal(plain, _bound(name, after + 1))
        return bool(await self._db.run_durably("texts_add", [name], after, sealed))


def _bound(name: str, revision: int) -> str:
    """Returns the name to which the encrypted texts of a revision are bound."""
    return f"{name} {revision}"
