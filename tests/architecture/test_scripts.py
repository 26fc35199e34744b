"""Every script says what it does, what it takes and what it answers, before its first line of code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "alertd" / "store"
SCRIPTS = {file.stem: file.read_text(encoding="utf-8") for file in FOLDER.rglob("*.lua")}
PRELUDE = SCRIPTS.pop("prelude")  # in front of every other, and called by none
HEADER = re.compile(
    r"(?P<does>(?:-- .*\n)+?)-- KEYS: (?P<keys>(?:-- |.)+?\n)-- ARGV: (?P<argv>[\s\S]+?)-- Returns: (?P<returns>.+)\n"
)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_header_says_what_the_script_takes_and_answers(name: str):
    """A purpose, then KEYS, ARGV and Returns; each key and argument that the code reads has its number there."""
    text = SCRIPTS[name]
    header = HEADER.match(text)
    assert header is not None, f"{name}.lua does not begin with its purpose, KEYS, ARGV and Returns"
    for array in ("KEYS", "ARGV"):
        told = {int(number) for number in re.findall(r"\b(\d+)(?=\.\.\. | )", header[array.lower()])}
        read = {int(number) for number in re.findall(rf"{array}\[(\d+)\]", text)}
        assert read <= told, f"{array}{sorted(read - told)}"


def test_prelude_says_what_it_is():
    """It has no arguments of its own."""
    assert PRELUDE.startswith("-- ")
    assert "ARGV" not in PRELUDE
    assert "KEYS" not in PRELUDE


def test_every_script_is_run_by_the_store():
    """A script that nothing names is dead."""
    code = "\n".join(file.read_text(encoding="utf-8") for file in FOLDER.rglob("*.py"))
    assert [name for name in SCRIPTS if f'"{name}"' not in code] == []
