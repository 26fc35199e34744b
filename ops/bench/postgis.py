"""PostGIS: a table of points clustered by its GiST index, and the area cut by ST_Subdivide, in a separate cluster.

The cluster is tuned for this one query. The bench measures two forms, and takes the faster median of each area: one statement, and one
that first writes the pieces of the area to a table, so that two workers can share the join.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import numpy as np
from audience_people import FLAGS, HOME, MISSING_CHILD, Points
from numpy.typing import NDArray

from alertd.store.people.audience import in_order
from geofences import records

START_S = 30
SETTINGS = {
    "listen_addresses": "",  # only a socket in the folder
    "max_connections": "10",
    "shared_buffers": "1GB",
    "effective_cache_size": "4GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "1GB",
    "max_parallel_workers_per_gather": "2",
    "min_parallel_table_scan_size": "0",  # the pieces of an area are a small table with much work behind each row
    "parallel_setup_cost": "0",
    "parallel_tuple_cost": "0",
    "random_page_cost": "1.1",  # all of it is in memory
    "jit": "off",  # costs more than it saves here
    "autovacuum": "off",  # would disturb the measurement
    "fsync": "off",  # the bench measures only reads
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
}
TABLES = """
CREATE EXTENSION postgis;
CREATE UNLOGGED TABLE people (
    number bigint NOT NULL, flags integer NOT NULL, region integer NOT NULL, position geometry(Point, 4326) NOT NULL
);
CREATE UNLOGGED TABLE pieces (shape geometry NOT NULL) WITH (parallel_workers = 2);
"""
INDEX = "CREATE INDEX people_position ON people USING gist (position)"
CLUSTER = "CLUSTER people USING people_position"
CUT = "SELECT ST_Subdivide(ST_GeomFromWKB($1::bytea, 4326), 128) AS shape"
ONE_STATEMENT = f"WITH pieces AS MATERIALIZED ({CUT}) "
#: The same query as alertd: people inside, at home, with consent to the kind of alert; returns flags and region too.
WHOLE = f"""
SELECT number, flags, region FROM pieces JOIN people ON ST_Intersects(pieces.shape, position)
WHERE (flags >> {records.KIND_SHIFT}) & {MISSING_CHILD} <> 0 AND (flags >> {records.PLACE_SHIFT}) & 7 = {HOME}
"""
#: A smaller query: only the numbers of the people inside.
NUMBERS = "SELECT number FROM pieces JOIN people ON ST_Intersects(pieces.shape, position)"
#: A row in COPY's binary format: number of columns, then length and value of each. A point is EWKB with its reference system.
PERSON_ROW = np.dtype(
    [
        ("columns", ">i2"), ("number_length", ">i4"), ("number", ">i8"), ("flags_length", ">i4"), ("flags", ">i4"),
        ("region_length", ">i4"), ("region", ">i4"), ("point_length", ">i4"),
        ("order", "u1"), ("kind", "<u4"), ("system", "<u4"), ("lon", "<f8"), ("lat", "<f8"),
    ]
)  # fmt: skip
ANSWER_ROWS = {
    NUMBERS: np.dtype([("columns", ">i2"), ("number_length", ">i4"), ("number", ">i8")]),
    WHOLE: np.dtype(
        [
            ("columns", ">i2"), ("number_length", ">i4"), ("number", ">i8"), ("flags_length", ">i4"), ("flags", ">i4"),
            ("region_length", ">i4"), ("region", ">i4"),
        ]
    ),
}  # fmt: skip
COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TAIL = b"\xff\xff"
POINT_WITH_SYSTEM, WGS84 = 0x2000_0001, 4326
ROWS_A_WRITE = 20_000


@dataclass(frozen=True, kw_only=True)
class PostGis:
    """The loaded table."""

    database: asyncpg.Connection
    index_bytes: float  # a subscriber: the table and its index

    async def find(self, wkb: bytes, question: str = WHOLE) -> NDArray[np.int64]:
        """Returns the sorted numbers of the people inside, by one statement. As in alertd, the other columns are fetched, but not sorted."""
        return _sorted(await self._copied(ONE_STATEMENT + question, wkb), question)

    async def find_parallel(self, wkb: bytes, question: str = WHOLE) -> NDArray[np.int64]:
        """The same, with the pieces in a table."""
        await self.database.execute("TRUNCATE pieces")
        await self.database.execute(f"INSERT INTO pieces {CUT}", wkb)
        return _sorted(await self._copied(question), question)

    async def _copied(self, query: str, *values: bytes) -> bytes:
        chunks: list[bytes] = []

        async def keep(chunk: bytes) -> None:
            chunks.append(chunk)

        await self.database.copy_from_query(query, *values, output=keep, format="binary")
        return b"".join(chunks)[len(COPY_HEAD) : -len(COPY_TAIL)]


def _sorted(copied: bytes, question: str) -> NDArray[np.int64]:
    """Removes duplicates: a person on the border of two pieces appears twice."""
    rows = np.frombuffer(copied, ANSWER_ROWS[question])
    return in_order([rows["number"].astype(np.uint64)]).view(np.int64)


@contextlib.asynccontextmanager
async def opened(points: Points) -> AsyncIterator[PostGis]:
    """Makes and loads a cluster in a temporary folder; deletes it at the end."""
    with _cluster() as folder:
        database = await asyncpg.connect(host=str(folder), user="postgres", database="postgres")
        try:
            await database.execute(TABLES)
            await database.copy_to_table("people", source=_rows(points), format="binary")
            for statement in (INDEX, CLUSTER, "VACUUM ANALYZE people"):
                await database.execute(statement, timeout=None)
            size = await database.fetchval("SELECT pg_total_relation_size('people')")
            yield PostGis(database=database, index_bytes=size / len(points))
        finally:
            await database.close()


async def _rows(points: Points) -> AsyncIterator[bytes]:
    """Yields all people in the format of COPY, neighbours together, so that the index builds faster."""
    order = np.argsort(points.tiles, kind="stable")
    lon, lat = points.positions()
    yield COPY_HEAD
    for at in range(0, len(points), ROWS_A_WRITE):
        some = order[at : at + ROWS_A_WRITE]
        rows = np.empty(len(some), PERSON_ROW)
        rows["columns"], rows["number_length"], rows["point_length"] = 4, 8, 25
        rows["flags_length"], rows["flags"], rows["region_length"], rows["region"] = 4, FLAGS, 4, 0
        rows["order"], rows["kind"], rows["system"] = 1, POINT_WITH_SYSTEM, WGS84
        rows["number"], rows["lon"], rows["lat"] = points.numbers[some], lon[some], lat[some]
        yield rows.tobytes()
    yield COPY_TAIL


@contextlib.contextmanager
def _cluster() -> Iterator[Path]:
    """Runs a cluster with its socket in the folder. PostgreSQL refuses to run as root, so root starts it as `postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="alertd-bench-postgis-"))
    run: Callable[..., subprocess.Popen[bytes]] = functools.partial(  # type: ignore[assignment] # nothing asks it for text
        subprocess.Popen, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder
    )
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        run = functools.partial(run, user="postgres", group="postgres", extra_groups=[])
    programs, data = _programs(), folder / "data"
    try:
        _finish(run([programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]))
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        server = run([programs / "postgres", "-D", data, "-k", folder, *options], stderr=(folder / "log").open("wb"))
        try:
            _await_socket(server, folder)
            yield folder
        finally:
            server.send_signal(signal.SIGINT)  # "fast": not waiting for clients
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Returns the program folder of the newest PostgreSQL with PostGIS, in Debian's layout."""
    versions = [path.parts[-3] for path in Path("/usr/share/postgresql").glob("*/extension/postgis.control")]
    return Path("/usr/lib/postgresql", max(versions, key=int), "bin")


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"initdb failed: {errors.decode(errors='replace')[-1000:]}")


def _await_socket(server: subprocess.Popen[bytes], folder: Path) -> None:
    """Waits until the last line of the postmaster's pid file says that it is ready."""
    deadline = time.monotonic() + START_S
    state = folder / "data" / "postmaster.pid"
    while not (state.exists() and "ready" in state.read_text()):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()[-1000:]}")
        time.sleep(0.05)
