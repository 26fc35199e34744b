"""The alert as sent: what is taken, what is refused and where, and what follows from its own words."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from alertd.common.clock import ms_of
from alertd.common.errors import Fault
from alertd.model import states
from alertd.model.alert import Alert, AlertRequest, loudest, loudness
from alertd.model.case import bare_plate
from alertd.model.faults import faults_of
from alertd.model.kinds import KINDS, Level
from alertd.model.redaction import restricted
from alertd.model.rules import (
    delay_faults,
    expiry_faults,
    future_faults,
    missing_verification,
    naming_contacts,
    not_honoured,
    plates,
    protection_faults,
    unreviewed,
)
from channels.base import Loudness
from tests.unit.alertd.samples import GENERAL, MISSING_CHILD, changed

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def read(document: Any) -> Alert:
    return Alert.model_validate_json(json.dumps(document))


def faults(document: Any) -> list[Fault]:
    with pytest.raises(ValidationError) as caught:
        read(document)
    return faults_of(caught.value)


def pointers(document: Any) -> list[str]:
    return [fault.pointer for fault in faults(document)]


@pytest.mark.parametrize("sample", [MISSING_CHILD, GENERAL])
def test_samples_are_taken_and_survive_being_kept(sample: dict[str, Any]) -> None:
    """An alert of the documented form is taken whole, is fit to be sent, and reads the same after it was stored."""
    alert = read(sample)
    assert Alert.model_validate_json(alert.model_dump_json()) == alert
    assert not_honoured(alert) + missing_verification(alert) + unreviewed(alert) == []
    assert expiry_faults(alert, NOW) + future_faults(alert, NOW) == []


def test_any_script_passes_unchanged() -> None:
    """Names and texts are kept to the last code point, right-to-left marks and joined emoji included."""
    name = "\u202bمحمد\u200fعبد‌الله\u202c 👨‍👩‍👧"
    alert = read(changed(MISSING_CHILD, "case/children/0/name/scripts", {"ar": name, "zh-Hant-TW": "露西亞"}))
    child = alert.case.children[0]
    assert child.name is not None
    assert child.name.scripts == {"ar": name, "zh-Hant-TW": "露西亞"}


def test_all_faults_come_at_once_each_at_its_place() -> None:
    """Whoever sends a broken alert learns of every fault in one answer."""
    broken = changed(MISSING_CHILD, "case/children/0/age", {"years": 7, "months": 84})
    broken = changed(broken, "case/contact/0/countries", ["US"])
    broken = changed(broken, "target/circles/0/center", [37.3919, -95.9756])
    broken = changed(broken, "info", {"ES": {}})
    broken["a~b/c"] = 1
    del broken["status"]
    assert sorted(pointers(broken)) == [
        "/a~0b~1c",
        "/case/children/0/age/months",
        "/case/contact/0/dial",
        "/info/ES",
        "/status",
        "/target/circles/0/center",
    ]


REFUSED = [
    ("level", "warning", "/level"),
    ("expires", "2026-11-26T08:00:00", "/expires"),
    ("expires", "1764140400", "/expires"),
    ("expires", "2026-02-30T08:00:00Z", "/expires"),
    ("case/number", None, "/case/number"),
    ("case/children", [], "/case/children"),
    ("case/contact", [], "/case/contact"),
    ("case/children/0/age", {"years": 18}, "/case/children/0/age/years"),
    ("case/children/0/age", {}, "/case/children/0/age"),
    ("case/children/0/height_cm", [125, 118], "/case/children/0/height_cm"),
    ("case/children/0/hair", "auburn", "/case/children/0/hair"),
    ("case/children/0/name/public", "Lucía\u0000", "/case/children/0/name/public"),
    ("case/children/0/name/public", "Call \u202e000611", "/case/children/0/name/public"),
    ("case/children/0/name/public", "x" * 81, "/case/children/0/name/public"),
    ("case/children/0/name/public", " \n ", "/case/children/0/name/public"),
    ("case/last_seen/time_zone", "../../etc/passwd", "/case/last_seen/time_zone"),
    ("case/last_seen/time_zone", "Europe/Sevilla", "/case/last_seen/time_zone"),
    ("case/last_seen/point", [-5.97, 95.1], "/case/last_seen/point"),
    ("case/last_seen/point", [float("nan"), 37.39], "/case/last_seen/point/0"),
    ("case/last_seen/point", [float("inf"), 37.39], "/case/last_seen/point/0"),
    ("case/last_seen/point", ["-5.97", 37.39], "/case/last_seen/point/0"),
    ("case/contact/0", {"dial": "116000"}, "/case/contact/0/dial"),
    ("case/contact/0", {"dial": "+34000000000"}, "/case/contact/0/dial"),
    ("case/contact/0", {"dial": "915000000"}, "/case/contact/0/dial"),
    ("case/contact/0", {"text": "tel:+34600000000"}, "/case/contact/0/text"),
    ("case/contact/0", {"url": "http://centre.example/tell"}, "/case/contact/0/url"),
    ("case/contact/0", {"url": "https://centre.example@evil.example"}, "/case/contact/0/url"),
    ("case/contact/0", {"url": "https://169.254.169.254/"}, "/case/contact/0/url"),
    ("case/contact/0", {"url": "https://a..bb/"}, "/case/contact/0/url"),
    ("case/contact/0", {"url": f"https://centre.example/{'x' * 500}"}, "/case/contact/0/url"),
    ("case/contact/0", {"url": f"https://centre.example/{'漢' * 60}"}, "/case/contact/0/url"),
    ("case/contact/0", {"url": 'https://centre.example/"><script>'}, "/case/contact/0/url"),
    ("case/contact/0", {"dial": "+34915000000", "url": "https://centre.example"}, "/case/contact/0"),
    ("channels", ["push", "push"], "/channels"),
    ("channels", ["voice"], "/channels/0"),
    ("channels", [], "/channels"),
    ("target", {}, "/target"),
    ("target", {"exclude": {"regions": ["ES-SE"]}}, "/target"),
    ("target/circles/0/radius_km", -1, "/target/circles/0/radius_km"),
    ("target/circles/0/radius_km", 5000, "/target/circles/0/radius_km"),
    ("target/circles/0/radius_km", True, "/target/circles/0/radius_km"),
    ("target/polygons", [{"type": "Point", "coordinates": [0, 0]}], "/target/polygons/0/type"),
    ("target/polygons", [{"type": "Polygon", "coordinates": [[[0, 0], [1]]]}], "/target/polygons/0/coordinates/0/1"),
    ("case/protection", ["secret"], "/case/protection/0"),
    ("case/persons_sought", [{"legal_basis": "a court's order"}], "/case/persons_sought/0"),
    ("case/vehicles", [{"country": "ES"}], "/case/vehicles/0"),
    ("policy/places", [], "/policy/places"),
    ("policy/max_age_h", 10**30, "/policy/max_age_h"),
    ("policy/movers", "told", "/policy/movers"),
    ("policy/minimum_overlap", 0.5, "/policy/minimum_overlap"),
    ("event", "x" * 36, "/event"),
]


@pytest.mark.parametrize(("path", "value", "pointer"), REFUSED)
def test_what_cannot_be_meant_is_refused_at_its_place(path: str, value: Any, pointer: str) -> None:
    """A value outside its form is one fault, and its pointer is where the sender wrote it."""
    assert pointers(changed(MISSING_CHILD, path, value)) == [pointer]


def test_two_children_have_two_ids() -> None:
    """Children of one case are told apart by their ids."""
    child = MISSING_CHILD["case"]["children"][0]
    assert pointers(changed(MISSING_CHILD, "case/children", [child, child])) == ["/case/children/1/id"]


def test_general_alerts_have_words_and_no_case() -> None:
    """A general alert is nothing but its words, so it needs them, and a case would be told to nobody."""
    wordless = changed(GENERAL, "info", {"es": {"headline": "Corte de agua"}})
    assert pointers(changed(wordless, "case", {"number": "1"})) == ["/case", "/info/es/description"]
    del wordless["info"]
    assert pointers(wordless) == ["/info"]


@pytest.mark.parametrize("missing", ["headline", "description"])
def test_a_general_alert_says_which_of_its_words_is_missing(missing: str) -> None:
    """The fault names the headline or the description, in the language that lacks it."""
    words = {"headline": "Corte de agua", "description": "No beba agua."}
    del words[missing]
    with pytest.raises(ValidationError) as caught:
        Alert.model_validate_json(json.dumps(changed(GENERAL, "info", {"es": words})))
    (fault,) = faults_of(caught.value)
    assert fault.pointer == f"/info/es/{missing}"
    assert f"The {missing} is missing" in fault.detail


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends_of_every_system_are_taken(end: str) -> None:
    """A text from Windows or an old Mac is stored with the line ends that every channel knows."""
    words = {"headline": "Corte de agua", "description": f"No beba agua.{end}{end}Llame al 112."}
    alert = Alert.model_validate_json(json.dumps(changed(GENERAL, "info", {"es": words})))
    assert alert.info["es"].description == "No beba agua.\n\nLlame al 112."
    child = changed(MISSING_CHILD, "case/children/0/clothing", {"es": f"abrigo rojo{end}botas"})
    assert Alert.model_validate_json(json.dumps(child)).case.children[0].clothing == {"es": "abrigo rojo\nbotas"}


NOT_HONOURED = [
    ("scope", "Restricted", "/scope"),
    ("target/groups", ["volunteers"], "/target/groups"),
]


@pytest.mark.parametrize(("path", "value", "pointer"), NOT_HONOURED)
def test_what_is_not_honoured_yet_is_named_never_ignored(path: str, value: Any, pointer: str) -> None:
    """A field that is understood but does nothing yet is a reason to refuse, with its pointer."""
    assert [fault.pointer for fault in not_honoured(read(changed(MISSING_CHILD, path, value)))] == [pointer]


def test_an_actual_missing_child_alert_needs_its_whole_verification() -> None:
    """Every part of the verification that is absent or not affirmed is named; a Test needs none."""
    bare = changed(changed(MISSING_CHILD, "case/verification", {"custody_checked": False}), "case/best_interests", None)
    missing = [fault.pointer for fault in missing_verification(read(bare))]
    parts = ("authority", "reference", "criteria", "custody_checked", "protected_identity_checked", "publication_risk")
    assert missing == [*(f"/case/verification/{part}" for part in parts), "/case/best_interests"]
    del bare["case"]["verification"]
    assert [fault.pointer for fault in missing_verification(read(bare))] == missing
    assert missing_verification(read(changed(bare, "status", "Test"))) == []


@pytest.mark.parametrize("part", ["persons_sought", "vehicles"])
def test_nobody_is_sought_beside_the_child_without_a_legal_basis(part: str) -> None:
    """Who was convicted of nothing is named by an Actual alert only on a ground that somebody wrote down."""
    sought = {"persons_sought": {"sex": "male"}, "vehicles": {"plate": "1234 BCD"}}[part]
    document = changed(MISSING_CHILD, f"case/{part}", [sought, {**sought, "legal_basis": "order of the judge"}])
    assert [fault.pointer for fault in missing_verification(read(document))] == [f"/case/{part}/0/legal_basis"]
    assert missing_verification(read(changed(document, "status", "Test"))) == []


def test_of_a_child_under_protection_only_age_and_sex_are_told() -> None:
    """Every fact beyond them is named, and a restricted alert has none."""
    document = changed(MISSING_CHILD, "case/protection", ["protected-identity"])
    document = changed(document, "case/vehicles", [{"plate": "1234 BCD"}])
    document = changed(document, "case/last_seen/place/es", "casa de Lucía")
    document["senderName"] = "Police, for Lucía P."
    assert {fault.pointer for fault in protection_faults(read(document))} == {
        "/senderName",
        "/case/last_seen/place/es",
        *(f"/case/children/0/{name}" for name in ("name", "height_cm", "hair", "eyes", "clothing")),
        "/case/vehicles",
        *(f"/info/{tag}/{name}" for tag, text in document["info"].items() for name in text if name != "source"),
    }
    assert protection_faults(restricted(read(document))) == []
    assert protection_faults(read(MISSING_CHILD)) == []


@pytest.mark.parametrize("url", [
    "https://centre.example/lucia-perez", "https://centre.example/a?b=LUC%C3%8DA_p",
    "https://centre.example/%D9%84%D9%88%D8%B3%D9%8A%D8%A7", "https://centre.example/Lucía",
])  # fmt: skip
def test_no_address_that_people_are_given_names_a_child(url: str) -> None:
    """It would be told still when her name is not, in whatever script or accents."""
    document = changed(MISSING_CHILD, "case/contact/3/url", url)
    assert [fault.pointer for fault in naming_contacts(read(document))] == ["/case/contact/3/url"]


@pytest.mark.parametrize(
    "url", ["https://centre.example/luciana", "https://centre.example/p/1", "https://lucia.example"]
)
def test_an_address_of_other_words_is_taken(url: str) -> None:
    """A longer word, her initial and a host are of somebody else; where no child has a name there is none to tell."""
    assert naming_contacts(read(changed(MISSING_CHILD, "case/contact/3/url", url))) == []
    nameless = changed(MISSING_CHILD, "case/children/0/name", None)
    assert naming_contacts(read(changed(nameless, "case/contact/3/url", "https://centre.example/lucia"))) == []


def test_a_plate_is_its_letters_and_digits() -> None:
    """However two people write it, it is the same plate; another digit is another."""
    document = changed(MISSING_CHILD, "case/vehicles", [{"plate": "1234-bcd"}, {"description": {"en": "white van"}}])
    assert plates(read(document)) == {"1234BCD"} == {bare_plate(" 1234 BCD")}


@pytest.mark.parametrize("unmet", ["minor", "high-risk", "useful-information"])
def test_who_wakes_everybody_meets_every_criterion(unmet: str) -> None:
    """A child-alert whose case lacks one is refused, with the level that it may have instead; that one takes any."""
    criteria = [one for one in ("minor", "high-risk", "useful-information") if one != unmet]
    endangered = changed(MISSING_CHILD, "case/verification/criteria", criteria)
    assert missing_verification(read(endangered)) == []
    [fault] = missing_verification(read(changed(endangered, "level", "child-alert")))
    assert (fault.pointer, unmet in fault.detail, "endangered" in fault.detail) == (
        "/case/verification/criteria",
        True,
        True,
    )


def test_machine_text_waits_for_a_person() -> None:
    """Text that a machine made and nobody reviewed is named by its language."""
    assert [fault.pointer for fault in unreviewed(read(changed(MISSING_CHILD, "info/en/source", "machine")))] == [
        "/info/en/source"
    ]


def test_expiry_is_ahead_and_within_what_the_ledger_can_count() -> None:
    """An alert that has expired, or would outlive its ledger's clock, is refused; the clock is the caller's."""
    alert = read(MISSING_CHILD)
    assert expiry_faults(alert, alert.expires - timedelta(seconds=1)) == []
    assert [fault.pointer for fault in expiry_faults(alert, alert.expires)] == ["/expires"]
    assert [fault.pointer for fault in expiry_faults(alert, NOW - timedelta(days=40))] == ["/expires"]


def test_what_happened_lies_behind() -> None:
    """A child was not last seen tomorrow."""
    assert [fault.pointer for fault in future_faults(read(MISSING_CHILD), NOW - timedelta(days=1))] == [
        "/case/last_seen/at",
        "/case/verification/publication_risk/at",
        "/case/best_interests/at",
    ]


def test_loudness_follows_the_level_and_never_the_severity() -> None:
    """An appeal that calls itself Extreme stays silent."""
    alert = read({**changed(MISSING_CHILD, "level", "appeal"), "severity": "Extreme"})
    assert loudness(alert) is Loudness.SILENT


def test_a_ring_says_how_loud_it_is() -> None:
    """A ring that says nothing is as loud as the alert; the whole goes by its loudest."""
    near, far = {"center": [0, 0], "radius_km": 5, "loudness": "loud"}, {"center": [0, 0], "radius_km": 50}
    alert = read(changed(MISSING_CHILD, "target/rings", [near, far]))
    assert [loudness(alert, ring) for ring in range(3)] == [Loudness.NORMAL, Loudness.LOUD, Loudness.NORMAL]
    assert (loudest(alert), loudest(read(MISSING_CHILD))) == (Loudness.LOUD, Loudness.NORMAL)


def test_a_ring_is_told_while_the_alert_lives() -> None:
    """A delay beyond the alert's end would tell nobody: that is said before it is sent."""
    late = {"center": [0, 0], "radius_km": 5, "delay_min": 60}
    alert = read(changed(MISSING_CHILD, "target/rings", [{**late, "delay_min": 0}, late]))
    assert delay_faults(alert, alert.expires - timedelta(minutes=61)) == []
    faults = delay_faults(alert, alert.expires - timedelta(minutes=60))
    assert [fault.pointer for fault in faults] == ["/target/rings/1/delay_min"]


def test_a_ring_that_has_waited_is_late_by_what_is_left() -> None:
    """An update that leaves the target as it was goes on where its alert was, and is refused only where a ring would miss the end all the same."""
    rings = [{"center": [0, 0], "radius_km": 5, "delay_min": 60}]
    alert = read(changed(MISSING_CHILD, "target/rings", rings))
    now = alert.expires - timedelta(minutes=20)
    assert [fault.pointer for fault in delay_faults(alert, now)] == ["/target/rings/0/delay_min"]
    assert delay_faults(alert, now, ms_of(now - timedelta(minutes=41))) == []
    assert delay_faults(alert, now, ms_of(now - timedelta(minutes=40))) != []
    assert delay_faults(alert, now, 0) != []  # it changes the target: they count from its approval


def test_no_late_sms_stands_in_a_corrections_way() -> None:
    """That nobody would get the SMS of an update any more is no reason to leave them with what was wrong."""
    alert = read({**MISSING_CHILD, "channels": ["push", "sms"], "policy": {"mode": "escalate", "after_s": 600}})
    now = alert.expires - timedelta(minutes=5)
    assert [fault.pointer for fault in delay_faults(alert, now)] == ["/policy/after_s"]
    assert delay_faults(alert, now, 0) == []


@pytest.mark.parametrize(("rings", "waits_min"), [([], 10), ([{"delay_min": 30}, {"delay_min": 5}], 40)])
def test_who_does_not_acknowledge_gets_the_sms_while_the_alert_lives(
    rings: list[dict[str, int]], waits_min: int
) -> None:
    """An escalation beyond the alert's end, counted from the ring that is told last, would send none: that is said before it is sent."""
    places = [{"center": [0, 0], "radius_km": 5 + i, **ring} for i, ring in enumerate(rings)]
    document = changed(MISSING_CHILD, "target/rings", places)
    alert = read({**document, "channels": ["push", "sms"], "policy": {"mode": "escalate", "after_s": 600}})
    waits = timedelta(minutes=waits_min)
    assert delay_faults(alert, alert.expires - waits - timedelta(seconds=1)) == []
    assert [fault.pointer for fault in delay_faults(alert, alert.expires - waits)] == ["/policy/after_s"]
    later = alert.model_copy(update={"starts": alert.expires - waits})
    assert [fault.pointer for fault in delay_faults(later, NOW - timedelta(days=1))] == ["/policy/after_s"]


@pytest.mark.parametrize(
    ("channels", "policy"),
    [(["push", "sms"], {}), (["push", "mail"], {"mode": "escalate"}), (["sms", "mail"], {"mode": "escalate"})],
)
def test_where_no_sms_waits_none_is_late(channels: list[str], policy: dict[str, str]) -> None:
    """Everybody is told at once, so that an alert of a few seconds is taken."""
    alert = read({**MISSING_CHILD, "channels": channels, "policy": policy})
    assert delay_faults(alert, alert.expires - timedelta(seconds=5)) == []


def test_a_draft_is_the_same_alert_with_a_wish() -> None:
    """The posted form adds `state` and nothing else, and the alert kept is without it."""
    request = AlertRequest.model_validate_json(json.dumps({**GENERAL, "state": "draft"}))
    assert request.state == "draft"
    assert request.alert() == read(GENERAL)
    assert request.alert().model_dump_json() == read(GENERAL).model_dump_json()
    assert request.alert().model_fields_set == read(GENERAL).model_fields_set


def test_tables_agree_with_the_wire() -> None:
    """The words of the wire keep their numbers (they are in stored records), and every level has one kind."""
    assert states.CHANNELS == ("push", "webpush", "sms", "mail")
    assert states.PLACE_KINDS == ("now", "home", "work", "school", "other")
    assert states.KINDS == ("missing-child", "general") == tuple(KINDS)
    assert [level for levels in KINDS.values() for level in levels] == list(Level)
    assert all(len(facts.event) <= 35 for levels in KINDS.values() for facts in levels.values())
