"""Which carriers this process may write to. A text message centre counts the binds of an account, and may have let in another process
and not this one: that one sends, then, and this one tries nothing and says nothing of the carrier.

Whoever is bound says so with each beat of its heart, and who is not hears of it. Where nobody is bound for a few beats, all try: that the
carrier fails is seen then, and counts, as with any other.

A mail relay limits the connections of the whole installation, too, and the workers share them (`Sharing`). A worker without a share sends nothing by the relay.
A relay may take fewer connections than its settings say. If it refuses this process while another is connected, the relay works: this process gives its
messages back and leaves the relay to the others for a while.

So it is with a carrier of any kind that takes messages of another process and none of this one: a wrong clock, a certificate that is not known here, a
network that lets nothing out is this machine's trouble. The carrier rests for it alone, and is left to the others.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence

import structlog

from alertd.common.clock import Clock
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.store.carriers.connection_shares import ConnectionShares, Share
from alertd.store.carriers.limits import FAILURES
from alertd.store.engine.heartbeats import TAKING_MS, Heartbeats
from channels.base import WITHHELD, Answer, Binding, Outcome, Reason, Sharing

#: So many beats in a row nobody was bound: who has just been let in has said so by then. The first is counted before it was heard.
NOBODY = 4
#: A channel whose carriers here have no room is left alone so long, at least and at most: who is bound to the others takes it up.
SHORTEST_REST_S, LONGEST_REST_S = 0.25, 1.0
#: A process of which a carrier took no message for so long, by when its own sign is gone, takes the word of another that it does; and leaves it to that
#: one for so long, or until it takes nothing of anybody.
TAKEN_S = TAKING_MS / 1000 + 5
LEFT_S = 60.0
#: For this long after a carrier took nothing of this process, the others get shares of its connections first.
LAST_S = 300.0
#: If a carrier refuses this process, the process asks again for so long. Within that time the others say whether they are connected.
REFUSED_S = 2.0
#: What fails so may be no failure of the carrier: clock, certificates, network and configuration are of the machine.
OF_A_MACHINE = frozenset({Reason.CONNECTION, Reason.TIMEOUT, Reason.CREDENTIALS})
#: What a channel that is not bound answers, and has written nothing.
_NOT_BOUND = {Reason.CONNECTION, Reason.CREDENTIALS}


class Binds:
    """Of one process."""

    def __init__(
        self, carriers: Carriers, bound: Heartbeats, taking: Heartbeats, shares: ConnectionShares, clock: Clock
    ) -> None:
        self._carriers = carriers
        self._bound = bound
        self._taking = taking
        self._shares = shares
        self._clock = clock
        self._worker = secrets.token_hex(8)
        self._sharing: Mapping[str, Sharing] = {
            one.name: one.channel for one in carriers.all() if isinstance(one.channel, Sharing)
        }
        for one in self._sharing.values():
            one.share(one.connections)
        self._share: dict[str, Share] = {}  # by carrier, what this process got of its connections
        self._refused: dict[str, float] = {}  # by carrier, since when it refuses the connections of this process
        self._crowded: dict[str, float] = {}  # by carrier, until when it is left to the processes that are connected
        self._goes_last: dict[str, float] = {}  # by carrier, when it took nothing of this process: others go first
        self._binding: Mapping[str, Binding] = {
            one.name: one.channel for one in carriers.all() if isinstance(one.channel, Binding)
        }
        self._nobody = Counter(dict.fromkeys(self._binding, 1))  # beats in a row
        self._rests: dict[str, float] = {}  # by channel, until when
        self._took: dict[str, float] = {}  # by carrier, when it last took a message of this process
        self._failed = Counter[str]()  # by carrier, messages in a row that it did not take
        self._left: dict[str, float] = {}  # by carrier, until when it is left to others
        self._beaten = -math.inf

    async def beat(self) -> None:
        """Say which carriers took messages of this process, where it is bound, and hear where anybody is. Where the last one is gone it is tried
        at once, and so is what was left to others that have no message taken any more.
        """
        since, self._beaten = self._beaten, self._clock.monotonic()
        taking = await self._taking.announce(
            {one.name: self._took.get(one.name, -math.inf) > since for one in self._carriers.all()}
        )
        await self._hear_who_is_bound()
        await self._claim_shares()
        self._left = {name: until for name, until in self._left.items() if taking[name]}
        self._crowded = {name: until for name, until in self._crowded.items() if self._share[name].working}

    async def _hear_who_is_bound(self) -> None:
        if not self._binding:
            return
        somebody = await self._bound.announce({name: one.is_bound() for name, one in self._binding.items()})
        for name, is_so in somebody.items():
            self._nobody[name] = 0 if is_so else self._nobody[name] + 1
            if self._nobody[name] == 1:
                self._binding[name].bind_soon()
            elif self._nobody[name] == NOBODY:
                structlog.get_logger().warning("nobody is bound", carrier=name)

    async def _claim_shares(self) -> None:
        """Claims this process's shares of connections. A process that reaches all other channels goes first: one process at least must reach every
        channel, to page people.
        """
        behind = not all(self._is_reached_by_bind(channel) for channel in self._carriers.channels)
        for name, channel in self._sharing.items():
            share = self._share[name] = await self._shares.claim(
                name, self._worker, most=channel.connections, held=channel.held(), works=channel.is_connected(),
                behind=behind, failed_ms=self._failed_ms(name),
            )  # fmt: skip
            channel.share(share.connections)

    def _failed_ms(self, name: str) -> int | None:
        """Returns how long ago the carrier failed this process, and None if that does not count any more."""
        ago_s = self._clock.monotonic() - self._goes_last.get(name, -math.inf)
        return int(1000 * ago_s) if ago_s < LAST_S else None

    def _is_reached_by_bind(self, channel: str) -> bool:
        every = self._carriers.of(channel)
        return bool(_beside(every, [one for one in every if one.name in self._sharing or self._is_bound(one)]))

    async def end(self) -> None:
        """Frees the shares of this process, for the others."""
        for name, channel in self._sharing.items():
            channel.share(0)
            await self._shares.give_up(name, self._worker)

    def may_use(self, carrier: Carrier) -> bool:
        """Whether it is for this process to send by it."""
        until = max(self._left.get(carrier.name, 0), self._crowded.get(carrier.name, 0))
        return self._clock.monotonic() >= until and self._is_bound(carrier)

    def has_share(self, carrier: Carrier) -> bool:
        """Whether this process may connect to the carrier now. A carrier without a limit for the whole installation has no shares."""
        share = self._share.get(carrier.name)
        return carrier.name not in self._sharing or (share is not None and share.connections > 0)

    def _is_bound(self, carrier: Carrier) -> bool:
        """Whether what fails is the carrier's, and not that others are bound."""
        share = self._share.get(carrier.name)
        if share is not None:
            return share.connections > 0
        binding = self._binding.get(carrier.name)
        return binding is None or binding.is_bound() or self._nobody[carrier.name] >= NOBODY

    def _is_bound_or_last(self, carrier: Carrier) -> bool:
        return self._is_bound(carrier) or self._failed_ms(carrier.name) is not None

    def usable(self, every: Sequence[Carrier]) -> list[Carrier]:
        """Of all carriers of a channel those that it may use. What is for when the others rest is not for when other processes have them."""
        return _beside(every, [one for one in every if self.may_use(one)])

    def reaches(self, channel: str) -> bool:
        """Whether messages of a channel are for this process, too."""
        return bool(self.usable(self._carriers.of(channel)))

    def reaches_all(self) -> bool:
        """Whether no channel is for others that are bound, and one at least works from here. A relay that is left to others because it fails here
        does not count: the process that is bound to all other channels may be the only one that can page people.
        """
        every = [self._carriers.of(channel) for channel in self._carriers.channels]
        is_bound = all(_beside(one, list(filter(self._is_bound_or_last, one))) for one in every)
        return is_bound and (not every or any(map(self.usable, every)))

    def takes(self, channel: str) -> bool:
        """Whether such messages are to be taken now."""
        return self.reaches(channel) and self._clock.monotonic() >= self._rests.get(channel, 0)

    def rest(self, channel: str, wait_s: float) -> None:
        """Its carriers here have no room for so long: what was taken is given back, and nothing taken meanwhile."""
        self._rests[channel] = self._clock.monotonic() + min(max(wait_s, SHORTEST_REST_S), LONGEST_REST_S)

    def took(self, carrier: Carrier) -> None:
        """It took a message of this process."""
        self._took[carrier.name] = self._clock.monotonic()
        self._failed.pop(carrier.name, None)
        self._refused.pop(carrier.name, None)
        self._goes_last.pop(carrier.name, None)

    async def leave(self, carrier: Carrier, times: int) -> bool:
        """It did not take so many messages. After as many as are enough for its breaker: where it takes messages of others, and took none of this
        process, leave it to them for a while. Answers whether that is so.
        """
        self._failed[carrier.name] += times
        if self._failed[carrier.name] < FAILURES or self._takes_here(carrier):
            return False
        self._goes_last[carrier.name] = self._clock.monotonic()
        if not (await self._taking.find([carrier.name]))[carrier.name]:
            return False
        self._left[carrier.name] = self._clock.monotonic() + LEFT_S
        return True

    def _takes_here(self, carrier: Carrier) -> bool:
        return self._clock.monotonic() - self._took.get(carrier.name, -math.inf) < TAKEN_S

    def note_answers(self, carrier: Carrier, answers: Sequence[Outcome]) -> list[Outcome]:
        """The answers to a chunk. It is no answer of the carrier's that this process lost its bind meanwhile, or that the carrier takes no more
        connections than those of other processes.
        """
        if self._is_bound(carrier) and not self._is_refused(carrier, answers):
            return list(answers)
        return [WITHHELD if _was_not_bound(one) else one for one in answers]

    def _is_refused(self, carrier: Carrier, answers: Sequence[Outcome]) -> bool:
        """Whether the carrier refuses the connections of this process and may take those of others. Then this process leaves it to them."""
        channel, share = self._sharing.get(carrier.name), self._share.get(carrier.name)
        if channel is None or share is None or not share.others or channel.is_connected():
            return False
        if not any(one.reason is Reason.CONNECTION and _was_not_bound(one) for one in answers):
            return False
        now_s = self._clock.monotonic()
        if not share.working and now_s - self._refused.setdefault(carrier.name, now_s) > REFUSED_S:
            return False
        self._crowded[carrier.name] = now_s + LEFT_S
        structlog.get_logger().warning("carrier refuses connections from here", carrier=carrier.name)
        return True


def _was_not_bound(answer: Outcome) -> bool:
    return answer.answer is Answer.RETRY and answer.reason in _NOT_BOUND and not answer.partly


def _beside(every: Sequence[Carrier], usable: list[Carrier]) -> list[Carrier]:
    """Of a channel's carriers the usable ones, without what stands by where some are others'."""
    stands_by = any(one.weight for one in every) and len(usable) < len(every)
    return [one for one in usable if one.weight] if stands_by else usable
