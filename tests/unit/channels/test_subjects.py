"""Whom a carrier's answer speaks of: the carrier, one recipient, or either."""

from __future__ import annotations

import json

import pytest

from channels import sms_answers
from channels.access_token import REFUSED
from channels.base import ACCEPTED, FAULT, NOT_CONNECTED, WITHHELD, Answer, Outcome, Reason, Subject
from channels.fcm import outcome as outcome_of_fcm
from channels.mail import LOST_AFTER, LOST_BEFORE, SLOW_BEFORE
from channels.mail_answers import Stage, refusal
from channels.posting import Reply
from channels.smpp import session as smpp_session
from channels.smpp.bind import NOT_TRUSTED as NOT_BOUND
from channels.smpp.pdu import Status
from channels.smtp_pool import NOT_TRUSTED

CARRIER, EITHER, RECIPIENT = Subject.CARRIER, Subject.EITHER, Subject.RECIPIENT


@pytest.mark.parametrize(
    ("outcome", "subject"),
    [
        (ACCEPTED, RECIPIENT),
        (Outcome(Answer.NEVER, Reason.GONE), RECIPIENT),
        (Outcome(Answer.NEVER, Reason.BAD_MESSAGE), RECIPIENT),
        (WITHHELD, Subject.NOBODY),
        (FAULT, EITHER),
        (NOT_CONNECTED, CARRIER),
        (NOT_TRUSTED, CARRIER),
        (NOT_BOUND, CARRIER),
        (REFUSED, CARRIER),
        (LOST_BEFORE, EITHER),
        (SLOW_BEFORE, EITHER),
        (LOST_AFTER, EITHER),
    ],
)
def test_an_answer_that_is_not_of_a_protocol(outcome: Outcome, subject: Subject):
    """Only a connection or a login that fails is the carrier's for sure."""
    assert outcome.subject is subject


@pytest.mark.parametrize(
    ("code", "text", "stage", "subject"),
    [
        (451, "4.7.1 greylisted", Stage.RECIPIENT, RECIPIENT),
        (450, "4.2.0 try again later", Stage.RECIPIENT, RECIPIENT),
        (452, "4.2.2 mailbox full", Stage.RECIPIENT, RECIPIENT),
        (450, "4.7.28 unusual rate", Stage.RECIPIENT, RECIPIENT),
        (550, "5.7.1 refused by policy", Stage.RECIPIENT, RECIPIENT),
        (550, "5.1.1 no such mailbox", Stage.RECIPIENT, RECIPIENT),
        (550, "no", Stage.RECIPIENT, RECIPIENT),
        (559, "no", Stage.RECIPIENT, RECIPIENT),
        (499, "no", Stage.RECIPIENT, RECIPIENT),
        (451, "4.7.1 greylisted", Stage.CONTENT, RECIPIENT),
        (554, "5.6.0 content not acceptable", Stage.CONTENT, RECIPIENT),
        (451, "4.7.1 slow down", Stage.SENDER, CARRIER),
        (550, "5.7.1 sender not allowed", Stage.SENDER, CARRIER),
        (421, "4.3.2 going down", Stage.SENDER, CARRIER),
        (530, "5.7.0 authentication required", Stage.RECIPIENT, CARRIER),
        (454, "Throttling failure: Maximum sending rate exceeded.", Stage.CONTENT, CARRIER),
        (454, "Throttling failure: Daily message quota exceeded.", Stage.RECIPIENT, CARRIER),
        (454, "4.7.0 throttling failure", Stage.CONTENT, EITHER),
        (421, "4.7.0 too many errors", Stage.RECIPIENT, EITHER),
        (452, "4.3.1 insufficient system storage", Stage.RECIPIENT, EITHER),
        (521, "this host takes no mail", Stage.RECIPIENT, EITHER),
        (550, "5.7.26 unauthenticated mail", Stage.CONTENT, EITHER),
        (250, "what?", Stage.RECIPIENT, EITHER),
    ],
)
def test_a_mail_server_speaks_of_the_recipient_after_the_sender(code: int, text: str, stage: Stage, subject: Subject):
    """Unless it closes, is full, or names the account."""
    assert refusal(code, text, stage).subject is subject


@pytest.mark.parametrize(
    ("status", "subject"),
    [
        (Status.INVALID_DESTINATION, RECIPIENT),
        (Status.RECEIVER_TEMPORARY, RECIPIENT),
        (Status.RECEIVER_REJECTS, RECIPIENT),
        (Status.SUBMIT_FAILED, RECIPIENT),
        (Status.INVALID_LENGTH, RECIPIENT),
        (0x4FE, RECIPIENT),
        (0xFFFF, RECIPIENT),
        (Status.SYSTEM_ERROR, EITHER),
        (Status.THROTTLED, EITHER),
        (Status.QUEUE_FULL, EITHER),
        (Status.INVALID_BIND_STATE, EITHER),
        (Status.INVALID_SOURCE, EITHER),
    ],
)
def test_an_sms_centre_speaks_of_the_number_where_no_code_of_the_standard_is_its_own(status: int, subject: Subject):
    assert smpp_session.refusal(status, {}).subject is subject


def fcm(status: int, code: str | None) -> Reply:
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    return Reply(status, {}, json.dumps({"error": {"code": status, "status": "X", "details": details}}).encode())


@pytest.mark.parametrize(
    ("reply", "subject"),
    [
        (fcm(404, "UNREGISTERED"), RECIPIENT),
        (fcm(400, "INVALID_ARGUMENT"), RECIPIENT),
        (fcm(400, "UNSPECIFIED_ERROR"), RECIPIENT),
        (fcm(409, None), RECIPIENT),
        (fcm(403, "SENDER_ID_MISMATCH"), RECIPIENT),
        (fcm(401, None), EITHER),
        (fcm(403, None), EITHER),
        (fcm(404, None), EITHER),
        (fcm(429, "QUOTA_EXCEEDED"), EITHER),
        (fcm(503, "UNAVAILABLE"), EITHER),
        (Reply(400, {}, b"<html>"), EITHER),
        (Reply(418, {}, b""), EITHER),
    ],
)
def test_fcm_speaks_of_the_token_with_an_error_of_its_own(reply: Reply, subject: Subject):
    assert outcome_of_fcm(reply).subject is subject


@pytest.mark.parametrize(
    ("reply", "subject"),
    [
        (Reply(400, {}, b'{"code": 21211}'), RECIPIENT),
        (Reply(400, {}, b'{"code": 99999}'), RECIPIENT),
        (Reply(201, {}, b'{"sid": "SM1", "status": "failed", "error_code": 30003}'), RECIPIENT),
        (Reply(201, {}, b'{"sid": "SM1", "status": "failed", "error_code": 30001}'), EITHER),
        (Reply(429, {}, b'{"code": 20429}'), EITHER),
        (Reply(403, {}, b'{"code": 21408}'), EITHER),
        (Reply(503, {}, b"{}"), EITHER),
    ],
)
def test_an_sms_provider_speaks_of_the_number_with_400(reply: Reply, subject: Subject):
    assert sms_answers.outcome(reply).subject is subject
