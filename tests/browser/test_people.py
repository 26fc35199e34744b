"""People sign in with passkeys: Chromium with an authenticator in it, from the one-time way in to an approval."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import PATIENCE_MS, desk, invited
from tests.browser.sign_in import KEY, come_in, with_authenticator

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]


async def test_somebody_is_let_in_by_a_link_and_approves_with_a_passkey(
    served: Served, plain: Browser, alert: dict[str, Any]
):
    """The link makes a passkey and is then used up; what decides asks for the passkey once more and goes on by itself; signed out,
    the passkey alone lets them in; disabled, it does not, and the screen that was open is left.
    """
    bea = invited(served, "bea@centre.example", "Bea Ruiz", "approver")
    status, taken = served.call(
        "POST", "/v1/alerts", {**alert, "target": {"regions": ["41091"]}}, served.person("ana@centre.example")
    )
    assert status == 202, taken
    async with with_authenticator(plain, served, 401, 403) as (window, _device, _key):
        page = window.page
        await come_in(window, bea["url"])
        await expect(page.locator(".who")).to_contain_text("Bea Ruiz")
        await expect(page.get_by_role("link", name="People", exact=True)).to_have_count(0)
        await page.get_by_role("link", name="Review").click()
        await window.press("Approve and send")
        await page.get_by_role("heading", name="Confirm that it is you").wait_for()
        await window.check_readable()
        await page.locator("dialog").get_by_role("button", name="Back").click()
        await expect(page.locator(".refused")).to_contain_text("You did not confirm that it is you")
        await window.press("Approve and send")
        await window.press("Use my passkey and send")
        await expect(page.locator("#share")).to_have_text("100 %", timeout=PATIENCE_MS)
        await window.press("Sign out")
        await page.get_by_label("Your API key").wait_for()
        assert await page.context.cookies() == []
        await page.goto(f"{window.url}/console")
        await window.press("Use my passkey")
        await expect(page.locator(".who")).to_contain_text("Bea Ruiz")
        await page.reload()
        await expect(page.locator(".who")).to_contain_text("Bea Ruiz")
        [cookie] = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert served.call("PATCH", f"/v1/operators/{bea['id']}", {"disabled": True})[0] == 200
        await page.get_by_text("You were signed out.").wait_for()
        await window.press("Use my passkey")
        await expect(page.locator(".refused")).to_contain_text("disabled")
        await window.check_readable("rtl")
        await page.goto("about:blank")
        await page.goto(bea["url"])
        await expect(page.locator(".refused")).to_contain_text("This code is unknown")
    approver = served.call("GET", f"/v1/alerts/{taken['id']}")[1]["approver"]
    assert approver == "bea@centre.example"


async def test_an_alert_is_approved_alone_and_reviewed_by_another(
    served: Served, plain: Browser, alert: dict[str, Any]
):
    """Whoever wrote it sees that they may, says why and shows their passkey; it is told to be so at the alert and on the first screen, until
    another person has said what they think of it.
    """
    default, carl = "/v1/organisations/default", served.person("carl@centre.example")
    whole = served.call("GET", default)[1]["organisation"]
    rule = {"break_glass": {"levels": [alert["level"]], "after_min": 0}}
    assert served.call("PUT", default, whole | rule, carl)[0] < 300
    dora, fay = (
        invited(served, f"{name}@centre.example", name.title(), "author", "approver") for name in ("dora", "fay")
    )
    by_dora = {**alert, "external_id": "alone-1", "author": {"subject": "dora@centre.example"}}
    status, taken = served.call(
        "POST", "/v1/alerts", {**by_dora, "target": {"regions": ["41091"]}}, served.person("dora@centre.example")
    )
    assert status == 202, taken
    async with with_authenticator(plain, served, 403) as (window, _device, _key):
        await come_in(window, dora["url"])
        await window.page.goto(f"{window.url}/console#/alerts/{taken['id']}")
        await window.press("Approve alone (emergency)")
        await window.fill("Reason", "Nobody on call answers")
        await window.check_readable()
        await window.press("Approve alone (emergency)")
        await window.press("Use my passkey and send")
        glass = window.page.get_by_role("region", name="Approved alone")
        await expect(glass).to_contain_text("Nobody on call answers")
        await expect(glass.get_by_role("button")).to_have_count(0)
    async with with_authenticator(plain, served, 403) as (window, _device, _key):
        page = window.page
        await come_in(window, fay["url"])
        owed = page.locator(".part", has_text="Approved alone: review needed")
        await owed.get_by_role("link").first.click()
        await page.get_by_label("Not justified").check()
        await window.fill("What you found (internal)", "Two could be reached")
        await window.check_readable("rtl")
        await window.press("Save the review")
        await window.press("Use my passkey and continue")
        await expect(page.get_by_role("region", name="Approved alone")).to_contain_text(
            "Not justified · by fay@centre.example"
        )
        await page.get_by_role("link", name="Now", exact=True).click()
        await expect(owed).to_have_count(0)
    assert served.call("PUT", default, whole, carl)[0] == 200


async def test_an_administrator_keeps_the_people(served: Served, plain: Browser):
    """They add somebody and are shown the way in once; change their roles, disable and remove them; each decision asks for the
    passkey once in five minutes. A passkey that is lost is replaced.
    """
    root = invited(served, "root@centre.example", "Rosa Otero", "administrator")
    async with with_authenticator(plain, served, 403, 401) as (window, device, key):
        page = window.page
        await come_in(window, root["url"])
        await page.get_by_role("link", name="People", exact=True).click()
        await window.press("Add a person")
        await window.fill("Name", "Carla Díaz")
        await window.fill("Account name", "carla@centre.example")
        await page.get_by_label("Approver", exact=True).check()
        await window.check_readable()
        await window.press("Add this person")
        await window.press("Use my passkey and continue")
        way = await page.locator(".secret").inner_text()
        assert re.fullmatch(rf"{re.escape(window.url)}/console#/enrol/([0-9A-Z]{{4}}-){{3}}[0-9A-Z]{{4}}", way)
        await window.check_readable("rtl")
        await window.press("I have handed it over")
        await expect(page.locator(".secret")).to_have_count(0)
        line = page.locator(".person-line", has_text="carla@centre.example")
        await expect(line).to_contain_text("Author and Approver")
        await expect(line).to_contain_text("invited until")
        await page.get_by_role("button", name="Change: Carla Díaz").click()
        await line.get_by_label("Author", exact=True).uncheck()
        await window.check_readable()
        await window.press("Save")
        await expect(line).not_to_contain_text("Author")
        async with desk(plain, window.url, 401) as other:
            another = await other.page.context.new_cdp_session(other.page)
            await another.send("WebAuthn.enable")
            await another.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
            await come_in(other, way)
            await page.get_by_role("button", name="Change: Carla Díaz").click()
            await window.press("Lost passkey…")
            await window.press("Replace their passkeys")
            await other.page.get_by_text("You were signed out.").wait_for()
            code = (await page.locator(".token .muted code").inner_text()).lower()
            await other.page.get_by_role("link", name="I have a one-time code").click()
            await other.fill("One-time code", code)
            await other.press("Continue")
            await other.page.get_by_text("Welcome, Carla Díaz").wait_for()
            await other.check_readable("rtl")
            await page.get_by_role("button", name="Change: Carla Díaz").click()
            await window.press("Disable")
            await expect(line).to_contain_text("disabled")
            served.person("carla@centre.example")
            await expect(line).to_contain_text("holds one API key")
            await window.check_readable()
        await page.get_by_role("button", name="Change: Carla Díaz").click()
        await window.press("Remove…")
        await expect(line).to_contain_text("API keys stay valid until you revoke them")
        await window.press("Remove for good")
        await expect(line).to_have_count(0)
        await device.send("WebAuthn.setUserVerified", {"authenticatorId": key, "isUserVerified": False})
        await window.press("Sign out")
        await window.press("Use my passkey")
        await expect(page.locator(".fault")).to_contain_text("Sign-in failed")
    audit = served.call("GET", "/v1/audit?limit=200")[1]["entries"]
    acts = {one["act"] for one in audit if one["by"] == "root@centre.example" and one["outcome"] == "done"}
    assert acts >= {
        "passkey.register",
        "session.prove",
        "session.end",
        "operator.add",
        "operator.change",
        "operator.remove",
    }


async def test_a_role_that_was_taken_meanwhile_is_not_given_back(served: Served, plain: Browser):
    """Whoever mends a name, or ticks another role, sends nothing of what a second administrator changed while the form was open."""
    emil = invited(served, "emil@centre.example", "Emil", "author", "approver")
    async with desk(plain, served.url) as window:
        page, path = window.page, f"/v1/operators/{emil['id']}"
        await window.sign_in(served.key)
        await page.goto(f"{served.url}/console#/people")
        await page.get_by_role("button", name="Change: Emil").click()
        assert served.call("PATCH", path, {"roles": ["author"]})[0] == 200
        await expect(page.get_by_label("Approver", exact=True)).not_to_be_checked()
        await window.fill("Name", "Emil Sanz")
        await window.press("Save")
        await page.get_by_role("button", name="Change: Emil Sanz").click()
        await page.get_by_label("Protection officer", exact=True).check()
        assert served.call("PATCH", path, {"name": "Emil Sanz Ruiz"})[0] == 200
        await window.press("Save")
        await page.get_by_role("button", name="Change: Emil Sanz Ruiz").wait_for()
    [now] = [one for one in served.call("GET", "/v1/operators")[1]["operators"] if one["id"] == emil["id"]]
    assert (now["name"], now["roles"]) == ("Emil Sanz Ruiz", ["author", "protection-officer"])


async def test_a_bare_address_says_where_passkeys_are(served: Served, plain: Browser):
    """There are none for numbers, so the console names the page where there are; a key signs in all the same."""
    async with desk(plain, served.url) as window:
        await window.page.goto(f"{window.url}/console")
        link = window.page.locator(".note a")
        await expect(link).to_have_attribute("href", re.compile(r"http://localhost:\d+/console"))
        await window.sign_in(served.key)
