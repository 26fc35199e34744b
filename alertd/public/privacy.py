"""The privacy page, in the reader's language."""

from __future__ import annotations

from aiohttp import web
from markupsafe import Markup

from alertd.public import forms
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue

#: The names of the sections in the catalogue: a heading, and its paragraphs.
_SECTIONS = {
    "stored": ("stored_text", "before_text"),
    "time": ("time_text",),
    "who": ("who_text",),
    "back": ("back_text",),
    "limits": ("limits_text",),
}


def privacy_page(renderer: Renderer, words: Catalogue) -> web.Response:
    """Returns the privacy page, with links to sign-up and to the form that requests a link to one's settings."""
    texts, subscribe = words.words["privacy"], words.words["subscribe"]
    body = Markup().join(
        Markup("<h2>{}</h2>\n").format(texts[heading]) + Markup().join(forms.paragraph(texts[name]) for name in names)
        for heading, names in _SECTIONS.items()
    )
    links = forms.link("subscribe", subscribe["title"]) + forms.link("subscribe/manage", subscribe["manage_title"])
    return forms.html_page(renderer, words, subscribe["privacy"], body + links, path="/privacy")
