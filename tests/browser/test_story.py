"""The whole story, as it is told by those who cannot do it the usual way: without a mouse, from right to left, over a bad line."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import Desk, desk
from tests.browser.layout import SLOWLY
from tests.browser.wire import wire

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

SEVILLA = "41091"
#: What a case is told with by keyboard, in the order of the fields; None is a box that is ticked.
BY_KEYS = (
    ("Authority that verified it", "Policía Nacional"), ("Its reference", "2026/4711"), ("A minor", None), ("At high risk", None),
    ("There is something people can look for", None),
    ("Custody was checked", None), ("No identity protection", None), ("The risk of publishing was weighed by", "m.ruiz@centre.example"),
    ("In the child’s best interests", "m.ruiz@centre.example"), ("Name to publish", "Lucía P."), ("Age", "7"),
    ("Case number", "SE-2026-301"), ("Number", "116000"), ("Works in", "ES"), ("https://", "https://centre.example/tell"),
)  # fmt: skip


async def enter(window: Desk, url: str, key: str) -> None:
    """Signs in with hands on the keys alone."""
    await window.page.goto(f"{url}/console")
    await window.page.get_by_label("Your API key").wait_for()
    await window.tab_to("Your API key")
    await window.page.keyboard.type(key)
    await window.page.keyboard.press("Enter")
    await window.page.locator(".health").wait_for()


async def go(window: Desk, name: str) -> None:
    await window.tab_to(name)
    await window.page.keyboard.press("Enter")


async def all_told(window: Desk) -> None:
    await expect(window.page.locator("#share")).to_have_text("100 %")
    await expect(window.page.locator(".verdict")).to_contain_text(
        window.say("All messages are sent; {n} are confirmed as delivered.").split("{n}")[0]
    )


async def test_the_whole_story_by_keyboard_alone(served: Served, browser: Browser, plain: Browser, ana: str, bea: str):
    """From the key to the stand-down no mouse is needed, by either person, the area included."""
    async with desk(browser, served.url, 422) as author:  # a preview before there is a page to answer on
        keys = author.page.keyboard
        await enter(author, served.url, ana)
        await go(author, "New alert")
        await author.page.locator(".case-form").wait_for()
        for field, words in BY_KEYS:
            await author.tab_to(field)
            await (keys.press("Space") if words is None else keys.type(words))
        await go(author, "Continue")
        await author.tab_to("Region, city or code")
        await keys.type("Sevilla")
        await author.page.locator(".found:not([aria-busy]) button").first.wait_for()
        await keys.press("Enter")
        await expect(author.page.locator(".found button").first).to_be_focused()
        await keys.press("Enter")
        await expect(author.page.locator(".pieces li")).to_contain_text("Municipality")
        await author.people()
        await go(author, "Continue")
        await go(author, "Submit for approval")
        await author.page.get_by_text("another person must approve it").wait_for()
        alert_id = author.page.url.rpartition("/")[2]
    async with desk(plain, served.url) as approver:
        keys = approver.page.keyboard
        await enter(approver, served.url, bea)
        await go(approver, "Review")
        await approver.page.locator(".button.send").wait_for()
        await go(approver, "Approve and send")
        await all_told(approver)
        await go(approver, "Stand down")
        await approver.page.locator(".order").wait_for()
        await approver.tab_to("Reason (internal)")
        await keys.type("Found, well")
        await keys.press("Enter")
        await expect(approver.page.locator(".alert-head .state")).to_have_text("Stood down")
    assert served.call("GET", f"/v1/alerts/{alert_id}")[1]["state"] == "stood_down"


async def fits(window: Desk) -> None:
    """Nothing reaches out of the window's side, and what can be read can be read by all."""
    wide = await window.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0
    await window.check_readable("rtl")


async def test_the_whole_story_in_arabic(served: Served, browser: Browser, plain: Browser, ana: str, bea: str):
    """On a narrow screen, every word of it Arabic and read from right to left, an alert is told in Arabic, approved, arrives and is
    stood down.
    """
    narrow: dict[str, Any] = {"viewport": {"width": 360, "height": 740}}
    async with desk(browser, served.url, **narrow) as author:
        await author.speak_arabic()
        await author.sign_in(ana)
        await expect(author.page.locator("html")).to_have_attribute("dir", "rtl")
        await expect(author.page.locator(".who > span")).to_have_css(
            "direction", "ltr"
        )  # cut at its end, as it is read
        await author.page.get_by_role("link", name=author.say("New alert")).click()
        await author.fill_case("SE-2026-302")
        arabic_column = author.page.locator(".column", has=author.page.locator("[lang=ar]"))
        await arabic_column.get_by_label(author.say("Place")).fill("محطة سانتا خوستا")
        arabic = author.page.locator(".in-language[lang=ar]")
        await expect(arabic).to_have_attribute("dir", "rtl")
        await expect(arabic.locator(".phone-body")).to_contain_text("محطة سانتا خوستا")
        await fits(author)
        await author.press("Continue")
        await author.page.locator(".map[data-ready=true]").wait_for()
        await author.choose_region("Sevilla", SEVILLA)
        await author.people()
        await fits(author)
        await author.press("Continue")
        await author.press("Submit for approval")
        await author.page.get_by_text(author.say("You wrote this alert. Another person must approve it.")).wait_for()
        await fits(author)
    async with desk(plain, served.url, **narrow, color_scheme="dark") as approver:
        await approver.speak_arabic()
        await approver.sign_in(bea)
        await approver.page.get_by_role("link", name=approver.say("Review")).click()
        await approver.press("Approve and send")
        await all_told(approver)
        await fits(approver)
        await approver.press("Stand down")
        await approver.fill("Reason (internal)", "وُجدت بخير")
        await fits(approver)
        await approver.page.locator(".order").get_by_role("button", name=approver.say("Stand down")).click()
        await expect(approver.page.locator(".alert-head .state")).to_have_text(approver.say("Stood down"))
        await expect(approver.page.locator(".times strong").first).to_have_text(approver.say("Submitted"))
        await fits(approver)


async def test_an_alert_waits_and_goes_on(served: Served, plain: Browser, ana: str, alert: dict[str, Any]):
    """One press holds what is still to be sent, and everybody who looks is told so; another lets it go on to the end."""
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        served.control("push", SLOWLY)
        alert_id = served.approved(alert)
        await window.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        await window.press("Pause")
        await expect(window.page.get_by_text("Paused: alertd sends nothing more of it")).to_be_visible()
        assert served.call("GET", f"/v1/alerts/{alert_id}")[1]["paused"]
        served.control("push", {"rules": []})
        await window.check_readable()
        await expect(window.page.locator("#share")).not_to_have_text("100 %")
        await window.press("Resume")
        await all_told(window)
        await expect(window.page.get_by_text("Paused: alertd sends nothing more of it")).to_have_count(0)


async def test_a_live_stream_that_breaks_is_taken_up_again(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """While the line is cut the screen says that it may be old; when it is there again it goes on by itself to the end."""
    async with wire(served.url) as line, desk(plain, line.url) as window:
        window.expect("net::ERR")
        await window.sign_in(ana)
        served.control("push", SLOWLY)
        alert_id = served.approved(alert)
        await window.page.goto(f"{line.url}/console#/alerts/{alert_id}")
        await window.page.locator(".channel").first.wait_for()
        assert line.cut() > 0
        await expect(window.page.locator(".banner")).to_contain_text("No connection to alertd.")
        served.control("push", {"rules": []})
        served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
        await expect(window.page.locator("#share")).not_to_have_text("100 %")
        line.mend()
        await all_told(window)
        await expect(window.page.locator(".banner")).to_have_count(0)


async def test_a_line_that_goes_dead_is_said_to_be_down(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """Nobody tells a browser that its machine went off the net: where nothing is heard of alertd for long, neither an answer nor that it is
    there, the screen says that it may be old, and goes on when the line is there again.
    """
    async with wire(served.url) as line, desk(plain, line.url) as window:
        await window.page.clock.install()
        await window.sign_in(ana)
        served.control("push", SLOWLY)
        alert_id = served.approved(alert)
        for screen, seconds in (("", 30), (f"#/alerts/{alert_id}", 50)):
            await window.page.goto(f"{line.url}/console{screen}")
            await window.page.locator(".channel, .now .health").first.wait_for()
            line.die()
            await window.page.clock.fast_forward(1000 * seconds)
            await window.page.clock.fast_forward(1000 * seconds)
            await expect(window.page.locator(".banner")).to_contain_text("No connection to alertd.")
            line.mend()
            await window.page.clock.fast_forward(1000 * seconds)
            await expect(window.page.locator(".banner")).to_have_count(0)
        served.control("push", {"rules": []})
        await all_told(window)
