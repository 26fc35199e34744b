"""Recipients who stay refused: they wait alone, and their carrier counts as healthy for everyone else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import structlog
from redis.asyncio import Redis

from alertd.config.carriers import SmppCarrier, WebPushCarrier
from alertd.config.settings import Settings
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.carriers.health import NOBODY
from alertd.service.container import Container
from alertd.service.people.registration_intake import Entry
from alertd.store.alerts.records import AlertRecord
from alertd.store.carriers.limits import FAILURES, LONGEST_REST_MS, SHORTEST_REST_MS
from alertd.store.engine.codec import Codec
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from channels.sms_http import ENOUGH
from geofences.regions import Library
from tests.integration.acts import counts, lease_of, planned, registration, send
from tests.integration.conftest import settings_for
from tests.sampling import sampled
from tests.waiting import until

PEOPLE = 250
REFUSED = range(0, PEOPLE, 10)
#: Longer than an urgent message waits between two tries.
LATER_MS = 61_000
#: SMS that a process writes at the same time to an HTTP provider.
AT_A_TIME = 32


class Kind(NamedTuple):
    """One carrier of the sandbox: its name in the settings, its channel, and what it answers to refused recipients."""

    carrier: str
    channel: str
    answers: tuple[str, ...]


KINDS = (
    Kind("relay", "mail", ("blocked", "defer", "greylist", "unexplained", "no-mailbox")),
    Kind("centre", "sms", ("blocked", "defer", "unexplained", "unavailable")),
    Kind("text", "sms", ("invalid-number", "unavailable", "unexplained", "throttle")),
    Kind("fcm", "push", ("bad-token", "unavailable", "unexplained", "throttle", "unauthorized")),
    Kind("browsers", "webpush", ("other-key", "unavailable", "unexplained", "throttle")),
)
CASES = [(kind, answer) for kind in KINDS for answer in kind.answers]


def prefix(sandbox: Sandbox, channel: str, word: str) -> str:
    """Returns what the addresses of refused people ("no") or of the others ("ok") begin with."""
    host = sandbox.endpoints["browser"]["host"]
    return {"sms": {"no": "+349", "ok": "+346"}[word], "webpush": f"https://{host}/push/{word}-"}.get(
        channel, f"{word}-"
    )


def address(sandbox: Sandbox, channel: str, number: int) -> dict[str, Any]:
    """Returns the only address of a person."""
    first, end = prefix(sandbox, channel, "no" if number in REFUSED else "ok"), {"sms": "08d"}.get(channel, "d")
    value = f"{first}{number:{end}}" + ("@people.example" if channel == "mail" else "")
    if channel == "webpush":
        keys = sandbox.endpoints["browser"]["keys"]
        return {"channel": channel, "subscription": {"endpoint": value, "expirationTime": None, "keys": keys}}
    member = {"mail": "mailbox", "sms": "number", "push": "token"}[channel]
    return {"channel": channel, member: value}


def sandbox_of(sandbox: Sandbox, kind: Kind) -> Any:
    """Returns the carrier of the sandbox."""
    return {
        "relay": sandbox.mail,
        "centre": sandbox.smpp,
        "text": sandbox.sms,
        "fcm": sandbox.push,
        "browsers": sandbox.webpush,
    }[kind.carrier]


@pytest.fixture
def process(redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, renderer: Renderer) -> Callable[..., Any]:
    """Opens a process with one carrier, and registers people of whom one in ten is refused."""

    @asynccontextmanager
    async def running(kind: Kind) -> AsyncIterator[Container]:
        sandbox.smpp.habits.receipts = False  # what was accepted stays accepted
        ends, base = sandbox.endpoints, settings_for(sandbox)
        smpp = {name: value for name, value in ends["smpp"].items() if name != "ca_file"}
        every = {
            **base.carriers,
            "centre": SmppCarrier(kind="smpp", ca_file=ends["smpp"]["ca_file"], **smpp),
            "browsers": WebPushCarrier(kind="webpush", **ends["webpush"]),
        }
        settings = Settings(store=base.store, carriers={kind.carrier: every[kind.carrier]})
        async with opened(settings, redis, codec, library=library, renderer=renderer) as parts:
            await until(lambda: kind.carrier != "centre" or any(link.takes for link in sandbox.smpp.links))
            entries = [
                Entry(f"p{n}", registration(n, addresses=[address(sandbox, kind.channel, n)])) for n in range(PEOPLE)
            ]
            assert all(await parts.registry.put_many(entries))
            yield parts

    return running


async def is_free(parts: Container, carrier: str) -> bool:
    """Returns whether a new message may leave now: the carrier neither rests nor is paused."""
    block = await parts.limits.take(carrier, 1_000, 1_000, 1)
    return (block.granted, block.wait_s) == (1, 0) and await parts.limits.open_breakers([carrier]) == {carrier: False}


async def accepted(parts: Container, record: AlertRecord, channel: str) -> int:
    return (await counts(parts, record, channel)).get("accepted", 0)


@pytest.mark.parametrize(("kind", "answer"), sampled(CASES, lambda kind, answer: answer == kind.answers[0]))
async def test_recipients_who_stay_refused_never_hold_back_a_later_alert(
    process: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any], kind: Kind, answer: str
):
    """One in ten is refused, again and again. Their tries open no breaker and pause nothing, so three later alerts reach all others at once."""
    sandbox_of(sandbox, kind).script.set(Rule(prefix(sandbox, kind.channel, "no"), answer))
    async with process(kind) as parts:
        first = await planned(parts, sample, channels=[kind.channel], level="child-alert")
        await send(parts, first, kind.channel)
        healthy = PEOPLE - len(REFUSED)
        records = [first]
        for _ in range(3):
            parts.db.skew_ms += LATER_MS
            await send(parts, first, kind.channel)
            assert await is_free(parts, kind.carrier)
        for _ in range(3):
            record = await planned(parts, sample, channels=[kind.channel], level="child-alert")
            await send(parts, record, kind.channel)
            assert await is_free(parts, kind.carrier)
            records.append(record)
        assert [await accepted(parts, record, kind.channel) for record in records] == [healthy] * 4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.channel != "webpush"], ids=lambda kind: kind.carrier)
async def test_a_carrier_that_is_down_rests_and_is_found_within_15_s_of_its_return(
    process: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any], kind: Kind
):
    """Nothing listens: the breaker opens. It is shut within 15 s of the return, even after the longest rest, and everyone is sent to."""
    carrier = sandbox_of(sandbox, kind)
    async with process(kind) as parts:
        port = port_of(sandbox, kind)
        await carrier.stop()
        record = await planned(parts, sample, channels=[kind.channel], level="child-alert")
        dispatch = worker_of(parts).feeder.dispatch
        for _ in range(NOBODY):
            await dispatch.health.beat()
        lease = await lease_of(parts.work, record.id, kind.channel, parts.carriers.held(kind.channel))
        await dispatch.drain(lease, lambda: bool(dispatch.health.failing))
        assert await parts.limits.open_breakers([kind.carrier]) == {kind.carrier: True}
        for _ in range(10):
            parts.db.skew_ms += LONGEST_REST_MS
            await parts.limits.failed(kind.carrier, FAILURES)
        await carrier.start(port)
        await until(lambda: kind.carrier != "centre" or any(link.sends for link in sandbox.smpp.links))

        async def found() -> bool:  # as a worker does while a carrier rests
            return not (await parts.carriers.named(kind.carrier).channel.log_in()).fails

        await until(found)
        parts.db.skew_ms += 15_000
        await send(parts, record, kind.channel)
        assert await parts.limits.open_breakers([kind.carrier]) == {kind.carrier: False}
        assert await accepted(parts, record, kind.channel) == PEOPLE


async def test_a_wrong_retry_after_delays_a_loud_alert_by_a_minute_at_most(
    process: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any]
):
    """FCM answers 429 with `Retry-After: 86400` to everyone, and accepts again seconds later. Nobody waits an hour for their message."""
    kind = next(kind for kind in KINDS if kind.carrier == "fcm")
    often = 10 * PEOPLE
    rule = Rule("", "throttle", times=often, retry_after_s=86_400)
    sandbox.push.script.set(rule)
    async with process(kind) as parts:
        record = await planned(parts, sample, channels=[kind.channel], level="child-alert")
        lease = await lease_of(parts.work, record.id, kind.channel, parts.carriers.held(kind.channel))
        await worker_of(parts).feeder.dispatch.drain(lease, lambda: (rule.times or 0) < often)
        assert await accepted(parts, record, kind.channel) == 0
        sandbox.push.script.set()
        parts.db.skew_ms += 60_000
        await send(parts, record, kind.channel)
        assert await accepted(parts, record, kind.channel) == PEOPLE


async def test_a_provider_that_answers_pages_costs_a_few_sms_and_the_others_arrive_later(
    process: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any]
):
    """A proxy answers a page with status 200 in place of the provider. The SMS that were written stay unknown and are never repeated."""
    kind = next(kind for kind in KINDS if kind.carrier == "text")
    sandbox.sms.script.set(Rule("", "html"))
    async with process(kind) as parts:
        record = await planned(parts, sample, channels=["sms"], level="child-alert")
        dispatch = worker_of(parts).feeder.dispatch
        lease = await lease_of(parts.work, record.id, "sms", parts.carriers.held("sms"))
        await dispatch.drain(lease, lambda: bool(dispatch.health.failing))
        sandbox.sms.script.set()
        parts.db.skew_ms += 15_000
        await send(parts, record, "sms")
        found = await counts(parts, record, "sms")
        assert found["unknown"] < ENOUGH + AT_A_TIME
        assert found["accepted"] == PEOPLE - found["unknown"]
        assert sandbox.sms.recorded.total == found["accepted"]


def port_of(sandbox: Sandbox, kind: Kind) -> int:
    """Returns where a carrier listens."""
    end = sandbox.endpoints["smpp" if kind.carrier == "centre" else kind.channel]
    return int(end["port"] if "port" in end else end["endpoint"].rpartition(":")[2])


async def test_an_only_relay_that_refuses_everyone_is_named_in_the_log_and_tried_on(
    process: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any]
):
    """No other relay could take its place, and it may be right: once it relays, the next alert reaches everyone at once."""
    relay = KINDS[0]
    sandbox.mail.script.set(Rule("", "blocked"))
    async with process(relay) as parts:
        with structlog.testing.capture_logs() as logs:
            record = await planned(parts, sample, channels=["mail"], level="child-alert")
            await send(parts, record, "mail")
        assert {"event": "carrier.refused_every_recipient", "carrier": "relay"}.items() <= logs[0].items()
        assert await counts(parts, record, "mail") == {"queued": PEOPLE}
        assert await is_free(parts, "relay")
        sandbox.mail.script.set()
        record = await planned(parts, sample, channels=["mail"], level="child-alert")
        await send(parts, record, "mail")
        assert await accepted(parts, record, "mail") == PEOPLE


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[3]], ids=lambda kind: kind.carrier)
async def test_a_carrier_whose_probe_is_refused_for_its_recipient_works_again(
    process: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any], kind: Kind
):
    """The carrier was away and has rested. The first recipient is unknown to it, which only a carrier that works can say."""
    sandbox_of(sandbox, kind).script.set(Rule(prefix(sandbox, kind.channel, "no"), kind.answers[0]))
    async with process(kind) as parts:
        await parts.limits.failed(kind.carrier, FAILURES)
        parts.db.skew_ms += SHORTEST_REST_MS
        record = await planned(parts, sample, channels=[kind.channel], level="child-alert")
        await send(parts, record, kind.channel)
        assert await is_free(parts, kind.carrier)
        assert await accepted(parts, record, kind.channel) == PEOPLE - len(REFUSED)


async def test_a_probe_that_meets_the_limit_of_one_phone_delays_nobody_else(
    process: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any]
):
    """FCM was away and has rested. It limits the first phone for an hour, and that is no limit of the carrier: a quiet alert reaches the others in seconds."""
    kind = next(kind for kind in KINDS if kind.carrier == "fcm")
    sandbox.push.script.set(Rule(prefix(sandbox, kind.channel, "no"), "throttle", retry_after_s=3_600))
    async with process(kind) as parts:
        await parts.limits.failed(kind.carrier, FAILURES)
        record = await planned(parts, sample, channels=[kind.channel], level="appeal")
        for _ in range(2):
            parts.db.skew_ms += LONGEST_REST_MS
            await send(parts, record, kind.channel)
        assert await is_free(parts, kind.carrier)
        assert await accepted(parts, record, kind.channel) == PEOPLE - len(REFUSED)
