#!/usr/bin/env python3
"""Draws every message in every language on one sheet: lock screens, SMS with their segments, mails in light and dark.

    ops/contact_sheet.py [--page messages|occasions] [--html FILE] [--png FILE]

`messages` is the alert itself, `occasions` what follows one. The texts are the renderer's own, of one sample case. The picture needs Chromium and fonts for all scripts (Debian, Ubuntu:
apt-get install chromium fonts-noto-core fonts-noto-cjk pngquant); without `--png` only the page is written.
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
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from alertd.documents import Alert, loudness  # noqa: E402  beside this script
from alertd.kinds import CancelReason, Occasion  # noqa: E402
from alertd.rendering import THE_ALERT, Preview, Renderer, Telling  # noqa: E402
from alertd.resources import templates_dir  # noqa: E402
from channels.base import MailMessage, PushMessage, SmsMessage, Stamp  # noqa: E402
from channels.text import GSM_EXTENSION, SEPTETS_OF_PART, UNITS_OF_PART, segments  # noqa: E402

URL = "https://alerts.example.org/a/k3v9q2"
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
        "contact": [{"dial": "116000", "countries": ["ES"]}, {"dial": "+34915000000", "role": "abroad"}],
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
LONG = {
    **CASE,
    "case": {
        **CASE["case"],
        "children": [
            {**CHILD, "id": f"c{n}", "name": {"public": "María del Carmen Fernández-Villaverde"}} for n in range(4)
        ],
    },
}

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
.grid { display: grid; gap: 16px; align-items: start } .four { grid-template-columns: repeat(4, 1fr) }
.tag { margin: 0 0 4px; font-size: 13px; font-weight: 600; color: #4a5158 }
.lock { padding: 14px; border-radius: 22px; background: #2a3550 } .lock .card { padding: 11px 14px; border-radius: 16px; background: #f7f8fa }
.card .title { font-weight: 700; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden }
.card .body { white-space: pre-line; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden }
.open .card .title, .open .card .body { -webkit-line-clamp: 14 }
.sms { padding: 10px 14px; border-radius: 16px; background: #fff; white-space: pre-line; overflow-wrap: anywhere }
.sms span:nth-child(odd) { background: #fff3c4 } .sms span:nth-child(even) { background: #cfe8ff }
.title, .body, .sms { unicode-bidi: plaintext; text-align: start }
.pair { display: flex; gap: 4px } iframe { width: 390px; zoom: .56; border: 0; background: #fff }
.small { margin: 4px 0 0; font-size: 12px; color: #4a5158 }
"""

#: Frames as high as what they hold; then the page tells its own height.
SCRIPT = """
addEventListener('load', () => {
  for (const frame of document.querySelectorAll('iframe'))
    frame.style.height = frame.contentDocument.documentElement.scrollHeight + 'px';
  document.documentElement.dataset.height = Math.ceil(document.documentElement.getBoundingClientRect().height);
});
"""


class Sheet:
    """The page, from one renderer."""

    def __init__(self) -> None:
        self.renderer = Renderer(templates_dir())
        self.languages = self.renderer.all_languages()

    def preview(self, document: dict[str, Any], channel: str, language: str, telling: Telling = THE_ALERT) -> Preview:
        alert = Alert.model_validate_json(json.dumps(document))
        loud = loudness(alert)
        stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=loud, language=language)
        return self.renderer.preview(alert, channel=channel, language=language, stamp=stamp, url=URL, telling=telling)

    def messages(self) -> str:
        """The alert itself."""
        return self.page("Messages of alertd", (*self.lock_screens(), *self.texts(), *self.mails()))

    def occasions(self) -> str:
        """What follows an alert, language by language."""
        return self.page("What follows an alert", (part for tag in self.languages for part in self.followers(tag)))

    def page(self, title: str, sections: Iterable[str]) -> str:
        """The whole sheet as one HTML page."""
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
            f"<h1>{title}</h1><p class=note>One sample case in every language, as ops/contact_sheet.py draws it.</p>"
            f"{''.join(sections)}<script>{SCRIPT}</script></html>"
        )

    def followers(self, tag: str) -> Iterator[str]:
        yield f"<h2>{self.renderer.words(tag).words['name']}</h2>"
        yield _grid("four", (self.lock(CASE, tag, each.code, telling=each) for each in FOLLOWERS))
        yield _grid("four", (self.sms(CASE, tag, each.code, telling=each) for each in FOLLOWERS))
        yield _grid("four", (self.mail(CASE, tag, each.code, telling=each) for each in FOLLOWERS))
        reasons = (self.lock(CASE, tag, f"cancel: {each.code}", telling=each) for each in OTHER_CANCELS)
        drill = self.lock({**CASE, "status": "Exercise"}, tag, "close of an exercise", telling=CLOSE)
        yield _grid("four", (*reasons, drill))
        if tag in WATER:
            yield _grid("four", (self.lock(GENERAL, tag, f"general: {each.code}", telling=each) for each in FOLLOWERS))
            yield _grid("four", (self.mail(GENERAL, tag, f"general: {each.code}", telling=each) for each in FOLLOWERS))

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
        )  # fmt: skip
        yield _grid("four", (self.mail(document, tag, label) for label, document, tag in others))

    def lock(
        self, document: dict[str, Any], language: str, label: str, *, opened: bool = False, telling: Telling = THE_ALERT
    ) -> str:
        message = self.preview(document, "push", language, telling).message
        assert isinstance(message, PushMessage)
        title, body = html.escape(message.title), html.escape(message.body)
        card = f"<div class=card lang={language}><div class=title>{title}</div><div class=body>{body}</div></div>"
        return f'{_tag(label)}<div class="lock{" open" * opened}">{card}</div>'

    def sms(self, document: dict[str, Any], language: str, label: str, *, telling: Telling = THE_ALERT) -> str:
        preview = self.preview(document, "sms", language, telling)
        message = preview.message
        assert isinstance(message, SmsMessage)
        encoding, count = segments(message.text)
        spans = "".join(f"<span>{html.escape(part)}</span>" for part in _split(message.text))
        facts = f"{encoding}, {count} segments, {len(message.text)} characters"
        without = f"; without {', '.join(preview.left_out)}" if preview.left_out else ""
        return f"{_tag(label)}<div class=sms lang={language}>{spans}</div><p class=small>{facts}{without}</p>"

    def mail(self, document: dict[str, Any], language: str, label: str, *, telling: Telling = THE_ALERT) -> str:
        message = self.preview(document, "mail", language, telling).message
        assert isinstance(message, MailMessage)
        dark = message.html.replace("(prefers-color-scheme: dark)", "all")
        light = re.sub(r"@media \(prefers-color-scheme: dark\)", "@media not all", message.html)
        frames = "".join(f'<iframe srcdoc="{html.escape(page)}"></iframe>' for page in (light, dark))
        return f"{_tag(label)}<div class=pair>{frames}</div><p class=small>{html.escape(message.subject)}</p>"


def _grid(columns: str, cells: Iterator[str]) -> str:
    return f'<div class="grid {columns}">' + "".join(f"<div>{cell}</div>" for cell in cells) + "</div>"


def _tag(label: str) -> str:
    return f"<p class=tag>{html.escape(label)}</p>"


def _split(text: str) -> list[str]:
    """The text in its segments."""
    encoding, count = segments(text)
    if count == 1:
        return [text]
    room = SEPTETS_OF_PART if encoding == "gsm7" else UNITS_OF_PART
    found, used = [""], 0
    for character in text:
        wide = character in GSM_EXTENSION if encoding == "gsm7" else ord(character) > 0xFFFF
        if used + 1 + wide > room:
            found, used = [*found, ""], 0
        found[-1] += character
        used += 1 + wide
    return found


def draw(page: Path, picture: Path) -> None:
    """A picture of the whole page by Chromium without a window. Raises SystemExit if there is none."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("The picture needs Chromium (Debian, Ubuntu: apt-get install chromium).")
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
                   "--virtual-time-budget=4000"]  # fmt: skip
        told = subprocess.run(
            [*command, f"--window-size={WIDTH},1000", "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        ).stdout  # fmt: skip
        height = int(re.search(r'data-height="(\d+)"', told)[1])  # type: ignore[index]
        subprocess.run(
            [*command, f"--window-size={WIDTH},{height}", f"--screenshot={picture}", page.as_uri()],
            capture_output=True, timeout=120, check=True,
        )  # fmt: skip
    if smaller := shutil.which("pngquant"):  # a third of the size, with colours nobody tells apart
        subprocess.run([smaller, "--force", "--output", str(picture), "64", str(picture)], timeout=120, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--page", choices=("messages", "occasions"), default="messages")
    parser.add_argument("--html", type=Path, default=Path(tempfile.gettempdir()) / "messages.html")
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    options.html.write_text(getattr(Sheet(), options.page)(), encoding="utf-8")
    print(options.html)
    if options.png:
        draw(options.html.resolve(), options.png.resolve())
        print(options.png)


if __name__ == "__main__":
    main()
