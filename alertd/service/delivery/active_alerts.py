"""What one process knows of the alerts that are being planned or sent: their loudness, how far they are planned, and on
which channels they have nothing to send.

The store has the truth. This knowledge saves round trips. A process forgets which alerts are planned when the store was
away.

Alerts take turns by chunks of rows, not by leases of whole batches. A large alert has batches of five chunks, and an
alert to a hundred people has one batch for each language. With turns by batches, the large alert would be sent twenty
times as fast. Each small alert would wait for its second batch until all had sent their first.
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

#: Seconds between two chunks of a plan that is far ahead of sending, while other alerts wait. Planning it then takes a
#: process a tenth of its time.
STEP_S = 0.25
#: Seconds. If another process made progress with the plan of a version within this time, this process does not work on
#: that plan. If two processes worked on one plan, one would work in vain.
LEFT_S = 1.0
#: A planned chain that had nothing to send on a channel is asked again after this many seconds, or as soon as a message
#: becomes due.
EMPTY_S = 2.0


class FairQueue:
    """Decides the order in which the chains of one channel and loudness get leases. (A chain is an alert with its
    versions.)

    A new chain goes to the end of the queue. A chain that was given a chunk of rows goes to the end again. A chain that
    had nothing to send keeps its place.
    """

    def __init__(self, lanes: int, chunk: int) -> None:
        self._all, self._chunk = lanes * chunk, chunk  # rows
        self._places: dict[str, int] = {}
        self._last = count()
        self._waits = set[str]()  # chains that had work when last asked, or may have work now
        self._had = Counter[str]()  # rows taken in the current turn, by chain
        self._held: defaultdict[str, dict[str, int]] = defaultdict(dict)  # rows under way, by chain and lease

    def order(self, chains: Sequence[str]) -> list[str]:
        """Returns the chains that have fewer rows under way than their share, ordered by their turns, the next one
        first. `chains` are all that exist; the queue forgets others.
        """
        new = [chain for chain in chains if chain not in self._places]
        self._waits = (self._waits | set(new)).intersection(chains)
        self._places = {chain: self._places[chain] if chain in self._places else next(self._last) for chain in chains}
        share = self._share()
        short = [chain for chain in chains if chain not in self._held or sum(self._held[chain].values()) < share]
        return sorted(short, key=self._places.__getitem__)

    def expect(self, chain: str) -> None:
        """Marks a chain as one that may have work now."""
        if chain in self._places:
            self._waits.add(chain)

    def nothing(self, chain: str) -> None:
        """Marks a chain as one that has no work, until it is marked by `expect` or gets a lease."""
        self._waits.discard(chain)
        self._had.pop(chain, None)

    def take(self, lease: Lease) -> None:
        """Counts the rows of a lease as under way, and to its chain's turn. After a chunk of rows the turn ends: the
        chain goes to the end of the queue.
        """
        chain, rows = chain_of(lease.alert_id), min(len(lease.rows), self._chunk)
        self._waits.add(chain)
        self._held[chain][lease.name] = rows
        self._had[chain] += rows
        if self._had[chain] >= self._chunk:
            self._places[chain] = next(self._last)
            del self._had[chain]

    def free(self, lease: Lease) -> None:
        """Stops counting the rows of a lease as under way: it was drained or given back."""
        chain = chain_of(lease.alert_id)
        self._held[chain].pop(lease.name, None)
        if not self._held[chain]:
            del self._held[chain]

    def over(self, lease: Lease) -> bool:
        """Returns whether the rows of this lease and of its chain's earlier leases exceed the chain's present share.
        The share shrinks when other chains get work after the lease was taken.
        """
        rows, share = 0, self._share()
        for name, of_lease in self._held[chain_of(lease.alert_id)].items():
            rows += of_lease
            if name == lease.name:
                break
        return rows > share

    def _share(self) -> int:
        """Returns how many rows each chain may have under way: the rows of all lanes, divided by the number of chains
        that have work, but at least one chunk.
        """
        return max(self._chunk, self._all // max(1, len(self._waits)))


class ActiveAlerts:
    """The live chains (alerts with their versions) that this process last read from the store."""

    def __init__(self, channels: Iterable[str], settings: WorkerSection, clock: Clock) -> None:
        self._clock = clock
        self._poll_s = settings.poll_ms / 1000
        self.live: dict[str, bytes] = {}  # by chain: its announcement, read before its versions
        self.versions: list[str] = []  # ids of the versions of the live chains
        self.turns = {
            (one, loud): FairQueue(settings.lanes, settings.chunk) for one in channels for loud in (True, False)
        }
        self._loud: dict[str, bool] = {}  # by version that was read
        # Versions that are planned completely; they stay so while the store does, and are not read again.
        self._planned = set[str]()
        self._begun = set[str]()  # chains that are planned at least in part; the others have nothing to send
        # By chain and channel: until when it counts as empty (monotonic s).
        self._empty: dict[tuple[str, str], float] = {}
        self._stepped: dict[str, float] = {}  # by version planned in part: when its plan last advanced (monotonic s)
        # By version planned in part: its cursor, and when another process last moved it (monotonic s).
        self._cursors: dict[str, tuple[int, float]] = {}
        self._own = set[str]()  # versions that this process planned further since `elsewhere` last ran
        self._followed = ""  # the chain last returned by `to_follow`

    def replace_alerts(self, live: dict[str, bytes], versions: list[str]) -> None:
        """Replaces the live chains and their versions together, so that a reader never sees one newer than the other.
        Forgets all other chains and versions.
        """
        self.live, self.versions = live, versions
        self._planned.intersection_update(versions)
        self._begun.intersection_update(live)
        known = set(versions)
        self._loud = {one: loud for one, loud in self._loud.items() if one in known}
        self._stepped = {one: at for one, at in self._stepped.items() if one in known}
        self._cursors = {one: seen for one, seen in self._cursors.items() if one in known}
        self._empty = {asked: until for asked, until in self._empty.items() if asked[0] in live}

    def forget_plans(self) -> None:
        """Forgets which versions are planned completely. After an outage the store may be a replica that lacks a part
        of a plan, because planning does not wait for the disk.
        """
        self._planned.clear()

    def unplanned(self) -> list[str]:
        """Returns the versions that are not known to be planned completely."""
        return [one for one in self.versions if one not in self._planned]

    def note_heads(self, asked: Sequence[str], heads: Sequence[PlanHead]) -> None:
        """Notes the loudness of versions, and how far they are planned. `heads` are the plan heads that were read for
        the versions `asked`; a version without a head counts as not loud.
        """
        for chain in {chain_of(head.id) for head in heads if head.planned or head.cursor} - self._begun:
            self.expect(chain)
        self._loud |= dict.fromkeys(asked, False) | {head.id: head.loudness == Loudness.LOUD for head in heads}
        self._planned |= {head.id for head in heads if head.planned}

    def planned(self, alert_id: str) -> None:
        """Marks a version as planned completely."""
        self._planned.add(alert_id)
        self.expect(chain_of(alert_id))

    def begun(self, alert_id: str) -> None:
        """Marks a version as planned in part, and further now, by this process."""
        self._own.add(alert_id)
        if (chain := chain_of(alert_id)) not in self._begun:
            self.expect(chain)

    def expect(self, chain: str) -> None:
        """Marks a chain as one that may have messages to send now, on every channel."""
        self._begun.add(chain)
        for (channel, _), turns in self.turns.items():
            turns.expect(chain)
            self._empty.pop((chain, channel), None)

    def comes_due(self, chain: str, channels: Iterable[str]) -> None:
        """Marks that the chain has messages due now on these channels: retries, or rows of a lost lease. Chains that
        hold all lanes then give some up.
        """
        for channel in channels:
            self._empty.pop((chain, channel), None)
            for loud in (True, False):
                if (channel, loud) in self.turns:
                    self.turns[channel, loud].expect(chain)

    def is_loud(self, alert_id: str) -> bool:
        """Returns whether a version is loud. False for a version that was not read yet."""
        return self._loud.get(alert_id, False)

    def has_unread(self) -> bool:
        """Returns whether a version was not read yet. It may be loud, or have fewer recipients."""
        return any(one not in self._loud for one in self.versions)

    def elsewhere(self, begun: Iterable[PlanHead]) -> set[str]:
        """Returns the ids of the partly planned versions that another process is planning: their cursors moved less
        than `LEFT_S` ago, and this process did not move them since the last call. `begun` are the heads of all partly
        planned versions.
        """
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
        """Returns the heads of the partly planned versions that `step` noted less than `STEP_S` ago."""
        now = self._clock.monotonic()
        return [head for head in begun if now - self._stepped.get(head.id, -STEP_S) < STEP_S]

    def step(self, heads: Iterable[PlanHead]) -> None:
        """Notes the time at which these versions are planned further, for `resting`."""
        self._stepped |= dict.fromkeys((head.id for head in heads), self._clock.monotonic())

    def to_follow(self) -> list[str]:
        """Returns the versions of some chains, whose turn it is, for the worker to check whether they are over.

        Each chain gets its turn at least every second. After a longer time without one (`GAP_MS`), the chain counts a
        gap in which no worker could store its outcomes.
        """
        turn = those_next(sorted({chain_of(one) for one in self.versions}), self._followed)
        self._followed = turn[-1] if turn else ""
        its = set(turn)
        return [one for one in self.versions if chain_of(one) in its]

    def in_turn(self, channel: str, *, loud: bool) -> list[str]:
        """Returns the live chains of this loudness that may have messages for the channel and have fewer rows under way
        than their share, ordered by their turns, the next one first.

        A chain is as loud as its loudest version. Follow-ups are never loud.
        """
        of_loud = {chain_of(one) for one in self.versions if self.is_loud(one)}
        chains = [chain for chain in sorted(self._begun & self.live.keys()) if (chain in of_loud) == loud]
        turn = self.turns[channel, loud].order(chains)  # over all chains: one without a lane counts as waiting
        now = self._clock.monotonic()
        return [chain for chain in turn if self._empty.get((chain, channel), 0) <= now]

    def nothing(self, chain: str, channel: str, *, loud: bool, soon: bool) -> None:
        """Marks that a chain has nothing to send on a channel. The feeder asks the chain again after `EMPTY_S`; with
        `soon`, after the poll interval (a part of the chain was still to be planned).
        """
        self.turns[channel, loud].nothing(chain)
        self._empty[chain, channel] = self._clock.monotonic() + (self._poll_s if soon else EMPTY_S)
