"""A copy of the embedded store that is made while it runs is a whole store, and what is no whole copy is not put back."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PosixPath

import msgspec
import pytest

from alertd.store.embedded import backups
from alertd.store.embedded.backups import Backup, BackupError, Mark
from alertd.store.embedded.server import EmbeddedServer
from alertd.store.engine.codec import Codec, Keys
from alertd.store.master_key.schema import SCHEMA_VERSION
from tests.integration.store.embedded import client_of, settings, write

MADE = datetime(2026, 11, 24, tzinfo=UTC)
PUT_BACK = 1_800_000_000_000


def make(directory: Path, to: Path, codec: Codec) -> Backup:
    return backups.make(directory, to, codec, made=MADE, version="1")


@pytest.fixture
async def copy(tmp_path: Path, codec: Codec) -> Path:
    """A copy of a store with one value, and of a region of one's own."""
    async with EmbeddedServer(settings(tmp_path / "data")) as server, client_of(server) as client:
        await client.set("kept", "yes")
        (tmp_path / "data" / "regions").mkdir()
        (tmp_path / "data" / "regions" / "town.regions").write_bytes(b"town")
        make(tmp_path / "data", tmp_path / "copy", codec)
    return tmp_path / "copy"


async def test_a_copy_holds_what_was_acknowledged_before_it(tmp_path: Path, codec: Codec):
    """Whatever is written and rewritten meanwhile; each of many copies can be put back."""
    data, acknowledged = tmp_path / "data", list[str]()
    async with EmbeddedServer(settings(data)) as server, client_of(server) as client:

        async def busy() -> None:
            for first in range(0, 100_000, 100):
                acknowledged.extend(await write(client, first, 100))

        writing, wanted = asyncio.create_task(busy()), []
        for n in range(5):
            await client.bgrewriteaof() if not (await client.info("persistence"))["aof_rewrite_in_progress"] else None
            wanted.append(set(acknowledged))
            await asyncio.to_thread(make, data, tmp_path / f"copy-{n}", codec)
        writing.cancel()
    for n, names in enumerate(wanted):
        there = tmp_path / f"data-{n}"
        there.mkdir()
        backups.put_back(
            tmp_path / f"copy-{n}", there, backups.read_backup(tmp_path / f"copy-{n}", codec), now_ms=PUT_BACK
        )
        async with EmbeddedServer(settings(there)) as server, client_of(server) as client:
            assert names <= {*await client.keys("*")}


async def test_a_copy_leaves_the_store_its_room(tmp_path: Path, codec: Codec):
    """On the store's own disk what is kept free for it stays free: a copy that fills it ends the store. Nothing is left of one that is refused."""
    data, to = tmp_path / "data", tmp_path / "copy"
    async with EmbeddedServer(settings(data)):
        reserve = shutil.disk_usage(data).free + 1
        with pytest.raises(BackupError, match=r"no room .*store\.reserve_mb"):
            backups.make(data, to, codec, made=MADE, version="1", reserve_bytes=reserve)
        assert not to.exists()
        make(data, to, codec)


async def test_half_a_copy_is_not_left(tmp_path: Path, codec: Codec):
    """It is no copy, and might have all the room that the store had left."""
    data, to = tmp_path / "data", tmp_path / "copy"
    async with EmbeddedServer(settings(data)) as server, client_of(server) as client:
        for number in range(16):
            await client.set(f"key:{number}", "x" * 1_000_000)
        most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, most[1]))  # as a disk that fills up meanwhile
        try:
            with pytest.raises(BackupError, match="cannot be copied"):
                make(data, to, codec)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert not to.exists()


class SeenTogether(PosixPath):
    """A folder that two look into at the same moment."""

    both = threading.Barrier(2)

    def iterdir(self) -> Iterator[Path]:
        found = list(super().iterdir())
        self.both.wait(60)
        return iter(found)


async def test_two_that_copy_to_one_place_at_once_leave_one_copy(tmp_path: Path, codec: Codec):
    """The one by hand and the one by the clock: what is left is whole, and whoever was second is told."""
    data, to, back = tmp_path / "data", SeenTogether(tmp_path / "copy"), tmp_path / "back"
    to.mkdir()
    back.mkdir()
    async with EmbeddedServer(settings(data)) as server, client_of(server) as client:
        await client.set("a", b"x" * 4_000_000)
        tries = [asyncio.to_thread(make, data, to, codec) for _ in range(2)]
        one, other = sorted(
            await asyncio.gather(*tries, return_exceptions=True), key=lambda each: isinstance(each, Backup)
        )
    assert isinstance(one, BackupError)
    assert isinstance(other, Backup)
    backups.put_back(tmp_path / "copy", back, backups.read_backup(tmp_path / "copy", codec), now_ms=PUT_BACK)


async def test_it_is_put_back_whole_and_marked(copy: Path, tmp_path: Path, codec: Codec):
    """With the regions of one's own, for its owner alone; the next start is told when the copy was made and put back, once."""
    there = tmp_path / "there"
    there.mkdir()
    backup = backups.read_backup(copy, codec)
    assert (backup.made, backup.schema) == (MADE.isoformat(), SCHEMA_VERSION)
    backups.put_back(copy, there, backup, now_ms=PUT_BACK)
    assert (there / "regions" / "town.regions").read_bytes() == b"town"
    assert {file.stat().st_mode & 0o077 for file in there.rglob("*")} == {0}
    assert backups.marked(there) == Mark(made=MADE.isoformat(), put_back=PUT_BACK)
    (there / backups.MARK).write_bytes(b'{"made":"then"}')  # as an alertd of before wrote it
    os.utime(there / backups.MARK, (1_700_000_000, 1_700_000_000))
    assert backups.marked(there) == Mark(made="then", put_back=1_700_000_000_000)
    backups.settled(there)
    assert backups.marked(there) is None
    async with EmbeddedServer(settings(there)) as server, client_of(server) as client:
        assert await client.get("kept") == "yes"


async def test_a_damaged_copy_is_not_put_back(copy: Path, tmp_path: Path, codec: Codec):
    """One byte changed, one more, one less, or a file that is gone: nothing is written."""
    there, backup = tmp_path / "there", backups.read_backup(copy, codec)
    there.mkdir()
    for name in backup.files:
        whole = (copy / name).read_bytes()
        for damaged in (bytes([whole[0] ^ 1]) + whole[1:], whole + b"\n", whole[:-1]):
            (copy / name).write_bytes(damaged)
            with pytest.raises(BackupError, match="differs from the copied file"):
                backups.put_back(copy, there, backup, now_ms=PUT_BACK)
        (copy / name).unlink()
        with pytest.raises(BackupError, match="cannot be put back"):
            backups.put_back(copy, there, backup, now_ms=PUT_BACK)
        (copy / name).write_bytes(whole)
        assert list(there.iterdir()) == []


async def test_what_a_copy_says_of_itself_is_checked(copy: Path, tmp_path: Path, codec: Codec):
    """Other keys, a changed word, another schema, no copy at all: each is refused in words."""
    with pytest.raises(BackupError, match="other keys"):
        backups.read_backup(copy, Codec(Keys(master=b"x" * 32, hashing=b"h" * 32)))
    said = (copy / backups.NAME).read_bytes()
    (copy / backups.NAME).write_bytes(said.replace(b'"schema":', b'"schema":1'))
    with pytest.raises(BackupError, match="changed since"):
        backups.read_backup(copy, codec)
    made = make(tmp_path / "data", tmp_path / "other", codec)
    for schema, words in (SCHEMA_VERSION + 1, "run the newer alertd"), (SCHEMA_VERSION - 1, "run the older alertd"):
        other = msgspec.structs.replace(made, schema=schema)
        (copy / backups.NAME).write_bytes(
            msgspec.json.encode(backups._Sealed(backup=other, seal=backups._seal(other, codec)))
        )
        with pytest.raises(BackupError, match=words):
            backups.read_backup(copy, codec)
    shutil.rmtree(copy)
    with pytest.raises(BackupError, match="holds no backup"):
        backups.read_backup(copy, codec)


async def test_nothing_is_written_over(copy: Path, tmp_path: Path, codec: Codec):
    """Neither a store, nor regions, nor another copy; and where there is no store nothing is copied."""
    with pytest.raises(BackupError, match="holds appendonlydir"):
        backups.put_back(copy, tmp_path / "data", backups.read_backup(copy, codec), now_ms=PUT_BACK)
    with pytest.raises(BackupError, match="is not empty"):
        make(tmp_path / "data", copy, codec)
    with pytest.raises(BackupError, match="holds no store"):
        make(tmp_path, tmp_path / "another", codec)
