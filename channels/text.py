"""Encodes a text for SMS: chooses its alphabet and divides it into segments. Also finds places to cut any text.

GSM 03.38 (3GPP TS 23.038) basic table and extension, or UCS-2 counted in UTF-16 code units. A segment holds 160 septets
or 70 units. In a longer text each segment begins with a header of 6 octets, which leaves 153 or 67. If a national
language table replaces the extension, the header of each segment names the table in 3 more octets. This leaves 155
septets, or 149 in a longer text.

A name is never transliterated: people look for it.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Encoding = Literal["gsm7", "ucs2"]
TableName = Literal["spanish", "portuguese", "turkish"]

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")  # an escape and a septet: each counts twice and is never split

GSM = GSM_BASIC | GSM_EXTENSION


@dataclass(frozen=True, slots=True)
class NationalTable:
    """A national language single shift table, which replaces the extension (TS 23.038 annex A.2)."""

    identifier: int  # section 6.2.1.2.4
    beyond: Mapping[int, str]  # characters not in the extension, by septet


#: The national tables by name. Each has the characters of the extension and those below.
NATIONAL: Final[Mapping[TableName, NationalTable]] = {
    "spanish": NationalTable(
        2,
        {
            0x09: "ç", 0x41: "Á", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú", 0x61: "á", 0x69: "í", 0x6F: "ó", 0x75: "ú",
        },
    ),
    "portuguese": NationalTable(
        3,
        {
            0x05: "ê", 0x09: "ç", 0x0B: "Ô", 0x0C: "ô", 0x0E: "Á", 0x0F: "á", 0x12: "Φ", 0x13: "Γ", 0x15: "Ω",
            0x16: "Π", 0x17: "Ψ", 0x18: "Σ", 0x19: "Θ", 0x1F: "Ê", 0x41: "À", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú",
            0x5B: "Ã", 0x5C: "Õ", 0x61: "Â", 0x69: "í", 0x6F: "ó", 0x75: "ú", 0x7B: "ã", 0x7C: "õ", 0x7F: "â",
        },
    ),
    "turkish": NationalTable(
        1,
        {0x47: "Ğ", 0x49: "İ", 0x53: "Ş", 0x63: "ç", 0x67: "ğ", 0x69: "ı", 0x73: "ş"},
    ),
}  # fmt: skip

#: All characters that a text can have, by national table. None: the extension.
ALPHABETS: Final[Mapping[TableName | None, frozenset[str]]] = {
    None: GSM,
    **{name: GSM.union(table.beyond.values()) for name, table in NATIONAL.items()},
}


@dataclass(frozen=True, slots=True)
class SmsSettings:
    """How texts may be encoded for a carrier."""

    tables: tuple[TableName, ...] = ()  # national language tables that the carrier and its phones support
    transliterate: bool = True  # accents that the alphabet lacks may be removed, except in names and links


class Coding(NamedTuple):
    """One way to send a text."""

    encoding: Encoding
    table: TableName | None  # the national language table in use
    transliterated: bool
    text: str
    parts: tuple[str, ...]  # the text by segment


_FLAG_HALVES = ("\U0001f1e6", "\U0001f1ff")
_VIRAMA = 9  # combining class of the sign that joins two consonants

UNITS, UNITS_OF_PART = 70, 67

#: The octets of a segment, and of two header elements: part of a longer text, national table (TS 23.040 section
#: 9.2.3.24).
_OCTETS, _OF_PART, _OF_TABLE = 140, 5, 3

#: Unicode categories of pictures, joiners and marks, which carry no fact and may be left out. A single one turns a text
#: to UCS-2, which more than halves the capacity of an SMS.
_ORNAMENTS = frozenset({"So", "Sk", "Cf", "Mn", "Me"})

#: Letters that Unicode cannot decompose, but that people write without their mark in SMS. The Turkish dotless i is left
#: out: with a dot, harmless words become obscene. So Turkish is not changed and costs more.
_BARE = {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}

# Look-alikes that would turn a whole text to UCS-2, and invisible characters. Joiners stay: Persian, Hindi and emoji
# need them.
LOOK_ALIKES = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′´`", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2008\u2009\u200a\u202f\t", " "),
        **dict.fromkeys("\u200b\u2060\ufeff\u00ad", ""),
        "…": "...",
        "•": "-",
        "\u2028": "\n",
        "\u2029": "\n",
    }
)


# Characters after a link, such as a closing quote, do not belong to it.
LINK = re.compile(rf"((?:https?://|www\.)\S*[^\s{''.join(map(chr, LOOK_ALIKES))}])")


def fold(text: str) -> str:
    """Returns the text with look-alike punctuation in its plain form. Links stay unchanged, since a changed link would
    not work.
    """
    return "".join(run if LINK.fullmatch(run) else run.translate(LOOK_ALIKES) for run in LINK.split(text))


def whole_until(text: str, end: int) -> int:
    """Returns the last place at or before `end` where a cut does not split a visible character."""
    while 0 < end < len(text) and _continues(text, end):
        end -= 1
    return end


def _continues(text: str, at: int) -> bool:
    """Returns whether a cut before `text[at]` would split a character: marks, joiners, skin tones, letters joined by an
    Indic sign, the two halves of a flag.
    """
    before, character = text[at - 1], text[at]
    if _FLAG_HALVES[0] <= character <= _FLAG_HALVES[1]:
        halves = itertools.takewhile(lambda one: _FLAG_HALVES[0] <= one <= _FLAG_HALVES[1], reversed(text[:at]))
        return sum(1 for _ in halves) % 2 == 1
    joiner = "\N{ZERO WIDTH JOINER}"
    return (
        unicodedata.category(character).startswith("M")
        or joiner in {before, character}
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or (unicodedata.combining(before) == _VIRAMA and character.isalpha())
    )


def codings(text: str, settings: SmsSettings, names: Iterable[str] = ()) -> list[Coding]:
    """Returns the ways to send a text that the settings allow. The first has the fewest segments and, of those, changes
    the text least. All ways replace look-alike punctuation, as `fold` does. No way changes a name.
    """
    text, names = fold(text), [fold(name) for name in names]
    encoding, parts = divided(text)
    found = [Coding(encoding, None, False, text, tuple(parts))]
    if encoding == "gsm7":
        return found
    for table in (*settings.tables, None):
        alphabet = ALPHABETS[table]
        is_written = alphabet.issuperset(text)
        changed = text if is_written else transliterated(text, alphabet, names) if settings.transliterate else None
        if changed is not None:
            found.append(Coding("gsm7", table, not is_written, changed, tuple(_in_septets(changed, table))))
    return sorted(found, key=lambda one: (len(one.parts), one.transliterated, one.table is not None))


def best_coding(text: str, settings: SmsSettings, names: Iterable[str] = ()) -> Coding:
    """Returns the way to send a text with the fewest segments: the first of its `codings`."""
    return codings(text, settings, names)[0]


def spelled_for_sms(text: str) -> str:
    """Returns the text without the accents and ornaments that the GSM alphabet lacks, with plain punctuation. Returns
    the text unchanged if GSM lacks other characters too, or if a link would change.
    """
    plain = transliterated(fold(text), GSM)
    return text if plain is None else plain


def transliterated(text: str, alphabet: frozenset[str], names: Iterable[str] = ()) -> str | None:
    """Returns the text without the accents and ornaments that the alphabet lacks. Returns None if the alphabet lacks
    other characters too, because the text would then cost as much as before. Also returns None if a name or link would
    change.
    """
    if not all(map(alphabet.issuperset, (*names, *LINK.findall(text)))):
        return None
    plain = re.sub(" {2,}", " ", "".join(_nearest(char, alphabet) for char in text))
    return plain if alphabet.issuperset(plain) else None


@functools.lru_cache(4096)
def _nearest(char: str, alphabet: frozenset[str]) -> str:
    """Returns a character of the alphabet unchanged, any other without its accents, "" for an ornament. Returns a
    character that the alphabet lacks even without accents unchanged.
    """
    if char in alphabet:
        return char
    if char in _BARE:
        return _BARE[char]
    if unicodedata.category(char) in _ORNAMENTS:
        return ""
    bare = "".join(part for part in unicodedata.normalize("NFD", char) if not unicodedata.combining(part))
    return bare if alphabet.issuperset(bare) else char


def is_gsm(text: str) -> bool:
    """Returns whether the GSM alphabet has all characters of the text. An SMS then holds up to 160 of them, otherwise
    70.
    """
    return GSM.issuperset(text)


def divided(text: str) -> tuple[Encoding, list[str]]:
    """Returns the alphabet that the unchanged text needs, and the text of each segment. An empty text has one segment.

    A cut never splits a character of two septets or units, or a link that fits into one segment. So a link works even
    on a phone that does not join segments.
    """
    if is_gsm(text):
        return "gsm7", _in_septets(text)
    return "ucs2", _divided(text, _units, UNITS, UNITS_OF_PART)


def segments(text: str) -> tuple[Encoding, int]:
    """Returns the alphabet that the unchanged text needs ("gsm7" or "ucs2"), and its number of segments. Uses no
    national language table. An empty text has one segment.
    """
    encoding, found = divided(text)
    return encoding, len(found)


def _in_septets(text: str, table: TableName | None = None) -> list[str]:
    """Divides a text of the GSM alphabet, or of a national table, into segments. Cuts at any character, but never
    inside a link that fits into one segment.
    """
    elements = _OF_TABLE if table else 0
    return _divided(text, _septets, _room(elements), _room(elements + _OF_PART))


def _room(elements: int) -> int:
    """Returns how many septets fit a segment beside its header. `elements`: octets of the header without the octet for
    its length.
    """
    return (_OCTETS - (1 + elements if elements else 0)) * 8 // 7


def _septets(character: str) -> int:
    return 1 if character in GSM_BASIC else 2


def _units(character: str) -> int:
    return 2 if ord(character) > 0xFFFF else 1


def _divided(text: str, width: Callable[[str], int], single: int, part: int) -> list[str]:
    """Divides a text into segments. `width` returns the septets or units of a character. `single`: how many fit a text
    of one segment; `part`: how many fit a segment of a longer text.
    """
    if sum(map(width, text)) <= single:
        return [text]
    found: list[list[str]] = [[]]
    used = 0
    for run in LINK.split(text):
        size = sum(map(width, run))
        whole = LINK.fullmatch(run) is not None and size <= part
        for piece, wide in ((run, size),) if whole else zip(run, map(width, run), strict=True):
            if used + wide > part:
                found.append([])
                used = 0
            found[-1].append(piece)
            used += wide
    return ["".join(pieces) for pieces in found]
