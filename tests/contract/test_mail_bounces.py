"""The LMTP listener: what a mail server of one's own hands over, and what strangers try."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib

import pytest

from channels.base import Reason, ReportState
from channels.bounces import CONNECTIONS, LIMIT_BYTES, BounceListener
from tests.unit.channels.bounces import COMPLAINT, GONE, POSTFIX

TO = "bounce+t4g_-@a.example"


@pytest.fixture
async def listener():
    """With `taken`, the reports it was handed, and `later`, whether to refuse them for now."""

    async def take(reports):
        if made.later:
            return False
        made.taken += reports
        return True

    made = BounceListener(take)
    made.taken, made.later = [], False
    await made.start("127.0.0.1", 0)
    yield made
    await made.stop()


async def handed(listener, raw, *to):
    """Hands a mail over with Python's own client. Answers the refused by recipient."""

    def hand():
        with smtplib.LMTP("127.0.0.1", listener.port, timeout=10) as client:
            try:
                return client.sendmail("", to, raw)
            except smtplib.SMTPRecipientsRefused as refused:
                return refused.recipients
            except smtplib.SMTPDataError as refused:
                return {to[0]: (refused.smtp_code, refused.smtp_error)}

    return await asyncio.to_thread(hand)


async def test_a_bounce_is_taken(listener):
    """And read under the return path it came for."""
    assert await handed(listener, POSTFIX, TO) == {}
    assert listener.taken == [GONE]


async def test_a_providers_feedback_loop_has_a_mailbox(listener):
    """Its complaints come to one mailbox for all, and name the return path inside."""
    assert await handed(listener, COMPLAINT, "complaints@a.example") == {}
    assert [(report.left, report.tags[0]) for report in listener.taken] == [(True, "t4g_-")]


async def test_what_says_nothing_is_taken_too(listener):
    """An automatic reply is no fault: it is taken, and nothing follows."""
    assert await handed(listener, b"Subject: On holiday\r\n\r\n.\r\n..\r\n", TO) == {}
    assert listener.taken == []


@pytest.mark.parametrize(
    "to", ["alerts@a.example", "bounce@a.example", "bounce+a b@a.example", "postmaster", "bounce+x@"]
)
async def test_nobody_else_has_a_mailbox_here(listener, to):
    """It is no mail server: the return paths are all there is."""
    refused = await handed(listener, POSTFIX, to)
    assert refused[to][0] == 550
    assert listener.taken == []


async def test_a_store_that_is_away_loses_no_bounce(listener):
    """The mail server keeps it and comes again."""
    listener.later = True
    refused = await handed(listener, POSTFIX, TO)
    assert refused[TO][0] == 451
    listener.later = False
    assert await handed(listener, POSTFIX, TO) == {}
    assert [(report.state, report.reason) for report in listener.taken] == [(ReportState.FAILED, Reason.GONE)]


async def test_a_mail_longer_than_any_bounce_is_refused(listener):
    """It is read to its end and not kept."""
    refused = await handed(listener, POSTFIX + (b"x" * 70 + b"\r\n") * (LIMIT_BYTES // 70), TO)
    assert refused[TO][0] == 552
    assert listener.taken == []


async def spoken(listener, said):
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(said)
    writer.write_eof()
    answer = b""
    with contextlib.suppress(ConnectionResetError):  # whoever says too much is cut off
        async with asyncio.timeout(60):
            answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "said",
    [
        b"\xff\xfe\x00\n" * 10,
        b"x" * 200_000,
        b"DATA\r\n",
        b"RCPT TO:<bounce+a@b.example>\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bounce+a@b.example>\r\nDATA\r\nhalf a mail",
        b"LHLO x\r\nMAIL FROM:<>\r\n" + b"RCPT TO:<bounce+a@b.example>\r\n" * 1000,
    ],
)
async def test_what_is_no_conversation_ends_and_leaves_no_trace(listener, said):
    """Nothing of it is taken, and the next mail is."""
    assert (await spoken(listener, said))[:4] in {b"220 ", b""}
    assert listener.taken == []
    assert await handed(listener, POSTFIX, TO) == {}


async def test_connections_are_bounded(listener):
    """Whoever is too many is told to come again."""
    kept = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(CONNECTIONS)]
    assert {(await reader.readline())[:3] for reader, _ in kept} == {b"220"}
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    assert (await reader.read()).startswith(b"421 ")
    for _, each in [*kept, (reader, writer)]:
        each.close()
        await each.wait_closed()
