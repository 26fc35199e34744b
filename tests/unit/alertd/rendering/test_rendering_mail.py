"""A mail as a page: it tells what the text tells and no more, and can be read in the dark, in every language."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from alertd.common.resources import templates_dir
from alertd.model.kinds import Occasion
from alertd.rendering import Renderer, Telling
from alertd.rendering.catalogue import accepted
from alertd.rendering.own_texts import TextPlace, read_text
from channels.base import OPT_OUT_PLACEHOLDER, Loudness, MailMessage, Stamp
from tests.unit.alertd.rendering.longest import LANGUAGES
from tests.unit.alertd.rendering.usual import SAMPLES, alert_of, render

#: Of normal text on its ground (WCAG 2.2, 1.4.3, level AA).
LEAST_CONTRAST = 4.5
VOID = frozenset({"meta", "br", "img", "link", "hr"})
EVERY = [
    pytest.param(sample, language, id=f"{kind}-{size}-{language}")
    for kind, sizes in SAMPLES.items()
    for size, sample in sizes.items()
    for language in LANGUAGES
]


@dataclass
class Element:
    """One element with its colours in the light and in the dark."""

    tag: str
    classes: frozenset[str]
    ancestors: list[Element]
    colours: dict[str, dict[str, str]] = field(default_factory=dict)  # scheme -> property -> #rrggbb


@dataclass(frozen=True)
class Rule:
    """What the page says for the dark."""

    path: tuple[str, ...]
    colours: dict[str, str]

    def is_for(self, element: Element) -> bool:
        *above, last = self.path
        found = iter(element.ancestors)
        return _is(element, last) and all(any(_is(one, name) for one in found) for name in above)

    @property
    def weight(self) -> int:
        return sum(name.startswith(".") or "." in name for name in self.path)


def _is(element: Element, name: str) -> bool:
    tag, _, of_class = name.partition(".")
    return tag in {"", element.tag} and (not of_class or of_class in element.classes)


def declared(style: str) -> dict[str, str]:
    """The two colours of a style; a `border-color` is none of them."""
    found = re.findall(r"(?:^|[;{\s])(color|background):\s*(#[0-9a-f]{6})", style)
    return dict(found)


class Page(HTMLParser):
    """The texts of a page, each with the element it stands in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        dark = html.split("(prefers-color-scheme: dark) {")[1].split("</style>", maxsplit=1)[0]
        self._rules = [
            Rule(tuple(one.split()), declared(body))
            for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", dark)
            for one in selectors.split(",")
        ]
        self._open: list[Element] = []
        self.texts: list[tuple[str, Element]] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.links += [given["href"]] if tag == "a" else []
        above = self._open[-1].colours if self._open else {"light": {}, "dark": {}}
        made = Element(tag, frozenset(given.get("class", "").split()), list(self._open))
        own = declared(given.get("style", ""))
        made.colours["light"] = above["light"] | own
        made.colours["dark"] = above["dark"] | own
        for rule in sorted((rule for rule in self._rules if rule.is_for(made)), key=lambda rule: rule.weight):
            made.colours["dark"] |= rule.colours
        if tag not in VOID:
            self._open.append(made)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and self._open and any(one.tag == "body" for one in self._open):
            self.texts.append((" ".join(data.split()), self._open[-1]))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colours: dict[str, str]) -> float:
    light, dark = sorted((luminance(colours["color"]), luminance(colours["background"])), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mail(renderer: Renderer, sample: dict[str, object], language: str) -> MailMessage:
    made = render(renderer, alert_of(sample), "mail", language)
    assert isinstance(made, MailMessage)
    return made


@pytest.mark.parametrize(("sample", "language"), EVERY)
def test_the_text_of_a_mail_says_what_its_page_says(renderer: Renderer, sample: dict[str, object], language: str):
    """Whoever reads without HTML misses no fact and no link; the other way round is in `test_rendering_languages`."""
    made = mail(renderer, sample, language)
    text, page = " ".join(made.text.split()).casefold(), Page(made.html)
    told = [piece for said, element in page.texts if element.tag != "a" for piece in re.split(r"：|: ", said)]
    assert len(told) > 3
    assert not [piece for piece in told if piece.strip(" :：").casefold() not in text]
    digits = re.sub(r"[\s()-]", "", made.text)
    assert page.links
    assert not [link for link in page.links if re.sub(r"^(tel|sms):", "", link) not in digits]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("sample", "language"), EVERY)
def test_every_word_of_a_page_can_be_read(renderer: Renderer, sample: dict[str, object], language: str, scheme: str):
    """By day and in the dark, where mail programs take our colours for it, words stand out from their ground."""
    for status in ("Actual", "Test"):
        page = Page(mail(renderer, {**sample, "status": status}, language).html)
        assert len(page.texts) > 4
        pale = [said for said, element in page.texts if contrast(element.colours[scheme]) < LEAST_CONTRAST]
        assert not pale


def test_the_dark_is_dark(renderer: Renderer):
    """The grounds change with the scheme; only the bar of a drill shines, as it is meant to."""
    page = Page(mail(renderer, {**SAMPLES["missing-child"]["usual"], "status": "Test"}, "en").html)
    for said, element in page.texts:
        assert ("drill" in element.classes) == (luminance(element.colours["dark"]["background"]) > 0.2), said


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_mail_has_a_visible_way_to_leave(language: str):
    """In the reader's language, in text and page, of an alert, of its end, and in an organisation's own words."""
    site = Renderer(templates_dir(), "https://alerts.example.org/")
    link, words = f"https://alerts.example.org/u/{OPT_OUT_PLACEHOLDER}", site.words(language).words
    place = TextPlace("missing-child", "mail", language, "body")
    stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.LOUD, language=language)
    end = Telling(occasion=Occasion.CLOSE, alerted_at=datetime(2026, 11, 24, 18, tzinfo=UTC))
    own = {place: read_text("{{ who }}", place)}
    ways: list[tuple[str, dict[str, Any]]] = [("missing-child", {}), ("general", {}), ("general", {"telling": end}),
                                              ("missing-child", {"telling": end}), ("missing-child", {"own": own})]  # fmt: skip
    for kind, how in ways:
        mail = site.render(alert_of(SAMPLES[kind]["smallest"]), channel="mail", language=language, stamp=stamp, **how)
        assert isinstance(mail, MailMessage)
        assert mail.text.endswith(f"{words['leave']['link']}{words['punctuation']['colon']}{link}")
        page = Page(mail.html)
        assert page.links[-1] == link
        assert page.texts[-1][0].strip() == words["leave"]["link"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_everybody_reads_in_cap_is_addressed_to_nobody(language: str):
    """A broadcaster reads out what a mail says, and neither why somebody got it nor how they leave, in an organisation's own words too."""
    site = Renderer(templates_dir(), "https://alerts.example.org/")
    place = TextPlace("missing-child", "mail", language, "body")
    stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.LOUD, language=language)
    words = site.words(language).words
    for own in ({}, {place: read_text("{{ who }}", place)}):
        alert = alert_of(SAMPLES["missing-child"]["usual"])
        mail, document = (
            site.render(alert, channel=channel, language=language, stamp=stamp, own=own) for channel in ("mail", "cap")
        )
        assert isinstance(mail, MailMessage)
        assert isinstance(document, MailMessage)
        said, foot = mail.text.split(words["label"]["why"])
        assert document.text == said.strip()
        assert document.subject == mail.subject
        assert OPT_OUT_PLACEHOLDER in foot
        assert OPT_OUT_PLACEHOLDER not in document.html


def test_without_an_address_to_leave_at_no_mail_offers_one(renderer: Renderer):
    """A link to nowhere is worse than none."""
    mail = render(renderer, alert_of(SAMPLES["general"]["smallest"]), "mail", "en")
    assert isinstance(mail, MailMessage)
    assert OPT_OUT_PLACEHOLDER not in mail.text + mail.html
    assert "Stop these alerts" not in mail.text + mail.html


@pytest.mark.parametrize(("header", "tags"), [
    ("fr-CA,fr;q=0.9,en;q=0.5", ["fr-CA", "fr", "en"]), ("en;q=0.1, ar;q=0.7", ["ar", "en"]), ("", []), ("*", []),
    ("de;q=0, es", ["es"]), ("<b>,;q=,es;q=9,pt;q=1.000", ["pt"]), ("a" * 9_000, []),
])  # fmt: skip
def test_a_browser_is_answered_in_the_language_it_asks_for(header: str, tags: list[str]):
    """As RFC 9110 has it; what is no language is passed over."""
    assert accepted(header) == tags
