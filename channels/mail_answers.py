"""The meaning of a mail server's refusals, as tables of enhanced status codes (RFC 3463, RFC 5248).

An address is only removed if the server says that its mailbox no longer exists. A refusal that concerns the mailbox or
this message is final. A refusal that concerns a policy, the relay or the sender ("relay access denied", a block list)
affects every mail and may pass. 4xx is temporary.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

from channels.base import Answer, Outcome, Reason, Subject


class Stage(enum.Enum):
    """The stage of the transaction at which the server answered. It shows the subject of the answer."""

    SENDER = "MAIL"
    RECIPIENT = "RCPT"
    CONTENT = "DATA"


#: An enhanced code at the start, or at the end in qmail's form "(#5.7.1)". An IP address does not match.
ENHANCED = re.compile(r"(?:\s*|.*\(#)([245]\.\d{1,3}\.\d{1,3})\b(?!\.\d)")

# By the enhanced code or its family; the longest match counts.
PERMANENT: dict[str, Reason] = {
    "5.1.1": Reason.GONE,  # no such mailbox
    "5.1.6": Reason.GONE,  # moved, without a new address
    "5.1.10": Reason.GONE,  # null MX: the domain accepts no mail
    "5.2.1": Reason.BLOCKED,  # disabled for now, or too many mails now (Gmail, support.google.com/a/answer/3726730)
    "5.1.7": Reason.CREDENTIALS,  # the sender's address is malformed
    "5.1.8": Reason.CREDENTIALS,  # the sender's domain is unknown
    "5.1.": Reason.BAD_ADDRESS,
    "5.2.2": Reason.BLOCKED,  # mailbox full
    "5.2.3": Reason.BAD_MESSAGE,  # longer than the recipient accepts
    "5.3.4": Reason.BAD_MESSAGE,  # longer than the server accepts
    "5.4.4": Reason.BAD_ADDRESS,  # no route to the domain
    "5.4.7": Reason.UNAVAILABLE,  # a relay tried until it gave up
    "5.6.": Reason.BAD_MESSAGE,
    "5.7.8": Reason.CREDENTIALS,
    "5.7.9": Reason.CREDENTIALS,
    **{
        f"5.7.{n}": Reason.CREDENTIALS for n in range(20, 28)
    },  # the sender's DKIM, SPF, DMARC or reverse name (RFC 7372)
    "5.7.": Reason.BLOCKED,
}

# By reply code, for servers without enhanced codes. 550 alone has too many meanings to concern one mailbox.
PERMANENT_PLAIN: dict[int, Reason] = {
    501: Reason.BAD_ADDRESS,
    550: Reason.BLOCKED,
    551: Reason.BAD_ADDRESS,
    552: Reason.BAD_MESSAGE,
    553: Reason.BAD_ADDRESS,
    554: Reason.BLOCKED,
    556: Reason.GONE,  # the domain accepts no mail (RFC 7504)
}

TRANSIENT: dict[str, Reason] = {
    "4.2.2": Reason.UNAVAILABLE,  # mailbox full
    "4.4.5": Reason.THROTTLED,  # congestion
    "4.5.3": Reason.THROTTLED,  # too many recipients
    "4.7.": Reason.THROTTLED,
}

# SES says "slow down" with 454, most other servers with 451.
TRANSIENT_PLAIN = {451: Reason.THROTTLED, 454: Reason.THROTTLED}

# SES gives no delay, but names the limit: per second or per day. Both apply to the whole account. Values in seconds.
ACCOUNT_WAITS_S = {"maximum sending rate exceeded": 1.0, "daily message quota exceeded": 900.0}

# Refusals of the account, not of an address: 530 and 535 ask for (other) credentials.
OURS = frozenset({530, 534, 535, 538})

# Reply code of a host that accepts no mail (RFC 7504), or none from alertd, with any text.
NO_SERVER = 521

# Final reasons: they concern one mailbox or one message.
FOR_GOOD = frozenset({Reason.GONE, Reason.BAD_ADDRESS, Reason.BAD_MESSAGE})
OF_A_MAILBOX = ("5.1.", "5.2.")

# Codes about the server, at every stage: it closes, or accepts no mail. After the content, SES throttles the account
# with 454.
CLOSING = frozenset({421, NO_SERVER})
ACCOUNT_THROTTLED = 454
# Enhanced codes of the mail system itself: full, not accepting, wrongly configured.
OF_THE_SYSTEM = ("4.3.", "5.3.")


def refusal(code: int, text: str, stage: Stage) -> Outcome:
    """Returns the outcome of an unexpected reply. `text` is the text after the code."""
    outcome = _meaning(code, text, stage)
    return outcome._replace(of=_subject(code, text, stage, outcome))


def _subject(code: int, text: str, stage: Stage, outcome: Outcome) -> Subject | None:
    """Returns the subject of a refusal, or None if it is final. After the sender was accepted it is one recipient,
    unless the reply names the server or the account.
    """
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
    """Returns the reason that the table gives for the enhanced code in `text`, or for the family of that code ("4.7.").
    None if the text has no enhanced code, or the table does not list it.
    """
    enhanced = _enhanced(text)
    return table.get(enhanced) or table.get(enhanced[: enhanced.find(".", 2) + 1])


def _enhanced(text: str) -> str:
    found = ENHANCED.match(text)
    return found[1] if found else ""
