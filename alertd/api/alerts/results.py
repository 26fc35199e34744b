"""What is told of an alert afterwards, over HTTP: a report to learn from, and evidence, signed, for whoever keeps the case."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import shapely
from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.alerts.progress import ActReply, history_reply
from alertd.api.audit import AuditEntry, entry_reply
from alertd.api.http.call import credential, note, services
from alertd.api.http.operations import Act, Operations
from alertd.api.shapes import BY_ORG, AlertId, AlertReply, BreakGlassReply, alert_reply, break_glass_reply, signed
from alertd.common.clock import second_of, time_of
from alertd.model.kinds import Occasion
from alertd.model.states import AlertState
from alertd.service.access import Credential
from alertd.service.alerts.results import Told, gone
from alertd.service.container import Container
from alertd.service.reach import Estimate
from alertd.service.records.evidence import digest_of, name_of
from alertd.store.alerts.records import AlertRecord


class SpeedReply(BaseModel):
    messages: int
    p50_s: float = Field(description="Half of them took no longer.")
    p95_s: float
    last_s: float


class VersionReport(BaseModel):
    id: str
    occasion: Occasion = Field(description="Why it was told: `alert` itself, or what followed it.")
    state: AlertState
    code: str | None = Field(description="Of a cancel: the reason that people were told.")
    by: str | None = Field(description="Who took the step that it tells of.")
    by_org: str | None = Field(description=BY_ORG)
    approver: str | None
    approver_org: str | None = Field(description=BY_ORG)
    began: datetime
    people: int
    channels: dict[str, dict[str, int]] = Field(description="By channel: targeted, every state, and doubled.")
    handed_over: dict[str, SpeedReply] = Field(description="From its beginning to the carrier.")
    delivered: dict[str, SpeedReply] = Field(description="From the carrier to the receipt, where a channel has any.")
    seen: dict[str, int] = Field(description="Receipts that say that it was opened.")
    opted_out: dict[str, int] = Field(description="Not sent: the address was stopped by then.")
    left: dict[str, int] = Field(description="Readers who stopped the address by the link of this very message.")


class ReportReply(BaseModel):
    id: str
    state: AlertState
    paused: bool = Field(description="As in the alert: nothing more of it is sent until it is resumed.")
    kind: str
    level: str
    status: str
    people: int = Field(description="Told by the alert or an update of it.")
    regions: dict[str, Estimate] = Field(
        description="Estimates of the people in its area by the smallest region they are in, only of 100 and more."
    )
    versions: list[VersionReport] = Field(description="The alert, and what followed it, in their order.")
    break_glass: BreakGlassReply | None = Field(description="That its author approved it alone; null: nobody did.")
    decisions: list[ActReply] = Field(description="Who decided what, and when, oldest first.")
    whole: bool = Field(description="False: there is too much in the audit since, and older decisions are missing.")
    outcome: str | None = Field(description="As whoever ended it kept it. It is never published.")


class Ledger(BaseModel):
    version: str
    sha256: str | None = Field(
        description="Of what `GET /v1/alerts/{version}/deliveries` answered at that moment, byte by byte; null where the ledger was deleted "
        "when its time was over (`retention.ledger_days`)."
    )
    channels: dict[str, dict[str, int]]


class PublishedReply(BaseModel):
    since: datetime = Field(description="From then on it said this, until the next.")
    alert: dict[str, Any] = Field(description="The document, less what was taken out of it since.")
    digest: str = Field(
        description="Of the document as it was published, under the case's key: the same as `document` in the audit's entries about it."
    )
    whole: bool = Field(
        description="False: facts were taken out of it, by a restriction or because their time was over."
    )


class Evidence(BaseModel):
    """What is signed."""

    made: datetime
    by: str = Field(description="Who asked for it.")
    by_org: str = Field(description=BY_ORG)
    alert: AlertReply = Field(description="With its document.")
    published: list[PublishedReply] = Field(
        description="What it said in public at each time, its words of now at the end. While a legal hold keeps the case, also what was taken out since."
    )
    area: dict[str, Any] = Field(description="The area it was told in, GeoJSON.")
    versions: list[AlertReply] = Field(description="What followed it, in their order.")
    ledgers: list[Ledger]
    entries: list[AuditEntry] = Field(description="The audit's entries about it, each with the link of the chain.")
    whole: bool = Field(description="False: older entries were not looked for.")
    audit: dict[str, Any] = Field(
        description="The last entry of the audit and its link, when this was made, and whether it holds."
    )


class EvidenceReply(BaseModel):
    """A JSON Web Signature in flattened form (RFC 7515, section 7.2.2), with Ed25519 (RFC 8037)."""

    payload: str = Field(description="The evidence: JSON, in base64url.")
    protected: str
    signature: str


class EvidenceKey(BaseModel):
    name: str = Field(description="The `kid` of what it signed: the SHA-256 of `pem`.")
    pem: str = Field(description="The public half. Keep it where whoever could change an export could not change it.")


class EvidenceKeys(EvidenceKey):
    earlier: list[EvidenceKey] = Field(description="The keys that rotations replaced, the latest first.")


OPERATIONS = Operations("Alerts")


@OPERATIONS.add(
    "GET", "/v1/alerts/{id}/report", "Show what it came to", "ledger:read", problems=("gone",), act=Act("report.read")
)
async def alert_report(request: web.Request, *, id: AlertId) -> ReportReply:
    """What an alert came to, with all that followed it: whom it reached, how fast, what was corrected, who left, who decided what, and
    its outcome. There is none once it is purged.
    """
    s = services(request)
    found = await s.results.report(await s.approval.get(id, credential(request)))
    decisions = history_reply(found.record.id, found.history)
    return ReportReply(
        id=found.record.id, state=found.record.state, paused=found.record.chain.paused, kind=found.record.kind, level=found.record.level,
        status=found.record.status, people=found.people, regions=dict(found.regions),
        versions=[_version(one) for one in found.versions], decisions=decisions.acts, whole=decisions.whole,
        outcome=found.outcome or None, break_glass=break_glass_reply(found.record),
    )  # fmt: skip


@OPERATIONS.add(
    "GET", "/v1/alerts/{id}/evidence", "Export evidence", "evidence:read", problems=("gone",), act=Act("evidence.read")
)
async def alert_evidence(request: web.Request, *, id: AlertId) -> EvidenceReply:
    """An alert with everything that proves what was decided and told: its document, its area, all that followed it, the digests of their ledgers, and
    what the audit has of it. Signed with the installation's key, of which `GET /v1/evidence/key` gives the public half. It holds what the case holds: keep it
    where the case is kept. There is none once the alert is purged, and nothing takes back one that was given out.
    """
    s, who = services(request), credential(request)
    record = await s.approval.chain(id, who)
    if not record.document:
        raise gone()
    evidence = await _evidence(s, record, who)
    signed = s.seal.signed(evidence.model_dump(mode="json"))
    note(request, object_=record.id, evidence=signed.signature)
    return EvidenceReply(payload=signed.payload, protected=signed.protected, signature=signed.signature)


@OPERATIONS.add("GET", "/v1/evidence/key", "Show what signs evidence", None)
async def show_evidence_key(request: web.Request) -> EvidenceKeys:
    """The public half of the key that signs evidence, for everybody. `alertd keys rotate-master` replaces the key. Evidence from before that is
    verified with the earlier key, which stays in `earlier`.
    """
    current, *earlier = (EvidenceKey(name=name_of(pem), pem=pem) for pem in services(request).seal.public)
    return EvidenceKeys(name=current.name, pem=current.pem, earlier=earlier)


async def _evidence(s: Container, record: AlertRecord, who: Credential) -> Evidence:
    found = await s.results.report(record)
    verdict = await s.audit.verify(record.org, None)
    area = shapely.to_geojson(await s.results.area(record))
    return Evidence(
        made=second_of(s.clock.now_ms()), by=who.subject, by_org=who.org,
        alert=alert_reply(record, whole=True), published=await _published(s, record), area=json.loads(area),
        versions=[alert_reply(one.record) for one in found.versions if one.record.id != record.id],
        ledgers=[
            Ledger(
                version=one.record.id, sha256=await _digest(s, one.record),
                channels={channel: dict(counts) for channel, counts in one.counts.items()},
            )
            for one in found.versions
        ],
        entries=[entry_reply(one) for one in found.history.acts], whole=found.history.whole,
        audit={"entries": verdict.entries, "head": verdict.head, "broken": verdict.broken},
    )  # fmt: skip


async def _digest(s: Container, record: AlertRecord) -> str | None:
    return None if await s.reports.is_deleted(record) else await digest_of(s.reports.lines(record))


async def _published(s: Container, record: AlertRecord) -> list[PublishedReply]:
    return [
        PublishedReply(
            since=time_of(one.since), alert=json.loads(one.document), digest=one.digest,
            whole=one.whole,
        )
        for one in await s.results.published(record)
    ]  # fmt: skip


def _version(told: Told) -> VersionReport:
    one = told.record
    speeds = (
        {channel: SpeedReply(messages=of.messages, p50_s=of.p50_s, p95_s=of.p95_s, last_s=of.last_s) for channel, of in each.items()}
        for each in (told.handed_over, told.delivered)
    )  # fmt: skip
    handed_over, delivered = speeds
    (by, by_org), (approver, approver_org) = signed(one.last_step.by, one.org), signed(one.approval.by, one.org)
    return VersionReport(
        id=one.id, occasion=one.occasion, state=one.state, code=one.last_step.code or None, by=by, by_org=by_org,
        approver=approver, approver_org=approver_org, began=time_of(one.times.start),
        people=one.people, channels={channel: dict(counts) for channel, counts in told.counts.items()},
        handed_over=handed_over, delivered=delivered, seen=dict(told.seen), opted_out=dict(told.opted_out),
        left=dict(told.left),
    )  # fmt: skip
