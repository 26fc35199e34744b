"""The same push messages through alertd's channel and through firebase-admin, over TLS to one nginx that nobody here wrote.

Each sender runs alone, in a process of its own, warmed up, with a fresh nginx beside it; rounds alternate, and the medians count. Cost is
processor seconds of the sending process (user and system) per 1,000 messages, which is milliseconds a message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import firebase_admin
import uvloop
from firebase_admin import credentials, messaging
from rich.console import Console
from rich.table import Table

from channels.base import Answer, Loudness, PushMessage, Recipient, Stamp
from channels.fcm import FcmChannel, FcmSettings

ROOT = Path(__file__).parents[2]
TITLE, TEXT = "Niña desaparecida", "Lucía P., 7 años, abrigo rojo. Vista en la estación de Santa Justa, Sevilla. " * 3
WARM_UP = 500
CHUNK = 100  # what the worker sends at a time
LANES = 8  # of the worker
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


@dataclass(frozen=True)
class Run:
    """What one sender took for its messages."""

    messages: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_s / self.messages


def send_with_alertd(count: int, push: dict[str, Any]) -> Run:
    """Our channel, as the worker uses it: one message encoded once, lanes that send chunks of recipients."""

    async def run() -> Run:
        channel = FcmChannel(FcmSettings(**push))
        await channel.open()
        now = int(time.time())
        stamp = Stamp(chain="01M885E6PQYDF6FR2R1P9138GR", version="01M885E6PQYDF6FR2R1P9138GR", sent_s=now,
                      expires_s=now + 3600, loudness=Loudness.LOUD, language="es")  # fmt: skip
        prepared = channel.prepare(PushMessage(stamp=stamp, title=TITLE, body=TEXT))

        async def lane(chunks: Iterator[range]) -> None:
            for chunk in chunks:
                recipients = [Recipient(token_of(n), f"tag-{n}") for n in chunk]
                outcomes = await channel.send(prepared, recipients, lambda: True)
                assert all(outcome.answer is Answer.ACCEPTED for outcome in outcomes)

        async def send(numbers: range) -> None:
            chunks = iter([numbers[at : at + CHUNK] for at in range(0, len(numbers), CHUNK)])
            await asyncio.gather(*(lane(chunks) for _ in range(LANES)))

        await send(range(WARM_UP))
        began, cpu = time.perf_counter(), time.process_time()
        await send(range(count))
        done = Run(count, time.perf_counter() - began, time.process_time() - cpu)
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
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, count, PEER_BATCH):
        _check(messaging.send_each(messages(range(start, min(start + PEER_BATCH, count)))))
    return Run(count, time.perf_counter() - began, time.process_time() - cpu)


def send_with_send_each_async(count: int, push: dict[str, Any]) -> Run:
    messages = _firebase(push)

    async def run() -> Run:
        _check(await messaging.send_each_async(messages(range(WARM_UP))))
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, count, PEER_BATCH):
            _check(await messaging.send_each_async(messages(range(start, min(start + PEER_BATCH, count)))))
        return Run(count, time.perf_counter() - began, time.process_time() - cpu)

    return uvloop.run(run())


def _check(answer: Any) -> None:
    if answer.failure_count:
        raise RuntimeError(
            f"{answer.failure_count} failed, the first: {next(r.exception for r in answer.responses if r.exception)}"
        )


def token_of(number: int) -> str:
    """As long as real ones."""
    return f"{number:022}:APA91b" + "x" * 134


#: Sender, and what share of the messages it gets: a slow one is measured on fewer.
SENDERS: dict[str, tuple[Callable[[int, dict[str, Any]], Run], float]] = {
    "alertd": (send_with_alertd, 1.0),
    "send_each": (send_with_send_each, 0.1),
    "send_each_async": (send_with_send_each_async, 0.1),
}


@contextmanager
def sink(directory: Path) -> Iterator[dict[str, Any]]:
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


def measured(name: str, count: int, push: dict[str, Any]) -> Run:
    """One sender in a process of its own."""
    environment = {**os.environ, "REQUESTS_CA_BUNDLE": push["ca_file"], "SSL_CERT_FILE": push["ca_file"]}
    command = [sys.executable, __file__, "--sender", name, "--count", str(count), "--settings", json.dumps(push)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return Run(**json.loads(done.stdout))


def bench(count: int, rounds: int) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {name: [] for name in SENDERS}
    for _ in range(rounds):
        for name, (_, share) in SENDERS.items():
            with tempfile.TemporaryDirectory(prefix="alertd-bench-") as directory, sink(Path(directory)) as push:
                runs[name].append(measured(name, int(count * share), push))
    found: dict[str, Any] = {"messages": count}
    for name, those in runs.items():
        prefix = "" if name == "alertd" else f"{name}_"
        found[f"{prefix}rate"] = round(statistics.median(run.rate for run in those))
        found[f"{prefix}cpu_ms"] = round(statistics.median(run.cpu_ms for run in those), 4)
    found["times_rate"] = round(found["rate"] / found["send_each_rate"], 1)
    found["times_cpu"] = round(found["send_each_cpu_ms"] / found["cpu_ms"], 1)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/push", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="20,000 messages in three rounds instead of 100,000 in five"
    )
    parser.add_argument("--sender", choices=SENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sender:
        run = SENDERS[given.sender][0](given.count, given.settings)
        print(json.dumps({"messages": run.messages, "seconds": run.seconds, "cpu_s": run.cpu_s}))
        return 0
    found = bench(*((20_000, 3) if given.quick else (100_000, 5)))
    table = Table("sender", "messages/s", "CPU ms a message", title="Push over TLS to nginx")
    for name in SENDERS:
        prefix = "" if name == "alertd" else f"{name}_"
        table.add_row(name, f"{found[prefix + 'rate']:,}", f"{found[prefix + 'cpu_ms']}")
    Console(stderr=True).print(table)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
