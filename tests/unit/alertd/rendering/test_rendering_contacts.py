"""Whom people are told to call: what works where they are, and everything else that there is."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from alertd.common.resources import templates_dir
from alertd.model import rules
from alertd.model.alert import Alert, Status
from alertd.model.case import MAX_URL
from alertd.rendering import Renderer
from alertd.rendering.own_texts import TextPlace, read_text
from alertd.rendering.plaintext import FSI, PDI
from channels import fcm, webpush_message
from channels.base import Loudness, Stamp
from channels.text import fold, spelled_for_sms
from tests.unit.alertd.rendering.longest import LONGEST_CHILD
from tests.unit.alertd.rendering.usual import bare
from tests.unit.alertd.samples import MISSING_CHILD, changed

LANGUAGES = Renderer(templates_dir()).all_languages
STAMP = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.LOUD, language="en")
FRANCE, SPAIN = {"dial": "119", "countries": ["FR"]}, {"dial": "112", "countries": ["ES"]}
BOTH = {"dial": "112", "countries": ["ES", "FR"]}
PAGE = {"url": "https://centre.example/tell"}
FREE, WORLDWIDE = {"dial": "+34900123456"}, {"dial": "+80012345678"}
RELAY, SHORT_TEXT = {"dial": "+34915000001", "role": "deaf"}, {"text": "sms:112", "countries": ["ES"]}
ABROAD, DEAF = {"dial": "+34915000000", "role": "abroad"}, {"text": "sms:+34600000000", "role": "deaf"}


def alert_with(*contacts: dict[str, Any]) -> Alert:
    return Alert.model_validate_json(json.dumps(changed(MISSING_CHILD, "case/contact", list(contacts))))


def told(renderer: Renderer, alert: Alert, channel: str, language: str, *countries: str) -> str:
    message: Any = renderer.render(alert, channel=channel, language=language, stamp=STAMP, countries=countries)
    return str(message.body if channel == "push" else message.text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("channel", ["push", "sms", "mail"])
def test_the_number_in_the_safety_line_works_in_the_area(renderer: Renderer, channel: str, language: str):
    """Whichever comes first in the list; a number of another country would ring at nobody's, or at a stranger's."""
    for contacts in ((FRANCE, SPAIN), (SPAIN, FRANCE), (FRANCE, SPAIN, PAGE)):
        words = renderer.words(language)
        line = words.words["safety"]["one"]["dial"]
        text = told(renderer, alert_with(*contacts), channel, language, "ES")
        safe = line.format(contact=words.isolate("112"))
        assert safe in text or spelled_for_sms(safe) in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("channel", ["push", "sms", "mail"])
def test_a_link_stands_as_it_is(renderer: Renderer, channel: str, language: str):
    """Phones find links by themselves, and take a mark of direction that touches one for a part of it: it would lead nowhere."""
    for contacts in ((PAGE,), (SPAIN, PAGE)):
        text = told(renderer, alert_with(*contacts), channel, language, "ES")
        assert not re.search(f"{FSI}https:|https:\\S*{PDI}", text)
        assert PAGE["url"] in text or (contacts[0] is SPAIN and channel != "mail")


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_sms_has_its_links_letter_by_letter(renderer: Renderer, language: str):
    """Whatever else loses its accents and long dashes to stay cheap: without one of them a link leads nowhere."""
    page, news = "https://centre.example/tell", "https://town.example/ñ–í"
    document = changed(MISSING_CHILD, "case/children/0/name", {"public": "Inés Peña"})
    document = changed(document, "case/contact", [{"url": page}])
    document = changed(document, f"info/{language}", {"instruction": news})
    text = told(renderer, Alert.model_validate_json(json.dumps(document)), "sms", language)
    assert page in text
    assert news in fold(text)  # as the carriers take it


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_longest_address_stays_whole(renderer: Renderer, language: str):
    """In ASCII, and as the push services take it, below the longest alert: half of one leads nowhere."""
    case = {**LONGEST_CHILD["case"], "contact": [{"url": f"https://centre.example/niños–{'x' * 458}"}]}
    alert = Alert.model_validate_json(json.dumps({**LONGEST_CHILD, "case": case}))
    address = f"https://centre.example/ni%C3%B1os%E2%80%93{'x' * 458}"
    assert len(address) == MAX_URL
    assert address in told(renderer, alert, "sms", language)
    push: Any = renderer.render(
        alert, channel="push", language=language, stamp=STAMP, url=f"https://alerts.example.org/a/{'k' * 60}"
    )
    for sent in (fcm.encode(push), webpush_message.encode(push)):
        assert address.encode() in b"".join(sent.pieces)


@pytest.mark.parametrize(("contacts", "countries", "shown"), [
    ((FRANCE, PAGE), ("ES",), "https://centre.example/tell"),
    ((SPAIN, BOTH), ("ES", "FR"), "call 112"),
    ((FRANCE, ABROAD), ("ES",), "call +34915000000"),
    ((SPAIN, ABROAD), ("ES",), "call 112"),
    ((FRANCE, SPAIN), (), "call 119"),  # on the high sea nobody knows better than the sender
])  # fmt: skip
def test_a_contact_for_everywhere_goes_before_one_that_does_not_work(
    renderer: Renderer, contacts: Any, countries: tuple[str, ...], shown: str
):
    """A full number and an address work in every country."""
    safety = next(
        line
        for line in told(renderer, alert_with(*contacts), "push", "en", *countries).split("\n")
        if "approach" in line
    )
    assert shown in safety


@pytest.mark.parametrize(("contacts", "countries", "refused"), [
    ((FRANCE,), ("ES",), True), ((FRANCE, SPAIN), ("ES", "FR"), True), ((FRANCE, DEAF), ("ES",), True),
    ((FRANCE, SPAIN), ("ES",), False), ((SPAIN, PAGE), ("ES", "FR"), False), ((SPAIN, ABROAD), ("FR",), False),
    ((BOTH,), ("ES", "FR"), False), ((DEAF,), ("ES",), False), ((FRANCE,), (), False),
    ((FREE,), ("ES", "PT"), True), ((FREE,), ("ES",), False), ((FREE, ABROAD), ("ES", "PT"), False),
    (({**FREE, "role": "abroad"}, SPAIN), ("ES", "PT"), True), (({**FREE, "countries": ["ES", "PT"]},), ("ES", "PT"), False),
    ((WORLDWIDE,), ("ES", "PT"), False), ((BOTH, SHORT_TEXT), ("ES", "FR"), True), ((BOTH, SHORT_TEXT, DEAF), ("ES", "FR"), False),
    ((BOTH, SHORT_TEXT), ("ES",), False),
])  # fmt: skip
def test_an_area_in_which_no_contact_works_is_refused(contacts: Any, countries: tuple[str, ...], refused: bool):
    """Everybody must be able to use the one that the safety line names, and who cannot call one that is for them in each country; it is
    said where none works. A number that is not connected from abroad, though it is a full one, works at home, or where it says.
    """
    faults = rules.unreachable(alert_with(*contacts), countries)
    assert [fault.pointer for fault in faults] == ["/case/contact"] * refused
    assert all(countries[-1] in fault.detail for fault in faults)


@pytest.mark.parametrize(("contacts", "refused"), [
    ((SPAIN,), True), ((SPAIN, ABROAD), True), ((SPAIN, PAGE), False), ((SPAIN, DEAF), False), ((SPAIN, RELAY), False),
])  # fmt: skip
def test_who_cannot_call_can_answer(contacts: Any, refused: bool):
    """By a text, by a page, or by a number that is said to be for them; a Test needs none."""
    alert = alert_with(*contacts)
    assert [fault.pointer for fault in rules.voice_only(alert)] == ["/case/contact"] * refused
    assert rules.voice_only(alert.model_copy(update={"status": Status.TEST})) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mail_tells_every_contact(renderer: Renderer, language: str):
    """Each number and address that the sender gave, in the text and in the page, with whom it is for."""
    alert, words = alert_with(SPAIN, PAGE, ABROAD, DEAF, BOTH), renderer.words(language)
    mail: Any = renderer.render(alert, channel="mail", language=language, stamp=STAMP, countries=("ES",))
    for text in (bare(mail.text), bare(html.unescape(mail.html))):
        for value in ("112", "https://centre.example/tell", "+34915000000", "+34600000000"):
            assert value in text
        for label in (words.words["label"]["url"], *words.codes("role").values()):
            assert label in text
    for href in ("https://centre.example/tell", "tel:+34915000000", "sms:+34600000000"):
        assert f'href="{href}"' in mail.html


def test_a_number_of_elsewhere_says_where_it_works(renderer: Renderer):
    """Nobody dials the neighbours' number because it stood below an alert."""
    mail: Any = renderer.render(
        alert_with(FRANCE, SPAIN), channel="mail", language="de", stamp=STAMP, countries=("ES",)
    )
    assert "119 anrufen (Frankreich)" in mail.text
    assert "119 anrufen</a> (Frankreich)" in mail.html
    assert "Spanien" not in mail.text


@pytest.mark.parametrize("channel", ["push", "webpush", "sms", "mail"])
def test_a_preview_names_the_contacts_that_nobody_is_told(renderer: Renderer, channel: str):
    """A short message has room for one; the operator sees which others are in the mail alone."""
    alert = alert_with({"dial": "116000", "countries": ["ES"]}, PAGE, ABROAD)
    preview = renderer.preview(alert, channel=channel, language="es", stamp=STAMP, countries=("ES",))
    dropped = [name for name in preview.left_out if name.startswith("contact")]
    others = ["contact +34915000000", "contact https://centre.example/tell"]
    assert dropped == ([] if channel == "mail" else others)


def test_own_words_keep_the_contacts(renderer: Renderer):
    """Whatever an organisation says in its mails, everybody can answer."""
    place = TextPlace("missing-child", "mail", "es", "body")
    own = {place: read_text("Aviso: {{ who }}", place)}
    mail: Any = renderer.render(alert_with(SPAIN, PAGE), channel="mail", language="es", stamp=STAMP, own=own)
    assert "https://centre.example/tell" in mail.text
    assert 'href="https://centre.example/tell"' in mail.html
