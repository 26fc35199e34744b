"""Nobody learns where a subscriber lives: not from a stolen disk, and not from a backup."""

from __future__ import annotations

import json
import os
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
