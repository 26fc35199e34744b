"""What receipts say and whose they are; how a message is written for one account."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Loudness, Reason, Recipient, SmsMessage, Stamp
from channels.smpp import message
from channels.smpp.message import LONGEST_VALIDITY_S, Writer
from channels.smpp.pdu import HEADER, Command, Pdu, Tag, decode
from channels.smpp.receipts import Receipt, ReceiptMatcher, Report, is_receipt, parse_receipt
from channels.sms_answers import SmsState
from channels.text import SmsSettings
from tests.contract.smpp_parties import centre_settings

DELIVERED, FAILED, ACCEPTED = SmsState.DELIVERED, SmsState.FAILED, SmsState.ACCEPTED


def receipt(text="", message_id=None, state=None):
    tlvs = {Tag.RECEIPTED_MESSAGE_ID: message_id} if message_id is not None else {}
    if state is not None:
        tlvs[Tag.MESSAGE_STATE] = bytes((state,))
    return Pdu(Command.DELIVER_SM, 1, fields={"esm_class": 4, "short_message": text.encode()}, tlvs=tlvs)


@pytest.mark.parametrize(
    ("pdu", "form", "expected"),
    [
        (receipt("id:0a1F sub:001 stat:DELIVRD err:000 text:x"), "same", Receipt(("a1f",), DELIVERED)),
        (receipt("ID: 12 STAT: delivered"), "same", Receipt(("12",), DELIVERED)),
        (receipt("id:12 stat:UNDELIV err:1"), "same", Receipt(("12",), FAILED, Reason.UNAVAILABLE)),
        (receipt("id:12 stat:EXPIRED"), "same", Receipt(("12",), FAILED, Reason.TIMEOUT)),
        (receipt("id:12 stat:REJECTD"), "same", Receipt(("12",), FAILED, Reason.BLOCKED)),
        (receipt("id:12 stat:ACCEPTD"), "same", Receipt(("12",), ACCEPTED)),
        (receipt("id:12 stat:UNKNOWN"), "same", Receipt(("12",), ACCEPTED)),
        (receipt("id:0000000026 stat:DELIVRD"), "hex-then-decimal", Receipt(("1a",), DELIVERED)),
        (receipt("id:001A stat:DELIVRD"), "decimal-then-hex", Receipt(("26",), DELIVERED)),
        (receipt("id:x-y stat:DELIVRD"), "decimal-then-hex", Receipt(("x-y",), DELIVERED)),
        (receipt(message_id=b"1A\0", state=2), "hex-then-decimal", Receipt(("1a",), DELIVERED)),
        (receipt("id:26 stat:DELIVRD", b"1a\0", 5), "hex-then-decimal", Receipt(("1a",), FAILED, Reason.UNAVAILABLE)),
        (receipt("id:26 stat:DELIVRD", b"26\0"), "hex-then-decimal", Receipt(("1a",), DELIVERED)),
        (receipt("id:0026 stat:DELIVRD", b"26\0"), "hex-then-decimal", Receipt(("1a",), DELIVERED)),
        (receipt("id:99 stat:DELIVRD", b"1a\0"), "same", Receipt(("1a", "99"), DELIVERED)),
        (receipt("id:0 stat:DELIVRD"), "same", Receipt(("0",), DELIVERED)),
        (receipt("id:12 stat:DELIVRD text:id:99 stat:UNDELIV"), "same", Receipt(("12",), DELIVERED)),
        (receipt("id:12"), "same", None),
        (receipt("stat:DELIVRD"), "same", None),
        (receipt("id:12 stat:PERHAPS"), "same", None),
        (receipt(message_id=b"12", state=99), "same", None),
        (receipt(), "same", None),
    ],
)
def test_receipts_are_read(pdu, form, expected):
    """In text or parameters, in the carrier's form of an id; what says nothing is None."""
    assert parse_receipt(pdu, form) == expected


@given(st.binary(max_size=254), st.binary(min_size=1, max_size=65), st.integers(0, 255))
def test_whatever_a_receipt_holds_is_read_or_is_none(text, message_id, state):
    """Reading never fails."""
    tlvs = {Tag.RECEIPTED_MESSAGE_ID: message_id, Tag.MESSAGE_STATE: bytes((state,))}
    for form in ("same", "hex-then-decimal", "decimal-then-hex"):
        for parameters in ({}, tlvs):
            got = parse_receipt(Pdu(5, 1, fields={"esm_class": 4, "short_message": text}, tlvs=parameters), form)
            assert got is None or got.ids


def test_people_cannot_write_receipts():
    """A text in the form of one is a text, unless the centre says that it is none."""
    text = {"short_message": b"id:12 stat:DELIVRD"}
    assert not is_receipt(Pdu(Command.DELIVER_SM, 1, fields=text))
    assert not is_receipt(Pdu(Command.DELIVER_SM, 1, fields={**text, "esm_class": 0x40}))
    assert is_receipt(Pdu(Command.DELIVER_SM, 1, fields={**text, "esm_class": 0x44}))
    assert is_receipt(Pdu(Command.DELIVER_SM, 1, tlvs={Tag.RECEIPTED_MESSAGE_ID: b"1"}))


@given(st.permutations(["sent", "accepted", "failed", "delivered", "delivered"]))
def test_in_whatever_order_delivered_is_told_once_and_last(order):
    """Receipts before the answer, twice, contradicting: the caller hears each end once, and delivered stands."""
    known = ReceiptMatcher(lambda: 0.0)
    told = []
    for what in order:
        if what == "sent":
            told += known.sent("tag", ["00AB"])
        else:
            told += known.take(Receipt(("ab",), SmsState[what.upper()]))
    states = [report.state for report in told]
    early = order[: order.index("sent")]
    first_early = next((what for what in early if what != "accepted"), None)
    assert states.count(DELIVERED) <= 1
    assert states.count(FAILED) <= 1
    if first_early != "failed" or "delivered" in order[order.index("sent") :]:
        assert states[-1] is DELIVERED
    assert {report.tag for report in told} == {"tag"}


def test_a_receipt_for_nobody_is_told_without_a_tag_after_a_while():
    """It may be of a message that was sent from another process: the caller may know its id."""
    now = itertools.count(0, 6)
    known = ReceiptMatcher(lambda: next(now), patience_s=10)
    for _ in range(1000):
        known.take(Receipt(("7",), FAILED, Reason.TIMEOUT))
        known._now = lambda: 5.0
    assert known.strays() == []
    known._now = lambda: 11.0
    assert known.strays() == [Report(None, "7", FAILED, Reason.TIMEOUT)]
    assert known.strays() == []


def test_a_receipt_under_two_names_finds_its_message_by_either():
    """The parameter and the text may differ, and only one of them is the answer's; it is told once."""
    known = ReceiptMatcher(lambda: 0.0, patience_s=-1)
    assert known.take(Receipt(("1", "2"), DELIVERED)) == []
    assert known.sent("tag", ["2"]) == [Report("tag", "2", DELIVERED, Reason.NONE)]
    assert known.strays() == []


def test_an_id_of_two_messages_is_nobody_s():
    """A centre that answers all with 0: nobody is told of another's end, whether the first was told of or not."""
    known = ReceiptMatcher(lambda: 0.0)
    for tag in ("ana", "bob", "eva"):
        known.sent(tag, ["0"])
    assert [known.take(Receipt(("0",), state)) for state in (FAILED, DELIVERED, FAILED)] == [[], [], []]
    known.sent("ana", ["1"])
    assert [report.tag for report in known.take(Receipt(("1",), DELIVERED))] == ["ana"]
    known.sent("bob", ["1"])
    assert known.take(Receipt(("1",), FAILED, Reason.GONE)) == []
    assert known.strays() == []


def test_a_number_that_comes_again_after_a_day_is_the_new_message_s():
    """Centres begin their numbers anew, and a message is over by then; one that was sent again is still the same."""
    times_s = iter((0.0, 10.0, 90_000.0))
    known = ReceiptMatcher(lambda: next(times_s))
    for tag in ("ana", "ana", "bob"):
        known.sent(tag, ["1"])
    assert [report.tag for report in known.take(Receipt(("1",), DELIVERED))] == ["bob"]


def test_memory_has_an_end():
    """The oldest are forgotten, never more than half at a time, and receipts for nobody take no more room than the rest."""
    known = ReceiptMatcher(lambda: 0.0, remember=100)
    for n in range(1, 1000):
        known.sent(f"tag{n}", [str(n)])
        known.take(Receipt((f"x{n}",), DELIVERED))
        known.strays()
    assert len(known._new) + len(known._old) <= 100
    assert len(known._early) <= 51
    assert [report.tag for report in known.take(Receipt(("950",), DELIVERED))] == ["tag950"]
    assert known.take(Receipt(("1",), DELIVERED)) == []


ACCOUNT = centre_settings(host="127.0.0.1", tls=False, system_id="me", password="secret", sender="ALERTS")


def written(settings, text="Hi", expires_s=1000, now_s=900.0, address="+34600000001"):
    stamp = Stamp(chain="c", version="v", sent_s=0, expires_s=expires_s, loudness=Loudness.LOUD, language="es")
    prepared = message.prepare(SmsMessage(stamp=stamp, text=text), SmsSettings())
    writer = Writer(settings)
    bodies = [writer.to(Recipient(address, "t", is_new=True)) + tail for tail in writer.tails(prepared.payload, now_s)]
    return [decode(HEADER.pack(16 + len(body), Command.SUBMIT_SM, 0, 1) + body) for body in bodies]


@pytest.mark.parametrize(
    ("sender", "numbering"), [("ALERTS", (5, 0)), ("12345", (3, 0)), ("+34911234567", (1, 1)), ("112", (3, 0))]
)
def test_the_sender_is_numbered_by_what_it_is(sender, numbering):
    """Letters, a short number, an E.164 number: carriers refuse the wrong type."""
    (one,) = written(replace(ACCOUNT, sender=sender))
    assert (one.number("source_addr_ton"), one.number("source_addr_npi")) == numbering
    assert one.text("source_addr") == sender.removeprefix("+")
    (other,) = written(replace(ACCOUNT, sender=sender, sender_numbering=(0, 0)), address="112")
    assert (other.number("source_addr_ton"), other.number("dest_addr_ton")) == (0, 3)


@pytest.mark.parametrize(
    ("validity", "left_s", "expected"),
    [
        ("relative", 3661, "000000010101000R"),
        ("relative", 86_400 + 5, "000001000005000R"),
        ("relative", -5, "000000000001000R"),
        ("relative", 10**9, "000002000000000R"),
        ("absolute", 3600, "700101010000000+"),
        ("none", 3600, ""),
    ],
)
def test_a_message_is_worth_nothing_after_its_alert(validity, left_s, expected):
    """Section 7.1.1; bounded, because a centre refuses what it calls too long."""
    (one,) = written(replace(ACCOUNT, validity=validity), expires_s=left_s, now_s=0.0)
    assert one.text("validity_period") == expected
    assert LONGEST_VALIDITY_S == 2 * 86_400


def test_a_second_try_has_parts_of_its_own():
    """Else a phone would make one text of the parts of two tries."""
    writer = Writer(ACCOUNT)
    stamp = Stamp(chain="c", version="v", sent_s=0, expires_s=9, loudness=Loudness.LOUD, language="es")
    payload = message.prepare(SmsMessage(stamp=stamp, text="a" * 200), SmsSettings()).payload
    assert writer.tails(payload, 0.0) != writer.tails(payload, 0.0)


@pytest.mark.parametrize("text", ["", "x" * 153 * 21])
def test_what_no_centre_takes_is_refused_at_once(text):
    """Before anybody is sent anything."""
    stamp = Stamp(chain="c", version="v", sent_s=0, expires_s=9, loudness=Loudness.LOUD, language="es")
    with pytest.raises(ValueError, match="segments"):
        message.prepare(SmsMessage(stamp=stamp, text=text), SmsSettings())


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "smsc.example"},
        {"session": replace(ACCOUNT.session, window=0)},
        {"binds": 0},
        {"receivers": -1},
        {"session": replace(ACCOUNT.session, system_id="x" * 16)},
        {"sender": "é\0"},
    ],
)
def test_settings_that_cannot_work_are_refused(changes):
    """Plain text beyond this machine unless it is allowed; nothing that could never send."""
    with pytest.raises(ValueError, match=r"SMS|does not fit"):
        replace(ACCOUNT, **changes)
    assert replace(ACCOUNT, host="smsc.example", plain_allowed=True).roles == ("transceiver",)
    assert replace(ACCOUNT, binds=2, receivers=1).roles == ("transmitter", "transmitter", "receiver")
    assert "secret" not in repr(ACCOUNT)
