"""Parses delivery receipts from `deliver_sm` or `data_sm`, and matches them to the messages.

A receipt has its facts in its text (SMPP 3.4 appendix B), which each carrier writes a little differently, or in
optional parameters (section 5.3.2), or in both.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from channels.base import Reason
from channels.smpp.pdu import Pdu, Tag
from channels.sms_answers import SmsState

#: How a carrier writes an id in the answer to a message, and then in the receipt. Leading zeros and case never matter.
IdForm = Literal["same", "hex-then-decimal", "decimal-then-hex"]

#: Bits 5 to 2 of `esm_class`, and the two values that mark a receipt and an intermediate notification.
_KIND: Final = 0x3C
_RECEIPT_KINDS: Final = frozenset({0x04, 0x20})

#: State and reason by the first five letters of a receipt's status word (appendix B, table B-2). Five, because carriers
#: shorten and lengthen the words.
_WORDS: Final[Mapping[str, tuple[SmsState, Reason]]] = {
    "DELIV": (SmsState.DELIVERED, Reason.NONE),
    "EXPIR": (SmsState.FAILED, Reason.TIMEOUT),
    "DELET": (SmsState.FAILED, Reason.NONE),  # alertd cancelled it, or the centre dropped it
    "UNDEL": (SmsState.FAILED, Reason.UNAVAILABLE),
    "ACCEP": (SmsState.ACCEPTED, Reason.NONE),
    "ENROU": (SmsState.ACCEPTED, Reason.NONE),
    "BUFFE": (SmsState.ACCEPTED, Reason.NONE),
    "UNKNO": (SmsState.ACCEPTED, Reason.NONE),  # the centre does not know the state: nothing new
    "REJEC": (SmsState.FAILED, Reason.BLOCKED),
}
#: The same status words by the number of the message_state parameter (section 5.2.28).
_STATES: Final[Mapping[int, str]] = {
    1: "ENROU",
    2: "DELIV",
    3: "EXPIR",
    4: "DELET",
    5: "UNDEL",
    6: "ACCEP",
    7: "UNKNO",
    8: "REJEC",
}

_FIELD: Final = re.compile(r"\b(id|stat)\s*:\s*([^\s:]+)", re.IGNORECASE)

#: Number of octets to parse. A receipt's text has about 120 characters; the start of the original message may follow.
_TEXT: Final = 300


#: Separates the ids of a message's parts in `Outcome.message_id`.
BETWEEN_IDS: Final = ","


@dataclass(frozen=True, slots=True)
class Receipt:
    """One parsed receipt. `ids` are the possible ids of its message, the most likely first."""

    ids: tuple[str, ...]
    state: SmsState
    reason: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class Report:
    """The progress of one message, for the caller. `tag` is None if this process does not know the message, or if a
    part was delivered and others are open: the caller may know from other processes that this part was the last.

    ACCEPTED only comes for a message that was answered after its time-out. `message_id` then holds the ids of all
    parts.
    """

    tag: str | None
    message_id: str
    state: SmsState
    reason: Reason


def is_receipt(pdu: Pdu) -> bool:
    """Returns whether the PDU is a receipt, by `esm_class` or the receipted_message_id parameter. The text does not
    count: anyone can send a text that looks like a receipt.
    """
    return pdu.number("esm_class") & _KIND in _RECEIPT_KINDS or Tag.RECEIPTED_MESSAGE_ID in pdu.tlvs


def plain(message_id: str) -> str:
    """Returns an id in lower case, without spaces around it and without leading zeros ("0" if it is all zeros), so that
    spellings that differ only in these are equal.
    """
    return message_id.strip().casefold().lstrip("0") or "0"


def names_of(message_id: str) -> tuple[str, ...]:
    """Returns the ids of a message's parts, in the form in which they are compared."""
    return tuple(plain(one) for one in message_id.split(BETWEEN_IDS))


def parse_receipt(pdu: Pdu, form: IdForm = "same") -> Receipt | None:
    """Returns the parsed receipt, or None if it has no id or no known state."""
    said = {name.lower(): value for name, value in reversed(_FIELD.findall(pdu.message[:_TEXT].decode("latin-1")))}
    state = pdu.tlvs.get(Tag.MESSAGE_STATE)
    word = _STATES.get(state[0], "") if state else said.get("stat", "")[:5].upper()
    found = _WORDS.get(word)
    ids = _ids(pdu, said.get("id"), form)
    if found is None or not ids:
        return None
    return Receipt(ids, *found)


def _ids(pdu: Pdu, of_text: str | None, form: IdForm) -> tuple[str, ...]:
    """Returns the possible ids of the message of a receipt, in the form of the answer. The parameter should hold the id
    in that form. If the parameter only repeats the id in the text, it has the form of the text and is converted, too.
    """
    of_tlv = pdu.tlvs.get(Tag.RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0").decode("latin-1") or None
    repeats = of_tlv is not None and of_text is not None and plain(of_tlv) == plain(of_text) and form != "same"
    ids = [] if of_tlv is None or repeats else [plain(of_tlv)]
    if of_text is not None:
        ids.append(_as_answered(of_text, form))
    return tuple(dict.fromkeys(ids))


def _as_answered(receipted: str, form: IdForm) -> str:
    """Returns the id of a receipt in the form that it has in the answer. An id that is not a number keeps its form."""
    try:
        if form == "hex-then-decimal":
            return f"{int(receipted, 10):x}"
        if form == "decimal-then-hex":
            return str(int(receipted, 16))
    except ValueError:
        pass  # not a number
    return plain(receipted)


@dataclass(slots=True)
class _Sent:
    """One accepted message of one or more parts."""

    tag: str
    parts: int  # not yet delivered
    at_s: float
    told: SmsState | None = None  # the last reported state


#: If a second message is accepted under the same id within this many seconds, the id is ambiguous. After more seconds,
#: the id belongs to the newer message.
_OF_ONE_S: Final = 86_400.0


def _counted(tag: str, at_s: float) -> _Sent:
    """Returns a placeholder that never yields a report: for a part that was already counted as delivered, and for an
    ambiguous id.
    """
    return _Sent(tag, 0, at_s, SmsState.DELIVERED)


class ReceiptMatcher:
    """Matches receipts to the answers with their ids, in either order. Reports the final state of a message once:
    delivered when all parts are delivered, failed when one part has failed.

    If two messages were accepted under the same id, its receipts are ignored: some centres give all messages one id or
    restart their numbering. Memory is bounded: if it is full, the older half is forgotten. A receipt for a forgotten
    message, or one sent elsewhere, is reported without a tag after `patience_s` seconds.
    """

    def __init__(self, now: Callable[[], float], *, remember: int = 300_000, patience_s: float = 10.0) -> None:
        self._now = now
        self._half = max(1, remember // 2)
        self._patience_s = patience_s
        self._new: dict[str, _Sent] = {}
        self._old: dict[str, _Sent] = {}
        self._early: OrderedDict[str, tuple[Receipt, float]] = OrderedDict()

    def sent(self, tag: str, message_ids: Sequence[str]) -> list[Report]:
        """Records that a message was accepted under these ids, one per part. Returns the reports of receipts that
        arrived before.
        """
        message = _Sent(tag, len(message_ids), self._now())
        reports: list[Report] = []
        for key in map(plain, message_ids):
            standing = self._new.get(key) or self._old.get(key)
            if len(self._new) >= self._half:
                self._old, self._new = self._new, {}
            if standing is not None and standing.tag != tag and message.at_s < standing.at_s + _OF_ONE_S:
                self._new[key] = _counted("", message.at_s)
                continue
            self._new[key] = message
            if self._early and (early := self._early.get(key)) is not None:
                self._forget(early[0])
                reports += self._tell(key, message, early[0])
        return reports

    def take(self, receipt: Receipt) -> list[Report]:
        """Records a receipt and returns the reports that it adds. A receipt without a known message is kept for
        `patience_s` seconds, in case the answer with its id comes later.
        """
        for key in receipt.ids:
            message = self._new.get(key) or self._old.get(key)
            if message is not None:
                return self._tell(key, message, receipt)
        earlier = self._early.get(receipt.ids[0])
        if earlier is None or earlier[0].state is SmsState.ACCEPTED:
            until_s = earlier[1] if earlier else self._now() + self._patience_s
            self._early |= dict.fromkeys(receipt.ids, (receipt, until_s))
        return []

    def strays(self) -> list[Report]:
        """Removes the receipts that matched no message within `patience_s` seconds, and returns a report without a tag
        for each. If too many wait, also takes the oldest.
        """
        now_s, reports = self._now(), list[Report]()
        while self._early:
            receipt, until_s = next(iter(self._early.values()))
            if now_s < until_s and len(self._early) <= self._half:
                break
            self._forget(receipt)
            if receipt.state is not SmsState.ACCEPTED:
                reports.append(Report(None, receipt.ids[0], receipt.state, receipt.reason))
        return reports

    def _forget(self, receipt: Receipt) -> None:
        for key in receipt.ids:
            self._early.pop(key, None)

    def _tell(self, key: str, message: _Sent, receipt: Receipt) -> list[Report]:
        """Records a receipt for a known message, and returns a report unless it says nothing new."""
        if receipt.state is SmsState.ACCEPTED or message.told in {receipt.state, SmsState.DELIVERED}:
            return []
        if receipt.state is SmsState.DELIVERED:
            (self._new if key in self._new else self._old)[key] = _counted(message.tag, message.at_s)
            message.parts -= 1
            if message.parts:
                return [Report(None, key, receipt.state, receipt.reason)]
        message.told = receipt.state
        return [Report(message.tag, key, receipt.state, receipt.reason)]
