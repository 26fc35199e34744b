"""Push to browsers (RFC 8030): to each by the push service of whoever made it, at the address that it was given there. It
knows us by a signed token (VAPID, RFC 8292).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import defaultdict
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
from channels.login import WORKS, Login, reach
from channels.posting import COMMON, UNMADE, PostSettings, Reply, outcome_of, refusal
from channels.rests import Rests
from channels.webpush_message import Subscription, WebPushPayload, base64url, encode

#: What Apple and Google call a token of ours that they do not take, with 403, as when our clock is wrong: of another subscription they say the
#: same number.
OUR_TOKEN = (b"BadJwtToken", b"ExpiredJwtToken", b"invalid JWT", b"exp claim")

BY_STATUS = {
    **COMMON,
    400: (Answer.NEVER, Reason.BAD_MESSAGE),
    403: (Answer.NEVER, Reason.BAD_ADDRESS),  # subscribed with another key than ours (RFC 8292 section 4.2)
    404: (Answer.NEVER, Reason.GONE),  # expired (RFC 8030 section 7.3)
    406: (Answer.RETRY, Reason.THROTTLED),  # Microsoft's
    410: (Answer.NEVER, Reason.GONE),  # unsubscribed
}

#: What finds fault with a message for good. Push services say so in JSON, in a line, or without a word.
_OF_THE_MESSAGE = frozenset({400, 413})

#: Taken (RFC 8030 section 5), or taken and a receipt promised (section 5.1).
TAKEN = frozenset({201, 202})


def outcome(reply: Reply) -> Outcome:
    """Read one answer. Never raises, whatever the body holds."""
    if reply.status in TAKEN:
        return ACCEPTED
    return refusal(reply, *_refused(reply))


def _refused(reply: Reply) -> tuple[Answer, Reason]:
    if reply.status == 403 and any(words in reply.body for words in OUR_TOKEN):
        return Answer.RETRY, Reason.CREDENTIALS
    # A page is somebody's in between, and no message's fault.
    if reply.status in _OF_THE_MESSAGE and reply.body.lstrip().startswith(b"<"):
        return Answer.RETRY, Reason.GARBAGE
    # Another "yes" is somebody's in between, before or after it was taken.
    is_doubtful = reply.status < 300 or reply.status > 500
    return BY_STATUS.get(reply.status, (Answer.UNKNOWN if is_doubtful else Answer.RETRY, Reason.GARBAGE))


#: A token is good for a day at most (RFC 8292 section 2). Half of it: clocks differ. It is made anew when half of that is over.
LIFE_S = 12 * 3600
RENEW_S = LIFE_S / 2
#: Tokens that are kept. There are four push services of browsers, one of them with some ten names.
MOST = 64


class Vapid:
    """One key. `public_key` is what pages subscribe with (`applicationServerKey`), in base64url."""

    def __init__(self, private_key: str, contact: str, clock: Callable[[], float]) -> None:
        """`private_key` is a PEM of P-256, `contact` a `mailto:` or `https:` address for whoever runs a push service, `clock` answers UNIX
        seconds. Raises `ValueError`.
        """
        if urlsplit(contact).scheme not in {"mailto", "https"}:
            raise ValueError("the contact is a mailto: or an https: address")
        key = _p256(private_key)
        self._key = ECKey.import_key(key)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = base64url(point)
        self._contact = contact
        self._clock = clock
        self._made: dict[str, tuple[float, str]] = {}  # by origin: when, and the header

    def authorization(self, origin: str) -> str:
        """The header's value for a push service, named by scheme, host and port."""
        now_s = self._clock()
        made_s, header = self._made.get(origin, (0.0, ""))
        if not made_s <= now_s < made_s + RENEW_S:  # or the clock was put back
            claims = {"aud": origin, "exp": int(now_s) + LIFE_S, "sub": self._contact}
            header = f"vapid t={jwt.encode({'alg': 'ES256', 'typ': 'JWT'}, claims, self._key)}, k={self.public_key}"
            if len(self._made) >= MOST:  # whoever made up names below a served one
                self._made.clear()
            self._made[origin] = now_s, header
        return header

    def forget(self, origin: str) -> None:
        """Its token is refused: the next is another."""
        self._made.pop(origin, None)


def _p256(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the private key is no PEM, or encrypted") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError("the private key is not one of P-256")
    return key


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
