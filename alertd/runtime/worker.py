"""The worker: plans approved alerts, sends queued messages, and closes ended alerts.

Any number of workers share the store. A feeder takes leases on queued messages and sends them; a heartbeat renews all
held leases. To stop, the worker waits for the carriers' answers to the messages already sent, records these, and gives
the unsent messages back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from alertd.common.clock import Clock
from alertd.common.ids import chain_of
from alertd.common.repetition import ErrorGuard, ended, pause, repeat
from alertd.config.sections import WorkerSection
from alertd.service.alerts.stops import FRESH_S, StopControl
from alertd.service.carriers.health import CarrierHealth
from alertd.service.carriers.logins import LoginWatch
from alertd.service.container import Container
from alertd.service.delivery.active_alerts import ActiveAlerts
from alertd.service.delivery.carrier_tests import CarrierTests
from alertd.service.delivery.deferral import Deferral
from alertd.service.delivery.feeder import Dispatch, Feeder
from alertd.service.delivery.message_cache import MessageCache
from alertd.service.delivery.planner import Planner, PlanScheduler
from alertd.service.delivery.schedule import Expiry, Schedule
from alertd.service.delivery.sender import CarrierSelection, Sender
from alertd.service.oncall.paging import Paging
from alertd.service.people.recent_addresses import recent_addresses
from alertd.service.people.sign_up_mails import SignUpMails
from alertd.service.records.events import Events
from alertd.service.records.webhook_delivery import WebhookDelivery
from alertd.service.retention.archiving import Archiving
from alertd.store.alerts.alerts import Alerts
from alertd.store.carriers.limits import ConnectionShares
from alertd.store.delivery.work import Work
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.engine.heartbeats import Heartbeats, at_work, bound, taking
from alertd.store.engine.scripts import LEASE_MS
from alertd.store.organisations.organisations import OrganisationStore
from alertd.store.people.sweeper import Sweeper

HEARTBEAT_S = LEASE_MS / 3000  # three heartbeats in the time of a lease
EXPIRY_S = 1.0  # how often alerts are looked for that expire, or that start now
#: Seconds between reads of the stop list. Together with the list's maximum age and the time from a chunk's last check
#: to its last write, a stop takes effect within a second, even if it reaches this worker in no other way.
LISTEN_S = 0.1
#: Maximum concurrent reads of the stop list. When one more would start, the answer to the first would be too old to use.
QUESTIONS = int(FRESH_S / LISTEN_S)
SWEEP_S = 3.0  # between two rounds of the sweeper, which cleans up subscribers' moved records
CLOSE_S = 60.0  # between two rounds of archiving ended alerts
LOG_IN_S = 1.0  # how often the worker looks which carriers are due for a login
TEST_S = 0.5  # a person waits for a carrier's answer to a test
SIGN_S = 1.0  # how often the worker announces that it sends
TELL_S = 0.2  # how often new events of alerts are reported to webhooks and to people on call


class AnsweredTooLateError(Exception):
    """The stop list that was read is too old to send by it, because the store or this process is slow."""


@dataclass(kw_only=True)
class Worker:
    """All work of one worker process: tasks that repeat their steps until `stop`."""

    alerts: Alerts
    work: Work
    plans: PlanScheduler
    feeder: Feeder
    agenda: ActiveAlerts
    steps: ErrorGuard
    stop_control: StopControl
    ending: Expiry
    starting: Schedule
    sweeper: Sweeper
    closing: Archiving
    events: Events
    webhooks: WebhookDelivery
    paging: Paging
    carrier_tests: CarrierTests
    sign_up_mails: SignUpMails
    logins: LoginWatch
    health: CarrierHealth
    at_work: Heartbeats
    channels: Sequence[str]
    clock: Clock
    settings: WorkerSection
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Makes the worker take no more work. `run` then returns when the outcomes of all sent messages are recorded."""
        self._stop.set()

    async def run(self) -> None:
        """Works until `stop`. Then waits for the outcomes of sent messages, and returns."""
        async with asyncio.TaskGroup() as tasks:
            # Before it sends anything, the worker learns how many connections it may have.
            await self.steps.tried("beat", self._beat)
            heart = tasks.create_task(self._heart())
            async with asyncio.TaskGroup() as work:
                poll_s = self.settings.poll_ms / 1000
                for name, step, every_s in (
                    ("alerts", self._read_alerts, poll_s),
                    ("plan", self.plans.round, poll_s),
                    ("finish", self._finish, poll_s * 4),
                    ("expire", self._expire, EXPIRY_S),
                    ("start", self._start, EXPIRY_S),
                    ("sweep", self.sweeper.round, SWEEP_S),
                    ("tell", self._tell, TELL_S),
                    ("close", self.closing.round, CLOSE_S),
                    ("test", self._test, TEST_S),
                    ("log in", self.logins.round, LOG_IN_S),
                    ("sign", self._announce, SIGN_S),
                ):
                    work.create_task(repeat(partial(self.steps.tried, name, step), every_s, self.clock, self._stop))
                work.create_task(self._listen())
                for channel in self.channels:
                    work.create_task(self.feeder.feed(channel, self._stop))
            await self._stop_reporting()
            await self.logins.close()
            await self.carrier_tests.close()
            await self.sign_up_mails.close()
            await ended(heart)
            await self.steps.tried("share", self.health.end)

    async def _apply_stops(self) -> None:
        """Reads the stops and halts the alerts under one. Raises AnsweredTooLateError if the answer came too late to send by it."""
        if not await self.stop_control.apply_to_live():
            raise AnsweredTooLateError

    async def _listen(self) -> None:
        """Reads the stop list every LISTEN_S seconds until `stop`, without waiting for the answers to earlier reads. So
        even a slow store answers often, each time with the stops at the time of that read.
        """
        asking = set[asyncio.Task[None]]()
        async with asyncio.TaskGroup() as questions:
            while not self._stop.is_set():
                if len(asking) < QUESTIONS:
                    asking.add(one := questions.create_task(self.steps.tried("stops", self._apply_stops)))
                    one.add_done_callback(asking.discard)
                await pause(LISTEN_S, self.clock, self._stop)

    async def _heart(self) -> None:
        """Calls `_beat` every HEARTBEAT_S seconds until cancelled, also after `stop` while answers are awaited."""
        await self.clock.sleep(HEARTBEAT_S)
        await repeat(partial(self.steps.tried, "beat", self._beat), HEARTBEAT_S, self.clock)

    async def _read_alerts(self) -> None:
        """Reads which alerts are active, with all their versions."""
        live = await self.alerts.live()
        self.agenda.replace_alerts(live, await self.alerts.versions(sorted(live)))

    async def _finish(self) -> None:
        """Asks the store which versions have no open rows left, and follows each version up: sweeps the unsent rows of an ended one, or
        removes an alert from the active ones when all its versions are done.
        """
        live, versions = self.agenda.live, self.agenda.to_follow()
        words = dict(zip(versions, await self.work.finish_each(versions), strict=True))
        busy = {chain_of(alert_id) for alert_id, word in words.items() if word != "done"}
        for alert_id, word in words.items():
            if isinstance(word, Exception):
                self.steps.failed("finish", word, alert_id)
        said = {one: word for one, word in words.items() if isinstance(word, str)}
        for alert_id, word in said.items():
            if word.startswith("due"):
                self.agenda.comes_due(chain_of(alert_id), word.split()[1:])
        # An alert is over when all its versions are done.
        over = [one for one, word in said.items() if word != "done" or chain_of(one) not in busy]
        await self.steps.each(
            "finish", over, lambda one: self.ending.follow(one, said[one], live.get(chain_of(one), b""))
        )

    async def _expire(self) -> None:
        """Ends the alerts that have reached their end time."""
        await self.steps.each("expire", await self.alerts.times.to_end(self.clock.now_ms()), self.ending.expire)

    async def _start(self) -> None:
        """Starts the approved alerts that have reached their start time."""
        # One by one: each finds its audience anew, and many at once would all be late.
        await self.steps.each("start", await self.starting.due(), self.starting.start, at_once=1)

    async def _tell(self) -> None:
        """If this worker may report events (it serves every channel and holds the lease), moves new events to the organisations' streams
        and sends them to webhooks and, as pages, to people on call.
        """
        if self.health.reaches_all() and await self.events.leads():  # pages to people on call, too
            await self.steps.tried("events", self.events.bring)
            await self.steps.tried("webhooks", self.webhooks.round)
            await self.steps.tried("paging", self.paging.round)
        else:
            await self._stop_reporting()

    async def _stop_reporting(self) -> None:
        """Stops reporting events to webhooks and to people on call. Another worker, if there is one, reports them."""
        await self.webhooks.close()
        await self.paging.close()

    async def _test(self) -> None:
        """Starts to send the queued test messages that operators asked for, and the queued mails of sign-up."""
        await self.carrier_tests.round(self.health.may_use, self.logins.log_in, self.health.took)
        await self.sign_up_mails.round(self.health.may_use)

    async def _beat(self) -> None:
        """Renews the leases that this worker holds, then its carriers' health and shares of connections."""
        if self.feeder.held:  # first: a worker that renews too late loses its leases
            await self.steps.tried("renew", lambda: self.work.renew(list(self.feeder.held.values())))
        await self.health.beat()

    async def _announce(self) -> None:
        """Announces in the store that this worker sends messages of its channels. Not called after `stop`."""
        await self.at_work.announce(dict.fromkeys(self.channels, True))


def worker_of(parts: Container) -> Worker:
    """Makes the worker of this process from the container's parts."""
    settings, channels = parts.settings.worker, sorted(parts.carriers.channels)
    agenda = ActiveAlerts(channels, settings, parts.clock)

    def lost() -> None:
        """Called when the store is unavailable: the worker forgets which plans are complete, and applies the stops again as soon as it can."""
        agenda.forget_plans()
        parts.stop_control.reapply_next()

    steps = ErrorGuard(lost, parts.clock, StoreUnavailableError)
    health = CarrierHealth(
        carriers=parts.carriers, limits=parts.limits, bound=bound(parts.db), taking=taking(parts.db),
        shares=ConnectionShares(parts.db), clock=parts.clock, metrics=parts.metrics,
    )  # fmt: skip
    return Worker(
        alerts=parts.alerts,
        work=parts.work,
        plans=PlanScheduler(
            alerts=parts.alerts,
            work=parts.work,
            planner=Planner(parts.alerts, parts.people, parts.work, parts.renderer, parts.clock),
            agenda=agenda,
            steps=steps,
            clock=parts.clock,
            metrics=parts.metrics,
        ),
        feeder=Feeder(
            work=parts.work,
            dispatch=_dispatch(parts, health),
            carriers=parts.carriers,
            health=health,
            stop_control=parts.stop_control,
            agenda=agenda,
            steps=steps,
            settings=settings,
        ),
        agenda=agenda,
        steps=steps,
        stop_control=parts.stop_control,
        starting=Schedule(parts.alerts, parts.approval, parts.audit, parts.regions, parts.clock),
        ending=Expiry(parts.alerts, parts.work, parts.clock, parts.metrics),
        closing=Archiving(
            parts.db,
            parts.alerts,
            OrganisationStore(parts.db),
            parts.settings.retention,
            parts.clock,
            parts.settings.alerts.organisation,
            parts.forgetting,
        ),
        sweeper=Sweeper(parts.db, parts.people, parts.clock),
        events=parts.events,
        webhooks=parts.webhook_delivery,
        paging=parts.paging,
        carrier_tests=parts.carrier_tests,
        sign_up_mails=parts.sign_up_mails,
        logins=LoginWatch(
            carriers=parts.carriers,
            logins=parts.logins,
            limits=parts.limits,
            clock=parts.clock,
            may_log_in=health.has_share,
            addresses=partial(recent_addresses, parts.people),
            refusal=health.refusal,
        ),
        health=health,
        at_work=at_work(parts.db),
        channels=channels,
        clock=parts.clock,
        settings=settings,
    )


def _dispatch(parts: Container, health: CarrierHealth) -> Dispatch:
    """Makes the part of the worker that sends the batches it has leased."""
    selection = CarrierSelection(
        messages=MessageCache(parts.alerts, parts.renderer, parts.texts, parts.clock),
        carriers=parts.carriers,
        health=health,
        chunk=parts.settings.worker.chunk,
    )
    sender = Sender(
        people=parts.people,
        deferral=Deferral(parts.acknowledgement_store, parts.budget),
        domains=parts.domains,
        carriers=parts.carriers,
        health=health,
        selection=selection,
        receipts=parts.receipts,
        tags=parts.tags,
        clock=parts.clock,
        metrics=parts.metrics,
        attempts=parts.settings.worker.attempts,
    )
    return Dispatch(
        work=parts.work,
        selection=selection,
        sender=sender,
        health=health,
        dead_addresses=parts.dead_addresses,
        clock=parts.clock,
    )
