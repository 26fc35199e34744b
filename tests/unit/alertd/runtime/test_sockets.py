"""The folder of a service's sockets: its own while it lives, and gone after it, however it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alertd.runtime.processes import PREFIX, StartError, socket_folder

HOLDS = "from alertd.runtime.processes import socket_folder\nwith socket_folder() as f:\n    print(f, flush=True)\n    input()"


@pytest.fixture
def below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the machine."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def holder(below: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS], env={**os.environ, "TMPDIR": str(below)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_gone_after_an_end_in_order(below: Path):
    """Nothing is left of it."""
    with socket_folder() as folder:
        assert folder.parent == below
    assert list(below.iterdir()) == []


def test_what_a_killed_one_left_is_removed_at_the_next_start(below: Path):
    """Its folder with all in it, and nothing of one that lives or of somebody else."""
    killed, left = holder(below)
    living, kept = holder(below)
    (left / "worker-0.sock").touch()
    strange = [below / f"{PREFIX}no-lock", below / "alertd-else"]
    for folder in strange:
        folder.mkdir()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    with socket_folder() as folder:
        assert set(below.iterdir()) == {folder, kept, *strange}
    living.communicate("\n", timeout=30)
    assert set(below.iterdir()) == set(strange)


def test_a_machine_without_one_is_told_in_words(below: Path, monkeypatch: pytest.MonkeyPatch):
    """As a container that may write nowhere but its data."""
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(below / "there is none")])
    with pytest.raises(StartError, match="TMPDIR"), socket_folder():
        pass
