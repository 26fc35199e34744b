from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from jinja2 import TemplateError

from alertd.common.resources import templates_dir
from alertd.model.alert import Alert
from alertd.model.case import ContactRole
from alertd.model.kinds import KINDS, Criterion, Eyes, Hair, Level, Sex
from alertd.rendering import Renderer, UnsafeMessageError, choose_language
from alertd.rendering.plaintext import clip, line
from alertd.rendering.renderer import MAX_PUSH_BYTES, MAX_SEGMENTS_GSM, MAX_SEGMENTS_UCS2
from channels.base import Loudness, MailMessage, Message, PushMessage, SmsMessage
from channels.text import is_gsm, segments, spelled_for_sms
from tests.unit.alertd.rendering.longest import (
    CHANNELS,
    CHILD,
    INJECTION,
    LANGUAGES,
    LONGEST_CHILD,
    LONGEST_GENERAL,
    SECRETS,
    SOUGHT,
    parts,
)
from tests.unit.alertd.rendering.usual import URL, render
from tests.unit.alertd.samples import as_sent

SAMPLES = {
    "missing-child": {**LONGEST_CHILD, "case": {**LONGEST_CHILD["case"], **SOUGHT}},
    "general": LONGEST_GENERAL,
}


def changed(sample: dict[str, Any], **top: Any) -> Alert:
    return Alert.model_validate_json(json.dumps({**sample, **top}))


def case_changed(**case: Any) -> Alert:
    return changed(LONGEST_CHILD, case={**LONGEST_CHILD["case"], **case})


@pytest.fixture(params=[(k, c, lang) for k in SAMPLES for c in CHANNELS for lang in LANGUAGES], ids="-".join)
def longest(request: pytest.FixtureRequest, renderer: Renderer) -> tuple[str, str, Message]:
    kind, channel, language = request.param
    return kind, language, render(renderer, changed(SAMPLES[kind]), channel, language)


def test_the_safety_line_stands_in_every_message(longest: Any, renderer: Renderer) -> None:
    """Whatever the kind, channel, language and length, people read to keep away and whom to call."""
    kind, language, message = longest
    form = renderer.words(language).words["safety"]
    expected = form["general"]["text"] if kind == "general" else form["one"]["dial"].format(contact="116000")
    shown = parts(message)[1:] if not isinstance(message, SmsMessage) else parts(message)
    for text in shown:
        bare = text.replace("\u2068", "").replace("\u2069", "")
        assert expected in bare or spelled_for_sms(expected) in bare


def test_nothing_internal_is_told(longest: Any) -> None:
    """The case file stays closed: no exact point, number, verification, author or legal basis."""
    _, _, message = longest
    for text in parts(message):
        assert not [secret for secret in SECRETS if secret in text]
        assert "Undefined" not in text


def test_a_drill_says_so_first(longest: Any, renderer: Renderer) -> None:
    """Title, subject and SMS begin with the mark of a test, and the stamp says the same to apps."""
    kind, language, message = longest
    mark = renderer.words(language).words["mark"][kind]["Test" if kind == "general" else "Exercise"]
    assert parts(message)[0].startswith((mark, spelled_for_sms(mark)))
    assert message.stamp.test


def test_alert_text_is_data(longest: Any) -> None:
    """What looks like a template or like HTML in an alert comes out as it was written."""
    kind, language, message = longest
    for text in parts(message):
        assert "49 " not in text
    if isinstance(message, MailMessage):
        assert "\n" not in message.subject
        assert INJECTION.replace("  ", " ") in message.text
        assert "<script>" not in message.html
        assert "&lt;script&gt;" in message.html
        assert f'lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}"' in message.html
    assert kind in SAMPLES


def test_short_messages_stay_short(longest: Any) -> None:
    """A push fits any carrier's payload and an SMS its segments; name, place and link are still there."""
    kind, language, message = longest
    if isinstance(message, PushMessage):
        assert len((message.title + message.body).encode()) <= MAX_PUSH_BYTES
        assert message.url == URL
    if isinstance(message, SmsMessage):
        text = as_sent(message)
        assert segments(text)[1] <= (MAX_SEGMENTS_GSM if is_gsm(text) else MAX_SEGMENTS_UCS2)
        assert message.text.endswith(URL)
    if kind == "missing-child":
        shown = "\n".join(parts(message))
        name = "لوسيا ماريا" if language == "ar" else "Lucía María"
        assert name in shown or spelled_for_sms(name) in shown
        assert "autobuses de Santa Justa" in shown


def test_nobody_who_is_sought_is_respelled(renderer: Renderer) -> None:
    """Neither the child nor who may be with it: people look for a name. Who is not named for lack of room costs nothing."""
    child = {"id": "c1", "name": {"public": "Ana P."}, "age": {"years": 7}}
    for said, named in (("", True), ("tall " * 30, False)):
        sought = [{"name": {"public": "Agustín R."}, "description": {"en": said} if said else {}}] * 2
        text = as_sent(render(renderer, case_changed(children=[child], persons_sought=sought), "sms", "en"))
        assert ("Agustín R." in text, is_gsm(text)) == (named, not named)


def test_an_sms_in_latin_letters_is_spelled_in_gsm(renderer: Renderer) -> None:
    """Accents and ornaments would more than double the price of each segment, so they are left out."""
    alert = case_changed(children=[{**CHILD, "name": {"public": "Łucja"}}], number="SE-2026-117")
    assert "Łucja" in as_sent(
        render(renderer, alert, "sms", "es")
    )  # Ł has no plain form: it stays, and so do the others
    accented = case_changed(children=[{**CHILD, "name": {"public": "Lucía Çelik"}}])
    assert "Lucía Çelik" in as_sent(render(renderer, accented, "sms", "es"))  # a name is what people look for
    plain = case_changed(children=[{**CHILD, "name": {"public": "Inés Peña"}}])
    text = as_sent(render(renderer, plain, "sms", "es"))
    assert "Inés Peña" in text
    assert "Ultimo avistamiento" in text
    assert segments(text)[0] == segments("a")[0]
    assert segments(text)[1] <= 3


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_name_is_the_same_however_its_accents_were_written(renderer: Renderer, channel: str) -> None:
    """Some keyboards write a letter and its accent as two characters: no phone has them in its alphabet, and the SMS would cost double."""
    composed, apart = (
        case_changed(children=[{**CHILD, "name": {"public": normalize(form, "André Muñoz")}}], last_seen=None)
        for form in ("NFC", "NFD")
    )
    assert render(renderer, apart, channel, "en") == render(renderer, composed, channel, "en")


def test_facts_are_dropped_least_important_first(renderer: Renderer) -> None:
    """The tighter it gets, the more goes, and always in the same order: what people see from afar stays longest."""
    in_order = ("صالحة حتى", "عينان", "الطول", "شعر", "طفلة", "علامات", "الملابس", "13:40")
    seen = set()
    for length in range(1, 160, 8):
        child = {
            **CHILD,
            "clothing": {"ar": "م" * length},
            "name": {"public": "ل" * min(length, 40)},
            "marks": {"ar": "ندبة"},
        }
        text = render(renderer, case_changed(children=[child]), "sms", "ar").text
        told = tuple(fact in text for fact in in_order)
        assert told == tuple(sorted(told))
        seen.add(told)
    assert len(seen) >= 3


def test_a_missing_translation_drops_that_fact_alone(renderer: Renderer) -> None:
    """A French reader gets everything but the clothing that nobody described in French; the place stays."""
    alert = case_changed(children=[{**CHILD, "clothing": {"es": "abrigo rojo"}}])
    spanish, french = (render(renderer, alert, "mail", language).text for language in ("es", "fr"))
    assert "Ropa: abrigo rojo" in spanish
    assert "Vêtements" not in french
    assert "abrigo" not in french
    assert "yeux verts" in french
    assert "Santa Justa" in french


@pytest.mark.parametrize("channel", ["push", "sms", "mail"])
def test_whom_and_what_the_child_may_be_with_is_told(renderer: Renderer, channel: str) -> None:
    """In neutral words: the marks of the child, the vehicle with its plate, and who is sought; the legal basis stays inside."""
    child = {"id": "c1", "name": {"public": "Inés"}, "marks": {"en": "scar on the chin"}}
    sought = {"name": {"public": "Jan K."}, "sex": "male", "description": {"en": "tall"}, "legal_basis": "LEGALX"}
    van = {"description": {"en": "white van"}, "plate": "1234 BCD", "country": "ES", "legal_basis": "LEGALX"}
    bare = changed({**LONGEST_CHILD, "info": {}, "status": "Actual"}, case={
        **LONGEST_CHILD["case"], "children": [child], "persons_sought": [sought], "vehicles": [van]})  # fmt: skip
    for text in parts(render(renderer, bare, channel, "en"))[-2 if channel == "mail" else -1 :]:
        bare_text = text.replace("\u2068", "").replace("\u2069", "").replace("</strong>", "")
        assert "Distinguishing marks: scar on the chin" in bare_text
        assert "Vehicle: white van, 1234 BCD (Spain)" in bare_text
        assert "May be with: Jan K., man, tall" in bare_text


def test_a_time_names_its_zone(renderer: Renderer) -> None:
    """Times are those of the clocks where the child was seen, with the zone's name or offset."""
    assert "24 November 2026, 13:40\u00a0UTC-03:00" in render(renderer, case_changed(), "mail", "en").text
    seen = {**LONGEST_CHILD["case"]["last_seen"], "time_zone": "Europe/Madrid"}
    assert "24 November 2026, 17:40\u00a0CET" in render(renderer, case_changed(last_seen=seen), "mail", "en").text


@pytest.mark.parametrize(("age", "shown"), [
    ({"years": 0}, "أقل من سنة"), ({"years": 1}, "سنة واحدة"), ({"years": 2}, "سنتان"), ({"years": 10}, "10 سنوات"),
    ({"years": 11}, "11 سنة"), ({"months": 3}, "3 أشهر"),
])  # fmt: skip
def test_ages_have_their_plural(renderer: Renderer, age: dict[str, int], shown: str) -> None:
    """Arabic has six forms; each number gets its own."""
    assert shown in render(renderer, case_changed(children=[{**CHILD, "age": age}]), "push", "ar").title


@pytest.mark.parametrize(("contacts", "shown"), [
    ([{"url": "https://centre.example/tell"}, {"text": "sms:+34600000000", "role": "deaf"}], "https://centre.example/tell"),
    ([{"text": "sms:+34600000000"}], "text +34600000000"),
    ([{"url": "https://centre.example/tell"}, {"dial": "+34915000000", "role": "abroad"}], "call +34915000000"),
])  # fmt: skip
def test_the_contact_is_one_most_people_can_use(renderer: Renderer, contacts: Any, shown: str) -> None:
    """A number to call comes first; where there is none, the address or number that there is."""
    body = render(renderer, case_changed(contact=contacts), "push", "en").body
    assert shown in "\n".join(body.split("\n")[:2])


def test_a_protected_name_leaves_sex_and_age(renderer: Renderer) -> None:
    """A child without a public name, and a case without a place, still make a whole message."""
    nameless = {"id": "c1", "age": {"years": 7}, "sex": "male"}
    alert = changed(LONGEST_CHILD, status="Actual", case={
        "number": "x", "children": [nameless], "contact": [{"dial": "+34915000000"}]})  # fmt: skip
    assert render(renderer, alert, "push", "en").title == "URGENT – CHILD ALERT: boy, 7 years old"
    for channel in CHANNELS:
        assert "+34915000000" in "\n".join(parts(render(renderer, alert, channel, "ar")))


def test_twenty_children_fit(renderer: Renderer) -> None:
    """Those who cannot be named are counted, and the safety line speaks of several."""
    case = {**LONGEST_CHILD["case"], "children": [{**CHILD, "id": f"c{n}"} for n in range(20)]}
    alert = changed(LONGEST_CHILD, level="endangered", case=case)
    push = render(renderer, alert, "push", "en")
    assert "and 17 more" in push.title
    assert "Missing children in danger" in push.title
    assert "any of them" in push.body
    assert len((push.title + push.body).encode()) <= MAX_PUSH_BYTES
    mail = render(renderer, alert, "mail", "en")
    assert mail.subject.endswith("; and 17 more")
    assert mail.text.count("\nWearing: ") == mail.html.count("Wearing: ") == 20


def test_level_and_loudness_change_the_words(renderer: Renderer) -> None:
    """An appeal does not shout; only what is sent loud calls itself urgent."""
    titles = {
        (level, loudness): render(renderer, changed(LONGEST_CHILD, status="Actual", level=level), "push", "en", loudness).title
        for level in (Level.CHILD_ALERT, Level.ENDANGERED, Level.APPEAL)
        for loudness in Loudness
    }  # fmt: skip
    assert titles[Level.CHILD_ALERT, Loudness.LOUD].startswith("URGENT – CHILD ALERT: ")
    assert titles[Level.CHILD_ALERT, Loudness.NORMAL].startswith("CHILD ALERT: ")
    assert titles[Level.ENDANGERED, Loudness.NORMAL].startswith("Missing child in danger: ")
    assert titles[Level.APPEAL, Loudness.SILENT].startswith("Missing child: ")


def test_every_coded_fact_has_words_in_every_language(renderer: Renderer) -> None:
    """A code that the model takes never breaks a message."""
    for language in LANGUAGES:
        words = renderer.words(language)
        for field, codes in {
            "hair": Hair,
            "eyes": Eyes,
            "sex": Sex,
            "person": Sex,
            "role": ContactRole,
            "criterion": Criterion,
        }.items():
            assert set(words.codes(field)) == {code.value for code in codes}
        for kind, levels in KINDS.items():
            assert set(words.words["title"][kind.value]) == {level.value for level in levels}


def test_languages_of_an_alert(renderer: Renderer) -> None:
    """The sender's own come first; a general alert has no others, a missing child is told in all."""
    info = {
        "ja": {"headline": "x", "description": "x"},
        "es-MX": {"headline": "x", "description": "x"},
        "fr": {"headline": "x"},
    }
    assert renderer.languages(changed(LONGEST_GENERAL, info=info)) == ("es-MX",)
    assert renderer.languages(changed(LONGEST_CHILD, info=info)) == (
        "es-MX", "fr", "en", *(tag for tag in LANGUAGES[1:] if tag != "fr"),
    )  # fmt: skip
    assert render(renderer, changed(LONGEST_GENERAL, info=info), "mail", "es-MX").stamp.language == "es-MX"


def test_a_regional_language_has_its_own_text(renderer: Renderer) -> None:
    """Mexicans read what was written for them, with the words of the Spanish catalogue around it."""
    info = {tag: {"headline": tag, "description": f"texto {tag}."} for tag in ("es", "es-MX")}
    for tag in info:
        message = render(renderer, changed(LONGEST_GENERAL, info=info), "mail", tag)
        assert f"\ntexto {tag}.\n" in message.text
        assert "Recibe este mensaje" in message.text


@pytest.mark.parametrize(("wanted", "chosen"), [
    (("fr", "en"), "fr"), (("ar-EG",), "ar"), (("en-GB", "es"), "en"), (("de",), "es"), ((), "es"),
])  # fmt: skip
def test_a_reader_gets_the_nearest_language(wanted: tuple[str, ...], chosen: str) -> None:
    """Exact tag, base language, the alert's own first language."""
    assert choose_language(wanted, ("es", "en", "fr", "ar")) == chosen


@pytest.mark.parametrize(("path", "text", "error"), [
    ("messages/general/mail/en.body.html", "<p>nothing</p>", UnsafeMessageError),
    ("messages/general/mail/en.body.html", "</header>{{ facts.point }}", TemplateError),
    ("messages/general/mail/en.body.txt", "{{ facts.__class__.__mro__ }}", TemplateError),
])  # fmt: skip
def test_a_bad_template_sends_nothing(tmp_path: Path, path: str, text: str, error: type[Exception]) -> None:
    """No room for the safety line, an unknown fact or a way out of the sandbox: an error, and no message."""
    copy = Path(shutil.copytree(templates_dir(), tmp_path / "templates"))
    (copy / path).write_text(text)
    with pytest.raises(error):
        render(Renderer(copy), changed(LONGEST_GENERAL), "mail", "en")


def test_a_template_cannot_leave_the_safety_line_out_of_a_text(tmp_path: Path) -> None:
    """An SMS template that says nothing but what it is still warns."""
    copy = Path(shutil.copytree(templates_dir(), tmp_path / "templates"))
    (copy / "messages/general/sms/en.text.txt").write_text("{{ facts.heading }}")
    assert "Do not put yourself in danger" in render(Renderer(copy), changed(LONGEST_GENERAL), "sms", "en").text


@pytest.mark.parametrize("path", ["messages/general/sms/text.txt", "catalogue/en.toml"])
def test_a_broken_installation_is_found_at_the_start(tmp_path: Path, path: str) -> None:
    """A missing file is an error before the first alert, not during it."""
    copy = Path(shutil.copytree(templates_dir(), tmp_path / "templates"))
    (copy / path).unlink()
    with pytest.raises((KeyError, ValueError)):
        Renderer(copy)


def test_text_is_cut_between_words_and_kept_in_its_direction(renderer: Renderer) -> None:
    """Short stays as it is, long ends in an ellipsis, and only what runs the other way is isolated."""
    assert clip("one two three", 13) == "one two three"
    assert clip("one two three", 10) == "one two…"
    assert clip("Seen near the station. An old man saw her", 30) == "Seen near the station…"
    assert clip("She went along the river by the old mill", 34) == "She went along the river…"
    assert clip("She has been gone since then… and no one knows", 33) == "She has been gone since then…"
    assert clip("Call whoever is at the station, +34 915 000 000, at any hour", 42) == "Call whoever is at the station…"
    assert clip("Call whoever is at the station, +34 915 000 000, at any hour", 48) == "Call whoever is at the station…"
    assert clip(f"Seen her? Write to https://centre.example/tell/{'x' * 80}", 70) == "Seen her? Write to…"
    assert clip("Llame sin falta al telefono 915 000\u2011123 hoy mismo", 36) == "Llame sin falta al telefono…"
    for one, limit in itertools.product(("ल्ली", "👨\u200d👩\u200d👧", "🇪🇸"), range(20, 32)):
        assert clip(one * 20, limit) == one * ((limit - 1) // len(one)) + "…"
    assert line("a\u2069b \n c\u202e") == "ab c"
    assert line("\u2066+34\u2069") == "\u2066+34\u2069"
    assert renderer.words("ar").isolate("+34") == "\u2068+34\u2069"
    assert renderer.words("es").isolate("+34") == "+34"
    assert renderer.words("es").isolate("لوسيا") == "\u2068لوسيا\u2069"
