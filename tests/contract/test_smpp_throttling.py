"""A centre that accepts so many parts a second: every phone gets each long message once, and no part twice."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from channels.base import Answer, Reason
from channels.sandbox.script import Rule
from channels.sandbox.smsc import Habits
from tests.contract.smpp_parties import send_until_accepted
from tests.waiting import until

LONG = "Niña desaparecida en la estación. " * 12  # UCS-2, seven parts


def parts_by_phone(carrier):
    """How often each phone got each part, and under how many references, by number."""
    found = {}
    for pdu in carrier.messages:
        reference, count, number = pdu.message[3:6]
        phone = found.setdefault(pdu.text("destination_addr"), (Counter(), set(), count))
        phone[0][number] += 1
        phone[1].add(reference)
    return found


@pytest.mark.parametrize("habits", [Habits(parts_per_s=20), Habits(parts_per_s=50)], ids=["20/s", "50/s"])
async def test_a_throttled_part_goes_again_alone(open_centre, habits):
    """Twenty messages of seven parts reach each phone whole and once; the centre is not flooded with what it refuses."""
    party = await open_centre(habits=habits, throttle_pause_s=1.0, binds=1)
    recipients = party.recipients(20)
    await send_until_accepted(lambda left: party.send(left, text=LONG), recipients)
    for phone, (times, references, count) in parts_by_phone(party.carrier).items():
        assert times == dict.fromkeys(range(1, count + 1), 1), phone
        assert len(references) == 1
    assert len(parts_by_phone(party.carrier)) == 20
    assert party.carrier.throttled <= 50 + 0.5 * len(party.carrier.messages)  # the first window, and then few


@pytest.mark.parametrize("do", ["throttle", "queue-full"])
async def test_one_throttled_part_of_a_message_is_sent_again(open_centre, do):
    """The centre refuses the first part once: the message is accepted, under one reference."""
    party = await open_centre()
    party.carrier.script.set(Rule("", do, times=1))
    (outcome,) = await party.send(party.recipients(1), text="a" * 400)
    assert (outcome.answer, outcome.partly) == (Answer.ACCEPTED, False)
    assert len(outcome.message_id.split(",")) == 3
    ((times, references, _),) = parts_by_phone(party.carrier).values()
    assert (times, len(references)) == ({1: 1, 2: 1, 3: 1}, 1)


async def test_a_part_is_not_sent_again_after_the_leave_to_write_ends(open_centre):
    """Some parts are on the phone and one is not: the message counts as partly sent, and nothing more is written."""
    party = await open_centre(throttle_pause_s=30, binds=1)
    may_write = [True]
    party.carrier.script.set(Rule("", "throttle", times=2))
    sending = asyncio.create_task(party.send(party.recipients(1), lambda: may_write[0], "a" * 400))
    await until(lambda: party.carrier.messages)
    may_write[0] = False
    (outcome,) = await sending
    assert (outcome.answer, outcome.reason, outcome.partly) == (Answer.RETRY, Reason.THROTTLED, True)
    assert len(party.carrier.messages) == 1


async def test_a_number_that_stays_throttled_holds_up_nobody(open_centre):
    """One number in ten is always refused as throttled: the others are accepted at once, and the rate stays."""
    party = await open_centre(binds=1, throttle_pause_s=1.0)
    recipients = party.recipients(200)
    party.carrier.script.set(*[Rule(recipients[n].address, "queue-full") for n in range(5, 200, 10)])
    outcomes = await party.send(recipients, text="Hi")
    assert Counter(outcome.answer for outcome in outcomes) == {Answer.ACCEPTED: 180, Answer.RETRY: 20}


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_full_phone_gets_few_repeats_and_slows_down_no_other(open_centre, is_new):
    """It accepts the first of three parts and no more. Others get theirs meanwhile, and the bind does not pause for it."""
    party = await open_centre(binds=1, throttle_pause_s=30.0)
    everyone, (full,) = party.recipients(100), party.recipients(1, start=50_000)
    refuse = Rule(full.address, "queue-full", times=10_000)
    party.carrier.script.set(Rule(full.address, "undelivered", times=1), refuse)
    may_write = [True]
    sending = asyncio.create_task(
        party.send([*everyone, full._replace(is_new=is_new)], lambda: may_write[0], "a" * 400)
    )
    await until(lambda: len(party.carrier.messages) > 3 * len(everyone))
    for _ in range(20):
        accepted = await party.send(everyone[:10], text="Hi")
        assert {outcome.answer for outcome in accepted} == {Answer.ACCEPTED}
        await asyncio.sleep(0.1)
    may_write[0] = False
    assert (await sending)[-1].partly
    assert 10_000 - refuse.times <= 6
