"""An organisation's own texts through the API: written, shown in the preview, refused with their line, removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import Served

pytestmark = pytest.mark.shares

TEXTS = "/v1/organisations/default/texts"
TITLE = f"{TEXTS}/missing-child/push/en/title"
PREVIEW = "/v1/messages/preview?channels=push,sms,mail&languages=en"


@pytest.fixture
def clean(served: Served) -> Iterator[Served]:
    """The usual words before and after."""
    yield served
    for text in served.call("GET", TEXTS)[1]["texts"]:
        place = "/".join(text[name] for name in ("message", "channel", "language", "part"))
        assert served.call("DELETE", f"{TEXTS}/{place}")[0] == 204


def keyed(served: Served, *scopes: str) -> str:
    made = served.call("POST", "/v1/keys", {"subject": "words@centre.example", "scopes": list(scopes)})[1]
    return str(made["token"])


def test_own_words_are_told_instead_of_the_usual_ones(clean: Served, alert: dict[str, Any]):
    """From the next preview on, in that language and part alone, with the safety line and the mark of a test put in by the service."""
    usual = clean.call("POST", PREVIEW, alert)[1]["messages"]
    status, kept = clean.call("PUT", TITLE, {"template": "Help us: {{ who }}{% if place %}, {{ place }}{% endif %}"})
    assert (status, kept["part"]) == (200, "title")
    mail = {"template": "Please look at {{ who }}.\n\n{{ last_seen }}\n\n{{ people }}"}
    assert clean.call("PUT", f"{TEXTS}/missing-child/mail/en/body", mail)[0] == 200
    shown = clean.call("POST", PREVIEW, alert)[1]["messages"]
    assert shown[0]["title"] == "Help us: Lucía P., 7 years old, Santa Justa station"
    assert shown[0]["body"] == usual[0]["body"]
    assert shown[1] == usual[1]
    assert shown[2]["text"].startswith(
        "Please look at Lucía P., 7 years old.\n\nDo not approach. If you see them, call 116000."
    )
    assert "Please look at Lucía P., 7 years old." in shown[2]["html"]
    drill = clean.call("POST", PREVIEW, {**alert, "status": "Exercise"})[1]["messages"]
    assert drill[0]["title"].startswith("EXERCISE – no child is missing – Help us: ")
    assert clean.call("GET", TITLE)[1] == kept
    assert len(clean.call("GET", TEXTS)[1]["texts"]) == 2
    assert clean.call("DELETE", TITLE)[0] == 204
    assert clean.call("POST", PREVIEW, alert)[1]["messages"][0] == usual[0]
    assert clean.call("GET", TITLE)[0] == clean.call("DELETE", TITLE)[0] == 404


def test_a_dry_run_answers_the_same_and_keeps_nothing(clean: Served, alert: dict[str, Any]):
    """Answer and refusals are those of the real one; no text, no new revision, and no other preview comes of it."""
    usual, revision = clean.call("POST", PREVIEW, alert)[1]["messages"], clean.call("GET", TEXTS)[1]["revision"]
    dry, good, bad = f"{TITLE}?dry_run=true", {"template": "Help: {{ who }}"}, {"template": "{{ who }} {% if place %}"}
    tried = clean.call("PUT", dry, good)
    assert tried[0] == 200
    assert clean.call("GET", TITLE)[0] == 404
    assert clean.call("GET", TEXTS)[1] == {"revision": revision, "texts": []}
    assert clean.call("POST", PREVIEW, alert)[1]["messages"] == usual
    assert clean.call("PUT", TITLE, good) == tried
    assert clean.call("PUT", dry, bad)[1]["errors"] == clean.call("PUT", TITLE, bad)[1]["errors"]
    assert clean.call("GET", TITLE)[1]["template"] == good["template"]


@pytest.mark.parametrize(("template", "line"), [
    ("Fine\n{% for x in who %}{{ who }}{% endfor %}", 2),
    ("{{ who }}\n\n{{ who.__class__.__mro__ }}", 3),
    ("{{ who }} {{ case.number }}", 1),
    ("{{ who }}\n{{ 10 ** 10 ** 10 }}", 2),
    ("{{ who }}\n{% if place %}", 2),
    ("Look out!", 1),
])  # fmt: skip
def test_a_text_that_may_not_be_is_refused_with_its_line(clean: Served, template: str, line: int):
    """When it is saved, as a problem that points at the template; nothing is kept."""
    status, problem = clean.call("PUT", TITLE, {"template": template})
    assert (status, problem["type"]) == (400, "/problems/invalid-request")
    assert problem["errors"][0]["pointer"] == "/template"
    assert problem["errors"][0]["detail"].startswith(f"Line {line}: ")
    assert clean.call("GET", TITLE)[0] == 404


def test_a_text_that_does_not_fit_is_refused(clean: Served):
    """An SMS of more segments than its budget, tried with the longest alert; and words that nobody could read."""
    place = f"{TEXTS}/missing-child/sms/en/text"
    status, problem = clean.call("PUT", place, {"template": "{{ who }} " + "very " * 100})
    assert (status, problem["type"]) == (422, "/problems/message-impossible")
    assert "segments" in problem["errors"][0]["detail"]
    for template in ("", "a\u0007{{ who }}", "x" * 4_001, None):
        status, problem = clean.call("PUT", place, {"template": template})
        assert (status, problem["errors"][0]["pointer"]) == (400, "/template")


@pytest.mark.parametrize("path", [
    f"{TEXTS}/missing-child/push/en/text", f"{TEXTS}/missing-child/fax/en/text", f"{TEXTS}/flood/push/en/title",
    f"{TEXTS}/ended/push/ja/title", "/v1/organisations/other/texts/ended/push/en/title",
])  # fmt: skip
def test_a_place_that_is_none_is_refused(clean: Served, path: str):
    """A part, channel, message or language that does not exist, and another organisation's."""
    assert clean.call("PUT", path, {"template": "{{ heading }} {{ happened }}"})[0] in {400, 404}
    assert clean.call("GET", TEXTS)[1]["texts"] == []


def test_who_may_change_words(clean: Served):
    """Only a key with that scope, and no test key; who reads alerts may read them; another organisation's are not found."""
    reader, writer = keyed(clean, "alerts:read"), keyed(clean, "texts:write")
    text = {"template": "{{ who }}"}
    assert clean.call("PUT", TITLE, text, reader)[0] == 403
    assert clean.call("PUT", TITLE, text, keyed(clean, "alerts:write", "alerts:approve"))[0] == 403
    assert clean.call("PUT", TITLE, text, writer)[0] == 200
    assert clean.call("GET", TEXTS, None, reader)[0] == clean.call("GET", TITLE, None, writer)[0] == 200
    assert clean.call("DELETE", TITLE, None, reader)[0] == 403
    tester = {"subject": "words@centre.example", "scopes": ["texts:write"], "test": True}
    testing = clean.call("POST", "/v1/keys", tester)[1]["token"]
    assert clean.call("PUT", TITLE, text, testing)[0] == clean.call("DELETE", TITLE, None, testing)[0] == 403
    assert clean.call("GET", "/v1/organisations/other/texts")[0] == 404
