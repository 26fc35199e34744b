"""What follows an alert: updates say so, and of an end nobody learns who, where or how."""

from __future__ import annotations

import html
import itertools
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alertd.common.clock import HOUR_MS, ms_of
from alertd.model.kinds import CancelReason, Kind, Occasion
from alertd.rendering import Renderer, Telling
from alertd.rendering.facts import ENDINGS
from alertd.rendering.plaintext import rows
from alertd.rendering.renderer import CLOSED_ROWS, MAX_PUSH_BYTES, MAX_SEGMENTS_GSM, MAX_SEGMENTS_UCS2, ROW
from alertd.service.delivery.message_cache import alert_of as alert_of_version
from alertd.store.alerts.records import FollowUp
from channels.base import Loudness, MailMessage, Message, PushMessage, SmsMessage, Stamp
from channels.fcm import PAYLOAD_BYTES, encode
from channels.text import is_gsm, segments, spelled_for_sms
from tests.sampling import sampled
from tests.unit.alertd.rendering import usual
from tests.unit.alertd.rendering.longest import LANGUAGES, SECRETS, parts
from tests.unit.alertd.rendering.usual import AT, CHANNELS, ROOT, SAFETY, SAMPLES, STATUSES, URL, USUAL, alert_of, bare
from tests.unit.alertd.samples import as_sent

UPDATE = Telling(occasion=Occasion.UPDATE)
STAND_DOWN = Telling(occasion=Occasion.STAND_DOWN, alerted_at=AT)
CLOSE = Telling(occasion=Occasion.CLOSE, alerted_at=AT)
CANCELS = [Telling(occasion=Occasion.CANCEL, reason=reason, alerted_at=AT) for reason in CancelReason]
ENDS = [STAND_DOWN, CLOSE, *CANCELS]

#: What no message of an end may show of the samples: name, looks, clothing, place, times of the case, texts, contacts for some, link.
TOLD_BEFORE = (
    "Lucía", "لوسيا", "Inés", "118", "red coat", "Anorak", "Santa Justa", "17:40", "13:40", "Salió", "Agua sucia",
    "+34915000000", "+34600000000", URL,
)  # fmt: skip

#: Outcomes, in any language of the catalogue: whether somebody was found, and how, is told by nobody but the family.
OUTCOMES = re.compile(
    r"found|safe\b|dead|died|alive|home|gefunden|wohlauf|lebend|\btot\b|encontrad|salv[oa]|muert|retrouv|sain|mort|trovat|ritrovat"
    r"|viv[oa]\b|mort[oa]|odnalezion|znalezion|żyw|martw|bulundu|sağ|ölü|знайден|жив|мертв|عُثر|حيا|سالم|ميت|मिल ग|सुरक्षित|मृत"
    r"|找到|平安|死",
    re.IGNORECASE,
)


def render(
    renderer: Renderer, document: dict[str, Any], channel: str, language: str, telling: Telling, **top: Any
) -> Any:
    return usual.render(renderer, alert_of(document, **top), channel, language, telling=telling)


def shown(message: Message) -> str:
    """All that a reader sees."""
    text = "\n".join(parts(message))
    return bare(html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", "", text, flags=re.DOTALL)))


def name_of(telling: Telling) -> str:
    return telling.code


def takes_turns(telling: Telling, language: str) -> bool:
    """Each language with every third occasion, each occasion with a third of the languages."""
    return [UPDATE, *ENDS].index(telling) % 3 == LANGUAGES.index(language) % 3


@pytest.mark.parametrize(
    ("telling", "language"),
    sampled(itertools.product([UPDATE, *ENDS], LANGUAGES), takes_turns),
    ids=lambda value: getattr(value, "code", value),
)
def test_every_message_of_every_occasion_is_made(renderer: Renderer, telling: Telling, language: str):
    """Each kind, status and channel, of the longest alert and the barest: marked as a drill first, short enough, with nothing
    left open.
    """
    words = renderer.words(language).words
    for kind, status, name in itertools.product(SAMPLES, STATUSES, ("longest", "smallest", "several", "usual")):
        if name not in SAMPLES[kind]:
            continue
        for channel in CHANNELS:
            message = render(renderer, SAMPLES[kind][name], channel, language, telling, status=status)
            mark = "" if status == "Actual" else words["mark"][kind][status]
            assert parts(message)[0].startswith((mark, spelled_for_sms(mark)))
            assert message.stamp.test is (status != "Actual")
            assert all(text.strip() and "None" not in text and "{moment}" not in text for text in parts(message))
            _fits(message)


def _fits(message: Message) -> None:
    if isinstance(message, PushMessage):
        assert len((message.title + message.body).encode()) <= MAX_PUSH_BYTES
        assert len(b"".join(encode(message).pieces)) <= PAYLOAD_BYTES
    if isinstance(message, SmsMessage):
        text = as_sent(message)
        assert segments(text)[1] <= (MAX_SEGMENTS_GSM if is_gsm(text) else MAX_SEGMENTS_UCS2)


def test_an_end_is_told_on_the_clocks_of_the_sender(renderer: Renderer):
    """Where nobody says in which zone it is: in UTC it can be another day, and whoever got the alert knows of none on that day."""
    alerted, document = datetime(2026, 11, 24, 23, 30, tzinfo=UTC), SAMPLES["general"]["smallest"]
    alert = alert_of(document, status="Actual", expires="2026-11-26T08:00:00+01:00")
    follow_up = FollowUp(occasion=Occasion.CLOSE, follows=(Occasion.ALERT,), alerted=ms_of(alerted))
    version: Any = SimpleNamespace(alert=alert, follow_up=follow_up, expires=ms_of(alert.expires) + HOUR_MS)
    told = alert_of_version(version)
    assert told.expires.isoformat() == "2026-11-26T09:00:00+01:00"
    stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.LOUD, language="es")
    end = Telling(occasion=Occasion.CLOSE, alerted_at=alerted)
    assert "25 nov, 00:30 UTC+01:00" in shown(
        renderer.render(told, channel="sms", language="es", stamp=stamp, telling=end)
    ).replace("\u00a0", " ")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("telling", ENDS, ids=name_of)
def test_an_end_names_nobody(renderer: Renderer, telling: Telling, language: str):
    """No name, looks, clothing, place, text, link or outcome, whatever the alert held; only of which moment it was."""
    for (name, sample), channel in itertools.product(SAMPLES["missing-child"].items(), CHANNELS):
        message = render(renderer, sample, channel, language, telling, status="Actual")
        told = shown(message)
        assert not [fact for fact in (*TOLD_BEFORE, *SECRETS) if fact in told or spelled_for_sms(fact) in told], name
        assert not OUTCOMES.search(told)
        assert "15:05" in told or "19:05" in told or "18:05" in told
        assert not re.search(r"<img|<a |href=|http", "\n".join(parts(message)))
        assert not isinstance(message, PushMessage) or (message.url, message.image_url) == (None, None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_end_asks_people_to_delete_what_they_were_told(renderer: Renderer, language: str):
    """In the reader's own language, on every channel, with the title of what has happened."""
    words = renderer.words(language).words
    for telling, channel in itertools.product(ENDS, CHANNELS):
        message = render(renderer, USUAL, channel, language, telling)
        told, title = shown(message), words["ended"]["missing-child"][telling.occasion]
        for text in (words["wish"]["missing-child"], title):
            assert text in told or spelled_for_sms(text) in told
        loud = words["loud"]["word"]
        assert not told.startswith(loud)


@pytest.mark.parametrize("language", LANGUAGES)
def test_which_occasions_carry_a_safety_line(renderer: Renderer, language: str):
    """Alert and update the whole one, a stand-down and a cancel one that names nobody, and a close none."""
    forms = renderer.words(language).words["safety"]
    expected = {
        Telling(): SAFETY[language],
        UPDATE: SAFETY[language],
        STAND_DOWN: forms["stand-down"]["dial"].format(contact="116000"),
        **dict.fromkeys(CANCELS, forms["cancel"]["text"]),
    }
    for channel in CHANNELS:
        for telling, safety in expected.items():
            told = shown(render(renderer, USUAL, channel, language, telling))
            assert safety in told or spelled_for_sms(safety) in told
        closed = shown(render(renderer, USUAL, channel, language, CLOSE))
        for safety in (SAFETY[language], forms["cancel"]["text"]):
            assert safety not in closed
            assert spelled_for_sms(safety) not in closed


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("telling", [STAND_DOWN, *CANCELS], ids=name_of)
def test_a_locked_phone_shows_the_safety_line_of_an_end(renderer: Renderer, telling: Telling, language: str):
    """Whole within the rows below the title."""
    message = render(renderer, USUAL, "push", language, telling)
    forms = renderer.words(language).words["safety"]
    safety = {forms["cancel"]["text"], forms["stand-down"]["dial"].format(contact="116000")}
    lines = message.body.split("\n")
    at = next(i for i, text in enumerate(lines) if bare(text) in safety)
    assert sum(rows(text, ROW) for text in lines[: at + 1]) <= CLOSED_ROWS


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_update_says_so_and_tells_all(renderer: Renderer, language: str):
    """Its title begins with the word for it, after the mark of a drill; the rest is the alert, and a mail says what it replaces."""
    words = renderer.words(language).words
    for channel in CHANNELS:
        message = render(renderer, USUAL, channel, language, UPDATE)
        first, before = parts(message)[0], parts(render(renderer, USUAL, channel, language, Telling()))[0]
        word = words["update"]["word"]
        assert first.startswith((word, spelled_for_sms(word)))
        assert not before.startswith((word, spelled_for_sms(word)))
        assert "Inés P." in shown(message)
        if isinstance(message, MailMessage):
            assert words["update"]["replaces"] in message.text
            assert words["update"]["replaces"] in html.unescape(message.html)
    drill = render(renderer, USUAL, "push", language, UPDATE, status="Exercise").title
    assert drill.startswith(words["mark"]["missing-child"]["Exercise"])
    assert word in drill


def test_a_general_alert_that_ends_is_known_by_its_headline(renderer: Renderer):
    """Whoever gets several has to know which; the rest of its text is over."""
    water = {
        "en": {"headline": "Do not drink the tap water", "description": "A pipe broke.", "instruction": "Boil it."}
    }
    for telling, channel in itertools.product(ENDS, CHANNELS):
        told = shown(
            render(renderer, SAMPLES["general"]["smallest"], channel, "en", telling, info=water, status="Actual")
        )
        assert "Do not drink the tap water" in told
        assert "pipe" not in told
        assert "Boil" not in told
        assert ("Follow official advice." in told) is (telling is STAND_DOWN)
    push = render(renderer, SAMPLES["general"]["smallest"], "push", "en", CLOSE, info=water, status="Actual")
    assert push.title == "Alert ended: Do not drink the tap water"
    assert push.body == (
        "The alert of 24 Nov, 18:05\u00a0UTC has ended. Thank you for your help.\nPlease do not pass the alert on any more."
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_headline_of_an_end_is_that_it_has_ended(renderer: Renderer, language: str):
    """What was asked for before is not asked for in large letters again: in a mail it is only quoted, below."""
    words = renderer.words(language).words
    for telling in ENDS:
        mail = render(renderer, SAMPLES["general"]["smallest"], "mail", language, telling, status="Actual")
        assert re.findall(r"<h1[^>]*>(.*?)</h1>", mail.html) == [words["ended"]["general"][telling.occasion]]
        assert re.search(r'<p class="quiet"[^>]*>h</p>', bare(mail.html))
        assert mail.html.index(words["happened"][telling.code].partition("{")[0]) < bare(mail.html).index(">h</p>")


@pytest.mark.parametrize(("reason", "said"), [
    ("withdrawn", "The alert of 24 Nov, 19:05\u00a0CET was withdrawn."),
    ("sent-in-error", "The alert of 24 Nov, 19:05\u00a0CET was sent in error. We apologise."),
    ("wrong-information", "The alert of 24 Nov, 19:05\u00a0CET was cancelled because it contained wrong information."),
    ("drill", "The alert of 24 Nov, 19:05\u00a0CET was only a test and went out as a real one by mistake. We apologise."),
])  # fmt: skip
def test_a_cancel_says_why(renderer: Renderer, reason: str, said: str):
    """Each code in these words, on the clocks where the child was seen."""
    telling = Telling(occasion=Occasion.CANCEL, reason=CancelReason(reason), alerted_at=AT)
    message = render(renderer, USUAL, "push", "en", telling)
    assert message.title == "Missing-child alert cancelled"
    assert said in message.body.split("\n")


def test_a_telling_is_whole():
    """A cancel has a reason and nothing else has, and an end says of which moment the alert was."""
    for wrong in (
        {"occasion": Occasion.CANCEL, "alerted_at": AT},
        {"occasion": Occasion.CLOSE, "alerted_at": AT, "reason": CancelReason.DRILL},
        *({"occasion": occasion, "reason": None} for occasion in ENDINGS),
    ):
        with pytest.raises(ValueError, match=r"reason|moment"):
            Telling(**wrong)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_and_occasion_has_words(renderer: Renderer, language: str):
    """A code that the model takes never breaks a message."""
    words = renderer.words(language).words
    codes = {reason.value for reason in CancelReason} | {Occasion.STAND_DOWN.value, Occasion.CLOSE.value}
    assert set(words["happened"]) == codes
    assert all("{moment}" in text for text in words["happened"].values())
    for kind in Kind:
        assert set(words["ended"][kind]) == {occasion.value for occasion in ENDINGS}


def test_a_contact_sheet_shows_what_follows_an_alert(renderer: Renderer, tmp_path: Path):
    """One for each language, beside those of the alert itself."""
    command = [sys.executable, "ops/contact_sheet.py", "--html", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for language in LANGUAGES:
        told = html.unescape((tmp_path / f"occasions-{language}.html").read_text(encoding="utf-8"))
        assert all(title in told for title in renderer.words(language).words["ended"]["missing-child"].values())
        assert told.count(">update<") == told.count(">stand-down<") == 1  # neither goes out by SMS or mail
        assert "Inés" not in told  # what is sent as an update takes the name back
