"""Push and SMS against servers that are none: over TLS, any bytes. Nothing counts as sent that was not, nobody is removed by noise."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl

import pytest

from channels.base import Answer, Outcome, Reason
from channels.http1 import HEAD_BYTES

N = 4
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def said(body: bytes, length: int | None = None) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


#: What is answered, and whether the connection then ends.
NOISE = {
    "a page": said(b"<html>Please sign in</html>"),
    "nothing": said(b""),
    "no object": said(b"[]"),
    "no id": said(b"{}"),
    "an id that is a number": said(b'{"sid": 7, "name": 7}'),
    "an id that is a list": said(b'{"sid": ["SM1"], "name": ["x"]}'),
    "nesting without end": said(b"[" * 100_000),
    "half a body": said(b'{"sid": "SM', 100),
    "half a head": OK[:20],
    "another protocol": b"220 relay ESMTP\r\n",
    "a binary one": b"\x00\x00\x00\x10\x80\x00\x00\x15\x00\x00\x00\x00\x00\x00\x00\x01",
    "a length that is none": OK + b"Content-Length: many\r\n\r\n{}",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a length beyond all measure": said(b"{}", 10**15),
    "a head without end": OK + b"X: " + b"x" * (2 * HEAD_BYTES),
    "a status that is none": b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
    "another status": b"HTTP/1.1 299 Fine\r\nContent-Length: 0\r\n\r\n",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
    "a chunk that is none": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
}


class Server:
    """Reads a request and answers with noise."""

    def __init__(self, noise: bytes):
        self.noise, self.requests, self.connections = noise, 0, 0

    async def serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                self.requests += 1
                writer.write(self.noise)
                await writer.drain()
                if not self.noise.startswith(OK) or b"Content-Length" not in self.noise:
                    break
        writer.close()


@pytest.fixture
async def answering(sandbox):
    """A server that answers so, and where it is."""
    servers = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sandbox.authority.certificate_file, sandbox.authority.key_file)

    async def start(noise):
        server = Server(noise)
        servers.append(await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context))
        return server, f"https://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
@pytest.mark.parametrize("name", ["push", "sms"])
async def test_noise_is_no_answer(open_party, answering, name, noise):
    """What was written may have arrived, or is tried again; it is neither accepted nor refused for good, and asked for once."""
    server, endpoint = await answering(noise)
    party = await open_party(name, endpoint=endpoint, timeout_s=0.5)
    outcomes = await asyncio.wait_for(party.send(party.recipients(N)), 10)
    assert {outcome.answer for outcome in outcomes} <= {Answer.UNKNOWN, Answer.RETRY}
    assert not any(outcome.address_gone for outcome in outcomes)
    assert server.requests == N


@pytest.mark.parametrize("name", ["push", "sms"])
async def test_an_answer_too_many_is_no_answer_to_the_next(open_party, answering, name):
    """Two answers to one request end the connection, so that nobody gets another's."""
    taken, gone = said(b'{"sid": "SM1", "name": "x"}'), b'{"code": 21610, "error": {"status": "NOT_FOUND"}}'
    more = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(gone) + gone
    server, endpoint = await answering(taken + more)
    party = await open_party(name, endpoint=endpoint, timeout_s=2, connections=1)
    outcomes = await asyncio.wait_for(party.send(party.recipients(N)), 10)
    assert not any(outcome.address_gone for outcome in outcomes)
    assert sum(outcome.answer is Answer.ACCEPTED for outcome in outcomes) <= server.requests
    assert server.connections == N


@pytest.mark.parametrize("name", ["push", "sms"])
async def test_an_answer_that_lasts_until_the_end_is_one(open_party, answering, name):
    """Over HTTP/1.0 the end of the connection ends the reply; what comes next is asked elsewhere, and is not lost with it."""
    server, endpoint = await answering(b'HTTP/1.0 200 OK\r\n\r\n{"sid": "SM1", "name": "x"}')
    party = await open_party(name, endpoint=endpoint, timeout_s=2, connections=1)
    outcomes = await asyncio.wait_for(party.send(party.recipients(N)), 10)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}
    assert server.connections == server.requests == N


@pytest.mark.parametrize("name", ["push", "sms"])
async def test_a_connection_that_came_too_late_is_used_next(open_party, answering, name):
    """What it cost to connect is not paid again."""
    server, endpoint = await answering(said(b'{"sid": "SM1", "name": "x"}'))
    party = await open_party(name, endpoint=endpoint, timeout_s=2, connections=1)
    answers = iter([True, False])  # for the connection, and for what is written on it
    (late,) = await party.send(party.recipients(1), lambda: next(answers))
    assert late.answer is Answer.WITHHELD
    outcomes = await asyncio.wait_for(party.send(party.recipients(N)), 10)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}
    assert server.connections == 1


#: What a token endpoint answers where somebody else answers for it.
NO_TOKENS = {
    "a page": said(b"<html>Please sign in</html>"),
    "no object": said(b"[]"),
    "a life that is none": said(b'{"access_token": "x", "expires_in": "soon"}'),
    "a life without end": said(b'{"access_token": "x", "expires_in": 1e300}'),
}


@pytest.mark.parametrize("noise", NO_TOKENS.values(), ids=NO_TOKENS.keys())
async def test_noise_is_no_token(sandbox, open_party, answering, noise):
    """Nothing was written, so it is surely not sent, and tried again; and the endpoint is not asked for every message."""
    server, endpoint = await answering(noise)
    account = json.loads(sandbox.push.account.file.read_text()) | {"token_uri": f"{endpoint}/token"}
    push = await open_party("push", credentials=account)
    for _ in range(3):
        assert await push.send(push.recipients(N)) == [Outcome(Answer.RETRY, Reason.GARBAGE)] * N
    assert server.requests == 1
