"""Leaving, for the public: the link in every mail, and the one click that mail programs offer (RFC 8058)."""

from __future__ import annotations

from aiohttp import hdrs, web

from alertd.api.services import services
from alertd.errors import Problem
from alertd.ids import Door

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>{title}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}}
button{{font:inherit;padding:.6rem 1.2rem}}</style>
<h1>{title}</h1><p>{text}</p>{form}
"""
_FORM = '<form method="post"><button>Send me no more alerts here</button></form>'
_NOT_WHOLE = "This link is not whole. Open it from the mail again."
_CSP = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
}


async def ask(request: web.Request) -> web.Response:
    """A page that asks. Looking at it changes nothing: mail scanners open every link."""
    if services(request).receipts.reference(request.match_info["tag"], Door.LEAVE) is None:
        return _broken(request)
    return _page("Leave?", "You will get no more alerts at the address this link was sent to.", _FORM)


async def leave(request: web.Request) -> web.Response:
    """Stops the address at once, whether a person or a mail program asks (RFC 8058 section 3.2: no cookie, no redirect)."""
    reference = services(request).receipts.reference(request.match_info["tag"], Door.LEAVE)
    if reference is None:
        return _broken(request)
    await services(request).receipts.leave(reference)
    return _page("Done", "No more alerts are sent to this address.", "")


def _broken(request: web.Request) -> web.Response:
    """Mail programs break long links: a person is told in a page, a program in a problem. Raises Problem."""
    if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
        raise Problem("not-found", _NOT_WHOLE)
    return _page("This link does not work", _NOT_WHOLE, "", status=404)


def _page(title: str, text: str, form: str, status: int = 200) -> web.Response:
    page = _PAGE.format(title=title, text=text, form=form)
    return web.Response(text=page, status=status, content_type="text/html", headers=_CSP)


ROUTES = (web.get("/u/{tag}", ask), web.post("/u/{tag}", leave))
