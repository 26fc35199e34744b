"""Searches names as people type them: without accents or case, abbreviated, in part, or with a typing error. Also
checks the codes and names of imported regions.

An index of all three-letter pieces of the names (trigrams) selects a few candidates, so 200,000 names are searched in a
few milliseconds. Uses numpy and the standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

#: Form of a code: ASCII letters and digits, and the separators of registers' codes; at most 32 characters.
CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,31}")
#: Maximum characters of a name. The longest shipped name has 65.
LONGEST_NAME = 200
#: Characters that a name must not contain: control characters, line ends, the byte order mark, and characters that change the direction of
#: the surrounding text. The marks that right-to-left names need are allowed.
UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
#: Signs of a wrong encoding: UTF-8 that was read as Latin-1 (SÃ£o), and the replacement character.
MISREAD = re.compile("[\u00c2-\u00f4][\u0080-\u00bf]|\ufffd")

#: Control characters of ISO 8859-1 that are letters in Windows encodings (U+009E is ž) and cannot be meant in a name.
C1 = re.compile("[\x80-\x9f]")


def mended_name(name: str) -> str:
    """Returns a name with letters of Windows-1252 in place of the control characters that appear if a file is wrongly declared as ISO
    8859-1.

    Returns a name that was read in a wrong encoding unchanged, so that `name_fault` reports it.
    """
    if MISREAD.search(name):
        return name
    return C1.sub(lambda found: found[0].encode("latin-1").decode("cp1252", errors="ignore") or found[0], name)


def code_fault(code: str) -> str | None:
    """Returns a text that says what is wrong with a code, or None if it is valid."""
    if CODE.fullmatch(code):
        return None
    shown = code if len(code) <= 40 else f"{code[:40]}…"
    return f"has the code {shown!a}, which no request can name: a code is at most 32 letters (A-Z), digits and . _ : -"


def name_fault(name: str) -> str | None:
    """Returns a text that says what is wrong with a name, or None if it is valid."""
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


# Letters that Unicode does not decompose, and punctuation, with what people type instead.
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
END = 0x0A  # a character that separates the names in the index, and that no name has
# Upper limit of a letter's Unicode number.
LETTERS = 0x110000
# Share of its pieces that a similar name must have in common with the text. A typing error changes up to three of the six or so pieces of a
# name.
PIECES_SHARED = 0.35
# Number of names that are compared letter by letter, at some 30 microseconds each: those that share the most pieces
# with the text.
COMPARED = 120
# Minimum length of a text for one typing error, and for two. In a shorter text an error makes another word.
SLIPS_FROM, TWO_SLIPS_FROM = 4, 8


def fold(text: str) -> str:
    """Returns a text in the form used for comparison: without case, accents, hyphens and apostrophes."""
    if text.isascii():
        return " ".join(text.lower().translate(PLAIN_LETTERS).split())
    apart = unicodedata.normalize("NFKD", text.casefold().translate(PLAIN_LETTERS))
    return " ".join("".join(letter for letter in apart if not unicodedata.combining(letter)).split())


class NameIndex:
    """Index from names to things. A thing is given by its position in the list that the index was made from. Immutable."""

    def __init__(self, names: Sequence[Sequence[str]]) -> None:
        """`names` has all names of each thing."""
        pairs = dict.fromkeys((fold(name), thing) for thing, given in enumerate(names) for name in given)
        self._names = [name for name, _ in pairs if name]
        self._things = np.array([thing for name, thing in pairs if name], np.int64)

    def find(self, text: str, allowed: NDArray[np.bool_]) -> dict[int, int]:
        """Returns the positions of things with a name that matches the text, and how close the name is: SAME is best,
        then STARTS, WORD, PART, SLIP. Considers only things for which `allowed` is true.

        Allows typing errors only if nothing else matches, and in no text with a digit: another number in a code means
        another place.
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
        """Returns the positions of the names that may contain the text. A text shorter than PIECE letters must be the
        beginning of a word.
        """
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
        """Yields the positions of names that differ from the text by typing errors, and the number of errors. Allows
        two errors in a text of at least TWO_SLIPS_FROM letters, else one.
        """
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
        """Returns the positions of the names that contain the piece `piece`, or any piece from `piece` to `last`."""
        pieces, names = self._index
        return names[np.searchsorted(pieces, piece) : np.searchsorted(pieces, last or piece, "right")]

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([len(name) for name in self._names], np.int64)

    @cached_property
    def _index(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns all pieces of all names, sorted, and for each piece the position of its name. Makes this index at
        first use, which takes some tenths of a second.
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
    """Returns the piece at each position of a text: its three letters as one number."""
    return (letters[:-2] * LETTERS + letters[1:-1]) * LETTERS + letters[2:]


def _number(beginning: str) -> int:
    """Returns the first (lowest) piece that begins with these letters."""
    return int(_joined(np.array([ord(letter) for letter in beginning.ljust(PIECE, "\0")], np.int64))[0])


def _pieces(text: str) -> list[int]:
    pieces: list[int] = np.unique(_joined(np.array([ord(letter) for letter in text], np.int64))).tolist()
    return pieces


def _closeness(name: str, wanted: str) -> int | None:
    """Returns SAME, STARTS, WORD or PART for a name that contains the text, otherwise None."""
    if wanted not in name:
        return None
    if name.startswith(wanted):
        return SAME if name == wanted else STARTS
    return WORD if f" {wanted}" in name else PART


def _likenesses(name: str, wanted: str) -> Iterator[str]:
    """Yields the parts of a name to compare with the text: the whole name, then every run of as many words as the text has."""
    words, count = name.split(), wanted.count(" ") + 1
    yield name
    if len(words) > count:
        yield from (" ".join(words[i : i + count]) for i in range(len(words) - count + 1))


def _slips(one: str, other: str, most: int) -> int:
    """Returns the number of typing errors between two texts: letters to add, remove, change or swap with the next one (optimal string
    alignment). Returns `most` + 1 for any larger number.
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
