"""The site of the documents is built without a warning, and its pages ask no other host for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import DOCS, ROOT

pytestmark = pytest.mark.peer  # ops/test installs mkdocs-material apart

PEERS = ROOT / ".cache" / "peers" / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, after a build that took warnings for faults."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(ROOT / "ops" / "mkdocs.yml"),
        "--site-dir",
        str(folder),
    ]
    environment = {**os.environ, "PYTHONPATH": str(PEERS), "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    return folder


def test_the_site_has_every_page(site: Path):
    pages = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")}
    assert pages - {page.relative_to(site).as_posix() for page in site.rglob("*.html")} == set()


def test_no_page_loads_anything_from_another_host(site: Path):
    """Scripts, styles, fonts and pictures are the site's own."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'\bsrc="(?:https?:)?//[^"]*"', text) == [], page
        assert re.findall(r'<link[^>]*href="(?:https?:)?//[^"]*"', text) == [], page


def test_pictures_and_files_outside_the_documents_are_copied(site: Path):
    for page in site.rglob("*.html"):
        for link in re.findall(
            r'\b(?:src|href)="([^"#:/][^"#:]*\.(?:png|svg|json|js|toml))"', page.read_text(encoding="utf-8")
        ):
            assert (page.parent / link).resolve().is_file(), f"{page}: {link}"


def test_the_search_finds_a_page_by_its_title(site: Path):
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    assert '"title":"Purge a case"' in index
