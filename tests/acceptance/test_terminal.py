"""What the person at the terminal is told while nothing else is to be seen: a start, a stop, and what was said in vain."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sampling import sampled

#: How long an idle installation may take to stop on a busy machine; its loops of five seconds must not be waited for.
PROMPT_S = 4.0


def alertd(*words: str, directory: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(directory), "ALERTD_API__PORT": "0"}
    command = [sys.executable, "-m", "alertd", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.alone
def test_start_and_stop_are_told_at_once(tmp_path: Path):
    """Starting before anything is loaded, stopping at the first Ctrl-C; an idle installation then does not dawdle."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(tmp_path / "data"), "ALERTD_API__PORT": "0"}
    command = [sys.executable, "-m", "alertd", "serve"]
    process = subprocess.Popen(command, env=environment, stdout=theirs, stderr=subprocess.DEVNULL)
    with os.fdopen(ours, newline="\r\n", encoding="utf-8") as terminal:
        assert terminal.readline() == "Starting alertd…\r\n"
        assert terminal.readline().startswith("alertd listens on http://127.0.0.1:")
        assert terminal.readline().startswith("The administrator's key")
        assert terminal.readline().startswith("To sign in as administrator, once")
        assert terminal.readline().startswith("Metrics are at http://127.0.0.1:")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert terminal.readline() == "Stopping; Ctrl-C again stops at once\r\n"
        assert process.wait(60) == 0
        assert time.monotonic() - began < PROMPT_S
    os.close(theirs)


@pytest.mark.parametrize(
    "words",
    sampled(
        [(["serve"],), (["api"],), (["worker"],), (["check"],), (["alerts", "list"],), (["carriers", "list"],)],
        lambda words: words in (["serve"], ["alerts", "list"]),
    ),
)
def test_every_command_takes_the_configuration_after_its_name(tmp_path: Path, words: list[str]):
    """It is where people write it; before the name it stands as well."""
    file = str(tmp_path / "none.toml")
    for said in ([*words, "--config", file], ["--config", file, *words]):
        _, errors = alertd(*said, directory=tmp_path / "data").communicate(timeout=60)
        assert errors == f"alertd: there is no configuration file {file}\n"


def test_a_terminal_that_knows_few_letters_is_told_the_others(tmp_path: Path):
    """Such as one of ISO 8859-1: what it cannot show is a question mark, and what was asked for is told."""
    file = tmp_path / "Łódź.toml"
    file.write_text("")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "ALERTD_STORE__DIRECTORY": str(tmp_path / "data")}
    command = [sys.executable, "-m", "alertd", "check", "--config", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    assert "?ód?.toml".encode("latin-1") in done.stdout
    assert b"carriers" in done.stdout


def test_sample_people_need_the_sandbox(tmp_path: Path):
    """Real carriers would be asked to reach people who do not exist."""
    process = alertd("serve", "--people", "10", directory=tmp_path / "data")
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert errors.startswith("alertd: --people makes sample people")
    assert not (tmp_path / "data").exists()
