"""Text messages over HTTP against a server that nobody here wrote: nginx over TLS reads our forms and answers by the account."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from urllib.parse import parse_qs

import pytest

from channels.base import Answer, Loudness, Outcome, Reason, Recipient, SmsMessage, Stamp
from channels.sms_http import HttpSmsChannel, HttpSmsSettings
from tests.contract import programs
from tests.outcomes import without_words
from tests.ports import free_port

pytestmark = pytest.mark.peer

LOG = (
    '{"line": "$request_method $request_uri", "protocol": "$server_protocol", "user": "$remote_user", '
    '"basic": "$http_authorization", "type": "$content_type", "connection": "$connection", "body": "$request_body"}'
)
SERVERS = """
  limit_req_zone $server_port zone=slow:1m rate=10r/s;
  server {{
    listen 127.0.0.1:{port} ssl; http2 {http2};
    keepalive_requests 50;
    location ~ ^/2010-04-01/Accounts/(accepted|refused|gone)/Messages.json$ {{ proxy_pass http://127.0.0.1:{back}/$1; }}
    location /2010-04-01/Accounts/slow/ {{ limit_req zone=slow burst=100; proxy_pass http://127.0.0.1:{back}/accepted; }}
    location /2010-04-01/Accounts/throttled/ {{ add_header Retry-After 7 always; return 429 '{{"code": 20429}}'; }}
    location /2010-04-01/Accounts/down/ {{ return 503; }}
    location /2010-04-01/Accounts/reset/ {{ return 444; }}
    location /2010-04-01/Accounts/portal/ {{ default_type text/html; return 200 '<html>Please sign in</html>'; }}
  }}
  server {{
    listen 127.0.0.1:{back};
    access_log off;
    location /accepted {{ return 201 '{{"sid": "SM1", "status": "queued", "error_code": null}}'; }}
    location /refused {{ return 400 '{{"code": 21211, "message": "no number", "status": 400}}'; }}
    location /gone {{ return 400 '{{"code": 21610, "message": "STOP", "status": 400}}'; }}
  }}
"""


@pytest.fixture(params=["off", "on"], ids=["http1", "http2"])
def http2(request):
    return request.param


@pytest.fixture
def nginx(sandbox, http2):
    """nginx with the sandbox's certificate: (endpoint, its log)."""
    directory, port = sandbox.authority.ca_file.parent, free_port()
    servers = SERVERS.format(port=port, back=free_port(), http2=http2)
    with programs.nginx(directory, sandbox.authority, servers, LOG, port):
        yield f"https://127.0.0.1:{port}", directory / "access.log"


@pytest.fixture
async def open_sms(sandbox, nginx):
    opened = []

    async def open_one(account: str) -> HttpSmsChannel:
        settings = HttpSmsSettings(
            account=account,
            secret="horse",
            sender="ALERTS",
            endpoint=nginx[0],
            callback_base="https://a.example/r",
            ca_file=str(sandbox.authority.ca_file),
            connections=4,
            timeout_s=30,
        )
        channel = HttpSmsChannel(settings)
        await channel.open()
        opened.append(channel)
        return channel

    yield open_one
    for channel in opened:
        await channel.close()


TEXT = "Niña & «Lucía» = 7 + 1? 漢字 €"


def prepared(channel):
    now = int(time.time())
    stamp = Stamp(chain="c", version="v", sent_s=now, expires_s=now + 600, loudness=Loudness.LOUD, language="es")
    return channel.prepare(SmsMessage(stamp=stamp, text=TEXT))


def people(count):
    return [Recipient(f"+346000{n:05}", f"tag{n}", is_new=True) for n in range(count)]


async def test_nginx_reads_what_we_send(open_sms, nginx, http2):
    """A foreign server sees whole forms with the account's credentials, one for each person, over a few kept connections."""
    channel = await open_sms("accepted")
    outcomes = await channel.send(prepared(channel), people(200), lambda: True)
    assert set(outcomes) == {Outcome(Answer.ACCEPTED, message_id="SM1")}
    async with asyncio.timeout(60):  # nginx writes its log after its reply
        while nginx[1].read_text().count("\n") < 200:  # noqa: ASYNC110 a foreign process gives no event
            await asyncio.sleep(0.02)
    rows = [json.loads(line) for line in nginx[1].read_text().splitlines()]
    assert {row["line"] for row in rows} == {"POST /2010-04-01/Accounts/accepted/Messages.json"}
    assert {row["protocol"] for row in rows} == {"HTTP/2.0" if http2 == "on" else "HTTP/1.1"}
    assert {row["type"] for row in rows} == {"application/x-www-form-urlencoded"}
    assert {row["basic"] for row in rows} == {"Basic " + base64.b64encode(b"accepted:horse").decode()}
    assert {row["user"] for row in rows} == {"accepted"}  # nginx's own reading of it
    forms = [parse_qs(row["body"], strict_parsing=True) for row in rows]
    assert sorted(form["To"] for form in forms) == [[one.address] for one in people(200)]
    assert {form["Body"][0] for form in forms} == {'Niña & "Lucía" = 7 + 1? 漢字 €'}
    assert {form["StatusCallback"][0] for form in forms} == {f"https://a.example/r/{one.tag}" for one in people(200)}
    assert len({row["connection"] for row in rows}) < 20


@pytest.mark.parametrize(
    ("account", "outcome"),
    [
        ("throttled", Outcome(Answer.RETRY, Reason.THROTTLED, 7.0)),
        ("refused", Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        ("gone", Outcome(Answer.NEVER, Reason.GONE)),
        ("down", Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        ("portal", Outcome(Answer.UNKNOWN, Reason.GARBAGE)),
        ("nowhere", Outcome(Answer.RETRY, Reason.GARBAGE)),  # 404: nobody took it
    ],
)
async def test_nginx_no_is_data(open_sms, account, outcome):
    """Refusals are outcomes, and a page of HTML is none: it may have been sent, and nobody is removed for it."""
    channel = await open_sms(account)
    outcomes = await channel.send(prepared(channel), people(6), lambda: True)
    assert set(without_words(outcomes)) == {outcome}


async def test_nginx_that_hangs_up_leaves_it_unknown(open_sms):
    """The request was written, so an SMS may be on its way."""
    channel = await open_sms("reset")
    for outcome in await channel.send(prepared(channel), people(6), lambda: True):
        assert (outcome.answer, outcome.reason) == (Answer.UNKNOWN, Reason.CONNECTION)


async def test_a_slow_nginx_is_waited_for_and_a_cancelled_send_leaves_the_channel_whole(open_sms):
    """Ten a second: the first chunk waits, the second is cancelled in its middle, and the next goes on."""
    channel = await open_sms("slow")
    began = time.monotonic()
    outcomes = await channel.send(prepared(channel), people(8), lambda: True)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}
    assert time.monotonic() - began > 0.5
    writing = asyncio.Event()
    sending = asyncio.create_task(channel.send(prepared(channel), people(8), lambda: writing.set() or True))
    await asyncio.wait_for(writing.wait(), 5)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    outcomes = await channel.send(prepared(channel), people(2), lambda: True)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}
