"""The same push messages through alertd's channel and through firebase-admin, over TLS to one nginx that nobody here wrote.

For how they are measured see `senders`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import firebase_admin
import uvloop
from firebase_admin import credentials, messaging
from senders import Bench, Run, Sender, Watch, in_chunks

from channels.base import Answer, Loudness, PushMessage, Recipient, Stamp
from channels.fcm import FcmChannel, FcmSettings

ROOT = Path(__file__).parents[2]
TITLE, TEXT = "Niña desaparecida", "Lucía P., 7 años, abrigo rojo. Vista en la estación de Santa Justa, Sevilla. " * 3
WARM_UP = 500
PEER_BATCH = 500  # the most that one call of firebase-admin takes

NGINX = """
daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log crit;
events {{ worker_connections 2048; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000; keepalive_timeout 120s;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{
    listen 127.0.0.1:{port} ssl backlog=2048; http2 on;
    ssl_certificate {dir}/server.pem; ssl_certificate_key {dir}/server.key;
    location / {{ return 200 '{{"name": "projects/sandbox/messages/0:1500415314455276%31bd1c9631bd1c96"}}'; }}
  }}
}}
"""


def send_with_alertd(count: int, push: dict[str, Any]) -> Run:
    """Our channel, as the worker uses it: one message encoded once, lanes that send chunks of recipients."""

    async def run() -> Run:
        channel = FcmChannel(FcmSettings(**push))
        await channel.open()
        now = int(time.time())
        stamp = Stamp(chain="01M885E6PQYDF6FR2R1P9138GR", version="01M885E6PQYDF6FR2R1P9138GR", sent_s=now,
                      expires_s=now + 3600, loudness=Loudness.LOUD, language="es")  # fmt: skip
        prepared = channel.prepare(PushMessage(stamp=stamp, title=TITLE, body=TEXT))

        async def chunk(numbers: range) -> None:
            recipients = [Recipient(token_of(n), f"tag-{n}") for n in numbers]
            outcomes = await channel.send(prepared, recipients, lambda: True)
            assert all(outcome.answer is Answer.ACCEPTED for outcome in outcomes)

        await in_chunks(range(WARM_UP), chunk)
        watch = Watch()
        await in_chunks(range(count), chunk)
        done = watch.run(count)
        await channel.close()
        return done

    return uvloop.run(run())


def _firebase(push: dict[str, Any]) -> Callable[[range], list[Any]]:
    """firebase-admin, pointed at the same server; answers a maker of messages with the same words."""
    warnings.simplefilter("ignore")  # it warns at each token
    messaging._MessagingService.FCM_URL = push["endpoint"] + "/v1/projects/{0}/messages:send"  # noqa: SLF001 no other way
    firebase_admin.initialize_app(credentials.Certificate(push["credentials"]))
    common = {
        "data": {"chain": "01M885E6PQYDF6FR2R1P9138GR", "version": "01M885E6PQYDF6FR2R1P9138GR", "language": "es"},
        "notification": messaging.Notification(title=TITLE, body=TEXT),
        "android": messaging.AndroidConfig(priority="high", ttl=3600),
    }
    return lambda numbers: [messaging.Message(token=token_of(n), **common) for n in numbers]


def send_with_send_each(count: int, push: dict[str, Any]) -> Run:
    messages = _firebase(push)
    _check(messaging.send_each(messages(range(WARM_UP))))
    watch = Watch()
    for start in range(0, count, PEER_BATCH):
        _check(messaging.send_each(messages(range(start, min(start + PEER_BATCH, count)))))
    return watch.run(count)


def send_with_send_each_async(count: int, push: dict[str, Any]) -> Run:
    messages = _firebase(push)

    async def run() -> Run:
        _check(await messaging.send_each_async(messages(range(WARM_UP))))
        watch = Watch()
        for start in range(0, count, PEER_BATCH):
            _check(await messaging.send_each_async(messages(range(start, min(start + PEER_BATCH, count)))))
        return watch.run(count)

    return uvloop.run(run())


def _check(answer: Any) -> None:
    if answer.failure_count:
        raise RuntimeError(
            f"{answer.failure_count} failed, the first: {next(r.exception for r in answer.responses if r.exception)}"
        )


def token_of(number: int) -> str:
    """As long as real ones."""
    return f"{number:022}:APA91b" + "x" * 134


@contextmanager
def sink() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="alertd-bench-") as directory, _serving(Path(directory)) as push:
        yield push


@contextmanager
def _serving(directory: Path) -> Iterator[dict[str, Any]]:
    """The sandbox for its certificates and access tokens, nginx for the messages; answers the channel's settings."""
    sandbox = subprocess.Popen([sys.executable, "-m", "alertd", "sandbox", "--directory", str(directory)], cwd=ROOT)
    server = None
    try:
        told = directory / "sandbox.json"
        _wait(told.exists)
        push: dict[str, Any] = json.loads(told.read_text())["push"]
        port = _free_port()
        (directory / "nginx.conf").write_text(NGINX.format(dir=directory, port=port))
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or "nginx"
        server = subprocess.Popen([program, "-e", "stderr", "-c", str(directory / "nginx.conf")])
        _wait((directory / "nginx.pid").exists)
        yield {**push, "endpoint": f"https://127.0.0.1:{port}"}
    finally:
        for process in filter(None, (server, sandbox)):
            process.terminate()
            process.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError("a server did not start")
        time.sleep(0.02)


BENCH = Bench(
    file=__file__,
    does=__doc__,
    title="Push over TLS to nginx",
    noun="message",
    nouns="messages",
    senders={
        "alertd": Sender(send_with_alertd),
        "send_each": Sender(send_with_send_each, "send_each_", 0.1),
        "send_each_async": Sender(send_with_send_each_async, "send_each_async_", 0.1),
    },
    server=sink,
    peer="send_each",
    environment=lambda push: {"REQUESTS_CA_BUNDLE": push["ca_file"], "SSL_CERT_FILE": push["ca_file"]},
)


if __name__ == "__main__":
    sys.exit(BENCH.main())
