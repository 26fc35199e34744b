"""Measures how long alerts wait while one recipient in ten stays refused, and how soon a carrier that was down is found again.

600 people have one address on each of three channels: push, SMS (SMPP) and mail. The carriers refuse 60 of them for good, in each run with
another kind of code. One alert is approved, 45 s later three more, 20 s apart. Then all carriers go down, and one more alert is approved; they
return 40 s later. Times of messages are the carriers' own, from the call of the approval on.

The run passes if each of the four alerts has its first message accepted within 2 s and half of its 540 healthy recipients within 5 s on each
channel, if no breaker opens meanwhile, if each breaker opens while its carrier is down, and if each carrier accepts a message within 15 s of
its return.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from demo import CENTRE, Client, alert, person
from installation import Installation, installed, until
from rich.console import Console
from rich.table import Table

from alertd.runtime.sandbox import sandbox_carriers

PEOPLE, REFUSED_EACH = 600, 10
HEALTHY = PEOPLE - PEOPLE // REFUSED_EACH
#: The channel of each carrier of the sandbox, and the name of its settings.
CARRIERS = {"push": "sandbox-push", "smpp": "sandbox-smpp", "mail": "sandbox-mail"}
#: By kind of code: each carrier's answer to the refused addresses.
CODES = {
    "permanent": {"push": "bad-token", "smpp": "blocked", "mail": "blocked"},
    "temporary": {"push": "unavailable", "smpp": "defer", "mail": "defer"},
    "unknown": {"push": "unexplained", "smpp": "unexplained", "mail": "unexplained"},
}
QUICK_CODES = {"mixed": {"push": "unavailable", "smpp": "unexplained", "mail": "blocked"}}
#: Seconds before the second alert, between the later ones, and of the outage.
TIMES, QUICK_TIMES = (45.0, 20.0, 40.0), (20.0, 10.0, 20.0)
#: Limits of a run that passes, in seconds.
FIRST_S, HALF_S, FOUND_S = 2.0, 5.0, 15.0
LATER_ALERTS = 3
WAIT_S = 60.0
LOOK_EVERY_S = 0.5
told = Console(stderr=True)


class Line:
    """A TCP proxy between alertd and one carrier, which can cut the connection."""

    def __init__(self) -> None:
        self.target = 0  # the carrier's port
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Ends every connection. The next ones are refused."""
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._open |= {writer, back}
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            self._open -= {writer, back}
            back.transport.abort()
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def lines() -> AsyncIterator[dict[str, Line]]:
    """Runs a proxy to each carrier."""
    made = {name: Line() for name in CARRIERS}
    async with AsyncExitStack() as stack:
        for line in made.values():
            await line.up()
            stack.push_async_callback(line.down)
        yield made


def carriers_through(ends: dict[str, Any], made: Mapping[str, Line]) -> dict[str, Any]:
    """Returns the carriers' settings; alertd reaches each carrier through its proxy."""
    settings, smpp = sandbox_carriers(ends), ends["smpp"]
    push: Any = settings["sandbox-push"]
    mail: Any = settings["sandbox-mail"]
    made["push"].target = int(push["endpoint"].rpartition(":")[2])
    made["smpp"].target, made["mail"].target = smpp["port"], mail["port"]
    return {
        "sandbox-push": {**push, "endpoint": f"https://127.0.0.1:{made['push'].port}"},
        # Sent in one piece, so that the centre can tell the parts of two texts apart.
        "sandbox-smpp": {"kind": "smpp", **smpp, "port": made["smpp"].port, "long": "payload"},
        "sandbox-mail": {**mail, "port": made["mail"].port},
    }


def subscribers() -> Iterator[str]:
    """Yields a line of NDJSON for each person. Refused addresses share a prefix."""
    for number in range(PEOPLE):
        word, digit = ("ok", 6) if number % REFUSED_EACH else ("no", 9)
        yield json.dumps({
            "id": f"bench-{number}", "languages": ["es"], "kinds": ["missing-child"],
            "places": {"home": {"point": [CENTRE[0] + number * 1e-5, CENTRE[1]]}},
            "consent": {"at": "2026-01-10T12:00:00Z", "source": "app"},
            "addresses": [
                {"channel": "push", "token": f"{word}-token-{number}"},
                {"channel": "sms", "number": f"+34{digit}{number:08d}"},
                {"channel": "mail", "mailbox": f"{word}-{number}@people.example"},
            ],
        })  # fmt: skip


def documents() -> Iterator[dict[str, Any]]:
    """Yields alerts for all people. Each names a different child, so that their SMS differ."""
    for number in range(LATER_ALERTS + 2):
        document = alert()
        [child] = document["case"]["children"]
        name = {"public": f"Lucía {'ABCDE'[number]}."}
        yield {
            **document, "external_id": f"refused-{number}", "channels": ["push", "sms", "mail"],
            "case": {**document["case"], "number": f"REFUSED-{number}", "children": [{**child, "name": name}]},
            "target": {"circles": [{"center": list(CENTRE), "radius_km": 2}]},
        }  # fmt: skip


async def registered(served: Installation) -> None:
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/x-ndjson"}
    body = "\n".join(subscribers()) + "\n"
    async with served.session.post(f"{served.url}/v1/subscribers/import", data=body, headers=headers) as answer:
        last = json.loads((await answer.text()).splitlines()[-1])
    if last.get("written") != PEOPLE:
        raise SystemExit(f"the people could not be registered: {last}")


async def open_breakers(served: Installation) -> set[str]:
    """Returns the carriers with an open breaker, from the metrics."""
    async with served.session.get(f"{served.metrics}/metrics/fleet") as answer:
        text = await answer.text()
    found = re.findall(r'^alertd_breaker_open\{carrier="([^"]+)",[^}]*\} 1', text, re.MULTILINE)
    return {name for name, carrier in CARRIERS.items() if carrier in found}


async def watched(served: Installation, seen: set[str]) -> None:
    """Adds to `seen` each carrier whose breaker is open, until it is cancelled."""
    while True:
        seen |= await open_breakers(served)
        await asyncio.sleep(LOOK_EVERY_S)


async def accepted(served: Installation, carrier: str) -> list[list[float]]:
    """Returns when each message of each alert was accepted, in order (UNIX seconds)."""
    by_version: dict[str, list[float]] = {}
    for row in await served.recorded(carrier):
        by_version.setdefault(row["version"], []).append(row["first_s"])
    return sorted(sorted(times) for times in by_version.values())


async def approve(bea: Client, alert_id: str) -> float:
    """Approves an alert. Returns the time of the call."""
    began_s = time.time()
    await bea.call("POST", f"/v1/alerts/{alert_id}/approve", {"rev": 1})
    return began_s


def judged(began: Sequence[float], times: Sequence[list[float]]) -> dict[str, float]:
    """Returns the longest wait for a first message, and for half of the healthy recipients; a minute if it never came."""
    firsts, halves = [], []
    for number, began_s in enumerate(began):
        its = times[number] if number < len(times) else []
        firsts.append(its[0] - began_s if its else WAIT_S)
        halves.append(its[HEALTHY // 2 - 1] - began_s if len(its) >= HEALTHY // 2 else WAIT_S)
    return {"first_s": round(max(firsts), 2), "half_s": round(max(halves), 2)}


async def outage(
    served: Installation, bea: Client, alert_id: str, made: Mapping[str, Line], lasts_s: float
) -> dict[str, Any]:
    """Cuts all proxies, approves an alert, restores them. Returns by carrier whether its breaker opened, and the time until it worked again."""
    before = {name: len(await accepted(served, name)) for name in CARRIERS}
    for line in made.values():
        await line.down()
    await approve(bea, alert_id)
    opened: set[str] = set()
    watching = asyncio.create_task(watched(served, opened))
    await asyncio.sleep(lasts_s)
    watching.cancel()
    for line in made.values():
        await line.up()
    up_s = time.time()
    found = dict.fromkeys(CARRIERS, WAIT_S)

    async def all_found() -> bool:
        for name in CARRIERS:
            times = await accepted(served, name)
            if len(times) > before[name]:
                found[name] = round(times[-1][0] - up_s, 2)
        return max(found.values()) < WAIT_S

    with suppress(Exception):  # a carrier that never works again counts as a minute
        await until("every carrier is found again", all_found, within_s=WAIT_S, every_s=LOOK_EVERY_S)
    return {name: {"opened": name in opened, "found_s": found[name]} for name in CARRIERS}


async def measure(
    kind: str, codes: Mapping[str, str], times: tuple[float, float, float], data: Path
) -> list[dict[str, Any]]:
    """Runs one installation with carriers that answer these codes. Returns the figures of each channel."""
    later_s, each_s, down_s = times
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(lines())
        served = await stack.enter_async_context(installed(data, 1, {}, {}, lambda ends: carriers_through(ends, made)))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        await registered(served)
        refused = {"push": "no-token-", "smpp": "+349", "mail": "no-"}
        for name, code in codes.items():
            await served.control(name, {"rules": [{"prefix": refused[name], "do": code}]})
        admin = Client(session, served.url, served.key)
        ana = await person(admin, session, served.url, "ana@centre.example", "alerts:write", "alerts:read")
        bea = await person(admin, session, served.url, "bea@centre.example", "alerts:approve", "alerts:read")
        ids = [(await ana.call("POST", "/v1/alerts", document))["id"] for document in documents()]
        opened: set[str] = set()
        watching = asyncio.create_task(watched(served, opened))
        began = [await approve(bea, ids[0])]
        for number, wait_s in enumerate((later_s, *[each_s] * (LATER_ALERTS - 1)), start=1):
            await asyncio.sleep(wait_s)
            began.append(await approve(bea, ids[number]))
        await asyncio.sleep(each_s)
        watching.cancel()
        waits = {name: judged(began, await accepted(served, name)) for name in CARRIERS}
        down = await outage(served, bea, ids[-1], made, down_s)
    return [
        {
            "kind": kind, "carrier": name, "code": codes[name], **waits[name],
            "rested": name in opened, "opened_when_down": down[name]["opened"], "found_s": down[name]["found_s"],
        }
        for name in CARRIERS
    ]  # fmt: skip


def is_kept(row: Mapping[str, Any]) -> bool:
    """Returns whether one channel kept every promise."""
    in_time = row["first_s"] <= FIRST_S and row["half_s"] <= HALF_S and row["found_s"] <= FOUND_S
    return in_time and not row["rested"] and row["opened_when_down"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/refused", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one code for each channel, and shorter waits")
    arguments = parser.parse_args()
    codes = QUICK_CODES if arguments.quick else CODES
    rows: list[dict[str, Any]] = []
    for kind, its in codes.items():
        data = Path(tempfile.mkdtemp(prefix="alertd-refused-"))
        try:
            rows += uvloop.run(measure(kind, its, QUICK_TIMES if arguments.quick else TIMES, data))
        finally:
            shutil.rmtree(data, ignore_errors=True)
    table = Table(*rows[0], title="One recipient in ten stays refused; then the carriers are down")
    for row in rows:
        table.add_row(*map(str, row.values()))
    told.print(table)
    print(json.dumps({"kept": all(map(is_kept, rows)), "rows": rows}))
    return 0 if all(map(is_kept, rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
