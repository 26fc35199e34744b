"""Whose turn it is: by hours on the rota's own clocks, step by step, and never of who could not approve."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from alertd.model.faults import faults_of
from alertd.model.oncall import OnCall, anybody, on_duty, turn
from alertd.rendering import Renderer
from alertd.rendering.pages import PageFacts, page
from channels.base import Loudness, MailMessage, PushMessage, SmsMessage, Stamp
from channels.text import segments

NIGHTS = {"days": ["fri", "sat"], "from": "20:00", "to": "08:00"}
STAMP = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.LOUD, language="")
LINK = "https://alerts.centre.example/console#/alerts/01M885E6PQYDF6FR2R1P9138GR"


def rota(*steps: list[dict[str, Any]], **more: Any) -> OnCall:
    document = {"time_zone": "Europe/Madrid", "steps": [{"people": people} for people in steps], **more}
    return OnCall.model_validate_json(json.dumps(document))


def somebody(name: str, *hours: dict[str, Any], **more: Any) -> dict[str, Any]:
    address = {"channel": "mail", "mailbox": f"{name}@centre.example"}
    return {"name": name, "addresses": [address], "hours": hours, **more}


def at(text: str, zone: str = "Europe/Madrid") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-27T19:59", False),  # Friday
        ("2026-11-27T20:00", True),
        ("2026-11-28T07:59", True),  # the night that began on Friday
        ("2026-11-28T08:00", False),
        ("2026-11-28T23:00", True),
        ("2026-11-29T07:00", True),
        ("2026-11-29T21:00", False),  # Sunday
        ("2026-11-27T07:00", False),  # what began on Thursday is nobody's
    ],
)
def test_hours_over_midnight_belong_to_the_day_that_they_begin_on(moment: str, expected: bool):
    """On the clocks of the rota, wherever the service runs."""
    assert bool(on_duty(rota([somebody("ana", NIGHTS)]), 0, at(moment))) is expected


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_hours_are_what_the_clocks_show_on_the_days_they_change(day: str):
    """Somebody who begins at eight begins at eight on the clock on the wall."""
    early = rota([somebody("ana", {"from": "08:00", "to": "16:00"})])
    assert not on_duty(early, 0, at(f"{day}T07:59"))
    assert on_duty(early, 0, at(f"{day}T08:00"))
    assert not on_duty(early, 0, at(f"{day}T16:00"))


def test_steps_without_anybody_on_duty_are_passed_over_and_the_round_is_noticed():
    """From any step on, and from the end."""
    of = rota([somebody("ana")], [somebody("bea", NIGHTS)], [somebody("carl")])
    noon = at("2026-11-25T12:00")
    found = [turn(of, step, noon) for step in range(4)]
    assert [(one.step, one.again, one.people[0].name) for one in found if one] == [
        (0, False, "ana"), (2, False, "carl"), (2, False, "carl"), (0, True, "ana"),
    ]  # fmt: skip
    assert turn(rota([somebody("bea", NIGHTS)]), 0, noon) is None
    assert [anybody(one, noon) for one in (None, rota(), of)] == [False, False, True]


def test_who_cannot_approve_it_is_not_called():
    """However their name is spelled; whoever is a desk, and nobody by name, is."""
    of = rota([somebody("ana", subject="Ana@Centre.example"), somebody("desk")], [somebody("bea", subject="bea")])
    found = turn(of, 0, 0, frozenset({"ana@centre.example"}))
    assert found is not None
    assert [one.name for one in found.people] == ["desk"]
    assert turn(rota([somebody("bea", subject="BEA")]), 0, 0, frozenset({"bea"})) is None


@pytest.mark.parametrize(
    ("steps", "pointer"),
    [
        ([[somebody("ana"), somebody("ana")]], "/steps/0/people/1/addresses/0"),
        ([[{"name": "ana", "addresses": []}]], "/steps/0/people/0/addresses"),
        ([[somebody("ana", {"from": "08:00", "to": "08:00"})]], "/steps/0/people/0/hours/0/to"),
        (
            [[somebody("ana", {"days": ["someday"], "from": "08:00", "to": "09:00"})]],
            "/steps/0/people/0/hours/0/days/0",
        ),
        ([[]], "/steps/0/people"),
    ],
)
def test_what_no_rota_can_be_is_refused_at_its_place(steps: list[Any], pointer: str):
    """Nobody finds out at night."""
    with pytest.raises(ValidationError) as refused:
        rota(*steps)
    assert [fault.pointer for fault in faults_of(refused.value)] == [pointer]


def test_a_page_tells_whose_alert_it_is_and_where_in_every_language(renderer: Renderer):
    """In two segments of SMS or less where the alphabet allows, with the link whole and alone on its line; a test is marked in front."""
    for language in renderer.all_languages:
        for status in ("Actual", "Exercise", "Test"):
            facts = PageFacts(organisation="Policía Nacional", link=LINK, status=status)
            made = {name: page(renderer, name, language, STAMP, facts) for name in ("sms", "push", "mail")}
            sms, push, mail = made["sms"], made["push"], made["mail"]
            assert isinstance(sms, SmsMessage)
            assert isinstance(push, PushMessage)
            assert isinstance(mail, MailMessage)
            mark = renderer.words(language).words["mark"]["general"].get(status, "")
            assert push.title.startswith(mark)
            assert push.body.startswith(mark)
            assert mail.subject.startswith(mark)
            assert sms.text.splitlines()[-1] == push.url == LINK
            assert LINK in mail.text.splitlines()
            assert f'href="{LINK}"' in mail.html
            assert "Polic" in sms.text
            assert "Policía Nacional" in push.body
            encoding, count = segments(sms.text)
            assert count <= (2 if encoding == "gsm7" else 4)
            assert sms.stamp.status == status


def test_a_page_in_a_language_without_words_is_in_english_and_a_name_is_no_markup(renderer: Renderer):
    """Whatever an organisation is called."""
    facts = PageFacts(organisation='<b>"Centre"</b>\n' + "long " * 30, link=LINK, status="Actual")
    mail = page(renderer, "mail", "eo", STAMP, facts)
    assert isinstance(mail, MailMessage)
    assert mail.text.startswith("An alert of <b>")
    assert "<b>" not in mail.html
    assert len(mail.text.splitlines()[0]) < 90
