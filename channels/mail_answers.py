"""What a mail server's refusals mean, as tables over the enhanced status codes (RFC 3463, RFC 5248).

Only "no such mailbox" and "mailbox disabled" remove an address.
"""

from __future__ import annotations

import enum
import re

from channels.base import Answer, Outcome, Reason


class Stage(enum.Enum):
    """Where in the exchange the server answered: what it speaks about."""

    SENDER = "MAIL"
    RECIPIENT = "RCPT"
    CONTENT = "DATA"


ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")

# By the start of the enhanced code; the longest that fits counts.
PERMANENT: dict[str, Reason] = {
    "5.1.1": Reason.GONE,  # no such mailbox
    "5.1.10": Reason.GONE,  # null MX: the domain takes no mail at all
    "5.2.1": Reason.GONE,  # mailbox disabled
    "5.1.": Reason.BAD_ADDRESS,
    "5.2.2": Reason.BLOCKED,  # mailbox full
    "5.2.3": Reason.BAD_MESSAGE,  # longer than the recipient takes
    "5.3.4": Reason.BAD_MESSAGE,  # longer than the server takes
    "5.6.": Reason.BAD_MESSAGE,
    "5.7.": Reason.BLOCKED,
}

# By reply code, where the server gives no enhanced one. 550 alone says too many different things to remove anybody.
PERMANENT_PLAIN: dict[int, Reason] = {
    550: Reason.BLOCKED,
    551: Reason.BAD_ADDRESS,
    552: Reason.BAD_MESSAGE,
    553: Reason.BAD_ADDRESS,
    554: Reason.BLOCKED,
}

# 454 is how SES says "slow down", 451 how most others do.
THROTTLED = frozenset({451, 454})

# Refusals of our account, not of anybody's address: 530 and 535 ask for (other) credentials.
OURS = frozenset({530, 534, 535, 538})


def refusal(code: int, text: str, stage: Stage) -> Outcome:
    """Read a reply that is not the one hoped for. `text` is what follows the code."""
    if 400 <= code < 500:
        return Outcome(Answer.RETRY, Reason.THROTTLED if code in THROTTLED else Reason.UNAVAILABLE)
    if not 500 <= code < 600:
        return Outcome(Answer.UNKNOWN if stage is Stage.CONTENT else Answer.RETRY, Reason.GARBAGE)
    reason = _permanent(code, text)
    if code in OURS or (stage is Stage.SENDER and reason is not Reason.BAD_MESSAGE):
        return Outcome(Answer.RETRY, Reason.CREDENTIALS)
    return Outcome(Answer.NEVER, reason)


def _permanent(code: int, text: str) -> Reason:
    found = ENHANCED.match(text)
    if found is None:
        return PERMANENT_PLAIN.get(code, Reason.BLOCKED)
    enhanced = found[1]
    if enhanced in PERMANENT:
        return PERMANENT[enhanced]
    family = enhanced[: enhanced.index(".", 2) + 1]
    return PERMANENT.get(family, Reason.BLOCKED)
