"""The transport when an HTTP/2 server misbehaves; the server is the `h2` library, over real TLS sockets."""

from __future__ import annotations

import asyncio
import ssl

import h2.settings
import pytest

from channels.base import NOT_CONNECTED, WITHHELD, Answer
from channels.https import HttpsTransport
from channels.posting import LOST, TIMED_OUT, PostSettings, Reply
from channels.sandbox.authority import make_authority
from tests.contract.http2_server import Served, listening

UNSENT = [lost._replace(answer=Answer.RETRY) for lost in (TIMED_OUT, LOST)]
HEADERS = {"Authorization": "Bearer x"}


@pytest.fixture
def authority(tmp_path):
    return make_authority(tmp_path)


@pytest.fixture
async def server(authority):
    async with listening(authority) as made:
        yield made


@pytest.fixture
async def transport(server, authority):
    made = HttpsTransport(
        PostSettings(url=f"https://127.0.0.1:{server.port}/send", ca_file=str(authority.ca_file), connections=300,
                     timeout_s=2, connect_timeout_s=5)
    )  # fmt: skip
    await made.open()
    yield made
    await made.close()


def always() -> bool:
    return True


async def post(transport, count, may_write=always, size=0):
    bodies = [b"%06d" % n + b"x" * size for n in range(count)]
    return await transport.post(bodies, HEADERS, may_write)


def accepted(answers):
    return [answer.body for answer in answers if isinstance(answer, Reply)]


async def test_many_share_few_connections(transport, server):
    """Three hundred at once take three connections, and each gets its own answer."""
    answers = await post(transport, 300)
    assert accepted(answers) == [b"%06d" % n for n in range(300)]
    assert len(server.connections) == 3


async def test_a_server_that_goes_away_loses_and_doubles_nobody(transport, server):
    """GOAWAY after every seventh request: the others are sent again at once, over other connections, each exactly once."""
    left = set()

    def leave(connection, stream, body):
        if connection in left:
            return  # it said that it will not look at these
        connection.answer(stream, body)
        if stream == 13:
            connection.http.close_connection(last_stream_id=stream)
            left.add(connection)

    server.do = leave
    answers = [answer for _ in range(5) for answer in await post(transport, 15)]
    assert len(accepted(answers)) == 75
    assert len(server.got) == 75
    assert len(left) >= 10


async def test_a_server_that_answers_and_hangs_up_gets_nothing_that_is_lost(transport, server):
    """One that says no goodbye, after every tenth: what waited for that answer was not written yet, and takes another connection."""
    server.settings = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 10}

    def hang_up(connection, stream, body):
        connection.answer(stream, body)
        if stream in last:
            connection.flush()
            connection.transport.close()

    server.do, last = hang_up, {1}
    await post(transport, 1)  # what it allows is known now
    last = {19}
    assert len(accepted(await post(transport, 200))) == len(server.got) - 1 == 200


async def test_refused_streams_go_again_once_each(transport, server):
    """REFUSED_STREAM says that nothing was done; every message is accepted exactly once."""
    refused = set()

    def refuse_first(connection, stream, body):
        if body in refused:
            connection.answer(stream, body)
        else:
            refused.add(body)
            connection.http.reset_stream(stream, 7)

    server.do = refuse_first
    assert len(accepted(await post(transport, 100))) == 100
    assert sorted(server.got) == [b"%06d" % n for n in range(100)]


async def test_a_reset_stream_is_not_known_and_costs_no_other(transport, server):
    """Any other reset may come after the message was taken; the connection goes on."""

    def reset_some(connection, stream, body):
        if body.endswith(b"7"):
            connection.http.reset_stream(stream, 2)
        else:
            connection.answer(stream, body)

    server.do = reset_some
    answers = await post(transport, 100)
    assert [answer for answer in answers if not isinstance(answer, Reply)] == [LOST] * 10
    assert len(server.connections) == 1


async def test_a_connection_that_breaks_is_not_known(transport, server):
    """What was written and not answered may have arrived; the next message takes another connection."""
    server.do = lambda connection, *_: connection.transport.abort()
    assert set(await post(transport, 20)) == {LOST}
    server.do = Served.answer
    assert len(accepted(await post(transport, 20))) == 20


async def test_silence_costs_one_time_out_and_the_connection(transport, server):
    """A half-open connection: what was written is not known, and nobody else waits for it."""
    await post(transport, 1)
    server.do = lambda *_: None
    assert set(await post(transport, 20)) == {TIMED_OUT}
    server.do = Served.answer
    assert len(accepted(await post(transport, 20))) == 20
    assert len(server.connections) == 1


async def test_one_slow_answer_holds_up_nobody(transport, server):
    """One stream that is never answered is given up alone: the connection still speaks."""

    def all_but_one(connection, stream, body):
        if body != b"000003":
            connection.answer(stream, body)

    server.do = all_but_one
    slow = asyncio.ensure_future(post(transport, 4))
    while not slow.done():
        assert len(accepted(await post(transport, 1))) == 1
    assert [answer is TIMED_OUT for answer in slow.result()] == [False, False, False, True]
    assert len(server.connections) == 1


async def test_a_slow_reader_gets_no_more_than_it_asks_for(transport, server):
    """Its windows fill up; what was written is not known in the end, what was not is withheld or tried again, and nothing piles up."""
    server.reads = False
    asked = 0

    def for_a_while() -> bool:
        nonlocal asked
        asked += 1
        return asked <= 250

    answers = await post(transport, 300, for_a_while, size=30_000)
    assert set(answers) <= {TIMED_OUT, WITHHELD, LOST, *UNSENT, *(a for a in answers if isinstance(a, Reply))}
    assert WITHHELD in answers
    assert len(server.got) == len(accepted(answers))


async def test_a_window_that_stays_closed_sends_nothing(transport, server):
    """The server never lets a body come: it has taken nothing, and all may be tried again."""
    server.settings = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0}
    (first,) = await post(transport, 1)
    answers = await post(transport, 3)
    assert {answer.answer for answer in (first, *answers)} == {Answer.RETRY}
    assert server.got == []


async def test_a_window_that_opens_too_late_is_not_used(transport, server):
    """Leave is asked again when the rest of a body could go on: a process that slept meanwhile writes no more of it."""
    server.settings = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0}
    may = [True]
    waiting = asyncio.ensure_future(post(transport, 1, lambda: may[0]))
    while not server.connections or not server.connections[0].http.streams:  # noqa: ASYNC110 the server gives no event
        await asyncio.sleep(0.005)
    may[0] = False
    server.connections[0].http.increment_flow_control_window(1_000, 1)
    server.connections[0].flush()
    assert await waiting == [WITHHELD]
    assert server.got == []


async def test_what_may_not_be_written_is_not(transport, server):
    """`may_write` is asked in the step that writes: after its no, nothing leaves."""
    left = 1 + 25  # asked once for all before a connection is made, and for each when it is written

    def may_write() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    answers = await post(transport, 100, may_write)
    assert answers.count(WITHHELD) == 75
    assert len(server.got) == 25


async def test_cancelling_resets_the_streams_alone(transport, server):
    """Whoever is cancelled is answered to nobody; the connection is kept for the others."""
    server.do = lambda *_: None
    waiting = asyncio.ensure_future(post(transport, 10))
    while not server.connections or len(server.connections[0].http.streams) < 10:  # noqa: ASYNC110 the server gives no event
        await asyncio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.do = Served.answer
    assert len(accepted(await post(transport, 5))) == 5
    assert (server.resets, len(server.connections)) == (10, 1)


async def test_a_server_that_is_not_trusted_gets_nothing(server):
    """Its certificate is nobody's we know: not connected, nothing written."""
    url = f"https://127.0.0.1:{server.port}/send"
    stranger = HttpsTransport(
        PostSettings(url=url, ca_file=ssl.get_default_verify_paths().cafile, connections=10, timeout_s=1, connect_timeout_s=5)
    )  # fmt: skip
    await stranger.open()
    assert set(await post(stranger, 10)) == {NOT_CONNECTED}
    await stranger.close()
    assert server.got == []


async def test_what_a_server_allows_is_known_to_the_next_connection(transport, server):
    """The first connection cannot know the limit; those after it begin within it, so that nothing is refused."""
    server.settings = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 9}
    assert len(accepted(await post(transport, 60))) == 60
    while server.connections or transport.opening:  # one may still be opened for what others were faster with
        for connection in server.connections:
            connection.transport.abort()
        await asyncio.sleep(0.005)
    assert len(accepted(await post(transport, 60))) == 60
    assert len(server.connections) <= 7


async def test_a_server_that_allows_nothing_is_given_up(transport, server):
    """No stream at a time, although there is leave to write for as long as it takes: all may be tried again, and it is asked once for each
    hundred of them. When it takes some again, everybody is told.
    """
    server.settings = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0}
    server.do = lambda connection, stream, _: connection.http.reset_stream(stream, 7)
    async with asyncio.timeout(10):
        assert {answer.answer for answer in await post(transport, 250)} == {Answer.RETRY}
    assert server.made <= 6
    assert server.got == []
    server.settings, server.do = {}, Served.answer
    assert len(accepted(await post(transport, 250))) == 250
