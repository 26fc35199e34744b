"""The command line as an operator runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.acceptance.conftest import Served


def environment(served: Served, key: str | None = None) -> dict[str, str]:
    return {
        **os.environ,
        "ALERTD_URL": served.url,
        "ALERTD_KEY": key or served.key,
        "ALERTD_STORE__DIRECTORY": str(served.directory),
    }


def alertd(
    served: Served, *words: str, key: str | None = None, given: bytes | None = None, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Runs one command to its end."""
    command = [sys.executable, "-m", "alertd", *words]
    return subprocess.run(
        command,
        env={**environment(served, key), **variables},
        input=given,
        capture_output=True,
        timeout=60,
        check=False,
    )


def done(served: Served, *words: str, key: str | None = None, given: bytes | None = None) -> Any:
    """What a command answers with --json."""
    ran = alertd(served, *words, "--json", key=key, given=given)
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)


def refused(served: Served, *words: str, key: str | None = None, given: bytes | None = None) -> str:
    """Why a command was refused: told on standard error alone."""
    ran = alertd(served, *words, key=key, given=given)
    assert ran.returncode == 1, ran.stdout.decode()
    return ran.stderr.decode()
