"""Submits alerts to a running alertd over persistent connections, and measures rate and latency. Each alert is on disk before its answer.

The alerts have the same few targets, like those of one case system, and differ only in their external id, so alertd checks their messages
only once. No alert is approved. Each connection sends its next alert after the last answer, so more connections raise both rate and
latency.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import uvloop
from demo import CENTRE, alert, served
from rich.console import Console
from rich.table import Table

#: Enough connections to keep the API busy. More raise the rate, and the latency of each alert.
CONNECTIONS = 30
TARGETS = [
    {"regions": ["41091"]},
    {"circles": [{"center": list(CENTRE), "radius_km": 15}]},
    {"regions": ["ES"]},
]
PEOPLE = 10_000
HEAD = (
    "POST /v1/alerts HTTP/1.1\r\nHost: alertd\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n"
)
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
WARM_UP_S = 2.0


def cpu_s(pid: int) -> float:
    """Returns the processor time of a process."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """Results of all connections."""

    where: tuple[str, int]
    token: str
    numbers: Iterator[int] = field(default_factory=count)
    took_s: list[float] = field(default_factory=list)  # of accepted alerts
    refused: int = 0

    async def run(self, seconds: float) -> None:
        self.took_s, self.refused = [], 0
        until_s = time.monotonic() + seconds
        await asyncio.gather(*(self._submit(until_s) for _ in range(CONNECTIONS)))

    async def _submit(self, until_s: float) -> None:
        """Sends one connection's alerts, each after the last answer.

        Writes HTTP itself: a library client would cost a third of the measured processor time, on the same cores.
        """
        reader, writer = await asyncio.open_connection(*self.where)
        documents = [json.dumps({**alert(), "external_id": "a{i}", "target": target}) for target in TARGETS]
        while time.monotonic() < until_s:
            i, began = next(self.numbers), time.monotonic()
            body = documents[i % len(TARGETS)].replace("a{i}", f"a{i}").encode()
            writer.write(HEAD.format(token=self.token, length=len(body)).encode() + body)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(LENGTH.search(head)[1]))  # type: ignore[index] # every answer has one
            if head.split(b" ", 2)[1] == b"202":
                self.took_s.append(time.monotonic() - began)
            else:
                self.refused += 1
        writer.close()


async def measure(seconds: float, data: Path) -> dict[str, float]:
    arguments = argparse.Namespace(subscribers=PEOPLE, port=0)
    async with served(data, arguments) as (base, token, _, pid, _):
        url = urlsplit(base)
        load = Load((url.hostname or "", url.port or 80), await _key(base, token))
        await load.run(WARM_UP_S)
        # Flushes pending writes of other programs, for instance of a recent installation, to the same disk.
        await asyncio.to_thread(os.sync)
        before_s, began = cpu_s(pid), time.monotonic()
        await load.run(seconds)
        lasted_s, spent_s = time.monotonic() - began, cpu_s(pid) - before_s
        return {
            "alerts": len(load.took_s),
            "refused": load.refused,
            "rate": round(len(load.took_s) / lasted_s),
            "p50_ms": round(1000 * float(np.quantile(load.took_s, 0.5)), 1),
            "p99_ms": round(1000 * float(np.quantile(load.took_s, 0.99)), 1),
            "cpu_ms": round(1000 * spent_s / (len(load.took_s) + load.refused), 2),  # of the API's process, per alert
        }


async def _key(base: str, admin: str) -> str:
    """Makes the submitter's key."""
    asked = {"subject": "ana@centre.example", "scopes": ["alerts:write"]}
    headers = {"Authorization": f"Bearer {admin}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base}/v1/keys", json=asked, headers=headers) as answer,
    ):
        token: str = (await answer.json())["token"]
        return token


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/intake", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="for 10 s instead of 60")
    seconds = 10.0 if parser.parse_args().quick else 60.0
    os.environ["ALERTD_API__KEY_RATE_PER_MIN"] = "0"  # one key submits all alerts
    data = Path(tempfile.mkdtemp(prefix="alertd-intake-"))
    try:
        found = uvloop.run(measure(seconds, data))
    finally:
        shutil.rmtree(data, ignore_errors=True)
    table = Table("what", "figure", title=f"Alerts submitted over {CONNECTIONS} connections")
    for name, value in found.items():
        table.add_row(name, f"{value:,}")
    Console(stderr=True).print(table)
    print(json.dumps(found))
    return 0 if not found["refused"] and found["p99_ms"] <= 50 else 1


if __name__ == "__main__":
    sys.exit(main())
