"""An installation whose SMS goes over SMPP, in the processes that a user starts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.configured import Configured, in_toml
from tests.acceptance.smpp_people import NUMBERS, PEOPLE, links, person


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[tuple[Configured, int]]:
    """Two workers, each with two binds to a centre that takes its time, and everybody registered; the centre's port."""
    sandbox = subprocess.Popen([sys.executable, "-m", "alertd", "sandbox", "--directory", str(tmp_path / "sandbox")])
    served = Configured(tmp_path, 0)
    ready = tmp_path / "sandbox" / "sandbox.json"
    served.wait_for(ready.exists)
    centre = json.loads(ready.read_text())["smpp"]
    tables = {
        "store": {"directory": str(tmp_path)}, "api": {"port": 0}, "worker": {"processes": 2},
        "carriers.centre": {"kind": "smpp", "connections": 2, "rate": 40, "burst": 5, **centre},
    }  # fmt: skip
    text = "".join(f"[{name}]\n{in_toml(table)}" for name, table in tables.items())
    (tmp_path / "alertd.toml").write_text(text)
    served.start()
    for n, number in enumerate(NUMBERS):
        assert served.call("PUT", f"/v1/subscribers/p{n}", person(number))[0] == 201
    yield served, centre["port"]
    assert served.stop() == 0
    sandbox.terminate()
    sandbox.wait(30)


@pytest.mark.alone
def test_stop_in_mid_alert_and_everyone_else_is_delivered(bound: tuple[Configured, int], alert: dict[str, Any]):
    """Workers bind, the API does not. Whoever answers STOP while others are being told is told nothing, a second later at most;
    the others' receipts, whichever worker hears them, end the alert as delivered.
    """
    served, port = bound
    workers = served.workers()
    served.wait_for(lambda: [links(pid, port) for pid in workers] == [2, 2])
    assert links(served.process.pid, port) == 0
    alert_id = served.approved({**alert, "channels": ["sms"]})
    served.wait_for(lambda: len(served.recorded("smpp")) > 2)
    stopped = next(number for number in reversed(NUMBERS) if number not in served.recorded("smpp"))
    served.control("smpp", {"say": {"number": stopped, "text": "Baja"}})
    time.sleep(1.0)  # the promise is about this second
    got = served.recorded("smpp")
    assert len(got) < PEOPLE - 1
    assert stopped not in got
    ends = {"targeted": PEOPLE, "delivered": PEOPLE - 1, "suppressed": 1}
    served.wait_for(lambda: ends.items() <= served.progress(alert_id)["channels"]["sms"].items())
    assert set(served.recorded("smpp")) == set(NUMBERS) - {stopped}
