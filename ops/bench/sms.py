"""The same text messages through alertd's channel and through smpplib, to one node-smpp that nobody here wrote, with a receipt each.

Each sender runs alone, in a process of its own, warmed up, with a fresh node beside it; rounds alternate, and the medians count. A message
counts when its receipt has come. Cost is processor seconds of the sending process per 1,000 messages, which is milliseconds a message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from channels.base import Answer, Loudness, Recipient, SmsMessage, Stamp
from channels.smpp.channel import SmppChannel
from channels.smpp.settings import SmppSettings

ROOT = Path(__file__).parents[2]
TEXT = "Child missing: Lucia P., 7, red coat. Last seen Santa Justa station, Sevilla, 17:40. Call 116000. alerts.example/a/x1"
WARM_UP = 1_000
WINDOW = 50
CHUNK = 100  # what the worker sends at a time
LANES = 8  # of the worker


@dataclass(frozen=True)
class Run:
    """What one sender took for its messages."""

    messages: int
    seconds: float
    cpu_s: float


class Heard:
    """Counts receipts."""

    def __init__(self) -> None:
        self.count = 0

    async def said(self, answers: Sequence[Any]) -> None: ...

    async def reports(self, reports: Sequence[Any]) -> None:
        self.count += sum(one.tag is not None for one in reports)  # no part of a message

    async def until(self, count: int) -> None:
        while self.count < count:  # noqa: ASYNC110 an event a receipt would be part of what is measured
            await asyncio.sleep(0.002)


def send_with_alertd(count: int, port: int) -> Run:
    """Our channel, as the worker uses it: lanes that send chunks, over one bind as the other."""

    async def run() -> Run:
        heard = Heard()
        settings = SmppSettings(
            host="127.0.0.1",
            port=port,
            tls=False,
            system_id="sandbox",
            password="sandbox",
            sender="12345",
            binds=1,
            window=WINDOW,
            receipt_ids="hex-then-decimal",
        )
        channel = SmppChannel(settings, listener=heard)
        await channel.open()
        now = int(time.time())
        stamp = Stamp(chain="c", version="v", sent_s=now, expires_s=now + 3600, loudness=Loudness.LOUD, language="en")
        prepared = channel.prepare(SmsMessage(stamp=stamp, text=TEXT))

        async def lane(chunks: Iterator[range]) -> None:
            for chunk in chunks:
                recipients = [Recipient(f"+{number_of(n)}", f"tag-{n}") for n in chunk]
                outcomes = await channel.send(prepared, recipients, lambda: True)
                assert all(outcome.answer is Answer.ACCEPTED for outcome in outcomes)

        async def send(numbers: range) -> None:
            chunks = iter([numbers[at : at + CHUNK] for at in range(0, len(numbers), CHUNK)])
            await asyncio.gather(*(lane(chunks) for _ in range(LANES)))

        await send(range(WARM_UP))
        await heard.until(WARM_UP)
        began, cpu = time.perf_counter(), time.process_time()
        await send(range(WARM_UP, WARM_UP + count))
        await heard.until(WARM_UP + count)
        done = Run(count, time.perf_counter() - began, time.process_time() - cpu)
        await channel.close()
        return done

    return uvloop.run(run())


def send_with_smpplib(count: int, port: int) -> Run:
    """The other one, over one bind with the same window; it answers receipts by itself."""
    import smpplib.client  # noqa: PLC0415 the other sender needs it not

    logging.disable()
    client = smpplib.client.Client("127.0.0.1", port, allow_unknown_opt_params=True)
    done = {"answers": 0, "receipts": 0}

    def heard(name: str) -> Callable[..., None]:
        def add(**_: Any) -> None:
            done[name] += 1

        return add

    client.set_message_sent_handler(heard("answers"))
    client.set_message_received_handler(heard("receipts"))
    client.connect()
    client.bind_transceiver(system_id="sandbox", password="sandbox")

    def send(numbers: range, before: int) -> None:
        for sent, number in enumerate(numbers):
            while before + sent - done["answers"] >= WINDOW:
                client.read_once()
            client.send_message(
                source_addr_ton=3,
                source_addr="12345",
                dest_addr_ton=1,
                dest_addr_npi=1,
                destination_addr=number_of(number),
                short_message=TEXT.encode(),
                registered_delivery=True,
            )
        while done["receipts"] < before + len(numbers):
            client.read_once()

    send(range(WARM_UP), 0)
    began, cpu = time.perf_counter(), time.process_time()
    send(range(WARM_UP, WARM_UP + count), WARM_UP)
    run = Run(count, time.perf_counter() - began, time.process_time() - cpu)
    client.disconnect()
    return run


def number_of(number: int) -> str:
    return f"3460{number:07}"


#: Sender, and what share of the messages it gets: a slow one is measured on fewer.
SENDERS: dict[str, tuple[Callable[[int, int], Run], float]] = {
    "alertd": (send_with_alertd, 1.0),
    "smpplib": (send_with_smpplib, 0.25),
}


@contextmanager
def node() -> Iterator[int]:
    """node-smpp in a process of its own; answers its port."""
    command = ["node", str(ROOT / "ops/bench/smsc.js"), str(ROOT / ".cache/peers/node_modules/smpp")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "QUIET": "1"})
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])
    finally:
        process.terminate()
        process.wait(10)


def measured(name: str, count: int, port: int) -> Run:
    """One sender in a process of its own."""
    command = [sys.executable, __file__, "--sender", name, "--count", str(count), "--port", str(port)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return Run(**json.loads(done.stdout))


def bench(count: int, rounds: int) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {name: [] for name in SENDERS}
    for _ in range(rounds):
        for name, (_, share) in SENDERS.items():
            with node() as port:
                runs[name].append(measured(name, int(count * share), port))
    found: dict[str, Any] = {"messages": count}
    for name, those in runs.items():
        prefix = "" if name == "alertd" else "peer_"
        found[f"{prefix}rate"] = round(statistics.median(run.messages / run.seconds for run in those))
        found[f"{prefix}cpu_ms"] = round(statistics.median(1000 * run.cpu_s / run.messages for run in those), 4)
    found["peer"] = "smpplib"
    found["times_rate"] = round(found["rate"] / found["peer_rate"], 1)
    found["times_cpu"] = round(found["peer_cpu_ms"] / found["cpu_ms"], 1)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/sms", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="20,000 messages in three rounds instead of 100,000 in five"
    )
    parser.add_argument("--sender", choices=SENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sender:
        print(json.dumps(asdict(SENDERS[given.sender][0](given.count, given.port))))
        return 0
    found = bench(*((20_000, 3) if given.quick else (100_000, 5)))
    table = Table("sender", "messages/s with receipts", "CPU ms a message", title="SMPP to node-smpp")
    for name in SENDERS:
        prefix = "" if name == "alertd" else "peer_"
        table.add_row(name, f"{found[prefix + 'rate']:,}", f"{found[prefix + 'cpu_ms']}")
    Console(stderr=True).print(table)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
