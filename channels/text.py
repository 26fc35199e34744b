"""How a text travels by SMS: which alphabet, and in how many segments; and where any text can be cut.

GSM 03.38 (3GPP TS 23.038) basic table and extension, or UCS-2 counted in UTF-16 code units. A segment holds 160 septets or 70
units; of a longer text each segment gives up 6 octets to its header, which leaves 153 or 67. Letters outside the table are never replaced,
because names are: only punctuation that looks the same is.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable
from typing import Literal

Encoding = Literal["gsm7", "ucs2"]

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")  # an escape and a septet: they count twice and are never split

_FLAG_HALVES = ("\U0001f1e6", "\U0001f1ff")
_VIRAMA = 9  # the combining class of what joins two consonants

SEPTETS, SEPTETS_OF_PART = 160, 153
UNITS, UNITS_OF_PART = 70, 67

# Look-alikes that would turn a whole text to UCS-2, and characters that show nothing. Joiners stay: Persian, Hindi and emoji need them.
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


# What stands after a link, as a closing quote, is none of it.
LINK = re.compile(rf"((?:https?://|www\.)\S*[^\s{''.join(map(chr, LOOK_ALIKES))}])")


def fold(text: str) -> str:
    """The text with look-alike punctuation in its plain form, but in its links: another spelling leads nowhere."""
    return "".join(run if LINK.fullmatch(run) else run.translate(LOOK_ALIKES) for run in LINK.split(text))


def whole_until(text: str, end: int) -> int:
    """Where to cut a text at `end` or before it, so that what people see as one character stays one."""
    while 0 < end < len(text) and _continues(text, end):
        end -= 1
    return end


def _continues(text: str, at: int) -> bool:
    """Whether a cut there would split a character: marks, joiners, skin tones, letters that an Indic sign joins, the two halves of a flag."""
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


def divided(text: str) -> tuple[Encoding, list[str]]:
    """The alphabet the text needs as it is, and the text by segment; an empty text takes one.

    A cut is never inside a character of two, nor inside a link that fits a segment: a phone that does not join them still opens it.
    """
    if all(character in GSM_BASIC or character in GSM_EXTENSION for character in text):
        return "gsm7", _divided(text, _septets, SEPTETS, SEPTETS_OF_PART)
    return "ucs2", _divided(text, _units, UNITS, UNITS_OF_PART)


def segments(text: str) -> tuple[Encoding, int]:
    """The alphabet the text needs as it is, and how many segments it takes."""
    encoding, found = divided(text)
    return encoding, len(found)


def _septets(character: str) -> int:
    return 2 if character in GSM_EXTENSION else 1


def _units(character: str) -> int:
    return 2 if ord(character) > 0xFFFF else 1


def _divided(text: str, width: Callable[[str], int], single: int, part: int) -> list[str]:
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
