"""The audience bench: finds the people inside an area among one or ten million, with alertd, PostGIS and Valkey's GEOSEARCH.

All methods take turns in the same run, so that the ratios hold on a noisy machine. See `./ops/bench/audience --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import audience_alertd
import audience_geosearch
import audience_ping
import numpy as np
import postgis
import shapely
import uvloop
from audience_people import MILLION, Area, Floats, Points, areas, inside, points
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "bench"
ROUNDS = 5
PROMISE = 5.0  # times faster than PostGIS, at an audience of
PROMISE_AUDIENCE = 100_000
#: With --quick, methods outside the promise run fewer times: GEOSEARCH takes seconds on a country.
QUICK_ROUNDS = 2

Find = Callable[[bytes], Awaitable[NDArray[np.int64]]]
Store = TypeVar("Store")
told = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The same people in three stores."""

    alertd: audience_alertd.Alertd
    geosearch: audience_geosearch.Geosearch
    postgis: postgis.PostGis
    alertd_watch: audience_ping.Watch
    geosearch_watch: audience_ping.Watch


@dataclass(kw_only=True)
class Measured:
    """One area at one number of subscribers."""

    area: Area
    subscribers: int
    audience: int
    valkey_audience: int  # by its own positions, holes filled
    times_ms: dict[str, list[float]] = field(default_factory=dict)
    exact: dict[str, bool] = field(default_factory=dict)

    def ms(self, *methods: str) -> float:
        """The median of the quickest of the methods."""
        return min(statistics.median(self.times_ms[method]) for method in methods)

    @property
    def postgis_ms(self) -> float:
        return self.ms("postgis", "postgis_parallel")

    @property
    def postgis_numbers_ms(self) -> float:
        return self.ms("postgis_numbers", "postgis_numbers_parallel")

    def told(self) -> dict[str, Any]:
        ms, valkey_ms = self.ms("alertd"), self.ms("valkey")
        return {
            "exact": self.exact["alertd"],
            "subscribers": self.subscribers,
            "audience": self.audience,
            "ms": round(ms, 2),
            "postgis_ms": round(self.postgis_ms, 2),
            "valkey_ms": round(valkey_ms, 2),
            "times_postgis": round(self.postgis_ms / ms, 1),
            "times_valkey": round(valkey_ms / ms, 1),
            "area": self.area.name,
            "postgis_numbers_ms": round(self.postgis_numbers_ms, 2),
            "postgis_exact": all(right for name, right in self.exact.items() if name.startswith("postgis")),
            "valkey_exact": self.exact["valkey"],
        }


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="one million subscribers; else one and ten")
    quick = arguments.parse_args().quick
    rows: list[dict[str, Any]] = []
    for count in [MILLION] if quick else [MILLION, 10 * MILLION]:
        rows += uvloop.run(_compare(count, QUICK_ROUNDS if quick else ROUNDS))
    headline = rows[-1]  # the country, at the largest number of subscribers
    kept = all(row["exact"] for row in rows) and all(
        row["times_postgis"] >= PROMISE for row in rows if row["audience"] >= PROMISE_AUDIENCE
    )
    print(json.dumps({**headline, "all": rows}))
    return 0 if kept and headline["audience"] >= PROMISE_AUDIENCE else 1


async def _compare(count: int, other_rounds: int) -> list[dict[str, Any]]:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _leave, asyncio.current_task())
    with told.status(f"Making {count:,} people…"):
        people = await asyncio.to_thread(points, count, CACHE)
    lon, lat = people.positions()
    measured = []
    async with _opened(people) as stores:
        for area in areas():
            with told.status(f"{area.name} among {count:,}…"):
                measured.append(await _measure(area, stores, (lon, lat), other_rounds))
        _print(measured, stores)
        common = {
            "worst_ping_ms": round(stores.alertd_watch.worst_ms, 2),
            "valkey_worst_ping_ms": round(stores.geosearch_watch.worst_ms, 2),
            "index_bytes": round(stores.alertd.index_bytes, 1),
            "postgis_index_bytes": round(stores.postgis.index_bytes, 1),
            "valkey_index_bytes": round(stores.geosearch.index_bytes, 1),
        }
    return [{**one.told(), **common} for one in measured]


@contextlib.asynccontextmanager
async def _opened(people: Points) -> AsyncIterator[Stores]:
    """Starts and loads the three stores one after the other; stops all at the end."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alertd-bench-")))

        async def loaded(name: str, opening: AbstractAsyncContextManager[Store]) -> Store:
            started = time.perf_counter()
            with told.status(f"Loading {len(people):,} people into {name}…"):
                store = await stack.enter_async_context(opening)
            told.print(f"{name}: {len(people):,} people loaded in {time.perf_counter() - started:.1f} s")
            return store

        alertd = await loaded("alertd", audience_alertd.opened(people, folder))
        geosearch = await loaded("Valkey", audience_geosearch.opened(people, folder))
        database = await loaded("PostGIS", postgis.opened(people))
        yield Stores(
            alertd=alertd,
            geosearch=geosearch,
            postgis=database,
            alertd_watch=stack.enter_context(audience_ping.watch(alertd.socket)),
            geosearch_watch=stack.enter_context(audience_ping.watch(geosearch.socket)),
        )


async def _measure(area: Area, stores: Stores, lon_lat: tuple[Floats, Floats], other_rounds: int) -> Measured:
    """Runs every method in turn, round after round; compares the first answer of each with brute force."""
    wanted = await asyncio.to_thread(inside, area.shape, *lon_lat)
    quantised = await asyncio.to_thread(audience_geosearch.truth, area.shape, *lon_lat)
    result = Measured(area=area, subscribers=len(lon_lat[0]), audience=len(wanted), valkey_audience=len(quantised))
    methods: list[tuple[str, Find, NDArray[np.int64], Any, int]] = [
        ("alertd", stores.alertd.find, wanted, stores.alertd_watch.watching, ROUNDS),
        *(
            (name, functools.partial(form, question=question), wanted, contextlib.nullcontext, rounds)
            for name, form, question, rounds in (
                ("postgis", stores.postgis.find, postgis.WHOLE, ROUNDS),
                ("postgis_parallel", stores.postgis.find_parallel, postgis.WHOLE, ROUNDS),
                ("postgis_numbers", stores.postgis.find, postgis.NUMBERS, other_rounds),
                ("postgis_numbers_parallel", stores.postgis.find_parallel, postgis.NUMBERS, other_rounds),
            )
        ),
        ("valkey", stores.geosearch.find, quantised, stores.geosearch_watch.watching, other_rounds),
    ]
    wkb = shapely.to_wkb(area.shape)
    for turn in range(ROUNDS + 1):  # the first round fills the caches and does not count
        for name, find, expected, watching, rounds in methods:
            if turn > rounds:
                continue
            with watching():
                started = time.perf_counter()
                found = await find(wkb)
                took_ms = 1_000 * (time.perf_counter() - started)
            result.exact[name] = result.exact.get(name, True) and np.array_equal(found, expected)
            if turn:
                result.times_ms.setdefault(name, []).append(took_ms)
    return result


def _print(measured: list[Measured], stores: Stores) -> None:
    table = Table(title=f"{measured[0].subscribers:,} subscribers: medians in ms, end to end, numbers sorted")
    for heading in ("area", "vertices", "inside", "alertd", "PostGIS", "PostGIS, less*", "Valkey**", "exact"):
        table.add_column(heading, justify="left" if heading == "area" else "right")
    for one in measured:
        times = [f"{ms:,.1f}" for ms in (one.ms("alertd"), one.postgis_ms, one.postgis_numbers_ms, one.ms("valkey"))]
        wrong = [name for name, right in one.exact.items() if not right]
        table.add_row(
            one.area.name,
            f"{one.area.vertices:,}",
            f"{one.audience:,}",
            *times,
            f"not {', '.join(wrong)}" if wrong else "all",
        )
    for title, values in (
        ("bytes a subscriber", (stores.alertd.index_bytes, stores.postgis.index_bytes, stores.geosearch.index_bytes)),
        ("worst PING of another client, ms", (stores.alertd_watch.worst_ms, None, stores.geosearch_watch.worst_ms)),
    ):
        alertd, database, valkey = (f"{value:,.1f}" if value is not None else "-" for value in values)
        table.add_row(title, "", "", alertd, database, "", valkey, "")
    table.caption = (
        "* numbers alone, no consent or kind of place looked at   ** the same, outer rings, geohash positions"
    )
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def _leave(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel()


if __name__ == "__main__":
    sys.exit(main())
