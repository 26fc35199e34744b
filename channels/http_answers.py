"""What HTTP's own statuses mean from carriers that say nothing more."""

from __future__ import annotations

from channels.base import Answer, Outcome, Reason
from channels.posting import Reply, retry_after_s

# FCM asks for a minute where it names no delay (scale-fcm), and nobody for more.
THROTTLED_WAIT_S = 60.0

COMMON: dict[int, tuple[Answer, Reason]] = {
    401: (Answer.RETRY, Reason.CREDENTIALS),
    413: (Answer.NEVER, Reason.BAD_MESSAGE),
    429: (Answer.RETRY, Reason.THROTTLED),
    500: (Answer.RETRY, Reason.UNAVAILABLE),
    503: (Answer.RETRY, Reason.UNAVAILABLE),
    502: (Answer.UNKNOWN, Reason.UNAVAILABLE),  # a gateway speaks, which may have passed the message on
    504: (Answer.UNKNOWN, Reason.TIMEOUT),
}


def refusal(reply: Reply, answer: Answer, reason: Reason) -> Outcome:
    """With the delay that the carrier names, if it is to be tried again."""
    wait_s = retry_after_s(reply.headers) if answer is Answer.RETRY else None
    if reason is Reason.THROTTLED and wait_s is None:
        wait_s = THROTTLED_WAIT_S
    return Outcome(answer, reason, retry_after_s=wait_s)
