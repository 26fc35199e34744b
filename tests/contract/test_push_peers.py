"""Push against HTTP servers that nobody here wrote: nginx, nghttpx and node read our requests over TLS, and go away."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter

import pytest

from channels.base import Answer, Loudness, PushMessage, Recipient, Stamp
from channels.fcm import FcmChannel, FcmSettings
from tests.contract.push_peers import PEERS, Place

pytestmark = pytest.mark.peer

OVER_HTTP2 = pytest.mark.parametrize("name", [name for name in PEERS if name != "nginx-http1"])


@pytest.fixture(params=PEERS)
def name(request):
    return request.param


@pytest.fixture
def tight():
    """Whether the peer allows few streams and small windows."""
    return False


@pytest.fixture
def peer(sandbox, name, tight):
    authority = sandbox.authority
    place = Place(directory=authority.ca_file.parent, authority=authority, tight=tight)
    with PEERS[name](place) as running:
        yield running


@pytest.fixture
async def open_push(sandbox, peer):
    opened = []

    async def open_one(project: str, connections: int = 4) -> FcmChannel:
        settings = {**sandbox.endpoints["push"], "endpoint": peer.endpoint}
        channel = FcmChannel(FcmSettings(**settings, project_id=project, connections=connections, timeout_s=30))
        await channel.open()
        opened.append(channel)
        return channel

    yield open_one
    for channel in opened:
        await channel.close()


def message() -> PushMessage:
    stamp = Stamp(
        chain="c", version="v", sent_s=1, expires_s=int(time.time()) + 60, loudness=Loudness.LOUD, language="es"
    )
    return PushMessage(stamp=stamp, title="Niña", body="漢" * 2_000)


def recipients(count: int, start: int = 0) -> list[Recipient]:
    return [Recipient(f"token-{n}", f"tag-{n}", is_new=True) for n in range(start, start + count)]


async def sent(channel: FcmChannel, to: list[Recipient]):
    return await channel.send(channel.prepare(message()), to, lambda: True)


async def read_by(peer, count: int):
    """The peer's log of `count` requests: nginx writes it after its reply."""
    async with asyncio.timeout(60):
        while len(rows := peer.rows()) < count:  # noqa: ASYNC110 a foreign process gives no event
            await asyncio.sleep(0.02)
    return rows


def tokens(rows) -> Counter[str]:
    return Counter(json.loads(row["body"])["message"]["token"] for row in rows)


async def test_a_stranger_reads_what_we_send(open_push, peer):
    """A foreign server sees whole requests, with the bearer and a body that is JSON, over kept connections that it may close."""
    channel, to = await open_push("sandbox"), recipients(400)
    assert {outcome.answer for outcome in await sent(channel, to)} == {Answer.ACCEPTED}
    rows = await read_by(peer, len(to))
    assert {row["line"] for row in rows} == {"POST /v1/projects/sandbox/messages:send"}
    assert {row["protocol"] for row in rows} == {peer.protocol}
    assert all(re.fullmatch(r"Bearer ya29\.[\w-]+", row["bearer"]) for row in rows)
    assert tokens(rows) == {recipient.address: 1 for recipient in to}
    assert {len(row["body"].encode()) == int(row["length"]) for row in rows} == {True}
    assert len({row["connection"] for row in rows}) < 20


async def test_a_peer_in_trouble_is_an_outcome(open_push, peer):
    """A closed connection after the request is unknown; an HTML page with 503 is for later, when it says."""
    (outcome,) = await sent(await open_push("closed"), recipients(1))
    assert (outcome.answer.name, outcome.reason.name) == peer.closed_is
    (outcome,) = await sent(await open_push("busy"), recipients(1))
    assert (outcome.answer, outcome.reason.name, outcome.retry_after_s) == (Answer.RETRY, "UNAVAILABLE", 9.0)


async def test_replies_of_unknown_length_are_read(open_push):
    """What comes in pieces and without a length is read all the same, and connections are kept."""
    outcomes = await sent(await open_push("chunked"), recipients(100))
    assert {outcome.message_id for outcome in outcomes} == {"projects/sandbox/messages/1"}


@OVER_HTTP2
async def test_a_burst_reaches_everybody_once(open_push, peer):
    """Three thousand messages of 4 kB at once, over several connections, each of which the server fills to its limit."""
    channel, to = await open_push("sandbox", connections=400), recipients(3_000)
    assert {outcome.answer for outcome in await sent(channel, to)} == {Answer.ACCEPTED}
    assert tokens(await read_by(peer, len(to))) == {recipient.address: 1 for recipient in to}


@OVER_HTTP2
@pytest.mark.parametrize("tight", [True])
async def test_few_streams_and_small_windows_are_kept_to(open_push, peer):
    """A server that allows seven streams, and of each body less than it has, gets every message whole and refuses none."""
    channel, to = await open_push("sandbox", connections=60), recipients(400)
    assert {outcome.answer for outcome in await sent(channel, to)} == {Answer.ACCEPTED}
    assert tokens(await read_by(peer, len(to))) == {recipient.address: 1 for recipient in to}


@OVER_HTTP2
async def test_a_server_that_leaves_in_mid_burst_loses_and_doubles_nobody(open_push, peer):
    """It says goodbye (GOAWAY) to all connections again and again, as when it is deployed anew: everybody is told once."""
    channel, count, times = await open_push("sandbox", connections=100), 3_000, 6
    sending = asyncio.create_task(sent(channel, recipients(count)))
    for reached in range(1, count, count // times):
        await read_by(peer, reached)
        peer.leave()
    assert {outcome.answer for outcome in await sending} == {Answer.ACCEPTED}
    rows = await read_by(peer, count)
    assert set(tokens(rows).values()) == {1}
    assert len({row["connection"] for row in rows}) >= times // 2  # one would do for a server that stays


@pytest.mark.parametrize("name", ["node"])
async def test_limits_that_shrink_in_mid_burst_are_kept_to(open_push, peer):
    """New settings count at once for what is under way: fewer streams, smaller windows, and more again."""
    channel, count = await open_push("sandbox", connections=300), 1_500
    sending = asyncio.create_task(sent(channel, recipients(count)))
    for reached, streams, window in ((100, 5, 300), (500, 1, 70_000), (700, 100, 0), (700, 50, 65_535)):
        await read_by(peer, reached)
        peer.order(json.dumps({"maxConcurrentStreams": streams, "initialWindowSize": window}))
    assert {outcome.answer for outcome in await sending} == {Answer.ACCEPTED}
    assert set(tokens(await read_by(peer, count)).values()) == {1}
