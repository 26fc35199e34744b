"""The line that a person types: the options that every command takes, the list of commands, and what a shell completes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from alertd import cli
from alertd.cli import app
from alertd.commands.base.on_demand import OnDemand
from alertd.commands.organisations import regions
from tests.unit.alertd.peers import Peer

#: Libraries of the service: each takes up to a second to load. Pydantic is not among them: typer reads some values with it.
HEAVY = {
    "aiohttp", "cryptography", "geopandas", "joserfc", "lxml", "msgspec", "numpy", "pandas", "PIL", "prometheus_client",
    "pyproj", "redis", "shapely", "uvloop",
}  # fmt: skip
LOADED = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); from alertd.cli import main; main()"


@pytest.mark.parametrize("words", [["--help"], ["alerts", "--help"], ["regions", "--help"], ["completion", "bash"]])
def test_help_loads_nothing_of_the_service(words: list[str]):
    """A person who asks for help, or whose shell starts, waits for no library of the service."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "typer" in loaded
    assert loaded & HEAVY == set()
    assert done.stdout


@pytest.mark.parametrize("group", [cli.Commands, regions.Commands])
def test_the_list_of_commands_says_what_each_says_of_itself(group: type[OnDemand]):
    """The list has its own copy of each first paragraph, so that it loads no command."""
    loaded = typer.main.get_command(app)
    commands: Any = loaded if group is cli.Commands else loaded.get_command(typer.Context(loaded), "regions")
    for name, place in group.places.items():
        command = commands.get_command(typer.Context(commands), name)
        assert " ".join(str(command.help).split("\n\n")[0].split()) == place.summary, name


@pytest.mark.parametrize("words", [["send"], ["alerts", "watch"], ["alerts", "approve"]])
def test_help_names_the_exit_code_of_an_alert_that_had_nobody_to_notify(words: list[str]):
    """A script that waits for an alert has to know it."""
    said = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
    assert "3 if there was no one to notify" in " ".join(said.split())


@pytest.mark.parametrize("where", [0, 1, 2])
def test_the_service_and_the_key_are_named_anywhere_on_the_line(peer: Peer, tmp_path: Path, where: int):
    """Before the group, between group and command, or at the end. The place nearest to the command counts."""
    url, got = peer([(200, {}, b'{"keys": []}')])
    file = tmp_path / "key"
    file.write_text("secret\n")
    words = ["keys", "list"]
    words[where:where] = ["--url", url, "--key-file", str(file)]
    done = CliRunner().invoke(app, words, env={"ALERTD_URL": "http://127.0.0.1:1", "ALERTD_KEY": "of the environment"})
    assert done.exit_code == 0, done.output
    assert [headers["Authorization"] for _, _, headers, _ in got] == ["Bearer secret"]


def test_what_is_said_last_counts(peer: Peer, tmp_path: Path):
    """An address and a key behind the command are meant for this command, whatever stands before its name."""
    url, got = peer([(200, {}, b'{"keys": []}')])
    for name in ("earlier", "later"):
        (tmp_path / name).write_text(name)
    before = ["--url", "http://127.0.0.1:1", "--key-file", str(tmp_path / "earlier")]
    done = CliRunner().invoke(app, [*before, "keys", "list", "--url", url, "--key-file", str(tmp_path / "later")])
    assert done.exit_code == 0, done.output
    assert [headers["Authorization"] for _, _, headers, _ in got] == ["Bearer later"]


def completed(line: str, **variables: str) -> list[str]:
    """What `alertd` answers to a shell that completes the last word of a line."""
    words = line.split(" ")
    asked = {"_ALERTD_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), **variables}
    command = [str(Path(sys.executable).with_name("alertd"))]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("alertd sup", ["suppressions"]),
        ("alertd alerts pau", ["pause"]),
        ("alertd --url http://127.0.0.1:1 alerts --url http://127.0.0.1:1 pau", ["pause"]),
        ("alertd alerts list --key-f", ["--key-file"]),
        ("alertd completion f", ["fish"]),
    ],
)
def test_a_shell_completes_commands_and_options(line: str, expected: list[str]):
    """Those of the line as far as it is typed, without a call to any service."""
    assert completed(line) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str):
    """The script asks `alertd` for completions; bash, which every machine of ours has, takes it and completes with it."""
    alertd = Path(sys.executable).with_name("alertd")
    script = subprocess.run(
        [alertd, "completion", shell], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert f"_ALERTD_COMPLETE=complete_{shell}" in script
    if shell == "bash":
        program = shutil.which("bash")
        assert program
        asks = "COMP_WORDS=(alertd alerts pau); COMP_CWORD=2; _alertd_completion alertd; echo ${COMPREPLY[@]}"
        path = f"{alertd.parent}:{os.environ['PATH']}"
        command = [program, "--norc", "-c", f"{script}\n{asks}"]
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.split() == ["pause"]
