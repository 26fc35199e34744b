"""Two organisations at their consoles: one asks, and sees for whom it waits; the other reads what people would read, and answers."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import desk
from tests.browser.layout import TOO_WIDE, check_in_both_lights
from tests.unit.alertd.samples import changed

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

BOTH = {"regions": ["ES-SE", "ES-CA"], "beyond": "ask"}


@pytest.fixture(scope="module")
def keys(served: Served) -> dict[str, str]:
    """Of the police of Sevilla, Ana and Bea; of that of Cádiz, Eva."""
    for org, name, region in (("police", "Policía de Sevilla", "ES-SE"), ("cadiz", "Policía de Cádiz", "ES-CA")):
        ground = {"name": name, "jurisdiction": {"regions": [region]}}
        assert served.call("PUT", f"/v1/organisations/{org}", ground)[0] == 201
    return {
        who: served.call("POST", "/v1/keys", {"subject": who, "organisation": org, "scopes": ["admin"]})[1]["token"]
        for who, org in (("ana", "police"), ("bea", "police"), ("eva", "cadiz"))
    }


def approved(served: Served, alert: dict[str, Any], keys: dict[str, str], **more: Any) -> str:
    """By push, to both provinces; submitted by Ana and approved by Bea."""
    document = {**changed(alert, "author/subject", None), "channels": ["push"], "target": {**BOTH, **more}}
    status, taken = served.call("POST", "/v1/alerts", document, keys["ana"])
    assert status == 202, taken
    assert served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, keys["bea"])[0] == 200
    return str(taken["id"])


async def test_a_neighbour_reads_refuses_is_asked_again_and_permits(
    served: Served, plain: Browser, alert: dict[str, Any], keys: dict[str, str]
):
    """The request is on its first screen with what it is about; the alert says at each step for whom it waits."""
    alert_id = approved(served, alert, keys)
    async with desk(plain, served.url) as author, desk(plain, served.url, 412) as neighbour:
        await author.sign_in(keys["ana"])
        await author.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        standing = author.page.get_by_role("status", name="Permission of neighbours")
        await expect(standing).to_contain_text("Waits for Policía de Cádiz")
        await expect(standing).to_contain_text("km² on land")
        await author.check_readable()

        await neighbour.sign_in(keys["eva"])
        asked = neighbour.page.locator(".part", has_text="Requests from neighbours")
        await expect(asked).to_contain_text("Policía de Sevilla asks to send its alert")
        link = asked.locator(f"a[href='#/permissions/{alert_id}']")
        await link.click()
        await expect(neighbour.page.locator(".phone-title").first).to_contain_text("Lucía")
        await expect(neighbour.page.locator("figcaption")).to_contain_text("Cádiz province")
        await expect(neighbour.page.locator("figcaption")).to_contain_text("km² on land")
        await expect(neighbour.page.locator(".alert-head")).to_contain_text("the alert is active")
        await neighbour.check_readable()
        await neighbour.press("Refuse")
        await neighbour.fill("Reason (the asking organisation reads it)", "Ours is out already")
        await neighbour.check_readable("rtl")
        await neighbour.press("Refuse")
        await expect(neighbour.page.locator(".state")).to_have_text("refused")
        await expect(neighbour.page.locator("h1")).to_have_text(
            "Policía de Sevilla asked to send its alert in your jurisdiction too"
        )
        await expect(neighbour.page.locator(".approval")).to_contain_text("this alert did not go to")
        await expect(neighbour.page.locator(".approval")).to_contain_text("You can still permit it")

        await expect(standing).to_contain_text("Refused by Policía de Cádiz")
        await expect(standing).to_contain_text("Ours is out already")
        await author.press("Ask again")
        await expect(standing).to_contain_text("Waits for Policía de Cádiz")
        await expect(neighbour.page.locator(".state")).to_have_text("waits for your answer", timeout=30_000)
        await neighbour.press("Permit it")
        await expect(neighbour.page.locator(".state")).to_have_text("permitted")
        await expect(standing).to_contain_text("Permitted by Policía de Cádiz")
        await expect(neighbour.page.locator(".approval")).to_contain_text("Permitted: the alert went to")
        await expect(neighbour.page.locator(".page")).not_to_contain_text("If you permit it")
        await check_in_both_lights(neighbour)
        await neighbour.page.set_viewport_size({"width": 360, "height": 740})
        assert await neighbour.page.evaluate(TOO_WIDE) == 0
        await neighbour.page.set_viewport_size({"width": 1360, "height": 860})
        await neighbour.page.goto(f"{served.url}/console#/")
        given = neighbour.page.locator(".part", has_text="Permitted by you")
        await expect(given.locator(f"a[href='#/permissions/{alert_id}']")).to_contain_text("Policía de Sevilla asked")
        await expect(asked).to_have_count(0)
        await check_in_both_lights(neighbour)
        await author.page.goto(f"{served.url}/console#/")
        going = author.page.locator(".live-card, .line")
        await expect(going.locator("[data-permission=granted]").first).to_have_text("Permitted by Policía de Cádiz")
        await author.check_readable()
        assert served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, keys["ana"])[0] == 200
        await expect(given).to_have_count(0)
        await neighbour.page.goto(f"{served.url}/console#/permissions/{alert_id}")
        await expect(neighbour.page.locator(".alert-head")).to_contain_text("the alert has ended")


async def test_a_neighbour_permits_nothing_that_changed_under_its_eyes(
    served: Served, plain: Browser, alert: dict[str, Any], keys: dict[str, str]
):
    """Where an update asks for more ground than stood there when it was opened, that is said, and looked at before it is permitted."""
    away = {"circles": [{"center": [-5.8, 36.5], "radius_km": 20}]}  # in the middle of Cádiz
    alert_id = approved(served, alert, keys, exclude=away)
    async with desk(plain, served.url, 412) as neighbour:
        page = neighbour.page
        await neighbour.sign_in(keys["eva"])
        await page.goto(f"{served.url}/console#/permissions/{alert_id}")
        permit = page.get_by_role("button", name="Permit it", exact=True)
        await expect(permit).to_be_enabled()
        said = served.call("GET", f"/v1/alerts/{alert_id}", None, keys["ana"])[1]["alert"]
        wider = {**changed(said, "author/subject", None), "notify": "silent", "target": BOTH}
        status, update = served.call("POST", f"/v1/alerts/{alert_id}/updates", wider, keys["ana"])
        assert status == 202, update
        assert served.call("POST", f"/v1/alerts/{update['id']}/approve", {"rev": update["rev"]}, keys["bea"])[0] == 200
        await expect(page.locator(".since")).to_contain_text("It changed while you had it open")
        await expect(permit).to_be_disabled()
        await neighbour.check_readable()
        await neighbour.press("I have seen it")
        await expect(page.locator(".since")).to_have_count(0)
        await permit.click()
        await expect(page.locator(".state")).to_have_text("permitted")
        await expect(page.locator(".since")).to_have_count(0)
    assert served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, keys["ana"])[0] == 200


async def test_the_form_offers_to_ask_the_neighbours(served: Served, plain: Browser, keys: dict[str, str]):
    """Where what is chosen reaches beyond the jurisdiction: without it an alert would be refused, and with it what is told at once is shown."""
    async with desk(plain, served.url) as author:
        await author.sign_in(keys["ana"])
        await author.page.goto(f"{served.url}/console#/new")
        await author.press("Continue")
        await author.choose_region("Sevilla", "ES · ES-SE")
        await expect(author.page.locator(".ask-neighbours")).to_have_count(0)
        await author.choose_region("Cádiz", "ES · ES-CA")
        await expect(author.page.locator("[data-outside]")).to_contain_text("lies outside your jurisdiction")
        await expect(author.page.locator("[data-neighbour=cadiz]")).to_contain_text("Policía de Cádiz")
        await author.page.get_by_label("Ask the neighbours for permission in their part").check()
        await expect(author.page.locator("[data-outside]")).to_have_count(0)
        await expect(author.page.locator(".reach-area")).to_contain_text("Seville province")
        await author.check_readable()
