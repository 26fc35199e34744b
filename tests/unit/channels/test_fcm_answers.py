"""FCM's answers, read as the published table of error codes says."""

import json

import pytest

from channels.base import Answer, Outcome, Reason, Subject
from channels.fcm_answers import outcome, token_refused
from channels.posting import Reply

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def refused(status, fcm_code=None, fields=(), headers=None):
    details = [{"@type": FCM_ERROR, "errorCode": fcm_code}] if fcm_code else []
    if fields:
        details.append({"@type": BAD_REQUEST, "fieldViolations": [{"field": field} for field in fields]})
    body = {"error": {"code": status, "message": "m", "status": "S", "details": details}}
    return Reply(status, headers or {}, json.dumps(body).encode())


def over_quota(delay):
    """As FCM says which quota is used up, and Google's other services how long to wait."""
    quota = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"subject": "device"}]}
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    details = [{"@type": FCM_ERROR, "errorCode": "QUOTA_EXCEEDED"}, quota, wait]
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}
    return Reply(429, {}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            Reply(200, {}, b'{"name": "projects/p/messages/1"}'),
            Outcome(Answer.ACCEPTED, message_id="projects/p/messages/1"),
        ),
        (refused(404, "UNREGISTERED"), Outcome(Answer.NEVER, Reason.GONE)),
        (refused(404), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (refused(400, "UNREGISTERED"), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(400, "INVALID_ARGUMENT", ["message.token"]), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(400, "INVALID_ARGUMENT", ["message.android.ttl"]), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
        (refused(400, None, ["message.data"]), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
        (refused(400, "INVALID_ARGUMENT"), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (Reply(400, {}, b"<html>"), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (refused(403, "SENDER_ID_MISMATCH"), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(403), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (refused(400, "INVALID_ARGUMENT", ["message.fid"]), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(400, "UNSPECIFIED_ERROR"), Outcome(Answer.RETRY, Reason.GARBAGE, of=Subject.RECIPIENT)),
        (refused(500, "INTERNAL"), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        (refused(503, "UNAVAILABLE"), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        (refused(401), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (refused(401, "APNS_AUTH_ERROR"), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (over_quota("60s"), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=60.0)),
        (refused(401, "THIRD_PARTY_AUTH_ERROR"), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (refused(429, "QUOTA_EXCEEDED"), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=60.0)),
        (refused(429, headers={"retry-after": "7"}), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=7.0)),
        (refused(500), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        (refused(503, headers={"retry-after": "30"}), Outcome(Answer.RETRY, Reason.UNAVAILABLE, retry_after_s=30.0)),
        (Reply(200, {}, b"<html>sign in</html>"), Outcome(Answer.UNKNOWN, Reason.GARBAGE)),
        (Reply(200, {}, b'{"name": 5}'), Outcome(Answer.UNKNOWN, Reason.GARBAGE)),
        (Reply(302, {}, b""), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (Reply(400, {}, b'{"error": "text"}'), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (Reply(500, {}, b'{"error": {"details": {"no": "list"}}}'), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        (Reply(404, {}, b'{"error": {"details": ["text", null]}}'), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (Reply(503, {}, b"\xff\xfe"), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
    ],
)
def test_each_answer_means_what_fcm_says(reply, expected):
    """One row per answer; only 404 with UNREGISTERED removes an address."""
    assert outcome(reply) == expected
    assert outcome(reply).address_gone == (expected.reason is Reason.GONE)


def test_only_our_own_token_is_fetched_again():
    """A wrong APNs key is a 401 as well, and no access token mends it."""
    assert token_refused(refused(401))
    assert not token_refused(refused(401, "THIRD_PARTY_AUTH_ERROR"))
    assert not token_refused(refused(403))
