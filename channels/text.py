"""How a text travels by SMS: which alphabet, and in how many segments.

GSM 03.38 (3GPP TS 23.038) basic table and extension, or UCS-2 counted in UTF-16 code units. A segment holds 160 septets or 70
units; of a longer text each segment gives up 6 octets to its header, which leaves 153 or 67. Letters outside the table are never replaced,
because names are: only punctuation that looks the same is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Encoding = Literal["gsm7", "ucs2"]

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")  # an escape and a septet: they count twice and are never split

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


def fold(text: str) -> str:
    """The text with look-alike punctuation in its plain form."""
    return text.translate(LOOK_ALIKES)


def segments(text: str) -> tuple[Encoding, int]:
    """The alphabet the text needs as it is, and how many segments it takes; an empty text takes one."""
    if all(character in GSM_BASIC or character in GSM_EXTENSION for character in text):
        return "gsm7", _count(text, _septets, SEPTETS, SEPTETS_OF_PART)
    return "ucs2", _count(text, _units, UNITS, UNITS_OF_PART)


def _septets(character: str) -> int:
    return 2 if character in GSM_EXTENSION else 1


def _units(character: str) -> int:
    return 2 if ord(character) > 0xFFFF else 1


def _count(text: str, width: Callable[[str], int], single: int, part: int) -> int:
    if sum(map(width, text)) <= single:
        return 1
    count, used = 1, 0
    for character in text:
        used += width(character)
        if used > part:  # a character of two never straddles the border
            count, used = count + 1, width(character)
    return count
