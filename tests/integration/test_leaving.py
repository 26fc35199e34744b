"""Leaving by the link of a message: it stops the address the message went to, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from alertd.alerts import CHANNELS
from alertd.app import Parts
from alertd.ids import Door
from alertd.registrations import MailAddress
from alertd.service.carriers import Carrier, Carriers
from alertd.subscribers import AddressState
from alertd.working import worker_of
from channels.base import Answer, MayWrite, Outcome, Prepared, Reason, Recipient
from tests.integration.acts import lease_of, planned, register

MAIL = CHANNELS.index("mail")


@dataclass
class Kept:
    """A carrier that keeps what it is given."""

    name: str = "mail"
    got: dict[str, str] = field(default_factory=dict)  # link by address

    def prepare(self, message: Any) -> Prepared:
        return Prepared(message)

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        assert prepared.payload
        assert may_write()
        self.got |= {one.address: one.leave or "" for one in recipients}
        return [Outcome(Answer.ACCEPTED, Reason.NONE) for _ in recipients]

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""


async def links(parts: Parts, sample: dict[str, Any]) -> dict[str, str]:
    """Send an alert by mail. Answers the link of each mailbox."""
    kept = Kept()
    record = await planned(parts, sample, channels=["mail"])
    parts.carriers = Carriers([Carrier(name="kept", number=9, channel=kept)])
    dispatch = worker_of(parts).feeder.dispatch
    while lease := await lease_of(parts.work, record.id, "mail"):
        await dispatch.drain(lease, lambda: False)
    return kept.got


async def left(parts: Parts, link: str) -> bool:
    reference = parts.receipts.reference(link, Door.LEAVE)
    assert reference
    return await parts.receipts.leave(reference)


async def state(parts: Parts, name: str) -> AddressState:
    person = await parts.registry.get(name)
    return next(AddressState(address.state) for address in person.addresses if address.channel == MAIL)


async def test_the_link_of_an_old_message_stops_no_other_address(parts: Parts, sample: dict[str, Any]):
    """The number has another mailbox by now, perhaps another person's: it stays; the mailbox of the message can leave,
    however its capitals are written now."""
    await register(parts, 25)
    old = await links(parts, sample)
    number = next(a.number for a in (await parts.registry.get("p0")).addresses if a.channel == MAIL)
    new = MailAddress(channel="mail", mailbox="new@people.example")
    await parts.registry.put_address("p0", number, new)
    assert not await left(parts, old["p0@people.example"])
    assert await state(parts, "p0") is AddressState.ACTIVE
    assert await left(parts, old["p1@people.example"])
    assert await state(parts, "p1") is AddressState.STOPPED
    await parts.registry.put_address("p0", number, MailAddress(channel="mail", mailbox="New@people.example"))
    later = await links(parts, {**sample, "external_id": "later"})
    await parts.registry.put_address("p0", number, new)  # the same, in other letters
    assert await left(parts, later["New@people.example"])
    assert await state(parts, "p0") is AddressState.STOPPED
