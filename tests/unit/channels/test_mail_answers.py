"""A mail server's refusals."""

import pytest

from channels.base import Answer, Reason
from channels.mail_answers import Stage, refusal


@pytest.mark.parametrize(
    ("code", "text", "stage", "answer", "reason"),
    [
        (550, "5.1.1 no such user", Stage.RECIPIENT, Answer.NEVER, Reason.GONE),
        (556, "5.1.10 null MX", Stage.RECIPIENT, Answer.NEVER, Reason.GONE),
        (550, "5.2.1 disabled", Stage.RECIPIENT, Answer.NEVER, Reason.GONE),
        (550, "5.1.2 bad domain", Stage.RECIPIENT, Answer.NEVER, Reason.BAD_ADDRESS),
        (550, "no such user here", Stage.RECIPIENT, Answer.NEVER, Reason.BLOCKED),
        (550, "5.7.1 policy", Stage.RECIPIENT, Answer.NEVER, Reason.BLOCKED),
        (550, "5.7.25 no reverse name", Stage.CONTENT, Answer.NEVER, Reason.BLOCKED),
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
