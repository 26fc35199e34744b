"""The health of the carriers, as one process sees it: whether it may send by one now, and what the answers to a chunk say of their carrier.

Which process may send. A text message centre counts the binds of an account, and may have let in another process and not this one: that one
sends, then, and this one tries nothing and says nothing of the carrier. Each process announces with every beat where it is bound. If no process
is bound for a few beats, all try: that the carrier fails is seen then, and counts, as with any other. A mail relay limits the connections of
the whole installation, too, and the workers share them (`Sharing`). A worker without a share sends nothing by the relay. A relay may take
fewer connections than its settings say. If it refuses this process while another is connected, the relay works: this process gives its
messages back and leaves the relay to the others for a while. So it is with a carrier of any kind that takes messages of another process and
none of this one: a wrong clock, a certificate that is not known here, a network that lets nothing out is this machine's trouble.

What a chunk says. Only answers about the carrier open its breaker; a refused recipient proves that the carrier works. A broken carrier may
refuse every address, and a removed address never gets an alert again; a carrier that is set up for another project or sender, or that relays
for nobody, refuses everyone too. So a carrier is believed for a few refusals in a row only. A refusal that may pass counts at the first try
only, because alertd tries refused recipients again and again. A dead address counts at every try: it may come from the next carrier.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from alertd.common.clock import Clock
from alertd.metrics import Metrics
from alertd.service.carriers.carriers import UNLIMITED, Carrier, Carriers, Heard
from alertd.service.carriers.retries import Signs, signs_of
from alertd.store.carriers.limits import FAILURES, Block, ConnectionShares, Limits, Share
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.engine.heartbeats import TAKING_MS, Heartbeats
from channels.base import WITHHELD, Answer, Apart, Binding, Outcome, Reason, Sharing, Subject

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
_NO_CONNECTION = (Reason.CONNECTION, Subject.CARRIER)
#: So many refused addresses are believed in a row. Of a hundred live tokens a few are dead, and one at least is accepted.
IN_A_ROW = 20
#: A carrier that accepts others is believed, for addresses that nobody has used for a year may be dead by the half; but who runs the service hears
#: of more than one in so many.
MANY = 4


class ChunkReport(NamedTuple):
    """The answers to one chunk, and what they say of their carrier."""

    said: Sequence[Outcome] = ()  # by the carrier to this process
    answers: Sequence[Outcome] = ()  # as far as they are believed
    signs: Signs = Signs()
    accepted: bool = False  # any message
    refused: int = 0  # new recipients refused, if the carrier itself may be the reason
    domains: Sequence[Heard] = ()  # what came of the mail domains behind the carrier


@dataclass(slots=True)
class _Known:
    """What this process knows of one carrier. Times are of its clock."""

    sharing: Sharing | None
    binding: Binding | None
    share: Share | None = None  # what this process got of its connections
    unbound: int = 1  # beats in a row that no process was bound
    refused_s: float | None = None  # since when it refuses the connections of this process
    left_s: float = 0  # until when it is left to others, because it takes nothing of this process
    crowded_s: float = 0  # until when it is left to the processes that are connected
    took_s: float = -math.inf  # when it last took a message of this process
    last_s: float = -math.inf  # when it took nothing of this process: others get its connections first
    failed: int = 0  # messages in a row that it did not take


@dataclass(kw_only=True)
class CarrierHealth:
    """Of one process."""

    carriers: Carriers
    limits: Limits
    bound: Heartbeats
    taking: Heartbeats
    shares: ConnectionShares
    clock: Clock
    metrics: Metrics
    failing: set[str] = field(default_factory=set)  # carriers that took nothing of the last chunk
    _worker: str = field(default_factory=lambda: secrets.token_hex(8))
    _known: dict[str, _Known] = field(default_factory=dict)  # by carrier
    _rests: dict[str, float] = field(default_factory=dict)  # by channel, until when
    _beaten_s: float = -math.inf
    _refused: Counter[str] = field(default_factory=Counter)  # by who answers, refusals since it last accepted something
    _doubted: set[str] = field(default_factory=set)  # those of them that the log has named

    def __post_init__(self) -> None:
        for one in self.carriers.all():
            channel = one.channel
            sharing = channel if isinstance(channel, Sharing) else None
            self._known[one.name] = _Known(sharing, channel if isinstance(channel, Binding) else None)
            if sharing:
                sharing.share(sharing.connections)

    async def beat(self) -> None:
        """Say which carriers took messages of this process, where it is bound, and hear where anybody is. Where the last one is gone it is tried
        at once, and so is what was left to others that have no message taken any more.
        """
        since_s, self._beaten_s = self._beaten_s, self.clock.monotonic()
        taking = await self.taking.announce({name: one.took_s > since_s for name, one in self._known.items()})
        await self._hear_who_is_bound()
        await self._claim_shares()
        for name, known in self._known.items():
            if not taking[name]:
                known.left_s = 0
            if known.share is None or not known.share.working:
                known.crowded_s = 0

    async def _hear_who_is_bound(self) -> None:
        binding = {name: one.binding for name, one in self._known.items() if one.binding}
        if not binding:
            return
        somebody = await self.bound.announce({name: one.is_bound() for name, one in binding.items()})
        for name, is_so in somebody.items():
            known = self._known[name]
            known.unbound = 0 if is_so else known.unbound + 1
            if known.unbound == 1:
                binding[name].bind_soon()
            elif known.unbound == NOBODY:
                structlog.get_logger().warning("nobody is bound", carrier=name)

    async def _claim_shares(self) -> None:
        """Claims this process's shares of connections. A process that reaches all other channels goes first: one process at least must reach every
        channel, to page people.
        """
        behind = not self._reaches_each(lambda one: self._known[one.name].sharing is not None or self._is_bound(one))
        now_s = self.clock.monotonic()
        for name, known in self._known.items():
            if (channel := known.sharing) is None:
                continue
            ago_s = now_s - known.last_s
            known.share = await self.shares.claim(
                name, self._worker, most=channel.connections, held=channel.held(), works=channel.is_connected(),
                behind=behind, failed_ms=int(1000 * ago_s) if ago_s < LAST_S else None,
            )  # fmt: skip
            channel.share(known.share.connections)

    async def end(self) -> None:
        """Frees the shares of this process, for the others."""
        for name, known in self._known.items():
            if known.sharing:
                known.sharing.share(0)
                await self.shares.give_up(name, self._worker)

    def may_use(self, carrier: Carrier) -> bool:
        """Whether it is for this process to send by it."""
        known = self._known[carrier.name]
        return self.clock.monotonic() >= max(known.left_s, known.crowded_s) and self._is_bound(carrier)

    def has_share(self, carrier: Carrier) -> bool:
        """Whether this process may connect to the carrier now. A carrier without a limit for the whole installation has no shares."""
        known = self._known[carrier.name]
        return known.sharing is None or (known.share is not None and known.share.connections > 0)

    def _is_bound(self, carrier: Carrier) -> bool:
        """Whether what fails is the carrier's, and not that others are bound."""
        known = self._known[carrier.name]
        if known.share is not None:
            return known.share.connections > 0
        return known.binding is None or known.binding.is_bound() or known.unbound >= NOBODY

    def usable(self, every: Sequence[Carrier]) -> list[Carrier]:
        """Of all carriers of a channel those that it may use. What is for when the others rest is not for when other processes have them."""
        return _beside(every, [one for one in every if self.may_use(one)])

    def reaches(self, channel: str) -> bool:
        """Whether messages of a channel are for this process, too."""
        return bool(self.usable(self.carriers.of(channel)))

    def _reaches_each(self, may: Callable[[Carrier], bool]) -> bool:
        """Whether every channel has a carrier that this process may use."""
        every = [self.carriers.of(channel) for channel in self.carriers.channels]
        return all(_beside(one, list(filter(may, one))) for one in every)

    def reaches_all(self) -> bool:
        """Whether no channel is for others that are bound, and one at least works from here. A relay that is left to others because it fails here
        does not count: the process that is bound to all other channels may be the only one that can page people.
        """
        since_s = self.clock.monotonic() - LAST_S
        is_bound = self._reaches_each(lambda one: self._is_bound(one) or self._known[one.name].last_s > since_s)
        return is_bound and (not self.carriers.channels or any(map(self.reaches, self.carriers.channels)))

    def takes(self, channel: str) -> bool:
        """Whether such messages are to be taken now."""
        return self.reaches(channel) and self.clock.monotonic() >= self._rests.get(channel, 0)

    def rest(self, channel: str, wait_s: float) -> None:
        """Its carriers here have no room for so long: what was taken is given back, and nothing taken meanwhile."""
        self._rests[channel] = self.clock.monotonic() + min(max(wait_s, SHORTEST_REST_S), LONGEST_REST_S)

    async def grant(
        self, carrier: Carrier, rows: Sequence[int], tries: Sequence[int], cost: int, *, most: int, loud: bool
    ) -> tuple[list[int], Block]:
        """The rows that may go now, at most so many, each for `cost` permits, with their permits; if there are none, the seconds until it is worth asking again;
        both to probe a paused carrier. Rows that were never tried go first: they say most of their carrier. `tries` is by row.
        """
        first = sorted(rows, key=lambda row: tries[row] > 0)[:most]
        block = await self.limits.take(
            carrier.name, carrier.rate, carrier.burst, carrier.block(cost, len(first)), cost,
            loud=loud, ramp_s=carrier.ramp_s, is_new=not tries[first[0]],
        )  # fmt: skip
        if not block.granted:
            self.metrics.limit_wait_seconds.labels(carrier.channel.name, carrier.name).observe(block.wait_s)
        return first[: block.granted // cost], block

    async def give_back(self, carrier: Carrier, block: Block, permits: int, *, loud: bool) -> Block:
        """Permits that nothing was written for: another may have them, and another may try a carrier that rests. Returns what is left of the
        block. Of a store that is away nobody can have any, and they come again by themselves.
        """
        if carrier.rate < UNLIMITED or block.wait_s:
            with suppress(StoreUnavailableError):
                await self.limits.give_back(carrier.name, carrier.rate, permits, loud=loud, block=block)
        return block.less(permits, carrier.rate)

    def read(
        self,
        carrier: Carrier,
        addresses: Sequence[str],
        attempts: Sequence[int],
        said: Sequence[Outcome],
        *,
        probes: bool,
    ) -> ChunkReport:
        """Reads the answers to a chunk. `attempts` numbers the try of each. A chunk that `probes` was to try a resting carrier, which is not
        believed.

        It is no answer of the carrier's that this process lost its bind meanwhile, or that the carrier takes no more connections than those of
        other processes. Each push service answers for itself: one that calls all its browsers dead is not believed for what another accepts, and
        what it says is not the word of the carrier.
        """
        if not self._is_bound(carrier) or self._is_refused(carrier, said):
            said = [WITHHELD if _was_not_bound(one) else one for one in said]
        channel = carrier.channel
        if isinstance(channel, Apart):
            whose = [f"{carrier.name} {channel.server_of(address)}" for address in addresses]
            return ChunkReport(said, self.believed(whose, said, attempts, resting=probes)[0])
        answers, refused = self.believed([carrier.name] * len(said), said, attempts, resting=probes)
        signs = signs_of(said, attempts, believed=refused > 0)
        return ChunkReport(said, answers, signs, any(one.answer is Answer.ACCEPTED for one in said), refused)

    def _is_refused(self, carrier: Carrier, answers: Sequence[Outcome]) -> bool:
        """Whether the carrier refuses the connections of this process and may take those of others. Then this process leaves it to them."""
        known = self._known[carrier.name]
        if known.sharing is None or known.share is None or not known.share.others or known.sharing.is_connected():
            return False
        # Some servers hang up on one recipient, which says nothing of the others.
        if not any(_was_not_bound(one) and (one.reason, one.subject) == _NO_CONNECTION for one in answers):
            return False
        now_s = self.clock.monotonic()
        if not known.share.working:
            known.refused_s = now_s if known.refused_s is None else known.refused_s
            if now_s - known.refused_s > REFUSED_S:
                return False
        known.crowded_s = now_s + LEFT_S
        structlog.get_logger().warning("carrier refuses connections from here", carrier=carrier.name)
        return True

    def believed(
        self, whose: Sequence[str], answers: Sequence[Outcome], attempts: Sequence[int], *, resting: bool
    ) -> tuple[list[Outcome], int]:
        """Returns the answers to a chunk, where an unbelievable "no" to an address becomes another try; and how many new recipients were refused by
        who is not believed. `whose` names who gave each answer.
        """
        triples = list(zip(whose, answers, attempts, strict=True))
        refused = Counter(one for one, answer, attempt in triples if _is_refusal(answer, attempt))
        works = {one for one, answer, _ in triples if answer.answer is Answer.ACCEPTED}
        for one in works:
            self._refused[one] = 0
            self._doubted.discard(one)
            if refused[one] > max(IN_A_ROW, whose.count(one) // MANY):
                structlog.get_logger().warning("carrier refuses many recipients", carrier=one, recipients=refused[one])
        doubted = {one for one in set(whose) - works if self._doubts(one, refused[one], resting=resting)}
        if not doubted:
            return list(answers), 0
        return [
            # What is not believed is tried again, until the alert ends if need be.
            answer._replace(answer=Answer.RETRY, reason=Reason.BLOCKED, of=Subject.RECIPIENT)
            if one in doubted and _is_of_an_address(answer, attempt)
            else answer
            for one, answer, attempt in triples
        ], sum(attempt == 1 and one in doubted and _is_refusal(answer, 1) for one, answer, attempt in triples)

    def _doubts(self, one: str, refused: int, *, resting: bool) -> bool:
        self._refused[one] += refused
        doubts = resting or self._refused[one] > IN_A_ROW
        if doubts and refused and one not in self._doubted:
            self._doubted.add(one)
            structlog.get_logger().error("carrier refuses every recipient", carrier=one, in_a_row=self._refused[one])
        return doubts

    async def heed(self, carrier: Carrier, report: ChunkReport, probed: Block | None) -> None:
        """Pauses a carrier or domain that asks for it, until a probe shows that it works. `probed` is the leave to try a resting carrier, if the
        chunk had it.
        """
        signs, refused = report.signs, report.refused
        if report.accepted:
            self.took(carrier)
        # While others take its place, a carrier that rests or refuses everyone has to accept somebody. An only carrier that refuses many recipients
        # does not rest for it: they may be dead, and everybody else would wait.
        others = [one.name for one in self.carriers.of(carrier.channel.name) if one.name != carrier.name]
        is_replaced = bool(probed or refused) and not all((await self.limits.open_breakers(others)).values())
        works = report.accepted or (signs.works and not is_replaced)
        if signs.failed and not signs.wait_s:
            await self._failed(carrier, signs.failed, signs.why)
        elif refused and is_replaced and not signs.wait_s:
            await self._failed(carrier, refused, Reason.BLOCKED)
        elif works and carrier.name in self.failing:
            self.failing.discard(carrier.name)
            await self.limits.works(carrier.name)
        for one in (Heard(carrier.name, signs.wait_s, works, probed), *report.domains):
            if one.wait_s:
                structlog.get_logger().warning("carrier asks to wait", carrier=one.limiter, seconds=one.wait_s)
                await self.limits.pause(one.limiter, one.wait_s)
            elif one.probed and one.works and await self.limits.resume(one.limiter, one.probed):
                structlog.get_logger().info("carrier takes messages again", carrier=one.limiter)
        if probed and not (signs.failed or refused or works or signs.wait_s):
            await self.limits.undecided(carrier.name, probed)

    async def _failed(self, carrier: Carrier, times: int, why: Reason) -> None:
        """Counts failures; after enough of them the carrier rests. If it accepts messages of other processes, the fault is this machine's, and this
        process leaves the carrier to them.
        """
        reason = why.name.lower()
        if why in OF_A_MACHINE and await self.leave(carrier, times):
            structlog.get_logger().warning("carrier takes nothing from here", carrier=carrier.name, reason=reason)
            return
        self.failing.add(carrier.name)
        rest_s = await self.limits.failed(carrier.name, times)
        if rest_s:
            structlog.get_logger().warning("carrier fails", carrier=carrier.name, reason=reason, rests_s=rest_s)

    def took(self, carrier: Carrier) -> None:
        """It took a message of this process."""
        known = self._known[carrier.name]
        known.took_s, known.failed, known.refused_s, known.last_s = self.clock.monotonic(), 0, None, -math.inf

    async def leave(self, carrier: Carrier, times: int) -> bool:
        """It did not take so many messages. After as many as are enough for its breaker: where it takes messages of others, and took none of this
        process, leave it to them for a while. Answers whether that is so.
        """
        known, now_s = self._known[carrier.name], self.clock.monotonic()
        known.failed += times
        if known.failed < FAILURES or now_s - known.took_s < TAKEN_S:
            return False
        known.last_s = now_s
        if not (await self.taking.find([carrier.name]))[carrier.name]:
            return False
        known.left_s = now_s + LEFT_S
        return True


def _was_not_bound(answer: Outcome) -> bool:
    return answer.answer is Answer.RETRY and answer.reason in _NOT_BOUND and not answer.partly


def _beside(every: Sequence[Carrier], usable: list[Carrier]) -> list[Carrier]:
    """Of a channel's carriers the usable ones, without what stands by where some are others'."""
    stands_by = any(one.weight for one in every) and len(usable) < len(every)
    return [one for one in usable if one.weight] if stands_by else usable


def _is_refusal(answer: Outcome, attempt: int) -> bool:
    """Returns whether an answer refuses a recipient in a way that counts: for now at the first try, for good as `_is_of_an_address` says."""
    is_for_now = answer.answer is Answer.RETRY and answer.subject is Subject.RECIPIENT
    return (is_for_now and attempt == 1) or _is_of_an_address(answer, attempt)


def _is_of_an_address(answer: Outcome, attempt: int) -> bool:
    """Whether it is for good, for who it is for. What is called bad again is: those are tried beside one another, and of them none is accepted."""
    is_bad = answer.reason is Reason.BAD_ADDRESS and attempt == 1
    return answer.answer is Answer.NEVER and (answer.reason is Reason.GONE or is_bad)
