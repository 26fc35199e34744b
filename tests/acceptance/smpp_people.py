"""Subscribers of an SMS centre, and its connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PEOPLE = 30
NUMBERS = [f"+346{n:08d}" for n in range(PEOPLE)]


def person(number: str) -> dict[str, Any]:
    return {
        "languages": ["es"],
        "kinds": ["missing-child"],
        "places": {"home": {"point": [-5.9845, 37.3891]}},
        "addresses": [{"channel": "sms", "number": number}],
        "consent": {"at": "2026-01-10T12:00:00Z", "source": "app"},
    }


def links(pid: int, port: int) -> int:
    """How many connections a process has to a port of this machine."""
    own = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and f"socket:[{row[9]}]" in own for row in rows)
