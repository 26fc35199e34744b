"""The documentation: its routes, and readable pages made from the OpenAPI document, without a script and without the outside.

The routes are /openapi.json, /docs (where / leads) and a page for each problem type, which is what `type` points to.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web
from markupsafe import Markup, escape

from alertd.api.docs.fields import Reader, Row, Schema
from alertd.api.http.bodies import JSON
from alertd.common.errors import CATALOGUE, Problem

#: Lines of an example: what comes after is more of the same.
LONGEST = 60

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation, as the page shows it."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    scope: str
    parameters: tuple[tuple[str, Row], ...]  # where it stands, and the row
    takes: str
    takes_rows: tuple[Row, ...]
    curl: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One status an operation can answer with."""

    status: str
    words: str
    kind: str
    rows: tuple[Row, ...]
    example: str
    problems: tuple[str, ...]


def docs_page(document: Schema) -> str:
    """The whole API on one page."""
    entries = _entries(document)
    groups = {tag["name"]: [each for group, each in entries if group == tag["name"]] for tag in document["tags"]}
    return _templates().get_template("docs.html").render(info=document["info"], groups=groups, problems=CATALOGUE)


def problem_page(slug: str) -> str:
    """Returns the page of a problem type. Raises KeyError for one that is not in the catalogue."""
    return _templates().get_template("problem.html").render(slug=slug, problem=CATALOGUE[slug])


def style_sheet() -> str:
    return (_HERE / "docs.css").read_text(encoding="utf-8")


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["prose"] = _prose
    return environment


def _prose(text: str) -> Markup:
    """Paragraphs, with `code` as code."""
    paragraphs = (re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(part))) for part in text.split("\n\n"))
    return Markup("").join(Markup(f"<p>{part}</p>") for part in paragraphs if part)  # noqa: S704  escaped above


def _entries(document: Schema) -> list[tuple[str, Entry]]:
    reader = Reader(document)
    return [
        (operation["tags"][0], _entry(reader, method.upper(), path, operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def _entry(reader: Reader, method: str, path: str, operation: Schema) -> Entry:
    content = operation.get("requestBody", {}).get("content", {})
    schema = _schema(content)
    return Entry(
        id=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        description=operation["description"],
        scope=operation.get("x-scope", ""),
        parameters=tuple(_parameter(reader, each) for each in operation["parameters"]),
        takes=" or ".join(content),
        takes_rows=reader.rows(schema) if schema else (),
        curl=_curl(reader, method, path, operation),
        answers=tuple(_answer(reader, status, each) for status, each in operation["responses"].items()),
    )


def _parameter(reader: Reader, parameter: Schema) -> tuple[str, Row]:
    described = parameter.get("description") or parameter["schema"].get("description", "")
    schema = {**parameter["schema"], "description": described}
    return parameter["in"], reader.row(parameter["name"], schema, required=parameter["required"])


def _answer(reader: Reader, status: str, response: Schema) -> Answer:
    response = reader.named(response)
    problems = tuple(response.get("x-problems", ()))
    content: Mapping[str, Any] = {} if problems else response.get("content", {})
    schema = _schema(content)
    return Answer(
        status=status,
        words="" if problems else response["description"],
        kind=" or ".join(content),
        rows=reader.rows(schema) if schema else (),
        example=_example(content),
        problems=problems,
    )


def _schema(content: Mapping[str, Any]) -> Schema | None:
    """The schema of the first media type that has one."""
    return next((media["schema"] for media in content.values() if "schema" in media), None)


def _example(content: Mapping[str, Any]) -> str:
    """The example of the first media type that has one, cut where it is long."""
    value = next((media["example"] for media in content.values() if "example" in media), "")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    lines = text.splitlines()
    return "\n".join([*lines[:LONGEST], *(["…"] if len(lines) > LONGEST else [])])


def _curl(reader: Reader, method: str, path: str, operation: Schema) -> str:
    """A call that can be pasted once ALERTD_URL and ALERTD_KEY are set."""
    url = f'"$ALERTD_URL{path.replace("{", "$").replace("}", "")}"'
    lines = [f"curl {'' if method == 'GET' else f'-X {method} '}{url}"]
    if operation.get("x-scope"):
        lines.append('-H "Authorization: Bearer $ALERTD_KEY"')
    if method == "POST" and operation.get("x-scope"):
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        lines += _sent(kind, media.get("example", reader.sample(media["schema"])))
        break
    return " \\\n  ".join(lines)


def _sent(kind: str, value: Any) -> list[str]:
    """The options of curl that send a body: JSON in place, a form part by part, anything else from a file."""
    if kind == "multipart/form-data":
        return ["-F photo=@FILE", f"-F 'facts={_quoted(value['facts'])};type={JSON}'"]
    return [f"-H 'Content-Type: {kind}'", f"-d '{_quoted(value)}'" if kind == JSON else "--data-binary @FILE"]


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1).replace("'", "'\\''")


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
