"""Turns HTML into plain text. The texts of CAP are plain (section 3.2.2), but many senders write HTML in them.

Replaces only tags and entities of HTML. `a < b` and `<police>` stay, so that no word is lost. Every pattern stops at the next `<`, so that a
hostile text takes no longer than a plain one.
"""

from __future__ import annotations

import html
import re

from alertd.rendering.plaintext import tidy

#: Placeholders for a line break, the edge of a block and that of a paragraph until the white space around them is
#: known. XML allows none of these characters.
_BREAK, _BLOCK, _PARAGRAPH = "\x0b", "\x1c", "\x0c"
_EDGES = dict.fromkeys(
    ("a", "b", "big", "body", "center", "em", "font", "head", "html", "i", "img", "small", "span", "strike", "strong", "sub", "sup", "tbody",
     "td", "th", "thead", "u"), "",
) | {"br": _BREAK} | dict.fromkeys(("dd", "div", "dl", "dt", "hr", "li", "ol", "table", "tr", "ul"), _BLOCK) | dict.fromkeys(
    ("blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "p", "pre"), _PARAGRAPH,
)  # fmt: skip
_BEGINNINGS = {"li": f"{_BLOCK}- ", "td": " ", "th": " "}
#: Matches a tag, comment or entity of HTML. Only an attribute or nothing may follow the name of a tag: `a <b and c> d`
#: is no tag.
_MARKUP = re.compile(
    rf"<(?P<close>/?)(?P<name>{'|'.join(_EDGES)})(?P<rest>\s+[a-z-]+\s*=[^<>]*|\s*/?)>|<!--[^<>]*-->"
    r"|&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]\w{1,31});",
    re.IGNORECASE | re.ASCII,
)
_HREF = re.compile(r"\bhref\s*=\s*[\"']?(?:(?:mailto|tel):([^\"'\s]+)|(https?://[^\"'\s]+))", re.IGNORECASE)
_SPACE = re.compile(r"\s+")


def as_text(text: str) -> str:
    """Returns the text without its HTML: a line for each block, `- ` before each item, and the address of a link after
    its words.
    """
    if not _MARKUP.search(text):
        return text
    return tidy(_SPACE.sub(_spaced, _MARKUP.sub(_Plain(), text)))


class _Plain:
    """Replaces one tag or entity after the other by plain text. Remembers where the last link began, to write its address after its words."""

    def __init__(self) -> None:
        self._began, self._address = 0, ""

    def __call__(self, found: re.Match[str]) -> str:
        name = (found["name"] or "").lower()
        if name == "a":
            return self._link(found)
        if name:
            return _EDGES[name] if found["close"] else _BEGINNINGS.get(name, _EDGES[name])
        return html.unescape(found[0]) if found[0].startswith("&") else ""

    def _link(self, found: re.Match[str]) -> str:
        """Handles the start or the end of a link. At its end returns the address in brackets; "" at its start, or if the link's words
        contain the address.
        """
        address, label = self._address, found.string[self._began : found.start()]
        opened = None if found["close"] else _HREF.search(found["rest"])
        self._began, self._address = found.end(), html.unescape(opened[1] or opened[2]) if opened else ""
        return f" ({address})" if found["close"] and address and address not in label else ""


def _spaced(run: re.Match[str]) -> str:
    """Returns white space unchanged, or as one or two line ends if it contains a tag that breaks the line."""
    if _PARAGRAPH in run[0] or run[0].count(_BREAK) > 1:
        return "\n\n"
    return "\n" if _BREAK in run[0] or _BLOCK in run[0] else run[0]
