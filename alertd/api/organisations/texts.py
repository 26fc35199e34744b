"""An organisation's own texts over HTTP: instead of the usual words, part by part."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from alertd.api.alerts.alerts import SubmitQuery
from alertd.api.http.call import credential, note
from alertd.api.http.conditions import Conditions, etag
from alertd.api.http.operations import Act, Operation, Reply
from alertd.api.services import services
from alertd.common.errors import Problem
from alertd.model.fields import Language, Words
from alertd.rendering.own_texts import MAX_LENGTH, PARTS, TextPlace

Org = Annotated[str, Field(pattern="^[a-z0-9-]{1,40}$")]
Message = Literal["missing-child", "general", "ended"]
TextChannel = Literal["push", "sms", "mail"]
Part = Literal["title", "body", "text", "subject"]


class NewText(BaseModel):
    """Words, and facts by their names."""

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


async def list_texts(request: web.Request, *, org: Org) -> Reply[TextList]:
    """What an organisation says in its own words; everything else is told in the usual ones."""
    revision, texts = await services(request).texts.listed(_own(request, org))
    found = [_reply(place, source) for place, source in sorted(texts.items())]
    return Reply(TextList(revision=revision, texts=found), headers=etag(revision))


async def show_text(
    request: web.Request, *, org: Org, message: Message, channel: TextChannel, language: Language, part: Part
) -> Reply[TextReply]:
    """One text, as it was written."""
    place = _place(message, channel, language, part)
    revision, texts = await services(request).texts.listed(_own(request, org))
    if place not in texts:
        raise Problem("not-found", "There is no such text: the usual words are told.")
    return Reply(_reply(place, texts[place]), headers=etag(revision))


async def put_text(  # noqa: PLR0913  half of them are the path's
    request: web.Request, *, org: Org, message: Message, channel: TextChannel, language: Language, part: Part,
    query: SubmitQuery, headers: Conditions, body: NewText,
) -> Reply[TextReply]:  # fmt: skip
    """Own words for one part of a message. A template has words, facts (`{{ who }}`), `if`, `elif`, `else`, `and`, `or`, `not` and the filters
    `upper`, `lower`, `sentence`; anything else is refused with its line. It is then tried with the longest and the barest alert in every
    level, status and occasion. The safety line and the mark of a test are put in by the service, whatever it says. A dry run keeps nothing.
    """
    place = _place(message, channel, language, part)
    note(request, dry_run=query.dry_run)
    revision = await services(request).texts.put(
        _changed(request, org), place, body.template, rev=headers.version, dry_run=query.dry_run
    )
    return Reply(_reply(place, body.template), headers=etag(revision))


async def drop_text(
    request: web.Request, *, org: Org, message: Message, channel: TextChannel, language: Language, part: Part,
    headers: Conditions,
) -> None:  # fmt: skip
    """The usual words again. Alerts that were approved before keep theirs."""
    place = _place(message, channel, language, part)
    await services(request).texts.drop(_changed(request, org), place, rev=headers.version)


def _own(request: web.Request, org: str) -> str:
    """Another organisation's texts are not found."""
    if org != credential(request).org:
        raise Problem("not-found", "There is no such organisation.")
    return org


def _changed(request: web.Request, org: str) -> str:
    """Words are those of Actual alerts, too."""
    if credential(request).test:
        raise Problem("not-allowed", "A test key decides nothing about an Actual alert, and no words of one.")
    return _own(request, org)


def _place(message: str, channel: str, language: str, part: str) -> TextPlace:
    if part not in PARTS[channel]:
        raise Problem("not-found", f"The parts of {channel} are {', '.join(PARTS[channel])}.")
    return TextPlace(message, channel, language, part)


def _reply(place: TextPlace, template: str) -> TextReply:
    return TextReply.model_validate({**place._asdict(), "template": template})


_GROUP = "Messages"
_ALL = "/v1/organisations/{org}/texts"
_ONE = _ALL + "/{message}/{channel}/{language}/{part}"
OPERATIONS = (
    Operation(
        method="GET", path=_ALL, handler=list_texts, summary="List own texts", scope="texts:write",
        or_scope="alerts:read", group=_GROUP, problems=("not-found",),
    ),
    Operation(
        method="GET", path=_ONE, handler=show_text, summary="Show an own text", scope="texts:write",
        or_scope="alerts:read", group=_GROUP, problems=("not-found",),
    ),
    Operation(
        method="PUT", path=_ONE, handler=put_text, summary="Write an own text", scope="texts:write", group=_GROUP,
        problems=("not-found", "precondition-failed", "message-impossible"), act=Act("text.write"),
    ),
    Operation(
        method="DELETE", path=_ONE, handler=drop_text, summary="Remove an own text", scope="texts:write",
        group=_GROUP, status=204, problems=("not-found", "precondition-failed"), act=Act("text.remove"),
    ),
)  # fmt: skip
