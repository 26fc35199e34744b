"""Bounces and complaints, as mail servers write them and as strangers might."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.base import Reason, ReportState
from channels.bounces import read_bounce, status_reason
from tests.unit.channels.bounces import COMPLAINT, GONE, POSTFIX

TO = "bounce+t4g_-@a.example"


QMAIL = b"""\
To: bounce+t4g_-@a.example

Hi. This is the qmail-send program at mx.example.
I'm afraid I wasn't able to deliver your message to the following addresses.

<ana@people.example>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <bounce+t4g_-@a.example>
Message-ID: <t4g_-@a.example>
"""


@pytest.mark.parametrize("change", [lambda raw: raw, lambda raw: raw.replace(b"\n", b"\r\n")])
@pytest.mark.parametrize("to", [(), (TO,)])
def test_a_bounce_says_whose_mail_came_to_nothing_and_why(change, to):
    """Whatever the line ends, and whether the tag is read from whom it came for or from what is returned."""
    assert read_bounce(change(POSTFIX), to) == [GONE]


def test_the_tag_is_found_in_what_is_returned():
    """A relay that writes to another return path still gives back the Message-ID."""
    raw = POSTFIX.replace(b"bounce+t4g_-@a.example", b"postmaster@a.example")
    assert [report.tags for report in read_bounce(raw)] == [("t4g_-",)]


def test_a_tag_that_was_written_small_has_a_second():
    """Some servers fold the case of mailboxes; the Message-ID has it as it was."""
    assert [report.tags for report in read_bounce(POSTFIX, ["bounce+T4G_-@a.example"])] == [("T4G_-", "t4g_-")]


@pytest.mark.parametrize(
    ("action", "status", "state", "reason"),
    [
        ("failed", "5.1.1", ReportState.FAILED, Reason.GONE),
        ("FAILED", "5.7.1", ReportState.FAILED, Reason.BLOCKED),
        ("failed", "4.4.7", ReportState.FAILED, Reason.UNAVAILABLE),
        ("failed", "5.2.2", ReportState.FAILED, Reason.BLOCKED),
        ("delayed", "4.4.1", ReportState.ACCEPTED, Reason.NONE),
        ("delivered", "2.0.0", ReportState.DELIVERED, Reason.NONE),
        ("relayed", "2.0.0", ReportState.ACCEPTED, Reason.NONE),
        ("exploded", "5.1.1", ReportState.ACCEPTED, Reason.NONE),
    ],
)
def test_each_action_means_what_the_standard_says(action, status, state, reason):
    """A delay is no failure, and only a failure that is about the mailbox makes it gone."""
    raw = POSTFIX.replace(b"Action: failed", f"Action: {action}".encode()).replace(b": 5.1.1", f": {status}".encode())
    (report,) = read_bounce(raw)
    assert (report.state, report.reason) == (state, reason)


@pytest.mark.parametrize(
    ("status", "diagnostic", "reason"),
    [
        ("5.0.0", "smtp; 550 5.1.1 user unknown", Reason.GONE),
        ("5.1.1 (bad destination mailbox address)", "", Reason.GONE),
        ("5.0.0", "smtp; 550 who?", Reason.BLOCKED),
        ("5.0.0", "smtp; 554 client host [203.5.1.1] is on a list", Reason.BLOCKED),
        ("5.0.0", "smtp; 554 client host 5.2.1.44 is on a list", Reason.BLOCKED),
        ("5.2.1", "smtp; 550-5.2.1 The user is receiving mail at a rate that prevents additional", Reason.BLOCKED),
        ("", "smtp; 550-5.1.1. No such user", Reason.GONE),
        ("5.1.1", "smtp; 550 5.7.1 rejected as spam", Reason.BLOCKED),
        ("4.0.0", "smtp; 450 4.2.2 full", Reason.UNAVAILABLE),
        ("", "", Reason.BLOCKED),
        ("5.9999.1", "x" * 100_000, Reason.BLOCKED),
    ],
)
def test_a_vague_status_is_no_last_word(status, diagnostic, reason):
    """What the last server said is closer to the truth than a gateway's x.0.0."""
    assert status_reason(status, diagnostic) is reason


def test_a_report_in_base64_is_read():
    """Gateways encode what need not be."""
    head, body = POSTFIX.split(b"Content-Type: message/delivery-status\n\n")
    report, rest = body.split(b"\n\n--4abc.1/relay.example\nContent-Description: Undelivered")
    encoded = base64.encodebytes(report.replace(b"\n", b"\r\n"))
    raw = b"%bContent-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n%b\n--4abc.1/relay.example\nContent-Description: Undelivered%b"
    assert read_bounce(raw % (head, encoded, rest)) == [GONE]


OTHERS = POSTFIX.replace(b"Original-Recipient: rfc822;ana@people.example\n", b"").replace(
    b"Ana@People.Example", b"old@elsewhere.example"
)


@pytest.mark.parametrize(
    ("raw", "mailbox"),
    [
        (OTHERS, "old@elsewhere.example"),
        (OTHERS.replace(b"Final-Recipient: rfc822; old@elsewhere.example\n", b""), "ana@people.example"),
    ],
)
def test_whom_the_mail_was_for_counts_only_where_the_report_names_nobody(raw, mailbox):
    """Somebody keeps a copy and forwards to a mailbox that died: the bounce comes to us with our own To, and theirs lives."""
    (report,) = read_bounce(raw)
    assert (report.reason, report.mailboxes) == (Reason.GONE, {mailbox})


def test_a_list_whose_members_fail_says_whom():
    """One report a recipient, each with the mailboxes it names, so that a member's failure is not the list's."""
    extra = b"\nFinal-Recipient: rfc822; ben@elsewhere.example\nAction: delivered\nStatus: 2.0.0\n\n--4abc.1/relay.example\nContent-Description: Undel"
    raw = POSTFIX.replace(b"\n--4abc.1/relay.example\nContent-Description: Undel", extra)
    first, second = read_bounce(raw)
    assert (first.state, second.state) == (ReportState.FAILED, ReportState.DELIVERED)
    assert "ben@elsewhere.example" in second.mailboxes - first.mailboxes


def test_a_complaint_is_a_wish_to_get_no_more():
    """And a proof that it arrived."""
    (report,) = read_bounce(COMPLAINT)
    assert report.left
    assert report.state is ReportState.DELIVERED
    assert report.tags == ("t4g_-", "0ther")


@pytest.mark.parametrize("kind", [b"not-spam", b"auth-failure", b"virus", b""])
def test_other_feedback_changes_nothing(kind):
    """Least of all from somebody who says that it is no spam."""
    assert read_bounce(COMPLAINT.replace(b"Feedback-Type: abuse", b"Feedback-Type: " + kind)) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"To: bounce+t4g_-@a.example\nSubject: On holiday\nAuto-Submitted: auto-replied\n\nBack on Monday.\n",
        POSTFIX.replace(b"message/delivery-status", b"text/plain"),
        POSTFIX.replace(b"t4g_-", b""),
        POSTFIX.split(b"Final-Recipient")[0],
        POSTFIX.replace(b"boundary=", b"bound="),
    ],
)
def test_what_is_no_report_says_nothing(raw):
    """Automatic replies, reports without a tag, reports about nobody."""
    assert read_bounce(raw) == []


@given(
    st.binary(max_size=500),
    st.integers(0, len(POSTFIX)),
    st.integers(0, 300),
    st.sampled_from([POSTFIX, COMPLAINT, QMAIL]),
)
@settings(max_examples=300, deadline=None)
def test_no_mail_makes_it_fail(junk, at, lost, mail):
    """Bytes of any kind in the place of any others."""
    for report in read_bounce(mail[:at] + junk + mail[at + lost :], [TO]):
        assert all(report.tags)
    assert read_bounce(junk) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: multipart/report; boundary=a\n\n" + b"--a\n" * 300_000,
        b"Content-Type: multipart/report; boundary=a\n\n--a\n"
        + b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" * 20_000,
        POSTFIX.replace(b"Arrival-Date", b"X: y\n" * 200_000 + b"Arrival-Date"),
        POSTFIX.replace(b"Arrival-Date", b"X: y\n" + b" z\n" * 300_000 + b"Arrival-Date"),
        POSTFIX.replace(b"Arrival-Date", b"\n\n" * 400_000 + b"Arrival-Date"),
        POSTFIX.replace(b"Arrival-Date", b"\n" + b" " * 900_000 + b"Arrival-Date"),
        b"Content-Type: " + b"boundary=" * 100_000 + b"\n\n",
        b"\0" * 5_000_000,
        b"a:" * 500_000,
        POSTFIX.replace(b"5.1.1", b"5.1." * 200_000),
        POSTFIX.replace(b"<t4g_-@", b"<" * 500_000),
        POSTFIX.replace(b"Final-Recipient", b"Action: failed\n\nFinal-Recipient" * 10_000),
    ],
)
def test_no_mail_costs_more_than_its_length(raw):
    """Endless parts, fields, folds and repeats end within a second of the processor."""
    began = time.process_time()
    assert len(read_bounce(raw, [TO])) <= 50
    assert time.process_time() - began < 1
