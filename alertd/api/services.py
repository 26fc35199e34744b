"""What the handlers call: given by the composition root, found by its typed key in the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from alertd.common.clock import Clock
from alertd.config.settings import Settings
from alertd.metrics import Metrics
from alertd.rendering import Renderer
from alertd.service.access import Access
from alertd.service.alerts.amendment import Revising
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.break_glass import BreakGlass
from alertd.service.alerts.case_stand_down import WholeCase
from alertd.service.alerts.follow_up import Following
from alertd.service.alerts.intake import Intake
from alertd.service.alerts.jurisdiction_split import Borders
from alertd.service.alerts.permissions import Permissions
from alertd.service.alerts.progress import Reports
from alertd.service.alerts.results import Results
from alertd.service.alerts.stops import Stopping
from alertd.service.alerts.timeline import Course
from alertd.service.alerts.updates import Updating
from alertd.service.areas.jurisdiction import Grounds
from alertd.service.areas.reach_audit import ReachAudit
from alertd.service.areas.regions import Regions
from alertd.service.areas.targeting import Targeting
from alertd.service.carriers.carriers import Carriers
from alertd.service.carriers.channel_coverage import Attendance
from alertd.service.carriers.states import CarrierStates
from alertd.service.delivery.carrier_tests import CarrierTests
from alertd.service.delivery.explaining import Explaining
from alertd.service.delivery.fleet import Fleet
from alertd.service.delivery.mail_reports import MailReports
from alertd.service.delivery.receipts import Receipts
from alertd.service.delivery.resending import Resending
from alertd.service.messages.texts import Texts
from alertd.service.oncall.rota import Duty
from alertd.service.organisations.key_rotation import KeyRotation
from alertd.service.organisations.oidc import Oidc
from alertd.service.organisations.operators import Operators
from alertd.service.organisations.organisations import Organisations
from alertd.service.organisations.passkeys import Passkeys
from alertd.service.organisations.region_imports import RegionImports
from alertd.service.organisations.sessions import Sessions
from alertd.service.people.registry import Registry
from alertd.service.people.suppression import Suppressing
from alertd.service.records.audit import Audit
from alertd.service.records.events import Events
from alertd.service.records.evidence import Seal
from alertd.service.records.photos import Photos
from alertd.service.records.webhooks import Webhooks
from alertd.service.retention.legal_holds import LegalHolds
from alertd.service.retention.purging import Purging
from alertd.service.sharing.cap import CapIntake
from alertd.service.sharing.cap_out import CapOut
from alertd.service.sharing.distributor_acknowledgements import Confirming
from alertd.service.sharing.distributors import Distributors
from alertd.store.delivery.acknowledgements import Acks
from alertd.store.records.idempotency import Requests


@dataclass(frozen=True, kw_only=True)
class Services:
    """The use cases of one process."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    regions: Regions
    region_imports: RegionImports
    renderer: Renderer
    carriers: Carriers
    carrier_tests: CarrierTests
    targeting: Targeting
    organisations: Organisations
    grounds: Grounds
    intake: Intake
    photos: Photos
    texts: Texts
    approval: Approval
    break_glass: BreakGlass
    duty: Duty
    borders: Borders
    permissions: Permissions
    cap_intake: CapIntake
    cap_out: CapOut
    reports: Reports
    course: Course
    results: Results
    seal: Seal
    explaining: Explaining
    registry: Registry
    receipts: Receipts
    mail_reports: MailReports
    suppressing: Suppressing
    access: Access
    operators: Operators
    passkeys: Passkeys
    oidc: Oidc
    sessions: Sessions
    audit: Audit
    reach_audit: ReachAudit
    events: Events
    webhooks: Webhooks
    distributors: Distributors
    confirming: Confirming
    stopping: Stopping
    following: Following
    whole_case: WholeCase
    revising: Revising
    updating: Updating
    resending: Resending
    purging: Purging
    legal_holds: LegalHolds
    requests: Requests
    key_rotation: KeyRotation
    fleet: Fleet
    attendance: Attendance
    carrier_states: CarrierStates
    acks: Acks
    is_ready: Callable[[], Awaitable[bool]]
    takes_writes: Callable[[], bool]


SERVICES = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    return request.app[SERVICES]
