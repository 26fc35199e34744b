"""The page for contributors names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
#: In capitals stands what a contributor fills in.
PATHS = {path for path in re.findall(r"`((?:\./)?[a-z]+/[^` ]+)", PAGE) if path == path.lower()}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_named_path_exists(path: str):
    assert (ROOT / path).exists()


def test_paths_are_found():
    """The check above has something to look at."""
    assert {"ops/path", "alertd/cli.py", "alertd/config/carriers.py"} <= {path.removeprefix("./") for path in PATHS}
