"""When a carrier is believed that addresses are dead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from structlog.testing import capture_logs

from alertd.common.clock import SystemClock
from alertd.metrics import Metrics
from alertd.service.carriers.carriers import Carriers
from alertd.service.carriers.health import IN_A_ROW, CarrierHealth
from channels.base import ACCEPTED, Answer, Outcome, Reason, Subject

GONE = Outcome(Answer.NEVER, Reason.GONE)
REFUSED = Outcome(Answer.RETRY, Reason.BLOCKED, of=Subject.RECIPIENT)


NO_STORE: Any = None  # nothing here asks it


def healthy() -> CarrierHealth:
    """Of a process that has had no answer yet."""
    return CarrierHealth(
        carriers=Carriers([]), limits=NO_STORE, bound=NO_STORE, taking=NO_STORE, shares=NO_STORE, clock=SystemClock(),
        metrics=Metrics(),
    )  # fmt: skip


def believed(
    health: CarrierHealth,
    whose: Sequence[str],
    answers: Sequence[Outcome],
    *,
    attempt: int = 1,
    resting: bool = False,
) -> list[Outcome]:
    """What is believed of a chunk."""
    return health.believed(whose, answers, [attempt] * len(answers), resting=resting)[0]


def gone(health: CarrierHealth, count: int) -> list[Outcome]:
    """What is believed of so many in one chunk."""
    return believed(health, ["c"] * count, [GONE] * count)


def test_a_few_dead_addresses_are_believed():
    """So are many, where somebody else was accepted with them."""
    health = healthy()
    assert gone(health, IN_A_ROW) == [GONE] * IN_A_ROW
    many = [GONE] * 99 + [ACCEPTED]
    assert believed(health, ["c"] * 100, many) == many
    assert gone(health, IN_A_ROW) == [GONE] * IN_A_ROW


def test_nobody_is_removed_by_a_carrier_that_accepts_nothing():
    """In whatever chunks it says so, the twenty-first address and all after it are tried again."""
    health = healthy()
    for _ in range(IN_A_ROW // 4):
        assert gone(health, 4) == [GONE] * 4
    assert {answer.answer for answer in gone(health, 4)} == {Answer.RETRY}
    assert {answer.answer for answer in gone(health, 1)} == {Answer.RETRY}
    assert believed(health, ["d"], [GONE]) == [GONE]  # another carrier
    assert believed(health, ["d"], [GONE], resting=True) != [GONE]


def test_what_is_not_believed_may_have_left_all_the_same():
    """Of a message in parts some were taken."""
    (answer,) = believed(healthy(), ["c"], [GONE._replace(partly=True)], resting=True)
    assert (answer.answer, answer.partly) == (Answer.RETRY, True)


def test_one_of_many_servers_is_not_believed_for_what_another_accepts():
    """A push service that is broken calls all browsers of its maker dead, in chunks whose others are told."""
    health = healthy()
    whose, answers = ["a"] * (IN_A_ROW + 1) + ["b", "b"], [GONE] * (IN_A_ROW + 1) + [ACCEPTED, GONE]
    said = believed(health, whose, answers)
    assert {answer.answer for answer in said[:-2]} == {Answer.RETRY}
    assert said[-2:] == [ACCEPTED, GONE]


def test_a_carrier_that_is_set_up_for_another_project_loses_nobody():
    """FCM says SENDER_ID_MISMATCH of every token; of a few that a person brought from elsewhere it is right."""
    health = healthy()
    bad = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)
    assert believed(health, ["c"] * IN_A_ROW, [bad] * IN_A_ROW) == [bad] * IN_A_ROW
    assert {answer.answer for answer in believed(health, ["c"], [bad])} == {Answer.RETRY}
    assert believed(health, ["c"], [bad], attempt=2) == [
        bad
    ]  # of those that are tried again nobody is accepted, and the carrier may be right
    assert believed(health, ["c"] * 2, [bad, ACCEPTED]) == [bad, ACCEPTED]


def test_other_answers_are_what_they_are():
    """Only what is about an address is doubted."""
    health = healthy()
    answers = [GONE] * (IN_A_ROW + 1) + [Outcome(Answer.NEVER, Reason.BAD_MESSAGE), Outcome(Answer.WITHHELD)]
    assert believed(health, ["c"] * len(answers), answers)[-2:] == answers[-2:]


def refused(health: CarrierHealth, answers: list[Outcome], *, attempt: int = 1, resting: bool = False) -> int:
    """How many new recipients of one chunk a carrier refused, if it may be the reason itself."""
    attempts = [attempt] * len(answers)
    return health.believed(["c"] * len(answers), answers, attempts, resting=resting)[1]


def test_a_carrier_that_refuses_every_new_recipient_is_noticed():
    """Such as a relay that relays for nobody: after twenty in a row, in whatever chunks, and no more once it accepts one."""
    health = healthy()
    assert refused(health, [REFUSED] * IN_A_ROW) == 0
    assert refused(health, [REFUSED] * 2) == 2
    assert refused(health, [REFUSED, ACCEPTED]) == 0
    assert refused(health, [REFUSED]) == 0
    assert refused(health, [REFUSED], resting=True) == 1


def test_recipients_who_are_tried_again_say_nothing_of_their_carrier():
    """However many are refused again, new ones are believed; but no address is removed while the carrier is not believed."""
    health = healthy()
    assert refused(health, [REFUSED] * 100, attempt=2) == 0
    assert refused(health, [REFUSED]) == 0
    assert refused(health, [REFUSED] * IN_A_ROW) == IN_A_ROW
    assert refused(health, [REFUSED] * 100, attempt=2) == 0
    assert believed(health, ["c"], [GONE], attempt=2) == [
        GONE._replace(answer=Answer.RETRY, reason=Reason.BLOCKED, of=Subject.RECIPIENT)
    ]


def test_nobody_is_removed_by_the_next_carrier_either():
    """The first carrier was away, so every message is a second try; the other calls every address dead."""
    health = healthy()
    assert believed(health, ["c"] * IN_A_ROW, [GONE] * IN_A_ROW, attempt=2) == [GONE] * IN_A_ROW
    assert {answer.answer for answer in believed(health, ["c"] * 5, [GONE] * 5, attempt=2)} == {Answer.RETRY}


def test_an_only_carrier_that_refuses_everyone_is_logged_once():
    """When the doubt begins, not at each chunk and each retry; and again after it accepted somebody."""
    health = healthy()
    with capture_logs() as logs:
        for attempt in (1, 1, 2, 3):
            believed(health, ["c"] * (IN_A_ROW + 1), [GONE] * (IN_A_ROW + 1), attempt=attempt)
        assert [(one["log_level"], one["carrier"]) for one in logs] == [("error", "c")]
        believed(health, ["c"], [ACCEPTED])
        gone(health, IN_A_ROW + 1)
    assert [one["log_level"] for one in logs] == ["error"] * 2
