"""What the local SMS centre knows: what it may be told to do, how it goes about receipts, and the units it makes of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from channels.base import Answer, Outcome, Reason
from channels.smpp.names import Command, Status, Tag
from channels.smpp.pdu import HEADER, Pdu, encode
from channels.smpp.receipts import IdForm

SYSTEM_ID = "sandbox"
PASSWORD = "sandbox"  # noqa: S105 it guards nothing: the sandbox listens on 127.0.0.1
SENDER = "12345"

#: A code of this carrier's own: the person opted out.
OPTED_OUT: Final = 0x400
#: Another, of which the carrier says nothing.
UNEXPLAINED: Final = 0x4FE
STATUSES: Final = {OPTED_OUT: Outcome(Answer.NEVER, Reason.GONE)}

# What a rule may `do`, with the answer.
REFUSALS = {
    "throttle": Status.THROTTLED,
    "queue-full": Status.QUEUE_FULL,
    "unavailable": Status.SYSTEM_ERROR,
    "opted-out": OPTED_OUT,
    "invalid-number": Status.INVALID_DESTINATION,
    "blocked": Status.RECEIVER_REJECTS,
    "bad-message": Status.INVALID_LENGTH,
    "defer": Status.RECEIVER_TEMPORARY,
    "unexplained": UNEXPLAINED,
}

# Accepted, and then reported like this.
FAILURES = {"undelivered": "UNDELIV", "expired": "EXPIRED", "rejected": "REJECTD"}

# Besides: `stall` takes the message and never answers, `slow` answers after `delay_s`, `reset` takes it and cuts the connection,
# `garbage` answers with an HTTP page, `half` with half a frame before it cuts, `oversized` with a frame of 4 GiB, `stranger` under a
# number that nobody asked, `unreadable` with an id that has no end, `nack` with generic_nack.
BEHAVIOURS = frozenset(
    {
        *REFUSALS,
        *FAILURES,
        "stall",
        "slow",
        "reset",
        "garbage",
        "half",
        "oversized",
        "stranger",
        "unreadable",
        "nack",
    }
)

STATES = {"DELIVRD": 2, "EXPIRED": 3, "DELETED": 4, "UNDELIV": 5, "REJECTD": 8}

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Please sign in</html>"

Fields = dict[str, int | str | bytes]


@dataclass(slots=True, kw_only=True)
class Habits:
    """How this carrier goes about its receipts, how many binds an account has, and how many parts a second it accepts."""

    receipts: bool = True
    delay_s: float = 0.0
    first: bool = False  # before the answer to the message
    form: Literal["text", "parameters", "both"] = "both"
    ids: IdForm = "same"
    zeros: int = 0  # before the id of a receipt
    binds: int | None = None  # at a time; None: as many as anybody wants
    parts_per_s: int | None = None  # accepted in any second, over all binds; the rest is throttled. None: no limit


def receipt(message_id: str, word: str, habits: Habits) -> tuple[Fields, dict[int, bytes]]:
    """The fields and parameters of a receipt. `message_id` is as it was answered, `word` as in appendix B."""
    shown = message_id
    if habits.ids == "hex-then-decimal":
        shown = str(int(message_id, 16))
    elif habits.ids == "decimal-then-hex":
        shown = f"{int(message_id):X}"
    shown = "0" * habits.zeros + shown
    text = f"id:{shown} sub:001 dlvrd:001 submit date:2611240940 done date:2611240941 stat:{word} err:000 text:"
    fields: Fields = {"source_addr": "34600000000", "destination_addr": SENDER, "esm_class": 4}
    tlvs: dict[int, bytes] = {}
    if habits.form != "parameters":
        fields["short_message"] = text.encode()
    if habits.form != "text":
        tlvs[Tag.RECEIPTED_MESSAGE_ID] = message_id.encode() + b"\0"
        tlvs[Tag.MESSAGE_STATE] = bytes((STATES.get(word, 7),))
    return fields, tlvs


def from_person(number: str, text: str) -> Fields:
    """The fields of what somebody writes to us: an E.164 number and any text."""
    data_coding, octets = (1, text.encode()) if text.isascii() else (8, text.encode("utf-16-be"))
    return {
        "source_addr_ton": 1,
        "source_addr_npi": 1,
        "source_addr": number.removeprefix("+"),
        "destination_addr": SENDER,
        "data_coding": data_coding,
        "short_message": octets,
    }


def nonsense(behaviour: str, sequence: int) -> bytes:
    """What is answered instead of an answer; nothing for a behaviour that is silent."""
    unreadable = HEADER.pack(18, Command.SUBMIT_SM_RESP, 0, sequence) + b"ab"
    octets = {
        "garbage": PAGE,
        "half": unreadable[:12],
        "oversized": HEADER.pack(0xFFFFFFFF, Command.SUBMIT_SM_RESP, 0, sequence),
        "stranger": encode(Pdu(Command.SUBMIT_SM_RESP, 0x7FFFFFF0, fields={"message_id": "1"})),
        "unreadable": unreadable,
        "nack": encode(Pdu(Command.GENERIC_NACK, sequence, Status.SYSTEM_ERROR)),
    }
    return octets.get(behaviour, b"")


def address(pdu: Pdu) -> str:
    """Whom a message is for, as it was before the carrier's own form."""
    return ("+" if pdu.number("dest_addr_ton") == 1 else "") + pdu.text("destination_addr")
