"""Files of regions that are handed in over HTTP: imported whole or not at all, in a process of their own, and told of."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
from aiohttp import web
from msgspec.structs import replace
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alertd.api.http.call import CHECK_VALID_S
from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.service.organisations import region_imports
from alertd.service.records.upload_dirs import NO_ROOM, UploadDirs
from alertd.store.areas.region_imports import Import, ImportRecords
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from geofences import files
from geofences.additions import Order
from geofences.regions import Library
from tests.integration.acts import api_of
from tests.waiting import until

HARBOUR, QUAY = shapely.box(-6.02, 37.33, -5.98, 37.36), shapely.box(-5.98, 37.33, -5.97, 37.36)
WORDS = {
    "format": "geojson",
    "name": "port",
    "kind": "city",
    "code_field": "id",
    "name_field": "title",
    "country": "ES",
}
#: An importer starts in seconds, on a busy machine in many.
LOOKS, POLL_S = 1200, 0.1


@cache
def shipped() -> Library:
    return Library.load()


@pytest.fixture
async def parts(tmp_path: Path, redis: Redis, codec: Codec) -> AsyncIterator[Container]:
    """A service with a data directory of its own."""
    settings = Settings(store=StoreSection(directory=tmp_path / "data"))
    async with opened(settings, redis, codec, library=shipped()) as made, made.region_imports.run():
        yield made


@pytest.fixture
async def client(parts: Container, aiohttp_client: Any) -> Any:
    return await aiohttp_client(api_of(parts))


def geojson(**regions: shapely.Polygon) -> bytes:
    """Regions by their codes, in a file."""
    rows = [
        {
            "type": "Feature",
            "properties": {"id": code, "title": f"Muelle {code}"},
            "geometry": shapely.geometry.mapping(shape),
        }
        for code, shape in regions.items()
    ]
    return json.dumps({"type": "FeatureCollection", "features": rows}).encode()


async def headers(parts: Container, org: str = "default", *, test: bool = False) -> dict[str, str]:
    _, token = await parts.access.create(org=org, subject="ana", scopes=frozenset({"admin"}), test=test)
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}


async def handed_in(client: Any, parts: Container, data: Any, **query: Any) -> Any:
    """Hands a file in, waits until it is over, and answers how that was."""
    named = await headers(parts)
    taken = await client.post("/v1/regions/import", data=data, headers=named, params=WORDS | query)
    assert taken.status == 202, await taken.text()
    return await over(client, named, taken.headers["Location"])


async def over(client: Any, named: dict[str, str], where: str) -> Any:
    """How an import ended, once it has."""
    for _ in range(LOOKS):
        told = await (await client.get(where, headers=named)).json()
        if told["state"] != "running":
            return told
        await asyncio.sleep(POLL_S)
    raise AssertionError(f"it is still {told['step']}")


async def test_a_file_is_tried_then_imported_and_its_regions_are_there(client: Any, parts: Container):
    """A dry run tells what would be done and stores nothing; without, the regions are found as soon as it is done, and the audit says who
    ordered it and what came of it.
    """
    tried = await handed_in(client, parts, geojson(P1=HARBOUR, P2=QUAY), dry_run="true")
    assert (tried["state"], tried["report"]["regions"], tried["report"]["codes"]) == ("done", 2, ["P1", "P2"])
    assert "P1" not in parts.regions.library
    done = await handed_in(client, parts, geojson(P1=HARBOUR, P2=QUAY))
    assert (done["state"], done["step"], done["regions"], done["report"]["gone"]) == ("done", "storing", 2, [])
    assert parts.regions.library.get("P1").name == "Muelle P1"
    again = await handed_in(client, parts, geojson(P1=HARBOUR))
    assert (again["report"]["gone"], again["report"]["counts"]["gone"]) == (["P2"], 1)
    acts = [
        (one.act, one.outcome, one.facts.get("regions"))
        for one in await parts.audit.page("default", before=None, limit=3)
    ]
    assert acts == [("region.imported", "done", 1), ("region.import", "done", None), ("region.import", "begun", None)]


async def test_a_zipped_shapefile_and_a_geopackage_are_read(client: Any, parts: Container, tmp_path: Path):
    """As offices hand them out."""
    frame = gpd.GeoDataFrame({"id": ["P1"], "title": ["Muelle"]}, geometry=[HARBOUR], crs="EPSG:4326")
    frame.to_file(tmp_path / "port.gpkg", layer="port")
    frame.to_crs("EPSG:25830").to_file(tmp_path / "port.shp")
    with zipfile.ZipFile(tmp_path / "port.zip", "w") as packed:
        for name in ("port.shp", "port.shx", "port.dbf", "port.prj"):
            packed.write(tmp_path / name, name)
    for suffix, was in (("gpkg", None), ("zip", "EPSG:25830")):
        told = await handed_in(client, parts, (tmp_path / f"port.{suffix}").read_bytes(), format=suffix, dry_run="true")
        assert (told["state"], told["report"]["reprojected_from"]) == ("done", was), told


async def test_one_feature_that_is_none_keeps_the_whole_file_out(client: Any, parts: Container):
    """Each fault has its row; nothing is stored, and no file is left."""
    told = await handed_in(client, parts, geojson(P1=HARBOUR, P2=HARBOUR))
    assert (told["state"], told["faults"], told["report"]) == ("refused", 1, None)
    assert (told["problems"][0]["row"], "overlaps P1" in told["problems"][0]["what"]) == (2, True)
    columns = await handed_in(client, parts, geojson(P1=HARBOUR), code_field="ids")
    assert "Did you mean 'id'" in columns["why"]
    assert "P1" not in parts.regions.library
    folder = parts.settings.store.directory
    assert list((folder / "imports").iterdir()) == []


async def test_a_file_that_names_other_files_is_not_followed(client: Any, parts: Container, tmp_path: Path):
    """A virtual format would read whatever lies on the server."""
    (tmp_path / "secret.geojson").write_bytes(geojson(P1=HARBOUR))
    virtual = f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{tmp_path}/secret.geojson</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
    told = await handed_in(client, parts, virtual.encode(), dry_run="true")
    assert (told["state"], "cannot be read" in told["why"]) == ("refused", True), told
    assert str(tmp_path) not in told["why"]


async def test_who_may_not(client: Any, parts: Container):
    """Another organisation, whose administrator would change where others alert; a test key; nothing in the file; too much of it."""
    for named in (await headers(parts, "police"), await headers(parts, test=True)):
        refused = await client.post("/v1/regions/import", data=b"{}", headers=named, params=WORDS)
        assert (refused.status, (await refused.json())["type"]) == (403, "/problems/not-allowed")
    named = await headers(parts)
    assert (await client.post("/v1/regions/import", data=b"", headers=named, params=WORDS)).status == 400
    unknown = "/v1/regions/imports/01M8AXPN5MSWKNT840269650J6"
    assert (await client.get(unknown, headers=named)).status == 404
    done = await handed_in(client, parts, geojson(P1=HARBOUR), dry_run="true")
    where = f"/v1/regions/imports/{done['id']}"
    assert (await client.get(where, headers=await headers(parts, "police"))).status == 404


async def test_an_upload_that_stalls_keeps_nobody_out_and_is_given_up(client: Any, parts: Container, tmp_path: Path):
    """The turn is for files that are there: whoever sends one without an end blocks no other, and is told after a while."""
    parts.region_imports.rooms = UploadDirs(tmp_path / "slow", 0, silence_s=3)
    named, never = await headers(parts), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    stalled = asyncio.create_task(client.post("/v1/regions/import", data=slow(), headers=named, params=WORDS))
    await until(lambda: any((tmp_path / "slow").glob("*/*")))
    done = await handed_in(client, parts, geojson(P1=HARBOUR), dry_run="true")
    assert done["state"] == "done"
    refused = await stalled
    assert (refused.status, "too slow" in (await refused.json())["detail"]) == (408, True)
    assert list((tmp_path / "slow").iterdir()) == []


async def test_one_file_at_a_time(client: Any, parts: Container):
    """While one is imported another is refused, before it is sent."""
    named = await headers(parts)
    first = await client.post("/v1/regions/import", data=geojson(P1=HARBOUR), headers=named, params=WORDS)
    second = await client.post("/v1/regions/import", data=b"{}", headers=named, params=WORDS)
    assert (first.status, second.status, second.headers["Retry-After"]) == (202, 429, "10")
    await over(client, named, first.headers["Location"])
    third = await client.post("/v1/regions/import", data=b"{}", headers=named, params=WORDS)
    assert third.status == 202
    await over(client, named, third.headers["Location"])


@pytest.fixture
async def address(parts: Container) -> AsyncIterator[tuple[str, int]]:
    """The API as it is served: what is under way is not cancelled with its connection, as aiohttp's test server would."""
    runner = web.AppRunner(api_of(parts))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0]
    await runner.cleanup()


async def test_a_connection_that_is_reset_is_no_failure_of_ours(address: tuple[str, int], parts: Container):
    """Nothing is logged as an error, the audit has it as refused, and nothing of the file is left."""
    named, (host, port) = await headers(parts), address
    query = "&".join(f"{name}={value}" for name, value in WORDS.items())
    lines = [f"POST /v1/regions/import?{query} HTTP/1.1", f"Host: {host}", "Content-Length: 1000"]
    lines += [f"{name}: {value}" for name, value in named.items()]
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection(host, port)
        writer.write("\r\n".join([*lines, "", "{"]).encode())
        folder = parts.settings.store.directory / "imports"
        await until(lambda: any(folder.glob("*/*")))
        linger = struct.pack("ii", 1, 0)  # so that closing resets
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
        await until(lambda: list(folder.iterdir()) == [])
        await settled_audit(parts)
    assert [one for one in logs if one["log_level"] == "error"] == []


async def settled_audit(parts: Container) -> None:
    """The act that was begun has its outcome, and that is a refusal."""
    for _ in range(LOOKS):
        [latest] = await parts.audit.page("default", before=None, limit=1)
        if latest.outcome != "begun":
            assert (latest.outcome, latest.facts["problem"]) == ("refused", "invalid-request")
            return
        await asyncio.sleep(POLL_S / 10)
    raise AssertionError("it has no outcome")


async def test_a_file_that_would_take_the_stores_room_is_refused(client: Any, parts: Container, tmp_path: Path):
    """The store ends where its disk is full: what does not leave its reserve free is refused as it comes, and cleared away."""
    free = [100 + 2]
    parts.region_imports.rooms = UploadDirs(tmp_path / "full", 100, free=lambda _folder: free[0])
    named = await headers(parts)
    refused = await client.post("/v1/regions/import", data=geojson(P1=HARBOUR), headers=named, params=WORDS)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "30")
    assert (await refused.json())["type"] == "/problems/store-unavailable"
    assert list((tmp_path / "full").iterdir()) == []
    free[0] = 1_000_000
    taken = await client.post("/v1/regions/import", data=geojson(P1=HARBOUR), headers=named, params=WORDS)
    free[0] = 99  # it fills while the file is read
    told = await over(client, named, taken.headers["Location"])
    assert (told["state"], told["why"]) == ("refused", f"{NO_ROOM} Nothing was imported.")
    assert list((tmp_path / "full").iterdir()) == []


async def test_what_is_stored_and_not_taken_in_is_told_as_that(client: Any, parts: Container):
    """Whoever is told that it was refused hands it in again; and who is told that it is done names regions that are not there."""
    await parts.db.execute("HSET", keys.NUMBERS, str(files.FIRST_OWN_NUMBER), "another machine's")
    told = await handed_in(client, parts, geojson(P1=HARBOUR))
    assert (told["state"], told["why"], told["report"]["regions"]) == ("stored", region_imports.NOT_TAKEN_IN, 1)
    assert "P1" not in parts.regions.library
    assert [one.name for one in (parts.settings.store.directory / "regions").glob("*.regions")] == ["port.regions"]
    assert (await parts.audit.page("default", before=None, limit=1))[0].outcome == "failed"
    tried = await handed_in(client, parts, geojson(P1=HARBOUR), dry_run="true")
    assert (tried["state"], tried["why"]) == ("done", None)


async def test_what_a_process_left_that_ended_in_the_middle_is_gone_at_the_start(tmp_path: Path):
    """A folder that somebody holds is in use, by another process, too."""
    rooms = UploadDirs(tmp_path / "imports", 0)
    held = rooms.make()
    (tmp_path / "imports" / "left").mkdir()
    (tmp_path / "imports" / "left" / "half.geojson").write_bytes(b"{")
    UploadDirs(tmp_path / "imports", 0).sweep()
    assert list((tmp_path / "imports").iterdir()) == [held.path]
    held.clear()
    assert list((tmp_path / "imports").iterdir()) == []


def test_an_importer_ends_with_whoever_began_it(tmp_path: Path):
    """An orphan would go on writing to a folder that nobody watches: here it waits for its turn there, and then nobody wants it any more."""
    file, folder = tmp_path / "port.geojson", tmp_path / "regions"
    file.write_bytes(geojson(P1=HARBOUR))
    folder.mkdir()
    order = Order(kind="city", code_field="id", name_field="title", country="ES")
    with files.alone(folder), subprocess.Popen(
        [sys.executable, "-m", "geofences.importing", str(file), str(folder), "port"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as importer:  # fmt: skip
        assert importer.stdin is not None
        assert importer.stdout is not None
        importer.stdin.write(json.dumps(dataclasses.asdict(order)).encode() + b"\n")
        importer.stdin.flush()
        steps = [json.loads(importer.stdout.readline())["step"] for _ in range(2)]
        assert (steps, importer.poll()) == (["reading", "checking"], None)
        importer.stdin.close()
        assert importer.wait(60) == 1
    assert list(folder.glob("*.regions")) == []


async def test_an_importer_that_is_killed_is_told_and_logged_with_how_it_ended(client: Any, parts: Container):
    """Whoever runs the service learns why, and whoever ordered it that nothing is there."""
    named = await headers(parts)
    with capture_logs() as logs:
        taken = await client.post("/v1/regions/import", data=geojson(P1=HARBOUR), headers=named, params=WORDS)
        os.kill(await importer_of_this(), signal.SIGKILL)  # it starts in a second, and is dead by then
        told = await over(client, named, taken.headers["Location"])
    assert (told["state"], told["why"]) == ("refused", "The importer failed. Nothing was imported.")
    assert [(one["code"], one["step"]) for one in logs if one["event"] == "region_importer.ended"] == [(-9, "reading")]
    assert (await parts.audit.page("default", before=None, limit=1))[0].outcome == "failed"


async def test_what_an_importer_says_of_its_own_failure_is_logged(client: Any, parts: Container):
    """It alone knows what went wrong: here something lies in the folder that cannot be copied."""
    folder = parts.settings.store.directory / "regions"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    with capture_logs() as logs:
        told = await handed_in(client, parts, geojson(P1=HARBOUR))
    assert (told["state"], "importer failed" in told["why"]) == ("refused", True), told
    [ended] = [one for one in logs if one["event"] == "region_importer.ended"]
    assert (ended["code"] != 0, "is a named pipe" in ended["last_words"]) == (True, True), ended


@pytest.mark.parametrize(("step", "may_be"), [("trying", False), ("storing", True)])
def test_what_was_being_stored_is_never_said_not_to_be(step: Any, may_be: bool):
    """Who is told that nothing was imported relies on it."""
    one = Import(id="1", org="default", name="port", dry_run=False, state="running", seen=0, step=step)
    told = region_imports.broken_off(one)
    assert (told.state, "may be stored" in told.why, "Nothing was imported" in told.why) == (
        "refused",
        may_be,
        not may_be,
    )


async def importer_of_this() -> int:
    """The process that imports for this one."""
    for _ in range(LOOKS):
        for child in children():
            if b"geofences.importing" in Path(f"/proc/{child}/cmdline").read_bytes():  # noqa: ASYNC240  no disk
                return child
        await asyncio.sleep(POLL_S / 10)
    raise AssertionError("there is no importer")


def children() -> list[int]:
    """The processes that this one has begun."""
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(child) for one in found for child in one.read_text(encoding="ascii").split()]


async def test_an_import_whose_process_ended_is_told_as_ended(client: Any, parts: Container):
    """Nobody waits for ever for what nobody does any more."""
    left = Import(
        id="01M8AXPN5MSWKNT840269650J6",
        org="default",
        name="port",
        dry_run=False,
        state="running",
        seen=parts.clock.now_ms(),
    )
    named, where, imports = await headers(parts), f"/v1/regions/imports/{left.id}", ImportRecords(parts.db)
    await imports.put(left)
    assert (await (await client.get(where, headers=named)).json())["state"] == "running"
    await imports.put(replace(left, seen=left.seen - region_imports.SILENT_MS - 1))
    told = await (await client.get(where, headers=named)).json()
    assert (told["state"], "upload the file again" in told["why"]) == ("refused", True)


async def test_a_file_whose_sender_may_no_more_is_not_imported(client: Any, parts: Container):
    """Its key was revoked when the half of it was there: everybody's alerts could name its regions."""
    who, token = await parts.access.create(org="default", subject="mallory", scopes=frozenset({"admin"}))
    named, raw = await headers(parts), geojson(P1=HARBOUR)

    async def is_used() -> bool:
        return any(one.used for one in await parts.access.held("default") if one.credential == who)

    async def halves() -> AsyncIterator[bytes]:
        yield raw[:50]
        await until(is_used)
        async with client.delete(f"/v1/keys/{who.key_id}", headers=named) as revoked:
            assert revoked.status == 204
        await asyncio.sleep(CHECK_VALID_S)
        yield raw[50:]

    sent = named | {"Authorization": f"Bearer {token}"}
    async with client.post("/v1/regions/import", data=halves(), headers=sent, params=WORDS) as refused:
        assert refused.status == 401
    assert (await handed_in(client, parts, raw))["state"] == "done"  # nobody else waits for it
