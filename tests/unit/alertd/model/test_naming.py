"""People are taken out of texts by their names, and nothing else is."""

from __future__ import annotations

import json
import unicodedata

import pytest

from alertd.model.alert import Alert
from alertd.model.case import Name
from alertd.model.presumption_of_innocence import sought_in, without_sought
from alertd.model.redaction import TEXTS, dashed, names_any, pattern_of, pattern_of_words, without
from tests.unit.alertd.samples import MISSING_CHILD, changed


def sought(name: str, **more: object) -> Alert:
    """An alert that seeks somebody, with more in its child."""
    document = changed(MISSING_CHILD, "case/persons_sought", [{"name": {"public": name}}])
    document["case"]["children"][0] |= more
    return Alert.model_validate_json(json.dumps(document))


def test_who_has_the_name_of_a_place_is_forgotten_and_the_alert_can_be_read():
    """A time zone, an address and a code are no texts: they stay, whoever has such a name."""
    document = changed(MISSING_CHILD, "case/persons_sought", [
        {"name": {"public": one}} for one in ("Europe", "Madrid", "human", "centre", "c1", "Policía Nacional")
    ])  # fmt: skip
    document = changed(document, "case/last_seen/place", {"es": "Madrid"})
    alert = Alert.model_validate_json(json.dumps(document))
    less = without_sought(alert, sought_in([alert]))
    assert Alert.model_validate_json(less.model_dump_json(by_alias=True)) == less
    assert less.case == alert.case.model_copy(
        update={
            "persons_sought": (),
            "last_seen": alert.case.last_seen and alert.case.last_seen.model_copy(update={"place": {"es": "–"}}),
        }
    )
    assert (less.info, less.author) == (alert.info, alert.author)


def test_a_text_that_can_no_longer_be_read_is_forgotten_whole():
    """It was taken under another rule: no name is kept for that, and the rest of the child is."""
    long = {"es": "con Ana " + "x" * 600}
    alert = sought("Ana")
    [child] = alert.case.children
    case = alert.case.model_copy(update={"children": (child.model_copy(update={"clothing": long}),)})
    less = without_sought(alert.model_copy(update={"case": case}), sought_in([alert]))
    assert less.case.children == (child.model_copy(update={"clothing": {}}),)
    assert Alert.model_validate_json(less.model_dump_json(by_alias=True)) == less


def test_all_an_alert_says_is_looked_through():
    """Each text for people: what the child wears and is known by, what a photo shows, the place, and what the sender says."""
    photo = {"media": "med_0000000000", "alt": {"es": "con Jan K."}}
    alert = sought("Jan K.", clothing={"es": "de Jan K."}, marks={"es": "Jan K."}, photos=[photo])
    document = json.loads(alert.model_dump_json(by_alias=True))
    document = changed(document, "case/last_seen/place/es", "casa de Jan K.") | {
        "event": "Jan K. huye",
        "senderName": "Por Jan K.",
        "info": {"es": {"headline": "Jan K.", "description": "Jan K.", "instruction": "Jan K."}},
    }
    less = without_sought(Alert.model_validate_json(json.dumps(document)), sought_in([alert]))
    said = less.model_dump_json(by_alias=True, exclude={"case": {"persons_sought"}})
    assert "Jan" not in said
    assert said.count("–") == len(TEXTS) + 2


@pytest.mark.parametrize(("name", "text", "left"), [
    ("Ana", "Susana salió por la mañana con Ana, no en ana_x.", "Susana salió por la mañana con –, no en –_x."),
    ("Agustín R.", "Agustin R., AGUSTÍN R. y Agustín R", "–, – y –"),
    ("Agustin R", "Va con Agustín R.", "Va con –."),
    ("Agustín R.", unicodedata.normalize("NFD", "el niño y Agustín R."), unicodedata.normalize("NFD", "el niño y –")),
    ("Jan K.", "jan  k. y Jan-K. y\u2068Jan\u00ad K.\u2069: Jan Kovač", "– y – y\u2068–\u2069: Jan Kovač"),
    ("Łukasz Groß", "LUKASZ GROSS, Łukasz Großmann", "–, Łukasz Großmann"),
    ("Işıl", "IŞIL ve Işıl'in evi", "– ve –'in evi"), ("Peter Müller", "Peter Müllers Auto, Peter Müllerson", "– Auto, Peter Müllerson"),
    ("李明", "穿红衣的李明走失", "穿红衣的–走失"), ("지민", "지민은 왔다", "–은 왔다"), ("지", "진 온다", "– 온다"),
    ("علي", "وعلي هنا", "و– هنا"), ("राम", "राम। रामू और राम", "–। रामू और –"),
    ("☆", "☆ a ☆", "☆ a ☆"),
])  # fmt: skip
def test_a_name_is_found_as_people_write_it(name: str, text: str, left: str):
    """As whole words where a script has words, whatever its capitals, accents and spaces; what is beside it stays as it was written."""
    assert dashed(text, pattern_of([Name(public=name)])) == left


@pytest.mark.parametrize(("plate", "text", "left"), [
    ("1234 BCD", "1234-bcd o 1234BCD, no 91234BCD ni 1234BCDE", "– o –, no 91234BCD ni 1234BCDE"),
    ("品川330あ12", "車は品川 330 あ 12です", "車は–です"), ("-", "a - b", "a - b"),
])  # fmt: skip
def test_a_plate_is_found_however_it_is_spaced(plate: str, text: str, left: str):
    """And a longer one is another."""
    assert dashed(text, pattern_of([], [plate])) == left


@pytest.mark.parametrize(("name", "text", "left"), [
    ("Lucía P.", "delante de casa de LUCIA, y de Lucía P.", "delante de casa de –, y de –"),
    ("María del Mar Ó.", "Plaza del Duque, frente al Mar de María", "Plaza del Duque, frente al – de –"),
    ("lucía pérez", "casa de Pérez", "casa de –"), ("李明", "李明家", "–家"), ("P.", "P. Sol", "– Sol"), ("강 하늘", "강남역, 강 하늘 집", "강남역, – 집"),
])  # fmt: skip
def test_any_word_of_a_name_names_a_child(name: str, text: str, left: str):
    """But not what joins them, nor a letter alone, unless that is all it is called by."""
    names = pattern_of_words([Name(public=name)])
    assert dashed(text, names) == left
    assert names_any(text, names)


def test_where_nobody_is_named_nothing_changes():
    """Not even the order of what there is."""
    alert = sought("Jan K.")
    assert without(alert.case, None) is alert.case
    assert dashed("a", None) == "a"
    assert not names_any("a", None)
