"""What an app, or a browser's service worker, does with a push message: it asks how the alert stands, and says that the message came.

Both by the tag in the message, which is signed and asks for no key. What else is in the message says `alertd/schemas/push-1.json`.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from alertd.api.http.operations import ANY, Operation
from alertd.api.services import services
from alertd.api.shapes import Query
from alertd.common.clock import time_of
from alertd.common.errors import Problem
from alertd.common.ids import Reference, TokenPurpose
from alertd.model.states import AlertState
from alertd.service.alerts.progress import VersionStanding
from alertd.service.oncall.rota import cause
from alertd.store.alerts.records import AlertRecord
from channels.base import ReportState

Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"

#: The same for everyone; a web page may read it, too. An hour, because fields are added under the same number.
_SCHEMA_HEADERS = {"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}


class Standing(BaseModel):
    show: bool = Field(
        description="Whether to show what the message says: no longer, too, where the alert was restricted since. If not, take away what you show of it."
    )
    state: AlertState = Field(description="Where the version stands that the message is of.")
    expires: datetime


class AckQuery(Query):
    state: Literal["delivered", "seen"] = Field("delivered", description="That it came, or that somebody opened it.")


async def show_standing(request: web.Request, *, tag: Tag) -> Standing:
    """How the alert of a push message stands now: an app asks before it shows a name, because messages come late. A browser's service worker,
    of whatever site, may ask as well.
    """
    s = services(request)
    page = s.receipts.reference(tag, TokenPurpose.PAGE)  # to somebody on call
    if page:
        waits = await s.duty.head(page.alert_id)
        return _standing(waits, show=waits is not None and cause(waits) is not None)
    reference = _reference(request, tag)
    found = await s.reports.standing(reference.alert_id, reference.row)
    return _standing(found, show=found is not None and found.is_told(s.clock.now_ms()))


def _standing(found: VersionStanding | AlertRecord | None, *, show: bool) -> Standing:
    if found is None:
        raise no_message()
    return Standing(show=show, state=found.state, expires=time_of(found.expires))


async def take_ack(request: web.Request, *, tag: Tag, query: AckQuery) -> None:
    """An app says that it got the message, or that somebody opened it; as often as it likes. A body is not read."""
    if services(request).receipts.reference(tag, TokenPurpose.PAGE):
        return  # it is in no ledger
    if not await services(request).receipts.acknowledged(_reference(request, tag), ReportState(query.state)):
        raise no_message()


def schema_routes() -> list[web.RouteDef]:
    """The published schemas of what we send to others' programs, under /schemas. They are read here, once."""
    schemas = {file.name: file.read_text(encoding="utf-8") for file in SCHEMAS.glob("*.json")}

    async def schema(request: web.Request) -> web.Response:
        text = schemas.get(request.match_info["name"])
        if text is None:
            raise Problem("not-found", "There is no such schema.")
        return web.Response(text=text, content_type="application/schema+json", headers=_SCHEMA_HEADERS)

    return [web.get("/schemas/{name}", schema)]


def _reference(request: web.Request, tag: str) -> Reference:
    reference = services(request).receipts.reference(tag, TokenPurpose.ACK)
    if reference is None:
        raise no_message()
    return reference


def no_message() -> Problem:
    """The same for a tag that was never made and for one whose alert is gone."""
    return Problem("not-found", "There is no such message.")


OPERATIONS = (
    Operation(
        method="GET", path="/r/{tag}", handler=show_standing, summary="How the alert of a push message stands", scope=None,
        group="Service", problems=("not-found",), any_origin=True,
    ),
    Operation(
        method="POST", path="/r/{tag}", handler=take_ack, summary="An app's acknowledgement", scope=None, group="Service",
        status=204, takes=(ANY,), problems=("not-found",), essential=True, any_origin=True,
    ),
)  # fmt: skip
