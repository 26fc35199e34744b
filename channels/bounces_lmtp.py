"""Takes bounces from a mail server by LMTP (RFC 2033): it is told for each mail whether it was taken.

For a mail server on this machine or a network of one's own: whoever reaches it may say that a mail came to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence

from channels.bounces import LIMIT_BYTES, MailReport, read_bounce

#: Takes what one mail reports; answers False when it can be taken later only.
Take = Callable[[Sequence[MailReport]], Awaitable[bool]]

CONNECTIONS = 20
LINE_BYTES = 65_536  # far longer than allowed, but some write so
IDLE_S = 300.0  # a client that says nothing for so long has gone (RFC 5321 4.5.3.2.7)
RECIPIENTS = 100

_PATH = re.compile(r"(?:FROM|TO):[ ]*<([^<>]*)>", re.IGNORECASE)
_OURS = re.compile(r"(bounce\+[A-Za-z0-9_-]{1,80}|complaints)@[^@]+")

_OK = b"250 2.0.0 ok\r\n"
_LATER = b"451 4.3.0 try again later\r\n"
_NOBODY = b"550 5.1.1 no such mailbox: bounces and complaints alone are taken\r\n"
_TOO_LONG = b"552 5.3.4 longer than any bounce\r\n"
_UNKNOWN = b"500 5.5.1 no such command\r\n"
_ORDER = b"503 5.5.1 not now\r\n"


class BounceListener:
    """An LMTP server for our return paths, and for `complaints@`, which providers are given for their feedback loops."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Raises `OSError` where it cannot listen."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=LINE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        try:
            if task is None or len(self._open) >= CONNECTIONS:
                writer.write(b"421 4.3.2 too many connections\r\n")
                return
            self._open.add(task)
            # whoever goes away, says too much or nothing has ended it
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await _Conversation(reader, writer, self._take).run()
        except asyncio.CancelledError:
            pass  # we stop: the client keeps the mail
        finally:
            if task is not None:
                self._open.discard(task)
            writer.close()


class _Conversation:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: Take) -> None:
        self._reader = reader
        self._writer = writer
        self._take = take
        self._began = False  # MAIL was said
        self._to: list[str] = []

    async def run(self) -> None:
        self._writer.write(b"220 alertd LMTP\r\n")
        while True:
            line = (await self._line()).decode("utf-8", "replace").strip()
            verb = line[:4].upper()
            if verb == "QUIT":
                self._writer.write(b"221 2.0.0 bye\r\n")
                await self._writer.drain()
                return
            self._writer.write(await self._data() if verb == "DATA" else self._answer(verb, line))
            await self._writer.drain()

    async def _line(self) -> bytes:
        async with asyncio.timeout(IDLE_S):
            return await self._reader.readuntil(b"\n")

    def _answer(self, verb: str, line: str) -> bytes:
        match verb:
            case "LHLO":
                self._forget()
                return (
                    b"250-alertd\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-SIZE %d\r\n250 ENHANCEDSTATUSCODES\r\n"
                    % LIMIT_BYTES
                )
            case "MAIL":
                self._forget()
                self._began = True
                return _OK
            case "RCPT":
                return self._recipient(line)
            case "RSET":
                self._forget()
                return _OK
            case "NOOP":
                return _OK
            case _:
                return _UNKNOWN

    def _forget(self) -> None:
        self._began, self._to = False, []

    def _recipient(self, line: str) -> bytes:
        found = _PATH.search(line)
        if not self._began or found is None or len(self._to) >= RECIPIENTS:
            return _ORDER
        if not _OURS.fullmatch(found[1]):
            return _NOBODY
        self._to.append(found[1])
        return _OK

    async def _data(self) -> bytes:
        """One answer for each recipient, as LMTP has it."""
        if not self._to:
            return _ORDER
        self._writer.write(b"354 go ahead\r\n")
        content, length = [], 0
        while (line := await self._line()) not in {b".\r\n", b".\n"}:
            length += len(line)
            if length <= LIMIT_BYTES:
                content.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        to, raw = self._to, b"".join(content)
        self._forget()
        if length > LIMIT_BYTES:
            return _TOO_LONG * len(to)
        return b"".join([_OK if await self._take(read_bounce(raw, [one])) else _LATER for one in to])
