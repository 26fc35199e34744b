"""Header lines of a mail, written and never read: what stands in a text, encoded words too, is shown as it stands.

Python's `EmailMessage` decodes encoded words (RFC 2047) in the values it is given, line breaks in them included, so that a name
could add a header or end the mail.
"""

from __future__ import annotations

import base64
import email.utils
import re

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
