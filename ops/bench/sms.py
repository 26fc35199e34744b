"""Sends the same SMS through alertd's channel and through smpplib, to one third-party node-smpp, with a receipt each.

A message counts when its receipt has come; `senders` describes the measurement.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
from senders import Bench, Run, Sender, Watch, in_chunks

from channels.base import Answer, Loudness, Recipient, SmsMessage, Stamp
from channels.smpp.channel import SmppChannel
from channels.smpp.session import SessionSettings
from channels.smpp.settings import SmppSettings

ROOT = Path(__file__).parents[2]
TEXT = "Child missing: Lucia P., 7, red coat. Last seen Santa Justa station, Sevilla, 17:40. Call 116000. alerts.example/a/x1"
WARM_UP = 1_000
WINDOW = 50


class Heard:
    """Counts receipts."""

    def __init__(self) -> None:
        self.count = 0

    async def take_answers(self, answers: Sequence[Any]) -> None: ...

    async def reports(self, reports: Sequence[Any]) -> None:
        self.count += sum(one.tag is not None for one in reports)  # does not count parts of a message

    async def until(self, count: int) -> None:
        while self.count < count:  # noqa: ASYNC110 an event a receipt would be part of what is measured
            await asyncio.sleep(0.002)


def send_with_alertd(count: int, port: int) -> Run:
    """Our channel, used like in the worker: lanes that send chunks, over one bind, like the other sender."""

    async def run() -> Run:
        heard = Heard()
        settings = SmppSettings(
            host="127.0.0.1",
            port=port,
            tls=False,
            session=SessionSettings(system_id="sandbox", password="sandbox", window=WINDOW),
            sender="12345",
            binds=1,
            receipt_ids="hex-then-decimal",
        )
        channel = SmppChannel(settings, listener=heard)
        await channel.open()
        now = int(time.time())
        stamp = Stamp(chain="c", version="v", sent_s=now, expires_s=now + 3600, loudness=Loudness.LOUD, language="en")
        prepared = channel.prepare(SmsMessage(stamp=stamp, text=TEXT))

        async def chunk(numbers: range) -> None:
            recipients = [Recipient(f"+{number_of(n)}", f"tag-{n}", is_new=True) for n in numbers]
            outcomes = await channel.send(prepared, recipients, lambda: True)
            assert all(outcome.answer is Answer.ACCEPTED for outcome in outcomes)

        await in_chunks(range(WARM_UP), chunk)
        await heard.until(WARM_UP)
        watch = Watch()
        await in_chunks(range(WARM_UP, WARM_UP + count), chunk)
        await heard.until(WARM_UP + count)
        done = watch.run(count)
        await channel.close()
        return done

    return uvloop.run(run())


def send_with_smpplib(count: int, port: int) -> Run:
    """smpplib, over one bind with the same window; it acknowledges receipts by itself."""
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
    watch = Watch()
    send(range(WARM_UP, WARM_UP + count), WARM_UP)
    run = watch.run(count)
    client.disconnect()
    return run


def number_of(number: int) -> str:
    return f"3460{number:07}"


@contextmanager
def node() -> Iterator[int]:
    """Runs node-smpp in a separate process. Yields its port."""
    command = ["node", str(ROOT / "ops/bench/smsc.js"), str(ROOT / ".cache/peers/node_modules/smpp")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "QUIET": "1"})
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])
    finally:
        process.terminate()
        process.wait(10)


BENCH = Bench(
    file=__file__,
    does=__doc__,
    title="SMPP to node-smpp, with receipts",
    noun="message",
    nouns="messages",
    senders={"alertd": Sender(send_with_alertd), "smpplib": Sender(send_with_smpplib, "peer_", 0.25)},
    server=node,
    peer="smpplib",
)


if __name__ == "__main__":
    sys.exit(BENCH.main())
