"""The subject of a commit is one line that every tool shows whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: The last commit before this rule.
SINCE = "0f2bbed4"
LONGEST = 72


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def subjects() -> list[str]:
    """The subjects since then, without merges."""
    try:
        known = git("cat-file", "-e", f"{SINCE}^{{commit}}").returncode == 0
    except FileNotFoundError:
        known = False
    if not known:
        pytest.skip("there is no history: a copy without git, or a shallow clone")
    return git("log", "--no-merges", "--format=%s", f"{SINCE}..HEAD").stdout.splitlines()


def test_subjects_have_at_most_72_characters(subjects: list[str]):
    """Say in the subject what changes, and in the body why."""
    assert [subject for subject in subjects if len(subject) > LONGEST] == []
