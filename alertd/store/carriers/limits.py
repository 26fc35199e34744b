"""The limits of what is sent: one GCRA a carrier for all processes, on the server's clock, paid in the carrier's unit; budgets; and shares of the
connections that a carrier takes from the whole installation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

PROBE_MS = 15_000  # how often a loud message probes a paused carrier
#: The share of its rate that a ramp begins with: at FCM's quota 90 messages in the first second, so that a street gets them at once.
RAMP_FLOOR = 0.01
#: So many failures without a success between them, none of them older than this before the next, and a carrier rests: for a second,
#: for twice as long each time a message that tries it fails, too. At most 5 s, so that a carrier that returns is found within 15 s.
FAILURES, FORGOTTEN_MS, SHORTEST_REST_MS, LONGEST_REST_MS = 20, 60_000, 1_000, 5_000
#: A message that was tried before may probe a carrier this long after a new one may: lanes ask at least once a second.
NEW_FIRST_MS = 1_000


@dataclass(frozen=True, slots=True)
class Block:
    """Permits that were granted together."""

    granted: int
    wait_s: float  # when none; both: one message is to try a carrier that rests
    mark: int  # the limiter's: until when they would come again by themselves, or which try this is

    def less(self, permits: int, rate: float) -> Block:
        """What is left of it when so many were given back."""
        return replace(self, granted=self.granted - permits, mark=self.mark - int(permits * 1_000_000 / rate))


class Limits:
    """Permits in blocks, so that a round trip is paid once a chunk."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def take(
        self,
        carrier: str,
        rate: float,
        burst: float,
        wanted: int,
        least: int = 1,
        *,
        loud: bool = True,
        ramp_s: float = 0,
        is_new: bool = True,
    ) -> Block:
        """Up to `wanted` permits of `rate` a second, of fewer while what is not loud ramps up; how many, and the seconds to wait when none.

        Both when the carrier is paused and one message is to try it: `resume` when it is accepted. `give_back` those that nothing was sent for.
        A message that is not `is_new` was tried before: it probes a carrier only if no new one does.
        """
        skew_ms, ramp_ms = self._db.skew_ms, int(ramp_s * 1000)
        granted, wait_us, mark = await self._db.run(
            "take", [keys.limiter(carrier)],
            rate, burst, wanted, least, skew_ms, int(loud), PROBE_MS, ramp_ms, RAMP_FLOOR, 0 if is_new else NEW_FIRST_MS,
        )  # fmt: skip
        return Block(granted, wait_us / 1e6, mark)

    async def give_back(
        self, carrier: str, rate: float, permits: int, *, loud: bool = True, block: Block | None = None
    ) -> None:
        """Permits of a `block` (None: taken this moment) that nothing was sent for. Those that came again by themselves meanwhile are
        given back no second time, those of a ramp at the whole rate: it gets no steeper by them. Where one message was to try a
        carrier that rests, the next tries it.
        """
        mark, tries = ("", "") if block is None else (block.mark, "unsent" if block.wait_s else "")
        await self._db.run(
            "give_back", [keys.limiter(carrier)], rate, permits, self._db.skew_ms, mark, int(loud), tries
        )

    async def undecided(self, carrier: str, block: Block) -> None:
        """Lets the next message try a carrier that failed: the one of this `block` was answered, and its answer says nothing of the carrier."""
        await self._db.run("give_back", [keys.limiter(carrier)], 1, 0, self._db.skew_ms, block.mark, 0, "undecided")

    async def pause(self, carrier: str, seconds: float) -> None:
        """Pause a carrier that asked alertd to wait: no process gets a permit until then."""
        await self._db.run("pause", [keys.limiter(carrier)], int(seconds * 1000), self._db.skew_ms)

    async def failed(self, carrier: str, times: int) -> float:
        """Count `times` failed messages in a row. Returns the seconds for which the carrier rests now; 0 if it does not rest yet."""
        settings = (FAILURES, FORGOTTEN_MS, SHORTEST_REST_MS, LONGEST_REST_MS)
        rest_ms: int = await self._db.run("failed", [keys.limiter(carrier)], times, self._db.skew_ms, *settings)
        return rest_ms / 1000

    async def works(self, carrier: str) -> None:
        """Forget a carrier's failures after it accepted a message. A pause that it asked for stays. A rest ends only when a message that probed
        the carrier is accepted: see `resume`.
        """
        await self._db.execute("HDEL", keys.limiter(carrier), "failed", "failed_at")

    async def resume(self, carrier: str, block: Block | None = None) -> bool:
        """Ends the pause or rest of a carrier that accepted a probe, unless a pause or rest began after that `block` was granted.

        Returns whether it ended.
        """
        return bool(await self._db.run("resume", [keys.limiter(carrier)], "" if block is None else block.mark))

    async def open_breakers(self, carriers: Iterable[str]) -> dict[str, bool]:
        """Returns for each carrier whether it rests after failures, or is being probed with single messages."""
        names = list(carriers)
        rests = await self._db.execute_many([("HGET", keys.limiter(name), "rests") for name in names])
        return {name: bool(rest) for name, rest in zip(names, rests, strict=True)}

    async def waits_until_ms(self, carriers: Iterable[str]) -> dict[str, int]:
        """Returns until when each carrier asked alertd to wait, as UNIX time in milliseconds; 0 for one that did not, or that rests by itself."""
        names = list(carriers)
        found = await self._db.execute_many([("HMGET", keys.limiter(name), "paused", "rests") for name in names])
        return {
            name: 0 if rests or not paused else int(paused) // 1000
            for name, (paused, rests) in zip(names, found, strict=True)
        }


#: A day is asked of until it is over everywhere, an alert as long as it may be extended.
KEPT_DAY_MS = 3 * DAY_MS
KEPT_ALERT_MS = 400 * DAY_MS


class Budgets:
    """Counts for all workers."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def take(self, org: str, chain: str, now_ms: int, messages: int, each: int, most: tuple[int, int]) -> int:
        """Returns how many of `messages` may go, at `each` units, if alert and day may have at most `most` units (0: no limit). A negative
        number gives back messages that did not go.
        """
        names = [keys.org_spent(org, chain), keys.org_spent(org, str(now_ms // DAY_MS))]
        granted: int = await self._db.run("spend", names, messages, each, *most, KEPT_ALERT_MS, KEPT_DAY_MS)
        return granted

    async def spent(self, org: str, chain: str, now_ms: int) -> tuple[int, int]:
        """Returns the units spent by the alert and on the day."""
        names = [keys.org_spent(org, chain), keys.org_spent(org, str(now_ms // DAY_MS))]
        alert, day = await self._db.execute_many([("HGET", name, "units") for name in names])
        return int(alert or 0), int(day or 0)

    async def free(self, org: str, chain: str) -> None:
        """Lift the limit of this alert. Its units still count for the day."""
        name = keys.org_spent(org, chain)
        await self._db.execute_many([("HSET", name, "free", 1), ("PEXPIRE", name, KEPT_ALERT_MS)])

    async def is_free(self, org: str, chain: str) -> bool:
        return bool(await self._db.execute("HEXISTS", keys.org_spent(org, chain), "free"))


SILENT_MS = 3_000  # the share of a worker that is silent this long is free: workers claim theirs every second
#: A worker with fewer connections sends slowly, for one worker sends a whole batch. Only a carrier that takes fewer gives a worker less.
LEAST = 4


class Share(NamedTuple):
    """What one worker may have of a carrier's connections."""

    connections: int
    others: int  # connections that other workers claim
    working: int  # other workers that have a connection that works


class ConnectionShares:
    """Divides connections among workers, on all machines."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def claim(
        self,
        carrier: str,
        worker: str,
        *,
        most: int,
        held: int,
        works: bool,
        behind: bool,
        failed_ms: int | None = None,
    ) -> Share:
        """Returns the worker's share of the carrier's `most` connections. The worker claims it every second. `held` counts its connections that are
        open, and `works` says whether one of them works. A worker that is `behind` gets a share after those that are not. A worker that the
        carrier failed goes behind all others; `failed_ms` is how long ago that was. Raises StoreUnavailableError.
        """
        found = await self._db.run(
            "share", [keys.shares(carrier)],
            worker, most, LEAST, held, int(works), int(behind), "" if failed_ms is None else failed_ms, SILENT_MS, self._db.skew_ms,
        )  # fmt: skip
        return Share(*found)

    async def give_up(self, carrier: str, worker: str) -> None:
        """Frees the share of a worker that ends. Raises StoreUnavailableError."""
        await self._db.execute("HDEL", keys.shares(carrier), worker)
