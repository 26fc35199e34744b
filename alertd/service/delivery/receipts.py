"""Handles late reports: delivery reports of carriers, acknowledgements of apps, and opt-outs. Text message centres and
mail servers send the reports and opt-outs.
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
from alertd.store.delivery.message_ids import MessageIds, MessageReport, Owner, Sent
from alertd.store.delivery.work import Work
from alertd.store.delivery.work_records import LateReport, Reported
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.people.subscribers import People
from channels.base import Reason, ReportState
from channels.bounces import MailReport
from channels.smpp import inbox
from channels.smpp.receipts import Report, names_of
from channels.smpp.words import Word

#: The row's state after a carrier's report. Reports of other states (such as buffered) change no row.
REPORTED = {ReportState.DELIVERED: State.DELIVERED, ReportState.FAILED: State.FAILED}

#: By new state: the states from which a report may move a row to it. Delivered outranks failed, in either order. A
#: report can come before the answer to the attempt. A delivery report during the wait for a retry makes the retry
#: unnecessary. A failure report of an earlier attempt does not. A late answer of the carrier counts as a report too.
SOURCES = {
    State.ACCEPTED: tuple(old for old, steps in STEPS.items() if State.ACCEPTED in steps),
    State.DELIVERED: tuple(old for old, steps in STEPS.items() if State.DELIVERED in steps),
    State.FAILED: tuple(old for old, steps in STEPS.items() if State.FAILED in steps and old is not State.QUEUED),
}


@dataclass(frozen=True, slots=True)
class End:
    """A carrier's report about one message. `tag` names the message. If there is no tag, the carrier's id in `said`
    names it; the id may belong to one part of the message.
    """

    tag: str | None
    said: MessageReport


@dataclass(slots=True)
class Receipts:
    """Handles reports in any order. Repeated reports do no harm."""

    work: Work
    acknowledgements: Acknowledgements
    ids: MessageIds
    suppression: Suppression
    dead_addresses: DeadAddresses
    tags: Tags
    clock: Clock
    metrics: Metrics

    def reference(self, tag: str, door: TokenPurpose) -> Reference | None:
        """Returns the reference of a signed tag. Returns None if this installation did not sign the tag for this
        purpose (`door`).
        """
        return self.tags.parse(tag, door)

    async def reported(self, reference: Reference, said: ReportState, reason: Reason, carrier: str, *, of: str) -> bool:
        """Stores a carrier's report about one message (a row of an alert's ledger). `of` is the carrier's channel.
        Returns False if that channel has no such row, or the ledger is compressed. A report of an intermediate state
        stores nothing, and returns True.
        """
        state = REPORTED.get(said)
        return state is None or await self.report(reference, state, reason.value, carrier, of=of)

    async def opted_out(self, reference: Reference, number: str) -> None:
        """Adds the phone number to the suppression list, if it still is the address that the message went to. Some
        carriers keep their own list and report such an opt-out after they accepted the message.
        """
        if ref := await self.work.ref(reference.alert_id, reference.row):
            await self.dead_addresses.gone([Dead(*ref, number)])

    async def acknowledged(self, reference: Reference, said: ReportState) -> bool:
        """Stores an app's acknowledgement that a message arrived or that a person saw it (which outranks arrival).
        Returns False if there is no such row, or the ledger is compressed.
        """
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
        """Moves the row of one message to `state`, if `SOURCES` allows that. `of` is the carrier's channel; None skips
        that check. Returns False if that channel has no such row, or the ledger is compressed; True even if the row
        kept its state.
        """
        channel = await self.work.channel_of(reference.alert_id, reference.row)
        if channel is None or of not in {None, channel}:
            return False
        answer = await self.work.receipt(reference.alert_id, reference.row, channel, state, reason, SOURCES[state])
        if not answer.old:
            return False
        self._count(answer, channel, carrier, state.word)
        return True

    def _count(self, answer: Reported, channel: str, carrier: str, word: str) -> None:
        """Counts a stored report in the metrics, with the time that the message took if that is known."""
        self.metrics.receipts.labels(channel, carrier, word).inc()
        if answer.took_ms >= 0:
            self.metrics.delivery_seconds.labels(channel).observe(answer.took_ms / 1000)

    async def sent(self, carrier: str, channel: str, messages: Sequence[Sent]) -> None:
        """Stores the ids that the carrier gave to accepted messages, and applies reports that arrived before the ids
        were known.
        """
        if messages:
            early = await self.ids.keep(carrier, messages)
            await self._settle(early, carrier, channel)

    async def ended(self, carrier: str, channel: str, reports: Sequence[End]) -> None:
        """Applies reports in their order. Ignores reports about unknown messages."""
        owners = iter(await self.ids.owners(carrier, [one.said for one in reports if one.tag is None]))
        found = [(next(owners) if one.tag is None else Owner(one.tag, 1), one.said) for one in reports]
        await self._settle([(owner, said) for owner, said in found if owner], carrier, channel)

    async def _ends(self, said: Sequence[tuple[Owner, MessageReport]]) -> list[tuple[Owner, MessageReport]]:
        """Returns the reports without those of delivered parts that do not complete their message. A message has failed
        if any part failed, and is delivered when its last part is.
        """
        is_part = [owner.parts > 1 and one.state is State.DELIVERED for owner, one in said]
        parts = [(owner, one.message_id) for (owner, one), is_one in zip(said, is_part, strict=True) if is_one]
        whole = iter(await self.ids.whole(parts))
        return [pair for pair, is_one in zip(said, is_part, strict=True) if not is_one or next(whole)]

    async def _settle(self, placed: Sequence[tuple[Owner, MessageReport]], carrier: str, channel: str) -> None:
        """Applies each report to the ledger row that its owner's tag names. Skips unknown rows. After an error about
        one alert, logs it and continues with the others. Raises StoreUnavailableError: the carrier then reports all
        again.
        """
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
        """Returns whether the channel has such a row. If an alert's rows cannot be read, the answer is False, so that
        the alert does not block the reports of other alerts. Raises StoreUnavailableError.
        """
        try:
            return await self.work.channel_of(reference.alert_id, reference.row) == channel
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  only this alert is affected
            _told(reference.alert_id, error)
            return False

    async def sent_to(self, reference: Reference) -> str | None:
        """Returns the hashed name of the address that a mail went to, even if it now has another owner. Returns None if
        that cannot be found out.

        An older tag does not contain the name, so the row is read. The row may be deleted (`retention.ledger_days`), or
        the address removed.
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
        """Returns whether the address of this name (from `sent_to`) is on the suppression list."""
        return (await self.suppression.people.suppressions.since([name]))[0] is not None

    async def leave(self, reference: Reference) -> bool:
        """Puts the address that got this mail on the suppression list. Returns False, and changes nothing, if the
        address cannot be found out.
        """
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
    """Logs that a report about an alert could not be processed."""
    structlog.get_logger().error("receipt.processing_failed", alert=alert_id, error=type(error).__name__)


_CHANNEL = Channel.SMS.value
AT_ONCE = 16  # answers handled together: each costs some round trips, and the store has other work

#: The words in an SMS from a person that change the suppression list. All other words change nothing.
_OPT_WORDS = (Word.STOP, Word.START)


@dataclass(slots=True)
class Inbound:
    """Handles the reports and SMS answers of one carrier. Implements `channels.smpp.inbox.Listener`. Repeating a call
    does no harm.
    """

    carrier: str
    receipts: Receipts
    suppression: Suppression
    metrics: Metrics

    async def reports(self, reports: Sequence[Report]) -> None:
        """Handles delivery reports. Raises StoreUnavailableError; the caller may then repeat all of them."""
        taken = [Sent(one.tag, names_of(one.message_id), 0) for one in reports if one.tag and one.state not in REPORTED]
        await self.receipts.sent(self.carrier, _CHANNEL, taken)  # reports about them may come to another process
        ends = [
            End(one.tag, MessageReport(one.message_id, REPORTED.get(one.state, State.ACCEPTED), one.reason.value))
            for one in reports
        ]
        await self.receipts.ended(self.carrier, _CHANNEL, ends)

    async def take_answers(self, answers: Sequence[inbox.Written]) -> None:
        """Handles answers that people sent by SMS. The last answer of each number counts. Skips numbers without a
        country code, because they may belong to several people.

        Raises StoreUnavailableError; the caller may then repeat all of them.
        """
        heard = {one.number: one.word for one in answers if one.word in _OPT_WORDS}
        last = [(number, word) for number, word in heard.items() if number.startswith("+")]
        if unplaced := len(heard) - len(last):
            self.metrics.unplaced.labels(self.carrier).inc(unplaced)
            structlog.get_logger().error("sms_answer.skipped", carrier=self.carrier, answers=unplaced)
        for start in range(0, len(last), AT_ONCE):
            heeded = (self._apply_words(number, word) for number, word in last[start : start + AT_ONCE])
            for fault in await asyncio.gather(*heeded, return_exceptions=True):
                if isinstance(fault, StoreUnavailableError):
                    raise fault
                if isinstance(fault, Exception):  # only this answer fails, and repeating it does not help
                    structlog.get_logger().error("sms_answer.processing_failed", error=type(fault).__name__)

    async def _apply_words(self, number: str, word: Word | None) -> None:
        """Opts the number out (STOP) or in again (START), even if no subscriber has it: the next import may add it."""
        address = (CHANNELS.index(_CHANNEL), number)
        if word is Word.START:
            await self.suppression.start([address])
        elif (await self.suppression.stop([address])).changed:
            self.metrics.optouts.labels(_CHANNEL).inc()


MAIL = CHANNELS.index("mail")


@dataclass(slots=True)
class MailReports:
    """Handles mail reports in any order. Repeated reports do no harm."""

    receipts: Receipts
    dead_addresses: DeadAddresses
    work: Work
    people: People

    async def take(self, reports: Sequence[MailReport], carrier: str) -> int:
        """Handles mail reports. Returns how many were about mails of this installation. Other reports are normal: tags
        expire, and strangers write.
        """
        return sum([await self._one(report, carrier) for report in reports])

    async def _one(self, report: MailReport, carrier: str) -> bool:
        """Handles one mail report. Returns False if it is not about a mail of this installation, or changes nothing."""
        found = (self.receipts.reference(tag, TokenPurpose.RECEIPT) for tag in report.tags)
        reference = next((one for one in found if one is not None), None)
        if reference is None:
            return False
        # A compressed ledger takes no report, but still knows the recipient.
        is_taken = await self.receipts.reported(reference, report.state, report.reason, carrier, of="mail")
        if report.left:
            is_taken = await self.receipts.leave(reference) or is_taken
        if report.state is ReportState.FAILED and report.reason is Reason.GONE:
            await self._gone(reference, report.mailboxes)
        return is_taken

    async def _gone(self, reference: Reference, mailboxes: frozenset[str]) -> None:
        """Removes the address of a bounced mail if it still is the one that the mail was sent to, and is itself the
        dead mailbox. A live address may forward to a dead one.
        """
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
