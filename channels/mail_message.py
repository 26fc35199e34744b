"""A mail as bytes: built once, with the recipient's own headers put in front of it and their own link into it, and signed.

Everything is 7-bit (quoted-printable), so that any relay takes it as it is, a DKIM signature survives, and a link can be put in.
"""

from __future__ import annotations

import base64
import email.policy
import email.utils
import re
from dataclasses import dataclass
from email.message import EmailMessage
from functools import lru_cache

from channels.base import NO_LEAVE, OWN_LEAVE, Loudness, MailMessage, Recipient
from channels.dkim import Common, Signer
from channels.domains import in_ascii

# A line with an encoded word has at most 76 characters (RFC 2047 section 2); others should have at most 78 (RFC 5322 2.1.1).
LINE_CHARACTERS = 76
# So many bytes of UTF-8 leave room in such a line for the longest name of a header that holds a text.
WORD_BYTES = 36

_PLAIN = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_SENDER = re.compile(r'\s*"?(.*?)"?\s*<([^<>]*)>\s*')  # quoted or not: a name with a comma is one name all the same
#: Printable ASCII without what RFC 5322 gives a meaning of its own, at a domain.
_MAILBOX = re.compile(r'[^\0-\x20\x7f-\U0010ffff"(),:;<>@\[\\\]]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?')
_BREAK = re.compile(r"[\r\n]")


def header(name: str, text: str) -> bytes:
    """One header whose value is a text. Raises `ValueError` when it holds a line break."""
    if _BREAK.search(text):
        raise ValueError(f"{name} holds a linefeed")
    return f"{name}: {_words(text, LINE_CHARACTERS - len(name) - 2)}\r\n".encode("ascii")


def sender(text: str) -> bytes:
    """From, of "Name <mailbox>". Raises `ValueError` for a line break, and for what is no mailbox in ASCII."""
    if _BREAK.search(text):
        raise ValueError("From holds a linefeed")
    found = _SENDER.fullmatch(text)
    name, mailbox = (re.sub(r"\\(.)", r"\1", found[1]), found[2]) if found else ("", text.strip())
    if not _MAILBOX.fullmatch(mailbox):
        raise ValueError('the sender must be a mailbox, or "Name <mailbox>"')
    phrase = _words(name, LINE_CHARACTERS)
    if phrase == name:  # it needs no encoded words; what it needs quotes for, it gets
        return f"From: {email.utils.formataddr((name, mailbox))}\r\n".encode("ascii")
    return f"From: {phrase}\r\n <{mailbox}>\r\n".encode("ascii")


def _words(text: str, room: int) -> str:
    """As it stands where a reader will see the same; else as encoded words, between which spaces do not count."""
    if len(text) <= room and _PLAIN.fullmatch(text) and "=?" not in text:
        return text
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(part).decode()}?=" for part in _parts(text))


def _parts(text: str) -> list[bytes]:
    """UTF-8 in pieces that hold whole characters, as each encoded word must (RFC 2047 section 5)."""
    parts = [bytearray()]
    for character in text:
        raw = character.encode("utf-8", "replace")
        if len(parts[-1]) + len(raw) > WORD_BYTES:
            parts.append(bytearray())
        parts[-1] += raw
    return [bytes(part) for part in parts]


POLICY = email.policy.SMTP.clone(cte_type="7bit", max_line_length=76)  # RFC 2045 section 6.7

IMPORTANCE = {Loudness.LOUD: "high", Loudness.NORMAL: "normal", Loudness.SILENT: "low"}

# What we are ready to write between <> and into a header. RFC 5321 allows more (quoted local parts); nobody's mailbox needs it,
# and a stranger's line break or second address must never get through.
MAILBOX = re.compile(r"[^\s\x00-\x20\x7f<>()\[\],;:\\\"@]{1,64}@[^\s\x00-\x20\x7f<>()\[\],;:\\\"@]{1,255}")


#: As it stands in quoted-printable, where a soft line break may fall anywhere (RFC 2045 section 6.7).
_OWN_LEAVE = re.compile(b"(?:=\r\n)?".join(re.escape(letter.encode()) for letter in OWN_LEAVE))


@dataclass(frozen=True, kw_only=True, slots=True)
class MailIdentity:
    """Who we are in a mail. Raises `ValueError` for a sender that is none."""

    sender: str  # the From header: "Name <mailbox>"
    domain: str  # of Message-ID and of the return path, whose bounces come back to us
    unsubscribe_base: str | None  # https: one click leaves at this URL + "/u/" + the recipient's `leave`
    signers: tuple[Signer, ...] = ()  # each signs every mail
    tag_header: str | None = None  # in which the relay is told the tag, where it keeps no return path of ours

    def __post_init__(self) -> None:
        sender(self.sender)


@dataclass(frozen=True, slots=True)
class MailPayload:
    """The mail without the recipient's headers, their link, and Date: headers, then the body as SMTP wants it (RFC 5321 4.5.2)."""

    head: bytes  # dots doubled, as in the body
    body: tuple[bytes, ...]  # from the empty line on, ended; between these pieces goes who leaves
    identity: MailIdentity
    common: Common | None  # None: nobody signs

    def to(self, to: str, recipient: Recipient, now_s: float) -> bytes:
        """The mail for one recipient; `to` is what `mailbox` gave for them."""
        leave = (recipient.leave or NO_LEAVE).encode()
        own = b"Date: %b\r\n%b" % (_date(int(now_s)), headers_for(to, recipient, self.identity))
        if self.common is not None:
            own = self.common.signatures(own, self.identity.signers, int(now_s), leave) + own
        return own + self.head + leave.join(self.body)


@lru_cache(1)  # many mails go in one second
def _date(now_s: int) -> bytes:
    return email.utils.formatdate(now_s).encode()


def encode(message: MailMessage, identity: MailIdentity) -> MailPayload:
    """Text and HTML as alternatives. Raises `ValueError` when the subject or the sender holds a line break."""
    stamp = message.stamp
    texts = {
        "Subject": message.subject,
        "Auto-Submitted": "auto-generated",
        "Precedence": "list",  # what absent people's programs looked at before RFC 3834
        "X-Auto-Response-Suppress": "All",
        "Feedback-ID": f"{stamp.chain}:{stamp.language}:alert:alertd",  # Gmail counts complaints by these
        "Content-Language": stamp.language,
        "Importance": IMPORTANCE[stamp.loudness],
        "Expires": email.utils.formatdate(stamp.expires_s),
        "X-Alert-Chain": stamp.chain,
        "X-Alert-Version": stamp.version,
    }
    built = EmailMessage(policy=POLICY)  # of the body alone: it would decode what stands in a header's text
    built.set_content(message.text, cte="quoted-printable")
    built.add_alternative(message.html, subtype="html", cte="quoted-printable")
    kind, _, body = built.as_bytes().partition(b"\r\n\r\n")
    # mail programs show one chain as one conversation; an id is no text, and stands as it is however long (RFC 2047 section 5)
    references = f"References: <{stamp.chain}@{identity.domain}>\r\n".encode()
    head = sender(identity.sender) + references + b"".join(header(*one) for one in texts.items()) + kind + b"\r\n"
    pieces = _around_leave(body)
    common = Common(head, pieces) if identity.signers else None
    first, *rest = map(_doubled, pieces)
    wire = [b"\r\n" + first, *rest]
    wire[-1] = wire[-1].removesuffix(b"\r\n") + b"\r\n.\r\n"
    return MailPayload(_doubled(head), tuple(wire), identity, common)


def _around_leave(body: bytes) -> list[bytes]:
    """What stands around the places of a link's own part, each of which gets a line for itself."""
    return _OWN_LEAVE.sub(b"=\r\n\0=\r\n", body).split(b"\0")


def _doubled(lines: bytes) -> bytes:
    """With its dots doubled where they begin a line (RFC 5321 4.5.2)."""
    return re.sub(rb"^\.", b"..", lines, flags=re.MULTILINE)


def mailbox(address: str) -> str | None:
    """The address as it may be written, its domain in ASCII; None when it is no mailbox."""
    if not MAILBOX.fullmatch(address):
        return None
    local, _, domain = address.rpartition("@")
    try:
        written = f"{local}@{in_ascii(domain)}"
    except UnicodeError:
        return None
    return written if MAILBOX.fullmatch(written) else None  # wide forms of "@" and of commas become these


def headers_for(to: str, recipient: Recipient, identity: MailIdentity) -> bytes:
    """The recipient's own headers. `to` is what `mailbox` gave. A repeat has the same Message-ID, so that it is known as one."""
    lines = [f"To: {to}", f"Message-ID: <{recipient.tag}@{identity.domain}>"]
    if identity.tag_header is not None:
        lines.append(f"{identity.tag_header}: {recipient.tag}")
    if identity.unsubscribe_base is not None and recipient.leave is not None:  # RFC 8058
        lines.append(f"List-Unsubscribe: <{identity.unsubscribe_base.rstrip('/')}/u/{recipient.leave}>")
        lines.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    return ("\r\n".join(lines) + "\r\n").encode()


def return_path(recipient: Recipient, identity: MailIdentity) -> str:
    """Where the bounce of this one mail comes back to (VERP)."""
    return f"bounce+{recipient.tag}@{identity.domain}"
