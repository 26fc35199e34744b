"""A text message as the body of `submit_sm`: all of it once, but for the number it goes to."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from channels.base import Prepared, Recipient, SmsMessage
from channels.smpp.coding import MOST_PARTS, UDH_INDICATOR, Coded, code, header
from channels.smpp.names import Command, Tag
from channels.smpp.pdu import LAYOUTS, cell, tlv
from channels.smpp.settings import SHORT, SmppSettings, numbering
from channels.text import SmsSettings, best_coding

#: A message that nobody asked to end is kept by no centre for longer than this, and some refuse more.
LONGEST_VALIDITY_S: Final = 48 * 3600

#: Section 5.2.17: the centre reports how it ended, whichever way.
_REPORT_ENDS: Final = 1

_SIZES: Final = dict(LAYOUTS[Command.SUBMIT_SM])
_NUMBER: Final = re.compile(r"\+?[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class SmppPayload:
    """The text in the octets of its alphabet, and when it is worth nothing any more (UNIX seconds)."""

    coded: Coded
    expires_s: int


def prepare(message: SmsMessage, settings: SmsSettings) -> Prepared:
    """Costs what the carrier bills: segments. Raises `ValueError` for an empty text and one that is too long."""
    coding = best_coding(message.text, settings, message.names)
    coded = code(coding)
    if not coding.text or len(coded.parts) > MOST_PARTS:
        raise ValueError(f"an SMS has 1 to {MOST_PARTS} segments, and some text")
    return Prepared(SmppPayload(coded, message.stamp.expires_s), cost=len(coded.parts))


class Writer:
    """Makes the bodies for one account."""

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
        """What follows the number, one of each PDU. Parts get a reference of their own at each call, so that a second try is no mixture."""
        validity = _cells(validity_period=self._until(payload.expires_s, now_s))
        reference = next(self._references) % 256
        return [self._tail(payload.coded.data_coding, validity, *one) for one in self._pieces(payload.coded, reference)]

    def to(self, recipient: Recipient) -> bytes | None:
        """What goes before the tail, or None when there is no such number."""
        if _NUMBER.fullmatch(recipient.address) is None:
            return None
        kind = self._international if recipient.address[0] == "+" else self._short
        return b"%b%b%b\0" % (self._head, kind, recipient.address.lstrip("+").encode())

    def _pieces(self, coded: Coded, reference: int) -> Iterator[tuple[int, bytes, bytes]]:
        """(esm_class, short_message, parameters) of each PDU."""
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
        """Section 7.1.1: a relative time needs no agreement about clocks, but some centres take the absolute one only."""
        if self._validity == "none":
            return ""
        left_s = min(max(1, int(expires_s - now_s)), LONGEST_VALIDITY_S)
        if self._validity == "absolute":
            return time.strftime("%y%m%d%H%M%S000+", time.gmtime(now_s + left_s))
        days, rest = divmod(left_s, 86_400)
        return f"0000{days:02}{rest // 3600:02}{rest // 60 % 60:02}{rest % 60:02}000R"


def _cells(**values: int | str | bytes) -> bytes:
    return b"".join(cell(name, _SIZES[name], value) for name, value in values.items())
