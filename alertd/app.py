"""The composition root: builds stores, use cases and carriers of a process from its settings, opens and closes them.

What is around them is built above: the store's own server in `opening`, what listens in `sites` and
`bounce_sites`, carriers that only seem to send in `sandboxed`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import InitVar, dataclass, field

from redis.asyncio import Redis

from alertd import config
from alertd.api.services import Services
from alertd.clock import Clock, SystemClock
from alertd.decoding import Decoder
from alertd.ids import Tags
from alertd.metrics import Metrics
from alertd.rendering import Renderer
from alertd.resources import templates_dir
from alertd.service.access import Access
from alertd.service.approval import Approval
from alertd.service.audit import Audit
from alertd.service.cap import CapIntake
from alertd.service.cap_out import CapOut
from alertd.service.cap_trust import issuers_of
from alertd.service.carriers import UNLIMITED, Carrier, Carriers, Domain
from alertd.service.course import Course
from alertd.service.dispatch import Dispatch
from alertd.service.domains import Domains
from alertd.service.ending import Ending
from alertd.service.events import Events
from alertd.service.explaining import Explaining
from alertd.service.fleet import Fleet
from alertd.service.following import Following
from alertd.service.inbound import Inbound
from alertd.service.intake import Intake
from alertd.service.labels import Labels
from alertd.service.mail_reports import MailReports
from alertd.service.media import Photos
from alertd.service.messages import Messages
from alertd.service.planning import Planner
from alertd.service.purging import Purging
from alertd.service.receipts import Receipts
from alertd.service.regions import Regions
from alertd.service.registry import Registry
from alertd.service.removal import Removal
from alertd.service.reports import Reports
from alertd.service.resending import Resending
from alertd.service.revising import Revising
from alertd.service.stopping import Stopping
from alertd.service.targeting import Targeting
from alertd.service.texts import Texts
from alertd.service.updating import Updating
from alertd.service.webhook_delivery import WebhookDelivery
from alertd.service.webhooks import Webhooks
from alertd.store import events as event_store
from alertd.store.alerts import Alerts
from alertd.store.audience import Audience
from alertd.store.audit import AuditLog
from alertd.store.bulk import Bulk
from alertd.store.cases import Cases
from alertd.store.codec import Codec
from alertd.store.connection import Connection, open_store
from alertd.store.drawn import Drawings
from alertd.store.keyring import Keyring
from alertd.store.labels import LabelMark
from alertd.store.limits import Limits
from alertd.store.media import Media
from alertd.store.message_ids import MessageIds
from alertd.store.people import People
from alertd.store.requests import Requests
from alertd.store.stops import Stops
from alertd.store.sweeper import Sweeper
from alertd.store.texts import TextStore
from alertd.store.tombstones import Tombstones
from alertd.store.updates import Updates
from alertd.store.webhooks import Hooks
from alertd.store.work import Work
from alertd.worker import Worker
from channels.base import Answer, Channel, Outcome, Reason
from channels.bounces_hooks import Hook
from channels.bounces_mailgun import MailgunHook
from channels.bounces_postmark import POSTMARK_HEADER, PostmarkHook
from channels.bounces_ses import SesHook
from channels.dkim import DkimSettings, Signer
from channels.fcm import FcmChannel, FcmSettings
from channels.fetching import Fetcher
from channels.mail import MailChannel
from channels.mail_message import MailIdentity
from channels.smpp.channel import SmppChannel
from channels.smpp.settings import INTERNATIONAL, SmppSettings
from channels.smpp.words import Word
from channels.sms_http import HttpSmsChannel, HttpSmsSettings
from channels.smtp_pool import RelaySettings
from geofences.errors import LibraryError
from geofences.regions import Library


@dataclass(kw_only=True)
class Parts:
    """Everything of one process, made once."""

    settings: config.Settings
    db: Connection
    library: InitVar[Library]
    carriers: Carriers
    clock: Clock = field(default_factory=SystemClock)
    metrics: Metrics = field(default_factory=Metrics)
    fetcher: Fetcher = field(default_factory=Fetcher)
    poster: Fetcher | None = None  # None: as the settings say

    def __post_init__(self, library: Library) -> None:
        settings, clock, metrics = self.settings, self.clock, self.metrics
        self.renderer = Renderer(templates_dir(), settings.api.reached_at)
        self.tags = Tags(self.db.codec.derived("tags"))
        self.alerts = Alerts(self.db)
        self.people = People(self.db)
        self.work = Work(self.db)
        self.limits = Limits(self.db)
        self.removal = Removal(self.people)
        deadline_s = settings.audience.deadline_s
        self.audience = Audience(
            Bulk(self.db.nodes, timeout_s=deadline_s), self.people.authority, deadline_s=deadline_s
        )
        self.regions = Regions(library, Drawings(self.db), settings.store.regions, clock)
        self.targeting = Targeting(self.regions, self.audience, settings.audience, clock, metrics)
        self.media = Media(self.db, self.alerts)
        self.photos = Photos(
            self.media, self.alerts, Decoder(), self.fetcher, clock, settings.media,
            self.db.codec.derived("media"),
        )  # fmt: skip
        self.texts = Texts(TextStore(self.db), self.renderer)
        self.access = Access(Keyring(self.db))
        self.stopping = Stopping(Stops(self.db), self.alerts, self.access, clock)
        self.intake = Intake(
            self.alerts, self.targeting, self.renderer, clock, settings.audience, self.carriers, self.photos,
            self.texts,
        )  # fmt: skip
        updates = Updates(self.db, self.alerts)
        self.approval = Approval(
            self.alerts, updates, self.photos, self.targeting, settings.audience, self.texts, self.stopping, clock
        )
        self.updating = Updating(self.alerts, updates, self.work, self.intake, self.approval, self.photos)
        cases = Cases(self.db)
        self.following = Following(self.alerts, cases, self.approval, self.stopping, clock)
        self.resending = Resending(self.alerts, self.work, self.stopping)
        self.revising = Revising(self.alerts, self.approval, self.photos, clock)
        self.purging = Purging(
            self.alerts, cases, self.media, Tombstones(settings.store.tombstones_file), self.approval, clock
        )
        self.registry = Registry(self.people, self.regions, clock)
        self.labels = Labels(self.registry, self.regions, LabelMark(self.db), clock)
        self.receipts = Receipts(self.work, MessageIds(self.db), self.removal, self.tags, metrics)
        self.mail_reports = MailReports(self.receipts, self.removal, self.work, self.people, self.tags)
        self.audit = Audit(AuditLog(self.db), self.alerts, self.db.codec, metrics)
        kept = event_store.Events(self.db, keep=settings.events.keep, keep_days=settings.events.keep_days)
        self.events = Events(kept, self.alerts, clock, org=settings.alerts.organisation)
        hooks, poster = Hooks(self.db), self.poster or poster_of(settings.webhooks)
        self.webhooks = Webhooks(hooks, kept, poster, clock)
        self.webhook_delivery = WebhookDelivery(hooks, kept, poster, clock, metrics)
        self.reports = Reports(self.alerts, self.work, self.limits, self.db.codec)
        self.course = Course(self.audit, self.work)
        self.explaining = Explaining(self.alerts, self.reports)
        self.cap_intake = CapIntake(
            intake=self.intake, approval=self.approval, ends=self.following, updating=self.updating,
            reports=self.reports, regions=self.regions, carriers=self.carriers, issuers=issuers_of(settings.cap),
            clock=clock,
        )  # fmt: skip
        self.cap_out = CapOut(self.alerts, self.targeting, self.regions, self.renderer, self.texts, settings)
        self.requests = Requests(self.db)
        self.fleet = Fleet(
            self.alerts,
            self.work,
            self.people,
            self.limits,
            self.carriers,
            hooks,
            clock,
            settings.alerts.organisation,
        )

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
            regions=self.regions,
            renderer=self.renderer,
            carriers=self.carriers,
            targeting=self.targeting,
            intake=self.intake,
            photos=self.photos,
            texts=self.texts,
            approval=self.approval,
            cap_intake=self.cap_intake,
            cap_out=self.cap_out,
            reports=self.reports,
            registry=self.registry,
            receipts=self.receipts,
            mail_reports=self.mail_reports,
            access=self.access,
            audit=self.audit,
            events=self.events,
            webhooks=self.webhooks,
            stopping=self.stopping,
            following=self.following,
            revising=self.revising,
            updating=self.updating,
            resending=self.resending,
            course=self.course,
            explaining=self.explaining,
            purging=self.purging,
            requests=self.requests,
            fleet=self.fleet,
            is_ready=is_ready,
            process_metrics=process_metrics,
            takes_writes=takes_writes,
        )

    def inbound(self, carrier: str) -> Inbound:
        """Takes what a text message centre tells."""
        return Inbound(carrier, self.receipts, self.registry, self.removal, self.metrics)

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
                domains=Domains(self.limits, self.clock, self.metrics),
                messages=Messages(self.alerts, self.renderer, self.texts, self.clock),
                carriers=self.carriers,
                removal=self.removal,
                receipts=self.receipts,
                tags=self.tags,
                clock=self.clock,
                metrics=self.metrics,
                settings=self.settings.worker,
            ),
            stopping=self.stopping,
            ending=Ending(self.alerts, self.work, self.clock, self.metrics),
            sweeper=Sweeper(self.db, self.people, self.clock),
            events=self.events,
            webhooks=self.webhook_delivery,
            carriers=self.carriers,
            clock=self.clock,
            metrics=self.metrics,
            settings=self.settings.worker,
        )


@asynccontextmanager
async def opened(
    settings: config.Settings, redis: Redis, codec: Codec, *, sends: bool = True, library: Library | None = None
) -> AsyncIterator[Parts]:
    """All parts, their carriers open, over a store that is checked. Closes what it opened, in reverse order.

    Whoever has loaded the `library` gives it. A process that sends nothing binds to no text message centre: they count
    the binds of an account. Raises StoreRefusedError, StoreUnavailableError, and ConfigError for regions or a carrier
    that cannot be used.
    """
    async with AsyncExitStack() as stack:
        db = Connection(redis, codec, replicas_required=settings.store.replicas_required)
        stack.push_async_callback(db.nodes.close)
        await open_store(db)
        limits = Limits(db)
        carriers = [
            carrier_of(name, section, settings, await limits.carrier_number(name))
            for name, section in settings.carriers.items()
        ]
        library = library or library_of(settings)
        parts = Parts(settings=settings, db=db, library=library, carriers=Carriers(carriers))
        stack.callback(parts.audience.close)
        try:
            await parts.regions.agree()
        except LibraryError as error:
            raise config.ConfigError(str(error)) from None
        try:
            await parts.purging.restore()
        except OSError as error:
            raise config.ConfigError(f"store.tombstones cannot be read: {error.strerror}") from None
        for carrier in carriers:
            if isinstance(carrier.channel, SmppChannel):
                carrier.channel.listener = parts.inbound(carrier.name)
            if sends or not isinstance(carrier.channel, SmppChannel):
                with _usable(carrier.name):
                    await carrier.channel.open()
                stack.push_async_callback(carrier.channel.close)
            rate, domains = settings.carriers[carrier.name].rate, {one.name for one in carrier.domains.values()}
            parts.metrics.show_carrier(carrier.channel.name, carrier.name, rate, domains)
        yield parts


def poster_of(section: config.WebhookSection) -> Fetcher:
    """Asks the hosts of webhooks."""
    return Fetcher(timeout_s=section.timeout_s, ports=frozenset(section.ports), loopback=section.loopback)


def library_of(settings: config.Settings) -> Library:
    """The shipped regions and those that were imported into the data directory. Raises ConfigError for damaged files."""
    added = settings.store.regions
    try:
        return Library.load(added=added)
    except LibraryError as error:
        raise config.ConfigError(f"the regions in {added} cannot be used: {error}") from None


@contextmanager
def _usable(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # a file that is not there, or is not what it should be
        raise config.ConfigError(f"carriers.{name} cannot be used: {error}") from None


def carrier_of(name: str, section: config.AnyCarrier, settings: config.Settings, number: int = 0) -> Carrier:
    """A carrier by its settings, not open yet; `number` is its byte in ledgers. Raises ConfigError."""
    make: dict[str, Callable[..., Channel]] = {"fcm": _fcm, "twilio": _twilio, "smpp": _smpp, "smtp": _smtp}
    with _usable(name):
        channel = make[section.kind](section, settings, name)
    return Carrier(
        name=name,
        number=number,
        channel=channel,
        rate=section.rate or UNLIMITED,
        burst=section.burst or section.rate or UNLIMITED,
        ramp_s=section.ramp_s,
        weight=section.weight,
        hold=section.on_unknown == "hold",
        domains=_domains(name, section),
    )


def _domains(carrier: str, section: config.AnyCarrier) -> dict[str, Domain]:
    """The limits of domains, by each of their names."""
    limits = section.domains if isinstance(section, config.SmtpCarrier) else None
    found: dict[str, Domain] = {}
    for name, limit in (limits or {}).items():
        domain = Domain(name=name, limiter=f"{carrier}/{name}", rate=limit.rate or UNLIMITED)
        found |= dict.fromkeys((name, *limit.also), domain)
    return found


def _fcm(section: config.FcmCarrier, _settings: config.Settings, _name: str) -> Channel:
    return FcmChannel(
        FcmSettings(
            credentials=str(section.credentials),
            project_id=section.project,
            endpoint=section.endpoint,
            ca_file=str(section.ca_file) if section.ca_file else None,
            critical=section.critical,
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
            callback_base=f"{settings.api.reached_at}/v1/receipts/{name}",
            ca_file=str(section.ca_file) if section.ca_file else None,
            connections=section.connections,
            timeout_s=section.timeout_s,
        )
    )


#: What a carrier's own status codes can be said to mean.
_MEANINGS = {
    "gone": Outcome(Answer.NEVER, Reason.GONE),
    "blocked": Outcome(Answer.NEVER, Reason.BLOCKED),
    "invalid": Outcome(Answer.NEVER, Reason.BAD_ADDRESS),
    "again": Outcome(Answer.RETRY, Reason.UNAVAILABLE),
}
#: A receipt whose message is not known here by then is looked up in the store, which holds it if need be.
_PATIENCE_S = 1.0


def _smpp(section: config.SmppCarrier, _settings: config.Settings, _name: str) -> Channel:
    if section.ca_file:
        ssl.create_default_context(cafile=section.ca_file)  # in those processes, too, that do not bind
    return SmppChannel(
        SmppSettings(
            host=section.host,
            port=section.port,
            tls=section.tls,
            plain_allowed=section.plain_allowed,
            ca_file=str(section.ca_file) if section.ca_file else None,
            system_id=section.system_id,
            password=section.password.get_secret_value(),
            system_type=section.system_type,
            service_type=section.service_type,
            sender=section.sender,
            sender_numbering=section.sender_numbering,
            number_numbering=section.number_numbering or INTERNATIONAL,
            binds=section.connections,
            receivers=section.receivers,
            window=section.window,
            timeout_s=section.timeout_s,
            enquire_s=section.enquire_s,
            long=section.long,
            validity=section.validity,
            receipt_ids=section.receipt_ids,
            patience_s=_PATIENCE_S,
            statuses={code: _MEANINGS[word] for code, word in (section.statuses or {}).items()},
            languages=tuple(section.languages),
            words={word: Word(meaning) for word, meaning in (section.words or {}).items()},
        )
    )


def _smtp(section: config.SmtpCarrier, settings: config.Settings, _name: str) -> Channel:
    relay = RelaySettings(
        host=section.host,
        port=section.port,
        security=section.tls,
        plain_allowed=section.plain_allowed,
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
    identity = MailIdentity(
        sender=section.sender,
        domain=domain,
        unsubscribe_base=settings.api.reached_at,
        signers=signers,
        tag_header=POSTMARK_HEADER if section.reports == "postmark" else None,
    )
    return MailChannel(relay, identity, hook=_hook(section))


def _hook(section: config.SmtpCarrier) -> Hook | None:
    secret = section.reports_secret.get_secret_value() if section.reports_secret else ""
    match section.reports:
        case "ses":
            return SesHook(section.reports_topic or "")
        case "postmark":
            return PostmarkHook(secret)
        case "mailgun":
            return MailgunHook(secret)
        case None:
            return None
