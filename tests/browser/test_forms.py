"""What an organisation asks of a case, how people answer without a voice, and who passes its alerts on: written on its screen."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.acceptance.conftest import Served
from tests.acceptance.radio import Radio
from tests.browser.desks import Desk, desk, invited
from tests.browser.layout import TOO_WIDE, check_in_both_lights
from tests.browser.sign_in import come, come_in, own, with_authenticator

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1360, "height": 860}


async def fits(window: Desk) -> None:
    """Readable in both lights and from either side; on a narrow screen nothing is cut off."""
    await check_in_both_lights(window)
    await window.page.set_viewport_size(NARROW)
    assert await window.page.evaluate(TOO_WIDE) == 0
    await window.check_readable()
    await window.page.set_viewport_size(WIDE)


async def test_an_administrator_says_what_a_case_must_meet_and_how_one_answers_without_a_voice(
    served: Served, plain: Browser, ana: str
):
    """By level: each criterion not asked for, always needed or one of several, of which so many are needed, never more than there are; who
    verifies, and whether custody is checked. A level without a criterion is not saved. A way that needs a voice is not offered, and what the API refuses stands with the name of
    its field.
    """
    async with desk(plain, served.url, 400) as window:
        page = window.page
        await come(window, ana)
        await window.press("Change")
        gravest, endangered = page.locator("[data-rule=child-alert]"), page.locator("[data-rule=endangered]")
        await expect(gravest).to_contain_text("At this level the service itself always requires: A minor")
        await endangered.get_by_label("Require more at the level: Endangered").check()
        await expect(page.get_by_role("button", name="Save")).to_be_disabled()
        await expect(endangered).to_contain_text("Choose at least one")
        for criterion, way in (
            ("A minor", "Always required"),
            ("At high risk", "One of several"),
            ("Abducted", "One of several"),
        ):
            await endangered.get_by_label(criterion).select_option(way)
        await endangered.get_by_label("How many of the several").select_option("at least 2 of 2")
        await endangered.get_by_label("Only these authorities may verify").fill(
            "Policía Nacional\n Mossos d’Esquadra \n"
        )
        await endangered.get_by_label("Custody must have been checked").uncheck()
        await gravest.get_by_label("Require more at the level: Child alert").check()
        await gravest.get_by_label("Registered as missing").select_option("Always required")
        await expect(gravest).to_contain_text("Custody is always checked at this level.")
        await window.press("Add a way to answer")
        way = page.locator(".org-way")
        await expect(page.get_by_role("button", name="Save")).to_be_disabled()
        await way.get_by_label("Number").fill("600")
        await window.press("Save")
        await expect(page.get_by_role("alert")).to_contain_text("Ways to answer without a voice")
        await way.get_by_label("Number").fill("+34 600 000 000")
        await way.get_by_label("Works in (ES, FR)").fill("es, pt")
        await fits(window)
        await window.press("Save")
        await page.locator("[data-level=endangered]").wait_for()
        await expect(page.locator("[data-level=endangered]")).to_contain_text("at least 2 of:")
        await expect(page.locator("[data-level=endangered]")).to_contain_text("A custody check is not required.")
        await expect(page.locator(".org-facts")).to_contain_text("sms:+34600000000")
    written = own(served)
    assert written["verification"] == {
        "child-alert": {"all_of": ["registered"], "any_of": [], "at_least": 1, "authorities": [], "custody_checked": True},
        "endangered": {
            "all_of": ["minor"], "any_of": ["high-risk", "abduction"], "at_least": 2,
            "authorities": ["Policía Nacional", "Mossos d’Esquadra"], "custody_checked": False,
        },
    }  # fmt: skip
    (contact,) = written["contact"]
    assert (contact["text"], contact["role"], contact["countries"]) == ("sms:+34600000000", "deaf", ["ES", "PT"])
    async with desk(plain, served.url, 412) as window:
        page = window.page
        await come(window, ana)
        await window.press("Change")
        await page.locator("[data-rule=endangered]").get_by_label("Abducted").select_option("Not required")
        theirs = {
            **written,
            "verification": {**written["verification"], "appeal": {"all_of": ["consent"]}},
            "contact": [],
        }
        assert served.call("PUT", "/v1/organisations/default", theirs)[0] == 200
        await window.press("Save")
        await expect(page.locator(".conflict .taken")).to_contain_text("Appeal")
        await window.check_readable()
        await window.press("Combine and review")
        await window.press("Save")
        await expect(page.locator("[data-level=appeal]")).to_be_visible()
    met = own(served)
    assert met["verification"]["endangered"]["any_of"] == ["high-risk"]
    assert met["verification"]["endangered"]["at_least"] == 1
    assert (set(met["verification"]), met["contact"]) == ({"child-alert", "endangered", "appeal"}, [])


async def _register(window: Desk, radio: Radio) -> str:
    page = window.page
    await window.press("Add a distributor")
    await window.fill("Name of the distributor", "Radio Sevilla")
    await expect(page.get_by_role("button", name="Register it")).to_be_disabled()
    await window.fill("URL that alerts are posted to", radio.local.url)
    await window.fill("Authorization header", "Bearer of-radio")
    await page.get_by_label("Exercise").check()
    await fits(window)
    await window.press("Register it")
    await page.locator(".secret").wait_for()
    await fits(window)
    secret = await page.locator(".secret").inner_text()
    await window.press("I have noted it")
    await expect(page.locator(".secret")).to_have_count(0)
    return secret


def _distributor(served: Served) -> Any:
    (one,) = served.call("GET", "/v1/distributors")[1]["distributors"]
    return one


async def test_a_distributor_is_registered_tried_changed_and_removed(
    served: Served, plain: Browser, ana: str, radio: Radio, alert: dict[str, Any]
):
    """Its secret is told once; what it takes, what it has and what it has not confirmed stand on its line, each with a way to the alert; it
    cannot be removed before. What another changed meanwhile is not lost, and its Authorization stays unless it is taken away.
    """
    async with desk(plain, served.url) as window:
        page, line = window.page, window.page.locator(".distribution .line")
        await come(window, ana)
        assert (await _register(window, radio)).startswith("whsec_")
        await expect(line).to_contain_text("No message has been sent to it yet.")
        await page.get_by_role("button", name="Send a test message: Radio Sevilla").click()
        await expect(line.get_by_role("status")).to_contain_text(
            "It accepted the test message (202), but its answer contains no Ack."
        )
        await page.get_by_role("button", name="Change: Radio Sevilla").click()
        await page.get_by_label("Confirms with CAP Acks").uncheck()
        there = _distributor(served)
        body = {**there["distributor"], "name": "Radio Sevilla 1"}
        assert there["authorized"]
        assert served.call("PUT", f"/v1/distributors/{there['id']}", body)[0] == 200
        await window.press("Save")
        await expect(page.locator(".conflict")).to_contain_text("Radio Sevilla 1")
        await window.press("Combine and review")
        await fits(window)
        await window.press("Save")
        await expect(page.get_by_role("button", name="Save")).to_have_count(0)  # the name was there before
        await expect(line).to_contain_text("Radio Sevilla 1")
        changed = _distributor(served)
        assert (changed["authorized"], changed["distributor"]["acknowledges"]) == (True, False)
        assert changed["distributor"]["statuses"] == ["Actual", "Exercise"]
        acking = {**changed["distributor"], "acknowledges": True}
        assert served.call("PUT", f"/v1/distributors/{there['id']}", acking)[0] == 200
        taken = len(radio.got)
        alert_id = served.approved({**alert, "target": {"regions": ["41091"]}})
        served.wait_for(lambda: len(radio.got) > taken)
        await expect(line).to_contain_text("It has 1 active alert.")
        await expect(line).to_contain_text("turn it off")
        await expect(line.get_by_role("button", name="Remove")).to_have_count(0)
        assert served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, ana)[0] == 200
        await expect(line).to_contain_text("It has not confirmed the take-down of 1 alert")
        await fits(window)
        await line.get_by_role("link", name="Alert of").click()
        await window.press("I asked: it is taken down…")
        await window.press("Confirm the take-down")
        await page.get_by_role("link", name="Organisation", exact=True).click()
        await page.get_by_role("button", name="Change: Radio Sevilla 1").click()
        await page.get_by_label("Receives new alerts").uncheck()
        await page.get_by_label("Delete the stored one").check()
        await window.press("Save")
        await expect(line).to_contain_text("Receives no new alerts")
        assert not _distributor(served)["authorized"]
        await page.get_by_role("button", name="Remove…: Radio Sevilla 1").click()
        await window.press("Remove for good")
        await expect(page.get_by_text("No distributor is registered.")).to_be_visible()


async def test_who_registers_a_distributor_shows_again_that_it_is_they(served: Served, plain: Browser, radio: Radio):
    """Somebody who signed in with a passkey is asked for it once more, and the form goes on by itself."""
    rosa = invited(served, "rosa@centre.example", "Rosa Otero", "administrator")
    async with with_authenticator(plain, served, 403) as (window, _device, _key):
        await come_in(window, rosa["url"])
        await window.page.get_by_role("link", name="Organisation", exact=True).click()
        await _filled(window.page, radio)
        await window.press("Register it")
        await window.press("Use my passkey and continue")
        await window.page.locator(".secret").wait_for()


async def _filled(page: Page, radio: Radio) -> None:
    await page.get_by_role("button", name="Add a distributor").click()
    await page.get_by_label("Name of the distributor").fill("Onda")
    await page.get_by_label("URL that alerts are posted to").fill(radio.local.url)


async def test_a_distributor_gets_another_secret(served: Served, plain: Browser, radio: Radio):
    """What becomes of the old one is said before; whoever signed in with a passkey shows it once more; the new secret and the new address are
    told once and are the API's, and then the line stands as before.
    """
    sole = invited(served, "sole@centre.example", "Sole Vega", "administrator")
    order = {"name": "Radio Sol", "url": radio.local.url}
    status, made = served.call("POST", "/v1/distributors", order)
    assert status == 201, made
    async with with_authenticator(plain, served, 403) as (window, _device, _key):
        page, line = window.page, window.page.locator(".distribution .line", has_text="Radio Sol")
        await come_in(window, sole["url"])
        await page.get_by_role("link", name="Organisation", exact=True).click()
        await page.get_by_role("button", name="New secret…: Radio Sol").click()
        await expect(line).to_contain_text("For one more day alertd signs with both secrets")
        await fits(window)
        await window.press("Make a new secret")
        await window.press("Use my passkey and continue")
        secret = await line.locator(".secret").inner_text()
        assert secret.startswith("whsec_")
        assert secret != made["secret"]
        there = served.call("GET", f"/v1/distributors/{made['id']}")[1]
        assert there["receipts"] != made["receipts"]
        await expect(line.locator(".token")).to_contain_text(there["receipts"])
        await fits(window)
        await window.press("I have noted it")
        await expect(page.locator(".secret")).to_have_count(0)
        await expect(page.get_by_role("button", name="New secret…: Radio Sol")).to_be_visible()
    assert served.call("DELETE", f"/v1/distributors/{made['id']}")[0] == 204
