"""The numbers of SMPP 3.4: commands, statuses and optional parameters."""

from __future__ import annotations

import enum
from typing import Final

LAST_SEQUENCE: Final = 0x7FFFFFFF
RESPONSE: Final = 0x80000000


class Command(enum.IntEnum):
    """Section 5.1.2.1."""

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
    """Section 5.1.3: those that are said or understood here. Carriers have more of their own, from 0x400 on."""

    OK = 0x00
    INVALID_LENGTH = 0x01  # of the message
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
    """A status in words, with its number: `invalid password (0x0E)`."""
    known = {one.value: one.name.replace("_", " ").lower() for one in Status}
    return f"{known.get(status, 'status')} (0x{status:02X})"


class Tag(enum.IntEnum):
    """Optional parameters that are written or read here (section 5.3.2); others are kept as they come."""

    RECEIPTED_MESSAGE_ID = 0x001E
    SC_INTERFACE_VERSION = 0x0210
    NETWORK_ERROR_CODE = 0x0423
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427
