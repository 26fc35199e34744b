"""What is left of an alert whose facts are taken out of it."""

from __future__ import annotations

import json

from alertd.model.alert import Alert
from alertd.model.redaction import restricted
from tests.unit.alertd.samples import MISSING_CHILD, changed

PHOTO = {"media": "med_0000000000", "alt": {"es": "Lucía sonríe"}}
FULL = changed(
    changed(changed(MISSING_CHILD, "case/children/0/photos", [PHOTO]), "event", "Lucía P."),
    "case/vehicles", [{"plate": "1234 BCD", "country": "ES"}],
)  # fmt: skip
FULL["senderName"] = "Police, for Lucía P."


def test_of_a_child_age_and_sex_are_left():
    """And of the case what people need to help, and what is internal; every free text goes, its languages stay."""
    whole = Alert.model_validate_json(json.dumps(FULL))
    alert = restricted(whole)
    left = json.loads(alert.model_dump_json(exclude_defaults=True, by_alias=True))
    assert left["case"]["children"] == [{"id": "c1", "age": {"years": 7}, "sex": "female"}]
    assert left["case"].keys() == {"number", "verification", "best_interests", "children", "last_seen", "contact"}
    assert left["info"] == {"es": {}, "en": {"source": "reviewed"}}
    assert not left.keys() & {"event", "senderName"}
    assert left["target"] == json.loads(whole.model_dump_json(exclude_defaults=True))["target"]


def test_where_she_was_seen_is_told_without_her_name():
    """A place may be called by who lives there; the rest of it is what people need to look for her."""
    places = {"es": "Sevilla, delante de casa de LUCIA Pérez", "ar": "قرب بيت لوسيا"}
    alert = restricted(Alert.model_validate_json(json.dumps(changed(FULL, "case/last_seen/place", places))))
    assert alert.case.last_seen is not None
    assert alert.case.last_seen.place == {"es": "Sevilla, delante de casa de – Pérez", "ar": "قرب بيت –"}
    assert alert.case.last_seen.point is not None


def test_doing_it_again_changes_nothing():
    """And what comes out is an alert that could be sent."""
    once = restricted(Alert.model_validate_json(json.dumps(FULL)))
    assert restricted(once) == once == Alert.model_validate_json(once.model_dump_json(by_alias=True))
