"""Nobody learns where a subscriber lives: not from counts, not from a stolen disk, and not from a backup."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from geofences import records
from geofences.tiles import locate_one
from tests.acceptance.conftest import Served
from tests.acceptance.stolen import coordinates_in, everything, files_of, loaded, written_to_cells
from tests.unit.alertd.samples import SUBSCRIBER

Home = tuple[float, float]
#: Points of people who are registered one by one, in Sevilla.
HOMES = [(-5.98231 + i * 0.00713, 37.38127 + i * 0.00317) for i in range(6)]
MOVED_FROM, MOVED_TO = (-5.97543, 37.39671), (-5.96327, 37.40119)
SEEN, SEEN_AGAIN = (-5.99173, 37.38853), (-5.98719, 37.39241)
WORK, IMPORTED, FORGOTTEN = (-5.97891, 37.37763), (-5.96987, 37.38419), (-5.95413, 37.38091)
PLACES = [*HOMES, MOVED_FROM, MOVED_TO, SEEN, SEEN_AGAIN, WORK, IMPORTED, FORGOTTEN]


def registration(name: str, **points: tuple[float, float]) -> dict[str, Any]:
    """A subscriber with one phone, at these places."""
    now = {"at": datetime.now(UTC).isoformat(), "accuracy_m": 20}
    places = {place: {"point": point, **(now if place == "now" else {})} for place, point in points.items()}
    return {**SUBSCRIBER, "places": places, "addresses": [{"channel": "push", "token": f"t-{name}"}]}


def known(served: Served) -> None:
    """Everybody of `PLACES` registers, some move, one is imported, one is forgotten."""

    def put(name: str, **points: tuple[float, float]) -> None:
        status, answer = served.call("PUT", f"/v1/subscribers/{name}", registration(name, **points))
        assert status in {200, 201}, answer

    for i, home in enumerate(HOMES):
        put(f"home-{i}", home=home)
    put("mover", home=MOVED_FROM)
    put("mover", home=MOVED_TO, work=WORK)
    for seen in (SEEN, SEEN_AGAIN):
        put("seen", now=seen)
    put("forgotten", home=FORGOTTEN)
    assert served.call("DELETE", "/v1/subscribers/forgotten")[0] == 204
    line = json.dumps({**registration("imported", home=IMPORTED), "id": "imported"}).encode()
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/x-ndjson"}
    request = urllib.request.Request(f"{served.url}/v1/subscribers/import", line, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.loads(response.read())["written"] == 1


def rewritten(served: Served) -> None:
    """The server rewrites its append-only file into a new base."""
    with Redis(unix_socket_path=str(served.directory / "server.sock")) as client:
        client.bgrewriteaof()
        served.wait_for(lambda: not client.info("persistence")["aof_rewrite_in_progress"])


def backup(served: Served, to: Path) -> Path:
    """What `alertd backup` copies of the running service."""
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(served.directory)}
    subprocess.run([sys.executable, "-m", "alertd", "backup", str(to)], env=environment, check=True, timeout=60)
    return to / "appendonlydir"


def test_a_stolen_disk_or_backup_shows_no_home(
    installation: Callable[..., Served], alert: dict[str, Any], tmp_path: Path
):
    """Somebody who has the append-only file or a backup, and this project's code but not the store's keys, finds no coordinate of a known
    subscriber: not where they live, nor where they lived, were seen or work. The running service finds them all the same.
    """
    served = installation(100)
    known(served)
    served.approved({**alert, "target": {"regions": ["41091"]}, "channels": ["push"]})
    phones = {f"t-{name}" for name in ("mover", "seen", "imported", *(f"home-{i}" for i in range(len(HOMES))))}
    served.wait_for(lambda: phones <= set(served.recorded("push")))
    assert "t-forgotten" not in served.recorded("push")

    log = files_of(served.directory / "appendonlydir")
    cells = written_to_cells(log)
    beside = [file for file in served.directory.iterdir() if file.is_file() and file.name != "ballast"]
    disk = [*log, *(file.read_bytes() for file in beside)]
    assert len(cells) >= 2 * len(PLACES)  # each was appended and unmarked
    assert coordinates_in(PLACES, disk, cells) == []

    rewritten(served)
    copy = backup(served, tmp_path / "backup")
    assert coordinates_in(PLACES, files_of(copy), []) == []
    (tmp_path / "thief").mkdir()
    with loaded(copy, tmp_path / "thief") as client:
        values, cells = everything(client)
    assert sum(map(len, cells)) >= records.SIZE * len(HOMES)
    assert coordinates_in(PLACES, values, cells) == []


@pytest.mark.parametrize("form", ["record", "double", "text", "in a cell"])
def test_a_coordinate_that_is_not_sealed_is_found(form: str):
    """The search of the files above finds a coordinate in each of its forms."""
    (lon, lat), (tile, x, y) = MOVED_TO, locate_one(*MOVED_TO)
    assert tile
    values = {
        "record": b"." + records.pack_one(300, x, y, 0, 0),
        "double": struct.pack(">d", lat),
        "text": json.dumps({"point": [lon, lat]}).encode(),
    }
    cells = [records.pack_one(1 << 39, x, y, 5, 0)] if form == "in a cell" else []
    assert coordinates_in(PLACES, [values.get(form, b"")], cells) == [MOVED_TO]


def resident(home: Home, seen: str) -> dict[str, Any]:
    """Somebody who lives at a home and is there."""
    return {
        **SUBSCRIBER,
        "kinds": ["missing-child", "general"],
        "places": {"home": {"point": home}, "now": {"point": home, "at": seen}},
    }


def import_people(served: Served, lines: list[dict[str, Any]]) -> None:
    body = "\n".join(map(json.dumps, lines)).encode()
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/x-ndjson"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{served.url}/v1/subscribers/import", body, headers), timeout=60
    ) as response:
        assert json.loads(response.read())["written"] == len(lines)


def circle_around(home: Home, radius_km: float) -> dict[str, Any]:
    return {"center": list(home), "radius_km": radius_km}


def square_around(home: Home, degrees: float) -> list[list[float]]:
    (lon, lat), d = home, degrees
    return [[lon - d, lat - d], [lon + d, lat - d], [lon + d, lat + d], [lon - d, lat + d], [lon - d, lat - d]]


def notched(home: Home, wide: float) -> dict[str, Any]:
    """A square around a home, without a strip of 60 m that ends at the home."""
    (lon, lat), d, s = home, wide, 0.0003
    ring = [
        [lon - d, lat - d], [lon + d, lat - d], [lon + d, lat - s], [lon - s, lat - s], [lon - s, lat + s], [lon + d, lat + s],
        [lon + d, lat + d], [lon - d, lat + d], [lon - d, lat - d],
    ]  # fmt: skip
    return {"type": "Polygon", "coordinates": [ring]}


def attacks_on(home: Home, km: float) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of previews of some `km` around a home that differ by the home alone."""
    whole = {"circles": [circle_around(home, km)]}
    square = {"polygons": [{"type": "Polygon", "coordinates": [square_around(home, km / 100)]}]}
    region = {"regions": ["41091"], **whole}

    def hole(target: dict[str, Any], hole_km: float = 0.03) -> dict[str, Any]:
        return {"target": {**target, "exclude": {"circles": [circle_around(home, hole_km)]}}}

    seen = {"policy": {"places": ["now"]}}
    return [
        ({"target": whole}, hole(whole)),
        ({"target": square}, {"target": {"polygons": [notched(home, km / 100)]}}),
        (hole(whole, 0.3), hole(whole, 0.27)),
        ({"target": whole}, {"target": {**whole, "rings": [circle_around(home, 0.3)]}}),
        ({"target": region}, hole(region)),
        ({"target": whole, "kind": "general"}, {**hole(whole), "kind": "general"}),
        ({"target": whole, **seen}, {**hole(whole), **seen}),
    ]


def numbers_of(preview: dict[str, Any]) -> list[Any]:
    """Every count of an answer: of people, of addresses by channel, of people by region, and of the ground outside its rings."""
    audience = preview["audience"]
    rest = [ring for ring in audience["rings"] if ring["ring"] == 0] or [audience]
    return [*((one["people"], one["addresses"]) for one in rest), audience["regions"], preview["untold"]]


def says_lived_in(served: Served, key: str, pair: tuple[dict[str, Any], dict[str, Any]]) -> bool:
    """What the attacker concludes: somebody lives there if any number of the two answers differs."""
    answers = []
    for body in pair:
        status, answer = served.call("POST", "/v1/targets/preview", body, key)
        assert status == 200, answer
        answers.append(answer)
    return numbers_of(answers[0]) != numbers_of(answers[1])


@pytest.mark.timeout(900)
def test_a_thousand_previews_do_not_tell_who_lives_where(installation: Callable[..., Served], is_long: bool):
    """Half of 500 homes are lived in, by one person or by four. The attacker asks two questions about each, by holes, notches, rings,
    regions, kinds of alert and kinds of place, and is right about at most three in five. The quick run has 150 homes; of so few an attacker who
    guesses may be right about a little more.
    """
    many, most = (500, 0.6) if is_long else (150, 0.65)
    served = installation(2_000, ALERTD_API__REACH_PER_MIN="0")
    draw = random.Random(7)
    homes = [
        (round(-5.98 + draw.uniform(-0.2, 0.2), 6), round(37.39 + draw.uniform(-0.15, 0.15), 6)) for _ in range(many)
    ]
    residents = [draw.choice([0, 0, 1, 4]) for _ in homes]
    seen = datetime.now(UTC).isoformat()
    import_people(
        served,
        [
            {**resident(home, seen), "id": f"r{i}-{j}", "addresses": [{"channel": "push", "token": f"t{i}-{j}"}]}
            for i, (home, count) in enumerate(zip(homes, residents, strict=True))
            for j in range(count)
        ],
    )
    mallory = {"subject": "mallory@centre.example", "scopes": ["alerts:read", "alerts:write"]}
    key = served.call("POST", "/v1/keys", mallory)[1]["token"]
    right = sum(
        says_lived_in(served, key, attacks_on(home, 25 if i % 2 else 5)[i % 7]) == bool(count)
        for i, (home, count) in enumerate(zip(homes, residents, strict=True))
    )
    assert right <= most * len(homes)
