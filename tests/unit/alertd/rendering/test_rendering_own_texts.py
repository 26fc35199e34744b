"""An organisation's own texts: what may stand in them, and that no text can run, reach out, fail, or keep a warning from people."""

from __future__ import annotations

import html
import itertools
import random
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from alertd.model.kinds import Occasion
from alertd.rendering import Renderer, Telling
from alertd.rendering.facts import MESSAGES
from alertd.rendering.own_texts import (
    FILTERS,
    MAX_LENGTH,
    NAMES,
    PARTS,
    OwnText,
    RefusedTextError,
    TextFault,
    TextPlace,
    read_text,
)
from alertd.rendering.rehearsal import rehearse
from channels.base import Loudness, MailMessage, SmsMessage, Stamp
from tests.sampling import sampled
from tests.unit.alertd.rendering.longest import CHANNELS, LANGUAGES, LONGEST_CHILD, parts
from tests.unit.alertd.rendering.usual import SAFETY, SAMPLES, USUAL, alert_of, bare

TITLE = TextPlace("missing-child", "push", "en", "title")
BODY = TextPlace("missing-child", "push", "en", "body")
MAIL = TextPlace("missing-child", "mail", "en", "body")
CLOSED = Telling(occasion=Occasion.CLOSE, alerted_at=datetime(2026, 11, 24, 18, 5, tzinfo=UTC))
NOTHING = dict.fromkeys(itertools.chain.from_iterable(NAMES.values()), "")


def render(
    renderer: Renderer, texts: dict[TextPlace, str], channel: str, document: dict[str, Any] = USUAL, **rest: Any
) -> Any:
    """The message of a sample, with these own texts."""
    language, telling = rest.pop("language", "en"), rest.pop("telling", Telling())
    stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.NORMAL, language=language)
    own = {place: read_text(source, place) for place, source in texts.items()}
    alert = alert_of(document, **rest)
    return renderer.render(alert, channel=channel, language=language, stamp=stamp, telling=telling, own=own)


def outcome(source: str) -> tuple[OwnText | None, tuple[TextFault, ...]]:
    try:
        return read_text(source, BODY), ()
    except RefusedTextError as error:
        return None, error.faults


def test_a_text_chooses_among_facts():
    """Words, facts by name, if, elif and else, and, or, not, and filters; what follows a tag's line is not an empty line."""
    source = (
        "{% if who and not mark %}\n{{ who | upper }}\n{% elif place %}\nin {{ place }}\n{% else %}\nnobody\n{% endif %}\n"
        "{{ seen_at or place or mark | lower | sentence }}"
    )
    text = read_text(source, BODY)
    assert text.filled({**NOTHING, "who": "Inés", "seen_at": "today"}) == "INÉS\ntoday"
    assert text.filled({**NOTHING, "who": "Inés", "mark": "TEST"}) == "nobody\nTest"
    assert text.filled({**NOTHING, "place": "Sevilla"}) == "in Sevilla\nSevilla"
    assert text.filled({**NOTHING, "place": "{{ who }} {% if %}"}).startswith("in {{ who }} {% if %}")


@pytest.mark.parametrize("source", [
    "{% for x in who %}x{% endfor %}", "{% for x in range(10**9) %}{% endfor %}", "{{ who.__class__.__mro__ }}", "{{ who() }}",
    "{{ who['x'] }}", "{{ 'a' * 999999999 }}", "{{ 9 ** 9 ** 9 }}", "{{ 1 / 0 }}", "{{ who ~ place }}", "{{ who == place }}",
    "{{ who is defined }}", "{{ who if place else mark }}", "{{ 'x' }}", "{{ 5 }}", "{{ true }}", "{{ [who] }}", "{{ {'a': who} }}",
    "{{ who | attr('__class__') }}", "{{ who | upper(1) }}", "{{ who | default('x') }}", "{{ who | map('upper') }}",
    "{% set who = place %}", "{% macro a() %}{% endmacro %}", "{% call who() %}{% endcall %}", "{% include 'messages/_mail.html' %}",
    "{% import 'x' as y %}", "{% from 'x' import y %}", "{% extends 'x' %}", "{% block a %}{% endblock %}", "{% with a = who %}{% endwith %}",
    "{% filter upper %}a{% endfilter %}", "{% autoescape false %}{{ who }}{% endautoescape %}", "{% raw %}{% endraw %}{{ who + 1 }}",
    "{{ not who }}", "{{ lipsum }}", "{{ cycler }}", "{{ self }}", "{{ loop }}", "{{ facts }}", "{{ words }}", "{{ safety }}", "{{ children }}",
    "{{", "{% if who %}", "{% endif %}", "{% do who %}", "{% trans %}a{% endtrans %}", "{{ who }", "{# open",
    f"{{{{ {'(' * 1500}who{')' * 1500} }}}}", f"{{% if {'not ' * 900}who %}}{{% endif %}}", f"{{{{ {'9' * 3000} }}}}",
    f"{{{{ {'who or ' * 20}who }}}}", "{% if who %}" * 100 + "{% endif %}" * 100, "x" * (MAX_LENGTH + 1), "\u202e{{ who }}", "\u2068{{ who }}",
])  # fmt: skip
def test_what_could_run_reach_out_or_fail_is_refused(source: str):
    """When it is read, in every message; nothing of it is ever tried out."""
    for message in MESSAGES:
        with pytest.raises(RefusedTextError):
            read_text(source, TextPlace(message, "mail", "en", "body"))


def test_each_fault_has_its_line():
    """All of them at once, and what is quoted are only the names that there are."""
    with pytest.raises(RefusedTextError) as refused:
        read_text(
            "Fine\n{{ nothing }}\n\n{% for a in who %}{% endfor %}\n{{ who }} {{ who.secret }}\n{{ not who }}", BODY
        )
    assert [fault.line for fault in refused.value.faults] == [2, 4, 5, 6]
    assert "There are mark, heading, description" in refused.value.faults[0].sentence
    assert not [fault for fault in refused.value.faults if "secret" in fault.sentence or "nothing" in fault.sentence]
    with pytest.raises(RefusedTextError) as refused:
        read_text("One\ntwo {{", BODY)
    assert [fault.line for fault in refused.value.faults] == [2]


def test_whom_it_is_about_stands_outside_of_every_if():
    """A title without the child, a headline or what has happened would tell people nothing."""
    for place, name in (
        (TITLE, "who"),
        (TextPlace("general", "sms", "en", "text"), "headline"),
        (TextPlace("ended", "mail", "en", "body"), "happened"),
    ):
        for source in ("Look!", f"{{% if {name} %}}{{{{ {name} }}}}{{% endif %}}", f"{{{{ {name} | upper }}}}"):
            with pytest.raises(RefusedTextError, match="not taken"):
                read_text(source, place)
        read_text(f"Look! {{{{ {name} }}}}", place)


def test_the_end_of_an_alert_can_name_nobody():
    """There is no fact of a child in it to be named."""
    for name in set(NAMES["missing-child"]) - set(NAMES["ended"]):
        with pytest.raises(RefusedTextError):
            read_text(f"{{{{ happened }}}} {{{{ {name} }}}}", TextPlace("ended", "push", "en", "body"))


def test_whatever_is_taken_can_be_told():
    """Thousands of texts of random pieces: each is refused with a line, or filled in whatever is known; nothing else happens."""
    pieces = [
        "{% if ", "{% elif ", "{% else %}", "{% endif %}", "{{ ", " }}", " %}", "who", "place", "mark", " and ", " or ", " not ", "(", ")",
        " | upper", " | lower", " | ", "\n", "words ", "{%- ", " -%}", "{# note #}", "{% raw %}", "{% endraw %}", "[", ".", "1", "'", "~", "=",
    ]  # fmt: skip
    rng, taken = random.Random(5), 0
    for _ in range(4_000):
        source = "".join(rng.choices(pieces, k=rng.randint(1, 12)))
        text, faults = outcome(source)
        assert all(1 <= fault.line <= source.count("\n") + 1 and fault.sentence for fault in faults)
        if text is None:
            assert faults
            continue
        taken += 1
        for facts in (NOTHING, {**NOTHING, "who": "W" * 99}, {**NOTHING, "place": "p", "mark": "m"}):
            assert isinstance(text.filled(facts), str)
    assert taken > 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_keeps_the_warning_from_people(renderer: Renderer, language: str):
    """The renderer's safety line and the mark of a drill are in every message, whatever an organisation says instead."""
    for channel, part in ((channel, part) for channel, names in PARTS.items() for part in names):
        place = TextPlace("missing-child", channel, language, part)
        texts = {place: "Approach them! {{ who }} <!-- <style>*{display:none}</style>"}
        for via in (channel, "webpush") if channel == "push" else (channel,):
            message = render(renderer, texts, via, language=language, status="Exercise")
            shown = [html.unescape(bare(text)) for text in parts(message)]
            assert any(SAFETY[language] in text for text in shown) or isinstance(message, SmsMessage)
            mark = renderer.words(language).words["mark"]["missing-child"]["Exercise"]
            assert shown[0].startswith((mark, mark.replace("–", "-"))) or isinstance(message, SmsMessage)
            if isinstance(message, MailMessage):
                assert "<!-- " not in message.html
                assert message.html.index("#7a1f1f") < message.html.index("</main>")
        assert rehearse(renderer, {place: read_text(texts[place], place)}, place) == []


def test_a_mail_says_the_same_in_text_and_html(renderer: Renderer):
    """One own text makes both; its first line is the heading, markup in it is text, and what every mail says stands below."""
    source = "Help us find {{ who }}\n\n{{ last_seen }}\n<b>Look</b> & listen.\n\n{{ people }}"
    message = render(renderer, {MAIL: source}, "mail")
    assert message.text.startswith(
        "Help us find Inés P., 7 years old\n\nDo not approach. If you see them, call 116000.\n"
    )
    page = html.unescape(message.html)
    for line in filter(None, message.text.split("\n")):
        assert line.removeprefix("Information valid until: ") in re.sub("</?a[^>]*>", "", page)
    assert "&lt;b&gt;Look&lt;/b&gt; &amp; listen." in message.html
    assert 'overflow-wrap:anywhere">Help us find' in message.html
    assert "You are receiving this because" in message.text
    assert message.subject == "Missing child in danger: Inés P., 7 years old"


def test_an_own_text_serves_its_language_and_message_alone(renderer: Renderer):
    """Mexicans read the Spanish one; other languages, other channels, and what follows an alert keep the usual words."""
    place = TextPlace("missing-child", "push", "es", "title")
    texts = {place: "¡Atención! {{ who }}"}
    info = {"es-MX": {"description": "texto"}}
    assert render(renderer, texts, "push", language="es").title == "¡Atención! Inés P., 7 años"
    assert render(renderer, texts, "webpush", language="es-MX", info=info).title == "¡Atención! Inés P., 7 años"
    assert render(renderer, texts, "push").title == render(renderer, {}, "push").title
    assert render(renderer, texts, "sms", language="es") == render(renderer, {}, "sms", language="es")
    assert render(renderer, texts, "push", language="es", telling=CLOSED) == render(
        renderer, {}, "push", language="es", telling=CLOSED
    )
    ended = {TextPlace("ended", "push", "es", "body"): "{{ happened }}\nGracias, Sevilla."}
    assert render(renderer, ended, "push", language="es", telling=CLOSED).body.endswith("Gracias, Sevilla.")


def test_an_own_text_that_says_nothing_leaves_the_usual_one(renderer: Renderer):
    """A text that is empty for one alert's facts is no message."""
    texts = {BODY: "{% if description %}{{ description }}{% endif %}"}
    assert render(renderer, texts, "push") == render(renderer, {}, "push")
    assert "she ran" in render(renderer, texts, "push", info={"en": {"description": "she ran"}}).body


def test_an_own_sms_leaves_out_facts_before_it_costs_more(renderer: Renderer):
    """As the usual one does, least important first."""
    place = TextPlace("missing-child", "sms", "en", "text")
    texts = {place: "{{ heading }}: {{ who }}\n{{ last_seen }}\n{{ people }}\n{{ description }}\n{{ url }}"}
    long = {"en": {"description": "She went along the river. " * 20}}
    message = render(renderer, texts, "sms", LONGEST_CHILD, info=long, status="Actual")
    usual = render(renderer, {}, "sms", LONGEST_CHILD, info=long, status="Actual")
    assert abs(len(message.text) - len(usual.text)) < 5
    assert "river" not in message.text


@pytest.mark.parametrize(("place", "source", "wrong"), [
    (TextPlace("missing-child", "sms", "en", "text"), "{{ who }} " + "word " * 80, "more than 3 segments"),
    (TextPlace("ended", "sms", "uk", "text"), "{{ happened }} " + "слово " * 60, "more than 3 segments"),
    (TITLE, "{{ who }} " + "word " * 200, "more than 1000 bytes"),
    (TextPlace("general", "push", "en", "body"), "{{ headline }} " + "word " * 200, "more than 1000 bytes"),
])  # fmt: skip
def test_a_text_too_long_for_the_longest_alert_fails_its_rehearsal(
    renderer: Renderer, place: TextPlace, source: str, wrong: str
):
    """It is known before anybody depends on it."""
    [sentence] = rehearse(renderer, {place: read_text(source, place)}, place)
    assert wrong in sentence


def takes_turns(message: str, language: str) -> bool:
    """Each language with one message, each message with a third of the languages."""
    return list(MESSAGES).index(message) == LANGUAGES.index(language) % len(MESSAGES)


@pytest.mark.parametrize(("message", "language"), sampled(itertools.product(MESSAGES, LANGUAGES), takes_turns))
def test_the_usual_texts_pass_their_own_rehearsal(renderer: Renderer, message: str, language: str):
    """In every message, channel and language: what is asked of an organisation is asked of ourselves."""
    for channel in PARTS:
        assert rehearse(renderer, {}, TextPlace(message, channel, language, PARTS[channel][0])) == []


def test_every_name_is_filled_in(renderer: Renderer):
    """Each name of the table stands for something in the longest alert, and each filter is one of text."""
    for message, names in NAMES.items():
        for name in names:
            place = TextPlace(message, "mail", "en", "subject")
            needed = {"missing-child": "who", "general": "headline"}.get(message, "happened")
            kind = "general" if message == "general" else "missing-child"
            telling = CLOSED if message == "ended" else Telling(occasion=Occasion.UPDATE)
            texts = {place: f"{{{{ {needed} }}}}|{{% if {name} %}}yes{{% endif %}}"}
            subject = render(
                renderer, texts, "mail", SAMPLES[kind]["longest"], telling=telling, status="Exercise"
            ).subject
            expects_none = name == "url" or (message, name) == ("ended", "headline")
            assert subject.endswith("|") is expects_none, (message, name)
    assert all(change("aß") for change in FILTERS.values())
    assert set(CHANNELS) - {"webpush"} == set(PARTS)
