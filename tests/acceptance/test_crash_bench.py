"""The referee of the crash contract runs, and finds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.long]  # test_crash.py kills each process, and runs always

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_five_kills_lose_nobody():
    """A worker, the API, the store and all of them killed, and a worker stopped, at random instants of one alert."""
    command = [sys.executable, ROOT / "ops" / "bench" / "crash.py", "--quick"]
    run = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT / "ops")}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert (found["kills"], found["lost"], found["unmarked"], found["identity"]) == (5, 0, 0, True), run.stderr
    assert found["doubled"] <= found["in_flight"], run.stderr
