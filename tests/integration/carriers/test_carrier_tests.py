"""A carrier is tested by one message to an address of one's own: its words are fixed, it is sent by a worker, and counted and written down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alertd.runtime.worker import worker_of
from alertd.service.carriers.carriers import Carrier
from alertd.service.container import Container
from alertd.service.delivery.carrier_tests import A_MINUTE, LINGER_S, WORDS
from alertd.store.carriers.tests import CarrierTest, CarrierTestQueue
from alertd.store.engine import keys
from alertd.store.engine.sealed_queue import WAITS_MS
from alertd.store.records.events import Events as EventStore
from channels.login import Login, LoginState
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import ANA

OWN = {"fcm": "token-of-mine", "text": "+34600000001", "relay": "me@centre.example"}


def anybody(_: Carrier) -> bool:
    """This process may use all carriers."""
    return True


async def no_login(_: Carrier) -> Login:
    """No login of this process tells anything."""
    return Login(LoginState.NOT_KNOWN)


def nothing_taken(_: Carrier) -> None:
    """No health of this process learns of a test."""


async def headers(parts: Container, org: str = "default", *, test: bool = False, **more: str) -> dict[str, str]:
    _, token = await parts.access.create(org=org, subject="ana", scopes=frozenset({"admin"}), test=test)
    return {"Authorization": f"Bearer {token}", **more}


async def sent_by(client: Any, parts: Container, name: str, to: str, **more: Any) -> Any:
    """Asks, while a worker works; the answer and its status."""
    named = more.pop("headers", None) or await headers(parts)
    asked = asyncio.create_task(client.post(f"/v1/carriers/{name}/test", json={"to": to, **more}, headers=named))
    while not asked.done():
        await parts.carrier_tests.round(anybody, no_login, nothing_taken)
        await asyncio.wait([asked], timeout=0.05)
    return (await asked).status, await (await asked).json()


@pytest.mark.parametrize("name", OWN)
async def test_one_message_says_that_it_is_a_test(client: Any, parts: Container, sandbox: Sandbox, name: str):
    """By this carrier, to this address, once; the audit has what came of it and no address."""
    status, told = await sent_by(client, parts, name, OWN[name])
    assert (status, told["carrier"], told["answer"], told["reason"]) == (200, name, "accepted", "none")
    carrier = {"fcm": sandbox.push, "text": sandbox.sms, "relay": sandbox.mail}[name]
    assert sum(count for _, _, _, count, _, _ in carrier.recorded) == 1
    entries = await parts.audit.page("default", before=None, limit=2)
    assert [(one.act, one.outcome, one.object) for one in entries] == [
        ("carrier.test", "done", name),
        ("carrier.test", "begun", name),
    ]
    assert OWN[name] not in str(entries)


async def test_its_words_are_nobody_s_to_choose(client: Any, parts: Container, sandbox: Sandbox):
    """In the language that was asked for, and in no words of the caller's."""
    assert (await sent_by(client, parts, "text", OWN["text"], language="es"))[1]["answer"] == "accepted"
    [text] = sandbox.sms.bodies.values()
    assert text == ": ".join(WORDS["es"])
    status, told = await sent_by(client, parts, "text", OWN["text"], text="Call me")
    assert (status, told["errors"][0]["pointer"]) == (400, "/text")


async def test_what_the_carrier_says_is_told(client: Any, parts: Container, sandbox: Sandbox):
    """A refusal is a finding, not a failure of ours; what is no address of the channel is told before anything is sent."""
    sandbox.sms.script.set(Rule("+346", "invalid-number"))
    assert (await sent_by(client, parts, "text", OWN["text"]))[1]["answer"] == "never"
    status, told = await sent_by(client, parts, "relay", OWN["text"])
    assert (status, told["errors"][0]["pointer"]) == (400, "/to")
    assert (await sent_by(client, parts, "nobody", OWN["text"]))[0] == 404


async def test_asked_again_under_its_key_it_is_sent_once(client: Any, parts: Container, sandbox: Sandbox):
    """Whoever lost the answer hears it again."""
    named = await headers(parts, **{"Idempotency-Key": "once"})
    first, again = [await sent_by(client, parts, "text", OWN["text"], headers=named) for _ in range(2)]
    assert first == again
    assert len(sandbox.sms.bodies) == 1


async def test_a_carrier_is_tested_a_few_times_a_minute(client: Any, parts: Container):
    """More would be a way to annoy somebody."""
    answers = [(await sent_by(client, parts, "text", OWN["text"]))[0] for _ in range(A_MINUTE + 1)]
    assert answers == [200] * A_MINUTE + [429]


async def test_who_may_not_and_when_nothing_is_sent(client: Any, parts: Container, sandbox: Sandbox):
    """Another organisation, a test key; and nobody at all while all sending is stopped."""
    for named in (await headers(parts, "police"), await headers(parts, test=True)):
        assert (await sent_by(client, parts, "text", OWN["text"], headers=named))[0] == 403
    await parts.stop_control.stop("service", ANA, "reason")
    assert (await sent_by(client, parts, "text", OWN["text"]))[1]["type"] == "/problems/stop-active"
    assert sandbox.sms.bodies == {}


async def test_a_carrier_that_says_nothing_keeps_no_other_test_waiting(client: Any, parts: Container, sandbox: Sandbox):
    """Whoever tests all their carriers hears of those that work while one is silent."""
    sandbox.sms.script.set(Rule("+346", "stall", delay_s=14))
    named = await headers(parts)
    silent = asyncio.create_task(client.post("/v1/carriers/text/test", json={"to": OWN["text"]}, headers=named))
    while not sandbox.sms.recorded:
        await parts.carrier_tests.round(anybody, no_login, nothing_taken)
        await asyncio.wait([silent], timeout=0.05)
    status, told = await sent_by(client, parts, "relay", OWN["relay"], headers=named)
    assert (status, told["answer"]) == (200, "accepted")
    assert not silent.done()
    silent.cancel()
    await parts.carrier_tests.close()


async def test_who_may_not_use_a_carrier_leaves_its_test_to_another(parts: Container, sandbox: Sandbox):
    """As a worker that the centre did not let in, where another is; it sends the others'."""
    queue = CarrierTestQueue(parts.db)
    for name, to in OWN.items():
        until = parts.clock.now_ms() + 60_000
        await queue.add(CarrierTest(id=name, carrier=name, to=to, language="en", until=until))
    await parts.carrier_tests.round(lambda carrier: carrier.name != "text", no_login, nothing_taken)
    await parts.carrier_tests.close()
    assert [bool(await queue.answered(name)) for name in OWN] == [True, False, True]
    await parts.carrier_tests.round(anybody, no_login, nothing_taken)
    await parts.carrier_tests.close()
    assert (await queue.answered("text")).answer == "accepted"


async def test_what_no_worker_takes_is_not_kept(parts: Container):
    """It holds somebody's address, and nobody waits for it any more."""
    test = CarrierTest(id="1", carrier="text", to=OWN["text"], language="en", until=0)
    await CarrierTestQueue(parts.db).add(test)
    left_ms = await parts.db.execute("PTTL", keys.CARRIER_TESTS)
    assert 0 < left_ms <= WAITS_MS


async def test_whoever_does_not_lead_sends_its_tests_to_the_end(parts: Container, sandbox: Sandbox):
    """Another process tells what happens to alerts: a carrier that takes its time is waited for all the same."""
    assert await EventStore(parts.db, keep=1, keep_days=1).leads("another", 60_000)
    sandbox.sms.script.set(Rule("+346", "slow", delay_s=LINGER_S + 2))
    queue = CarrierTestQueue(parts.db)
    until = parts.clock.now_ms() + 60_000
    await queue.add(CarrierTest(id="slow", carrier="text", to=OWN["text"], language="en", until=until))
    worker = worker_of(parts)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        while not await queue.answered("slow"):  # noqa: ASYNC110  it is in the store: nobody sets an event
            await asyncio.sleep(0.1)
        worker.stop()
    assert (await queue.answered("slow")).answer == "accepted"
