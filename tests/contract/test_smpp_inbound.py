"""What comes in over SMPP: receipts find their messages, and what people answer is heard at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from channels.base import Answer, Outcome, Reason
from channels.sandbox.script import Rule
from channels.sandbox.smsc import Habits
from channels.smpp.pdu import Status, Tag
from channels.smpp.words import Word
from channels.sms_answers import SmsState
from tests.contract.smpp_parties import N
from tests.waiting import until


async def test_a_late_answer_still_gives_its_receipt_a_home(open_centre):
    """Unknown after the time-out, and delivered as soon as the carrier says so under the id of its late answer."""
    party = await open_centre(Habits(delay_s=0.05), timeout_s=0.3, binds=1, enquire_s=0.1)
    rule = Rule("+34600000000", "slow", delay_s=0.5, times=1)
    party.carrier.script.set(rule)
    slow = asyncio.create_task(party.send(party.recipients(1)))
    await until(lambda: rule.times == 0)  # the centre has it
    await party.send(party.recipients(1, start=5))
    assert await slow == [Outcome(Answer.UNKNOWN, Reason.TIMEOUT)]
    await until(lambda: {report.tag for report in party.heard.told} == {"tag0", "tag5"})


@pytest.mark.parametrize("form", ["text", "parameters", "both"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("ids", ["same", "hex-then-decimal", "decimal-then-hex"])
async def test_a_receipt_finds_its_message(open_centre, form, first, ids):
    """Before or after the answer, in text or parameters, in hex or decimal, with leading zeros: reported once under its tag."""
    party = await open_centre(Habits(form=form, first=first, ids=ids, zeros=3), receipt_ids=ids)
    party.tell("undelivered", prefix="+34600000003")
    await party.send(party.recipients(N))
    await until(lambda: len(party.heard.told) == N)
    ends = {report.tag: (report.state, report.reason) for report in party.heard.told}
    failed = ends.pop("tag3")
    assert failed == (SmsState.FAILED, Reason.UNAVAILABLE)
    assert set(ends.values()) == {(SmsState.DELIVERED, Reason.NONE)}
    await until(lambda: party.carrier.acknowledged[Status.OK] == N)


async def test_receipts_come_over_binds_of_their_own(open_centre):
    """Split binds: transmitters send, a receiver is told."""
    party = await open_centre(binds=2, receivers=1)
    await until(lambda: Counter((link.sends, link.takes) for link in party.carrier.links)[False, True] == 1)
    await party.send(party.recipients(N))
    await until(lambda: len(party.heard.told) == N)
    assert sorted((link.sends, link.takes) for link in party.carrier.links) == [(False, True)] + [(True, False)] * 2


async def test_parts_are_delivered_together(open_centre):
    """A message of three parts is delivered when the third is, and failed when one is. Of the others nothing is told but that
    they arrived, once: they name no message, for it has not.
    """
    party = await open_centre(Habits(receipts=False))
    outcomes = await party.send(party.recipients(2), text="a" * 400)
    ids = [outcome.message_id.split(",") for outcome in outcomes]
    for message_id in (ids[0][0], ids[0][1], ids[0][1], ids[1][0]):
        party.carrier.report(message_id)
    await until(lambda: party.carrier.acknowledged[Status.OK] == 4)
    assert [(report.tag, report.message_id) for report in party.heard.told] == [
        (None, one) for one in (ids[0][0], ids[0][1], ids[1][0])
    ]
    party.heard.told.clear()
    party.carrier.report(ids[0][2])
    party.carrier.report(ids[1][1], "EXPIRED")
    await until(lambda: len(party.heard.told) == 2)
    assert {report.tag: report.state for report in party.heard.told} == {
        "tag0": SmsState.DELIVERED,
        "tag1": SmsState.FAILED,
    }


async def test_the_same_receipt_a_thousand_times_is_told_once(open_centre):
    """Every one is acknowledged, so that it stops coming; the listener hears of it once."""
    party = await open_centre(Habits(receipts=False))
    (outcome,) = await party.send(party.recipients(1))
    for _ in range(1000):
        party.carrier.report(outcome.message_id)
    await until(lambda: party.carrier.acknowledged[Status.OK] == 1000)
    assert [(report.tag, report.state) for report in party.heard.told] == [("tag0", SmsState.DELIVERED)]


async def test_garbage_among_receipts_is_acknowledged_and_says_nothing(centre_party):
    """A receipt that cannot be understood would come for ever otherwise; one for nobody is kept for a while."""
    await until(lambda: centre_party.carrier.open_connections == 2)
    await centre_party.send(centre_party.recipients(1))
    await until(lambda: len(centre_party.heard.told) == 1)
    texts = [b"", b"\xff\xfe\0\0", b"id: stat:", b"stat:DELIVRD", b"id:1 stat:PERHAPS", b"id:ffffffff stat:DELIVRD"]
    for text in texts:
        centre_party.carrier.deliver({"esm_class": 4, "short_message": text}, {})
    centre_party.carrier.deliver({}, {Tag.RECEIPTED_MESSAGE_ID: b"\0"})
    await until(lambda: centre_party.carrier.acknowledged[Status.OK] == 1 + len(texts) + 1)
    assert len(centre_party.heard.told) == 1
    assert centre_party.heard.answers == []


@pytest.mark.alone
async def test_what_people_answer_is_told_at_once(centre_party):
    """STOP in any of the languages comes with the number, before the receipts that wait, well within a second."""
    await centre_party.send(centre_party.recipients(N))
    began = time.monotonic()
    for text in ("Stop.", "ARRÊT", "СТОП", "退订", "help", "she is at the bus stop near the old bridge"):
        centre_party.carrier.say("+34600000001", text)
    await until(lambda: len(centre_party.heard.answers) == 6)
    assert time.monotonic() - began < 1.0
    assert [said.word for said in centre_party.heard.answers] == [Word.STOP] * 4 + [Word.HELP, None]
    assert {said.number for said in centre_party.heard.answers} == {"+34600000001"}
    assert "+346" not in repr(centre_party.heard.answers)


@pytest.mark.parametrize(
    ("kind", "written", "calling_code", "number"),
    [
        (1, "34600000000", "", "+34600000000"),
        (1, "+34600000000", "", "+34600000000"),
        (1, "0034600000000", "", "+34600000000"),
        (0, "34600000000", "", "+34600000000"),
        (0, "0034600000000", "34", "+34600000000"),
        (2, "600000000", "", "600000000"),
        (2, "600000000", "34", "+34600000000"),
        (2, "34600000000", "34", "+34600000000"),
        (0, "600000000", "34", "+34600000000"),
        (0, "34600000000", "34", "+34600000000"),
        (0, "01701234567", "", "01701234567"),
        (0, "01701234567", "49", "+491701234567"),
        (2, "01701234567", "49", "+491701234567"),
        (5, "ALERTS", "34", "ALERTS"),
    ],
)
async def test_a_number_is_whose_the_centre_says(open_centre, kind, written, calling_code, number):
    """As it is dialled at home it is nobody's, unless the settings say where that is; never a stranger's who has the same digits."""
    party = await open_centre(calling_code=calling_code, binds=1)
    await until(lambda: [link.takes for link in party.carrier.links] == [True])
    party.carrier.deliver({"source_addr_ton": kind, "source_addr": written, "short_message": b"STOP"}, {})
    await until(lambda: party.heard.answers)
    assert [(said.number, said.word) for said in party.heard.answers] == [(number, Word.STOP)]


async def test_a_stop_waits_for_no_receipts(open_centre):
    """Thousands of receipts before a store that is slow: somebody's STOP is heard and acknowledged before the first of them."""
    party = await open_centre(Habits(receipts=False))
    outcomes = await party.send(party.recipients(2_000))
    never = asyncio.Event()
    party.heard.reports = lambda _: never.wait()
    for outcome in outcomes:
        party.carrier.report(outcome.message_id)
    party.carrier.say("+34600000001", "STOP")
    await until(lambda: party.carrier.acknowledged[Status.OK] == 1)
    assert [said.word for said in party.heard.answers] == [Word.STOP]


async def test_what_the_listener_does_not_take_is_handed_over_again(open_centre):
    """A store that is away for a moment loses no STOP and no report, and neither is acknowledged before."""
    party = await open_centre(Habits(receipts=False))
    (outcome,) = await party.send(party.recipients(1))
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["message"]))
    party.heard.trouble = 1_000
    party.carrier.say("+34600000001", "STOP")
    party.carrier.report(outcome.message_id)
    await until(lambda: len(faults) >= 3)
    assert party.carrier.acknowledged == {}
    party.heard.trouble = 0
    await until(lambda: party.carrier.acknowledged[Status.OK] == 2)
    assert [said.word for said in party.heard.answers] == [Word.STOP]
    assert [report.tag for report in party.heard.told] == ["tag0"]


async def test_an_answer_that_cannot_be_taken_goes_back_to_the_centre(open_centre):
    """After some tries: it will come again, and holds up nobody else's until then."""
    party = await open_centre(Habits(receipts=False), binds=1)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await until(lambda: [link.takes for link in party.carrier.links] == [True])
    party.heard.trouble = 5
    party.carrier.say("+34600000001", "STOP")
    await until(lambda: party.carrier.acknowledged == {Status.RECEIVER_TEMPORARY: 1})
    party.carrier.say("+34600000002", "STOP")
    await until(lambda: party.carrier.acknowledged[Status.OK] == 1)
    assert [said.number for said in party.heard.answers] == ["+34600000002"]
