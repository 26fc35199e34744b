"""Fetches and posts to URLs that strangers supply, on the public internet only. It prevents server-side request forgery
by names, redirects or changing DNS answers. A fetch follows redirects; a post only goes to the URL itself.

`Fetcher` resolves each name once, checks all its addresses, and connects to one of these. So a DNS server cannot give
one answer to the check and another to the connection. `Fetcher` checks each redirect in the same way.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Returns the addresses of a name. Raises OSError if it has none.
Resolve = Callable[[str], Awaitable[Sequence[str]]]
#: Returns whether a body may still be posted. Called when the connection is open, before anything is written.
MayPost = Callable[[], Awaitable[bool]]

#: IPv4 networks that are not public (IANA's registry of special-purpose addresses, RFC 6890, and RFC 5771), and clouds'
#: internal services at public addresses.
NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private (RFC 1918)
        "100.64.0.0/10",  # carrier-grade NAT (RFC 6598); Alibaba's metadata, 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host: a public address, the same for every machine there
        "169.254.0.0/16",  # link-local; metadata of most clouds, 169.254.169.254
        "192.0.0.0/24",  # protocols; Oracle's metadata, 192.0.0.192
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)  # fmt: skip
#: All IPv6 addresses assigned to the public so far, and the exceptions among them.
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(each)
    for each in (
        "2001::/23",  # protocols, including Teredo, which embeds an IPv4 address
        "2001:db8::/32", "3fff::/20",  # documentation
        "2002::/16",  # 6to4, which embeds an IPv4 address
    )
)  # fmt: skip
#: IPv6 addresses that stand for the IPv4 address in their last 32 bits, so that one is checked: mapped addresses (RFC
#: 4291), and NAT64's well-known prefix (RFC 6052), by which networks without IPv4 reach the internet.
AS_V4 = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 3
NAMES_AT_ONCE = 32  # threads, which mostly wait
_PIECE = 65_536
#: Maximum seconds to read the body of the answer to a post. The status, which comes first, is all that matters.
_BODY_S = 3.0
_HERE = "127.0.0.1"
_LONGEST_NAME = 254  # with a trailing dot
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]){_LABEL}\.?")
#: Top-level names without public hosts: RFC 6761, 6762 and 7686, and ICANN's resolution 2024.07.29.06.
_APART = frozenset({"localhost", "invalid", "local", "onion", "internal"})
#: The host name in every URL that the HTTP client gets. Its resolver returns the checked addresses for this name.
_ANY = "judged.invalid"


class FetchError(Exception):
    """A URL was not fetched. The message gives the reason to the person who supplied the URL. All reasons that depend
    on the network share one sentence, so that it cannot be used to explore the network. `cause` has the details for the
    service's operator; no API answer contains it.
    """

    def __init__(self, sentence: str, cause: str = "") -> None:
        super().__init__(sentence)
        self.cause = cause or sentence


class NotAskedError(FetchError):
    """Nothing was sent: the URL or its host is not allowed, or the connection failed."""


class WithheldError(Exception):
    """`may_post` refused after the connection was open: nothing was written."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a post."""

    status: int
    headers: Mapping[str, str]
    body: bytes  # its start, if it is too long


_NOT_THERE = (
    "It cannot be fetched: it must be on the public internet and answer in time, with status 200 and not too much."
)
_NO_NAME = "Its host must be a whole name, or an address, of the public internet."
_NO_ANSWER = "There is no answer: it must be on the public internet, and answer in time."


def is_public(address: str) -> bool:
    """Returns whether an IP address, in any notation, belongs to the public internet."""
    try:
        return _is_public(ipaddress.ip_address(address))
    except ValueError:
        return False


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not _within(address, NOT_PUBLIC_V4)
    if _within(address, AS_V4):
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in PUBLIC_V6 and address.scope_id is None and not _within(address, NOT_PUBLIC_V6)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def looked_up(host: str) -> Sequence[str]:
    """Returns the addresses of a host from the system's resolver. Raises OSError if it has none. Blocks for up to half
    a minute if the name servers are silent, and cannot be stopped.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Names:
    """Resolves names in its own threads, one thread per name, so that a name with silent name servers delays no other
    name. Concurrent calls for one name share one look-up.
    """

    def __init__(self, look_up: Callable[[str], Sequence[str]] = looked_up) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(NAMES_AT_ONCE, "names")
        self._asked: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def resolve(self, host: str) -> Sequence[str]:
        """Returns the addresses of a name. Raises OSError if it has none."""
        if host not in self._asked:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host)
            self._asked[host] = asked
            asked.add_done_callback(lambda one: (self._asked.pop(host), one.cancelled() or one.exception()))
        return await asyncio.shield(self._asked[host])


class Fetcher:
    """Fetches small documents, and posts, over TLS on the public internet."""

    def __init__(
        self,
        *,
        timeout_s: float = 10.0,
        resolve: Resolve | None = None,
        is_allowed: Callable[[str], bool] = is_public,
        ports: frozenset[int] = frozenset({443}),
        trust: ssl.SSLContext | None = None,
        loopback: bool = False,
    ) -> None:
        """`timeout_s` covers a whole fetch with redirects. `ports` are the ports that a URL may name. `loopback` also
        allows http://127.0.0.1 at any port, for trials.

        The rest is for tests: the resolver, the check for public addresses, and the trusted certificates (None: those
        of this machine).
        """
        self._timeout_s = timeout_s
        self._resolve = resolve or Names().resolve
        self._is_allowed = is_allowed
        self._ports = ports
        self._trust = trust
        self._loopback = loopback

    async def fetch(self, url: str, most_bytes: int) -> bytes:
        """Returns the document at a URL, after at most three redirects. Raises FetchError if it has more than
        `most_bytes`, or if the fetch fails in any other way.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(MOST_REDIRECTS + 1):
                    body, url = await self._once(url, most_bytes)
                    if body is not None:
                        return body
        except (
            aiohttp.ClientError,
            OSError,
            ValueError,
            TimeoutError,
        ) as error:  # aiohttp raises ValueError for some URLs
            raise FetchError(_NOT_THERE, self._cause(error)) from None
        raise FetchError(_NOT_THERE, f"it redirects more than {MOST_REDIRECTS} times")

    async def hand_over(
        self, url: str, body: bytes, headers: Mapping[str, str], most_bytes: int, may_post: MayPost | None = None
    ) -> Answered:
        """Posts once, to this URL only. A redirect counts as the answer. Returns the answer with at most `most_bytes`
        of its body.

        Raises NotAskedError if nothing was sent. Raises FetchError if no answer came in time; the post may have
        arrived. Raises WithheldError if `may_post` refuses when the connection is open.
        """
        asked = self._asked("POST", url, body, headers, may_post)
        try:
            async with asyncio.timeout(self._timeout_s) as limit, asked as response:
                limit.reschedule(None)
                return Answered(response.status, response.headers, await self._beginning(response, most_bytes))
        except aiohttp.ClientConnectorError:
            raise NotAskedError(_NO_ANSWER) from None
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
            raise FetchError(_NO_ANSWER) from None

    async def exchange(self, url: str, body: bytes, headers: Mapping[str, str], most_bytes: int) -> tuple[int, bytes]:
        """Posts as `hand_over` does. Returns status and body, for any status. Raises FetchError if no answer came in
        time, or if it is too long.
        """
        try:
            async with asyncio.timeout(self._timeout_s), self._asked("POST", url, body, headers) as response:
                return response.status, await _read(response, most_bytes)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            raise FetchError(_NO_ANSWER, self._cause(error)) from None

    def check(self, url: str) -> None:
        """Raises FetchError for a URL that is never allowed. Does not access the network."""
        if any(letter.isspace() or not letter.isprintable() for letter in url):
            raise FetchError("There can be no space and no control character in it.")
        parts = self._checked(url)
        host = parts.hostname or ""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if not _may_be_public(host):
                raise FetchError(_NO_NAME) from None
            return
        if not self._may_ask(parts, [host]):
            raise FetchError(_NO_ANSWER)

    async def _once(self, url: str, most_bytes: int) -> tuple[bytes | None, str]:
        """Requests a URL once. Returns the body and the URL, or None and the target URL of a redirect. Raises
        FetchError if the URL or its host is not allowed, the status is not 200 or the body is too long.
        """
        async with self._asked("GET", url, None, {}) as response:
            if response.status in REDIRECTS:
                return None, urljoin(url, response.headers.get("Location", ""))
            if response.status != 200:
                raise FetchError(_NOT_THERE, f"it answers {response.status}")
            return await _read(response, most_bytes), url

    @asynccontextmanager
    async def _asked(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], may_post: MayPost | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yields the answer to one request. Raises NotAskedError if URL or host is not allowed or has no address."""
        parts = self._checked(url)
        try:
            addresses = await self._resolve(parts.hostname or "")
        except OSError:
            raise NotAskedError(_NOT_THERE, f"DNS has no address for {parts.hostname}") from None
        if not addresses or not self._may_ask(parts, addresses):
            raise NotAskedError(_NOT_THERE, f"{parts.hostname} is not on the public internet")
        connector = _Asking(may_post, resolver=_Judged(addresses), ssl=self._trust or True)
        asked = urlunsplit((parts.scheme, f"{_ANY}:{parts.port or 443}", parts.path, parts.query, ""))
        sent = {**headers, "Host": parts.netloc, "Accept-Encoding": "identity"}
        name = parts.hostname if parts.scheme == "https" else None
        jar = aiohttp.DummyCookieJar()
        async with (
            aiohttp.ClientSession(connector=connector, cookie_jar=jar, auto_decompress=False) as session,
            session.request(
                method, asked, data=body, allow_redirects=False, headers=sent, server_hostname=name
            ) as response,
        ):
            yield response

    async def _beginning(self, response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
        """Returns the start of the body, as far as it comes in time. A server that disconnects or stalls here has still
        answered.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(min(self._timeout_s, _BODY_S)):
                while len(body) < most_bytes and (piece := await response.content.read(most_bytes - len(body))):
                    body += piece
        except (aiohttp.ClientError, OSError):  # TimeoutError is a subclass of OSError
            pass
        return bytes(body)

    def _cause(self, error: Exception) -> str:
        """Returns what failed, in a sentence without any text from the other side."""
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_s:g} s"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            refusal = error.certificate_error
            why = refusal.verify_message if isinstance(refusal, ssl.SSLCertVerificationError) else "not for this name"
            return f"TLS: its certificate is refused: {why}"
        if isinstance(error, aiohttp.ClientSSLError):
            return "TLS: the handshake failed"
        if isinstance(error, aiohttp.ClientConnectorError):
            return f"no connection: {error.os_error.strerror or 'refused'}"
        return "the connection broke off, or the answer was not HTTP"

    def _may_ask(self, parts: SplitResult, addresses: Sequence[str]) -> bool:
        return self._at_home(parts) or all(map(self._is_allowed, addresses))

    def _at_home(self, parts: SplitResult) -> bool:
        return self._loopback and parts.scheme == "http" and parts.hostname == _HERE

    def _checked(self, url: str) -> SplitResult:
        """Returns the parts of a URL. Raises NotAskedError unless it is https (with `loopback`, also http at 127.0.0.1)
        with an allowed port, without a user and without characters that two parsers may read differently.
        """
        try:
            parts = urlsplit(url)
            is_plain = parts.scheme == "https" and bool(parts.hostname) and (parts.port or 443) in self._ports
            is_plain = is_plain or (self._at_home(parts) and bool(parts.port))
        except ValueError:
            raise NotAskedError("This is no URL.") from None
        if not is_plain or _hides_something(parts):
            raise NotAskedError("This must be an https address without user, password and port.")
        return parts


def _may_be_public(name: str) -> bool:
    """Returns whether a name can be public. It needs two labels or more (RFC 1123). The last label must not be
    reserved, nor start with a digit, because some programs then read the name as IPv4.
    """
    return (
        len(name) <= _LONGEST_NAME and bool(_NAME.fullmatch(name)) and name.rstrip(".").rpartition(".")[2] not in _APART
    )


def _hides_something(parts: SplitResult) -> bool:
    """Returns whether a URL has a user name, or any part that two parsers could read differently."""
    return "@" in parts.netloc or "\\" in parts.geturl() or "%" in parts.netloc or not parts.netloc.isascii()


async def _read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """Returns the body. Raises FetchError once more than `most_bytes` arrive. Ignores the length in the headers."""
    body = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > most_bytes:
            raise FetchError(_NOT_THERE, f"it answers with more than {most_bytes:,} bytes")
    return bytes(body)


class _Asking(aiohttp.TCPConnector):
    """A connector that calls `may_post` when the connection is open, before anything is written: to connect may have
    taken long. Raises WithheldError if `may_post` returns False.
    """

    def __init__(self, may_post: MayPost | None, *, resolver: AbstractResolver, ssl: ssl.SSLContext | bool) -> None:
        super().__init__(resolver=resolver, ssl=ssl)
        self._may_post = may_post

    async def connect(self, *asked: Any, **named: Any) -> aiohttp.connector.Connection:
        connection = await super().connect(*asked, **named)
        with ExitStack() as unless_it_may:
            unless_it_may.callback(connection.close)
            if self._may_post is not None and not await self._may_post():
                raise WithheldError
            unless_it_may.pop_all()
        return connection


class _Judged(AbstractResolver):
    """A resolver that returns the checked addresses for any name. The client gets the name `_ANY` for all hosts,
    because it would not pass an address in a URL to the resolver, and might parse a URL differently than this module.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family  # the client accepts any family
        return [_result(host, port, address) for address in self._addresses]

    async def close(self) -> None:
        """Does nothing: no resource is open."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)
