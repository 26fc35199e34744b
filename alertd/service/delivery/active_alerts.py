"""A process's memory of the alerts with work: their versions, loudness and planning progress, and the queues that were empty.

The store is the authority. This memory saves questions to it, and is cleared when the store was away.

Alerts take turns by chunks, not by batches. A large alert has batches of five chunks, and an alert to a hundred people has one batch for each
language. In turns by batches, the large alert would go out twenty times as fast, and each small one would wait for its second batch until all
had sent their first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import count

from alertd.common.clock import Clock
from alertd.common.ids import chain_of
from alertd.common.repetition import those_next
from alertd.config.sections import WorkerSection
from alertd.store.alerts.records import PlanHead
from alertd.store.delivery.work_records import Lease
from channels.base import Loudness

#: If an alert is planned far ahead of the sending, and other alerts are active, one chunk of it is planned per interval. That takes a
#: tenth of a process's time.
STEP_S = 0.25
#: A process leaves a plan to another process until the plan has not moved for this long. Two planners of one alert would waste work.
LEFT_S = 1.0
#: A completely planned alert without work on a channel is asked again after this time, or earlier if the store reports due rows.
EMPTY_S = 2.0


class FairQueue:
    """The chains of one channel and loudness, in the order of their turns. A new chain goes to the end, and so does one that had a turn. A
    chain without work keeps its place.
    """

    def __init__(self, lanes: int, chunk: int) -> None:
        self._all, self._chunk = lanes * chunk, chunk  # rows
        self._places: dict[str, int] = {}
        self._last = count()
        self._waits = set[str]()  # chains that had work at the last question, or may have some now
        self._had = Counter[str]()  # rows leased in the current turn, by chain
        self._held: defaultdict[str, dict[str, int]] = defaultdict(dict)  # rows in progress, by chain and lease

    def order(self, chains: Sequence[str]) -> list[str]:
        """Returns those of all `chains` that may lease more rows, in the order of their turns."""
        new = [chain for chain in chains if chain not in self._places]
        self._waits = (self._waits | set(new)).intersection(chains)
        self._places = {chain: self._places[chain] if chain in self._places else next(self._last) for chain in chains}
        share = self._share()
        short = [chain for chain in chains if chain not in self._held or sum(self._held[chain].values()) < share]
        return sorted(short, key=self._places.__getitem__)

    def expect(self, chain: str) -> None:
        """Notes that a chain may have work."""
        if chain in self._places:
            self._waits.add(chain)

    def nothing(self, chain: str) -> None:
        """Notes that a chain has no work."""
        self._waits.discard(chain)
        self._had.pop(chain, None)

    def take(self, lease: Lease) -> None:
        """Counts a lease in the chain's turn. The turn ends after a chunk of rows."""
        chain, rows = chain_of(lease.alert_id), min(len(lease.rows), self._chunk)
        self._waits.add(chain)
        self._held[chain][lease.name] = rows
        self._had[chain] += rows
        if self._had[chain] >= self._chunk:
            self._places[chain] = next(self._last)
            del self._had[chain]

    def free(self, lease: Lease) -> None:
        """Removes a lease that was sent or given back."""
        chain = chain_of(lease.alert_id)
        self._held[chain].pop(lease.name, None)
        if not self._held[chain]:
            del self._held[chain]

    def over(self, lease: Lease) -> bool:
        """Returns whether this lease exceeds the chain's share, because other chains have work since it was leased."""
        rows, share = 0, self._share()
        for name, of_lease in self._held[chain_of(lease.alert_id)].items():
            rows += of_lease
            if name == lease.name:
                break
        return rows > share

    def _share(self) -> int:
        """Returns the number of rows that each chain may have in progress: at least one chunk."""
        return max(self._chunk, self._all // max(1, len(self._waits)))


class ActiveAlerts:
    """The active chains and their versions, as they were at the last look."""

    def __init__(self, channels: Iterable[str], settings: WorkerSection, clock: Clock) -> None:
        self._clock = clock
        self._poll_s = settings.poll_ms / 1000
        self.live: dict[str, bytes] = {}  # active chains, each with its state before its versions were read
        self.versions: list[str] = []  # versions of the active chains
        self.turns = {
            (one, loud): FairQueue(settings.lanes, settings.chunk) for one in channels for loud in (True, False)
        }
        self._loud: dict[str, bool] = {}  # loudness of the versions that were read
        self._planned = set[str]()  # completely planned versions, which are not read again
        self._begun = set[str]()  # chains with a planned chunk; the others have nothing to send
        self._empty: dict[tuple[str, str], float] = {}  # by chain and channel: when to ask again (monotonic s)
        self._stepped: dict[str, float] = {}  # partly planned versions: time of the last planned chunk
        self._cursors: dict[
            str, tuple[int, float]
        ] = {}  # partly planned versions: cursor, and when another process moved it
        self._own = set[str]()  # versions that this process has planned since the last look
        self._followed = ""  # the chain that was last checked for its end

    def look(self, live: dict[str, bytes], versions: list[str]) -> None:
        """Stores the active chains and versions, both in one step, so that a reader sees matching ones."""
        self.live, self.versions = live, versions
        self._planned.intersection_update(versions)
        self._begun.intersection_update(live)
        known = set(versions)
        self._loud = {one: loud for one, loud in self._loud.items() if one in known}
        self._stepped = {one: at for one, at in self._stepped.items() if one in known}
        self._cursors = {one: seen for one, seen in self._cursors.items() if one in known}
        self._empty = {asked: until for asked, until in self._empty.items() if asked[0] in live}

    def forget_plans(self) -> None:
        """Forgets which versions are planned. After an outage a replica with less of a plan may serve, because plans are not written durably."""
        self._planned.clear()

    def unplanned(self) -> list[str]:
        """Returns the versions that are not known to be completely planned."""
        return [one for one in self.versions if one not in self._planned]

    def note_heads(self, asked: Sequence[str], heads: Sequence[PlanHead]) -> None:
        """Stores the heads that were read for the versions `asked`."""
        for chain in {chain_of(head.id) for head in heads if head.planned or head.cursor} - self._begun:
            self.expect(chain)
        self._loud |= dict.fromkeys(asked, False) | {head.id: head.loudness == Loudness.LOUD for head in heads}
        self._planned |= {head.id for head in heads if head.planned}

    def planned(self, alert_id: str) -> None:
        """Notes that a version is completely planned."""
        self._planned.add(alert_id)
        self.expect(chain_of(alert_id))

    def begun(self, alert_id: str) -> None:
        """Notes that this process planned a chunk of a version."""
        self._own.add(alert_id)
        if (chain := chain_of(alert_id)) not in self._begun:
            self.expect(chain)

    def expect(self, chain: str) -> None:
        """Notes that a chain has rows to send."""
        self._begun.add(chain)
        for (channel, _), turns in self.turns.items():
            turns.expect(chain)
            self._empty.pop((chain, channel), None)

    def comes_due(self, chain: str, channels: Iterable[str]) -> None:
        """Notes that a chain has due rows on these channels: retries, or rows of a lost lease. Other chains then give up lanes for it."""
        for channel in channels:
            self._empty.pop((chain, channel), None)
            for loud in (True, False):
                if (channel, loud) in self.turns:
                    self.turns[channel, loud].expect(chain)

    def is_loud(self, alert_id: str) -> bool:
        """Returns whether a version is loud, False if it was not read yet."""
        return self._loud.get(alert_id, False)

    def has_unread(self) -> bool:
        """Returns whether a version was not read yet. It may be loud, or have fewer recipients."""
        return any(one not in self._loud for one in self.versions)

    def elsewhere(self, begun: Iterable[PlanHead]) -> set[str]:
        """Returns those of the partly planned versions whose plan another process moved in the last LEFT_S."""
        now = self._clock.monotonic()
        for head in begun:
            cursor, moved = self._cursors.get(head.id, (0, -LEFT_S))
            if head.id in self._own:
                moved = -LEFT_S
            elif head.cursor != cursor:
                moved = now
            self._cursors[head.id] = head.cursor, moved
        self._own.clear()
        return {one for one, (_, moved) in self._cursors.items() if now - moved < LEFT_S}

    def resting(self, begun: Iterable[PlanHead]) -> list[PlanHead]:
        """Returns those of the partly planned versions of which a chunk was planned in the last STEP_S."""
        now = self._clock.monotonic()
        return [head for head in begun if now - self._stepped.get(head.id, -STEP_S) < STEP_S]

    def step(self, heads: Iterable[PlanHead]) -> None:
        """Notes that a chunk of these versions is planned now."""
        self._stepped |= dict.fromkeys((head.id for head in heads), self._clock.monotonic())

    def to_follow(self) -> list[str]:
        """Returns the versions of the chains whose turn it is to be checked for their end.

        Each chain has a turn at least every second. After a longer time without a check (`GAP_MS`), a chain counts a gap.
        """
        turn = those_next(sorted({chain_of(one) for one in self.versions}), self._followed)
        self._followed = turn[-1] if turn else ""
        its = set(turn)
        return [one for one in self.versions if chain_of(one) in its]

    def in_turn(self, channel: str, *, loud: bool) -> list[str]:
        """Returns the active chains of this loudness that may have rows to send and have less than their share in progress, in order.

        A chain is loud if one of its versions is. A follow-up is never loud.
        """
        of_loud = {chain_of(one) for one in self.versions if self.is_loud(one)}
        chains = [chain for chain in sorted(self._begun & self.live.keys()) if (chain in of_loud) == loud]
        turn = self.turns[channel, loud].order(chains)  # all chains, because one without a lane counts as waiting
        now = self._clock.monotonic()
        return [chain for chain in turn if self._empty.get((chain, channel), 0) <= now]

    def nothing(self, chain: str, channel: str, *, loud: bool, soon: bool) -> None:
        """Notes that a chain has nothing to send on a channel, and when to ask again. `soon`: its plan is not complete."""
        self.turns[channel, loud].nothing(chain)
        self._empty[chain, channel] = self._clock.monotonic() + (self._poll_s if soon else EMPTY_S)
