"""Links from the documents to files outside `ops/docs`, for the site: pictures and other files are copied, the rest becomes plain text.

mkdocs calls these functions (`hooks` in mkdocs.yml). On a forge the links work as they stand.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = "ops/docs"
#: Copied to the site, because a browser can show them.
SHOWN = {".png", ".svg", ".json", ".js", ".toml", ".yaml", ".service"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def outside(page: str, link: str) -> str | None:
    """The path in the repository that a link of a page leads to, if it lies outside the documents."""
    if "://" in link or link.startswith(("mailto:", "/")):
        return None
    path = posixpath.normpath(posixpath.join(DOCS, posixpath.dirname(page), link))
    return None if path.startswith(f"{DOCS}/") else path


def linked(files: Any) -> Iterator[str]:
    """Every file outside the documents that the site copies."""
    for file in files.documentation_pages():
        for _, _, link, _ in LINK.findall(file.content_string):
            path = outside(file.src_uri, link)
            if path and Path(path).suffix in SHOWN:
                yield path


def on_files(files: Any, config: Any) -> Any:
    """Add the files outside the documents."""
    from mkdocs.structure.files import File  # noqa: PLC0415  the tests of this file have no mkdocs

    for path in sorted(set(linked(files))):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to the copies, and turn links to other files into text."""

    def replaced(found: re.Match[str]) -> str:
        mark, text, link, _ = found.groups()
        path = outside(page.file.src_uri, link)
        if path is None:
            return found[0]
        if Path(path).suffix in SHOWN:
            return f"{mark}[{text}]({posixpath.relpath(f'files/{path}', posixpath.dirname(page.file.src_uri) or '.')})"
        return text

    return LINK.sub(replaced, markdown)
