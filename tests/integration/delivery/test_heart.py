"""The heart: what keeps a worker's leases while it waits for a carrier and asks for nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from alertd.service.container import Container
from alertd.store.engine.scripts import LEASE_MS
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from tests.integration.acts import counts, register
from tests.integration.delivery.workers import approved, ended, working
from tests.waiting import until


async def test_who_waits_longer_than_a_lease_keeps_it(parts: Container, sandbox: Sandbox, sample: dict[str, Any]):
    """A carrier that answers after a lease and a half, beside a worker that has nothing to do: nobody is told twice."""
    one_lane = parts.settings.worker.model_copy(update={"lanes": 1})  # a worker that asks for more renews by that
    parts.settings = parts.settings.model_copy(update={"worker": one_lane})
    await register(parts, 25)
    sandbox.push.script.set(Rule("token-", "slow", delay_s=1.5 * LEASE_MS / 1000))
    alert_id = await approved(parts, sample)
    async with AsyncExitStack() as both:
        for _ in range(2):
            await both.enter_async_context(working(parts))
        is_over = ended(parts, alert_id)
        await until(lambda: _or_doubled(is_over, sandbox))
    assert sandbox.push.recorded.counts() == {"total": 25, "addresses": 25, "doubled": 0}
    assert await counts(parts, await parts.alerts.get(alert_id)) == {"accepted": 25}


async def _or_doubled(is_over: Callable[[], Awaitable[bool]], sandbox: Sandbox) -> bool:
    """Two without a heart take the lease from each other for ever: the first who is told twice is enough."""
    return sandbox.push.recorded.counts()["doubled"] > 0 or await is_over()
