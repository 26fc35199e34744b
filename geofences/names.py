"""Names, found as people write them: without accents or case, cut short, in part, or with a slip of the finger.

An index of the three-letter pieces of all names (trigrams) leaves few to look at: 200,000 names are searched in a few
milliseconds. numpy and the standard library alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

#: Letters and digits of ASCII, and what stands between them in the codes of registers.
CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,31}")
#: The longest shipped name has 65 characters.
LONGEST_NAME = 200
#: Control characters, line ends, a mark of byte order, and what turns the direction of the text around it. The marks
#: that right-to-left names need are fine.
UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
#: What UTF-8 looks like when it is read as Latin-1 (SÃ£o), and what stands for a byte that is no UTF-8.
MISREAD = re.compile("[\u00c2-\u00f4][\u0080-\u00bf]|\ufffd")

#: Control characters of ISO 8859-1 that are letters in Windows encodings (U+009E is ž) and cannot be meant in a name.
C1 = re.compile("[\x80-\x9f]")


def mended_name(name: str) -> str:
    """Returns a name with the letters of Windows-1252 in place of control characters from a file declared as ISO
    8859-1.

    Leaves a name that was misread as a whole unchanged, so that it is reported.
    """
    if MISREAD.search(name):
        return name
    return C1.sub(lambda found: found[0].encode("latin-1").decode("cp1252", errors="ignore") or found[0], name)


def code_fault(code: str) -> str | None:
    """Returns the fault of a code, or None."""
    if CODE.fullmatch(code):
        return None
    shown = code if len(code) <= 40 else f"{code[:40]}…"
    return f"has the code {shown!a}, which no request can name: a code is at most 32 letters (A-Z), digits and . _ : -"


def name_fault(name: str) -> str | None:
    """Returns the fault of a name, or None."""
    if MISREAD.search(name):
        return (
            f"has the name {name!r}, which was read in the wrong encoding; say which is the file's (UTF-8, ISO-8859-1)"
        )
    if unfit := UNFIT.search(name):
        return (
            f"has a name with the character U+{ord(unfit[0]):04X} in it, which controls how text is shown; take it out"
        )
    if len(name) > LONGEST_NAME:
        return f"has a name of {len(name):,} characters; at most {LONGEST_NAME} are shown"
    if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
        return "has an invisible name"
    return None


# Letters that Unicode does not take apart, as people without them on their keyboard write them.
PLAIN_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "ı": "i",
        "ʻ": "",
        "'": " ",
        "’": " ",
        "-": " ",
    }
)
SAME, STARTS, WORD, PART, SLIP = range(5)  # how close a name is; each slip adds one more to SLIP
PIECE = 3  # letters
END = 0x0A  # between names, in none of them
# Letters are numbers below this.
LETTERS = 0x110000
# A slip spoils up to three pieces of the six or so that a name has.
PIECES_SHARED = 0.35
# Of the many that share pieces, this many with the most are compared letter by letter: some 30 microseconds each.
COMPARED = 120
# Below this length a slip makes another word.
SLIPS_FROM, TWO_SLIPS_FROM = 4, 8


def fold(text: str) -> str:
    """Returns a text in the form used for comparison: without case, accents, hyphens and apostrophes."""
    if text.isascii():
        return " ".join(text.lower().translate(PLAIN_LETTERS).split())
    apart = unicodedata.normalize("NFKD", text.casefold().translate(PLAIN_LETTERS))
    return " ".join("".join(letter for letter in apart if not unicodedata.combining(letter)).split())


class NameIndex:
    """Names of things by their position. Immutable."""

    def __init__(self, names: Sequence[Sequence[str]]) -> None:
        """All names of each thing."""
        pairs = dict.fromkeys((fold(name), thing) for thing, given in enumerate(names) for name in given)
        self._names = [name for name, _ in pairs if name]
        self._things = np.array([thing for name, thing in pairs if name], np.int64)

    def find(self, text: str, allowed: NDArray[np.bool_]) -> dict[int, int]:
        """The things that may be meant, of those `allowed`, and how close each is: SAME is best.

        Those with a slip are looked for only when there are no others, and not for codes: another number is another
        place.
        """
        wanted = fold(text)
        found: dict[int, int] = {}
        for name in self._holding(wanted):
            thing = int(self._things[name])
            if allowed[thing] and (close := _closeness(self._names[name], wanted)) is not None:
                found[thing] = min(close, found.get(thing, close))
        if not found and len(wanted) >= SLIPS_FROM and not any(map(str.isdigit, wanted)):
            for name, slips in self._slipped(wanted, allowed):
                thing = int(self._things[name])
                found[thing] = min(SLIP + slips, found.get(thing, SLIP + slips))
        return found

    def _holding(self, wanted: str) -> list[int]:
        """Names that may hold the text."""
        if not wanted:
            return []
        if len(wanted) < PIECE:  # then the beginning of a word
            first = _number(f" {wanted}")
            found = self._with(first, first + LETTERS ** (PIECE - 1 - len(wanted)) - 1)
        else:
            found = min((self._with(piece) for piece in _pieces(wanted)), key=len)
        few: list[int] = np.unique(found).tolist()
        return few

    def _slipped(self, wanted: str, allowed: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
        """Names that are the text but for a slip or two, and how many."""
        most = 1 if len(wanted) < TWO_SLIPS_FROM else 2
        pieces = _pieces(f" {wanted} ")
        shared = np.zeros(len(self._names), np.int64)
        for piece in pieces:
            shared[self._with(piece)] += 1
        shared[~allowed[self._things]] = 0
        near = np.flatnonzero(shared >= max(1, PIECES_SHARED * len(pieces)))
        score = shared[near] / (len(pieces) + self._lengths[near])  # of equals, the name that is about as long
        for name in near[np.argsort(-score, kind="stable")[:COMPARED]].tolist():
            slips = min(_slips(wanted, part, most) for part in _likenesses(self._names[name], wanted))
            if slips <= most:
                yield name, slips

    def _with(self, piece: int, last: int | None = None) -> NDArray[np.int64]:
        """Names that hold a piece, or one of those from it to the last."""
        pieces, names = self._index
        return names[np.searchsorted(pieces, piece) : np.searchsorted(pieces, last or piece, "right")]

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([len(name) for name in self._names], np.int64)

    @cached_property
    def _index(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All pieces of all names, sorted, and the name of each.

        Made when first asked for: it takes some tenths of a second.
        """
        text = chr(END).join(f" {name} " for name in self._names)
        letters = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.int64)
        names = np.cumsum(letters == END)
        pieces = _joined(letters)
        inside = names[: len(pieces)] == names[PIECE - 1 :]
        inside &= letters[: len(pieces)] != END
        pieces, names = pieces[inside], names[: len(inside)][inside]
        order = np.lexsort((names, pieces))
        pieces, names = pieces[order], names[order]
        first = np.r_[True, (np.diff(pieces) != 0) | (np.diff(names) != 0)][: len(pieces)]
        return pieces[first], names[first]


def _joined(letters: NDArray[np.int64]) -> NDArray[np.int64]:
    return (letters[:-2] * LETTERS + letters[1:-1]) * LETTERS + letters[2:]


def _number(beginning: str) -> int:
    """The first piece that begins so."""
    return int(_joined(np.array([ord(letter) for letter in beginning.ljust(PIECE, "\0")], np.int64))[0])


def _pieces(text: str) -> list[int]:
    pieces: list[int] = np.unique(_joined(np.array([ord(letter) for letter in text], np.int64))).tolist()
    return pieces


def _closeness(name: str, wanted: str) -> int | None:
    if wanted not in name:
        return None
    if name.startswith(wanted):
        return SAME if name == wanted else STARTS
    return WORD if f" {wanted}" in name else PART


def _likenesses(name: str, wanted: str) -> Iterator[str]:
    """What of a name may be meant: all of it, or as many of its words as are wanted."""
    words, count = name.split(), wanted.count(" ") + 1
    yield name
    if len(words) > count:
        yield from (" ".join(words[i : i + count]) for i in range(len(words) - count + 1))


def _slips(one: str, other: str, most: int) -> int:
    """Returns how many letters to add, drop, change or swap with the next (optimal string alignment), at most `most` +
    1.
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before, last = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, against in enumerate(other, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return last[-1]
