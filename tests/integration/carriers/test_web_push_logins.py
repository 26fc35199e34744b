"""The state of a web push carrier comes from the push services that the subscribers' browsers use."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.config.carriers import WebPushCarrier
from alertd.config.settings import Settings
from alertd.model.registration import Registration
from alertd.runtime.assembly import opened
from alertd.service.carriers.logins import LAST_LOGIN_WAIT_S, LoginWatch
from alertd.service.carriers.states import CarrierState
from alertd.service.container import Container
from alertd.service.people.recent_addresses import recent_addresses
from alertd.store.engine.codec import Codec
from alertd.store.engine.heartbeats import at_work
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.clocks import Later
from tests.waiting import until


class Service:
    """A process with a web push carrier without `endpoint`, and what its login watch finds."""

    def __init__(self, parts: Container, keys: dict[str, str]) -> None:
        self.parts, self._keys, self._clock = parts, keys, Later()
        self._watch = LoginWatch(
            carriers=parts.carriers, logins=parts.logins, limits=parts.limits, clock=self._clock, chance=lambda: 0.0,
            addresses=partial(recent_addresses, parts.people),
        )  # fmt: skip

    async def subscribe(self, name: str, server: str) -> None:
        """Registers a person with a browser whose push service is at `server` (host:port)."""
        browser = {
            "channel": "webpush",
            "subscription": {"endpoint": f"https://{server}/push/{name}", "keys": self._keys},
        }
        document = {
            "languages": ["en"], "kinds": ["missing-child"], "places": {"home": {"point": [-5.97, 37.39]}},
            "addresses": [browser], "consent": {"at": "2026-01-10T12:00:00Z", "source": "web form"},
        }  # fmt: skip
        await self.parts.registry.put(name, Registration.model_validate_json(json.dumps(document)))

    async def state(self, seconds: float = LAST_LOGIN_WAIT_S) -> CarrierState:
        """Returns the carrier's state after so many seconds."""
        self._clock.pass_by(seconds)
        await at_work(self.parts.db).announce({"webpush": True})
        await self._watch.round()
        await until(lambda: all(one.task is None or one.task.done() for one in self._watch._known.values()))
        return (await self.parts.carrier_states.all())["browsers"]

    async def metrics(self) -> str:
        return (await self.parts.fleet.metrics()).work.decode()


@pytest.fixture
def nobody() -> Any:
    """A server that refuses connections: a port that is bound, and not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"localhost:{held.getsockname()[1]}"


@pytest.fixture
def push_service(sandbox: Sandbox) -> str:
    """The host and port of the sandbox's push service."""
    return str(sandbox.endpoints["webpush"]["endpoint"].removeprefix("https://"))


@pytest.fixture
async def service(
    redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, nobody: str, push_service: str
) -> AsyncIterator[Service]:
    ends = sandbox.endpoints["webpush"] | {"endpoint": None, "hosts": (push_service, nobody)}
    settings = Settings(carriers={"browsers": WebPushCarrier(kind="webpush", **ends)})
    async with opened(settings, redis, codec, library=library) as parts:
        yield Service(parts, sandbox.endpoints["browser"]["keys"])


async def test_web_push_is_not_known_until_a_browser_has_subscribed(service: Service, push_service: str):
    """The cause says so. Then the worker connects to the browser's push service within half a minute."""
    found = await service.state()
    assert found.cause is not None
    assert (found.state, found.works, found.cause.code) == ("not_known", True, "no_subscription")
    assert found.cause.sentence.startswith("No browser has subscribed yet")
    assert 'alertd_carrier_works{carrier="browsers",channel="webpush",state="not_known"} 1.0' in await service.metrics()
    await service.subscribe("ana", push_service)
    found = await service.state()
    assert (found.state, found.cause) == ("works", None)


async def test_a_push_service_that_cannot_be_reached_is_named(service: Service, nobody: str, push_service: str):
    """If it is the only one in use: web push works for the browsers of another one that answers."""
    await service.subscribe("ana", nobody)
    found = await service.state()
    assert found.cause is not None
    assert (found.state, found.works, found.cause.server) == ("connection_refused", False, nobody)
    await service.subscribe("luis", push_service)
    assert (await service.state()).state == "works"


async def test_an_address_of_a_host_that_is_no_push_service_is_not_contacted(service: Service, sandbox: Sandbox):
    """It comes from a stranger's browser."""
    await service.subscribe("eve", sandbox.endpoints["sms"]["endpoint"].removeprefix("https://"))
    assert (await service.state()).state == "not_known"
