"""Decides which refusals of recipients are believed.

A refused recipient proves that the carrier works. But a broken carrier may refuse every address, and a removed address
never gets an alert again. A carrier set up for another project or sender, or one that relays for no account, refuses
everyone too. So only a few refusals in a row are believed. A temporary refusal counts at the first attempt only, because
alertd retries refused recipients again and again. A dead address counts at every attempt: it may come from the next
carrier. A mail relay reports what many domains say, so their dead mailboxes are judged by domain as well, at the first
attempt only: the mailboxes that are retried are the dead ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import structlog

from alertd.service.carriers.retries import is_of_an_address, is_refusal
from channels.base import Answer, Outcome, Reason, Subject
from channels.login import HIDDEN

#: Number of refused addresses in a row up to which alertd believes the refusals. Of a hundred live tokens a few are
#: dead, and at least one is accepted.
IN_A_ROW = 20
#: Number of dead mailboxes in a row up to which alertd believes a mail domain. A domain that cannot read its list of
#: mailboxes calls all of them dead, as Gmail did for hours on 14 December 2020.
IN_A_ROW_OF_A_DOMAIN = 2
#: alertd believes the refusals of a carrier that accepts other recipients: half of the addresses may be dead after a
#: year without use. But the log names it if it refuses more than one in this many.
MANY = 4


@dataclass(slots=True)
class RefusalBelief:
    """What one process remembers of the refusals of the carriers and of the mail domains behind them."""

    # By answering server: refusals since it last accepted a message.
    _refused: Counter[str] = field(default_factory=Counter)
    _doubted: set[str] = field(default_factory=set)  # answering servers that the log has named
    _dead: Counter[str] = field(default_factory=Counter)  # by mail domain: dead mailboxes since it last accepted a mail

    def of_servers(
        self, whose: Sequence[str], answers: Sequence[Outcome], attempts: Sequence[int], *, resting: bool
    ) -> tuple[list[Outcome], int]:
        """Returns the answers, with refusals that are not believed turned into retries. Also returns how many of those
        were for new recipients. `whose` names the server of each answer.
        """
        triples = list(zip(whose, answers, attempts, strict=True))
        refused = Counter(one for one, answer, attempt in triples if is_refusal(answer, attempt))
        works = {one for one, answer, _ in triples if answer.answer is Answer.ACCEPTED}
        for one in works:
            self._refused[one] = 0
            self._doubted.discard(one)
            if refused[one] > max(IN_A_ROW, whose.count(one) // MANY):
                structlog.get_logger().warning("carrier.refused_many_recipients", carrier=one, recipients=refused[one])
        doubted = {one for one in set(whose) - works if self._doubts(one, refused[one], resting=resting)}
        if not doubted:
            return list(answers), 0
        return [
            _retried(answer) if one in doubted and is_of_an_address(answer, attempt) else answer
            for one, answer, attempt in triples
        ], sum(attempt == 1 and one in doubted and is_refusal(answer, 1) for one, answer, attempt in triples)

    def of_domains(
        self, addresses: Sequence[str], answers: Sequence[Outcome], attempts: Sequence[int]
    ) -> list[Outcome]:
        """Returns the answers to mails. Turns "no such mailbox" into a retry if the mailbox's domain has said so of more
        than `IN_A_ROW_OF_A_DOMAIN` new recipients and accepted none since.
        """
        domains = [address.rpartition("@")[2].lower() for address in addresses]
        for domain, answer, attempt in zip(domains, answers, attempts, strict=True):
            self._dead[domain] += attempt == 1 and answer.address_gone
        for domain, answer in zip(domains, answers, strict=True):
            if answer.answer is Answer.ACCEPTED or not self._dead[domain]:
                del self._dead[domain]
        return [
            _retried(answer) if answer.address_gone and self._dead[domain] > IN_A_ROW_OF_A_DOMAIN else answer
            for domain, answer in zip(domains, answers, strict=True)
        ]

    def _doubts(self, one: str, refused: int, *, resting: bool) -> bool:
        self._refused[one] += refused
        doubts = resting or self._refused[one] > IN_A_ROW
        if doubts and refused and one not in self._doubted:
            self._doubted.add(one)
            structlog.get_logger().error("carrier.refused_every_recipient", carrier=one, in_a_row=self._refused[one])
        return doubts


@dataclass(slots=True)
class RefusalRun:
    """Counts how many recipients one carrier refused since it last accepted a message."""

    count: int = 0
    common: str = ""  # the words of the last two refusals of different recipients, which therefore name neither
    _address: str = ""
    _said: str = ""

    @property
    def is_of_everyone(self) -> bool:
        """Returns whether more than `IN_A_ROW` recipients were refused."""
        return self.count > IN_A_ROW

    def note(self, addresses: Sequence[str], answers: Sequence[Outcome], attempts: Sequence[int]) -> bool:
        """Notes the answers to a chunk. Returns whether one of them is a refusal."""
        if any(one.answer is Answer.ACCEPTED for one in answers):
            self.count = 0
            return False
        refused = [
            (address, answer)
            for address, answer, attempt in zip(addresses, answers, attempts, strict=True)
            if is_refusal(answer, attempt) or (attempt == 1 and answer[:2] == (Answer.NEVER, Reason.BLOCKED))
        ]
        self.count += len(refused)
        for address, answer in refused[-2:]:
            if address != self._address:
                said = answer.words(address)
                self.common = common_words(self._said, said)
                self._address, self._said = address, said
        return bool(refused)


def common_words(one: str, other: str) -> str:
    """Returns the words that both texts have at the same place, with "…" for the others; "" if there are none."""
    kept = list[str]()
    for word, another in zip_longest(one.split(), other.split()):
        shown = word if word == another else HIDDEN
        if shown != HIDDEN or kept[-1:] != [HIDDEN]:
            kept.append(shown)
    return "" if kept == [HIDDEN] else " ".join(kept)


def _retried(answer: Outcome) -> Outcome:
    """Returns a refusal that is not believed: its message is retried until the alert ends, if need be."""
    return answer._replace(answer=Answer.RETRY, reason=Reason.BLOCKED, of=Subject.RECIPIENT)
