"""An installation of two workers whose centre allows one bind, in the processes that a user starts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from channels.sandbox.smsc import PASSWORD, SENDER, SYSTEM_ID, Habits, SmscSandbox
from tests.acceptance.configured import Configured, in_toml
from tests.acceptance.smpp_people import NUMBERS, PEOPLE, links, person
from tests.threads import in_a_thread


@pytest.fixture
def centre() -> Iterator[SmscSandbox]:
    """It works in a thread of its own."""
    running = SmscSandbox(None, Habits(receipts=False, binds=1))
    with in_a_thread(running):
        yield running


@pytest.fixture
def served(tmp_path: Path, centre: SmscSandbox) -> Iterator[Configured]:
    """With everybody registered."""
    running = Configured(tmp_path, 0)
    account = {"host": "127.0.0.1", "port": centre.port, "system_id": SYSTEM_ID, "password": PASSWORD, "sender": SENDER}
    tables = {
        "store": {"directory": str(tmp_path)}, "api": {"port": 0}, "worker": {"processes": 2},
        "carriers.centre": {"kind": "smpp", "tls": False, "rate": 20, "burst": 5, **account},
    }  # fmt: skip
    text = "".join(f"[{name}]\n{in_toml(table)}" for name, table in tables.items())
    (tmp_path / "alertd.toml").write_text(text)
    running.start()
    for n, number in enumerate(NUMBERS):
        assert running.call("PUT", f"/v1/subscribers/p{n}", person(number))[0] == 201
    yield running
    assert running.stop() == 0


def bound(served: Configured, centre: SmscSandbox) -> list[int]:
    """The workers that have a connection to the centre."""
    return [pid for pid in served.workers() if links(pid, centre.port)]


def test_the_bound_worker_is_killed_in_mid_alert(served: Configured, centre: SmscSandbox, alert: dict[str, Any]):
    """Another is let in, and everybody is told; of what it had just written nobody knows, and that is not sent again."""
    served.wait_for(lambda: any(link.takes for link in centre.links))
    alert_id = served.approved({**alert, "channels": ["sms"]})
    served.wait_for(lambda: centre.recorded.total > 2)
    while len(found := bound(served, centre)) != 1:  # the other tries, too
        pass
    os.kill(found[0], signal.SIGKILL)

    def over() -> bool:
        told = served.progress(alert_id)["channels"]["sms"]
        return bool(told.get("accepted", 0) + told.get("unknown", 0) == PEOPLE)

    served.wait_for(over)
    assert centre.recorded.total <= PEOPLE
