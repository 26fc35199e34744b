"""Who is on call, on its screen: written by an administrator, read by all; who was called for what waits, and who has it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.alert_pages import SEVILLA
from tests.browser.desks import Desk, desk
from tests.browser.layout import TOO_WIDE, check_in_both_lights

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

DESK = {"name": "Duty desk", "addresses": [{"channel": "sms", "number": "+34600000001"}]}


def rota(*steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {"time_zone": "Europe/Madrid", "steps": [{"people": people} for people in steps]}


async def come(window: Desk, key: str) -> None:
    await window.sign_in(key)
    await window.page.get_by_role("link", name="Organisation").click()
    await window.page.get_by_role("link", name="Who is on call").click()
    await window.page.get_by_role("heading", level=1, name="On call").wait_for()


async def test_an_administrator_writes_who_is_on_call(served: Served, plain: Browser, ana: str):
    """Steps, people, addresses and hours on plain forms; it stands on the screen, and in the API, as it was typed. What the API refuses is told in
    the words of the form. On a narrow screen nothing is cut off.
    """
    assert served.call("PUT", "/v1/oncall", {"time_zone": "Europe/Madrid", "steps": []})[0] == 200
    async with desk(plain, served.url, 400, 412) as window:
        page = window.page
        await come(window, ana)
        await expect(page.locator(".note")).to_contain_text("No one is on call")
        await window.press("Change")
        await window.press("Another step")
        first = page.get_by_role("region", name="Step 1")
        await first.get_by_label("Name", exact=True).fill("Duty desk")
        await first.get_by_label("Number").fill("600")
        await first.get_by_role("button", name="Another address").click()
        await first.get_by_label("By: Duty desk").nth(1).select_option("mail")
        await first.get_by_label("Mailbox").fill("desk@centre.example")
        await window.press("Another step")
        second = page.get_by_role("region", name="Step 2")
        await second.get_by_label("Name", exact=True).fill("Bea Ruiz")
        await second.get_by_label("Signs in as").fill("bea@centre.example")
        await second.get_by_label("By: Bea Ruiz").select_option("push")
        await second.get_by_label("Push token").fill("phone-of-bea")
        await second.get_by_role("button", name="Add hours").click()
        for day in ("Sat", "Sun"):
            await second.get_by_label(day).uncheck()
        await second.get_by_label("From").fill("20:00")
        await second.get_by_label("Until").fill("08:00")
        await window.fill("Minutes until the next step", "7")
        await check_in_both_lights(window)
        await window.press("Save")
        await expect(page.get_by_role("alert")).to_contain_text("A number starts with +")
        await first.get_by_label("Number").fill("+34600000001")
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate(TOO_WIDE) == 0
        await window.press("Save")
        await expect(page.locator(".rota-step")).to_have_count(2)
        await expect(page.locator(".rota-step").nth(1)).to_contain_text("20:00–08:00")
        assert await page.evaluate(TOO_WIDE) == 0
        await page.set_viewport_size({"width": 1280, "height": 800})
        await check_in_both_lights(window)
        await window.press("Change")
        await page.get_by_role("button", name="One step earlier: Step 2").click()
        assert served.call("PUT", "/v1/oncall", {**written(served), "times": 9})[0] == 200
        await window.press("Save")
        await expect(page.get_by_role("alert")).to_contain_text("changed since you read it")
        await window.press("Back")
        await expect(page.locator(".org-facts")).to_contain_text("9")
    kept = written(served)
    assert (kept["after_min"], kept["times"]) == (7, 9)
    assert [[one["name"] for one in step["people"]] for step in kept["steps"]] == [["Duty desk"], ["Bea Ruiz"]]
    desk_, bea = (step["people"][0] for step in kept["steps"])
    assert [each["channel"] for each in desk_["addresses"]] == ["sms", "mail"]
    assert (bea["subject"], bea["addresses"][0]["token"]) == ("bea@centre.example", "phone-of-bea")
    assert bea["hours"] == [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "20:00", "to": "08:00"}]


def written(served: Served) -> dict[str, Any]:
    return dict(served.call("GET", "/v1/oncall")[1]["rota"])


async def test_who_was_called_is_seen_and_who_has_it_says_so(
    served: Served, plain: Browser, bea: str, alert: dict[str, Any]
):
    """On the first screen and beside the alert; whoever else comes sees who has it. Its author is not asked."""
    approver = served.call(
        "POST", "/v1/keys", {"subject": "hal@centre.example", "scopes": ["alerts:read", "alerts:approve"]}
    )[1]
    assert served.call("PUT", "/v1/oncall", rota([DESK]))[0] == 200
    status, taken = served.call(
        "POST",
        "/v1/alerts",
        {**alert, "external_id": "called-1", "target": {"regions": [SEVILLA]}},
        served.person("ana@centre.example"),
    )
    assert status == 202, taken

    def pages() -> list[Any]:
        calls = served.call("GET", "/v1/oncall/alerts")[1]["calls"]
        return next((one["pages"] for one in calls if one["alert"]["id"] == taken["id"]), [])

    served.wait_for(pages)
    async with desk(plain, served.url) as window:
        await window.sign_in(approver["token"])
        card = window.page.locator(".alert-card", has=window.page.locator(f'a[href="#/alerts/{taken["id"]}"]'))
        await expect(card.locator(".called")).to_contain_text("Called: Duty desk")
        await check_in_both_lights(window)
        await card.get_by_role("link", name="Review").click()
        called = window.page.locator(".calls")
        await expect(called).to_contain_text("If no one decides, alertd calls the next people on call at")
        await expect(called).to_contain_text("It does not approve the alert.")
        await called.get_by_role("button", name="I have it").click()
        await expect(called).to_contain_text("hal@centre.example has it until")
        await expect(called.get_by_role("button")).to_have_count(0)
        await check_in_both_lights(window)
        await window.page.get_by_role("link", name="Now", exact=True).click()
        await expect(card.locator(".called")).to_contain_text("hal@centre.example has it until")
    async with desk(plain, served.url) as other:
        await other.sign_in(served.person("ana@centre.example"))
        await other.page.goto(f"{served.url}/console#/alerts/{taken['id']}")
        await expect(other.page.locator(".calls")).to_contain_text("hal@centre.example has it until")
        await expect(other.page.locator(".calls").get_by_role("button")).to_have_count(0)
    call = served.call("GET", "/v1/oncall/alerts")[1]["calls"][0]
    assert call["taken"]["by"] == "hal@centre.example"
    assert served.call("POST", f"/v1/alerts/{taken['id']}/reject", {"reason": "It was a test"}, bea)[0] == 200


async def test_who_was_called_for_a_request_to_stand_down_is_seen_and_who_takes_it_says_so(
    served: Served, plain: Browser, bea: str, alert: dict[str, Any]
):
    """Beside the alert, under what the other organisation says. Its author may take it, too."""
    assert served.call("PUT", "/v1/organisations/fire", {"name": "Bomberos"})[0] == 201
    stranger = {"subject": "fred@fire.example", "organisation": "fire", "scopes": ["alerts:read", "alerts:write"]}
    fred = served.call("POST", "/v1/keys", stranger)[1]["token"]
    ana = served.person("ana@centre.example")
    case = {**alert["case"], "number": "SE-2026-77"}
    sent = {**alert, "case": case, "external_id": "asked-1", "target": {"regions": [SEVILLA]}}
    alert_id = served.call("POST", "/v1/alerts", sent, ana)[1]["id"]
    assert served.call("POST", f"/v1/alerts/{alert_id}/approve", {}, bea)[0] == 200
    assert served.call("PUT", "/v1/oncall", rota([DESK]))[0] == 200
    assert served.call("POST", "/v1/cases/SE-2026-77/stand-down", {"reason": "at her aunt's"}, fred)[0] == 202
    served.wait_for(lambda: [one["pages"] for one in served.call("GET", "/v1/oncall/alerts")[1]["calls"]])
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await window.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        await expect(window.page.locator(".stand-down-asked")).to_contain_text("at her aunt's")
        called = window.page.locator(".calls")
        await expect(called).to_contain_text("Called: Duty desk")
        await expect(called).to_contain_text("The alert goes on.")
        await called.get_by_role("button", name="I have it").click()
        await expect(called).to_contain_text("ana@centre.example has it")
        await expect(called.get_by_role("button")).to_have_count(0)
        await check_in_both_lights(window)
    (call,) = served.call("GET", "/v1/oncall/alerts")[1]["calls"]
    assert (call["taken"]["until"], call["next"], call["unanswered"]) == (None, None, None)
    assert served.call("POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "found"}, bea)[0] == 200


async def test_others_read_who_is_on_call_and_no_address(served: Served, plain: Browser):
    """In Arabic as well; nothing of it can be changed."""
    assert served.call("PUT", "/v1/oncall", rota([DESK]))[0] == 200
    reader = served.call("POST", "/v1/keys", {"subject": "carla@centre.example", "scopes": ["alerts:read"]})[1]
    async with desk(plain, served.url) as window:
        await come(window, reader["token"])
        await expect(window.page.locator(".rota-step")).to_contain_text("Duty desk")
        await expect(window.page.locator(".rota-step")).to_contain_text("SMS")
        await expect(window.page.get_by_role("button", name="Change", exact=True)).to_have_count(0)
        assert "+34600000001" not in await window.page.content()
        await window.check_readable("rtl")
