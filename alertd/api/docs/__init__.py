"""The documentation's routes: /openapi.json, /docs (where / leads) and a page for each problem type, which is what `type` points to."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from alertd.api.docs.fields import Schema
from alertd.api.docs.pages import docs_page, problem_page, style_sheet
from alertd.errors import CATALOGUE, Problem

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

#: The same for everyone until the program is another one.
_HEADERS = {"Cache-Control": "public, max-age=300", "Content-Security-Policy": _POLICY}


def docs_routes(document: Schema) -> list[web.RouteDef]:
    """The routes of an OpenAPI document. The pages are made here, once."""
    problems = {slug: problem_page(slug) for slug in CATALOGUE}

    async def problem(request: web.Request) -> web.Response:
        page = problems.get(request.match_info["slug"])
        if page is None:
            raise Problem("not-found", "There is no such type of problem.")
        return _text(page, "text/html")

    async def home(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/docs")

    return [
        web.get("/", home),
        web.get("/openapi.json", _fixed(json.dumps(document, ensure_ascii=False), "application/json")),
        web.get("/docs", _fixed(docs_page(document), "text/html")),
        web.get("/docs/docs.css", _fixed(style_sheet(), "text/css")),
        web.get("/problems/{slug}", problem),
    ]


def _fixed(text: str, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(_request: web.Request) -> web.Response:
        return _text(text, content_type)

    return page


def _text(text: str, content_type: str) -> web.Response:
    return web.Response(text=text, content_type=content_type, headers=_HEADERS)
