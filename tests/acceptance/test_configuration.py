"""A configuration file counts in every process of an installation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alertd.runtime.sandbox import sandbox_carriers
from tests.acceptance.configured import Configured, in_toml
from tests.acceptance.conftest import Served

MARIA = {
    "languages": ["es"],
    "kinds": ["missing-child"],
    "places": {"home": {"point": [-5.9845, 37.3891]}},
    "addresses": [{"channel": "mail", "mailbox": "maria@mail.example"}],
    "consent": {"at": "2026-01-10T12:00:00Z", "source": "app"},
}
ELSEWHERE = '[carriers.relay]\nkind = "smtp"\nhost = "mail.nowhere.example"\nsender = "a@b.example"\n'


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Configured]:
    """An installation whose carriers, the sandbox's, stand in its file alone. The sandbox was started in another folder."""
    sandbox = subprocess.Popen([sys.executable, "-m", "alertd", "sandbox", "--directory", "sandbox"], cwd=tmp_path)
    served = Configured(tmp_path, 0)
    ready = tmp_path / "sandbox" / "sandbox.json"
    served.wait_for(ready.exists)
    tables = {
        f"carriers.{name}": in_toml(table) for name, table in sandbox_carriers(json.loads(ready.read_text())).items()
    }
    tables |= {"store": in_toml({"directory": str(tmp_path)}), "api": in_toml({"port": 0})}
    tables["audience"] = in_toml({"least_people": 1})
    (tmp_path / "alertd.toml").write_text("".join(f"[{name}]\n{table}" for name, table in tables.items()))
    served.start()
    yield served
    assert served.stop() == 0
    sandbox.terminate()
    sandbox.wait(30)


def test_workers_send_through_the_carriers_of_the_file(configured: Configured, alert: dict[str, Any]):
    """A file that `--config` names reaches the workers, which are processes of their own: two at least, where it names no number."""
    assert len(configured.workers()) >= 2
    status, answer = configured.call("PUT", "/v1/subscribers/maria", MARIA)
    assert status in {200, 201}, answer
    alert_id = configured.approved(alert)
    configured.wait_for(lambda: configured.progress(alert_id)["state"] == "sent")
    assert configured.recorded("mail") == {"maria@mail.example": 1}


def test_sandbox_replaces_the_carriers_of_the_file(installation: Callable[..., Served], tmp_path: Path):
    """With `--sandbox` no process has a carrier that the file names: nobody outside is told by a trial."""
    file = tmp_path / "alertd.toml"
    file.write_text(ELSEWHERE, encoding="utf-8")
    served = installation(30, ALERTD_CONFIG=str(file))
    status, answer = served.call("GET", "/v1/carriers")
    names = {"sandbox-push", "sandbox-webpush", "sandbox-sms", "sandbox-mail"}
    assert {carrier["name"] for carrier in answer["carriers"]} == names, status
    with urllib.request.urlopen(f"{served.metrics}/metrics", timeout=30) as metrics:  # of all processes, workers too
        shown = set(re.findall(r'alertd_limit_rate\{.*carrier="([^"]+)"', metrics.read().decode()))
    assert shown == names
