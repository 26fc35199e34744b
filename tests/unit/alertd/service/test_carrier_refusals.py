"""When a carrier or a mail domain is believed that addresses are dead."""

from __future__ import annotations

from collections.abc import Sequence

from structlog.testing import capture_logs

from alertd.service.carriers.refusals import IN_A_ROW, RefusalBelief, RefusalRun
from channels.base import ACCEPTED, Answer, Outcome, Reason, Subject

GONE = Outcome(Answer.NEVER, Reason.GONE)
REFUSED = Outcome(Answer.RETRY, Reason.BLOCKED, of=Subject.RECIPIENT)


def believed(
    belief: RefusalBelief,
    whose: Sequence[str],
    answers: Sequence[Outcome],
    *,
    attempt: int = 1,
    resting: bool = False,
) -> list[Outcome]:
    """What is believed of a chunk."""
    return belief.of_servers(whose, answers, [attempt] * len(answers), resting=resting)[0]


def gone(belief: RefusalBelief, count: int) -> list[Outcome]:
    """What is believed of so many in one chunk."""
    return believed(belief, ["c"] * count, [GONE] * count)


def test_a_few_dead_addresses_are_believed():
    """So are many, where somebody else was accepted with them."""
    belief = RefusalBelief()
    assert gone(belief, IN_A_ROW) == [GONE] * IN_A_ROW
    many = [GONE] * 99 + [ACCEPTED]
    assert believed(belief, ["c"] * 100, many) == many
    assert gone(belief, IN_A_ROW) == [GONE] * IN_A_ROW


def test_nobody_is_removed_by_a_carrier_that_accepts_nothing():
    """In whatever chunks it says so, the twenty-first address and all after it are tried again."""
    belief = RefusalBelief()
    for _ in range(IN_A_ROW // 4):
        assert gone(belief, 4) == [GONE] * 4
    assert {answer.answer for answer in gone(belief, 4)} == {Answer.RETRY}
    assert {answer.answer for answer in gone(belief, 1)} == {Answer.RETRY}
    assert believed(belief, ["d"], [GONE]) == [GONE]  # another carrier
    assert believed(belief, ["d"], [GONE], resting=True) != [GONE]


def test_what_is_not_believed_may_have_left_all_the_same():
    """Of a message in parts some were taken."""
    (answer,) = believed(RefusalBelief(), ["c"], [GONE._replace(partly=True)], resting=True)
    assert (answer.answer, answer.partly) == (Answer.RETRY, True)


def test_one_of_many_servers_is_not_believed_for_what_another_accepts():
    """A push service that is broken calls all browsers of its maker dead, in chunks whose others are told."""
    belief = RefusalBelief()
    whose, answers = ["a"] * (IN_A_ROW + 1) + ["b", "b"], [GONE] * (IN_A_ROW + 1) + [ACCEPTED, GONE]
    said = believed(belief, whose, answers)
    assert {answer.answer for answer in said[:-2]} == {Answer.RETRY}
    assert said[-2:] == [ACCEPTED, GONE]


def test_a_carrier_that_is_set_up_for_another_project_loses_nobody():
    """FCM says SENDER_ID_MISMATCH of every token; of a few that a person brought from elsewhere it is right."""
    belief = RefusalBelief()
    bad = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)
    assert believed(belief, ["c"] * IN_A_ROW, [bad] * IN_A_ROW) == [bad] * IN_A_ROW
    assert {answer.answer for answer in believed(belief, ["c"], [bad])} == {Answer.RETRY}
    assert believed(belief, ["c"], [bad], attempt=2) == [
        bad
    ]  # of those that are tried again nobody is accepted, and the carrier may be right
    assert believed(belief, ["c"] * 2, [bad, ACCEPTED]) == [bad, ACCEPTED]


def test_other_answers_are_what_they_are():
    """Only what is about an address is doubted."""
    belief = RefusalBelief()
    answers = [GONE] * (IN_A_ROW + 1) + [Outcome(Answer.NEVER, Reason.BAD_MESSAGE), Outcome(Answer.WITHHELD)]
    assert believed(belief, ["c"] * len(answers), answers)[-2:] == answers[-2:]


def refused(belief: RefusalBelief, answers: list[Outcome], *, attempt: int = 1, resting: bool = False) -> int:
    """How many new recipients of one chunk a carrier refused, if it may be the reason itself."""
    attempts = [attempt] * len(answers)
    return belief.of_servers(["c"] * len(answers), answers, attempts, resting=resting)[1]


def test_a_carrier_that_refuses_every_new_recipient_is_noticed():
    """Such as a relay that relays for nobody: after twenty in a row, in whatever chunks, and no more once it accepts one."""
    belief = RefusalBelief()
    assert refused(belief, [REFUSED] * IN_A_ROW) == 0
    assert refused(belief, [REFUSED] * 2) == 2
    assert refused(belief, [REFUSED, ACCEPTED]) == 0
    assert refused(belief, [REFUSED]) == 0
    assert refused(belief, [REFUSED], resting=True) == 1


def test_recipients_who_are_tried_again_say_nothing_of_their_carrier():
    """However many are refused again, new ones are believed; but no address is removed while the carrier is not believed."""
    belief = RefusalBelief()
    assert refused(belief, [REFUSED] * 100, attempt=2) == 0
    assert refused(belief, [REFUSED]) == 0
    assert refused(belief, [REFUSED] * IN_A_ROW) == IN_A_ROW
    assert refused(belief, [REFUSED] * 100, attempt=2) == 0
    assert believed(belief, ["c"], [GONE], attempt=2) == [
        GONE._replace(answer=Answer.RETRY, reason=Reason.BLOCKED, of=Subject.RECIPIENT)
    ]


def test_nobody_is_removed_by_the_next_carrier_either():
    """The first carrier was away, so every message is a second try; the other calls every address dead."""
    belief = RefusalBelief()
    assert believed(belief, ["c"] * IN_A_ROW, [GONE] * IN_A_ROW, attempt=2) == [GONE] * IN_A_ROW
    assert {answer.answer for answer in believed(belief, ["c"] * 5, [GONE] * 5, attempt=2)} == {Answer.RETRY}


def of_domain(belief: RefusalBelief, domain: str, answers: list[Outcome], attempt: int = 1) -> list[Outcome]:
    """What is believed of mails to one domain."""
    addresses = [f"p{n}@{domain}" for n in range(len(answers))]
    return belief.of_domains(addresses, answers, [attempt] * len(answers))


def test_a_mail_domain_whose_directory_is_away_loses_nobody():
    """It calls every mailbox dead. Its mails are tried again, and it is believed again once it has accepted one."""
    belief = RefusalBelief()
    retried = GONE._replace(answer=Answer.RETRY, reason=Reason.BLOCKED, of=Subject.RECIPIENT)
    assert of_domain(belief, "a.example", [GONE] * 2) == [GONE] * 2
    assert of_domain(belief, "a.example", [GONE]) == [retried]
    assert of_domain(belief, "A.example", [GONE] * 9, attempt=2) == [retried] * 9
    assert of_domain(belief, "b.example", [GONE]) == [GONE]
    assert of_domain(belief, "b.example", [GONE] * 9) == [retried] * 9
    assert of_domain(belief, "a.example", [GONE, ACCEPTED], attempt=2) == [GONE, ACCEPTED]
    assert of_domain(belief, "a.example", [GONE] * 9, attempt=2) == [GONE] * 9


def test_dead_mailboxes_of_a_domain_that_accepts_others_are_believed():
    """However many: half of an old list is dead."""
    belief = RefusalBelief()
    for _ in range(9):
        assert of_domain(belief, "a.example", [GONE] * 9 + [ACCEPTED])[:9] == [GONE] * 9


def test_the_last_words_of_a_carrier_name_no_recipient():
    """Not by a name, nor by a local part: only words that it says of two recipients are shown."""
    run = RefusalRun()

    def said(address: str, words: str) -> str:
        run.note([address], [REFUSED._replace(said=words)], [1])
        return run.common

    assert said("ana@a.example", "550 5.7.1 Ana García (ana): relay access denied") == ""
    assert said("ana@a.example", "550 5.7.1 Ana García (ana): relay access denied") == ""
    assert (
        said("luis@a.example", "550 5.7.1 Luis Sanz (luis): relay access denied") == "550 5.7.1 … relay access denied"
    )
    assert said("eva@a.example", "overloaded") == ""


def test_a_carrier_that_refuses_everyone_for_good_is_known_until_it_accepts_one():
    """An SMS centre may block each number, which removes no address and is believed."""
    run = RefusalRun()
    blocked = Outcome(Answer.NEVER, Reason.BLOCKED)
    for number in range(IN_A_ROW):
        assert run.note([str(number)], [blocked], [1])
    assert not run.is_of_everyone
    assert not run.note(["1"], [Outcome(Answer.NEVER, Reason.BAD_MESSAGE)], [1])
    assert not run.note(["1"], [blocked], [2])
    assert run.note(["20"], [blocked], [1])
    assert run.is_of_everyone
    assert not run.note(["1", "2"], [blocked, ACCEPTED], [1, 1])
    assert not run.is_of_everyone


def test_an_only_carrier_that_refuses_everyone_is_logged_once():
    """When the doubt begins, not at each chunk and each retry; and again after it accepted somebody."""
    belief = RefusalBelief()
    with capture_logs() as logs:
        for attempt in (1, 1, 2, 3):
            believed(belief, ["c"] * (IN_A_ROW + 1), [GONE] * (IN_A_ROW + 1), attempt=attempt)
        assert [(one["log_level"], one["carrier"]) for one in logs] == [("error", "c")]
        believed(belief, ["c"], [ACCEPTED])
        gone(belief, IN_A_ROW + 1)
    assert [one["log_level"] for one in logs] == ["error"] * 2
