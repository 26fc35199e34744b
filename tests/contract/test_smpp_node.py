"""SMPP against an SMS centre that nobody here wrote: node-smpp reads what we send and tells us what became of it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import pytest

from channels.base import Answer, Loudness, Reason, Recipient, SmsMessage, Stamp
from channels.smpp.channel import SmppChannel
from channels.smpp.words import Word
from channels.sms_answers import SmsState
from channels.text import SmsSettings
from tests.contract.smpp_parties import centre_settings, send_until_accepted
from tests.waiting import until

pytestmark = pytest.mark.peer

AS_WRITTEN = SmsSettings(transliterate=False)


class Heard:
    def __init__(self):
        self.answers, self.told = [], []

    async def take_answers(self, answers):
        self.answers += answers

    async def reports(self, reports):
        self.told += reports


@pytest.fixture
async def open_sms(node):
    opened = []

    async def open_one(**changes):
        made = {
            "host": "127.0.0.1",
            "system_id": "sandbox",
            "password": "sandbox",
            "sender": "12345",
            "receipt_ids": "hex-then-decimal",
            "binds": 2,
            **node[0],
            **changes,
        }
        heard = Heard()
        channel = SmppChannel(centre_settings(**made), listener=heard)
        await channel.open()
        opened.append(channel)
        return channel, heard

    yield open_one
    for channel in opened:
        await channel.close()


def prepared(channel, text):
    now = int(time.time())
    stamp = Stamp(chain="c", version="v", sent_s=now, expires_s=now + 600, loudness=Loudness.LOUD, language="es")
    return channel.prepare(SmsMessage(stamp=stamp, text=text))


def to(prefix, count):
    return [Recipient(f"+{prefix}{n:07}", f"tag{prefix}{n}", is_new=True) for n in range(count)]


async def test_node_reads_what_we_send_and_its_receipts_find_home(open_sms, node):
    """2,000 messages over two binds: each arrives once with its text, and each receipt comes back under its tag."""
    channel, heard = await open_sms()
    recipients = to("3460", 1_900) + to("3462", 100)
    outcomes = await channel.send(prepared(channel, "Niña: Lucía [7] €"), recipients, lambda: True)
    assert {outcome.answer for outcome in outcomes} == {Answer.ACCEPTED}
    await until(lambda: len(heard.told) == 2_000)
    ends = Counter((report.tag[:7], report.state) for report in heard.told)
    assert ends == {("tag3460", SmsState.DELIVERED): 1_900, ("tag3462", SmsState.FAILED): 100}
    assert len({report.tag for report in heard.told}) == 2_000
    rows = node[1]()
    assert Counter(row["to"] for row in rows) == Counter(one.address[1:] for one in recipients)
    assert {(row["from"], row["ton"]) for row in rows} == {("12345", 3)}
    # "í" is not in GSM 03.38, so the text goes as UCS-2
    assert {(row["text"], row["coding"]) for row in rows} == {("Niña: Lucía [7] €", 8)}


async def test_node_brings_reports_and_answers_by_data_sm_too(open_sms, node):
    """Both are heard as those of deliver_sm are, and acknowledged."""
    channel, heard = await open_sms()
    await channel.send(prepared(channel, "Hi"), to("3464", 3), lambda: True)
    await until(lambda: len(heard.told) == len(heard.answers) == 3)
    assert {(report.tag[:7], report.state) for report in heard.told} == {("tag3464", SmsState.DELIVERED)}
    assert {(said.number[:5], said.word) for said in heard.answers} == {("+3464", Word.STOP)}
    await until(lambda: node[1]().count({"acknowledged": True}) == 6)
    assert not [row for row in node[1]() if "error" in row]


@pytest.mark.parametrize("text", ["Ñ é [7] {x} ~ € \\ Δ " * 12, "Łucja 👧 " * 12])
@pytest.mark.parametrize("long", ["udh", "payload"])
async def test_node_reads_both_alphabets_and_long_texts(open_sms, node, text, long):
    """Its own tables of GSM 03.38 and its own reading of the header of parts."""
    channel, heard = await open_sms(long=long, text=AS_WRITTEN)
    (outcome,) = await channel.send(prepared(channel, text), to("3460", 1), lambda: True)
    assert outcome.answer is Answer.ACCEPTED
    await until(lambda: any(report.tag for report in heard.told))
    rows = node[1]()
    assert [row["udh"] and row["udh"][-2:] for row in rows] == (
        [None] if long == "payload" else [[len(rows), n + 1] for n in range(len(rows))]
    )
    if long == "udh":  # it decodes no payload
        assert "".join(row["text"] for row in rows) == text
    assert [report.tag for report in heard.told] == [None] * (len(rows) - 1) + [
        "tag34600"
    ]  # each part, and then all of it


@pytest.mark.parametrize(
    "text",
    [
        "Última vez: Lucía, 7 años. [€] ç salió de la estación de autobuses con Agustín R. y no volvió",
        "Última vez en la estación, salió con Lucía. " * 7,
    ],
)
async def test_node_reads_the_spanish_table(open_sms, node, text):
    """Its own reading of element 0x24 and of the national table: one octet a septet, and no part is longer than its header allows."""
    channel, _ = await open_sms(text=replace(AS_WRITTEN, tables=("spanish",)))
    message = prepared(channel, text)
    (outcome,) = await channel.send(message, to("3460", 1), lambda: True)
    assert outcome.answer is Answer.ACCEPTED
    await until(lambda: len([row for row in node[1]() if "to" in row]) == message.cost)
    rows = [row for row in node[1]() if "to" in row]
    assert "".join(row["text"] for row in rows) == text
    assert {row["coding"] for row in rows} == {0}
    numbers = [[n + 1] for n in range(len(rows))]
    assert [row["udh"][:1] + row["udh"][-1:] for row in rows] == (
        [[0x24, 2]] if len(rows) == 1 else [[0, *n] for n in numbers]
    )


@pytest.mark.alone
async def test_node_throttles_and_stops(open_sms):
    """Its refusal is for later, and a person's STOP comes within a second."""
    channel, heard = await open_sms(binds=1, throttle_pause_s=0.2)
    (throttled,) = await channel.send(prepared(channel, "Hi"), to("3461", 1), lambda: True)
    assert (throttled.answer, throttled.reason) == (Answer.RETRY, Reason.THROTTLED)
    assert throttled.retry_after_s == pytest.approx(0.2, abs=0.1)
    began = time.monotonic()
    await channel.send(prepared(channel, "Hi"), to("3463", 1), lambda: True)
    await until(lambda: heard.answers)
    assert time.monotonic() - began < 1.2
    assert [(said.number, said.word) for said in heard.answers] == [("+34630000000", Word.STOP)]


@pytest.mark.parametrize("environment", [{"PARTS_PER_S": "40"}])
async def test_node_gets_each_part_once_though_it_throttles(open_sms, node):
    """It accepts 40 parts a second: of 20 messages of four parts each part arrives once, and each receipt finds its message."""
    channel, heard = await open_sms(text=AS_WRITTEN)
    message = prepared(channel, "Lucía " * 42)
    await send_until_accepted(lambda left: channel.send(message, left, lambda: True), to("3460", 20))
    await until(lambda: sum(report.tag is not None for report in heard.told) == 20)
    rows = [row for row in node[1]() if "to" in row]
    assert Counter((row["to"], *row["udh"][-2:]) for row in rows) == {
        (one.address[1:], 4, number): 1 for one in to("3460", 20) for number in range(1, 5)
    }
    assert len({(row["to"], row["udh"][2]) for row in rows}) == 20


async def test_node_is_asked_whether_it_lives_and_told_goodbye(open_sms, node):
    """Silence is asked about, split binds work, and closing unbinds each."""
    channel, heard = await open_sms(enquire_s=0.2, binds=1, receivers=1)
    await until(lambda: {"enquired": True} in node[1]())
    await channel.send(prepared(channel, "Hi"), to("3460", 3), lambda: True)
    await until(lambda: len(heard.told) == 3)
    await channel.close()
    await until(lambda: node[1]().count({"unbound": True}) == 2)
    assert not [row for row in node[1]() if "error" in row]


async def test_node_does_not_let_in_whom_it_does_not_know(open_sms):
    """A wrong password sends nothing."""
    channel, _ = await open_sms(password="wrong")
    (outcome,) = await channel.send(prepared(channel, "Hi"), to("3460", 1), lambda: True)
    assert (outcome.answer, outcome.reason) == (Answer.RETRY, Reason.CREDENTIALS)
