"""What a mail server's refusals mean, as tables over the enhanced status codes (RFC 3463, RFC 5248).

Only what says that there is no such mailbox any more removes an address. A refusal is about the recipient's mailbox or this
message, and then it is for good; or about somebody's policy, the relay or us ("relay access denied", a list that we are on), and
then it is every mail's and may pass. 4xx is about now.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

from channels.base import Answer, Outcome, Reason, Subject


class Stage(enum.Enum):
    """Where in the exchange the server answered: what it speaks about."""

    SENDER = "MAIL"
    RECIPIENT = "RCPT"
    CONTENT = "DATA"


#: At the beginning, or as qmail writes it, "(#5.7.1)" at the end; an IP address is none.
ENHANCED = re.compile(r"(?:\s*|.*\(#)([245]\.\d{1,3}\.\d{1,3})\b(?!\.\d)")

# By the enhanced code or its family; the longest that fits counts.
PERMANENT: dict[str, Reason] = {
    "5.1.1": Reason.GONE,  # no such mailbox
    "5.1.6": Reason.GONE,  # moved, and nobody says where
    "5.1.10": Reason.GONE,  # null MX: the domain takes no mail at all
    "5.2.1": Reason.BLOCKED,  # disabled for now, or gets too many mails now (Gmail, support.google.com/a/answer/3726730)
    "5.1.7": Reason.CREDENTIALS,  # our own address is malformed
    "5.1.8": Reason.CREDENTIALS,  # our own domain is not known
    "5.1.": Reason.BAD_ADDRESS,
    "5.2.2": Reason.BLOCKED,  # mailbox full
    "5.2.3": Reason.BAD_MESSAGE,  # longer than the recipient takes
    "5.3.4": Reason.BAD_MESSAGE,  # longer than the server takes
    "5.4.4": Reason.BAD_ADDRESS,  # no way to the domain
    "5.4.7": Reason.UNAVAILABLE,  # a relay tried until it gave up
    "5.6.": Reason.BAD_MESSAGE,
    "5.7.8": Reason.CREDENTIALS,
    "5.7.9": Reason.CREDENTIALS,
    **{f"5.7.{n}": Reason.CREDENTIALS for n in range(20, 28)},  # our DKIM, SPF, DMARC or reverse name (RFC 7372)
    "5.7.": Reason.BLOCKED,
}

# By reply code, where the server gives no enhanced one. 550 alone says too many different things to be about anybody.
PERMANENT_PLAIN: dict[int, Reason] = {
    501: Reason.BAD_ADDRESS,
    550: Reason.BLOCKED,
    551: Reason.BAD_ADDRESS,
    552: Reason.BAD_MESSAGE,
    553: Reason.BAD_ADDRESS,
    554: Reason.BLOCKED,
    556: Reason.GONE,  # the domain takes no mail (RFC 7504)
}

TRANSIENT: dict[str, Reason] = {
    "4.2.2": Reason.UNAVAILABLE,  # mailbox full
    "4.4.5": Reason.THROTTLED,  # congestion
    "4.5.3": Reason.THROTTLED,  # too many recipients
    "4.7.": Reason.THROTTLED,
}

# 454 is how SES says "slow down", 451 how most others do.
TRANSIENT_PLAIN = {451: Reason.THROTTLED, 454: Reason.THROTTLED}

# SES names no delay but says which limit it is: the second's or the day's. Both are the whole account's.
ACCOUNT_WAITS_S = {"maximum sending rate exceeded": 1.0, "daily message quota exceeded": 900.0}

# Refusals of our account, not of anybody's address: 530 and 535 ask for (other) credentials.
OURS = frozenset({530, 534, 535, 538})

# The host takes no mail at all (RFC 7504), or none from us: whatever else it says.
NO_SERVER = 521

# What is for good: it is about one mailbox or one message.
FOR_GOOD = frozenset({Reason.GONE, Reason.BAD_ADDRESS, Reason.BAD_MESSAGE})
OF_A_MAILBOX = ("5.1.", "5.2.")

# Codes about the server, at every stage: it closes, or accepts no mail. SES throttles the account with 454 after the content.
CLOSING = frozenset({421, NO_SERVER})
ACCOUNT_THROTTLED = 454
# Enhanced codes of the mail system itself: full, not accepting, badly set up.
OF_THE_SYSTEM = ("4.3.", "5.3.")


def refusal(code: int, text: str, stage: Stage) -> Outcome:
    """Reads a reply that is not the one hoped for. `text` is what follows the code."""
    outcome = _meaning(code, text, stage)
    return outcome._replace(of=_subject(code, text, stage, outcome))


def _subject(code: int, text: str, stage: Stage, outcome: Outcome) -> Subject | None:
    """Returns what a refusal is about: after the sender, one recipient, unless it names the server or the account."""
    if outcome.answer is Answer.NEVER:
        return None
    if stage is Stage.SENDER or outcome.retry_after_s or code in OURS:
        return Subject.CARRIER
    is_system = code in CLOSING or not 400 <= code < 600 or _enhanced(text).startswith(OF_THE_SYSTEM)
    is_account = outcome.reason is Reason.CREDENTIALS or (stage is Stage.CONTENT and code == ACCOUNT_THROTTLED)
    return Subject.EITHER if is_system or is_account else Subject.RECIPIENT


def _meaning(code: int, text: str, stage: Stage) -> Outcome:
    if 400 <= code < 500:
        said = text.lower()
        wait_s = next((wait for words, wait in ACCOUNT_WAITS_S.items() if words in said), None)
        reason = by_code(text, TRANSIENT) or TRANSIENT_PLAIN.get(code, Reason.UNAVAILABLE)
        return Outcome(Answer.RETRY, Reason.THROTTLED if wait_s else reason, wait_s)
    if not 500 <= code < 600:
        return Outcome(Answer.UNKNOWN if stage is Stage.CONTENT else Answer.RETRY, Reason.GARBAGE)
    reason = by_code(text, PERMANENT) or PERMANENT_PLAIN.get(code, Reason.BLOCKED)
    if reason is Reason.CREDENTIALS or code in OURS or (stage is Stage.SENDER and reason is not Reason.BAD_MESSAGE):
        return Outcome(Answer.RETRY, Reason.CREDENTIALS)
    if code == NO_SERVER or not (reason in FOR_GOOD or _enhanced(text).startswith(OF_A_MAILBOX)):
        return Outcome(Answer.RETRY, Reason.BLOCKED)
    return Outcome(Answer.NEVER, reason)


def by_code(text: str, table: Mapping[str, Reason] = PERMANENT) -> Reason | None:
    """What a text that begins with an enhanced code means by a table; None where it says nothing that is in the table."""
    enhanced = _enhanced(text)
    return table.get(enhanced) or table.get(enhanced[: enhanced.find(".", 2) + 1])


def _enhanced(text: str) -> str:
    found = ENHANCED.match(text)
    return found[1] if found else ""
