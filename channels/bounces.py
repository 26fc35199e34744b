"""What mail servers write back: bounces (RFC 3464) and complaints (RFC 5965), read from the mail they come in.

Anybody can send such a mail, so it is read without recursion, in one pass and to a limit, and what it says counts only under a
tag of ours. Automatic replies and everything else say nothing.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from channels.base import Reason, ReportState
from channels.mail_answers import by_code

#: A report comes with the mail it is about; the report itself is at its beginning.
LIMIT_BYTES = 1_000_000
PARTS_LIMIT = 20
BLOCKS_LIMIT = 50
FIELDS_LIMIT = 500
HEAD_LIMIT = 65_536

_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
VERP = re.compile(r"bounce\+([A-Za-z0-9_-]{1,80})@")
_MESSAGE_ID = re.compile(r"<([A-Za-z0-9_-]{1,80})@")
_FIELD = re.compile(r"^([!-9;-~]{1,80})[ \t]*:(.*)$")
_STATUS = re.compile(r"(?<!\d\.)\b([245]\.\d{1,3}\.\d{1,3})\b(?!\.\d)")  # and no part of an IP address

#: What an action says (RFC 3464 2.3.3). "relayed" and "expanded" are stations on the way.
ACTIONS = {"failed": ReportState.FAILED, "delivered": ReportState.DELIVERED}

#: Complaints that mean: no more (RFC 5965 7.3).
COMPLAINTS = frozenset({"abuse", "fraud", "opt-out", "opt-out-list"})

REPORTS = frozenset({"message/delivery-status", "message/global-delivery-status", "message/feedback-report"})
RETURNED = frozenset({"text/rfc822-headers", "message/rfc822", "message/global", "message/global-headers"})

Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class MailReport:
    """What became of one mail."""

    tags: tuple[str, ...]  # that it may be about, the likeliest first: whoever signed them knows
    state: ReportState
    reason: Reason = Reason.NONE
    mailboxes: frozenset[str] = frozenset()  # that are said to be the recipient's, lower case
    left: bool = False  # whoever got it wants no more


def read_bounce(raw: bytes, to: Sequence[str] = ()) -> list[MailReport]:
    """The reports in a mail; none when it is no report. `to`: whom the mail came for, which is our own return path."""
    head, body = _split(raw[:LIMIT_BYTES].replace(b"\r\n", b"\n"))
    parts = _parts(head, body)
    report = next(((kind, text) for kind, text in parts if kind in REPORTS), None)
    if report is None:
        return []
    returned = next((_fields(text.partition("\n\n")[0]) for kind, text in parts if kind in RETURNED), {})
    blocks = [_fields(block) for block in re.split(r"\n[ \t]*\n", report[1])[:BLOCKS_LIMIT]]
    ours = [
        *to,
        *head.get("to", ()),
        *returned.get("return-path", ()),
        *(one for block in blocks for one in block.get("original-mail-from", ())),
    ]
    tags = tuple(dict.fromkeys([*_found(VERP, ours), *_found(_MESSAGE_ID, returned.get("message-id", ()))]))
    if not tags:
        return []
    if report[0] == "message/feedback-report":
        return _complaints(blocks, tags)
    written_to = [text for text in returned.get("to", ())[:1] if text.count("@") == 1]
    return [_delivery(block, tags, written_to) for block in blocks if "action" in block]


def status_reason(status: str, diagnostic: str = "") -> Reason:
    """Why a mail failed for good, by its status and what the last server said. A vague status is no last word."""
    codes = [found[1] for text in (status, diagnostic) if (found := _STATUS.search(text))]
    codes.sort(key=lambda code: code.endswith(".0.0"))
    for code in codes:
        if code.startswith("4"):
            return Reason.UNAVAILABLE  # tried again until there was no more time
        reason = by_code(code)
        if reason is not None:
            return reason
    return Reason.BLOCKED


def _delivery(block: Fields, tags: tuple[str, ...], written_to: Sequence[str]) -> MailReport:
    """`written_to` is who the mail was for, and counts only where the report names nobody: a living mailbox may forward to the one that died."""
    state = ACTIONS.get(_first(block, "action").lower(), ReportState.ACCEPTED)
    named = [one for name in ("original-recipient", "final-recipient") for one in block.get(name, ())]
    failed = state is ReportState.FAILED
    reason = status_reason(_first(block, "status"), _first(block, "diagnostic-code")) if failed else Reason.NONE
    return MailReport(tags=tags, state=state, reason=reason, mailboxes=_mailboxes(named or written_to))


def _complaints(blocks: Sequence[Fields], tags: tuple[str, ...]) -> list[MailReport]:
    kinds = {_first(block, "feedback-type").lower() for block in blocks}
    if not kinds & COMPLAINTS:
        return []
    return [MailReport(tags=tags, state=ReportState.DELIVERED, left=True)]


def _found(pattern: re.Pattern[str], texts: Sequence[str]) -> list[str]:
    return [tag for text in texts for tag in pattern.findall(text)[:PARTS_LIMIT]]


def _mailboxes(texts: Sequence[str]) -> frozenset[str]:
    """`rfc822;ana@example`, `Ana <ana@example>` or the mailbox alone."""
    return frozenset(text.rpartition(";")[2].rpartition("<")[2].strip(" \t<>").lower() for text in texts)


def _first(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "").strip()


def _split(raw: bytes) -> tuple[Fields, bytes]:
    head, _, body = raw.partition(b"\n\n")
    return _fields(head.decode("utf-8", "replace")), body


def _fields(text: str) -> Fields:
    """Header lines by lower-case name, unfolded. What is no header is passed over."""
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


def _parts(head: Fields, body: bytes) -> list[tuple[str, str]]:
    """The parts of a multipart, decoded: media type and text. A report has no depth, so none is looked for."""
    boundary = _BOUNDARY.search(_first(head, "content-type")[:2_000])
    if boundary is None:
        return []
    line = b"\n--" + (boundary[1] or boundary[2]).encode("utf-8", "replace")
    pieces = (b"\n" + body).split(line, PARTS_LIMIT)[1:]
    return [_part(piece.partition(b"\n")[2]) for piece in pieces]


def _part(raw: bytes) -> tuple[str, str]:
    head, body = _split(b"\n" + raw if raw.startswith(b"\n") else raw)
    encoding = _first(head, "content-transfer-encoding").lower()
    try:
        if encoding == "base64":
            body = base64.b64decode(body)
        elif encoding == "quoted-printable":
            body = quopri.decodestring(body)
    except binascii.Error:
        body = b""
    kind = _first(head, "content-type").partition(";")[0].strip().lower()
    return kind, body.replace(b"\r\n", b"\n").decode("utf-8", "replace")
