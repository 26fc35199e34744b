"""HTTP/2 against an implementation nobody here wrote (the `h2` library as the server), bytes to bytes."""

import contextlib
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Answer, Outcome, Reason
from channels.http2_frames import Frame, encode_head, frame
from channels.http2_session import Http2Session
from channels.posting import LOST, NOT_HTTP, UNTAKEN, Reply

URL = urlsplit("https://fcm.example:8443/v1/projects/p/messages:send?x=%20")
HEADERS = {"Authorization": "Bearer " + "t" * 1_000, "Content-Type": "application/json"}
HEAD = encode_head(URL, HEADERS)
OK = [(":status", "200"), ("content-type", "application/json"), ("date", "Wed, 25 Nov 2026 00:00:00 GMT")]


class Peer:
    """The library as server, wired to a session."""

    def __init__(self, **settings):
        self.session = Http2Session()
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.server.initiate_connection()
        self.events = []
        self.answered = []
        self.turn()
        self.set(**settings)

    def set(self, **settings):
        """The server changes its mind."""
        self.server.update_settings({getattr(h2.settings.SettingCodes, k): v for k, v in settings.items()})
        self.turn()

    def turn(self):
        """Carry bytes both ways until nobody has any left."""
        while True:
            sent, came = self.session.take(), self.server.data_to_send()
            if not sent and not came:
                return
            if sent:
                self.events += self.server.receive_data(sent)
            if came:
                self.answered += self.session.feed(came)

    def post(self, body=b"{}", head=HEAD):
        number = self.session.post(head, body)
        self.turn()
        return number

    def bodies(self):
        found = {}
        for event in self.events:
            if isinstance(event, h2.events.DataReceived):
                found[event.stream_id] = found.get(event.stream_id, b"") + event.data
        return found

    def reply(self, number, headers=OK, body=b'{"name": "n"}'):
        self.server.send_headers(number, headers, end_stream=not body)
        for start in range(0, len(body), 16_000):
            self.server.send_data(number, body[start : start + 16_000], end_stream=start + 16_000 >= len(body))
        self.turn()


def test_requests_are_whole_and_headers_are_told_once():
    """The server sees every field of every request, though only the first spells them out."""
    peer = Peer()
    sizes = []
    for n in range(3):
        peer.session.post(HEAD, b"body %d" % n)
        out = peer.session.take()
        sizes.append(len(out))
        peer.events += peer.server.receive_data(out)
    requests = [event for event in peer.events if isinstance(event, h2.events.RequestReceived)]
    for request in requests:
        fields = dict(request.headers)
        assert fields[":method"] == "POST"
        assert fields[":path"] == "/v1/projects/p/messages:send?x=%20"
        assert fields[":authority"] == "fcm.example:8443"
        assert fields["authorization"] == HEADERS["Authorization"]
        assert fields["content-length"] == "6"
    assert list(peer.bodies().values()) == [b"body 0", b"body 1", b"body 2"]
    assert sizes[0] > 1_000
    assert sizes[1] == sizes[2] < 60


def test_each_request_may_have_a_path_of_its_own():
    """Where the URL has none: it is whole in each, at its place before all headers, and costs what the path has of letters."""
    peer = Peer()
    head = encode_head(urlsplit("https://push.example"), HEADERS)
    paths, sizes = ["/push/1", "/push/2?a=b%20c", "/"], []
    for path in paths:
        peer.session.post(head, b"{}", path)
        out = peer.session.take()
        sizes.append(len(out))
        peer.events += peer.server.receive_data(out)
    requests = [dict(event.headers) for event in peer.events if isinstance(event, h2.events.RequestReceived)]
    assert [request[":path"] for request in requests] == paths
    assert {request["authorization"] for request in requests} == {HEADERS["Authorization"]}
    assert sizes[0] > 1_000
    assert sizes[1] < 80


def test_a_new_token_is_told_to_the_server():
    """When the headers change, what the server kept of the old ones is not used."""
    peer = Peer()
    other = encode_head(URL, {**HEADERS, "Authorization": "Bearer other"})
    for head in (HEAD, other, other, HEAD):
        peer.post(head=head)
    tokens = [dict(e.headers)["authorization"] for e in peer.events if isinstance(e, h2.events.RequestReceived)]
    assert tokens == [HEADERS["Authorization"], "Bearer other", "Bearer other", HEADERS["Authorization"]]


def test_a_server_without_a_table_gets_the_fields_each_time():
    """SETTINGS_HEADER_TABLE_SIZE below what the headers need: nothing is taken as known."""
    peer = Peer(HEADER_TABLE_SIZE=0)
    for _ in range(2):
        peer.post()
    tokens = [dict(e.headers)["authorization"] for e in peer.events if isinstance(e, h2.events.RequestReceived)]
    assert tokens == [HEADERS["Authorization"]] * 2


@pytest.mark.parametrize(
    ("headers", "body", "reply"),
    [
        (OK, b'{"name": "n"}', Reply(200, {}, b'{"name": "n"}')),
        ([(":status", "201"), ("location", "/m/1")], b"", Reply(201, {}, b"")),
        ([(":status", "202"), ("link", "</r>")], b"", Reply(202, {"link": "</r>"}, b"")),
        ([(":status", "503"), ("retry-after", "9")], b"x" * 30_000, Reply(503, {"retry-after": "9"}, b"x" * 30_000)),
        ([(":status", "204")], b"", Reply(204, {}, b"")),
    ],
)
def test_replies_are_read(headers, body, reply):
    """A 200 and a 201 by their first bytes alone, every other with its headers."""
    peer = Peer()
    number = peer.post()
    peer.reply(number, headers, body)
    assert peer.answered == [(number, reply)]


@pytest.mark.parametrize("emptied", ["", "20"])
@pytest.mark.parametrize("status", ["4803323031", "0803323031", "1803323031", "48821003", "08821003", "18821003"])
def test_a_201_is_known_however_its_server_writes_it(status, emptied):
    """For the table, which is emptied before the first of a connection, or not; its digits plain or in Huffman's code."""
    peer, location = Peer(), hpack.Encoder().encode([("location", "/m/1")])
    number, block = peer.post(), bytes.fromhex(emptied + status) + location
    assert hpack.Decoder().decode(block) == [(":status", "201"), ("location", "/m/1")]
    assert peer.session.feed(frame(Frame.HEADERS, 5, number, block)) == [(number, Reply(201, {}, b""))]


def test_interim_replies_and_trailers_are_not_the_reply():
    """103 comes before, trailers after; the reply is what stands between."""
    peer = Peer()
    number = peer.post()
    peer.server.send_headers(number, [(":status", "103")])
    peer.server.send_headers(number, [(":status", "404")])
    peer.server.send_data(number, b"gone", pad_length=7)
    peer.server.send_headers(number, [("x-trailer", "1")], end_stream=True)
    peer.turn()
    assert peer.answered == [(number, Reply(404, {}, b"gone"))]


def test_replies_come_in_any_order_and_any_number():
    """Each answer finds its own request."""
    peer = Peer()
    numbers = [peer.post(b"%d" % n) for n in range(50)]
    for number in reversed(numbers):
        peer.reply(number, body=b"for %d" % number)
    assert [(n, r.body) for n, r in peer.answered] == [(n, b"for %d" % n) for n in reversed(numbers)]


def test_refused_streams_were_not_looked_at_and_reset_ones_may_have_been():
    """REFUSED_STREAM is safe to send again (RFC 9113 section 8.7); any other reset is not known."""
    peer = Peer()
    refused, reset = peer.post(), peer.post()
    peer.server.reset_stream(refused, 7)
    peer.server.reset_stream(reset, 2)
    peer.turn()
    assert peer.answered == [(refused, UNTAKEN), (reset, LOST)]
    assert peer.session.room > 0


def test_a_farewell_tells_which_were_looked_at():
    """GOAWAY: what is above its last stream was not looked at, what is below is still answered, and nothing new begins."""
    peer = Peer()
    first, second = peer.post(), peer.post()
    peer.answered += peer.session.feed(frame(Frame.GOAWAY, 0, 0, first.to_bytes(4, "big") + bytes(4)))
    assert peer.answered == [(second, UNTAKEN)]
    assert peer.session.leaving
    assert peer.session.room == 0
    peer.session.feed(peer.server.data_to_send())
    peer.server.send_headers(first, OK, end_stream=True)
    assert peer.session.feed(peer.server.data_to_send()) == [(first, Reply(200, {}, b""))]


def test_the_connection_ends_and_what_was_written_is_not_known():
    """Whoever was asked for and not answered may have been told."""
    peer = Peer()
    number = peer.post()
    assert peer.session.end() == [(number, LOST)]


def test_what_was_not_sent_whole_cannot_have_been_taken():
    """The rest of a body waits for a window when the stream is reset or the connection ends: it may be tried again."""
    again = Outcome(Answer.RETRY, Reason.CONNECTION)
    for ends in (
        lambda peer, number: peer.server.reset_stream(number, 2),
        lambda peer, _: peer.answered.extend(peer.session.end()),
    ):
        peer = Peer(INITIAL_WINDOW_SIZE=3)
        number = peer.post(b"12345")
        ends(peer, number)
        peer.turn()
        assert peer.answered == [(number, again)]


def test_no_more_streams_than_the_server_allows():
    """MAX_CONCURRENT_STREAMS counts what is open, also when it shrinks on the way."""
    peer = Peer(MAX_CONCURRENT_STREAMS=3)
    numbers = [peer.post() for _ in range(3)]
    assert peer.session.room == 0
    peer.set(MAX_CONCURRENT_STREAMS=1)
    peer.reply(numbers[0])
    assert peer.session.room == 0
    for number in numbers[1:]:
        peer.reply(number)
    assert peer.session.room == 1


def test_a_slow_reader_is_never_sent_more_than_it_allows():
    """Bodies wait for the windows, in pieces; meanwhile nothing new begins, and every byte arrives in the end."""
    peer = Peer(INITIAL_WINDOW_SIZE=1_000)
    body = bytes(range(256)) * 16
    number = peer.post(body)
    assert len(peer.bodies()[number]) == 1_000
    assert peer.session.room == 0
    peer.set(INITIAL_WINDOW_SIZE=10)  # the window of the stream is negative now
    for _ in range(10):
        peer.server.increment_flow_control_window(500, number)
        peer.turn()
    assert peer.bodies()[number] == body
    assert peer.session.room > 0


def test_many_large_bodies_share_the_connection_window():
    """64 KiB for all, until the server grants more."""
    peer = Peer(INITIAL_WINDOW_SIZE=1 << 20)
    numbers = []
    while peer.session.room:
        numbers.append(peer.post(b"x" * 4_000))
    assert sum(map(len, peer.bodies().values())) == 65_535
    for _ in range(4):
        peer.server.increment_flow_control_window(60_000)
        peer.turn()
    assert all(len(peer.bodies()[number]) == 4_000 for number in numbers)


def test_the_server_may_send_for_ever():
    """What was read is given back to the server, so that its window never ends."""
    peer = Peer()
    for _ in range(40):
        number = peer.post()
        peer.server.send_headers(number, OK)
        for _ in range(10):
            peer.server.send_data(number, b"x" * 10_000)
            peer.turn()
        peer.server.end_stream(number)
        peer.turn()
    assert len(peer.answered) == 40


def test_a_cancelled_stream_is_answered_to_nobody():
    """A late reply to it is dropped, and the connection goes on."""
    peer = Peer()
    number = peer.post()
    late = Peer.reply
    peer.server.send_headers(number, OK)
    peer.server.send_data(number, b"late", end_stream=True)
    peer.session.cancel(number)
    peer.answered += peer.session.feed(peer.server.data_to_send())
    assert peer.answered == []
    other = peer.session.post(HEAD, b"{}")
    peer.server.receive_data(peer.session.take())
    late(peer, other)
    assert [n for n, _ in peer.answered] == [other]


def test_a_ping_is_answered():
    """So that the server knows that we live."""
    peer = Peer()
    peer.server.ping(b"12345678")
    peer.turn()
    assert any(isinstance(event, h2.events.PingAckReceived) for event in peer.events)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frame(Frame.DATA, 0, 1, b"x" * 20_000)[:9],
        frame(Frame.PUSH_PROMISE, 4, 1, bytes(8)),
        frame(Frame.SETTINGS, 0, 0, b"12345"),
        frame(Frame.GOAWAY, 0, 0, b"1"),
        frame(Frame.CONTINUATION, 4, 1, b"\x88"),
        frame(Frame.HEADERS, 0, 1, b"\x88") + frame(Frame.PING, 0, 0, bytes(8)),
        frame(Frame.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff"),
        frame(Frame.DATA, 8, 1, b"\x05abc"),
        frame(Frame.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
        b"".join([frame(Frame.HEADERS, 0, 1, b"x" * 16_000), *[frame(Frame.CONTINUATION, 0, 1, b"x" * 16_000)] * 5]),
    ],
)
def test_what_is_not_http2_ends_the_connection(raw):
    """A broken frame is the connection's fault, told as a ValueError."""
    peer = Peer()
    peer.post()
    with pytest.raises(ValueError, match=r"."):
        peer.session.feed(raw)


def test_a_body_without_a_head_or_without_end_is_garbage():
    """DATA before HEADERS, and a body that does not stop: that stream is given up, the others are not."""
    peer = Peer()
    headless, endless = peer.post(), peer.post()
    assert peer.session.feed(frame(Frame.DATA, 0, headless, b"x")) == [(headless, NOT_HTTP)]
    peer.session.feed(frame(Frame.HEADERS, 4, endless, b"\x88"))
    answered = [a for _ in range(80) for a in peer.session.feed(frame(Frame.DATA, 0, endless, b"x" * 16_000))]
    assert answered == [(endless, Outcome(Answer.UNKNOWN, Reason.GARBAGE))]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    """Whatever comes, there is an answer or a ValueError, nothing else."""
    peer = Peer()
    peer.post()
    with contextlib.suppress(ValueError):
        peer.session.feed(raw)


@given(data=st.data())
def test_frames_may_come_in_any_pieces(data):
    """Cut anywhere, the replies are the same."""
    peer = Peer()
    numbers = [peer.post() for _ in range(3)]
    for number in numbers:
        peer.server.send_headers(number, [(":status", "429"), ("retry-after", "1")])
        peer.server.send_data(number, b"slow down", end_stream=True)
    raw, answered = peer.server.data_to_send(), []
    while raw:
        size = data.draw(st.integers(1, len(raw)))
        answered += peer.session.feed(raw[:size])
        raw = raw[size:]
    assert answered == [(number, Reply(429, {"retry-after": "1"}, b"slow down")) for number in numbers]


@pytest.mark.parametrize("value", ["a\r\nb", "ü", "x" * 20_000])
def test_headers_that_cannot_be_are_refused(value):
    """A line break, what is not ASCII, or more than one frame holds."""
    with pytest.raises(ValueError, match="header"):
        encode_head(URL, {"Authorization": value})
