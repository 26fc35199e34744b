"""A carrier that lets alertd log in and then accepts no recipient is not shown as working."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.commands.installation import carrier_logins
from alertd.config.carriers import AnyCarrier, SmppCarrier
from alertd.config.settings import Settings
from alertd.runtime.assembly import opened
from alertd.runtime.carrier_factory import carrier_of
from alertd.runtime.worker import Worker, worker_of
from alertd.service.carriers.health import TAKEN_S
from alertd.service.carriers.refusals import IN_A_ROW
from alertd.service.container import Container
from alertd.service.people.registration_intake import Entry
from alertd.store.carriers.tests import CarrierTest, CarrierTestQueue
from alertd.store.engine.codec import Codec
from alertd.store.engine.heartbeats import at_work, taking
from channels.login import WORKS, Login, LoginState
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import api_of, lease_of, planned, registration
from tests.integration.conftest import settings_for
from tests.waiting import until

PEOPLE = IN_A_ROW + 10
MEMBERS = {"mail": "mailbox", "sms": "number"}


class Place:
    """An installation with one carrier, one worker, and people who are reached by it."""

    def __init__(self, parts: Container, worker: Worker, client: Any, headers: dict[str, str], name: str) -> None:
        self.parts, self.worker, self.name = parts, worker, name
        self._client, self._headers = client, headers

    async def alert(self, sample: dict[str, Any]) -> None:
        """Sends an alert to everyone once, and looks after the logins."""
        channel = self.parts.carriers.all()[0].channel.name
        record = await planned(self.parts, sample, channels=[channel], level="child-alert")
        while lease := await lease_of(self.parts.work, record.id, channel, self.parts.carriers.held(channel)):
            await self.worker.feeder.dispatch.drain(lease, lambda: False)
        await self.worker.health.beat()
        await self.worker.logins.round()

    async def shown(self) -> dict[str, Any]:
        """As the API lists the carrier."""
        answer = await self._client.get("/v1/carriers", headers=self._headers)
        return (await answer.json())["carriers"][0]

    async def has(self, state: str) -> bool:
        await self.worker.logins.round()
        return (await self.shown())["state"] == state

    async def metrics(self) -> str:
        return (await self.parts.fleet.metrics()).work.decode()


def address(channel: str, number: int) -> dict[str, Any]:
    value = f"ana-garcia-{number}@people.example" if channel == "mail" else f"+34600{number:06}"
    return {"channel": channel, MEMBERS[channel]: value}


def carriers_of(sandbox: Sandbox) -> dict[str, AnyCarrier]:
    ends = sandbox.endpoints["smpp"]
    return {"relay": settings_for(sandbox).carriers["relay"], "centre": SmppCarrier(kind="smpp", **ends)}


@pytest.fixture
def place(redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, aiohttp_client: Any) -> Callable[..., Any]:
    @asynccontextmanager
    async def running(name: str) -> AsyncIterator[Place]:
        settings = Settings(store=settings_for(sandbox).store, carriers={name: carriers_of(sandbox)[name]})
        async with opened(settings, redis, codec, library=library) as parts:
            await until(lambda: name != "centre" or any(link.takes for link in sandbox.smpp.links))
            channel = parts.carriers.all()[0].channel.name
            people = [Entry(f"p{n}", registration(n, addresses=[address(channel, n)])) for n in range(PEOPLE)]
            assert all(await parts.registry.put_many(people))
            client = await aiohttp_client(api_of(parts))
            _, token = await parts.access.create(org="default", subject="ana", scopes=frozenset({"admin"}))
            worker = worker_of(parts)
            worker.logins.chance = lambda: 0.0
            await worker.health.beat()
            await at_work(parts.db).announce({channel: True})
            found = Place(parts, worker, client, {"Authorization": f"Bearer {token}"}, name)
            await until(lambda: found.has("works"))
            yield found
            await worker.logins.close()

    return running


CASES = [
    ("relay", "550 5.7.1 refused by policy", ["user", "password", "sender"]),
    (
        "centre",
        "receiver rejects (0x66)",
        ["system_id", "password", "system_type", "connections", "sender", "sender_numbering"],
    ),
]


@pytest.mark.parametrize(("name", "said", "settings"), CASES, ids=["relay", "centre"])
async def test_a_carrier_that_refuses_every_recipient_is_shown_as_such_until_it_accepts_one(
    place: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any], name: str, said: str, settings: list[str]
):
    """In the API and the metrics, with its words and the settings to check."""
    carrier = sandbox.mail if name == "relay" else sandbox.smpp
    carrier.script.set(Rule("", "blocked"))
    async with place(name) as running:
        await running.alert(sample)
        shown = await running.shown()
        assert (shown["state"], shown["cause"]["code"]) == ("refuses_recipients", "refuses_recipients")
        assert shown["cause"]["said"] == said
        assert shown["since"]
        assert shown["cause"]["settings"] == [f"carriers.{name}.{one}" for one in settings]
        assert 'state="refuses_recipients"} 0.0' in await running.metrics()
        carrier.script.set()
        await running.alert(sample)
        assert ((await running.shown())["state"], (await running.shown())["cause"]) == ("works", None)


async def test_a_few_refused_recipients_leave_the_carrier_working(
    place: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any]
):
    """They may really be gone."""
    sandbox.mail.script.set(Rule("ana-garcia-1", "blocked"))
    async with place("relay") as running:
        await running.alert(sample)
        assert (await running.shown())["state"] == "works"


async def test_a_test_that_the_carrier_accepts_ends_the_state(
    place: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any]
):
    """An operator need not wait for the next alert to see that the account is in order."""
    sandbox.mail.script.set(Rule("", "blocked"))
    async with place("relay") as running:
        await running.alert(sample)
        assert (await running.shown())["state"] == "refuses_recipients"
        sandbox.mail.script.set()
        test = CarrierTest(
            id="one",
            carrier="relay",
            to="me@centre.example",
            language="en",
            until=running.parts.clock.now_ms() + 60_000,
        )
        await CarrierTestQueue(running.parts.db).add(test)
        worker = running.worker
        await worker.carrier_tests.round(worker.health.may_use, worker.logins.log_in, worker.health.took)
        await worker.carrier_tests.close()
        await worker.logins.round()
        assert (await running.shown())["state"] == "works"


async def test_another_worker_that_sent_nothing_does_not_hide_the_refusals(
    place: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any]
):
    """It can log in, and knows no more. Once the carrier accepts its messages, the first worker learns of it."""
    sandbox.mail.script.set(Rule("", "blocked"))
    async with place("relay") as running:
        clock = running.worker.health.clock = Later()
        await running.alert(sample)
        await running.parts.logins.put("relay", "another", WORKS)
        assert (await running.shown())["state"] == "refuses_recipients"
        for passed_s, state in ((0, LoginState.REFUSES_RECIPIENTS), (TAKEN_S + 1, LoginState.WORKS)):
            clock.pass_by(passed_s)
            await taking(running.parts.db).announce({"relay": True})
            await running.worker.health.beat()
            await running.worker.logins.round()
            record = (await running.parts.logins.get(["relay"]))["relay"]
            assert record is not None
            assert record.login.state is state


@pytest.mark.parametrize("name", ["relay", "centre"])
async def test_the_check_says_that_the_workers_meet_refusals(
    place: Callable[..., Any], sandbox: Sandbox, valkey_socket: str, codec: Codec, sample: dict[str, Any], name: str
):
    """Its own login works, and it sends nothing."""
    (sandbox.mail if name == "relay" else sandbox.smpp).script.set(Rule("", "blocked"))
    async with place(name) as running:
        await running.alert(sample)
        settings = Settings(carriers={name: carriers_of(sandbox)[name]})
        carriers = {name: carrier_of(name, settings.carriers[name], settings)}
        found: dict[str, Login] = await carrier_logins.found(carriers, (f"unix://{valkey_socket}", codec))
        assert found[name].state is LoginState.REFUSES_RECIPIENTS
