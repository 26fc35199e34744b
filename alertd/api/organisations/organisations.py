"""Organisations over HTTP: who alerts here, and where each may."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.call import credential, note
from alertd.api.http.conditions import NewOrSeen, etag
from alertd.api.http.operations import Act, Operation, Reply
from alertd.api.services import services
from alertd.api.shapes import BY_ORG
from alertd.common.errors import Problem
from alertd.model.organisation import Organisation, OrganisationId
from alertd.service.organisations.organisations import Known


class OrganisationReply(BaseModel):
    id: str
    name: str
    organisation: Organisation | None = Field(description="The whole of it, for its own; null of another.")
    unattended_by: str | None = Field(
        None,
        description="Who last changed `unattended`: alerts from a key that came through their hands wait all the same.",
    )
    unattended_by_org: str | None = Field(None, description=BY_ORG)
    break_glass_by: str | None = Field(
        None,
        description="Who last changed `break_glass`: nobody approves alone who is that person, or let them in, or was let in by them.",
    )
    break_glass_by_org: str | None = Field(None, description=BY_ORG)


class OrganisationList(BaseModel):
    organisations: list[OrganisationReply]


async def list_organisations(request: web.Request) -> OrganisationList:
    """All there are: your own whole, the others by their names."""
    found = await services(request).organisations.list()
    return OrganisationList(organisations=[_reply(request, known) for known in found])


async def show_organisation(request: web.Request, *, id: OrganisationId) -> Reply[OrganisationReply]:
    """One organisation. Its ETag, sent as If-Match with a change, keeps you from overwriting what you have not seen."""
    s = services(request)
    if id != credential(request).org and not await s.organisations.exists(id):
        raise Problem("not-found", "There is no such organisation.")
    known = await s.organisations.get(id)
    return Reply(_reply(request, known), headers=etag(known.rev))


async def put_organisation(
    request: web.Request, *, id: OrganisationId, headers: NewOrSeen, body: Organisation
) -> Reply[OrganisationReply]:
    """Writes an organisation, whole. Administrators of the service's own organisation make others, and grant each its `jurisdiction` and
    `cap_sender`; what else there is of one, its own administrators change. A jurisdiction holds for what is submitted or approved from
    then on.
    """
    rev = 0 if headers.if_none_match else headers.version
    s = services(request)
    is_new = (await s.organisations.get(id)).rev == 0
    known = await s.organisations.put(id, body, credential(request), rev=rev)
    note(
        request,
        object_=id,
        rev=known.rev,
        anywhere=body.jurisdiction is None,
        unattended=body.unattended is not None,
        break_glass=body.break_glass is not None,
        verification=" ".join(body.verification),
    )
    return Reply(_reply(request, known), status=201 if is_new else 200, headers=etag(known.rev))


def _reply(request: web.Request, known: Known) -> OrganisationReply:
    who = credential(request)
    is_told = who.org == known.id or (who.may("admin") and services(request).organisations.is_host(who))
    if not is_told:
        return OrganisationReply(id=known.id, name=known.organisation.name, organisation=None)
    return OrganisationReply(
        id=known.id, name=known.organisation.name, organisation=known.organisation,
        unattended_by=known.allowed_by or None, unattended_by_org=known.allowed_with[0] or None,
        break_glass_by=known.glass_by or None, break_glass_by_org=known.glass_with[0] or None,
    )  # fmt: skip


_ALL, _ONE = "/v1/organisations", "/v1/organisations/{id}"
OPERATIONS = (
    Operation(
        method="GET", path=_ALL, handler=list_organisations, summary="List organisations", scope="alerts:read", group="Access",
    ),
    Operation(
        method="GET", path=_ONE, handler=show_organisation, summary="Show an organisation", scope="alerts:read",
        group="Access", tells=("ETag",), problems=("not-found",),
    ),
    Operation(
        method="PUT", path=_ONE, handler=put_organisation, summary="Write an organisation", scope="admin", group="Access",
        also=(201,), tells=("ETag",), problems=("not-found", "precondition-failed", "unknown-region", "invalid-geometry"),
        step_up=True, act=Act("organisation.write"),
    ),
)  # fmt: skip
