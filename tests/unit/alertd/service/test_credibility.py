"""When a carrier is believed that addresses are dead."""

from __future__ import annotations

from collections.abc import Sequence

from structlog.testing import capture_logs

from alertd.service.delivery.credibility import IN_A_ROW, Credibility
from channels.base import ACCEPTED, Answer, Outcome, Reason, Subject

GONE = Outcome(Answer.NEVER, Reason.GONE)
REFUSED = Outcome(Answer.RETRY, Reason.BLOCKED, of=Subject.RECIPIENT)


def believed(
    credibility: Credibility,
    whose: Sequence[str],
    answers: Sequence[Outcome],
    *,
    attempt: int = 1,
    resting: bool = False,
) -> list[Outcome]:
    """What is believed of a chunk."""
    return credibility.believed(whose, answers, attempts=[attempt] * len(answers), resting=resting).answers


def gone(credibility: Credibility, count: int) -> list[Outcome]:
    """What is believed of so many in one chunk."""
    return believed(credibility, ["c"] * count, [GONE] * count)


def test_a_few_dead_addresses_are_believed():
    """So are many, where somebody else was accepted with them."""
    credibility = Credibility()
    assert gone(credibility, IN_A_ROW) == [GONE] * IN_A_ROW
    many = [GONE] * 99 + [ACCEPTED]
    assert believed(credibility, ["c"] * 100, many) == many
    assert gone(credibility, IN_A_ROW) == [GONE] * IN_A_ROW


def test_nobody_is_removed_by_a_carrier_that_accepts_nothing():
    """In whatever chunks it says so, the twenty-first address and all after it are tried again."""
    credibility = Credibility()
    for _ in range(IN_A_ROW // 4):
        assert gone(credibility, 4) == [GONE] * 4
    assert {answer.answer for answer in gone(credibility, 4)} == {Answer.RETRY}
    assert {answer.answer for answer in gone(credibility, 1)} == {Answer.RETRY}
    assert believed(credibility, ["d"], [GONE]) == [GONE]  # another carrier
    assert believed(credibility, ["d"], [GONE], resting=True) != [GONE]


def test_what_is_not_believed_may_have_left_all_the_same():
    """Of a message in parts some were taken."""
    (answer,) = believed(Credibility(), ["c"], [GONE._replace(partly=True)], resting=True)
    assert (answer.answer, answer.partly) == (Answer.RETRY, True)


def test_one_of_many_servers_is_not_believed_for_what_another_accepts():
    """A push service that is broken calls all browsers of its maker dead, in chunks whose others are told."""
    credibility = Credibility()
    whose, answers = ["a"] * (IN_A_ROW + 1) + ["b", "b"], [GONE] * (IN_A_ROW + 1) + [ACCEPTED, GONE]
    said = believed(credibility, whose, answers)
    assert {answer.answer for answer in said[:-2]} == {Answer.RETRY}
    assert said[-2:] == [ACCEPTED, GONE]


def test_a_carrier_that_is_set_up_for_another_project_loses_nobody():
    """FCM says SENDER_ID_MISMATCH of every token; of a few that a person brought from elsewhere it is right."""
    credibility = Credibility()
    bad = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)
    assert believed(credibility, ["c"] * IN_A_ROW, [bad] * IN_A_ROW) == [bad] * IN_A_ROW
    assert {answer.answer for answer in believed(credibility, ["c"], [bad])} == {Answer.RETRY}
    assert believed(credibility, ["c"], [bad], attempt=2) == [
        bad
    ]  # of those that are tried again nobody is accepted, and the carrier may be right
    assert believed(credibility, ["c"] * 2, [bad, ACCEPTED]) == [bad, ACCEPTED]


def test_other_answers_are_what_they_are():
    """Only what is about an address is doubted."""
    credibility = Credibility()
    answers = [GONE] * (IN_A_ROW + 1) + [Outcome(Answer.NEVER, Reason.BAD_MESSAGE), Outcome(Answer.WITHHELD)]
    assert believed(credibility, ["c"] * len(answers), answers)[-2:] == answers[-2:]


def refused(credibility: Credibility, answers: list[Outcome], *, attempt: int = 1, resting: bool = False) -> int:
    """How many new recipients of one chunk a carrier refused, if it may be the reason itself."""
    attempts = [attempt] * len(answers)
    return credibility.believed(["c"] * len(answers), answers, attempts=attempts, resting=resting).refused


def test_a_carrier_that_refuses_every_new_recipient_is_noticed():
    """Such as a relay that relays for nobody: after twenty in a row, in whatever chunks, and no more once it accepts one."""
    credibility = Credibility()
    assert refused(credibility, [REFUSED] * IN_A_ROW) == 0
    assert refused(credibility, [REFUSED] * 2) == 2
    assert refused(credibility, [REFUSED, ACCEPTED]) == 0
    assert refused(credibility, [REFUSED]) == 0
    assert refused(credibility, [REFUSED], resting=True) == 1


def test_recipients_who_are_tried_again_say_nothing_of_their_carrier():
    """However many are refused again, new ones are believed; but no address is removed while the carrier is not believed."""
    credibility = Credibility()
    assert refused(credibility, [REFUSED] * 100, attempt=2) == 0
    assert refused(credibility, [REFUSED]) == 0
    assert refused(credibility, [REFUSED] * IN_A_ROW) == IN_A_ROW
    assert refused(credibility, [REFUSED] * 100, attempt=2) == 0
    assert believed(credibility, ["c"], [GONE], attempt=2) == [
        GONE._replace(answer=Answer.RETRY, reason=Reason.BLOCKED, of=Subject.RECIPIENT)
    ]


def test_nobody_is_removed_by_the_next_carrier_either():
    """The first carrier was away, so every message is a second try; the other calls every address dead."""
    credibility = Credibility()
    assert believed(credibility, ["c"] * IN_A_ROW, [GONE] * IN_A_ROW, attempt=2) == [GONE] * IN_A_ROW
    assert {answer.answer for answer in believed(credibility, ["c"] * 5, [GONE] * 5, attempt=2)} == {Answer.RETRY}


def test_an_only_carrier_that_refuses_everyone_is_logged_once():
    """When the doubt begins, not at each chunk and each retry; and again after it accepted somebody."""
    credibility = Credibility()
    with capture_logs() as logs:
        for attempt in (1, 1, 2, 3):
            believed(credibility, ["c"] * (IN_A_ROW + 1), [GONE] * (IN_A_ROW + 1), attempt=attempt)
        assert [(one["log_level"], one["carrier"]) for one in logs] == [("error", "c")]
        believed(credibility, ["c"], [ACCEPTED])
        gone(credibility, IN_A_ROW + 1)
    assert [one["log_level"] for one in logs] == ["error"] * 2
