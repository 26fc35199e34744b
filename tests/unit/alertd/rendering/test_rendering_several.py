"""Several children at once: an SMS stays within its segments, and whoever reads it knows whom, how many, where, and whom to call."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from alertd.model.kinds import KINDS, Kind, Occasion
from alertd.rendering import Preview, Renderer, Telling
from alertd.rendering.renderer import MAX_SEGMENTS_GSM, MAX_SEGMENTS_UCS2
from channels.base import Loudness, SmsMessage, Stamp
from channels.text import is_gsm, segments, spelled_for_sms
from tests.sampling import sampled
from tests.unit.alertd.rendering.longest import LANGUAGES
from tests.unit.alertd.rendering.usual import SAFETY, SEVERAL, STATUSES, URL, USUAL, alert_of, bare
from tests.unit.alertd.samples import as_sent, changed

NAMES = ("Inés P.", "Hugo P.", "Paula P.", "Marta P.", "Bruno P.", "Elena P.", "Olga P.", "Pablo P.", "Ruth P.")
TELLINGS = (Telling(), Telling(occasion=Occasion.UPDATE))


def siblings(names: tuple[str, ...], **facts: Any) -> dict[str, Any]:
    """As many as there are names, three years old, four, and so on."""
    child = USUAL["case"]["children"][0]
    children = [
        {**child, "id": f"c{n}", "name": {"public": name}, "age": {"years": 3 + n}, **facts}
        for n, name in enumerate(names)
    ]
    return changed(USUAL, "case/children", children)


def preview(
    renderer: Renderer, document: dict[str, Any], language: str, telling: Telling = TELLINGS[0], **top: Any
) -> Preview:
    stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.LOUD, language=language)
    return renderer.preview(
        alert_of(document, **top), channel="sms", language=language, stamp=stamp, url=URL, telling=telling
    )


def has(text: str, part: str) -> bool:
    return bare(part) in bare(text) or spelled_for_sms(bare(part)) in bare(text)


def several_safety(renderer: Renderer, language: str) -> str:
    form: str = renderer.words(language).words["safety"]["many"]["dial"]
    return form.format(contact="116000")


def takes_turns(status: str, language: str) -> bool:
    """Each language with one status, each status with a third of the languages."""
    return STATUSES.index(status) == LANGUAGES.index(language) % len(STATUSES)


BY_TURNS = sampled(itertools.product(STATUSES, LANGUAGES), takes_turns)


@pytest.mark.parametrize(("status", "language"), BY_TURNS)
def test_nine_children_stay_within_the_segments(renderer: Renderer, status: str, language: str):
    """In every level, status and occasion, with usual names and very long ones: the first with its age, how many others, the place,
    the safety line with the hotline, and the link.
    """
    words = renderer.words(language)
    for sample, telling, level in itertools.product((SEVERAL, siblings(NAMES)), TELLINGS, KINDS[Kind.MISSING_CHILD]):
        message = preview(renderer, sample, language, telling, status=status, level=level).message
        assert isinstance(message, SmsMessage)
        text = as_sent(message)
        assert segments(text)[1] <= (MAX_SEGMENTS_GSM if is_gsm(text) else MAX_SEGMENTS_UCS2)
        name, age = ("Inés P.", 3) if sample is not SEVERAL else ("لوسيا" if language == "ar" else "Lucía María", 0)
        first = text.split("\n")[0]
        assert has(first, name)
        assert has(first, words.counted("years", age))
        assert any(has(first, words.counted("more", others)) for others in (7, 8))
        assert has(text, several_safety(renderer, language))
        assert "116000" in text
        assert has(text, "Santa Justa" if sample is not SEVERAL else "estación de autobuses")
        assert text.endswith(URL)


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_are_named_both(renderer: Renderer, language: str):
    """As long as there is room, and with usual names there is, nobody is but a number."""
    first = preview(renderer, siblings(NAMES[:2]), language).message.text.split("\n")[0]
    words = renderer.words(language)
    assert all(has(first, name) for name in NAMES[:2])
    assert all(has(first, words.counted("years", age)) for age in (3, 4))


@pytest.mark.parametrize(("status", "language"), BY_TURNS)
@pytest.mark.parametrize("count", [2, 3, 9])
def test_clothing_is_always_somebody_s(renderer: Renderer, status: str, language: str, count: int):
    """A red coat stands below a name or after one, however little room there is: of two children nobody knows whose it is otherwise."""
    for long in (0, 20, 40, 60):
        document = siblings(NAMES[:count], clothing={language: "Anorak " + "x" * long})
        lines = preview(renderer, document, language, status=status).message.text.split("\n")
        for number, text in enumerate(lines):
            if "Anorak" in text:
                assert any(has(f"{lines[number - 1]}\n{text}", name) for name in NAMES[:2])


def test_a_preview_says_that_not_all_are_named(renderer: Renderer):
    """The operator sees that seven are but counted, and what else had no room."""
    found = preview(renderer, siblings(NAMES), "es")
    assert found.shortened == ("children",)
    assert {one for one in found.left_out if not one.startswith("contact")} <= {
        "hair",
        "height",
        "eyes",
        "sex",
        "clothing",
        "valid_until",
    }
    assert SAFETY["es"] not in found.message.text
