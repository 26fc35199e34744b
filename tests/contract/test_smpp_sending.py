"""Text messages over SMPP to the local centre: what only this channel does (for the rest see `test_channel`)."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import pytest

from channels.base import Answer, Reason, Recipient, SmsMessage
from channels.sandbox import smsc
from channels.sandbox.script import Rule
from channels.smpp.message import decode_text
from channels.text import SmsSettings
from tests.contract.smpp_parties import N

AS_WRITTEN = SmsSettings(transliterate=False)


@pytest.mark.parametrize(
    ("behaviour", "answer", "reason"),
    [
        ("queue-full", Answer.RETRY, Reason.THROTTLED),
        ("invalid-number", Answer.NEVER, Reason.BAD_ADDRESS),
        ("blocked", Answer.NEVER, Reason.BLOCKED),
        ("nack", Answer.RETRY, Reason.UNAVAILABLE),
        ("unreadable", Answer.UNKNOWN, Reason.GARBAGE),
        ("oversized", Answer.UNKNOWN, Reason.GARBAGE),
    ],
)
async def test_what_only_a_centre_says_is_data(centre_party, behaviour, answer, reason):
    """Its own refusals and what it writes in pieces are outcomes, never exceptions, and nobody is gone; then it goes on."""
    centre_party.tell(behaviour)
    for outcome in await centre_party.send(centre_party.recipients(3)):
        assert (outcome.answer, outcome.reason) == (answer, reason)
        assert not outcome.address_gone
    centre_party.carrier.script.set()
    outcomes = await again(centre_party, centre_party.recipients(N, start=100))
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}


async def again(party, recipients):
    """Try until the channel says something else than to come again, as its caller would."""
    outcomes = {}
    async with asyncio.timeout(60):
        while len(outcomes) < len(recipients):
            left = [recipient for recipient in recipients if recipient.tag not in outcomes]
            got = await party.send(left)
            waits = Answer.RETRY, Answer.WITHHELD
            outcomes |= {to.tag: outcome for to, outcome in zip(left, got, strict=True) if outcome.answer not in waits}
            await asyncio.sleep(0.01)
    return [outcomes[recipient.tag] for recipient in recipients]


async def test_what_is_no_number_is_never_written(centre_party):
    """Letters and line breaks reach no socket."""
    outcomes = await centre_party.send(
        [Recipient("+34 600", "a", is_new=True), Recipient("x\0y", "b", is_new=True), Recipient("", "c", is_new=True)]
    )
    assert {(outcome.answer, outcome.reason) for outcome in outcomes} == {(Answer.NEVER, Reason.BAD_ADDRESS)}
    assert centre_party.carrier.recorded.total == 0


@pytest.mark.parametrize(
    ("text", "long", "pdus", "cost"),
    [
        ("Lucía [7]", "udh", 1, 1),
        ("Żółć " * 40, "udh", 3, 3),
        ("a" * 400, "udh", 3, 3),
        ("a" * 400, "payload", 1, 3),
        ("Łucja 👧 " * 40, "payload", 1, 6),
    ],
)
async def test_a_long_text_arrives_whole(open_centre, text, long, pdus, cost):
    """In parts with one reference, or as one payload; it costs its segments either way."""
    party = await open_centre(long=long, text=AS_WRITTEN)
    (outcome,) = await party.send(party.recipients(1), text=text)
    messages = party.carrier.messages
    assert outcome.answer is Answer.ACCEPTED
    assert len(messages) == len(outcome.message_id.split(",")) == pdus
    assert party.channel.prepare(SmsMessage(stamp=party.stamp, text=text)).cost == cost
    octets = [one.message for one in messages]
    if pdus > 1:
        assert [one[:3] + one[4:6] for one in octets] == [bytes((5, 0, 3, pdus, n + 1)) for n in range(pdus)]
        assert len({one[3] for one in octets}) == 1
    assert (
        "".join(decode_text(one.message, one.number("data_coding"), one.number("esm_class")) for one in messages)
        == text
    )


@pytest.mark.parametrize(
    ("text", "pdus"),
    [
        ("Lucía, 7 años, salió de la estación con Agustín R. y no ha vuelto a su casa", 1),
        ("Última vez en la estación, salió con Lucía. " * 7, 3),
    ],
)
async def test_a_text_with_a_national_table_arrives_as_written(open_centre, text, pdus):
    """The centre reads each part with the table that its header names, and the first part of a message is recorded."""
    party = await open_centre(text=replace(AS_WRITTEN, tables=("spanish",)))
    (outcome,) = await party.send(party.recipients(1), text=text)
    messages = party.carrier.messages
    assert outcome.answer is Answer.ACCEPTED
    assert len(messages) == len(outcome.message_id.split(",")) == pdus
    assert {one.number("data_coding") for one in messages} == {0}
    assert "".join(decode_text(one.message, 0, one.number("esm_class")) for one in messages) == text
    assert party.carrier.recorded.total == 1


@pytest.mark.parametrize(
    ("first", "rest", "answer", "partly"),
    [
        ("unavailable", None, Answer.RETRY, True),
        ("blocked", None, Answer.NEVER, True),
        ("stall", "unavailable", Answer.RETRY, True),
        ("stall", None, Answer.UNKNOWN, False),
        ("unavailable", "unavailable", Answer.RETRY, False),
    ],
)
async def test_a_part_that_is_refused_keeps_the_others_from_nobody(open_centre, first, rest, answer, partly):
    """The whole surely does not arrive, but a phone may show what was taken of it: that is told apart from what is nowhere."""
    party = await open_centre(timeout_s=0.3)
    party.carrier.script.set(Rule("", first, times=1), *[Rule("", one) for one in (rest,) if one])
    (outcome,) = await party.send(party.recipients(1), text="a" * 400)
    assert (outcome.answer, outcome.partly) == (answer, partly)
    assert outcome.may_have_left == bool(party.carrier.messages)


async def test_a_message_ends_with_its_alert(open_centre):
    """The validity period is what is left, so that no phone that was off gets it tomorrow."""
    party = await open_centre()
    await party.send(party.recipients(1))
    (message,) = party.carrier.messages
    hour_or_a_little_less = {"000000010000000R", "000000005959000R", "000000005958000R", "000000005957000R"}
    assert message.text("validity_period") in hour_or_a_little_less
    assert message.number("registered_delivery") == 1
    assert (message.number("source_addr_ton"), message.number("dest_addr_ton")) == (3, 1)


@pytest.mark.parametrize("seed", range(3))
async def test_in_trouble_of_every_kind_no_outcome_lies(open_centre, seed):
    """Accepted is what the centre has, refused and withheld what it has not, and only unknown may be either; never twice."""
    chance = random.Random(seed)
    party = await open_centre(timeout_s=0.3, binds=3, window=5)
    troubles = sorted(smsc.BEHAVIOURS - {"slow"})
    outcomes = []

    async def send(start):
        recipients = party.recipients(25, start)
        outcomes.extend(zip(recipients, await party.send(recipients, until(1.0)), strict=True))

    async def trouble():
        for _ in range(12):
            what = chance.choice(troubles)
            party.tell(what, prefix=f"+346000{chance.randrange(4)}", times=chance.randrange(1, 6))
            await asyncio.sleep(chance.uniform(0, 0.05))
            if party.carrier.links and chance.random() < 0.3:
                chance.choice(party.carrier.links).cut()

    await asyncio.gather(trouble(), *(send(25 * n) for n in range(40)))
    assert len(outcomes) == 1_000
    for recipient, outcome in outcomes:
        had = {Answer.ACCEPTED: {1}, Answer.UNKNOWN: {0, 1}}.get(outcome.answer, {0})
        assert party.count(recipient) in had, outcome
    assert Answer.ACCEPTED in {outcome.answer for _, outcome in outcomes}


def until(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end
