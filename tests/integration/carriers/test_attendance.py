"""A channel by which no worker sends is seen: in `/v1/carriers`, in the metrics, in the log; and an alert that stands still, in its progress."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from alertd.model.states import AlertState
from alertd.runtime.worker import worker_of
from alertd.service.container import Container
from alertd.store.engine import keys
from alertd.store.engine.heartbeats import AT_WORK_MS, at_work
from alertd.store.engine.scripts import STALLED_MS
from tests.integration.acts import finish, planned, register, send
from tests.waiting import until


@pytest.fixture
async def admin(parts: Container) -> str:
    """A key's token."""
    return (await parts.access.create(org="default", subject="ana", scopes=frozenset({"admin"})))[1]


@pytest.fixture
def nobody(parts: Container) -> dict[str, bool]:
    """By channel that has a carrier."""
    assert {"push", "sms", "mail"} <= parts.carriers.channels
    return dict.fromkeys(parts.carriers.channels, False)


async def shown(client: Any, token: str, path: str) -> dict[str, Any]:
    answer = await client.get(path, headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 200
    found: dict[str, Any] = await answer.json()
    return found


async def test_where_no_worker_sends_the_api_says_so(
    parts: Container, client: Any, admin: str, nobody: dict[str, bool]
):
    """Nobody else could: what a worker would tell of, it tells no more. Once a worker gives a sign it is over, and for so long after its last one."""
    assert await parts.channel_coverage.channels() == nobody
    assert {one["at_work"] for one in (await shown(client, admin, "/v1/carriers"))["carriers"]} == {False}
    assert b'alertd_channel_at_work{channel="sms"} 0.0' in (await parts.fleet.metrics()).whole
    await worker_of(parts)._announce()
    assert await parts.channel_coverage.channels() == dict.fromkeys(nobody, True)
    assert {one["at_work"] for one in (await shown(client, admin, "/v1/carriers"))["carriers"]} == {True}
    assert b'alertd_channel_at_work{channel="sms"} 1.0' in (await parts.fleet.metrics()).whole
    assert 0 < await parts.db.execute("PTTL", keys.at_work("sms")) <= AT_WORK_MS


async def test_a_worker_that_lacks_a_carrier_is_no_worker_of_its_channel(parts: Container, nobody: dict[str, bool]):
    """Of hosts that are set up differently: what only the API has a carrier for is sent by nobody."""
    await at_work(parts.db).announce({"push": True, "mail": True})
    assert await parts.channel_coverage.channels() == {**nobody, "push": True, "mail": True}


async def test_the_log_says_it_once_and_when_it_is_over(parts: Container, nobody: dict[str, bool]):
    """Not at the first look: a worker may be starting."""
    with capture_logs() as logs:
        await parts.channel_coverage.log_gaps()
        assert logs == []
        await at_work(parts.db).announce({**nobody, "push": True, "mail": True})
        for _ in range(3):
            await parts.channel_coverage.log_gaps()
        await at_work(parts.db).announce({"sms": True})
        await parts.channel_coverage.log_gaps()
        await parts.channel_coverage.log_gaps()
    told = [(one["log_level"], one["event"], one["channel"]) for one in logs]
    assert told == [
        *(("error", "channel.left_without_worker", channel) for channel in sorted(nobody.keys() - {"push", "mail"})),
        ("info", "channel.worker_returned", "sms"),
    ]


@pytest.mark.parametrize("goes_on", [True, False])
async def test_an_alert_that_stands_still_says_so(
    parts: Container, client: Any, admin: str, sample: dict[str, Any], goes_on: bool
):
    """After a minute in which something was due; no more once somebody is told."""
    await register(parts, 30)
    record = await planned(parts, sample)
    path = f"/v1/alerts/{record.id}/progress"
    await finish(parts.work, record.id)
    assert not (await shown(client, admin, path))["stalled"]
    for _ in range(2):
        parts.db.skew_ms += STALLED_MS
        await finish(parts.work, record.id)
    assert (await shown(client, admin, path))["stalled"]
    if goes_on:
        await send(parts, record)
        await until(lambda: _is_sent(parts, record.id))
        assert not (await shown(client, admin, path))["stalled"]


async def _is_sent(parts: Container, alert_id: str) -> bool:
    await finish(parts.work, alert_id)
    return (await parts.alerts.states([alert_id]))[0] is AlertState.SENT
