"""A text as octets for an SMS centre, and back: GSM 03.38 in one octet a septet, or UCS-2, whole or cut into parts.

The alphabet is 3GPP TS 23.038 section 6.2.1, the header of parts TS 23.040 section 9.2.3.24.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from channels.text import Encoding, divided

ALPHABET: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION: Final[Mapping[int, str]] = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
ESCAPE: Final = 0x1B

_OCTETS: Final[Mapping[str, bytes]] = {
    **{character: bytes((code,)) for code, character in enumerate(ALPHABET) if code != ESCAPE},
    **{character: bytes((ESCAPE, code)) for code, character in EXTENSION.items()},
}

#: `data_coding` (section 5.2.19). 0 is the centre's own alphabet, which for GSM carriers is GSM 03.38.
DATA_CODING: Final[Mapping[Encoding, int]] = {"gsm7": 0, "ucs2": 8}

UDH_INDICATOR: Final = 0x40  # in esm_class: the text begins with a header

#: A message is at most this many parts: the parts of one message are written together.
MOST_PARTS: Final = 20


@dataclass(frozen=True, slots=True)
class Coded:
    """A text in the octets of its alphabet, by part; one part when it fits a segment."""

    data_coding: int
    parts: tuple[bytes, ...]


def code(text: str) -> Coded:
    """By segment as `channels.text` divides it."""
    encoding, parts = divided(text)
    return Coded(DATA_CODING[encoding], tuple(map(_septets if encoding == "gsm7" else _units, parts)))


def _septets(text: str) -> bytes:
    return b"".join(map(_OCTETS.__getitem__, text))


def _units(text: str) -> bytes:
    return text.encode("utf-16-be", "replace")


def header(reference: int, parts: int, number: int) -> bytes:
    """What stands before part `number` (from 1) of `parts`; `reference` is 0 to 255."""
    return bytes((5, 0, 3, reference, parts, number))


def read(octets: bytes, data_coding: int, esm_class: int) -> str:
    """The text of a message that somebody sent us. Never raises: what has no meaning is left out or replaced."""
    if esm_class & UDH_INDICATOR and octets:
        octets = octets[1 + octets[0] :]
    if data_coding & 0x0C == 0x08:
        return octets.decode("utf-16-be", "replace")
    if data_coding in {1, 3}:
        return octets.decode("latin-1")
    return "".join(_characters(octets))


def _characters(octets: bytes) -> Iterator[str]:
    """GSM 03.38; an octet that is no septet is taken for Latin-1, which some centres send."""
    escaped = False
    for octet in octets:
        if octet == ESCAPE and not escaped:
            escaped = True
            continue
        if escaped:
            yield EXTENSION.get(octet, " ")
        elif octet < len(ALPHABET):
            yield ALPHABET[octet]
        else:
            yield chr(octet)
        escaped = False
