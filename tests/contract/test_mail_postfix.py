"""Mail against a relay that nobody here wrote: Postfix, with a configuration and a queue of its own."""

from __future__ import annotations

import asyncio
import email
import email.policy
from datetime import UTC, datetime, timedelta

import pytest

from alertd.config.carriers import SmtpCarrier
from alertd.config.settings import Settings
from alertd.model.states import CHANNELS
from alertd.runtime.assembly import opened
from alertd.runtime.serve import bounce_sites
from alertd.service.people.dead_addresses import AGAIN_AFTER_S
from channels.base import Answer, Outcome, Reason, Recipient, Subject
from channels.mail import MailChannel
from channels.sandbox.script import Rule
from channels.smtp_relay import RelaySettings
from tests.contract.postfix_server import IDENTITY, message
from tests.integration.acts import counts, planned, register, send
from tests.outcomes import without_words
from tests.unit.alertd.samples import MISSING_CHILD, changed
from tests.waiting import until

pytestmark = pytest.mark.peer


MAIL = CHANNELS.index("mail")


@pytest.fixture
async def channel(sandbox, postfix):
    relay = RelaySettings(host="127.0.0.1", port=postfix, ca_file=str(sandbox.authority.ca_file), connections=4)
    opened = MailChannel(relay, IDENTITY)
    await opened.open()
    yield opened
    await opened.close()


async def test_postfix_takes_every_mail_over_the_connections_that_it_allows(sandbox, postfix, directory):
    """It allows six and answers 421 to the next. Two processes have twenty each in their settings: no mail spends a try, and each arrives once."""
    relay = RelaySettings(host="127.0.0.1", port=postfix, ca_file=str(sandbox.authority.ca_file), connections=20)
    one, two = MailChannel(relay, IDENTITY), MailChannel(relay, IDENTITY)
    prepared = one.prepare(message("Lucía"))
    for each in (one, two):
        await each.open()
        [first] = await each.send(
            prepared, [Recipient("ana@people.example", f"first-{each is one}", is_new=True)], lambda: True
        )
        assert first.answer is Answer.ACCEPTED
    sent = [each.send(prepared, [Recipient("ben@people.example", f"{n}-{each is one}", is_new=True) for n in range(130)], lambda: True)
            for each in (one, two)]  # fmt: skip
    said = [outcome.answer for outcomes in await asyncio.gather(*sent) for outcome in outcomes]
    assert said == [Answer.ACCEPTED] * 260
    await until(lambda: len(list((directory / "boxes/ben/new").glob("*"))) == 260)
    for each in (one, two):
        await each.close()

    def ended() -> list[bool]:
        """Of each connection that carried mails, whether it ended with QUIT."""
        lines = (directory / "postfix.log").read_text().splitlines()
        return ["quit=1" in line for line in lines if "disconnect from" in line and "mail=" in line]

    await until(lambda: len(ended()) == 6)
    assert all(ended())
    assert 0 < (directory / "postfix.log").read_text().count("Connection concurrency limit exceeded") <= 6


async def test_postfix_delivers_what_we_hand_over(channel, directory):
    """Text with dots, accents and long lines comes out of a foreign relay's mailbox as it went in, with its headers."""
    text = ".\nLucía, 7 años\n..\n" + "漢字 " * 500
    recipients = [
        Recipient("ana@people.example", "tag-ana", leave="leave-ana", is_new=True),
        Recipient("ben@people.example", "tag-ben", is_new=True),
    ]
    outcomes = await channel.send(channel.prepare(message(text)), recipients, lambda: True)
    assert [outcome.answer for outcome in outcomes] == [Answer.ACCEPTED] * 2
    boxes = directory / "boxes"
    await until(lambda: list(boxes.glob("ana/new/*")) and list(boxes.glob("ben/new/*")))
    (file,) = boxes.glob("ana/new/*")
    got = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert got.get_body(("plain",)).get_content().split() == text.split()
    assert got["Subject"] == "Niña desaparecida: 漢字"
    assert got["Message-ID"] == "<tag-ana@a.example>"
    assert got["Return-Path"] == "<bounce+tag-ana@a.example>"
    assert got["To"] == "ana@people.example"
    assert got["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert not got.defects


async def test_postfix_refusals_are_read_as_it_means_them(channel):
    """An unknown mailbox is gone, relaying is refused, slowing down is for later; the kept connections go on."""
    recipients = [
        Recipient(f"{who}@{domain}", f"tag{index}", is_new=True)
        for index, (who, domain) in enumerate(
            [("nobody", "people.example"), ("x", "elsewhere.example"), ("busy", "people.example")] * 4
        )
    ]
    outcomes = await channel.send(channel.prepare(message("x")), recipients, lambda: True)
    gone, later = (Answer.NEVER, Reason.GONE), [(Answer.RETRY, reason) for reason in (Reason.BLOCKED, Reason.THROTTLED)]
    assert [one[:2] for one in outcomes] == [gone, *later] * 4
    assert {one.subject for one in outcomes} == {Subject.RECIPIENT}
    last = await channel.send(
        channel.prepare(message("x")), [Recipient("ana@people.example", "t", is_new=True)], lambda: True
    )
    assert last[0].answer is Answer.ACCEPTED


async def test_postfix_refuses_a_mail_that_is_too_long(channel):
    """It says so by the announced size, before the content: the message is at fault, not the recipient."""
    long = channel.prepare(message("x " * 60_000))
    outcomes = await channel.send(long, [Recipient("ana@people.example", "t", is_new=True)], lambda: True)
    assert without_words(outcomes) == [Outcome(Answer.NEVER, Reason.BAD_MESSAGE)]


@pytest.fixture
async def parts(redis, codec, sandbox, postfix, bounces):
    """A whole alertd that sends through Postfix and takes its bounces."""
    relay = SmtpCarrier(
        kind="smtp",
        host="127.0.0.1",
        port=postfix,
        ca_file=sandbox.authority.ca_file,
        sender="Alertas <alerts@a.example>",
        bounces_listen=f"127.0.0.1:{bounces}",
    )
    async with opened(Settings(carriers={"relay": relay}), redis, codec) as made, bounce_sites(made):
        yield made


def current() -> dict[str, object]:
    """The sample alert, by its author, as of now."""
    now = datetime.now(UTC)
    document = changed(MISSING_CHILD, "expires", (now + timedelta(days=1)).isoformat())
    for when in ("last_seen/at", "best_interests/at", "verification/publication_risk/at"):
        document = changed(document, f"case/{when}", (now - timedelta(hours=3)).isoformat())
    return changed(document, "author/subject", "ana@centre.example")


async def test_postfix_bounces_become_receipts_and_end_the_mailbox(parts, sandbox):
    """A mail that Postfix took and a server far away refused comes back: it failed, and where it was refused days before, too, nobody is written
    to again.
    """
    sandbox.mail.script.set(Rule("p0@", "no-mailbox"), Rule("p1@", "full"))
    for i in range(21):
        await register(parts, 1, first=i, addresses=[{"channel": "mail", "mailbox": f"p{i}@far.example"}])
    days_ago = parts.clock.now_ms() // 1000 - AGAIN_AFTER_S
    await parts.people.called_dead.note([parts.people.names.address_hash(MAIL, "p0@far.example")], days_ago)
    record = await planned(parts, current(), channels=["mail"])
    await send(parts, record, "mail")
    await until(lambda: len(sandbox.mail.mails) == 19)
    async with asyncio.timeout(60):
        while (await parts.registry.get("p0")).addresses or (await counts(parts, record, "mail"))["accepted"] > 19:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await counts(parts, record, "mail") == {"failed": 2, "accepted": 19}
    assert [one.channel for one in (await parts.registry.get("p1")).addresses] == [MAIL]
