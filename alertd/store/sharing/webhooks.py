"""Webhooks and distributors: their addresses, the last event that each received, and the events that each refused. For a distributor also
which alerts it has, and which of them it must take down.

All of an organisation's webhooks are in the slot of its events. A webhook's record is encrypted, because it holds the signing secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import msgspec
import structlog

from alertd.model.distribution import Track
from alertd.model.distributor import Distributor
from alertd.store.engine import keys
from alertd.store.engine.codec import SealError
from alertd.store.engine.connection import Connection

#: Maximum number of given-up events that are stored for a webhook.
MOST_GIVEN_UP = 1_000


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. Its URL may contain a secret of the receiver."""

    id: str
    org: str
    url: str
    types: tuple[str, ...]  # event types; empty: all
    secrets: tuple[tuple[str, int], ...]  # signing secrets, newest first, each with its end (UNIX ms; 0: none)
    by: str  # the subject of the person who made it
    made: int  # UNIX ms


class DistributorHook(Hook, frozen=True, kw_only=True):
    """A distributor: an organisation that passes on CAP documents. alertd sends to it as to a webhook, and its secrets sign the documents.
    Events trigger a delivery; unlike a webhook, the distributor cannot choose the types of events.
    """

    document: str  # JSON of `alertd.model.distributor.Distributor`
    authorization: str = ""  # value of the Authorization header that it requires
    way: int = 0  # number of changes of its address or its way to acknowledge
    rotated: int = 0  # number of rotations of the secret, each of which changes its acknowledgement URL

    def __post_init__(self) -> None:
        """Raises ValueError for a document that a newer version of alertd wrote and this one cannot read."""
        Distributor.model_validate_json(self.document)

    @property
    def distributor(self) -> Distributor:
        """Returns the distributor's settings."""
        return Distributor.model_validate_json(self.document)


Of = TypeVar("Of", bound=Hook)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookStanding:
    """State of a webhook. Times are UNIX ms, 0 for never."""

    queued: int  # number of the last event that was put in its queue
    failing: int = 0  # time of the first of the failed tries since it last accepted an event
    off: int = 0  # when it was turned off
    why: str = ""  # reason why it is off
    tried: int = 0  # time of the last try that sent something
    answered: int = 0  # status of the last answer, 0 for none


@dataclass(frozen=True, slots=True)
class Due:
    """An entry of a webhook's or distributor's queue that is due."""

    name: str  # number of an event; for a distributor, the alert to check
    tries: int
    first: int  # time of the first try (ms, steady clock), 0 before it
    turn: int = 0  # a number that changes each time the entry is queued again


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Result of one try to send a queue entry."""

    word: str  # "told" (accepted), "again" (retry) or "never" (given up)
    status: int | None  # status of the answer, 0 for no answer, None if nothing was sent
    due: int = 0  # time of the next try, by the steady clock
    off: str = ""  # reason to turn the webhook off; empty: leave it on
    event: bytes = b""  # event that reports the turning off; empty if it stays on


_encode = msgspec.json.Encoder().encode
#: Key suffix of an organisation's list.
LISTED: dict[type[Hook], str] = {Hook: ":hooks", DistributorHook: ":distributors"}
#: Further keys of each webhook or distributor.
PARTS = ("hook", "queue", "tries", "given-up")


class HeldError(Exception):
    """The distributor has an active alert, or must still take an ended one down, so its address cannot change and it cannot be deleted."""


class Hooks(Generic[Of]):
    """The repository of webhooks, or of distributors."""

    def __init__(self, connection: Connection, kind: type[Of]) -> None:
        self._db = connection
        self._listed = LISTED[kind]
        self._decode = msgspec.json.Decoder(kind).decode
        self._unreadable: set[str] = set()

    async def put(self, hook: Of, *, queued: int) -> None:
        """Adds a webhook, durably. It gets the organisation's events with a number above `queued`."""
        name = keys.org_events(hook.org, self._listed)
        await self._db.execute("SADD", keys.HOOKED, hook.org)  # first, so that no webhook is missed
        await self._db.execute("HSETNX", _of(hook, "hook"), "queued", queued)
        await self._db.execute_durably("HSET", name, hook.id, self._sealed(name, hook))

    async def change(self, org: str, hook_id: str, change: Callable[[Of], Of]) -> Of | None:
        """Replaces a webhook's record by `change(record)`, durably. Calls `change` again on the new record if another process replaced it
        meanwhile. Returns the new record, None if the webhook does not exist or cannot be read.
        """
        name = keys.org_events(org, self._listed)
        while seen := await self._db.execute("HGET", name, hook_id):
            if (old := self._read(name, hook_id, seen)) is None:
                return None
            fresh = change(old)
            if await self._exchanged(name, old, fresh, seen):
                return fresh
        return None

    async def _exchanged(self, name: str, old: Of, fresh: Of, seen: bytes) -> bool:
        """Replaces the record durably if it is still `seen`. Returns whether it did."""
        return bool(await self._db.run_durably("exchange", [name], old.id, seen, self._sealed(name, fresh)))

    async def remove(self, org: str, hook_id: str) -> bool:
        """Deletes a webhook with its queue, durably. Returns whether it existed."""
        names = parts_of(org, hook_id)
        gone, *_ = await self._db.execute_many(
            [("HDEL", keys.org_events(org, self._listed), hook_id), *(("DEL", name) for name in names)],
            durable=True,
        )
        return bool(gone)

    async def orgs(self) -> list[str]:
        """Returns the ids of the organisations that have or had webhooks or distributors."""
        return sorted(raw.decode() for raw in await self._db.execute("SMEMBERS", keys.HOOKED))

    async def of_org(self, org: str) -> list[Of]:
        """Returns an organisation's webhooks, the oldest first. Logs and skips one that cannot be read."""
        return await self.of_orgs([org])

    async def of_orgs(self, orgs: Sequence[str]) -> list[Of]:
        """Returns all webhooks of several organisations in one list, the oldest first, in one round trip. Logs and
        skips one that cannot be read.
        """
        names = [keys.org_events(org, self._listed) for org in orgs]
        found = zip(names, await self._db.hashes(names), strict=True)
        read = [self._read(name, hook_id.decode(), raw) for name, hooks in found for hook_id, raw in hooks.items()]
        return sorted(filter(None, read), key=lambda hook: (hook.made, hook.id))

    async def one(self, org: str, hook_id: str) -> Of | None:
        """Returns a webhook, None if it does not exist or cannot be read."""
        name = keys.org_events(org, self._listed)
        sealed = await self._db.execute("HGET", name, hook_id)
        return self._read(name, hook_id, sealed) if sealed else None

    async def standing(self, hooks: Sequence[Hook]) -> list[HookStanding]:
        """Returns the state of each webhook, in one round trip."""
        if not hooks:
            return []
        found = await self._db.hashes([_of(hook, "hook") for hook in hooks])
        return [_standing(fields) for fields in found]

    async def counts(self, hook: Hook) -> tuple[int, int]:
        """Returns the number of a webhook's queued events, and of its given-up ones."""
        waiting, given_up = await self._db.execute_many(
            [("ZCARD", _of(hook, "queue")), ("ZCARD", _of(hook, "given-up"))]
        )
        return waiting, given_up

    async def queue(self, hook: Hook, seen: int, upto: int, names: Iterable[str], steady_ms: int) -> bool:
        """Adds the entries `names` to a webhook's queue, due at `steady_ms`, and stores `upto` as its last queued event. Returns False, and
        adds nothing, if that number is no longer `seen` or the webhook was deleted.
        """
        parts = parts_of(hook.org, hook.id)
        return bool(await self._db.run("hook_queue", parts, seen, upto, steady_ms, *names))

    async def due(self, hook: Hook, steady_ms: int, limit: int) -> list[Due]:
        """Returns at most `limit` queue entries that are due at `steady_ms` (steady clock), the longest due first."""
        found = await self._db.execute("ZRANGEBYSCORE", _of(hook, "queue"), "-inf", steady_ms, "LIMIT", 0, limit)
        tries = await self._db.execute("HMGET", _of(hook, "tries"), *found) if found else []
        return [Due(raw.decode(), *_tries(said)) for raw, said in zip(found, tries, strict=True)]

    async def waiting(self, hook: Hook) -> list[str]:
        """Returns the names of all entries in the queue, the first due first: those not tried yet, and those that wait
        for a retry. A name is an event's number or, in a distributor's queue, the id of an alert's first version.
        """
        return [raw.decode() for raw in await self._db.execute("ZRANGE", _of(hook, "queue"), 0, -1)]

    async def settle(self, hook: Hook, due: Due, outcome: Tried, now_ms: int) -> bool:
        """Stores the result of one try to send the entry `due`, durably: removes it from the queue, sets its next try, or moves it to the
        given-up entries. Returns whether this turned the webhook off.
        """
        org = hook.org
        names = [*parts_of(org, hook.id), keys.org_events(org), keys.org_events(org, ":marks")]
        return bool(
            await self._db.run_durably(
                "hook_settle", names, due.name, outcome.word, now_ms, outcome.due, f"{due.tries + 1} {due.first}",
                "" if outcome.status is None else outcome.status, outcome.off, outcome.event, MOST_GIVEN_UP, due.turn,
            )
        )  # fmt: skip

    async def given_up(self, hook: Hook, limit: int) -> list[tuple[int, int]]:
        """Returns at most `limit` given-up events, the latest first: number of the event, and when it was given up (UNIX ms)."""
        flat = await self._db.execute("ZREVRANGE", _of(hook, "given-up"), 0, limit - 1, "WITHSCORES")
        nested = flat and isinstance(flat[0], (list, tuple))
        pairs = flat if nested else zip(flat[::2], flat[1::2], strict=True)
        return [(int(number), int(float(at))) for number, at in pairs]

    async def again(self, hook: Hook, names: Iterable[str], steady_ms: int) -> None:
        """Queues entries again, due at `steady_ms` (steady clock), with their number of tries set back to 0."""
        await self._db.run("hook_queue", parts_of(hook.org, hook.id), "", "", steady_ms, *names)

    async def rewind(self, hook: Hook, number: int) -> None:
        """Sets the last queued event back to `number`, durably, so that the webhook gets all later events again."""
        await self._db.execute_durably("HSET", _of(hook, "hook"), "queued", number)

    async def turn_on(self, hook: Hook) -> None:
        """Turns a webhook on again, durably. Deletes the reason why it was off and since when it failed."""
        await self._db.execute_durably("HDEL", _of(hook, "hook"), "off", "why", "failing")

    def _read(self, name: str, hook_id: str, sealed: bytes) -> Of | None:
        """Decrypts and decodes a webhook's record. Returns None if it cannot be read, and logs that once for each webhook."""
        try:
            return self._opened(name, hook_id, sealed)
        except (SealError, msgspec.DecodeError):
            if hook_id not in self._unreadable:
                structlog.get_logger().error("webhook.read_failed", webhook=hook_id)
            self._unreadable.add(hook_id)
            return None

    def _sealed(self, name: str, hook: Of) -> bytes:
        """Returns a webhook's record as JSON, encrypted under the master key and bound to its organisation and id."""
        return self._db.codec.master.seal(_encode(hook), f"{name} {hook.id}")

    def _opened(self, name: str, hook_id: str, sealed: bytes) -> Of:
        """Decrypts and decodes a webhook's record. Raises SealError or msgspec.DecodeError."""
        return self._decode(self._db.codec.master.open(sealed, f"{name} {hook_id}"))


def _of(hook: Hook, part: str) -> str:
    """Returns the store key of one of a webhook's `PARTS`."""
    return keys.org_events(hook.org, f":{part}:{hook.id}")


class DistributorHooks(Hooks[DistributorHook]):
    """The repository of distributors. Does not delete one, or change its address, while it has an alert or must take one down."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, DistributorHook)

    async def remove(self, org: str, hook_id: str) -> bool:
        """Deletes a distributor with its queue, durably. Returns whether it existed. Raises HeldError."""
        return await self._free(org, hook_id, "", "", 0)

    async def _exchanged(self, name: str, old: DistributorHook, fresh: DistributorHook, seen: bytes) -> bool:
        """Replaces the record if it is still `seen`. Returns whether it did. Raises HeldError if `way` changes while the distributor has an
        alert or must take one down.
        """
        if fresh.way == old.way:
            return await super()._exchanged(name, old, fresh, seen)
        return await self._free(fresh.org, fresh.id, seen, self._sealed(name, fresh), fresh.way)

    async def _free(self, org: str, hook_id: str, *said: bytes | str | int) -> bool:
        """Deletes a distributor, or replaces its record: `said` is the record it must still have ('' for any), the new one ('' deletes) and
        its new `way`. Returns False if the distributor was deleted or changed meanwhile. Raises HeldError if it has an alert or must take
        one down.
        """
        names = [*parts_of(org, hook_id), keys.org_events(org, ":holders"), keys.org_events(org, self._listed)]
        answer = await self._db.run_durably("free_distributor", names, hook_id, *said)
        if answer < 0:
            raise HeldError
        return bool(answer)


def parts_of(org: str, hook_id: str) -> list[str]:
    """Returns the keys of a webhook or a distributor: state, queue, tries, given-up events."""
    return [keys.org_events(org, f":{part}:{hook_id}") for part in PARTS]


def _standing(fields: dict[bytes, bytes]) -> HookStanding:
    """Reads a webhook's state from its stored fields. A missing number is 0."""
    numbers = {name: int(fields.get(name.encode(), 0)) for name in ("queued", "failing", "off", "tried", "answered")}
    return HookStanding(**numbers, why=fields.get(b"why", b"").decode())


def _tries(said: bytes | None) -> tuple[int, int, int]:
    """Reads an entry's stored tries: number of tries, time of the first (ms, steady clock), and `Due.turn`. All 0 before the first try."""
    tries, first, turn = (*(said or b"0 0").split(), b"0")[:3]
    return int(tries), int(first), int(turn)


_encode_track = msgspec.msgpack.Encoder().encode
_decode_track = msgspec.msgpack.Decoder(Track).decode


class Holder(NamedTuple):
    """An alert that a distributor shows, or must still take down."""

    distributor: str  # id of the distributor
    chain: str  # id of the alert's first version
    owed: int  # since when it must take the alert down (UNIX ms), 0 if it need not


class Tracks:
    """Stores for each alert and distributor the `Track`: what the distributor has of the alert. Also lists the alerts that a distributor
    shows or must take down (`Holder`).
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def get(self, org: str, chain: str, distributor: str) -> tuple[Track, bytes]:
        """Returns the track of an alert at a distributor (an empty one if it never got the alert), and its stored bytes, which `put`
        compares.
        """
        raw = await self._db.execute("HGET", keys.org_events(org, f":distribution:{chain}"), distributor) or b""
        return (_decode_track(raw) if raw else Track()), raw

    async def of_alert(self, org: str, chain: str) -> dict[str, Track]:
        """Returns the tracks of an alert by distributor id, also those of deleted distributors."""
        found = await self._db.hash_of(keys.org_events(org, f":distribution:{chain}"))
        return {distributor.decode(): _decode_track(raw) for distributor, raw in found.items()}

    async def put(  # noqa: PLR0913  a track, and what follows from it in the same step
        self, org: str, chain: str, distributor: str, track: Track, *, seen: bytes, now_ms: int,
        events: Iterable[bytes] = (), look: bool = False, way: int | None = None,
    ) -> bool:  # fmt: skip
        """Replaces the track that was read as `seen`, durably, and writes `events`. `look` queues the alert for another check now. Returns
        False, and stores nothing, if the track or the distributor's `way` (number of address changes) is no longer the given one. A caller
        passes `way` before it sends a document, so that none goes to an old address.
        """
        parts = (f":distribution:{chain}", ":holders", "", ":marks")
        holds = track.owed or (0 if track.has and not track.over else "")
        names = [*parts_of(org, distributor), *(keys.org_events(org, part) for part in parts)]
        asked = (now_ms if look else "", "" if way is None else way)
        return bool(
            await self._db.run_durably(
                "track", names, distributor, seen, _encode_track(track), chain, holds, now_ms, *asked, *events
            )
        )

    async def holders(self, orgs: Sequence[str]) -> dict[str, list[Holder]]:
        """Returns by organisation the distributors that have an active alert or must take one down. Those with a take-down come first, the
        one that has waited longest before the others.
        """
        found = await self._db.hashes([keys.org_events(org, ":holders") for org in orgs]) if orgs else []
        return {org: sorted(map(_holder, one.items()), key=_by_age) for org, one in zip(orgs, found, strict=True)}

    async def refused(self, holders: Mapping[str, Sequence[Holder]]) -> dict[str, list[Holder]]:
        """Returns from `holders`, by organisation, those with a take-down that has ended without success: the distributor refused it or
        never accepted it.
        """
        owing = [(org, one) for org, found in holders.items() for one in found if one.owed]
        raw = await self._db.execute_many(
            [("HGET", keys.org_events(org, f":distribution:{one.chain}"), one.distributor) for org, one in owing]
        )
        found = dict[str, list[Holder]]()
        for (org, one), said in zip(owing, raw, strict=True):
            if said and _decode_track(said).refused:
                found.setdefault(org, []).append(one)
        return found


def _holder(pair: tuple[bytes, bytes]) -> Holder:
    """Reads a stored pair: 'distributor alert', and since when the take-down is owed (UNIX ms)."""
    distributor, chain = pair[0].decode().split(" ")
    return Holder(distributor, chain, int(pair[1]))


def _by_age(one: Holder) -> tuple[bool, int, str]:
    """Sort key: holders that must take an alert down first, the longest waiting first; then the others by alert."""
    return not one.owed, one.owed, one.chain
