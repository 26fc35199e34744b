"""Copies the events of alerts to their organisations' streams. An event has ids and codes, never a person and never
free text.

Each step of an alert stores its event in its chain (the alert with its versions). One process at a time copies the
events to the organisation's stream. A client reads the events after a cursor; webhooks get the same bytes.
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

#: Ms without a renewal of the lease after which another process takes over.
LEADS_MS = 5_000
#: Seconds for which a process that steps aside does not take the lease: until its lease has surely ended and another
#: process had time to take it.
ASIDE_S = LEADS_MS / 1000 + 1
#: Maximum age (ms) of the leading process's last renewal while it sends. After that another process may lead, and the
#: message may be outdated.
SEND_MS = 4_000
#: Ms until the first new check of a chain. A chain is announced before the step that stores its event. Until the event
#: is found, the chain is checked again, after twice the time each time, and once more afterwards. A step that takes
#: longer than the last check is found at the chain's next announcement.
SHORTEST_WAIT_MS = 100
REPORTS_WAIT_MS = 5_000  # while late reports wait to be summarised in one event
#: Maximum number of events copied in one store call: more would block the server for milliseconds.
BROUGHT_AT_ONCE = 128
#: Seconds between two searches for expired events in streams without new ones.
TRIM_S = 600.0
#: The counts in an event: references by state, over all channels. An event has them only if they are exact and at least
#: 20 references are targeted.
COUNTS = ("targeted", *(state.word for state in State))
#: Members of an event besides its id, type and time; the scripts use the same names. Empty ones are left out.
FACTS = ("alert", "state", "was", "rev", "status", "kind", "occasion", "percent", "step", "organisation", *COUNTS)
#: Events that are not named after a state. All other events have the name of the alert's new state.
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
#: Events of a distributor: it refused a message or never accepted it; it still shows an alert that has ended; it
#: confirmed that it has removed the alert; it refused or never accepted the Cancel of such an alert, and alertd tries
#: no more.
REFUSED, OWED, CONFIRMED, TAKEDOWN_REFUSED = DISTRIBUTOR_TYPES = (
    "distributor.refused", "distributor.takedown_open", "distributor.takedown_confirmed", "distributor.takedown_refused",
)  # fmt: skip
#: The name of the event that an administrator's key was made on the machine of the store, without any other key.
KEY_RECOVERED = "key.recovered"
#: The name of the event that also goes to the asked neighbour's stream.
ASKED = "permission_asked"
#: The people on call are paged for these events.
CALLING = frozenset({AlertState.PENDING, "stand_down_asked"})
#: All event types that a webhook may select.
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
    """What this process knows of a chain that it checks for new events."""

    got: int = 0  # number of its last copied event
    waited_ms: int = 0  # ms waited before the last check; 0 after an announcement


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A page of events, each with the cursor after it, and the cursor after all of them."""

    events: list[tuple[str, bytes]]
    cursor: str
    more: bool


class Events:
    """Copies events to the organisations' streams, and reads the streams."""

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
        self._until = 0.0  # monotonic seconds until which this process surely leads
        self._aside_until = 0.0
        self._courses: dict[str, _Course] = {}
        self._most_courses = 0  # number of courses at which finished ones are dropped
        self._asked = ""  # the last of the live chains that was checked
        self._trimmed = -TRIM_S
        self._unreadable: set[str] = set()

    async def leads(self) -> bool:
        """Takes or renews the lease, and returns whether this process copies events and delivers webhooks."""
        asked = self._clock.monotonic()
        if asked >= self._aside_until and await self._events.leads(self._name, LEADS_MS):
            self._until = asked + SEND_MS / 1000
            return True
        self._until = 0.0
        self._courses.clear()
        self._most_courses = 0
        return False

    def step_aside(self) -> None:
        """Lets another process take the lease for a while, if there is one: it may work better."""
        self._aside_until = self._clock.monotonic() + ASIDE_S

    async def may_post(self) -> bool:
        """Returns whether this process surely still holds the lease. Asked right before each write to a socket."""
        return self._clock.monotonic() < self._until

    async def bring(self) -> int:
        """Copies new events to the organisations' streams. Returns the number of copied events."""
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
        await self._events.schedule_reads([self._next_read(chain, one, found[chain]) for chain, one in due.items()])
        await self._trim()
        return count

    def _drop_courses(self, live: Collection[str]) -> None:
        """Forgets the chains that have ended and need no further check, once twice as many chains are known as after
        the last time: going through 50,000 takes 10 ms, and this runs several times a second.
        """
        if len(self._courses) > self._most_courses:
            self._courses = {
                chain: course for chain, course in self._courses.items() if chain in live or course.waited_ms
            }
            self._most_courses = 2 * len(self._courses)

    async def _brought(self, found: Mapping[str, store.NewEvents]) -> int:
        """Copies each organisation's events, in the order of their chains. Returns their number. `found` has the events
        by chain. Also adds alerts that now wait for people on call to the set of waiting alerts.
        """
        by_org: dict[str, list[tuple[str, int, bytes]]] = {}
        pending, now = dict[str, int](), self._clock.now_ms()  # a chain's own clock may be ahead of this one
        for chain, fresh in found.items():
            said = self._said(chain, fresh)
            pending |= {one["alert"]: min(now, int(one["at"])) for one in said if one["word"] in CALLING}
            by_org.setdefault(fresh.org, []).extend((chain, int(one["n"]), event_of(one)) for one in said)
            await self._lend(chain, [one for one in said if one["word"] == ASKED])
        await self._waiting.add(pending)  # first: the people on call are paged even if the process dies here
        for org, events in by_org.items():
            for at in range(0, len(events), BROUGHT_AT_ONCE):
                await self._events.bring(org, some := events[at : at + BROUGHT_AT_ONCE])
                for chain, number, _ in some:
                    self._courses[chain].got = number
        return sum(map(len, by_org.values()))

    def _said(self, chain: str, fresh: store.NewEvents) -> list[dict[str, str]]:
        """Returns a chain's events, or none if they are unreadable. Unreadable events stay in their chain, and those of
        other chains are copied.
        """
        try:
            return [_decode(raw) for raw in fresh.events]
        except msgspec.DecodeError:
            if chain not in self._unreadable:
                structlog.get_logger().error("event.read_failed", chain=chain)
            self._unreadable.add(chain)
            return []

    async def _lend(self, chain: str, asked: Sequence[Mapping[str, str]]) -> None:
        """Copies requests for a permission to the streams of the asked neighbours, before their chain (the alert with
        its versions) drops these events.
        """
        for one in asked:
            await self._events.bring(one["organisation"], [(chain, int(one["n"]), event_of(one))])

    def _next_read(self, chain: str, due: store.Due, fresh: store.NewEvents) -> store.NextRead:
        """Returns in how many ms to check a chain (an alert with its versions) for events again. The wait doubles after
        each check that found none. After a check with the longest wait that found none, the chain is checked no more
        until it is announced again.
        """
        course = self._courses[chain]
        if due.is_announced:
            course.waited_ms = 0
        is_last = course.waited_ms >= store.LONGEST_WAIT_MS and not fresh.events and not fresh.waits
        if is_last:
            del self._courses[chain]
            return store.NextRead(orgs=(fresh.org, *fresh.lent), chain=chain, held=due.held, wait=store.LET_GO)
        course.waited_ms = store.LONGEST_WAIT_MS if fresh.events else max(SHORTEST_WAIT_MS, 2 * course.waited_ms)
        course.waited_ms = min(course.waited_ms, REPORTS_WAIT_MS if fresh.waits else store.LONGEST_WAIT_MS)
        again_ms = 0 if len(fresh.events) == store.AT_ONCE else course.waited_ms
        return store.NextRead(orgs=(fresh.org, *fresh.lent), chain=chain, held=due.held, wait=again_ms)

    async def _trim(self) -> None:
        """Deletes expired events of all organisations, once in `TRIM_S`."""
        if (now := self._clock.monotonic()) - self._trimmed < TRIM_S:
            return
        for org in await self._organisations():
            await self._events.trim(org)
        self._trimmed = now

    async def read_page(self, org: str, cursor: str | None, limit: int) -> Batch:
        """Returns the events after a cursor, or the oldest ones. Raises Problem if the cursor is invalid or ahead of
        the stream, or if events after it are deleted.
        """
        after = number_of(cursor) if cursor else 0
        page = await self._events.page(org, after, limit)
        if cursor and not page.first - 1 <= after <= page.last:
            raise Problem(
                "gone",
                "The events after this cursor are deleted. Begin without a cursor, and check your alerts: you missed some events.",
            )
        last = page.events[-1].number if page.events else max(after, page.first - 1)
        return Batch(
            events=[(cursor_of(one.number), one.event) for one in page.events],
            cursor=cursor_of(last),
            more=bool(page.events) and last < page.last,  # numbers without an event do not count
        )


def event_of(said: Mapping[str, str]) -> bytes:
    """Returns an event of an alert as clients get it, from the values that the Lua scripts stored. It has counts only
    if they are exact and at least 20 references are targeted.
    """
    facts = {**said, "state": "" if said["word"] in NO_STATES else said["word"]}
    is_exact = said.get("status") == Status.ACTUAL and said.get("sent_alone", "0") in {
        "",
        "0",
    }  # as in `counts.is_exact`
    if not is_exact or int(said.get("targeted") or 0) < SMALL_COUNT:
        facts = {name: fact for name, fact in facts.items() if name not in COUNTS}  # it may locate a person
    data = {name: int(facts[name]) if name in _NUMBERS else facts[name] for name in FACTS if facts.get(name)}
    chain = chain_of(said["alert"])
    return envelope(f"evt_{chain}_{said['n']}", f"alert.{said['word']}", int(said["at"]), {**data, "chain": chain})


def envelope(event_id: str, type_: str, at_ms: int, data: Mapping[str, str | int]) -> bytes:
    """Returns an event as JSON, in the form that Standard Webhooks recommends. It includes the id, for clients that
    read the stream.
    """
    return _encode({"id": event_id, "type": type_, "timestamp": moment(at_ms), "data": data})


def moment(at_ms: int) -> str:
    """Returns a time in RFC 3339, to the millisecond."""
    return time_of(at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cursor_of(number: int) -> str:
    """Returns the cursor that follows the event with this number."""
    return f"e{number:x}"


def number_of(cursor: str) -> int:
    """Returns the number of the event that a cursor follows. Raises Problem for an invalid cursor."""
    match = _CURSOR.fullmatch(cursor)
    if not match:
        fault = Fault("", "This is no cursor. Send one from an earlier answer, unchanged.", parameter="cursor")
        raise Problem("invalid-request", "There is no such cursor.", faults=(fault,))
    return int(match[1], 16)
