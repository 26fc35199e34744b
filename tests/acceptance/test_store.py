"""The store from outside: a full disk, one that is gone, another's server, other keys."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis import Redis as Blocking
from redis.asyncio import Redis

from tests.acceptance.conftest import STORE_KEYS, Served, first_key, start
from tests.ports import free_port
from tests.unit.alertd.samples import SUBSCRIBER


def test_full_disk_refuses_writes_and_nothing_else(installation: Callable[..., Served], alert: dict[str, Any]):
    """Below the reserve, writes get 503 with Retry-After and leave nothing; reads go on, and it is not ready."""
    served = installation(0, ALERTD_STORE__RESERVE_MB=str(2**40))
    for method, path, body in (("PUT", "/v1/subscribers/a", SUBSCRIBER), ("POST", "/v1/alerts", alert)):
        status, answer = served.call(method, path, body)
        assert (status, answer["type"]) == (503, "/problems/store-unavailable")
    assert served.call("GET", "/v1/subscribers/a")[0] == 404
    assert served.call("GET", "/v1/alerts")[1]["alerts"] == []
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"{served.url}/readyz", timeout=10)
    assert refusal.value.code == 503
    refusal.value.close()


def test_store_that_dies_comes_back(installation: Callable[..., Served]):
    """`kill -9` of the store's server: it is started again, and what was acknowledged is there."""
    served = installation(0)
    assert served.call("PUT", "/v1/subscribers/kept", SUBSCRIBER)[0] == 201
    server = int((served.directory / "server.lock").read_text().split()[0])
    os.kill(server, signal.SIGKILL)
    served.wait_for(lambda: served.call("GET", "/v1/subscribers/kept")[0] == 200)
    assert served.stop() == 0


def test_nothing_that_people_wrote_can_be_read_from_the_disk(
    installation: Callable[..., Served], alert: dict[str, Any]
):
    """Reasons, names of staff and ids of cases are sealed in the store's files, which nobody else on the machine may open."""
    served = installation(300)
    alert = {**alert, "external_id": "cms-4711", "target": {"regions": ["41091"]}}
    alert_id = served.approved(alert)
    reason = "Lucía was found at her aunt's"
    assert served.call("POST", f"/v1/alerts/{alert_id}/cancel", {"reason": reason})[1]["reason"] == reason
    listed = served.call("GET", "/v1/alerts?external_id=cms-4711")[1]["alerts"][0]
    assert (listed["author"], listed["approver"]) == (alert["author"]["subject"], "bea@centre.example")
    assert served.stop() == 0
    written = b"".join(file.read_bytes() for file in (served.directory / "appendonlydir").iterdir())
    assert alert_id.encode() in written
    for text in (reason, "aunt", "centre.example", "cms-4711", alert["case"]["number"]):
        assert text.encode() not in written
    store = [served.directory, served.directory / "appendonlydir", *(served.directory / "appendonlydir").iterdir()]
    assert [path for path in store if path.stat().st_mode & 0o077] == []


def test_the_first_key_is_in_a_file_of_its_own_where_no_terminal_is(tmp_path: Path):
    """A journal keeps what a service prints, so the first start prints the name of the file alone. The file has the key, as a shell takes it, and the
    sign-in; only the service's user reads it. The next start has no key to tell.
    """
    data = tmp_path / "data"
    environment = {"ALERTD_STORE__DIRECTORY": str(data), "ALERTD_API__PORT": "0"}
    environment |= {"ALERTD_SIGN_IN__CODE_MINUTES": "10"}
    said = [until_stopped(environment, tmp_path / "errors") for _ in range(2)]
    file = data / "first-key"
    assert f"The administrator's key and first sign-in are in {file}, " in said[0]
    assert "alertd keys recover" in said[1]
    assert file.stat().st_mode & 0o777 == 0o600
    key, sign_in = file.read_text().splitlines()
    assert re.fullmatch(r"export ALERTD_KEY=live_\w{12}_[\w-]{43}", key)
    assert re.fullmatch(r"# .* once and within 10 minutes: http\S+#/enrol/\S+", sign_in)
    secret, code = key.partition("=")[2], sign_in.rpartition("/")[2]
    files = [one for one in data.rglob("*") if one.is_file() and one != file]
    told = [*said, (tmp_path / "errors").read_text(), *(one.read_bytes().decode("latin-1") for one in files)]
    assert [one for one in told if secret in one or code in one or "live_" in one] == []


def test_a_first_key_that_no_file_takes_is_made_anew_by_hand(tmp_path: Path):
    """The start goes on, and says what to run: the key that nobody saw is worth nothing."""
    data = tmp_path / "data"
    (data / "first-key" / "in the way").mkdir(parents=True)
    environment = {"ALERTD_STORE__DIRECTORY": str(data), "ALERTD_API__PORT": "0"}
    said = until_stopped(environment, tmp_path / "errors")
    assert f"could not be written to {data / 'first-key'} (" in said
    assert "run alertd keys recover on this machine" in said
    assert "live_" not in said


def test_a_service_whose_words_nobody_takes_is_at_work(tmp_path: Path):
    """Its log goes to a disk that is full, and then its standard output, too. At the first start only that has a key to tell."""
    port, full = free_port(), Path("/dev/full")
    environment = {"ALERTD_STORE__DIRECTORY": str(tmp_path / "data"), "ALERTD_API__PORT": str(port)}
    assert "first-key" in until_stopped(environment, full)
    with full.open("w") as nobody:
        command = [sys.executable, "-m", "alertd", "serve"]
        again = subprocess.Popen(command, env={**os.environ, **environment}, stdout=nobody, stderr=nobody)
    deadline = time.monotonic() + 60
    while not _is_ready(port):
        assert again.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) in {0, 120}  # Python's own, where it could not write what was left


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until_stopped(environment: dict[str, str], errors: Path) -> str:
    """What `alertd serve` writes to standard output from its start to SIGTERM, sent once it is at work."""
    process = start("serve", environment, errors)
    assert process.stdout is not None
    said = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    said += process.stdout.read()
    assert process.wait(60) == 0
    process.stdout.close()
    return said


def test_store_of_ones_own(valkey: str, tmp_path: Path):
    """`store.url`: API and worker share it, a weaker promise is told, and other keys are refused."""
    environment = {"ALERTD_STORE__URL": valkey, "ALERTD_API__PORT": "0", **STORE_KEYS}
    environment |= {"ALERTD_STORE__DIRECTORY": str(tmp_path / "data")}
    api = start("api", environment, tmp_path / "api")
    worker = start("worker", environment, tmp_path / "worker")
    assert api.stdout is not None
    assert worker.stdout is not None
    said = api.stdout.readline()
    assert "listens on" in said
    url = said.split()[-1]
    with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
        assert answer.status == 200
    for process in (api, worker):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()
    assert "appendfsync everysec" in (tmp_path / "api").read_text()
    other = {**environment, "ALERTD_STORE__MASTER_KEY": base64.b64encode(b"x" * 32).decode()}
    refused = start("worker", other, tmp_path / "other")
    assert refused.stdout is not None
    assert refused.wait(60) == 1
    refused.stdout.close()
    assert "other keys" in (tmp_path / "other").read_text()
    without = start("api", {"ALERTD_STORE__URL": valkey}, tmp_path / "without")
    assert without.stdout is not None
    assert without.wait(60) == 1
    without.stdout.close()
    assert "store.master_key" in (tmp_path / "without").read_text()


async def test_a_store_of_ones_own_that_is_nearly_full(valkey: str, tmp_path: Path):
    """What is new is refused while there is still room to stop everything; with more memory it is taken again."""
    environment = {"ALERTD_STORE__URL": valkey, "ALERTD_API__PORT": "0", **STORE_KEYS}
    api = start("api", {**environment, "ALERTD_STORE__DIRECTORY": str(tmp_path / "data")}, tmp_path / "api")
    assert api.stdout is not None
    url, _ = api.stdout.readline().split()[-1], api.stdout.readline()
    key = first_key(str(tmp_path / "data" / "first-key"))
    try:
        async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {key}"}) as session:
            async with Redis.from_url(valkey) as store:
                for i in range(128):  # 32 MB, of which the last percents are room enough
                    await store.set(f"filled-{i}", os.urandom(256 * 1024))
                await store.config_set("maxmemory", int((await store.info("memory"))["used_memory"] / 0.96))
                await until_told(session, 503)
                async with session.put("/v1/subscribers/a", json=SUBSCRIBER) as answer:
                    assert (answer.status, (await answer.json())["type"]) == (503, "/problems/store-unavailable")
                async with session.post("/v1/stop", json={"reason": "a key is in the wrong hands"}) as answer:
                    assert (answer.status, (await answer.json())["stopped"]) == (200, True)
                await store.config_set("maxmemory", 0)
                await until_told(session, 200)
            async with session.put("/v1/subscribers/a", json=SUBSCRIBER) as answer:
                assert answer.status == 201
    finally:
        api.send_signal(signal.SIGTERM)
        assert api.wait(60) == 0
        api.stdout.close()


async def test_a_lone_worker_says_how_it_is(valkey: str, tmp_path: Path):
    """Where it shows its series it says, too, that it lives and whether its store takes writes: whatever runs it asks nobody else."""
    where = tmp_path / "w"
    environment = {"ALERTD_STORE__URL": valkey, "ALERTD_WORKER__METRICS": f"unix:{where}", **STORE_KEYS}
    worker = start("worker", environment, tmp_path / "worker")
    try:
        while not where.exists():
            assert worker.poll() is None, (tmp_path / "worker").read_text()
            await asyncio.sleep(0.05)
        async with aiohttp.ClientSession("http://worker", connector=aiohttp.UnixConnector(str(where))) as session:
            assert await told(session, "/healthz") == (200, "ok")
            assert await told(session, "/readyz") == (200, "ready")
            assert (await told(session, "/metrics"))[0] == 200
            async with Redis.from_url(valkey) as store:
                await store.replicaof("127.0.0.1", 1)  # another took its place: it answers, and takes nothing
                assert (await told(session, "/readyz"))[0] == 503
                await store.replicaof("NO", "ONE")
                await store.config_set("maxmemory", 1)
                assert (await told(session, "/readyz"))[0] == 503
                await store.config_set("maxmemory", 0)
                assert await told(session, "/readyz") == (200, "ready")
                await store.shutdown(nosave=True)
            assert await told(session, "/healthz") == (200, "ok")
            assert (await told(session, "/readyz"))[0] == 503
    finally:
        worker.kill()
        worker.wait(60)
        assert worker.stdout is not None
        worker.stdout.close()


def test_a_store_that_is_away_is_logged_once_a_second(valkey: str, tmp_path: Path):
    """A worker meets it dozens of times a second, and an operator has to read the rest of the log."""
    where = tmp_path / "w"
    environment = {"ALERTD_STORE__URL": valkey, "ALERTD_WORKER__METRICS": f"unix:{where}", **STORE_KEYS}
    worker = start("worker", environment, tmp_path / "worker")
    assert worker.stdout is not None
    while not where.exists():
        assert worker.poll() is None, (tmp_path / "worker").read_text()
        time.sleep(0.05)

    def said() -> list[dict[str, Any]]:
        lines = [json.loads(one) for one in (tmp_path / "worker").read_text().splitlines()]
        return [one for one in lines if one["event"] == "store.found_unavailable"]

    with Blocking.from_url(valkey) as store:
        store.shutdown(nosave=True)
    deadline = time.monotonic() + 60
    while len(said()) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    worker.stdout.close()
    moments = [datetime.fromisoformat(one["at"]) for one in said()]
    assert min(after - before for before, after in pairwise(moments)) > timedelta(seconds=0.9)
    assert sum(one.get("more", 0) for one in said()) > 10, "what was left out is counted"


async def until_told(session: aiohttp.ClientSession, status: int) -> None:
    """Until it says so of itself."""
    async with asyncio.timeout(30):
        while (await told(session, "/readyz"))[0] != status:  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.05)


async def told(session: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    """What a worker answers."""
    async with session.get(path) as answer:
        return answer.status, (await answer.text()).strip()
