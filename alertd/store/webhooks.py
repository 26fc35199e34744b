"""Webhooks: who is to be told of events, how far each has been told, and what was not taken.

All of an organisation's webhooks are in the slot of its events. A webhook's record is sealed, for it holds what signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from alertd.store import keys
from alertd.store.connection import Connection

#: Of what was given up, so many are remembered a webhook.
MOST_GIVEN_UP = 1_000


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it was made. Its URL may hold a secret of the receiver's."""

    id: str
    org: str
    url: str
    types: tuple[str, ...]  # of events; none: all
    secrets: tuple[tuple[str, int], ...]  # what signs, newest first, each until when (UNIX ms; 0: for ever)
    by: str  # the subject of the person who made it
    made: int  # UNIX ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a webhook stands. Times are UNIX ms, 0 for never."""

    queued: int  # number of the event that it was queued up to
    failing: int = 0  # since when nothing was taken
    off: int = 0
    why: str = ""  # it is off
    tried: int = 0
    answered: int = 0  # status of the last answer, 0 for none


@dataclass(frozen=True, slots=True)
class Due:
    """An event that is to be told now."""

    number: int
    tries: int
    first: int  # UNIX ms of the first try, 0 before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a try."""

    word: str  # "told", "again" or "never"
    status: int
    due: int = 0  # when to try again
    off: str = ""  # why the webhook is to be turned off
    event: bytes = b""  # that says so


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Hook).decode


class Hooks:
    """The repository of webhooks."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def put(self, hook: Hook, *, queued: int) -> None:
        """A new one, which is told of events after the number `queued`."""
        name = keys.org_events(hook.org, ":hooks")
        await self._db.execute("SADD", keys.HOOKED, hook.org)  # first, so that no webhook is out of sight
        await self._db.execute("HSETNX", _of(hook, "hook"), "queued", queued)
        await self._db.execute("HSET", name, hook.id, self._sealed(name, hook))

    async def change(self, org: str, hook_id: str, change: Callable[[Hook], Hook]) -> Hook | None:
        """What a webhook is from now on, durably, made of what it is at that moment. None where it is gone."""
        name = keys.org_events(org, ":hooks")
        while seen := await self._db.execute("HGET", name, hook_id):
            fresh = change(self._opened(name, hook_id, seen))
            if await self._db.run_durably("exchange", [name], hook_id, seen, self._sealed(name, fresh)):
                return fresh
        return None

    async def remove(self, org: str, hook_id: str) -> bool:
        """With all that waits for it. Whether there was one."""
        names = [keys.org_events(org, f":{part}:{hook_id}") for part in ("hook", "queue", "tries", "given-up")]
        gone, *_ = await self._db.execute_many(
            [("HDEL", keys.org_events(org, ":hooks"), hook_id), *(("DEL", name) for name in names)]
        )
        return bool(gone)

    async def orgs(self) -> list[str]:
        """The organisations that have webhooks, or had."""
        return sorted(raw.decode() for raw in await self._db.execute("SMEMBERS", keys.HOOKED))

    async def of_org(self, org: str) -> list[Hook]:
        """The oldest first."""
        name = keys.org_events(org, ":hooks")
        found = (await self._db.hash_of(name)).items()
        hooks = [self._opened(name, hook_id.decode(), sealed) for hook_id, sealed in found]
        return sorted(hooks, key=lambda hook: (hook.made, hook.id))

    async def standing(self, hooks: Sequence[Hook]) -> list[Standing]:
        """How each stands, in one round trip."""
        if not hooks:
            return []
        found = await self._db.hashes([_of(hook, "hook") for hook in hooks])
        return [_standing(fields) for fields in found]

    async def counts(self, hook: Hook) -> tuple[int, int]:
        """How many events wait for it, and how many were given up."""
        waiting, given_up = await self._db.execute_many(
            [("ZCARD", _of(hook, "queue")), ("ZCARD", _of(hook, "given-up"))]
        )
        return waiting, given_up

    async def queue(self, hook: Hook, seen: int, upto: int, numbers: Iterable[int], now_ms: int) -> bool:
        """Lets events wait for it. False where somebody else did, or it is gone."""
        names = [_of(hook, "hook"), _of(hook, "queue")]
        return bool(await self._db.run("hook_queue", names, seen, upto, now_ms, *numbers))

    async def due(self, hook: Hook, now_ms: int, limit: int) -> list[Due]:
        """What is to be told now, the longest due first."""
        found = await self._db.execute("ZRANGEBYSCORE", _of(hook, "queue"), "-inf", now_ms, "LIMIT", 0, limit)
        tries = await self._db.execute("HMGET", _of(hook, "tries"), *found) if found else []
        return [Due(int(raw), *_tries(said)) for raw, said in zip(found, tries, strict=True)]

    async def settle(self, hook: Hook, due: Due, outcome: Outcome, now_ms: int) -> bool:
        """What became of a try, durably. Whether the webhook was turned off by it."""
        parts = ("hook", "queue", "tries", "given-up")
        names = [*(_of(hook, part) for part in parts), keys.org_events(hook.org), keys.org_events(hook.org, ":marks")]
        return bool(
            await self._db.run_durably(
                "hook_settle", names, due.number, outcome.word, now_ms, outcome.due, f"{due.tries + 1} {due.first or now_ms}",
                outcome.status, outcome.off, outcome.event, MOST_GIVEN_UP,
            )
        )  # fmt: skip

    async def given_up(self, hook: Hook, limit: int) -> list[tuple[int, int]]:
        """The latest that were given up: number and UNIX ms."""
        flat = await self._db.execute("ZREVRANGE", _of(hook, "given-up"), 0, limit - 1, "WITHSCORES")
        nested = flat and isinstance(flat[0], (list, tuple))
        pairs = flat if nested else zip(flat[::2], flat[1::2], strict=True)
        return [(int(number), int(float(at))) for number, at in pairs]

    async def again(self, hook: Hook, numbers: Sequence[int], now_ms: int) -> None:
        """Tells it these, as if they had never been tried."""
        for number in numbers:
            await self._db.execute_many(
                [
                    ("HDEL", _of(hook, "tries"), number),
                    ("ZADD", _of(hook, "queue"), now_ms, number),
                    ("ZREM", _of(hook, "given-up"), number),
                ]
            )

    async def rewind(self, hook: Hook, number: int) -> None:
        """Tells it all that follows an event, again."""
        await self._db.execute("HSET", _of(hook, "hook"), "queued", number)

    async def turn_on(self, hook: Hook) -> None:
        await self._db.execute("HDEL", _of(hook, "hook"), "off", "why", "failing")

    def _sealed(self, name: str, hook: Hook) -> bytes:
        return self._db.codec.master.seal(_encode(hook), f"{name} {hook.id}")

    def _opened(self, name: str, hook_id: str, sealed: bytes) -> Hook:
        return _decode(self._db.codec.master.open(sealed, f"{name} {hook_id}"))


def _of(hook: Hook, part: str) -> str:
    return keys.org_events(hook.org, f":{part}:{hook.id}")


def _standing(fields: dict[bytes, bytes]) -> Standing:
    numbers = {name: int(fields.get(name.encode(), 0)) for name in ("queued", "failing", "off", "tried", "answered")}
    return Standing(**numbers, why=fields.get(b"why", b"").decode())


def _tries(said: bytes | None) -> tuple[int, int]:
    tries, first = (said or b"0 0").split()
    return int(tries), int(first)
