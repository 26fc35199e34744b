"""What the answers of push services mean, as one table (RFC 8030 and RFC 8292, and what Apple and Microsoft say of their own)."""

from __future__ import annotations

from channels.base import ACCEPTED, Answer, Outcome, Reason
from channels.http_answers import COMMON, refusal
from channels.posting import Reply

#: What Apple and Google call a token of ours that they do not take, with 403, as when our clock is wrong: of another subscription they say the
#: same number.
OUR_TOKEN = (b"BadJwtToken", b"ExpiredJwtToken", b"invalid JWT", b"exp claim")

BY_STATUS = {
    **COMMON,
    400: (Answer.NEVER, Reason.BAD_MESSAGE),
    403: (Answer.NEVER, Reason.BAD_ADDRESS),  # subscribed with another key than ours (RFC 8292 section 4.2)
    404: (Answer.NEVER, Reason.GONE),  # expired (RFC 8030 section 7.3)
    406: (Answer.RETRY, Reason.THROTTLED),  # Microsoft's
    410: (Answer.NEVER, Reason.GONE),  # unsubscribed
}

#: What finds fault with a message for good. Push services say so in JSON, in a line, or without a word.
_OF_THE_MESSAGE = frozenset({400, 413})

#: Taken (RFC 8030 section 5), or taken and a receipt promised (section 5.1).
TAKEN = frozenset({201, 202})


def outcome(reply: Reply) -> Outcome:
    """Read one answer. Never raises, whatever the body holds."""
    if reply.status in TAKEN:
        return ACCEPTED
    return refusal(reply, *_refused(reply))


def _refused(reply: Reply) -> tuple[Answer, Reason]:
    if reply.status == 403 and any(words in reply.body for words in OUR_TOKEN):
        return Answer.RETRY, Reason.CREDENTIALS
    # A page is somebody's in between, and no message's fault.
    if reply.status in _OF_THE_MESSAGE and reply.body.lstrip().startswith(b"<"):
        return Answer.RETRY, Reason.GARBAGE
    # Another "yes" is somebody's in between, before or after it was taken.
    is_doubtful = reply.status < 300 or reply.status > 500
    return BY_STATUS.get(reply.status, (Answer.UNKNOWN if is_doubtful else Answer.RETRY, Reason.GARBAGE))
