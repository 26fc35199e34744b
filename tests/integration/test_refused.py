"""Recipients who stay refused: they wait alone, and their carrier counts as healthy for everyone else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from redis.asyncio import Redis

from alertd.app import Parts, opened
from alertd.carrier_sections import SmppCarrier, WebPushCarrier
from alertd.config import Settings
from alertd.service.entries import Entry
from alertd.store.alerts import AlertRecord
from alertd.store.codec import Codec
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule, Script
from geofences.regions import Library
from tests.integration.acts import counts, planned, registration, send
from tests.integration.conftest import settings_for
from tests.waiting import until

PEOPLE = 250
REFUSED = range(0, PEOPLE, 10)
#: Longer than an urgent message waits between two tries.
LATER_MS = 61_000


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


def script_of(sandbox: Sandbox, kind: Kind) -> Script:
    carriers = {"relay": sandbox.mail, "centre": sandbox.smpp, "text": sandbox.sms, "fcm": sandbox.push}
    return carriers.get(kind.carrier, sandbox.webpush).script


@pytest.fixture
def process(redis: Redis, codec: Codec, sandbox: Sandbox, library: Library) -> Callable[..., Any]:
    """Opens a process with one carrier, and registers people of whom one in ten is refused."""

    @asynccontextmanager
    async def running(kind: Kind) -> AsyncIterator[Parts]:
        sandbox.smpp.habits.receipts = False  # what was accepted stays accepted
        ends, base = sandbox.endpoints, settings_for(sandbox)
        smpp = {name: value for name, value in ends["smpp"].items() if name != "ca_file"}
        every = {
            **base.carriers,
            "centre": SmppCarrier(kind="smpp", ca_file=ends["smpp"]["ca_file"], **smpp),
            "browsers": WebPushCarrier(kind="webpush", **ends["webpush"]),
        }
        settings = Settings(store=base.store, carriers={kind.carrier: every[kind.carrier]})
        async with opened(settings, redis, codec, library=library) as parts:
            await until(lambda: kind.carrier != "centre" or any(link.takes for link in sandbox.smpp.links))
            entries = [
                Entry(f"p{n}", registration(n, addresses=[address(sandbox, kind.channel, n)])) for n in range(PEOPLE)
            ]
            assert all(await parts.registry.put_many(entries))
            yield parts

    return running


async def is_free(parts: Parts, carrier: str) -> bool:
    """Returns whether a new message may leave now: the carrier neither rests nor is paused."""
    block = await parts.limits.take(carrier, 1_000, 1_000, 1)
    return (block.granted, block.wait_s) == (1, 0) and await parts.limits.open_breakers([carrier]) == {carrier: False}


async def accepted(parts: Parts, record: AlertRecord, channel: str) -> int:
    return (await counts(parts, record, channel)).get("accepted", 0)


@pytest.mark.parametrize(("kind", "answer"), CASES, ids=[f"{kind.carrier}-{answer}" for kind, answer in CASES])
async def test_recipients_who_stay_refused_never_hold_back_a_later_alert(
    process: Callable[..., Any], sandbox: Sandbox, sample: dict[str, Any], kind: Kind, answer: str
):
    """One in ten is refused, again and again. Their tries open no breaker and pause nothing, so three later alerts reach all others at once."""
    script_of(sandbox, kind).set(Rule(prefix(sandbox, kind.channel, "no"), answer))
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
