"""Leaving by the link of a mail: it stops the address that the mail went to, whoever has it by now, and no other."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import hdrs
from aiohttp.test_utils import TestClient

from alertd.common.ids import SigningKeys, Tags, TokenPurpose
from alertd.model.registration import MailAddress
from alertd.model.states import CHANNELS
from alertd.model.subscriber import AddressState
from alertd.runtime.worker import worker_of
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.container import Container
from alertd.service.people.registration_intake import Entry
from channels.base import Answer, MayWrite, Outcome, Prepared, Reason, Recipient, ReportState
from channels.bounces import MailReport
from tests.integration.acts import lease_of, planned, register, registration

MAIL = CHANNELS.index("mail")
BOX = "p3@people.example"


@dataclass
class Kept:
    """A carrier that keeps what it is given."""

    name: str = "mail"
    got: dict[str, Recipient] = field(default_factory=dict)  # by address

    def prepare(self, message: Any) -> Prepared:
        return Prepared(message)

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        assert prepared.payload
        assert may_write()
        self.got |= {one.address: one for one in recipients}
        return [Outcome(Answer.ACCEPTED, Reason.NONE) for _ in recipients]

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""


async def mailed(parts: Container, sample: dict[str, Any]) -> dict[str, Recipient]:
    """Send an alert by mail. Answers what each mailbox got."""
    kept = Kept()
    record = await planned(parts, sample, channels=["mail"])
    parts.carriers = Carriers([Carrier(name="kept", number=9, channel=kept)])
    dispatch = worker_of(parts).feeder.dispatch
    while lease := await lease_of(parts.work, record.id, "mail"):
        await dispatch.drain(lease, lambda: False)
    return kept.got


async def clicked(client: TestClient, link: str | None, method: str = "POST") -> tuple[int, str]:
    """What whoever follows a link, or clicks on it, is answered."""
    async with client.request(method, f"/u/{link}", headers={hdrs.ACCEPT: "text/html"}) as answer:
        return answer.status, await answer.text()


async def state(parts: Container, name: str) -> AddressState:
    person = await parts.registry.get(name)
    return next(AddressState(address.state) for address in person.addresses if address.channel == MAIL)


async def number_of(parts: Container, name: str) -> int:
    return next(a.number for a in (await parts.registry.get(name)).addresses if a.channel == MAIL)


async def written_anew(parts: Container) -> None:
    """As a case system does that deletes everybody and imports the whole list."""
    await parts.registry.forget("p3")
    await register(parts, 1, first=3)


async def added_again(parts: Container) -> None:
    await parts.registry.drop_address("p3", await number_of(parts, "p3"))
    await register(parts, 1, first=3)


async def moved(parts: Container) -> None:
    """A household is split: the mailbox is another subscriber's now."""
    await parts.registry.drop_address("p3", await number_of(parts, "p3"))
    box = {"channel": "mail", "mailbox": BOX}
    await parts.registry.put_many([Entry("partner", registration(500, addresses=[box]))])


async def deleted(parts: Container) -> None:
    """And comes again after they left."""
    await parts.registry.forget("p3")


Course = Callable[[Container], Awaitable[None]]
COURSES = pytest.mark.parametrize("course", [written_anew, added_again, moved, deleted])


@COURSES
async def test_whoever_left_is_mailed_no_more(
    parts: Container, client: TestClient, sample: dict[str, Any], course: Course
):
    """Whatever became of the record since the mail: the page says so, and it is so."""
    await register(parts, 25)
    got = await mailed(parts, sample)
    await course(parts)
    assert (await clicked(client, got[BOX].leave, "GET"))[0] == 200
    assert await parts.suppression.since((MAIL, BOX)) is None
    status, page = await clicked(client, got[BOX].leave)
    assert (status, "No more alerts are sent to this address." in page) == (200, True)
    if course is deleted:
        await register(parts, 1, first=3)
    again = await mailed(parts, {**sample, "external_id": "later"})
    assert BOX not in again
    assert len(again) == 24


@COURSES
async def test_whoever_complained_is_mailed_no_more(parts: Container, sample: dict[str, Any], course: Course):
    """The provider of a mailbox tells it by the tag of the return path."""
    await register(parts, 25)
    got = await mailed(parts, sample)
    await course(parts)
    complaint = MailReport(tags=(got[BOX].tag,), state=ReportState.DELIVERED, left=True)
    assert await parts.mail_reports.take([complaint], "kept") == 1
    assert await parts.suppression.since((MAIL, BOX))


async def test_the_link_of_an_old_mail_stops_no_other_address(
    parts: Container, client: TestClient, sample: dict[str, Any]
):
    """The number has another mailbox by now, perhaps another person's: it stays; the mailbox of the mail can leave,
    however its capitals are written now."""
    await register(parts, 25)
    old = await mailed(parts, sample)
    number = await number_of(parts, "p0")
    new = MailAddress(channel="mail", mailbox="new@people.example")
    await parts.registry.put_address("p0", number, new)
    assert (await clicked(client, old["p0@people.example"].leave))[0] == 200
    assert await parts.suppression.since((MAIL, "p0@people.example"))
    assert await state(parts, "p0") is AddressState.ACTIVE
    await parts.registry.put_address("p0", number, MailAddress(channel="mail", mailbox="New@people.example"))
    later = await mailed(parts, {**sample, "external_id": "later"})
    await parts.registry.put_address("p0", number, new)  # the same, in other letters
    assert (await clicked(client, later["New@people.example"].leave))[0] == 200
    assert await state(parts, "p0") is AddressState.STOPPED


async def test_who_leaves_is_counted_once(parts: Container, client: TestClient, sample: dict[str, Any]):
    """However often they click; what came of the alert names them."""
    await register(parts, 25)
    got = await mailed(parts, sample)
    for _ in range(2):
        assert (await clicked(client, got[BOX].leave))[0] == 200
    assert 'alertd_optouts_total{channel="mail"} 1.0' in parts.metrics.text().decode()


def older(parts: Container, link: str | None, mailbox: str) -> str:
    """A link as it was before links named the address: it told it by its row, and three bytes of a hash."""
    reference = parts.receipts.reference(link or "", TokenPurpose.LEAVE)
    assert reference is not None
    plain = base64.urlsafe_b64decode(Tags(SigningKeys(b"")).make(reference.alert_id, reference.row) + "==")[:-10]
    key = hashlib.sha256(b"tag" + parts.db.codec.derived("tags").current).digest()
    body = plain + hmac.digest(key, b"\0" + mailbox.encode(), "sha256")[:3]
    mac = hashlib.blake2b(body, key=key, digest_size=10, person=bytes((TokenPurpose.LEAVE,))).digest()
    return base64.urlsafe_b64encode(body + mac).decode().rstrip("=")


async def test_a_link_of_before_stops_its_address_where_that_is_known(
    parts: Container, client: TestClient, sample: dict[str, Any]
):
    """While the record has it under its number; whose has another there, or was written anew, is told that the link is too old."""
    await register(parts, 25)
    got = await mailed(parts, sample)
    links = {
        name: older(parts, got[box].leave, box) for name in ("p0", "p1", "p3") if (box := f"{name}@people.example")
    }
    new = MailAddress(channel="mail", mailbox="new@people.example")
    await parts.registry.put_address("p1", await number_of(parts, "p1"), new)
    await written_anew(parts)
    for method in ("GET", "POST", "POST"):
        assert [(await clicked(client, link, method))[0] for link in links.values()] == [200, 410, 410]
    for name, kept in zip(links, (AddressState.STOPPED, AddressState.ACTIVE, AddressState.ACTIVE), strict=True):
        assert await state(parts, name) is kept
