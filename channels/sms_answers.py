"""The meaning of an HTTP SMS provider's answers and status reports, as tables (twilio.com/docs/api/errors)."""

from __future__ import annotations

from collections.abc import Mapping

from channels.base import Answer, Outcome, Reason, ReportState, Subject
from channels.posting import COMMON, Reply, json_object, retry_after_s

SmsState = ReportState  # the name in SMS modules

# Answer and reason by the provider's error code.
BY_CODE: dict[int, tuple[Answer, Reason]] = {
    20003: (Answer.RETRY, Reason.CREDENTIALS),
    20429: (Answer.RETRY, Reason.THROTTLED),
    14107: (Answer.RETRY, Reason.THROTTLED),  # the sender's rate
    21211: (Answer.NEVER, Reason.BAD_ADDRESS),  # not a number
    21214: (Answer.NEVER, Reason.BAD_ADDRESS),  # cannot be reached
    21217: (Answer.NEVER, Reason.BAD_ADDRESS),
    21408: (Answer.RETRY, Reason.CREDENTIALS),  # the account may not send to this country: a setting of the account
    21602: (Answer.NEVER, Reason.BAD_MESSAGE),
    # The sender is wrong, not the recipient: missing, not a number, cannot send, or belongs to another account or
    # country.
    **dict.fromkeys((21212, 21601, 21603, 21606, 21659, 21660), (Answer.RETRY, Reason.CREDENTIALS)),
    21610: (Answer.NEVER, Reason.GONE),  # the person answered STOP to the carrier
    21611: (Answer.RETRY, Reason.THROTTLED),  # the sender's queue is full
    21612: (Answer.NEVER, Reason.BAD_ADDRESS),  # not reachable from this sender, but perhaps from another
    21614: (Answer.NEVER, Reason.BAD_ADDRESS),  # not a mobile number
    21617: (Answer.NEVER, Reason.BAD_MESSAGE),  # too long
}

# Answer and reason by HTTP status, for an answer without a known code.
BY_STATUS = {**COMMON, 400: (Answer.NEVER, Reason.BAD_MESSAGE), 403: (Answer.RETRY, Reason.CREDENTIALS)}

NOT_OF_THE_PROTOCOL = Outcome(Answer.UNKNOWN, Reason.GARBAGE)

#: State by the provider's word, in an answer or a later report.
REPORTS = {
    "accepted": ReportState.ACCEPTED,
    "scheduled": ReportState.ACCEPTED,
    "queued": ReportState.ACCEPTED,
    "sending": ReportState.ACCEPTED,
    "sent": ReportState.ACCEPTED,
    "delivered": ReportState.DELIVERED,
    "read": ReportState.SEEN,
    "undelivered": ReportState.FAILED,
    "failed": ReportState.FAILED,
    "canceled": ReportState.FAILED,
}

#: Words for a failure. In the answer to a message they mean that nothing was sent and no report follows.
FAILED_AT_ONCE = [word for word, state in REPORTS.items() if state is ReportState.FAILED]

# Why a message failed, by the error code of its report. 30005 (unknown number) may be temporary, for instance while a
# number is ported, so it does not count as GONE.
REPORT_REASONS = {
    "21610": Reason.GONE,
    "30001": Reason.THROTTLED,
    "30002": Reason.CREDENTIALS,  # account suspended
    "30003": Reason.UNAVAILABLE,  # phone off or out of reach
    "30004": Reason.BLOCKED,
    "30005": Reason.BAD_ADDRESS,
    "30006": Reason.BAD_ADDRESS,  # a landline
    "30007": Reason.BLOCKED,  # filtered by the carrier
    "30034": Reason.CREDENTIALS,  # sender not registered
    "30410": Reason.TIMEOUT,
}


#: Reasons that concern the account, not one number.
_OF_THE_ACCOUNT = frozenset({Reason.CREDENTIALS, Reason.THROTTLED})

#: Reasons that another try would not change.
_FOR_GOOD = {Reason.GONE, Reason.BAD_ADDRESS, Reason.BLOCKED}


def outcome(reply: Reply) -> Outcome:
    """Returns the outcome of the answer to a message. Never raises, for any body."""
    document = json_object(reply.body)
    if 200 <= reply.status < 300:
        if document.get("status") in FAILED_AT_ONCE:
            return _failed_at_once(document.get("error_code"))
        sid = document.get("sid")
        return Outcome(Answer.ACCEPTED, message_id=sid) if isinstance(sid, str) else NOT_OF_THE_PROTOCOL
    code = document.get("code")
    otherwise = Answer.UNKNOWN if reply.status > 500 else Answer.RETRY  # 520 to 524 are gateways' codes
    by_status = BY_STATUS.get(reply.status, (otherwise, Reason.GARBAGE))
    if reply.status == 400 and not isinstance(code, int):
        by_status = (Answer.RETRY, Reason.GARBAGE)
    answer, reason = BY_CODE.get(code, by_status) if isinstance(code, int) else by_status
    wait_s = retry_after_s(reply.headers) if answer is Answer.RETRY else None
    return Outcome(answer, reason, retry_after_s=wait_s)


def _failed_at_once(code: object) -> Outcome:
    """Returns the outcome of a message that the answer reports as failed with this error code."""
    reason = REPORT_REASONS.get(str(code), Reason.GARBAGE)
    answer = Answer.NEVER if reason in _FOR_GOOD else Answer.RETRY
    answer, reason = BY_CODE.get(code, (answer, reason)) if isinstance(code, int) else (answer, reason)
    is_of_one = answer is Answer.RETRY and reason not in _OF_THE_ACCOUNT
    return Outcome(answer, reason, of=Subject.RECIPIENT if is_of_one else None)


def status(form: Mapping[str, str]) -> tuple[ReportState, Reason]:
    """Returns state and reason from the form of a status report. Raises `ValueError` if its status is missing or
    unknown.
    """
    state = REPORTS.get(form.get("MessageStatus", ""))
    if state is None:
        raise ValueError("not a status report: MessageStatus is missing or unknown")
    if state is not ReportState.FAILED:
        return state, Reason.NONE
    return state, REPORT_REASONS.get(form.get("ErrorCode", ""), Reason.NONE)
