"""Push against an HTTP server that nobody here wrote: nginx over TLS reads our requests."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time

import pytest

from channels.base import Answer, Loudness, PushMessage, Reason, Recipient, Stamp
from channels.fcm import FcmChannel, FcmSettings

pytestmark = pytest.mark.peer

CONFIG = """
daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
  log_format sent escape=json '{{"line": "$request_method $request_uri", "protocol": "$server_protocol", "bearer": "$http_authorization", "type": "$content_type", '
    '"length": "$content_length", "connection": "$connection", "requests": $connection_requests, "body": "$request_body"}}';
  access_log {dir}/access.log sent;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  client_body_buffer_size 64k;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} ssl; http2 {http2};
    ssl_certificate {dir}/server.pem; ssl_certificate_key {dir}/server.key;
    keepalive_requests 50;
    location /v1/projects/sandbox/ {{ proxy_pass http://127.0.0.1:{back}/accepted; }}
    location /v1/projects/chunked/ {{ ssi on; ssi_types application/json; proxy_pass http://127.0.0.1:{back}/accepted; }}
    location /v1/projects/closed/ {{ return 444; }}
    location /v1/projects/busy/ {{ add_header Retry-After 9 always; return 503; }}
  }}
  server {{
    listen 127.0.0.1:{back};
    access_log off;
    location /accepted {{ return 200 '{{"name": "projects/sandbox/messages/1"}}'; }}
  }}
}}
"""


@pytest.fixture(params=["off", "on"], ids=["http1", "http2"])
def http2(request):
    return request.param


@pytest.fixture
def nginx(sandbox, free_port, wait_for_port, http2):
    """nginx with the sandbox's certificate: (endpoint, a function that reads its log)."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program, "nginx is missing: apt-get install nginx-light"
    directory, port = sandbox.authority.ca_file.parent, free_port()
    config = directory / "nginx.conf"
    config.write_text(CONFIG.format(dir=directory, port=port, back=free_port(), http2=http2))
    process = subprocess.Popen([program, "-e", str(directory / "error.log"), "-c", str(config)])
    try:
        wait_for_port(port)
        yield f"https://127.0.0.1:{port}", directory / "access.log"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
async def open_push(sandbox, nginx):
    opened = []

    async def open_one(project: str) -> FcmChannel:
        settings = {**sandbox.endpoints["push"], "endpoint": nginx[0]}
        channel = FcmChannel(FcmSettings(**settings, project_id=project, connections=4, timeout_s=5))
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


async def test_nginx_reads_what_we_send(open_push, nginx, http2):
    """A foreign server sees whole requests, with the bearer and a body that is JSON, over kept connections that it may close."""
    channel = await open_push("sandbox")
    recipients = [Recipient(f"token-{n}", f"tag-{n}") for n in range(400)]
    outcomes = await channel.send(channel.prepare(message()), recipients, lambda: True)
    lost = [outcome for outcome in outcomes if outcome.answer is not Answer.ACCEPTED]
    assert not lost
    async with asyncio.timeout(10):  # nginx writes its log after its reply
        while nginx[1].read_text().count("\n") < len(recipients):  # noqa: ASYNC110 a foreign process gives no event
            await asyncio.sleep(0.02)
    rows = [json.loads(line) for line in nginx[1].read_text().splitlines()]
    assert {row["line"] for row in rows} == {"POST /v1/projects/sandbox/messages:send"}
    assert {row["protocol"] for row in rows} == {"HTTP/2.0" if http2 == "on" else "HTTP/1.1"}
    assert all(re.fullmatch(r"Bearer ya29\.[\w-]+", row["bearer"]) for row in rows)
    bodies = [json.loads(row["body"])["message"] for row in rows]
    assert sorted(body["token"] for body in bodies) == sorted(recipient.address for recipient in recipients)
    assert {len(row["body"].encode()) == int(row["length"]) for row in rows} == {True}
    assert len({row["connection"] for row in rows}) < 20


@pytest.mark.parametrize(
    ("project", "answer", "reason", "wait_s"),
    [("closed", Answer.UNKNOWN, Reason.CONNECTION, None), ("busy", Answer.RETRY, Reason.UNAVAILABLE, 9.0)],
)
async def test_nginx_in_trouble_is_an_outcome(open_push, project, answer, reason, wait_s):
    """A closed connection after the request is unknown; an HTML page with 503 is for later, when it says."""
    channel = await open_push(project)
    (outcome,) = await channel.send(channel.prepare(message()), [Recipient("token", "tag")], lambda: True)
    assert (outcome.answer, outcome.reason, outcome.retry_after_s) == (answer, reason, wait_s)


async def test_replies_of_unknown_length_are_read(open_push):
    """nginx sends in chunks what it rewrites on the way; connections are kept all the same."""
    channel = await open_push("chunked")
    recipients = [Recipient(f"token-{n}", f"tag-{n}") for n in range(100)]
    outcomes = await channel.send(channel.prepare(message()), recipients, lambda: True)
    assert {outcome.message_id for outcome in outcomes} == {"projects/sandbox/messages/1"}
