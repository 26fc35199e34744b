"""Push against HTTP/2 servers that are none: what they write becomes an outcome, nobody is lost or removed by it, nobody is sent to twice."""

from __future__ import annotations

import asyncio
import struct

import pytest

from channels.base import Answer, Outcome, Reason
from channels.http2_frames import BLOCK_BYTES, FRAME_BYTES, Frame, frame
from channels.http2_session import BODY_BYTES
from tests.contract.http2_server import listening
from tests.outcomes import without_words

N = 4
WHOLE, ENDS = 0x4, 0x1
OK = b"\x88"
PAGE = b"<html>Please sign in</html>"
TAKEN = b'{"name": "projects/sandbox/messages/1"}'


def head(stream: int, block: bytes = OK, flags: int = WHOLE) -> bytes:
    return frame(Frame.HEADERS, flags, stream, block)


def body(stream: int, data: bytes, flags: int = ENDS) -> bytes:
    return frame(Frame.DATA, flags, stream, data)


def in_frames(stream: int, data: bytes) -> bytes:
    return b"".join(body(stream, data[at : at + FRAME_BYTES], 0) for at in range(0, len(data), FRAME_BYTES))


#: What is answered on a stream. Where it is half of something, the server then closes.
NOISE = {
    "a page": lambda n: head(n) + body(n, PAGE),
    "nothing": lambda n: head(n, flags=WHOLE | ENDS),
    "no object": lambda n: head(n) + body(n, b"[]"),
    "nesting without end": lambda n: head(n) + in_frames(n, b"[" * 100_000) + body(n, b""),
    "a body without a head": lambda n: body(n, TAKEN),
    "a stream that nobody opened": lambda n: head(n + 1_000) + body(n + 1_000, TAKEN),
    "a stream of the server's": lambda n: head(n + 1) + body(n + 1, TAKEN),
    "stream 0": lambda _: head(0) + body(0, TAKEN),
    "a frame over its size": lambda n: head(n) + body(n, TAKEN + b" " * FRAME_BYTES),
    "a frame of sixteen megabytes": lambda n: (
        head(n) + b"\xff\xff\xff" + bytes((Frame.DATA, ENDS)) + struct.pack(">I", n)
    ),
    "a body beyond all measure": lambda n: head(n) + in_frames(n, b" " * (BODY_BYTES + 1)) + body(n, TAKEN),
    "a head beyond all measure": lambda n: (
        head(n, b"", 0) + frame(Frame.CONTINUATION, 0, n, b"\x00" * FRAME_BYTES) * (BLOCK_BYTES // FRAME_BYTES + 1)
    ),
    "a head that is interrupted": lambda n: head(n, OK, 0) + body(n, TAKEN),
    "a head that cannot be read": lambda n: head(n, b"\xff" * 20) + body(n, TAKEN),
    "a head without a status": lambda n: head(n, b"\x00\x01x\x01y") + body(n, TAKEN),
    "a status that is none": lambda n: head(n, b"\x08\x032x0") + body(n, TAKEN),
    "interim replies without end": lambda n: head(n, b"\x08\x03103") * 200,
    "a promise": lambda n: frame(Frame.PUSH_PROMISE, WHOLE, n, struct.pack(">I", 2) + OK) + head(n) + body(n, TAKEN),
    "all padding": lambda n: head(n) + body(n, b"\xff" + TAKEN, ENDS | 0x8),
    "settings of five bytes": lambda n: frame(Frame.SETTINGS, 0, 0, b"12345") + head(n) + body(n, TAKEN),
    "a window beyond all measure": lambda n: (
        frame(Frame.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") + head(n) + body(n, TAKEN)
    ),
    "another protocol": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a frame that nobody knows": lambda n: frame(200, 255, n, b"?" * 100),  # to be ignored (RFC 9113 section 4.1)
}
HALVES = {
    "half a frame": lambda n: head(n) + body(n, TAKEN)[:15],
    "half a frame's head": lambda n: head(n) + body(n, TAKEN)[:4],
    "half a reply": lambda n: head(n) + body(n, TAKEN[:10], 0),
    "half a head": lambda n: head(n, OK, 0),
    "a farewell of two bytes": lambda _: frame(Frame.GOAWAY, 0, 0, b"??"),
}


@pytest.fixture
async def server(sandbox):
    async with listening(sandbox.authority) as made:
        yield made


def noisy(server, noise, *, closes: bool):
    """Every request is answered with it, and noted."""
    asked = []

    def answer(connection, stream, request):
        asked.append(request)
        connection.transport.write(noise(stream))
        if closes:
            connection.transport.close()

    server.do = answer
    return asked


def accept(connection, stream, _):
    connection.answer(stream, TAKEN)


@pytest.mark.parametrize(
    ("noise", "closes"),
    [(noise, False) for noise in NOISE.values()]
    + [(noise, closes) for noise in HALVES.values() for closes in (True, False)],
    ids=[*NOISE, *(name + ends for name in HALVES for ends in (", and the end", ", and silence"))],
)
async def test_noise_is_no_answer(open_party, server, noise, closes):
    """What was written may have arrived, or is tried again: neither accepted nor refused for good, asked for once. Afterwards all goes on."""
    asked = noisy(server, noise, closes=closes)
    party = await open_party("push", endpoint=f"https://127.0.0.1:{server.port}", timeout_s=0.5)
    outcomes = await asyncio.wait_for(party.send(party.recipients(N)), 10)
    assert {outcome.answer for outcome in outcomes} <= {Answer.UNKNOWN, Answer.RETRY}
    assert not any(outcome.address_gone for outcome in outcomes)
    assert len(outcomes) == N
    assert len(asked) == len(set(asked))
    server.do = accept
    again = await asyncio.wait_for(party.send(party.recipients(N, start=100)), 10)
    assert {outcome.answer for outcome in again} == {Answer.ACCEPTED}


@pytest.mark.parametrize("elsewhere", [1, 2, 1_000])
async def test_an_answer_on_a_wrong_stream_is_nobody_s(open_party, server, elsewhere):
    """Of four under way one is answered where nobody asked: the other three have their own, and that one may have arrived."""

    def answer(connection, stream, request):
        if b"token-000002" in request:
            connection.transport.write(head(stream + elsewhere) + body(stream + elsewhere, TAKEN))
        else:
            accept(connection, stream, request)

    server.do = answer
    party = await open_party("push", endpoint=f"https://127.0.0.1:{server.port}", timeout_s=0.5)
    outcomes = await asyncio.wait_for(party.send(party.recipients(N)), 10)
    assert [outcome.answer is Answer.ACCEPTED for outcome in outcomes] == [True, True, False, True]
    assert outcomes[2] == Outcome(Answer.UNKNOWN, Reason.TIMEOUT)


async def test_noise_behind_answers_costs_none_of_them(open_party, server):
    """Three answers and a broken frame come in one piece: the three have their answers, and the fourth may have arrived."""
    streams = []

    def answer(connection, stream, _):
        streams.append(stream)
        if len(streams) == N:
            told = b"".join(head(n) + body(n, TAKEN) for n in streams[:-1])
            connection.transport.write(told + NOISE["settings of five bytes"](stream))

    server.do = answer
    party = await open_party("push", endpoint=f"https://127.0.0.1:{server.port}", timeout_s=2)
    outcomes = await asyncio.wait_for(party.send(party.recipients(N)), 10)
    assert [outcome.answer for outcome in outcomes] == [Answer.ACCEPTED] * 3 + [Answer.UNKNOWN]


async def test_a_page_in_the_middle_costs_one(open_party, server):
    """A proxy's sign-in page for one of four, with 200: that one may have arrived, the other three did."""

    def answer(connection, stream, request):
        if b"token-000001" in request:
            connection.transport.write(head(stream) + body(stream, PAGE))
        else:
            accept(connection, stream, request)

    server.do = answer
    party = await open_party("push", endpoint=f"https://127.0.0.1:{server.port}", timeout_s=2)
    outcomes = await asyncio.wait_for(party.send(party.recipients(N)), 10)
    assert without_words(outcomes)[1] == Outcome(Answer.UNKNOWN, Reason.GARBAGE)
    assert sum(outcome.answer is Answer.ACCEPTED for outcome in outcomes) == 3
