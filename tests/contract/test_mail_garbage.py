"""Mail against servers that are none: whatever they say, nothing counts as sent that was not, and nobody is removed by noise."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from channels.base import Answer, Loudness, MailMessage, Outcome, Reason, Recipient, Stamp, Subject
from channels.mail import MailChannel
from channels.mail_message import MailIdentity
from channels.smtp_relay import RelaySettings
from tests.outcomes import without_words

IDENTITY = MailIdentity(sender="a@a.example", domain="a.example", unsubscribe_base=None)
STAMP = Stamp(chain="c", version="v", sent_s=0, expires_s=4_000_000_000, loudness=Loudness.LOUD, language="es")
MESSAGE = MailMessage(stamp=STAMP, subject="s", text="t", html="<p>t</p>")
OK, GO = b"250 2.0.0 ok\r\n", b"354 go\r\n"


class Server:
    """Says hello like a relay; then answers an envelope and a content with what it is told."""

    def __init__(self, envelope: bytes, content: bytes, hello: bytes = b"250-x\r\n250 PIPELINING\r\n"):
        self.envelope, self.content, self.hello = envelope, content, hello
        self.mails = self.connections = 0

    async def serve(self, reader, writer):
        self.connections += 1
        writer.write(b"220 x\r\n")
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n")
            writer.write(self.hello)
            while True:
                commands = await reader.readuntil(b"DATA\r\n")
                writer.write((OK if b"RSET" in commands else b"") + self.envelope)
                if self.envelope.endswith(GO) or GO + OK in self.envelope:
                    while await reader.readuntil(b"\n") != b".\r\n":
                        pass
                    self.mails += 1
                    writer.write(self.content)
        writer.close()


@pytest.fixture
async def send():
    """Send some mails over one connection to a server; answers the outcomes."""
    servers = []

    async def through(server, count=2, timeout_s=0.3, tls=None, context=None):
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
        servers.append(listening)
        port = listening.sockets[0].getsockname()[1]
        relay = RelaySettings(
            **{"host": "127.0.0.1", "port": port, "security": "plain", "connections": 1, **(tls or {})},
            timeout_s=timeout_s,
            content_timeout_s=timeout_s,
            connect_timeout_s=2,
        )
        channel = MailChannel(relay, IDENTITY)
        await channel.open()
        recipients = [Recipient(f"p{n}@people.example", f"t{n}", is_new=True) for n in range(count)]
        outcomes = await channel.send(channel.prepare(MESSAGE), recipients, lambda: True)
        await channel.close()
        return outcomes

    yield through
    for listening in servers:
        listening.close()


GARBAGE = [
    b"<html>200 OK</html>\r\n",
    b"\0\0\0\0\r\n",
    b"25\r\n",
    b"999 what\r\n",
    b"100 x\r\n",
    b"\xff\xfe\r\n",
    b"\r\n" * 5,
]


@pytest.mark.parametrize("said", GARBAGE)
async def test_garbage_to_the_envelope_is_no_word_about_anybody(send, said):
    """Nothing was sent, so it is tried again."""
    server = Server(said * 3, OK)
    for outcome in await send(server):
        assert outcome.answer is Answer.RETRY
        assert outcome.reason in {Reason.GARBAGE, Reason.CONNECTION, Reason.TIMEOUT}
    assert server.mails == 0


async def test_who_was_taken_in_a_transaction_that_was_not_gets_no_empty_mail(send):
    """Of commands that go together a server may refuse the first and take the others: it has a recipient then, and waits for content."""
    server = Server(b"450 4.3.0 not now\r\n" + OK + GO, OK)
    assert {outcome.answer for outcome in await send(server)} == {Answer.RETRY}
    assert server.mails == 0


@pytest.mark.parametrize("said", GARBAGE)
async def test_garbage_after_the_content_leaves_it_unknown(send, said):
    """It may have arrived."""
    for outcome in await send(Server(OK + OK + GO, said)):
        assert (outcome.answer, outcome.reason) == (Answer.UNKNOWN, Reason.GARBAGE)


@pytest.mark.parametrize("said", [b"", b"250", b"250-2.0.0 more\r\n", b"250 half a line"])
async def test_half_an_answer_is_none(send, said):
    """However long it is waited for."""
    for outcome in await send(Server(OK + OK + GO, said)):
        assert outcome == Outcome(Answer.UNKNOWN, Reason.TIMEOUT)


@pytest.mark.parametrize(
    ("envelope", "content"),
    [
        (OK + OK + GO, OK + OK),
        (OK + OK + GO, OK + b"421 bye\r\n"),
        (OK + OK + GO, OK + b"550 5.1.1 nobody\r\n"),
        (OK + OK + GO + OK, OK),
    ],
)
async def test_an_answer_too_many_is_no_answer_to_the_next_mail(send, envelope, content):
    """The connection is given up, so that no mail gets another's answer."""
    server = Server(envelope, content)
    outcomes = await send(server, count=4)
    assert not any(outcome.address_gone for outcome in outcomes)
    accepted = sum(outcome.answer is Answer.ACCEPTED for outcome in outcomes)
    assert accepted <= server.mails
    assert server.connections == 4


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        (b"250 ok\r\n550 5.1.1 no\r\n554 5.5.1 no valid recipients\r\n", Outcome(Answer.NEVER, Reason.GONE)),
        (
            b"451 4.7.1 later\r\n503 5.5.1 MAIL first\r\n503 5.5.1 RCPT first\r\n",
            Outcome(Answer.RETRY, Reason.THROTTLED, of=Subject.CARRIER),
        ),
        (b"421 4.3.2 closing\r\n", Outcome(Answer.RETRY, Reason.UNAVAILABLE, of=Subject.CARRIER)),
        (
            b"250 ok\r\n250 ok\r\n451 4.3.0 no room\r\n",
            Outcome(Answer.RETRY, Reason.THROTTLED, of=Subject.EITHER),
        ),
    ],
)
async def test_of_answers_together_the_first_that_went_wrong_counts(send, envelope, expected):
    """What follows it is about the order of commands, not about anybody."""
    assert set(without_words(await send(Server(envelope, OK)))) == {expected}


@pytest.mark.parametrize("hello", [b"250 x\r\n", b"500 what\r\n", b"<html>\r\n", b"250-x\r\n" * 10_000])
async def test_a_server_that_cannot_say_hello_gets_no_mail_twice(send, hello):
    """Whether it is an old one or none."""
    server = Server(OK + OK + GO, OK, hello)
    outcomes = await send(server)
    assert {outcome.answer for outcome in outcomes} <= {Answer.RETRY}
    assert server.mails == 0


@pytest.mark.parametrize("asked", [{"security": "starttls"}, {"username": "u", "password": "p"}])
async def test_a_relay_that_offers_no_tls_and_no_way_to_sign_in_is_told_apart_from_one_that_is_away(send, asked):
    """Who looks for why nothing goes looks at the settings, and not at the network."""
    server = Server(OK + OK + GO, OK)
    assert set(await send(server, tls=asked)) == {Outcome(Answer.RETRY, Reason.CREDENTIALS, of=Subject.CARRIER)}
    assert server.mails == 0


async def test_a_relay_may_speak_tls_from_the_first_byte(send, sandbox):
    """Port 465: the connection is taken over from whoever made it, TLS and all, and kept."""
    server = Server(OK + OK + GO, OK)
    tls = {"security": "tls", "ca_file": str(sandbox.authority.ca_file)}
    outcomes = await send(server, count=5, tls=tls, context=sandbox.authority.server_context(), timeout_s=5)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}
    assert (server.mails, server.connections) == (5, 1)
