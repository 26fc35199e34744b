"""A relay that is slow to answer for a few mailboxes: the other mails do not wait for them, and the slow ones get theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from channels.base import Answer, Outcome, Reason, Recipient
from channels.mail import SLOW_BEFORE, MailChannel
from channels.mail_session import LEAST_S, PATIENT
from channels.smtp_relay import RelaySettings
from tests.contract.conftest import IDENTITY
from tests.contract.postfix_server import message
from tests.waiting import until

CONNECTIONS = 8


class Relay:
    """Answers RCPT of mailboxes that begin with "slow" after `looks_s`."""

    def __init__(self) -> None:
        self.looks_s = 60.0
        self.looks = 0  # connections that wait for a slow mailbox now
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 slow\r\n")
        with suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                if line.startswith(b"RCPT TO:<slow"):
                    await self.look(reader)
                if line.startswith(b"DATA"):
                    writer.write(b"354 go\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 ok\r\n")
        writer.close()

    async def look(self, reader: asyncio.StreamReader) -> None:
        """Ends early if the client does."""
        self.looks += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(self.looks_s):
                await reader.read(1)
        self.looks -= 1


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    made = Relay()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as listening:
        made.port = listening.sockets[0].getsockname()[1]
        yield made


@pytest.fixture
async def channel(relay: Relay) -> AsyncIterator[MailChannel]:
    """A channel that knows how long the relay usually takes."""
    made = MailChannel(
        RelaySettings(host="127.0.0.1", port=relay.port, security="plain", connections=CONNECTIONS), IDENTITY
    )
    await made.open()
    assert await send(made, people("quick", 4)) == [Answer.ACCEPTED] * 4
    yield made
    await made.close()


def people(word: str, count: int, *, is_new: bool = True) -> list[Recipient]:
    return [Recipient(f"{word}{n}@people.example", f"tag{n}", is_new=is_new) for n in range(count)]


async def outcomes(channel: MailChannel, recipients: list[Recipient]) -> list[Outcome]:
    return await channel.send(channel.prepare(message("x")), recipients, lambda: True)


async def send(channel: MailChannel, recipients: list[Recipient]) -> list[Answer]:
    return [one.answer for one in await outcomes(channel, recipients)]


async def test_slow_mailboxes_do_not_hold_the_other_mails_of_their_chunk(channel: MailChannel):
    """More slow mailboxes than connections, each for a minute: they are given up soon, and the others get their mail."""
    async with asyncio.timeout(5 * LEAST_S):
        answers = await outcomes(channel, [*people("slow", CONNECTIONS + 4), *people("quick", 50)])
    assert set(answers[: CONNECTIONS + 4]) == {SLOW_BEFORE}
    assert {one.answer for one in answers[CONNECTIONS + 4 :]} == {Answer.ACCEPTED}


async def test_slow_mailboxes_that_are_tried_again_leave_connections_to_new_mails(channel: MailChannel, relay: Relay):
    """All connections wait for slow mailboxes of an earlier alert. New mails get all but a quarter of them."""
    earlier = asyncio.create_task(send(channel, people("slow", 2 * CONNECTIONS, is_new=False)))
    await until(lambda: relay.looks == CONNECTIONS)
    async with asyncio.timeout(2 * LEAST_S):
        assert await send(channel, people("quick", 50)) == [Answer.ACCEPTED] * 50
    assert relay.looks >= CONNECTIONS // PATIENT
    assert not earlier.done()
    earlier.cancel()
    await asyncio.gather(earlier, return_exceptions=True)


async def test_a_slow_mailbox_gets_its_mail_when_it_is_tried_again(channel: MailChannel, relay: Relay):
    """The relay answers for it later than a new mail may wait."""
    relay.looks_s = LEAST_S + 0.5
    assert [one[:2] for one in await outcomes(channel, people("slow", 1))] == [(Answer.RETRY, Reason.TIMEOUT)]
    assert await send(channel, people("slow", 20, is_new=False)) == [Answer.ACCEPTED] * 20


async def test_a_mail_that_goes_alone_waits_until_the_relay_answers(channel: MailChannel, relay: Relay):
    """As one to a person on call: nothing waits behind it, and nobody would try it again."""
    relay.looks_s = LEAST_S + 0.5
    alone = Recipient("slow@people.example", "tag", is_new=True, is_alone=True)
    assert await send(channel, [alone]) == [Answer.ACCEPTED]


async def test_a_relay_that_is_slow_for_everyone_gets_every_mail(channel: MailChannel, relay: Relay):
    """It was quick before. The first mails are given up, and then alertd knows that it is slow: when they are sent again, all are accepted."""
    relay.looks_s = LEAST_S + 0.5
    answers = await send(channel, people("slow", 6 * CONNECTIONS))
    assert answers[-CONNECTIONS:] == [Answer.ACCEPTED] * CONNECTIONS
    given_up = answers.count(Answer.RETRY)
    assert given_up < len(answers) // 2
    assert await send(channel, people("slow", given_up)) == [Answer.ACCEPTED] * given_up
