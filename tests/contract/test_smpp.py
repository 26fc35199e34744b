"""Text messages over SMPP against the local centre: what only this channel does (for the rest see `test_channel`)."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest

from channels.base import Answer, Loudness, Outcome, Reason, Recipient, SmsMessage, Stamp
from channels.sandbox import smsc_habits as smsc
from channels.sandbox.authority import make_authority
from channels.sandbox.script import Rule
from channels.sandbox.smsc import SmscSandbox
from channels.sandbox.smsc_habits import Habits
from channels.smpp.channel import SmppChannel
from channels.smpp.coding import read
from channels.smpp.names import Command, Status, Tag
from channels.smpp.pdu import HEADER
from channels.smpp.settings import SmppSettings
from channels.smpp.words import BY_LANGUAGE, Word
from channels.sms_answers import SmsState

N = 20


async def settled(condition):
    """Wait for what the carrier does on its own time."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 a foreign process would give no event either
            await asyncio.sleep(0.005)


class Heard:
    """A listener that keeps what it is told; `trouble` makes it fail that many times."""

    def __init__(self):
        self.answers = []
        self.told = []
        self.trouble = 0

    async def said(self, answers):
        self._fail()
        self.answers += answers

    async def reports(self, reports):
        self._fail()
        self.told += reports

    def _fail(self):
        if self.trouble:
            self.trouble -= 1
            raise ConnectionError("the store is away")


class Party:
    """One channel with its centre and who listens."""

    def __init__(self, channel, carrier, heard):
        self.channel, self.carrier, self.heard = channel, carrier, heard
        now = int(time.time())
        self.stamp = Stamp(
            chain="c", version="v", sent_s=now, expires_s=now + 3600, loudness=Loudness.LOUD, language="es"
        )

    def recipients(self, count, start=0):
        return [Recipient(f"+346000{start + n:05}", f"tag{start + n}") for n in range(count)]

    def tell(self, what, prefix="", **details):
        self.carrier.script.set(Rule(prefix, what, **details))

    def count(self, recipient):
        return self.carrier.recorded.count(recipient.address)

    async def send(self, recipients, may_write=lambda: True, text="Niña desaparecida: Lucía, 7 años"):
        prepared = self.channel.prepare(SmsMessage(stamp=self.stamp, text=text))
        return await self.channel.send(prepared, recipients, may_write)


@pytest.fixture
async def open_party(tmp_path):
    """A centre with these habits and a channel with these settings; closed after the test."""
    opened = []

    async def open_one(habits=None, *, tls=True, **settings):
        authority = make_authority(tmp_path)
        carrier = SmscSandbox(authority if tls else None, habits, keep=True)
        await carrier.start()
        made = {
            "host": "127.0.0.1",
            "port": carrier.port,
            "tls": tls,
            "ca_file": str(authority.ca_file),
            "system_id": smsc.SYSTEM_ID,
            "password": smsc.PASSWORD,
            "sender": smsc.SENDER,
            "binds": 2,
            "timeout_s": 5.0,
            "back_off_s": 0.02,
            "throttle_pause_s": 0.02,
            "statuses": smsc.STATUSES,
            "languages": tuple(BY_LANGUAGE),
            **settings,
        }
        heard = Heard()
        channel = SmppChannel(SmppSettings(**made), listener=heard)
        await channel.open()
        opened.append((channel, carrier))
        return Party(channel, carrier, heard)

    yield open_one
    for channel, carrier in opened:
        await channel.close()
        await carrier.stop()


@pytest.fixture
async def party(open_party):
    return await open_party()


@pytest.mark.parametrize(
    ("behaviour", "answer", "reason"),
    [
        ("throttle", Answer.RETRY, Reason.THROTTLED),
        ("queue-full", Answer.RETRY, Reason.THROTTLED),
        ("unavailable", Answer.RETRY, Reason.UNAVAILABLE),
        ("opted-out", Answer.NEVER, Reason.GONE),
        ("invalid-number", Answer.NEVER, Reason.BAD_ADDRESS),
        ("blocked", Answer.NEVER, Reason.BLOCKED),
        ("bad-message", Answer.NEVER, Reason.BAD_MESSAGE),
        ("nack", Answer.RETRY, Reason.UNAVAILABLE),
        ("unreadable", Answer.UNKNOWN, Reason.GARBAGE),
        ("reset", Answer.UNKNOWN, Reason.CONNECTION),
        ("half", Answer.UNKNOWN, Reason.CONNECTION),
        ("garbage", Answer.UNKNOWN, Reason.GARBAGE),
        ("oversized", Answer.UNKNOWN, Reason.GARBAGE),
    ],
)
async def test_a_carriers_no_is_data(party, behaviour, answer, reason):
    """Refusals, garbage and cut connections are outcomes, never exceptions; only a dead address is called gone; then it goes on."""
    party.tell(behaviour)
    for outcome in await party.send(party.recipients(3)):
        assert (outcome.answer, outcome.reason) == (answer, reason)
        assert outcome.address_gone == (reason is Reason.GONE)
    party.carrier.script.set()
    outcomes = await again(party, party.recipients(N, start=100))
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}


async def again(party, recipients):
    """Try until the channel says something else than to come again, as its caller would."""
    outcomes = {}
    async with asyncio.timeout(5):
        while len(outcomes) < len(recipients):
            left = [recipient for recipient in recipients if recipient.tag not in outcomes]
            got = await party.send(left)
            waits = Answer.RETRY, Answer.WITHHELD
            outcomes |= {to.tag: outcome for to, outcome in zip(left, got, strict=True) if outcome.answer not in waits}
            await asyncio.sleep(0.01)
    return [outcomes[recipient.tag] for recipient in recipients]


async def test_silence_is_unknown_and_a_mute_bind_is_left(open_party):
    """Where nothing at all comes any more, the messages may have arrived or not, and the connection is of no further use."""
    party = await open_party(timeout_s=0.3, back_off_s=60, binds=1)
    party.tell("stall")
    outcomes = await party.send(party.recipients(4))
    assert {(outcome.answer, outcome.reason) for outcome in outcomes} == {(Answer.UNKNOWN, Reason.TIMEOUT)}
    await settled(lambda: party.carrier.open_connections == 0)


async def test_a_bind_that_answers_others_is_kept(open_party):
    """One message without an answer, or an answer to nobody, is no reason to lose the rest that is on its way."""
    party = await open_party(timeout_s=0.4, binds=1)
    for behaviour in ("stall", "stranger"):
        recipients = party.recipients(2)
        party.tell(behaviour, prefix=recipients[0].address)
        slow = asyncio.create_task(party.send(recipients[:1]))
        while not slow.done():
            assert (await party.send(recipients[1:]))[0].answer is Answer.ACCEPTED
        assert await slow == [Outcome(Answer.UNKNOWN, Reason.TIMEOUT)]
    assert party.carrier.links_made == 1


async def test_a_late_answer_still_gives_its_receipt_a_home(open_party):
    """Unknown after the time-out, and delivered as soon as the carrier says so under the id of its late answer."""
    party = await open_party(Habits(delay_s=0.05), timeout_s=0.3, binds=1, enquire_s=0.1)
    rule = Rule("+34600000000", "slow", delay_s=0.5, times=1)
    party.carrier.script.set(rule)
    slow = asyncio.create_task(party.send(party.recipients(1)))
    await settled(lambda: rule.times == 0)  # the centre has it
    await party.send(party.recipients(1, start=5))
    assert await slow == [Outcome(Answer.UNKNOWN, Reason.TIMEOUT)]
    await settled(lambda: {report.tag for report in party.heard.told} == {"tag0", "tag5"})


async def test_leave_is_asked_for_again_while_waiting(open_party):
    """One who waits for room in a full window hears within moments that writing is over."""
    party = await open_party(binds=1, window=2)
    party.tell("stall", times=2)
    began = time.monotonic()
    sending = asyncio.create_task(party.send(party.recipients(4), lambda: time.monotonic() < began + 0.2))
    await settled(lambda: party.carrier.recorded.total == 2)
    party.carrier.links[0].cut()
    outcomes = await sending
    assert Counter(outcome.answer for outcome in outcomes)[Answer.UNKNOWN] == 2


async def test_a_full_window_is_left_when_leave_ends(open_party):
    """Messages that found no room are withheld; those on their way are waited for."""
    party = await open_party(binds=1, window=2)
    party.tell("slow", delay_s=0.4)
    until = time.monotonic() + 0.2
    outcomes = await party.send(party.recipients(4), lambda: time.monotonic() < until)
    assert [outcome.answer for outcome in outcomes] == [Answer.ACCEPTED] * 2 + [Answer.WITHHELD] * 2


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"ca_file": None}])
async def test_who_is_not_let_in_or_does_not_trust_sends_nothing(open_party, changes):
    """A wrong password and a certificate of nobody we know are about credentials, and nobody's address."""
    party = await open_party(**changes)
    outcomes = await party.send(party.recipients(2))
    assert {(outcome.answer, outcome.reason) for outcome in outcomes} == {(Answer.RETRY, Reason.CREDENTIALS)}


async def test_cancelling_a_send_harms_no_other(open_party):
    """What others have on the way over the same binds is answered, and what was cancelled leaves no room taken."""
    party = await open_party(binds=1, window=4)
    party.tell("slow", delay_s=0.2)
    sending = asyncio.create_task(party.send(party.recipients(2)))
    other = asyncio.create_task(party.send(party.recipients(2, start=10)))
    await settled(lambda: party.channel._senders[0].room(0) == 0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert [outcome.answer for outcome in await other] == [Answer.ACCEPTED] * 2
    await settled(lambda: party.channel._senders[0].room(asyncio.get_running_loop().time()) == 4)


async def test_connections_are_as_many_as_set_and_none_stays(party):
    """Many messages go over few binds, and none is left after closing."""
    for start in range(0, 100, 25):
        await party.send(party.recipients(25, start))
    assert party.carrier.open_connections == party.carrier.links_made == 2
    await party.channel.close()
    await settled(lambda: party.carrier.open_connections == 0)


async def test_what_is_no_number_is_never_written(party):
    """Letters and line breaks reach no socket."""
    outcomes = await party.send([Recipient("+34 600", "a"), Recipient("x\0y", "b"), Recipient("", "c")])
    assert {(outcome.answer, outcome.reason) for outcome in outcomes} == {(Answer.NEVER, Reason.BAD_ADDRESS)}
    assert party.carrier.recorded.total == 0


async def test_a_throttled_bind_rests_and_the_others_work_on(open_party):
    """The pause is the bind's: only when all rest is the caller told how long."""
    party = await open_party(binds=2, throttle_pause_s=3.0)
    await settled(lambda: [link.sends for link in party.carrier.links] == [True, True])
    party.tell("throttle", times=1)
    (first,) = await party.send(party.recipients(1))
    assert (first.answer, first.reason, first.retry_after_s) == (Answer.RETRY, Reason.THROTTLED, None)
    assert {outcome.answer for outcome in await party.send(party.recipients(N))} == {Answer.ACCEPTED}
    party.tell("throttle")
    (second,) = await party.send(party.recipients(1))
    assert 0 < second.retry_after_s <= 3.0
    began, until = party.carrier.recorded.total, time.monotonic() + 0.2
    withheld = await party.send(party.recipients(3, start=50), lambda: time.monotonic() < until)
    assert {outcome.answer for outcome in withheld} == {Answer.WITHHELD}
    assert party.carrier.recorded.total == began


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
async def test_a_long_text_arrives_whole(open_party, text, long, pdus, cost):
    """In parts with one reference, or as one payload; it costs its segments either way."""
    party = await open_party(long=long)
    (outcome,) = await party.send(party.recipients(1), text=text)
    messages = party.carrier.messages
    assert outcome.answer is Answer.ACCEPTED
    assert len(messages) == len(outcome.message_id.split(",")) == pdus
    assert party.channel.prepare(SmsMessage(stamp=party.stamp, text=text)).cost == cost
    octets = [one.message for one in messages]
    if pdus > 1:
        assert [one[:3] + one[4:6] for one in octets] == [bytes((5, 0, 3, pdus, n + 1)) for n in range(pdus)]
        assert len({one[3] for one in octets}) == 1
    assert "".join(read(one.message, one.number("data_coding"), one.number("esm_class")) for one in messages) == text


async def test_a_message_ends_with_its_alert(open_party):
    """The validity period is what is left, so that no phone that was off gets it tomorrow."""
    party = await open_party()
    await party.send(party.recipients(1))
    (message,) = party.carrier.messages
    hour_or_a_little_less = {"000000010000000R", "000000005959000R", "000000005958000R", "000000005957000R"}
    assert message.text("validity_period") in hour_or_a_little_less
    assert message.number("registered_delivery") == 1
    assert (message.number("source_addr_ton"), message.number("dest_addr_ton")) == (3, 1)


async def test_a_message_can_be_taken_back(party):
    """`cancel_sm` names every part, and says whether it came in time."""
    recipient = party.recipients(1)[0]
    (outcome,) = await party.send([recipient], text="a" * 200)
    assert await party.channel.cancel(outcome.message_id, recipient)
    assert ",".join(party.carrier.cancelled) == outcome.message_id
    assert not await party.channel.cancel("gone", recipient)


@pytest.mark.parametrize("form", ["text", "parameters", "both"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("ids", ["same", "hex-then-decimal", "decimal-then-hex"])
async def test_a_receipt_finds_its_message(open_party, form, first, ids):
    """Before or after the answer, in text or parameters, in hex or decimal, with leading zeros: reported once under its tag."""
    party = await open_party(Habits(form=form, first=first, ids=ids, zeros=3), receipt_ids=ids)
    party.tell("undelivered", prefix="+34600000003")
    await party.send(party.recipients(N))
    await settled(lambda: len(party.heard.told) == N)
    ends = {report.tag: (report.state, report.reason) for report in party.heard.told}
    failed = ends.pop("tag3")
    assert failed == (SmsState.FAILED, Reason.UNAVAILABLE)
    assert set(ends.values()) == {(SmsState.DELIVERED, Reason.NONE)}
    await settled(lambda: party.carrier.acknowledged[Status.OK] == N)


async def test_receipts_come_over_binds_of_their_own(open_party):
    """Split binds: transmitters send, a receiver is told."""
    party = await open_party(binds=2, receivers=1)
    await settled(lambda: Counter((link.sends, link.takes) for link in party.carrier.links)[False, True] == 1)
    await party.send(party.recipients(N))
    await settled(lambda: len(party.heard.told) == N)
    assert sorted((link.sends, link.takes) for link in party.carrier.links) == [(False, True)] + [(True, False)] * 2


async def test_parts_are_delivered_together(open_party):
    """A message of three parts is delivered when the third is, and failed when one is. Of the others nothing is told but that
    they arrived, once: they name no message, for it has not.
    """
    party = await open_party(Habits(receipts=False))
    outcomes = await party.send(party.recipients(2), text="a" * 400)
    ids = [outcome.message_id.split(",") for outcome in outcomes]
    for message_id in (ids[0][0], ids[0][1], ids[0][1], ids[1][0]):
        party.carrier.report(message_id)
    await settled(lambda: party.carrier.acknowledged[Status.OK] == 4)
    assert [(report.tag, report.message_id) for report in party.heard.told] == [
        (None, one) for one in (ids[0][0], ids[0][1], ids[1][0])
    ]
    party.heard.told.clear()
    party.carrier.report(ids[0][2])
    party.carrier.report(ids[1][1], "EXPIRED")
    await settled(lambda: len(party.heard.told) == 2)
    assert {report.tag: report.state for report in party.heard.told} == {
        "tag0": SmsState.DELIVERED,
        "tag1": SmsState.FAILED,
    }


async def test_the_same_receipt_a_thousand_times_is_told_once(open_party):
    """Every one is acknowledged, so that it stops coming; the listener hears of it once."""
    party = await open_party(Habits(receipts=False))
    (outcome,) = await party.send(party.recipients(1))
    for _ in range(1000):
        party.carrier.report(outcome.message_id)
    await settled(lambda: party.carrier.acknowledged[Status.OK] == 1000)
    assert [(report.tag, report.state) for report in party.heard.told] == [("tag0", SmsState.DELIVERED)]


async def test_garbage_among_receipts_is_acknowledged_and_says_nothing(party):
    """A receipt that cannot be understood would come for ever otherwise; one for nobody is kept for a while."""
    await settled(lambda: party.carrier.open_connections == 2)
    await party.send(party.recipients(1))
    await settled(lambda: len(party.heard.told) == 1)
    texts = [b"", b"\xff\xfe\0\0", b"id: stat:", b"stat:DELIVRD", b"id:1 stat:PERHAPS", b"id:ffffffff stat:DELIVRD"]
    for text in texts:
        party.carrier.deliver({"esm_class": 4, "short_message": text}, {})
    party.carrier.deliver({}, {Tag.RECEIPTED_MESSAGE_ID: b"\0"})
    await settled(lambda: party.carrier.acknowledged[Status.OK] == 1 + len(texts) + 1)
    assert len(party.heard.told) == 1
    assert party.heard.answers == []


async def test_frames_of_nobody_are_refused_and_the_bind_stays(party):
    """Unknown commands and bodies that cannot be read get generic_nack; answers to nothing get none."""
    await settled(lambda: [link.takes for link in party.carrier.links] == [True, True])
    link = party.carrier.links[0]
    for command in (0x77, Command.DATA_SM, Command.DELIVER_SM):
        link.write(HEADER.pack(20, command, 0, 5) + b"\xff\xff\xff\xff")
    link.write(HEADER.pack(16, Command.SUBMIT_SM_RESP, 0, 99))
    link.write(HEADER.pack(16, Command.BIND_TRANSCEIVER_RESP, 0, 99))
    await settled(lambda: party.carrier.acknowledged == {Status.INVALID_COMMAND: 2, Status.INVALID_COMMAND_LENGTH: 1})
    assert {outcome.answer for outcome in await party.send(party.recipients(N))} == {Answer.ACCEPTED}
    assert party.carrier.links_made == 2


async def test_what_people_answer_is_told_at_once(party):
    """STOP in any of the languages comes with the number, before the receipts that wait, well within a second."""
    await party.send(party.recipients(N))
    began = time.monotonic()
    for text in ("Stop.", "ARRÊT", "СТОП", "退订", "help", "she is at the bus stop near the old bridge"):
        party.carrier.say("+34600000001", text)
    await settled(lambda: len(party.heard.answers) == 6)
    assert time.monotonic() - began < 1.0
    assert [said.word for said in party.heard.answers] == [Word.STOP] * 4 + [Word.HELP, None]
    assert {said.number for said in party.heard.answers} == {"+34600000001"}
    assert "+346" not in repr(party.heard.answers)


async def test_a_stop_waits_for_no_receipts(open_party):
    """Thousands of receipts before a store that is slow: somebody's STOP is heard and acknowledged at once."""
    party = await open_party(Habits(receipts=False))
    outcomes = await party.send(party.recipients(2_000))
    never = asyncio.Event()
    party.heard.reports = lambda _: never.wait()
    for outcome in outcomes:
        party.carrier.report(outcome.message_id)
    party.carrier.say("+34600000001", "STOP")
    began = time.monotonic()
    await settled(lambda: party.carrier.acknowledged[Status.OK] == 1)
    assert time.monotonic() - began < 1.0
    assert [said.word for said in party.heard.answers] == [Word.STOP]


async def test_what_the_listener_does_not_take_is_handed_over_again(open_party):
    """A store that is away for a moment loses no STOP and no report, and neither is acknowledged before."""
    party = await open_party(Habits(receipts=False))
    (outcome,) = await party.send(party.recipients(1))
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["message"]))
    party.heard.trouble = 1_000
    party.carrier.say("+34600000001", "STOP")
    party.carrier.report(outcome.message_id)
    await settled(lambda: len(faults) >= 3)
    assert party.carrier.acknowledged == {}
    party.heard.trouble = 0
    await settled(lambda: party.carrier.acknowledged[Status.OK] == 2)
    assert [said.word for said in party.heard.answers] == [Word.STOP]
    assert [report.tag for report in party.heard.told] == ["tag0"]


async def test_an_answer_that_cannot_be_taken_goes_back_to_the_centre(open_party):
    """After some tries: it will come again, and holds up nobody else's until then."""
    party = await open_party(Habits(receipts=False), binds=1)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await settled(lambda: [link.takes for link in party.carrier.links] == [True])
    party.heard.trouble = 5
    party.carrier.say("+34600000001", "STOP")
    await settled(lambda: party.carrier.acknowledged == {Status.RECEIVER_TEMPORARY: 1})
    party.carrier.say("+34600000002", "STOP")
    await settled(lambda: party.carrier.acknowledged[Status.OK] == 1)
    assert [said.number for said in party.heard.answers] == ["+34600000002"]


@pytest.mark.parametrize("seed", range(3))
async def test_in_trouble_of_every_kind_no_outcome_lies(open_party, seed):
    """Accepted is what the centre has, refused and withheld what it has not, and only unknown may be either; never twice."""
    chance = random.Random(seed)
    party = await open_party(timeout_s=0.3, binds=3, window=5)
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


async def test_who_is_not_let_in_does_not_hammer(open_party):
    """Attempts come further and further apart, whoever asks meanwhile."""
    party = await open_party(password="wrong", binds=1, back_off_s=0.05)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        await party.send(party.recipients(1))
        await asyncio.sleep(0.01)
    assert (
        2 <= party.carrier.links_made <= 7
    )  # at 0, and after 25 to 50, 50 to 100, 100 to 200, 200 to 400, 400 to 800 ms


async def test_a_lost_bind_comes_back_by_itself(party):
    """The centre restarts on the same port: nobody has to ask, and people's answers come in again."""
    await settled(lambda: party.carrier.open_connections == 2)
    for link in list(party.carrier.links):
        link.cut()
    await settled(lambda: party.carrier.links_made == 4)
    await settled(lambda: [link.takes for link in party.carrier.links] == [True, True])
    party.carrier.say("+34600000001", "STOP")
    await settled(lambda: party.heard.answers)
    assert party.carrier.links_made == 4
