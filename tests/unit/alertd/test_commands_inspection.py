"""`alertd check` names what would keep the service from starting, and asks a store of one's own whether it is there."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from alertd.commands.inspection import inspected
from alertd.config import Settings, StoreSection

KEY = "00" * 32


def test_faults_of_an_installation_are_named_together(tmp_path: Path):
    """A store that nobody serves and regions that cannot be read are two faults, each with its words."""
    (tmp_path / "regions").mkdir()
    (tmp_path / "regions" / "town.regions").write_text("no zip")
    with socket.socket() as held:  # bound and not listening: nobody can be there
        held.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{held.getsockname()[1]}"
        section = StoreSection(url=url, directory=tmp_path, master_key=KEY, hash_key=KEY)
        found = inspected(Settings(store=section), tmp_path / "alertd.toml")
    says = {finding.part: finding.says for finding in found if not finding.ok}
    assert says.keys() == {"store", "regions"}
    assert says["store"].startswith("store.url: ")
    assert "town.regions" in says["regions"]


@pytest.mark.parametrize(
    ("section", "part", "words"),
    [
        ({"url": "redis://127.0.0.1:1"}, "store", "store.master_key"),
        ({"url": "file:///x", "master_key": KEY, "hash_key": KEY}, "store", "store.url: "),
        ({"server": "/nowhere/valkey"}, "store", "/nowhere/valkey"),
        ({"reserve_mb": 1 << 40}, "data directory", "MB free"),
    ],
)
def test_store_that_cannot_start_is_a_fault(tmp_path: Path, section: dict[str, Any], part: str, words: str):
    """Keys, address, server program and room are looked at before anything runs."""
    found = inspected(Settings(store=StoreSection(**{"directory": tmp_path, **section})), None)
    fault = next(finding for finding in found if not finding.ok)
    assert fault.part == part
    assert words in fault.says
