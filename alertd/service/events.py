"""Events: what happened to alerts, thin: ids and codes, never a person and never a word that somebody wrote.

One process at a time brings them from the chains, where the steps themselves keep them, to their organisation's stream. Whoever
reads them asks for what follows a cursor; webhooks get the same, byte for byte.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from alertd.alerts import AlertState, State
from alertd.clock import Clock
from alertd.errors import Fault, Problem
from alertd.ids import chain_of
from alertd.kinds import Occasion
from alertd.service.targeting import SMALL_COUNT
from alertd.store import events as store
from alertd.store.alerts import Alerts

#: Another process goes on when the one that brings events is gone for so long.
LEASE_MS = 5_000
#: A chain is announced before the step whose event it will have, so it is looked at again, after twice as long each time. A step that
#: takes longer than the last look is found when the chain is announced the next time.
FIRST_LOOK_S, LAST_LOOK_S = 0.1, 60.0
WAITS_LOOK_S = 5.0  # where late reports wait to be told of together
#: Chains a round, side by side: a disk confirms many writes as soon as one, and a round is over before the lease is.
CHAINS_AT_ONCE = 100
#: How often what is too old is looked for where nothing new comes.
TRIM_S = 600.0
#: How many references are in which state, over all channels; of an update to a few not told.
COUNTS = ("targeted", *(state.word for state in State))
#: What an event says besides its id, type and time, where it is not empty: as the scripts name it.
FACTS = ("alert", "state", "was", "rev", "status", "kind", "occasion", "percent", *COUNTS)
#: Events that are no state. All others are called as the state that an alert came into.
NO_STATES = frozenset(
    {
        "paused",
        "resumed",
        "restricted",
        "extended",
        "updated",
        "progress",
        "stalled",
        "recovered",
        "receipts",
        "break_glass",
        "reviewed",
    }
)
#: All that there are: what a webhook may ask for.
TYPES = (*(f"alert.{word}" for word in (*AlertState, *sorted(NO_STATES))), "webhook.off")
_NUMBERS = frozenset({"rev", "percent", *COUNTS})
_CURSOR = re.compile("e([0-9a-f]{1,12})")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(slots=True)
class _Look:
    """When a chain is looked at next."""

    seen: bytes  # what told that it was announced
    wait_s: float = FIRST_LOOK_S
    due: float = 0.0  # monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events as they are read, each with the cursor that leads on from it, and the one that leads on from all of them."""

    events: list[tuple[str, bytes]]
    cursor: str
    more: bool


class Events:
    """Brings events on their way, and reads them."""

    def __init__(
        self, events: store.Events, alerts: Alerts, clock: Clock, organisations: Callable[[], Awaitable[Sequence[str]]]
    ) -> None:
        self._events = events
        self._alerts = alerts
        self._clock = clock
        self._organisations = organisations
        self._name = secrets.token_hex(8)
        self._looks: dict[str, _Look] = {}
        self._trimmed = -TRIM_S

    async def leads(self) -> bool:
        """Whether it is on this process to bring events and webhooks on their way."""
        if await self._events.leads(self._name, LEASE_MS):
            return True
        self._looks.clear()
        return False

    async def bring(self) -> int:
        """Bring what has happened to the organisations' streams. Answers how many events that were."""
        announced, now = await self._events.announced(), self._clock.monotonic()
        self._looks = {
            chain: look if (look := self._looks.get(chain)) and look.seen == seen else _Look(seen)
            for chain, seen in announced.items()
        }
        due = sorted((look.due, chain) for chain, look in self._looks.items() if look.due <= now)[:CHAINS_AT_ONCE]
        chains = sorted({*(chain for _, chain in due), *await self._alerts.live()})
        found = list(zip(chains, await self._events.told(chains) if chains else [], strict=True))
        counts = await asyncio.gather(*(self._bring(chain, told) for chain, told in found))
        for chain, told in found:
            await self._looked(chain, told, now)
        if now - self._trimmed >= TRIM_S:
            for org in await self._organisations():
                await self._events.trim(org)
            self._trimmed = now
        return sum(counts)

    async def _bring(self, chain: str, told: store.Told) -> int:
        count = 0
        while told.events:
            said = [_decode(raw) for raw in told.events]
            count += len(said)
            told = await self._events.bring(told.org, chain, [(int(one["n"]), event_of(one)) for one in said])
        return count

    async def _looked(self, chain: str, told: store.Told, now: float) -> None:
        look = self._looks.get(chain)
        if look is None or look.due > now:
            return
        if look.wait_s > LAST_LOOK_S and not told.waits:
            await self._events.retire(told.org, chain, look.seen)
        wait_s = min(look.wait_s, WAITS_LOOK_S) if told.waits else look.wait_s
        look.due, look.wait_s = now + wait_s, look.wait_s * 2

    async def read(self, org: str, cursor: str | None, limit: int) -> Batch:
        """What follows a cursor, or the oldest there is. Raises Problem for a cursor that is none, or leads nowhere any more."""
        after = number_of(cursor) if cursor else 0
        page = await self._events.page(org, after, limit)
        if cursor and not page.first - 1 <= after <= page.last:
            raise Problem(
                "not-found",
                "What follows this cursor is no longer kept. Begin without a cursor, and look at your alerts: you missed some events.",
                status=410,
            )
        last = page.events[-1].number if page.events else max(after, page.first - 1)
        return Batch(
            events=[(cursor_of(one.number), one.event) for one in page.events],
            cursor=cursor_of(last),
            more=last < page.last,
        )


def event_of(said: Mapping[str, str]) -> bytes:
    """An event as others get it, from what a chain's script said."""
    facts = {**said, "state": "" if said["word"] in NO_STATES else said["word"]}
    if said.get("occasion") == Occasion.UPDATE and int(said.get("targeted") or 0) < SMALL_COUNT:
        facts = {name: fact for name, fact in facts.items() if name not in COUNTS}  # it may tell where one person lives
    data = {name: int(facts[name]) if name in _NUMBERS else facts[name] for name in FACTS if facts.get(name)}
    chain = chain_of(said["alert"])
    return envelope(f"evt_{chain}_{said['n']}", f"alert.{said['word']}", int(said["at"]), {**data, "chain": chain})


def envelope(event_id: str, type_: str, at_ms: int, data: Mapping[str, str | int]) -> bytes:
    """As JSON, in the form that Standard Webhooks recommends; the id is in it, too, for whoever reads events."""
    return _encode({"id": event_id, "type": type_, "timestamp": moment(at_ms), "data": data})


def moment(at_ms: int) -> str:
    """RFC 3339, to the millisecond."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cursor_of(number: int) -> str:
    """The cursor after an event."""
    return f"e{number:x}"


def number_of(cursor: str) -> int:
    """The event before a cursor. Raises Problem."""
    match = _CURSOR.fullmatch(cursor)
    if not match:
        fault = Fault("", "This is no cursor: give one as it was answered.", parameter="cursor")
        raise Problem("invalid-request", "There is no such cursor.", faults=(fault,))
    return int(match[1], 16)
