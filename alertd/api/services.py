"""What the handlers call: given by the composition root, found by its typed key in the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from alertd.clock import Clock
from alertd.config import Settings
from alertd.metrics import Metrics
from alertd.rendering import Renderer
from alertd.service.access import Access
from alertd.service.approval import Approval
from alertd.service.attendance import Attendance
from alertd.service.audit import Audit
from alertd.service.borders import Borders
from alertd.service.break_glass import BreakGlass
from alertd.service.cap import CapIntake
from alertd.service.cap_out import CapOut
from alertd.service.carrier_states import CarrierStates
from alertd.service.carrier_tests import CarrierTests
from alertd.service.carriers import Carriers
from alertd.service.confirming import Confirming
from alertd.service.course import Course
from alertd.service.distributors import Distributors
from alertd.service.events import Events
from alertd.service.evidence import Seal
from alertd.service.explaining import Explaining
from alertd.service.fleet import Fleet
from alertd.service.following import Following
from alertd.service.grounds import Grounds
from alertd.service.intake import Intake
from alertd.service.key_rotation import KeyRotation
from alertd.service.legal_holds import LegalHolds
from alertd.service.mail_reports import MailReports
from alertd.service.media import Photos
from alertd.service.oidc import Oidc
from alertd.service.oncall import Duty
from alertd.service.operators import Operators
from alertd.service.organisations import Organisations
from alertd.service.passkeys import Passkeys
from alertd.service.permissions import Permissions
from alertd.service.purging import Purging
from alertd.service.reach_audit import ReachAudit
from alertd.service.receipts import Receipts
from alertd.service.region_imports import RegionImports
from alertd.service.regions import Regions
from alertd.service.registry import Registry
from alertd.service.reports import Reports
from alertd.service.resending import Resending
from alertd.service.results import Results
from alertd.service.revising import Revising
from alertd.service.sessions import Sessions
from alertd.service.stopping import Stopping
from alertd.service.suppressing import Suppressing
from alertd.service.targeting import Targeting
from alertd.service.texts import Texts
from alertd.service.updating import Updating
from alertd.service.webhooks import Webhooks
from alertd.service.whole_case import WholeCase
from alertd.store.acks import Acks
from alertd.store.requests import Requests


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
