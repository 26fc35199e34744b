"""Receipts over HTTP: apps and browsers acknowledge a push message, carriers and relays post reports, and people
unsubscribe by the link in a mail.

An app, or a browser's service worker, reads the state of a push message's alert and reports that the message arrived.
Both use the tag in the message, which is signed, so no key is needed. `alertd/schemas/push-1.json` describes the rest
of the message.
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

#: Headers of the published schemas. They are public, and web pages may read them, too. Caches keep them for one hour,
#: because fields are added within the same version.
_SCHEMA_HEADERS = {"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}


class Standing(BaseModel):
    show: bool = Field(
        description="Whether to show the message. False once the alert is over or was restricted since: then remove the message if it is shown."
    )
    state: AlertState = Field(description="The state of the message's version of the alert.")
    expires: datetime


class AckQuery(Query):
    state: Literal["delivered", "seen"] = Field("delivered", description="It arrived, or a person opened it.")


OPERATIONS = Operations()


@OPERATIONS.add("GET", "/r/{tag}", "How the alert of a push message stands", None, any_origin=True)
async def show_standing(request: web.Request, *, tag: Tag) -> Standing:
    """Returns the current state of a push message's alert. An app asks before it shows a name, because messages may
    arrive late. A browser's service worker of any site may ask as well.
    """
    s = services(request)
    page = s.receipts.reference(tag, TokenPurpose.PAGE)  # a page to a person on call
    if page:
        waits = await s.rota.head(page.alert_id)
        return _standing(waits, show=waits is not None and cause(waits) is not None)
    reference = _reference(request, tag)
    found = await s.reports.standing(reference.alert_id, reference.row)
    return _standing(found, show=found is not None and found.is_told(s.clock.now_ms()))


def _standing(found: VersionStanding | AlertRecord | None, *, show: bool) -> Standing:
    """Returns the state of a message's version or alert as the API shows it. Raises Problem (`not-found`) for None."""
    if found is None:
        raise no_message()
    return Standing(show=show, state=found.state, expires=time_of(found.expires))


@OPERATIONS.add(
    "POST", "/r/{tag}", "An app's acknowledgement", None, status=204, takes=(ANY,), essential=True, any_origin=True
)
async def take_ack(request: web.Request, *, tag: Tag, query: AckQuery) -> None:
    """Records that a push message arrived, or that a person opened it. May be repeated. The body is ignored."""
    if services(request).receipts.reference(tag, TokenPurpose.PAGE):
        return  # a page to a person on call is in no ledger
    if not await services(request).receipts.acknowledged(_reference(request, tag), ReportState(query.state)):
        raise no_message()


def schema_routes() -> list[web.RouteDef]:
    """Returns the route of the published schemas for receivers, /schemas/{name}. Reads the files now, not at each
    request.
    """
    schemas = {file.name: file.read_text(encoding="utf-8") for file in SCHEMAS.glob("*.json")}

    async def schema(request: web.Request) -> web.Response:
        text = schemas.get(request.match_info["name"])
        if text is None:
            raise Problem("not-found", "There is no such schema.")
        return web.Response(text=text, content_type="application/schema+json", headers=_SCHEMA_HEADERS)

    return [web.get("/schemas/{name}", schema)]


def _reference(request: web.Request, tag: str) -> Reference:
    """Returns the message of a push message's tag. Raises Problem (`not-found`) if alertd did not sign the tag."""
    reference = services(request).receipts.reference(tag, TokenPurpose.ACK)
    if reference is None:
        raise no_message()
    return reference


def no_message() -> Problem:
    """Returns the problem for an unknown tag and for a tag of a deleted alert. It is the same for both, so that it
    reveals nothing.
    """
    return Problem("not-found", "There is no such message.")


@OPERATIONS.add(
    "POST", "/v1/receipts/{carrier}/{tag}", "A carrier's late report", None, status=204, takes=(FORM,),
    reads={FORM: dict[str, str]}, essential=True,
)  # fmt: skip
async def take_receipt(request: web.Request, *, carrier: str, tag: CarrierTag) -> None:
    """Records a carrier's late report about one message. If the report says that the person opted out at the carrier,
    also puts the number on the suppression list. The tag in the address is signed, so no key is needed.
    """
    s = services(request)
    if s.receipts.reference(tag, TokenPurpose.PAGE):
        return  # a page to a person on call is in no ledger
    reference, sender = s.receipts.reference(tag, TokenPurpose.RECEIPT), s.carriers.named(carrier)
    if reference is None or sender is None or not isinstance(sender.channel, Reporting):
        raise no_message()
    try:
        said, reason, to = sender.channel.read_report(
            {name: str(value) for name, value in (await request.post()).items()}
        )
    except ValueError as error:
        raise Problem("invalid-request", str(error)) from None
    # Stores the opt-out first, so that no stored report lacks its opt-out.
    if said is ReportState.FAILED and reason is Reason.GONE:
        await s.receipts.opted_out(reference, to)
    if not await s.receipts.reported(reference, said, reason, carrier, of=sender.channel.name):
        raise no_message()


class ReportsTaken(BaseModel):
    """alertd has processed all posted reports."""

    taken: int = Field(description="How many of the reports were about a mail of this service.")


@OPERATIONS.add(
    "POST", "/v1/receipts/{carrier}", "A relay's reports of mails", None, takes=(JSON, "text/plain"),
    reads={JSON: dict[str, Any]}, problems=("not-allowed",), essential=True,
)  # fmt: skip
async def take_mail_reports(request: web.Request, *, carrier: str) -> ReportsTaken:
    """Records bounces and complaints in the formats of SES (through SNS), Postmark and Mailgun. Each provider proves
    its reports in its own way, so no key is needed. Reports about other mails are accepted and ignored, because a
    refusal would make the provider repeat them.
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
    """Returns the page behind the unsubscribe link of a mail: it asks for confirmation, or confirms an earlier opt-out.
    Opening the page changes nothing, because mail scanners open every link.
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
    """Puts the mail's address on the suppression list at once, for a person or a mail program (RFC 8058, section 3.2:
    no cookie, no redirect). Returns the page that confirms it.
    """
    reference = _mail_reference(request)
    if isinstance(reference, web.Response):
        return reference
    if not await services(request).receipts.leave(reference):
        return _too_old(request)
    return _page(request, "done", "left")


def _mail_reference(request: web.Request) -> Reference | web.Response:
    """Returns the mail to which the link belongs. If the link is incomplete, because mail programs break long links,
    returns a page or raises Problem.
    """
    reference = services(request).receipts.reference(request.match_info["tag"], TokenPurpose.LEAVE)
    return reference or _refused(request, "whole", "This link is not whole. Open it from the mail again.", 404)


def _too_old(request: web.Request) -> web.Response:
    """Answers that the link has expired: with a page, or by raising Problem. A confirmation would be false, because the
    address would still get messages.
    """
    return _refused(request, "old", "This link is too old. Use the one in the latest mail.", 410)


def _refused(request: web.Request, text: str, sentence: str, status: int) -> web.Response:
    """Refuses a link: returns a page if the reader accepts HTML, and raises Problem for a program. `text` names the
    page's text; `sentence` is the problem's.
    """
    if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
        raise Problem("gone" if status == HTTPStatus.GONE else "not-found", sentence)
    return _page(request, "broken", text, status=status)


def _words(request: web.Request) -> Catalogue:
    """Returns the catalogue in the language that the reader's browser prefers, else in English."""
    renderer = services(request).renderer
    wanted = tuple(accepted(request.headers.get(hdrs.ACCEPT_LANGUAGE, "")))
    return renderer.words(choose_language(wanted, renderer.all_languages))


def _page(request: web.Request, title: str, text: str, *, form: str = "", status: int = 200) -> web.Response:
    """Returns an HTML page in the reader's language. `title` and `text` name its texts in the catalogue; `form` is HTML
    below.
    """
    words = _words(request)
    texts = words.words["leave"]
    page = _PAGE.format(
        language=words.language,
        direction=words.direction,
        title=texts[title],
        text=texts[text],
        form=form.format(**texts),
    )
    headers = {**_CSP, hdrs.CONTENT_LANGUAGE: words.language, hdrs.VARY: hdrs.ACCEPT_LANGUAGE}
    return web.Response(text=page, status=status, content_type="text/html", headers=headers)


ROUTES = (web.get("/u/{tag}", ask), web.post("/u/{tag}", leave))
