"""Starts that cannot be, and stops at any moment: one sentence on standard error, exit code 1, and nothing left running."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Served
from tests.sampling import sampled

KEY = base64.b64encode(b"k" * 32).decode()
WITH_KEYS = {"ALERTD_STORE__MASTER_KEY": KEY, "ALERTD_STORE__HASH_KEY": KEY}


def left_of(directory: Path) -> list[int]:
    """The processes of an installation: its directory is in their command line or their environment."""
    return [pid for pid in pids() if str(directory).encode() in told(pid, "cmdline") + told(pid, "environ")]


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and entry.name != "self"]


def told(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def started(directory: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`alertd` with these arguments on this directory."""
    environment = {
        "ALERTD_STORE__DIRECTORY": str(directory), "ALERTD_API__PORT": "0", **os.environ, **environment,
    }  # fmt: skip
    command = [sys.executable, "-m", "alertd", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def refused(process: subprocess.Popen[str], directory: Path) -> str:
    """The one sentence on standard error beside the log, of a process that must end with 1 and leave nothing running."""
    _, errors = process.communicate(timeout=90)
    sentences = [line for line in errors.splitlines() if not line.startswith("{")]
    assert process.returncode == 1, errors
    assert len(sentences) == 1, errors
    assert sentences[0].startswith("alertd: ")
    assert left_of(directory) == []
    return sentences[0]


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def listens(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, int(port)), 5):
        return True
    return False


def in_flight(served: Served, alert_id: str) -> int:
    push: dict[str, int] = served.progress(alert_id)["channels"].get("push", {})
    return push.get("in_flight", 0)


def has_child(process: subprocess.Popen[str], word: str) -> bool:
    children = told(process.pid, f"task/{process.pid}/children").split()
    return any(word.encode() in told(int(child), "cmdline") for child in children)


#: How far a start has come, from what can be seen of it.
MOMENTS: dict[str, Callable[[subprocess.Popen[str], Path], bool]] = {
    "store": lambda _, directory: (directory / "server.sock").exists(),
    "sandbox": lambda process, _: has_child(process, "sandbox"),
    "people": lambda _, directory: (directory / "sandbox" / "sandbox.json").exists(),
    "workers": lambda process, _: has_child(process, "worker"),
}


@pytest.mark.parametrize(
    ("moment", "number"),
    sampled(
        [
            ("store", signal.SIGTERM),
            ("sandbox", signal.SIGINT),
            ("people", signal.SIGTERM),
            ("workers", signal.SIGINT),
        ],
        lambda moment, _number: moment in {"store", "workers"},
    ),
)
def test_stop_in_the_middle_of_a_start(tmp_path: Path, moment: str, number: signal.Signals):
    """Whatever was started by then is ended."""
    process = started(tmp_path, "serve", "--sandbox", "--people", "3000")
    until(lambda: process.poll() is not None or MOMENTS[moment](process, tmp_path))
    process.send_signal(number)
    assert refused(process, tmp_path) == "alertd: stopped before it was ready"


def test_second_ctrl_c_does_not_wait(installation: Callable[..., Served], alert: dict[str, Any]):
    """The first waits for what was asked of a carrier, here one that never answers; the second ends everything at once."""
    served = installation(500)
    served.control("push", {"rules": [{"prefix": "", "do": "stall", "delay_s": 600}]})
    alert_id = served.approved({**alert, "channels": ["push"]})
    served.wait_for(lambda: in_flight(served, alert_id) > 0)
    served.process.send_signal(signal.SIGINT)
    served.wait_for(lambda: not listens(served.url))
    assert served.process.poll() is None
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(10) == 1
    assert served.ended() == 1
    assert left_of(served.directory) == []


def test_open_stream_does_not_hold_up_the_end(installation: Callable[..., Served], alert: dict[str, Any]):
    """Whoever watches an alert that nobody approves is told no more, in order, and so does the service end."""
    served = installation(100)
    status, taken = served.call("POST", "/v1/alerts", alert, served.person("ana@centre.example"))
    assert status == 202, taken
    headers = {"Authorization": f"Bearer {served.key}", "Accept": "text/event-stream"}
    request = urllib.request.Request(f"{served.url}/v1/alerts/{taken['id']}/progress", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as stream:
        assert stream.readline().startswith(b"event: ")
        served.process.send_signal(signal.SIGTERM)
        served.wait_for(lambda: not listens(served.url))
        served.process.send_signal(signal.SIGTERM)  # no second Ctrl-C: the kernel may send several
        stream.read()  # raises IncompleteRead of one that is broken off
        assert served.process.wait(30) == 0
    served.ended()
    assert left_of(served.directory) == []


def test_port_in_use_is_told_before_anything_is_loaded(tmp_path: Path):
    """The address is named."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = refused(started(tmp_path, "serve", "--sandbox", ALERTD_API__PORT=port), tmp_path)
    assert f"127.0.0.1:{port}" in said
    assert not (tmp_path / "sandbox").exists()


def test_directory_in_use_is_told_and_left_alone(installation: Callable[..., Served]):
    """The process that has it is named, and goes on."""
    served = installation(0)
    before = left_of(served.directory)
    second = started(served.directory, "serve")
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert [line for line in errors.splitlines() if f"pid {served.process.pid}" in line] == errors.splitlines()
    assert left_of(served.directory) == before
    assert served.call("GET", "/v1/me")[0] == 200


@pytest.mark.parametrize(
    ("command", "environment", "says"),
    [
        ("serve", {"ALERTD_STORE__DIRECTORY": "/proc/version/data"}, "store.directory"),
        ("api", {}, "store.url is needed"),
        ("worker", {}, "store.url is needed"),
        ("api", {"ALERTD_STORE__URL": "unix:///nowhere/s", **WITH_KEYS}, "No such file or directory"),
        ("api", {"ALERTD_STORE__URL": "rediss://x?ssl_ca_cert=y", **WITH_KEYS}, "options that there are"),
        ("api", {"ALERTD_STORE__URL": "valkey at home", **WITH_KEYS}, "redis://, rediss:// or unix://"),
        ("worker", {"ALERTD_STORE__URL": "unix:///s", **WITH_KEYS, "ALERTD_STORE__HASH_KEY": "YQ=="}, "32 bytes"),
        (
            "serve",
            {"ALERTD_CARRIERS": json.dumps({"app": {"kind": "fcm", "credentials": "/nowhere/account.json"}})},
            "carriers.app.credentials: there is no file /nowhere/account.json",
        ),
    ],
)
def test_what_cannot_start_says_what_to_mend(tmp_path: Path, command: str, environment: dict[str, str], says: str):
    """Each names the option at fault, never with a traceback."""
    assert says in refused(started(tmp_path, command, **environment), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (("sandbox", "--directory", "/proc/none"), {}, "/proc/none cannot be written"),
        (
            ("keys", "list"),
            {"ALERTD_KEY_FILE": sys.executable, "ALERTD_URL": "http://127.0.0.1:1"},
            "characters that no key has",
        ),
    ],
)
def test_what_is_given_in_a_file_or_for_one_is_told_where_it_is_none(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], says: str
):
    """A folder that cannot be made, a key's file that holds none."""
    assert says in refused(started(tmp_path, *arguments, **environment), tmp_path)
