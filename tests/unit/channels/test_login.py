"""What a failed connection or login means, and that its words give no secret and no person away."""

from __future__ import annotations

import socket
import ssl

import pytest

from channels.base import Answer, Outcome, Reason
from channels.login import LoginState, clean, fault_of, words_of_reply


def wrapped(error: Exception) -> Exception:
    """As libraries do."""
    outer = ConnectionError("cannot connect")
    outer.__cause__ = error
    return outer


REFUSED = "[Errno 111] Connect call failed"
MULTIPLE = f"Multiple exceptions: {REFUSED} ('::1', 1), {REFUSED} ('127.0.0.1', 1)"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ConnectionRefusedError(111, "refused"), LoginState.CONNECTION_REFUSED),
        (OSError(MULTIPLE), LoginState.CONNECTION_REFUSED),
        (socket.gaierror(-2, "Name or service not known"), LoginState.NAME_NOT_FOUND),
        (TimeoutError(), LoginState.TIMED_OUT),
        (ssl.SSLCertVerificationError("bad"), LoginState.CERTIFICATE_REFUSED),
        (ssl.SSLError("wrong"), LoginState.NO_TLS),
        (OSError(113, "No route to host"), LoginState.UNREACHABLE),
        (ConnectionResetError(104, "reset"), LoginState.UNREACHABLE),
    ],
)
def test_what_the_system_says_decides(error: Exception, state: LoginState):
    """However deep a library hides it."""
    for one in (error, wrapped(error)):
        found = fault_of(one, "mx.example:587", 5.0)
        assert (found.state, found.server) == (state, "mx.example:587")


def test_a_reset_in_a_tls_handshake_says_that_the_port_speaks_none():
    """A server that speaks no TLS closes the connection at the first byte."""
    assert fault_of(ConnectionResetError(), "a:1", 5.0, tls=True).state is LoginState.NO_TLS


def test_a_time_out_says_how_long():
    """So that a person knows whether a slow server was given enough time."""
    assert fault_of(TimeoutError(), "a:1", 2.5).said == "2.5 s"


def test_words_of_a_carrier_hold_no_person_and_no_secret():
    """They go into logs, answers and screens."""
    said = "535 5.7.8 alerts@centre.example: +34600000001 600-000-001 \r\n token " + "a1_" * 20 + " pass-word refused."
    assert clean(said, "pass-word") == "535 5.7.8 …: … token … … refused"
    assert len(clean("no " * 1_000)) <= 200
    assert clean("no " * 666 + "+34600000001") == clean("no " * 1_000)
    assert clean("a:" * 1_000_000) == ""  # within a moment


@pytest.mark.parametrize("number", [
    "+34600000001", "600000001", "0034 600 000 001", "+34 600-000-001", "600.000.001", "(600) 000 001", "+1 (415) 555-2671", "34/600/000001",
    "34.600.000.001", "34.600.123.456", "34.91.123.45.67", "33.1.42.68.53.00", "01.42.68.53.00", "34.600.12.34.56", "5.55.123 45 678",
    "6000-12-34-56",
])  # fmt: skip
def test_a_telephone_number_is_hidden_however_it_is_written(number: str):
    """Digits that are something else stay: codes, addresses and dates say what to change."""
    assert clean(f"550 5.1.1 to {number} refused") == "550 5.1.1 to … refused"
    assert clean(f"550 5.1.1 {number}") == "550 5.1.1 …"
    for kept in (
        "550 5.7.1 relay access denied", "HTTP 401: error 20003", "connect to 192.168.100.200:2775 failed", "on 2026-12-03 at 04:31:24",
        "421 4.7.0 [203.0.113.77] too many connections", "421 203.0.113.77 has too many connections", "203.0.113.77: 5.7.509 denied",
        "on 2026-12-03T04:31:24.123456Z", "421 2026-12-03 is a holiday", "route 10.0.0.1/24 is away",
    ):  # fmt: skip
        assert clean(kept) == kept


@pytest.mark.parametrize("token", [
    "dGhpcyBpcyBh:APA91b" + "Hx_k-" * 25, ".".join(["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIi" * 6, "x_-" * 14]), "a" * 20 + "." + "b" * 40,
])  # fmt: skip
def test_a_token_is_hidden_with_all_of_its_parts(token: str):
    assert clean(f"token {token} is not registered") == "token … is not registered"


def test_a_provider_that_repeats_the_account_and_its_secret_gives_neither_away():
    """Some write the request into their answer."""
    body = b'{"code": 20003, "message": "AC1 with s3cret is unknown"}'
    assert words_of_reply(401, body, "AC1", "s3cret") == "HTTP 401: … with … is unknown"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"code": 20003, "message": "Authenticate"}', "HTTP 401: Authenticate"),
        (b'{"error": {"message": "Permission denied on project x"}}', "HTTP 401: Permission denied on project x"),
        (b"<html>sign in</html>", "HTTP 401"),
        (b"[" * 100_000, "HTTP 401"),
    ],
)
def test_an_http_refusal_is_put_into_words(body: bytes, words: str):
    """As FCM and Twilio write it; anything else is its status."""
    assert words_of_reply(401, body) == words


def test_the_carriers_words_are_not_in_the_text_of_an_outcome():
    """They may hold an address, and a log may hold the text."""
    told = Outcome(Answer.NEVER, Reason.BLOCKED, said="550 5.7.1 <me@centre.example> relaying denied")
    assert told.words() == "550 5.7.1 <…> relaying denied"
    assert "me@centre" not in f"{told} {told!r}"
    assert Outcome(Answer.NEVER, Reason.BLOCKED).words() == ""
