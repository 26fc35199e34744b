"""Push to browsers (RFC 8030): to each by the push service of whoever made it, at the address that it was given there."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from channels.base import FAULT, Answer, MayWrite, Outcome, Prepared, PushMessage, Reason, Recipient
from channels.https import HttpsTransport, trust
from channels.login import WORKS, Login, reach
from channels.posting import UNMADE, PostSettings, Reply, outcome_of
from channels.rests import Rests
from channels.vapid import Vapid
from channels.webpush_answers import outcome
from channels.webpush_message import Subscription, WebPushPayload, encode

_log = logging.getLogger(__name__)

#: The push services of browsers, by their hosts: Chrome, Edge and others with Google's, Firefox, Safari, Edge with Microsoft's. `*.` stands
#: for whatever comes before. A subscription is what somebody's browser sent us: nobody has us speak to another host, or wait at another port.
HOSTS = ("fcm.googleapis.com", "updates.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com")

#: Push services that are kept connections to. There are four; Microsoft's has some ten names.
MOST_SERVERS = 32

NO_SUBSCRIPTION = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)


@dataclass(frozen=True, kw_only=True, slots=True)
class WebPushSettings:
    private_key: str = field(repr=False)  # PEM of P-256: browsers subscribed with its public half
    contact: str  # mailto: or https:, for whoever runs a push service
    hosts: tuple[str, ...] = HOSTS
    endpoint: str | None = None  # None: each message goes to its subscription's own host
    ca_file: str | None = None  # None: the system's authorities
    connections: int = 400  # messages under way at once with each push service
    timeout_s: float = 15.0
    connect_timeout_s: float = 5.0


@dataclass(slots=True)
class _Request:
    """One message, sealed."""

    origin: str
    path: str
    body: bytes
    index: int = 0  # of its recipient
    is_new: bool = True  # never tried before


class WebPushChannel:
    """All push services, with one key. Implements `channels.base.Channel` and `Apart`."""

    name = "webpush"

    def __init__(self, settings: WebPushSettings, clock: Callable[[], float] = time.time) -> None:
        """`clock` answers UNIX seconds. Raises `ValueError` for a key or a contact that cannot be used."""
        self._settings = settings
        self._clock = clock
        self._vapid = Vapid(settings.private_key, settings.contact, clock)
        self._rests = Rests(time.monotonic, settings.connect_timeout_s + settings.timeout_s)
        self._context: ssl.SSLContext | None = None
        self._servers: dict[str, HttpsTransport] = {}  # by origin, the one used last at the end

    @property
    def public_key(self) -> str:
        """What pages subscribe with, in base64url."""
        return self._vapid.public_key

    def server_of(self, address: str) -> str:
        """Implements `channels.base.Apart`."""
        return address.split("/", 3)[2] if address.startswith("https://") else ""

    async def open(self) -> None:
        self._context = trust(self._settings.ca_file)

    async def close(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers.values()))
        self._servers.clear()

    async def log_in(self) -> Login:
        """A push service knows no accounts: a key that could be read works. An `endpoint` of the
        settings must be reached.
        """
        settings = self._settings
        if settings.endpoint is None:
            return WORKS
        return await reach(settings.endpoint, self._context, settings.connect_timeout_s)

    def prepare(self, message: PushMessage) -> Prepared:
        """Raises `ValueError` for a message that no browser can take."""
        return Prepared(encode(message))

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """The time to live is what is left at this call."""
        payload: WebPushPayload = prepared.payload
        outcomes = [FAULT] * len(recipients)
        requests: dict[str, list[_Request]] = defaultdict(list)
        for index, recipient in enumerate(recipients):
            made = self._sealed(payload, recipient)
            if isinstance(made, Outcome):
                outcomes[index] = made
            else:
                made.index, made.is_new = index, recipient.is_new
                requests[made.origin].append(made)
        posts = (self._post(origin, payload, of_it, may_write) for origin, of_it in requests.items())
        for answered in await asyncio.gather(*posts):
            for index, answer in answered:
                outcomes[index] = answer
        return outcomes

    def _sealed(self, payload: WebPushPayload, recipient: Recipient) -> _Request | Outcome:
        """Its exception may hold an address: whoever formats the log tells its class and place alone."""
        try:
            to = Subscription.parse(recipient.address)
            origin = to.origin
            if not is_served(origin, self._settings.hosts):
                return NO_SUBSCRIPTION
            return _Request(origin, to.path, payload.sealed(to, recipient.tag))
        except ValueError:
            return NO_SUBSCRIPTION
        except Exception as fault:  # noqa: BLE001 whatever it is, it is told
            _log.error("a message could not be made", exc_info=fault)
            return UNMADE

    async def _post(
        self, origin: str, payload: WebPushPayload, requests: list[_Request], may_write: MayWrite
    ) -> list[tuple[int, Outcome]]:
        """A fault is the outcome of these: what is known of others is never lost."""
        are_new = [request.is_new for request in requests]
        if refused := self._rests.refusal(origin, is_new=any(are_new)):
            return [(request.index, refused) for request in requests]
        answers: Sequence[Reply | Outcome]
        try:
            headers = {"Authorization": self._vapid.authorization(origin), **payload.headers_at(self._clock())}
            server = await self._server(self._settings.endpoint or origin)
            bodies, paths = [one.body for one in requests], [one.path for one in requests]
            answers = await server.post(bodies, headers, may_write, paths)
        except Exception as fault:  # noqa: BLE001 whatever it is, it is told
            _log.error("what was to be sent could not be", exc_info=fault)
            answers = [FAULT] * len(requests)
        found = [outcome_of(answer, outcome) for answer in answers]
        self._rests.note_outcomes(origin, found, are_new)
        if any(one.reason is Reason.CREDENTIALS for one in found):
            _log.error("%s does not take our token", origin)  # nobody else says so: the carrier works for all others
            self._vapid.forget(origin)
        return [(request.index, one) for request, one in zip(requests, found, strict=True)]

    async def _server(self, origin: str) -> HttpsTransport:
        """Kept connections to one."""
        if self._context is None:
            raise RuntimeError("the channel is not open")
        server = self._servers.pop(origin, None)
        if server is None:
            server = HttpsTransport(self._post_settings(origin), self._context)
            await server.open()
        self._servers[origin] = server
        await self._let_go(origin)
        return server

    async def _let_go(self, kept: str) -> None:
        """Those not used for longest, where there are too many."""
        idle = [name for name, server in self._servers.items() if server.is_idle and name != kept]
        for name in idle[: max(0, len(self._servers) - MOST_SERVERS)]:
            await self._servers.pop(name).close()

    def _post_settings(self, origin: str) -> PostSettings:
        own = self._settings
        return PostSettings(
            url=origin, ca_file=own.ca_file, connections=own.connections, timeout_s=own.timeout_s,
            connect_timeout_s=own.connect_timeout_s,
        )  # fmt: skip


def is_served(origin: str, hosts: Sequence[str]) -> bool:
    """Whether an origin is https and one of these hosts, at the port that each has behind it, if any: `*.example` is all below `example`."""
    scheme, _, host = origin.partition("://")
    return scheme == "https" and any(host.endswith(one[1:]) if one.startswith("*.") else host == one for one in hosts)
