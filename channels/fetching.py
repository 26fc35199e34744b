"""The one way to ask what a stranger's URL names: on the public internet alone, whatever the name, a redirect or the DNS of
the moment say (server-side request forgery). What is fetched may be elsewhere by then; what is posted goes to the URL itself.

A name is resolved once, all its addresses are judged, and the connection goes to one of those that were: nobody can answer
the judge and the connection differently. Each redirect is a URL like the first.
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

#: The addresses of a name. Raises OSError when it has none.
Resolve = Callable[[str], Awaitable[Sequence[str]]]
#: Whether what is about to be posted may be: asked once there is a connection, and before anything is written to it.
MayPost = Callable[[], Awaitable[bool]]

#: IPv4 that is not the public internet (IANA's registry of special-purpose addresses, RFC 6890, and RFC 5771), and what
#: clouds put among the public ones.
NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private (RFC 1918)
        "100.64.0.0/10",  # carriers' own (RFC 6598); Alibaba's metadata, 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host: "public", and the same for every machine there
        "169.254.0.0/16",  # link-local; metadata of most clouds, 169.254.169.254
        "192.0.0.0/24",  # protocols; Oracle's metadata, 192.0.0.192
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # for books
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",  # benches
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)  # fmt: skip
#: All that IPv6 has handed out to the public so far, and what of it is not.
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(each)
    for each in (
        "2001::/23",  # protocols, Teredo among them: an IPv4 address in disguise
        "2001:db8::/32", "3fff::/20",  # for books
        "2002::/16",  # 6to4: another disguise
    )
)  # fmt: skip
#: IPv6 that only writes an IPv4 address down, in its last 32 bits: the IPv4 address is judged. Mapped (RFC 4291), and
#: NAT64's well-known prefix (RFC 6052), by which networks without IPv4 reach the rest of the world.
AS_V4 = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 3
NAMES_AT_ONCE = 32  # threads that wait more than they work
_PIECE = 65_536
#: The body of an answer has so long once the status is there, which says all that must be known.
_BODY_S = 3.0
_HERE = "127.0.0.1"
_LONGEST_NAME = 254  # with a dot at its end
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]){_LABEL}\.?")
#: Names of no public host: RFC 6761, 6762 and 7686, and ICANN's resolution 2024.07.29.06.
_APART = frozenset({"localhost", "invalid", "local", "onion", "internal"})
#: What the client is told of every host.
_ANY = "judged.invalid"


class FetchError(Exception):
    """A URL is not fetched; the message says why, to whoever sent it. What only a look into the network could tell is one
    sentence for all reasons, so that nobody can explore the network by it. `cause` says what happened, for the operator of
    the service alone: no answer of the API has it.
    """

    def __init__(self, sentence: str, cause: str = "") -> None:
        super().__init__(sentence)
        self.cause = cause or sentence


class NotAskedError(FetchError):
    """Nothing was sent: the URL or its host is not to be asked, or no connection came about."""


class WithheldError(Exception):
    """`may_post` said no once there was a connection: nothing was written to it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes  # its beginning, where there is too much of it


_NOT_THERE = (
    "It cannot be fetched: it must be on the public internet and answer in time, with status 200 and not too much."
)
_NO_NAME = "Its host must be a whole name, or an address, of the public internet."
_NO_ANSWER = "There is no answer: it must be on the public internet, and answer in time."


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, in whatever form it is written."""
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
    """By the system's resolver, which may take half a minute over a name whose servers are silent, and cannot be stopped."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Names:
    """Looks names up in threads of its own, each name in one at a time: one whose servers are silent keeps no other waiting, nor what else is
    done in threads.
    """

    def __init__(self, look_up: Callable[[str], Sequence[str]] = looked_up) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(NAMES_AT_ONCE, "names")
        self._asked: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def resolve(self, host: str) -> Sequence[str]:
        """Its addresses. Raises OSError when it has none."""
        if host not in self._asked:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host)
            self._asked[host] = asked
            asked.add_done_callback(lambda one: (self._asked.pop(host), one.cancelled() or one.exception()))
        return await asyncio.shield(self._asked[host])


class Fetcher:
    """Fetches small things over TLS."""

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
        """`timeout_s` is for all of it, redirects too; `ports` are those that a URL may name. With `loopback`, for whoever tries
        it out, http://127.0.0.1 may be asked as well, at any port. The rest is for tests: who answers for a name, which
        addresses are the world, and whose certificates count (unset: those this machine trusts).
        """
        self._timeout_s = timeout_s
        self._resolve = resolve or Names().resolve
        self._is_allowed = is_allowed
        self._ports = ports
        self._trust = trust
        self._loopback = loopback

    async def fetch(self, url: str, most_bytes: int) -> bytes:
        """What is there. Raises FetchError."""
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
        """Posts once, to this URL and to no other: a redirect is an answer like any. Returns the answer with at most `most_bytes` of its body. Raises
        NotAskedError where surely nothing was sent, FetchError where there is no answer in time, though it may have arrived, and WithheldError where
        `may_post`, asked once there is a connection, says no.
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
        """Posts as `hand_over` does, and reads what is answered, whatever its status. Raises FetchError where there is no answer in time,
        or too much of it.
        """
        try:
            async with asyncio.timeout(self._timeout_s), self._asked("POST", url, body, headers) as response:
                return response.status, await _read(response, most_bytes)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            raise FetchError(_NO_ANSWER, self._cause(error)) from None

    def check(self, url: str) -> None:
        """Raises FetchError for a URL that would never be asked, as far as that can be told without a look at the network."""
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
        """The body, or None and where else to look. Raises FetchError for a URL or host that is not to be asked."""
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
        """The answer to one request. Raises FetchError for a URL or host that is not to be asked."""
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
        """So much of the body as comes in its own time; whoever breaks off or falls silent within it has answered all the same."""
        body = bytearray()
        try:
            async with asyncio.timeout(min(self._timeout_s, _BODY_S)):
                while len(body) < most_bytes and (piece := await response.content.read(most_bytes - len(body))):
                    body += piece
        except (aiohttp.ClientError, OSError):  # TimeoutError is one
            pass
        return bytes(body)

    def _cause(self, error: Exception) -> str:
        """What went wrong on the way, in a sentence with no text that the other side sent."""
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
        """The parts of a URL that may be looked up. Raises FetchError for one that is not plain https."""
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
    """Whether a name can be one of the public internet: two labels or more (RFC 1123), the last one no number, which some take for an
    IPv4 address, and none that was set apart.
    """
    return (
        len(name) <= _LONGEST_NAME and bool(_NAME.fullmatch(name)) and name.rstrip(".").rpartition(".")[2] not in _APART
    )


def _hides_something(parts: SplitResult) -> bool:
    """A user's name, and whatever two readers of URLs could understand differently."""
    return "@" in parts.netloc or "\\" in parts.geturl() or "%" in parts.netloc or not parts.netloc.isascii()


async def _read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """The body. Raises FetchError as soon as it is too long, whatever its headers say."""
    body = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > most_bytes:
            raise FetchError(_NOT_THERE, f"it answers with more than {most_bytes:,} bytes")
    return bytes(body)


class _Asking(aiohttp.TCPConnector):
    """Asks whether it may post once there is a connection, which may have taken a long time, and nothing was written."""

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
    """The addresses that were judged, whatever the name. The client is given one name for all hosts: an address in a URL
    would go past its resolver, and it might read a URL otherwise than we did.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family  # the client asks for any
        return [_result(host, port, address) for address in self._addresses]

    async def close(self) -> None:
        """Nothing is open."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)
