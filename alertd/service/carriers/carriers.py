"""The carriers of this installation: a channel to send through, and the limits for it.

Big mail providers limit the rate by the recipient's domain. A mail to a domain over its limit waits, and the rest of
the chunk is sent. Only the domains in the settings have a limit, a name in logs and a metric series, because any other
domain may belong to one person.
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

#: The rate (permits a second) of a carrier that has none in its settings. Its messages still pass the limiter, so that
#: a pause stops them too.
UNLIMITED = 1_000_000.0
_CHANCE = secrets.SystemRandom()


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """The mailboxes of one provider, with their own limit."""

    name: str  # from the settings
    limiter: str  # name in the limiter's store
    rate: float = UNLIMITED  # mails a second


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrier:
    """One account at one provider."""

    name: str
    number: int  # its byte in ledgers, never reused for another carrier
    channel: Channel
    kind: str = ""  # `kind` in alertd.toml; it decides which settings there are
    from_files: frozenset[str] = frozenset()  # options whose value comes from a file: NAME_file in alertd.toml
    login: str = field(
        default="", repr=False
    )  # all login settings as one text, with the password; never stored or logged in clear
    rate: float = UNLIMITED  # permits a second, in the carrier's unit
    burst: float = UNLIMITED
    weight: float = 1  # share of the channel's messages; 0: used only while the others rest
    ramp_s: float = 0  # seconds after an idle time in which the rate for messages that are not loud grows; 0: none
    hold: bool = False  # an attempt without an answer stays unknown and is not repeated
    domains: Mapping[str, Domain] = field(default_factory=dict)  # by domain name, in lower case

    def block(self, cost: int, rows: int) -> int:
        """Returns how many permits to request at once for `rows` messages of `cost` permits each. It is at most the
        permits of a tenth of a second, so that a dead worker wastes no more.
        """
        return max(cost, min(rows * cost, int(self.rate / 10) // cost * cost))

    def seconds_for(self, permits: int, *, loud: bool) -> float:
        """Returns the seconds in which the carrier takes `permits` after an idle time. On the ramp, of length T =
        `ramp_s`, the rate grows from f to the full rate r: `p = f t + (r - f) t^2 / 2T`. Loud messages have no ramp.
        """
        ramp_s, floor = (0 if loud else self.ramp_s), min(self.rate, max(1, self.rate * RAMP_FLOOR))
        on_the_ramp = ramp_s * (floor + self.rate) / 2
        if permits >= on_the_ramp:
            return ramp_s + (permits - on_the_ramp) / self.rate
        growth = (self.rate - floor) / ramp_s
        return 2 * permits / (floor + math.sqrt(floor**2 + 2 * growth * permits))


class Carriers:
    """The carriers of each channel."""

    def __init__(self, carriers: Iterable[Carrier]) -> None:
        self._by_channel: dict[str, list[Carrier]] = {}
        for carrier in carriers:
            self._by_channel.setdefault(carrier.channel.name, []).append(carrier)

    @property
    def channels(self) -> frozenset[str]:
        return frozenset(self._by_channel)

    def of(self, channel: str) -> Sequence[Carrier]:
        """Returns the carriers of a channel."""
        return self._by_channel[channel]

    def turn(self, channel: str) -> list[Carrier]:
        """Returns all carriers of a channel in the order to ask them. The order is random: each carrier comes first as
        often as its weight says.
        """
        # A weighted draw without replacement: Efraimidis and Spirakis, 2006.
        drawn = {c.name: _CHANCE.random() ** (1 / c.weight) if c.weight else 0 for c in self.of(channel)}
        return sorted(self.of(channel), key=lambda carrier: drawn[carrier.name], reverse=True)

    def seconds_for(self, channel: str, permits: int, *, loud: bool) -> float:
        """Returns the seconds that `permits` take if each carrier of the channel sends its share."""
        whole = sum(carrier.weight for carrier in self.of(channel))
        shares = [(c, c.weight / whole if whole else 1) for c in self.of(channel)]
        return max(carrier.seconds_for(math.ceil(permits * share), loud=loud) for carrier, share in shares if share)

    def named(self, name: str) -> Carrier | None:
        """Returns the carrier of this name, or None."""
        return next((carrier for carrier in self.all() if carrier.name == name), None)

    def all(self) -> list[Carrier]:
        return [carrier for carriers in self._by_channel.values() for carrier in carriers]

    def held(self, channel: str) -> bytes:
        """Returns the numbers of the channel's carriers with `hold`: their open attempts are not repeated.

        If all its carriers hold, returns every number. Then a message of a carrier that was removed from the settings
        is not sent by another carrier either.
        """
        carriers = self.of(channel)
        every = all(carrier.hold for carrier in carriers)
        return bytes(range(256) if every else (carrier.number for carrier in carriers if carrier.hold))


#: Seconds for which alertd pauses mail to a domain that throttles. SMTP names no delay with "slow down". FCM asks for a
#: minute if it names none, and so do operators of SMS centres.
REST_S = 60.0
#: A domain's burst is one second's mails, and at least this many. On slow domains, a mail that asks late in its slot
#: then does not cost the next one its permit.
LEAST_BURST = 2.0


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer of the domains' limits for a list of addresses."""

    waits_s: list[float]  # seconds, by address; 0: send now
    blocks: Mapping[Domain, Block] = field(default_factory=dict)  # the granted permits, by domain

    @property
    def probed(self) -> dict[Domain, Block]:
        """Returns the paused domains to which one mail each may go now, as a probe, with their permits."""
        return {domain: block for domain, block in self.blocks.items() if block.granted and block.wait_s}


@dataclass(frozen=True, slots=True)
class Heard:
    """What the answers to a chunk say about one carrier or domain."""

    limiter: str
    wait_s: float  # seconds to wait, as asked for by the carrier or domain
    works: bool  # a recipient was accepted or refused
    probed: Block | None  # the permit to probe it, if it was resting


class Domains:
    """Takes and returns permits by mail domain, in addition to the carrier's permits."""

    def __init__(self, limits: Limits, clock: Clock, metrics: Metrics) -> None:
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        # By domain and alert: when the last waiting mail is due (monotonic s).
        self._ends: dict[tuple[Domain, str], float] = {}
        self._throttled = Counter[Domain]()  # new recipients in a row that were told to slow down

    async def admit(
        self, carrier: Carrier, alert_id: str, addresses: Sequence[str], is_new: Sequence[bool], *, loud: bool
    ) -> Admission:
        """Takes permits. Returns which mails may go now, and how many seconds each of the others waits. `is_new` marks
        mails that were never tried.
        """
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
        """Returns the permits of mails that were not sent. Another mail can then probe a paused domain. If the store is
        away, the permits grow back by themselves.
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
        """Returns what the answers to a chunk say about each domain that has a limit.

        A domain is to be paused if it told `ENOUGH` new recipients in a row to slow down, or the new recipient that
        probed it. A single mailbox may have its own limit, and a retried mailbox says nothing new.
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
        """Returns the seconds after which each of `count` waiting mails asks again: one after the other at the domain's
        rate, so that few ask in vain.

        The mails of each alert have a queue of their own. So if one alert is cancelled, the others do not wait for its
        mails.
        """
        now, each = self._clock.monotonic(), 1 / domain.rate
        self._ends = {key: end for key, end in self._ends.items() if end > now}
        start = max(self._ends.get((domain, alert_id), 0.0), now + max(wait_s, each))
        self._ends[domain, alert_id] = min(start + count * each, now + LONGEST_WAIT_S)
        # At a random time within the slot: of two alerts in step, the first would get every permit.
        return [min(start + (n + _CHANCE.random()) * each - now, LONGEST_WAIT_S) for n in range(count)]


def _is_throttled(answer: Outcome) -> bool:
    """Returns whether a domain told one of its mailboxes to slow down. If the answer names a delay, it concerns the
    relay's account (see `channels.mail_answers`), and the carrier obeys it.
    """
    return answer.answer is Answer.RETRY and answer.reason is Reason.THROTTLED and answer.retry_after_s is None


def _indices(carrier: Carrier, addresses: Sequence[str]) -> dict[Domain, list[int]]:
    """Returns the indices of the addresses of each domain that has a limit."""
    found: defaultdict[Domain, list[int]] = defaultdict(list)
    for index, address in enumerate(addresses if carrier.domains else ()):
        domain = carrier.domains.get(address.rpartition("@")[2].lower())
        if domain is not None:
            found[domain].append(index)
    return found
