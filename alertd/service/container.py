"""Builds all services of one process over its store and its carriers. `runtime.assembly` opens and closes them."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from pathlib import Path

from alertd.common.clock import Clock, SystemClock
from alertd.common.ids import Tags
from alertd.config import settings as config
from alertd.config.sections import StoreSection, WebhookSection
from alertd.metrics import Metrics
from alertd.rendering import Renderer
from alertd.service.access import Access
from alertd.service.alerts.amendment import Amendment
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.break_glass import BreakGlass
from alertd.service.alerts.budget import Budget
from alertd.service.alerts.case_stand_down import CaseStandDown
from alertd.service.alerts.follow_up import FollowUps
from alertd.service.alerts.freezing import Freezing
from alertd.service.alerts.intake import Intake
from alertd.service.alerts.jurisdiction_split import JurisdictionSplit
from alertd.service.alerts.permissions import Permissions
from alertd.service.alerts.progress import ProgressReports
from alertd.service.alerts.results import Results
from alertd.service.alerts.stops import StopControl
from alertd.service.alerts.timeline import Timeline
from alertd.service.alerts.updates import UpdateProposals
from alertd.service.areas.jurisdiction import Jurisdictions
from alertd.service.areas.reach_audit import ReachAudit
from alertd.service.areas.reach_preview import ReachPreview
from alertd.service.areas.regions import Regions
from alertd.service.areas.targeting import Targeting
from alertd.service.carriers.carriers import Carriers, Domains
from alertd.service.carriers.states import CarrierStates, ChannelCoverage
from alertd.service.delivery.carrier_tests import CarrierTests
from alertd.service.delivery.explanations import Explanations
from alertd.service.delivery.fleet import FleetMetrics
from alertd.service.delivery.receipts import Inbound, MailReports, Receipts
from alertd.service.delivery.resending import Resending
from alertd.service.messages.texts import Texts
from alertd.service.oncall.pager import PagePace, Pager
from alertd.service.oncall.paging import Paging
from alertd.service.oncall.rota import OnCallRota
from alertd.service.organisations.key_rotation import KeyRotation
from alertd.service.organisations.oidc import Oidc
from alertd.service.organisations.oidc_provider import OidcProvider, guarded
from alertd.service.organisations.operators import Operators
from alertd.service.organisations.organisations import Organisations
from alertd.service.organisations.passkeys import Passkeys, RelyingParty
from alertd.service.organisations.region_imports import RegionImports
from alertd.service.organisations.sign_in import Sessions, SignIn
from alertd.service.people.dead_addresses import DeadAddresses
from alertd.service.people.device_sign_up import DeviceSignUp
from alertd.service.people.place_labels import PlaceLabels
from alertd.service.people.registry import Registry
from alertd.service.people.sign_up import SignUp
from alertd.service.people.sign_up_links import SignUpLinks
from alertd.service.people.sign_up_mails import SignUpMails
from alertd.service.people.suppression import Suppression
from alertd.service.reach import Reaches
from alertd.service.records.audit import Audit
from alertd.service.records.events import Events
from alertd.service.records.evidence import Seal
from alertd.service.records.photos import Decoder, Photos
from alertd.service.records.published_history import PublishedHistory
from alertd.service.records.restoring import Restoring
from alertd.service.records.upload_dirs import UploadDirs
from alertd.service.records.webhook_delivery import ToWebhooks, WebhookDelivery
from alertd.service.records.webhooks import Webhooks
from alertd.service.retention.archiving import Forgetting
from alertd.service.retention.legal_holds import LegalHolds
from alertd.service.retention.purging import Purging
from alertd.service.sharing.cap import CapIntake, issuers_of
from alertd.service.sharing.cap_out import CapOut
from alertd.service.sharing.distributor_acknowledgements import DistributorAcknowledgements
from alertd.service.sharing.distributor_delivery import DistributorDelivery
from alertd.service.sharing.distributors import Distributors
from alertd.service.sharing.feeds import Feeds
from alertd.service.sharing.public_alerts import PublicAlerts
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.open_alerts import OpenAlerts
from alertd.store.alerts.public_ids import PublicIds
from alertd.store.approvals.break_glass import Claims
from alertd.store.approvals.later_versions import PermissionStore, Updates
from alertd.store.areas.custom_regions import CustomRegions
from alertd.store.areas.region_imports import ImportRecords
from alertd.store.carriers.limits import Budgets, Limits
from alertd.store.carriers.logins import Logins
from alertd.store.carriers.numbers import CarrierNumbers
from alertd.store.carriers.tests import CarrierTestQueue
from alertd.store.delivery.acknowledgements import Acknowledgements
from alertd.store.delivery.message_ids import MessageIds
from alertd.store.delivery.work import Work
from alertd.store.embedded.space import DiskGuard, MemoryGuard
from alertd.store.engine.bulk_reads import BulkReads
from alertd.store.engine.codec import NEXT_KEY
from alertd.store.engine.connection import Connection
from alertd.store.engine.heartbeats import at_work, taking
from alertd.store.master_key.key_watch import KeyWatch
from alertd.store.organisations.api_keys import ApiKeys
from alertd.store.organisations.operators import OperatorStore
from alertd.store.organisations.organisations import OrganisationStore, Stops, TextStore
from alertd.store.organisations.paging import Rotas, Waiting
from alertd.store.organisations.sessions import SessionStore
from alertd.store.people.audience import Audience
from alertd.store.people.sign_up_queue import SignUpQueue
from alertd.store.people.subscribers import LabelMark, People
from alertd.store.photos.photos import Media
from alertd.store.records import events as event_store
from alertd.store.records.audit import AuditLog
from alertd.store.records.case_keys import Cases
from alertd.store.records.idempotency import Requests
from alertd.store.records.tombstones import Tombstones
from alertd.store.sharing.webhooks import DistributorHooks, Hook, Hooks, Tracks
from channels.base import Subscribed
from channels.fetching import Fetcher
from geofences.regions import Library


@dataclass(kw_only=True)
class Container:
    """All services of one process, made once."""

    settings: config.Settings
    db: Connection
    library: InitVar[Library | None]  # None: loaded on first use
    renderer: Renderer
    carriers: Carriers
    key_watch: InitVar[KeyWatch | None] = None  # None: no task watches this process's keys
    clock: Clock = field(default_factory=SystemClock)
    metrics: Metrics = field(default_factory=Metrics)
    fetcher: Fetcher = field(default_factory=Fetcher)
    poster: Fetcher | None = None  # None: made from the settings
    disk: DiskGuard | None = None  # None without an embedded store

    def __post_init__(self, library: Library | None, key_watch: KeyWatch | None) -> None:
        settings, clock, metrics = self.settings, self.clock, self.metrics
        self.memory = MemoryGuard(self.db.nodes)
        self.tags = Tags(self.db.codec.derived("tags"))
        self.alerts = Alerts(self.db)
        self.people = People(self.db, clock)
        self.work = Work(self.db)
        self.acknowledgement_store = Acknowledgements(self.db)
        self.limits = Limits(self.db)
        self.suppression = Suppression(self.people, clock)
        self.dead_addresses = DeadAddresses(self.people, self.suppression, clock, metrics)
        deadline_s = settings.audience.deadline_s
        self.audience = Audience(
            BulkReads(self.db.nodes, timeout_s=deadline_s),
            self.db.codec.cells,
            self.people.authority,
            deadline_s=deadline_s,
        )
        self.regions = Regions(library, CustomRegions(self.db), settings.store.regions, clock)
        self.targeting = Targeting(self.regions, self.audience, settings.audience, clock, metrics)
        self.media = Media(self.db, self.alerts)
        self.photos = Photos(
            self.media, self.alerts, Decoder(), self.fetcher, clock, settings.media,
            self.db.codec.derived("media"),
        )  # fmt: skip
        self.texts = Texts(TextStore(self.db), self.renderer)
        self.access = Access(ApiKeys(self.db), self.limits, clock, settings.api.key_rate_per_min)
        operators, sessions = OperatorStore(self.db), SessionStore(self.db)
        self.operators = Operators(operators, clock, settings.sign_in)
        self.sessions = Sessions(sessions, operators, clock, settings.sign_in)
        self.stop_control = StopControl(
            Stops(self.db), self.alerts, self.access, operators, clock, host=settings.alerts.organisation
        )
        self.jurisdictions = Jurisdictions(self.regions, border_share=settings.alerts.border_share)
        self.organisations = Organisations(
            OrganisationStore(self.db),
            self.jurisdictions,
            self.stop_control.administers,
            default=settings.alerts.organisation,
        )
        self.reaches = Reaches(
            self.audience, self.people, self.db.codec, settings.store.directory / "people-map", clock
        )  # fmt: skip
        reach_previews = self.reach_previews = ReachPreview(self.targeting, self.reaches)
        jurisdiction_split = JurisdictionSplit(
            self.alerts, reach_previews, self.targeting, self.organisations, self.jurisdictions
        )
        self.jurisdiction_split = jurisdiction_split
        self.intake = Intake(
            self.alerts, reach_previews, jurisdiction_split, self.renderer, clock, self.carriers, self.photos, self.texts, self.organisations,
            settings.alerts.author_mb,
        )  # fmt: skip
        updates, permissions = Updates(self.db, self.alerts), PermissionStore(self.db, self.alerts)
        self.budget = Budget(Budgets(self.db), self.carriers, self.renderer, self.texts, settings.budget, clock)
        self.freezing = Freezing(self.alerts, updates, self.photos, permissions, clock)
        self.approval = Approval(
            self.alerts, self.freezing, self.targeting, self.texts, self.stop_control, clock, self.organisations, self.budget,
            jurisdiction_split, reach_previews,
        )  # fmt: skip
        self.break_glass = BreakGlass(self.alerts, self.approval, self.organisations, Claims(self.db), clock)
        self.waiting = Waiting(self.db)
        self.rota = OnCallRota(Rotas(self.db), self.waiting, self.alerts, self.approval, self.carriers.channels, clock)
        self.update_proposals = UpdateProposals(
            self.alerts, updates, self.work, self.intake, self.approval, self.photos
        )
        self.audit = Audit(AuditLog(self.db), self.alerts, self.db.codec, metrics)
        self.reach_audit = ReachAudit(self.limits, self.audit, per_min=settings.api.reach_per_min)
        self.region_imports = RegionImports(
            ImportRecords(self.db), self.regions, self.organisations, self.audit, settings.store.regions,
            UploadDirs(settings.store.directory / "imports", settings.store.reserve_bytes), clock,
        )  # fmt: skip
        self.permissions = Permissions(
            permissions, self.alerts, updates, self.approval, self.organisations, self.targeting, self.stop_control, self.budget,
            self.audit, clock, reach_previews,
        )  # fmt: skip
        self._compose_following()
        self._compose_forgetting(updates)
        self.registry = Registry(self.people, self.regions, clock)
        self.place_labels = PlaceLabels(self.registry, self.people, self.regions, LabelMark(self.db), clock)
        self.receipts = Receipts(
            self.work,
            self.acknowledgement_store,
            MessageIds(self.db),
            self.suppression,
            self.dead_addresses,
            self.tags,
            clock,
            metrics,
        )
        self.mail_reports = MailReports(self.receipts, self.dead_addresses, self.work, self.people)
        self.open_alerts = OpenAlerts(self.db)
        self._compose_signing_in(operators, sessions)
        self._compose_rest(key_watch or KeyWatch(self.db, next_key_file(settings.store)))

    def takes_writes(self) -> bool:
        """Returns whether the store has room for new data, on disk and in memory."""
        return self.memory.takes_writes and (self.disk is None or self.disk.takes_writes)

    async def is_ready(self) -> bool:
        """Returns whether the store answers and takes writes."""
        return self.takes_writes() and await self.db.takes_writes()

    def _key_rotation(self, watch: KeyWatch) -> KeyRotation:
        """Returns the service that rotates the master key. An embedded store has its keys in its directory."""
        section = self.settings.store
        directory, next_file = None if section.url else section.directory, next_key_file(section)
        return KeyRotation(connection=self.db, watch=watch, directory=directory, next_file=next_file, clock=self.clock)

    def _compose_signing_in(self, operators: OperatorStore, sessions: SessionStore) -> None:
        """Makes the services for signing in."""
        settings, clock = self.settings, self.clock
        entering = SignIn(operators, sessions, self.audit, clock, self.stop_control.administers)
        self.passkeys = Passkeys(operators, sessions, entering, clock, RelyingParty.of(settings))
        provider = OidcProvider(settings.oidc, guarded(settings.oidc), clock) if settings.oidc.issuer else None
        self.oidc = Oidc(
            operators, sessions, self.sessions, entering, clock, provider, host=settings.alerts.organisation
        )

    def _compose_following(self) -> None:
        """Makes the services that decide about shown alerts."""
        self.follow_ups = FollowUps(self.alerts, self.approval, self.stop_control, self.clock)
        self.case_stand_down = CaseStandDown(
            self.alerts, self.approval, self.follow_ups, self.organisations, self.limits, self.audit, self.clock
        )
        self.resending = Resending(self.alerts, self.work, self.stop_control)

    def _compose_forgetting(self, updates: Updates) -> None:
        """Makes the services that remove content from alerts, and again from restored copies."""
        cases, tombstones = Cases(self.db), self._tombstones
        self.published_history = PublishedHistory(updates.published, cases)
        self.legal_holds = LegalHolds(cases, self.alerts, self.approval, self.organisations, self.audit, self.clock)
        self.amendment = Amendment(
            self.alerts, self.approval, self.photos, self.published_history, tombstones, self.clock
        )
        self.purging = Purging(self.alerts, cases, self.media, tombstones, self.approval, self.clock)

    def _compose_rest(self, key_watch: KeyWatch) -> None:
        """Makes the remaining services: events, webhooks, paging, carriers, reports, CAP, feeds and distributors."""
        settings, clock, metrics = self.settings, self.clock, self.metrics
        self.key_rotation = self._key_rotation(key_watch)
        kept = event_store.Events(self.db, keep=settings.events.keep, keep_days=settings.events.keep_days)
        self.events = Events(kept, self.alerts, clock, self.organisations.names, self.waiting)
        hooks, poster = Hooks(self.db, Hook), self.poster or poster_of(settings.webhooks)
        self.webhooks = Webhooks(hooks, kept, poster, clock)
        self.domains = Domains(self.limits, clock, metrics)
        pager = Pager(carriers=self.carriers, limits=self.limits, domains=self.domains, clock=clock, metrics=metrics)
        self._compose_sign_up(pager)
        self.channel_coverage = ChannelCoverage(self.carriers, at_work(self.db), clock)
        self.logins = Logins(self.db)
        self.carrier_states = CarrierStates(
            carriers=self.carriers, logins=self.logins, taking=taking(self.db), limits=self.limits,
            channel_coverage=self.channel_coverage, clock=clock,
        )  # fmt: skip
        self.carrier_tests = CarrierTests(
            queue=CarrierTestQueue(self.db), carriers=self.carriers, organisations=self.organisations, stop_control=self.stop_control,
            limits=self.limits, pager=pager, states=self.carrier_states, registry=self.registry, clock=clock,
        )  # fmt: skip
        self.paging = Paging(
            alerts=self.alerts, waiting=self.waiting, rota=self.rota, pager=pager, organisations=self.organisations,
            stop_control=self.stop_control, audit=self.audit, renderer=self.renderer, tags=self.tags, clock=clock, metrics=metrics,
            names=self.organisations.names, pace=PagePace(clock), site=RelyingParty.of(settings).origins[0],
            step_aside=self.events.step_aside,
        )  # fmt: skip
        self.reports = ProgressReports(self.alerts, self.work, CarrierNumbers(self.db), self.db.codec)
        self.timeline = Timeline(self.audit, self.work)
        self.results = Results(
            self.alerts,
            self.work,
            self.reports,
            self.timeline,
            self.targeting,
            self.reach_previews,
            self.published_history,
        )
        self.seal = Seal(self.db.codec)
        self.explanations = Explanations(self.alerts, self.reports, self.people.names)
        self.cap_intake = CapIntake(
            intake=self.intake, approval=self.approval, ends=self.follow_ups, update_proposals=self.update_proposals,
            reports=self.reports, regions=self.regions, issuers=issuers_of(settings.cap), clock=clock,
        )  # fmt: skip
        self.cap_out = CapOut(
            self.alerts, self.targeting, self.regions, self.renderer, self.texts, self.organisations, settings
        )
        self.public_alerts = PublicAlerts(
            self.open_alerts, self.alerts, PublicIds(self.db, self.alerts), self.targeting, self.renderer, clock
        )
        self.feeds = Feeds(self.open_alerts, self.alerts, self.cap_out, self.renderer, self.texts, clock)
        to_distributors = self._compose_distribution(kept, poster)
        self.webhook_delivery = WebhookDelivery(
            (ToWebhooks(hooks, kept, poster, self.events.may_post, clock, metrics), to_distributors), kept, clock
        )
        self.requests = Requests(self.db)
        self.fleet = FleetMetrics(
            self.alerts, self.work, self.people, self.carrier_states, hooks, self.tracks, clock, self.organisations.names,
            self.break_glass.awaiting, self.channel_coverage.channels, self.key_rotation.seals,
        )  # fmt: skip

    def _compose_sign_up(self, pager: Pager) -> None:
        """Makes the services that let the public sign up: by mail, and of browsers. Each is closed without its carrier."""
        section, api = self.settings.public, self.settings.api
        queue, links = SignUpQueue(self.db), SignUpLinks(self.db.codec.derived("sign-up"), self.clock)
        self.sign_up = SignUp(
            queue=queue, registry=self.registry, regions=self.regions, suppression=self.suppression, limits=self.limits,
            links=links, codec=self.db.codec, clock=self.clock, is_open=section.sign_up and "mail" in self.carriers.channels,
            per_hour=section.sign_ups_per_hour,
        )  # fmt: skip
        browsers = next((one.channel for one in self.carriers.all() if isinstance(one.channel, Subscribed)), None)
        self.device_sign_up = DeviceSignUp(
            registry=self.registry, suppression=self.suppression, links=links, codec=self.db.codec, clock=self.clock,
            application_server_key=browsers.public_key if browsers else "", is_open=section.sign_up and browsers is not None,
        )  # fmt: skip
        self.sign_up_mails = SignUpMails(
            queue=queue, carriers=self.carriers, registry=self.registry, suppression=self.suppression, limits=self.limits,
            links=links, renderer=self.renderer, deliver=pager.mail, hashed=self.db.codec.hashed, clock=self.clock,
            site=api.reached_at,
        )  # fmt: skip

    def _compose_distribution(self, kept: event_store.Events, poster: Fetcher) -> DistributorDelivery:
        """Makes the services for distributors. Returns the one that sends them alerts."""
        hooks, self.tracks = DistributorHooks(self.db), Tracks(self.db)
        key, site = self.db.codec.derived("distributors"), self.settings.api.reached_at
        self.acknowledgements = DistributorAcknowledgements(hooks, self.tracks, self.alerts, self.clock, key, site)
        self.distributors = Distributors(
            hooks, self.tracks, self.alerts, kept, self.jurisdictions, self.cap_out, self.acknowledgements, poster, self.clock
        )  # fmt: skip
        return DistributorDelivery(
            hooks, self.tracks, self.alerts, self.cap_out, self.jurisdictions, self.regions, self.stop_control, poster,
            self.events.may_post, self.acknowledgements, self.clock, self.metrics,
        )  # fmt: skip

    @property
    def restoring(self) -> Restoring:
        """Returns the service that stops or returns open alerts after the store was restored from a copy."""
        org, names = self.settings.alerts.organisation, self.organisations.names
        return Restoring(
            self.open_alerts, self.alerts, self.tracks, self._tombstones, self.audit, names, self.clock, org
        )

    @property
    def _tombstones(self) -> Tombstones:
        """Returns the file that records removals, for a backup that is put back."""
        return Tombstones(self.settings.store.tombstones_file)

    def inbound(self, carrier: str) -> Inbound:
        """Returns the service for reports and SMS that come in from the SMS centre of a carrier."""
        return Inbound(carrier, self.receipts, self.suppression, self.metrics)

    @property
    def forgetting(self) -> Forgetting:
        """Returns the service that removes the identity of the people sought from ended alerts."""
        return Forgetting(
            self.alerts, Cases(self.db), self.published_history, self.audit, self.settings.retention, self.clock
        )


def next_key_file(section: StoreSection) -> Path | None:
    """Returns the path of the new master key: beside an embedded store's old key, else as set (None if unset)."""
    return section.next_master_key_file if section.url else section.directory / NEXT_KEY


def poster_of(section: WebhookSection) -> Fetcher:
    """Returns the HTTP client that posts to webhooks."""
    return Fetcher(timeout_s=section.timeout_s, ports=frozenset(section.ports), loopback=section.loopback)
