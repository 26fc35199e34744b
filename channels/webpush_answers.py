"""What the answers of push services mean, as one table (RFC 8030 and RFC 8292, and what Apple and Microsoft say of their own)."""

from __future__ import annotations

from channels.base import ACCEPTED, Answer, Outcome, Reason
from channels.posting import Reply, json_object, retry_after_s

#: How long a push service that asks to slow down is left alone where it names no delay.
THROTTLED_WAIT_S = 60.0

#: What Apple calls a token of ours that it does not take, with 403: of another subscription it says the same number.
OUR_TOKEN = frozenset({"BadJwtToken", "ExpiredJwtToken"})

BY_STATUS: dict[int, tuple[Answer, Reason]] = {
    400: (Answer.NEVER, Reason.BAD_MESSAGE),
    401: (Answer.RETRY, Reason.CREDENTIALS),
    403: (Answer.NEVER, Reason.BAD_ADDRESS),  # subscribed with another key than ours (RFC 8292 section 4.2)
    404: (Answer.NEVER, Reason.GONE),  # expired (RFC 8030 section 7.3)
    406: (Answer.RETRY, Reason.THROTTLED),  # Microsoft's
    410: (Answer.NEVER, Reason.GONE),  # unsubscribed
    413: (Answer.NEVER, Reason.BAD_MESSAGE),
    429: (Answer.RETRY, Reason.THROTTLED),
    500: (Answer.RETRY, Reason.UNAVAILABLE),
    503: (Answer.RETRY, Reason.UNAVAILABLE),
    502: (Answer.UNKNOWN, Reason.UNAVAILABLE),  # a gateway speaks, which may have passed the message on
    504: (Answer.UNKNOWN, Reason.TIMEOUT),
}

#: Taken (RFC 8030 section 5), or taken and a receipt promised (section 5.1).
TAKEN = frozenset({201, 202})


def outcome(reply: Reply) -> Outcome:
    """Read one answer. Never raises, whatever the body holds."""
    if reply.status in TAKEN:
        return ACCEPTED
    answer, reason = _refused(reply)
    wait_s = retry_after_s(reply.headers) if answer is Answer.RETRY else None
    if reason is Reason.THROTTLED and wait_s is None:
        wait_s = THROTTLED_WAIT_S
    return Outcome(answer, reason, retry_after_s=wait_s)


def _refused(reply: Reply) -> tuple[Answer, Reason]:
    if reply.status == 403 and json_object(reply.body).get("reason") in OUR_TOKEN:
        return Answer.RETRY, Reason.CREDENTIALS
    # Another "yes" is somebody's in between, before or after it was taken.
    is_doubtful = reply.status < 300 or reply.status > 500
    return BY_STATUS.get(reply.status, (Answer.UNKNOWN if is_doubtful else Answer.RETRY, Reason.GARBAGE))
