"""What a process does again and again, and for many: one that fails is told in the log, keeps no other from its turn, and is tried again."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, NoReturn, TypeVar

import structlog

from alertd.common.clock import Clock

CANCEL_S = 0.5
TELL_AGAIN_S = 600.0  # a step is taken several times a second
PATIENCE_S = 5.0  # a store that is away may be waited for by each of them
AT_ONCE = 16  # alerts for which the same is done beside one another
#: Of many chains so many are asked at once how they stand, or a third of them all where that is more.
FOLLOWED = 32

Made = TypeVar("Made")


class Shared(Generic[Made]):
    """A value that is expensive to make: made at most once in `every_s` seconds, and shared by everyone who asks meanwhile."""

    def __init__(self, make: Callable[[], Awaitable[Made]], every_s: float, clock: Clock) -> None:
        self._make = make
        self._every_s = every_s
        self._clock = clock
        self._began = 0.0
        self._task: asyncio.Future[Made] | None = None

    async def get(self) -> Made:
        """The value, or a new one if it is too old. Raises what making it raised."""
        if self._task is None or (self._task.done() and self._clock.monotonic() - self._began >= self._every_s):
            self._began = self._clock.monotonic()
            self._task = asyncio.ensure_future(self._make())
            self._task.add_done_callback(_looked_at)
        return await asyncio.shield(self._task)


def _looked_at(task: asyncio.Future[Any]) -> None:
    """A failure is no news for the event loop if everyone who asked has gone."""
    _ = task.cancelled() or task.exception()


async def repeat(
    step: Callable[[], Awaitable[object]], every_s: float, clock: Clock, stop: asyncio.Event | None = None
) -> None:
    """A step, at once and then every so many seconds, until `stop` is set. It must not raise."""
    while stop is None or not stop.is_set():
        await step()
        await pause(every_s, clock, stop)


async def pause(seconds: float, clock: Clock, stop: asyncio.Event | None = None) -> None:
    """Sleep, and not on once `stop` is set."""
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
    """Take a step until it raises no `fault` any more, every so many seconds. Raises it once `gives_up`."""
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
    """A step, at once and then every so many seconds, as long as this lasts. One that fails is told in the log and tried again."""

    async def try_step() -> None:
        try:
            await step()
        except Exception:  # noqa: BLE001  whatever it is, it is told, and tried again
            structlog.get_logger().exception("background work failed", work=name)

    task = asyncio.create_task(repeat(try_step, every_s, clock), name=name)
    try:
        yield
    finally:
        await ended(task)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it is over: a library may swallow a cancellation that comes together with its result."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_S)


def those_next(chains: Sequence[str], last: str) -> list[str]:
    """Of chains, in order, those whose turn it is after the `last` that was asked."""
    after = bisect_right(chains, last)
    return [*chains[after:], *chains[:after]][: max(FOLLOWED, -(len(chains) // -3))]


class ErrorGuard:
    """Takes steps for many alerts, again and again, and says what failed: what is wrong with one of them keeps no other from being told."""

    def __init__(self, lost: Callable[[], None], clock: Clock, unavailable: type[Exception]) -> None:
        """`lost` is called when the store was away, which is what `unavailable` means."""
        self._lost = lost
        self._clock = clock
        self._unavailable = unavailable
        self._told: dict[tuple[str, str, str], float] = {}  # when it was told that something failed

    async def tried(self, step: str, work: Callable[[], Awaitable[object]]) -> None:
        """One that is repeated: whatever fails in it, the others go on, and it is tried again."""
        try:
            await work()
        except self._unavailable:
            self.away(step=step)
        except Exception as error:  # noqa: BLE001  whatever it is
            self.failed(step, error)

    async def guarded(self, step: str, alert_id: str, work: Awaitable[object]) -> None:
        """One for one alert. Raises `unavailable`."""
        try:
            await work
        except self._unavailable:
            raise
        except Exception as error:  # noqa: BLE001  whatever is wrong with it, it is wrong with this alert alone
            self.failed(step, error, alert_id)

    async def each(
        self, step: str, alert_ids: Sequence[str], work: Callable[[str], Awaitable[object]], at_once: int = AT_ONCE
    ) -> None:
        """One for each of many alerts, begun in their order: most of its time each waits for the store. Raises `unavailable` once all
        had their turn, for of a cluster one server may be away; sooner where nothing came of it for long.
        """
        began = self._clock.monotonic()
        todo, done, away = iter(alert_ids), list[str](), list[Exception]()

        async def share() -> None:
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
        """The store was not to be had."""
        self._lost()
        structlog.get_logger().warning("store unavailable", **where)

    def failed(self, step: str, error: Exception, alert_id: str = "") -> None:
        """Told every ten minutes by step, alert and kind of error, whose text may hold what the alert says."""
        fault, now = (step, alert_id, type(error).__name__), self._clock.monotonic()
        self._told = {one: at for one, at in self._told.items() if now - at < TELL_AGAIN_S}
        if fault not in self._told:
            self._told[fault] = now
            structlog.get_logger().error("step failed", step=step, alert=alert_id, error=fault[2])


#: The first restart is at once for a person's eye; a child that cannot start must not fill the log or the processor.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
#: A child that lived this long did not die of starting: its next restart is soon again.
HEALTHY_S = 60.0

Wait = Callable[[], Awaitable[int]]
Start = Callable[[], Awaitable[object]]


async def keep_running(
    what: str, wait: Wait, start: Start, clock: Clock, *, faults: tuple[type[Exception], ...] = (OSError,)
) -> NoReturn:
    """Run until cancelled. `wait` answers the exit code of the child of the moment, `start` makes the next.

    A start that raises one of `faults` is told and tried again.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        since = clock.monotonic()
        code = await wait()
        if clock.monotonic() - since >= HEALTHY_S:
            pause_s = FIRST_PAUSE_S
        structlog.get_logger().error("child ended", what=what, code=code)
        pause_s = await _started(what, start, clock, pause_s, faults)


async def _started(what: str, start: Start, clock: Clock, pause_s: float, faults: tuple[type[Exception], ...]) -> float:
    """Try until it starts. Takes and gives the pause before the next try."""
    while True:
        await clock.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        try:
            await start()
        except faults as error:
            structlog.get_logger().error("child does not start", what=what, error=str(error), again_in_s=pause_s)
        else:
            return pause_s
