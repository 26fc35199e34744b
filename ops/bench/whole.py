"""Sends one alert to N push addresses through a real `alertd serve` on this machine, including the sandbox carriers.

The carrier's ramp and quota are off. The rate is references over the time from the approval to the last accepted message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
from crowd import pending, told
from demo import Client, alert, person, served, watch
from rich.console import Console
from rich.table import Table

from alertd.runtime.sample_people import SHARES

EVERYWHERE = {"regions": ["ES", "FR", "CH", "GB", "US"]}  # the countries of the sample people
#: The sample people with the app, without the few outside every country of the library.
PUSH_SHARE = SHARES["push"] * 0.99


def workers(parent: int) -> Iterator[tuple[float, float]]:
    """Returns the resident set (MB) and the processor time (s) of each worker below a process."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            command = (status.parent / "cmdline").read_bytes().split(b"\0")
            ticks = (status.parent / "stat").read_text().rpartition(")")[2].split()[11:13]
        except OSError:  # it ended meanwhile
            continue
        if int(fields["PPid"]) == parent and b"worker" in command:
            yield int(fields["VmRSS"].split()[0]) / 1024, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


async def measure(addresses: int, data: Path, *, crowd: bool) -> dict[str, Any]:
    arguments = argparse.Namespace(subscribers=int(addresses / PUSH_SHARE), port=0)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # stops the child process too
    async with served(data, arguments) as (base, token, _, process, _), aiohttp.ClientSession() as session:
        admin = Client(session, base, token)
        ana = await person(admin, session, base, "ana@centre.example", "alerts:write", "alerts:read")
        bea = await person(admin, session, base, "bea@centre.example", "alerts:approve", "alerts:read")
        taken = await ana.call("POST", "/v1/alerts", {**alert(), "target": EVERYWHERE, "channels": ["push"]})
        small = await pending(ana) if crowd else []
        idle_s = sum(cpu_s for _, cpu_s in workers(process))
        await bea.call("POST", f"/v1/alerts/{taken['id']}/approve", {"rev": taken["rev"]})
        beside = await told(bea, small, taken["id"]) if crowd else {}
        last = await watch(bea, taken["id"])
        counts = last["channels"]["push"]
        found = list(workers(process))
        return {
            "people": last["people"],
            "addresses": counts["targeted"],
            "accepted": counts["accepted"],
            "doubled": counts["doubled"],
            "rate": round(counts["targeted"] / last["last_send_s"]),
            "first_send_s": last["first_send_s"],
            "last_send_s": last["last_send_s"],
            "worker_rss_mb": round(max(rss_mb for rss_mb, _ in found), 1),
            "worker_cpu_s": round(sum(cpu_s for _, cpu_s in found) - idle_s, 2),
            **beside,
        }


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/bench/whole", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 push addresses instead of 1,000,000")
    parser.add_argument("--crowd", action="store_true", help="and 200 small loud alerts at once while it runs")
    arguments = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="alertd-bench-"))
    try:
        found = asyncio.run(measure(100_000 if arguments.quick else 1_000_000, data, crowd=arguments.crowd))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    finally:
        shutil.rmtree(data, ignore_errors=True)
    table = Table("what", "figure", title="One alert, every stage, on this machine")
    for name, value in found.items():
        table.add_row(name, f"{value:,}")
    Console(stderr=True).print(table)
    print(json.dumps(found))
    return 0 if found["accepted"] == found["addresses"] else 1


if __name__ == "__main__":
    sys.exit(main())
