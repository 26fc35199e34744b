"""The wire of SMPP: what is written can be read, and what cannot be read is one kind of error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.smpp.message import ALPHABET, EXTENSION, MOST_PARTS, code, decode_text, header
from channels.smpp.pdu import (
    HEADER,
    LAYOUTS,
    LONGEST_PDU,
    TAG_SIZES,
    Command,
    Frames,
    Pdu,
    PduError,
    Status,
    Tag,
    decode,
    encode,
    tlv,
)
from channels.text import GSM_BASIC, GSM_EXTENSION, Coding, divided, segments


def values(size):
    if size == 0:
        return st.integers(0, 255)
    if size < 0:
        return st.binary(max_size=254)
    return st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=size - 1)


def tlvs():
    known = [st.tuples(st.just(tag), st.binary(min_size=a, max_size=b)) for tag, (a, b) in TAG_SIZES.items()]
    others = st.tuples(st.integers(0x1400, 0x3FFF), st.binary(max_size=300))
    return st.lists(st.one_of(*known, others), max_size=4).map(dict)


@st.composite
def pdus(draw):
    command = draw(st.sampled_from(sorted(LAYOUTS)))
    fields = {name: draw(values(size)) for name, size in LAYOUTS[command]}
    return Pdu(command, draw(st.integers(0, 0xFFFFFFFF)), 0, fields, draw(tlvs()))


@given(pdus())
def test_what_is_written_can_be_read(pdu):
    """Every command, field and parameter survives the way there and back."""
    assert decode(encode(pdu)) == Pdu(pdu.command, pdu.sequence, 0, pdu.fields, pdu.tlvs)


def test_the_octets_are_those_of_the_standard():
    """Written out by hand from SMPP 3.4 sections 4.4.1 and 5.2, so that not only we can read what we write."""
    fields = {
        "source_addr_ton": 3,
        "source_addr": "12",
        "dest_addr_ton": 1,
        "dest_addr_npi": 1,
        "destination_addr": "34600000001",
        "registered_delivery": 1,
        "short_message": b"Hi",
    }
    frame = encode(Pdu(Command.SUBMIT_SM, 7, fields=fields))
    body = bytes.fromhex("00 0300313200 0101333436303030303030303100 000000 00 00 01000000 02 4869".replace(" ", ""))
    assert frame == HEADER.pack(16 + len(body), 4, 0, 7) + body
    assert encode(Pdu(Command.ENQUIRE_LINK, 1)) == bytes.fromhex("00000010000000150000000000000001")


@given(st.binary(max_size=400))
def test_garbage_is_an_error_of_one_kind(octets):
    """Whatever follows an honest header is read or refused, and nothing else is ever raised."""
    for command in LAYOUTS:
        assert _header(HEADER.pack(16 + len(octets), command, 0, 1) + octets) == (command, 1)


def _header(frame):
    try:
        pdu = decode(frame)
    except PduError as error:
        return error.command, error.sequence
    return pdu.command, pdu.sequence


@given(st.lists(pdus(), max_size=6), st.data())
def test_frames_are_found_however_they_arrive(sent, data):
    """Cut anywhere, octet by octet or all at once, the same frames come out, in order."""
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames = Frames()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found = [frame for piece in pieces for frame in frames.feed(piece)]
    assert found == [encode(pdu) for pdu in sent]
    assert not frames.half


@pytest.mark.parametrize("length", [0, 15, LONGEST_PDU + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_refused_at_once(length):
    """An oversized unit is not waited for, nor is room made for it; the whole one before it is read."""
    frames = Frames()
    whole = encode(Pdu(Command.ENQUIRE_LINK, 1))
    feeding = frames.feed(whole + HEADER.pack(length, Command.DELIVER_SM, 0, 9))
    assert next(feeding) == whole
    with pytest.raises(PduError) as caught:
        next(feeding)
    assert (caught.value.status, caught.value.sequence) == (Status.INVALID_COMMAND_LENGTH, 9)


def test_the_largest_payload_fits():
    """64 KiB less one in a parameter is within the limit."""
    pdu = Pdu(Command.DELIVER_SM, 1, tlvs={Tag.MESSAGE_PAYLOAD: b"x" * 0xFFFF})
    (frame,) = Frames().feed(encode(pdu))
    assert len(decode(frame).message) == 0xFFFF


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"no end", Status.INVALID_COMMAND_LENGTH),
        (b"x" * 65 + b"\0", Status.INVALID_COMMAND_LENGTH),
    ],
)
def test_a_damaged_body_says_what_is_wrong(body, status):
    """The status is the one that the standard has for it."""
    with pytest.raises(PduError) as caught:
        decode(HEADER.pack(16 + len(body), Command.SUBMIT_SM_RESP, 0, 3) + body)
    assert caught.value.status is status


@pytest.mark.parametrize(
    "damaged", [b"\x00\x1e", tlv(Tag.RECEIPTED_MESSAGE_ID, b"abc")[:-1], tlv(Tag.MESSAGE_STATE, b"ab")]
)
def test_a_damaged_parameter_costs_nothing_but_itself(damaged):
    """An answer, a receipt and a STOP are read all the same, and what stands before it."""
    body = b"id\0" + tlv(Tag.NETWORK_ERROR_CODE, b"abc") + damaged
    pdu = decode(HEADER.pack(16 + len(body), Command.SUBMIT_SM_RESP, 0, 3) + body)
    assert (pdu.text("message_id"), pdu.tlvs) == ("id", {Tag.NETWORK_ERROR_CODE: b"abc"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("message_id", "x" * 65), ("message_id", "a\0b"), ("message_id", 7), ("esm_class", 256), ("esm_class", "1")],
)
def test_a_value_that_does_not_fit_is_never_written(name, value):
    """Too long, with an end in its middle, or of another kind."""
    command = Command.SUBMIT_SM_RESP if name == "message_id" else Command.SUBMIT_SM
    with pytest.raises(ValueError, match=r"fit|range"):
        encode(Pdu(command, 1, fields={name: value}))


def test_the_alphabet_is_the_one_that_segments_are_counted_in():
    """Both tables of GSM 03.38 agree, one octet a place."""
    assert len(ALPHABET) == 128
    assert frozenset(ALPHABET) - {"\x1b"} == GSM_BASIC
    assert frozenset(EXTENSION.values()) == GSM_EXTENSION
    assert (ALPHABET[0x00], ALPHABET[0x24], ALPHABET[0x40], ALPHABET[0x60], ALPHABET[0x7F]) == tuple("@¤¡¿à")


@given(st.text(st.sampled_from(sorted(GSM_BASIC | GSM_EXTENSION)) | st.characters(), max_size=700))
def test_a_text_is_cut_into_as_many_parts_as_are_paid_for(text):
    """Parts hold the whole text, are no longer than a segment with its header, and are as many as `segments` counts."""
    text = text.encode("utf-16", "ignore").decode("utf-16")
    encoding, pieces = divided(text)
    coded = code(Coding(encoding, None, False, text, tuple(pieces)))
    assert len(coded.parts) == segments(text)[1]
    assert "".join(decode_text(part, coded.data_coding, 0) for part in coded.parts) == text
    widest = {(0, True): 160, (0, False): 153, (8, True): 140, (8, False): 134}
    assert all(len(part) <= widest[coded.data_coding, len(coded.parts) == 1] for part in coded.parts)


def test_a_header_of_parts_is_skipped_when_read():
    """What people write in more than one part begins with octets that are no letters."""
    assert header(9, MOST_PARTS, 1) == bytes((5, 0, 3, 9, 20, 1))
    assert decode_text(header(9, 2, 1) + b"STOP", 0, 0x40) == "STOP"
    assert decode_text(header(9, 2, 1) + "СТОП".encode("utf-16-be"), 8, 0x40) == "СТОП"


@given(st.binary(max_size=60), st.integers(0, 255), st.integers(0, 255))
def test_whatever_people_send_is_a_text(octets, data_coding, esm_class):
    """Reading never fails."""
    assert isinstance(decode_text(octets, data_coding, esm_class), str)
