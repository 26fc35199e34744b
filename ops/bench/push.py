"""Sends the same push messages through alertd's channel and through firebase-admin, over TLS to one nginx.

`senders` describes the measurement.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import firebase_admin
import uvloop
from firebase_admin import credentials, messaging
from pushing import TEXT, TITLE, answering, message, token_of
from senders import CHAIN, WARM_UP, Bench, Run, Sender, Watch, through

from channels.base import Recipient
from channels.fcm import FcmChannel, FcmSettings

PEER_BATCH = 500  # the limit of one call of firebase-admin

#: The answer of FCM to an accepted message.
TAKEN = """return 200 '{"name": "projects/sandbox/messages/0:1500415314455276%31bd1c9631bd1c96"}';"""


def send_with_alertd(count: int, push: dict[str, Any]) -> Run:
    channel = FcmChannel(FcmSettings(**push))
    return uvloop.run(through(channel, message(), lambda n: Recipient(token_of(n), f"tag-{n}", is_new=True), count))


def _firebase(push: dict[str, Any]) -> Callable[[range], list[Any]]:
    """Points firebase-admin at the same server. Returns a function that makes messages with the same words."""
    warnings.simplefilter("ignore")  # it warns at each token
    messaging._MessagingService.FCM_URL = push["endpoint"] + "/v1/projects/{0}/messages:send"  # noqa: SLF001 no other way
    firebase_admin.initialize_app(credentials.Certificate(push["credentials"]))
    common = {
        "data": {"chain": CHAIN, "version": CHAIN, "language": "es"},
        "notification": messaging.Notification(title=TITLE, body=TEXT),
        "android": messaging.AndroidConfig(priority="high", ttl=3600),
    }
    return lambda numbers: [messaging.Message(token=token_of(n), **common) for n in numbers]


def send_with_send_each(count: int, push: dict[str, Any]) -> Run:
    messages = _firebase(push)
    _check(messaging.send_each(messages(range(WARM_UP))))
    watch = Watch()
    for start in range(0, count, PEER_BATCH):
        _check(messaging.send_each(messages(range(start, min(start + PEER_BATCH, count)))))
    return watch.run(count)


def send_with_send_each_async(count: int, push: dict[str, Any]) -> Run:
    messages = _firebase(push)

    async def run() -> Run:
        _check(await messaging.send_each_async(messages(range(WARM_UP))))
        watch = Watch()
        for start in range(0, count, PEER_BATCH):
            _check(await messaging.send_each_async(messages(range(start, min(start + PEER_BATCH, count)))))
        return watch.run(count)

    return uvloop.run(run())


def _check(answer: Any) -> None:
    if answer.failure_count:
        raise RuntimeError(
            f"{answer.failure_count} failed, the first: {next(r.exception for r in answer.responses if r.exception)}"
        )


BENCH = Bench(
    file=__file__,
    does=__doc__,
    title="Push over TLS to nginx",
    noun="message",
    nouns="messages",
    senders={
        "alertd": Sender(send_with_alertd),
        "send_each": Sender(send_with_send_each, "send_each_", 0.1),
        "send_each_async": Sender(send_with_send_each_async, "send_each_async_", 0.1),
    },
    server=partial(answering, TAKEN, "push"),
    peer="send_each",
    environment=lambda push: {"REQUESTS_CA_BUNDLE": push["ca_file"], "SSL_CERT_FILE": push["ca_file"]},
)


if __name__ == "__main__":
    sys.exit(BENCH.main())
