"""Web push against implementations nobody here wrote: http_ece opens what we seal, py_vapid reads who we are, pywebpush seals for our sandbox."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import time
from dataclasses import replace

import aiohttp
import http_ece
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02
from pywebpush import WebPushException, webpush_async

from channels.base import ACCEPTED, Recipient
from channels.webpush_message import RECORD_BYTES, base64url

HOST, CONTACT = "push.example", "mailto:alerts@centre.example"
TEXT = json.dumps({"notification": {"title": "Niña", "data": {"chain": "c", "version": "v"}}}, ensure_ascii=False)


def point(key: ec.EllipticCurvePrivateKey) -> str:
    """Its public half, as browsers write it."""
    return base64url(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


class Browser:
    """A subscription whose private half stays here, and what it opens with http_ece."""

    def __init__(self) -> None:
        self._key, self._secret = ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(16)

    @property
    def keys(self) -> dict[str, str]:
        return {"p256dh": point(self._key), "auth": base64url(self._secret)}

    def at(self, endpoint: str, tag: str = "t") -> Recipient:
        return Recipient(f"{endpoint} {self.keys['p256dh']} {self.keys['auth']}", tag, is_new=True)

    def opened(self, body: bytes) -> bytes:
        return http_ece.decrypt(body, private_key=self._key, auth_secret=self._secret)


@pytest.fixture
async def service(sandbox):
    """A push service that takes everything, by aiohttp over TLS: where it is, and what it got as path, headers and body."""
    got: list[tuple[str, aiohttp.typedefs.LooseHeaders, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((request.path_qs, request.headers, await request.read()))
        return web.Response(status=201)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=sandbox.authority.server_context())
    await site.start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}", got
    await runner.cleanup()


@pytest.fixture
async def service_party(open_party, service):
    """Our channel, which speaks to that one, and what it got."""
    endpoint, got = service
    return await open_party("webpush", endpoint=endpoint, hosts=(HOST, f"*.{HOST}:8443")), got


@pytest.mark.parametrize("body", ["Lucía, 7 años", "漢" * 3_000], ids=["short", "longest"])
async def test_a_stranger_opens_what_we_seal(service_party, body):
    """Each browser opens its own, and no two were sealed alike: not with the same salt, and not by the same key."""
    party, got = service_party
    browsers = {f"/push/{n}?of={n}": Browser() for n in range(20)}
    party.message = replace(party.message, body=body)
    recipients = [one.at(f"https://{HOST}{path}", f'tag "{path}"') for path, one in browsers.items()]
    assert await party.send(recipients) == [ACCEPTED] * len(browsers)
    assert {path for path, _, _ in got} == set(browsers)
    for path, headers, sealed in got:
        assert headers["Content-Encoding"] == "aes128gcm"
        assert len(sealed) <= RECORD_BYTES
        notification = json.loads(browsers[path].opened(sealed))["notification"]
        assert (notification["title"], notification["data"]["ack"]) == ("Niña desaparecida", f'tag "{path}"')
        assert notification["body"][:10] == body[:10]
    salts, senders = {sealed[:16] for _, _, sealed in got}, {sealed[21:86] for _, _, sealed in got}
    assert len(salts) == len(senders) == len(browsers)


async def test_nobody_else_opens_it_nor_what_was_changed_on_the_way(service_party):
    """Another browser's key does not fit, and one bit is enough to be noticed."""
    party, got = service_party
    browser = Browser()
    assert await party.send([browser.at(f"https://{HOST}/1")]) == [ACCEPTED]
    ((_, _, sealed),) = got
    assert browser.opened(sealed)
    for opener, body in ((Browser(), sealed), (browser, sealed[:-1] + bytes([sealed[-1] ^ 1]))):
        with pytest.raises(http_ece.ECEException):
            opener.opened(body)


async def test_a_stranger_verifies_who_we_are(service_party):
    """The token is signed by the key that pages subscribe with, and is for the push service of the subscription, port and all."""
    party, got = service_party
    hosts = [HOST, f"a.{HOST}:8443"]
    assert await party.send([Browser().at(f"https://{host}/{host}") for host in hosts]) == [ACCEPTED] * 2
    headers = {path[1:]: headers["Authorization"] for path, headers, _ in got}
    assert set(headers) == set(hosts)
    other = point(ec.generate_private_key(ec.SECP256R1()))
    for host, header in headers.items():
        assert header.startswith("vapid ")
        parts = dict(part.split("=", 1) for part in header.removeprefix("vapid ").split(", "))
        assert parts["k"] == party.channel.public_key
        # py_vapid knows the header without the space that RFC 8292 has in it.
        assert Vapid02.verify(f"vapid t={parts['t']},k={parts['k']}")
        assert not Vapid02.verify(f"vapid t={parts['t']},k={other}")
        claims = json.loads(base64.urlsafe_b64decode(parts["t"].split(".")[1] + "=="))
        assert (claims["aud"], claims["sub"]) == (f"https://{host}", f"mailto:sandbox@{HOST}")
        assert 0 < claims["exp"] - time.time() <= 24 * 3600


@pytest.fixture
async def push(sandbox):
    """pywebpush, which signs with a key of its own, towards our sandbox."""
    trusted, key = ssl.create_default_context(cafile=sandbox.authority.ca_file), Vapid02()
    key.generate_keys()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session:

        async def send(path: str, keys: dict[str, str], claims: dict[str, str | int] | None, text: str = TEXT) -> int:
            to = {"endpoint": sandbox.webpush.endpoint + path, "keys": keys}
            try:
                sent = await webpush_async(to, text, key, claims, ttl=60, aiohttp_session=session)
            except WebPushException as refused:
                return refused.status_code
            return sent.status

        yield send


async def test_our_sandbox_opens_what_a_stranger_seals(sandbox, push):
    """And records it under the endpoint."""
    sandbox.webpush.kept = {}
    assert await push("/push/1", sandbox.webpush.keys, {"sub": CONTACT}) == 201
    endpoint = f"{sandbox.webpush.endpoint}/push/1"
    assert sandbox.webpush.recorded.count(endpoint) == 1
    assert sandbox.webpush.kept == {endpoint: TEXT.encode()}


async def test_our_sandbox_refuses_what_a_browser_s_push_service_would(sandbox, push):
    """Sealed for somebody else, no JSON, unsigned, or with a token that is good for more than a day."""
    keys, now_s = sandbox.webpush.keys, int(time.time())
    assert await push("/push/1", Browser().keys, {"sub": CONTACT}) == 400
    assert await push("/push/1", keys, {"sub": CONTACT}, "no JSON") == 400
    assert await push("/push/1", keys, None) == 401
    assert await push("/push/1", keys, {"sub": CONTACT, "exp": now_s + 25 * 3600}) == 401
    assert sandbox.webpush.recorded.total == 0
