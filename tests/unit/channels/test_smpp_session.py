"""The conversation with an SMS centre, octet by octet and second by second, without a socket."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Answer, Outcome, Reason, Subject
from channels.smpp.pdu import HEADER, LAST_SEQUENCE, RESPONSE, Command, Frames, Pdu, Status, decode, encode
from channels.smpp.session import (
    BINDS,
    BY_STATUS,
    MOST_LATE,
    Answered,
    Bound,
    Delivered,
    Ended,
    Phase,
    Session,
    SessionSettings,
    refusal,
)

SETTINGS = SessionSettings(system_id="me", password="secret", window=3, timeout_s=10, enquire_s=30)


def sent(session):
    """What was written since, read."""
    return [decode(frame) for frame in Frames().feed(session.take())]


def answer(pdu, status=0, **fields):
    return encode(Pdu(pdu.command | RESPONSE, pdu.sequence, status, fields))


def bound(now_s=0.0, **changes):
    session = Session(replace(SETTINGS, **changes), now_s)
    (asked,) = sent(session)
    assert session.receive(answer(asked, system_id="smsc"), now_s) == [Bound()]
    return session


def submit(session, *keys, now_s=0.0):
    for key in keys:
        session.request(b"\0" * 20, key, now_s)
    return [HEADER.unpack_from(frame)[3] for frame in Frames().feed(session.take())]


def accepted(sequence, message_id="a1", status=0):
    return encode(Pdu(Command.SUBMIT_SM_RESP, sequence, status, {"message_id": message_id}))


@pytest.mark.parametrize("role", BINDS)
def test_it_binds_first(role):
    """Who we are goes out at once, and no message before the answer."""
    session = Session(replace(SETTINGS, system_type="alerts"), 0, role)
    (asked,) = sent(session)
    assert asked.command == BINDS[role]
    assert (asked.text("system_id"), asked.text("password"), asked.text("system_type")) == ("me", "secret", "alerts")
    assert asked.number("interface_version") == 0x34
    assert session.room(0) == 0
    assert session.receive(answer(asked), 0) == [Bound()]
    assert session.room(0) == (0 if role == "receiver" else 3)
    assert "secret" not in repr(SETTINGS)


@pytest.mark.parametrize("status", [Status.INVALID_PASSWORD, Status.BIND_FAILED, Status.ALREADY_BOUND])
def test_a_refused_bind_ends(status):
    """It is our own account that was refused."""
    session = Session(SETTINGS, 0)
    assert session.receive(answer(sent(session)[0], status), 0) == [Ended(Reason.CREDENTIALS)]
    assert session.phase is Phase.ENDED


def test_a_bind_without_an_answer_ends():
    """After the time-out, not before."""
    session = Session(SETTINGS, 0)
    assert session.tick(9.9) == []
    assert session.tick(10) == [Ended(Reason.TIMEOUT)]


def test_answers_in_any_order_find_their_message():
    """The sequence number says whose an answer is; the window is how many may be open."""
    session = bound()
    first, second, third = submit(session, "a", "b", "c")
    assert session.room(0) == 0
    got = session.receive(accepted(third, "id3") + accepted(first, "id1"), 1)
    assert got == [
        Answered("c", Outcome(Answer.ACCEPTED, message_id="id3")),
        Answered("a", Outcome(Answer.ACCEPTED, message_id="id1")),
    ]
    assert session.room(1) == 2
    assert session.receive(accepted(second)[:7], 1) == []
    assert [event.key for event in session.receive(accepted(second)[7:], 1)] == ["b"]


@pytest.mark.parametrize("body", [b"no end", b"\0\x00", b"\0\x04\x27\x00\x09x", b"x" * 300])
def test_a_refusal_is_one_whatever_stands_behind_it(body):
    """A refusal has no body (section 4.4.2); what some centres write there takes nothing of what they said back."""
    session = bound()
    (number,) = submit(session, "a")
    frame = HEADER.pack(16 + len(body), Command.SUBMIT_SM_RESP, Status.SYSTEM_ERROR, number) + body
    assert session.receive(frame, 0) == [
        Answered("a", Outcome(Answer.RETRY, Reason.UNAVAILABLE, said="system error (0x08)"))
    ]


def test_answers_to_nothing_change_nothing():
    """A wrong number and one that was answered before are counted and forgotten."""
    session = bound()
    (one,) = submit(session, "a")
    for odd in (accepted(99), encode(Pdu(Command.GENERIC_NACK, 77, 3))):
        assert session.receive(odd, 0) == []
    assert len(session.receive(accepted(one), 0)) == 1
    assert session.receive(accepted(one), 0) == []
    assert session.strays == 3


def test_throttling_answers_pause_the_bind_longer_each_time():
    """A window of them is one pause; the next is twice as long, up to the longest; an accepted message makes it short again."""
    session = bound(throttle_pause_s=1, throttle_pause_max_s=3)
    now_s, pauses = 0.0, []
    for _ in range(4):
        numbers = submit(session, "a", "b", now_s=now_s)
        throttled = b"".join(accepted(number, status=Status.THROTTLED) for number in numbers)
        assert {event.outcome.reason for event in session.receive(throttled, now_s)} == {Reason.THROTTLED}
        assert session.room(now_s) == 0
        pauses.append(session.pace.paused_until_s - now_s)
        now_s = session.pace.paused_until_s
        assert session.room(now_s) == 3
    assert pauses == [1, 2, 3, 3]
    session.receive(accepted(submit(session, "a", now_s=now_s)[0]), now_s)
    session.receive(accepted(submit(session, "a", now_s=now_s)[0], status=Status.QUEUE_FULL), now_s)
    assert session.pace.paused_until_s - now_s == 1


def test_a_bind_does_not_pause_for_a_message_that_was_tried_before():
    """The limit may be its number's own, and new messages would wait for it."""
    session = bound()
    session.request(b"\0" * 20, "a", 0, is_new=False)
    (number,) = (HEADER.unpack_from(frame)[3] for frame in Frames().feed(session.take()))
    [event] = session.receive(accepted(number, status=Status.THROTTLED), 0)
    assert (event.outcome.reason, session.room(0)) == (Reason.THROTTLED, 3)


def test_a_mute_bind_ends_and_a_living_one_does_not():
    """A message without an answer is unknown; the connection goes only if nothing at all came since."""
    session = bound()
    (one,) = submit(session, "a")
    submit(session, "b", now_s=5)
    session.receive(encode(Pdu(Command.ENQUIRE_LINK, 1)), 3)
    assert session.tick(10) == [Answered("a", Outcome(Answer.UNKNOWN, Reason.TIMEOUT))]
    late = session.receive(accepted(one, "late"), 10.5)
    assert late == [Answered("a", Outcome(Answer.ACCEPTED, message_id="late"), late=True)]
    submit(session, "c", now_s=11)
    assert session.tick(15) == [Answered("b", Outcome(Answer.UNKNOWN, Reason.TIMEOUT))]
    assert session.tick(21) == [Answered("c", Outcome(Answer.UNKNOWN, Reason.TIMEOUT)), Ended(Reason.TIMEOUT)]


def test_what_is_stuck_in_a_frame_is_no_sign_of_life():
    """Where one length is damaged the answers behind it are its rest: the bind is left after a window of them, not after thousands."""
    session = bound()
    (one,) = submit(session, "a")
    session.receive((60_000).to_bytes(4) + accepted(one)[4:], 1)
    (other,) = submit(session, "b", now_s=2)
    assert session.receive(accepted(other), 3) == []
    unknown = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)
    assert session.tick(10) == [Answered("a", unknown), Answered("b", unknown), Ended(Reason.TIMEOUT)]


def test_late_messages_are_not_remembered_for_ever():
    """A centre that never answers costs no memory without end."""
    session = bound(window=MOST_LATE * 2)
    submit(session, *range(MOST_LATE + 10))
    session.receive(encode(Pdu(Command.ENQUIRE_LINK, 1)), 1)
    session.tick(10)
    assert len(session._late) == MOST_LATE


def test_silence_is_asked_about():
    """`enquire_link` after a while without a word; no answer to it ends the conversation."""
    session = bound()
    session.tick(29)
    assert sent(session) == []
    session.tick(30)
    (asked,) = sent(session)
    assert asked.command == Command.ENQUIRE_LINK
    session.receive(answer(asked), 31)
    assert session.tick(45) == []
    session.tick(61)
    submit(session, "a", now_s=70.9)
    assert session.tick(71) == [Answered("a", Outcome(Answer.UNKNOWN, Reason.TIMEOUT)), Ended(Reason.TIMEOUT)]


def test_the_other_side_is_answered():
    """Its questions, its goodbye, and what we do not know; messages for us wait for us."""
    session = bound()
    frames = [Pdu(Command.ENQUIRE_LINK, 5), Pdu(Command.DELIVER_SM, 6), Pdu(Command.ALERT_NOTIFICATION, 8)]
    events = session.receive(b"".join(encode(one) for one in frames[:2]), 0)
    events += session.receive(HEADER.pack(16, 0x0BAD, 0, 7) + HEADER.pack(16, Command.DELIVER_SM, 0, 8), 0)
    events += session.receive(HEADER.pack(16, Command.ALERT_NOTIFICATION, 0, 9), 0)
    assert [type(event) for event in events] == [Delivered]
    replies = [(one.command, one.sequence, one.status) for one in sent(session)]
    assert replies == [
        (Command.ENQUIRE_LINK_RESP, 5, 0),
        (Command.GENERIC_NACK, 7, Status.INVALID_COMMAND),
        (Command.GENERIC_NACK, 8, Status.INVALID_COMMAND_LENGTH),
        (Command.GENERIC_NACK, 9, Status.INVALID_COMMAND),
    ]
    session.acknowledge(events[0].pdu)
    assert [(one.command, one.sequence) for one in sent(session)] == [(Command.DELIVER_SM_RESP, 6)]
    assert session.receive(encode(Pdu(Command.UNBIND, 10)), 0) == [Ended(Reason.NONE)]
    assert [(one.command, one.sequence) for one in sent(session)] == [(Command.UNBIND_RESP, 10)]


def test_a_centre_that_asks_to_leave_answers_first():
    """What it took is waited for, as long as for any answer, and nothing more is given to it; then goodbye."""
    session = bound()
    one, two = submit(session, "a", "b")
    assert session.receive(encode(Pdu(Command.UNBIND, 10)) + accepted(one, "id1"), 1) == [
        Answered("a", Outcome(Answer.ACCEPTED, message_id="id1"))
    ]
    assert (session.room(1), sent(session)) == (0, [])
    refused = Answered("b", Outcome(Answer.RETRY, Reason.CREDENTIALS, said="invalid bind state (0x04)"))
    assert session.receive(accepted(two, status=Status.INVALID_BIND_STATE), 2) == [refused, Ended(Reason.NONE)]
    assert [(one.command, one.sequence) for one in sent(session)] == [(Command.UNBIND_RESP, 10)]


def test_a_centre_that_asks_to_leave_and_answers_nothing_is_left():
    """After the time-out, or when it cuts the connection: what it took may have arrived or not."""
    for ends, reason in (
        (lambda session: session.tick(10), Reason.TIMEOUT),
        (lambda session: session.lost(), Reason.CONNECTION),
    ):
        session = bound()
        submit(session, "a")
        assert session.receive(encode(Pdu(Command.UNBIND, 10)), 1) == []
        answered, ended = ends(session)
        assert answered == Answered("a", Outcome(Answer.UNKNOWN, reason))
        assert isinstance(ended, Ended)


def test_goodbye():
    """`unbind` goes out once, nothing more is taken, and its answer is the end."""
    session = bound()
    session.unbind(0)
    session.unbind(0)
    (asked,) = sent(session)
    assert (asked.command, session.room(0)) == (Command.UNBIND, 0)
    assert session.receive(answer(asked), 0) == [Ended(Reason.NONE)]
    assert session.lost() == session.tick(1e9) == session.receive(b"more", 0) == []


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 16, b"\xff" * 40, HEADER.pack(0x7FFFFFFF, 5, 0, 1)],
)
def test_garbage_ends_it_and_leaves_nothing_open(garbage):
    """Where the next frame begins nobody knows: each open message is unknown, and the other side is told why."""
    session = bound()
    submit(session, "a", "b")
    events = session.receive(garbage, 0)
    unknown = Outcome(Answer.UNKNOWN, Reason.GARBAGE)
    assert events == [Answered("a", unknown), Answered("b", unknown), Ended(Reason.GARBAGE)]
    assert [one.command for one in sent(session)] == [Command.GENERIC_NACK]


def test_half_a_frame_and_then_nothing():
    """The open message is unknown, as with any lost connection."""
    session = bound()
    (one,) = submit(session, "a")
    assert session.receive(accepted(one)[:12], 0) == []
    assert session.lost() == [Answered("a", Outcome(Answer.UNKNOWN, Reason.CONNECTION)), Ended(Reason.GARBAGE)]


def test_sequence_numbers_begin_again_and_pass_over_what_is_open():
    """They go from 1 to 0x7FFFFFFF (section 3.2), and no number is on the way twice."""
    session = bound()
    (one,) = submit(session, "a")
    session._sequence = LAST_SEQUENCE - 1
    assert submit(session, "b", "c") == [LAST_SEQUENCE, 1] if one != 1 else [LAST_SEQUENCE, 2]
    session._sequence = one - 1
    assert submit(session, "d") == [one + 1]


@given(st.lists(st.binary(max_size=60) | st.sampled_from([accepted(2), accepted(3), b"\0\0\0\x10"]), max_size=12))
def test_each_message_is_answered_exactly_once_whatever_comes(pieces):
    """Nothing is raised, nothing is answered twice, nothing stays open."""
    session = bound()
    submit(session, "a", "b", "c")
    events = [event for piece in pieces for event in session.receive(piece, 1)]
    events += session.lost()
    keys = [event.key for event in events if isinstance(event, Answered) and not event.late]
    assert sorted(keys) == ["a", "b", "c"]
    assert [type(event) for event in events].count(Ended) == 1


def test_only_what_a_carrier_says_itself_removes_an_address():
    """No code of the standard says that a number is dead; a carrier's own may."""
    assert not any(outcome.address_gone for outcome in BY_STATUS.values())
    own = {0x401: Outcome(Answer.NEVER, Reason.GONE)}
    assert refusal(0x401, own).address_gone
    assert refusal(0x402, own) == Outcome(Answer.RETRY, Reason.UNAVAILABLE, of=Subject.RECIPIENT)
