"""Makes text fit for phones: one clean line, directions kept apart, cut at a word."""

from __future__ import annotations

import re
import unicodedata

from channels.text import LINK, whole_until

FSI, PDI = "\u2068", "\u2069"  # first strong isolate, pop directional isolate (Unicode UAX 9)

#: Matches direction embeddings and overrides, which are removed: they are obsolete, because isolates replace them.
_EMBEDDINGS = re.compile("[\u202a-\u202e]")
_ISOLATES = re.compile("[\u2066-\u2069]")

#: Characters that are removed before an ellipsis: a full stop would make four dots of three, and suggest that nothing
#: is missing.
_BEFORE_ELLIPSIS = " ,.;:،。，…"
#: Matches words of up to three letters (articles, prepositions) at the end of a cut text: they belong to the removed
#: part.
_STUMP = re.compile(r"(?: [^\W\d_]{1,3})+$")

#: Matches a link or a written number, which is never cut: half of one leads nowhere, or to another person.
_WHOLE = re.compile(rf"{LINK.pattern}|\+?\d(?:[ .()/\u2010-\u2015-]{{0,2}}\d)+")

_NO_WIDTH = frozenset({"Cf", "Mn", "Me"})


def line(text: str) -> str:
    """Returns one line without doubled spaces, in composed characters (NFC).

    Removes the author's isolates if they are not balanced: one of them could close alertd's own too early.
    """
    text = unicodedata.normalize("NFC", _EMBEDDINGS.sub("", text))
    depth = 0
    for control in _ISOLATES.findall(text):
        depth += -1 if control == PDI else 1
        if depth < 0:
            break
    return " ".join((_ISOLATES.sub("", text) if depth else text).split())


def paragraphs(text: str, limit: int) -> tuple[str, ...]:
    """Returns the lines of a longer text, clean and not empty. With a `limit` above 0, returns all as one line of at
    most `limit` characters.
    """
    found = tuple(clean for raw in text.splitlines() if (clean := line(raw)))
    return (clip(" ".join(found), limit),) if found and limit else found


def clip(text: str, limit: int) -> str:
    """Returns at most `limit` characters, with an ellipsis if cut.

    Cuts between words if a word ends in the second half. Never cuts inside a link, a number or a visible character.
    """
    if len(text) <= limit:
        return text
    bare = _ISOLATES.sub("", text)  # a cut may separate a pair of isolates
    cut = bare[: _before_whole(bare, whole_until(bare, limit - 1))]
    space = _before_whole(bare, cut.rfind(" "))
    words = (cut[:space] if space > limit // 2 else cut).rstrip(_BEFORE_ELLIPSIS)
    whole = _STUMP.sub("", words).rstrip(_BEFORE_ELLIPSIS)
    return (whole if len(whole) > limit // 2 else words) + "…"


def _before_whole(text: str, end: int) -> int:
    """Returns where to cut: at `end`, or before the link or number around it."""
    return next((found.start() for found in _WHOLE.finditer(text) if found.start() < end < found.end()), end)


def tidy(text: str) -> str:
    """Returns the text without spaces at the ends of lines, empty lines at its ends, and repeated empty lines."""
    kept: list[str] = []
    for raw in text.splitlines():
        stripped = raw.strip()
        if stripped or (kept and kept[-1]):
            kept.append(stripped)
    return "\n".join(kept).strip("\n")


def packed(text: str) -> str:
    """Returns the text as `tidy` does, but without any empty line: on a phone each line counts."""
    return "\n".join(filter(None, tidy(text).split("\n")))


def rows(text: str, columns: int) -> int:
    """Returns how many rows of `columns` letters a phone needs for a line. It breaks at spaces; wide characters count
    two, combining marks none.
    """
    count, used = 1, 0
    for word in text.split(" "):
        width = sum(
            1 + (unicodedata.east_asian_width(char) in {"W", "F"})
            for char in word
            if unicodedata.category(char) not in _NO_WIDTH
        )
        if used and used + 1 + width > columns:
            count, used = count + 1, 0
        used += width + (1 if used else 0)
        while used > columns:
            count, used = count + 1, used - columns
    return count
