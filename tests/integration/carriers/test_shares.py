"""Workers share the connections that a mail relay takes from the whole installation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.config.carriers import SmppCarrier, SmtpCarrier
from alertd.config.settings import Settings
from alertd.model.states import ATTEMPTS_MASK, AlertState
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.carriers.health import CarrierHealth
from alertd.service.container import Container
from alertd.store.carriers.limits import FAILURES, LEAST, SILENT_MS, ConnectionShares, Share
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from channels.sandbox import Sandbox
from channels.sandbox.smsc import PASSWORD, SENDER, SYSTEM_ID, Habits, SmscSandbox
from channels.sandbox.smtp import SmtpSandbox
from geofences.regions import Library
from tests.integration.acts import BEA, register, submitted, working
from tests.integration.carriers.binds import answers, bind_of
from tests.waiting import until

PEOPLE, ALERTS, TAKES, WORKERS = 65, 4, 6, 4


@pytest.fixture
def relay(sandbox: Sandbox) -> SmtpSandbox:
    """A relay that takes six connections at a time."""
    sandbox.mail.connections = TAKES
    return sandbox.mail


@pytest.fixture
def process(
    redis: Redis, codec: Codec, relay: SmtpSandbox, library: Library, renderer: Renderer, sandbox: Sandbox
) -> Callable[..., Any]:
    """Opens a process over the store, whose settings say that the relay takes so many connections."""

    @asynccontextmanager
    async def running(connections: int) -> AsyncIterator[Container]:
        section = SmtpCarrier(
            kind="smtp", host="127.0.0.1", port=relay.port, ca_file=sandbox.authority.ca_file, sender="alerts@a.example",
            connections=connections,
        )  # fmt: skip
        settings = Settings(carriers={"relay": section})
        async with opened(settings, redis, codec, library=library, renderer=renderer) as parts:
            yield parts

    return running


@pytest.fixture
async def centre() -> AsyncIterator[SmscSandbox]:
    """A text message centre that allows one bind."""
    running = SmscSandbox(None, Habits(receipts=False, binds=1))
    await running.start()
    yield running
    await running.stop()


async def claimed(shares: ConnectionShares, worker: str, most: int, **changes: Any) -> Share:
    """A share that a worker asks for which has nothing yet."""
    asked = {"held": 0, "works": False, "behind": False, **changes}
    return await shares.claim("relay", worker, most=most, **asked)


@pytest.mark.parametrize("connections", [TAKES, 3 * TAKES])
async def test_no_mail_spends_a_try_on_a_connection_that_the_relay_refuses(
    process: Any, relay: SmtpSandbox, sample: dict[str, Any], connections: int
):
    """Whether the settings say how many connections the relay takes, or too many."""
    async with AsyncExitStack() as stack:
        parts = [await stack.enter_async_context(process(connections)) for _ in range(WORKERS)]
        await register(parts[0], PEOPLE)
        async with working(*parts):
            taken = [await submitted(parts[0], sample, channels=["mail"]) for _ in range(ALERTS)]
            ids = [(await parts[0].approval.approve(one.record.id, BEA)).id for one in taken]

            async def is_sent() -> bool:
                return set(await parts[0].alerts.states(ids)) == {AlertState.SENT}

            await until(is_sent)
            tries = [
                int(row["tries"]) & ATTEMPTS_MASK
                for one in ids
                async for _, rows, _ in parts[0].work.ledger(one)
                for row in rows
            ]
        said = [answers(one) for one in parts]
        assert await parts[0].limits.open_breakers(["relay"]) == {"relay": False}
    assert tries == [1] * ALERTS * PEOPLE
    assert sum(one.get(("accepted", "none"), 0) for one in said) == ALERTS * PEOPLE
    assert not [what for one in said for what in one if what[0] not in {"accepted", "withheld"}]
    assert set(relay.message_ids.values()) == {1}
    assert relay.recorded.total == ALERTS * PEOPLE
    assert relay.refused <= (3 * WORKERS if connections > TAKES else 0)


async def test_another_process_takes_over_the_share_of_one_that_ends(
    process: Any, relay: SmtpSandbox, sample: dict[str, Any]
):
    """With one connection for two processes, the second sends once the first has ended."""
    async with AsyncExitStack() as first:
        one = await first.enter_async_context(process(1))
        async with process(1) as two:
            await register(two, 20)
            await first.enter_async_context(working(one))
            taken = await submitted(two, sample, channels=["mail"])
            async with working(two):
                record = await two.approval.approve(taken.record.id, BEA)
                await until(lambda: relay.recorded.total > 3)
                await first.aclose()

                async def is_sent() -> bool:
                    return await two.alerts.states([record.id]) == [AlertState.SENT]

                await until(is_sent)
            assert relay.recorded.total == 20
            assert relay.refused == 0


async def test_a_relay_that_takes_no_connection_fails_and_is_found_again(
    process: Any, relay: SmtpSandbox, sample: dict[str, Any]
):
    """No process has a connection that works, so the breaker opens. When the relay returns, everybody gets the mail."""
    relay.connections = 0
    async with process(8) as one, process(8) as two:
        await register(one, FAILURES)
        taken = await submitted(one, sample, channels=["mail"])
        async with working(one, two):
            record = await one.approval.approve(taken.record.id, BEA)

            async def is_open() -> bool:
                return (await one.limits.open_breakers(["relay"]))["relay"]

            await until(is_open)
            assert answers(one).get(("retry", "connection"), 0) + answers(two).get(("retry", "connection"), 0)
            relay.connections = TAKES
            one.db.skew_ms = two.db.skew_ms = 60_000

            async def is_sent() -> bool:
                return await one.alerts.states([record.id]) == [AlertState.SENT]

            await until(is_sent)
        assert relay.recorded.total == FAILURES


@pytest.fixture
def both_of(
    redis: Redis, codec: Codec, relay: SmtpSandbox, library: Library, sandbox: Sandbox, centre: SmscSandbox
) -> Callable[..., Any]:
    """Opens two processes with a relay that takes one connection. The first is bound to the text message centre and has that connection."""

    @asynccontextmanager
    async def running() -> AsyncIterator[tuple[CarrierHealth, CarrierHealth]]:
        mail = SmtpCarrier(
            kind="smtp", host="127.0.0.1", port=relay.port, ca_file=sandbox.authority.ca_file, sender="alerts@a.example", connections=1
        )  # fmt: skip
        sms = SmppCarrier(
            kind="smpp", host="127.0.0.1", port=centre.port, tls=False, system_id=SYSTEM_ID, password=PASSWORD, sender=SENDER
        )  # fmt: skip
        settings = Settings(carriers={"relay": mail, "centre": sms})
        async with AsyncExitStack() as stack:
            parts = [await stack.enter_async_context(opened(settings, redis, codec, library=library)) for _ in range(2)]
            await until(lambda: any(bind_of(one).is_bound for one in parts))
            processes = (worker_of(one).health for one in parts)
            bound, other = sorted(processes, key=lambda one: one.reaches("sms"), reverse=True)
            await other.beat()
            assert other.reaches("mail")
            for _ in range(2):
                for each in (bound, other):
                    await each.beat()
            yield bound, other

    return running


async def test_the_process_that_is_bound_to_the_text_message_centre_gets_the_mail_connections_too(both_of: Any):
    """One process at least must reach every channel, or nobody pages people. It gets the share of one that is older."""
    async with both_of() as (bound, other):
        assert bound.reaches_all()
        assert not other.reaches("mail")


async def test_the_only_bound_process_leaves_the_mail_connections_to_others_if_the_relay_fails_it(both_of: Any):
    """Another machine may reach the relay. The bound process can still page people by text message."""
    async with both_of() as (bound, other):
        relay = bound.carriers.named("relay")
        assert bound.has_share(relay)
        await bound.leave(relay, FAILURES)
        for _ in range(2):
            for each in (bound, other):
                await each.beat()
        assert not bound.reaches("mail")
        assert other.reaches("mail")
        assert bound.reaches_all()


async def test_shares_add_up_to_the_connections_of_the_carrier(store: Connection):
    """The oldest workers get one. A share is no smaller than is of use, if the carrier takes as many."""
    shares = ConnectionShares(store)
    for worker in "abcde":
        store.skew_ms += 1
        await claimed(shares, worker, 2 * LEAST + 1)
    found = [(await claimed(shares, worker, 2 * LEAST + 1)).connections for worker in "abcde"]
    assert found == [LEAST + 1, LEAST, 0, 0, 0]
    await shares.give_up("relay", "a")
    assert [(await claimed(shares, one, 3)).connections for one in "bcde"] == [3, 0, 0, 0]


async def test_a_worker_gets_what_others_have_given_up_and_no_more(store: Connection):
    """One that comes later waits until the connections of the first are closed."""
    shares, most = ConnectionShares(store), 2 * LEAST
    assert await claimed(shares, "a", most) == Share(most, 0, 0)
    store.skew_ms += 1
    assert await claimed(shares, "b", most) == Share(0, most, 0)
    assert await claimed(shares, "a", most, held=most, works=True) == Share(LEAST, 0, 0)
    assert await claimed(shares, "b", most) == Share(0, most, 1)
    assert await claimed(shares, "a", most, held=LEAST, works=True) == Share(LEAST, 0, 0)
    assert await claimed(shares, "b", most) == Share(LEAST, LEAST, 1)


async def test_a_worker_that_the_carrier_fails_goes_behind_one_that_reaches_fewer_channels(store: Connection):
    """Until its failure is old. It then goes first again."""
    shares = ConnectionShares(store)
    for failed_ms, got in ((0, [0, LEAST]), (None, [LEAST, 0])):
        for _ in range(2):
            a = await claimed(shares, "a", LEAST, failed_ms=failed_ms)
            b = await claimed(shares, "b", LEAST, behind=True)
        assert [a.connections, b.connections] == got


async def test_the_share_of_a_worker_that_ends_or_falls_silent_is_free(store: Connection):
    """At once, or after three seconds."""
    shares = ConnectionShares(store)
    await claimed(shares, "a", LEAST)
    store.skew_ms += SILENT_MS - 1000
    assert (await claimed(shares, "b", LEAST)).connections == 0
    store.skew_ms += 1001
    assert (await claimed(shares, "b", LEAST)).connections == LEAST
    await shares.give_up("relay", "b")
    assert (await claimed(shares, "c", LEAST)).connections == LEAST


async def test_a_worker_that_the_carrier_fails_or_that_reaches_fewer_channels_goes_behind(store: Connection):
    """Its share goes to another as soon as it is given up."""
    shares = ConnectionShares(store)
    for changes in ({"behind": True}, {"failed_ms": 0}):
        for worker in "ab":
            store.skew_ms += 1
            await claimed(shares, worker, LEAST)
        store.skew_ms += 1
        assert (await claimed(shares, "a", LEAST, **changes)).connections == 0
        assert (await claimed(shares, "b", LEAST)).connections == LEAST
        assert (await claimed(shares, "a", LEAST)).connections == 0
        for worker in "ab":
            await shares.give_up("relay", worker)
