"""The decision records and the operators' pages: one form, complete indexes, and only files and numbers that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "ops" / "docs" / "run"
DECISIONS = ROOT / "ops" / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("0*.md"))
NUMBERS = {record.name[:4] for record in RECORDS}
SOURCES = [path for top in ("alertd", "channels", "geofences", "tests") for path in sorted((ROOT / top).rglob("*.py"))]
#: A number after the word or the folder. A list, such as "(0030, 0065)", is not recognised.
NAMED = re.compile(r"decisions?[ /](0\d{3})\b")
#: A file in backticks, from the root of the repository or from the root of the package alertd.
FILE = re.compile(r"`((?:alertd|channels|geofences|ops|tests|service|store)/[\w/.-]+\.(?:py|lua|md|csv|json|toml))`")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_has_a_title_a_status_and_three_sections(record: Path):
    """In this order: a reader finds the decision at the same place of each."""
    text = record.read_text(encoding="utf-8")
    assert text.startswith(f"# {record.name[:4]} ")
    assert re.search(r"^\*\*Status:\*\* (accepted|partly superseded by|superseded by)", text, re.MULTILINE)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_names_files_that_exist(record: Path):
    """A module that moves takes its record along."""
    files = FILE.findall(record.read_text(encoding="utf-8"))
    assert [name for name in files if not (ROOT / name).exists() and not (ROOT / "alertd" / name).exists()] == []


def test_the_index_has_every_record_with_its_title_and_status():
    """A row is a copy of the record's first lines."""
    rows = re.findall(
        r"^\| (\d{4}) \| \[(.+?)\]\((.+?)\) \| .+? \| (.+) \|$",
        (DECISIONS / "index.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) > 50
    assert rows == [_row(record) for record in RECORDS]


def test_code_names_records_that_exist():
    """Comments give a number; the record explains it."""
    named = {(path.name, number) for path in SOURCES for number in NAMED.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 3
    assert [one for one in sorted(named) if one[1] not in NUMBERS] == []


def test_the_index_for_operators_has_every_page():
    """A page that no table lists is not found at night."""
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (RUN / "index.md").read_text(encoding="utf-8")))
    pages = {page.name for page in RUN.glob("*.md")} - {"index.md"}
    assert len(pages) > 30
    assert linked == pages


def _row(record: Path) -> tuple[str, str, str, str]:
    text = record.read_text(encoding="utf-8")
    [title] = re.findall(r"\A# \d{4} (.+)$", text, re.MULTILINE)
    [status] = re.findall(r"^\*\*Status:\*\* (.+?)\n\n", text, re.MULTILINE | re.DOTALL)
    return record.name[:4], title, record.name, status.replace("\n", " ")
