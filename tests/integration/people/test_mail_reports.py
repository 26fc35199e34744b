"""What mail servers say of our mails changes the ledger, and the people it is about."""

from __future__ import annotations

import email
import email.policy
import hmac
import json
import socket
import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from alertd.common.clock import HOUR_MS
from alertd.common.ids import TokenPurpose
from alertd.model.registration import MailAddress
from alertd.model.states import CHANNELS
from alertd.model.subscriber import AddressState
from alertd.runtime.assembly import opened
from alertd.runtime.processes import StartError
from alertd.runtime.serve import bounce_sites
from alertd.service.container import Container
from alertd.service.people.dead_addresses import AGAIN_AFTER_S
from alertd.store.alerts import archive
from alertd.store.engine import keys
from alertd.store.people.suppressions import KEPT_S
from channels.base import Reason, ReportState
from channels.bounces import MailReport
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import ANA, api_of, counts, planned, register, registration, send
from tests.integration.conftest import settings_for

MAIL = CHANNELS.index("mail")


async def sent(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], people: int = 21
) -> tuple[Any, dict[str, str]]:
    """An alert by mail. Answers its record, and the tag in the return path of each mailbox."""
    await register(parts, people)
    record = await planned(parts, sample, channels=["mail"])
    await send(parts, record, "mail")
    tags = {to: path.removeprefix("bounce+").partition("@")[0] for to, path in sandbox.mail.return_paths.items()}
    return record, tags


async def state(parts: Container, name: str) -> AddressState | None:
    person = await parts.registry.get(name)
    return next((AddressState(one.state) for one in person.addresses if one.channel == MAIL), None)


def bounce(tag: str, mailbox: str = "p0@people.example", **changes: Any) -> MailReport:
    made = MailReport(tags=(tag,), state=ReportState.FAILED, reason=Reason.GONE, mailboxes=frozenset({mailbox}))
    return replace(made, **changes)


async def again_later(parts: Container, *reports: MailReport) -> None:
    """A provider says so of the same mailboxes today and days later."""
    await parts.mail_reports.take(reports, "relay")
    parts.db.skew_ms += 1000 * AGAIN_AFTER_S
    await parts.mail_reports.take(reports, "relay")


async def test_a_bounce_settles_the_mail_and_a_later_one_removes_the_mailbox(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """However often it comes before; nobody else is touched, and nobody claims the mailbox any more."""
    record, tags = await sent(parts, sandbox, sample)
    report = bounce(tags["p0@people.example"])
    for _ in range(3):
        assert await parts.mail_reports.take([report], "relay") == 1
    assert await counts(parts, record, "mail") == {"failed": 1, "accepted": 20}
    assert await state(parts, "p0") is AddressState.ACTIVE
    await again_later(parts, report)
    assert await counts(parts, record, "mail") == {"failed": 1, "accepted": 20}
    assert await state(parts, "p0") is None
    assert await state(parts, "p1") is AddressState.ACTIVE
    assert await parts.registry.put(
        "new", registration(0, addresses=[{"channel": "mail", "mailbox": "p0@people.example"}])
    )


async def test_the_outage_of_a_provider_takes_nobody_s_mailbox(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """It calls everybody's dead on two days in a row, as Gmail did on 14 and 15 December 2020, by a relay's bounces and in the conversation
    itself: the ledgers say so, and the next alert goes to them all.
    """
    first, tags = await sent(parts, sandbox, sample, 40)
    sandbox.mail.script.set(Rule("p1", "no-mailbox"))  # p1 and p10 to p19
    second = await planned(parts, sample, channels=["mail"])
    await send(parts, second, "mail")
    assert await counts(parts, second, "mail") == {"failed": 11, "accepted": 29}
    parts.db.skew_ms += 30 * HOUR_MS
    await parts.mail_reports.take([bounce(tag, to) for to, tag in tags.items()], "relay")
    assert await counts(parts, first, "mail") == {"failed": 40}
    assert {await state(parts, f"p{n}") for n in range(40)} == {AddressState.ACTIVE}


async def test_a_mailbox_that_was_removed_and_is_brought_anew_is_believed(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """One answer takes it no more than at first; what a server says a year later has nothing to do with it."""
    _, tags = await sent(parts, sandbox, sample)
    report = bounce(tags["p0@people.example"])
    await again_later(parts, report)
    await register(parts, 1)
    await parts.mail_reports.take([report], "relay")
    assert await state(parts, "p0") is AddressState.ACTIVE
    name = parts.people.names.address_hash(MAIL, "p0@people.example")
    assert 0 < await parts.db.execute("TTL", keys.called_dead(name)) <= KEPT_S


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": Reason.BLOCKED},
        {"reason": Reason.UNAVAILABLE},
        {"mailboxes": frozenset({"elsewhere@other.example"})},
        {"mailboxes": frozenset()},
    ],
)
async def test_only_the_very_mailbox_that_died_is_removed(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], changes
):
    """A full mailbox, a policy, or the death of what it forwards to leave it."""
    record, tags = await sent(parts, sandbox, sample)
    await again_later(parts, bounce(tags["p0@people.example"], **changes))
    assert (await counts(parts, record, "mail"))["failed"] == 1
    assert await state(parts, "p0") is AddressState.ACTIVE


async def test_a_late_bounce_hurts_no_new_mailbox(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """The number has another mailbox by now, and even one that the bounce names is not what this mail was sent to."""
    _, tags = await sent(parts, sandbox, sample)
    number = next(a.number for a in (await parts.registry.get("p0")).addresses if a.channel == MAIL)
    await parts.registry.put_address("p0", number, MailAddress(channel="mail", mailbox="new@people.example"))
    for report in (
        bounce(tags["p0@people.example"]),
        bounce(tags["p0@people.example"], "new@people.example"),
        bounce(tags["p0@people.example"], state=ReportState.DELIVERED, reason=Reason.NONE, left=True),
    ):
        await again_later(parts, report)
    assert await state(parts, "p0") is AddressState.ACTIVE


async def test_who_complains_gets_no_more(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """A complaint proves that the mail arrived, and stops the address."""
    record, tags = await sent(parts, sandbox, sample)
    complaint = bounce(tags["p0@people.example"], state=ReportState.DELIVERED, reason=Reason.NONE, left=True)
    assert await parts.mail_reports.take([complaint], "relay") == 1
    assert await counts(parts, record, "mail") == {"delivered": 1, "accepted": 20}
    assert await state(parts, "p0") is AddressState.STOPPED


async def test_who_complains_of_an_old_alert_gets_no_more(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """Its ledger is compressed and takes no report any more; whom each mail was sent to is known all the same."""
    record, tags = await sent(parts, sandbox, sample)
    await parts.follow_ups.close(record.id, ANA, "found")
    assert await archive.archive(parts.db, record.id, 0)
    complaint = bounce(tags["p0@people.example"], state=ReportState.DELIVERED, reason=Reason.NONE, left=True)
    dead = bounce(tags["p1@people.example"], "p1@people.example")
    assert await parts.mail_reports.take([complaint, dead], "relay") == 1
    await again_later(parts, dead)
    assert await counts(parts, record, "mail") == {"accepted": 21}
    assert (await state(parts, "p0"), await state(parts, "p1")) == (AddressState.STOPPED, None)


async def test_a_delay_changes_nothing_and_delivered_outranks_failed(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Reports come in any order."""
    record, tags = await sent(parts, sandbox, sample)
    tag = tags["p0@people.example"]
    await parts.mail_reports.take([bounce(tag, state=ReportState.ACCEPTED, reason=Reason.NONE)], "relay")
    assert await counts(parts, record, "mail") == {"accepted": 21}
    await parts.mail_reports.take([bounce(tag, state=ReportState.DELIVERED, reason=Reason.NONE)], "relay")
    await parts.mail_reports.take([bounce(tag, reason=Reason.UNAVAILABLE)], "relay")
    assert await counts(parts, record, "mail") == {"delivered": 1, "accepted": 20}


async def test_tags_of_others_are_nobodys(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """A forged tag, that of the link to leave, one in small letters; the first that is ours counts."""
    record, tags = await sent(parts, sandbox, sample)
    tag = tags["p0@people.example"]
    leave = parts.tags.make(record.id, 0, TokenPurpose.LEAVE)
    forged = tag[:30] + ("A" if tag[30] != "A" else "B") + tag[31:]
    assert await parts.mail_reports.take([bounce(one) for one in (forged, "", leave, tag.lower())], "relay") == 0
    assert await parts.mail_reports.take([replace(bounce(tag), tags=(tag.upper(), tag))], "relay") == 1


@pytest.fixture
async def relay(redis, codec, sandbox: Sandbox, library, aiohttp_client):
    """An alertd whose relay is Mailgun, and a client of its API."""
    settings = settings_for(sandbox)
    carrier = settings.carriers["relay"].model_copy(update={"reports": "mailgun", "reports_secret": SecretStr("horse")})
    settings = settings.model_copy(update={"carriers": {**settings.carriers, "relay": carrier}})

    async with opened(settings, redis, codec, library=library) as parts:
        yield parts, await aiohttp_client(api_of(parts))


def mailgun(tag: str, key: bytes = b"horse", *, later_s: int = 0) -> dict[str, Any]:
    now = str(int(time.time()) + later_s)
    return {
        "signature": {
            "timestamp": now,
            "token": "t",
            "signature": hmac.digest(key, f"{now}t".encode(), "sha256").hex(),
        },
        "event-data": {
            "event": "failed",
            "severity": "permanent",
            "recipient": "p0@people.example",
            "delivery-status": {"code": 550, "message": "5.1.1 no such user"},
            "message": {"headers": {"message-id": f"{tag}@centre.example"}},
        },
    }


async def test_a_relay_posts_what_became_of_a_mail(relay, sandbox: Sandbox, sample: dict[str, Any]):
    """Without a key and with its own proof; a report about nobody is taken, so that it does not come again."""
    parts, client = relay
    record, tags = await sent(parts, sandbox, sample)
    for posted, taken in ((mailgun(tags["p0@people.example"]), 1), (mailgun("x"), 0)):
        async with client.post("/v1/receipts/relay", json=posted) as answer:
            assert (answer.status, await answer.json()) == (200, {"taken": taken})
    assert await counts(parts, record, "mail") == {"failed": 1, "accepted": 20}
    parts.db.skew_ms += 1000 * AGAIN_AFTER_S
    async with client.post(
        "/v1/receipts/relay", json=mailgun(tags["p0@people.example"], later_s=AGAIN_AFTER_S)
    ) as answer:
        assert answer.status == 200
    assert await state(parts, "p0") is None


async def test_a_report_is_as_old_as_the_store_has_it(relay, sandbox: Sandbox, sample: dict[str, Any]):
    """A machine that is behind by an hour would take none: those who unsubscribed at the relay would go on being written to."""
    parts, client = relay
    record, tags = await sent(parts, sandbox, sample)
    parts.db.skew_ms = 3_600_000
    posted = mailgun(tags["p0@people.example"], later_s=3_600)
    async with client.post("/v1/receipts/relay", json=posted) as answer:
        assert (answer.status, await answer.json()) == (200, {"taken": 1})
    assert await counts(parts, record, "mail") == {"failed": 1, "accepted": 20}


async def test_who_proves_nothing_changes_nothing(relay, sandbox: Sandbox, sample: dict[str, Any]):
    """A wrong key, no JSON, another carrier, one that does not exist."""
    parts, client = relay
    record, tags = await sent(parts, sandbox, sample)
    good = json.dumps(mailgun(tags["p0@people.example"]))
    for path, body, status in (
        ("relay", json.dumps(mailgun(tags["p0@people.example"], b"other")), 403),
        ("relay", "{", 400),
        ("text", good, 404),
        ("nobody", good, 404),
        ("relay", "[" * 300_000, 400),
    ):
        async with client.post(f"/v1/receipts/{path}", data=body, headers={"Content-Type": "text/plain"}) as answer:
            assert answer.status == status
    assert await counts(parts, record, "mail") == {"accepted": 21}


async def test_the_one_click_of_a_mail_works(relay, sandbox: Sandbox, sample: dict[str, Any]):
    """As a mail program posts it: the URL of List-Unsubscribe with the body of List-Unsubscribe-Post, no cookie, no redirect."""
    parts, client = relay
    sandbox.mail.mails = {}
    await sent(parts, sandbox, sample)
    got = email.message_from_bytes(sandbox.mail.mails["p0@people.example"], policy=email.policy.default)
    link = got["List-Unsubscribe"].strip("<>").removeprefix(parts.settings.api.reached_at)
    body = dict([got["List-Unsubscribe-Post"].split("=")])
    assert body == {"List-Unsubscribe": "One-Click"}
    async with client.post(link, data=body, allow_redirects=False) as answer:
        assert answer.status == 200
    assert await state(parts, "p0") is AddressState.STOPPED
    assert await state(parts, "p1") is AddressState.ACTIVE


async def test_a_port_that_is_taken_is_told_at_start(parts: Container):
    """With the option to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        relay = parts.settings.carriers["relay"].model_copy(update={"bounces_listen": where})
        parts.settings = parts.settings.model_copy(update={"carriers": {"relay": relay}})
        with pytest.raises(StartError, match=r"carriers\.relay\.bounces_listen"):
            async with bounce_sites(parts):
                pass
