"""Every message in every language: the words, their plurals, their direction, what they cost as SMS and what a locked phone shows."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from markupsafe import Markup

from alertd.common.resources import templates_dir
from alertd.model.alert import Alert
from alertd.model.kinds import KINDS, Kind, Level
from alertd.rendering import Renderer, choose_language
from alertd.rendering.catalogue import SHARED
from alertd.rendering.plaintext import FSI, PDI, rows
from alertd.rendering.renderer import CLOSED_ROWS, MAX_PUSH_BYTES, ROW
from channels.base import Loudness, MailMessage, PushMessage, SmsMessage, Stamp
from channels.text import segments, spelled_for_sms
from tests.sampling import sampled
from tests.unit.alertd.rendering.longest import LANGUAGES, LONGEST_CHILD, parts
from tests.unit.alertd.rendering.usual import (
    CHANNELS,
    ROOT,
    SAFETY,
    SAMPLES,
    SEVERAL,
    SMALLEST_GENERAL,
    STATUSES,
    URL,
    USUAL,
    alert_of,
    bare,
    render,
)
from tests.unit.alertd.samples import as_sent
from tests.unit.alertd.samples import changed as document_with

#: Alphabet and segments of the usual SMS with its link, and of the longest. Arabic and Hindi have letters of their own; Turkish keeps its
#: dotless i; the longest has a fox in the child's name, which costs every language the large alphabet.
SMS = {
    "en": (("gsm7", 2), ("ucs2", 4)),
    "ar": (("ucs2", 5), ("ucs2", 4)),
    "de": (("gsm7", 3), ("ucs2", 5)),
    "es": (("gsm7", 3), ("ucs2", 5)),
    "fr": (("gsm7", 3), ("ucs2", 5)),
    "hi": (("ucs2", 5), ("ucs2", 5)),
    "it": (("gsm7", 3), ("ucs2", 5)),
    "pl": (("gsm7", 3), ("ucs2", 5)),
    "pt": (("gsm7", 3), ("ucs2", 5)),
    "tr": (("ucs2", 5), ("ucs2", 5)),
    "uk": (("ucs2", 5), ("ucs2", 5)),
    "zh": (("ucs2", 3), ("ucs2", 3)),
}


def push(renderer: Renderer, alert: Alert, language: str) -> PushMessage:
    message = render(renderer, alert, "push", language)
    assert isinstance(message, PushMessage)
    return message


def takes_turns(_kind: str, status: str, language: str) -> bool:
    """Each language with one status, each status with a third of the languages."""
    return STATUSES.index(status) == LANGUAGES.index(language) % len(STATUSES)


@pytest.mark.parametrize(
    ("kind", "status", "language"), sampled(itertools.product(SAMPLES, STATUSES, LANGUAGES), takes_turns)
)
def test_every_message_is_made(renderer: Renderer, kind: str, status: str, language: str):
    """Each kind, level, status, loudness, channel and language, of the longest sample and the smallest, of one child and of nine."""
    words = renderer.words(language).words
    for level, (name, sample) in itertools.product(KINDS[Kind(kind)], SAMPLES[kind].items()):
        alert = alert_of(sample, level=level, status=status)
        title = words["title"]["missing-children" if name == "several" else kind][level]
        mark = "" if status == "Actual" else words["mark"][kind][status]
        for channel, loudness in itertools.product(CHANNELS, Loudness):
            message = render(renderer, alert, channel, language, loudness)
            first = parts(message)[0]
            urgent = words["loud"]["word"] if loudness is Loudness.LOUD else title
            expected = (mark or urgent, title)
            assert all(word in first or spelled_for_sms(word) in first for word in expected), (level, name, channel)
            assert first.startswith((expected[0], spelled_for_sms(expected[0])))
            assert message.stamp.language == language
            assert all(text.strip() and "None" not in text and "{" + "n}" not in text for text in parts(message))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_safety_line_of_each_language(renderer: Renderer, language: str):
    """These very words on every channel, so that no change of them goes unseen; in an SMS without the accents that cost."""
    for channel in CHANNELS:
        message = render(renderer, alert_of(USUAL), channel, language)
        shown = message.text if isinstance(message, SmsMessage) else parts(message)[-1]
        assert SAFETY[language] in bare(shown) or spelled_for_sms(SAFETY[language]) in bare(shown)


@pytest.mark.parametrize("language", LANGUAGES)
def test_segments_of_each_language(renderer: Renderer, language: str):
    """What a usual SMS and the longest cost."""
    usual = render(renderer, alert_of(USUAL), "sms", language)
    longest = render(renderer, alert_of(LONGEST_CHILD), "sms", language)
    assert isinstance(usual, SmsMessage)
    assert isinstance(longest, SmsMessage)
    assert (segments(as_sent(usual)), segments(as_sent(longest))) == SMS[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_locked_phone_shows_the_safety_line(renderer: Renderer, language: str):
    """It stands whole within the four rows below the title, however long the first line is; the payload fits any carrier."""
    for sample in (*SAMPLES["missing-child"].values(), *SAMPLES["general"].values()):
        message = push(renderer, alert_of(sample, status="Actual"), language)
        lines = message.body.split("\n")
        safety = next(i for i, text in enumerate(lines) if text in _safety_lines(renderer, language))
        assert sum(rows(text, ROW) for text in lines[: safety + 1]) <= CLOSED_ROWS
        assert len((message.title + message.body).encode()) <= MAX_PUSH_BYTES


def _safety_lines(renderer: Renderer, language: str) -> set[str]:
    words = renderer.words(language)
    forms = words.words["safety"]
    return {
        forms["general"]["text"],
        *(forms[n]["dial"].format(contact=words.isolate("116000")) for n in ("one", "many")),
    }


@pytest.mark.parametrize(("language", "shown"), [
    ("en", "less than 1 year old|1 year old|2 years old|5 years old|11 years old"),
    ("ar", "أقل من سنة|سنة واحدة|سنتان|5 سنوات|11 سنة"),
    ("de", "unter 1 Jahr|1 Jahr|2 Jahre|5 Jahre|11 Jahre"),
    ("es", "menos de 1 año|1 año|2 años|5 años|11 años"),
    ("fr", "moins d’un an|1 an|2 ans|5 ans|11 ans"),
    ("hi", "1 वर्ष से कम|1 वर्ष|2 वर्ष|5 वर्ष|11 वर्ष"),
    ("it", "meno di 1 anno|1 anno|2 anni|5 anni|11 anni"),
    ("pl", "poniżej 1 roku|1 rok|2 lata|5 lat|11 lat"),
    ("pt", "menos de 1 ano|1 ano|2 anos|5 anos|11 anos"),
    ("tr", "1 yaşından küçük|1 yaşında|2 yaşında|5 yaşında|11 yaşında"),
    ("uk", "до 1 року|1 рік|2 роки|5 років|11 років"),
    ("zh", "不满1岁|1岁|2岁|5岁|11岁"),
])  # fmt: skip
def test_years_have_their_plural(renderer: Renderer, language: str, shown: str):
    """Each number its own form."""
    words = renderer.words(language)
    assert "|".join(words.counted("years", n) for n in (0, 1, 2, 5, 11)) == shown


@pytest.mark.parametrize(("language", "small", "grown"), [
    ("en", "girl boy", "girl boy"), ("ar", "طفلة طفل", "فتاة فتى"), ("de", "Mädchen Junge", "Jugendliche Jugendlicher"),
    ("es", "niña niño", "chica chico"), ("fr", "fille garçon", "adolescente adolescent"),
    ("hi", "लड़की लड़का", "किशोरी किशोर"), ("it", "bambina bambino", "ragazza ragazzo"),
    ("pl", "dziewczynka chłopiec", "nastolatka nastolatek"),
    ("pt", "menina menino", "adolescente_do_sexo_feminino adolescente_do_sexo_masculino"),
    ("tr", "kız_çocuğu erkek_çocuk", "genç_kız genç_erkek"), ("uk", "дівчинка хлопчик", "дівчина хлопець"),
    ("zh", "女孩 男孩", "少女 少年"),
])  # fmt: skip
def test_a_teenager_is_called_no_little_child(renderer: Renderer, language: str, small: str, grown: str):
    """From 13 years on; with the name and, where it is protected, in its place."""
    for (years, told), named in itertools.product(((12, small), (13, grown), (17, grown)), (True, False)):
        for sex, word in zip(("female", "male"), told.replace("_", "\u00a0").split(" "), strict=True):
            child = {"id": "c1", "age": {"years": years}, "sex": sex, **({"name": {"public": "N."}} if named else {})}
            mail = render(renderer, alert_of(document_with(USUAL, "case/children", [child])), "mail", language)
            assert isinstance(mail, MailMessage)
            text = (mail.text if named else mail.subject).casefold()
            assert re.search(rf"(^|\W){word.casefold()}(\W|$)".replace("\u00a0", " "), text, re.MULTILINE), (
                years,
                text,
            )


@pytest.mark.parametrize(("language", "number", "shown"), [
    ("pl", 21, "21 miesięcy"), ("pl", 22, "22 miesiące"), ("pl", 12, "12 miesięcy"), ("pl", 1, "1 miesiąc"),
    ("uk", 21, "21 місяць"), ("uk", 22, "22 місяці"), ("uk", 12, "12 місяців"), ("uk", 0, "до 1 місяця"),
    ("ar", 2, "شهران"), ("ar", 3, "3 أشهر"), ("ar", 11, "11 شهرًا"), ("ar", 1, "شهر واحد"),
])  # fmt: skip
def test_months_beyond_twenty_have_theirs(renderer: Renderer, language: str, number: int, shown: str):
    """Polish says 21 months as it says 5, Ukrainian as it says 1."""
    assert renderer.words(language).counted("months", number) == shown


@pytest.mark.parametrize(("language", "shown"), [
    ("en", "24 November 2026, 17:40 CET|24 Nov, 17:40 CET"),
    ("ar", "24 نوفمبر 2026، 17:40 CET|24 نوفمبر، 17:40 CET"),
    ("de", "24. November 2026, 17:40 CET|24. Nov., 17:40 CET"),
    ("es", "24 de noviembre de 2026, 17:40 CET|24 nov, 17:40 CET"),
    ("fr", "24 novembre 2026, 17:40 CET|24 nov., 17:40 CET"),
    ("hi", "24 नवंबर 2026, 17:40 CET|24 नव॰, 17:40 CET"),
    ("it", "24 novembre 2026, 17:40 CET|24 nov, 17:40 CET"),
    ("pl", "24 listopada 2026, 17:40 CET|24 lis, 17:40 CET"),
    ("pt", "24 de novembro de 2026, 17:40 CET|24 de nov., 17:40 CET"),
    ("tr", "24 Kasım 2026, 17:40 CET|24 Kas, 17:40 CET"),
    ("uk", "24 листопада 2026 р., 17:40 CET|24 лист., 17:40 CET"),
    ("zh", "2026年11月24日 17:40 CET|11月24日 17:40 CET"),
])  # fmt: skip
def test_dates_are_written_as_there(renderer: Renderer, language: str, shown: str):
    """Long and short, always with the zone."""
    at, words = alert_of(USUAL).case.last_seen.at, renderer.words(language)  # type: ignore[union-attr]
    told = "|".join(bare(words.moment(at, "Europe/Madrid", form=form)) for form in ("long", "short"))
    assert re.sub("[\u00a0\u202f]", " ", told) == shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sighting_of_another_year_has_it(renderer: Renderer, language: str):
    """Who is looked for again after years was not seen last month; a date of these weeks needs no year."""
    for channel, (at, told) in itertools.product(
        CHANNELS,
        [
            ("2023-12-24T17:40:00+01:00", True),
            ("2026-05-20T17:40:00+02:00", True),
            ("2026-11-24T17:40:00+01:00", False),
        ],
    ):
        alert = alert_of(document_with(USUAL, "case/last_seen/at", at))
        text = "\n".join(parts(render(renderer, alert, channel, language)))
        assert (at[:4] in text) is (told or channel == "mail"), (channel, at, text)


@pytest.mark.parametrize(("language", "zone", "shown"), [
    ("en", "America/Chicago", "CST"), ("zh", "America/Chicago", "UTC-06:00"), ("zh", "Asia/Shanghai", "UTC+08:00"),
    ("en", "Asia/Shanghai", "UTC+08:00"), ("hi", "Asia/Kolkata", "IST"), ("en", "Asia/Jerusalem", "UTC+02:00"),
    ("ar", "Europe/Madrid", "CET"), ("es", "America/Sao_Paulo", "UTC-03:00"),
])  # fmt: skip
def test_no_clock_is_taken_for_another(renderer: Renderer, language: str, zone: str, shown: str):
    """A short name that several zones have is told only to those whose language means one of them by it."""
    told = renderer.words(language).moment(datetime(2026, 11, 24, 12, tzinfo=UTC), zone, form="short")
    assert bare(told).endswith(f"\u00a0{shown}")


def test_the_names_that_zones_share_are_known():
    """A zone that takes another's short name is found here, and not by its readers."""
    found: dict[str, set[Any]] = {}
    for zone, month in itertools.product(available_timezones(), (1, 7)):
        at = datetime(2026, month, 15, tzinfo=ZoneInfo(zone))
        found.setdefault(at.tzname() or "", set()).add(at.utcoffset())
    assert {name for name, offsets in found.items() if name.isalpha() and len(offsets) > 1} <= set(SHARED)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_runs_the_other_way_is_kept_apart(renderer: Renderer, language: str):
    """No letter of the other direction stands outside an isolate but in a link, and every isolate ends on its line."""
    document = document_with(USUAL, "case/children/0/name", {"public": "لوسيا" if language != "ar" else "Inés P."})
    document["case"]["children"][0]["clothing"] = {"ar": "معطف Adidas", "he": "x"}
    foreign = re.compile("[A-Za-zÀ-ÿ+]" if language == "ar" else "[\u0590-\u07ff]")
    for channel in CHANNELS:
        message = render(renderer, alert_of(document), channel, language)
        texts = parts(message)[:2] if isinstance(message, MailMessage) else parts(message)
        for text in re.sub(r"https://\S+", "", "\n".join(texts)).split("\n"):
            assert text.count(FSI) == text.count(PDI)
            assert not foreign.search(re.sub(f"{FSI}[^{PDI}]*{PDI}", "", text)), text


def test_only_arabic_mails_run_from_right_to_left(renderer: Renderer):
    """The page says so to the mail program, with the reader's own tag."""
    for language in (*LANGUAGES, "ar-EG", "zh-Hans", "pt-BR"):
        message = render(renderer, alert_of(USUAL), "mail", language)
        assert isinstance(message, MailMessage)
        direction = "rtl" if language.startswith("ar") else "ltr"
        assert f'<html lang="{language}" dir="{direction}">' in message.html


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_of_a_mail_says_what_its_text_says(renderer: Renderer, language: str):
    """Whoever reads without HTML misses no line."""
    for sample in (USUAL, SEVERAL, SMALLEST_GENERAL):
        message = render(renderer, alert_of(sample), "mail", language)
        assert isinstance(message, MailMessage)
        page = re.sub(r"\s+", " ", Markup(message.html.split("<body")[1]).striptags())
        for told in re.split(r"\n+|：|: ", message.text):
            if URL not in told:
                assert re.sub(r"\s+", " ", told.strip()).casefold() in page.casefold(), told


def test_turkish_facts_can_begin_a_sentence(renderer: Renderer):
    """None begins with an i, which would lose its dot."""
    words = renderer.words("tr")
    assert not [
        text for field in ("sex", "hair", "eyes") for text in words.codes(field).values() if text.startswith("i")
    ]


@pytest.mark.parametrize(("wanted", "chosen"), [
    (("pt-PT",), "pt-BR"),  # the first of the same base language
    (("pt-BR",), "pt-BR"),
    (("es", "pt-BR"), "es"),  # the reader's first before the alert's
    (("ja", "uk-UA"), "uk"),
    (("ja",), "pt-BR"),  # the alert's own first language
    ((), "pt-BR"),
])  # fmt: skip
def test_which_language_someone_reads(renderer: Renderer, wanted: tuple[str, ...], chosen: str):
    """The order that templates/README.md states."""
    alert = alert_of(USUAL, info={"ja": {"description": "x"}, "pt-BR": {"description": "x"}})
    assert choose_language(wanted, renderer.languages(alert)) == chosen


def test_without_own_words_english_is_the_last_resort(renderer: Renderer):
    """The alert has no language of its own that the catalogue knows."""
    assert choose_language(("ja",), renderer.languages(alert_of(USUAL, info={"ja": {"description": "x"}}))) == "en"


@pytest.mark.parametrize(("zone", "info", "place", "shown"), [
    ("Europe/Madrid", ["en"], {"en": "Santa Justa station", "es": "estación de Santa Justa"}, "estación de Santa Justa"),
    ("Europe/Madrid", [], {"en": "station", "es-ES": "estación"}, "estación"),
    ("Europe/Zurich", ["fr"], {"de": "Bahnhof Genf", "fr": "gare de Genève"}, "gare de Genève"),
    ("Asia/Kolkata", ["en"], {"en": "New Delhi station", "hi": "नई दिल्ली स्टेशन"}, "New Delhi station"),
    ("America/New_York", ["es"], {"es": "estación", "en": "station"}, "station"),
    ("Etc/UTC", ["es"], {"en": "station", "es": "estación"}, "estación"),
])  # fmt: skip
def test_a_place_is_told_as_signs_there_have_it(
    renderer: Renderer, zone: str, info: list[str], place: dict[str, str], shown: str
):
    """Who cannot read it in their own language looks for what is written there, and not for a third language's words."""
    sample = document_with(document_with(USUAL, "case/last_seen/place", place), "case/last_seen/time_zone", zone)
    alert = alert_of({**sample, "info": {tag: {"description": "x"} for tag in info}})
    assert f"{shown}," in bare(push(renderer, alert, "it").body)


def test_a_place_is_told_in_the_alerts_language_then_english_then_any(renderer: Renderer):
    """A name on a map serves in any language."""
    for place, shown in (
        ({"de": "in Sevilla", "es": "en Sevilla", "en": "in Seville"}, "en Sevilla"),
        ({"de": "in Sevilla", "en": "in Seville"}, "in Seville"),
        ({"de": "in Sevilla"}, "in Sevilla"),
    ):
        alert = alert_of(document_with({**USUAL, "info": {"es": {"description": "x"}}}, "case/last_seen/place", place))
        assert shown in push(renderer, alert, "fr").body


@pytest.mark.parametrize("line", ['few = "{n} lata"', 'appeal = "Zaginione dziecko"', '0 = "poniżej 1 roku"'])
def test_a_language_that_lacks_a_word_or_a_plural_is_found_at_the_start(tmp_path: Path, line: str):
    """By the name of what is missing."""
    copy = Path(shutil.copytree(templates_dir(), tmp_path / "templates"))
    catalogue = copy / "catalogue/pl.toml"
    text = catalogue.read_text(encoding="utf-8")
    assert line in text
    catalogue.write_text(text.replace(line, "", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=line.split(" ", 1)[0]):
        Renderer(copy)


def test_a_language_may_have_its_own_order(tmp_path: Path):
    """One file beside the shared one, for that language alone."""
    copy = Path(shutil.copytree(templates_dir(), tmp_path / "templates"))
    own = '{% extends "messages/missing-child/push/title.txt" %}{% block title %}{{ facts.who }}：{{ facts.heading }}{% endblock %}'
    (copy / "messages/missing-child/push/zh.title.txt").write_text(own, encoding="utf-8")
    alert = alert_of(USUAL, level=Level.APPEAL)
    assert push(Renderer(copy), alert, "zh").title == "Inés P.，7岁：紧急——失踪儿童"
    assert push(Renderer(copy), alert, "de").title == "DRINGEND – Vermisstes Kind: Inés P., 7 Jahre"


def test_the_contact_sheets_show_every_language(tmp_path: Path):
    """Their pages are made of the renderer's own messages; drawing them needs a browser and is left to whoever looks."""
    command = [sys.executable, "ops/contact_sheet.py", "--html", tmp_path, "--page"]
    for name in ("push", "sms", "mail"):
        subprocess.run([*command, name], cwd=ROOT, check=True, capture_output=True)
    text = "".join((tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("push", "sms", "mail"))
    assert "alerts.example.org/a/" not in text  # nobody is told of a page that there is not
    for language in LANGUAGES:
        assert SAFETY[language] in bare(text).replace("&#x27;", "'")
        assert text.count(f"lang={language}>") >= 2


def test_a_preview_says_what_had_no_room(renderer: Renderer):
    """Facts that are known and not told, and those told in part; a usual message loses nothing but further contacts."""
    stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.LOUD, language="es")
    longest = renderer.preview(alert_of(SEVERAL), channel="sms", language="es", stamp=stamp)
    assert longest.left_out[-1] == "valid_until"
    assert longest.shortened[0] == "children"
    assert "name" in longest.shortened
    for channel in CHANNELS:
        usual = renderer.preview(alert_of(USUAL), channel=channel, language="es", stamp=stamp)
        assert all(one.startswith("contact ") for one in usual.left_out)
        assert (usual.left_out == ()) is (channel == "mail")
        assert usual.shortened == ()
        assert usual.message == renderer.render(alert_of(USUAL), channel=channel, language="es", stamp=stamp)
