"""Late reports: what a carrier says of a message after it took it, what an app acknowledges, and who leaves; as text
message centres and mail servers tell it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from alertd.common.clock import Clock
from alertd.common.ids import LINKED, Reference, Tags, TokenPurpose
from alertd.metrics import Metrics
from alertd.model.kinds import Channel
from alertd.model.states import CHANNELS, STEPS, LedgerReason, State
from alertd.service.people.dead_addresses import Dead, DeadAddresses
from alertd.service.people.suppression import Suppression
from alertd.store.delivery.acknowledgements import Acknowledgements
from alertd.store.delivery.message_ids import MessageIds, Owner, Said, Sent
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import LateReport, Reported
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.people.subscribers import People
from channels.base import Reason, ReportState
from channels.bounces import MailReport
from channels.smpp import inbox
from channels.smpp.receipts import Report, names_of
from channels.smpp.words import Word

#: What a carrier's report makes of a row; the rest are stations on the way.
REPORTED = {ReportState.DELIVERED: State.DELIVERED, ReportState.FAILED: State.FAILED}

#: From which states a report may move a row: delivered outranks failed, whichever comes first. Reports overtake answers, and
#: one that comes while the next try waits makes that try needless; the failure of an earlier try does not. An answer that came late is one, too.
SOURCES = {
    State.ACCEPTED: tuple(old for old, steps in STEPS.items() if State.ACCEPTED in steps),
    State.DELIVERED: tuple(old for old, steps in STEPS.items() if State.DELIVERED in steps),
    State.FAILED: tuple(old for old, steps in STEPS.items() if State.FAILED in steps and old is not State.QUEUED),
}


@dataclass(frozen=True, slots=True)
class End:
    """What is reported of one message: by its tag, or by the carrier's id alone, which may be that of a part of it."""

    tag: str | None
    said: Said


@dataclass(slots=True)
class Receipts:
    """Takes reports in any order, any number of times."""

    work: Work
    acknowledgements: Acknowledgements
    ids: MessageIds
    suppression: Suppression
    dead_addresses: DeadAddresses
    tags: Tags
    clock: Clock
    metrics: Metrics

    def reference(self, tag: str, door: TokenPurpose) -> Reference | None:
        """The reference a signed tag names, or None if it was not made here for this door."""
        return self.tags.parse(tag, door)

    async def reported(self, reference: Reference, said: ReportState, reason: Reason, carrier: str, *, of: str) -> bool:
        """What a carrier says of one reference, where `of` is its channel. False when there is no such row on that channel."""
        state = REPORTED.get(said)
        return state is None or await self.report(reference, state, reason.value, carrier, of=of)

    async def opted_out(self, reference: Reference, number: str) -> None:
        """A carrier that keeps a list of its own says of a message after it took it that the owner of this number wants nothing more: they are on
        ours, too, if the message was theirs.
        """
        if ref := await self.work.ref(reference.alert_id, reference.row):
            await self.dead_addresses.gone([Dead(*ref, number)])

    async def acknowledged(self, reference: Reference, said: ReportState) -> bool:
        """What an app says of a message: that it came, or that it was seen, which is more. False when there is no such row."""
        seen = said is ReportState.SEEN
        channel = await self.work.channel_of(reference.alert_id, reference.row)
        if channel is None:
            return False
        old = (*SOURCES[State.DELIVERED], *((State.DELIVERED,) if seen else ()))
        reason = LedgerReason.SEEN.value if seen else 0
        answer = await self.work.receipt(reference.alert_id, reference.row, channel, State.DELIVERED, reason, old)
        if not answer.old:
            return False
        self._count(answer, channel, "app", said.value)
        await self.acknowledgements.note(self.clock.now_ms())
        return True

    async def report(
        self, reference: Reference, state: State, reason: int, carrier: str, *, of: str | None = None
    ) -> bool:
        """A report for one reference; `of` is the carrier's channel. False when there is no such row on that channel."""
        channel = await self.work.channel_of(reference.alert_id, reference.row)
        if channel is None or of not in {None, channel}:
            return False
        answer = await self.work.receipt(reference.alert_id, reference.row, channel, state, reason, SOURCES[state])
        if not answer.old:
            return False
        self._count(answer, channel, carrier, state.word)
        return True

    def _count(self, answer: Reported, channel: str, carrier: str, word: str) -> None:
        self.metrics.receipts.labels(channel, carrier, word).inc()
        if answer.took_ms >= 0:
            self.metrics.delivery_seconds.labels(channel).observe(answer.took_ms / 1000)

    async def sent(self, carrier: str, channel: str, messages: Sequence[Sent]) -> None:
        """A carrier took these, and will speak of them by its own ids. What it said before counts now."""
        if messages:
            early = await self.ids.keep(carrier, messages)
            await self._settle(early, carrier, channel)

    async def ended(self, carrier: str, channel: str, reports: Sequence[End]) -> None:
        """Reports, in their order. What is said of nobody's message changes nothing."""
        owners = iter(await self.ids.owners(carrier, [one.said for one in reports if one.tag is None]))
        found = [(next(owners) if one.tag is None else Owner(one.tag, 1), one.said) for one in reports]
        await self._settle([(owner, said) for owner, said in found if owner], carrier, channel)

    async def _ends(self, said: Sequence[tuple[Owner, Said]]) -> list[tuple[Owner, Said]]:
        """Without the parts that arrived: a message has failed with any of them, and is delivered with the last."""
        is_part = [owner.parts > 1 and one.state is State.DELIVERED for owner, one in said]
        parts = [(owner, one.message_id) for (owner, one), is_one in zip(said, is_part, strict=True) if is_one]
        whole = iter(await self.ids.whole(parts))
        return [pair for pair, is_one in zip(said, is_part, strict=True) if not is_one or next(whole)]

    async def _settle(self, placed: Sequence[tuple[Owner, Said]], carrier: str, channel: str) -> None:
        reports = []
        for owner, said in await self._ends(placed):
            reference = self.tags.parse(owner.tag, TokenPurpose.RECEIPT)
            if reference and await self._is_there(reference, channel):
                old = SOURCES[said.state]
                reports.append(LateReport(reference.alert_id, reference.row, channel, said.state, said.reason, old))
        for one, answer in zip(reports, await self.work.receipts(reports) if reports else (), strict=True):
            if isinstance(answer, Exception):
                _told(one.alert_id, answer)
            else:
                self._count(answer, channel, carrier, one.state.word)

    async def _is_there(self, reference: Reference, channel: str) -> bool:
        """Whether there is such a row on that channel. An alert whose rows cannot be read keeps no other from its reports."""
        try:
            return await self.work.channel_of(reference.alert_id, reference.row) == channel
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever is wrong, it is wrong with this alert alone
            _told(reference.alert_id, error)
            return False

    async def sent_to(self, reference: Reference) -> str | None:
        """The name of the address that a mail went to, whoever has it by now. None where nobody can tell: an older tag says it no more than by
        its row, which may be deleted (`retention.ledger_days`), or its address gone.
        """
        if reference.address is not None:
            return reference.address
        ref = await self.work.ref(reference.alert_id, reference.row)
        channel = await self.work.channel_of(reference.alert_id, reference.row)
        if ref is None or channel not in LINKED:
            return None
        person = await self.suppression.people.get(ref[0])
        addresses = person.addresses if person else ()
        found = next((a for a in addresses if (a.number, CHANNELS[a.channel]) == (ref[1], channel)), None)
        if found is None or not self.tags.is_for(reference, found.value):
            return None
        return self.suppression.people.names.address_hash(found.channel, found.value)

    async def has_left(self, name: str) -> bool:
        """Whether an address of this name, as `sent_to` answers it, gets no more."""
        return (await self.suppression.people.suppressions.since([name]))[0] is not None

    async def leave(self, reference: Reference) -> bool:
        """Whoever got this mail wants no more at that address. False when nobody can tell which it was, and nothing was done."""
        name = await self.sent_to(reference)
        if name is None:
            return False
        done = await self.suppression.stop_named([name])
        channel = await self.work.channel_of(reference.alert_id, reference.row)
        if channel is None:  # its ledger is deleted
            return True
        if done.changed:
            self.metrics.optouts.labels(channel).inc()
        old = (*SOURCES[State.DELIVERED], State.DELIVERED)
        await self.work.receipt(
            reference.alert_id, reference.row, channel, State.DELIVERED, LedgerReason.LEFT.value, old
        )
        return True


def _told(alert_id: str, error: Exception) -> None:
    structlog.get_logger().error("report cannot be taken", alert=alert_id, error=type(error).__name__)


_CHANNEL = Channel.SMS.value
AT_ONCE = 16  # answers heeded together: each costs some round trips, and the store has others to serve

#: Nothing else that is said changes anything.
_HEEDED = (Word.STOP, Word.START)


@dataclass(slots=True)
class Inbound:
    """Listens to one carrier. Implements `channels.smpp.inbox.Listener`; both calls may be made again with the same."""

    carrier: str
    receipts: Receipts
    suppression: Suppression
    metrics: Metrics

    async def reports(self, reports: Sequence[Report]) -> None:
        """Raises StoreUnavailableError, and then all of them may be told again."""
        taken = [Sent(one.tag, names_of(one.message_id), 0) for one in reports if one.tag and one.state not in REPORTED]
        await self.receipts.sent(self.carrier, _CHANNEL, taken)  # what is said of them may come to another process
        ends = [
            End(one.tag, Said(one.message_id, REPORTED.get(one.state, State.ACCEPTED), one.reason.value))
            for one in reports
        ]
        await self.receipts.ended(self.carrier, _CHANNEL, ends)

    async def take_answers(self, answers: Sequence[inbox.Written]) -> None:
        """Of one number's answers the last counts; one that may be anybody's is nobody's. Raises StoreUnavailableError, and then all of them may
        be told again.
        """
        heard = {one.number: one.word for one in answers if one.word in _HEEDED}
        last = [(number, word) for number, word in heard.items() if number.startswith("+")]
        if unplaced := len(heard) - len(last):
            self.metrics.unplaced.labels(self.carrier).inc(unplaced)
            structlog.get_logger().error(
                "answers from numbers without a country", carrier=self.carrier, answers=unplaced
            )
        for start in range(0, len(last), AT_ONCE):
            heeded = (self._heed(number, word) for number, word in last[start : start + AT_ONCE])
            for fault in await asyncio.gather(*heeded, return_exceptions=True):
                if isinstance(fault, StoreUnavailableError):
                    raise fault
                if isinstance(fault, Exception):  # it is that answer's alone, and no repeating helps
                    structlog.get_logger().error("answer cannot be heeded", error=type(fault).__name__)

    async def _heed(self, number: str, word: Word | None) -> None:
        """Whether anybody has the number or not: it may come with the next import."""
        address = (CHANNELS.index(_CHANNEL), number)
        if word is Word.START:
            await self.suppression.start([address])
        elif (await self.suppression.stop([address])).changed:
            self.metrics.optouts.labels(_CHANNEL).inc()


MAIL = CHANNELS.index("mail")


@dataclass(slots=True)
class MailReports:
    """Takes reports in any order, any number of times."""

    receipts: Receipts
    dead_addresses: DeadAddresses
    work: Work
    people: People

    async def take(self, reports: Sequence[MailReport], carrier: str) -> int:
        """Answers how many were about a mail of ours. A report about none is no fault: tags end, and strangers write."""
        return sum([await self._one(report, carrier) for report in reports])

    async def _one(self, report: MailReport, carrier: str) -> bool:
        found = (self.receipts.reference(tag, TokenPurpose.RECEIPT) for tag in report.tags)
        reference = next((one for one in found if one is not None), None)
        if reference is None:
            return False
        # A ledger that is compressed takes no report, and knows yet whom it is about.
        is_taken = await self.receipts.reported(reference, report.state, report.reason, carrier, of="mail")
        if report.left:
            is_taken = await self.receipts.leave(reference) or is_taken
        if report.state is ReportState.FAILED and report.reason is Reason.GONE:
            await self._gone(reference, report.mailboxes)
        return is_taken

    async def _gone(self, reference: Reference, mailboxes: frozenset[str]) -> None:
        """Removes the address, if it still is what was sent to, and what died: it may forward to one that did."""
        sent_to = await self.receipts.sent_to(reference)
        ref = await self.work.ref(reference.alert_id, reference.row)
        person = await self.people.get(ref[0]) if ref else None
        if ref is None or person is None:
            return
        dead = [
            Dead(person.number, address.number, address.value)
            for address in person.addresses
            if (address.number, address.channel) == (ref[1], MAIL)
            and address.value.lower() in mailboxes
            and self.people.names.address_hash(MAIL, address.value) == sent_to
        ]
        await self.dead_addresses.gone(dead)
