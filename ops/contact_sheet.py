#!/usr/bin/env python3
"""Draws every message in every language on sheets: lock screens, SMS with their segments, mails in light and dark.

    ops/contact_sheet.py [--page NAME]... [--html FOLDER] [--png FOLDER]

`push`, `sms` and `mail` show the alert itself, `photos` a child's photo, `occasions-<language>` the follow-ups of an alert. Without
`--page` it makes all pages. The renderer makes the texts from one sample case; the child is a drawing. Pictures need Chromium and fonts
for all scripts (Debian, Ubuntu: apt-get install chromium fonts-noto-core fonts-noto-cjk pngquant); without `--png` it writes only the
HTML pages.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from alertd.common.resources import templates_dir  # noqa: E402
from alertd.model.alert import Alert, loudness  # noqa: E402  beside this script
from alertd.model.kinds import CancelReason, Occasion  # noqa: E402
from alertd.model.redaction import restricted  # noqa: E402
from alertd.rendering import THE_ALERT, Preview, Renderer, Telling  # noqa: E402
from alertd.service.alerts.later_audience import CHANNELS_OF  # noqa: E402
from channels.base import Loudness, MailMessage, PushMessage, SmsMessage, Stamp  # noqa: E402
from channels.text import divided  # noqa: E402

SITE = "https://alerts.example.org"
COUNTRIES = ("ES",)
WIDTH = 1900

CHILD: dict[str, Any] = {
    "id": "c1",
    "name": {
        "public": "Inés P.",
        "scripts": {"ar": "إينيس", "zh": "伊内丝", "hi": "इनेस", "uk": "Інес П."},
    },
    "age": {"years": 7},
    "sex": "female",
    "height_cm": [118, 125],
    "hair": "brown",
    "eyes": "green",
    "clothing": {
        "en": "red coat, blue jeans", "es": "abrigo rojo, vaqueros azules", "fr": "manteau rouge, jean bleu",
        "pt": "casaco vermelho, calças azuis", "de": "roter Mantel, blaue Jeans", "it": "cappotto rosso, jeans blu",
        "pl": "czerwony płaszcz, niebieskie dżinsy", "uk": "червоне пальто, сині джинси", "tr": "kırmızı mont, mavi kot",
        "ar": "معطف أحمر، بنطال أزرق", "hi": "लाल कोट, नीली जींस", "zh": "红色外套，蓝色牛仔裤",
    },
}  # fmt: skip
CASE: dict[str, Any] = {
    "kind": "missing-child",
    "level": "endangered",
    "status": "Actual",
    "expires": "2026-11-26T08:00:00+01:00",
    "case": {
        "number": "SE-2026-117",
        "verification": {"authority": "Policía Nacional"},
        "children": [CHILD],
        "last_seen": {
            "at": "2026-11-24T17:40:00+01:00",
            "time_zone": "Europe/Madrid",
            "place": {
                "es": "estación de Santa Justa, Sevilla", "en": "Santa Justa station, Seville",
                "ar": "محطة سانتا خوستا، إشبيلية", "zh": "塞维利亚圣胡斯塔车站", "hi": "सांता हुस्ता स्टेशन, सेविया",
                "uk": "вокзал Санта-Хуста, Севілья", "de": "Bahnhof Santa Justa, Sevilla",
            },
        },
        "contact": [
            {"dial": "116000", "countries": ["ES"]}, {"dial": "+34915000000", "role": "abroad"},
            {"url": "https://centre.example/tell"},
        ],
    },
    "info": {},
    "target": {"regions": ["ES-SE"]},
}  # fmt: skip
WATER = {
    "en": ("Do not drink the tap water", "A pipe broke.", "Boil tap water for three minutes before you drink it."),
    "es": ("No beba agua del grifo", "Se ha roto una tubería.", "Hierva el agua tres minutos antes de beberla."),
    "ar": ("لا تشرب ماء الصنبور", "انكسر أنبوب.", "اغلِ الماء ثلاث دقائق قبل شربه."),
    "zh": ("请勿饮用自来水", "供水管破裂。", "饮用前请将水煮沸三分钟。"),
}
GENERAL: dict[str, Any] = {
    **CASE,
    "kind": "general",
    "level": "warning",
    "case": {},
    "info": {
        tag: {"headline": headline, "description": description, "instruction": instruction}
        for tag, (headline, description, instruction) in WATER.items()
    },
}
TEENAGER = {
    **CASE,
    "case": {
        **CASE["case"],
        "children": [{**CHILD, "name": {"public": "Vera M."}, "age": {"years": 16}, "height_cm": [165, 170]}],
    },
}
LONG = {
    **CASE,
    "case": {
        **CASE["case"],
        "children": [
            {**CHILD, "id": f"c{n}", "name": {"public": "María del Carmen Fernández-Villaverde"}} for n in range(4)
        ],
    },
}

#: A typical uploaded portrait: taller than wide, face in the upper half.
PORTRAIT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 480">
<defs><linearGradient id="sky" x2="0" y2="1"><stop stop-color="#cfe3ee"/><stop offset="1" stop-color="#9fb9a6"/></linearGradient></defs>
<path fill="url(#sky)" d="M0 0h360v480H0z"/><path fill="#7f9c86" d="M0 330q90-50 180-20t180-10v180H0z"/>
<path fill="#5b3a24" d="M92 210q-10-130 88-134t88 134q6 90 8 118H84q4-40 8-118z"/>
<path fill="#e9bf9f" d="M156 262h48v62h-48z"/><path fill="#d9aa88" d="M156 286q24 18 48 0v16q-24 14-48 0z"/>
<path fill="#b3262c" d="M52 480q0-120 76-148l28-14q24 30 48 0l28 14q76 28 76 148z"/>
<path fill="#8f1b22" d="M156 318q-16 14-18 34l42 40 42-40q-2-20-18-34q-24 30-48 0z"/><path stroke="#8f1b22" stroke-width="3" d="M180 392v88"/>
<circle cx="180" cy="414" r="5" fill="#f2d9c4"/><circle cx="180" cy="450" r="5" fill="#f2d9c4"/>
<path fill="#f0c8a8" d="M116 196q0-80 64-80t64 80q0 92-64 92t-64-92z"/>
<path fill="#5b3a24" d="M112 204q-8-112 68-112t68 112q-8-50-34-66q-44 26-84 8q-14 18-18 58z"/>
<g fill="#fff"><ellipse cx="154" cy="206" rx="13" ry="9"/><ellipse cx="206" cy="206" rx="13" ry="9"/></g>
<g fill="#4f8a5b"><circle cx="154" cy="206" r="7.5"/><circle cx="206" cy="206" r="7.5"/></g>
<g fill="#1c1f23"><circle cx="154" cy="206" r="3.5"/><circle cx="206" cy="206" r="3.5"/></g>
<g fill="none" stroke="#5b3a24" stroke-width="4" stroke-linecap="round"><path d="M139 190q15-9 30-1"/><path d="M191 189q15-8 30 1"/></g>
<g fill="#e39a86" opacity=".55"><circle cx="138" cy="236" r="13"/><circle cx="222" cy="236" r="13"/></g>
<path fill="none" stroke="#c98f70" stroke-width="4" stroke-linecap="round" d="M180 214q-8 20 3 22"/>
<path fill="#b8544f" d="M156 254q24 24 48 0q-24 8-48 0z"/></svg>"""
#: Short hair: without the part behind the shoulders.
SHORT_HAIRED = re.sub(r'<path fill="#5b3a24" d="M92.*?/>', "", PORTRAIT)
DRAWN = {
    media: "data:image/svg+xml;base64," + b64encode(portrait.encode()).decode()
    for media, portrait in (("med_ines", PORTRAIT), ("med_hugo", SHORT_HAIRED))
}
ALT = {
    "en": "Inés smiling, brown hair, red coat", "es": "Inés sonríe, pelo castaño, abrigo rojo",
    "ar": "إينيس تبتسم، شعر بني، معطف أحمر", "de": "Inés lächelt, braune Haare, roter Mantel",
}  # fmt: skip
WITH_PHOTO = {
    **CASE, "level": "child-alert",
    "case": {**CASE["case"], "children": [{**CHILD, "photos": [{"media": "med_ines", "alt": ALT}]}]},
}  # fmt: skip
TWO_WITH_PHOTOS = {
    **CASE,
    "case": {
        **CASE["case"],
        "children": [
            {**CHILD, "photos": [{"media": "med_ines", "alt": ALT}]},
            {**CHILD, "id": "c2", "name": {"public": "Hugo P."}, "age": {"years": 4}, "sex": "male",
             "photos": [{"media": "med_hugo", "alt": {"en": "Hugo in his red coat", "es": "Hugo con su abrigo rojo"}}]},
        ],
    },
}  # fmt: skip

AT = datetime(2026, 11, 24, 17, 5, tzinfo=UTC)
CLOSE = Telling(occasion=Occasion.CLOSE, alerted_at=AT)
CANCELS = {reason: Telling(occasion=Occasion.CANCEL, reason=reason, alerted_at=AT) for reason in CancelReason}
FOLLOWERS = (
    Telling(occasion=Occasion.UPDATE),
    Telling(occasion=Occasion.STAND_DOWN, alerted_at=AT),
    CLOSE,
    CANCELS[CancelReason.SENT_IN_ERROR],
)
OTHER_CANCELS = tuple(telling for telling in CANCELS.values() if telling not in FOLLOWERS)

STYLE = """
* { box-sizing: border-box } body { margin: 0; padding: 36px; background: #e9ebee; color: #1c1f23;
  font: 15px/1.4 'Noto Sans', 'Noto Sans Arabic', 'Noto Sans Devanagari', 'Noto Sans CJK SC', sans-serif }
h1 { margin: 0 0 4px; font-size: 30px } h2 { margin: 36px 0 4px; font-size: 22px } p.note { margin: 0 0 14px; color: #4a5158 }
.grid { display: grid; gap: 16px; align-items: start } .grid + .grid { margin-top: 22px } .four { grid-template-columns: repeat(4, 1fr) }
.tag { margin: 0 0 4px; font-size: 13px; font-weight: 600; color: #4a5158 }
.lock { padding: 14px; border-radius: 22px; background: #2a3550 } .lock .card { padding: 11px 14px; border-radius: 16px; background: #f7f8fa }
.card .title { font-weight: 700; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden }
.card .body { white-space: pre-line; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden }
.open .card .title, .open .card .body { -webkit-line-clamp: 14 }
.sms { padding: 10px 14px; border-radius: 16px; background: #fff; white-space: pre-line; overflow-wrap: anywhere }
.sms span:nth-child(odd) { background: #fff3c4 } .sms span:nth-child(even) { background: #cfe8ff }
.title, .body, .sms { unicode-bidi: plaintext; text-align: start }
.pair { display: flex; gap: 4px } iframe { width: 390px; zoom: .56; border: 0; background: #fff }
.card.pictured { display: grid; grid-template-columns: 1fr auto; gap: 2px 12px } .pictured .body { grid-column: 1 }
.pictured img { grid-area: 1 / 2 / span 2; width: 56px; height: 56px; border-radius: 8px; object-fit: cover; object-position: 50% 25% }
.open .pictured img { grid-area: 3 / 1 / auto / span 2; width: 100%; height: 320px; margin-top: 8px; border-radius: 12px }
.small { margin: 4px 0 0; font-size: 12px; color: #4a5158 }
"""

#: Fits each frame to the height of its content; then the page reports its height.
SCRIPT = """
addEventListener('load', () => {
  for (const frame of document.querySelectorAll('iframe'))
    frame.style.height = frame.contentDocument.documentElement.scrollHeight + 'px';
  document.documentElement.dataset.height = Math.ceil(document.documentElement.getBoundingClientRect().height);
});
"""


class Sheet:
    """Makes the page with one renderer."""

    def __init__(self) -> None:
        self.renderer = Renderer(templates_dir(), SITE)
        self.languages = self.renderer.all_languages

    def preview(self, document: dict[str, Any], channel: str, language: str, telling: Telling = THE_ALERT) -> Preview:
        alert = Alert.model_validate_json(json.dumps(document))
        loud = loudness(alert)
        if telling.occasion is Occasion.UPDATE:  # the sample update: facts were removed
            alert, loud = restricted(alert), Loudness.SILENT
        stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=loud, language=language)
        return self.renderer.preview(
            alert, channel=channel, language=language, stamp=stamp, telling=telling, countries=COUNTRIES
        )

    def pages(self) -> dict[str, Callable[[], str]]:
        """Makes each sheet, by name."""
        return {
            "push": lambda: self.page("Push", self.lock_screens()),
            "sms": lambda: self.page("SMS", self.texts()),
            "mail": lambda: self.page("Mail", self.mails()),
            "photos": lambda: self.page("A child's photo", self.photos()),
            **{
                f"occasions-{tag}": partial(self.page, "What follows an alert", self.followers(tag))
                for tag in self.languages
            },
        }

    def page(self, title: str, sections: Iterable[str]) -> str:
        """Returns the whole sheet as one HTML page."""
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
            f"<h1>{title}</h1><p class=note>One sample case, as ops/contact_sheet.py draws it.</p>"
            f"{''.join(sections)}<script>{SCRIPT}</script></html>"
        )

    def followers(self, tag: str) -> Iterator[str]:
        yield f"<h2>{self.renderer.words(tag).words['name']}</h2>"
        for channel, draw_one in (("push", self.lock), ("sms", self.sms), ("mail", self.mail)):
            yield _grid("four", (draw_one(CASE, tag, each.code, telling=each) for each in sent(FOLLOWERS, channel)))
        reasons = (self.lock(CASE, tag, f"cancel: {each.code}", telling=each) for each in OTHER_CANCELS)
        drill = self.lock({**CASE, "status": "Exercise"}, tag, "close of an exercise", telling=CLOSE)
        yield _grid("four", (*reasons, drill))
        if tag in WATER:
            yield _grid(
                "four", (self.lock(GENERAL, tag, f"general: {each.code}", telling=each) for each in FOLLOWERS[1:])
            )
            yield _grid(
                "four",
                (
                    self.mail(GENERAL, tag, f"general: {each.code}", telling=each)
                    for each in sent(FOLLOWERS[1:], "mail")
                ),
            )

    def lock_screens(self) -> Iterator[str]:
        yield "<h2>Push on a locked phone</h2><p class=note>Two rows of title and four of text; the safety line is in them.</p>"
        yield _grid("four", (self.lock(CASE, language, language) for language in self.languages))
        yield "<h2>Push, opened: what changes the words</h2><p class=note>Level, status, kind, and more than one child.</p>"
        drills = (
            (f"{status}, {tag}", {**CASE, "status": status}, tag)
            for status, tag in (("Test", "de"), ("Exercise", "ar"))
        )
        levels = (
            (f"{level}, {tag}", {**CASE, "level": level}, tag)
            for level, tag in (("child-alert", "es"), ("appeal", "pl"))
        )
        general = ((f"general, warning, {tag}", GENERAL, tag) for tag in ("en", "zh"))
        several = ((f"four children with long names, {tag}", LONG, tag) for tag in ("fr", "uk"))
        shown = (*drills, *levels, *general, *several)
        yield _grid("four", (self.lock(document, tag, label, opened=True) for label, document, tag in shown))

    def texts(self) -> Iterator[str]:
        yield "<h2>SMS</h2><p class=note>Each colour is one segment, which is what a carrier counts.</p>"
        yield _grid("four", (self.sms(CASE, language, language) for language in self.languages))
        yield "<h2>SMS about a girl of sixteen</h2><p class=note>No language calls her a little girl.</p>"
        yield _grid("four", (self.sms(TEENAGER, language, language) for language in self.languages))
        yield "<h2>SMS of other kinds</h2><p class=note>A test, a general warning, and four children with long names.</p>"
        others = (
            ("Test, es", {**CASE, "status": "Test"}, "es"), ("general, warning, ar", GENERAL, "ar"),
            ("general, warning, en", GENERAL, "en"), ("four children, es", LONG, "es"),
        )  # fmt: skip
        yield _grid("four", (self.sms(document, tag, label) for label, document, tag in others))

    def mails(self) -> Iterator[str]:
        yield "<h2>Mail, light and dark</h2><p class=note>The page is the same; the reader's setting chooses.</p>"
        yield _grid("four", (self.mail(CASE, language, language) for language in self.languages))
        yield "<h2>Mail of other kinds</h2><p class=note>A test, an exercise, a general warning, and several children.</p>"
        others = (
            ("Test, de", {**CASE, "status": "Test"}, "de"), ("Exercise, ar", {**CASE, "status": "Exercise"}, "ar"),
            ("general, warning, zh", GENERAL, "zh"), ("four children, fr", LONG, "fr"),
            ("sixteen, uk", TEENAGER, "uk"), ("sixteen, it", TEENAGER, "it"),
        )  # fmt: skip
        yield _grid("four", (self.mail(document, tag, label) for label, document, tag in others))

    def photos(self) -> Iterator[str]:
        tags = ("en", "es", "ar", "de")
        every = (self.lock(WITH_PHOTO, tag, tag) for tag in self.languages)
        yield "<h2>Push on a locked phone</h2><p class=note>A small picture beside the words: fewer stand in a row, and the safety line is still in sight.</p>"
        yield _grid("four", every)
        yield "<h2>Push, opened</h2><p class=note>All of the words, and then the picture.</p>"
        yield _grid("four", (self.lock(WITH_PHOTO, tag, tag, opened=True) for tag in tags))
        yield "<h2>Mail, light and dark</h2><p class=note>The photo by a link; a program that hides pictures shows its words.</p>"
        yield _grid("four", (self.mail(WITH_PHOTO, tag, tag) for tag in tags))
        yield "<h2>Mail of other kinds</h2><p class=note>Pictures hidden, an exercise, and two children.</p>"
        others = (
            self.mail(WITH_PHOTO, "en", "pictures hidden, en", pictures=False), self.mail(WITH_PHOTO, "ar", "pictures hidden, ar", pictures=False),
            self.mail(WITH_PHOTO, "fr", "pictures hidden, and not described in it: fr", pictures=False),
            self.mail({**WITH_PHOTO, "status": "Exercise"}, "es", "Exercise, es"), self.mail(TWO_WITH_PHOTOS, "en", "two children, en"),
        )  # fmt: skip
        yield _grid("four", others)

    def lock(
        self, document: dict[str, Any], language: str, label: str, *, opened: bool = False, telling: Telling = THE_ALERT
    ) -> str:
        message = self.preview(document, "push", language, telling).message
        assert isinstance(message, PushMessage)
        title, body = html.escape(message.title), html.escape(message.body)
        image = f'<img src="{DRAWN["med_ines"]}" alt="">' if message.image_url else ""
        card = (
            f'<div class="card{" pictured" * bool(image)}" dir={self.renderer.words(language).direction} lang={language}>'
            f"<div class=title>{title}</div><div class=body>{body}</div>{image}</div>"
        )
        return f'{_tag(label)}<div class="lock{" open" * opened}">{card}</div>'

    def sms(self, document: dict[str, Any], language: str, label: str, *, telling: Telling = THE_ALERT) -> str:
        preview = self.preview(document, "sms", language, telling)
        message = preview.message
        assert isinstance(message, SmsMessage)
        encoding, parts = divided(message.text)
        spans = "".join(f"<span>{html.escape(part)}</span>" for part in parts)
        facts = f"{encoding}, {len(parts)} segments, {len(message.text)} characters"
        without = f"; without {', '.join(preview.left_out)}" if preview.left_out else ""
        return f"{_tag(label)}<div class=sms lang={language}>{spans}</div><p class=small>{facts}{without}</p>"

    def mail(
        self,
        document: dict[str, Any],
        language: str,
        label: str,
        *,
        telling: Telling = THE_ALERT,
        pictures: bool = True,
    ) -> str:
        message = self.preview(document, "mail", language, telling).message
        assert isinstance(message, MailMessage)
        page = re.sub(
            f'src="{SITE}/m/([a-z_]+)[^"]*"',
            lambda at: f'src="{DRAWN[at[1]] if pictures else "hidden:"}"',
            message.html,
        )
        dark = page.replace("(prefers-color-scheme: dark)", "all")
        light = re.sub(r"@media \(prefers-color-scheme: dark\)", "@media not all", page)
        frames = "".join(f'<iframe srcdoc="{html.escape(page)}"></iframe>' for page in (light, dark))
        return f"{_tag(label)}<div class=pair>{frames}</div><p class=small>{html.escape(message.subject)}</p>"


def sent(tellings: Iterable[Telling], channel: str) -> list[Telling]:
    """Returns the messages of a channel."""
    return [one for one in tellings if channel in (CHANNELS_OF[one.occasion] or {channel})]


def _grid(columns: str, cells: Iterable[str]) -> str:
    return f'<div class="grid {columns}">' + "".join(f"<div>{cell}</div>" for cell in cells) + "</div>"


def _tag(label: str) -> str:
    return f"<p class=tag>{html.escape(label)}</p>"


def draw(page: Path, picture: Path) -> None:
    """Takes a picture of the whole page with headless Chromium. Raises SystemExit without Chromium."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("The picture needs Chromium (Debian, Ubuntu: apt-get install chromium).")
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
                   "--virtual-time-budget=4000"]  # fmt: skip
        output = subprocess.run(
            [*command, f"--window-size={WIDTH},1000", "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        ).stdout  # fmt: skip
        height = int(re.search(r'data-height="(\d+)"', output)[1])  # type: ignore[index]
        subprocess.run(
            [*command, f"--window-size={WIDTH},{height}", f"--screenshot={picture}", page.as_uri()],
            capture_output=True, timeout=120, check=True,
        )  # fmt: skip
    if smaller := shutil.which("pngquant"):  # a third of the size, without a visible change of colours
        subprocess.run([smaller, "--force", "--output", str(picture), "64", str(picture)], timeout=120, check=True)


def main() -> None:
    pages = Sheet().pages()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--page", choices=pages, action="append")
    parser.add_argument("--html", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    for name in options.page or pages:
        page = (options.html / f"{name}.html").resolve()
        page.write_text(pages[name](), encoding="utf-8")
        print(page)
        if options.png:
            draw(page, (options.png / f"{name}.png").resolve())


if __name__ == "__main__":
    main()
