"""What people answer, and what they do not mean by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.smpp.words import BY_LANGUAGE, Word, meaning, words

ALL = words(BY_LANGUAGE)


@pytest.mark.parametrize(
    "text",
    ["Stop.", "STOP\nSent from my phone", "\r\n stop\r\n", "ＳＴＯＰ", "STOP SMS", "STOP 36180", "Please stop", "Stop it now", "stop all alerts",
     "Unsubscribe me please", "STOP please stop", "BAJA", "BAJA SMS", "PARE", "Pare!", "NO MÁS", "BASTA YA", "Arrêt", "СТОП", "RET", "退订", "إيقاف"],
)  # fmt: skip
def test_a_stop_is_heard(text: str):
    """In one's own words and way of writing, whatever a phone writes below."""
    assert meaning(text, ALL) is Word.STOP


@pytest.mark.parametrize(
    "text", ["START", "Start\nSent from my phone", "unstop", "Empezar", "démarrer", "старт", "订阅"]
)
def test_a_start_is_heard(text: str):
    """As carriers print it."""
    assert meaning(text, ALL) is Word.START


@pytest.mark.parametrize(
    "text",
    ["Fine", "fine.", "Alto", "Alta", "alto, con barba", "T", "Dur", "Ja", "Yes", "Sí", "si", "Oui", "Sim", "Tak", "Так", "Evet", "نعم", "أبداً", "हाँ",
     "Stop Atocha", "Baja Triana", "Arrêt Opéra", "Stopp Hbf", "bus stop", "don't stop", "We saw her at the end of the road", "I saw her\nSTOP",
     "please", "36180", "", "\n"],
)  # fmt: skip
def test_an_answer_about_the_child_changes_nothing(text: str):
    """In whatever language it is written, all languages' words count: a "Fine" from Spain is no Italian's STOP."""
    assert meaning(text, ALL) is None


def test_a_carrier_s_own_words_come_first():
    """Where its country prints a word that is not here."""
    own = words(["zh", "es"], {"T": Word.STOP, "Alta": Word.START})
    assert (meaning("t", own), meaning("ALTA", own)) == (Word.STOP, Word.START)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("STOP", Word.STOP),
        (" stop. ", Word.STOP),
        ("Opt-out!", Word.STOP),
        ("OPT OUT", Word.STOP),
        ("stop 36180", Word.STOP),
        ("Please STOP", Word.STOP),
        ("Arrêt", Word.STOP),
        ("¡Baja!", Word.STOP),
        ("İPTAL", Word.STOP),
        ("Стоп", Word.STOP),
        ("إلغاء", Word.STOP),
        ("बंद", Word.STOP),
        ("退订", Word.STOP),
        ("Help?", Word.HELP),
        ("Ayuda", Word.HELP),
        ("Empezar", Word.START),
        ("We saw her at the end of the road", None),
        ("the bus stop", None),
        ("bus stop", None),
        ("don’t stop", None),
        ("es baja", None),
        ("I can help you find him", None),
        ("", None),
        ("?!", None),
    ],
)
def test_answers_are_understood(text, word):
    """The whole of a line counts, so that what people have seen is no STOP."""
    assert meaning(text, words(BY_LANGUAGE)) is word


@pytest.mark.parametrize("language", BY_LANGUAGE)
def test_every_language_can_stop_ask_and_come_back(language):
    """And English STOP counts everywhere; the carrier's own words come first."""
    known = words([language], {"Q": Word.STOP, "help": Word.STOP})
    assert set(known.values()) == set(Word)
    assert meaning("stop", known) is Word.STOP
    assert meaning("q", known) is meaning("HELP", known) is Word.STOP


@given(st.text(max_size=40))
def test_whatever_people_write_has_a_meaning_or_none(text):
    """Reading never fails."""
    assert meaning(text, words(BY_LANGUAGE)) in {*Word, None}
