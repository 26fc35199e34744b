"""Bounces as mail servers of several makers write them, where the status is vague and the exact code stands elsewhere."""

from __future__ import annotations

import time

import pytest

from channels.base import Reason, ReportState
from channels.bounces import MailReport, read_bounce

TO = "bounce+t4g_-@a.example"
ANA = "ana@people.example"


def bounce(for_people: str, status: str, kind: str = "text/plain; charset=us-ascii", returned: str = "") -> bytes:
    """A report (RFC 3464): its text for people, its fields about the recipient, and what it returns."""
    returned = returned or f"Return-Path: <{TO}>\nTo: {ANA}\nMessage-ID: <t4g_-@a.example>\n"
    text = (
        f"From: MAILER-DAEMON@mx.example\nTo: {TO}\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_b/1"\n\n'
        f"--=_b/1\nContent-Type: {kind}\n\n{for_people}\n"
        f"--=_b/1\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n{status}\n"
        f"--=_b/1\nContent-Type: message/rfc822\n\n{returned}\n--=_b/1--\n"
    )
    return text.encode()


def plain(text: str) -> bytes:
    """A mail of one text."""
    return f"From: MAILER-DAEMON@mx.example\nTo: {TO}\nSubject: failure notice\n\n{text}".encode()


EXIM_SAYS = """\
This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ana@people.example
    host mx.people.example [192.0.2.25]
    SMTP error from remote mail server after RCPT TO:<ana@people.example>:
    550 5.1.1 <ana@people.example>: Recipient address rejected:
    User unknown in virtual mailbox table
"""
EXIM_STATUS = """\
Action: failed
Final-Recipient: rfc822;ana@people.example
Status: 5.0.0
Remote-MTA: dns; mx.people.example
"""
EXIM_DIAGNOSTIC = EXIM_STATUS + (
    "Diagnostic-Code: smtp; 550 5.1.1 <ana@people.example>: Recipient address rejected:\n"
    "\tUser unknown in virtual mailbox table\n"
)
EXIM_TWO = EXIM_SAYS.replace(
    "  ana@people",
    "  ben@people.example\n    host mx.people.example [192.0.2.25]\n    SMTP error from remote mail server after RCPT TO:<ben@people.example>:\n"
    "    552 5.2.2 <ben@people.example>: Mailbox is full\n  ana@people",
)

POSTFIX_SAYS = """\
This is the mail system at host mx.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

                   The mail system

<ana@people.example>: host mx.people.example[192.0.2.25] said: 550 #5.1.1 no such
    mailbox ana@people.example (in reply to RCPT TO command)
"""
POSTFIX_STATUS = """\
Final-Recipient: rfc822; ana@people.example
Original-Recipient: rfc822;ana@people.example
Action: failed
Status: 5.0.0
Remote-MTA: dns; mx.people.example
Diagnostic-Code: smtp; 550 #5.1.1 no such mailbox ana@people.example
"""

EXCHANGE_SAYS = """\
--inner
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

Delivery has failed to these recipients or groups:

ana@people.example<mailto:ana@people.example>
The e-mail address that you entered was not found. Check it and send the me=
ssage again.

Diagnostic information for administrators:

Generating server: mx.people.example

ana@people.example
#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##

Original message headers:

Received: from relay.example (192.0.2.7)
--inner
Content-Type: text/html; charset="us-ascii"

<html><body>ben@people.example 5.1.1</body></html>
--inner--
"""
EXCHANGE = 'multipart/alternative; differences=Content-Type; boundary="inner"'
EXCHANGE_STATUS = """\
Final-recipient: RFC822; ana@people.example
Action: failed
Status: 5.0.0
X-Display-Name: ana@people.example
"""

SENDMAIL_SAYS = """\
The original message was received at Wed, 25 Nov 2026 03:00:00 GMT
from relay.example [192.0.2.7]

   ----- The following addresses had permanent fatal errors -----
<ana@people.example>
    (reason: 550 5.1.1 <ana@people.example>... User unknown)

   ----- Transcript of session follows -----
... while talking to mx.people.example.:
>>> RCPT To:<ana@people.example>
<<< 550 5.1.1 <ana@people.example>... User unknown
"""
NO_STATUS = "Final-Recipient: RFC822; ana@people.example\nAction: failed\n"

CISCO_STATUS = """\
Final-Recipient: rfc822;ana@people.example
Action: failed
Status: 5.0.0 (permanent failure)
Remote-MTA: dns; [192.0.2.25]
Diagnostic-Code: smtp; 5.1.0 - Unknown address error 550-'5.1.1 <ana@people.example>: user unknown' (delivery attempts: 0)
"""

QMAIL = """\
Hi. This is the qmail-send program at mx.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ana@people.example>:
192.0.2.25 does not like recipient.
Remote host said: 550 5.1.1 <ana@people.example>: no such user
Giving up on 192.0.2.25.

--- Below this line is a copy of the message.

Return-Path: <bounce+t4g_-@a.example>
Received: (qmail 317 invoked from network); 25 Nov 2026 03:00:00 -0000
Message-ID: <t4g_-@a.example>
To: ana@people.example

<ben@people.example>:
550 5.1.1 no such user
"""


def of_ana(reason: Reason) -> list[MailReport]:
    return [
        MailReport(
            tags=("t4g_-",), state=ReportState.FAILED, reason=reason, mailboxes=frozenset({"ana@people.example"})
        )
    ]


@pytest.mark.parametrize(
    "raw",
    [
        bounce(EXIM_SAYS, EXIM_STATUS),
        bounce(EXIM_SAYS, EXIM_DIAGNOSTIC),
        bounce(EXIM_TWO, EXIM_STATUS),
        bounce(POSTFIX_SAYS, POSTFIX_STATUS),
        bounce(POSTFIX_SAYS, POSTFIX_STATUS.partition("Diagnostic")[0]),
        bounce(EXCHANGE_SAYS, EXCHANGE_STATUS, EXCHANGE),
        bounce(SENDMAIL_SAYS, NO_STATUS),
        bounce("The message to ana@people.example was undeliverable.", CISCO_STATUS),
        plain(QMAIL),
        plain(QMAIL.replace("550 5.1.1 <ana@people.example>: no such user", "no mailbox here by that name. (#5.1.1)")),
    ],
    ids=["exim", "exim-diagnostic", "exim-two", "postfix", "postfix-text", "exchange", "sendmail", "cisco", "qmail", "qmail-local"],
)  # fmt: skip
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_bounce_with_a_vague_status_removes_the_mailbox_by_its_exact_code(raw: bytes, line_end: bytes):
    """The diagnostic or the text for people says that there is no such mailbox."""
    assert read_bounce(raw.replace(b"\n", line_end), [TO]) == of_ana(Reason.GONE)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (bounce(EXIM_SAYS.replace("550 5.1.1", "452 4.2.2"), EXIM_STATUS), Reason.UNAVAILABLE),
        (bounce(EXIM_SAYS, EXIM_STATUS.replace("5.0.0", "4.0.0")), Reason.UNAVAILABLE),
        (bounce(EXIM_SAYS, EXIM_DIAGNOSTIC.replace("550 5.1.1", "450 4.1.1")), Reason.UNAVAILABLE),
        (bounce(EXIM_SAYS, EXIM_DIAGNOSTIC.replace("550 5.1.1", "450")), Reason.UNAVAILABLE),
        (bounce(EXIM_SAYS.replace("550 5.1.1", "552 5.2.2"), EXIM_STATUS), Reason.BLOCKED),
        (bounce(EXIM_SAYS.replace("User unknown", "User is over quota"), EXIM_STATUS), Reason.BLOCKED),
        (bounce(EXIM_SAYS, EXIM_STATUS.replace("5.0.0", "5.1.1 (Over quota)")), Reason.BLOCKED),
        (bounce(EXIM_SAYS, EXIM_STATUS.replace("5.0.0", "5.7.1")), Reason.BLOCKED),
        (bounce(EXIM_SAYS, EXIM_DIAGNOSTIC.replace("550 5.1.1", "550 5.7.1")), Reason.BLOCKED),
        (bounce(EXIM_SAYS.replace("550 5.1.1", "550"), EXIM_STATUS), Reason.BLOCKED),
        (plain(QMAIL.replace("550 5.1.1", "451 4.3.0")), Reason.UNAVAILABLE),
        (plain(QMAIL.replace("550 5.1.1", "550")), Reason.BLOCKED),
        (plain(QMAIL.replace("550 5.1.1", "552 5.1.1 mailbox full")), Reason.BLOCKED),
    ],
)
def test_a_mailbox_that_may_work_again_is_not_removed(raw: bytes, reason: Reason):
    """After a temporary code, with a full mailbox, or with a refusal by policy."""
    assert read_bounce(raw, [TO]) == of_ana(reason)


def test_a_delay_is_no_failure():
    """Whatever code its text has."""
    [report] = read_bounce(bounce(EXIM_SAYS, EXIM_STATUS.replace("failed", "delayed")), [TO])
    assert (report.state, report.reason) == (ReportState.ACCEPTED, Reason.NONE)


QUOTED = "550 5.1.1 ana@people.example: no such mailbox\n"


@pytest.mark.parametrize(
    "raw",
    [
        bounce("ben@people.example\n  550 5.1.1 no such mailbox\n", EXIM_STATUS),
        bounce("ana@people.example\n\n550 5.1.1 no such mailbox\n", EXIM_STATUS),
        bounce("ana@people.example\n  refused by ben@people.example: 550 5.1.1\n", EXIM_STATUS),
        bounce(f"------ This is a copy of the message, including all the headers. ------\n\n{QUOTED}", EXIM_STATUS),
        bounce(f"   ----- Original message follows -----\n\n{QUOTED}", EXIM_STATUS),
        bounce(f"Original message headers:\n\n{QUOTED}", EXIM_STATUS),
        bounce(f"> {QUOTED}", EXIM_STATUS),
        bounce("It failed.", EXIM_STATUS, returned=f"Return-Path: <{TO}>\nMessage-ID: <t4g_-@a.example>\n\n{QUOTED}"),
        bounce("x", EXIM_STATUS, returned=f"Content-Type: text/plain\nMessage-ID: <t4g_-@a.example>\n\n{QUOTED}"),
    ],
)
def test_a_code_that_is_not_about_the_mailbox_removes_none(raw: bytes):
    """A code of another mailbox, of another paragraph, or of the returned mail, in which anybody may write one."""
    assert read_bounce(raw, [TO]) == of_ana(Reason.BLOCKED)


@pytest.mark.parametrize(
    "text",
    [
        QMAIL.replace("Hi. This", "This"),
        "I am away. Hi. This is the qmail-send program.\n\n<ana@people.example>:\n550 5.1.1\n",
        QMAIL.partition("<ana")[0],
        QMAIL.replace("<ana@people.example>:\n192", "Ana:\n192"),
    ],
)
def test_a_text_that_is_no_bounce_of_qmail_says_nothing(text: str):
    """An automatic reply may hold any words; a bounce has its greeting first and then its mailboxes."""
    assert read_bounce(plain(text), [TO]) == []


def test_a_bounce_of_qmail_without_a_tag_says_nothing():
    """Anybody can write one."""
    raw = plain(QMAIL.replace("t4g_-", "")).replace(b"t4g_-", b"")
    assert read_bounce(raw) == []


@pytest.mark.parametrize(
    "raw",
    [
        bounce("ana@people.example\n" * 50_000, EXIM_STATUS),
        bounce("a" * 900_000, EXIM_STATUS),
        bounce("ana@people.example " + "5.1.1 " * 100_000, EXIM_STATUS),
        bounce("-- " * 300_000, EXIM_STATUS),
        bounce("x", EXIM_STATUS * 50 + "\n\n" + EXIM_STATUS),
        bounce("--inner\nContent-Type: multipart/alternative; boundary=inner\n\n" * 15_000, EXIM_STATUS, EXCHANGE),
        plain(QMAIL.partition("<ana")[0] + "<ana@people.example>:\nno\n\n" * 40_000),
        plain("Hi. This is the " + "<" * 900_000),
    ],
)
def test_no_text_for_people_costs_more_than_its_length(raw: bytes):
    """The processor has read it within a second."""
    began = time.process_time()
    assert len(read_bounce(raw, [TO])) <= 50
    assert time.process_time() - began < 1
