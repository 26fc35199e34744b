"""A carrier may answer anything: every answer becomes an outcome, never an exception that costs a whole chunk."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels import fcm, sms_answers
from channels.base import Answer, Outcome, Reason
from channels.posting import LONGEST_WAIT_S, Reply, retry_after_s

READERS = [fcm.outcome, sms_answers.outcome]
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
DETAIL = st.fixed_dictionaries(
    {}, optional={"@type": st.sampled_from([FCM_ERROR, fcm.BAD_REQUEST]) | JSON, "errorCode": JSON, "fieldViolations": JSON}
)  # fmt: skip
ERRORS = st.fixed_dictionaries({}, optional={"error": st.fixed_dictionaries({}, optional={"details": st.lists(DETAIL) | JSON, "status": JSON}) | JSON, "code": JSON})  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 999), ERRORS.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=50))
@pytest.mark.parametrize("read", READERS)
def test_every_answer_is_an_outcome(read, status, body):
    """Whatever the status and the body hold."""
    assert isinstance(read(Reply(status, {}, body)), Outcome)


@pytest.mark.parametrize("read", READERS)
def test_nesting_without_end_is_garbage(read):
    """A body nested deeper than the parser goes may have come after the message was taken."""
    assert read(Reply(200, {}, b"[" * 100_000)) == Outcome(Answer.UNKNOWN, Reason.GARBAGE)


@pytest.mark.parametrize("read", READERS)
def test_a_text_that_is_no_utf8_is_garbage(read):
    """Where an id should be, too."""
    for body in (b'{"name": "\xff", "sid": "\xff"}', b'{"name": "a\xc3", "sid": "a\xc3"}', b"\xff"):
        assert read(Reply(200, {}, body)) == Outcome(Answer.UNKNOWN, Reason.GARBAGE)


@pytest.mark.parametrize("status", [502, 504, 520, 524])
@pytest.mark.parametrize("read", READERS)
def test_a_gateway_does_not_know(read, status):
    """What stands between us and the carrier may have passed the message on before it gave up."""
    assert read(Reply(status, {}, b"<html>")).answer is Answer.UNKNOWN


@pytest.mark.parametrize(
    "value", ["Fri, 31 Dec 99999 23:59:59 GMT", "soon", "-1", ""]
)  # fmt: skip
def test_a_date_that_is_none_names_no_delay(value):
    """Retry-After that cannot be read is as if it were not there."""
    assert retry_after_s({"retry-after": value}) is None


@pytest.mark.parametrize("value", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_carrier_asks_for_more_than_a_day(value):
    """A digit too many does not silence a carrier for a year."""
    assert retry_after_s({"retry-after": value}) == LONGEST_WAIT_S


def test_a_date_is_as_far_off_as_on_the_clock_of_who_answered():
    """A machine whose clock is an hour off waits no longer and no shorter for it; a `Date` that is none counts for nothing."""
    asked = {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after_s(asked | {"date": "Wed, 21 Oct 2015 07:26:30 GMT"}) == 90.0
    assert retry_after_s(asked | {"date": "Wed, 21 Oct 2015 08:26:30 GMT"}) == 0.0
    assert retry_after_s(asked | {"date": "soon"}) == 0.0
