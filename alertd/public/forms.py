"""The frame of the pages with forms that the public fills in: no scripts, no cookies, nothing personal in a URL."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import hdrs, web
from markupsafe import Markup

from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue, accepted, choose_language, matching

#: A form has a few short fields; a larger or slower body is refused.
FORM_BYTES, FORM_S = 16 * 1024, 20.0
_PAGE = Markup("""<!doctype html>
<html lang="{lang}" dir="{dir}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex, noarchive">
<title>{title}</title><style>
:root{{color-scheme:light dark;--line:#6b7480;--accent:#0b57b0;--on:#fff;--bad:#b3261e;--page:#fff;--text:#1a1c1e}}
@media (prefers-color-scheme:dark){{:root{{--line:#8d96a1;--accent:#9cc4ff;--on:#0d1b2e;--bad:#ffb4ab;--page:#121416;--text:#eceef0}}}}
*{{box-sizing:border-box}}html{{background:var(--page);color:var(--text)}}
body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:0 auto;padding:1rem 1rem 3rem;overflow-wrap:anywhere}}
h1{{font-size:1.6rem;line-height:1.25}}h2{{font-size:1.2rem;margin-top:2rem}}
label,legend{{display:block;font-weight:600;margin-top:1.1rem}}
fieldset{{border:0;margin:0;padding:0;min-width:0}}
input:not([type=checkbox],[type=radio]),select{{font:inherit;width:100%;min-height:2.75rem;padding:.4rem .6rem;border:1px solid var(--line);border-radius:4px}}
.choice{{display:flex;gap:.6rem;align-items:flex-start;font-weight:400;min-height:2rem;margin-top:.5rem}}
.choice input{{width:1.4rem;height:1.4rem;margin:.15rem 0 0;flex:none}}
button{{font:inherit;font-weight:600;min-height:2.75rem;padding:.5rem 1.2rem;margin-top:1.2rem;border:0;border-radius:4px;background:var(--accent);color:var(--on)}}
button.plain{{background:var(--page);color:var(--accent);border:1px solid var(--accent);margin-top:.4rem}}
a{{color:var(--accent);display:inline-block;min-height:1.5rem}}:focus-visible{{outline:3px solid var(--accent);outline-offset:2px}}
.fault{{color:var(--bad);font-weight:600;border-inline-start:4px solid var(--bad);padding-inline-start:.7rem}}
.quiet{{font-size:1rem}}.trap{{position:absolute;inset-inline-start:-10000px;width:1px;height:1px;overflow:hidden}}
nav.languages{{margin-top:3rem;border-top:1px solid var(--line);padding-top:.6rem}}nav.languages a{{margin-inline-end:.9rem;padding:.2rem 0}}
</style></head>
<body><main>
<h1>{title}</h1>
{body}</main>
{links}</body></html>
""")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Robots-Tag": "noindex, noarchive",
    hdrs.VARY: hdrs.ACCEPT_LANGUAGE,
}


def words_of(request: web.Request, renderer: Renderer) -> Catalogue:
    """Returns the texts in the language of `?lang=`, else of the browser, else in English."""
    wanted = [tag for tag in (request.query.get("lang", "")[:35],) if matching(tag, renderer.all_languages)]
    wanted += accepted(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
    return renderer.words(choose_language(tuple(wanted), renderer.all_languages))


def html_page(
    words: Catalogue,
    title: str,
    body: Markup,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    languages: Mapping[str, str] | None = None,
) -> web.Response:
    """Returns a whole page. `languages`: links to the same page in other languages, by the language."""
    links = _links(words, languages or {})
    page = _PAGE.format(lang=words.language, dir=words.direction, title=title, body=body, links=links)
    headers = {**_HEADERS, hdrs.CONTENT_LANGUAGE: words.language}
    return web.Response(text=str(page), status=status, content_type="text/html", headers=headers)


def _links(words: Catalogue, languages: Mapping[str, str]) -> Markup:
    if not languages:
        return Markup()
    links = Markup("\n").join(
        Markup('<a href="?lang={tag}" lang="{tag}" hreflang="{tag}"{current}>{name}</a>').format(
            tag=tag, name=name, current=Markup(' aria-current="true"') if tag == words.language else ""
        )
        for tag, name in languages.items()
    )
    return Markup('<nav class="languages" aria-label="{label}">\n{links}\n</nav>\n').format(
        label=words.words["subscribe"]["language_switch"], links=links
    )


def paragraph(text: str, kind: str = "") -> Markup:
    """Returns a paragraph, of a class of the style if `kind` names one."""
    return Markup("<p{kind}>{text}</p>\n").format(kind=Markup(' class="{}"').format(kind) if kind else "", text=text)


def fault(text: str, name: str) -> Markup:
    """Returns the sentence about a fault of a field, which the field refers to."""
    return Markup('<p class="fault" id="{name}-fault">{text}</p>\n').format(name=name, text=text) if text else Markup()


#: The attributes of inputs by what a person writes there. Browsers fill in what they know (WCAG 1.3.5).
PLACE = Markup('maxlength="200" autocomplete="address-level2"')
MAILBOX = Markup('type="email" maxlength="254" autocomplete="email" dir="ltr" spellcheck="false" autocapitalize="none"')
TIME = Markup('type="time"')


def field(name: str, label: str, value: str, error: str, attributes: Markup, hint: str = "") -> Markup:
    """Returns a labelled input with its fault."""
    about = [*([f"{name}-hint"] if hint else []), *([f"{name}-fault"] if error else [])]
    described = Markup(' aria-describedby="{}"').format(" ".join(about)) if about else Markup()
    invalid = Markup(' aria-invalid="true"') if error else Markup()
    hinted = Markup('<p class="quiet" id="{}-hint">{}</p>\n').format(name, hint) if hint else Markup()
    return Markup(
        '<label for="{name}">{label}</label>\n{hint}{fault}'
        '<input id="{name}" name="{name}" value="{value}" {attributes}{described}{invalid}>\n'
    ).format(
        name=name, label=label, hint=hinted, fault=fault(error, name), value=value, attributes=attributes,
        described=described, invalid=invalid,
    )  # fmt: skip


def choice(kind: str, name: str, value: str, label: str, *, checked: bool = False, error: str = "") -> Markup:
    """Returns a checkbox or radio button (`kind`) with its label."""
    return Markup(
        '{fault}<label class="choice"><input type="{kind}" name="{name}" value="{value}"{checked}{described}><span>{label}</span></label>\n'
    ).format(
        kind=kind, name=name, value=value, label=label, checked=Markup(" checked") if checked else "", fault=fault(error, name),
        described=Markup(' aria-invalid="true" aria-describedby="{}-fault"').format(name) if error else "",
    )  # fmt: skip


def select(name: str, label: str, options: Mapping[str, str], chosen: str, *, languages: bool = False) -> Markup:
    """Returns a labelled list of options: values and their texts. `languages`: each value is the language of its text."""
    rows = Markup().join(
        Markup('<option value="{}"{}{}>{}</option>').format(
            value,
            Markup(' lang="{}"').format(value) if languages else "",
            Markup(" selected") if value == chosen else "",
            text,
        )
        for value, text in options.items()
    )
    return Markup('<label for="{0}">{1}</label>\n<select id="{0}" name="{0}">{2}</select>\n').format(name, label, rows)


def hidden(name: str, value: str) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">\n').format(name, value)


def button(label: str, *, plain: bool = False) -> Markup:
    return Markup("<button{}>{}</button>\n").format(Markup(' class="plain"') if plain else "", label)


def form(body: Markup, action: str = "") -> Markup:
    """Returns a form that posts to `action`, by default to the page's own URL. alertd checks the fields itself."""
    to = Markup(' action="{}"').format(action) if action else Markup()
    return Markup('<form method="post" novalidate{}>\n{}</form>\n').format(to, body)


async def read_form(request: web.Request) -> Mapping[str, str]:
    """Returns the fields of a form, each with its last value. Raises HTTPException if the body is no form, too large or slow."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType
    if (request.content_length or FORM_BYTES + 1) > FORM_BYTES:
        raise web.HTTPRequestEntityTooLarge(FORM_BYTES)
    try:
        async with asyncio.timeout(FORM_S):
            fields = await request.post()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    return {name: value.strip() for name, value in fields.items() if isinstance(value, str)}


def link(to: str, label: str) -> Markup:
    return Markup('<p><a href="{}">{}</a></p>\n').format(to, label)


def network_of(request: web.Request, address_header: str) -> str:
    """Returns the /24 or /48 network of the browser. A proxy adds its value last; earlier values may be forged."""
    told = request.remote
    if address_header:
        told = ",".join(request.headers.getall(address_header, ())).rpartition(",")[2].strip()
    try:
        found = ipaddress.ip_address(told or "")
    except ValueError:
        return "unknown"
    found = getattr(found, "ipv4_mapped", None) or found
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False))
