"""HTTP operations on the audit: an organisation reads and verifies the entries that the middleware writes around each
act.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.call import credential, services
from alertd.api.http.operations import Operations
from alertd.api.shapes import BY_ORG, Query
from alertd.common.clock import time_of
from alertd.service.records.audit import Entry

MOST_ENTRIES = 10**15  # more entries than any audit has, and below the largest integer of the store


class AuditQuery(Query):
    limit: int = Field(100, ge=1, le=1000)
    cursor: int | None = Field(None, ge=1, le=MOST_ENTRIES, description="`next` of the previous page.")


class AuditEntry(BaseModel):
    entry: int = Field(description="Its number: from 1, without gaps.")
    at: datetime = Field(description="By the store's clock.")
    act: str = Field(description="Empty if the entry can no longer be read.")
    outcome: str = Field(
        description="`begun` before the act; then `done`, `refused`, or `failed` (the act may still have taken effect)."
    )
    of: int | None = Field(description="Of an outcome: the number of the entry where the act began.")
    by: str = Field(description="The person of the key.")
    by_org: str = Field(description=BY_ORG)
    key: str
    object: str | None = Field(description="The id of the object of the act; a subscriber's id is hashed.")
    facts: dict[str, str | int | bool]
    case: dict[str, str] = Field(
        description="Values of the case as HMACs under its key; they can be compared until the case is purged."
    )
    link: str = Field(description="Binds the entry to all earlier ones. A copy stored elsewhere can prove them.")


class AuditPage(BaseModel):
    entries: list[AuditEntry] = Field(description="Newest first.")
    next: int | None


class VerifyQuery(Query):
    entry: Annotated[int, Field(ge=1, le=MOST_ENTRIES)] | None = Field(
        None, description="The number of an entry that you noted earlier. Send its `link`, too."
    )
    link: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] = Field("0" * 40, description="The link of that entry.")


class AuditVerdict(BaseModel):
    entries: int
    head: str | None = Field(description="The link of the last intact entry: note it elsewhere, with its number.")
    broken: int | None = Field(description="The first entry that was changed or is missing.")
    why: str | None


OPERATIONS = Operations()


@OPERATIONS.add("GET", "/v1/audit", "Read the audit", "audit:read")
async def list_audit(request: web.Request, *, query: AuditQuery) -> AuditPage:
    """Returns a page of the organisation's audit, newest entries first: each act that decides, discloses, or changes
    what recipients read, and the person who did it. Entries cannot be changed or removed.
    """
    found = await services(request).audit.page(credential(request).org, before=query.cursor, limit=query.limit)
    more = len(found) == query.limit and found[-1].number > 1
    return AuditPage(entries=[entry_reply(one) for one in found], next=found[-1].number if more else None)


@OPERATIONS.add("GET", "/v1/audit/verify", "Verify the audit", "audit:read")
async def verify_audit(request: web.Request, *, query: VerifyQuery) -> AuditVerdict:
    """Checks the whole audit of the organisation, from its first entry to its last, and names the first entry that was
    changed or is missing. With `entry` and `link`, also checks that this entry, which you noted earlier, is in it.
    """
    noted = (query.entry, query.link) if query.entry is not None else None
    verdict = await services(request).audit.verify(credential(request).org, noted)
    return AuditVerdict(
        entries=verdict.entries, head=verdict.head or None, broken=verdict.broken, why=verdict.why or None
    )


def entry_reply(one: Entry) -> AuditEntry:
    """Returns an entry as the API shows it."""
    return AuditEntry(
        entry=one.number, at=time_of(one.at), act=one.act, outcome=one.outcome,
        of=one.of or None, by=one.by, by_org=one.by_org, key=one.key, object=one.object or None, facts=dict(one.facts),
        case=dict(one.case), link=one.link,
    )  # fmt: skip
