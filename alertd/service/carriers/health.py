"""The health of the carriers, as one process sees it: whether it may send through one now, and what the answers to a
chunk say about the carrier (`refusals` decides which of them are believed).

Which process may send. A text message centre limits the binds of an account, and may have accepted another process and
not this one. Then the other process sends, and this one tries nothing and does not judge the carrier. Each process
announces with every beat where it is bound. If no process is bound for a few beats, all try. Then a failure of the
carrier shows and counts as usual.

A mail relay limits the connections of the whole installation, and the workers share them (`Sharing`). A worker without
a share sends nothing through the relay. A relay may accept fewer connections than its settings say. If it refuses this
process while another is connected, the relay works. This process then returns its messages, and leaves the relay to the
others for a while.

The same holds for any carrier that takes messages of another process and none of this one. Then the fault is on this
machine: a wrong clock, a certificate that is unknown here, a network that blocks outgoing connections.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from alertd.common.clock import Clock
from alertd.metrics import Metrics
from alertd.service.carriers.carriers import UNLIMITED, Carrier, Carriers, Heard
from alertd.service.carriers.refusals import RefusalBelief, RefusalRun
from alertd.service.carriers.retries import Signs, signs_of, was_not_bound
from alertd.store.carriers.limits import FAILURES, Block, ConnectionShares, Limits, Share
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.engine.heartbeats import TAKING_MS, Heartbeats
from channels.base import WITHHELD, Answer, Binding, MultiServer, Outcome, Reason, Sharing, Subject

#: Beats in a row in which no process is bound, after which all processes try. A process that was just accepted has
#: announced it by then. The first beat counts before this process has read what the others announced.
NOBODY = 4
#: Shortest and longest time in s for which this process takes no leases of a channel if its carriers have no permits
#: here. Processes that are bound to the others take its messages.
SHORTEST_REST_S, LONGEST_REST_S = 0.25, 1.0
#: `TAKEN_S`: if the carrier accepted nothing of a process for this long (s), the process's own mark has expired. Then
#: it believes other processes that announce that the carrier takes messages. `LEFT_S`: for so long (s) it leaves the
#: carrier to the others, or until the carrier takes nothing from any process.
TAKEN_S = TAKING_MS / 1000 + 5
LEFT_S = 60.0
#: Seconds after a carrier took nothing of this process. In this time the other processes get connections to it first.
LAST_S = 300.0
#: Seconds for which a process tries a carrier that refuses it, while the others announce whether they are connected.
REFUSED_S = 2.0
#: Failures that may be this machine's fault: its clock, certificates, network or configuration.
OF_A_MACHINE = frozenset({Reason.CONNECTION, Reason.TIMEOUT, Reason.CREDENTIALS})
_NO_CONNECTION = (Reason.CONNECTION, Subject.CARRIER)


class ChunkReport(NamedTuple):
    """The answers to one chunk, and what they say about the carrier."""

    said: Sequence[Outcome] = ()  # the carrier's own answers to this process
    answers: Sequence[Outcome] = ()  # the answers, corrected where the carrier is not believed
    signs: Signs = Signs()
    accepted: bool = False  # the carrier accepted a message
    refused: int = 0  # refused new recipients, if the carrier itself may be the reason
    domains: Sequence[Heard] = ()  # what the answers say about the mail domains behind the carrier


@dataclass(slots=True)
class _Known:
    """What this process knows of one carrier. Times are monotonic s."""

    sharing: Sharing | None
    binding: Binding | None
    share: Share | None = None  # this process's share of the connections
    unbound: int = 1  # beats in a row in which no process was bound
    refused_s: float | None = None  # since when the carrier refuses the connections of this process
    left_s: float = 0  # until when the carrier is left to others, because it takes nothing of this process
    crowded_s: float = 0  # until when the carrier is left to the processes that are connected
    took_s: float = -math.inf  # when the carrier last took a message of this process
    last_s: float = -math.inf  # when the carrier took nothing of this process: others get its connections first
    failed: int = 0  # messages in a row that the carrier did not take
    refusals: RefusalRun = field(default_factory=RefusalRun)
    refused_all_s: float | None = None  # when it last refused a recipient; None while it accepts recipients


@dataclass(kw_only=True)
class CarrierHealth:
    """Decides, for one process, which carriers it may use, and learns from their answers."""

    carriers: Carriers
    limits: Limits
    bound: Heartbeats
    taking: Heartbeats
    shares: ConnectionShares
    clock: Clock
    metrics: Metrics
    failing: set[str] = field(default_factory=set)  # carriers that failed at the last chunk
    _worker: str = field(default_factory=lambda: secrets.token_hex(8))
    _known: dict[str, _Known] = field(default_factory=dict)  # by carrier
    _rests: dict[str, float] = field(default_factory=dict)  # by channel: until when it is left alone (monotonic s)
    _beaten_s: float = -math.inf
    _belief: RefusalBelief = field(default_factory=RefusalBelief)

    def __post_init__(self) -> None:
        for one in self.carriers.all():
            channel = one.channel
            sharing = channel if isinstance(channel, Sharing) else None
            self._known[one.name] = _Known(sharing, channel if isinstance(channel, Binding) else None)
            if sharing:
                sharing.share(sharing.connections)

    async def beat(self) -> None:
        """Announces which carriers took messages of this process and where it is bound, and reads the same of all
        processes. If the last bound process is gone, this process tries to bind at once. It takes back a carrier left
        to others that takes no messages any more.
        """
        since_s, self._beaten_s = self._beaten_s, self.clock.monotonic()
        taking = await self.taking.announce({name: one.took_s > since_s for name, one in self._known.items()})
        await self._hear_who_is_bound()
        await self._claim_shares()
        for name, known in self._known.items():
            if not taking[name]:
                known.left_s = 0
            elif known.refused_all_s is not None and self._beaten_s - known.refused_all_s > TAKEN_S:
                known.refused_all_s = None  # another process's message was accepted after the refusals
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
                structlog.get_logger().warning("carrier.found_unbound", carrier=name)

    async def _claim_shares(self) -> None:
        """Claims this process's shares of connections. A process that reaches all other channels goes first, because at
        least one process must reach every channel, to page people.
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
        """Gives this process's shares of connections to the other processes."""
        for name, known in self._known.items():
            if known.sharing:
                known.sharing.share(0)
                await self.shares.give_up(name, self._worker)

    def may_use(self, carrier: Carrier) -> bool:
        """Returns whether this process may send through the carrier."""
        known = self._known[carrier.name]
        return self.clock.monotonic() >= max(known.left_s, known.crowded_s) and self._is_bound(carrier)

    def has_share(self, carrier: Carrier) -> bool:
        """Returns whether this process may connect to the carrier now. True for a carrier without a limit for all
        workers.
        """
        known = self._known[carrier.name]
        return known.sharing is None or (known.share is not None and known.share.connections > 0)

    def _is_bound(self, carrier: Carrier) -> bool:
        """Returns whether this process is connected, or no process is. Otherwise a failure is not the carrier's fault."""
        known = self._known[carrier.name]
        if known.share is not None:
            return known.share.connections > 0
        return known.binding is None or known.binding.is_bound() or known.unbound >= NOBODY

    def usable(self, every: Sequence[Carrier]) -> list[Carrier]:
        """Returns the carriers of `every` (all of a channel) that this process may use. Leaves out reserves (weight 0)
        if it may not use all: other processes may use the rest.
        """
        return _beside(every, [one for one in every if self.may_use(one)])

    def reaches(self, channel: str) -> bool:
        """Returns whether this process can send messages of the channel."""
        return bool(self.usable(self.carriers.of(channel)))

    def _reaches_each(self, may: Callable[[Carrier], bool]) -> bool:
        """Returns whether every channel has a carrier that `may` accepts. A reserve counts only if the channel has no
        other.
        """
        every = [self.carriers.of(channel) for channel in self.carriers.channels]
        return all(_beside(one, list(filter(may, one))) for one in every)

    def reaches_all(self) -> bool:
        """Returns whether this process is bound for every channel, and can send on at least one. A relay that this
        process leaves to others because it fails here does not count: this process may be the only one bound to all
        other channels, and so the only one that can page people.
        """
        since_s = self.clock.monotonic() - LAST_S
        is_bound = self._reaches_each(lambda one: self._is_bound(one) or self._known[one.name].last_s > since_s)
        return is_bound and (not self.carriers.channels or any(map(self.reaches, self.carriers.channels)))

    def takes(self, channel: str) -> bool:
        """Returns whether this process may take leases of this channel now."""
        return self.reaches(channel) and self.clock.monotonic() >= self._rests.get(channel, 0)

    def rest(self, channel: str, wait_s: float) -> None:
        """Takes no leases of the channel for `wait_s` seconds: its carriers have no permits here. Leases that it has go
        back.
        """
        self._rests[channel] = self.clock.monotonic() + min(max(wait_s, SHORTEST_REST_S), LONGEST_REST_S)

    async def grant(
        self, carrier: Carrier, rows: Sequence[int], tries: Sequence[int], cost: int, *, most: int, loud: bool
    ) -> tuple[list[int], Block]:
        """Takes permits from a carrier. Returns the rows that may be sent now, at most `most`, and the block of permits
        for them (`cost` for each row). `tries` is by row. Rows that were never tried go first: they say most about the
        carrier.

        Without rows, the block has the seconds until the next question. With rows and seconds, the rows probe a paused
        carrier.
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
        """Gives back unused permits, for other rows and for another probe of a paused carrier. Returns the rest of the
        block. If the store is away, no process can have them, and they grow back by themselves.
        """
        if carrier.rate < UNLIMITED or block.wait_s:
            with suppress(StoreUnavailableError):
                await self.limits.give_back(carrier.name, carrier.rate, permits, loud=loud, block=block)
        return block.less(permits, carrier.rate)

    def judge(
        self,
        carrier: Carrier,
        addresses: Sequence[str],
        attempts: Sequence[int],
        said: Sequence[Outcome],
        *,
        probes: bool,
    ) -> ChunkReport:
        """Returns a report of the answers to a chunk. `attempts` has the attempt number of each. `probes`: the chunk
        probed a paused carrier, whose refusals are not believed.

        If this process lost its bind, or the carrier takes no connections beyond those of other processes, the answers
        do not concern the carrier. Each web push service is judged apart: a message that one server accepted does not
        make another server's refusals believed. Its answers do not judge the carrier.
        """
        if not self._is_bound(carrier) or self._is_refused(carrier, said):
            said = [WITHHELD if was_not_bound(one) else one for one in said]
        channel = carrier.channel
        if isinstance(channel, MultiServer):
            whose = [f"{carrier.name} {channel.server_of(address)}" for address in addresses]
            return ChunkReport(said, self._belief.of_servers(whose, said, attempts, resting=probes)[0])
        answers, refused = self._belief.of_servers([carrier.name] * len(said), said, attempts, resting=probes)
        known = self._known[carrier.name]
        if known.refusals.note(addresses, said, attempts) and known.refusals.is_of_everyone:
            known.refused_all_s = self.clock.monotonic()
        signs = signs_of(said, attempts, believed=refused > 0)
        if channel.name == "mail":
            answers = self._belief.of_domains(addresses, answers, attempts)
        return ChunkReport(said, answers, signs, any(one.answer is Answer.ACCEPTED for one in said), refused)

    def refusal(self, carrier: Carrier) -> str | None:
        """Returns what the carrier says of recipients if it refuses all of them, "" if it gives no reason. Returns None
        if it accepts recipients, as far as this process knows. The words name no recipient.
        """
        known = self._known[carrier.name]
        return None if known.refused_all_s is None else known.refusals.common

    def _is_refused(self, carrier: Carrier, answers: Sequence[Outcome]) -> bool:
        """Returns whether the carrier refuses only this process's connections. If so, leaves the carrier to the others."""
        known = self._known[carrier.name]
        if known.sharing is None or known.share is None or not known.share.others or known.sharing.is_connected():
            return False
        # Some servers hang up on one recipient, which says nothing about the others.
        if not any(was_not_bound(one) and (one.reason, one.subject) == _NO_CONNECTION for one in answers):
            return False
        now_s = self.clock.monotonic()
        if not known.share.working:
            known.refused_s = now_s if known.refused_s is None else known.refused_s
            if now_s - known.refused_s > REFUSED_S:
                return False
        known.crowded_s = now_s + LEFT_S
        structlog.get_logger().warning("carrier.refused_connections", carrier=carrier.name)
        return True

    async def apply_report(self, carrier: Carrier, report: ChunkReport, probed: Block | None) -> None:
        """Acts on a chunk's report: counts failures, pauses a carrier or domain that asks for it, or ends a pause after
        a good probe. `probed`: the permit of that probe, if any.
        """
        signs, refused = report.signs, report.refused
        if report.accepted:
            self.took(carrier)
        # A carrier that was paused or refuses everyone must first accept a recipient, if other carriers can replace it.
        # An only carrier that refuses many recipients is not paused: those may be dead, and all others would wait.
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
                structlog.get_logger().warning("carrier.paused", carrier=one.limiter, seconds=one.wait_s)
                await self.limits.pause(one.limiter, one.wait_s)
            elif one.probed and one.works and await self.limits.resume(one.limiter, one.probed):
                structlog.get_logger().info("carrier.resumed", carrier=one.limiter)
        if probed and not (signs.failed or refused or works or signs.wait_s):
            await self.limits.undecided(carrier.name, probed)

    async def _failed(self, carrier: Carrier, times: int, why: Reason) -> None:
        """Counts failures. After enough, pauses the carrier, or leaves it to other processes that can use it."""
        reason = why.name.lower()
        if why in OF_A_MACHINE and await self.leave(carrier, times):
            structlog.get_logger().warning("carrier.failed_here", carrier=carrier.name, reason=reason)
            return
        self.failing.add(carrier.name)
        rest_s = await self.limits.failed(carrier.name, times)
        if rest_s:
            structlog.get_logger().warning("carrier.failed", carrier=carrier.name, reason=reason, rests_s=rest_s)

    def took(self, carrier: Carrier) -> None:
        """Notes that the carrier took a message of this process, now."""
        known = self._known[carrier.name]
        known.took_s, known.failed, known.refused_s, known.last_s = self.clock.monotonic(), 0, None, -math.inf
        known.refused_all_s = None

    async def leave(self, carrier: Carrier, times: int) -> bool:
        """Counts `times` messages that the carrier did not take. Returns whether this process leaves the carrier to
        others for a while: after as many failures as open the breaker, if the carrier takes messages of others and took
        none of this process for `TAKEN_S` seconds.
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


def _beside(every: Sequence[Carrier], usable: list[Carrier]) -> list[Carrier]:
    """Returns the usable carriers of a channel, without reserves if other carriers of the channel are not usable here."""
    stands_by = any(one.weight for one in every) and len(usable) < len(every)
    return [one for one in usable if one.weight] if stands_by else usable
