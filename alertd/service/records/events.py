"""Events: what happened to alerts, thin: ids and codes, never a person and never a word that somebody wrote.

One process at a time brings them from the chains, where the steps themselves keep them, to their organisation's stream. Whoever
reads them asks for what follows a cursor; webhooks get the same, byte for byte.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from alertd.common.clock import Clock, time_of
from alertd.common.errors import Fault, Problem
from alertd.common.ids import chain_of
from alertd.common.repetition import those_next
from alertd.model.alert import Status
from alertd.model.states import AlertState, State
from alertd.service.reach import SMALL_COUNT
from alertd.store.alerts.alerts import Alerts
from alertd.store.organisations.paging import Waiting
from alertd.store.records import events as store

#: Another process goes on when the one that brings events is gone for so long.
LEADS_MS = 5_000
#: Who steps aside does so until that is surely over, and another has had the time to ask.
ASIDE_S = LEADS_MS / 1000 + 1
#: Who brings them sends nothing when it has not renewed that for so long: another may have begun, and what was to be sent may be no longer true.
SEND_MS = 4_000
#: A chain is announced before the step whose event it will have, so until that is found it is looked at again, after twice as long each
#: time; and once more when it was. A step that takes longer than the last look is found when the chain is announced the next time.
FIRST_LOOK_MS = 100
WAITS_LOOK_MS = 5_000  # where late reports wait to be told of together
#: Events that are brought in one step: more would hold the server for milliseconds.
BROUGHT_AT_ONCE = 128
#: How often what is too old is looked for where nothing new comes.
TRIM_S = 600.0
#: How many references are in which state, over all channels. Those of fewer than 20 are left out.
COUNTS = ("targeted", *(state.word for state in State))
#: What an event says besides its id, type and time, where it is not empty: as the scripts name it.
FACTS = ("alert", "state", "was", "rev", "status", "kind", "occasion", "percent", "step", "organisation", *COUNTS)
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
        "paged",
        "taken",
        "unanswered",
        "permission_asked",
        "permission_granted",
        "permission_refused",
        "stand_down_asked",
        "hold_released",
    }
)
#: Of a distributor: it refused a message or never took it, it has an alert that is over, it confirmed that it has it no more; it refused the
#: Cancel of such an alert or never took it, which is not tried any more.
REFUSED, OWED, CONFIRMED, TAKEDOWN_REFUSED = DISTRIBUTOR_TYPES = (
    "distributor.refused", "distributor.takedown_open", "distributor.takedown_confirmed", "distributor.takedown_refused",
)  # fmt: skip
#: An administrator's key was made on the machine of the store, by no other key.
KEY_RECOVERED = "key.recovered"
#: What the neighbour that is asked is told, too.
ASKED = "permission_asked"
#: The people on call are called for these.
CALLING = frozenset({AlertState.PENDING, "stand_down_asked"})
#: All that there are: what a webhook may ask for.
TYPES = (
    *(f"alert.{word}" for word in (*AlertState, *sorted(NO_STATES))),
    "webhook.off",
    KEY_RECOVERED,
    *DISTRIBUTOR_TYPES,
)
_NUMBERS = frozenset({"rev", "percent", "step", *COUNTS})
_CURSOR = re.compile("e([0-9a-f]{1,12})")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(slots=True)
class _Course:
    """What this process knows of a chain that it has looked at."""

    got: int = 0  # number of the last of its events that it has brought
    waited_ms: int = 0  # before the look that comes next; 0 for one that follows an announcement


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events as they are read, each with the cursor that leads on from it, and the one that leads on from all of them."""

    events: list[tuple[str, bytes]]
    cursor: str
    more: bool


class Events:
    """Brings events on their way, and reads them."""

    def __init__(
        self, events: store.Events, alerts: Alerts, clock: Clock, organisations: Callable[[], Awaitable[Sequence[str]]],
        waiting: Waiting,
    ) -> None:  # fmt: skip
        self._events = events
        self._alerts = alerts
        self._waiting = waiting
        self._clock = clock
        self._organisations = organisations
        self._name = secrets.token_hex(8)
        self._until = 0.0  # as the monotonic clock has it: it is sure to be on this process so long
        self._aside_until = 0.0
        self._courses: dict[str, _Course] = {}
        self._most_courses = 0  # so many are there before they are gone through again
        self._asked = ""  # the last of the live chains whose turn it was
        self._trimmed = -TRIM_S
        self._unreadable: set[str] = set()

    async def leads(self) -> bool:
        """Whether it is on this process to bring events and webhooks on their way."""
        asked = self._clock.monotonic()
        if asked >= self._aside_until and await self._events.leads(self._name, LEADS_MS):
            self._until = asked + SEND_MS / 1000
            return True
        self._until = 0.0
        self._courses.clear()
        self._most_courses = 0
        return False

    def step_aside(self) -> None:
        """Let another process do so, if there is one: it may be better off."""
        self._aside_until = self._clock.monotonic() + ASIDE_S

    async def may_post(self) -> bool:
        """Whether it surely still is: asked right before anything is written to a socket."""
        return self._clock.monotonic() < self._until

    async def bring(self) -> int:
        """Bring what has happened to the organisations' streams. Answers how many events that were."""
        due, live = await asyncio.gather(self._events.due(), self._alerts.live())
        turn = those_next(sorted(live), self._asked)
        self._asked = turn[-1] if turn else ""
        chains = sorted({*due, *turn})
        self._drop_courses(live)
        courses = {chain: self._courses.setdefault(chain, _Course()) for chain in chains}
        found = dict(
            zip(chains, await self._events.take_events({one: courses[one].got for one in chains}), strict=True)
        )
        count = await self._brought(found)
        await self._events.record_looks([self._look(chain, one, found[chain]) for chain, one in due.items()])
        await self._trim()
        return count

    def _drop_courses(self, live: Collection[str]) -> None:
        """Those of chains that are over, once there are twice as many as were left the last time: to go through 50,000 takes 10 ms, and this is asked
        several times a second.
        """
        if len(self._courses) > self._most_courses:
            self._courses = {
                chain: course for chain, course in self._courses.items() if chain in live or course.waited_ms
            }
            self._most_courses = 2 * len(self._courses)

    async def _brought(self, found: Mapping[str, store.Told]) -> int:
        """Each organisation's events, in their chains' order."""
        by_org: dict[str, list[tuple[str, int, bytes]]] = {}
        pending, now = dict[str, int](), self._clock.now_ms()  # a chain's own clock may be ahead of that
        for chain, told in found.items():
            said = self._said(chain, told)
            pending |= {one["alert"]: min(now, int(one["at"])) for one in said if one["word"] in CALLING}
            by_org.setdefault(told.org, []).extend((chain, int(one["n"]), event_of(one)) for one in said)
            await self._lend(chain, [one for one in said if one["word"] == ASKED])
        await self._waiting.add(pending)  # first: whoever is to be told of what waits is, even if we die here
        for org, events in by_org.items():
            for at in range(0, len(events), BROUGHT_AT_ONCE):
                await self._events.bring(org, some := events[at : at + BROUGHT_AT_ONCE])
                for chain, number, _ in some:
                    self._courses[chain].got = number
        return sum(map(len, by_org.values()))

    def _said(self, chain: str, told: store.Told) -> list[dict[str, str]]:
        """What a chain told; nothing where it cannot be read: the others are brought, and that stays where it is."""
        try:
            return [_decode(raw) for raw in told.events]
        except msgspec.DecodeError:
            if chain not in self._unreadable:
                structlog.get_logger().error("an event cannot be read", chain=chain)
            self._unreadable.add(chain)
            return []

    async def _lend(self, chain: str, asked: Sequence[Mapping[str, str]]) -> None:
        """Brings neighbours what they are asked, before the chain forgets it."""
        for one in asked:
            await self._events.bring(one["organisation"], [(chain, int(one["n"]), event_of(one))])

    def _look(self, chain: str, due: store.Due, told: store.Told) -> store.Look:
        """When a chain is due again, by what was found there."""
        course = self._courses[chain]
        if due.is_announced:
            course.waited_ms = 0
        is_last = course.waited_ms >= store.LAST_LOOK_MS and not told.events and not told.waits
        if is_last:
            del self._courses[chain]
            return store.Look(orgs=(told.org, *told.lent), chain=chain, held=due.held, wait=store.LET_GO)
        course.waited_ms = store.LAST_LOOK_MS if told.events else max(FIRST_LOOK_MS, 2 * course.waited_ms)
        course.waited_ms = min(course.waited_ms, WAITS_LOOK_MS if told.waits else store.LAST_LOOK_MS)
        again_ms = 0 if len(told.events) == store.AT_ONCE else course.waited_ms
        return store.Look(orgs=(told.org, *told.lent), chain=chain, held=due.held, wait=again_ms)

    async def _trim(self) -> None:
        if (now := self._clock.monotonic()) - self._trimmed < TRIM_S:
            return
        for org in await self._organisations():
            await self._events.trim(org)
        self._trimmed = now

    async def read_page(self, org: str, cursor: str | None, limit: int) -> Batch:
        """What follows a cursor, or the oldest there is. Raises Problem for a cursor that is none, or leads nowhere any more."""
        after = number_of(cursor) if cursor else 0
        page = await self._events.page(org, after, limit)
        if cursor and not page.first - 1 <= after <= page.last:
            raise Problem(
                "gone",
                "What follows this cursor is no longer kept. Begin without a cursor, and look at your alerts: you missed some events.",
            )
        last = page.events[-1].number if page.events else max(after, page.first - 1)
        return Batch(
            events=[(cursor_of(one.number), one.event) for one in page.events],
            cursor=cursor_of(last),
            more=bool(page.events) and last < page.last,  # numbers that were passed over are nothing
        )


def event_of(said: Mapping[str, str]) -> bytes:
    """An event as others get it, from what a chain's script said."""
    facts = {**said, "state": "" if said["word"] in NO_STATES else said["word"]}
    is_exact = said.get("status") == Status.ACTUAL and said.get("sent_alone", "0") in {
        "",
        "0",
    }  # as in `counts.is_exact`
    if not is_exact or int(said.get("targeted") or 0) < SMALL_COUNT:
        facts = {name: fact for name, fact in facts.items() if name not in COUNTS}  # it may tell where one person lives
    data = {name: int(facts[name]) if name in _NUMBERS else facts[name] for name in FACTS if facts.get(name)}
    chain = chain_of(said["alert"])
    return envelope(f"evt_{chain}_{said['n']}", f"alert.{said['word']}", int(said["at"]), {**data, "chain": chain})


def envelope(event_id: str, type_: str, at_ms: int, data: Mapping[str, str | int]) -> bytes:
    """As JSON, in the form that Standard Webhooks recommends; the id is in it, too, for whoever reads events."""
    return _encode({"id": event_id, "type": type_, "timestamp": moment(at_ms), "data": data})


def moment(at_ms: int) -> str:
    """RFC 3339, to the millisecond."""
    return time_of(at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
