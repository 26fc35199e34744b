"""The documents of this repository, and the order in which a reader runs their calls."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "ops" / "docs"

#: The pages with `sh` blocks, in the order in which one shell runs them.
WALK = [
    ROOT / "README.md",
    DOCS / "start" / "first-alert.md",
    *(
        DOCS / "use" / f"{name}.md"
        for name in (
            "connect", "regions", "target", "subscribers", "photos", "submit", "messages", "approve", "publish",
            "progress", "events", "ledger", "audit", "stop", "update", "restrict", "extend", "end", "metrics", "purge",
            "cap",
        )
    ),
    *(DOCS / "organisations" / f"{name}.md" for name in ("index", "neighbours", "on-call")),
    DOCS / "carriers" / "sandbox.md",
    *(DOCS / "run" / f"{name}.md" for name in ("monitor-alertd", "your-own-store")),
]  # fmt: skip

#: Every document.
PAGES = sorted(page for page in ROOT.rglob("*.md") if page.relative_to(ROOT).parts[0][0] != ".")

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def fences(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    return [(language, text) for _, language, text in _FENCE.findall(text_of(page))]


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks."""
    return _FENCE.sub("", text_of(page))


def headings(page: Path) -> set[str]:
    """The anchors of the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
