"""Webhooks are told: one process at a time, each webhook by itself, so that one that is slow holds up no other.

An event waits in its webhook's queue until it was taken. One that is not is tried again over three days, while those after it are
told; so a receiver gets every event at least once, each time under the same id, and mostly in order.
"""

from __future__ import annotations

import asyncio
import secrets
from itertools import accumulate

import msgspec
import structlog

from alertd.background import ended
from alertd.clock import Clock
from alertd.metrics import Metrics
from alertd.service.events import envelope
from alertd.service.webhooks import posted
from alertd.store.connection import StoreUnavailableError
from alertd.store.events import Events
from alertd.store.webhooks import Due, Hook, Hooks, Outcome, Standing
from channels.fetching import Fetcher

#: When an event is tried again: Standard Webhooks' schedule (5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h), three days and three
#: and a half hours in all. A retry comes at any moment of its span, so that a receiver that comes back is not hit by all at once.
SPANS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
_ENDS_S = (0, *accumulate(SPANS_S))
#: A webhook that took nothing for so long is turned off.
OFF_AFTER_MS = 3 * 86_400_000
#: What a receiver says of when to come again counts up to a day.
LONGEST_WAIT_S = 86_400
LEAST_WAIT_MS = 1_000  # a span that is over, as after a night without any process, is no reason to hurry
QUEUED_AT_ONCE = 500
TOLD_AT_ONCE = 20
GONE = 410  # the receiver says that it wants no more
_CHANCE = secrets.SystemRandom()


class _Type(msgspec.Struct):
    id: str
    type: str


_read = msgspec.json.Decoder(_Type).decode


class WebhookDelivery:
    """One process's share of it: all, or nothing."""

    def __init__(self, hooks: Hooks, events: Events, poster: Fetcher, clock: Clock, metrics: Metrics) -> None:
        self._hooks = hooks
        self._events = events
        self._poster = poster
        self._clock = clock
        self._metrics = metrics
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def round(self) -> None:
        """Begins to tell each webhook what is due, unless it is being told already."""
        hooks = [hook for org in await self._hooks.orgs() for hook in await self._hooks.of_org(org)]
        self._tasks = {hook_id: task for hook_id, task in self._tasks.items() if not task.done()}
        for hook, standing in zip(hooks, await self._hooks.standing(hooks), strict=True):
            if not standing.off and hook.id not in self._tasks:
                self._tasks[hook.id] = asyncio.create_task(self._guarded(hook, standing), name=f"webhook {hook.id}")

    async def settled(self) -> None:
        """All that was begun is over."""
        await asyncio.gather(*self._tasks.values())

    async def close(self) -> None:
        """Another process tells what was begun, again."""
        for task in self._tasks.values():
            await ended(task)
        self._tasks.clear()

    async def _guarded(self, hook: Hook, standing: Standing) -> None:
        log = structlog.get_logger()
        try:
            await self._tell(hook, standing)
        except StoreUnavailableError:
            log.warning("store unavailable", step="webhook", webhook=hook.id)
        except Exception as error:  # noqa: BLE001  whatever is wrong with it, the others are told; its text may hold the URL
            error_name = type(error).__name__
            log.warning("step failed", step="webhook", webhook=hook.id, error=error_name)

    async def _tell(self, hook: Hook, standing: Standing) -> None:
        await self._queue(hook, standing.queued)
        for due in await self._hooks.due(hook, self._clock.now_ms(), TOLD_AT_ONCE):
            if await self._try(hook, standing, due):
                return
            [standing] = await self._hooks.standing([hook])

    async def _queue(self, hook: Hook, seen: int) -> None:
        """Lets what happened since wait for it, if it is of a type that it wants."""
        page = await self._events.page(hook.org, seen, QUEUED_AT_ONCE)
        if page.events:
            wanted = [one.number for one in page.events if not hook.types or _read(one.event).type in hook.types]
            await self._hooks.queue(hook, seen, page.events[-1].number, wanted, self._clock.now_ms())

    async def _try(self, hook: Hook, standing: Standing, due: Due) -> bool:
        """Whether the webhook is off now."""
        event = await self._events.one(hook.org, due.number)
        if event is None:
            outcome = Outcome(word="never", status=0)
        else:
            status, wait = await posted(self._poster, hook, event, _read(event).id, self._clock.now_ms())
            outcome = self._outcome(hook, standing, due, status, wait)
        is_off = await self._hooks.settle(hook, due, outcome, self._clock.now_ms())
        self._metrics.webhooks.labels(outcome.word).inc()
        if is_off:
            self._metrics.webhooks.labels("off").inc()
            structlog.get_logger().error("webhook turned off", webhook=hook.id, why=outcome.off)
        return is_off

    def _outcome(self, hook: Hook, standing: Standing, due: Due, status: int, wait: str) -> Outcome:
        if 200 <= status < 300:
            return Outcome(word="told", status=status)
        now = self._clock.now_ms()
        is_failing = standing.failing and now - standing.failing >= OFF_AFTER_MS
        why = "gone" if status == GONE else "failing" * bool(is_failing)
        said = {"webhook": hook.id, "why": why}
        event = envelope(f"evt_{secrets.token_hex(12)}", "webhook.off", now, said) if why else b""
        if due.tries == len(SPANS_S) and not why:
            return Outcome(word="never", status=status)
        return Outcome(word="again", status=status, due=due_again(due, now, wait), off=why, event=event)


def due_again(due: Due, now_ms: int, wait: str) -> int:
    """When a try that failed is made again (UNIX ms): at a moment of its span, counted from the first try, or later where the
    receiver asks for that in seconds.
    """
    span = min(due.tries, len(SPANS_S) - 1)
    moment = (due.first or now_ms) + int(1000 * _CHANCE.uniform(_ENDS_S[span], _ENDS_S[span + 1]))
    asked = min(int(wait), LONGEST_WAIT_S) if wait.isascii() and wait.isdecimal() and len(wait) < 10 else 0
    return max(moment, now_ms + LEAST_WAIT_MS, now_ms + asked * 1000)
