"""Distributors on the screens: who has an alert, what each said of it, and who has not confirmed that it is down."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.acceptance.radio import Radio
from tests.browser.alert_pages import SEVILLA, opened
from tests.browser.desks import desk
from tests.browser.layout import TOO_WIDE, check_in_both_lights

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]


async def test_a_take_down_stands_above_all_else_until_it_is_confirmed(
    served: Served, plain: Browser, ana: str, radio: Radio, alert: dict[str, Any]
):
    """By name, in words, to all who look; whoever may says that they asked, in two presses, and stands for it by name. What was refused is
    there with its words and can be sent again; before an alert is approved it is told who will get it, and who will not and why. Nothing
    is cut off on a narrow screen, and all is readable from right to left, too.
    """
    for name, changes in (
        ("Radio Sevilla", {}),
        ("Wireless alerts", {"profile": "ipaws"}),
        ("Appeals only", {"levels": ["appeal"]}),
    ):
        order = {"name": name, "url": radio.local.url, **changes}
        assert served.call("POST", "/v1/distributors", order)[0] == 201
    document = {**alert, "target": {"regions": [SEVILLA]}}
    status, waiting = served.call("POST", "/v1/alerts", {**document, "external_id": "waits"}, ana)
    assert status == 202, waiting
    alert_id = served.approved(document)
    served.wait_for(lambda: len(radio.got) == 1)
    viewer = served.call("POST", "/v1/keys", {"subject": "carla@centre.example", "scopes": ["alerts:read"]})[1]
    async with desk(plain, served.url) as window:
        page, shares = window.page, window.page.locator(".distribution .line")
        await window.sign_in(ana)
        await page.goto(f"{window.url}/console#/alerts/{waiting['id']}")
        await expect(shares).to_have_count(3)
        await expect(shares.nth(0)).to_contain_text("Will receive it")
        await expect(shares.nth(2)).to_contain_text("It accepts no alerts of this level.")
        await opened(window, alert_id)
        await expect(shares.nth(0)).to_contain_text("The alert: accepted")
        await expect(shares.nth(0)).to_contain_text("Has it")
        await expect(shares.nth(1)).to_contain_text("so it has no SAME code")
        await expect(shares.nth(1)).to_contain_text("Does not have it")
        await check_in_both_lights(window)
        await shares.nth(1).get_by_role("button", name="Send it again").click()
        served.wait_for(lambda: _tries_again(served, alert_id))
        assert served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, ana)[0] == 200
        note = page.get_by_role("region", name="Radio Sevilla has not confirmed the take-down")
        await expect(note).to_contain_text("may still be shown there")
        await expect(shares.nth(0)).to_contain_text("May still show the ended alert")
        await check_in_both_lights(window)
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate(TOO_WIDE) == 0
        await window.check_readable()
    async with desk(plain, served.url) as other:
        await other.sign_in(viewer["token"])
        await other.page.get_by_role("link", name="Radio Sevilla has not confirmed the take-down").wait_for()
        await other.check_readable()
        await opened(other, alert_id)
        await expect(other.page.get_by_role("region", name="has not confirmed the take-down")).to_be_visible()
        await expect(other.page.locator(".takedown button")).to_have_count(0)
        await other.page.get_by_role("link", name="Organisation").click()
        await expect(other.page.locator(".distribution .line").nth(0)).to_contain_text("the take-down of 1 alert")
        await expect(other.page.locator(".distribution .line").nth(0)).to_contain_text("127.0.0.1")
        await other.check_readable()
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await opened(window, alert_id)
        await expect(window.page.locator(".times strong", has_text="Sent to a distributor again")).to_have_count(1)
        await window.press("I asked: it is taken down…")
        await check_in_both_lights(window)
        await window.press("Confirm the take-down")
        await expect(window.page.locator(".takedown")).to_have_count(0)
        first = window.page.locator(".distribution .line").nth(0)
        await expect(first).to_contain_text("Taken down, confirmed by ana@centre.example")
    async with desk(plain, served.url) as arabic:
        await arabic.speak_arabic()
        await arabic.sign_in(ana)
        await opened(arabic, alert_id)
        await expect(arabic.page.locator(".distribution h2")).to_have_text(arabic.say("Distributors"))
        await arabic.check_readable("rtl")


def _tries_again(served: Served, alert_id: str) -> bool:
    """Whether somebody had a message sent again, and it was refused once more."""
    acts = served.call("GET", f"/v1/alerts/{alert_id}/history")[1]["acts"]
    shares = served.call("GET", f"/v1/alerts/{alert_id}/distribution")[1]["distributors"]
    is_again = any(one["act"] == "alert.distribute-again" for one in acts)
    return is_again and [one["state"] for one in shares[1]["messages"]] == ["refused"]
