"""The preview of messages: what people will read, in every language, before anybody does."""

from __future__ import annotations

import re
from typing import Any

import pytest

from alertd.common.resources import templates_dir
from alertd.rendering import Renderer
from channels.base import SAMPLE_OPT_OUT
from tests.acceptance.conftest import Served
from tests.unit.alertd.samples import GENERAL, changed

pytestmark = pytest.mark.shares

LANGUAGES = Renderer(templates_dir()).all_languages
PREVIEW = "/v1/messages/preview"


def previewed(served: Served, alert: dict[str, Any], query: str = "", key: str | None = None) -> dict[str, Any]:
    status, answer = served.call("POST", PREVIEW + query, alert, key)
    assert status == 200, answer
    return answer


def keyed(served: Served, *scopes: str) -> str:
    made = served.call("POST", "/v1/keys", {"subject": "viewer@centre.example", "scopes": list(scopes)})[1]
    return str(made["token"])


def test_every_channel_and_language_is_shown(served: Served, alert: dict[str, Any]):
    """A missing-child alert is shown on each of its channels in all languages, the sender's first, whoever asks."""
    answer = previewed(served, alert, key=keyed(served, "alerts:read"))
    assert [one["language"] for one in answer["languages"]][:2] == ["es", "en"]
    assert {(one["channel"], one["language"]) for one in answer["messages"]} == {
        (channel, language) for channel in ("push", "sms", "mail") for language in LANGUAGES
    }
    assert [one["language"] for one in answer["languages"] if one["direction"] == "rtl"] == ["ar"]
    for message in answer["messages"]:
        texts = {name for name in ("title", "body", "subject", "text", "html", "segments") if message[name] is not None}
        assert texts == {
            "push": {"title", "body"}, "sms": {"text", "segments"}, "mail": {"subject", "text", "html"},
        }[message["channel"]]  # fmt: skip


def test_what_is_asked_for_is_shown(served: Served, alert: dict[str, Any]):
    """Channels and languages by name, in the order asked for, with an SMS's segments and alphabet; nothing is kept."""
    before = served.call("GET", "/v1/alerts?limit=200")[1]
    writer = keyed(served, "alerts:write")
    plain = changed(alert, "case/children/0/name", {"public": "Inés P."})
    answer = previewed(served, plain, "?channels=sms,webpush&languages=pl,es", writer)
    assert [(one["channel"], one["language"]) for one in answer["messages"]] == [
        ("sms", "pl"), ("sms", "es"), ("webpush", "pl"), ("webpush", "es"),
    ]  # fmt: skip
    polish = answer["messages"][0]
    assert (polish["encoding"], polish["segments"]) == ("gsm7", 2)
    assert "Inés P., 7 lat" in polish["text"]
    assert served.call("GET", "/v1/alerts?limit=200")[1] == before


def test_an_sms_is_shown_in_every_way_a_carrier_may_send_it(served: Served, alert: dict[str, Any]):
    """The one that is used comes first; a name with letters outside the alphabet keeps its letters, and the preview says that it decides."""
    plain = changed(alert, "case/children/0/name", {"public": "Inés P."})
    [spanish] = previewed(served, plain, "?channels=sms&languages=es")["messages"]
    assert [(one["encoding"], one["transliterated"], one["used"]) for one in spanish["codings"]] == [
        ("gsm7", True, True), ("ucs2", False, False),
    ]  # fmt: skip
    assert spanish["codings"][0]["segments"] == spanish["segments"] < spanish["codings"][1]["segments"]
    assert (spanish["name_decides"], spanish["codings"][0]["price"]) == (False, None)
    named = changed(alert, "case/children/0/name", {"public": "Lucía P."})
    [spanish] = previewed(served, named, "?channels=sms&languages=es")["messages"]
    assert "Lucía P." in spanish["text"]
    assert (spanish["encoding"], spanish["name_decides"], len(spanish["codings"])) == ("ucs2", True, 1)


def test_people_are_told_the_number_of_where_they_are(served: Served, alert: dict[str, Any]):
    """Of two short numbers, that of the area's country, whichever comes first."""
    deaf = {"text": "sms:+34600000000", "role": "deaf"}
    two = [{"dial": "119", "countries": ["FR"]}, {"dial": "112", "countries": ["ES"]}, deaf]
    answer = previewed(served, changed(alert, "case/contact", two), "?channels=push,sms,mail&languages=en,fr")
    for message in answer["messages"]:
        assert "112" in (message["body"] or message["text"])
    english = answer["messages"][0]
    assert "Do not approach. If you see them, call 112." in english["body"]


def test_a_preview_has_nobodys_link_to_leave(served: Served, alert: dict[str, Any]):
    """It shows where each reader's own will stand, in words that no mail takes for it."""
    [mail] = previewed(served, alert, "?channels=mail&languages=es")["messages"]
    for said in (mail["text"], mail["html"]):
        assert set(re.findall(r"/u/([\w-]+)", said)) == {SAMPLE_OPT_OUT}


def test_what_has_no_room_is_named(served: Served, alert: dict[str, Any]):
    """A long SMS names the facts it leaves out and those it cuts; the mail has room for all of them."""
    long = changed(alert, "case/children/0/clothing", {"es": "abrigo rojo con capucha, " * 20})
    long["case"]["last_seen"]["place"] = {"es": "estación de autobuses de Santa Justa, " * 4}
    sms, mail = previewed(served, long, "?channels=sms,mail&languages=es")["messages"]
    assert sms["left_out"][-1] == "valid_until"
    assert {"place", "clothing"} <= {*sms["shortened"], *sms["left_out"]}
    assert "..." in sms["text"]
    assert (mail["left_out"], mail["shortened"]) == ([], [])
    many = changed(alert, "case/children", [{**alert["case"]["children"][0], "id": f"c{n}"} for n in range(5)])
    assert "children" in previewed(served, many, "?channels=push&languages=es")["messages"][0]["shortened"]


def test_what_is_not_translated_is_named(served: Served, alert: dict[str, Any]):
    """Each language says which texts its readers will miss, where to write them, and which of the sender's nobody gets."""
    alert = changed(alert, "info/ja", {"description": "赤いコート"})
    answer = previewed(served, alert)
    missing = {one["language"]: one["untranslated"] for one in answer["languages"]}
    assert missing["fr"] == [
        "/info/fr/description", "/info/fr/instruction", "/case/children/0/clothing/fr", "/case/last_seen/place/fr",
    ]  # fmt: skip
    assert missing["es"] == ["/info/es/description"]
    assert answer["untold"] == ["ja"]


def test_a_general_alert_is_shown_in_the_languages_it_has(served: Served, alert: dict[str, Any]):
    """And in no other: asking for one is refused with those there are."""
    general = {**GENERAL, "expires": alert["expires"]}
    answer = previewed(served, general, "?channels=push")
    assert [one["language"] for one in answer["messages"]] == ["es", "ar"]
    assert answer["messages"][0]["title"].startswith("PRUEBA – no es real – AVISO DE PELIGRO: Corte de agua")
    assert [one["untranslated"] for one in answer["languages"]] == [[], ["/info/ar/instruction"]]
    status, refused = served.call("POST", PREVIEW + "?languages=fr", general)
    assert (status, refused["errors"][0]["parameter"]) == (400, "languages")
    assert "es, ar" in refused["errors"][0]["detail"]


@pytest.mark.parametrize(("path", "value", "problem", "pointer"), [
    ("case/verification/custody_checked", False, "case-not-verified", "/case/verification"),
    ("expires", "2020-01-01T00:00:00Z", "expired", "/expires"),
    ("info/fr", {"description": "x", "source": "machine"}, "translation-unreviewed", "/info/fr"),
    (
        "case/contact", [{"dial": "119", "countries": ["FR"]}, {"text": "sms:+34600000000", "role": "deaf"}],
        "contact-unreachable-from-area", "/case/contact",
    ),
    ("target/regions", ["41O91"], "unknown-region", "/target/regions/0"),
    ("level", "loud", "invalid-request", "/level"),
])  # fmt: skip
def test_what_would_be_refused_is_refused(
    served: Served, alert: dict[str, Any], path: str, value: Any, problem: str, pointer: str
):
    """The same answer as a submission gets."""
    bad = changed({**alert, "author": {}}, path, value)
    shown, taken = served.call("POST", PREVIEW, bad), served.call("POST", "/v1/alerts", bad)
    assert shown[1]["type"] == f"/problems/{problem}"
    assert shown[1]["errors"][0]["pointer"].startswith(pointer)
    assert (shown[0], shown[1]["type"]) == (taken[0], taken[1]["type"])


def test_wrong_questions_are_refused(served: Served, alert: dict[str, Any]):
    """A channel that does not exist, and a key that may neither read nor write."""
    status, answer = served.call("POST", PREVIEW + "?channels=fax", alert)
    assert (status, answer["errors"][0]["parameter"]) == (400, "channels")
    assert served.call("POST", PREVIEW, alert, keyed(served, "regions:read"))[0] == 403


def test_what_follows_an_alert_is_shown_before_it_is_needed(served: Served, alert: dict[str, Any]):
    """An update tells all and says that it is one; a cancel says why, in every language, and names nobody on any channel."""
    query = "?channels=push,sms,mail&languages=en,ar"
    update = previewed(served, alert, f"{query}&occasion=update")["messages"]
    assert update[0]["title"] == "Update – Missing child in danger: Lucía P., 7 years old"
    cancel = previewed(served, alert, f"{query}&occasion=cancel&reason=sent-in-error")
    assert [one["untranslated"] for one in cancel["languages"]] == [[], []]
    english = cancel["messages"][0]
    assert english["title"] == "Missing-child alert cancelled"
    assert "was sent in error. We apologise." in english["body"]
    assert "Do not approach anyone because of this alert." in english["body"]
    for message in cancel["messages"]:
        told = " ".join(str(value) for value in message.values())
        assert not [fact for fact in ("Lucía", "لوسيا", "Santa Justa", "red coat") if fact in told]
    closed = previewed(served, {**alert, "status": "Exercise"}, "?channels=push&languages=es&occasion=close")[
        "messages"
    ][0]
    assert closed["title"].startswith(
        "SIMULACRO – no ha desaparecido ningún menor – Alerta de menor desaparecido finalizada"
    )


def test_an_end_says_of_which_moment_the_alert_was(served: Served, alert: dict[str, Any]):
    """Whoever stands it down reads what people will read: when they were told, on the clocks of the case, and not what time it is now."""
    query = "?channels=push&languages=en&occasion=stand-down&alerted=2026-08-14T09:30:00Z"
    [told] = previewed(served, alert, query)["messages"]
    assert "11:30" in told["body"]
    assert "14" in told["body"]


@pytest.mark.parametrize(
    "query", ["?occasion=cancel", "?occasion=close&reason=drill", "?reason=drill", "?occasion=found"]
)
def test_an_occasion_without_its_reason_is_refused(served: Served, alert: dict[str, Any], query: str):
    """A cancel needs one of the reasons, and nothing else takes one; what is no occasion is refused with those there are."""
    status, answer = served.call("POST", PREVIEW + query, alert)
    assert (status, answer["type"]) == (400, "/problems/invalid-request")
    assert answer["errors"][0]["parameter"] in {"reason", "occasion"}
