"""The push carrier of the sandbox speaks what FCM speaks. The client is one that nobody here wrote: httpx over h2."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest

from channels.access_token import AccessToken
from channels.sandbox.authority import make_authority
from channels.sandbox.fcm import FcmSandbox
from channels.sandbox.script import Rule

CALL = "/v1/projects/sandbox/messages:send"


@pytest.fixture
async def carrier(tmp_path):
    made = FcmSandbox(make_authority(tmp_path))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def client(carrier, tmp_path):
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    token = await AccessToken(str(carrier.account.file), str(tmp_path / "ca.pem")).get()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(http2=True, verify=context, base_url=carrier.endpoint, headers=headers) as made:
        yield made


def message(address, **more):
    return {"message": {"token": address, "data": {"chain": "c", "version": "v"}, **more}}


async def test_many_at_once_share_a_connection(carrier, client):
    """Three hundred messages over one connection, each answered with an id of its own."""
    answers = await asyncio.gather(*(client.post(CALL, json=message(f"t:{i}")) for i in range(300)))
    assert {(answer.http_version, answer.status_code) for answer in answers} == {("HTTP/2", 200)}
    assert len({answer.json()["name"] for answer in answers}) == 300
    assert carrier.recorded.counts() == {"total": 300, "addresses": 300, "doubled": 0}
    assert carrier.open_connections == 1


async def test_an_answer_longer_than_the_window_is_whole(carrier, client):
    """Two megabytes of records, where the client takes 64 KiB at a time."""
    for i in range(20_000):
        carrier.recorded.add("c", "v", f"t:{i}")
    answer = await client.get("/recorded")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(answer.text.splitlines()) == 20_000


async def test_a_message_longer_than_the_window_is_read(carrier, client):
    """And refused for its length, as FCM does."""
    answer = await client.post(CALL, json=message("t:1", notification={"body": "x" * 300_000}))
    assert (answer.status_code, carrier.recorded.total) == (400, 0)


async def test_a_refusal_says_when_to_come_again(carrier, client):
    """Its status, its header and its body arrive."""
    carrier.script.set(Rule("", "throttle", retry_after_s=7))
    answer = await client.post(CALL, json=message("t:1"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["status"] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("behaviour", ["reset", "half", "stall"])
async def test_trouble_of_one_is_no_trouble_of_others(carrier, client, behaviour):
    """One request is cut; those beside it on the connection are answered."""
    carrier.script.set(Rule("bad", behaviour, delay_s=0.05))
    bad, *good = await asyncio.gather(
        client.post(CALL, json=message("bad")),
        *(client.post(CALL, json=message(f"t:{i}")) for i in range(20)),
        return_exceptions=True,
    )
    assert isinstance(bad, httpx.RemoteProtocolError)
    assert [answer.status_code for answer in good] == [200] * 20
    assert carrier.open_connections == 1


async def test_whoever_leaves_is_not_answered(carrier, client):
    """A client that gives one request up hears of no other by it, and the connection goes on."""
    carrier.script.set(Rule("slow", "slow", delay_s=0.3))
    with pytest.raises(httpx.ReadTimeout):
        await client.post(CALL, json=message("slow"), timeout=0.05)
    answers = await asyncio.gather(*(client.post(CALL, json=message(f"slow{i}")) for i in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n" * 10, b"\0" * 64], ids=["http1", "zeros"])
async def test_what_is_not_http2_is_hung_up_on(carrier, tmp_path, garbage):
    """Who chose HTTP/2 and speaks something else gets no answer."""
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    context.set_alpn_protocols(["h2"])
    port = httpx.URL(carrier.endpoint).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(garbage)
    try:
        async with asyncio.timeout(30):
            said = await reader.read()
    except ConnectionError:
        said = b""
    writer.close()
    assert b"HTTP/1.1" not in said
    assert carrier.open_connections == 0
