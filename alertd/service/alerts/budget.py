"""Limits the cost of SMS for each alert, and for each organisation a day. An approval checks the estimated cost; the
worker enforces the limit when it sends.
"""

from __future__ import annotations

import asyncio

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import SOME_PUBLIC_ID, chain_of, new_id
from alertd.config.sections import BudgetSection
from alertd.model.alert import Alert
from alertd.model.kinds import Channel
from alertd.rendering import Renderer
from alertd.service.carriers.carriers import Carriers
from alertd.service.messages.message_builder import rendered
from alertd.service.messages.texts import Texts
from alertd.service.reach import Count, stored_estimate
from alertd.store.alerts.records import AlertRecord
from alertd.store.carriers.limits import Budgets
from alertd.store.delivery.work_records import BatchKey


class Budget:
    """Counts SMS segments and enforces their limits."""

    def __init__(
        self,
        budgets: Budgets,
        carriers: Carriers,
        renderer: Renderer,
        texts: Texts,
        settings: BudgetSection,
        clock: Clock,
    ) -> None:
        self._budgets = budgets
        self._carriers = carriers
        self._renderer = renderer
        self._texts = texts
        self._most = settings.most
        self._clock = clock

    def limits(self, channel: str) -> bool:
        """Returns whether messages on this channel count against a limit."""
        return channel == Channel.SMS and any(self._most)

    async def take(
        self, org: str, alert_id: str, messages: int, each: int, now_ms: int, *, limited: bool = True
    ) -> int:
        """Takes the cost of `messages` SMS, of `each` segments, from the budget on the day of `now_ms` (UNIX ms).
        Returns how many of them the budget pays for.

        Messages that are not `limited` may all be sent, but they count. A negative number gives back messages that were
        not sent after all.
        """
        most = self._most if limited else (0, 0)
        return await self._budgets.take(org, chain_of(alert_id), now_ms, messages, each, most)

    async def check(self, record: AlertRecord, alert: Alert, count: Count) -> None:
        """Raises Problem `over-budget` if the shortest SMS to the estimated numbers costs more segments than the budget
        has left. An alert that escalates is not checked: its number of SMS is unknown.
        """
        chain = chain_of(record.id)
        if not self.limits(Channel.SMS) or Channel.SMS not in alert.channels or alert.policy.escalates:
            return
        if await self._budgets.is_free(record.org, chain):
            return
        needed = stored_estimate(count.addresses[Channel.SMS]) * await self._least_segments(record, alert)
        spent = await self._budgets.spent(record.org, chain, self._clock.now_ms())
        left = min(most - one for most, one in zip(self._most, spent, strict=True) if most)
        if needed > left:
            raise Problem(
                "over-budget",
                f"The SMS need at least about {needed} segments, but the budget has {max(left, 0)} left.",
                needed=needed,
                left=max(left, 0),
            )

    async def free(self, record: AlertRecord) -> None:
        """Lifts both limits, the alert's and the day's, for this alert. Its SMS still count for the day. The caller has
        checked that the person may exceed the budget.
        """
        await self._budgets.free(record.org, chain_of(record.id))

    async def _least_segments(self, record: AlertRecord, alert: Alert) -> int:
        """Returns the segments of the alert's shortest SMS, over all its languages and all SMS carriers."""
        own = await self._texts.of(record.org, record.texts)

        def least() -> int:
            """Renders the SMS in each language for each carrier. Returns the smallest number of segments."""
            return min(
                carrier.channel.prepare(
                    rendered(
                        alert, new_id(record.times.created), BatchKey(channel=Channel.SMS, language=language), self._renderer,
                        sent_ms=record.times.created, own=own, countries=record.target.countries.split(),
                        public_id=SOME_PUBLIC_ID,
                    )
                ).cost
                for carrier in self._carriers.of(Channel.SMS)
                for language in self._renderer.languages(alert)
            )  # fmt: skip

        return await asyncio.to_thread(least)
