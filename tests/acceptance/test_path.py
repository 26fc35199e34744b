"""The path of one alert stays short, and the map of the code in CONTRIBUTING.md follows it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CODE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## The code\n")[2].partition("\n## ")[0]
STEPS = ["submit", "approve", "plan", "send", "settle"]
#: As `ops/path` printed, and 1 % for what a busy machine adds. Lower both when the path becomes shorter. If a change needs more, raise them
#: in its commit and say why.
MOST = {"files": 102, "functions": 749}


@pytest.fixture(scope="module")
def path() -> dict[str, Any]:
    """What `ops/path --json` prints."""
    command = [sys.executable, str(ROOT / "ops" / "path.py"), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_path_does_not_grow(path: dict[str, Any]):
    assert {name: most for name, most in MOST.items() if path[name] > most} == {}


def test_each_step_is_seen(path: dict[str, Any]):
    """No step is empty, and the sums are of different files and functions."""
    assert list(path["steps"]) == STEPS
    for step in path["steps"].values():
        assert len(set(step["opened"])) == step["files"] <= step["functions"]
    opened = {file for step in path["steps"].values() for file in step["opened"]}
    assert len(opened) == path["files"]
    assert max(step["functions"] for step in path["steps"].values()) < path["functions"]
    assert path["functions"] < sum(step["functions"] for step in path["steps"].values())


def test_the_map_names_files_on_the_path(path: dict[str, Any]):
    """CONTRIBUTING.md has each step, and each file that it names there is one that the alert passes in that step."""
    parts = re.split(r"^\*\*(\w+)\*\*$", CODE.partition("\nLater, ")[0], flags=re.MULTILINE)[1:]
    named = {
        step.lower(): re.findall(r"\]\(([^)]+\.py)\)", text) for step, text in zip(parts[::2], parts[1::2], strict=True)
    }
    assert list(named) == STEPS
    for step, files in named.items():
        assert 3 <= len(files) <= 4, step
        assert [file for file in files if file not in path["steps"][step]["opened"]] == [], step


def test_links_to_code_say_where_they_lead():
    """The text of a link to a source file is its path, so that a file that moves takes its name along."""
    links = re.findall(r"\[([^\]]+)\]\(([^)]+\.(?:py|lua))\)", CODE)
    assert links
    assert [link for link in links if link[0] != link[1] or not (ROOT / link[1]).is_file()] == []
