"""Kills and stops processes at random moments of one alert by push, SMS and mail, then counts lost, duplicate and marked messages.

The carriers are sandboxes in separate processes, which survive all kills and record every message. The same seed gives the same acts
in the same order after the same waits; their effect depends on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from crash_verdict import CHANNELS, Told, ledger_of, open_intents, verdict, wanted_of
from demo import Client, DemoError, alert, person
from installation import BenchError, Installation, installed, until
from rich.console import Console
from rich.table import Table

from alertd.runtime.sample_people import Person, people
from alertd.store.alerts.alerts import Alerts
from alertd.store.delivery.work import Work
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.engine.scripts import LEASE_MS

EVERYWHERE = {"regions": ["ES", "FR", "CH", "GB", "US"]}  # the countries of the sample people
ADDRESSES_A_PERSON = 1.17  # of the sample people, in those countries
SEGMENTS = 3  # segments of the alert's SMS, which its carrier counts
WORKERS, LANES = 2, 8
#: Faults of the carriers, slow enough that a kill finds open intents.
SLOW = {"prefix": "", "do": "slow", "delay_s": 0.4}
HABITS = {
    "push": [
        {"prefix": "sample-token-1-99", "do": "unregistered"},
        {"prefix": "sample-token-1-7", "do": "unavailable", "times": 30},
        {"prefix": "sample-token-1-5", "do": "slow", "delay_s": 1.5},
        SLOW,
    ],
    "webpush": [{"prefix": "https://push.example/push/sample-1-7", "do": "unavailable", "times": 5}, SLOW],
    "sms": [{"prefix": "+346100", "do": "undelivered", "times": 30}, SLOW],
    "mail": [{"prefix": "sample-1-7", "do": "greylist", "times": 30}, SLOW],
}
#: Addresses, acts, and the duration that each channel's rate gives an undisturbed run. A channel with less than a batch
#: per lane is slower than its rate.
QUICK = (5_000, 5, {"push": 25.0, "webpush": 8.0, "sms": 8.0, "mail": 8.0})
FULL = (100_000, 50, dict.fromkeys(CHANNELS, 240.0))
ACTS = ("worker", "api", "store", "everything", "stop")
WAIT_S = 5.0  # maximum pause between two acts after recovery: some acts then meet leases of dead workers, some do not
PLANNING_S = 0.4  # maximum time from the approval to the first act
PENDING_EVERY_S = 0.5
SCRAPE_EVERY_S = 0.1
OVER_WITHIN_S = 180.0
console = Console(stderr=True)


@dataclass
class Watch:
    """Scrapes the fleet's metrics during the run, and checks the sum of states at each scrape."""

    scrapes: int = 0
    broken: list[dict[str, dict[str, int]]] = field(default_factory=list)

    async def run(self, served: Installation) -> None:
        while True:
            found = await served.fleet()
            if found is not None:
                self.scrapes += 1
                if any(states["targeted"] != sum(states.values()) - states["targeted"] for states in found.values()):
                    self.broken.append(found)
            await asyncio.sleep(SCRAPE_EVERY_S)


@dataclass
class Submissions:
    """Submits alerts during the run that no one approves: each one answered with 2xx must exist at the end."""

    ana: Client
    answered: list[str] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            document = {**alert(), "external_id": f"pending-{time.time_ns()}"}
            with suppress(DemoError, aiohttp.ClientError, OSError, TimeoutError, ValueError):
                self.answered.append((await self.ana.call("POST", "/v1/alerts", document))["id"])
            await asyncio.sleep(PENDING_EVERY_S)

    async def forgotten(self, served: Installation) -> int:
        states = await Alerts(served.store).states(self.answered)
        return sum(state is None for state in states)


@dataclass
class Act:
    """One kill or stop, in UNIX seconds; a stop ends at `went_on_s`."""

    what: str
    at_s: float
    intents: set[tuple[int, int]]  # open intents: row and attempt
    went_on_s: float = 0.0
    still_s: float = 0.0  # time until messages were settled again


@dataclass
class Chaos:
    """Kills and stops processes of one installation."""

    served: Installation
    alert_id: str
    chance: random.Random
    acts: list[Act] = field(default_factory=list)

    async def run(self, kills: int) -> None:
        """Returns every kind equally often, in random order."""
        plan = [ACTS[i % len(ACTS)] for i in range(kills)]
        self.chance.shuffle(plan)
        await asyncio.sleep(self.chance.uniform(0, PLANNING_S))
        for what in plan:
            before = await self._settled()
            if before is None:
                return
            act = await self._act(what)
            self.acts.append(act)
            await until(f"it goes on after {what}", lambda before=before: self._goes_on(before))
            act.still_s = time.time() - (act.went_on_s or act.at_s)
            console.print(
                f"{len(self.acts):3d} {what:<10} {len(act.intents):4d} in flight, went on after {act.still_s:.1f} s"
            )
            await asyncio.sleep(self.chance.uniform(0, WAIT_S))

    async def _act(self, what: str) -> Act:
        act = Act(what, time.time(), await open_intents(self.served.store, self.alert_id))
        workers = self.served.workers()
        if what == "worker":
            self._signal(self.chance.sample(workers, self.chance.randint(1, len(workers))), signal.SIGKILL)
        elif what == "api":
            self._signal([self.served.pid], signal.SIGKILL)
        elif what == "store":
            self._signal([self.served.server()], signal.SIGKILL)
        elif what == "everything":
            self._signal([self.served.pid, self.served.server(), *workers], signal.SIGKILL)
        else:
            await self._stop(self.chance.choice(workers), act)
        return act

    async def _stop(self, worker: int, act: Act) -> None:
        """Stops a process for longer than its leases."""
        self._signal([worker], signal.SIGSTOP)
        await asyncio.sleep(LEASE_MS / 1000 + self.chance.uniform(0.5, 3.0))
        act.went_on_s = time.time()
        self._signal([worker], signal.SIGCONT)

    def _signal(self, pids: list[int], number: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def _counts(self) -> Counter[str]:
        """Returns references by state, over all channels."""
        found = await Work(self.served.store).counts(self.alert_id)
        return sum((Counter(counts) for counts in found.values()), Counter())

    async def _settled(self) -> int | None:
        """Returns the number of settled references; None after the alert is over."""
        state = await Alerts(self.served.store).state(self.alert_id)
        counts = await self._counts()
        return None if state == "sent" else counts["targeted"] - counts["queued"] - counts["in_flight"]

    async def _goes_on(self, before: int) -> bool:
        """Whether messages were settled since, or all are, and all workers and the API run."""
        try:
            settled = await self._settled()
        except StoreUnavailableError:
            return False
        is_back = len(self.served.workers()) == WORKERS and await self.served.ready()
        return is_back and settled != before

    async def is_over(self) -> bool:
        try:
            return await self._settled() is None
        except StoreUnavailableError:
            return False


def _end_on_sigterm() -> None:
    """Ends the started processes on exit."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def rates_of(sample: list[Person], seconds: dict[str, float]) -> dict[str, float]:
    """Returns carriers' limits by channel, in their units, so that each channel takes the given time."""
    units = {**dict.fromkeys(CHANNELS, 1), "sms": SEGMENTS}
    return {
        channel: units[channel] * sum(getattr(one, channel) is not None for one in sample) / seconds[channel]
        for channel in CHANNELS
    }


async def crash(addresses: int, kills: int, seconds: dict[str, float], seed: int, data: Path) -> dict[str, Any]:
    _end_on_sigterm()
    sample = list(people(int(addresses / ADDRESSES_A_PERSON) + 100))
    settings = {"ALERTD_WORKER__PROCESSES": str(WORKERS), "ALERTD_WORKER__LANES": str(LANES)}
    async with installed(data, len(sample), rates_of(sample, seconds), settings) as served:
        for channel, rules in HABITS.items():
            await served.control(channel, {"rules": rules})
        admin = Client(served.session, served.url, served.key)
        ana = await person(admin, served.session, served.url, "ana@centre.example", "alerts:write", "alerts:read")
        bea = await person(admin, served.session, served.url, "bea@centre.example", "alerts:approve", "alerts:read")
        taken = await ana.call("POST", "/v1/alerts", {**alert(), "target": EVERYWHERE, "channels": list(CHANNELS)})
        area = (await ana.call("POST", "/v1/targets/preview", {"target": EVERYWHERE}))["geometry"]
        await bea.call("POST", f"/v1/alerts/{taken['id']}/approve", {"rev": taken["rev"]})
        began, watch, submissions = time.monotonic(), Watch(), Submissions(ana)
        chaos = Chaos(served, taken["id"], random.Random(seed))
        async with meanwhile(watch.run(served), submissions.run()):
            await chaos.run(kills)
            await until("the alert is over", chaos.is_over, OVER_WITHIN_S + max(seconds.values()))
        took_s = time.monotonic() - began
        await asyncio.sleep(1)  # the last receipts
        found = await survived(served, chaos, sample, area)
        found["identity"] = found["identity"] and bool(watch.scrapes) and not watch.broken
        forgotten = await submissions.forgotten(served)
        answered = len(submissions.answered)
        aside = {"scrapes": watch.scrapes, "answered": answered, "forgotten": forgotten, "seconds": round(took_s, 1)}
        return {"seed": seed, **found, **aside}


@asynccontextmanager
async def meanwhile(*what: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Background tasks."""
    tasks = [asyncio.create_task(one) for one in what]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def survived(served: Installation, chaos: Chaos, sample: list[Person], area: dict[str, Any]) -> dict[str, Any]:
    """The result for every person."""
    rows, recounts = await ledger_of(served.store, chaos.alert_id, sample)
    told = {
        (channel, entry["address"]): Told(entry["count"], entry["first_s"], entry["last_s"])
        for channel in CHANNELS
        for entry in await served.recorded(channel)
    }
    return {
        "kills": len(chaos.acts),
        **verdict(wanted_of(sample, area), rows, told),
        "in_flight": len(set().union(*(act.intents for act in chaos.acts))),
        "identity": recounts,
        "woken": max((woken(act, chaos.acts, told) for act in chaos.acts if act.went_on_s), default=0),
        "still_s": round(max(act.still_s for act in chaos.acts), 1),
    }


def woken(stop: Act, acts: list[Act], told: dict[tuple[str, str], Told]) -> int:
    """Returns people notified while a worker was stopped, and again after it continued: messages that the worker sent for a lease it had lost."""
    until_s = next((act.at_s for act in acts if act.at_s > stop.went_on_s), float("inf"))
    return sum(
        got.count > 1 and stop.at_s < got.first_s and stop.went_on_s <= got.last_s < until_s for got in told.values()
    )


def faults(found: dict[str, Any], kills: int) -> list[str]:
    """Returns the violations of the contract."""
    must_be_none = ("lost", "unmarked", "outside", "texts_repeated", "not_over", "forgotten")
    broken = [f"{found[name]} {name}" for name in must_be_none if found[name]]
    if found["kills"] < kills:
        broken.append(f"the alert was over after {found['kills']} of {kills} acts")
    if found["doubled"] > found["in_flight"]:
        broken.append("more recipients got it twice than had open intents")
    if found["woken"] > LANES * len(CHANNELS):
        broken.append("a worker that slept wrote more than once a lane")
    if not found["identity"]:
        broken.append("the identity did not hold")
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/crash", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 acts and 5,000 addresses instead of 50 and 100,000")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of an earlier run")
    parser.add_argument("--keep", action="store_true", help="keep the data and the logs")
    arguments = parser.parse_args()
    addresses, kills, seconds = QUICK if arguments.quick else FULL
    data = Path(tempfile.mkdtemp(prefix="alertd-crash-"))
    console.print(f"Seed {arguments.seed}; data and log in {data}")
    try:
        found = asyncio.run(crash(addresses, kills, seconds, arguments.seed, data))
    except BenchError as error:
        console.print(f"Seed {arguments.seed}: {error}", style="red", markup=False)
        return 1
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    finally:
        if not arguments.keep:
            shutil.rmtree(data, ignore_errors=True)
    broken = faults(found, kills)
    table = Table("what", "figure", title="Kills and stops at random instants")
    for name, value in found.items():
        table.add_row(name, f"{value:,}" if isinstance(value, (int, float)) else str(value))
    console.print(table)
    for sentence in broken:
        console.print(sentence, style="red", markup=False)
    print(json.dumps(found))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
