"""A child's photo in messages: where it is shown, with which words, and where it is not."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from alertd.common.resources import templates_dir
from alertd.model.alert import Alert
from alertd.model.kinds import Channel, Occasion
from alertd.rendering import THE_ALERT, Renderer, Telling
from alertd.rendering.own_texts import TextPlace, read_text
from alertd.rendering.plaintext import rows
from alertd.rendering.renderer import CLOSED_ROWS, ROW_BESIDE_PHOTO
from channels.base import Loudness, MailMessage, PushMessage, SmsMessage, Stamp
from tests.unit.alertd.samples import MISSING_CHILD, changed

SITE = "https://alerts.example.org"
PHOTOS = [
    {"media": "med_one", "alt": {"es": "Lucía sonríe", "en": "Lucía smiling"}},
    {"media": "med_two", "alt": {"es": 'De lado, <con> "gafas"'}},
]
SAMPLE = changed(MISSING_CHILD, "case/children/0/photos", PHOTOS)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(templates_dir(), SITE)


def render(renderer: Renderer, channel: str, language: str, sample: dict[str, Any] = SAMPLE, **how: Any) -> Any:
    stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.LOUD, language=language)
    alert = Alert.model_validate_json(json.dumps(sample))
    return renderer.render(alert, channel=channel, language=language, stamp=stamp, **{"telling": THE_ALERT, **how})


def test_a_mail_shows_every_photo_with_its_words(renderer: Renderer):
    """By a link, in the size of mails; the words are for those whose program hides pictures or who cannot see them."""
    mail = render(renderer, "mail", "es")
    assert isinstance(mail, MailMessage)
    for media, alt in ("med_one", "Lucía sonríe"), ("med_two", 'De lado, <con> "gafas"'):
        assert f'<img src="{SITE}/m/{media}?size=mail" alt="{html.escape(alt).replace("&quot;", "&#34;")}"' in mail.html
    assert mail.html.count("<img") == 2


def test_the_text_of_a_mail_tells_words_and_link(renderer: Renderer):
    """Whoever reads without pictures knows what they show and where they are."""
    text = render(renderer, "mail", "en").text
    assert f"Photo: Lucía smiling\n{SITE}/m/med_one?size=mail\n" in text


@pytest.mark.parametrize("language", Renderer(templates_dir()).all_languages)
def test_a_photo_that_nobody_described_in_a_language_is_called_by_the_childs_name(renderer: Renderer, language: str):
    """No Spanish sentence stands in a German mail; every language has a word for photo."""
    mail = render(renderer, "mail", language, changed(SAMPLE, "case/children/0/photos", PHOTOS[1:]))
    text, page = (told.replace("\u2068", "").replace("\u2069", "") for told in (mail.text, html.unescape(mail.html)))
    words = renderer.words(language).words
    name = "لوسيا" if language == "ar" else "Lucía P."
    unnamed = f"{words['label']['photo']}{words['punctuation']['colon']}{name}"
    assert ("De lado" in text + page) is (language == "es")
    assert (unnamed in text) is (language != "es")
    assert (f'alt="{unnamed}"' in page) is (language != "es")


def test_a_photo_of_a_child_without_a_public_name_is_called_a_photo(renderer: Renderer):
    """And nothing else."""
    mail = render(renderer, "mail", "de", changed(SAMPLE, "case/children/0/name", None))
    assert '" alt="Foto"' in mail.html
    assert f"Foto\n{SITE}/m/med_one" in mail.text


@pytest.mark.parametrize("channel", ["push", "webpush"])
def test_a_push_has_the_first_photo(renderer: Renderer, channel: str):
    """In its own size."""
    push = render(renderer, channel, "es")
    assert isinstance(push, PushMessage)
    assert push.image_url == f"{SITE}/m/med_one?size=push"
    assert "m/med" not in push.title + push.body


def test_an_sms_has_none(renderer: Renderer):
    """It is the same with a photo and without."""
    with_photo, without = render(renderer, "sms", "es"), render(renderer, "sms", "es", MISSING_CHILD)
    assert isinstance(with_photo, SmsMessage)
    assert with_photo == without


@pytest.mark.parametrize("channel", ["push", "mail"])
def test_the_end_of_an_alert_shows_no_photo(renderer: Renderer, channel: str):
    """A picture that was taken back is not sent again."""
    ended = Telling(occasion=Occasion.CLOSE, alerted_at=datetime(2026, 11, 24, 18, tzinfo=UTC))
    told = render(renderer, channel, "es", telling=ended)
    assert "med_" not in repr(told)


def test_an_own_text_keeps_the_photo(renderer: Renderer):
    """Whatever words an organisation chooses for its mails, the child is seen."""
    place = TextPlace("missing-child", "mail", "es", "body")
    mail = render(renderer, "mail", "es", own={place: read_text("Aviso: {{ who }}", place)})
    assert f'<img src="{SITE}/m/med_one?size=mail" alt="Lucía sonríe"' in mail.html
    assert f"Foto: Lucía sonríe\n{SITE}/m/med_one?size=mail" in mail.text


def test_without_photos_nothing_changes(renderer: Renderer):
    """No empty picture, no word of a photo."""
    for channel in Channel:
        assert "?size=" not in repr(render(renderer, channel, "es", MISSING_CHILD))


@pytest.mark.parametrize("language", Renderer(templates_dir()).all_languages)
@pytest.mark.parametrize("place", ["Santa Justa", "estación de autobuses de Santa Justa, junto al andén 14"])
def test_a_locked_phone_shows_the_safety_line_beside_the_photo(renderer: Renderer, language: str, place: str):
    """A small picture takes room from each row: the line still stands whole within four."""
    sample = changed(SAMPLE, "case/last_seen/place", {"es": place})
    body = render(renderer, "push", language, sample).body.split("\n")
    words = renderer.words(language)
    safety = words.words["safety"]["one"]["dial"].format(contact=words.isolate("116000"))
    upto = body[: body.index(safety) + 1]
    assert sum(rows(text, ROW_BESIDE_PHOTO) for text in upto) <= CLOSED_ROWS
