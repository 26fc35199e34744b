"""The SMS provider's answers and status reports."""

import json

import pytest

from channels.base import Answer, Outcome, Reason, ReportState, Subject
from channels.posting import Reply
from channels.sms_answers import outcome, status


def refused(code, answered=400, headers=None):
    return Reply(answered, headers or {}, json.dumps({"code": code, "status": answered}).encode())


def failed(status, code):
    return Reply(201, {}, json.dumps({"sid": "SM1", "status": status, "error_code": code}).encode())


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(201, {}, b'{"sid": "SM1", "status": "queued"}'), Outcome(Answer.ACCEPTED, message_id="SM1")),
        (failed("failed", 30001), Outcome(Answer.RETRY, Reason.THROTTLED)),
        (failed("undelivered", "30006"), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (failed("failed", 21610), Outcome(Answer.NEVER, Reason.GONE)),
        (failed("canceled", None), Outcome(Answer.RETRY, Reason.GARBAGE, of=Subject.RECIPIENT)),
        (failed(["failed"], {}), Outcome(Answer.ACCEPTED, message_id="SM1")),
        (Reply(201, {}, b"{}"), Outcome(Answer.UNKNOWN, Reason.GARBAGE)),
        (Reply(200, {}, b"<html>"), Outcome(Answer.UNKNOWN, Reason.GARBAGE)),
        (refused(21610), Outcome(Answer.NEVER, Reason.GONE)),
        (refused(21211), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(21614), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(21617), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
        (refused(21408, 403), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        *((refused(code), Outcome(Answer.RETRY, Reason.CREDENTIALS)) for code in (21212, 21601, 21603, 21606, 21659)),
        (refused(21660), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (refused(99999), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
        (refused("21610"), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (Reply(400, {}, b"<html>"), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (refused(20429, 429, {"retry-after": "3"}), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=3.0)),
        (refused(20003, 401), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (refused(20500, 500), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        (Reply(502, {}, b""), Outcome(Answer.UNKNOWN, Reason.UNAVAILABLE)),
        (Reply(504, {}, b""), Outcome(Answer.UNKNOWN, Reason.TIMEOUT)),
        (Reply(418, {}, b""), Outcome(Answer.RETRY, Reason.GARBAGE)),
    ],
)
def test_each_answer_means_what_the_provider_says(reply, expected):
    """Only an opt-out at the carrier removes an address; what a gateway may have passed on is unknown; what was taken and failed in one answer
    was not sent.
    """
    assert outcome(reply) == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"MessageStatus": "sent"}, (ReportState.ACCEPTED, Reason.NONE)),
        ({"MessageStatus": "delivered"}, (ReportState.DELIVERED, Reason.NONE)),
        ({"MessageStatus": "read"}, (ReportState.SEEN, Reason.NONE)),
        ({"MessageStatus": "undelivered", "ErrorCode": "30003"}, (ReportState.FAILED, Reason.UNAVAILABLE)),
        ({"MessageStatus": "failed", "ErrorCode": "30005"}, (ReportState.FAILED, Reason.BAD_ADDRESS)),
        ({"MessageStatus": "failed"}, (ReportState.FAILED, Reason.NONE)),
    ],
)
def test_a_report_is_a_state_and_a_reason(form, expected):
    """What the provider reports later, in our words."""
    assert status(form) == expected


@pytest.mark.parametrize("form", [{}, {"MessageStatus": "dancing"}])
def test_what_is_no_report_is_refused(form):
    """A form that says nothing settles nothing."""
    with pytest.raises(ValueError, match="status report"):
        status(form)
