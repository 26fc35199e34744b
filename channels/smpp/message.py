"""Encodes an SMS as the body of `submit_sm`. Everything but the recipient's number is encoded once for all recipients."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from channels.base import Prepared, Recipient, SmsMessage
from channels.smpp.pdu import LAYOUTS, Command, Tag, cell, tlv
from channels.smpp.settings import SHORT, SmppSettings, numbering
from channels.text import NATIONAL, Coding, Encoding, SmsSettings, TableName, best_coding

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

#: The extension table by septet, or a national table with the extension.
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
#: Identifiers of header elements: one part of a longer text, and the national table of single characters.
PART: Final = 0x00
SINGLE_SHIFT: Final = 0x24

#: Maximum number of parts of a message. The parts of one message are written together.
MOST_PARTS: Final = 20


@dataclass(frozen=True, slots=True)
class Coded:
    """A text in the octets of its alphabet, one entry for each segment, without headers."""

    data_coding: int
    parts: tuple[bytes, ...]
    table: TableName | None = None  # the national table that the header names


def code(coding: Coding) -> Coded:
    """Encodes each segment of a text that `channels.text` has divided. Returns the octets of each segment without its
    user data header (`header` makes that), the value of `data_coding`, and the national table that the header must
    name.
    """
    octets = _OCTETS[coding.table]
    encode = _units if coding.encoding == "ucs2" else lambda part: b"".join(map(octets.__getitem__, part))
    return Coded(DATA_CODING[coding.encoding], tuple(map(encode, coding.parts)), coding.table)


def _units(text: str) -> bytes:
    return text.encode("utf-16-be", "replace")


def header(reference: int, parts: int, number: int, table: TableName | None = None) -> bytes:
    """Returns the user data header of part `number` (from 1) of `parts`; `reference` is 0 to 255. Empty for a single
    part without a national table.
    """
    part = bytes((PART, 3, reference, parts, number)) if parts > 1 else b""
    elements = part + (bytes((SINGLE_SHIFT, 1, NATIONAL[table].identifier)) if table else b"")
    return bytes((len(elements),)) + elements if elements else b""


def elements(octets: bytes, esm_class: int) -> tuple[dict[int, bytes], bytes]:
    """Returns the elements of a message's user data header by identifier, and the octets after the header. Never
    raises, even if an element is cut off.
    """
    if not esm_class & UDH_INDICATOR or not octets:
        return {}, octets
    found, at, end = dict[int, bytes](), 1, 1 + octets[0]
    while at + 1 < min(end, len(octets)):
        size = octets[at + 1]
        found[octets[at]] = octets[at + 2 : at + 2 + size]
        at += 2 + size
    return found, octets[end:]


def decode_text(octets: bytes, data_coding: int, esm_class: int) -> str:
    """Returns the text of a message from a person. Never raises: leaves out or replaces what it cannot decode."""
    header_, octets = elements(octets, esm_class)
    if data_coding & 0x0C == 0x08:
        return octets.decode("utf-16-be", "replace")
    if data_coding in {1, 3}:
        return octets.decode("latin-1")
    table = _NAMES.get(int.from_bytes(header_.get(SINGLE_SHIFT, b"")))
    return "".join(_characters(octets, TABLES[table]))


def _characters(octets: bytes, table: Mapping[int, str]) -> Iterator[str]:
    """Yields the characters of a text in GSM 03.38; `table` has those after an escape. Some centres send Latin-1, so it
    reads an octet above 127 as Latin-1.
    """
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


#: Maximum validity period in seconds. No centre keeps a message for longer, and some refuse a longer period.
LONGEST_VALIDITY_S: Final = 48 * 3600

#: Value of registered_delivery (section 5.2.17): the centre reports the final outcome, success or failure.
_REPORT_ENDS: Final = 1

_SIZES: Final = dict(LAYOUTS[Command.SUBMIT_SM])
_NUMBER: Final = re.compile(r"\+?[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class SmppPayload:
    """The text in the octets of its alphabet, and when it expires (UNIX seconds)."""

    coded: Coded
    expires_s: int


def prepare(message: SmsMessage, settings: SmsSettings) -> Prepared:
    """Returns the prepared message. Its cost is the number of segments, which the carrier bills. Raises `ValueError` if
    the text is empty or has more than 20 segments.
    """
    coding = best_coding(message.text, settings, message.names)
    coded = code(coding)
    if not coding.text or len(coded.parts) > MOST_PARTS:
        raise ValueError(f"an SMS has 1 to {MOST_PARTS} segments, and some text")
    return Prepared(SmppPayload(coded, message.stamp.expires_s), cost=len(coded.parts))


class Writer:
    """Encodes the bodies of `submit_sm` for one account."""

    def __init__(self, settings: SmppSettings) -> None:
        ton, npi = settings.sender_numbering or numbering(settings.sender)
        source = _cells(source_addr_ton=ton, source_addr_npi=npi, source_addr=settings.sender.removeprefix("+"))
        self._head = _cells(service_type=settings.service_type) + source
        self._international = _cells(
            dest_addr_ton=settings.number_numbering[0], dest_addr_npi=settings.number_numbering[1]
        )
        self._short = _cells(dest_addr_ton=SHORT[0], dest_addr_npi=SHORT[1])
        self._long = settings.long
        self._validity = settings.validity
        self._references = itertools.count(secrets.randbelow(256))

    def tails(self, payload: SmppPayload, now_s: float) -> list[bytes]:
        """Returns the octets of `submit_sm` after the recipient's number, one entry per PDU. `now_s`: UNIX seconds.
        Each call puts a new reference into the headers of the parts, so that a phone never joins parts of two tries.
        """
        validity = _cells(validity_period=self._until(payload.expires_s, now_s))
        reference = next(self._references) % 256
        return [self._tail(payload.coded.data_coding, validity, *one) for one in self._pieces(payload.coded, reference)]

    def to(self, recipient: Recipient) -> bytes | None:
        """Returns the octets of `submit_sm` up to the recipient's number, to which a tail is added. None if the address
        is not a number.
        """
        if _NUMBER.fullmatch(recipient.address) is None:
            return None
        kind = self._international if recipient.address[0] == "+" else self._short
        return b"%b%b%b\0" % (self._head, kind, recipient.address.lstrip("+").encode())

    def _pieces(self, coded: Coded, reference: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Yields (esm_class, short_message, optional parameters) of each PDU: one for each segment, or one for all
        segments if the settings ask for `message_payload`.
        """
        parts = coded.parts
        if len(parts) > 1 and self._long == "payload":
            yield 0, b"", tlv(Tag.MESSAGE_PAYLOAD, b"".join(parts))
            return
        for number, part in enumerate(parts, 1):
            before = header(reference, len(parts), number, coded.table)
            yield UDH_INDICATOR if before else 0, before + part, b""

    def _tail(self, data_coding: int, validity: bytes, esm_class: int, text: bytes, parameters: bytes) -> bytes:
        before = _cells(esm_class=esm_class, protocol_id=0, priority_flag=0, schedule_delivery_time="")
        after = _cells(
            registered_delivery=_REPORT_ENDS,
            replace_if_present_flag=0,
            data_coding=data_coding,
            sm_default_msg_id=0,
            short_message=text,
        )
        return before + validity + after + parameters

    def _until(self, expires_s: float, now_s: float) -> str:
        """Returns the validity period (section 7.1.1), or "" if the settings ask for none. A relative time works even
        if the two clocks differ, but some centres only accept an absolute one.
        """
        if self._validity == "none":
            return ""
        left_s = min(max(1, int(expires_s - now_s)), LONGEST_VALIDITY_S)
        if self._validity == "absolute":
            return time.strftime("%y%m%d%H%M%S000+", time.gmtime(now_s + left_s))
        days, rest = divmod(left_s, 86_400)
        return f"0000{days:02}{rest // 3600:02}{rest // 60 % 60:02}{rest % 60:02}000R"


def _cells(**values: int | str | bytes) -> bytes:
    return b"".join(cell(name, _SIZES[name], value) for name, value in values.items())
