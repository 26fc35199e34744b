"""HTTP operations on organisations: their settings (with their jurisdictions), and their own texts for messages."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.alerts.alerts import SubmitQuery
from alertd.api.http.call import Conditions, NewOrSeen, credential, etag, note, services
from alertd.api.http.operations import Act, Operations, Reply
from alertd.api.shapes import BY_ORG
from alertd.common.errors import Problem
from alertd.model.fields import Language, Words
from alertd.model.organisation import Organisation, OrganisationId
from alertd.rendering.own_texts import MAX_LENGTH, PARTS, TextPlace
from alertd.service.organisations.organisations import Known


class OrganisationReply(BaseModel):
    id: str
    name: str
    organisation: Organisation | None = Field(description="The whole of it, for its own; null of another.")
    unattended_by: str | None = Field(
        None,
        description="The person who last changed `unattended`. Alerts from a key that they made or rotated still wait for approval.",
    )
    unattended_by_org: str | None = Field(None, description=BY_ORG)
    break_glass_by: str | None = Field(
        None,
        description="The person who last changed `break_glass`. They cannot approve alone, nor can a person who admitted them or was admitted by them.",
    )
    break_glass_by_org: str | None = Field(None, description=BY_ORG)


class OrganisationList(BaseModel):
    organisations: list[OrganisationReply]


_ALL, _ONE = "/v1/organisations", "/v1/organisations/{id}"
_TEXTS = "/v1/organisations/{org}/texts"
_TEXT = _TEXTS + "/{message}/{channel}/{language}/{part}"
OPERATIONS = Operations()


@OPERATIONS.add("GET", _ALL, "List organisations", "alerts:read")
async def list_organisations(request: web.Request) -> OrganisationList:
    """Returns all organisations: your own in full, the others by id and name. A caller with the scope `admin` in the
    organisation that runs the service gets all in full.
    """
    found = await services(request).organisations.list()
    return OrganisationList(organisations=[_reply(request, known) for known in found])


@OPERATIONS.add("GET", _ONE, "Show an organisation", "alerts:read", tells=("ETag",))
async def show_organisation(request: web.Request, *, id: OrganisationId) -> Reply[OrganisationReply]:
    """Returns one organisation, in full if it is yours. Send its ETag as If-Match with a change, so that you do not
    overwrite a change that you have not seen.
    """
    s = services(request)
    if id != credential(request).org and not await s.organisations.exists(id):
        raise Problem("not-found", "There is no such organisation.")
    known = await s.organisations.get(id)
    return Reply(_reply(request, known), headers=etag(known.stored.rev))


@OPERATIONS.add(
    "PUT", _ONE, "Write an organisation", "admin", also=(201,), tells=("ETag",),
    problems=("unknown-region", "invalid-geometry"), step_up=True, act=Act("organisation.write"),
)  # fmt: skip
async def put_organisation(
    request: web.Request, *, id: OrganisationId, headers: NewOrSeen, body: Organisation
) -> Reply[OrganisationReply]:
    """Creates or replaces an organisation. Administrators of the organisation that runs the service create
    organisations, and set the `jurisdiction` and `cap_sender`. Its own administrators set all other members. A new
    jurisdiction applies to later submissions and approvals.
    """
    rev = 0 if headers.if_none_match else headers.version
    s = services(request)
    is_new = (await s.organisations.get(id)).stored.rev == 0
    known = await s.organisations.put(id, body, credential(request), rev=rev)
    note(
        request,
        object_=id,
        rev=known.stored.rev,
        anywhere=body.jurisdiction is None,
        unattended=body.unattended is not None,
        break_glass=body.break_glass is not None,
        verification=" ".join(body.verification),
    )
    return Reply(_reply(request, known), status=201 if is_new else 200, headers=etag(known.stored.rev))


def _reply(request: web.Request, known: Known) -> OrganisationReply:
    """Returns an organisation: in full for its own callers and administrators of the host organisation, by name for
    others.
    """
    who = credential(request)
    is_told = who.org == known.id or (who.may("admin") and services(request).organisations.is_host(who))
    if not is_told:
        return OrganisationReply(id=known.id, name=known.organisation.name, organisation=None)
    return OrganisationReply(
        id=known.id, name=known.organisation.name, organisation=known.organisation,
        unattended_by=known.stored.allowed_by or None, unattended_by_org=known.stored.allowed_with[0] or None,
        break_glass_by=known.stored.glass_by or None, break_glass_by_org=known.stored.glass_with[0] or None,
    )  # fmt: skip


Org = Annotated[str, Field(pattern="^[a-z0-9-]{1,40}$")]
Message = Literal["missing-child", "general", "ended"]
TextChannel = Literal["push", "sms", "mail"]
Part = Literal["title", "body", "text", "subject"]


class NewText(BaseModel):
    """The template of a text: words, and facts by their names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    template: Annotated[
        str, Words(MAX_LENGTH), Field(examples=["Please help: {{ who }}{% if place %}, {{ place }}{% endif %}"])
    ]


class TextReply(BaseModel):
    message: Message
    channel: TextChannel = Field(description="`push` serves web push as well.")
    language: str
    part: Part
    template: str


class TextList(BaseModel):
    revision: int = Field(
        description="How often the texts were changed. An alert keeps the revision it was submitted with, and is not approved after another one."
    )
    texts: list[TextReply]


@OPERATIONS.add("GET", _TEXTS, "List own texts", "texts:write", or_scope="alerts:read")
async def list_texts(request: web.Request, *, org: Org) -> Reply[TextList]:
    """Returns the organisation's own texts; all other parts of messages use the standard texts."""
    revision, texts = await services(request).texts.listed(_own(request, org))
    found = [_text_reply(place, source) for place, source in sorted(texts.items())]
    return Reply(TextList(revision=revision, texts=found), headers=etag(revision))


@OPERATIONS.add("GET", _TEXT, "Show an own text", "texts:write", or_scope="alerts:read")
async def show_text(
    request: web.Request, *, org: Org, message: Message, channel: TextChannel, language: Language, part: Part
) -> Reply[TextReply]:
    """Returns one own text, as written. The answer is 404 if messages use the standard text."""
    place = _place(message, channel, language, part)
    revision, texts = await services(request).texts.listed(_own(request, org))
    if place not in texts:
        raise Problem("not-found", "There is no such text: messages use the default words.")
    return Reply(_text_reply(place, texts[place]), headers=etag(revision))


@OPERATIONS.add(
    "PUT", _TEXT, "Write an own text", "texts:write", problems=("message-impossible",), act=Act("text.write")
)
async def put_text(  # noqa: PLR0913  half of them are the path's
    request: web.Request, *, org: Org, message: Message, channel: TextChannel, language: Language, part: Part,
    query: SubmitQuery, headers: Conditions, body: NewText,
) -> Reply[TextReply]:  # fmt: skip
    """Writes the organisation's own text for one part of a message. A template may contain text, facts (`{{ who }}`),
    `if`, `elif`, `else`, `and`, `or`, `not` and the filters `upper`, `lower`, `sentence`; anything else is refused with
    its line. alertd then renders it with the longest and the shortest alert in every level, status and occasion. The
    service always adds the safety line and the mark of a test. A dry run stores nothing.
    """
    place = _place(message, channel, language, part)
    note(request, dry_run=query.dry_run)
    revision = await services(request).texts.put(
        _changed(request, org), place, body.template, rev=headers.version, dry_run=query.dry_run
    )
    return Reply(_text_reply(place, body.template), headers=etag(revision))


@OPERATIONS.add("DELETE", _TEXT, "Remove an own text", "texts:write", status=204, act=Act("text.remove"))
async def drop_text(
    request: web.Request, *, org: Org, message: Message, channel: TextChannel, language: Language, part: Part,
    headers: Conditions,
) -> None:  # fmt: skip
    """Removes an own text, so that messages use the standard text. Alerts that were approved earlier keep the own
    text.
    """
    place = _place(message, channel, language, part)
    await services(request).texts.drop(_changed(request, org), place, rev=headers.version)


def _own(request: web.Request, org: str) -> str:
    """Returns `org` if it is the caller's organisation. Raises Problem (`not-found`) for another one."""
    if org != credential(request).org:
        raise Problem("not-found", "There is no such organisation.")
    return org


def _changed(request: web.Request, org: str) -> str:
    """Returns `org` if it is the caller's organisation and the caller may change its texts. Raises Problem for another
    organisation, and for a test key, because the texts are also those of Actual alerts.
    """
    if credential(request).test:
        raise Problem("not-allowed", "A test key decides nothing about an Actual alert, and no words of one.")
    return _own(request, org)


def _place(message: str, channel: str, language: str, part: str) -> TextPlace:
    """Returns the place of a text. Raises Problem (`not-found`) if messages of the channel have no such part."""
    if part not in PARTS[channel]:
        raise Problem("not-found", f"The parts of {channel} are {', '.join(PARTS[channel])}.")
    return TextPlace(message, channel, language, part)


def _text_reply(place: TextPlace, template: str) -> TextReply:
    return TextReply.model_validate({**place._asdict(), "template": template})
