"""Several tabs of one browser, which has one session: whose it is, and that it is over, is so in all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import Desk, invited
from tests.browser.sign_in import KEY, come_in, with_authenticator

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]

SEVILLA = "41091"
LUCIA = "Lucía P., 7 years"


@pytest.fixture(scope="module")
def boss(served: Served) -> str:
    """The key of an administrator of another organisation."""
    assert served.call("PUT", "/v1/organisations/police", {"name": "Policía de Sevilla"})[0] < 300
    wanted = {"subject": "boss@police.example", "organisation": "police", "scopes": ["admin"]}
    return str(served.call("POST", "/v1/keys", wanted)[1]["token"])


def waiting(served: Served, alert: dict[str, Any], case: str, by: str, key: str) -> str:
    """An alert that waits for its second person."""
    told = {**alert, "external_id": case, "author": {"subject": by}, "target": {"regions": [SEVILLA]}}
    status, taken = served.call("POST", "/v1/alerts", told, key)
    assert status == 202, taken
    return str(taken["id"])


async def another_tab(window: Desk) -> Page:
    """Beside the first, in the same browser."""
    page = await window.page.context.new_page()
    device = await page.context.new_cdp_session(page)
    await device.send("WebAuthn.enable")
    await device.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    return page


async def left(page: Page) -> None:
    """Nobody's is this tab, and nothing of a child is on its screen."""
    await page.get_by_text("You were signed out.").wait_for()
    await expect(page.get_by_text("Lucía")).to_have_count(0)


@pytest.mark.parametrize("subject", ["dora@police.example", "ana@centre.example"])
async def test_a_tab_does_nothing_in_the_name_of_whoever_came_in_by_another(
    served: Served, plain: Browser, alert: dict[str, Any], boss: str, subject: str
):
    """Of another organisation, under the same name there, too: a screen that says Ana shows none of their alerts, and hands in no draft of
    hers there; to them the draft is not there, and hers it is when she comes back in that tab.
    """
    ana = invited(served, "ana@centre.example", "Ana García", "author", "approver")
    theirs = {"subject": subject, "name": "Dora Gil", "roles": ["author", "approver"]}
    dora = served.call("POST", "/v1/operators", theirs, boss)[1]
    waiting(served, alert, subject, "boss@police.example", boss)
    async with with_authenticator(plain, served, 401, 403, 404) as (window, _device, _key):
        await come_in(window, ana["url"])
        await window.page.goto(f"{window.url}/console#/new")
        await window.fill("Name to publish", "Marta")
        other = await another_tab(window)
        await other.goto(dora["url"])
        await other.get_by_role("button", name="Make my passkey").click()
        await expect(other.locator(".who")).to_contain_text("Dora Gil")
        await expect(other.get_by_text(LUCIA).first).to_be_visible()
        await left(window.page)
        await other.reload()
        await expect(other.locator(".who")).to_contain_text("Dora Gil")
        await other.get_by_role("button", name="Sign out").click()
        await other.get_by_label("Your API key").wait_for()
        await window.press("Use my passkey")
        await expect(window.page.get_by_label("Name to publish")).to_have_value("Marta")
    assert served.call("DELETE", f"/v1/operators/{ana['id']}")[0] < 300


async def test_a_session_that_is_over_is_over_in_each_tab(served: Served, plain: Browser, alert: dict[str, Any]):
    """Signed out in one, or disabled: none goes on showing a case to whoever comes by."""
    eva = invited(served, "eva@centre.example", "Eva Ruiz", "approver")
    alert_id = waiting(served, alert, "over-1", "ana@centre.example", served.person("ana@centre.example"))
    async with with_authenticator(plain, served, 401) as (window, _device, _key):
        await come_in(window, eva["url"])
        page, other = window.page, await another_tab(window)
        for end in ("sign out", "disable"):
            for one in (page, other):
                await one.goto(f"{window.url}/console#/alerts/{alert_id}")
                await one.reload()
                await one.get_by_role("button", name="Approve and send").wait_for()
            if end == "sign out":
                await other.get_by_role("button", name="Sign out").click()
                await other.get_by_label("Your API key").wait_for()
                await left(page)
                await window.press("Use my passkey")
                await expect(page.locator("div.who")).to_contain_text("Eva Ruiz")
            else:
                assert served.call("PATCH", f"/v1/operators/{eva['id']}", {"disabled": True})[0] == 200
                await left(page)
                await left(other)


async def test_a_key_in_a_tab_ends_with_that_tab_alone(served: Served, plain: Browser):
    """Whoever practises with a key beside a session, and signs out of it, or types a wrong one, ends no session."""
    fay = invited(served, "fay@centre.example", "Fay Mora", "author")
    async with with_authenticator(plain, served, 401) as (window, _device, _key):
        await come_in(window, fay["url"])
        other = await another_tab(window)
        await other.goto(f"{window.url}/console")
        await other.evaluate(f"sessionStorage.setItem('alertd.key', {json.dumps(served.key)})")
        await other.reload()
        await other.get_by_role("button", name="Sign out").click()
        await other.get_by_label("Your API key").fill("wrong")
        await other.get_by_role("button", name="Sign in", exact=True).click()
        await other.get_by_text("known").wait_for()
        await window.page.reload()
        await expect(window.page.locator("div.who")).to_contain_text("Fay Mora")


async def test_whoever_signs_out_without_a_line_is_told_that_alertd_does_not_know(served: Served, plain: Browser):
    """The cookie is the browser's until alertd takes it away: nobody leaves a desk in the belief that it was."""
    gil = invited(served, "gil@centre.example", "Gil Soto", "author")
    async with with_authenticator(plain, served) as (window, _device, _key):
        window.expect("ERR_INTERNET_DISCONNECTED")
        await come_in(window, gil["url"])
        await window.page.context.set_offline(True)
        await window.press("Sign out")
        await window.page.get_by_text("alertd could not sign you out").wait_for()
