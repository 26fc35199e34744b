"""People sign in by an OpenID provider that nobody here wrote: Chromium on its pages and on the console's, from the one-time way in to an approval."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import PATIENCE_MS, Desk, desk, invited
from tests.browser.sign_in import KEY, with_authenticator
from tests.oidc_provider import providing
from tests.ports import free_port

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

CLIENT, SECRET = "alertd", "of a test"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One installation for the whole file, whose people may sign in by a provider."""
    with with_provider(tmp_path_factory.mktemp("data")) as running:
        yield running


@contextmanager
def with_provider(directory: Path, age_s: int = 0) -> Iterator[Served]:
    """An installation and its provider, at which a sign-in is `age_s` old once it is made."""
    port = free_port()
    told = {
        "ISSUER": f"http://127.0.0.1:{port}",
        "NAME": "the Centre",
        "CLIENT_ID": CLIENT,
        "CLIENT_SECRET": SECRET,
    }
    environment = {f"ALERTD_OIDC__{name}": value for name, value in told.items()}
    running = Served(directory, 2000, environment)
    running.start()
    with providing(CLIENT, SECRET, f"{at_home(running)}/console", port=port, age_s=age_s):
        yield running
    assert running.stop() == 0


def at_home(served: Served) -> str:
    """Under its name, as passkeys need it, too."""
    return served.url.replace("127.0.0.1", "localhost")


def goes_elsewhere(window: Desk) -> None:
    """On purpose; and the provider's own pages ask for a font of the outside."""
    window.url = ""
    window.expect("fonts.googleapis.com")


def recovered_key(served: Served) -> Any:
    """A key that was made on the server itself, for eve."""
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(served.directory)}
    command = [sys.executable, "-m", "alertd", "keys", "recover", "--subject", "eve@centre.example", "--json"]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True).stdout)


async def identify(page: Page, name: str, *, consent: bool = True) -> None:
    """On the provider's pages."""
    await page.get_by_placeholder("Enter any login").fill(name)
    await page.get_by_placeholder("and password").fill("x")
    await page.get_by_role("button", name="Sign-in").click()
    if consent:
        await page.get_by_role("button", name="Continue").click()


async def test_somebody_is_let_in_by_a_link_and_approves_by_the_provider(
    served: Served, plain: Browser, alert: dict[str, Any]
):
    """The link lets them choose the provider; what decides opens a window in which it asks anew, and goes on by itself; signed out, the
    button lets them in, to the alert whose link they followed; whoever else the provider knows is told in words that they are nobody here.
    """
    bea = invited(served, "bea@centre.example", "Bea Ruiz", "approver")
    ana = served.person("ana@centre.example")
    status, taken = served.call("POST", "/v1/alerts", {**alert, "target": {"regions": ["41091"]}}, ana)
    assert status == 202, taken
    async with desk(plain, at_home(served), 401, 403, 404) as window:
        goes_elsewhere(window)
        page = window.page
        await page.goto(bea["url"])
        await page.get_by_text("Welcome, Bea Ruiz").wait_for()
        await window.check_readable()
        await window.press("Sign in with the Centre")
        await identify(page, "bea")
        await expect(page.locator("div.who")).to_contain_text("Bea Ruiz")
        assert page.url == f"{at_home(served)}/console#/"
        await page.get_by_role("link", name="Review").click()
        await window.press("Approve and send")
        await page.get_by_role("heading", name="Confirm that it is you").wait_for()
        await window.check_readable("rtl")
        async with page.expect_popup() as opening:
            await window.press("Sign in with the Centre and send")
        other = await opening.value
        await identify(other, "bea", consent=False)
        await expect(page.locator("#share")).to_have_text("100 %", timeout=PATIENCE_MS)
        assert other.is_closed() or await other.get_by_text("You can close this window").is_visible()
        await window.press("Sign out")
        await page.get_by_label("Your API key").wait_for()
        await page.goto(f"{at_home(served)}/console#/alerts/{taken['id']}")
        await window.press("Sign in with the Centre")
        await expect(page.locator("div.who")).to_contain_text("Bea Ruiz")
        await expect(page.get_by_role("heading", name="Lucía P., 7 years")).to_be_visible()
        await page.reload()
        await expect(page.locator("div.who")).to_contain_text("Bea Ruiz")
        session = next(one for one in await page.context.cookies() if one["name"] == "alertd_session")
        assert (session["httpOnly"], session["sameSite"]) == (True, "Strict")
    approver = served.call("GET", f"/v1/alerts/{taken['id']}")[1]["approver"]
    assert approver == "bea@centre.example"


async def test_a_provider_that_does_not_ask_again_leads_to_the_passkey(
    tmp_path: Path, plain: Browser, alert: dict[str, Any]
):
    """After one round: who has a passkey is offered it there, and the decision goes on; who has none is told how to get one. Nobody is sent
    to the provider again.
    """
    with with_provider(tmp_path / "data", age_s=200) as served:
        bea = invited(served, "bea@centre.example", "Bea Ruiz", "approver")
        ana = served.person("ana@centre.example")
        status, taken = served.call("POST", "/v1/alerts", {**alert, "target": {"regions": ["41091"]}}, ana)
        assert status == 202, taken
        async with with_authenticator(plain, served, 401, 403, 404) as (window, device, key):
            goes_elsewhere(window)
            page = window.page
            await page.goto(bea["url"])
            await window.press("Sign in with the Centre")
            await identify(page, "bea")
            await expect(page.locator("div.who")).to_contain_text("Bea Ruiz")
            async with page.expect_popup() as opening:
                await page.evaluate("() => { window.open('/console#/prove', '_blank', 'popup') }")
            other = await opening.value
            await identify(other, "bea", consent=False)
            await expect(other.get_by_role("alert")).to_contain_text("You have no passkey here yet")
            await expect(other.get_by_role("button")).to_have_count(0)
            await other.close()
            code = served.call("POST", f"/v1/operators/{bea['id']}/code", {})[1]
            await page.goto("about:blank")  # so that the page of the code loads anew
            await page.goto(code["url"])
            await window.press("Make my passkey")
            await page.get_by_role("link", name="Now", exact=True).wait_for()
            await window.press("Sign out")
            await page.get_by_label("Your API key").wait_for()
            await page.goto(f"{at_home(served)}/console#/alerts/{taken['id']}")
            await window.press("Sign in with the Centre")
            await window.press("Approve and send")
            async with page.expect_popup() as opening:
                await window.press("Sign in with the Centre and send")
            other = await opening.value
            await identify(other, "bea", consent=False)
            await expect(other.get_by_role("alert")).to_contain_text("Use your passkey instead")
            [credential] = (await device.send("WebAuthn.getCredentials", {"authenticatorId": key}))["credentials"]
            beside = await other.context.new_cdp_session(other)
            await beside.send("WebAuthn.enable")
            made = await beside.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
            given = {"authenticatorId": made["authenticatorId"], "credential": credential}
            await beside.send("WebAuthn.addCredential", given)
            await other.get_by_role("button", name="Use my passkey").click()
            await expect(page.locator("#share")).to_have_text("100 %", timeout=PATIENCE_MS)


async def test_an_administrator_sees_a_recovered_key_on_every_screen(served: Served, plain: Browser):
    """Until it is revoked."""
    made = recovered_key(served)
    async with desk(plain, served.url) as window:
        await window.sign_in(served.key)
        notice = window.page.get_by_role("alert").filter(has_text="on the server itself")
        await expect(notice).to_contain_text("eve@centre.example")
        await expect(notice).to_contain_text(made["key"])
        await window.check_readable()
        assert served.call("DELETE", f"/v1/keys/{made['key']}")[0] == 204
        await window.page.reload()
        await window.page.get_by_role("button", name="Sign out").wait_for()
        await expect(notice).to_have_count(0)


async def test_whoever_only_the_provider_knows_is_told_so(served: Served, plain: Browser):
    """In words, on a page that leads back; a page that is opened with a state of nobody's says so, too."""
    async with desk(plain, at_home(served), 403, 404) as window:
        goes_elsewhere(window)
        page = window.page
        await page.goto(f"{at_home(served)}/console")
        await window.press("Sign in with the Centre")
        await identify(page, "eva")
        await expect(page.locator(".refused")).to_contain_text("No operator here has this account")
        await window.check_readable()
        await window.press("Try again")
        await page.get_by_label("Your API key").wait_for()
        await page.goto(f"{at_home(served)}/console?state={'x' * 43}&code=stolen")
        await expect(page.locator(".refused")).to_contain_text("Begin again")
        assert "stolen" not in page.url


async def test_a_proof_window_that_comes_back_late_is_told_so(served: Served, plain: Browser):
    """Who signed out meanwhile stays signed out; the window says why, and does not say that it is shown."""
    mia = invited(served, "mia@centre.example", "Mia Soler", "approver")
    async with desk(plain, at_home(served), 401, 403, 404) as window:
        goes_elsewhere(window)
        page = window.page
        await page.goto(mia["url"])
        await window.press("Sign in with the Centre")
        await identify(page, "mia")
        await expect(page.locator("div.who")).to_contain_text("Mia Soler")
        async with page.expect_popup() as opening:
            await page.evaluate("() => { window.open('/console#/prove', '_blank', 'popup') }")
        other = await opening.value
        await other.get_by_placeholder("Enter any login").wait_for()
        await window.press("Sign out")
        await page.get_by_label("Your API key").wait_for()
        await identify(other, "mia", consent=False)
        await expect(other.locator(".refused")).to_contain_text("has ended")
        await expect(other.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
        await other.get_by_role("button", name="Try again").click()
        await expect(other.locator(".refused")).to_contain_text("Sign in first")
        await page.reload()
        await expect(page.get_by_label("Your API key")).to_be_visible()
