"""A mail server's refusals."""

import pytest

from channels.base import Answer, Reason
from channels.mail_answers import Stage, refusal


@pytest.mark.parametrize(
    ("code", "text", "stage", "answer", "reason"),
    [
        (550, "5.1.1 no such user", Stage.RECIPIENT, Answer.NEVER, Reason.GONE),
        (556, "5.1.10 null MX", Stage.RECIPIENT, Answer.NEVER, Reason.GONE),
        (550, "5.2.1 disabled", Stage.RECIPIENT, Answer.NEVER, Reason.BLOCKED),
        (550, "5.2.1 receiving mail at a rate that prevents", Stage.RECIPIENT, Answer.NEVER, Reason.BLOCKED),
        (550, "5.1.2 bad domain", Stage.RECIPIENT, Answer.NEVER, Reason.BAD_ADDRESS),
        (550, "no such user here", Stage.RECIPIENT, Answer.RETRY, Reason.BLOCKED),
        (550, "relay not permitted", Stage.RECIPIENT, Answer.RETRY, Reason.BLOCKED),
        (554, "Transaction failed", Stage.CONTENT, Answer.RETRY, Reason.BLOCKED),
        (554, "5.7.1 <p@people.example>: Relay access denied", Stage.RECIPIENT, Answer.RETRY, Reason.BLOCKED),
        (
            554,
            "5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org",
            Stage.RECIPIENT,
            Answer.RETRY,
            Reason.BLOCKED,
        ),
        (553, "not in my list of allowed rcpthosts (#5.7.1)", Stage.RECIPIENT, Answer.RETRY, Reason.BLOCKED),
        (550, "no mailbox here by that name (#5.1.1)", Stage.RECIPIENT, Answer.NEVER, Reason.GONE),
        (554, "5.2.1.44 is on a list", Stage.RECIPIENT, Answer.RETRY, Reason.BLOCKED),
        (550, "5.1.1. No such user", Stage.RECIPIENT, Answer.NEVER, Reason.GONE),
        (521, "5.2.1 this host takes no mail", Stage.RECIPIENT, Answer.RETRY, Reason.BLOCKED),
        (550, "5.7.1 policy", Stage.RECIPIENT, Answer.RETRY, Reason.BLOCKED),
        (550, "5.7.25 no reverse name", Stage.CONTENT, Answer.RETRY, Reason.CREDENTIALS),
        (550, "5.7.26 unauthenticated mail", Stage.CONTENT, Answer.RETRY, Reason.CREDENTIALS),
        (550, "5.7.509 access denied", Stage.CONTENT, Answer.RETRY, Reason.BLOCKED),
        (553, "5.1.8 sender's domain not found", Stage.RECIPIENT, Answer.RETRY, Reason.CREDENTIALS),
        (551, "5.1.6 moved", Stage.RECIPIENT, Answer.NEVER, Reason.GONE),
        (552, "5.2.2 mailbox full", Stage.RECIPIENT, Answer.NEVER, Reason.BLOCKED),
        (550, "5.4.4 no such domain", Stage.RECIPIENT, Answer.NEVER, Reason.BAD_ADDRESS),
        (501, "what is that", Stage.RECIPIENT, Answer.NEVER, Reason.BAD_ADDRESS),
        (556, "takes no mail", Stage.RECIPIENT, Answer.NEVER, Reason.GONE),
        (452, "4.2.2 mailbox full", Stage.RECIPIENT, Answer.RETRY, Reason.UNAVAILABLE),
        (421, "4.7.28 unusual rate", Stage.CONTENT, Answer.RETRY, Reason.THROTTLED),
        (452, "4.5.3 too many", Stage.RECIPIENT, Answer.RETRY, Reason.THROTTLED),
        (552, "5.3.4 too big", Stage.CONTENT, Answer.NEVER, Reason.BAD_MESSAGE),
        (552, "too big", Stage.SENDER, Answer.NEVER, Reason.BAD_MESSAGE),
        (554, "5.6.0 malformed", Stage.CONTENT, Answer.NEVER, Reason.BAD_MESSAGE),
        (550, "5.7.1 sender not allowed", Stage.SENDER, Answer.RETRY, Reason.CREDENTIALS),
        (530, "5.7.0 authentication required", Stage.RECIPIENT, Answer.RETRY, Reason.CREDENTIALS),
        (454, "4.7.0 throttled", Stage.CONTENT, Answer.RETRY, Reason.THROTTLED),
        (451, "4.7.1 slow down", Stage.RECIPIENT, Answer.RETRY, Reason.THROTTLED),
        (450, "4.2.0 greylisted", Stage.RECIPIENT, Answer.RETRY, Reason.UNAVAILABLE),
        (421, "4.3.2 going down", Stage.SENDER, Answer.RETRY, Reason.UNAVAILABLE),
        (250, "what?", Stage.RECIPIENT, Answer.RETRY, Reason.GARBAGE),
        (354, "what?", Stage.CONTENT, Answer.UNKNOWN, Reason.GARBAGE),
    ],
)
def test_each_refusal_means_what_its_code_says(code, text, stage, answer, reason):
    """The enhanced code decides; without one nobody's address is removed; a refusal of our sender is not the recipient's fault."""
    outcome = refusal(code, text, stage)
    assert (outcome.answer, outcome.reason) == (answer, reason)
    assert outcome.address_gone == (reason is Reason.GONE)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Throttling failure: Maximum sending rate exceeded.", 1.0),
        ("Throttling failure: Daily message quota exceeded.", 900.0),
        ("4.7.0 later", None),
    ],
)
def test_a_limit_of_the_account_is_waited_out_by_all(text, seconds):
    """SES says 454 after the content, and which limit it is; what names no limit is waited for by that mail alone."""
    outcome = refusal(454, text, Stage.CONTENT)
    assert (outcome.answer, outcome.reason, outcome.retry_after_s) == (Answer.RETRY, Reason.THROTTLED, seconds)


def test_only_what_is_about_a_mailbox_removes_an_address():
    """Every other refusal, of every kind, leaves it."""
    removed = {
        code
        for code in (f"{a}.{b}.{c}" for a in (4, 5) for b in range(8) for c in range(80))
        if refusal(550 if code[0] == "5" else 450, f"{code} x", Stage.RECIPIENT).address_gone
    }
    assert removed == {"5.1.1", "5.1.6", "5.1.10"}
