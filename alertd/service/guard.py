"""What a process does for many alerts, again and again: what is wrong with one of them keeps no other from being told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from alertd.common.clock import Clock
from alertd.store.engine.connection import StoreUnavailableError

TELL_AGAIN_S = 600.0  # a step is taken several times a second
PATIENCE_S = 5.0  # a store that is away may be waited for by each of them
AT_ONCE = 16  # alerts for which the same is done beside one another


class ErrorGuard:
    """Takes steps, and says what failed."""

    def __init__(self, lost: Callable[[], None], clock: Clock) -> None:
        """`lost` is called when the store was away."""
        self._lost = lost
        self._clock = clock
        self._told: dict[tuple[str, str, str], float] = {}  # when it was told that something failed

    async def tried(self, step: str, work: Callable[[], Awaitable[object]]) -> None:
        """One that is repeated: whatever fails in it, the others go on, and it is tried again."""
        try:
            await work()
        except StoreUnavailableError:
            self.away(step=step)
        except Exception as error:  # noqa: BLE001  whatever it is
            self.failed(step, error)

    async def guarded(self, step: str, alert_id: str, work: Awaitable[object]) -> None:
        """One for one alert. Raises StoreUnavailableError."""
        try:
            await work
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever is wrong with it, it is wrong with this alert alone
            self.failed(step, error, alert_id)

    async def each(
        self, step: str, alert_ids: Sequence[str], work: Callable[[str], Awaitable[object]], at_once: int = AT_ONCE
    ) -> None:
        """One for each of many alerts, begun in their order: most of its time each waits for the store. Raises StoreUnavailableError once all
        had their turn, for of a cluster one server may be away; sooner where nothing came of it for long.
        """
        began = self._clock.monotonic()
        todo, done, away = iter(alert_ids), list[str](), list[StoreUnavailableError]()

        async def share() -> None:
            for alert_id in todo:
                try:
                    await self.guarded(step, alert_id, work(alert_id))
                    done.append(alert_id)
                except StoreUnavailableError as error:
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
