"""Opens the public page of an alert from many connections, alone and while an alert to 100,000 phones is sent; then signs people up.

The pages are asked for over plain sockets, because a library client would cost more processor time than the page. First 50 connections
ask as fast as they are answered. Then a crowd stays connected, each reader asking once in `EACH_S` seconds, while alerts are sent with and
without it in turn. At last links of confirmation mails are opened as their button does; each answer comes when the person is on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import uvloop
from demo import CITY, Client, alert, person, served
from intake import cpu_s
from rich.console import Console
from rich.table import Table
from whole import EVERYWHERE, PUSH_SHARE

from alertd.common.clock import SystemClock
from alertd.service.people.sign_up_links import SignUpLinks, Wish, new_once
from alertd.store.engine.codec import Codec, Keys

PHONES = 100_000
BUSY = 50  # connections that ask without a pause
EACH_S = 10.0  # a reader of the crowd asks once in this time
SIGN_UPS_AT_ONCE = 50
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
#: What the figures have to be. `share`: the rate of an alert beside the crowd, by its rate alone.
GOALS = {"pages_per_cpu_s": 2_000, "share": 0.9, "sign_ups_per_s": 200}


@dataclass
class Readers:
    """People who read pages, and how long each page took."""

    where: tuple[str, int]
    took_s: list[float] = field(default_factory=list)
    failed: int = 0

    async def ask(self, stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> None:
        """Sends a request and reads its answer. Counts it as failed if its status is not 200."""
        reader, writer = stream
        began = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(LENGTH.search(head)[1]))  # type: ignore[index] # every answer has one
        self.took_s.append(time.monotonic() - began)
        self.failed += head.split(b" ", 2)[1] != b"200"

    async def busy(self, request: bytes, seconds: float) -> None:
        """One connection asks again after each answer."""
        stream, until_s = await asyncio.open_connection(*self.where), time.monotonic() + seconds
        while time.monotonic() < until_s:
            await self.ask(stream, request)
        stream[1].close()

    @asynccontextmanager
    async def crowd(self, request: bytes, readers: int) -> AsyncIterator[None]:
        """Keeps this many readers connected. Each asks at once, and then every `EACH_S` seconds."""
        ready = asyncio.Semaphore(200)  # connections that open at the same time

        async def read(n: int) -> None:
            async with ready:
                stream = await asyncio.open_connection(*self.where)
                opened.append(n)
            while True:
                await asyncio.sleep(EACH_S * (n % 1000) / 1000 if len(opened) < readers else EACH_S)
                await self.ask(stream, request)

        opened: list[int] = []
        async with asyncio.TaskGroup() as all_readers:
            tasks = [all_readers.create_task(read(n)) for n in range(readers)]
            while len(opened) < readers:  # noqa: ASYNC110  all are counted in one loop
                await asyncio.sleep(0.1)
            yield
            for task in tasks:
                task.cancel()


def page_request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: alertd\r\nAccept-Language: en\r\n\r\n".encode()


async def sent(author: Client, approver: Client, number: int, **changes: Any) -> dict[str, Any]:
    """Sends an alert. Returns its progress when it is over, with `page`, the address of its page."""
    made = await author.call("POST", "/v1/alerts", alert(number, **changes))
    await approver.call("POST", f"/v1/alerts/{made['id']}/approve", {"rev": made["rev"]})
    last: dict[str, Any] = {}
    async for last in approver.progress(made["id"]):  # noqa: B007  the last one is wanted
        pass
    return {**last, "page": (await author.call("GET", f"/v1/alerts/{made['id']}"))["page"]}


async def sign_ups(where: tuple[str, int], data: Path, seconds: float) -> float:
    """Confirms sign-ups for some seconds. Returns how many a second were stored."""
    links = SignUpLinks(Codec(Keys.load_or_make(data)).derived("sign-up"), SystemClock())
    until_s, done = time.monotonic() + seconds, 0

    async def confirm(lane: int) -> None:
        nonlocal done
        readers, stream = Readers(where), await asyncio.open_connection(*where)
        for n in range(1_000_000):
            if time.monotonic() > until_s:
                break
            wish = Wish(
                made_s=int(time.time()), mailbox=f"p{lane}-{n}@people.example", regions=(CITY,), language="en", general=False,
                once=new_once(),
            )  # fmt: skip
            await readers.ask(
                stream,
                f"POST /subscribe/confirm/{links.make(wish)} HTTP/1.1\r\nHost: alertd\r\nContent-Length: 0\r\n\r\n".encode(),
            )
            assert readers.failed == 0, "a sign-up was refused"
            done += 1
        stream[1].close()

    await asyncio.gather(*map(confirm, range(SIGN_UPS_AT_ONCE)))
    return done / seconds


async def measure(readers: int, rounds: int, seconds: float, data: Path) -> dict[str, Any]:
    arguments = argparse.Namespace(subscribers=int(PHONES / PUSH_SHARE), port=0)
    async with served(data, arguments) as (base, token, _, pid, _), aiohttp.ClientSession() as session:
        admin = Client(session, base, token)
        ana = await person(admin, session, base, "ana@centre.example", "alerts:write", "alerts:read")
        bea = await person(admin, session, base, "bea@centre.example", "alerts:approve", "alerts:read")
        url = urlsplit(base)
        where = (url.hostname or "", url.port or 80)
        page = page_request(urlsplit((await sent(ana, bea, 1))["page"]).path)
        busy = Readers(where)
        before_s = cpu_s(pid)
        await asyncio.gather(*(busy.busy(page, seconds) for _ in range(BUSY)))
        pages_per_cpu_s = len(busy.took_s) / (cpu_s(pid) - before_s)
        big = {"target": EVERYWHERE, "channels": ["push"]}
        alone, beside, crowd = [], [], Readers(where)
        for i in range(rounds):
            alone.append((await sent(ana, bea, 2 + 2 * i, **big))["last_send_s"])
            async with crowd.crowd(page, readers):
                beside.append((await sent(ana, bea, 3 + 2 * i, **big))["last_send_s"])
        return {
            "pages_per_s": round(len(busy.took_s) / seconds),
            "pages_per_cpu_s": round(pages_per_cpu_s),
            "readers": readers,
            "crowd_p50_ms": round(1000 * float(np.quantile(crowd.took_s, 0.5)), 1),
            "crowd_p99_ms": round(1000 * float(np.quantile(crowd.took_s, 0.99)), 1),
            "failed": busy.failed + crowd.failed,
            "alone_s": statistics.median(alone),
            "beside_s": statistics.median(beside),
            "share": round(statistics.median(alone) / statistics.median(beside), 2),
            "sign_ups_per_s": round(await sign_ups(where, data, seconds)),
        }


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/page", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 readers and one round instead of 10,000 and three")
    is_quick = parser.parse_args().quick
    readers = 2_000 if is_quick else 10_000
    os.environ["ALERTD_API__CONNECTIONS"] = str(readers + 1_000)
    data = Path(tempfile.mkdtemp(prefix="alertd-page-"))
    try:
        found = uvloop.run(measure(readers, 1 if is_quick else 3, 5.0 if is_quick else 10.0, data))
    finally:
        shutil.rmtree(data, ignore_errors=True)
    table = Table("what", "figure", title="The public page of an alert, on this machine")
    for name, value in found.items():
        table.add_row(name, f"{value:,}")
    Console(stderr=True).print(table)
    print(json.dumps(found))
    return 0 if not found["failed"] and all(found[name] >= least for name, least in GOALS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
