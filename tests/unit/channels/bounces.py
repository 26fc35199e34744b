"""Bounces as mail servers write them."""

from __future__ import annotations

from channels.base import Reason, ReportState
from channels.bounces import MailReport

POSTFIX = b"""\
Received: by relay.example (Postfix) id 4abc; Wed, 25 Nov 2026 03:00:00 +0000 (UTC)
From: MAILER-DAEMON@relay.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: bounce+t4g_-@a.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4abc.1/relay.example"

This is a MIME-encapsulated message.

--4abc.1/relay.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--4abc.1/relay.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example
X-Postfix-Queue-ID: 4abc
X-Postfix-Sender: rfc822; bounce+t4g_-@a.example
Arrival-Date: Wed, 25 Nov 2026 03:00:00 +0000 (UTC)

Final-Recipient: rfc822; Ana@People.Example
Original-Recipient: rfc822;ana@people.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.people.example
Diagnostic-Code: smtp; 550 5.1.1 <ana@people.example>: Recipient address
    rejected: User unknown

--4abc.1/relay.example
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

Return-Path: <bounce+t4g_-@a.example>
To: ana@people.example
Message-ID: <t4g_-@a.example>
Subject: =?utf-8?b?w7E=?=

--4abc.1/relay.example--
"""

COMPLAINT = b"""\
From: <abuse@isp.example>
To: <feedback@a.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=xx

--xx
Content-Type: text/plain

This is a spam report.

--xx
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeISP/1.0
Version: 1
Original-Mail-From: <bounce+t4g_-@a.example>
Original-Rcpt-To: <ana@people.example>

--xx
Content-Type: message/rfc822

From: <alerts@a.example>
Message-ID: <0ther@a.example>
Subject: x

body
--xx--
"""


GONE = MailReport(
    tags=("t4g_-",),
    state=ReportState.FAILED,
    reason=Reason.GONE,
    mailboxes=frozenset({"ana@people.example"}),
)
