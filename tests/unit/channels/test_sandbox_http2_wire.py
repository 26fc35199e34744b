"""The sandbox's HTTP/2 against a client that nobody here wrote (the `h2` library), bytes to bytes."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack

from channels.http2_frames import END_HEADERS, END_STREAM, STREAMS, Frame, frame
from channels.sandbox.http2_wire import Heads, Http2Wire
from channels.sandbox.http_wire import Late, Reply

HEAD = [(":method", "POST"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x")]
OURS = h2.settings.SettingCodes


class Pair:
    """A client wired to a connection of the sandbox, which answers what it was sent."""

    def __init__(self, latency_s=0.0):
        self.got, self.gone, self.events, self.held = [], False, [], bytearray()
        self.answer = lambda request: Reply(200, request.body)
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.client.initiate_connection()
        self.wire = Http2Wire(self._serve, set(), latency_s)
        self.wire.connection_made(self)

    def _serve(self, request):
        self.got.append(request)
        return self.answer(request)

    def write(self, data):
        self.held += data

    def abort(self):
        self.gone = True

    def turn(self):
        """Carry bytes both ways until nobody has any left."""
        while not self.gone:
            out, came, self.held = self.client.data_to_send(), bytes(self.held), bytearray()
            if not out and not came:
                return
            self.wire.data_received(out)
            self.events += self.client.receive_data(came)

    def post(self, body=b"{}", **more):
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, HEAD)
        self.client.send_data(number, body, end_stream=True, **more)
        return number

    def bodies(self):
        found = {}
        for event in self.events:
            if isinstance(event, h2.events.DataReceived):
                found[event.stream_id] = found.get(event.stream_id, b"") + event.data
        return found

    def resets(self):
        return {one.stream_id: one.error_code for one in self.events if isinstance(one, h2.events.StreamReset)}


async def test_a_client_without_a_table_can_read_the_answers():
    """Who allows a smaller table hears at the next head that it is smaller (RFC 7541 section 4.2), or could read none."""
    pair = Pair()
    pair.client.update_settings({OURS.HEADER_TABLE_SIZE: 0})
    pair.turn()
    sent = [pair.post(), pair.post()]
    pair.turn()
    assert pair.bodies() == dict.fromkeys(sent, b"{}")


async def test_trailers_end_a_request():
    """They are no request of their own (RFC 9113 section 8.1), and its head and body stay."""
    pair = Pair()
    pair.client.send_headers(1, HEAD)
    pair.client.send_data(1, b"body")
    pair.client.send_headers(1, [("x-checked", "1")], end_stream=True)
    pair.turn()
    assert [(one.line, one.body) for one in pair.got] == [(b"POST /x HTTP/2", b"body")]
    assert pair.bodies() == {1: b"body"}


async def test_trailers_of_a_request_that_was_reset_are_nobodys():
    """They were on their way."""
    pair = Pair()
    pair.answer = lambda _: Late(None, 0.0)
    pair.post()
    pair.turn()
    await asyncio.sleep(0.01)
    encoder = pair.client.encoder
    pair.wire.data_received(frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1, encoder.encode([("x-checked", "1")])))
    assert (len(pair.got), pair.gone) == (1, False)


async def test_padding_is_taken_off():
    """It counts for the windows, and is no part of the body: what a request may send it may pad."""
    pair = Pair()
    sent = pair.post(b"body", pad_length=200)
    pair.turn()
    assert pair.bodies() == {sent: b"body"}


async def test_a_window_full_of_padding_is_no_silence():
    """A request that has sent all that it may, most of it padding, is reset: it would wait for leave that never comes."""
    pair = Pair()
    pair.turn()
    pair.client.send_headers(1, HEAD)
    while not pair.resets() and pair.client.local_flow_control_window(1) > 256:
        pair.client.send_data(1, b"x", pad_length=255)
        pair.turn()
    pair.client.send_data(1, b"x" * pair.client.local_flow_control_window(1))
    pair.turn()
    assert list(pair.resets()) == [1]


async def test_a_frame_that_is_all_padding_ends_the_connection():
    """Its length is a lie."""
    pair = Pair()
    pair.client.send_headers(1, HEAD)
    pair.turn()
    pair.wire.data_received(frame(Frame.DATA, 0x8 | END_STREAM, 1, bytes([9, 1, 2])))
    assert pair.gone


async def test_more_at_a_time_than_are_taken_are_refused_and_the_others_answered():
    """A client that has not heard of the limit may go beyond it: those can be sent again, and the connection goes on."""
    pair = Pair()
    pair.answer = lambda request: Late(Reply(200, request.body), 0.01)
    pair.client.remote_settings[OURS.MAX_CONCURRENT_STREAMS] = 1_000
    pair.client.remote_settings.acknowledge()
    sent = [pair.post() for _ in range(STREAMS + 2)]
    pair.wire.data_received(pair.client.data_to_send())
    await asyncio.sleep(0.05)
    pair.turn()
    assert pair.resets() == dict.fromkeys(sent[STREAMS:], 7)
    assert set(pair.bodies()) == set(sent[:STREAMS])
    assert len(pair.got) == STREAMS


async def test_nothing_of_an_answer_overtakes_its_head():
    """Where all is written later, what a free transport asks for comes after what was written before."""
    pair = Pair(latency_s=0.02)
    pair.answer = lambda _: Reply(200, b"x" * 50_000)
    pair.wire.pause_writing()
    pair.post()
    pair.wire.data_received(pair.client.data_to_send())
    pair.wire.resume_writing()
    for _ in range(10):
        await asyncio.sleep(0.01)
        pair.turn()
    assert pair.bodies() == {1: b"x" * 50_000}


def test_a_block_means_what_the_table_says_now():
    """An entry that is told again is one more entry: what stood behind it has moved."""
    heads, table = Heads(), hpack.Decoder()
    big = [(b"x-one", b"1" * 1_950), (b"x-two", b"2" * 1_950)]
    encoder = hpack.Encoder()
    add = [encoder.encode([one], huffman=False) for one in big]
    newest, older = b"\xbe", b"\xbf"
    for block in (add[0], add[1], newest, older, add[1], newest, older, b"\x20", b"\x3f\xe1\x1f", add[0], newest):
        expected = b"".join(b"\r\n%b: %b" % field for field in table.decode(block, raw=True)) + b"\r\n"
        assert heads.decode(block)[1] == expected


def test_blocks_that_never_come_again_are_not_kept():
    """A client may spell a length or an id out in every head."""
    heads = Heads()
    for n in range(3_000):
        heads.decode(b"\x00\x03x-n" + bytes([4]) + b"%04d" % n)
    assert len(heads._known) <= 1_000
