"""The frame of public pages: language, HTTP headers and style. It has no script and sets no cookie."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web
from markupsafe import Markup

from alertd.common.resources import templates_dir
from alertd.public.answers import Answer, answer
from alertd.rendering import Renderer
from alertd.rendering.catalogue import accepted, matching


@cache
def style() -> Markup:
    """Returns the CSS of all public pages, which each page contains inline."""
    text = (templates_dir() / "public" / "style.css").read_text(encoding="utf-8")
    return Markup(text.strip())  # noqa: S704  a file of alertd's own


@cache
def headers() -> dict[str, str]:
    """Returns the HTTP headers of every public page: no script, nothing from other sites, no referrer, no entry in
    search engines.
    """
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; img-src 'self'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none';"
            " frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, noarchive",
        hdrs.VARY: hdrs.ACCEPT_LANGUAGE,
    }


#: Number of a reader's languages that count: `choose_language` caches each combination.
_MOST_WANTED = 3


def wanted_languages(request: web.Request, languages: Sequence[str]) -> tuple[str, ...]:
    """Returns those of `languages` that the reader wants, best first, at most three: that of `?lang=`, then those of
    Accept-Language.
    """
    asked = [request.query.get("lang", "")[:35], *accepted(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))]
    known = [found for tag in asked if tag and (found := matching(tag, languages)) is not None]
    return tuple(dict.fromkeys(known))[:_MOST_WANTED]


def page(
    renderer: Renderer, name: str, language: str, *, path: str, title: str, languages: Sequence[str],
    status: HTTPStatus = HTTPStatus.OK, query: Mapping[str, str] | None = None, **values: Any,
) -> Answer:  # fmt: skip
    """Renders the template `name` of `templates/public/`. The page links to itself in each of `languages`, at `path`
    with `query`. `values`: further variables of the template, such as `may_sign_up` (link to the sign-up form).
    """
    words = renderer.words(language)
    links = [
        {
            "tag": tag,
            "name": renderer.words(tag).words["name"],
            "href": f"{path}?{urlencode({**(query or {}), 'lang': tag})}",
        }
        for tag in languages
    ]
    html = renderer.pages[name].render(
        words=words.words, language=language, direction=words.direction, title=title, languages=links,
        style=style(), **values,
    )  # fmt: skip
    return answer(html.encode(), "text/html", status=status, headers={**headers(), hdrs.CONTENT_LANGUAGE: language})
