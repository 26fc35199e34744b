"""What is stopped: one record with a generation number, and the halt that it puts on every live chain.

The record is in one slot and the chains are in others. So whoever sends reads the record again and again, and whoever stops
writes the record first, then halts the chains, and only then answers.
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
    return f"org:{org}"


def of_key(org: str, key_id: str) -> str:
    return f"key:{org}:{key_id}"


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """One stop. Sealed, because it names people."""

    by: str
    org: str  # the organisation of that person
    at: int  # UNIX milliseconds
    reason: str
    first: str = ""  # who asked to resume, and waits for a second person
    first_org: str = ""  # the organisation of that person
    first_hands: tuple[str, ...] = ()  # everyone who has, or can have, that person's key


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingStops:
    """What is stopped at one generation, by scope."""

    generation: int
    stops: dict[str, Stop]

    def of(self, org: str, key_ids: Iterable[str]) -> tuple[str, Stop] | None:
        """The widest of the stops that an organisation, or one of these keys, is under; one of another has that one's name and a colon
        before it.
        """
        whole = (key_id if ":" in key_id else f"{org}:{key_id}" for key_id in key_ids)
        for scope in (SERVICE, of_org(org), *(of_key(*key.split(":", 1)) for key in whole)):
            if scope in self.stops:
                return scope, self.stops[scope]
        return None


#: What is asked of the store for what is stopped.
READ = (("HGETALL", keys.STOPS), ("GET", keys.KEY_CHECK))

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Stop).decode


class Stops:
    """The repository of stops."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._reads = Batcher(self._read_many)

    async def read_standing(self) -> StandingStops:
        """Raises StoreUnavailableError, also where this is the store of another installation, put in the place of ours while we run."""
        return await self._reads.one(None)

    async def _read_many(self, asked: Sequence[None]) -> list[StandingStops]:
        return [standing_of(self._db, await self._db.execute_many(READ))] * len(asked)

    async def change(self, seen: StandingStops, scope: str, stop: Stop | None) -> bool:
        """Keep a stop, or lift it (None), durably. False when something else was changed since."""
        sealed = b"" if stop is None else self._db.codec.master.seal(_encode(stop), _bound(scope))
        return bool(await self._db.run_durably("stop", [keys.STOPS], seen.generation, scope, sealed, self._db.skew_ms))

    async def renew(self) -> None:
        """What is stopped as it is, in a later generation, durably: what was not confirmed before is by then."""
        await self._db.run_durably("stop", [keys.STOPS], "", "", "", self._db.skew_ms)

    async def put_on(self, standing: StandingStops, chains: Iterable[str]) -> list[int | StoreUnavailableError]:
        """Halt the chains that are under a stop, and let the others go. Answers of each whether it is halted, or that its server takes no writes,
        which is no reason to leave the others as they are. Raises what else is wrong with one, when all were tried.
        """
        said: list[Arg] = [standing.generation, *standing.stops]
        calls = [("halt", [keys.chain(chain)], said) for chain in chains]
        answers = await self._db.run_each(calls) if calls else []
        checked([answer for answer in answers if not isinstance(answer, StoreUnavailableError)])
        return answers


def _bound(scope: str) -> str:
    return f"{keys.STOPS} {scope}"


def standing_of(db: Connection, found: Sequence[Any]) -> StandingStops:
    """What is stopped, from the answers to `READ`. Raises as `Stops.read_standing` does."""
    record, check = found
    # Where there is none there is nothing to send.
    if check is not None and check.decode() not in db.codec.master.names:
        raise StoreUnavailableError("This is not the store that was opened.")
    fields = {name.decode(): value for name, value in hash_in(record).items()}
    generation, opened = int(fields.pop("generation", b"0")), db.codec.master.open
    stops = {scope: _decode(opened(sealed, _bound(scope))) for scope, sealed in fields.items()}
    return StandingStops(generation=generation, stops=stops)
