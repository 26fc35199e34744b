"""Builds a mail as bytes. `encode` builds the part that all recipients share. `MailPayload.to` then inserts the headers
and the unsubscribe link of one recipient, and signs the mail.

All parts are 7-bit (quoted-printable). So every relay passes the mail on unchanged, a DKIM signature stays valid, and a
link can be inserted.
"""

from __future__ import annotations

import base64
import email.policy
import email.utils
import re
from dataclasses import dataclass
from email.message import EmailMessage
from functools import lru_cache

from channels.base import OPT_OUT_PLACEHOLDER, SAMPLE_OPT_OUT, Loudness, MailMessage, Recipient
from channels.dkim import Common, Signer
from channels.domains import in_ascii

# A line with an encoded word has at most 76 characters (RFC 2047 section 2); others should have at most 78 (RFC 5322 2.1.1).
LINE_CHARACTERS = 76
# This many bytes of UTF-8 leave room in such a line for the longest name of a text header.
WORD_BYTES = 36

_PLAIN = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_SENDER = re.compile(r'\s*"?(.*?)"?\s*<([^<>]*)>\s*')  # even without quotes, a comma does not end a name
#: Printable ASCII without the special characters of RFC 5322, at a domain.
_MAILBOX = re.compile(r'[^\0-\x20\x7f-\U0010ffff"(),:;<>@\[\\\]]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?')
_BREAK = re.compile(r"[\r\n]")


def header(name: str, text: str) -> bytes:
    """Returns one header line with a text as its value, in encoded words if necessary. Raises `ValueError` if the text
    has a line break.
    """
    if _BREAK.search(text):
        raise ValueError(f"{name} holds a linefeed")
    return f"{name}: {_words(text, LINE_CHARACTERS - len(name) - 2)}\r\n".encode("ascii")


def sender(text: str) -> bytes:
    """Returns the From header of "Name <mailbox>". Raises `ValueError` for a line break, or if the mailbox is not valid
    ASCII.
    """
    if _BREAK.search(text):
        raise ValueError("From holds a linefeed")
    found = _SENDER.fullmatch(text)
    name, mailbox = (re.sub(r"\\(.)", r"\1", found[1]), found[2]) if found else ("", text.strip())
    if not _MAILBOX.fullmatch(mailbox):
        raise ValueError('the sender must be a mailbox, or "Name <mailbox>"')
    phrase = _words(name, LINE_CHARACTERS)
    if phrase == name:  # no encoded words needed; `formataddr` adds quotes if necessary
        return f"From: {email.utils.formataddr((name, mailbox))}\r\n".encode("ascii")
    return f"From: {phrase}\r\n <{mailbox}>\r\n".encode("ascii")


def _words(text: str, room: int) -> str:
    """Returns the text for a header: unchanged if it is plain ASCII and fits, otherwise as encoded words on lines of
    their own. `room`: the characters that fit the header's line. Mail programs ignore white space between encoded
    words.
    """
    if len(text) <= room and _PLAIN.fullmatch(text) and "=?" not in text:
        return text
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(part).decode()}?=" for part in _parts(text))


def _parts(text: str) -> list[bytes]:
    """Returns the text as UTF-8 in pieces of at most `WORD_BYTES`. Each piece has whole characters, as an encoded word
    must (RFC 2047 section 5).
    """
    parts = [bytearray()]
    for character in text:
        raw = character.encode("utf-8", "replace")
        if len(parts[-1]) + len(raw) > WORD_BYTES:
            parts.append(bytearray())
        parts[-1] += raw
    return [bytes(part) for part in parts]


POLICY = email.policy.SMTP.clone(cte_type="7bit", max_line_length=76)  # RFC 2045 section 6.7

IMPORTANCE = {Loudness.LOUD: "high", Loudness.NORMAL: "normal", Loudness.SILENT: "low"}

# Addresses allowed between <> and in headers. RFC 5321 allows more (quoted local parts), but real mailboxes do not need
# it. A stranger's line break or second address must never pass.
MAILBOX = re.compile(r"[^\s\x00-\x20\x7f<>()\[\],;:\\\"@]{1,64}@[^\s\x00-\x20\x7f<>()\[\],;:\\\"@]{1,255}")


#: `OPT_OUT_PLACEHOLDER` in quoted-printable, where a soft line break may be anywhere (RFC 2045 section 6.7).
_PLACEHOLDER = re.compile(b"(?:=\r\n)?".join(re.escape(letter.encode()) for letter in OPT_OUT_PLACEHOLDER))


@dataclass(frozen=True, kw_only=True, slots=True)
class MailIdentity:
    """The sender's identity in a mail. Raises `ValueError` if the sender is not a mailbox."""

    sender: str  # the From header: "Name <mailbox>"
    domain: str  # of Message-ID and of the return path, to which bounces come
    # https. One click on this URL + "/u/" + the recipient's `leave` unsubscribes.
    unsubscribe_base: str | None
    signers: tuple[Signer, ...] = ()  # each signs every mail
    tag_header: str | None = None  # header that gives the relay the tag, if it replaces the return path

    def __post_init__(self) -> None:
        sender(self.sender)


@dataclass(frozen=True, slots=True)
class MailPayload:
    """The mail in SMTP form (RFC 5321 4.5.2), without Date, signatures, and the recipient's headers and link."""

    head: bytes  # dots doubled, as in the body
    # From the empty line to the end of the mail. The recipient's `leave` goes between these pieces.
    body: tuple[bytes, ...]
    identity: MailIdentity
    common: Common | None  # None: there are no signers

    def to(self, to: str, recipient: Recipient, now_s: float) -> bytes:
        """Returns the whole mail for one recipient, signed, with the final dot. `to` is the result of `mailbox`;
        `now_s` is the time in UNIX seconds.
        """
        leave = (recipient.leave or SAMPLE_OPT_OUT).encode()
        own = b"Date: %b\r\n%b" % (_date(int(now_s)), headers_for(to, recipient, self.identity))
        if self.common is not None:
            own = self.common.signatures(own, self.identity.signers, int(now_s), leave) + own
        return own + self.head + leave.join(self.body)


@lru_cache(1)  # many mails are sent in one second
def _date(now_s: int) -> bytes:
    return email.utils.formatdate(now_s).encode()


def encode(message: MailMessage, identity: MailIdentity) -> MailPayload:
    """Encodes the part of a mail that all recipients share, with text and HTML as alternatives. Raises `ValueError` if
    the subject has a line break.
    """
    stamp = message.stamp
    texts = {
        "Subject": message.subject,
        "Auto-Submitted": "auto-generated",
        "Precedence": "list",  # for automatic repliers older than RFC 3834
        "X-Auto-Response-Suppress": "All",
        "Feedback-ID": f"{stamp.chain}:{stamp.language}:alert:alertd",  # Gmail counts complaints by these values
        "Content-Language": stamp.language,
        "Importance": IMPORTANCE[stamp.loudness],
        "Expires": email.utils.formatdate(stamp.expires_s),
        "X-Alert-Chain": stamp.chain,
        "X-Alert-Version": stamp.version,
    }
    built = EmailMessage(policy=POLICY)  # for the body only: the policy would decode encoded words in a header
    built.set_content(message.text, cte="quoted-printable")
    built.add_alternative(message.html, subtype="html", cte="quoted-printable")
    kind, _, body = built.as_bytes().partition(b"\r\n\r\n")
    # Mail programs show one chain as one conversation. An id is not a text, and stays unencoded at any length (RFC 2047
    # section 5).
    references = f"References: <{stamp.chain}@{identity.domain}>\r\n".encode()
    head = sender(identity.sender) + references + b"".join(header(*one) for one in texts.items()) + kind + b"\r\n"
    pieces = _around_leave(body)
    common = Common(head, pieces) if identity.signers else None
    first, *rest = map(_doubled, pieces)
    wire = [b"\r\n" + first, *rest]
    wire[-1] = wire[-1].removesuffix(b"\r\n") + b"\r\n.\r\n"
    return MailPayload(_doubled(head), tuple(wire), identity, common)


def _around_leave(body: bytes) -> list[bytes]:
    """Returns the body split at each `OPT_OUT_PLACEHOLDER`, without the placeholders. The pieces end and begin with
    soft line breaks, so that the text between them fits on a line of its own.
    """
    return _PLACEHOLDER.sub(b"=\r\n\0=\r\n", body).split(b"\0")


def _doubled(lines: bytes) -> bytes:
    """Returns the lines with a dot at their start doubled (RFC 5321 4.5.2)."""
    return re.sub(rb"^\.", b"..", lines, flags=re.MULTILINE)


def mailbox(address: str) -> str | None:
    """Returns the address with its domain in ASCII, or None if it is not a mailbox that may stand in a header."""
    if not MAILBOX.fullmatch(address):
        return None
    local, _, domain = address.rpartition("@")
    try:
        written = f"{local}@{in_ascii(domain)}"
    except UnicodeError:
        return None
    return written if MAILBOX.fullmatch(written) else None  # IDNA turns wide forms of "@" and commas into ASCII


def headers_for(to: str, recipient: Recipient, identity: MailIdentity) -> bytes:
    """Returns the recipient's own headers: To, Message-ID, the relay's tag header, and those for one-click
    unsubscription. `to` is the result of `mailbox`. A repeated mail has the same Message-ID, so that servers recognise
    it.
    """
    lines = [f"To: {to}", f"Message-ID: <{recipient.tag}@{identity.domain}>"]
    if identity.tag_header is not None:
        lines.append(f"{identity.tag_header}: {recipient.tag}")
    if identity.unsubscribe_base is not None and recipient.leave is not None:  # RFC 8058
        lines.append(f"List-Unsubscribe: <{identity.unsubscribe_base.rstrip('/')}/u/{recipient.leave}>")
        lines.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    return ("\r\n".join(lines) + "\r\n").encode()


def return_path(recipient: Recipient, identity: MailIdentity) -> str:
    """Returns the return path of this one mail, to which its bounce comes (VERP)."""
    return f"bounce+{recipient.tag}@{identity.domain}"
