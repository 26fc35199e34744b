"""A simulated mail relay. It accepts every mail and records its recipients, unless a rule for the mailbox or its domain
says otherwise.

ESMTP (RFC 5321) with PIPELINING, SIZE, 8BITMIME, SMTPUTF8, STARTTLS and AUTH PLAIN (any user and password, unless
`account` sets one).
"""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import json
import re
from collections import Counter
from functools import partial
from typing import cast

from channels.sandbox.authority import Authority
from channels.sandbox.script import Recorded, Rule, Script

SIZE_LIMIT_BYTES = 10_000_000
LINE_LIMIT_BYTES = 4_096
KEPT_MAILS = 1_000  # whole mails in memory, of about 10 kB each

# The values of a rule's `do` that apply at RCPT, with the reply.
AT_RECIPIENT = {
    "no-mailbox": b"550 5.1.1 no such mailbox",
    "disabled": b"550 5.2.1 mailbox disabled",
    "full": b"552 5.2.2 mailbox full",
    "blocked": b"550 5.7.1 refused by policy",
    "greylist": b"450 4.2.0 try again later",
    "defer": b"451 4.7.1 greylisted, try again later",
    "unexplained": b"559 no",
    "slow-down": b"450 4.7.28 too many mails for this domain",
}

# The values of a rule's `do` that apply after the content, with the reply.
AT_CONTENT = {
    "throttle": b"454 4.7.0 throttling failure",
    "account-rate": b"454 Throttling failure: Maximum sending rate exceeded.",
    "unavailable": b"421 4.3.2 going down",
    "too-large": b"552 5.3.4 message too big",
    "bad-content": b"554 5.6.0 content not acceptable",
    "garbage": b"<html>200 OK</html>",
}

# Further behaviours: `stall` reads the content, records nothing and never answers. `reset` records the mail and cuts
# the connection; `slow` records it and answers after `delay_s`; `half` records it and disconnects in the middle of the
# answer. `cut` cuts the connection at RCPT, before any content; `waits` refuses the recipient but waits for content.
BEHAVIOURS = frozenset({*AT_RECIPIENT, *AT_CONTENT, "stall", "reset", "half", "slow", "cut", "waits"})

ADDRESS = re.compile(rb"(?:FROM|TO):\s*<([^>]*)>", re.IGNORECASE)
HEADER = re.compile(rb"^(message-id|x-alert-chain|x-alert-version):\s*(.*?)\r$", re.IGNORECASE | re.MULTILINE)


class SmtpSandbox:
    """A simulated mail relay. `mails` has the last mail of each of the last `KEPT_MAILS` recipients. `message_ids` counts
    each accepted Message-ID; `return_paths` has the sender by recipient.
    """

    def __init__(self, authority: Authority) -> None:
        self.script = Script(BEHAVIOURS)
        self.recorded = Recorded()
        self.message_ids: Counter[str] = Counter()
        self.return_paths: dict[str, str] = {}
        self.mails: dict[str, bytes] = {}
        self.context = authority.server_context()
        # Whether the relay allows pipelining. If not, it disconnects clients that pipeline.
        self.pipelining = True
        # The only accepted user and password. None: all are accepted.
        self.account: tuple[str, str] | None = None
        self.mails_a_session = 0  # a session ends with 421 after this many; 0: never
        self.sessions: set[Session] = set()
        self.sessions_made = 0  # not counting refused ones
        # Maximum number of open sessions; the relay answers 421 to the next one. None: no limit.
        self.connections: int | None = None
        self.refused = 0  # refused connections
        self.silent = False  # sends no greeting and no answer, like a dead machine
        self.quits = 0  # sessions ended by the client's QUIT
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(partial(Session, self), "127.0.0.1", port, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for session in list(self.sessions):
            session.close()
        await self._server.wait_closed()

    @property
    def open_connections(self) -> int:
        return len(self.sessions)

    def is_full(self) -> bool:
        """Returns whether the relay refuses another connection."""
        return self.connections is not None and len(self.sessions) >= self.connections

    def take(self, sender: str, to: str, content: bytes) -> None:
        """Records an accepted mail, under the chain and version in its headers."""
        head = content.partition(b"\r\n\r\n")[0] + b"\r\n"
        found = {name.lower(): value.decode("utf-8", "replace") for name, value in HEADER.findall(head)}
        self.recorded.add(found.get(b"x-alert-chain", ""), found.get(b"x-alert-version", ""), to)
        self.message_ids[found.get(b"message-id", "")] += 1
        self.return_paths[to] = sender
        self.mails.pop(to, None)
        self.mails[to] = content
        if len(self.mails) > KEPT_MAILS:
            del self.mails[next(iter(self.mails))]

    def last_mail(self, to: str) -> bytes | None:
        """Returns mailbox, subject and plain text of the stored mail to this mailbox, or of the latest mail if `to` is empty,
        as JSON; None if there is none.
        """
        to = to or next(reversed(self.mails), "")
        if to not in self.mails:
            return None
        mail = email.message_from_bytes(self.mails[to], policy=email.policy.default)
        body = mail.get_body(("plain",))
        text = "" if body is None else body.get_content()
        return json.dumps({"to": to, "subject": mail["Subject"] or "", "text": text}).encode()


class Session(asyncio.Protocol):
    """One connection. Writes the replies to pipelined commands together."""

    def __init__(self, sandbox: SmtpSandbox) -> None:
        self._sandbox = sandbox
        self._buffer = bytearray()
        self._transport = cast("asyncio.Transport", None)
        self._secure = False
        self._in_content = False
        self._mails = 0
        self._waits = False  # waits for content without a recipient
        self._sender: str | None = None
        self._to: list[tuple[str, Rule | None]] = []
        self._later: asyncio.TimerHandle | None = None
        self._deaf = False  # reads no commands now: it stalls, delays an answer, or waits for a TLS handshake
        self._upgrade: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._sandbox.silent:
            return
        if self._sandbox.is_full():
            self._sandbox.refused += 1
            self._transport.write(b"421 4.7.0 too many connections\r\n")
            self._transport.close()
            return
        self._sandbox.sessions.add(self)
        self._sandbox.sessions_made += 1
        self._transport.write(b"220 sandbox ESMTP\r\n")

    def connection_lost(self, _: Exception | None) -> None:
        self._sandbox.sessions.discard(self)
        if self._later is not None:
            self._later.cancel()

    def close(self) -> None:
        if self._upgrade is not None:
            self._upgrade.cancel()
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._sandbox.silent:
            return
        self._buffer += data
        replies = []
        while not self._deaf and (reply := self._next()) is not None:
            replies.append(reply)
        self._transport.write(b"".join(replies))

    def _next(self) -> bytes | None:
        """Returns the reply to the next command or content in the buffer, or None if it is incomplete."""
        if self._in_content:
            return self._content()
        line, found, _ = bytes(self._buffer).partition(b"\r\n")
        if not found:
            if len(self._buffer) > LINE_LIMIT_BYTES:
                self._transport.abort()
            return None
        del self._buffer[: len(line) + 2]
        if self._buffer and not self._sandbox.pipelining:
            self._transport.abort()
            return None
        return self._command(line[:4].upper(), line)

    def _command(self, verb: bytes, line: bytes) -> bytes:
        commands = {
            b"EHLO": self._hello,
            b"HELO": lambda _: b"250 sandbox\r\n",
            b"STAR": self._start_tls,
            b"AUTH": self._log_in,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._reset,
            b"NOOP": lambda _: b"250 2.0.0 ok\r\n",
            b"QUIT": self._quit,
        }
        command = commands.get(verb)
        return b"500 5.5.2 no such command\r\n" if command is None else command(line)

    def _hello(self, _: bytes) -> bytes:
        names = [
            b"sandbox",
            *([b"PIPELINING"] if self._sandbox.pipelining else []),
            b"SIZE %d" % SIZE_LIMIT_BYTES,
            b"8BITMIME",
            b"SMTPUTF8",
            b"ENHANCEDSTATUSCODES",
        ]
        names += [b"AUTH PLAIN"] if self._secure else [b"STARTTLS"]
        return b"".join(b"250-%b\r\n" % name for name in names) + b"250 HELP\r\n"

    def _start_tls(self, _: bytes) -> bytes:
        if self._secure:
            return b"503 5.5.1 already\r\n"
        self._transport.write(b"220 2.0.0 go ahead\r\n")
        self._deaf = True
        self._buffer.clear()  # data injected before the handshake (RFC 3207 4.2)
        self._upgrade = asyncio.get_running_loop().create_task(self._handshake())
        return b""

    async def _handshake(self) -> None:
        loop = asyncio.get_running_loop()
        self._secure, plain = True, self._transport
        try:
            upgraded = await loop.start_tls(plain, self, self._sandbox.context, server_side=True)
        except OSError as fault:
            plain.abort()
            self.connection_lost(fault)  # asyncio does not call it if a handshake fails
            return
        self._transport = cast("asyncio.Transport", upgraded)
        self._deaf = False
        self.data_received(b"")

    def _log_in(self, line: bytes) -> bytes:
        account = self._sandbox.account
        wanted = None if account is None else base64.b64encode("\0".join(("", *account)).encode())
        if wanted in {None, line.rpartition(b" ")[2]}:
            return b"235 2.7.0 welcome\r\n"
        return b"535 5.7.8 authentication failed\r\n"

    def _mail(self, line: bytes) -> bytes:
        found = ADDRESS.search(line)
        if found is None:
            return b"501 5.5.4 no address\r\n"
        if self._mails >= (self._sandbox.mails_a_session or self._mails + 1):
            self._transport.write(b"421 4.7.0 enough for one connection\r\n")
            self._transport.close()
            return b""
        if self._sender is not None:
            return b"503 5.5.1 nested MAIL\r\n"
        self._mails += 1
        self._sender = found[1].decode("utf-8", "replace")
        self._to = []
        return b"250 2.1.0 ok\r\n"

    def _rcpt(self, line: bytes) -> bytes:
        found = ADDRESS.search(line)
        if found is None or self._sender is None:
            return b"503 5.5.1 MAIL first\r\n"
        to = found[1].decode("utf-8", "replace")
        rule = self._sandbox.script.match(to)
        if rule is not None and rule.do == "cut":
            self._transport.abort()
            return b""
        if rule is not None and rule.do in AT_RECIPIENT:
            return AT_RECIPIENT[rule.do] + b"\r\n"
        if rule is not None and rule.do == "waits":
            self._waits = True
            return b"550 5.1.1 no such mailbox\r\n"
        self._to.append((to, rule))
        return b"250 2.1.5 ok\r\n"

    def _data(self, _: bytes) -> bytes:
        if not self._to and not self._waits:
            return b"503 5.5.1 RCPT first\r\n"
        self._in_content = True
        return b"354 go ahead\r\n"

    def _reset(self, _: bytes) -> bytes:
        self._sender, self._to = None, []
        return b"250 2.0.0 ok\r\n"

    def _quit(self, _: bytes) -> bytes:
        self._sandbox.quits += 1
        self._transport.write(b"221 2.0.0 bye\r\n")
        self._transport.close()
        return b""

    def _content(self) -> bytes | None:
        """Returns the reply to the content in the buffer, or None if the content is incomplete."""
        end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n") + 2
        if end == 1:
            return None
        content = bytes(self._buffer[:end])
        del self._buffer[: end + 3]
        self._in_content = self._waits = False
        rule = next((rule for _, rule in self._to if rule is not None), None)
        return self._taken(content) if rule is None else self._misbehave(rule, content)

    def _taken(self, content: bytes) -> bytes:
        """Records the mail for all its recipients, and returns the reply."""
        content = re.sub(rb"^\.\.", b".", content, flags=re.MULTILINE)
        for to, _ in self._to:
            self._sandbox.take(self._sender or "", to, content)
        self._sender, self._to = None, []
        return b"250 2.0.0 taken\r\n"

    def _misbehave(self, rule: Rule, content: bytes) -> bytes:
        """Does what a rule says for the content, and returns the reply, b"" if none is sent now."""
        if rule.do in AT_CONTENT:
            self._sender, self._to = None, []
            return AT_CONTENT[rule.do] + b"\r\n"
        if rule.do == "stall":
            self._deaf = True
            return b""
        reply = self._taken(content)
        if rule.do == "half":
            self._transport.write(reply[: len(reply) // 2])
            self._transport.close()
            return b""
        if rule.do == "reset":
            self._transport.abort()
            return b""
        self._deaf = True
        self._later = asyncio.get_running_loop().call_later(rule.delay_s, self._answer_late, reply)
        return b""

    def _answer_late(self, reply: bytes) -> None:
        self._transport.write(reply)
        self._deaf = False
        self.data_received(b"")
