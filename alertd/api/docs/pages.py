"""The routes of the documentation, and its pages, made from the OpenAPI document. The pages load nothing from other
hosts.

The routes are /openapi.json, /docs (where / leads), and a page for each problem type, to which the problem's `type`
points. The search of /docs needs a script; the page is complete without it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from pathlib import Path

import jinja2
from aiohttp import web
from markupsafe import Markup, escape

from alertd.api.docs.entries import operations_of, schemas_of
from alertd.api.docs.fields import Schema
from alertd.common.errors import CATALOGUE, Problem

_HERE = Path(__file__).resolve().parent


def docs_page(document: Schema) -> str:
    """Returns the HTML page /docs, which documents the whole API: operations by group, schemas and problem types."""
    entries = operations_of(document)
    groups = [(_anchor(tag["name"]), tag, [entries[name] for name in tag["x-operations"]]) for tag in document["tags"]]
    return (
        _templates()
        .get_template("docs.html")
        .render(info=document["info"], groups=groups, ids=entries, schemas=schemas_of(document), problems=CATALOGUE)
    )


def problem_page(slug: str) -> str:
    """Returns the HTML page of a problem type. Raises KeyError if the catalogue has no such type."""
    return _templates().get_template("problem.html").render(slug=slug, problem=CATALOGUE[slug])


def asset(name: str) -> str:
    """Returns the text of a file in this module's folder."""
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def _templates() -> jinja2.Environment:
    """Returns the environment of the page templates, with autoescape."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"prose": _prose, "linked": _linked}
    return environment


def _anchor(title: str) -> str:
    """Returns the id of a group's section in the page."""
    return "group-" + "-".join(re.findall(r"[a-z]+", title.lower()))


def _prose(text: str) -> Markup:
    """Returns a description as HTML paragraphs; text between backquotes becomes code."""
    paragraphs = (re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(part))) for part in text.split("\n\n"))
    return Markup("").join(Markup(f"<p>{part}</p>") for part in paragraphs if part)  # noqa: S704  escaped above


def _linked(kind: str, schemas: Iterable[str]) -> Markup:
    """Returns the description of a type as HTML, in which the names of `schemas` link to their entries."""
    text = str(escape(kind))
    for name in schemas:
        text = re.sub(rf"\b{name}\b", f'<a href="#schema-{name}">{name}</a>', text)
    return Markup(text)  # noqa: S704  escaped above


_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

#: Headers of the pages. Caches may keep the pages for 5 minutes: they are the same for all readers, and change only
#: with a new version of alertd.
_HEADERS = {"Cache-Control": "public, max-age=300", "Content-Security-Policy": _POLICY}


def docs_routes(document: Callable[[], Schema]) -> list[web.RouteDef]:
    """Returns the routes of an OpenAPI document's pages. alertd makes the document and each fixed page once, in a
    thread, at the first request, because that takes too long for the start of the service.
    """
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
        web.get("/docs/docs.css", _fixed(lambda: asset("docs.css"), "text/css")),
        web.get("/docs/docs.js", _fixed(lambda: asset("docs.js"), "text/javascript")),
        web.get("/problems/{slug}", problem),
    ]


def _fixed(made: Callable[[], str], content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Returns a handler for a text that never changes. It makes the text in a thread at the first request, and keeps
    it.
    """
    # Keeps bytes, which all connections share. With a text, each connection would have a copy of its own until its
    # client has read it, and slow clients could fill the memory.
    made = cache(lambda text=made: text().encode())

    async def page(_request: web.Request) -> web.Response:
        return web.Response(
            body=await asyncio.to_thread(made), content_type=content_type, charset="utf-8", headers=_HEADERS
        )

    return page


def _text(text: str, content_type: str) -> web.Response:
    return web.Response(text=text, content_type=content_type, headers=_HEADERS)
