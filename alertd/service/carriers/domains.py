"""Big mail providers throttle by the recipient's domain: whoever of a chunk is over their domain's limit waits, the rest go.

Only the domains of the settings have a limit, a name in logs and a series: another may be one person's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from alertd.common.clock import Clock
from alertd.metrics import Metrics
from alertd.service.carriers.carriers import Carrier, Domain
from alertd.service.carriers.retries import ENOUGH, LONGEST_WAIT_S
from alertd.store.carriers.limits import Block, Limits
from alertd.store.engine.connection import StoreUnavailableError
from channels.base import Answer, Outcome, Reason, Subject

#: SMTP names no delay with "slow down". FCM asks for a minute where it names none, and so do people who run SMS centres.
REST_S = 60.0
#: A second's worth may go at once; on slow domains two mails, so that one who asks late in their slot loses the next no permit.
LEAST_BURST = 2.0
_CHANCE = secrets.SystemRandom()


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
