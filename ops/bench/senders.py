"""Shared code of the sender benches: each sender runs alone, in a separate process, warmed up, with a fresh server.

Rounds alternate, and the medians count. Cost is processor seconds of the sending process (user and system) per 1,000 messages, which
equals milliseconds per message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from channels.base import Answer, Channel, Loudness, Recipient, Stamp

CHUNK, LANES = 100, 8  # of the worker
WARM_UP = 500  # messages
CHAIN = "01M885E6PQYDF6FR2R1P9138GR"


@dataclass(frozen=True)
class Run:
    """Time and cost of one sender."""

    messages: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_s / self.messages


class Watch:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def run(self, messages: int) -> Run:
        return Run(messages, time.perf_counter() - self._began, time.process_time() - self._cpu)


@dataclass(frozen=True)
class Sender:
    """`send` takes the number of messages and the server's settings; `share` is the share of messages that a slow sender gets."""

    send: Callable[[int, Any], Run]
    prefix: str = ""  # of its figures
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One bench. `file` is its program, which runs again for each sender."""

    file: str
    does: str | None
    title: str
    noun: str  # the noun for messages, singular and plural
    nouns: str
    senders: Mapping[str, Sender]
    server: Callable[[], AbstractContextManager[Any]]
    peer: str  # the sender to compare with
    quick: tuple[int, int] = (20_000, 3)  # messages and rounds
    whole: tuple[int, int] = (100_000, 5)
    environment: Callable[[Any], Mapping[str, str]] = lambda _: {}

    def main(self) -> int:
        parser = argparse.ArgumentParser(prog=f"ops/bench/{Path(self.file).stem}", description=self.does)
        fewer = "{:,} {} in {} rounds instead of {:,} in {}".format(
            self.quick[0], self.nouns, self.quick[1], *self.whole
        )
        parser.add_argument("--quick", action="store_true", help=fewer)
        parser.add_argument("--sender", choices=self.senders, help=argparse.SUPPRESS)
        parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--told", type=json.loads, help=argparse.SUPPRESS)
        given = parser.parse_args()
        if given.sender:
            print(json.dumps(asdict(self.senders[given.sender].send(given.count, given.told))))
            return 0
        found = self._found(*(self.quick if given.quick else self.whole))
        Console(stderr=True).print(self._table(found))
        print(json.dumps(found))
        return 0

    def _found(self, count: int, rounds: int) -> dict[str, Any]:
        runs: dict[str, list[Run]] = {name: [] for name in self.senders}
        for _ in range(rounds):
            for name, sender in self.senders.items():
                runs[name].append(self._measured(name, int(count * sender.share)))
        found: dict[str, Any] = {self.nouns: count, "peer": self.peer}
        for name, sender in self.senders.items():
            found[f"{sender.prefix}rate"] = round(statistics.median(run.rate for run in runs[name]))
            found[f"{sender.prefix}cpu_ms"] = round(statistics.median(run.cpu_ms for run in runs[name]), 4)
        peer = self.senders[self.peer].prefix
        found["times_rate"] = round(found["rate"] / found[f"{peer}rate"], 1)
        found["times_cpu"] = round(found[f"{peer}cpu_ms"] / found["cpu_ms"], 1)
        return found

    def _measured(self, name: str, count: int) -> Run:
        """Runs one sender in a separate process."""
        with self.server() as told:
            command = [sys.executable, self.file, "--sender", name, "--count", str(count), "--told", json.dumps(told)]
            environment = {**os.environ, **self.environment(told)}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
        return Run(**json.loads(done.stdout))

    def _table(self, found: Mapping[str, Any]) -> Table:
        table = Table("sender", f"{self.nouns}/s", f"CPU ms a {self.noun}", title=self.title)
        for name, sender in self.senders.items():
            table.add_row(name, f"{found[sender.prefix + 'rate']:,}", f"{found[sender.prefix + 'cpu_ms']}")
        return table


def stamp() -> Stamp:
    """Message of an alert that starts now, in Spanish."""
    now = int(time.time())
    return Stamp(chain=CHAIN, version=CHAIN, sent_s=now, expires_s=now + 3600, loudness=Loudness.LOUD, language="es")


def tag(number: int) -> str:
    """As long as real ones."""
    return f"{number:042}"


async def through(channel: Channel, message: Any, recipient: Callable[[int], Recipient], count: int) -> Run:
    """Our channel, used like in the worker: encodes a message once, and sends chunks of recipients in lanes."""
    await channel.open()
    prepared = channel.prepare(message)

    async def chunk(numbers: range) -> None:
        outcomes = await channel.send(prepared, [recipient(number) for number in numbers], lambda: True)
        assert all(outcome.answer is Answer.ACCEPTED for outcome in outcomes)

    await in_chunks(range(WARM_UP), chunk)
    watch = Watch()
    await in_chunks(range(count), chunk)
    run = watch.run(count)
    await channel.close()
    return run


async def in_chunks(numbers: range, send: Callable[[range], Awaitable[None]]) -> None:
    """Like the worker: lanes that send one chunk after the other."""

    async def lane(chunks: Iterator[range]) -> None:
        for chunk in chunks:
            await send(chunk)

    chunks = iter([numbers[at : at + CHUNK] for at in range(0, len(numbers), CHUNK)])
    await asyncio.gather(*(lane(chunks) for _ in range(LANES)))


def free_port() -> int:
    """Returns a free port, for a server that cannot report the one it got for port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(is_there: Callable[[], bool]) -> None:
    """Waits until a started server accepts connections. Raises `TimeoutError`."""
    deadline = time.monotonic() + 30
    while not is_there():
        if time.monotonic() > deadline:
            raise TimeoutError("a server did not start")
        time.sleep(0.02)
