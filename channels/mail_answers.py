"""The meaning of a mail server's refusals, as tables of enhanced status codes (RFC 3463, RFC 5248).

An address only counts as dead (GONE) if the server says that its mailbox does not exist. A refusal that concerns the
mailbox or this message is final. A refusal that concerns a policy, the relay or the sender ("relay access denied", a
block list) affects every mail and may pass, so the mail is retried. 4xx is temporary.
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

# Reason of a final refusal by its enhanced code. A code that ends in a dot stands for all codes that start with it. The
# longest match counts.
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

# Reason by reply code, for servers without enhanced codes. 550 has too many meanings to say that one mailbox is dead.
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

# Seconds to wait, by words of SES. SES gives no delay, but names the limit: per second or per day. Both limits apply to
# the whole account.
ACCOUNT_WAITS_S = {"maximum sending rate exceeded": 1.0, "daily message quota exceeded": 900.0}

# Refusals of the account, not of an address: 530 and 535 ask for (other) credentials.
OURS = frozenset({530, 534, 535, 538})

# Reply code of a host that accepts no mail (RFC 7504), or no mail from alertd. Its text does not matter.
NO_SERVER = 521

# Final reasons, because they concern one mailbox or one message. Refusals with the codes below are final, too.
FOR_GOOD = frozenset({Reason.GONE, Reason.BAD_ADDRESS, Reason.BAD_MESSAGE})
OF_A_MAILBOX = ("5.1.", "5.2.")

# Reply codes that concern the server, at every stage: it closes, or accepts no mail. Below: the code with which SES
# throttles the account, after the content.
CLOSING = frozenset({421, NO_SERVER})
ACCOUNT_THROTTLED = 454
# Enhanced codes that concern the mail system itself: full, not accepting, wrongly configured.
OF_THE_SYSTEM = ("4.3.", "5.3.")


def refusal(code: int, text: str, stage: Stage) -> Outcome:
    """Returns the outcome, with its subject, of a reply that refuses a step. `text` is the text after the code."""
    outcome = _meaning(code, text, stage)
    return outcome._replace(of=_subject(code, text, stage, outcome))


def _subject(code: int, text: str, stage: Stage, outcome: Outcome) -> Subject | None:
    """Returns the subject of a refusal, or None if the refusal is final. The subject is the carrier if the relay
    refuses the sender, names the account's limit or asks for a login. It is EITHER if the reply may concern server or
    account, otherwise the recipient.
    """
    if outcome.answer is Answer.NEVER:
        return None
    if stage is Stage.SENDER or outcome.retry_after_s or code in OURS:
        return Subject.CARRIER
    is_system = code in CLOSING or not 400 <= code < 600 or _enhanced(text).startswith(OF_THE_SYSTEM)
    is_account = outcome.reason is Reason.CREDENTIALS or (stage is Stage.CONTENT and code == ACCOUNT_THROTTLED)
    return Subject.EITHER if is_system or is_account else Subject.RECIPIENT


def _meaning(code: int, text: str, stage: Stage) -> Outcome:
    """Returns answer, reason and delay of a refusal, without its subject."""
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
    """Returns the reason that the table gives for the enhanced code in `text`, or for the start of that code ("4.7.").
    Returns None if the text has no enhanced code, or if the table does not list the code.
    """
    enhanced = _enhanced(text)
    return table.get(enhanced) or table.get(enhanced[: enhanced.find(".", 2) + 1])


def _enhanced(text: str) -> str:
    """Returns the enhanced code in a text, or ""."""
    found = ENHANCED.match(text)
    return found[1] if found else ""
