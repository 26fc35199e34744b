"""Replies, read from bytes that come in any pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.http1 import BODY_BYTES, ReplyReader

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 11\r\n\r\n{"name": 1}'
CHUNKED = (
    b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\nRetry-After:  9 \r\n\r\n"
    b"4;x=y\r\nWiki\r\nA\r\npedia\r\n\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 2\r\n\r\nok"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def read(reader, pieces):
    replies = [reader.feed(piece) for piece in pieces]
    assert all(reply is None for reply in replies[:-1])
    return replies[-1]


@pytest.mark.parametrize(
    ("raw", "status", "body", "keeps"),
    [
        (PLAIN, 200, b'{"name": 1}', True),
        (CHUNKED, 503, b"Wikipedia\r\n\r\n!", True),
        (INTERIM + PLAIN, 200, b'{"name": 1}', True),
        (CLOSING, 200, b"ok", False),
        (EMPTY, 204, b"", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
    ],
)
@given(data=st.data())
def test_a_reply_is_the_same_in_whatever_pieces_it_comes(raw, status, body, keeps, data):
    """Cut anywhere, also inside a line end, the reply is whole with its last byte and not before, and so is the next one."""
    reader = ReplyReader()
    for _ in range(2):
        cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=6)))
        pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
        reply = read(reader, pieces)
        assert (reply.status, reply.body) == (status, body)
        assert reader.keeps == keeps


def test_headers_are_found_by_their_name_in_lower_case():
    """Whatever case the server writes them in."""
    assert ReplyReader().feed(CHUNKED).headers["retry-after"] == "9"


def test_a_reply_may_last_until_the_connection_ends():
    """Without a length it is whole at the end, and the connection is no longer of use."""
    reader = ReplyReader()
    assert reader.feed(b"HTTP/1.1 502 Bad Gateway\r\nServer: x\r\n\r\n<html>") is None
    assert reader.feed(b"</html>") is None
    assert reader.end().body == b"<html></html>"
    assert not reader.keeps


def test_a_reply_cut_short_is_none():
    """Half a reply says nothing."""
    for raw in (PLAIN[:-1], CHUNKED[:-1], PLAIN[:20], b""):
        reader = ReplyReader()
        assert reader.feed(raw) is None
        assert reader.end() is None


def test_bytes_that_nobody_asked_for_end_the_connection():
    """What follows a reply could be taken for the next one's."""
    reader = ReplyReader()
    assert reader.feed(PLAIN + b"HTTP") is not None
    assert not reader.keeps


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES + 1),
        b"x" * 70_000,
    ],
)
def test_what_is_not_clearly_a_reply_is_none(raw):
    """Two lengths, none that is a number, another protocol: refused rather than guessed at."""
    with pytest.raises(ValueError, match=r"reply|protocols"):
        ReplyReader().feed(raw)
