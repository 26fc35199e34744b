"""CAP documents in: what is read of them, what is forgiven, what is refused and on which line."""

from __future__ import annotations

import time
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone

import pytest

from alertd.common.errors import Fault
from alertd.model.cap.messages import CapError, Circle, Message, MsgType, Named, Reference, Resource, Scope, Status
from alertd.model.cap.parsing import MAX_BYTES
from alertd.model.cap.reader import parse_message
from alertd.model.kinds import Category, Certainty, ResponseType
from tests.unit.alertd.model.cap_documents import CANCEL, NAMESPACE, WHOLE, changed, element

MADRID = timezone(timedelta(hours=1))


def refused(raw: bytes) -> list[Fault]:
    with pytest.raises(CapError) as caught:
        parse_message(raw)
    return list(caught.value.faults)


def line_of(text: str, document: str = WHOLE) -> int:
    return document[: document.index(text)].count("\n") + 1


def test_a_whole_document_is_read():
    """Every element of CAP comes through, and positions are longitude first."""
    message = parse_message(WHOLE.encode())
    assert (message.identifier, message.sender, message.status) == ("sv-2026-7", "agua@ciudad.example", Status.ACTUAL)
    assert message.sent == datetime(2026, 11, 25, 8, tzinfo=MADRID)
    assert (message.msg_type, message.scope, message.version) == (MsgType.ALERT, Scope.PUBLIC, "1.2")
    assert (message.source, message.codes, message.note) == ("Emasesa", ("water",), "For all districts")
    before = Reference(
        sender="agua@ciudad.example", identifier="sv-2026-6", sent=datetime(2026, 11, 24, 8, tzinfo=MADRID)
    )
    assert message.references == (before,)
    spanish, english = message.infos
    assert (spanish.language, english.language) == ("es-ES", "en-US")
    assert spanish.categories == (Category.HEALTH, Category.INFRA)
    assert spanish.response_types == (ResponseType.AVOID,)
    assert spanish.description == "Hay una avería en la red & el agua no es potable."
    assert spanish.expires == datetime(2026, 11, 25, 20, tzinfo=MADRID)
    assert spanish.event_codes == (Named(name="SAME", value="CEM"),)
    assert spanish.parameters == (Named(name="sector", value="12"), Named(name="empty", value=""))
    assert spanish.resources == (
        Resource(
            description="Plano", mime_type="image/png", size=1200, uri="https://agua.example/7.png",
            digest="da39a3ee5e6b4b0d3255bfef95601890afd80709",
        ),
    )  # fmt: skip
    area = spanish.areas[0]
    assert area.polygons == (((-6.02, 37.4), (-5.95, 37.4), (-5.95, 37.36), (-6.02, 37.36), (-6.02, 37.4)),)
    assert area.circles == (Circle(center=(-5.98, 37.39), radius_km=2.5),)
    assert area.geocodes == (Named(name="INE", value="41091"),)
    assert (area.altitude_ft, area.ceiling_ft) == (10, 200.5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2026-11-25T08:00:00+01:00", "2026-11-25T07:00:00Z"),
        ("2026-11-25T08:00:00+01:00", "\n 2026-11-25T08:00:00.5+01:00\t"),
        ("<status>Actual</status>", "<status> Actual\n</status>"),
        ("<status>Actual</status>", "<status>Act<!-- a comment -->ual</status>"),
        ("<status>Actual</status>", "<status><![CDATA[Actual]]></status>"),
        ("37.40,-6.02 37.40,-5.95", "+37.40,-6.02\n\t+37.40,-5.95"),
        ("-6.02 37.40,-5.95 37.36,-5.95 37.36,-6.02 37.40,-6.02<", "-6.02 37.40,-5.95 37.36,-5.95 37.36,-6.02<"),
        ("37.40,-6.02 37.40,-5.95", "(37.40,-6.02 37.40,-5.95) ()"),
        ("37.40,-6.02 37.40,-5.95 ", "(37.40,-6.02) (37.40,-5.95) "),
        ("</polygon>", "</polygon><polygon/>"),
        ("</circle>", "</circle><circle> </circle>"),
        ("<certainty>Likely", "<certainty>Very Likely"),
        ("<language>es-ES", "<language>es_ES"),
        ("<code>water</code>", "<code>water</code><code/><?stray instruction?>"),
        ("<source>Emasesa</source>\n  <scope>Public</scope>", "<scope>Public</scope><source>Emasesa</source>"),
        ("<note>", "<extension xmlns='urn:example'><identifier>other</identifier></extension><note>"),
        (f'xmlns="{NAMESPACE}"', f'xmlns="{NAMESPACE}" xmlns:x="urn:example" x:a="1"'),
    ],
)  # fmt: skip
def test_what_cannot_be_misunderstood_is_forgiven(old: str, new: str):
    """White space, order, `Z`, open rings, brackets and empty elements change nothing of what is read."""
    assert parse_message(changed(old, new)) == parse_message(WHOLE.encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings_are_read(encoding: str):
    """A document says its encoding, in its declaration or by its first bytes, and is read by it."""
    raw = WHOLE.replace("UTF-8", encoding).encode(encoding)
    assert parse_message(raw) == parse_message(WHOLE.encode())
    assert parse_message(b"\xef\xbb\xbf" + WHOLE.encode()) == parse_message(WHOLE.encode())


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1252"])
def test_a_document_that_names_the_wrong_encoding_is_refused(encoding: str):
    """Read by it, a child would be sought under a name of other letters: LucÃ\xada."""
    (fault,) = refused(WHOLE.replace("UTF-8", encoding).encode())
    assert "UTF-8" in fault.detail
    assert fault.line == line_of("aver\u00eda")


def test_older_versions_are_read():
    """CAP 1.1 and 1.0 differ by their namespace, and 1.0 writes codes as name=value."""
    older = WHOLE.replace(NAMESPACE, "urn:oasis:names:tc:emergency:cap:1.1")
    assert parse_message(older.encode()) == parse_message(WHOLE.encode())
    oldest = WHOLE.replace(NAMESPACE, "http://www.incident.com/cap/1.0").replace(
        "<valueName>INE</valueName><value>41091</value>", "INE=41091"
    )
    message = parse_message(oldest.encode())
    assert message == parse_message(WHOLE.encode())
    assert message.version == "1.0"
    bare = parse_message(oldest.replace("INE=41091", "006037").encode())
    assert bare.infos[0].areas[0].geocodes == (Named(name="geocode", value="006037"),)


def test_a_cancel_needs_no_info_and_names_what_it_cancels():
    """A Cancel is read without info; without references that can be read it could mean any alert, and is refused."""
    message = parse_message(CANCEL.encode())
    assert (message.msg_type, message.infos) == (MsgType.CANCEL, ())
    assert message.references == (parse_message(WHOLE.encode()).reference,)
    for kind in ("Cancel", "Update", "Ack", "Error"):
        raw = CANCEL.replace(">Cancel<", f">{kind}<")
        start, end = raw.index("<references>"), raw.index("</alert>")
        assert [fault.pointer for fault in refused((raw[:start] + raw[end:]).encode())] == ["/references"]
    for broken in (
        "sv-2026-7",
        "a,b,2026-11-25T08:00:00",
        "a,b c,2026-11-25T08:00:00-00:00",
        "a,,2026-11-25T08:00:00Z",
    ):
        faults = refused(changed("agua@ciudad.example,sv-2026-7,2026-11-25T08:00:00+01:00", broken, CANCEL))
        assert [(fault.pointer, fault.line) for fault in faults] == [("/references", 8)]


@pytest.mark.parametrize("word", ["alert", "ALERT", "Alerts", "Alarm", "", "Alert Alert", "Ａlert"])
def test_an_unknown_type_is_never_an_alert(word: str):
    """A cancel whose type was not understood must not go out as an alert."""
    assert [fault.pointer for fault in refused(changed(">Alert<", f">{word}<"))] == ["/msgType"]


#: Where an element that is missing would stand.
PARENTS = {"": "<alert", "/info/0": "<info>", "/info/0/resource/0": "<resource>", "/info/0/area/0": "<area>"}


@pytest.mark.parametrize(
    ("name", "text", "pointer", "why"),
    [
        ("identifier", "a b", "/identifier", "one word"),
        ("identifier", "a,b", "/identifier", "without commas"),
        ("identifier", "x" * 301, "/identifier", "at most 300"),
        ("sender", "a&lt;b", "/sender", "without commas, < and &"),
        ("sender", "", "/sender", "required"),
        ("sent", "2026-11-25T08:00:00", "/sent", "no offset"),
        ("sent", "2026-11-25", "/sent", "a time with its offset"),
        ("sent", "2026-02-30T08:00:00-00:00", "/sent", "no such time"),
        ("sent", "2026-11-25T08:00:00+25:00", "/sent", "a time with its offset"),
        ("status", "actual", "/status", "one of: Actual"),
        ("scope", "", "/scope", "required"),
        ("references", "one", "/references", "Reference 1"),
        ("language", "español", "/info/0/language", "language"),
        ("category", "Water", "/info/0/category/0", "one of: Geo"),
        ("event", " ", "/info/0/event", "required"),
        ("urgency", "Foobar", "/info/0/urgency", "one of: Immediate"),
        ("severity", "", "/info/0/severity", "required"),
        ("certainty", "Sure", "/info/0/certainty", "one of: Observed"),
        ("expires", "tomorrow", "/info/0/expires", "a time with its offset"),
        ("expires", "2026-11-25T06:59:59Z", "/info/0/expires", "before it was sent"),
        ("headline", "No <b>beba</b>", "/info/0/headline", "Only text"),
        ("resourceDesc", "", "/info/0/resource/0/resourceDesc", "required"),
        ("size", "1.2 kB", "/info/0/resource/0/size", "whole number"),
        ("areaDesc", "", "/info/0/area/0/areaDesc", "required"),
        ("polygon", "37.4,-6.0 37.4,-5.9", "/info/0/area/0/polygon/0", "three different"),
        ("polygon", "37.4,-6.0 37.4, -5.9 37.3,-5.9", "/info/0/area/0/polygon/0", "Position 2"),
        ("polygon", "137.4,-6.0 137.4,-5.9 137.3,-5.9", "/info/0/area/0/polygon/0", "swapped"),
        ("polygon", "37.4,-541 37.4,-5.9 37.3,-5.9", "/info/0/area/0/polygon/0", "longitude"),
        ("polygon", "NaN,1 2,2 3,1", "/info/0/area/0/polygon/0", "Position 1"),
        ("polygon", "1e1,1 2,2 3,1", "/info/0/area/0/polygon/0", "Position 1"),
        ("polygon", "٣٧,1 2,2 3,1", "/info/0/area/0/polygon/0", "Position 1"),
        ("polygon", "(1,1 1,2 2,2 1,1) (5,5 5,6 6,6 5,5)", "/info/0/area/0/polygon/0", "several rings"),
        ("polygon", "1,1 1,1 1,2 2,2 1,1 5,5 5,6 6,6 5,5", "/info/0/area/0/polygon/0", "several rings"),
        ("polygon", "(1,1 1,2 2,2)(5,5 5,6 6,6)", "/info/0/area/0/polygon/0", "several rings"),
        ("circle", "37.39,-5.98", "/info/0/area/0/circle/0", "radius"),
        ("circle", "37.39,-5.98 -1", "/info/0/area/0/circle/0", "not below 0"),
        ("circle", "37.39,-5.98 five", "/info/0/area/0/circle/0", "a number"),
        ("altitude", "high", "/info/0/area/0/altitude", "a number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(name: str, text: str, pointer: str, why: str):
    """Each fault has its pointer, its line and a sentence that quotes nothing of the document."""
    (fault,) = refused(changed(*element(name, text)))
    assert fault.pointer == pointer
    assert why in fault.detail
    assert fault.line == line_of(PARENTS[pointer.rpartition("/")[0]] if "required" in why else f"<{name}>")
    assert len(text.strip()) < 2 or text not in fault.detail


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        ("<status>Actual</status>", "<status>Actual</status><status>Test</status>", "/status"),
        ("<msgType>", "<msgType>Alert</msgType><msgType>", "/msgType"),
        ("<note>", "<expire>2026-11-25T08:00:00Z</expire><note>", "/expire"),
        ("<areaDesc>Sevilla", "<Point/><areaDesc>Sevilla", "/info/0/area/0/Point"),
        ("<note>", "<info xmlns=''/><note>", "/info"),
        ("<note>", "<info xmlns='urn:oasis:names:tc:emergency:cap:1.1'/><note>", "/info"),
        ("<valueName>INE</valueName>", "", "/info/0/area/0/geocode/0/valueName"),
        ("<valueName>INE</valueName>", "INE=<valueName>INE</valueName>", "/info/0/area/0/geocode/0"),
        ("<note>", "THIS IS ONLY A TEST<note>", ""),
        ("<status>", "<![CDATA[No alert.]]><status>", ""),
        ("<areaDesc>Sevilla", "not in <areaDesc>Sevilla", "/info/0/area/0"),
    ],
)
def test_elements_that_could_mean_something_are_not_passed_over(old: str, new: str, pointer: str):
    """An element of CAP that is twice there, misspelled, or in another version's namespace, and text that is in none, is refused, never left out."""
    assert [fault.pointer for fault in refused(changed(old, new))] == [pointer]


def test_all_faults_are_told_at_once_in_the_order_of_lines():
    """Whoever mends a document need not send it again for each fault."""
    raw = WHOLE
    for name, text in (("status", "x"), ("urgency", "x"), ("polygon", "x"), ("sent", "x")):
        raw = changed(*element(name, text), raw).decode()
    faults = refused(raw.encode())
    assert [fault.pointer for fault in faults] == [
        "/sent", "/status", "/info/0/urgency", "/info/0/area/0/polygon/0",
    ]  # fmt: skip
    assert [fault.line for fault in faults] == sorted(fault.line for fault in faults)


START = f'<alert xmlns="{NAMESPACE}">'
LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
HOSTILE = {
    "an external entity": f'<!DOCTYPE alert [<!ENTITY x SYSTEM "file:///etc/passwd">]>{START}<note>&x;</note></alert>',
    "a doctype after a comment": f"<?xml version='1.0'?><!-- a -->\n<?b c?>\n<!DOCTYPE alert SYSTEM 'http://127.0.0.1:9/'>{START}",
    "a billion laughs": f'<!DOCTYPE alert [<!ENTITY l0 "ha">{LAUGHS}]>{START}<note>&l9;</note></alert>',
    "an entity that nobody declared": f"{START}<note>&x;</note></alert>",
    "50 MB": START + " " * 50_000_000,
    "deep nesting": START + "<a>" * 200 + "</a>" * 200 + "</alert>",
    "deeper nesting": START + "<a>" * 200_000,
    "elements without end": START + "<code>a</code>" * 60_000,
    "unknown elements": START + "<x/>" * 39_000 + "</alert>",
    "infos": START + "<info/>" * 19_000 + "</alert>",
    "comments": "<!---->" * 140_000,
    "attributes": START[:-1] + "".join(f' a{i}=""' for i in range(90_000)) + "/>",
    "namespaces": START[:-1] + "".join(f' xmlns:a{i}="u"' for i in range(50_000)) + "/>",
    "positions": f"{START}<info><area><polygon>{'1,1 ' * 240_000}</polygon></area></info></alert>",
    "references": f"{START}<references>{'a,b,2026-11-25T08:00:00Z ' * 39_000}</references></alert>",
    "a long number": f"{START}<info><area><circle>{'1' * 990_000},1 1</circle></area></info></alert>",
    "a long name": f"<{'a' * 990_000}/>",
    "utf-7": '<?xml version="1.0" encoding="utf-7"?>+ADw-alert/+AD4-',
    "an encoding that is none": '<?xml version="1.0" encoding="utf-1"?><alert/>',
    "a page": "<html><body>Not found</body></html>",
    "a feed": f'<feed xmlns="http://www.w3.org/2005/Atom"><entry>{WHOLE.partition("?>")[2]}</entry></feed>',
    "no namespace": "<alert><identifier>a</identifier></alert>",
    "JSON": '{"kind": "general"}',
    "nothing": "",
    "broken off": WHOLE[:900],
    "two": f"{START}</alert>{START}</alert>",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_refused_in_bounded_time_and_memory(name: str):
    """Nothing is fetched, expanded or waited for: within 2 s (0.5 s on an idle machine) and 100 MB each has its refusal."""
    raw = HOSTILE[name].encode()
    tracemalloc.start()
    started = time.process_time()
    faults = refused(raw)
    seconds = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < len(faults) <= 100
    assert all(fault.line >= 1 and "passwd" not in fault.detail for fault in faults)
    assert (seconds < 2, peak < 100_000_000) == (True, True)


def test_bytes_that_are_no_text_are_refused():
    """Bytes of another encoding than the one that is named are told with their line, and not guessed."""
    raw = WHOLE.encode().replace("avería".encode(), b"aver\xeda")
    assert [fault.line for fault in refused(raw)] == [line_of("avería")]
    assert refused(b"\x1f\x8b\x08\x00")
    assert refused(b"\x00" * 1000)
    assert refused(b"\xff\xfe" + b"\x00\xd8" * 100)


def test_the_largest_document_is_read():
    """A document of exactly the most bytes is taken; one byte more is not."""
    room = MAX_BYTES - len(WHOLE.encode())
    raw = changed("<note>", f"<note>{'x' * room}")
    assert len(raw) == MAX_BYTES
    assert isinstance(parse_message(raw), Message)
    assert "bytes" in refused(raw + b"\n")[0].detail


def test_a_time_is_what_it_was_in_any_zone():
    """-00:00, +00:00 and Z are the same moment."""
    moments = {
        parse_message(changed("08:00:00+01:00</sent>", f"07:00:00{zone}</sent>")).sent
        for zone in ("Z", "-00:00", "+00:00")
    }
    assert moments == {datetime(2026, 11, 25, 7, tzinfo=UTC)}


def test_certainty_of_the_first_version_is_taken_as_the_specification_says():
    """`Very Likely` of CAP 1.0 is Likely."""
    assert parse_message(changed("<certainty>Likely", "<certainty>Very Likely")).infos[1].certainty is Certainty.LIKELY


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("\n", "blank line"),
        (" \r\n", "blank line"),
        ("\n\ufeff", "byte order mark"),
        ("\u00ef\u00bb\u00bf", "byte order mark"),
        ("Here is the alert:\n", "not XML"),
    ],
)
def test_what_stands_before_the_declaration_is_named(before: str, why: str):
    """A program that writes a blank line or a second byte order mark first is told so; a byte order mark alone is fine."""
    (fault,) = refused((before + WHOLE).encode())
    assert why in fault.detail
    assert parse_message(("\ufeff" + WHOLE).encode()) == parse_message(WHOLE.encode())


@pytest.mark.parametrize("raw", [b'{"kind": "general"}', b"Water cut in Sevilla", b"\n\nidentifier,sender\n"])
def test_what_is_no_xml_is_told_so(raw: bytes):
    """JSON, words or a table instead of a document are called what they are not; an empty body is called empty."""
    (fault,) = refused(raw)
    assert "not XML" in fault.detail
    (fault,) = refused(b" \n")
    assert "empty" in fault.detail


def test_a_document_of_100_000_positions_is_read():
    """The largest area that a target may have, as precise as programs write it, in several rings."""
    rings = ["".join(f"{37 + i / 1e6:.6f},{-6 + (i % 2) / 10:.6f} " for i in range(10_000)) for _ in range(10)]
    polygons = "".join(
        f"<polygon>{ring}{ring.split()[0]}</polygon>" for ring in (ring[:-1].rpartition(" ")[0] + " " for ring in rings)
    )
    raw = changed(
        "<circle>",
        f"{polygons}<circle>",
        WHOLE.replace("<polygon>37.40,-6.02 37.40,-5.95 37.36,-5.95 37.36,-6.02 37.40,-6.02</polygon>", ""),
    )
    assert 1_900_000 < len(raw) <= MAX_BYTES
    assert sum(map(len, parse_message(raw).infos[0].areas[0].polygons)) == 100_000
