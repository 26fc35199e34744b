"""A simulated SMS centre (SMPP 3.4) with receipts and people's answers. It misbehaves for numbers with a prefix that a
rule names.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, cast

from channels.base import Answer, Outcome, Reason
from channels.sandbox.authority import Authority
from channels.sandbox.script import Recorded, Rule, Script
from channels.smpp.message import PART, decode_text, elements
from channels.smpp.pdu import HEADER, RESPONSE, Command, Frames, Pdu, PduError, Status, Tag, decode, encode
from channels.smpp.receipts import IdForm

SYSTEM_ID = "sandbox"
PASSWORD = "sandbox"  # noqa: S105 it guards nothing: the sandbox listens on 127.0.0.1
SENDER = "12345"

#: This carrier's own code: the person opted out.
OPTED_OUT: Final = 0x400
#: A code of this carrier that its documents do not explain.
UNEXPLAINED: Final = 0x4FE
STATUSES: Final = {OPTED_OUT: Outcome(Answer.NEVER, Reason.GONE)}

# The values of a rule's `do` that refuse the message, with the status of the answer.
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

# Behaviours that accept the message and report this failure.
FAILURES = {"undelivered": "UNDELIV", "expired": "EXPIRED", "rejected": "REJECTD"}

# Further behaviours: `stall` records the message and never answers; `slow` accepts after `delay_s`; `reset` records the
# message and cuts the connection. The others record nothing: `garbage` answers with an HTTP page; `half` sends half a
# frame and disconnects; `oversized` sends a frame of 4 GiB; `stranger` answers under an unused sequence number;
# `unreadable` sends an id without an end; `nack` answers generic_nack.
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
    """The carrier's habits: its receipts, the binds of an account, and the parts it accepts each second."""

    receipts: bool = True
    delay_s: float = 0.0
    first: bool = False  # the receipt comes before the answer to the message
    form: Literal["text", "parameters", "both"] = "both"
    ids: IdForm = "same"
    zeros: int = 0  # leading zeros in the id of a receipt
    binds: int | None = None  # at a time; None: no limit
    # Accepted within any second, over all binds; the rest is throttled. None: no limit.
    parts_per_s: int | None = None


def receipt(message_id: str, word: str, habits: Habits) -> tuple[Fields, dict[int, bytes]]:
    """Returns the fields and parameters of a receipt. `message_id` has the form of the answer to the message; `word` is
    the status word (SMPP 3.4 appendix B).
    """
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
    """Returns the fields of a message from a person: an E.164 number and any text."""
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
    """Returns the octets sent instead of a valid answer, or none for a silent behaviour."""
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
    """Returns the recipient's address as alertd has it: with a plus if it is international."""
    return ("+" if pdu.number("dest_addr_ton") == 1 else "") + pdu.text("destination_addr")


BINDS = {
    Command.BIND_TRANSCEIVER: (True, True),
    Command.BIND_TRANSMITTER: (True, False),
    Command.BIND_RECEIVER: (False, True),
}


class SmscSandbox:
    """A simulated SMS centre. `messages` holds the accepted PDUs if `keep` is set. `acknowledged` counts the client's
    answers to deliveries, by status.
    """

    def __init__(self, authority: Authority | None, habits: Habits | None = None, *, keep: bool = False) -> None:
        """Without an authority, connections are not encrypted."""
        self.script = Script(BEHAVIOURS)
        self.recorded = Recorded()
        self.habits = habits or Habits()
        self.texts: dict[str, str] = {}  # by recorded version
        self.messages: list[Pdu] | None = [] if keep else None
        self.acknowledged: Counter[int] = Counter()
        self.links: list[Link] = []
        self.links_made = 0
        self.throttled = 0  # submissions refused because of `parts_per_s`
        self.port = 0
        self._context = authority.server_context() if authority else None
        self._server: asyncio.Server | None = None
        self._serial = 0x1000
        self._accepted_s: deque[float] = deque()  # times of the last second

    async def start(self, port: int = 0) -> None:
        """Listens on 127.0.0.1. Port 0 selects a free port; `port` then holds it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(partial(Link, self), "127.0.0.1", port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for link in list(self.links):
            link.cut()
        await self._server.wait_closed()

    @property
    def is_up(self) -> bool:
        return self._server is not None and self._server.is_serving()

    @property
    def open_connections(self) -> int:
        return len(self.links)

    def say(self, number: str, text: str) -> None:
        """Delivers a message from a person to the client: an E.164 number and any text."""
        self.deliver(from_person(number, text), {})

    def report(self, message_id: str, word: str = "DELIVRD", by: Link | None = None) -> None:
        """Delivers a receipt for a message, even one that does not exist. `message_id` has the form of the answer."""
        self.deliver(*receipt(message_id, word, self.habits), by)

    def deliver(self, fields: dict[str, int | str | bytes], tlvs: dict[int, bytes], by: Link | None = None) -> None:
        """Sends a `deliver_sm` with any fields over a link that receives, preferably `by`. Without such a link it is
        lost, because the sandbox has no queue.
        """
        link = by if by is not None and by.takes else next((link for link in self.links if link.takes), None)
        if link is not None:
            link.deliver(fields, tlvs)

    def is_full(self) -> bool:
        """Returns whether the last second already has `parts_per_s` parts, and counts a refusal then. Otherwise counts
        one more part.
        """
        most, now_s = self.habits.parts_per_s, time.monotonic()
        if most is None:
            return False
        while self._accepted_s and self._accepted_s[0] <= now_s - 1:
            self._accepted_s.popleft()
        if len(self._accepted_s) >= most:
            self.throttled += 1
            return True
        self._accepted_s.append(now_s)
        return False

    def accept(self, pdu: Pdu) -> str:
        """Records a message and returns its id. Only the first part of a message is recorded."""
        text = pdu.message
        part = elements(text, pdu.number("esm_class"))[0].get(PART)
        if part is None or part[2:] == b"\x01":
            version = hashlib.sha256(text).hexdigest()[:16]
            self.texts[version] = decode_text(text, pdu.number("data_coding"), pdu.number("esm_class"))
            self.recorded.add("", version, address(pdu))
        if self.messages is not None:
            self.messages.append(pdu)
        self._serial += 1
        return str(self._serial) if self.habits.ids == "decimal-then-hex" else f"{self._serial:x}"


class Link(asyncio.Protocol):
    """One connection. Writes all answers to one read together."""

    def __init__(self, sandbox: SmscSandbox) -> None:
        self._sandbox = sandbox
        self._transport = cast("asyncio.Transport", None)
        self._frames = Frames()
        self._out: list[bytes] = []
        self._sequence = 0
        self._later: set[asyncio.TimerHandle] = set()
        self._reading = False
        self.sends = self.takes = False
        self._handlers: dict[int, Callable[[Pdu], None]] = {
            **dict.fromkeys(BINDS, self._bind),
            Command.SUBMIT_SM: self._submit,
            Command.ENQUIRE_LINK: self._answer,
            Command.UNBIND: self._unbind,
            Command.UNBIND_RESP: lambda _: self._transport.close(),
            Command.DELIVER_SM_RESP: self._acknowledged,
            Command.GENERIC_NACK: self._acknowledged,
            Command.ENQUIRE_LINK_RESP: lambda _: None,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sandbox.links.append(self)
        self._sandbox.links_made += 1
        if not self._sandbox.is_up:  # the sandbox stopped during the TLS handshake
            self.cut()

    def connection_lost(self, _: Exception | None) -> None:
        self._sandbox.links.remove(self)
        for timer in self._later:
            timer.cancel()

    def cut(self) -> None:
        """Resets the connection."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._reading = True
        try:
            for frame in self._frames.feed(data):
                pdu = decode(frame)
                self._handlers.get(pdu.command, self._unknown)(pdu)
        except PduError as error:
            self._write(encode(Pdu(Command.GENERIC_NACK, error.sequence, error.status)))
        self._reading = False
        self._flush()

    def deliver(self, fields: dict[str, int | str | bytes], tlvs: dict[int, bytes]) -> None:
        self._sequence += 1
        self._write(encode(Pdu(Command.DELIVER_SM, self._sequence, fields=fields, tlvs=tlvs)))

    def write(self, octets: bytes) -> None:
        """Writes any octets to the client, valid or not."""
        self._write(octets)

    def _bind(self, pdu: Pdu) -> None:
        if (pdu.text("system_id"), pdu.text("password")) != (SYSTEM_ID, PASSWORD):
            self._answer(pdu, Status.INVALID_PASSWORD)
            return
        most = self._sandbox.habits.binds
        if most is not None and sum(link.sends or link.takes for link in self._sandbox.links) >= most:
            self._answer(pdu, Status.BIND_FAILED)
            return
        self.sends, self.takes = BINDS[Command(pdu.command)]
        self._answer(pdu, fields={"system_id": SYSTEM_ID}, tlvs={Tag.SC_INTERFACE_VERSION: b"\x34"})

    def _submit(self, pdu: Pdu) -> None:
        if not self.sends:
            self._answer(pdu, Status.INVALID_BIND_STATE)
            return
        if self._sandbox.is_full():
            self._answer(pdu, Status.THROTTLED)
            return
        rule = self._sandbox.script.match(address(pdu))
        if rule is None:
            self._accept(pdu)
        elif rule.do in REFUSALS:
            self._answer(pdu, REFUSALS[rule.do])
        elif rule.do in FAILURES:
            self._accept(pdu, FAILURES[rule.do])
        else:
            self._misbehave(rule, pdu)

    def _misbehave(self, rule: Rule, pdu: Pdu) -> None:
        """Does what a rule with one of the further behaviours says."""
        if rule.do == "slow":
            self._in(rule.delay_s, partial(self._accept, pdu))
            return
        if rule.do in {"stall", "reset"}:
            self._sandbox.accept(pdu)
        self._write(nonsense(rule.do, pdu.sequence))
        if rule.do in {"reset", "half"}:
            self._flush()
            self._transport.close() if rule.do == "half" else self._transport.abort()

    def _accept(self, pdu: Pdu, ends: str = "DELIVRD") -> None:
        """Accepts a message, and delivers a receipt with the word `ends` if the client asked for one."""
        habits = self._sandbox.habits
        message_id = self._sandbox.accept(pdu)
        report = partial(self._sandbox.report, message_id, ends, self)
        wanted = habits.receipts and pdu.number("registered_delivery") & 3 == 1
        if wanted and habits.first:
            report()
        self._answer(pdu, fields={"message_id": message_id})
        if wanted and not habits.first:
            self._in(habits.delay_s, report)

    def _in(self, delay_s: float, act: Callable[[], None]) -> None:
        """Calls `act` after `delay_s` seconds, or now if that is 0."""
        if not delay_s:
            act()
            return

        def due() -> None:
            self._later.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(delay_s, due)
        self._later.add(timer)

    def _unbind(self, pdu: Pdu) -> None:
        self._answer(pdu)
        self._flush()
        self._transport.close()

    def _acknowledged(self, pdu: Pdu) -> None:
        self._sandbox.acknowledged[pdu.status] += 1

    def _unknown(self, pdu: Pdu) -> None:
        self._write(encode(Pdu(Command.GENERIC_NACK, pdu.sequence, Status.INVALID_COMMAND)))

    def _answer(
        self,
        pdu: Pdu,
        status: int = Status.OK,
        fields: dict[str, int | str | bytes] | None = None,
        tlvs: dict[int, bytes] | None = None,
    ) -> None:
        self._write(encode(Pdu(pdu.command | RESPONSE, pdu.sequence, status, fields or {}, tlvs or {})))

    def _write(self, octets: bytes) -> None:
        self._out.append(octets)
        if not self._reading:
            self._flush()

    def _flush(self) -> None:
        out, self._out = b"".join(self._out), []
        if out and not self._transport.is_closing():
            self._transport.write(out)
