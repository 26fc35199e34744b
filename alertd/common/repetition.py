"""Helpers for work that a process repeats, mostly for many alerts. A failing step is logged and retried, and does not block other alerts."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, NoReturn, TypeVar

import structlog

from alertd.common.clock import Clock

CANCEL_S = 0.5  # seconds after which a task that has not ended is cancelled again
TELL_AGAIN_S = 600.0  # minimum seconds between two log lines about one failure; a step runs several times a second
#: Seconds for which `ErrorGuard.each` goes on without a success: each alert may wait for an unavailable store.
PATIENCE_S = 5.0
AT_ONCE = 16  # alerts for which a step runs concurrently
#: Number of alerts that `those_next` chooses for one round; a third of all alerts if that is more.
FOLLOWED = 32

Made = TypeVar("Made")


class Shared(Generic[Made]):
    """A value that is expensive to make: made anew at most every `every_s` seconds, when a caller asks for it, and shared by all callers."""

    def __init__(self, make: Callable[[], Awaitable[Made]], every_s: float, clock: Clock) -> None:
        self._make = make
        self._every_s = every_s
        self._clock = clock
        self._began = 0.0
        self._task: asyncio.Future[Made] | None = None

    async def get(self) -> Made:
        """Returns the value. Makes it anew if the last call of `make` began at least `every_s` seconds ago; concurrent callers wait for the
        same call. Raises the exception of `make`.
        """
        if self._task is None or (self._task.done() and self._clock.monotonic() - self._began >= self._every_s):
            self._began = self._clock.monotonic()
            self._task = asyncio.ensure_future(self._make())
            self._task.add_done_callback(_looked_at)
        return await asyncio.shield(self._task)


def _looked_at(task: asyncio.Future[Any]) -> None:
    """Reads the exception of a task that has ended, so that the event loop does not log it as unhandled if all callers have gone."""
    _ = task.cancelled() or task.exception()


async def repeat(
    step: Callable[[], Awaitable[object]], every_s: float, clock: Clock, stop: asyncio.Event | None = None
) -> None:
    """Runs a step at once and then every `every_s` seconds, until `stop` is set. The step must not raise."""
    while stop is None or not stop.is_set():
        await step()
        await pause(every_s, clock, stop)


async def pause(seconds: float, clock: Clock, stop: asyncio.Event | None = None) -> None:
    """Sleeps for `seconds`, or until `stop` is set if that comes first."""
    if stop is None:
        return await clock.sleep(seconds)
    sleeps = asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait(sleeps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in sleeps:
            one.cancel()


async def retry(
    step: Callable[[], Awaitable[Made]],
    fault: type[Exception],
    every_s: float,
    clock: Clock,
    gives_up: Callable[[], bool],
) -> Made:
    """Calls the step every `every_s` seconds until it does not raise `fault`, and returns its result. If `gives_up` returns true after a
    failure, raises that failure.
    """
    while True:
        try:
            return await step()
        except fault:
            if gives_up():
                raise
        await clock.sleep(every_s)


@asynccontextmanager
async def repeated(
    name: str, step: Callable[[], Awaitable[object]], every_s: float, clock: Clock
) -> AsyncIterator[None]:
    """Runs a step at once and then every `every_s` seconds while the context is open. Logs failures and tries again."""

    async def try_step() -> None:
        """Runs the step once. Logs an exception and does not raise it."""
        try:
            await step()
        except Exception:  # noqa: BLE001  any failure is logged, and the step is tried again
            structlog.get_logger().exception("background_work.failed", work=name)

    task = asyncio.create_task(repeat(try_step, every_s, clock), name=name)
    try:
        yield
    finally:
        await ended(task)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancels a task repeatedly until it ends, because a library may swallow a cancellation that arrives together with its result."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_S)


def those_next(chains: Sequence[str], last: str) -> list[str]:
    """Returns which of the sorted `chains` (alerts) to check next: those after `last`, the last one checked, then from the beginning.
    FOLLOWED of them, or a third of all if that is more.
    """
    after = bisect_right(chains, last)
    return [*chains[after:], *chains[:after]][: max(FOLLOWED, -(len(chains) // -3))]


class ErrorGuard:
    """Runs steps that are repeated for many alerts. Logs their failures, so that a fault of one alert does not stop the work for others."""

    def __init__(self, lost: Callable[[], None], clock: Clock, unavailable: type[Exception]) -> None:
        """`lost`: called when the store is unavailable. `unavailable`: type of the exception that means this."""
        self._lost = lost
        self._clock = clock
        self._unavailable = unavailable
        self._told: dict[tuple[str, str, str], float] = {}  # time of the last log line about each failure

    async def tried(self, step: str, work: Callable[[], Awaitable[object]]) -> None:
        """Runs a repeated step. Logs any exception instead of raising it, and calls `lost` if it means that the store is unavailable."""
        try:
            await work()
        except self._unavailable:
            self.away(step=step)
        except Exception as error:  # noqa: BLE001  any failure
            self.failed(step, error)

    async def guarded(self, step: str, alert_id: str, work: Awaitable[object]) -> None:
        """Awaits one alert's step. Logs an exception instead of raising it; only `unavailable` (the store is away) is raised."""
        try:
            await work
        except self._unavailable:
            raise
        except Exception as error:  # noqa: BLE001  any failure concerns this alert only
            self.failed(step, error, alert_id)

    async def each(
        self, step: str, alert_ids: Sequence[str], work: Callable[[str], Awaitable[object]], at_once: int = AT_ONCE
    ) -> None:
        """Runs `work` for each alert, started in their order, at most `at_once` concurrently, because each mostly waits for the store. Logs
        a failure of one alert and goes on.

        If the store was unavailable for an alert, raises `unavailable` after all have run, because in a cluster only one server may be
        away. Skips the rest if no alert succeeded within PATIENCE_S seconds.
        """
        began = self._clock.monotonic()
        todo, done, away = iter(alert_ids), list[str](), list[Exception]()

        async def share() -> None:
            """Takes one alert after the other from `todo` and runs `work` for it, until none is left or PATIENCE_S passed without a
            success.
            """
            for alert_id in todo:
                try:
                    await self.guarded(step, alert_id, work(alert_id))
                    done.append(alert_id)
                except self._unavailable as error:
                    away.append(error)
                if not done and self._clock.monotonic() - began > PATIENCE_S:
                    return

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(at_once, len(alert_ids))):
                tasks.create_task(share())
        if away:
            raise away[0]

    def away(self, **where: str) -> None:
        """Calls `lost` and logs that the store is unavailable."""
        self._lost()
        structlog.get_logger().warning("store.found_unavailable", **where)

    def failed(self, step: str, error: Exception, alert_id: str = "") -> None:
        """Logs a failure by step, alert and exception class, each combination at most every TELL_AGAIN_S seconds. Leaves out the
        exception's text, which may quote the alert.
        """
        fault, now = (step, alert_id, type(error).__name__), self._clock.monotonic()
        self._told = {one: at for one, at in self._told.items() if now - at < TELL_AGAIN_S}
        if fault not in self._told:
            self._told[fault] = now
            structlog.get_logger().error("step.failed", step=step, alert=alert_id, error=fault[2])


#: First and longest pause (s) before restarting a child process; the pause doubles each time. The first seems immediate to a person. The
#: longest keeps a child that cannot start from filling the log or using up the processor.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
#: A child process that lived this long (s) did not fail at its start, so its next restart is quick again.
HEALTHY_S = 60.0

Wait = Callable[[], Awaitable[int]]
Start = Callable[[], Awaitable[object]]


async def keep_running(
    what: str, wait: Wait, start: Start, clock: Clock, *, faults: tuple[type[Exception], ...] = (OSError,)
) -> NoReturn:
    """Restarts a child process whenever it ends, until cancelled. `wait` returns the exit code when the current child has ended, `start`
    starts the next one.

    If a start raises one of `faults`, logs that and tries again.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        since = clock.monotonic()
        code = await wait()
        if clock.monotonic() - since >= HEALTHY_S:
            pause_s = FIRST_PAUSE_S
        structlog.get_logger().error("child_process.ended", what=what, code=code)
        pause_s = await _started(what, start, clock, pause_s, faults)


async def _started(what: str, start: Start, clock: Clock, pause_s: float, faults: tuple[type[Exception], ...]) -> float:
    """Starts a child process after a pause of `pause_s` seconds. If a start raises one of `faults`, logs that and tries again after twice
    the pause. Returns the pause before the next start.
    """
    while True:
        await clock.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        try:
            await start()
        except faults as error:
            structlog.get_logger().error("child_process.start_failed", what=what, error=str(error), again_in_s=pause_s)
        else:
            return pause_s
