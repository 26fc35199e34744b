"""Push to browsers (RFC 8030). Each message goes to the push service of the browser's maker, at the endpoint of the
subscription. A signed token identifies alertd (VAPID, RFC 8292).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey

from channels.base import ACCEPTED, FAULT, Answer, MayWrite, Outcome, Prepared, PushMessage, Reason, Recipient
from channels.https import HttpsTransport, trust
from channels.login import Login, LoginState, reach
from channels.posting import COMMON, UNMADE, PostSettings, Reply, outcome_of, refusal
from channels.server_pauses import ServerPauses
from channels.webpush_message import Subscription, WebPushPayload, base64url, encode

#: Texts in the 403 with which Apple and Google refuse alertd's token, for instance if alertd's clock is wrong. Apple
#: and Google also answer 403, with other texts, for a subscription under another key.
OUR_TOKEN = (b"BadJwtToken", b"ExpiredJwtToken", b"invalid JWT", b"exp claim")

#: Answer and reason by HTTP status.
BY_STATUS = {
    **COMMON,
    400: (Answer.NEVER, Reason.BAD_MESSAGE),
    403: (Answer.NEVER, Reason.BAD_ADDRESS),  # subscribed with another key (RFC 8292 section 4.2)
    404: (Answer.NEVER, Reason.GONE),  # expired (RFC 8030 section 7.3)
    406: (Answer.RETRY, Reason.THROTTLED),  # Microsoft's
    410: (Answer.NEVER, Reason.GONE),  # unsubscribed
}

#: Statuses that finally refuse the message. Push services give the reason in JSON, in a line, or not at all.
_OF_THE_MESSAGE = frozenset({400, 413})

#: Statuses of an accepted message (RFC 8030 section 5); 202 if a receipt will follow (section 5.1).
TAKEN = frozenset({201, 202})


def outcome(reply: Reply) -> Outcome:
    """Returns the outcome of a push service's answer. Never raises, for any body."""
    if reply.status in TAKEN:
        return ACCEPTED
    return refusal(reply, *_refused(reply))


def _refused(reply: Reply) -> tuple[Answer, Reason]:
    """Returns answer and reason for any status that is not in `TAKEN`."""
    if reply.status == 403 and any(words in reply.body for words in OUR_TOKEN):
        return Answer.RETRY, Reason.CREDENTIALS
    # A page comes from an intermediary, so the message is not at fault.
    if reply.status in _OF_THE_MESSAGE and reply.body.lstrip().startswith(b"<"):
        return Answer.RETRY, Reason.GARBAGE
    # Any other success comes from an intermediary. The push service may or may not have the message.
    is_doubtful = reply.status < 300 or reply.status > 500
    return BY_STATUS.get(reply.status, (Answer.UNKNOWN if is_doubtful else Answer.RETRY, Reason.GARBAGE))


#: Seconds that a token is valid, and seconds after which alertd renews it. A token may be valid for a day (RFC 8292
#: section 2). alertd's are valid for half a day, because clocks differ.
LIFE_S = 12 * 3600
RENEW_S = LIFE_S / 2
#: Maximum number of cached tokens. There are four push services of browsers, one of them with about ten host names.
MOST = 64


class Vapid:
    """Makes and caches the VAPID tokens of one key. Pages subscribe with `public_key` (`applicationServerKey`), in
    base64url.
    """

    def __init__(self, private_key: str, contact: str, clock: Callable[[], float]) -> None:
        """`private_key`: PEM of a P-256 key. `contact`: a `mailto:` or `https:` address for the push services'
        operators. `clock` returns UNIX seconds. Raises `ValueError` for another key or contact.
        """
        if urlsplit(contact).scheme not in {"mailto", "https"}:
            raise ValueError("the contact is a mailto: or an https: address")
        key = _p256(private_key)
        self._key = ECKey.import_key(key)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = base64url(point)
        self._contact = contact
        self._clock = clock
        self._made: dict[str, tuple[float, str]] = {}  # by origin: when it was made, and the header

    def authorization(self, origin: str) -> str:
        """Returns the value of the Authorization header for the push service `origin` (scheme, host and port). A token
        is cached and renewed after `RENEW_S`.
        """
        now_s = self._clock()
        made_s, header = self._made.get(origin, (0.0, ""))
        if not made_s <= now_s < made_s + RENEW_S:  # or the clock was set back
            claims = {"aud": origin, "exp": int(now_s) + LIFE_S, "sub": self._contact}
            header = f"vapid t={jwt.encode({'alg': 'ES256', 'typ': 'JWT'}, claims, self._key)}, k={self.public_key}"
            if len(self._made) >= MOST:  # invented names below an allowed host could fill it
                self._made.clear()
            self._made[origin] = now_s, header
        return header

    def forget(self, origin: str) -> None:
        """Removes a refused token, so that the next message gets a new one."""
        self._made.pop(origin, None)


_MAKE_KEY = "Make one: openssl ecparam -name prime256v1 -genkey -noout -out vapid.pem"


def _p256(pem: str) -> ec.EllipticCurvePrivateKey:
    """Returns the private key in a PEM. Raises `ValueError` if it is encrypted or not of the curve P-256."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"private_key_file is no PEM, or it is encrypted. {_MAKE_KEY}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError(f"private_key_file holds no private key of the curve P-256. {_MAKE_KEY}")
    return key


_log = logging.getLogger(__name__)

#: The hosts of browsers' push services: Google's for Chrome, Edge and others, then Firefox, Safari, and Microsoft's for
#: Edge. `*.` matches any prefix. A subscription comes from an untrusted browser. It must not make alertd connect to
#: another host or port.
HOSTS = ("fcm.googleapis.com", "updates.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com")

#: Maximum number of push services with kept connections. There are four; Microsoft's has about ten host names.
MOST_SERVERS = 32

NO_SUBSCRIPTION = Outcome(Answer.NEVER, Reason.BAD_ADDRESS)


@dataclass(frozen=True, kw_only=True, slots=True)
class WebPushSettings:
    """The settings of web push: the VAPID key and the push services."""

    private_key: str = field(repr=False)  # PEM of P-256; browsers subscribe with its public key
    contact: str  # mailto: or https:, for the push services' operators
    hosts: tuple[str, ...] = HOSTS
    endpoint: str | None = None  # None: each message goes to the host of its subscription
    ca_file: str | None = None  # None: the system's authorities
    connections: int = 400  # concurrent messages to each push service
    timeout_s: float = 15.0
    connect_timeout_s: float = 5.0


@dataclass(slots=True)
class _Request:
    """One encrypted message."""

    origin: str
    path: str
    body: bytes
    index: int = 0  # index of its recipient
    is_new: bool = True  # never tried before


class WebPushChannel:
    """All push services, with one key. Implements `Channel`, `MultiServer` and `Subscribed` of `channels.base`."""

    name = "webpush"

    def __init__(self, settings: WebPushSettings, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns UNIX seconds. Raises `ValueError` if the key or the contact is unusable."""
        self._settings = settings
        self._clock = clock
        self._vapid = Vapid(settings.private_key, settings.contact, clock)
        self._pauses = ServerPauses(time.monotonic, settings.connect_timeout_s + settings.timeout_s)
        self._context: ssl.SSLContext | None = None
        self._servers: dict[str, HttpsTransport] = {}  # by origin, the last used at the end
        self._in_use: tuple[str, ...] = ()  # origins that `log_in` connects to

    @property
    def public_key(self) -> str:
        """Returns the key that pages subscribe with, in base64url."""
        return self._vapid.public_key

    def server_of(self, address: str) -> str:
        """Implements `channels.base.MultiServer`."""
        return address.split("/", 3)[2] if address.startswith("https://") else ""

    def use(self, addresses: Sequence[str]) -> None:
        """Implements `channels.base.MultiServer`. Counts at most `MOST_SERVERS` servers: those of most addresses."""
        origins = Counter(f"https://{server}" for one in addresses if (server := self.server_of(one)))
        served = [one for one, _ in origins.most_common() if is_served(one, self._settings.hosts)]
        self._in_use = tuple(served[:MOST_SERVERS])

    async def open(self) -> None:
        self._context = trust(self._settings.ca_file)

    async def close(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers.values()))
        self._servers.clear()

    async def log_in(self) -> Login:
        """Connects to the push services in use, or to the `endpoint` of the settings, with a TLS handshake. Push
        services have no accounts, and `Vapid` has checked the key. Returns WORKS if one of them can be reached, and
        NOT_KNOWN if no push service is in use.
        """
        own = self._settings
        origins = self._in_use if own.endpoint is None else (own.endpoint,)
        found = await asyncio.gather(*(reach(one, self._context, own.connect_timeout_s) for one in origins))
        return next((one for one in found if not one.fails), found[0] if found else Login(LoginState.NOT_KNOWN))

    def prepare(self, message: PushMessage) -> Prepared:
        """Returns the prepared message. Raises `ValueError` if no browser can take it."""
        return Prepared(encode(message))

    async def send(self, prepared: Prepared, recipients: Sequence[Recipient], may_write: MayWrite) -> list[Outcome]:
        """Sends the message, to all push services at the same time. The time to live is the time left at this call."""
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
        """Returns the encrypted request. For an invalid subscription or a host that is not allowed, returns the outcome
        NO_SUBSCRIPTION instead; after any other error UNMADE. Such an error goes to the log and may hold an address: a
        log formatter must only show its class and place.
        """
        try:
            to = Subscription.parse(recipient.address)
            origin = to.origin
            if not is_served(origin, self._settings.hosts):
                return NO_SUBSCRIPTION
            return _Request(origin, to.path, payload.sealed(to, recipient.tag))
        except ValueError:
            return NO_SUBSCRIPTION
        except Exception as fault:  # noqa: BLE001 any fault is logged
            _log.error("message.build_failed", exc_info=fault)
            return UNMADE

    async def _post(
        self, origin: str, payload: WebPushPayload, requests: list[_Request], may_write: MayWrite
    ) -> list[tuple[int, Outcome]]:
        """Posts the requests of one push service, unless it is paused. Returns the recipient's index and the outcome
        for each. If the post raises, all these requests get FAULT, so that the outcomes of other push services are not
        lost.
        """
        are_new = [request.is_new for request in requests]
        if refused := self._pauses.refusal(origin, is_new=any(are_new)):
            return [(request.index, refused) for request in requests]
        answers: Sequence[Reply | Outcome]
        try:
            headers = {"Authorization": self._vapid.authorization(origin), **payload.headers_at(self._clock())}
            server = await self._server(self._settings.endpoint or origin)
            bodies, paths = [one.body for one in requests], [one.path for one in requests]
            answers = await server.post(bodies, headers, may_write, paths)
        except Exception as fault:  # noqa: BLE001 any fault is logged
            _log.error("chunk.send_failed", exc_info=fault)
            answers = [FAULT] * len(requests)
        found = [outcome_of(answer, outcome) for answer in answers]
        self._pauses.note_outcomes(origin, found, are_new)
        if any(one.reason is Reason.CREDENTIALS for one in found):
            # Logged here only, because the channel still works for other push services.
            _log.error("server.token_refused", extra={"server": origin})
            self._vapid.forget(origin)
        return [(request.index, one) for request, one in zip(requests, found, strict=True)]

    async def _server(self, origin: str) -> HttpsTransport:
        """Returns the transport to one push service, from the cache or a new one. Then closes idle ones above the
        maximum.
        """
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
        """Closes transports above `MOST_SERVERS`: of the idle ones those unused for longest, but never that of the
        origin `kept`.
        """
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
    """Returns whether an origin (scheme://host) is https and one of these hosts. A host may include a port. `*.example`
    matches every name below `example`.
    """
    scheme, _, host = origin.partition("://")
    return scheme == "https" and any(host.endswith(one[1:]) if one.startswith("*.") else host == one for one in hosts)
