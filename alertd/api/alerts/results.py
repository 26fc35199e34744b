"""HTTP operations on the results of an alert: the report, the signed evidence for the case file, and the key to verify
it.
"""

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
from alertd.service.alerts.results import VersionResults, gone
from alertd.service.container import Container
from alertd.service.reach import Estimate
from alertd.service.records.evidence import digest_of, name_of
from alertd.store.alerts.records import AlertRecord


class SpeedReply(BaseModel):
    messages: int
    p50_s: float = Field(description="Median, in seconds.")
    p95_s: float
    last_s: float


class VersionReport(BaseModel):
    id: str
    occasion: Occasion = Field(description="The purpose of this version: `alert` itself, or a follow-up.")
    state: AlertState
    code: str | None = Field(description="Of a cancellation: the reason that recipients read.")
    by: str | None = Field(description="The person who took the step that this version announces.")
    by_org: str | None = Field(description=BY_ORG)
    approver: str | None
    approver_org: str | None = Field(description=BY_ORG)
    began: datetime
    people: int
    channels: dict[str, dict[str, int]] = Field(description="By channel: `targeted`, every state, and `doubled`.")
    handed_over: dict[str, SpeedReply] = Field(description="From the start of the version to the carrier.")
    delivered: dict[str, SpeedReply] = Field(description="From the carrier to the receipt, for channels with receipts.")
    seen: dict[str, int] = Field(description="Receipts that report an opened message.")
    opted_out: dict[str, int] = Field(description="Not sent, because the address had been opted out by then.")
    left: dict[str, int] = Field(description="Recipients who opted out through the link in this message.")


class ReportReply(BaseModel):
    id: str
    state: AlertState
    paused: bool = Field(description="As in the alert: sending is paused until the alert is resumed.")
    kind: str
    level: str
    status: str
    people: int = Field(description="People notified by the alert or one of its updates.")
    regions: dict[str, Estimate] = Field(
        description="Estimated people in its area by their smallest region; only regions with 100 people or more."
    )
    versions: list[VersionReport] = Field(description="The alert and its follow-ups, in order.")
    break_glass: BreakGlassReply | None = Field(description="The author's approval alone; null if there was none.")
    decisions: list[ActReply] = Field(description="Who decided what, and when, oldest first.")
    whole: bool = Field(description="False: the audit has too many later entries, so older decisions are missing.")
    outcome: str | None = Field(description="As recorded when the alert was ended. It is never published.")


class Ledger(BaseModel):
    version: str
    sha256: str | None = Field(
        description="Digest of the answer of `GET /v1/alerts/{version}/deliveries` at that moment, byte for byte. Null if the ledger was "
        "deleted after its retention time (`retention.ledger_days`)."
    )
    channels: dict[str, dict[str, int]]


class PublishedReply(BaseModel):
    since: datetime = Field(description="This content was published from then until the next one.")
    alert: dict[str, Any] = Field(description="The document, without the facts that were removed since.")
    digest: str = Field(
        description="Digest of the document as published, under the case's key: equals `document` in its audit entries."
    )
    whole: bool = Field(description="False: facts were removed, by a restriction or after their retention time.")


class Evidence(BaseModel):
    """The content that the installation's key signs."""

    made: datetime
    by: str = Field(description="The person who requested it.")
    by_org: str = Field(description=BY_ORG)
    alert: AlertReply = Field(description="With its document.")
    published: list[PublishedReply] = Field(
        description="The published content over time; the last entry has the current texts. A legal hold also keeps facts that were removed since."
    )
    area: dict[str, Any] = Field(description="The area of the alert, as GeoJSON.")
    versions: list[AlertReply] = Field(description="The follow-ups, in order.")
    ledgers: list[Ledger]
    entries: list[AuditEntry] = Field(description="The audit's entries about it, each with the link of the chain.")
    whole: bool = Field(description="False: older entries were not searched.")
    audit: dict[str, Any] = Field(
        description="The last entry of the audit and its link at the time of the export, and whether the chain is intact."
    )


class EvidenceReply(BaseModel):
    """A JSON Web Signature in flattened form (RFC 7515, section 7.2.2), with Ed25519 (RFC 8037)."""

    payload: str = Field(description="The evidence: JSON, in base64url.")
    protected: str
    signature: str


class EvidenceKey(BaseModel):
    name: str = Field(description="The `kid` of its signatures: the SHA-256 of `pem`.")
    pem: str = Field(description="The public key. Store it where a person who could change an export cannot change it.")


class EvidenceKeys(EvidenceKey):
    earlier: list[EvidenceKey] = Field(description="Keys that rotations replaced, latest first.")


OPERATIONS = Operations()


@OPERATIONS.add(
    "GET", "/v1/alerts/{id}/report", "Show the report", "ledger:read", problems=("gone",), act=Act("report.read")
)
async def alert_report(request: web.Request, *, id: AlertId) -> ReportReply:
    """Returns the report of an alert and its follow-ups: people reached, speed, corrections, opt-outs, decisions, and
    the outcome. A purged alert has no report.
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
    """Returns an alert with the evidence of all decisions and sends: its document, its area, all follow-ups, the
    digests of their ledgers, and its audit entries. The installation's key signs it; `GET /v1/evidence/key` returns the
    public key. The export contains the facts of the case: store it with the case. A purged alert has no evidence, and
    an export cannot be recalled.
    """
    s, who = services(request), credential(request)
    record = await s.approval.chain(id, who)
    if not record.document:
        raise gone()
    evidence = await _evidence(s, record, who)
    signed = s.seal.signed(evidence.model_dump(mode="json"))
    note(request, object_=record.id, evidence=signed.signature)
    return EvidenceReply(payload=signed.payload, protected=signed.protected, signature=signed.signature)


@OPERATIONS.add("GET", "/v1/evidence/key", "Show the evidence key", None)
async def show_evidence_key(request: web.Request) -> EvidenceKeys:
    """Returns the public half of the key that signs evidence, without authentication. `alertd keys rotate-master`
    replaces the key. Verify older evidence with its earlier key, which stays in `earlier`.
    """
    current, *earlier = (EvidenceKey(name=name_of(pem), pem=pem) for pem in services(request).seal.public)
    return EvidenceKeys(name=current.name, pem=current.pem, earlier=earlier)


async def _evidence(s: Container, record: AlertRecord, who: Credential) -> Evidence:
    """Collects the evidence of an alert, to be signed; `who` requested it. Also verifies the whole audit of the
    organisation.
    """
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
    """Returns the SHA-256 of a version's ledger as the API answers it; None if the ledger was deleted."""
    return None if await s.reports.is_deleted(record) else await digest_of(s.reports.lines(record))


async def _published(s: Container, record: AlertRecord) -> list[PublishedReply]:
    """Returns the public content of an alert over time, oldest first."""
    return [
        PublishedReply(
            since=time_of(one.since), alert=json.loads(one.document), digest=one.digest,
            whole=one.whole,
        )
        for one in await s.results.published(record)
    ]  # fmt: skip


def _version(results: VersionResults) -> VersionReport:
    """Returns the results of one version as the API shows them."""
    one = results.record
    speeds = (
        {channel: SpeedReply(messages=of.messages, p50_s=of.p50_s, p95_s=of.p95_s, last_s=of.last_s) for channel, of in each.items()}
        for each in (results.handed_over, results.delivered)
    )  # fmt: skip
    handed_over, delivered = speeds
    (by, by_org), (approver, approver_org) = signed(one.last_step.by, one.org), signed(one.approval.by, one.org)
    return VersionReport(
        id=one.id, occasion=one.occasion, state=one.state, code=one.last_step.code or None, by=by, by_org=by_org,
        approver=approver, approver_org=approver_org, began=time_of(one.times.start),
        people=one.people, channels={channel: dict(counts) for channel, counts in results.counts.items()},
        handed_over=handed_over, delivered=delivered, seen=dict(results.seen), opted_out=dict(results.opted_out),
        left=dict(results.left),
    )  # fmt: skip
