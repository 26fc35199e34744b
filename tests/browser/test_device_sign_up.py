"""The pages on which people sign up their browser, in a real one: the script asks, hands the subscription in, and shows what alertd sends.

No push service of the internet can be asked for a subscription here, so the browser's `PushManager` answers one of the sandbox.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from alertd.common.clock import SystemClock
from alertd.runtime.sample_people import BROWSER, BROWSER_KEYS
from alertd.service.people.sign_up_links import OpenedForm, SignUpLinks
from alertd.store.engine.codec import Codec, Keys
from tests.acceptance.conftest import Served, installed
from tests.browser.desks import WITHOUT_WEBGL, desk, launched

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

SUBSCRIPTION = json.dumps({"endpoint": f"{BROWSER}phone", "keys": BROWSER_KEYS})
ANSWERS = f"""
const subscription = {{ toJSON: () => ({SUBSCRIPTION}), endpoint: ({SUBSCRIPTION}).endpoint }};
PushManager.prototype.subscribe = async (options) => {{ window.options = options; return subscription }};
"""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with installed(0, ALERTD_PUBLIC__SIGN_UP="true") as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def whole() -> AsyncIterator[Browser]:
    """A browser that has notifications, which the shell does not."""
    async with launched(*WITHOUT_WEBGL, is_whole=True) as started:
        yield started


def links_of(served: Served) -> SignUpLinks:
    """Makes the links of this installation."""
    return SignUpLinks(Codec(Keys.load_or_make(served.directory)).derived("sign-up"), SystemClock())


async def fill_in(served: Served, page: Page) -> None:
    """By keyboard alone, as if the person had taken ten seconds."""
    links = links_of(served)
    await page.goto(f"{served.url}/subscribe/device")
    await page.locator("[name=form]").evaluate(
        "(field, value) => { field.value = value }", links.make(OpenedForm(made_s=links.now_s() - 10))
    )
    await page.keyboard.press("Tab")
    await page.keyboard.type("Santiago")
    for _ in range(3):  # language, other warnings, consent
        await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Which place do you mean?")
    await page.locator("[name=region]").first.check()
    await page.get_by_role("button", name="Continue").click()


async def test_a_person_signs_up_a_phone_and_finds_its_settings_again(served: Served, whole: Browser):
    context = await whole.new_context(locale="en-GB")
    await context.grant_permissions(["notifications"], origin=served.url)
    await context.add_init_script(ANSWERS)
    page = await context.new_page()
    await fill_in(served, page)
    allow = page.get_by_role("button", name="Allow alerts")
    await expect(allow).to_be_visible()
    await allow.press("Enter")
    await expect(page.locator("h1")).to_have_text("Your alerts")
    await expect(page.locator("main")).to_contain_text("This device")
    await expect(page.locator("main")).to_contain_text("Santiago")
    assert await page.evaluate("async () => (await navigator.serviceWorker.ready).active.scriptURL") == (
        f"{served.url}/sw.js?lang=en"
    )
    await page.goto(f"{served.url}/subscribe/device/settings")
    await page.get_by_role("button", name="See or change your settings").click()
    await expect(page.locator("h1")).to_have_text("Your alerts")
    await context.close()


async def test_a_browser_that_blocks_alerts_is_told_where_to_allow_them(served: Served, whole: Browser):
    context = await whole.new_context(locale="en-GB")
    await context.add_init_script("Notification.requestPermission = async () => 'denied'")
    page = await context.new_page()
    await fill_in(served, page)
    await page.get_by_role("button", name="Allow alerts").click()
    await expect(page.get_by_role("status").filter(visible=True)).to_contain_text("This browser blocks alerts")
    await expect(page.get_by_role("button", name="Allow alerts")).to_be_enabled()
    await context.close()


async def test_without_javascript_the_page_names_the_way_by_mail(served: Served, plain: Browser):
    context = await plain.new_context(java_script_enabled=False, locale="en-GB")
    page = await context.new_page()
    links = links_of(served)
    await page.goto(f"{served.url}/subscribe/device")
    await page.locator("#place").fill("Santiago")
    await page.locator("[name=consent]").check()
    await page.locator("[name=form]").evaluate(
        "(field, value) => { field.value = value }", links.make(OpenedForm(made_s=links.now_s() - 10))
    )
    await page.get_by_role("button", name="Continue").click()
    await expect(page.locator("h1")).to_have_text("Which place do you mean?")
    await page.locator("[name=region]").first.check()
    await page.get_by_role("button", name="Continue").click()
    await expect(page.locator("main")).to_contain_text("This step needs JavaScript")
    await expect(page.get_by_role("link", name="Get alerts by email")).to_be_visible()
    await context.close()


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("ar", "dark")])
async def test_axe_finds_nothing_and_nothing_is_too_wide(served: Served, plain: Browser, language: str, scheme: str):
    """At 320 px, with and without faults, and of the last step."""
    async with desk(plain, served.url, 422, color_scheme=scheme, viewport={"width": 320, "height": 700}) as window:
        page = window.page
        await page.goto(f"{served.url}/subscribe/device?lang={language}")
        for _ in range(2):
            await window.check_readable("rtl" if language == "ar" else "ltr")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320
            await page.get_by_role("button").click()
            await expect(page.locator(".fault").first).to_be_visible()
        await page.goto(f"{served.url}/subscribe/device/settings?lang={language}")
        await expect(page.get_by_role("button")).to_be_visible()
        await window.check_readable("rtl" if language == "ar" else "ltr")
