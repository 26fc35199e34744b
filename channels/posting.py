"""One HTTPS POST at a time on kept connections: the transport under the channels that speak HTTP.

A transport answers a `Reply`, or the `Outcome` when there is none. It knows whether the request was written, which is the
difference between "again" and "unknown".
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload
from yarl import URL

from channels.base import WITHHELD, Answer, MayWrite, Outcome, Reason

# Servers of the carriers close an idle connection after minutes; we close first, so that a write never meets a closed one.
KEEP_IDLE_S = 50.0

NOT_CONNECTED = Outcome(Answer.RETRY, Reason.CONNECTION)
LOST = Outcome(Answer.UNKNOWN, Reason.CONNECTION)
TIMED_OUT = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)

# aiohttp adds these by itself; no carrier reads them, and each costs bytes and time in every message.
NOT_NEEDED_HEADERS = ("Accept", "Accept-Encoding", "User-Agent")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the carrier answered. Header names are matched without case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """What a channel needs to post. A faster transport is a drop-in: it asks `may_write` right before it writes."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def post(self, body: bytes, headers: Mapping[str, str], may_write: MayWrite) -> Reply | Outcome: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PostSettings:
    url: str
    ca_file: str | None  # None: the system's authorities
    connections: int
    timeout_s: float  # from the written request to the whole answer
    connect_timeout_s: float


class _GatedBody(BytesPayload):
    """A body that asks `may_write` when aiohttp is about to write it, together with the head, to a live connection."""

    def __init__(self, value: bytes, may_write: MayWrite, content_type: str) -> None:
        super().__init__(value, content_type=content_type)
        self._may_write = may_write
        self.written = False
        self.refused = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if not self._may_write():
            self.refused = True
            raise PermissionError("the request was withheld")
        self.written = True
        await super().write_with_length(writer, content_length)


class AiohttpTransport:
    """HTTP/1.1 through aiohttp. Implements `Transport`."""

    def __init__(self, settings: PostSettings) -> None:
        self._settings = settings
        self._url = URL(settings.url, encoded=True)
        self._session: aiohttp.ClientSession | None = None
        self._free = asyncio.Semaphore(settings.connections)

    async def open(self) -> None:
        settings = self._settings
        context = ssl.create_default_context(cafile=settings.ca_file)
        connector = aiohttp.TCPConnector(
            limit=settings.connections, keepalive_timeout=KEEP_IDLE_S, ssl=context, ttl_dns_cache=60
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=NOT_NEEDED_HEADERS,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=settings.connect_timeout_s, sock_read=settings.timeout_s
            ),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, body: bytes, headers: Mapping[str, str], may_write: MayWrite) -> Reply | Outcome:
        """Post once. Cancelling closes the connection, so that a late answer is never read as another's."""
        async with self._free:
            if not may_write():
                return WITHHELD
            gated = _GatedBody(body, may_write, headers["Content-Type"])
            try:
                return await self._exchange(gated, headers)
            except TimeoutError:
                return TIMED_OUT if gated.written else NOT_CONNECTED
            except (aiohttp.ClientError, OSError):
                if gated.refused:
                    return WITHHELD
                return LOST if gated.written else NOT_CONNECTED

    async def _exchange(self, body: _GatedBody, headers: Mapping[str, str]) -> Reply:
        if self._session is None:
            raise RuntimeError("the channel is not open")
        async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
            return Reply(response.status, response.headers, await response.read())


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds (RFC 9110 10.2.3: a number or a date), or None when there is none that can be read."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    parsed: Any = email.utils.parsedate_tz(value)
    if parsed is None:
        return None
    return max(0.0, email.utils.mktime_tz(parsed) - time.time())
