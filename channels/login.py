"""The result of a check whether a channel's account can connect and log in, and functions that find out why not. Also
cleans the words of carriers, so that people may read them.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import errno
import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


def is_this_machine(host: str) -> bool:
    """Returns whether a host name or address is the loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class LoginState(enum.StrEnum):
    """The result of the last attempt to connect and log in."""

    WORKS = "works"
    NOT_KNOWN = "not_known"  # the carrier has no call that checks an account, or none of its servers is known yet
    LOGIN_REFUSED = "login_refused"
    LOGIN_NOT_OFFERED = "login_not_offered"
    TLS_NOT_OFFERED = "tls_not_offered"  # no STARTTLS
    NO_TLS = "no_tls"
    PLAIN_HTTP = "plain_http"
    CERTIFICATE_REFUSED = "certificate_refused"
    NAME_NOT_FOUND = "name_not_found"
    CONNECTION_REFUSED = "connection_refused"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    WRONG_PROTOCOL = "wrong_protocol"
    BUSY = "busy"  # the carrier refuses service for its own reason
    REFUSES_RECIPIENTS = "refuses_recipients"  # the login works, but the carrier accepts no recipient


@dataclass(frozen=True, slots=True)
class Login:
    """One result. `server` is host:port. `said` holds the carrier's or the system's words, cleaned, on one line."""

    state: LoginState
    server: str = ""
    said: str = ""

    @property
    def fails(self) -> bool:
        """Returns whether messages cannot be sent."""
        return self.state not in {LoginState.WORKS, LoginState.NOT_KNOWN}

    @property
    def is_shut_out(self) -> bool:
        """Returns whether the login itself fails."""
        return self.fails and self.state is not LoginState.REFUSES_RECIPIENTS


WORKS = Login(LoginState.WORKS)


#: Maximum characters of a carrier's words, in the result and before they are cleaned.
MOST_WORDS, MOST_READ = 200, 2_000
_MAILBOX = re.compile(r"[^\s<>\"'(),;:]+@[^\s<>\"'(),;:]+")
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IP_ADDRESS = rf"(?<![\d.]){_OCTET}(?:\.{_OCTET}){{3}}(?![.-]?\d)"
_DATE = r"(?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!-?\d)"
_TIME = r"(?:[T ]\d\d:\d\d:\d\d(?:\.\d+)?)?"
_ENHANCED_CODE = r"(?<![\d.])[245]\.\d\.\d{1,3}(?!\.?\d)"  # RFC 3463
#: Digits that are no telephone number: the reply code of a mail server, an enhanced code, an IPv4 address, a date. Then
#: telephone numbers of eight digits or more, as people and programs write them.
_DIGITS = re.compile(
    rf"^[2-5]\d\d(?=[ -](?:\D|{_ENHANCED_CODE}|{_IP_ADDRESS}|{_DATE}))|{_ENHANCED_CODE}|{_IP_ADDRESS}|{_DATE}{_TIME}"
    r"|(?P<number>\+?\(?\d(?:[ .()/-]{0,2}\d){7,})"
)
_PART = r"[A-Za-z0-9_~+/=-]"
_LONG_WORD = re.compile(rf"(?:{_PART}+[:.%])*{_PART}{{40,}}(?:[:.%]{_PART}+)*")  # a token, with all of its parts
#: Replaces what `clean` leaves out.
HIDDEN = "…"


def clean(words: str, *secrets: str) -> str:
    """Returns a carrier's words on one line of at most 200 characters. Replaces mailboxes, telephone numbers, tokens
    and the given secrets with "…".
    """
    line = " ".join("".join(each if each.isprintable() else " " for each in words).split())
    for secret in filter(None, secrets):
        line = line.replace(secret, HIDDEN)
    if len(line) > MOST_READ:
        line = line[:MOST_READ].rpartition(" ")[0]  # half a number or token would not be recognised
    for pattern in (_LONG_WORD, _MAILBOX):
        line = pattern.sub(HIDDEN, line)
    return _DIGITS.sub(_without_number, line)[:MOST_WORDS].rstrip(" .")


def _without_number(found: re.Match[str]) -> str:
    return found[0] if found["number"] is None else HIDDEN


def words_of_reply(status: int, body: bytes, *secrets: str) -> str:
    """Returns an HTTP answer in words, as `clean` does: the status, and the message if the body is a JSON error in the
    form of FCM or Twilio.
    """
    document: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(body)
    if isinstance(document, dict) and isinstance(document.get("error"), dict):
        document = document["error"]
    message = document.get("message") if isinstance(document, dict) else None
    return clean(f"HTTP {status}: {message}" if isinstance(message, str) else f"HTTP {status}", *secrets)


def server_of(url: str) -> str:
    """Returns a URL's host:port; the port is that of http or https if the URL has none."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (80 if parts.scheme == 'http' else 443)}"


#: The result of a failed login by the class of its error. The first matching class decides.
_BY_CLASS: tuple[tuple[type[BaseException], LoginState], ...] = (
    (ssl.SSLCertVerificationError, LoginState.CERTIFICATE_REFUSED),
    (ssl.SSLError, LoginState.NO_TLS),
    (socket.gaierror, LoginState.NAME_NOT_FOUND),
    (ConnectionRefusedError, LoginState.CONNECTION_REFUSED),
    (TimeoutError, LoginState.TIMED_OUT),
)
_BY_NUMBER = {errno.ECONNREFUSED: LoginState.CONNECTION_REFUSED, errno.ETIMEDOUT: LoginState.TIMED_OUT}
#: The system's error number in the text of an exception, because asyncio joins the errors of several addresses into one
#: text.
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def fault_of(error: BaseException, server: str, within_s: float, *, tls: bool = False) -> Login:
    """Returns the result of a login that failed with this connection error, with its cause in `said`. `within_s` is the
    connection's time-out in seconds. `tls`: the connection began with a TLS handshake.
    """
    causes = list(_causes(error))[::-1]  # the deepest first: libraries wrap the system's error
    for one in causes:
        state = next((state for kind, state in _BY_CLASS if isinstance(one, kind)), None) or _by_number(one)
        if state is LoginState.TIMED_OUT:
            return Login(state, server, f"{within_s:g} s")
        if state is not None:
            return Login(state, server, _words(one))
    if tls and any(isinstance(one, ConnectionResetError | ConnectionAbortedError) for one in causes):
        return Login(LoginState.NO_TLS, server, "it broke off the TLS handshake")
    return Login(LoginState.UNREACHABLE, server, _words(causes[0]))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an exception, then its causes. Also finds causes in `args` and `reason`, where requests and urllib3 put
    them.
    """
    seen = list[BaseException]()
    todo: list[object] = [error]
    while todo:
        one = todo.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            yield one
            todo += [one.__cause__, one.__context__, *one.args[:1], getattr(one, "reason", None)]


def _by_number(error: BaseException) -> LoginState | None:
    """Returns the state for a system's error number in the text of an exception, or None."""
    found = _ERRNO.search(str(error)) if isinstance(error, OSError) else None
    return _BY_NUMBER.get(int(found[1])) if found else None


_PLAIN_TEXT = "it answers in plain text"


def _words(error: BaseException) -> str:
    """Returns the cause of an error in cleaned words of the system or of the TLS library."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return clean(getattr(error, "verify_message", "") or str(error))
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", "") or str(error)
        return _PLAIN_TEXT if reason == "WRONG_VERSION_NUMBER" else clean(reason.replace("_", " ").lower())
    if isinstance(error, OSError) and error.strerror and "Multiple exceptions" not in error.strerror:
        return clean(error.strerror)
    return clean(str(error)) or type(error).__name__


async def reach(url: str, context: ssl.SSLContext | None, within_s: float) -> Login:
    """Connects to the server of an https URL with a TLS handshake, and sends no request. Returns WORKS, or why it
    failed. `within_s`: time-out in seconds.
    """
    server, parts = server_of(url), urlsplit(url)
    try:
        async with asyncio.timeout(within_s):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or 443, ssl=context, server_hostname=parts.hostname
            )
            writer.close()
    except OSError as error:
        return await fault_of_https(error, url, within_s)
    return Login(LoginState.WORKS, server)


_UNDECIDED = {LoginState.NO_TLS, LoginState.TIMED_OUT, LoginState.UNREACHABLE}


async def fault_of_https(error: BaseException, url: str, within_s: float) -> Login:
    """Returns the result of a login that failed to connect to an https URL, as `fault_of` does. If the cause is
    unclear, connects once more and asks in plain HTTP. If the server answers, the result is PLAIN_HTTP.
    """
    found = fault_of(error, server_of(url), within_s, tls=True)
    if found.state in _UNDECIDED and await _speaks_plain_http(url):
        return Login(LoginState.PLAIN_HTTP, found.server)
    return found


async def _speaks_plain_http(url: str) -> bool:
    parts = urlsplit(url)
    with contextlib.suppress(OSError):
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 443)
            try:
                writer.write(f"HEAD / HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
                return await reader.read(5) == b"HTTP/"
            finally:
                writer.close()
    return False


_PROBE_S = 2.0
