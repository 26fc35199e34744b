"""Binds to the local centre: how many there are, when they rest, and which is left."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from channels.base import Answer, Outcome, Reason
from channels.sandbox.script import Rule
from channels.sandbox.smsc import Habits
from channels.smpp.pdu import HEADER, Command, Pdu, Status, encode
from tests.contract.smpp_parties import N
from tests.waiting import until


async def test_silence_is_unknown_and_a_mute_bind_is_left(open_centre):
    """Where nothing at all comes any more, the messages may have arrived or not, and the connection is of no further use."""
    party = await open_centre(timeout_s=0.3, back_off_s=60, binds=1)
    party.tell("stall")
    outcomes = await party.send(party.recipients(4))
    assert {(outcome.answer, outcome.reason) for outcome in outcomes} == {(Answer.UNKNOWN, Reason.TIMEOUT)}
    await until(lambda: party.carrier.open_connections == 0)


async def test_a_bind_that_answers_others_is_kept(open_centre):
    """One message without an answer, or an answer to nobody, is no reason to lose the rest that is on its way."""
    party = await open_centre(timeout_s=0.4, binds=1)
    for behaviour in ("stall", "stranger"):
        recipients = party.recipients(2)
        party.tell(behaviour, prefix=recipients[0].address)
        slow = asyncio.create_task(party.send(recipients[:1]))
        while not slow.done():
            assert (await party.send(recipients[1:]))[0].answer is Answer.ACCEPTED
        assert await slow == [Outcome(Answer.UNKNOWN, Reason.TIMEOUT)]
    assert party.carrier.links_made == 1


@pytest.mark.parametrize("tls", [True, False])
async def test_a_centre_that_answers_and_hangs_up_gets_nothing_that_is_lost(open_centre, tls):
    """What waited for the room of that answer was not written yet, and goes over the next bind."""
    party = await open_centre(binds=1, window=2, tls=tls)
    recipients = party.recipients(4)
    party.tell("half", prefix=recipients[1].address)
    answers = [outcome.answer for outcome in await party.send(recipients)]
    assert answers == [Answer.ACCEPTED, Answer.UNKNOWN, Answer.ACCEPTED, Answer.ACCEPTED]


async def test_leave_is_asked_for_again_while_waiting(open_centre):
    """One who waits for room in a full window hears within moments that writing is over."""
    party = await open_centre(binds=1, window=2)
    party.tell("stall", times=2)
    began = time.monotonic()
    sending = asyncio.create_task(party.send(party.recipients(4), lambda: time.monotonic() < began + 0.2))
    await until(lambda: party.carrier.recorded.total == 2)
    party.carrier.links[0].cut()
    outcomes = await sending
    assert Counter(outcome.answer for outcome in outcomes)[Answer.UNKNOWN] == 2


async def test_a_full_window_is_left_when_leave_ends(open_centre):
    """Messages that found no room are withheld; those on their way are waited for."""
    party = await open_centre(binds=1, window=2)
    party.tell("slow", delay_s=0.4)
    ends = time.monotonic() + 0.2
    outcomes = await party.send(party.recipients(4), lambda: time.monotonic() < ends)
    assert [outcome.answer for outcome in outcomes] == [Answer.ACCEPTED] * 2 + [Answer.WITHHELD] * 2


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"ca_file": None}])
async def test_who_is_not_let_in_or_does_not_trust_sends_nothing(open_centre, changes):
    """A wrong password and a certificate of nobody we know are about credentials, and nobody's address."""
    party = await open_centre(**changes)
    outcomes = await party.send(party.recipients(2))
    assert {(outcome.answer, outcome.reason) for outcome in outcomes} == {(Answer.RETRY, Reason.CREDENTIALS)}


async def test_cancelling_a_send_harms_no_other(open_centre):
    """What others have on the way over the same binds is answered, and what was cancelled leaves no room taken."""
    party = await open_centre(binds=1, window=4)
    party.tell("slow", delay_s=0.2)
    sending = asyncio.create_task(party.send(party.recipients(2)))
    other = asyncio.create_task(party.send(party.recipients(2, start=10)))
    await until(lambda: party.channel._senders[0].room(0) == 0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert [outcome.answer for outcome in await other] == [Answer.ACCEPTED] * 2
    await until(lambda: party.channel._senders[0].room(asyncio.get_running_loop().time()) == 4)


async def test_connections_are_as_many_as_set_and_none_stays(centre_party):
    """Many messages go over few binds, and none is left after closing."""
    for start in range(0, 100, 25):
        await centre_party.send(centre_party.recipients(25, start))
    assert centre_party.carrier.open_connections == centre_party.carrier.links_made == 2
    await centre_party.channel.close()
    await until(lambda: centre_party.carrier.open_connections == 0)


async def test_a_throttled_bind_rests_and_the_others_work_on(open_centre):
    """The pause is the bind's, and the caller is not asked to wait."""
    party = await open_centre(binds=2, throttle_pause_s=3.0)
    await until(lambda: [link.sends for link in party.carrier.links] == [True, True])
    party.tell("throttle", times=1)
    (first,) = await party.send(party.recipients(1))
    assert (first.answer, first.reason, first.retry_after_s) == (Answer.RETRY, Reason.THROTTLED, None)
    assert {outcome.answer for outcome in await party.send(party.recipients(N))} == {Answer.ACCEPTED}


async def test_a_caller_is_asked_to_wait_when_all_binds_pause(open_centre):
    """The last answers say how long, and nothing is written until then."""
    party = await open_centre(binds=2, throttle_pause_s=3.0)
    await until(lambda: [link.sends for link in party.carrier.links] == [True, True])
    party.tell("throttle")
    throttled = await party.send(party.recipients(N))
    assert {(outcome.answer, outcome.reason) for outcome in throttled} == {(Answer.RETRY, Reason.THROTTLED)}
    assert 0 < max(outcome.retry_after_s or 0 for outcome in throttled) <= 3.0
    began, ends = party.carrier.recorded.total, time.monotonic() + 0.2
    withheld = await party.send(party.recipients(3, start=50), lambda: time.monotonic() < ends)
    assert {outcome.answer for outcome in withheld} == {Answer.WITHHELD}
    assert party.carrier.recorded.total == began


async def test_frames_of_nobody_are_refused_and_the_bind_stays(centre_party):
    """Unknown commands and bodies that cannot be read get generic_nack; answers to nothing get none."""
    await until(lambda: [link.takes for link in centre_party.carrier.links] == [True, True])
    link = centre_party.carrier.links[0]
    for command in (0x77, Command.DATA_SM, Command.DELIVER_SM):
        link.write(HEADER.pack(20, command, 0, 5) + b"\xff\xff\xff\xff")
    link.write(HEADER.pack(16, Command.SUBMIT_SM_RESP, 0, 99))
    link.write(HEADER.pack(16, Command.BIND_TRANSCEIVER_RESP, 0, 99))
    await until(
        lambda: centre_party.carrier.acknowledged == {Status.INVALID_COMMAND: 1, Status.INVALID_COMMAND_LENGTH: 2}
    )
    assert {outcome.answer for outcome in await centre_party.send(centre_party.recipients(N))} == {Answer.ACCEPTED}
    assert centre_party.carrier.links_made == 2


async def test_who_is_not_let_in_does_not_hammer(open_centre):
    """Attempts come further and further apart, whoever asks meanwhile."""
    party = await open_centre(password="wrong", binds=1, back_off_s=0.05)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        await party.send(party.recipients(1))
        await asyncio.sleep(0.01)
    assert (
        2 <= party.carrier.links_made <= 7
    )  # at 0, and after 25 to 50, 50 to 100, 100 to 200, 200 to 400, 400 to 800 ms


async def test_a_place_that_becomes_free_is_taken_at_once(open_centre):
    """Who was refused waits for long, and not when told that there is a place; who asks meanwhile is hoped for."""
    party = await open_centre(Habits(binds=0), binds=1, back_off_s=600, back_off_max_s=600)
    assert [one.reason for one in await party.send(party.recipients(1))] == [Reason.CREDENTIALS]
    assert not party.channel.is_bound()
    party.carrier.habits.binds = 1
    party.channel.bind_soon()
    assert [one.answer for one in await party.send(party.recipients(1))] == [Answer.ACCEPTED]
    assert party.channel.is_bound()
    party.channel.bind_soon()
    assert party.channel.is_bound()
    assert party.carrier.links_made == 2


async def test_a_lost_bind_comes_back_by_itself(centre_party):
    """The centre restarts on the same port: nobody has to ask, and people's answers come in again."""
    await until(lambda: centre_party.carrier.open_connections == 2)
    for link in list(centre_party.carrier.links):
        link.cut()
    await until(lambda: centre_party.carrier.links_made == 4)
    await until(lambda: [link.takes for link in centre_party.carrier.links] == [True, True])
    centre_party.carrier.say("+34600000001", "STOP")
    await until(lambda: centre_party.heard.answers)
    assert centre_party.carrier.links_made == 4


async def test_a_centre_that_takes_its_leave_answers_what_it_has(open_centre):
    """It is told goodbye when all it took is answered: nothing of that is left unknown, and what found no room is for another bind."""
    party = await open_centre(binds=1, window=4)
    rule = Rule("+346000", "slow", delay_s=0.3, times=4)
    party.carrier.script.set(rule)
    sending = asyncio.create_task(party.send(party.recipients(6)))
    await until(lambda: rule.times == 0)
    (link,) = party.carrier.links
    link.write(encode(Pdu(Command.UNBIND, 7)))
    assert [outcome.answer for outcome in await sending] == [Answer.ACCEPTED] * 6
    assert [party.count(one) for one in party.recipients(6)] == [1] * 6
    assert party.carrier.links_made == 2
    assert link not in party.carrier.links
