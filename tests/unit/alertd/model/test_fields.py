"""One person has one name among keys and authors, however it is spelled, and words for people can be seen."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from alertd.model.fields import MAX_SUBJECT, Subject, Words, folded_number, folded_subject, to_subject

SUBJECT = TypeAdapter(Subject)


@pytest.mark.parametrize(
    "spelled", [" ana@centre.example ", "ANA@Centre.example", "\uff41na@centre.example", "ana@centre.example\u00a0"]
)
def test_spellings_of_a_name_are_one_person(spelled: str):
    """Spaces around it, another letter case and compatibility forms make no second person."""
    assert folded_subject(SUBJECT.validate_python(spelled)) == folded_subject("ana@centre.example")
    assert folded_subject(spelled) == "ana@centre.example"  # also as a key of earlier days kept it


@pytest.mark.parametrize(
    "spelled",
    [
        "",
        "   ",
        "ana\n",
        "ana\u200b",
        "\u202eana",
        "a\U000e0041na",
        "ana\ufe0f",
        "\u3164",
        "a\ud800",
        "x" * (MAX_SUBJECT + 1),
    ],
)
def test_a_name_that_looks_like_another_is_refused(spelled: str):
    """Nothing empty, no control character and nothing that nobody sees."""
    with pytest.raises(ValidationError):
        SUBJECT.validate_python(spelled)


def test_a_name_is_kept_in_one_spelling():
    """Decomposed letters and runs of spaces become what everyone types."""
    assert to_subject(" Jose\u0301  Garci\u0301a ") == "José García"


@pytest.mark.parametrize("blank", ["\u200b", " \u2060 ", "\U000e0041\U000e0042", "\ufe0f", "\u3164"])
def test_words_that_nobody_sees_are_none(blank: str):
    """A child's name of invisible characters is no name."""
    with pytest.raises(ValidationError):
        TypeAdapter(type_of(Words(10))).validate_python(blank)


@pytest.mark.parametrize("words", ["Lucía", "لوسيا", "🚱", ".", "\u2066لوسيا\u2069"])
def test_words_of_any_script_are_words(words: str):
    """Text that needs marks of direction stays as it is."""
    assert TypeAdapter(type_of(Words(10))).validate_python(words) == words


def type_of(form: Words) -> object:
    """Text of that form."""
    return Annotated[str, form]


@pytest.mark.parametrize("spelled", ["DP 1234/2026", "dp  1234/2026 ", "\uff24P\u00a01234/2026", "DP\u200b 1234/2026"])
def test_two_spellings_of_a_case_number_are_one(spelled: str):
    """Capitals, spaces, forms of letters and what nobody sees make no other case of it; a digit does."""
    assert folded_number(spelled) == "dp 1234/2026"
    assert folded_number(spelled + "7") != "dp 1234/2026"
