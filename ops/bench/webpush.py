"""Sends the same web push messages through alertd's channel and through pywebpush, over TLS to one nginx.

Each message is encrypted for one of two hundred browsers. The bench measures pywebpush twice: in its normal use, with a signed token per
message, and with one token for all messages, like alertd. `senders` describes the measurement.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import cache, partial
from typing import Any

import aiohttp
import pywebpush
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pushing import answering, message, token_of
from py_vapid import Vapid
from senders import WARM_UP, Bench, Run, Sender, Watch, tag, through

from channels.base import Recipient
from channels.webpush import WebPushChannel, WebPushSettings
from channels.webpush_message import WebPushPayload, base64url, encode

BROWSERS = 200
PEER_LANES = 64  # parallel HTTP/1.1 connections, one message at a time on each: pywebpush has no other mode

#: The answer of a push service to an accepted message (RFC 8030 section 5).
TAKEN = "add_header Location /m/0:1500415314455276%31bd1c9631bd1c96; return 201;"

#: Sends a text to a subscription.
Send = Callable[[aiohttp.ClientSession, dict[str, Any], bytes], Awaitable[aiohttp.ClientResponse]]


def subscription(service: str, number: int) -> dict[str, Any]:
    """A subscription as a browser makes it, as JSON."""
    return {"endpoint": f"{service}/push/{token_of(number)}", "keys": keys_of(number % BROWSERS)}


@cache
def keys_of(browser: int) -> dict[str, str]:  # noqa: ARG001 of each other ones
    """Made during the warm-up."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return {"p256dh": base64url(point), "auth": base64url(secrets.token_bytes(16))}


def send_with_alertd(count: int, push: dict[str, Any]) -> Run:
    def recipient(number: int) -> Recipient:
        to = subscription(f"https://{push['hosts'][0]}", number)
        return Recipient(f"{to['endpoint']} {to['keys']['p256dh']} {to['keys']['auth']}", tag(number), is_new=True)

    return uvloop.run(through(WebPushChannel(WebPushSettings(**push)), message(), recipient, count))


def send_with_webpush_async(count: int, push: dict[str, Any]) -> Run:
    """Sends with pywebpush's normal call, over persistent connections; reads the key once."""
    key, payload = Vapid.from_pem(push["private_key"].encode()), encode(message())

    async def send(session: aiohttp.ClientSession, to: dict[str, Any], text: bytes) -> Any:
        claims = {"sub": push["contact"]}  # pywebpush writes the recipient into it
        return await pywebpush.webpush_async(
            to, text, key, claims, ttl=3600, headers=payload.headers, aiohttp_session=session
        )

    return uvloop.run(_with_pywebpush(count, push, payload, send))


def send_with_send_async(count: int, push: dict[str, Any]) -> Run:
    """Sends with pywebpush's parts without the signature: encryption and sending."""
    key, payload = Vapid.from_pem(push["private_key"].encode()), encode(message())
    headers = {**payload.headers, **key.sign({"aud": push["endpoint"], "sub": push["contact"]})}

    async def send(session: aiohttp.ClientSession, to: dict[str, Any], text: bytes) -> Any:
        return await pywebpush.WebPusher(to, aiohttp_session=session).send_async(text, headers, ttl=3600)

    return uvloop.run(_with_pywebpush(count, push, payload, send))


async def _with_pywebpush(count: int, push: dict[str, Any], payload: WebPushPayload, send: Send) -> Run:
    """Prepares all texts except their tags, like our channel."""
    before, after = payload.pieces
    trusted = ssl.create_default_context(cafile=push["ca_file"])

    async def lane(session: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
        for number in numbers:
            to = subscription(push["endpoint"], number)
            response = await send(session, to, before + tag(number).encode() + after)
            assert response.status == 201

    async def all_lanes(session: aiohttp.ClientSession, count: int) -> None:
        numbers = iter(range(count))
        await asyncio.gather(*(lane(session, numbers) for _ in range(PEER_LANES)))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=PEER_LANES, ssl=trusted)) as session:
        await all_lanes(session, WARM_UP)
        watch = Watch()
        await all_lanes(session, count)
        return watch.run(count)


BENCH = Bench(
    file=__file__,
    does=__doc__,
    title="Web push over TLS to nginx",
    noun="message",
    nouns="messages",
    senders={
        "alertd": Sender(send_with_alertd),
        "webpush_async": Sender(send_with_webpush_async, "peer_", 0.1),
        "send_async, one token": Sender(send_with_send_async, "one_token_", 0.1),
    },
    server=partial(answering, TAKEN, "webpush"),
    peer="webpush_async",
)


if __name__ == "__main__":
    sys.exit(BENCH.main())
