"""Receipts over HTTP: apps and browsers acknowledge a push message, carriers and relays post reports, and people unsubscribe by the link in a mail.

An app, or a browser's service worker, asks how the alert of a push message stands, and says that the message came: both by the tag in the message, which is
signed, so no key is asked for. `alertd/schemas/push-1.json` describes the rest of the message.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

from aiohttp import hdrs, web
from pydantic import BaseModel, Field

from alertd.api.http.bodies import JSON
from alertd.api.http.call import services
from alertd.api.http.operations import ANY, Operations
from alertd.api.shapes import Query
from alertd.common.clock import time_of
from alertd.common.errors import Problem
from alertd.common.ids import Reference, TokenPurpose
from alertd.model.states import AlertState
from alertd.rendering.catalogue import Catalogue, accepted, choose_language
from alertd.service.alerts.progress import VersionStanding
from alertd.service.oncall.rota import cause
from alertd.store.alerts.records import AlertRecord
from channels.base import Reason, Reporting, ReportState
from channels.bounces_hooks import Hooked, HookUnavailableError, NotVouchedError

Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]

CarrierTag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]

FORM = "application/x-www-form-urlencoded"
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


OPERATIONS = Operations("Service")


@OPERATIONS.add("GET", "/r/{tag}", "How the alert of a push message stands", None, any_origin=True)
async def show_standing(request: web.Request, *, tag: Tag) -> Standing:
    """How the alert of a push message stands now: an app asks before it shows a name, because messages come late. A browser's service worker,
    of whatever site, may ask as well.
    """
    s = services(request)
    page = s.receipts.reference(tag, TokenPurpose.PAGE)  # to somebody on call
    if page:
        waits = await s.rota.head(page.alert_id)
        return _standing(waits, show=waits is not None and cause(waits) is not None)
    reference = _reference(request, tag)
    found = await s.reports.standing(reference.alert_id, reference.row)
    return _standing(found, show=found is not None and found.is_told(s.clock.now_ms()))


def _standing(found: VersionStanding | AlertRecord | None, *, show: bool) -> Standing:
    if found is None:
        raise no_message()
    return Standing(show=show, state=found.state, expires=time_of(found.expires))


@OPERATIONS.add(
    "POST", "/r/{tag}", "An app's acknowledgement", None, status=204, takes=(ANY,), essential=True, any_origin=True
)
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


@OPERATIONS.add(
    "POST", "/v1/receipts/{carrier}/{tag}", "A carrier's late report", None, status=204, takes=(FORM,),
    reads={FORM: dict[str, str]}, essential=True,
)  # fmt: skip
async def take_receipt(request: web.Request, *, carrier: str, tag: CarrierTag) -> None:
    """A carrier's late report about one message. The tag in the address is signed, so no key is asked for."""
    s = services(request)
    if s.receipts.reference(tag, TokenPurpose.PAGE):
        return  # of a message to somebody on call, which is in no ledger
    reference, sender = s.receipts.reference(tag, TokenPurpose.RECEIPT), s.carriers.named(carrier)
    if reference is None or sender is None or not isinstance(sender.channel, Reporting):
        raise no_message()
    try:
        said, reason, to = sender.channel.read_report(
            {name: str(value) for name, value in (await request.post()).items()}
        )
    except ValueError as error:
        raise Problem("invalid-request", str(error)) from None
    if said is ReportState.FAILED and reason is Reason.GONE:  # first: said again it is no news of the row
        await s.receipts.opted_out(reference, to)
    if not await s.receipts.reported(reference, said, reason, carrier, of=sender.channel.name):
        raise no_message()


class ReportsTaken(BaseModel):
    """What was posted is done with."""

    taken: int = Field(description="How many of the reports were about a mail of this service.")


@OPERATIONS.add(
    "POST", "/v1/receipts/{carrier}", "A relay's reports of mails", None, takes=(JSON, "text/plain"),
    reads={JSON: dict[str, Any]}, problems=("not-allowed",), essential=True,
)  # fmt: skip
async def take_mail_reports(request: web.Request, *, carrier: str) -> ReportsTaken:
    """Bounces and complaints, as SES (through SNS), Postmark or Mailgun post them. Each proves itself in its own way, so no
    key is asked for. A report about no mail of ours is taken, too: it would only come again.
    """
    s = services(request)
    sender = s.carriers.named(carrier)
    hook = sender.channel.hook if sender is not None and isinstance(sender.channel, Hooked) else None
    if hook is None:
        raise Problem("not-found", "No carrier of this name posts reports.")
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        reports = await hook.parse(headers, await request.read())
    except NotVouchedError:
        raise Problem("not-allowed", "This does not prove that it comes from the relay.") from None
    except HookUnavailableError:
        raise Problem(
            "store-unavailable", "The proof cannot be checked now. Post it again.", headers={"Retry-After": "60"}
        ) from None
    except ValueError as error:
        raise Problem("invalid-request", str(error)) from None
    return ReportsTaken(taken=await s.mail_reports.take(reports, carrier))


_PAGE = """<!doctype html>
<html lang="{language}" dir="{direction}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1.2rem}}</style>
<h1>{title}</h1><p>{text}</p>{form}
"""
_FORM = '<form method="post"><button>{button}</button></form>'
_CSP = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
}


async def ask(request: web.Request) -> web.Response:
    """A page that asks, or says that it is so: whoever left looks whether it worked. Looking at it changes nothing: mail scanners open every
    link.
    """
    reference = _mail_reference(request)
    if isinstance(reference, web.Response):
        return reference
    receipts = services(request).receipts
    name = await receipts.sent_to(reference)
    if name is None:
        return _too_old(request)
    if await receipts.has_left(name):
        return _page(request, "done", "left")
    return _page(request, "ask", "asked", form=_FORM)


async def leave(request: web.Request) -> web.Response:
    """Stops the address at once, whether a person or a mail program asks (RFC 8058 section 3.2: no cookie, no redirect)."""
    reference = _mail_reference(request)
    if isinstance(reference, web.Response):
        return reference
    if not await services(request).receipts.leave(reference):
        return _too_old(request)
    return _page(request, "done", "left")


def _mail_reference(request: web.Request) -> Reference | web.Response:
    """Which mail the link is of, or what is answered where it is not whole: mail programs break long links. Raises Problem."""
    reference = services(request).receipts.reference(request.match_info["tag"], TokenPurpose.LEAVE)
    return reference or _refused(request, "whole", "This link is not whole. Open it from the mail again.", 404)


def _too_old(request: web.Request) -> web.Response:
    """Nobody is told that they get no more where nothing can be done: they would. Raises Problem."""
    return _refused(request, "old", "This link is too old. Use the one in the latest mail.", 410)


def _refused(request: web.Request, text: str, sentence: str, status: int) -> web.Response:
    """A person is told in a page, a program in a problem. Raises Problem."""
    if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
        raise Problem("gone" if status == HTTPStatus.GONE else "not-found", sentence)
    return _page(request, "broken", text, status=status)


def _words(request: web.Request) -> Catalogue:
    """Those of the language that the reader's browser asks for, else English."""
    renderer = services(request).renderer
    wanted = tuple(accepted(request.headers.get(hdrs.ACCEPT_LANGUAGE, "")))
    return renderer.words(choose_language(wanted, renderer.all_languages))


def _page(request: web.Request, title: str, text: str, *, form: str = "", status: int = 200) -> web.Response:
    """A page of these words of the catalogue."""
    words = _words(request)
    told = words.words["leave"]
    page = _PAGE.format(
        language=words.language, direction=words.direction, title=told[title], text=told[text], form=form.format(**told)
    )
    headers = {**_CSP, hdrs.CONTENT_LANGUAGE: words.language, hdrs.VARY: hdrs.ACCEPT_LANGUAGE}
    return web.Response(text=page, status=status, content_type="text/html", headers=headers)


ROUTES = (web.get("/u/{tag}", ask), web.post("/u/{tag}", leave))
