"""What defers a message: a budget, quiet hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from alertd.common.clock import SystemClock
from alertd.config.sections import BudgetSection
from alertd.service.alerts.budget import Budget
from alertd.service.container import Container
from alertd.store.carriers.limits import Budgets
from alertd.store.engine.connection import Connection


class Noon(SystemClock):
    """It stays the same moment, so that no midnight comes between."""

    def now_ms(self) -> int:
        return 1_795_608_000_000


NOON = Noon()


def limited(parts: Container, store: Connection | None = None, clock: SystemClock = NOON, **limits: Any) -> None:
    """With these limits, wherever the budget is asked."""
    parts.clock = clock
    budget = Budget(
        Budgets(store or parts.db), parts.carriers, parts.renderer, parts.texts, BudgetSection(**limits), clock
    )
    parts.budget = budget
    parts.approval.budget = budget


def asleep(hours: float = 2) -> dict[str, Any]:
    """Quiet hours that began an hour ago, and last so much longer."""
    now = datetime.now(UTC).replace(second=0)
    ends = now + timedelta(hours=hours)
    return {"time_zone": "UTC", "quiet": {"from": f"{now - timedelta(hours=1):%H:%M}", "to": f"{ends:%H:%M}"}}
