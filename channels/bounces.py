"""Reads bounces (RFC 3464, and those of qmail) and complaints (RFC 5965) from the mails that mail servers send back.

A report may have a vague status (5.0.0), and the exact code in its diagnostic or in the text for people. The exact code
counts. A temporary code takes precedence over all others, and a full mailbox does not count as dead. Of the text for
people, only the lines about the failed mailbox count.

Anyone can send such a mail. So the parser makes one pass up to a limit and enters at most one nested part. A report
only counts with one of alertd's tags. Automatic replies and all other mails yield no report.

A mail server delivers such mails by LMTP (RFC 2033), which answers for each recipient whether the mail was accepted.
The mail server must be on this machine or in a private network: any client that reaches the listener can claim that a
mail failed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import quopri
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from channels.base import Reason, ReportState
from channels.mail_answers import by_code

#: Maximum bytes of a mail. The listener refuses a longer mail. `read_bounce` reads only the start, because the report
#: comes before the copy of the returned mail.
LIMIT_BYTES = 1_000_000
PARTS_LIMIT = 20
BLOCKS_LIMIT = 50
FIELDS_LIMIT = 500
HEAD_LIMIT = 65_536
CODES_LIMIT = 20

_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
VERP = re.compile(r"bounce\+([A-Za-z0-9_-]{1,80})@")
_MESSAGE_ID = re.compile(r"<([A-Za-z0-9_-]{1,80})@")
_FIELD = re.compile(r"^([!-9;-~]{1,80})[ \t]*:(.*)$")
_STATUS = re.compile(r"(?<!\d\.)\b([245]\.\d{1,3}\.\d{1,3})\b(?!\.\d)")  # and not a part of an IP address

#: The state of a mail by the action in its report (RFC 3464 2.3.3). "relayed" and "expanded" are intermediate, so they
#: are left out.
ACTIONS = {"failed": ReportState.FAILED, "delivered": ReportState.DELIVERED}

#: Complaints that mean an opt-out (RFC 5965 7.3).
COMPLAINTS = frozenset({"abuse", "fraud", "opt-out", "opt-out-list"})

REPORTS = frozenset({"message/delivery-status", "message/global-delivery-status", "message/feedback-report"})
RETURNED = frozenset({"text/rfc822-headers", "message/rfc822", "message/global", "message/global-headers"})

#: Media types of the text for people. A part without a type is text too.
TEXTS = frozenset({"text/plain", ""})
#: A diagnostic that begins with a temporary reply code.
_TEMPORARY = re.compile(r"(?:[\w-]+;)?\s*4\d\d\b")
#: Words for a full mailbox. They take precedence over the code beside them.
_FULL = re.compile(r"quota|box (?:is )?full|storage", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"[\s<>()\[\]\"',;:]+")
#: A line of this kind comes before a copy of the returned mail in a text for people. Exchange writes no dashes.
_COPY = re.compile(r"[ \t]*(?:-[- ].*(?:copy|original|header|below)|Original message headers:)", re.IGNORECASE)
#: A bounce of qmail-send is plain text and begins so (D. J. Bernstein, "The qmail-send Bounce Message Format").
_QMAIL = "Hi. This is the "
_QMAIL_FAILED = re.compile(r"<([^<>\s]{3,250})>:\n")

Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class MailReport:
    """The report on one mail."""

    tags: tuple[str, ...]  # possible tags, the most likely first; the signer can verify them
    state: ReportState
    reason: Reason = Reason.NONE
    mailboxes: frozenset[str] = frozenset()  # the recipient's, as the report names them; lower case
    left: bool = False  # the recipient opted out


def read_bounce(raw: bytes, to: Sequence[str] = ()) -> list[MailReport]:
    """Returns the reports in a mail: one for each recipient of a bounce, or one opt-out for a complaint. Returns an
    empty list if the mail is not a report or has no tag. Does not verify tags. `to`: the addresses that the mail was
    delivered to, which are return paths of alertd.
    """
    head, body = _split(raw[:LIMIT_BYTES].replace(b"\r\n", b"\n"))
    parts = _parts(head, body)
    report = next(((kind, text) for kind, text in parts if kind in REPORTS), None)
    if report is None:
        return _of_qmail(head, body, to)
    returned = next((_fields(text.partition("\n\n")[0]) for kind, text in parts if kind in RETURNED), {})
    blocks = [_fields(block) for block in _paragraphs(report[1])]
    tags = _tags([*to, *(one for block in blocks for one in block.get("original-mail-from", ()))], head, returned)
    if not tags:
        return []
    if report[0] == "message/feedback-report":
        return _complaints(blocks, tags)
    written_to = [text for text in returned.get("to", ())[:1] if text.count("@") == 1]
    for_people = next((text for kind, text in parts[:1] if kind in TEXTS), "")
    return [_delivery(block, tags, written_to, for_people) for block in blocks if "action" in block]


def status_reason(status: str, diagnostic: str = "", for_people: str = "") -> Reason:
    """Returns why a mail failed for good: BLOCKED if no code is known, or if the mailbox is full. `diagnostic` is the
    last server's answer; `for_people` holds the lines about this mailbox.

    The most exact code counts. Among equally exact codes, one that does not call the mailbox dead counts. The codes in
    `for_people` count if `status` and `diagnostic` are vague. A temporary code takes precedence over all others, and
    gives UNAVAILABLE.
    """
    codes = [code for text in (status, diagnostic) for code in _codes(text)]
    if not any(map(_exactness, codes)):
        codes += _codes(for_people)
    if _TEMPORARY.match(diagnostic) or any(code.startswith("4") for code in codes):
        return Reason.UNAVAILABLE  # the server retried until the time was over
    known = [(_exactness(code), reason) for code in codes if (reason := by_code(code))]
    # Of equally exact codes, one that blocks the mail takes precedence: it does not say that the mailbox is dead.
    _, reason = max(known, key=lambda one: (one[0], one[1] is not Reason.GONE), default=(0, Reason.BLOCKED))
    is_full = any(map(_FULL.search, (status, diagnostic, for_people)))
    return Reason.BLOCKED if reason is Reason.GONE and is_full else reason


def _codes(text: str) -> list[str]:
    return _STATUS.findall(text[:HEAD_LIMIT])[:CODES_LIMIT]


def _exactness(code: str) -> int:
    """Returns how exact a code is: 2 if it names a fault (5.1.1), 1 if only a subject (5.1.0), 0 if nothing (5.0.0)."""
    return 0 if code.endswith(".0.0") else 1 if code.endswith(".0") else 2


def _delivery(block: Fields, tags: tuple[str, ...], written_to: Sequence[str], for_people: str) -> MailReport:
    """Returns the report of one recipient. `written_to`: the recipients of the original mail, which are used only if
    the report names none. A living mailbox may forward to a dead one, so the report's own recipient comes first.
    """
    state = ACTIONS.get(_first(block, "action").lower(), ReportState.ACCEPTED)
    named = [one for name in ("original-recipient", "final-recipient") for one in block.get(name, ())]
    mailboxes, reason = _mailboxes(named or written_to), Reason.NONE
    if state is ReportState.FAILED:
        said = (_first(block, "status"), _first(block, "diagnostic-code"))
        reason = status_reason(*said, _about(mailboxes, for_people))
    return MailReport(tags=tags, state=state, reason=reason, mailboxes=mailboxes)


def _about(mailboxes: frozenset[str], for_people: str) -> str:
    """Returns the lines of a text for people about these mailboxes. Each passage starts with a line that names one of
    them. It ends at an empty line or a line that names another mailbox. Leaves out quoted lines of the returned mail.
    """
    found, counts = list[str](), False
    for line in for_people[:HEAD_LIMIT].split("\n"):
        if _COPY.match(line):
            break
        named = {word.strip(".").lower() for word in _BETWEEN_WORDS.split(line) if "@" in word}
        if named or not line.strip():
            counts = bool(named & mailboxes)
        if counts and not line.startswith(">"):
            found.append(line)
    return "\n".join(found)


def _of_qmail(head: Fields, body: bytes, to: Sequence[str]) -> list[MailReport]:
    """Returns the reports of a qmail bounce. It has a greeting, a paragraph for each mailbox, then a line of dashes and
    the mail.
    """
    text = body[:HEAD_LIMIT].decode("utf-8", "replace")
    if not text.startswith(_QMAIL):
        return []
    said, _, copy = text.partition("\n\n-")
    tags = _tags(to, head, _fields(copy.partition("\n\n")[2].partition("\n\n")[0]))
    failed = [(found[1].lower(), one) for one in _paragraphs(said) if (found := _QMAIL_FAILED.match(one.lstrip("\n")))]
    return [
        MailReport(
            tags=tags, state=ReportState.FAILED, reason=status_reason("", why), mailboxes=frozenset({mailbox})
        )
        for mailbox, why in failed if tags
    ]  # fmt: skip


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n[ \t]*\n", text)[:BLOCKS_LIMIT]


def _tags(ours: Sequence[str], head: Fields, returned: Fields) -> tuple[str, ...]:
    """Returns the possible tags of a report, the most likely first: from the addresses it was delivered to, then from
    the returned mail.
    """
    paths = [*ours, *head.get("to", ()), *returned.get("return-path", ())]
    return tuple(dict.fromkeys([*_found(VERP, paths), *_found(_MESSAGE_ID, returned.get("message-id", ()))]))


def _complaints(blocks: Sequence[Fields], tags: tuple[str, ...]) -> list[MailReport]:
    """Returns one opt-out if a block is a kind of complaint in `COMPLAINTS`, otherwise no report."""
    kinds = {_first(block, "feedback-type").lower() for block in blocks}
    if not kinds & COMPLAINTS:
        return []
    return [MailReport(tags=tags, state=ReportState.DELIVERED, left=True)]


def _found(pattern: re.Pattern[str], texts: Sequence[str]) -> list[str]:
    return [tag for text in texts for tag in pattern.findall(text)[:PARTS_LIMIT]]


def _mailboxes(texts: Sequence[str]) -> frozenset[str]:
    """Returns the mailboxes in `rfc822;ana@example`, `Ana <ana@example>` or plain addresses."""
    return frozenset(text.rpartition(";")[2].rpartition("<")[2].strip(" \t<>").lower() for text in texts)


def _first(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "").strip()


def _split(raw: bytes) -> tuple[Fields, bytes]:
    head, _, body = raw.partition(b"\n\n")
    return _fields(head.decode("utf-8", "replace")), body


def _fields(text: str) -> Fields:
    """Returns header lines by lower-case name, unfolded. Skips lines that are not headers."""
    fields: dict[str, list[str]] = {}
    last: list[str] | None = None
    for line in text[:HEAD_LIMIT].lstrip("\n").split("\n", FIELDS_LIMIT)[:FIELDS_LIMIT]:
        if line[:1] in {" ", "\t"}:
            if last is not None:
                last[-1] += line
            continue
        found = _FIELD.match(line)
        last = fields.setdefault(found[1].lower(), []) if found else None
        if found and last is not None:
            last.append(found[2].strip())
    return fields


def _parts(head: Fields, body: bytes, *, is_inner: bool = False) -> list[tuple[str, str]]:
    """Returns media type and decoded text of the parts of a multipart. Parts are not nested, except alternatives of the
    text for people.
    """
    boundary = _BOUNDARY.search(_first(head, "content-type")[:2_000])
    if boundary is None:
        return []
    line = b"\n--" + (boundary[1] or boundary[2]).encode("utf-8", "replace")
    pieces = (b"\n" + body).split(line, PARTS_LIMIT)[1:]
    return [_part(piece.partition(b"\n")[2], is_inner=is_inner) for piece in pieces]


def _part(raw: bytes, *, is_inner: bool) -> tuple[str, str]:
    """Returns media type and decoded text of a part; for alternatives, those of the first text in them."""
    head, body = _split(b"\n" + raw if raw.startswith(b"\n") else raw)
    kind = _first(head, "content-type").partition(";")[0].strip().lower()
    if kind == "multipart/alternative" and not is_inner:
        return next((one for one in _parts(head, body, is_inner=True) if one[0] in TEXTS), (kind, ""))
    encoding = _first(head, "content-transfer-encoding").lower()
    try:
        if encoding == "base64":
            body = base64.b64decode(body)
        elif encoding == "quoted-printable":
            body = quopri.decodestring(body)
    except binascii.Error:
        body = b""
    return kind, body.replace(b"\r\n", b"\n").decode("utf-8", "replace")


#: Takes the reports of one mail. Returns False if the mail must be delivered again later.
Take = Callable[[Sequence[MailReport]], Awaitable[bool]]

CONNECTIONS = 20
LINE_BYTES = 65_536  # far longer than allowed, but some senders write such lines
IDLE_S = 300.0  # a client that is silent for this many seconds is gone (RFC 5321 4.5.3.2.7)
RECIPIENTS = 100

_PATH = re.compile(r"(?:FROM|TO):[ ]*<([^<>]*)>", re.IGNORECASE)
_OURS = re.compile(r"(bounce\+[A-Za-z0-9_-]{1,80}|complaints)@[^@]+")

_OK = b"250 2.0.0 ok\r\n"
_LATER = b"451 4.3.0 try again later\r\n"
_NOBODY = b"550 5.1.1 no such mailbox: bounces and complaints alone are taken\r\n"
_TOO_LONG = b"552 5.3.4 longer than any bounce\r\n"
_UNKNOWN = b"500 5.5.1 no such command\r\n"
_ORDER = b"503 5.5.1 not now\r\n"


class BounceListener:
    """An LMTP server for alertd's return paths, and for `complaints@`, the address to register with providers' feedback
    loops.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Starts to listen. Raises `OSError` if it cannot."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=LINE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops to listen and cuts all sessions. The mail server then delivers unfinished mails again later."""
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        try:
            if task is None or len(self._open) >= CONNECTIONS:
                writer.write(b"421 4.3.2 too many connections\r\n")
                return
            self._open.add(task)
            # These errors mean that the client disconnected, sent too much or fell silent: only its session ends.
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await _Conversation(reader, writer, self._take).run()
        except asyncio.CancelledError:
            pass  # alertd stops. The client has no reply, so it keeps the mail.
        finally:
            if task is not None:
                self._open.discard(task)
            writer.close()


class _Conversation:
    """One LMTP session."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: Take) -> None:
        self._reader = reader
        self._writer = writer
        self._take = take
        self._began = False  # MAIL was received
        self._to: list[str] = []

    async def run(self) -> None:
        self._writer.write(b"220 alertd LMTP\r\n")
        while True:
            line = (await self._line()).decode("utf-8", "replace").strip()
            verb = line[:4].upper()
            if verb == "QUIT":
                self._writer.write(b"221 2.0.0 bye\r\n")
                await self._writer.drain()
                return
            self._writer.write(await self._data() if verb == "DATA" else self._answer(verb, line))
            await self._writer.drain()

    async def _line(self) -> bytes:
        async with asyncio.timeout(IDLE_S):
            return await self._reader.readuntil(b"\n")

    def _answer(self, verb: str, line: str) -> bytes:
        match verb:
            case "LHLO":
                self._forget()
                return (
                    b"250-alertd\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-SIZE %d\r\n250 ENHANCEDSTATUSCODES\r\n"
                    % LIMIT_BYTES
                )
            case "MAIL":
                self._forget()
                self._began = True
                return _OK
            case "RCPT":
                return self._recipient(line)
            case "RSET":
                self._forget()
                return _OK
            case "NOOP":
                return _OK
            case _:
                return _UNKNOWN

    def _forget(self) -> None:
        self._began, self._to = False, []

    def _recipient(self, line: str) -> bytes:
        found = _PATH.search(line)
        if not self._began or found is None or len(self._to) >= RECIPIENTS:
            return _ORDER
        if not _OURS.fullmatch(found[1]):
            return _NOBODY
        self._to.append(found[1])
        return _OK

    async def _data(self) -> bytes:
        """Reads one mail and passes its reports to `take`. Returns one reply for each recipient, as LMTP requires: 250,
        or 451 if the mail must be delivered again, or 552 if it is too long.
        """
        if not self._to:
            return _ORDER
        self._writer.write(b"354 go ahead\r\n")
        content, length = [], 0
        while (line := await self._line()) not in {b".\r\n", b".\n"}:
            length += len(line)
            if length <= LIMIT_BYTES:
                content.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        to, raw = self._to, b"".join(content)
        self._forget()
        if length > LIMIT_BYTES:
            return _TOO_LONG * len(to)
        return b"".join([_OK if await self._take(read_bounce(raw, [one])) else _LATER for one in to])
