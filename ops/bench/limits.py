"""Tests one carrier's rate limit with four workers of one alertd, with clocks 30 s fast or slow, during a bulk alert that saturates it.

The admitted messages are those that the carrier received. The carrier's ramp is off.
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
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from demo import Client, alert, person
from installation import ALERTD, BenchError, carriers, ended, free_port, key_of, until, with_rates
from rich.console import Console
from rich.table import Table

from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.runtime.installation import Store, store_of
from alertd.runtime.sandbox import sandbox_carriers

SKEWS_S = (-30.0, -30.0, 30.0, 30.0)  # one per worker
RATE = 100.0  # messages a second: low, so that the limit decides and not a busy machine
SEVILLA, CADIZ = (-5.98, 37.39), (-6.29, 36.53)
LOUD_PEOPLE = 40
LOUD_EVERY_S = 1.0
RETRY_AFTER_S = 3
THROTTLED_S = 0.25  # during this time the carrier answers "wait"; later messages show a worker that ignored it
LATE_S = 10.0  # maximum wait; otherwise the bench fails
SETTLE_S = 2.0  # until all lanes of all workers are busy
console = Console(stderr=True)


@dataclass
class Bench:
    """Four workers, an API and a carrier of push messages."""

    session: aiohttp.ClientSession
    carriers: dict[str, Any]
    ana: Client
    bea: Client
    metrics: list[str]  # of the workers, by socket

    async def recorded(self) -> list[tuple[str, float]]:
        """Returns the messages that the carrier has received: alert and time (UNIX seconds)."""
        async with self.session.get(f"{self.carriers['control']['push']}/recorded", ssl=False) as response:
            entries = [json.loads(line) for line in (await response.read()).splitlines()]
        if any(entry["count"] > 1 for entry in entries):
            raise BenchError("somebody was told twice")
        return [(entry["version"], entry["first_s"]) for entry in entries]

    async def control(self, order: dict[str, Any]) -> None:
        async with self.session.post(f"{self.carriers['control']['push']}/control", json=order, ssl=False) as response:
            assert response.status == 200

    async def approved(self, document: dict[str, Any]) -> tuple[str, float]:
        """Starts an alert. Returns its id and the time of its approval (UNIX seconds)."""
        taken = await self.ana.call("POST", "/v1/alerts", document)
        await self.bea.call("POST", f"/v1/alerts/{taken['id']}/approve", {"rev": taken["rev"]})
        return taken["id"], time.time()

    async def sent(self) -> list[int]:
        """Returns the number of messages of each worker."""
        return [await _accepted(where) for where in self.metrics]


async def _accepted(where: str) -> int:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(where)) as session,
        session.get("http://worker/metrics") as response,
    ):
        text = await response.text()
    found = re.findall(r'alertd_outcomes_total\{[^}]*channel="push"[^}]*outcome="accepted"[^}]*\} (\S+)', text)
    return int(sum(map(float, found)))


def bulk(name: str) -> dict[str, Any]:
    """Returns an alert of the lowest level to everyone in Sevilla."""
    now = datetime.now(UTC)
    return {
        "kind": "general",
        "level": "information",
        "status": "Actual",
        "expires": (now + timedelta(hours=5)).isoformat(),
        "external_id": name,
        "author": {"subject": "ana@centre.example"},
        "case": {},
        "info": {"es": {"headline": f"Corte de agua {name}", "description": "No beba agua del grifo."}},
        "target": {"circles": [{"center": list(SEVILLA), "radius_km": 10}]},
        "channels": ["push"],
    }


def loud(i: int) -> dict[str, Any]:
    """Returns a child alert to some people in Cádiz."""
    document = {**alert(), "external_id": f"loud-{i}", "channels": ["push"]}
    document["case"] = {**document["case"], "number": f"LOUD-{i}"}
    return {**document, "target": {"circles": [{"center": list(CADIZ), "radius_km": 3}]}}


def registrations(people: int) -> bytes:
    """Returns people with the app: the first few in Cádiz, the rest in Sevilla."""
    lines = []
    for i in range(people):
        lon, lat = CADIZ if i < LOUD_PEOPLE else SEVILLA
        document = {
            "id": f"p{i}",
            "languages": ["es"],
            "kinds": ["missing-child", "general"],
            "places": {"home": {"point": [lon + i % 97 * 1e-4, lat + i % 89 * 1e-4]}},
            "addresses": [{"channel": "push", "token": f"token-{i}"}],
            "consent": {"at": "2026-01-01T00:00:00Z", "source": "sample"},
        }
        lines.append(json.dumps(document))
    return "\n".join(lines).encode()


@asynccontextmanager
async def at_work(data: Path, people: int) -> AsyncIterator[Bench]:
    """Runs an API, four workers and the carriers, each in a separate process, on one store."""
    async with AsyncExitStack() as stack:
        directory = data / "alertd"
        store = await stack.enter_async_context(store_of(Settings(store=StoreSection(directory=directory))))
        ends = await stack.enter_async_context(carriers(data / "carriers"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        settings = with_rates({"push": RATE}, sandbox_carriers(ends))
        url = f"http://127.0.0.1:{free_port()}"
        environment = _environment(store, url, settings)
        key = await stack.enter_async_context(_api(environment))
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        async with session.post(f"{url}/v1/subscribers/import", data=registrations(people), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()
        sockets = [str(data / f"{i}.sock") for i in range(len(SKEWS_S))]
        for skew_s, where in zip(SKEWS_S, sockets, strict=True):
            await stack.enter_async_context(_worker(environment, skew_s, where))
        admin = Client(session, url, key)
        ana = await person(admin, session, url, "ana@centre.example", "alerts:write", "alerts:read")
        bea = await person(admin, session, url, "bea@centre.example", "alerts:approve", "alerts:read")
        yield Bench(session, ends, ana, bea, sockets)


def _environment(store: Store, url: str, settings: dict[str, Any]) -> dict[str, str]:
    return {
        **os.environ,
        **store.environment,
        "ALERTD_API__PORT": url.rpartition(":")[2],
        "ALERTD_CARRIERS": json.dumps(settings),
        "ALERTD_LOG_LEVEL": "error",
    }


@asynccontextmanager
async def _api(environment: dict[str, str]) -> AsyncIterator[str]:
    """Starts the API. Returns the administrator's key."""
    process = await asyncio.create_subprocess_exec(*ALERTD, "api", env=environment, stdout=asyncio.subprocess.PIPE)
    async with ended(process):
        yield await key_of(process)


@asynccontextmanager
async def _worker(environment: dict[str, str], skew_s: float, where: str) -> AsyncIterator[None]:
    script = str(Path(__file__).with_name("skewed_worker.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, str(skew_s), env={**environment, "ALERTD_WORKER__METRICS": f"unix:{where}"}
    )

    async def is_there() -> bool:
        return await asyncio.to_thread(Path(where).exists)

    async with ended(process):
        await until("a worker starts", is_there)
        yield


async def kept(bench: Bench, seconds: float) -> dict[str, float]:
    """Returns the admitted share of the limit under overload, and how equal the workers' shares are."""
    await asyncio.sleep(SETTLE_S)
    before, began_s = await bench.sent(), time.time()
    await asyncio.sleep(seconds)
    after, ended_s = await bench.sent(), time.time()
    admitted = sum(began_s <= at_s < ended_s for _, at_s in await bench.recorded())
    shares = [now - then for now, then in zip(after, before, strict=True)]
    return {
        "admitted_share": round(admitted / (RATE * (ended_s - began_s)), 3),
        "most_share": round(1 + 1 / (ended_s - began_s), 3),  # the limit, and one burst of a second
        "worst_share": round(min(shares) / (sum(shares) / len(shares)), 3),
    }


async def served_first(bench: Bench, alerts: int) -> dict[str, float]:
    """Returns the wait for a loud alert while the bulk alert uses the whole rate."""
    approved_s = {}
    for i in range(alerts):
        alert_id, then_s = await bench.approved(loud(i))
        approved_s[alert_id] = then_s
        await asyncio.sleep(LOUD_EVERY_S)
    await asyncio.sleep(LATE_S)
    waits = [at_s - approved_s[of] for of, at_s in await bench.recorded() if of in approved_s]
    if len(waits) < alerts * LOUD_PEOPLE:
        raise BenchError(f"only {len(waits)} of {alerts * LOUD_PEOPLE} loud messages came within {LATE_S} s")
    return {"priority_wait_p99_s": round(float(np.quantile(waits, 0.99)), 3)}


async def paused(bench: Bench, times: int) -> dict[str, float]:
    """Returns the time from the carrier's first "wait" to the last message of any worker."""
    began_s = []
    for _ in range(times):
        began_s.append(time.time())
        await bench.control({"rules": [{"prefix": "", "do": "throttle", "retry_after_s": RETRY_AFTER_S}]})
        await asyncio.sleep(THROTTLED_S)
        await bench.control({"rules": []})
        await asyncio.sleep(RETRY_AFTER_S + SETTLE_S)
    sent_s = np.array([at_s for _, at_s in await bench.recorded()])
    last_s = [sent_s[(sent_s < then_s + RETRY_AFTER_S - 0.5)].max() - then_s for then_s in began_s]
    return {"pause_ms": round(1000 * max(0.0, *last_s))}


async def cancelled(bench: Bench, alert_id: str) -> dict[str, float]:
    """Returns the time from the answer to a cancel to the last message."""
    await bench.ana.call("POST", f"/v1/alerts/{alert_id}/cancel", {"reason": "It is over.", "notify": "none"})
    answered_s = time.time()
    await asyncio.sleep(3)
    last = max(at_s for _, at_s in await bench.recorded())
    return {"cancel_last_send_s": round(max(0.0, last - answered_s), 3)}


async def measure(seconds: float, alerts: int, pauses: int, data: Path) -> dict[str, float]:
    people = LOUD_PEOPLE + int(RATE * (seconds + alerts * 1.5 + pauses * (RETRY_AFTER_S + SETTLE_S) + 10 * SETTLE_S))
    async with at_work(data, people) as bench:
        alert_id, _ = await bench.approved(bulk("bulk"))
        found = {"processes": len(SKEWS_S), "rate": RATE, **await kept(bench, seconds)}
        found |= await served_first(bench, alerts)
        found |= await paused(bench, pauses)
        return found | await cancelled(bench, alert_id)


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/limits", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="15 s at the limit instead of 60, 10 loud alerts instead of 60"
    )
    seconds, alerts, pauses = (15.0, 10, 2) if parser.parse_args().quick else (60.0, 60, 10)
    data = Path(tempfile.mkdtemp(prefix="alertd-limits-"))
    try:
        found = asyncio.run(measure(seconds, alerts, pauses, data))
    except BenchError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    finally:
        shutil.rmtree(data, ignore_errors=True)
    table = Table("what", "figure", title="One carrier's limit, four workers, clocks 30 s off")
    for name, value in found.items():
        table.add_row(name, f"{value:,}")
    console.print(table)
    print(json.dumps(found))
    is_kept = 0.97 <= found["admitted_share"] <= found["most_share"] and found["worst_share"] >= 0.5
    is_quick = found["priority_wait_p99_s"] < 1 and found["pause_ms"] <= 250 and found["cancel_last_send_s"] <= 1
    return 0 if is_kept and is_quick else 1


if __name__ == "__main__":
    sys.exit(main())
