"""What became of mails, told by mail servers and relays: receipts, dead mailboxes, and people who want no more."""

from __future__ import annotations

from collections.abc import Sequence

from alertd.common.ids import Reference, TokenPurpose
from alertd.model.states import CHANNELS
from alertd.service.delivery.receipts import Receipts
from alertd.service.people.dead_addresses import Dead, DeadAddresses
from alertd.store.delivery.work import Work
from alertd.store.people.subscribers import People
from channels.base import Reason, ReportState
from channels.bounces import MailReport

MAIL = CHANNELS.index("mail")


class MailReports:
    """Takes reports in any order, any number of times."""

    def __init__(self, receipts: Receipts, removal: DeadAddresses, work: Work, people: People) -> None:
        self._receipts = receipts
        self._removal = removal
        self._work = work
        self._people = people

    async def take(self, reports: Sequence[MailReport], carrier: str) -> int:
        """Answers how many were about a mail of ours. A report about none is no fault: tags end, and strangers write."""
        return sum([await self._one(report, carrier) for report in reports])

    async def _one(self, report: MailReport, carrier: str) -> bool:
        found = (self._receipts.reference(tag, TokenPurpose.RECEIPT) for tag in report.tags)
        reference = next((one for one in found if one is not None), None)
        if reference is None:
            return False
        # A ledger that is compressed takes no report, and knows yet whom it is about.
        is_taken = await self._receipts.reported(reference, report.state, report.reason, carrier, of="mail")
        if report.left:
            is_taken = await self._receipts.leave(reference) or is_taken
        if report.state is ReportState.FAILED and report.reason is Reason.GONE:
            await self._gone(reference, report.mailboxes)
        return is_taken

    async def _gone(self, reference: Reference, mailboxes: frozenset[str]) -> None:
        """Removes the address, if it still is what was sent to, and what died: it may forward to one that did."""
        sent_to = await self._receipts.sent_to(reference)
        ref = await self._work.ref(reference.alert_id, reference.row)
        person = await self._people.get(ref[0]) if ref else None
        if ref is None or person is None:
            return
        dead = [
            Dead(person.number, address.number, address.value)
            for address in person.addresses
            if (address.number, address.channel) == (ref[1], MAIL)
            and address.value.lower() in mailboxes
            and self._people.names.address_hash(MAIL, address.value) == sent_to
        ]
        await self._removal.gone(dead)
