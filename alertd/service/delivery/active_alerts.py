"""What one process knows of the alerts that have work: which there are, how loud they are, how far planned, and where there was nothing.

The truth is in the store. What is known here spares asking it, and is forgotten when the store was away.

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

#: An alert whose plan is far ahead of what is sent, with others beside it, goes on for one chunk so often: that takes a process a tenth of
#: its time.
STEP_S = 0.25
#: A plan that another process moves on is left to it until it has stood still for so long: of two at the same one works in vain.
LEFT_S = 1.0
#: What is planned and had nothing to send on a channel is asked again, if nobody says before that something of it came due.
EMPTY_S = 2.0


class FairQueue:
    """The chains of one loudness. Who is new stands last, and who had a turn again; who had nothing keeps its place."""

    def __init__(self, lanes: int, chunk: int) -> None:
        self._all, self._chunk = lanes * chunk, chunk  # rows
        self._places: dict[str, int] = {}
        self._last = count()
        self._waits = set[str]()  # had something when they were last asked, or may have by now
        self._had = Counter[str]()  # rows of the turn that goes on
        self._held: defaultdict[str, dict[str, int]] = defaultdict(dict)  # rows by chain and lease

    def order(self, chains: Sequence[str]) -> list[str]:
        """Of all there are, those that may have more, in their turn."""
        new = [chain for chain in chains if chain not in self._places]
        self._waits = (self._waits | set(new)).intersection(chains)
        self._places = {chain: self._places[chain] if chain in self._places else next(self._last) for chain in chains}
        share = self._share()
        short = [chain for chain in chains if chain not in self._held or sum(self._held[chain].values()) < share]
        return sorted(short, key=self._places.__getitem__)

    def expect(self, chain: str) -> None:
        """It may have something by now."""
        if chain in self._places:
            self._waits.add(chain)

    def nothing(self, chain: str) -> None:
        """It was asked, and has nothing."""
        self._waits.discard(chain)
        self._had.pop(chain, None)

    def take(self, lease: Lease) -> None:
        """This is of its turn, which is over when that makes a chunk."""
        chain, rows = chain_of(lease.alert_id), min(len(lease.rows), self._chunk)
        self._waits.add(chain)
        self._held[chain][lease.name] = rows
        self._had[chain] += rows
        if self._had[chain] >= self._chunk:
            self._places[chain] = next(self._last)
            del self._had[chain]

    def free(self, lease: Lease) -> None:
        """It was drained, or given back."""
        chain = chain_of(lease.alert_id)
        self._held[chain].pop(lease.name, None)
        if not self._held[chain]:
            del self._held[chain]

    def over(self, lease: Lease) -> bool:
        """Whether its chain has more than its share with this one: others wait that did not when it was taken."""
        rows, share = 0, self._share()
        for name, of_lease in self._held[chain_of(lease.alert_id)].items():
            rows += of_lease
            if name == lease.name:
                break
        return rows > share

    def _share(self) -> int:
        """Rows that each may have under way: of a lane at least."""
        return max(self._chunk, self._all // max(1, len(self._waits)))


class ActiveAlerts:
    """The live chains and their versions, as they were when they were last looked at."""

    def __init__(self, channels: Iterable[str], settings: WorkerSection, clock: Clock) -> None:
        self._clock = clock
        self._poll_s = settings.poll_ms / 1000
        self.live: dict[str, bytes] = {}  # chains, each as it was before its versions were read
        self.versions: list[str] = []  # of the live chains
        self.turns = {
            (one, loud): FairQueue(settings.lanes, settings.chunk) for one in channels for loud in (True, False)
        }
        self._loud: dict[str, bool] = {}  # versions that were read
        self._planned = set[str]()  # versions: what is planned stays so while the store does, and is not read again
        self._begun = set[str]()  # chains of which something is planned: the others have nothing to send
        self._empty: dict[tuple[str, str], float] = {}  # by chain and channel: until when there is nothing
        self._stepped: dict[str, float] = {}  # versions planned in part: when that last went on
        self._cursors: dict[str, tuple[int, float]] = {}  # of them: how far they were, and when another moved them on
        self._own = set[str]()  # versions that this process moved on since it last looked
        self._followed = ""  # the chain that was last asked whether it is over

    def look(self, live: dict[str, bytes], versions: list[str]) -> None:
        """What there is now. Both at once: whoever reads both sees none newer than the other."""
        self.live, self.versions = live, versions
        self._planned.intersection_update(versions)
        self._begun.intersection_update(live)
        known = set(versions)
        self._loud = {one: loud for one, loud in self._loud.items() if one in known}
        self._stepped = {one: at for one, at in self._stepped.items() if one in known}
        self._cursors = {one: seen for one, seen in self._cursors.items() if one in known}
        self._empty = {asked: until for asked, until in self._empty.items() if asked[0] in live}

    def forget_plans(self) -> None:
        """What comes back may be a replica that has less of a plan than was seen: no plan is waited for on disk."""
        self._planned.clear()

    def unplanned(self) -> list[str]:
        """The versions that are not known to be planned to their end."""
        return [one for one in self.versions if one not in self._planned]

    def note_heads(self, asked: Sequence[str], heads: Sequence[PlanHead]) -> None:
        """What was read of those that were asked for."""
        for chain in {chain_of(head.id) for head in heads if head.planned or head.cursor} - self._begun:
            self.expect(chain)
        self._loud |= dict.fromkeys(asked, False) | {head.id: head.loudness == Loudness.LOUD for head in heads}
        self._planned |= {head.id for head in heads if head.planned}

    def planned(self, alert_id: str) -> None:
        """It is planned to its end."""
        self._planned.add(alert_id)
        self.expect(chain_of(alert_id))

    def begun(self, alert_id: str) -> None:
        """Something of it is planned, by this process."""
        self._own.add(alert_id)
        if (chain := chain_of(alert_id)) not in self._begun:
            self.expect(chain)

    def expect(self, chain: str) -> None:
        """It has something to send by now."""
        self._begun.add(chain)
        for (channel, _), turns in self.turns.items():
            turns.expect(chain)
            self._empty.pop((chain, channel), None)

    def comes_due(self, chain: str, channels: Iterable[str]) -> None:
        """Something of it can be sent now by these channels, a retry or what was a lost lease's: where others have all lanes, they give some up."""
        for channel in channels:
            self._empty.pop((chain, channel), None)
            for loud in (True, False):
                if (channel, loud) in self.turns:
                    self.turns[channel, loud].expect(chain)

    def is_loud(self, alert_id: str) -> bool:
        """Whether a version is; one that was not read yet counts as one that is not."""
        return self._loud.get(alert_id, False)

    def has_unread(self) -> bool:
        """Whether there is an alert that nobody has looked at: it may be loud, or told to fewer."""
        return any(one not in self._loud for one in self.versions)

    def elsewhere(self, begun: Iterable[PlanHead]) -> set[str]:
        """Of those planned in part, whose plan another process moves on."""
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
        """Of those planned in part, whose plan went on a moment ago."""
        now = self._clock.monotonic()
        return [head for head in begun if now - self._stepped.get(head.id, -STEP_S) < STEP_S]

    def step(self, heads: Iterable[PlanHead]) -> None:
        """Their plans go on now."""
        self._stepped |= dict.fromkeys((head.id for head in heads), self._clock.monotonic())

    def to_follow(self) -> list[str]:
        """The versions of the chains whose turn it is to be asked whether they are over. Each is at least every second, for one that is left
        alone for longer (`GAP_MS`) does not know who is silent.
        """
        turn = those_next(sorted({chain_of(one) for one in self.versions}), self._followed)
        self._followed = turn[-1] if turn else ""
        its = set(turn)
        return [one for one in self.versions if chain_of(one) in its]

    def in_turn(self, channel: str, *, loud: bool) -> list[str]:
        """The live chains that may have something to send, are as loud as that and have less under way than their share, in their turn. A
        chain is as loud as its versions that have some: what follows an alert is never loud.
        """
        of_loud = {chain_of(one) for one in self.versions if self.is_loud(one)}
        chains = [chain for chain in sorted(self._begun & self.live.keys()) if (chain in of_loud) == loud]
        turn = self.turns[channel, loud].order(chains)  # of all: who has no lane counts as waiting
        now = self._clock.monotonic()
        return [chain for chain in turn if self._empty.get((chain, channel), 0) <= now]

    def nothing(self, chain: str, channel: str, *, loud: bool, soon: bool) -> None:
        """It was asked, and has nothing to send: it is asked again later, sooner where more of it was still to be planned."""
        self.turns[channel, loud].nothing(chain)
        self._empty[chain, channel] = self._clock.monotonic() + (self._poll_s if soon else EMPTY_S)
