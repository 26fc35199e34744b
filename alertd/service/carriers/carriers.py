"""The carriers of this installation: a channel to send through, and the rules for it.

Big mail providers throttle by the recipient's domain: an address whose domain is over its limit waits, and the rest of the chunk goes. Only the
domains of the settings have a limit, a name in logs and a series, because another domain may be one person's.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from alertd.common.clock import Clock
from alertd.metrics import Metrics
from alertd.service.carriers.retries import ENOUGH, LONGEST_WAIT_S
from alertd.store.carriers.limits import RAMP_FLOOR, Block, Limits
from alertd.store.engine.connection import StoreUnavailableError
from channels.base import Answer, Channel, Outcome, Reason, Subject

#: Carriers without a rate still pass the limiter, so that a pause stops them too.
UNLIMITED = 1_000_000.0
_CHANCE = secrets.SystemRandom()


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """Mailboxes at one provider, under a limit of their own."""

    name: str  # from the settings
    limiter: str  # its name in the store
    rate: float = UNLIMITED  # mails a second


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrier:
    """One account at one provider."""

    name: str
    number: int  # its byte in ledgers, never given to another
    channel: Channel
    kind: str = ""  # which settings it has: `kind` in alertd.toml
    from_files: frozenset[str] = frozenset()  # the options whose value a file gives: in alertd.toml they are NAME_file
    login: str = field(
        default="", repr=False
    )  # the settings it logs in with, password included, as one text; never stored or logged as it is
    rate: float = UNLIMITED  # permits a second, in the carrier's unit
    burst: float = UNLIMITED
    weight: float = 1  # its share of what the channel's carriers are given; 0: only while the others rest
    ramp_s: float = 0  # after an idle spell the rate for what is not loud grows for so long; 0: at once
    hold: bool = False  # an attempt without an answer stays unknown, rather than being sent again
    domains: Mapping[str, Domain] = field(default_factory=dict)  # by each of their names, lower case

    def block(self, cost: int, rows: int) -> int:
        """How many permits to ask for at once: a tenth of a second's, so that a dead worker wastes no more."""
        return max(cost, min(rows * cost, int(self.rate / 10) // cost * cost))

    def seconds_for(self, permits: int, *, loud: bool) -> float:
        """How long so many take after an idle spell: `p = f t + (r - f) t^2 / 2T` on the ramp, then the whole rate `r`."""
        ramp_s, floor = (0 if loud else self.ramp_s), min(self.rate, max(1, self.rate * RAMP_FLOOR))
        on_the_ramp = ramp_s * (floor + self.rate) / 2
        if permits >= on_the_ramp:
            return ramp_s + (permits - on_the_ramp) / self.rate
        growth = (self.rate - floor) / ramp_s
        return 2 * permits / (floor + math.sqrt(floor**2 + 2 * growth * permits))


class Carriers:
    """Which carriers serve a channel."""

    def __init__(self, carriers: Iterable[Carrier]) -> None:
        self._by_channel: dict[str, list[Carrier]] = {}
        for carrier in carriers:
            self._by_channel.setdefault(carrier.channel.name, []).append(carrier)

    @property
    def channels(self) -> frozenset[str]:
        return frozenset(self._by_channel)

    def of(self, channel: str) -> Sequence[Carrier]:
        """The carriers of a channel."""
        return self._by_channel[channel]

    def turn(self, channel: str) -> list[Carrier]:
        """All of a channel in the order to ask them: by chance, each first as often as its weight says."""
        # A weighted draw without putting back: Efraimidis and Spirakis, 2006.
        drawn = {c.name: _CHANCE.random() ** (1 / c.weight) if c.weight else 0 for c in self.of(channel)}
        return sorted(self.of(channel), key=lambda carrier: drawn[carrier.name], reverse=True)

    def seconds_for(self, channel: str, permits: int, *, loud: bool) -> float:
        """How long so many take when each carrier of a channel has its share."""
        whole = sum(carrier.weight for carrier in self.of(channel))
        shares = [(c, c.weight / whole if whole else 1) for c in self.of(channel)]
        return max(carrier.seconds_for(math.ceil(permits * share), loud=loud) for carrier, share in shares if share)

    def named(self, name: str) -> Carrier | None:
        """The carrier of this name, if there is one."""
        return next((carrier for carrier in self.all() if carrier.name == name), None)

    def all(self) -> list[Carrier]:
        return [carrier for carriers in self._by_channel.values() for carrier in carriers]

    def held(self, channel: str) -> bytes:
        """The numbers of the carriers whose open attempts on a channel are not repeated: where all of its own hold, all there may be, for
        what one had that is not in the settings any more is not sent by another, either.
        """
        carriers = self.of(channel)
        every = all(carrier.hold for carrier in carriers)
        return bytes(range(256) if every else (carrier.number for carrier in carriers if carrier.hold))


#: SMTP names no delay with "slow down". FCM asks for a minute where it names none, and so do people who run SMS centres.
REST_S = 60.0
#: A second's worth may go at once; on slow domains two mails, so that one who asks late in their slot loses the next no permit.
LEAST_BURST = 2.0


@dataclass(frozen=True, slots=True)
class Admission:
    """What the limits of their domains say to some addresses."""

    waits_s: list[float]  # by address; 0: it may be sent to now
    blocks: Mapping[Domain, Block] = field(default_factory=dict)  # the permits of each domain

    @property
    def probed(self) -> dict[Domain, Block]:
        """Returns the domains that rest, and that one mail is to try."""
        return {domain: block for domain, block in self.blocks.items() if block.granted and block.wait_s}


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of those under one limit."""

    limiter: str
    wait_s: float  # what they ask for
    works: bool  # it accepted or refused a recipient
    probed: Block | None  # the leave to try it, where it was resting


class Domains:
    """Permits by domain, below those of the carrier."""

    def __init__(self, limits: Limits, clock: Clock, metrics: Metrics) -> None:
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._ends: dict[tuple[Domain, str], float] = {}  # when the last who waits is due, by alert
        self._throttled = Counter[Domain]()  # new recipients in a row that each told to slow down

    async def admit(
        self, carrier: Carrier, alert_id: str, addresses: Sequence[str], is_new: Sequence[bool], *, loud: bool
    ) -> Admission:
        """Who may go now, and how long each of the others waits. `is_new` says which mails were never tried."""
        by_domain = _indices(carrier, addresses)
        if not by_domain:
            return Admission([0.0] * len(addresses))
        answers = await asyncio.gather(
            *(
                self._limits.take(
                    domain.limiter, domain.rate, max(LEAST_BURST, domain.rate), len(indices),
                    loud=loud, is_new=any(is_new[i] for i in indices),
                )
                for domain, indices in by_domain.items()
            )
        )  # fmt: skip
        waits_s = [0.0] * len(addresses)
        for (domain, indices), block in zip(by_domain.items(), answers, strict=True):
            over = indices[block.granted :]
            for index, due_s in zip(over, self._due(domain, alert_id, block.wait_s, len(over)), strict=True):
                waits_s[index] = due_s
            self._metrics.domain_waits.labels(carrier.name, domain.name).inc(len(over))
        return Admission(waits_s, dict(zip(by_domain, answers, strict=True)))

    async def give_back(
        self, carrier: Carrier, blocks: Mapping[Domain, Block], addresses: Sequence[str], *, loud: bool
    ) -> None:
        """Gives back the permits of mails that were not sent. Another mail tries a domain that rests. If the store is away, the permits come back
        by themselves.
        """
        for domain, indices in _indices(carrier, addresses).items():
            with suppress(StoreUnavailableError):
                await self._limits.give_back(domain.limiter, domain.rate, len(indices), loud=loud, block=blocks[domain])

    def note_answers(
        self,
        carrier: Carrier,
        probed: Mapping[Domain, Block],
        addresses: Sequence[str],
        answers: Sequence[Outcome],
        attempts: Sequence[int],
    ) -> list[Heard]:
        """Returns what the answers of a chunk say of each domain.

        A domain rests if it told `ENOUGH` new recipients in a row to slow down, or the new one that was to try it. One mailbox may have a
        limit of its own, and a mailbox that is tried again says nothing new.
        """
        found = []
        for domain, indices in _indices(carrier, addresses).items():
            new = [answers[i] for i in indices if attempts[i] == 1 and answers[i].answer is not Answer.WITHHELD]
            throttled = sum(map(_is_throttled, new))
            works = any(answers[i].subject is Subject.RECIPIENT and not _is_throttled(answers[i]) for i in indices)
            self._throttled[domain] = throttled + (0 if works else self._throttled[domain])
            is_over = 2 * throttled > len(new) and (domain in probed or self._throttled[domain] >= ENOUGH)
            found.append(Heard(domain.limiter, REST_S if is_over else 0.0, works, probed.get(domain)))
        return found

    def _due(self, domain: Domain, alert_id: str, wait_s: float, count: int) -> list[float]:
        """When those who wait are to ask again: one behind the other at the domain's rate, so that few ask in vain.

        By alert, so that one that was cancelled leaves no gap that others would have to sit out.
        """
        now, each = self._clock.monotonic(), 1 / domain.rate
        self._ends = {key: end for key, end in self._ends.items() if end > now}
        start = max(self._ends.get((domain, alert_id), 0.0), now + max(wait_s, each))
        self._ends[domain, alert_id] = min(start + count * each, now + LONGEST_WAIT_S)
        # Somewhere in their slot: of two alerts in step, the first would have every permit.
        return [min(start + (n + _CHANCE.random()) * each - now, LONGEST_WAIT_S) for n in range(count)]


def _is_throttled(answer: Outcome) -> bool:
    """Returns whether a domain told one of its mailboxes to slow down. A delay that is named is that of the relay's account (see
    `channels.mail_answers`), and the carrier's to heed.
    """
    return answer.answer is Answer.RETRY and answer.reason is Reason.THROTTLED and answer.retry_after_s is None


def _indices(carrier: Carrier, addresses: Sequence[str]) -> dict[Domain, list[int]]:
    """Where each domain that has a limit is among some addresses."""
    found: defaultdict[Domain, list[int]] = defaultdict(list)
    for index, address in enumerate(addresses if carrier.domains else ()):
        domain = carrier.domains.get(address.rpartition("@")[2].lower())
        if domain is not None:
            found[domain].append(index)
    return found
