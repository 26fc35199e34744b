"""The composition root: the one file that names concrete classes. Builds everything from settings, opens and closes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis

from alertd import config
from alertd.api.services import Services
from alertd.clock import Clock, SystemClock
from alertd.ids import Tags
from alertd.metrics import Metrics
from alertd.rendering import Renderer
from alertd.resources import templates_dir
from alertd.service.access import Access
from alertd.service.approval import Approval
from alertd.service.carriers import UNLIMITED, Carrier, Carriers
from alertd.service.dispatch import Dispatch
from alertd.service.ending import Ending
from alertd.service.fleet import Fleet
from alertd.service.intake import Intake
from alertd.service.mail_reports import MailReports
from alertd.service.messages import Messages
from alertd.service.planning import Planner
from alertd.service.receipts import Receipts
from alertd.service.registry import Registry
from alertd.service.removal import Removal
from alertd.service.reports import Reports
from alertd.service.targeting import Targeting
from alertd.store.alerts import Alerts
from alertd.store.audience import Audience
from alertd.store.codec import Codec
from alertd.store.connection import Connection, open_store
from alertd.store.keyring import Keyring
from alertd.store.limits import Limits
from alertd.store.people import People
from alertd.store.requests import Requests
from alertd.store.sweeper import Sweeper
from alertd.store.work import Work
from alertd.worker import Worker
from channels.base import Channel
from channels.dkim import DkimSettings, Signer
from channels.fcm import FcmChannel, FcmSettings
from channels.mail import MailChannel
from channels.mail_message import MailIdentity
from channels.sms_http import HttpSmsChannel, HttpSmsSettings
from channels.smtp_pool import RelaySettings
from geofences.errors import LibraryError
from geofences.regions import Library


@dataclass(kw_only=True)
class Parts:
    """Everything of one process, made once."""

    settings: config.Settings
    db: Connection
    library: Library
    carriers: Carriers
    clock: Clock = field(default_factory=SystemClock)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        settings, clock, metrics = self.settings, self.clock, self.metrics
        self.renderer = Renderer(templates_dir())
        self.tags = Tags(self.db.codec.derived("tags"))
        self.alerts = Alerts(self.db)
        self.people = People(self.db)
        self.work = Work(self.db)
        self.limits = Limits(self.db)
        self.removal = Removal(self.people)
        self.audience = Audience(self.db, self.people.authority, deadline_s=settings.audience.deadline_s)
        self.targeting = Targeting(self.library, self.audience, settings.audience, clock, metrics)
        self.intake = Intake(self.alerts, self.targeting, self.renderer, clock, settings.audience, self.carriers)
        self.approval = Approval(self.alerts, self.targeting, settings.audience)
        self.registry = Registry(self.people, self.library, clock)
        self.receipts = Receipts(self.work, self.removal, self.tags, metrics)
        self.mail_reports = MailReports(self.receipts, self.removal, self.work, self.people, self.tags)
        self.access = Access(Keyring(self.db))
        self.reports = Reports(self.alerts, self.work, self.limits, self.db.codec)
        self.requests = Requests(self.db)
        self.fleet = Fleet(self.alerts, self.work, self.people, clock, settings.alerts.organisation)

    def services(
        self,
        is_ready: Callable[[], Awaitable[bool]],
        process_metrics: Callable[[], Awaitable[bytes]],
        takes_writes: Callable[[], bool],
    ) -> Services:
        """What the API calls."""
        return Services(
            settings=self.settings,
            clock=self.clock,
            metrics=self.metrics,
            library=self.library,
            renderer=self.renderer,
            carriers=self.carriers,
            targeting=self.targeting,
            intake=self.intake,
            approval=self.approval,
            reports=self.reports,
            registry=self.registry,
            receipts=self.receipts,
            access=self.access,
            requests=self.requests,
            fleet=self.fleet,
            is_ready=is_ready,
            process_metrics=process_metrics,
            takes_writes=takes_writes,
        )

    def worker(self) -> Worker:
        """This process's share of the work."""
        return Worker(
            alerts=self.alerts,
            work=self.work,
            planner=Planner(self.alerts, self.people, self.work, self.renderer, self.clock),
            dispatch=Dispatch(
                work=self.work,
                people=self.people,
                limits=self.limits,
                messages=Messages(self.alerts, self.renderer),
                carriers=self.carriers,
                removal=self.removal,
                tags=self.tags,
                clock=self.clock,
                metrics=self.metrics,
                settings=self.settings.worker,
            ),
            ending=Ending(self.alerts, self.work, self.clock, self.metrics),
            sweeper=Sweeper(self.db, self.people, self.clock),
            carriers=self.carriers,
            clock=self.clock,
            metrics=self.metrics,
            settings=self.settings.worker,
        )


@asynccontextmanager
async def opened(settings: config.Settings, redis: Redis, codec: Codec) -> AsyncIterator[Parts]:
    """All parts, their carriers open, over a store that is checked. Closes what it opened, in reverse order.

    Raises StoreRefusedError, StoreUnavailableError, and ConfigError for regions or a carrier that cannot be used.
    """
    async with AsyncExitStack() as stack:
        db = Connection(redis, codec, replicas_required=settings.store.replicas_required)
        await open_store(db)
        limits, carriers = Limits(db), list[Carrier]()
        for name, section in settings.carriers.items():
            number = await limits.carrier_number(name)
            try:
                carrier = _carrier(name, section, number, settings)
                await carrier.channel.open()
            except (OSError, ValueError) as error:  # a file that is not there, or is not what it should be
                raise config.ConfigError(f"carriers.{name} cannot be used: {error}") from None
            stack.push_async_callback(carrier.channel.close)
            carriers.append(carrier)
        parts = Parts(settings=settings, db=db, library=library_of(settings), carriers=Carriers(carriers))
        for carrier in carriers:
            parts.metrics.show_carrier(carrier.channel.name, carrier.name, settings.carriers[carrier.name].rate)
        yield parts


def library_of(settings: config.Settings) -> Library:
    """The shipped regions and those that were imported into the data directory. Raises ConfigError for damaged files."""
    added = settings.store.regions
    try:
        return Library.load(added=added)
    except LibraryError as error:
        raise config.ConfigError(f"the regions in {added} cannot be used: {error}") from None


def _carrier(name: str, section: config.AnyCarrier, number: int, settings: config.Settings) -> Carrier:
    make: dict[str, Callable[..., Channel]] = {"fcm": _fcm, "twilio": _twilio, "smtp": _smtp}
    return Carrier(
        name=name,
        number=number,
        channel=make[section.kind](section, settings, name),
        rate=section.rate or UNLIMITED,
        burst=section.burst or section.rate or UNLIMITED,
        hold=section.on_unknown == "hold",
    )


def _fcm(section: config.FcmCarrier, _settings: config.Settings, _name: str) -> Channel:
    return FcmChannel(
        FcmSettings(
            credentials=str(section.credentials),
            project_id=section.project,
            endpoint=section.endpoint,
            ca_file=str(section.ca_file) if section.ca_file else None,
            connections=section.connections,
            timeout_s=section.timeout_s,
        )
    )


def _twilio(section: config.TwilioCarrier, settings: config.Settings, name: str) -> Channel:
    return HttpSmsChannel(
        HttpSmsSettings(
            account=section.account,
            secret=section.password.get_secret_value(),
            sender=section.sender,
            endpoint=section.endpoint,
            callback_base=f"{settings.api.public_url}/v1/receipts/{name}",
            ca_file=str(section.ca_file) if section.ca_file else None,
            connections=section.connections,
            timeout_s=section.timeout_s,
        )
    )


def _smtp(section: config.SmtpCarrier, settings: config.Settings, _name: str) -> Channel:
    relay = RelaySettings(
        host=section.host,
        port=section.port,
        security=section.tls,
        username=section.user,
        password=section.password.get_secret_value() if section.password else None,
        ca_file=str(section.ca_file) if section.ca_file else None,
        connections=section.connections,
        timeout_s=section.timeout_s,
    )
    domain = section.bounces or section.sender.rpartition("@")[2].rstrip(">")
    signers = tuple(
        Signer(DkimSettings(domain=one.domain, selector=one.selector, key=one.key.get_secret_value()))
        for one in section.dkim or ()
    )
    base = settings.api.public_url
    return MailChannel(
        relay, MailIdentity(sender=section.sender, domain=domain, unsubscribe_base=base, signers=signers)
    )
