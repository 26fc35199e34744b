"""From a CAP message to an alert: what becomes of each part, and what is refused because an alert cannot hold it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from xml.sax.saxutils import escape

import pytest
import shapely
from pydantic import ValidationError

from alertd.common.errors import Fault, Problem
from alertd.model.alert import Alert
from alertd.model.cap.messages import MsgType, Reference
from alertd.model.cap.reader import parse_message
from alertd.model.faults import faults_of
from alertd.model.kinds import KINDS, Kind, Level
from alertd.service.sharing.cap_areas import Draft, tag
from alertd.service.sharing.cap_drafts import draft_of, external_id, retold
from geofences.regions import Library
from tests.unit.alertd.model.cap_documents import WHOLE, changed, element
from tests.unit.alertd.samples import MISSING_CHILD

SHAPES = "".join(line + "\n" for line in WHOLE.splitlines() if line.strip().startswith(("<polygon", "<circle")))


#: After the whole document took effect, before it ends.
NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)


def drafted(raw: bytes, library: Library, now: datetime = NOW) -> Draft:
    return draft_of(parse_message(raw), library, now)


def refused(raw: bytes, library: Library) -> Problem:
    with pytest.raises(Problem) as caught:
        drafted(raw, library)
    return caught.value


def alert_of(draft: Draft) -> Alert:
    return Alert.model_validate_json(json.dumps(draft.document))


def without_shapes(codes: str) -> bytes:
    """The whole document with an area of geocodes alone."""
    assert SHAPES in WHOLE
    old = "<geocode><valueName>INE</valueName><value>41091</value></geocode>"
    return changed(old, codes, WHOLE.replace(SHAPES, ""))


def case_of(text: str) -> str:
    """The parameter that has the case of a child."""
    return f"<parameter><valueName>alertd:case</valueName><value>{escape(text)}</value></parameter>"


CASE = case_of(json.dumps(MISSING_CHILD["case"]))


def geocode(system: str, value: str) -> str:
    return f"<geocode><valueName>{system}</valueName><value>{value}</value></geocode>"


def test_a_message_becomes_a_general_alert(library: Library):
    """Texts by language, CAP's values, shapes longitude first, and its CAP reference as the name that it is found by again."""
    alert = alert_of(drafted(WHOLE.encode(), library))
    assert (alert.kind, alert.level, alert.status, alert.scope) == ("general", "warning", "Actual", "Public")
    assert alert.expires == datetime(2026, 11, 25, 19, tzinfo=UTC)
    assert alert.external_id == "agua@ciudad.example,sv-2026-7,2026-11-25T07:00:00-00:00"
    assert alert.author.on_behalf_of == alert.sender_name == "Aguas de Sevilla"
    assert "channels" not in alert.model_fields_set  # it goes by all that have a carrier
    assert (alert.event, alert.category, alert.response_type) == ("Corte de agua", "Health", "Avoid")
    assert alert.info["es-ES"].description == (
        "Hay una avería en la red & el agua no es potable.\n900 000 000\nhttps://agua.example/7"
    )
    assert alert.info["en-US"].headline == "Water cut"
    (polygon,) = alert.target.polygons
    assert polygon.coordinates[0][0] == (-6.02, 37.40)
    assert [(circle.center, circle.radius_km) for circle in alert.target.circles] == [((-5.98, 37.39), 2.5)]
    assert alert.target.regions == ()


def test_geocodes_count_where_there_is_no_shape(library: Library):
    """One ground is often told in several systems of codes: one that is known whole is enough, and the shape comes first."""
    for codes, regions in (
        (geocode("INE", "41091"), ["41091"]),
        (geocode("UGC", "CAZ017") + geocode("SAME", "006037") + geocode("UGC", "CAZ018"), ["US-06037"]),
        (geocode("ISO 3166-2", "ES-SE") + geocode("ISO3166-2", ""), ["ES-SE"]),
    ):
        target = drafted(without_shapes(codes), library).document["target"]
        assert target == {"polygons": [], "circles": [], "regions": regions}
    circle = "<circle>37.39,-5.98 0</circle>" + geocode("INE", "41091")
    assert drafted(without_shapes(circle), library).document["target"]["regions"] == ["41091"]


@pytest.mark.parametrize(
    ("codes", "unknown"),
    [
        (geocode("UGC", "CAZ017"), ["/info/0/area/0/geocode/0"]),
        (geocode("SAME", "006037") + geocode("SAME", "099999"), ["/info/0/area/0/geocode/1"]),
        (geocode("SGC", "3506008"), ["/info/0/area/0/geocode/0"]),
        (geocode("SAME", "106037"), ["/info/0/area/0/geocode/0"]),
    ],
)
def test_a_code_that_is_not_known_is_never_left_out(codes: str, unknown: list[str], library: Library):
    """A place that is unknown, or known only as part of a larger one, is told with its line: others must not be told alone."""
    problem = refused(without_shapes(codes), library)
    assert problem.slug == "unknown-region"
    assert [fault.pointer for fault in problem.faults] == unknown
    assert all(fault.line > 1 for fault in problem.faults)


@pytest.mark.parametrize(
    ("severity", "general", "child"),
    [
        ("Extreme", Level.WARNING, Level.CHILD_ALERT),
        ("Severe", Level.WARNING, Level.CHILD_ALERT),
        ("Moderate", Level.ADVICE, Level.ENDANGERED),
        ("Minor", Level.INFORMATION, Level.APPEAL),
        ("Unknown", Level.INFORMATION, Level.APPEAL),
    ],
)
def test_the_level_follows_the_severity(severity: str, general: Level, child: Level, library: Library):
    """Until somebody has looked at it, it is as grave as CAP says."""
    raw = WHOLE.replace("<severity>Severe", f"<severity>{severity}")
    assert drafted(raw.encode(), library).document["level"] == general
    of_child = raw.replace(">CEM<", ">CAE<").replace("<parameter>", f"{CASE}<parameter>", 1)
    assert drafted(of_child.encode(), library).document["level"] == child


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (">CEM<", ">CAE<"),
        ("SAME</valueName><value>CEM", "profile:CAP-CP:Event:0.4</valueName><value>amber"),
        ("<event>Corte de agua", "<event>AMBER Alert"),
        ("<event>Water cut", "<event>Child Abduction"),
        ("<event>Water cut", "<event>Child Abduction Emergency (CAE)"),
        ("<event>Water cut", "<event>AMBER  Alert\n - Update"),
        ("<event>Water cut", "<event>A\u200bMBER-Alert"),
        ("<event>Water cut", "<event>Missing child"),
        ("<event>Corte de agua", "<event>Alerta AMBER: niña desaparecida"),
        ("<event>Corte de agua", "<event>Alerte enlèvement"),
        *(("<event>Corte de agua", f"<event>{facts.event}") for facts in KINDS[Kind.MISSING_CHILD].values()),
    ],
)
def test_an_alert_about_a_child_needs_its_case(old: str, new: str, library: Library):
    """By code or by word, in any of its infos: it is no general alert, which nobody would have to verify."""
    (fault,) = refused(changed(old, new), library).faults
    assert fault.pointer in {"/info/0/event", "/info/1/event"}
    assert "<valueName>alertd:case</valueName>" in fault.detail
    alert = alert_of(drafted(changed("<parameter>", f"{CASE}<parameter>", changed(old, new).decode()), library))
    assert alert.case.number == MISSING_CHILD["case"]["number"]
    broken = case_of("{")
    problem = refused(changed("<parameter>", f"{broken}<parameter>", changed(old, new).decode()), library)
    assert [fault.pointer for fault in problem.faults] == ["/info/0/parameter/0"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<event>Corte de agua", "<event>Missing Endangered Child"),
        ("<event>Corte de agua", "<event>Niño perdido"),
        ("<event>Water cut", "<event>Girl missing"),
        (">CEM<", ">MEP<"),
    ],
)
def test_an_alert_with_the_case_of_a_child_is_about_a_child(old: str, new: str, library: Library):
    """Whatever its event is called, and whichever info has it: no case is left out, and none is told that nobody verified."""
    event = changed(old, new).decode()
    first, last = "<parameter>", "<area>\n      <areaDesc>Seville"
    for place in (first, last):
        alert = alert_of(drafted(changed(place, CASE + place, event), library))
        assert (alert.kind, alert.case.number) == (Kind.MISSING_CHILD, MISSING_CHILD["case"]["number"])
    both = changed(last, CASE + last, changed(first, CASE + first, event).decode())
    assert alert_of(drafted(both, library)).case == alert.case
    other = case_of(json.dumps({**MISSING_CHILD["case"], "number": "another"}))
    problem = refused(changed(last, other + last, changed(first, CASE + first, event).decode()), library)
    assert [fault.pointer for fault in problem.faults] == ["/info/1/parameter/0"]


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        *((">Alert<", f">{kind}<", "/msgType") for kind in (MsgType.ACK, MsgType.ERROR)),
        (">Actual<", ">System<", "/status"),
        (">Actual<", ">Draft<", "/status"),
        ("<language>es-ES", "<language>en-us", "/info/1"),
        ("<areaDesc>Seville</areaDesc>", "<areaDesc>Seville</areaDesc><circle>1,1 1</circle>", "/info/1/area/0"),
        ("<note>", "<restriction>police only</restriction><note>", "/restriction"),
        ("<severity>Severe", "<severity>Minor", "/info/1/severity"),
        ("</area>", "</area><area><areaDesc>Huelva</areaDesc></area>", "/info/0/area/1"),
        (
            "</area>",
            "</area><area><areaDesc>Huelva</areaDesc><circle>37.2,-6.9 0</circle></area>",
            "/info/0/area/1/circle/0",
        ),
    ],
)
def test_what_an_alert_cannot_hold_is_refused(old: str, new: str, pointer: str, library: Library):
    """Answers, drafts, two texts in one language, an area for one language that is not that of the other, infos that are not equally
    grave, ground that is only described beside ground that is drawn, and what is Public and restricted at once.
    """
    problem = refused(changed(old, new), library)
    assert [(fault.pointer, fault.line > 1) for fault in problem.faults] == [(pointer, True)]


def test_an_alert_without_an_end_lives_for_a_day_after_it_was_sent(library: Library):
    """The earliest end of all infos counts; where there is none, an old document cannot come back to life."""
    raw = changed("<expires>2026-11-25T20:00:00+01:00</expires>", "")
    assert alert_of(drafted(raw, library)).expires == datetime(2026, 11, 25, 7, tzinfo=UTC) + timedelta(days=1)
    two = changed("Water cut</event>", "Water cut</event><expires>2026-11-25T09:00:00Z</expires>")
    assert alert_of(drafted(two, library)).expires == datetime(2026, 11, 25, 9, tzinfo=UTC)


def test_what_takes_effect_later_is_told_then(library: Library):
    """Nobody is told before the last of all infos takes effect; what did so already, or does so as it is sent, is told at once."""
    assert "starts" not in drafted(WHOLE.encode(), library).document
    early = datetime(2026, 11, 25, 7, 1, tzinfo=UTC)
    draft = drafted(WHOLE.encode(), library, early)
    assert alert_of(draft).starts == datetime(2026, 11, 25, 7, 5, tzinfo=UTC)
    assert draft.origins["/starts"] == "/info/0/effective"
    two = changed("Water cut</event>", "Water cut</event><effective>2026-11-25T09:00:00Z</effective>")
    assert alert_of(drafted(two, library)).starts == datetime(2026, 11, 25, 9, tzinfo=UTC)
    at_once = changed("2026-11-25T08:05:00", "2026-11-25T08:00:00")
    assert "starts" not in drafted(at_once, library, early - timedelta(hours=1)).document


@pytest.mark.parametrize(
    ("came", "told"),
    [
        ("/info/es-ES/headline", "/info/0/headline"),
        ("/info/en-US/headline", "/info/1/event"),
        ("/target/polygons/0/coordinates/0/3", "/info/0/area/0/polygon/0"),
        ("/target/circles/0/radius_km", "/info/0/area/0/circle/0"),
        ("/expires", "/info/0/expires"),
        ("/external_id", "/identifier"),
        ("/channels/0", ""),
    ],
)
def test_a_fault_of_the_alert_is_told_where_it_came_from(came: str, told: str, library: Library):
    """Whoever sent CAP is told places and lines of CAP."""
    message = parse_message(WHOLE.encode())
    draft = draft_of(message, library, NOW)
    problem = retold(Problem("invalid-geometry", "No.", faults=(Fault(came, "Why."),), status=422), draft, message)
    (fault,) = problem.faults
    assert (fault.pointer, fault.detail, problem.status) == (told, "Why.", 422)
    assert fault.line == (message.lines[told] if told else 1)


def test_names_are_short_enough_and_languages_are_spelled_as_usual():
    """A reference that is too long goes by its digest, and by its instant whatever the offset; two spellings of one language are one."""
    at = datetime(2026, 11, 25, 8, tzinfo=UTC)
    names = {external_id(Reference(sender="s" * 200, identifier=str(n), sent=at)) for n in range(3)}
    elsewhere = at.astimezone(timezone(timedelta(hours=1)))
    names |= {external_id(Reference(sender="s" * 200, identifier="0", sent=elsewhere))}
    assert len(names) == 3
    assert all(len(name) <= 128 for name in names)
    spelled: dict[str, Any] = {"EN": "en", "es-es": "es-ES", "ZH-HANT-tw": "zh-Hant-TW", "es-419": "es-419"}
    assert {text: tag(text) for text in spelled} == spelled


RINGS = [
    [(37.40, -6.02), (37.40, -5.95), (37.36, -5.95), (37.36, -6.02)],
    [(37.50, -6.12), (37.50, -6.05), (37.46, -6.05), (37.46, -6.12)],
]


def areas_of(rings: list[list[tuple[float, float]]], codes: str = "") -> str:
    drawn = ["<polygon>" + " ".join(f"{lat},{lon}" for lat, lon in (*ring, ring[0])) + "</polygon>" for ring in rings]
    return f"<area><areaDesc>Sevilla</areaDesc>{''.join(drawn)}{codes}</area>"


def with_areas(first: str, second: str) -> bytes:
    """The whole document with these areas in its two infos."""
    start, end = WHOLE.index("    <area>"), WHOLE.index("    </area>") + len("    </area>")
    document = WHOLE[:start] + first + WHOLE[end:]
    start, end = document.rindex("    <area>"), document.rindex("    </area>") + len("    </area>")
    return (document[:start] + second + document[end:]).encode()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (areas_of(RINGS, geocode("AreaId", "7")), areas_of(RINGS)),
        (areas_of(RINGS), areas_of(RINGS[::-1])),
        (areas_of(RINGS), areas_of([ring[2:] + ring[:2] for ring in RINGS])),
        (areas_of(RINGS), areas_of([ring[::-1] for ring in RINGS])),
        (areas_of(RINGS), areas_of(RINGS[:1]) + areas_of(RINGS[1:])),
        (areas_of(RINGS), areas_of([[(lat + 1e-6, lon) for lat, lon in ring] for ring in RINGS])),
    ],
)
def test_infos_with_one_area_are_one_alert(first: str, second: str, library: Library):
    """An area is the same however its rings begin, turn or are ordered, and whichever info has a code beside them."""
    for one, other in ((first, second), (second, first)):
        document = alert_of(drafted(with_areas(one, other), library))
        assert len(document.target.polygons) == 2
        assert document.target.regions == ()


def test_an_area_that_one_info_names_and_another_draws_is_one(library: Library):
    """Both are the area, so that a small difference leaves nobody out; a drawing of another town is another area."""
    named = f"<area><areaDesc>Sevilla</areaDesc>{geocode('INE', '41091')}</area>"
    rings = {
        code: [
            [(lat, lon) for lon, lat in ring.exterior.coords[:-1]]
            for ring in shapely.get_parts(library.geometry(code).simplify(0.0005))
        ]
        for code in ("41091", "41038")
    }
    for one, other in ((named, areas_of(rings["41091"])), (areas_of(rings["41091"]), named)):
        target = alert_of(drafted(with_areas(one, other), library)).target
        assert (len(target.polygons), target.regions) == (len(rings["41091"]), ("41091",))
    problem = refused(with_areas(named, areas_of(rings["41038"])), library)
    assert "another area" in problem.faults[0].detail


@pytest.mark.parametrize(
    "second",
    [
        areas_of(RINGS[:1]),
        areas_of([RINGS[0], [(lat + 0.001, lon) for lat, lon in RINGS[1]]]),
        areas_of(RINGS) + f"<area><areaDesc>Sevilla</areaDesc>{geocode('INE', '41038')}</area>",
        areas_of(RINGS) + f"<area><areaDesc>Sevilla</areaDesc>{geocode('UGC', 'CAZ017')}</area>",
        f"<area><areaDesc>Sevilla</areaDesc>{geocode('UGC', 'CAZ017')}</area>",
    ],
)
def test_infos_with_two_areas_are_no_alert(second: str, library: Library):
    """A smaller, a moved and a larger area, and one of a code that nobody knows, are other areas: no one is told or left out by guess."""
    (fault,) = refused(with_areas(areas_of(RINGS), second), library).faults
    assert (fault.pointer, fault.line > 1) == ("/info/1/area/0", True)
    assert "another area" in fault.detail


def test_an_expired_message_is_told_so_first(library: Library):
    """Nobody looks for the region of a message that has expired; what is taken again is answered as before."""
    raw = without_shapes(geocode("SAME", "099999"))
    late = NOW + timedelta(hours=12)
    with pytest.raises(Problem) as caught:
        drafted(raw, library, late)
    (fault,) = caught.value.faults
    assert (caught.value.slug, fault.pointer, fault.line > 1) == ("expired", "/info/0/expires", True)
    assert "expired" in fault.detail
    endless = changed("<expires>2026-11-25T20:00:00+01:00</expires>", "")
    with pytest.raises(Problem) as caught:
        drafted(endless, library, late + timedelta(hours=12))
    (fault,) = caught.value.faults
    assert (fault.pointer, "24 hours" in fault.detail) == ("/sent", True)
    assert (
        draft_of(parse_message(endless), library, late + timedelta(hours=12), again=True).document["kind"]
        == Kind.GENERAL
    )


def test_a_circle_without_a_radius_is_told_so(library: Library):
    """The fault says that the radius is 0 and what to send."""
    (fault,) = refused(without_shapes("<circle>37.39,-5.98 0</circle>"), library).faults
    assert fault.pointer == "/info/0/area/0/circle/0"
    for word in ("radius", "0", "kilometres", "polygon", "geocode"):
        assert word in fault.detail


def test_html_in_a_description_is_read_as_text(library: Library):
    """Tags and entities are for browsers; people get lines. A bare `<` is text."""
    html = escape("<p>No beba agua &amp; hierva.</p><p>Nivel < 3 m</p>")
    alert = alert_of(drafted(changed(*element("description", html)), library))
    description = alert.info["es-ES"].description or ""
    assert description.startswith("No beba agua & hierva.\n\nNivel < 3 m\n")
    alert = alert_of(drafted(changed(*element("instruction", escape("Hierva.<br>Espere."))), library))
    assert alert.info["es-ES"].instruction == "Hierva.\nEspere."


def test_the_long_text_for_phones_serves_where_the_description_is_missing(library: Library):
    """IPAWS messages often have no other; a description comes first, and an empty one is none."""
    long = "<parameter><valueName>CMAMlongtext</valueName><value>Boil water until Friday.</value></parameter>"
    for text in ("", "<description/>", f"<description>{escape('<p></p>')}</description>"):
        whole = changed("<description>Hay una avería en la red &amp; el agua no es potable.</description>", text)
        raw = changed("<parameter>", f"{long}<parameter>", whole.decode())
        draft = drafted(raw, library)
        assert (alert_of(draft).info["es-ES"].description or "").startswith("Boil water until Friday.")
        assert draft.origins["/info/es-ES/description"] == "/info/0/parameter/0"
    both = changed("<parameter>", f"{long}<parameter>")
    assert "Boil" not in (alert_of(drafted(both, library)).info["es-ES"].description or "")


def test_a_missing_description_is_named(library: Library):
    """Of a headline and a description, the one that is missing is told, with the place in the document."""
    raw = changed("<description>Hay una avería en la red &amp; el agua no es potable.</description>", "")
    message = parse_message(raw)
    draft = draft_of(message, library, NOW)
    with pytest.raises(ValidationError) as caught:
        alert_of(draft)
    problem = retold(Problem("invalid-request", "No.", faults=tuple(faults_of(caught.value))), draft, message)
    first, second = problem.faults
    assert (first.pointer, second.pointer) == ("/info/0/description", "/info/1/description")
    assert "description is missing" in first.detail


def test_a_fault_of_the_case_names_the_parameter(library: Library):
    """Who left the number of the case out reads where it belongs."""
    case = case_of(json.dumps({**MISSING_CHILD["case"], "number": None}))
    message = parse_message(changed("<parameter>", f"{case}<parameter>"))
    draft = draft_of(message, library, NOW)
    with pytest.raises(ValidationError) as caught:
        alert_of(draft)
    problem = retold(Problem("invalid-request", "No.", faults=tuple(faults_of(caught.value))), draft, message)
    fault = problem.faults[0]
    assert (fault.pointer, fault.line > 1) == ("/info/0/parameter/0", True)
    assert fault.detail.startswith("alertd:case/number: ")


def test_line_ends_of_windows_in_a_document_are_taken(library: Library):
    """`&#13;` in XML is the line end of a Windows program, and no fault."""
    alert = alert_of(drafted(changed("No beba agua del grifo", "Primero&#13;\nSegundo&#13;Tercero"), library))
    assert alert.info["es-ES"].headline == "Primero\nSegundo\nTercero"
