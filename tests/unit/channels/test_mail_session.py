"""A conversation with a mail server, over a transport that only keeps what is written."""

from __future__ import annotations

import asyncio

import pytest

from channels.mail_session import REPLY_LIMIT_BYTES, MailSession, SessionLostError


class Wire:
    """The transport's part that a session uses."""

    def __init__(self):
        self.written, self.closing = bytearray(), False

    def set_protocol(self, protocol):
        self.protocol = protocol

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.closing

    def abort(self):
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    close = abort


@pytest.fixture
async def session():
    return MailSession(Wire(), frozenset())


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_replies_come_in_their_order_however_they_are_cut(session, size):
    """Several in one packet, one in several, continued lines joined."""
    session.write(b"A\r\nB\r\nC\r\n", 3)
    said = b"250 2.1.0 ok\r\n550-5.1.1 no\r\n550 5.1.1 such\r\n354\r\n"
    for start in range(0, len(said), size):
        session.data_received(said[start : start + size])
    got = [await session.reply(1) for _ in range(3)]
    assert got == [(250, "2.1.0 ok"), (550, "5.1.1 no 5.1.1 such"), (354, "")]
    assert session.is_open


async def test_a_reply_that_comes_as_its_time_is_over_counts(session):
    """Both are there when a process wakes that stood still: a mail that was taken is not told as one that may have been."""
    session.write(b"A\r\n", 1)
    asked = asyncio.create_task(session.reply(0))
    await asyncio.sleep(0)
    session.data_received(b"250 2.0.0 ok\r\n")
    assert await asked == (250, "2.0.0 ok")


@pytest.mark.parametrize("said", [b"421 4.3.2 closing\r\n", b"hello\r\n"])
async def test_what_nobody_asked_for_ends_the_connection(session, said):
    """It would be taken for the answer to the next command."""
    session.data_received(said)
    assert not session.is_open
    with pytest.raises(SessionLostError):
        await session.reply(1)


@pytest.mark.parametrize("line", [b"x" * 1000, b"250-x\r\n"])
async def test_an_endless_reply_ends_the_connection(session, line):
    """Neither a line without end nor lines without end fill the memory."""
    session.write(b"A\r\n", 1)
    for _ in range(REPLY_LIMIT_BYTES // 5 + 1):
        session.data_received(line)
    assert not session.is_open
    with pytest.raises(SessionLostError):
        await session.reply(1)


@pytest.mark.parametrize(
    "said", [b"<html>\r\n", b"\r\n", b"25\r\n", b"\xff\xfe\xfd ok\r\n", "٢٥٠ ok\r\n".encode(), b"-25 x\r\n"]
)
async def test_what_is_no_reply_has_no_code(session, said):
    """Whatever it is, it is no success."""
    session.write(b"A\r\n", 1)
    session.data_received(said)
    assert (await session.reply(1)).code == 0


async def test_a_server_that_hangs_up_or_is_silent_is_told_apart(session):
    """Lost is not slow."""
    session.write(b"A\r\n", 1)
    with pytest.raises(TimeoutError):
        await session.reply(0.01)
    waiting = asyncio.create_task(session.reply(5))
    await asyncio.sleep(0)
    session.close()
    with pytest.raises(SessionLostError):
        await waiting
