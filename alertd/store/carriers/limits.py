"""Limits of sending, shared by all processes: the rate of each carrier (GCRA on the server's clock, in the carrier's unit), budgets of SMS
segments, and each worker's share of the connections that a carrier accepts from the installation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from alertd.common.clock import DAY_MS
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

PROBE_MS = 15_000  # interval (ms) at which a loud message may probe a paused carrier
#: The fraction of a carrier's rate with which an alert that is not loud begins, before its rate rises. At FCM's quota this is 90 messages
#: in the first second, enough for the people of a street.
RAMP_FLOOR = 0.01
#: The circuit breaker of a carrier: after FAILURES failures without a success in between, each within FORGOTTEN_MS of
#: the one before, the carrier rests for SHORTEST_REST_MS. Each failed probe doubles the rest, up to LONGEST_REST_MS, so
#: that a carrier that works again is found within 15 s.
FAILURES, FORGOTTEN_MS, SHORTEST_REST_MS, LONGEST_REST_MS = 20, 60_000, 1_000, 5_000
#: A retried message may probe a carrier this long (ms) after a new message may. Each sending loop of a worker asks at least once a second.
NEW_FIRST_MS = 1_000


@dataclass(frozen=True, slots=True)
class Block:
    """Permits to send that were granted together, or a single probe of a paused or resting carrier."""

    granted: int
    wait_s: float  # seconds to wait if nothing is granted; if both are set, the block is a probe
    mark: int  # mark of `take.lua`: when the bucket would have refilled these permits, or time of the probe (us)

    def less(self, permits: int, rate: float) -> Block:
        """Returns the block that remains when `permits` of it are given back. `rate`: permits a second."""
        return replace(self, granted=self.granted - permits, mark=self.mark - int(permits * 1_000_000 / rate))


class Limits:
    """Limits the rate of each carrier for all processes: grants permits to send in blocks, so that a chunk of messages costs one round
    trip.
    """

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
        """Takes up to `wanted` permits of a carrier at `rate` a second, at most `burst` at once, in multiples of `least`. An alert that is
        not `loud` gets a lower rate, which rises to the full one in `ramp_s` seconds. Returns the block: the permits, or the seconds to
        wait if there are none.

        A block with permits and a wait is a probe: the carrier is paused or rests, and one message may try it. After the message is
        accepted, call `resume`. Call `give_back` for permits that were not used. A message that is not `is_new` was tried before and probes
        a carrier only if no new message does.
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
        """Returns unused permits of a `block` (None: taken this moment). Permits that the bucket has refilled by itself since then are not
        returned twice. Permits of a ramp are returned at the full rate, so that the ramp does not become steeper. If the block was a probe,
        the next message may probe the carrier.
        """
        mark, tries = ("", "") if block is None else (block.mark, "unsent" if block.wait_s else "")
        await self._db.run(
            "give_back", [keys.limiter(carrier)], rate, permits, self._db.skew_ms, mark, int(loud), tries
        )

    async def undecided(self, carrier: str, block: Block) -> None:
        """Ends a probe (`block`) without a result: its answer does not show whether the carrier works. The next message may probe the
        carrier again.
        """
        await self._db.run("give_back", [keys.limiter(carrier)], 1, 0, self._db.skew_ms, block.mark, 0, "undecided")

    async def pause(self, carrier: str, seconds: float) -> None:
        """Pauses a carrier that asked alertd to wait: for `seconds`, no process gets a permit, except a loud message that probes it."""
        await self._db.run("pause", [keys.limiter(carrier)], int(seconds * 1000), self._db.skew_ms)

    async def failed(self, carrier: str, times: int) -> float:
        """Counts `times` failed messages in a row. Returns for how many seconds the carrier rests from now on, 0 if they start no rest."""
        settings = (FAILURES, FORGOTTEN_MS, SHORTEST_REST_MS, LONGEST_REST_MS)
        rest_ms: int = await self._db.run("failed", [keys.limiter(carrier)], times, self._db.skew_ms, *settings)
        return rest_ms / 1000

    async def works(self, carrier: str) -> None:
        """Resets the count of a carrier's failures after it accepted a message. Does not end a pause that the carrier asked for. A rest
        ends only after an accepted probe: see `resume`.
        """
        await self._db.execute("HDEL", keys.limiter(carrier), "failed", "failed_at")

    async def resume(self, carrier: str, block: Block | None = None) -> bool:
        """Ends the pause or rest of a carrier that accepted a probe, unless a pause or rest began after that `block` was granted.

        Returns whether it ended.
        """
        return bool(await self._db.run("resume", [keys.limiter(carrier)], "" if block is None else block.mark))

    async def open_breakers(self, carriers: Iterable[str]) -> dict[str, bool]:
        """Returns for each carrier whether its circuit breaker is open or half open: alertd sends nothing, or single
        messages as a probe.
        """
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


#: How long (ms) the units spent on a day are stored: until that day is over in every time zone. How long those spent for an alert are
#: stored: as long as an alert may be extended.
KEPT_DAY_MS = 3 * DAY_MS
KEPT_ALERT_MS = 400 * DAY_MS


class Budgets:
    """Counts, for all workers together, the units (SMS segments) that each alert has spent, and each organisation in a day."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def take(self, org: str, chain: str, now_ms: int, messages: int, each: int, most: tuple[int, int]) -> int:
        """Spends the units of up to `messages` messages of `each` units, and returns how many of the messages fit into the budget and may
        be sent. `most`: maximum units of the alert and of the organisation's day (UTC); 0: no limit. A negative number of messages gives
        units back.
        """
        names = [keys.org_spent(org, chain), keys.org_spent(org, str(now_ms // DAY_MS))]
        granted: int = await self._db.run("spend", names, messages, each, *most, KEPT_ALERT_MS, KEPT_DAY_MS)
        return granted

    async def spent(self, org: str, chain: str, now_ms: int) -> tuple[int, int]:
        """Returns the units spent by this alert, and by its organisation on this day (UTC)."""
        names = [keys.org_spent(org, chain), keys.org_spent(org, str(now_ms // DAY_MS))]
        alert, day = await self._db.execute_many([("HGET", name, "units") for name in names])
        return int(alert or 0), int(day or 0)

    async def free(self, org: str, chain: str) -> None:
        """Lifts the budget's limits for this alert. Its units still count for the day."""
        name = keys.org_spent(org, chain)
        await self._db.execute_many([("HSET", name, "free", 1), ("PEXPIRE", name, KEPT_ALERT_MS)])

    async def is_free(self, org: str, chain: str) -> bool:
        """Returns whether the budget's limits are lifted for this alert."""
        return bool(await self._db.execute("HEXISTS", keys.org_spent(org, chain), "free"))


SILENT_MS = 3_000  # a worker loses its share after this silence; workers claim theirs every second
#: Minimum number of connections that a worker gets: with fewer it sends slowly, because one worker sends a whole batch. A worker gets fewer
#: only if the carrier accepts fewer connections in total.
LEAST = 4


class Share(NamedTuple):
    """How many of a carrier's connections one worker may open."""

    connections: int  # how many of the carrier's connections the worker may open
    others: int  # connections that other workers may open
    working: int  # number of other workers with a connection that works


class ConnectionShares:
    """Divides a carrier's connections among the workers on all machines."""

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
        """Renews the worker's claim and returns its share of the carrier's `most` connections. A worker must call it every second. `held`:
        the number of its open connections; `works`: whether one of them works. Workers that are `behind` get a share after the others. A
        worker whose connections the carrier refused goes behind all others; `failed_ms`: how long ago that was (ms). Raises
        StoreUnavailableError.
        """
        found = await self._db.run(
            "share", [keys.shares(carrier)],
            worker, most, LEAST, held, int(works), int(behind), "" if failed_ms is None else failed_ms, SILENT_MS, self._db.skew_ms,
        )  # fmt: skip
        return Share(*found)

    async def give_up(self, carrier: str, worker: str) -> None:
        """Deletes the claim of a worker that ends, so that other workers get its connections. Raises StoreUnavailableError."""
        await self._db.execute("HDEL", keys.shares(carrier), worker)
