"""A text as octets for an SMS centre, and back: GSM 03.38 in one octet a septet, or UCS-2, whole or cut into parts.

The alphabet is 3GPP TS 23.038 section 6.2.1, the header TS 23.040 section 9.2.3.24: of parts .1, of national tables .15.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from channels.text import NATIONAL, Coding, Encoding, TableName

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

#: The extension, or the national table that takes its place, by septet.
TABLES: Final[Mapping[TableName | None, Mapping[int, str]]] = {
    None: EXTENSION,
    **{name: {**EXTENSION, **table.beyond} for name, table in NATIONAL.items()},
}
_NAMES: Final = {table.identifier: name for name, table in NATIONAL.items()}

_OCTETS: Final[Mapping[TableName | None, Mapping[str, bytes]]] = {
    name: {
        **{character: bytes((ESCAPE, code)) for code, character in table.items()},
        **{character: bytes((code,)) for code, character in enumerate(ALPHABET) if code != ESCAPE},
    }
    for name, table in TABLES.items()
}

#: `data_coding` (section 5.2.19). 0 is the centre's own alphabet, which for GSM carriers is GSM 03.38.
DATA_CODING: Final[Mapping[Encoding, int]] = {"gsm7": 0, "ucs2": 8}

UDH_INDICATOR: Final = 0x40  # in esm_class: the text begins with a header
#: Elements of a header: a part of a longer text, and the national table of single characters.
PART: Final = 0x00
SINGLE_SHIFT: Final = 0x24

#: A message is at most this many parts: the parts of one message are written together.
MOST_PARTS: Final = 20


@dataclass(frozen=True, slots=True)
class Coded:
    """A text in the octets of its alphabet, by part; one part when it fits a segment."""

    data_coding: int
    parts: tuple[bytes, ...]
    table: TableName | None = None  # the national table that a header has to name


def code(coding: Coding) -> Coded:
    """By segment as `channels.text` divides it."""
    octets = _OCTETS[coding.table]
    encode = _units if coding.encoding == "ucs2" else lambda part: b"".join(map(octets.__getitem__, part))
    return Coded(DATA_CODING[coding.encoding], tuple(map(encode, coding.parts)), coding.table)


def _units(text: str) -> bytes:
    return text.encode("utf-16-be", "replace")


def header(reference: int, parts: int, number: int, table: TableName | None = None) -> bytes:
    """What stands before part `number` (from 1) of `parts`; `reference` is 0 to 255. Empty for a single part without a national table."""
    part = bytes((PART, 3, reference, parts, number)) if parts > 1 else b""
    elements = part + (bytes((SINGLE_SHIFT, 1, NATIONAL[table].identifier)) if table else b"")
    return bytes((len(elements),)) + elements if elements else b""


def elements(octets: bytes, esm_class: int) -> tuple[dict[int, bytes], bytes]:
    """Returns the elements of a message's header, and the octets behind it. Never raises: skips an element that is cut off."""
    if not esm_class & UDH_INDICATOR or not octets:
        return {}, octets
    found, at, end = dict[int, bytes](), 1, 1 + octets[0]
    while at + 1 < min(end, len(octets)):
        size = octets[at + 1]
        found[octets[at]] = octets[at + 2 : at + 2 + size]
        at += 2 + size
    return found, octets[end:]


def decode_text(octets: bytes, data_coding: int, esm_class: int) -> str:
    """The text of a message that somebody sent us. Never raises: what has no meaning is left out or replaced."""
    header_, octets = elements(octets, esm_class)
    if data_coding & 0x0C == 0x08:
        return octets.decode("utf-16-be", "replace")
    if data_coding in {1, 3}:
        return octets.decode("latin-1")
    table = _NAMES.get(int.from_bytes(header_.get(SINGLE_SHIFT, b"")))
    return "".join(_characters(octets, TABLES[table]))


def _characters(octets: bytes, table: Mapping[int, str]) -> Iterator[str]:
    """GSM 03.38; an octet that is no septet is taken for Latin-1, which some centres send."""
    escaped = False
    for octet in octets:
        if octet == ESCAPE and not escaped:
            escaped = True
            continue
        if escaped:
            yield table.get(octet, " ")
        elif octet < len(ALPHABET):
            yield ALPHABET[octet]
        else:
            yield chr(octet)
        escaped = False
