"""Big mail providers throttle by the recipient's domain: whoever of a chunk is over their domain's limit waits, the rest go.

Only the domains of the settings have a limit, a name in logs and a series: another may be one person's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alertd.clock import Clock
from alertd.metrics import Metrics
from alertd.service.carriers import Carrier, Domain
from alertd.service.retries import LONGEST_WAIT_S, of_the_carrier
from alertd.store.limits import Block, Limits
from channels.base import Answer, Outcome, Reason

#: SMTP names no delay with "slow down". FCM asks for a minute where it names none, and so do people who run SMS centres.
REST_S = 60.0
#: A second's worth may go at once; on slow domains two mails, so that one who asks late in their slot loses the next no permit.
LEAST_BURST = 2.0
_CHANCE = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class Admission:
    """What the limits of their domains say to some addresses."""

    waits_s: list[float]  # by address; 0: it may be sent to now
    probed: Mapping[Domain, Block] = field(default_factory=dict)  # these rest, and one mail is to try each


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of those under one limit."""

    limiter: str
    wait_s: float  # what they ask for
    accepted: bool  # any
    probed: Block | None  # the leave to try it, where it was resting


class Domains:
    """Permits by domain, below those of the carrier."""

    def __init__(self, limits: Limits, clock: Clock, metrics: Metrics) -> None:
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._ends: dict[tuple[Domain, str], float] = {}  # when the last who waits is due, by alert

    async def admit(self, carrier: Carrier, alert_id: str, addresses: Sequence[str], *, loud: bool) -> Admission:
        """Who may go now, and how long each of the others waits."""
        by_domain = _indices(carrier, addresses)
        if not by_domain:
            return Admission([0.0] * len(addresses))
        answers = await asyncio.gather(
            *(
                self._limits.take(domain.limiter, domain.rate, max(LEAST_BURST, domain.rate), len(indices), loud=loud)
                for domain, indices in by_domain.items()
            )
        )
        waits_s, probed = [0.0] * len(addresses), dict[Domain, Block]()
        for (domain, indices), block in zip(by_domain.items(), answers, strict=True):
            over = indices[block.granted :]
            for index, due_s in zip(over, self._due(domain, alert_id, block.wait_s, len(over)), strict=True):
                waits_s[index] = due_s
            self._metrics.domain_waits.labels(carrier.name, domain.name).inc(len(over))
            if block.granted and block.wait_s:
                probed[domain] = block
        return Admission(waits_s, probed)

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


def heard(
    carrier: Carrier,
    probed: Mapping[Domain, Block],
    addresses: Sequence[str],
    answers: Sequence[Outcome],
    attempts: Sequence[int],
) -> list[Heard]:
    """What each domain said: it asks for a rest when most of its answers do, since a limit may be one mailbox's."""
    found = []
    for domain, indices in _indices(carrier, addresses).items():
        all_of_it, tries = [answers[i] for i in indices], [attempts[i] for i in indices]
        said = of_the_carrier(all_of_it, tries, probing=domain in probed)
        throttled = sum(one.answer is Answer.RETRY and one.reason is Reason.THROTTLED for one in said)
        accepted = any(one.answer is Answer.ACCEPTED for one in all_of_it)
        # A delay that is named is that of the relay's account (see `channels.mail_answers`), and the carrier's to heed.
        named = any(one.retry_after_s for one in all_of_it)
        rest_s = REST_S if 2 * throttled > len(said) and not named else 0.0
        found.append(Heard(domain.limiter, rest_s, accepted, probed.get(domain)))
    return found


def _indices(carrier: Carrier, addresses: Sequence[str]) -> dict[Domain, list[int]]:
    """Where each domain that has a limit is among some addresses."""
    found: defaultdict[Domain, list[int]] = defaultdict(list)
    for index, address in enumerate(addresses if carrier.domains else ()):
        domain = carrier.domains.get(address.rpartition("@")[2].lower())
        if domain is not None:
            found[domain].append(index)
    return found
