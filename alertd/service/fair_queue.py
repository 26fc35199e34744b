"""Whose turn it is among the alerts that are told over one channel: a chunk is a turn, whatever the batches of an alert are like.

An alert to many has batches of five chunks, one to a hundred people a batch for each language. By batches the first would be told twenty
times as fast as others that wait, and each of those would wait for its second batch until all had their first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count

from alertd.common.ids import chain_of
from alertd.store.delivery.work_records import Lease

#: Of many chains so many are asked at once how they stand, or a third of them all where that is more.
FOLLOWED = 32


def those_next(chains: Sequence[str], last: str) -> list[str]:
    """Of chains, in order, those whose turn it is after the `last` that was asked."""
    after = bisect_right(chains, last)
    return [*chains[after:], *chains[:after]][: max(FOLLOWED, -(len(chains) // -3))]


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
