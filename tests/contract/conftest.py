"""The channels that speak to the sandbox, each as a `Party`: a channel, its carrier, and words both understand."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
import uvloop

from channels.base import Loudness, MailMessage, PushMessage, Recipient, SmsMessage, Stamp
from channels.fcm import FcmChannel, FcmSettings
from channels.mail import MailChannel
from channels.mail_message import MailIdentity
from channels.sandbox import Sandbox, smsc
from channels.sandbox.authority import make_authority
from channels.sandbox.script import Rule
from channels.sandbox.smsc import SmscSandbox
from channels.smpp.channel import SmppChannel
from channels.smpp.words import BY_LANGUAGE
from channels.sms_http import HttpSmsChannel, HttpSmsSettings
from channels.smtp_relay import RelaySettings
from channels.webpush import WebPushChannel, WebPushSettings
from tests.contract.node_centre import environment, node
from tests.contract.postfix_server import bounces, directory, postfix
from tests.contract.smpp_parties import Heard, SmppParty, centre_settings

__all__ = ["bounces", "directory", "environment", "node", "postfix"]

# Far more than a local answer takes on a busy machine; tests of silence give a short one.
TIMEOUT_S = 30.0

IDENTITY = MailIdentity(
    sender="Alerts <alerts@alerts.example>", domain="alerts.example", unsubscribe_base="https://alerts.example"
)


def stamp(**changes) -> Stamp:
    now = int(time.time())
    made = Stamp(chain="chain1", version="v1", sent_s=now, expires_s=now + 3600, loudness=Loudness.LOUD, language="es")
    return replace(made, **changes)


@dataclass
class Party:
    """One channel with its carrier. `words` gives the carrier's own name for a behaviour."""

    channel: Any
    carrier: Any
    message: Any
    address: str  # a pattern: recipients differ by one number
    words: dict[str, str]

    def recipients(self, count: int, start: int = 0) -> list[Recipient]:
        return [Recipient(self.address.format(start + n), f"tag{start + n}", is_new=True) for n in range(count)]

    def tell(self, what: str, prefix: str = "", **details: Any) -> Rule:
        """The carrier does `what` to every address that starts with `prefix`, from now on. The rule counts its `times` down."""
        rule = Rule(prefix, self.words.get(what, what), **details)
        self.carrier.script.set(rule)
        return rule

    def accept_again(self) -> None:
        self.carrier.script.set()

    def count(self, recipient: Recipient) -> int:
        return self.carrier.recorded.count(recipient.address)

    async def send(self, recipients, may_write=lambda: True):
        return await self.channel.send(self.channel.prepare(self.message), recipients, may_write)


def push(sandbox: Sandbox, **settings) -> Party:
    made = FcmSettings(**{**sandbox.endpoints["push"], "connections": 8, "timeout_s": TIMEOUT_S, **settings})
    message = PushMessage(stamp=stamp(), title="Niña desaparecida", body="Lucía, 7 años")
    words = {"gone": "unregistered", "bad-message": "bad-request", "refused": "bad-token", "garbage": "html"}
    return Party(FcmChannel(made), sandbox.push, message, "token-{:06}", words)


class Browsers(Party):
    """What the carrier knows of an address is its endpoint."""

    def tell(self, what: str, prefix: str = "", **details: Any) -> Rule:
        return super().tell(what, prefix.split(" ", maxsplit=1)[0], **details)

    def count(self, recipient: Recipient) -> int:
        return self.carrier.recorded.count(recipient.address.split(" ")[0])


def webpush(sandbox: Sandbox, **settings) -> Party:
    made = WebPushSettings(**{**sandbox.endpoints["webpush"], "connections": 8, "timeout_s": TIMEOUT_S, **settings})
    message = PushMessage(stamp=stamp(), title="Niña desaparecida", body="Lucía, 7 años")
    browser = sandbox.endpoints["browser"]
    address = f"https://{browser['host']}/push/{{:06}} {browser['keys']['p256dh']} {browser['keys']['auth']}"
    words = {"bad-message": "bad-request", "refused": "other-key", "garbage": "html"}
    return Browsers(WebPushChannel(made), sandbox.webpush, message, address, words)


SMS_WORDS = {"gone": "opted-out", "refused": "invalid-number"}


def sms(sandbox: Sandbox, **settings) -> Party:
    made = HttpSmsSettings(**{**sandbox.endpoints["sms"], "connections": 8, "timeout_s": TIMEOUT_S, **settings})
    message = SmsMessage(stamp=stamp(), text="Niña desaparecida: Lucía, 7 años")
    return Party(HttpSmsChannel(made), sandbox.sms, message, "+346000{:05}", {**SMS_WORDS, "garbage": "html"})


def smpp(sandbox: Sandbox, **settings) -> Party:
    quick = {"binds": 3, "back_off_s": 0.02, "throttle_pause_s": 0.02, "statuses": smsc.STATUSES}
    made = centre_settings(**{**sandbox.endpoints["smpp"], "timeout_s": TIMEOUT_S, **quick, **settings})
    message = SmsMessage(stamp=stamp(), text="Niña desaparecida: Lucía, 7 años")
    return Party(SmppChannel(made), sandbox.smpp, message, "+346000{:05}", SMS_WORDS)


def mail(sandbox: Sandbox, **settings) -> Party:
    times = {"timeout_s": TIMEOUT_S, "content_timeout_s": settings.get("timeout_s", TIMEOUT_S)}
    made = RelaySettings(**{**sandbox.endpoints["mail"], "connections": 8, **times, **settings})
    message = MailMessage(stamp=stamp(), subject="Niña desaparecida", text="Lucía, 7 años", html="<p>Lucía</p>")
    words = {"gone": "no-mailbox", "bad-message": "bad-content", "refused": "full"}
    return Party(MailChannel(made, IDENTITY), sandbox.mail, message, "person{}@people.example", words)


def pytest_asyncio_loop_factories(config, item):
    """The loop that alertd runs on; the sandbox in another process runs on the standard one."""
    return {"uvloop": uvloop.new_event_loop}


PARTIES = {"push": push, "webpush": webpush, "sms": sms, "smpp": smpp, "mail": mail}


@pytest.fixture
async def sandbox(tmp_path):
    running = Sandbox(tmp_path)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def open_party(sandbox):
    """Open a party by the name of its channel, with settings of one's own; closed after the test."""
    opened = []

    async def open_one(name: str, **settings: Any) -> Party:
        made = PARTIES[name](sandbox, **settings)
        await made.channel.open()
        opened.append(made)
        return made

    yield open_one
    for made in opened:
        await made.channel.close()


@pytest.fixture(params=PARTIES)
def party_name(request):
    return request.param


@pytest.fixture
async def party(party_name, open_party):
    return await open_party(party_name)


@pytest.fixture
async def open_centre(tmp_path):
    """A centre with these habits and a channel with these settings; closed after the test."""
    opened = []

    async def open_one(habits=None, *, tls=True, **settings):
        authority = make_authority(tmp_path)
        carrier = SmscSandbox(authority if tls else None, habits, keep=True)
        await carrier.start()
        made = {
            "host": "127.0.0.1",
            "port": carrier.port,
            "tls": tls,
            "ca_file": str(authority.ca_file),
            "system_id": smsc.SYSTEM_ID,
            "password": smsc.PASSWORD,
            "sender": smsc.SENDER,
            "binds": 2,
            "timeout_s": 5.0,
            "back_off_s": 0.02,
            "throttle_pause_s": 0.02,
            "statuses": smsc.STATUSES,
            "languages": tuple(BY_LANGUAGE),
            **settings,
        }
        heard = Heard()
        channel = SmppChannel(centre_settings(**made), listener=heard)
        await channel.open()
        opened.append((channel, carrier))
        return SmppParty(channel, carrier, heard)

    yield open_one
    for channel, carrier in opened:
        await channel.close()
        await carrier.stop()


@pytest.fixture
async def centre_party(open_centre):
    """With the habits and the settings of most."""
    return await open_centre()


@pytest.fixture
def silent_port():
    """A port where connections are accepted, and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]
