"""Another organisation asks to stand an alert down: the people on call hear of it, as of an alert that waits for its second person."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from alertd.common.ids import TokenPurpose
from alertd.model.organisation import Organisation
from alertd.service.access import Credential
from tests.integration.acts import ANA, BEA, api_of, slug
from tests.integration.nights import CHIEF, DEPUTY, DESK, Night, person, sms

CASE = "SE-2026-1"
WHY = "she is at her aunt's"
FRED = Credential(key_id="f", org="fire", subject="fred@fire.example", scopes=frozenset({"alerts:write"}))
TEXT = "Another organisation asks to stand down an alert of default:"


@pytest.fixture
async def sent(night: Night, sample: dict[str, Any]) -> str:
    """An alert that Bea has approved, before anybody is on call, and two organisations beside hers."""
    for org in ("fire", "coast"):
        await night.parts.organisations.put(org, Organisation.model_validate_json(f'{{"name": "{org}"}}'), ANA)
    alert_id = await night.waits(case={**sample["case"], "number": CASE})
    await night.parts.approval.approve(alert_id, BEA)
    await night.round()
    return alert_id


async def asked(night: Night, who: Credential = FRED) -> None:
    done = await night.parts.case_stand_down.stand_down(CASE, who, WHY)
    assert (done.own, done.others) == ([], None)


async def test_the_people_on_call_hear_that_another_organisation_asks_to_stand_an_alert_down(night: Night, sent: str):
    """Step by step until somebody stands it down. The page has the organisation's own name and the link, and no word of the person or the reason."""
    await night.rota(after_min=5)
    await night.round()
    assert night.got() == []
    await asked(night)
    await night.round()
    assert night.got() == [DESK]
    assert night.texts() == [f"{TEXT}\nhttp://localhost:8080/console#/alerts/{sent}"]
    await night.round(5)
    assert night.got() == [DESK, DEPUTY]
    await night.parts.follow_ups.stand_down(sent, BEA, "She was found")
    await night.round(5)
    await night.round(60)
    assert night.got() == [DESK, DEPUTY]
    assert await night.parts.waiting.all() == []
    assert await night.events() == ["paged", "paged"]


async def test_the_author_of_an_alert_is_called_for_a_request_to_stand_it_down(night: Night, sent: str):
    """An author cannot approve their own alert, so nobody calls them for that. They can stand it down."""
    await night.rota([person("Ana", sms(DESK), subject=ANA.subject)])
    await asked(night)
    await night.round()
    assert night.got() == [DESK]


async def test_who_takes_a_request_is_the_last_who_is_called_for_it(night: Night, sent: str):
    """They may let the alert go on, so nobody is called again: not after `hold_min`, and not by a new rota. A request of a further organisation
    calls again.
    """
    await night.rota(after_min=5, hold_min=15)
    await asked(night)
    await night.round()
    call = await night.parts.rota.take(sent, BEA)
    assert call.paged is not None
    assert (call.paged.by, call.paged.until) == (BEA.subject, 0)
    assert [one.record.id for one in await night.parts.rota.calls("default")] == [sent]
    await night.round(20)
    await night.rota([person("Chief", sms(CHIEF))])
    await night.round(60)
    assert night.got() == [DESK]
    await asked(night, dataclasses.replace(FRED, key_id="g", org="coast"))
    await night.round()
    assert night.got() == [DESK, CHIEF]


async def test_a_request_that_nobody_answers_is_told_as_unanswered(night: Night, sent: str):
    await night.rota([person("Desk", sms(DESK))], after_min=5, times=1)
    await asked(night)
    for _ in range(3):
        await night.round(5)
    assert night.got() == [DESK]
    assert await night.events() == ["paged", "unanswered"]


async def test_a_lost_list_of_what_waits_is_made_again_from_the_requests(night: Night, sent: str):
    await night.rota()
    await asked(night)
    await night.parts.events.bring()
    await night.parts.waiting.remove(await night.parts.waiting.all())
    await night.round(11)
    assert night.got() == [DESK]


async def test_a_request_before_the_approval_calls_for_the_approval_first(night: Night, sample: dict[str, Any]):
    """Once the alert is approved all the same, people are called for the request."""
    await night.parts.organisations.put("fire", Organisation.model_validate_json('{"name": "fire"}'), ANA)
    await night.rota()
    alert_id = await night.waits(case={**sample["case"], "number": CASE})
    await asked(night)
    await night.round()
    await night.parts.approval.approve(alert_id, BEA)
    await night.round(5)
    assert [text.partition(":\n")[0] for text in night.texts()] == [
        "An alert of default waits for approval",
        TEXT.removesuffix(":"),
    ]


async def test_an_app_shows_a_page_about_a_request_until_the_alert_is_stood_down(
    night: Night, sent: str, aiohttp_client: Any
):
    await night.rota([person("Desk", {"channel": "push", "token": "duty-phone"})])
    await asked(night)
    await night.round()
    client = await aiohttp_client(api_of(night.parts))
    tag = night.parts.tags.make(sent, 0, TokenPurpose.PAGE)
    for show in (True, False):
        async with client.get(f"/r/{tag}") as answer:
            assert (await answer.json())["show"] is show
        await night.parts.follow_ups.stand_down(sent, BEA, "She was found")


async def test_who_takes_an_alert_that_nobody_asks_about_is_refused(night: Night, sent: str):
    assert await slug(night.parts.rota.take(sent, BEA)) == "precondition-failed"
