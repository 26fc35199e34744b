"""The answers of push services, read as their standards and makers say."""

import pytest

from channels.base import ACCEPTED, Answer, Outcome, Reason
from channels.posting import Reply
from channels.webpush_answers import outcome


@pytest.mark.parametrize(("reply", "expected"), [
    (Reply(201, {"location": "https://push.example/m/1"}, b""), ACCEPTED),
    (Reply(202, {}, b""), ACCEPTED),
    (Reply(200, {}, b"<html>sign in</html>"), Outcome(Answer.UNKNOWN, Reason.GARBAGE)),
    (Reply(404, {}, b""), Outcome(Answer.NEVER, Reason.GONE)),
    (Reply(410, {}, b'{"errno": 106}'), Outcome(Answer.NEVER, Reason.GONE)),
    (Reply(400, {}, b""), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
    (Reply(400, {}, b" \n<html><h1>400 Bad Request</h1>"), Outcome(Answer.RETRY, Reason.GARBAGE)),
    (Reply(413, {}, b"<!DOCTYPE html>"), Outcome(Answer.RETRY, Reason.GARBAGE)),
    (Reply(413, {}, b""), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
    (Reply(401, {}, b'{"errno": 109}'), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b'{"reason": "BadJwtToken"}'), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b'{"reason": "ExpiredJwtToken"}'), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b"permission denied: invalid JWT provided\n"), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b"exp claim MUST NOT be more than 24 hours from the time of the request"),
     Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b'{"reason": "VapidPkHashMismatch"}'), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
    (Reply(403, {}, b"the key is not that of this subscription"), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
    (Reply(429, {"retry-after": "7"}, b""), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=7.0)),
    (Reply(429, {}, b""), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=60.0)),
    (Reply(406, {}, b""), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=60.0)),
    (Reply(500, {}, b""), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
    (Reply(503, {"retry-after": "30"}, b""), Outcome(Answer.RETRY, Reason.UNAVAILABLE, retry_after_s=30.0)),
    (Reply(502, {}, b""), Outcome(Answer.UNKNOWN, Reason.UNAVAILABLE)),
    (Reply(504, {}, b""), Outcome(Answer.UNKNOWN, Reason.TIMEOUT)),
    (Reply(302, {}, b""), Outcome(Answer.RETRY, Reason.GARBAGE)),
    (Reply(418, {}, b"\xff"), Outcome(Answer.RETRY, Reason.GARBAGE)),
])  # fmt: skip
def test_each_answer_means_what_its_maker_says(reply, expected):
    """One row per answer; only 404 and 410 remove an address, and what may be our own key's fault gives nobody up."""
    assert outcome(reply) == expected
    assert outcome(reply).address_gone == (expected.reason is Reason.GONE)
