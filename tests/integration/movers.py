"""What the tests of moves share: people at places, whom a query finds there, and a sweeper whose time is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import shapely
from msgspec.structs import replace

from alertd.model.subscriber import Consent, Place, Subscriber
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from alertd.store.people.audience import Audience, MatchFilter
from alertd.store.people.spots import Change
from alertd.store.people.subscribers import GRACE_MS, People
from alertd.store.people.sweeper import Sweeper
from geofences.tiles import locate

SEVILLA, CADIZ = (-5.99, 37.39), (-6.29, 36.53)


class Clock:
    """A clock that is set."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class CrashError(Exception):
    """The mover dies here."""


class Mortal(Connection):
    """A client that dies before its n-th round trip."""

    trips_left = 10**9

    async def run_many(self, calls: Sequence[Any], *, durable: bool = False) -> list[Any]:
        self._live()
        return await super().run_many(calls, durable=durable)

    async def execute_many(self, commands: Sequence[Any], *, durable: bool = False) -> list[Any]:
        self._live()
        return await super().execute_many(commands, durable=durable)

    def _live(self) -> None:
        self.trips_left -= 1
        if self.trips_left < 0:
            raise CrashError


def place(lon_lat: tuple[float, float], name: str = "home", kind: int = 1) -> Place:
    tile, x, y = (int(part) for part in locate(*lon_lat))
    return Place(
        name=name, kind=kind, lon=lon_lat[0], lat=lon_lat[1], region=None, at_s=0, accuracy_m=None, tile=tile, x=x, y=y
    )


def person(number: int, *places: Place) -> Subscriber:
    return Subscriber(
        number=number, id=f"p{number}", version=1, languages=("es",), kinds=1, tester=False, time_zone=None, places=places,
        addresses=(), next_address=0,
        consent=Consent(at_s=0, source="t", version=None, purposes=(), withdrawn_at_s=None),
    )  # fmt: skip


def wanted(lon_lat: tuple[float, float], degrees: float = 0.05) -> MatchFilter:
    area = shapely.MultiPolygon([shapely.Point(lon_lat).buffer(degrees)])
    return MatchFilter(area=area, kind=1, places=frozenset(range(5)))


async def numbers(audience: Audience, lon_lat: tuple[float, float]) -> list[int]:
    return (await audience.find(wanted(lon_lat))).numbers.tolist()


def moved(before: Subscriber, lon_lat: tuple[float, float]) -> Change:
    return Change(before, replace(before, version=before.version + 1, places=(place(lon_lat),)))


async def settle(store: Connection, people: People, rounds: int = 2) -> Sweeper:
    """Run the sweeper over two graces."""
    clock = Clock()
    sweeper = Sweeper(store, people, clock)
    for _ in range(rounds):
        await sweeper.round()
        clock.seconds += GRACE_MS / 1000 + 1
    await sweeper.round()
    await lease_ends(store)
    return sweeper


async def lease_ends(store: Connection) -> None:
    """The sweeper was silent for longer than its lease lasts."""
    await store.execute("DEL", keys.SWEEPER)


async def opened(store: Connection, cell: keys.Cell) -> bytes:
    """The records of a cell, plain."""
    return store.codec.cells.open(cell, await store.execute("GET", cell.key) or b"")


async def records_in(store: Connection, lon_lat: tuple[float, float]) -> int:
    tile = int(locate(*lon_lat)[0])
    return int(await store.execute("STRLEN", f"{{g:{tile >> 8}}}:{tile}")) // 16
