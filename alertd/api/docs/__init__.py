"""The documentation's routes: /openapi.json, /docs (where / leads) and a page for each problem type, which is what `type` points to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import cache

from aiohttp import web

from alertd.api.docs.fields import Schema
from alertd.api.docs.pages import docs_page, problem_page, style_sheet
from alertd.common.errors import CATALOGUE, Problem

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

#: The same for everyone until the program is another one.
_HEADERS = {"Cache-Control": "public, max-age=300", "Content-Security-Policy": _POLICY}


def docs_routes(document: Callable[[], Schema]) -> list[web.RouteDef]:
    """The routes of an OpenAPI document. Each page is made when it is first asked for, since that takes as long as loading the library."""
    document = cache(document)

    async def problem(request: web.Request) -> web.Response:
        slug = request.match_info["slug"]
        if slug not in CATALOGUE:
            raise Problem("not-found", "There is no such type of problem.")
        return _text(problem_page(slug), "text/html")

    async def home(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/docs")

    return [
        web.get("/", home),
        web.get("/openapi.json", _fixed(lambda: json.dumps(document(), ensure_ascii=False), "application/json")),
        web.get("/docs", _fixed(lambda: docs_page(document()), "text/html")),
        web.get("/docs/docs.css", _fixed(style_sheet, "text/css")),
        web.get("/problems/{slug}", problem),
    ]


def _fixed(made: Callable[[], str], content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    # Bytes, so that all connections share them: a copy for each that does not read it would fill the memory.
    made = cache(lambda text=made: text().encode())

    async def page(_request: web.Request) -> web.Response:
        return web.Response(
            body=await asyncio.to_thread(made), content_type=content_type, charset="utf-8", headers=_HEADERS
        )

    return page


def _text(text: str, content_type: str) -> web.Response:
    return web.Response(text=text, content_type=content_type, headers=_HEADERS)
