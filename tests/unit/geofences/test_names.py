"""Names are found as people write them."""

from __future__ import annotations

import numpy as np
import pytest

from geofences.names import PART, SAME, SLIP, STARTS, WORD, NameIndex, fold

PLACES = [
    ("Sevilla", "Seville", "إشبيلية"),
    ("Dos Hermanas",),
    ("Zürich",),
    ("L'Hospitalet de Llobregat",),
    ("Łódź",),
    ("Sevilla la Nueva",),
    ("El Cuervo de Sevilla",),
    ("Å",),
    ("41091",),
]
INDEX = NameIndex(PLACES)
ALL = np.ones(len(PLACES), np.bool_)


def found(text, allowed=ALL):
    return {PLACES[thing][0]: close for thing, close in INDEX.find(text, allowed).items()}


@pytest.mark.parametrize(
    ("written", "meant", "close"),
    [
        ("SEVILLE", "Sevilla", SAME),
        ("إشبيلية", "Sevilla", SAME),
        ("zurich", "Zürich", SAME),
        ("lodz", "Łódź", SAME),
        ("l hospitalet", "L'Hospitalet de Llobregat", STARTS),
        ("llobregat", "L'Hospitalet de Llobregat", WORD),
        ("mana", "Dos Hermanas", PART),
        ("do", "Dos Hermanas", STARTS),
        ("a", "Å", SAME),
    ],
)
def test_a_name_is_found_by_its_words_their_beginning_and_their_middle(written, meant, close):
    """Without case and accents, in any of its languages, whole or in part, and it is known how close it is."""
    assert found(written)[meant] == close


@pytest.mark.parametrize(
    ("written", "meant", "slips"),
    [
        ("sevila", "Sevilla", 1),
        ("zurihc", "Zürich", 1),
        ("dos hremanaz", "Dos Hermanas", 2),
        ("hospitelet", "L'Hospitalet de Llobregat", 1),
    ],
)
def test_a_slip_is_forgiven(written, meant, slips):
    """A letter too few, too many, another or swapped; two in a long name; in the whole name or in one of its words."""
    assert found(written)[meant] == SLIP + slips


@pytest.mark.parametrize("written", ["", "  ", "qqqqq", "seviyya", "41092", "lod"[:2] + "x"])
def test_what_is_no_name_finds_nothing(written):
    """Nothing, something else, too many slips, another number, or a slip in what is too short for one."""
    assert found(written) == {}


def test_slips_are_for_those_who_find_nothing_else():
    """Whoever writes a name rightly is not offered what is merely like it."""
    index = NameIndex([("Sevilla",), ("Sevilia",)])
    assert index.find("sevilla", np.ones(2, np.bool_)) == {0: SAME}


def test_only_what_is_allowed_is_found():
    """What is left out is not found, by a slip either."""
    assert found("sevilla", ~ALL) == found("sevila", ~ALL) == {}


def test_an_index_of_nothing_finds_nothing():
    """No names are no fault."""
    assert NameIndex([]).find("sevilla", np.ones(0, np.bool_)) == {}


def test_folding_is_the_same_for_plain_and_other_letters():
    """A text is compared alike, whichever way it was written."""
    assert fold("  L’HOSPITALET   de-Llobregat ") == fold("l'hospitalet de llobregat") == "l hospitalet de llobregat"
