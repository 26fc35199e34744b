"""Leaving, for the public: the link in every mail, and the one click that mail programs offer (RFC 8058)."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import hdrs, web

from alertd.api.services import services
from alertd.common.errors import Problem
from alertd.common.ids import Reference, TokenPurpose
from alertd.rendering.catalogue import Catalogue
from alertd.rendering.languages import accepted, choose_language

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
    reference = _reference(request)
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
    reference = _reference(request)
    if isinstance(reference, web.Response):
        return reference
    if not await services(request).receipts.leave(reference):
        return _too_old(request)
    return _page(request, "done", "left")


def _reference(request: web.Request) -> Reference | web.Response:
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
    wanted = accepted(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
    return renderer.words(choose_language(wanted, renderer.all_languages()))


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
