"""The PDUs of SMPP 3.4 (Issue 1.2, sections 3 to 5): frames, mandatory fields and optional parameters, as tables.

The functions do no I/O. `decode` turns any frame into a `Pdu` or raises `PduError`, never another exception.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

LAST_SEQUENCE: Final = 0x7FFFFFFF
RESPONSE: Final = 0x80000000


class Command(enum.IntEnum):
    """The commands of SMPP 3.4, section 5.1.2.1."""

    BIND_RECEIVER = 0x01
    BIND_TRANSMITTER = 0x02
    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    ENQUIRE_LINK = 0x15
    ALERT_NOTIFICATION = 0x102
    DATA_SM = 0x103
    GENERIC_NACK = RESPONSE
    BIND_RECEIVER_RESP = RESPONSE | 0x01
    BIND_TRANSMITTER_RESP = RESPONSE | 0x02
    SUBMIT_SM_RESP = RESPONSE | 0x04
    DELIVER_SM_RESP = RESPONSE | 0x05
    UNBIND_RESP = RESPONSE | 0x06
    BIND_TRANSCEIVER_RESP = RESPONSE | 0x09
    ENQUIRE_LINK_RESP = RESPONSE | 0x15
    DATA_SM_RESP = RESPONSE | 0x103


class Status(enum.IntEnum):
    """The statuses that alertd sends or understands (section 5.1.3). Carriers define their own from 0x400 on."""

    OK = 0x00
    INVALID_LENGTH = 0x01  # length of the message
    INVALID_COMMAND_LENGTH = 0x02
    INVALID_COMMAND = 0x03
    INVALID_BIND_STATE = 0x04
    ALREADY_BOUND = 0x05
    INVALID_PRIORITY = 0x06
    INVALID_REGISTERED = 0x07
    SYSTEM_ERROR = 0x08
    INVALID_SOURCE = 0x0A
    INVALID_DESTINATION = 0x0B
    INVALID_MESSAGE_ID = 0x0C
    BIND_FAILED = 0x0D
    INVALID_PASSWORD = 0x0E
    INVALID_SYSTEM_ID = 0x0F
    QUEUE_FULL = 0x14
    INVALID_SERVICE_TYPE = 0x15
    INVALID_ESM_CLASS = 0x43
    SUBMIT_FAILED = 0x45
    INVALID_SOURCE_TON = 0x48
    INVALID_SOURCE_NPI = 0x49
    INVALID_DESTINATION_TON = 0x50
    INVALID_DESTINATION_NPI = 0x51
    INVALID_SYSTEM_TYPE = 0x53
    THROTTLED = 0x58
    INVALID_SCHEDULE = 0x61
    INVALID_EXPIRY = 0x62
    RECEIVER_TEMPORARY = 0x64
    RECEIVER_PERMANENT = 0x65
    RECEIVER_REJECTS = 0x66
    INVALID_PARAMETERS = 0xC0
    PARAMETER_NOT_ALLOWED = 0xC1
    INVALID_PARAMETER_LENGTH = 0xC2
    MISSING_PARAMETER = 0xC3
    INVALID_PARAMETER_VALUE = 0xC4
    DELIVERY_FAILURE = 0xFE
    UNKNOWN_ERROR = 0xFF


def name_of(status: int) -> str:
    """Returns a status as words and number, for instance `invalid password (0x0E)`."""
    known = {one.value: one.name.replace("_", " ").lower() for one in Status}
    return f"{known.get(status, 'status')} (0x{status:02X})"


class Tag(enum.IntEnum):
    """The optional parameters that alertd writes or reads (section 5.3.2). A `Pdu` also holds all others."""

    RECEIPTED_MESSAGE_ID = 0x001E
    SC_INTERFACE_VERSION = 0x0210
    NETWORK_ERROR_CODE = 0x0423
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427


HEADER: Final = struct.Struct(">IIII")  # length, command, status, sequence
_TLV: Final = struct.Struct(">HH")

#: Maximum octets of a PDU. The largest parameter has 64 KiB; all other fields of a PDU together have far less than 4
#: KiB.
LONGEST_PDU: Final = 0x10000 + 4096

#: The least and most octets in the value of a parameter.
TAG_SIZES: Final[Mapping[int, tuple[int, int]]] = {
    Tag.RECEIPTED_MESSAGE_ID: (1, 65),
    Tag.SC_INTERFACE_VERSION: (1, 1),
    Tag.NETWORK_ERROR_CODE: (3, 3),
    Tag.MESSAGE_STATE: (1, 1),
}

#: Name and size of each mandatory field. The size is the maximum number of octets with the terminator, 0 for one octet,
#: or -1 for octets with a length before them.
Layout = tuple[tuple[str, int], ...]

_BIND: Final[Layout] = (
    ("system_id", 16),
    ("password", 65),  # the standard says 9, but many centres allow more
    ("system_type", 13),
    ("interface_version", 0),
    ("addr_ton", 0),
    ("addr_npi", 0),
    ("address_range", 41),
)
_SOURCE: Final[Layout] = (("source_addr_ton", 0), ("source_addr_npi", 0), ("source_addr", 21))
_DESTINATION: Final[Layout] = (("dest_addr_ton", 0), ("dest_addr_npi", 0), ("destination_addr", 21))
_MESSAGE: Final[Layout] = (
    ("service_type", 6),
    *_SOURCE,
    *_DESTINATION,
    ("esm_class", 0),
    ("protocol_id", 0),
    ("priority_flag", 0),
    ("schedule_delivery_time", 17),
    ("validity_period", 17),
    ("registered_delivery", 0),
    ("replace_if_present_flag", 0),
    ("data_coding", 0),
    ("sm_default_msg_id", 0),
    ("short_message", -1),
)
#: Fields of data_sm (section 4.7.1), whose text is in the optional parameters.
_DATA: Final[Layout] = (
    ("service_type", 6),
    *((name, 65 if size else 0) for name, size in (*_SOURCE, *_DESTINATION)),
    ("esm_class", 0),
    ("registered_delivery", 0),
    ("data_coding", 0),
)
_MESSAGE_ID: Final[Layout] = (("message_id", 65),)
_SYSTEM_ID: Final[Layout] = (("system_id", 16),)

LAYOUTS: Final[Mapping[int, Layout]] = {
    Command.BIND_RECEIVER: _BIND,
    Command.BIND_TRANSMITTER: _BIND,
    Command.BIND_TRANSCEIVER: _BIND,
    Command.BIND_RECEIVER_RESP: _SYSTEM_ID,
    Command.BIND_TRANSMITTER_RESP: _SYSTEM_ID,
    Command.BIND_TRANSCEIVER_RESP: _SYSTEM_ID,
    Command.SUBMIT_SM: _MESSAGE,
    Command.SUBMIT_SM_RESP: _MESSAGE_ID,
    Command.DELIVER_SM: _MESSAGE,
    Command.DELIVER_SM_RESP: _MESSAGE_ID,
    Command.DATA_SM: _DATA,
    Command.DATA_SM_RESP: _MESSAGE_ID,
    Command.UNBIND: (),
    Command.UNBIND_RESP: (),
    Command.ENQUIRE_LINK: (),
    Command.ENQUIRE_LINK_RESP: (),
    Command.GENERIC_NACK: (),
}


class PduError(ValueError):
    """The input is not valid SMPP. `status` is the code of section 5.1.3 for the refusal. `command` and `sequence` are
    from the header of the frame, or 0 if it was not read.
    """

    def __init__(self, sentence: str, status: Status, header: tuple[int, int, int] = (0, 0, 0)) -> None:
        super().__init__(sentence)
        self.status = status
        self.command, _, self.sequence = header


@dataclass(frozen=True, slots=True)
class Pdu:
    """One protocol data unit. Text fields are decoded as Latin-1, which loses nothing. `short_message` and the
    parameters are octets.
    """

    command: int
    sequence: int
    status: int = 0
    fields: Mapping[str, int | str | bytes] = field(default_factory=dict)
    tlvs: Mapping[int, bytes] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Returns a text field, or "" if it is missing."""
        value = self.fields.get(name, "")
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """Returns a field of one octet, or 0 if it is missing."""
        value = self.fields.get(name, 0)
        return value if isinstance(value, int) else 0

    @property
    def message(self) -> bytes:
        """Returns the octets of the text with its header, from `short_message` or else from message_payload."""
        value = self.fields.get("short_message", b"")
        short = value if isinstance(value, bytes) else b""
        return short or self.tlvs.get(Tag.MESSAGE_PAYLOAD, b"")


def encode(pdu: Pdu) -> bytes:
    """Returns one whole frame. Missing fields become 0 or empty. Raises `ValueError` if a field is too long."""
    parts = [b""]
    if not (pdu.status and pdu.command & RESPONSE):  # a refusal has no body (e.g. section 4.4.2)
        parts += [cell(name, size, pdu.fields.get(name)) for name, size in LAYOUTS[pdu.command]]
    parts += [tlv(tag, value) for tag, value in pdu.tlvs.items()]
    body = b"".join(parts)
    return HEADER.pack(16 + len(body), pdu.command, pdu.status, pdu.sequence) + body


def cell(name: str, size: int, value: int | str | bytes | None) -> bytes:
    """Returns the octets of one mandatory field; None is 0 or empty. `size` is as in `Layout`. Raises `ValueError` if
    the value has the wrong type or is too long.
    """
    if size == 0 and (value is None or isinstance(value, int)):
        return bytes((value or 0,))
    if size < 0 and (value is None or isinstance(value, bytes)) and len(value or b"") <= 254:
        return bytes((len(value or b""),)) + (value or b"")
    if size > 0 and (value is None or isinstance(value, str)):
        octets = (value or "").encode("latin-1")
        if len(octets) < size and b"\0" not in octets:
            return octets + b"\0"
    raise ValueError(f"{name} does not fit its field")


def tlv(tag: int, value: bytes) -> bytes:
    """Returns the octets of one optional parameter."""
    return _TLV.pack(tag, len(value)) + value


def decode(frame: bytes) -> Pdu:
    """Returns the PDU in one whole frame. Raises `PduError` if it is malformed."""
    length, command, status, sequence = HEADER.unpack_from(frame)
    header = (command, status, sequence)
    layout = LAYOUTS.get(command)
    if layout is None:
        raise PduError("a command that is not known", Status.INVALID_COMMAND, header)
    if command & RESPONSE and (status or length == HEADER.size):  # ignore any body of a refusal
        return Pdu(command, sequence, status)
    try:
        fields, at = _fields(frame, layout)
        return Pdu(command, sequence, status, fields, _tlvs(frame, at) if at < length else {})
    except IndexError:
        raise PduError("a field goes beyond the end", Status.INVALID_COMMAND_LENGTH, header) from None
    except PduError as error:
        raise PduError(str(error), error.status, header) from None


def _fields(frame: bytes, layout: Layout) -> tuple[dict[str, int | str | bytes], int]:
    """Returns the mandatory fields of a frame and the position after them. Raises `PduError` or IndexError if one is
    cut off.
    """
    fields: dict[str, int | str | bytes] = {}
    at = HEADER.size
    for name, size in layout:
        if size == 0:
            fields[name] = frame[at]
            at += 1
        elif size > 0:
            end = frame.find(b"\0", at, at + size)
            if end < 0:
                raise PduError(f"{name} has no end", Status.INVALID_COMMAND_LENGTH)
            fields[name] = frame[at:end].decode("latin-1")
            at = end + 1
        else:
            end = at + 1 + frame[at]
            if end > len(frame):
                raise PduError(f"{name} goes beyond the end", Status.INVALID_COMMAND_LENGTH)
            fields[name] = frame[at + 1 : end]
            at = end
    return fields, at


def _tlvs(frame: bytes, at: int) -> dict[int, bytes]:
    """Returns the optional parameters; the first valid one of a tag counts. Skips each that the frame cuts off or that
    has a wrong size for its tag. If the PDU were refused instead, a receipt or a STOP would be lost, and a bind could
    fail for ever.
    """
    found: dict[int, bytes] = {}
    while at + _TLV.size <= len(frame):
        tag, length = _TLV.unpack_from(frame, at)
        value = frame[at + _TLV.size : at + _TLV.size + length]
        least, most = TAG_SIZES.get(tag, (0, 0xFFFF))
        if len(value) == length and least <= length <= most:
            found.setdefault(tag, value)
        at += _TLV.size + length
    return found


class Frames:
    """Cuts a byte stream into frames. Buffers less than one frame of the maximum length."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yields the frames that are whole now. Raises `PduError` for an impossible length, because no later frame can
        be found after it.
        """
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while end - at >= HEADER.size:
            length, *header = HEADER.unpack_from(data, at)
            if not HEADER.size <= length <= LONGEST_PDU:
                self._rest = b""
                raise PduError(
                    "a frame of impossible length", Status.INVALID_COMMAND_LENGTH, (header[0], header[1], header[2])
                )
            if end - at < length:
                break
            yield data[at : at + length]
            at += length
        self._rest = data[at:]

    @property
    def half(self) -> bool:
        """Returns whether part of a frame has arrived."""
        return bool(self._rest)
