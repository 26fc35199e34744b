"""An SMS centre in node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from channels.sandbox.authority import make_authority

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / ".cache" / "peers" / "node_modules" / "smpp"


@pytest.fixture
def environment():
    """What the centre is told by its environment."""
    return {}


@pytest.fixture(params=["tls", "plain"])
def node(request, tmp_path, environment):
    """node-smpp in a process of its own: (settings to reach it, a function that reads what it printed)."""
    program = shutil.which("node")
    assert program, "node is missing: apt-get install nodejs npm"
    assert LIBRARY.exists(), "node-smpp is missing: run ops/test"
    authority = make_authority(tmp_path)
    tls = [authority.certificate_file, authority.key_file] if request.param == "tls" else []
    output = tmp_path / "node.ndjson"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [program, ROOT / "ops/bench/smsc.js", LIBRARY, *tls], stdout=out, env=os.environ | environment
        )
    try:
        deadline = time.monotonic() + 60
        while b"\n" not in output.read_bytes():
            assert time.monotonic() < deadline, "node did not start"
            time.sleep(0.02)
        rows = lambda: [json.loads(line) for line in output.read_text().splitlines()[1:]]  # noqa: E731
        port = json.loads(output.read_text().splitlines()[0])["port"]
        yield {"port": port, "tls": bool(tls), "ca_file": str(authority.ca_file)}, rows
    finally:
        process.terminate()
        process.wait(10)
