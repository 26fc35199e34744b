"""Who is sought is called guilty in no spelling of the word."""

from __future__ import annotations

import unicodedata

import pytest

from alertd.model.presumption_of_innocence import GUILT, calls_guilty


@pytest.mark.parametrize("language", GUILT)
def test_a_word_is_known_however_it_is_written(language: str):
    """In capitals, and with its accents apart as some keyboards write them."""
    for word in GUILT[language]:
        capitals = word.replace("i", "İ").upper() if language == "tr" else word.upper()
        for written in (word, word.capitalize(), capitals, word.upper(), unicodedata.normalize("NFD", word)):
            assert calls_guilty(f"42. {written}!", language), written


@pytest.mark.parametrize(("text", "language"), [
    ("Bıyıklı, uzun boylu", "tr"), ("cheveux bruns, manteau délavé", "fr"), ("barba, ojos claros", "es"), ("tall, red coat", "en"),
])  # fmt: skip
def test_looks_are_told(text: str, language: str):
    """What somebody looks like calls them nothing."""
    assert not calls_guilty(text, language)
