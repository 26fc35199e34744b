"""The renderer: compiles every template once and makes the message of one channel in one language.

The renderer itself inserts the safety line, independent of templates. It refuses a message that lacks the safety line
that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, select_autoescape
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import escape

from alertd.model.alert import Alert
from alertd.model.case import MAX_CONTACTS
from alertd.model.kinds import Kind
from alertd.rendering.catalogue import REFERENCE, Catalogue, matching, read_catalogues
from alertd.rendering.facts import ENDED, MESSAGES, THE_ALERT, Facts, Room, Telling, facts_of, mark_of, message_of
from alertd.rendering.own_texts import NONE, OwnTexts, TextPlace
from alertd.rendering.plaintext import packed, rows, tidy
from channels.base import Loudness, MailMessage, Message, PushMessage, SmsMessage, Stamp
from channels.text import SmsSettings, best_coding

PARTS = {
    "push": ("title.txt", "body.txt"),
    "sms": ("text.txt",),
    "mail": ("subject.txt", "body.txt", "body.html"),
}

#: `CLOSED_ROWS`: a locked phone shows about four rows of a push below its title, and ten when the push is opened. The safety line must be
#: in the first four. `ROW`: letters of a row, about.
CLOSED_ROWS, ROW = 4, 42
#: Letters of a row of a push beside the small picture of a child.
ROW_BESIDE_PHOTO = 36

#: How much each channel shows of an alert; a mail shows everything.
ROOM = {
    "push": Room(named=3, people=3, name=60, place=80, headline=120, text=200, form="short", contacts=1, photo="push"),
    "sms": Room(named=2, people=2, name=40, place=60, headline=90, text=160, form="short", contacts=1),
    "mail": Room(
        named=3, people=20, name=80, place=500, headline=160, text=0, form="long", contacts=MAX_CONTACTS, photo="mail"
    ),
}
ROOM |= {"webpush": ROOM["push"], "cap": ROOM["mail"], "page": replace(ROOM["mail"], photo="page")}

#: Maximum bytes of title and body of a push. FCM takes 4,096 bytes and web push about as much, with links and stamp,
#: and JSON may write a letter of two bytes as six: 1,000 bytes of title and body are at most 3,000 there.
MAX_PUSH_BYTES = 1_000

#: Maximum segments of an SMS in GSM-7 and in UCS-2. Every segment is paid and counts against the carrier's rate, so a longer text reaches
#: people later. Three of GSM-7 hold 459 characters, all facts of a usual case. UCS-2 holds 67 a segment: what must never be dropped (mark,
#: name, age, place, safety line, link) needs up to five (335).
MAX_SEGMENTS_GSM = 3
MAX_SEGMENTS_UCS2 = 5

#: By message: the facts that a push or an SMS drops when it is too long, least important first. Never listed, so never dropped: the heading
#: with its mark, name, age, place, the safety line with the contact, and the link. Of several children the first stays, and in the end the
#: message gives only the number of the others.
LEFT_OUT = {
    Kind.MISSING_CHILD: (
        "valid_until",
        "instruction",
        "description",
        "eyes",
        "height",
        "hair",
        "sex",
        "marks",
        "companions",
        "clothing",
        "seen_at",
        "vehicles",
    ),
    Kind.GENERAL: ("valid_until", "description", "instruction"),
    ENDED: ("wish",),
}

#: By message: facts that are always shown, perhaps shortened.
NEVER_LEFT_OUT = {Kind.MISSING_CHILD: ("name", "place"), Kind.GENERAL: ("headline",), ENDED: ("headline",)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """A message, with the names of the facts that its channel had no room for (`clothing`, `valid_until`).

    Lists each omitted contact separately (`contact https://centre.example/tell`).
    """

    message: Message
    left_out: tuple[str, ...]  # known but not shown
    shortened: tuple[str, ...]  # shown in part; `children` if only the first are described


class UnsafeMessageError(ValueError):
    """A rendered message lacks its safety line, or a test lacks its mark. It is never sent."""


class Renderer:
    """Makes messages from templates and catalogues. Built once, by the composition root. The constructor raises if a catalogue or template
    is missing or broken.
    """

    def __init__(self, templates_dir: Path, site: str = "", sms: SmsSettings | None = None) -> None:
        """`site`: the public address, for photos.

        `sms`: settings that suit every SMS carrier, to measure the SMS length.
        """
        #: The public address: scheme and host; "" if none is set.
        self.site = site.rstrip("/")
        self.sms = sms or SmsSettings()
        self._catalogues = read_catalogues(templates_dir / "catalogue")
        #: The languages with a catalogue, English first.
        self.all_languages = tuple(sorted(self._catalogues, key=lambda tag: (tag != REFERENCE, tag)))
        environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(templates_dir),
            undefined=StrictUndefined,
            autoescape=select_autoescape(["html"]),
            auto_reload=False,
            cache_size=-1,  # unlimited: the files are few and known
            trim_blocks=True,
            lstrip_blocks=True,
        )
        names = environment.list_templates(filter_func=lambda name: name.startswith("messages/"))
        self.templates = {name: environment.get_template(name) for name in names}
        #: The public pages, by the name of their template.
        self.pages = {
            name.removeprefix("public/"): environment.get_template(name)
            for name in environment.list_templates(filter_func=lambda name: name.startswith("public/"))
        }
        needed = {_name(each, channel, part) for each in MESSAGES for channel in PARTS for part in PARTS[channel]}
        if missing := needed - set(names):
            raise ValueError(f"Templates are missing: {', '.join(sorted(missing))}.")
        self._channels: dict[str, Callable[[_Rendering, Stamp], tuple[Message, Facts]]] = {
            "push": _push,
            "webpush": _push,
            "sms": _sms,
            "mail": _mail,
            "cap": _cap,
        }

    def words(self, language: str) -> Catalogue:
        """Returns the catalogue for a language tag, or that of its base language. Raises `KeyError` if there is neither."""
        found = matching(language, self._catalogues)
        if found is None:
            raise KeyError(f"There is no catalogue for the language {language}.")
        return self._catalogues[found]

    def languages(self, document: Alert) -> tuple[str, ...]:
        """Returns the languages in which this alert can be sent: those of the author's texts first, in the author's order, then all others
        with English first.

        A missing-child alert is available in every language of the catalogue, because its facts are coded; free text in other languages is
        left out. A general alert consists of its text: only languages with headline and description count, and only if there is a catalogue
        with their safety line.
        """
        own = [tag for tag in document.info if matching(tag, self._catalogues) is not None]
        if document.kind is Kind.GENERAL:
            return tuple(tag for tag in own if document.info[tag].headline and document.info[tag].description)
        return (*own, *(tag for tag in self.all_languages if tag not in own)) if own else self.all_languages

    def render(
        self, document: Alert, *, channel: str, language: str, stamp: Stamp, url: str | None = None,
        telling: Telling = THE_ALERT, own: OwnTexts = NONE, countries: Sequence[str] = (),
    ) -> Message:  # fmt: skip
        """Returns the message for one channel in one of `languages(document)`, on the occasion of `telling`.

        Uses the organisation's `own` texts if it has some. The message of `cap` has a mail's content, without a recipient. The stamp names
        the actual language of the message, and the alert's kind, occasion and status. `url` is the public page; the message of an end has
        no link. `countries` are those of the area, as ISO 3166-1 codes, and decide which contact is shown. Raises `UnsafeMessageError` for
        a message without safety line or mark, `ValueError` for a missing-child alert without contact, `KeyError` for an unknown channel or
        language.
        """
        facts = self._facts(document, ROOM[channel], language, stamp.loudness, url, telling, countries)
        return self._made(document, facts, channel, stamp, telling, own)[0]

    def preview(
        self, document: Alert, *, channel: str, language: str, stamp: Stamp, url: str | None = None,
        telling: Telling = THE_ALERT, own: OwnTexts = NONE, countries: Sequence[str] = (),
    ) -> Preview:  # fmt: skip
        """Makes a message like `render`. Returns it with the names of the facts that were left out or cut for lack of room."""
        room = ROOM[channel]
        known = self._facts(document, room, language, stamp.loudness, url, telling, countries)
        whole = self._facts(document, room.boundless(), language, stamp.loudness, url, telling, countries)
        message, shown = self._made(document, known, channel, stamp, telling, own)
        which = message_of(document.kind, telling)
        names = (*NEVER_LEFT_OUT[which], *reversed(LEFT_OUT[which]))
        left_out = tuple(name for name in names if known.without(name) != known and shown.without(name) == shown)
        kept = [name for name in names if name not in left_out]
        cut = tuple(name for name in kept if shown.values(name) != whole.values(name)[: len(shown.values(name))])
        fewer = len(shown.children) < len(whole.children)
        contacts = tuple(f"contact {one.shown}" for one in known.contacts[room.contacts :])
        return Preview(
            message=message, left_out=(*contacts, *left_out), shortened=(*(("children",) if fewer else ()), *cut)
        )

    def link(self, document: Alert, public_id: str) -> str | None:
        """Returns the link to the alert's public page; None if it has none."""
        return f"{self.site}/a/{public_id}" if self.site and public_id and document.has_page else None

    def page_facts(
        self, document: Alert, language: str, *, loudness: Loudness, telling: Telling = THE_ALERT,
        countries: Sequence[str] = (),
    ) -> Facts:  # fmt: skip
        """Returns the facts that the alert's public page shows: those of a mail, with photos at paths of the same site."""
        words = replace(self.words(language), language=language)
        return facts_of(
            document, words, ROOM["page"], loudness=loudness, url=None, telling=telling, countries=countries, site=""
        )

    def _facts(
        self, document: Alert, room: Room, language: str, loudness: Loudness, url: str | None, telling: Telling,
        countries: Sequence[str],
    ) -> Facts:  # fmt: skip
        """Returns the facts that a channel with this `room` shows, in this language."""
        words = replace(self.words(language), language=language)
        return facts_of(
            document, words, room, loudness=loudness, url=url, telling=telling, countries=countries, site=self.site
        )

    def _made(
        self, document: Alert, facts: Facts, channel: str, stamp: Stamp, telling: Telling, own: OwnTexts
    ) -> tuple[Message, Facts]:
        """Returns the message of a channel, and the facts that it shows. Fills in the stamp's language, kind, occasion and status."""
        stamp = replace(
            stamp,
            language=facts.language,
            kind=document.kind.value,
            occasion=telling.occasion.value,
            status=document.status.value,
        )
        rendering = _Rendering(self, message_of(document.kind, telling), self.words(facts.language), facts, own)
        return self._channels[channel](rendering, stamp)

    def marked(self, text: str | None, document: Alert, language: str) -> str | None:
        """Returns the text with the alert's mark in front (of a test or an exercise), in this language. None for None."""
        words = self.words(language)
        return text and _marked(text, mark_of(document, words), words)


def _marked(text: str, mark: str, words: Catalogue) -> str:
    """Returns the text with `mark` and a dash in front, unless it begins with the mark or is empty."""
    return words.joined([mark, text], "dash") if text and not text.startswith(mark) else text


def _name(message: str, channel: str, part: str, language: str = "") -> str:
    """Returns the name of the template of one part of a message. `language`: of a template for that language only."""
    return f"messages/{message}/{channel}/{language}{'.' * bool(language)}{part}"


@dataclass(slots=True)
class _Rendering:
    """Makes the texts of one alert's message in one channel and language."""

    renderer: Renderer
    message: str
    words: Catalogue
    facts: Facts
    own: OwnTexts

    def part(self, channel: str, part: str, facts: Facts) -> str:
        """Returns a part of the message, filled in with `facts`: the organisation's own text, else the language's template, else the common
        one.
        """
        if own := self._own_text(channel, part, facts):
            return (
                self._filled("messages/_own.txt", facts, own=own) if channel == "mail" and part == "body.txt" else own
            )
        name = _name(self.message, channel, part, self.words.language)
        if name not in self.renderer.templates:  # there is no template for this language
            name = _name(self.message, channel, part)
        return self._filled(name, facts)

    def _filled(self, name: str, facts: Facts, *, own: str = "") -> str:
        """Returns the template `name` filled in with `facts` and, for `own`, the lines of an organisation's own text."""
        return self.renderer.templates[name].render(facts=facts, words=self.words.words, own=own.split("\n"))

    def _own_text(self, channel: str, part: str, facts: Facts) -> str:
        """Returns the organisation's text for a part, with the mark of a test or exercise; "" if it has none."""
        text = self.own.get(TextPlace(self.message, channel, self.words.language, part.removesuffix(".txt")))
        filled = text.filled(self._named(facts)) if text else ""
        return _marked(filled, facts.mark, self.words)

    def _named(self, facts: Facts) -> dict[str, str]:
        """Returns the facts as texts, by the names that organisations' own texts use."""
        shared: Any = self.renderer.templates["messages/_shared.txt"].module
        words = self.words.words
        return {
            **{field.name: getattr(facts, field.name) for field in fields(facts) if field.type == "str"},
            "description": "\n".join(facts.description),
            "instruction": "\n".join(facts.instruction),
            "people": str(shared.people(facts, words, len(facts.children) > 1)),
            "beside": str(shared.beside(facts, words)),
            "last_seen": str(shared.seen(facts, words)),
        }

    def title(self, channel: str, part: str) -> str:
        """Returns a title on one line. Raises `UnsafeMessageError` if the alert is a test and the title does not begin with its mark."""
        title = packed(self.part(channel, part, self.facts)).replace("\n", " ")
        if not title.startswith(self.facts.mark):
            raise UnsafeMessageError("A test came out without its mark in front.")
        return title

    def text(self, channel: str, part: str, facts: Facts) -> str:
        """Returns plain text with the safety line after the first line, so that cutting the end keeps it.

        In a push the safety line comes first if a locked phone would otherwise hide it behind a long first line.
        """
        first, _, rest = tidy(self.part(channel, part, facts)).partition("\n")
        if not facts.safety:
            return f"{first}\n{rest}"
        row = ROW_BESIDE_PHOTO if any(child.photos for child in facts.children) else ROW
        if channel == "push" and rows(first, row) + rows(facts.safety, row) > CLOSED_ROWS:
            return f"{facts.safety}\n{first}\n{rest}"
        return f"{first}\n\n{facts.safety}\n{rest}"

    def html(self) -> str:
        """Returns the HTML of a mail, with the safety line right below its header."""
        own = self._own_text("mail", "body.txt", self.facts)
        page = (
            self._filled("messages/_own.html", self.facts, own=own)
            if own
            else self.part("mail", "body.html", self.facts)
        )
        if not self.facts.safety:
            return page.strip()
        block = "</header>\n" + self.renderer.templates["messages/_safety.html"].render(facts=self.facts)
        return page.strip().replace("</header>", block, 1)

    def shorter(self) -> Iterator[Facts]:
        """Yields all facts, then with one fact of `LEFT_OUT` less each time, then with fewer children named. If no message fits, the caller
        sends the last, since some facts must not be dropped.
        """
        facts = self.facts
        yield facts
        for name in LEFT_OUT[self.message]:
            facts = facts.without(name)
            yield facts
        for who, place in facts.fewer:
            yield replace(facts, who=who, place=place)


def _push(rendering: _Rendering, stamp: Stamp) -> tuple[PushMessage, Facts]:
    """Returns the push with as many facts as fit into MAX_PUSH_BYTES (the fewest, if even these are longer), and these facts. Raises
    UnsafeMessageError.
    """
    title = rendering.title("push", "title.txt")
    for shown in rendering.shorter():
        body = packed(rendering.text("push", "body.txt", shown))
        if len((title + body).encode()) <= MAX_PUSH_BYTES:
            break
    _demand(rendering.facts.safety, body)
    photos = [photo.url for child in rendering.facts.children for photo in child.photos]
    image = photos[0] if photos else None
    return PushMessage(stamp=stamp, title=title, body=body, url=rendering.facts.url or None, image_url=image), shown


def _sms(rendering: _Rendering, stamp: Stamp) -> tuple[SmsMessage, Facts]:
    """Returns the SMS with as many facts as fit into the maximum of segments (the fewest, if even these are longer), and these facts.
    Raises UnsafeMessageError.
    """
    for shown in rendering.shorter():
        text = packed(rendering.text("sms", "text.txt", shown))
        message = SmsMessage(stamp=stamp, text=text, names=shown.names)
        if segments_over(message, rendering.renderer.sms) <= 0:
            break
    _demand(rendering.facts.safety, message.text)
    if not message.text.startswith(rendering.facts.mark):
        raise UnsafeMessageError("A test came out without its mark in front.")
    return message, shown


def _mail(rendering: _Rendering, stamp: Stamp) -> tuple[MailMessage, Facts]:
    """Returns the mail as text and HTML, and the facts in it: all. Raises UnsafeMessageError."""
    text, html = rendering.text("mail", "body.txt", rendering.facts), rendering.html()
    _demand(rendering.facts.safety, text)
    _demand(str(escape(rendering.facts.safety)), html)
    subject = rendering.title("mail", "subject.txt")
    return MailMessage(stamp=stamp, subject=subject, text=text, html=html), rendering.facts


def _cap(rendering: _Rendering, stamp: Stamp) -> tuple[MailMessage, Facts]:
    """Returns a mail's content for the public, and its facts: without why the reader gets it and how to unsubscribe."""
    rendering.facts = rendering.facts.without("why").without("leave")
    return _mail(rendering, stamp)


def segments_over(message: SmsMessage, sms: SmsSettings) -> int:
    """Returns by how many segments an SMS exceeds the maximum of its coding, one that every carrier can send; 0 or less if it does not."""
    coding = best_coding(message.text, sms, message.names)
    return len(coding.parts) - (MAX_SEGMENTS_GSM if coding.encoding == "gsm7" else MAX_SEGMENTS_UCS2)


def _demand(safety: str, text: str) -> None:
    """Raises UnsafeMessageError if the text lacks the safety line. "" is in every text."""
    if safety not in text:
        raise UnsafeMessageError("A message came out without its safety line.")
