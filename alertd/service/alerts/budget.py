"""What SMS may cost: a limit for an alert and one for a day of its organisation, foreseen where it is approved and hard where it is sent."""

from __future__ import annotations

import asyncio

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import chain_of, new_id
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
    """Asks before SMS are sent."""

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
        """Whether what goes this way is counted."""
        return channel == Channel.SMS and any(self._most)

    async def take(
        self, org: str, alert_id: str, messages: int, each: int, now_ms: int, *, limited: bool = True
    ) -> int:
        """How many of so many SMS, of `each` segments, may go on the day of `now_ms`: all that are not `limited`, which count all the same. Below
        0: these did not go after all.
        """
        most = self._most if limited else (0, 0)
        return await self._budgets.take(org, chain_of(alert_id), now_ms, messages, each, most)

    async def check(self, record: AlertRecord, alert: Alert, count: Count) -> None:
        """Raises Problem `over-budget` if the shortest message to the estimated numbers costs more than is left. An alert that escalates is
        not checked: its number of SMS is unknown.
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
                f"The SMS would have at least about {needed} segments, and {max(left, 0)} may be sent.",
                needed=needed,
                left=max(left, 0),
            )

    async def free(self, record: AlertRecord) -> None:
        """Somebody who may decides that this alert may cost what it costs."""
        await self._budgets.free(record.org, chain_of(record.id))

    async def _least_segments(self, record: AlertRecord, alert: Alert) -> int:
        own = await self._texts.of(record.org, record.texts)

        def least() -> int:
            return min(
                carrier.channel.prepare(
                    rendered(
                        alert, new_id(record.times.created), BatchKey(channel=Channel.SMS, language=language), self._renderer,
                        sent_ms=record.times.created, own=own, countries=record.target.countries.split(),
                    )
                ).cost
                for carrier in self._carriers.of(Channel.SMS)
                for language in self._renderer.languages(alert)
            )  # fmt: skip

        return await asyncio.to_thread(least)
