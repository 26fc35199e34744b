"""A worker of a process's parts: what plans alerts, sends them, ends them and sweeps up."""

from __future__ import annotations

from alertd.runtime.worker import Worker
from alertd.service.carriers.binds import Binds
from alertd.service.carriers.logins import LoginWatch
from alertd.service.container import Container
from alertd.service.delivery.active_alerts import ActiveAlerts
from alertd.service.delivery.carrier_selection import CarrierSelection
from alertd.service.delivery.deferral import Deferral
from alertd.service.delivery.dispatch import Dispatch
from alertd.service.delivery.expiry import Expiry
from alertd.service.delivery.feeder import Feeder
from alertd.service.delivery.heeding import Heeding
from alertd.service.delivery.message_cache import MessageCache
from alertd.service.delivery.plan_scheduler import PlanScheduler
from alertd.service.delivery.planner import Planner
from alertd.service.delivery.schedule import Schedule
from alertd.service.delivery.sender import Sender
from alertd.service.guard import ErrorGuard
from alertd.service.retention.archiving import Archiving
from alertd.store.carriers.connection_shares import ConnectionShares
from alertd.store.engine.heartbeats import at_work, bound, taking
from alertd.store.organisations.organisations import OrganisationStore
from alertd.store.people.sweeper import Sweeper


def worker_of(parts: Container) -> Worker:
    """This process's share of the work."""
    settings, channels = parts.settings.worker, sorted(parts.carriers.channels)
    agenda = ActiveAlerts(channels, settings, parts.clock)

    def lost() -> None:
        agenda.forget_plans()
        parts.stopping.doubt()

    steps = ErrorGuard(lost, parts.clock)
    binds = Binds(parts.carriers, bound(parts.db), taking(parts.db), ConnectionShares(parts.db), parts.clock)
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
            dispatch=_dispatch(parts, binds),
            carriers=parts.carriers,
            binds=binds,
            stopping=parts.stopping,
            agenda=agenda,
            steps=steps,
            settings=settings,
        ),
        agenda=agenda,
        steps=steps,
        stopping=parts.stopping,
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
        logins=LoginWatch(
            carriers=parts.carriers,
            logins=parts.logins,
            limits=parts.limits,
            clock=parts.clock,
            may_log_in=binds.has_share,
        ),
        binds=binds,
        at_work=at_work(parts.db),
        channels=channels,
        clock=parts.clock,
        settings=settings,
    )


def _dispatch(parts: Container, binds: Binds) -> Dispatch:
    offers = CarrierSelection(
        limits=parts.limits,
        messages=MessageCache(parts.alerts, parts.renderer, parts.texts, parts.clock),
        carriers=parts.carriers,
        binds=binds,
        metrics=parts.metrics,
        chunk=parts.settings.worker.chunk,
    )
    hand_over = Sender(
        people=parts.people,
        holding=Deferral(parts.acks, parts.budget),
        domains=parts.domains,
        carriers=parts.carriers,
        binds=binds,
        offers=offers,
        receipts=parts.receipts,
        tags=parts.tags,
        clock=parts.clock,
        metrics=parts.metrics,
        attempts=parts.settings.worker.attempts,
    )
    return Dispatch(
        work=parts.work,
        offers=offers,
        hand_over=hand_over,
        heeding=Heeding(limits=parts.limits, carriers=parts.carriers, binds=binds),
        removal=parts.removal,
        clock=parts.clock,
    )
