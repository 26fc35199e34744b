"""Which connection the transport gives a message to, and when: the connections are real, what is below them is not."""

import asyncio

import pytest

from channels import https
from channels.base import WITHHELD
from channels.https import KEEP_IDLE_S, HttpsTransport
from channels.posting import Posts, PostSettings

HEADERS = {"Authorization": "Bearer x"}


class Wire(asyncio.Transport):
    """What was written, and whether it was ended."""

    def __init__(self):
        super().__init__()
        self.written, self.aborted = b"", False

    def write(self, data):
        self.written += data

    def abort(self):
        self.aborted = True


@pytest.fixture
async def transport():
    """Nothing listens where it goes: it has the connections that it is given."""
    settings = PostSettings(
        url="https://127.0.0.1:1/", ca_file=None, connections=500, timeout_s=60, connect_timeout_s=5
    )
    made = HttpsTransport(settings)
    await made.open()
    yield made
    await made.close()


@pytest.fixture(params=["http/1.1", "h2"])
async def connection(request, transport):
    """Open, with room."""
    made = transport.connection_for(request.param)
    made.connection_made(Wire())
    transport.on_event(made)
    return made


def always():
    return True


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("url", "line"), [
    ("https://127.0.0.1:1", b"POST /push/1?a=b%20c HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"),
    ("https://127.0.0.1:1/send?x=%20", b"POST /send?x=%20 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"),
])  # fmt: skip
async def test_a_path_of_its_own_stands_where_the_url_has_none(url, line):
    """Of HTTP/1.1; what a path holds is written as it is."""
    transport = HttpsTransport(PostSettings(url=url, ca_file=None, connections=1, timeout_s=60, connect_timeout_s=5))
    await transport.open()
    connection, wire = transport.connection_for(None), Wire()
    connection.connection_made(wire)
    transport.on_event(connection)
    own = None if url.count("/") > 2 else ["/push/1?a=b%20c"]
    posting = asyncio.ensure_future(transport.post([b"body"], HEADERS, always, own))
    await turns()
    assert wire.written.startswith(line)
    assert wire.written.endswith(b"\r\n\r\nbody")
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)
    await transport.close()


async def test_a_connection_under_way_is_not_taken_for_idle(transport, connection):
    """It was idle for long when it was used again; the message after that must not cost the one that waits for its answer."""
    wire: Wire = connection._transport
    connection.idle_since_s -= KEEP_IDLE_S - 20
    first = asyncio.ensure_future(transport.post([b"first"], HEADERS, always))
    await turns()
    assert b"first" in wire.written
    connection.idle_since_s -= 21  # as if that much had passed meanwhile
    second = asyncio.ensure_future(transport.post([b"second"], HEADERS, always))
    await turns()
    assert not wire.aborted
    assert not first.done()
    for waiting in (first, second):
        waiting.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


async def test_nothing_is_written_of_a_call_that_was_cancelled(transport, connection):
    """Though its messages were to be handed over in the very next step."""
    wire: Wire = connection._transport
    waiting = asyncio.ensure_future(transport.post([b"first"], HEADERS, always))
    asyncio.get_running_loop().call_soon(waiting.cancel)  # right behind its first step
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await turns()
    assert b"first" not in wire.written


async def test_an_idle_connection_stays_so_when_others_are_cancelled(transport, connection):
    """It is closed before its server does so: nothing is written on one that may be gone."""
    connection.idle_since_s = before_s = connection.idle_since_s - KEEP_IDLE_S + 1
    connection.forget(Posts(transport._encode(HEADERS), [b"another's"], always))
    assert connection.idle_since_s == before_s


async def test_leave_that_cannot_be_asked_for_is_none(transport, connection):
    """Its call ends, and the one behind it goes on."""
    wire: Wire = connection._transport

    def fails():
        raise KeyError("x")

    failing = asyncio.ensure_future(transport.post([b"first"] * 2, HEADERS, fails))
    other = asyncio.ensure_future(transport.post([b"second"], HEADERS, always))
    await turns(5)
    assert failing.done()
    assert await failing == [WITHHELD] * 2
    assert b"second" in wire.written
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)


@pytest.fixture
def nowhere(monkeypatch):
    """Connecting takes for ever."""

    async def start(*_, **__):
        await asyncio.Event().wait()

    monkeypatch.setattr(https.aiohappyeyeballs, "start_connection", start)


@pytest.mark.usefixtures("nowhere")
async def test_cancelling_ends_what_is_opened_for_it_alone(transport):
    """What others wait for is still opened."""
    few = asyncio.ensure_future(transport.post([b"x"] * 3, HEADERS, always))
    many = asyncio.ensure_future(transport.post([b"x"] * 400, HEADERS, always))
    await turns()
    assert transport.opening == 500
    many.cancel()
    await turns(10)
    assert transport.opening == 100
    few.cancel()
    await turns(10)
    assert transport.opening == 0


@pytest.mark.usefixtures("nowhere")
async def test_what_waits_is_not_gone_through_at_each_answer(transport):
    """While another connection is being opened, which may take seconds: a call may be ten thousand."""
    asked, connection, wire = 0, transport.connection_for("http/1.1"), Wire()
    connection.connection_made(wire)
    transport.on_event(connection)

    def may_write():
        nonlocal asked
        asked += 1
        return True

    posting = asyncio.ensure_future(transport.post([b"x"] * 2_000, HEADERS, may_write))
    for _ in range(300):
        await turns()
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await turns()
    assert wire.written.count(b"POST") == 301
    assert asked <= 301 + 10
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)
