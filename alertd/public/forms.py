"""Builds and reads the forms that the public fills in. The pages have no scripts and set no cookies, and no URL
contains personal data in clear text.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import hdrs, web
from markupsafe import Markup

from alertd.public.layout import page, wanted_languages
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue, choose_language
from alertd.service.people.sign_up_links import OpenedForm, SignUpLinks

#: Maximum bytes of a posted form, and maximum seconds of its arrival. A form has only a few short fields.
FORM_BYTES, FORM_S = 16 * 1024, 20.0


def words_of(request: web.Request, renderer: Renderer) -> Catalogue:
    """Returns the texts in the language of `?lang=`, else in the browser's, else in English."""
    languages = renderer.all_languages
    return renderer.words(choose_language(wanted_languages(request, languages), languages))


def html_page(
    renderer: Renderer,
    words: Catalogue,
    title: str,
    body: Markup,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    path: str = "",
) -> web.Response:
    """Returns a whole page, which no cache may store. If `path` is not "", the page links to this path in each other
    language.
    """
    made = page(
        renderer, "form.html", words.language, path=path, title=title, languages=renderer.all_languages if path else (),
        status=status, body=body, may_sign_up=True,
    )  # fmt: skip
    headers = {**made.headers, hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=made.body, status=status, content_type="text/html", charset="utf-8", headers=headers)


def paragraph(text: str, kind: str = "") -> Markup:
    """Returns a paragraph with the text, escaped. `kind`: the CSS class; "" for none."""
    return Markup("<p{kind}>{text}</p>\n").format(kind=Markup(' class="{}"').format(kind) if kind else "", text=text)


def fault(text: str, name: str) -> Markup:
    """Returns the error message of the field `name`, which the field refers to by id; empty markup if `text` is ""."""
    return Markup('<p class="fault" id="{name}-fault">{text}</p>\n').format(name=name, text=text) if text else Markup()


#: The HTML attributes of inputs for a place, a mailbox and a time. Browsers can fill them in (WCAG 1.3.5).
PLACE = Markup('maxlength="200" autocomplete="address-level2"')
MAILBOX = Markup('type="email" maxlength="254" autocomplete="email" dir="ltr" spellcheck="false" autocapitalize="none"')
TIME = Markup('type="time"')


def field(name: str, label: str, value: str, error: str, attributes: Markup, hint: str = "") -> Markup:
    """Returns an input with its label, its hint ("" for none) and its error message ("" for none)."""
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
    """Returns a checkbox or a radio button (`kind`: `checkbox` or `radio`) with its label and error message."""
    return Markup(
        '{fault}<label class="choice"><input type="{kind}" name="{name}" value="{value}"{checked}{described}><span>{label}</span></label>\n'
    ).format(
        kind=kind, name=name, value=value, label=label, checked=Markup(" checked") if checked else "", fault=fault(error, name),
        described=Markup(' aria-invalid="true" aria-describedby="{}-fault"').format(name) if error else "",
    )  # fmt: skip


def select(name: str, label: str, options: Mapping[str, str], chosen: str, *, languages: bool = False) -> Markup:
    """Returns a labelled select list. `options`: texts by value. `languages`: each value is also the language of its
    text.
    """
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
    """Returns a form that posts to `action`, by default to the page's own URL. The browser does not
    check the fields.
    """
    to = Markup(' action="{}"').format(action) if action else Markup()
    return Markup('<form method="post" novalidate{}>\n{}</form>\n').format(to, body)


def action(name: str, label: str) -> Markup:
    """Returns a form with one button, which posts this `action`."""
    return form(hidden("action", name) + button(label, plain=True))


async def read_form(request: web.Request) -> Mapping[str, str]:
    """Returns the text fields of a posted form, stripped; of repeated fields, the last value. Raises HTTPException if
    the body is no form, too large or too slow.
    """
    await read_body(request, "application/x-www-form-urlencoded", FORM_BYTES)
    return {name: value.strip() for name, value in (await request.post()).items() if isinstance(value, str)}


async def read_body(request: web.Request, content_type: str, limit: int) -> bytes:
    """Returns the body. Raises HTTPException if the body has another content type (415), declares no length or more
    than `limit` bytes (413), or takes longer than `FORM_S` seconds (408).
    """
    if request.content_type != content_type:
        raise web.HTTPUnsupportedMediaType
    if (request.content_length or limit + 1) > limit:
        raise web.HTTPRequestEntityTooLarge(limit)
    try:
        async with asyncio.timeout(FORM_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def trap(label: str, links: SignUpLinks) -> Markup:
    """Returns two protections against programs: a hidden encrypted token with the time at which the form was made, and
    the field `website`, which people do not see and programs fill in.
    """
    token = links.make(OpenedForm(made_s=links.now_s()))
    return hidden("form", token) + Markup(
        '<div class="trap" aria-hidden="true"><label>{}<input name="website" tabindex="-1" autocomplete="off"></label></div>\n'
    ).format(label)


def link(to: str, label: str) -> Markup:
    return Markup('<p><a href="{}">{}</a></p>\n').format(to, label)


def network_of(request: web.Request, address_header: str) -> str:
    """Returns the network of the browser: its /24 (IPv4) or /48 (IPv6), or "unknown" without a valid address.

    Takes the address from the header `address_header`, or from the connection if that is "". Counts only the last
    value of the header, which the proxy added: the client can forge the earlier ones.
    """
    told = request.remote
    if address_header:
        told = ",".join(request.headers.getall(address_header, ())).rpartition(",")[2].strip()
    try:
        found = ipaddress.ip_address(told or "")
    except ValueError:
        return "unknown"
    found = getattr(found, "ipv4_mapped", None) or found
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False))
