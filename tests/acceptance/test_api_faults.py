"""What the API refuses: bad input gets one clear answer, and nothing is half done."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.acceptance.asking import pointers, raw
from tests.acceptance.conftest import Served
from tests.unit.alertd.samples import SUBSCRIBER, changed

pytestmark = pytest.mark.shares

BOW_TIE = [[[-6.1, 37.3], [-5.8, 37.5], [-5.8, 37.3], [-6.1, 37.5], [-6.1, 37.3]]]


#: What the sample tells of its child beyond age and sex.
FACTS = ("name", "height_cm", "hair", "eyes", "clothing")

CASES = [
    ({"target/regions": ["41O91"]}, 422, "unknown-region", ["/target/regions/0"]),
    (
        {"target/circles": [{"center": [37.39, -5.97], "radius_km": 0.0}]},
        422,
        "invalid-geometry",
        ["/target/circles/0/radius_km"],
    ),
    ({"expires": "2020-01-01T00:00:00Z"}, 409, "expired", ["/expires"]),
    (
        {"case/protection": ["witness"], "info": {}},
        400,
        "invalid-request",
        [f"/case/children/0/{fact}" for fact in FACTS],
    ),
    ({"case/verification": None}, 422, "case-not-verified", None),
    ({"info/es/source": "machine"}, 422, "translation-unreviewed", ["/info/es/source"]),
    ({"target": {"circles": [{"center": [-5.98, 37.39], "radius_km": 0.1}]}}, 422, "audience-too-small", None),
    ({"author/subject": "someone@else.example"}, 403, "not-allowed", ["/author/subject"]),
    (
        {"case/contact": [{"url": "https://centre.example/" + "x" * 1600}]},
        400,
        "invalid-request",
        ["/case/contact/0/url"],
    ),
    (
        {"case/contact": [{"dial": "116000", "countries": ["FR"]}, {"text": "sms:+34600000000", "role": "deaf"}]},
        422,
        "contact-unreachable-from-area",
        ["/case/contact"],
    ),
    ({"case/contact": [{"dial": "116000", "countries": ["ES"]}]}, 422, "contact-voice-only", ["/case/contact"]),
    ({"starts": "2020-01-01T00:00:00Z"}, 400, "invalid-request", ["/starts"]),
    ({"target/groups": ["volunteers"]}, 400, "invalid-request", ["/target/groups"]),
]


@pytest.mark.parametrize(("changes", "status", "slug", "places"), CASES)
def test_what_cannot_be_sent_is_refused(
    served: Served, alert: dict[str, Any], ana: str, changes: dict[str, Any], status: int, slug: str, places: Any
):
    """Each with its problem, its place, and what to do about it; nothing is ignored."""
    for path, value in changes.items():
        alert = changed(alert, path, value)
    found, answer = served.call("POST", "/v1/alerts", alert, ana)
    assert (found, answer["type"]) == (status, f"/problems/{slug}")
    assert answer["what_to_do"]
    if places:
        assert pointers(answer) == places


def test_a_dry_run_finds_what_no_message_could_hold(served: Served, alert: dict[str, Any], ana: str):
    """A link that an SMS or a push would cut in the safety line is refused before the alert is kept; one that they hold is taken."""
    long, held = (
        changed(alert, "case/contact", [{"url": "https://centre.example/" + "x" * more}]) for more in (1600, 470)
    )
    status, answer = served.call("POST", "/v1/alerts?dry_run=true", long, ana)
    assert (status, answer["type"], pointers(answer)) == (400, "/problems/invalid-request", ["/case/contact/0/url"])
    assert served.call("POST", "/v1/alerts?dry_run=true", held, ana)[0] == 202


SHAPES = [
    ([[[-6, 37], [-5, 37], [-5, 38]]], None),  # unclosed: closed for the sender
    ([[[-6, 37], [-5, 37]]], "invalid-geometry"),
    ([], "invalid-geometry"),
    ([[[37, -6], [37, -5], [138, -95], [37, -6]]], "invalid-geometry"),
    ([[[-170, 10], [170, 10], [170, 20], [-170, 20], [-170, 10]]], "invalid-geometry"),  # which way round?
]


@pytest.mark.parametrize(("rings", "slug"), SHAPES)
def test_odd_shapes_are_mended_or_refused(served: Served, ana: str, rings: Any, slug: str | None):
    """What can be meant in one way is taken; the rest is refused at its place."""
    target = {"polygons": [{"type": "Polygon", "coordinates": rings}]}
    status, answer = served.call("POST", "/v1/targets/preview", {"target": target}, ana)
    if slug is None:
        assert status == 200
    else:
        assert (status, answer["type"]) == (422, f"/problems/{slug}")
        assert pointers(answer)[0].startswith("/target/polygons/0")


def test_a_preview_counts_every_ring_and_tells_the_buffer(served: Served, ana: str):
    """One call shows each ring from the innermost, with its delay, and that the area was made wider."""
    rings = [{"center": [-5.98, 37.39], "radius_km": km, "delay_min": km, "loudness": "loud"} for km in (30, 5)]
    target = {"rings": rings, "buffer_km": 2}
    status, answer = served.call("POST", "/v1/targets/preview", {"target": target}, ana)
    assert status == 200
    shown = answer["audience"]["rings"]
    assert [(ring["ring"], ring["delay_min"], ring["loudness"]) for ring in shown] == [(2, 5, "loud"), (1, 30, "loud")]
    assert [ring["km2"] for ring in shown] == pytest.approx([math.pi * 7**2, math.pi * (32**2 - 7**2)], rel=0.01)
    assert answer["area"]["repairs"] == [
        "/buffer_km: The area was made wider by 2 km. Its line may lie up to 3% of that farther out."
    ]


def test_a_bow_tie_is_mended_and_said(served: Served, ana: str):
    """A shape that crosses itself is repaired, and the preview tells it: in a sentence, and as a code with its figures."""
    target = {"polygons": [{"type": "Polygon", "coordinates": BOW_TIE}]}
    status, answer = served.call("POST", "/v1/targets/preview", {"target": target}, ana)
    assert status == 200
    assert answer["area"]["repairs"][0].startswith("/polygons/0")
    (mended,) = answer["area"]["mended"]
    assert (mended["code"], f"{mended['pointer']}: {mended['text']}") == ("crossed", answer["area"]["repairs"][0])
    assert mended["figures"]["after_km2"] == pytest.approx(answer["area"]["km2"], abs=0.01)
    assert len(answer["geometry"]["coordinates"]) == 2


def test_too_much_is_refused_at_once(served: Served, alert: dict[str, Any], ana: str):
    """Too many vertices, too long a body, numbers that are none, and nesting without end: an answer, quickly."""
    circle = [[math.cos(i / 20000) * 5, math.sin(i / 20000) * 5] for i in range(120_000)]
    large = changed(alert, "target", {"polygons": [{"type": "Polygon", "coordinates": [[*circle, circle[0]]]}]})
    assert raw(served, json.dumps(large).encode(), ana)[0] in {413, 422}
    assert raw(served, b'{"kind": "' + b"x" * 11_000_000 + b'"}', ana)[0] == 413
    nan = json.dumps({**alert, "target": {"circles": [{"center": [math.nan, 1], "radius_km": 1}]}})
    for body in (nan.encode(), b"[" * 100_000, b'{"kind": 1, "kind": 2}', b"\xff", b"<alert/>"):
        status, answer = raw(served, body, ana)
        assert (status, answer["type"]) == (400, "/problems/invalid-request")


def test_errors_never_quote_people(served: Served, alert: dict[str, Any], ana: str):
    """A refused alert or subscriber is told by place, without the words that were sent."""
    secret = "Xanthippe-4711"
    broken = changed(changed(alert, "case/children/0/name", {"public": secret, "nickname": secret}), "kind", secret)
    person = {**SUBSCRIBER, "addresses": [{"channel": "sms", "number": secret}], "languages": [secret]}
    for method, path, body in (("POST", "/v1/alerts", broken), ("PUT", "/v1/subscribers/x", person)):
        status, answer = served.call(method, path, body, ana)
        assert status == 400
        assert secret not in json.dumps(answer)


def test_a_preview_ignores_nothing(served: Served, ana: str):
    """What is not done yet is refused there as in an alert: else another area would be seen than was asked for."""
    status, answer = served.call("POST", "/v1/targets/preview", {"target": {"groups": ["x"]}}, ana)
    assert (status, pointers(answer)) == (400, ["/target/groups"])


def test_who_asks_for_no_case_in_particular_is_not_shown_them_all(served: Served, alert: dict[str, Any], ana: str):
    """A case system whose number is empty would take the first of them for its own, and end it."""
    assert served.call("POST", "/v1/alerts", alert, ana)[0] == 202
    for name in ("case", "external_id"):
        status, answer = served.call("GET", f"/v1/alerts?{name}=", None, ana)
        assert (status, pointers(answer)) == (400, [name])


def test_what_is_too_large_to_be_meant_is_refused_in_words(served: Served):
    """A number that no store counts to is a problem, not a broken connection."""
    for query in (f"cursor={10**30}", f"cursor={2**63}"):
        status, answer = served.call("GET", f"/v1/audit?{query}")
        assert (status, pointers(answer)) == (400, ["cursor"])
