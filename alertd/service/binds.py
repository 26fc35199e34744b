"""Which carriers this process may write to. A text message centre counts the binds of an account, and may have let in another process
and not this one: that one sends, then, and this one tries nothing and says nothing of the carrier.

Whoever is bound says so with each beat of its heart, and who is not hears of it. Where nobody is bound for a few beats, all try: that the
carrier fails is seen then, and counts, as with any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import structlog

from alertd.clock import Clock
from alertd.service.carriers import Carrier, Carriers
from alertd.store.bound import Bound
from channels.base import WITHHELD, Answer, Binding, Outcome, Reason

#: So many beats in a row nobody was bound: who has just been let in has said so by then. The first is counted before it was heard.
NOBODY = 4
#: A channel whose carriers here have no room is left alone so long, at least and at most: who is bound to the others takes it up.
SHORTEST_REST_S, LONGEST_REST_S = 0.25, 1.0
#: What a channel that is not bound answers, and has written nothing.
_NOT_BOUND = {Reason.CONNECTION, Reason.CREDENTIALS}


class Binds:
    """Of one process."""

    def __init__(self, carriers: Carriers, bound: Bound, clock: Clock) -> None:
        self._carriers = carriers
        self._bound = bound
        self._clock = clock
        self._binding: Mapping[str, Binding] = {
            one.name: one.channel for one in carriers.all() if isinstance(one.channel, Binding)
        }
        self._counted = {one.channel.name for one in carriers.all() if one.name in self._binding}
        self._nobody = Counter(dict.fromkeys(self._binding, 1))  # beats in a row
        self._rests: dict[str, float] = {}  # by channel, until when

    async def beat(self) -> None:
        """Say where this process is bound, and hear where anybody is. Where the last one is gone it is tried at once."""
        if not self._binding:
            return
        somebody = await self._bound.said({name: one.is_bound() for name, one in self._binding.items()})
        for name, is_so in somebody.items():
            self._nobody[name] = 0 if is_so else self._nobody[name] + 1
            if self._nobody[name] == 1:
                self._binding[name].bind_soon()
            elif self._nobody[name] == NOBODY:
                structlog.get_logger().warning("nobody is bound", carrier=name)

    def may_use(self, carrier: Carrier) -> bool:
        """Whether it is for this process to send by it."""
        binding = self._binding.get(carrier.name)
        return binding is None or binding.is_bound() or self._nobody[carrier.name] >= NOBODY

    def usable(self, every: Sequence[Carrier]) -> list[Carrier]:
        """Of all carriers of a channel those that it may use. What is for when the others rest is not for when other processes have them."""
        usable = [one for one in every if self.may_use(one)]
        return usable if len(usable) == len(every) else [one for one in usable if one.weight]

    def reaches(self, channel: str) -> bool:
        """Whether messages of a channel are for this process, too."""
        return channel not in self._counted or bool(self.usable(self._carriers.of(channel)))

    def reaches_all(self) -> bool:
        """Whether there is no channel that is for others alone."""
        return all(map(self.reaches, self._counted))

    def takes(self, channel: str) -> bool:
        """Whether such messages are to be taken now."""
        return self.reaches(channel) and self._clock.monotonic() >= self._rests.get(channel, 0)

    def rest(self, channel: str, wait_s: float) -> None:
        """Its carriers here have no room for so long: what was taken is given back, and nothing taken meanwhile."""
        self._rests[channel] = self._clock.monotonic() + min(max(wait_s, SHORTEST_REST_S), LONGEST_REST_S)

    def heard(self, carrier: Carrier, answers: Sequence[Outcome]) -> list[Outcome]:
        """The answers to a chunk. That this process lost its bind meanwhile is no answer of the carrier's."""
        if self.may_use(carrier):
            return list(answers)
        return [WITHHELD if one.answer is Answer.RETRY and one.reason in _NOT_BOUND else one for one in answers]
