"""Delivers events to webhooks: one process at a time, each webhook by itself, so that a slow one delays no other.

An event waits in its webhook's queue until the receiver accepts it. A failed event is retried over three days, while
later events are sent. So a receiver gets every event at least once, always under the same id, and mostly in order. The
destination decides which items wait and how a due item is sent: a webhook gets an event, a distributor
(`distributor_delivery`) gets the alert in its current state.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any, Protocol

import msgspec
import structlog

from alertd.common.clock import DAY_MS, Clock
from alertd.common.repetition import ended
from alertd.metrics import Metrics
from alertd.service.records.events import envelope
from alertd.service.records.webhooks import post
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.records.events import Events, KeptEvent
from alertd.store.sharing.webhooks import Due, Hook, Hooks, HookStanding, Tried
from channels.fetching import Answered, Fetcher, FetchError, MayPost, WithheldError
from channels.posting import retry_after_s

#: Lengths (s) of consecutive spans of time, the first of which begins at the first attempt to send an event: Standard
#: Webhooks' schedule (5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h), 3 days and 3.5 hours in all. Each span has
#: one retry, at a random moment, so that a receiver that recovers does not get all retries at once.
SPANS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
_ENDS_S = (0, *accumulate(SPANS_S))
#: A webhook is turned off after it accepted nothing for this many ms.
OFF_AFTER_MS = 3 * DAY_MS
#: Maximum seconds that alertd waits if a receiver asks for it (Retry-After): a day.
LONGEST_WAIT_S = 86_400
LEAST_WAIT_MS = 1_000  # least ms until a retry, if its span has passed already, as after a night without any process
#: Ms after which an attempt that raised an unexpected error is repeated.
FAULT_WAIT_MS = 10_000
QUEUED_AT_ONCE = 500
TOLD_AT_ONCE = 20
NO_ANSWER = Answered(0, {}, b"")
GONE = 410  # the receiver wants no more events
_CHANCE = secrets.SystemRandom()


class _Type(msgspec.Struct):
    """The members of an event that this module reads."""

    id: str
    type: str


_read = msgspec.json.Decoder(_Type).decode


class Destination(Protocol):
    """A kind of receiver, such as webhooks or distributors."""

    at_once: int  # number of due items that one check reads

    @property
    def hooks(self) -> Hooks[Any]: ...

    def waiting(self, hook: Any, one: KeptEvent) -> str | None:
        """Returns the name of the item to queue for an event, or None if the receiver does not want it. Raises
        msgspec.DecodeError for an unreadable event.
        """

    async def missed(self, hook: Any) -> Sequence[str]:
        """Returns the names of all items to queue if events were dropped before they were read: all that these events
        may have been about.
        """

    def lane(self, name: str) -> str:
        """Returns the name of the queue for an item. The items of one queue are sent one after another; the queues run
        in parallel, so that none waits for another.
        """

    async def attempt(self, hook: Any, standing: HookStanding, due: Due) -> Tried:
        """Makes one attempt to send an item. Returns its result: done, try again, or never."""


class WebhookDelivery:
    """Runs the deliveries to all destinations, in the process that leads."""

    def __init__(self, destinations: Sequence[Destination], events: Events, clock: Clock) -> None:
        self._destinations = destinations
        self._events = events
        self._clock = clock
        self._tasks: dict[
            tuple[str, str | None], asyncio.Task[None]
        ] = {}  # by webhook and lane; None: the check for due items

    async def round(self) -> None:
        """Starts a check of each webhook for due items, unless one is running."""
        self._tasks = {name: task for name, task in self._tasks.items() if not task.done()}
        for to in self._destinations:
            hooks = await to.hooks.of_orgs(await to.hooks.orgs())
            for hook, standing in zip(hooks, await to.hooks.standing(hooks), strict=True):
                if not standing.off:
                    self._begin(hook, None, partial(self._look, to, hook, standing))

    async def settled(self) -> None:
        """Waits until all started tasks are done."""
        while under_way := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.gather(*under_way)

    async def close(self) -> None:
        """Cancels all tasks. Another process sends the unfinished items again."""
        while self._tasks:
            await ended(self._tasks.popitem()[1])

    def _begin(self, hook: Hook, lane: str | None, work: Callable[[], Awaitable[None]]) -> None:
        """Starts a task of a webhook, unless the webhook has an unfinished one under the same `lane`."""
        name = (hook.id, lane)
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.create_task(self._guarded(hook, work), name=f"webhook {hook.id}")

    async def _guarded(self, hook: Hook, work: Callable[[], Awaitable[None]]) -> None:
        """Does the work of a task. Logs every error instead of raising it."""
        log = structlog.get_logger()
        try:
            await work()
        except StoreUnavailableError:
            log.warning("store.found_unavailable", step="webhook", webhook=hook.id)
        except Exception as error:  # noqa: BLE001  an error must not stop the other webhooks; its text may contain the URL
            error_name = type(error).__name__
            log.warning("step.failed", step="webhook", webhook=hook.id, error=error_name)

    async def _look(self, to: Destination, hook: Hook, standing: HookStanding) -> None:
        """Queues new events of a webhook. Starts a task for each lane that has due items and no task yet. A lane is a
        queue that sends its items one after another.
        """
        await self._queue(to, hook, standing.queued)
        busy = {lane for (name, lane), task in self._tasks.items() if name == hook.id and not task.done()}
        lanes: dict[str, list[Due]] = {}
        for due in await to.hooks.due(hook, self._clock.steady_ms(), to.at_once):
            lanes.setdefault(to.lane(due.name), []).append(due)
        for lane, found in lanes.items():
            if lane not in busy:  # else the item may have been sent since it was found due
                self._begin(hook, lane, partial(self._tell_lane, to, hook, found))

    async def _tell_lane(self, to: Destination, hook: Hook, lane: Sequence[Due]) -> None:
        """Sends the due items of one lane in order. Stops if the webhook was removed or turned off."""
        for due in lane:
            now = await to.hooks.one(hook.org, hook.id)  # read again: it may have been changed or removed
            if now is None:
                return
            [standing] = await to.hooks.standing([now])
            if standing.off or await self._try(to, now, standing, due):
                return

    async def _queue(self, to: Destination, hook: Hook, seen: int) -> None:
        """Queues the events after number `seen` that the receiver wants. If some were dropped before they were read,
        logs it and queues what they may have been about.
        """
        page = await self._events.page(hook.org, seen, QUEUED_AT_ONCE)
        waiting = [name for one in page.events if (name := self._waiting(to, hook, one)) is not None]
        if page.first > seen + 1:
            structlog.get_logger().error("event.dropped", webhook=hook.id, after=seen)
            waiting = [*await to.missed(hook), *waiting]
        upto = page.events[-1].number if page.events else page.first - 1
        if upto > seen:
            await to.hooks.queue(hook, seen, upto, list(dict.fromkeys(waiting)), self._clock.steady_ms())

    def _waiting(self, to: Destination, hook: Hook, one: KeptEvent) -> str | None:
        """Returns the name of the item to queue for an event, or None if the receiver does not want the event or it is
        unreadable. Later events are still sent.
        """
        try:
            return to.waiting(hook, one)
        except msgspec.DecodeError:
            structlog.get_logger().error("event.read_failed", webhook=hook.id, number=one.number)
            return None

    async def _try(self, to: Destination, hook: Hook, standing: HookStanding, due: Due) -> bool:
        """Makes an attempt and stores its result. Returns whether this result turned the webhook off: False if the
        webhook was off already, or was removed meanwhile.
        """
        due = replace(due, first=due.first or self._clock.steady_ms())
        outcome = await self._attempt(to, hook, standing, due)
        is_off = await to.hooks.settle(hook, due, outcome, self._clock.now_ms())
        if is_off:
            structlog.get_logger().error("webhook.turned_off", webhook=hook.id, why=outcome.off)
        return is_off

    async def _attempt(self, to: Destination, hook: Hook, standing: HookStanding, due: Due) -> Tried:
        """Makes an attempt to send an item, and returns its result. After an unexpected error, the result defers the
        item; otherwise the item would stay first and block all later items.
        """
        try:
            return await to.attempt(hook, standing, due)
        except (StoreUnavailableError, WithheldError):  # another process leads now, and repeats this attempt
            raise
        except Exception as error:  # noqa: BLE001  an error must not stop the other webhooks; its text may contain the URL
            name = type(error).__name__
            structlog.get_logger().warning("step.failed", step="webhook", webhook=hook.id, error=name)
            return Tried(word="again", status=None, due=self._clock.steady_ms() + FAULT_WAIT_MS)


@dataclass(frozen=True, slots=True)
class ToWebhooks:
    """Sends each webhook the events that it wants."""

    at_once = TOLD_AT_ONCE

    hooks: Hooks[Hook]
    events: Events
    poster: Fetcher
    may_post: MayPost
    clock: Clock
    metrics: Metrics

    def waiting(self, hook: Hook, one: KeptEvent) -> str | None:
        """Returns the number of an event, as text, if the webhook wants events of its type; otherwise None."""
        return str(one.number) if not hook.types or _read(one.event).type in hook.types else None

    async def missed(self, hook: Hook) -> Sequence[str]:  # noqa: ARG002  a dropped event cannot be sent
        """Returns nothing: a dropped event cannot be sent."""
        return ()

    def lane(self, name: str) -> str:  # noqa: ARG002  a program gets its events in order
        """Returns the same name for every event, so that a webhook gets its events one after another."""
        return ""

    async def attempt(self, hook: Hook, standing: HookStanding, due: Due) -> Tried:
        """Posts an event to the webhook once and counts the result in the metrics. Returns what to do next. A deleted
        event is never tried again.
        """
        event = await self.events.one(hook.org, int(due.name))
        if event is None:
            outcome = Tried(word="never", status=None)
        else:
            name, now = _read(event).id, self.clock.now_ms()
            try:
                answer = await post(self.poster, hook, event, name, now, self.may_post)
            except FetchError:
                answer = NO_ANSWER
            outcome = self._outcome(hook, standing, due, answer)
        for word in (outcome.word, *(["off"] if outcome.off else [])):
            self.metrics.webhooks.labels(word).inc()
        return outcome

    def _outcome(self, hook: Hook, standing: HookStanding, due: Due, answer: Answered) -> Tried:
        """Returns what to do after an answer: done after a status from 200 to 299, otherwise try again, or give the
        event up after the last retry. Turns the webhook off after status 410, or if it has failed for `OFF_AFTER_MS`.
        """
        status = answer.status
        if 200 <= status < 300:
            return Tried(word="told", status=status)
        now = self.clock.now_ms()
        is_failing = standing.failing and now - standing.failing >= OFF_AFTER_MS
        why = "gone" if status == GONE else "failing" * bool(is_failing)
        said = {"webhook": hook.id, "why": why}
        event = envelope(f"evt_{secrets.token_hex(12)}", "webhook.off", now, said) if why else b""
        if due.tries == len(SPANS_S) and not why:
            return Tried(word="never", status=status)
        due_ms = due_again(due, self.clock.steady_ms(), retry_after_s(answer.headers) or 0.0)
        return Tried(word="again", status=status, due=due_ms, off=why, event=event)


def due_again(due: Due, now_ms: int, wait_s: float) -> int:
    """Returns when to repeat a failed attempt, in ms by the clock of `now_ms`: at a random moment of its span in
    `SPANS_S`, counted from the first attempt, or later if the receiver asks for that (`wait_s` in s).
    """
    span = min(due.tries, len(SPANS_S) - 1)
    moment = due.first + int(1000 * _CHANCE.uniform(_ENDS_S[span], _ENDS_S[span + 1]))
    return max(moment, now_ms + LEAST_WAIT_MS, now_ms + int(min(wait_s, LONGEST_WAIT_S) * 1000))
