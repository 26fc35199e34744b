"""An operator knows before the press what a decision does: who is notified, what the public sees, and what cannot be undone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.alert_pages import opened, submitted
from tests.browser.desks import ARABIC, Desk, desk
from tests.browser.layout import SLOWLY, TOO_WIDE, check_in_both_lights

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

CHANNELS = ["push", "webpush", "sms", "mail"]
WITH_PAGE = {"channels": CHANNELS, "publish": {"page": True, "feed": False, "area": "regions"}}
ON_THE_PAGE = {
    "Stand down": "Within seconds it says that the alert is no longer active",
    "Remove identity and photos": "Within seconds, and for good, it shows no name, no photo and no description.",
    "Extend": "It shows the alert until the new end",
    "Close": "Within seconds it says that the alert has ended",
    "Cancel the alert": "with the reason that you choose",
}


def going(served: Served, alert: dict[str, Any], key: str, name: str, **more: Any) -> str:
    """An alert that was sent to everyone."""
    alert_id = submitted(served, alert, key, external_id=name, **more)
    assert not served.progress(alert_id)["planned"]
    other = served.person("bea@centre.example")
    assert served.call("POST", f"/v1/alerts/{alert_id}/approve", {}, other)[0] == 200
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    assert served.progress(alert_id)["planned"]
    return alert_id


@asynccontextmanager
async def at(plain: Browser, served: Served, key: str, alert_id: str, **context: Any) -> AsyncIterator[Desk]:
    async with desk(plain, served.url, **context) as window:
        await window.sign_in(key)
        await opened(window, alert_id)
        yield window


async def test_each_decision_says_what_the_public_page_shows_after_it(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """The link is that of the API, and what is said of an approval and of a stand-down comes true."""
    alert_id = submitted(served, alert, ana, external_id="page", **WITH_PAGE)
    url = served.call("GET", f"/v1/alerts/{alert_id}")[1]["page"]
    async with at(plain, served, bea, alert_id) as window:
        page = window.page
        shown = page.locator(".public-page")
        await expect(shown.get_by_role("link")).to_have_attribute("href", url)
        await expect(shown).to_contain_text("It shows nothing before the sending starts.")
        assert (await page.request.get(url)).status == 404
        await check_in_both_lights(window)
        await window.press("Approve and send")
        for act, words in ON_THE_PAGE.items():
            await window.press(act)
            await expect(page.locator(".order .public-page a")).to_have_attribute("href", url)
            await expect(page.locator(".order .public-page")).to_contain_text(words)
            if act != "Cancel the alert":
                await window.press("Back")
        assert "Lucía" in await (await page.request.get(url)).text()
        await window.press("Back")
        await window.press("Stand down")
        await window.fill("Reason (internal)", "Found, well")
        await page.locator(".order").get_by_role("button", name="Stand down").click()
        await expect(page.locator(".alert-head .state")).to_have_text("Stood down")
        served.wait_for(lambda: served.call("GET", f"/v1/alerts/{alert_id}")[1]["state"] == "stood_down")
        await expect(page.get_by_role("button", name="Reopen")).to_have_accessible_description(
            "Shows the alert again and continues sending. Phones and browsers that show “no longer active” get it again."
            " The public sees it again."
        )


async def test_an_alert_without_a_page_says_so(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    alert_id = submitted(served, alert, ana, external_id="no-page")
    async with at(plain, served, bea, alert_id) as window:
        await expect(window.page.locator(".public-page")).to_have_text("This alert has no public page.")
    assert served.call("POST", f"/v1/alerts/{alert_id}/reject", {"reason": "It was a test"}, bea)[0] == 200


async def test_each_button_has_its_effect_beside_it(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Stand down and Close look alike: who is notified and what the public sees is beside each, on a phone, too, and in Arabic."""
    alert_id = going(served, alert, ana, "hints")
    async with at(plain, served, bea, alert_id, viewport={"width": 360, "height": 740}) as window:
        offers = window.page.locator(".offer")
        await expect(offers).to_have_count(6)
        for name, words in (
            ("Stand down", "People who got only a text message or an e-mail get nothing yet."),
            ("Close", "Cannot be undone. Notifies everyone who may have received the alert, on every channel"),
            ("Remove identity and photos", "Cannot be undone. Does not end the alert"),
        ):
            offer = offers.filter(has=window.page.get_by_role("button", name=name, exact=True))
            await expect(offer).to_contain_text(words)
        assert await window.page.evaluate(TOO_WIDE) == 0
        await check_in_both_lights(window)
    async with desk(plain, served.url, viewport={"width": 360, "height": 740}) as window:
        await window.speak_arabic()
        await window.sign_in(bea)
        await opened(window, alert_id)
        await expect(window.page.locator(".offer").first).to_contain_text(ARABIC["Stand down"])
        assert await window.page.evaluate(TOO_WIDE) == 0


async def test_a_stand_down_shows_only_what_it_sends(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Phones get its text; the texts of SMS and mail are those of the close, and none of them goes out before it. Each is shown in the
    alert's first language and in the operator's. Before the press it says how phones ring.
    """
    alert_id = going(served, alert, ana, "texts", channels=CHANNELS)
    sent = {channel: served.total(channel) for channel in CHANNELS}
    async with at(plain, served, bea, alert_id) as window:
        page = window.page
        await window.press("Stand down")
        await expect(page.locator(".order-texts h3").filter(has_text=":")).to_have_text([
            "Now: Phones (app push) and Browsers (web push)",
            "Only when you close the alert: Text messages (SMS) and E-mail",
        ])  # fmt: skip
        await expect(page.locator(".order-words")).to_contain_text("Phones ring as for any message")
        for language in ("es", "en"):
            shown = page.locator(f".order-texts [lang={language}]")
            await expect(shown.locator(".phone-title")).to_have_count(1)
            await expect(shown.locator(".bubble")).to_have_count(1)
            await expect(shown.locator(".letter")).to_have_count(1)
        bubble = (await page.locator(".order-texts [lang=es] .bubble").inner_text()).splitlines()[0]
        await window.press("Back")
        await window.press("Close")
        await expect(page.locator(".order-texts [lang=es] .bubble")).to_contain_text(bubble)
        await check_in_both_lights(window)
        await window.press("Back")
        await window.press("Stand down")
        await window.fill("Reason (internal)", "Found, well")
        await page.locator(".order").get_by_role("button", name="Stand down").click()
        await expect(page.locator(".verdict")).to_have_text("All had been sent before the stand-down.")
    shown = served.call("GET", f"/v1/alerts/{alert_id}")[1]
    served.wait_for(lambda: served.progress(shown["told_by"])["state"] == "sent")
    for channel, is_more in (("push", True), ("webpush", True), ("sms", False), ("mail", False)):
        assert (served.total(channel) > sent[channel]) == is_more, channel
    status, closed = served.call("POST", f"/v1/alerts/{alert_id}/close", {"outcome": "Found, well"}, bea)
    assert status == 200, closed
    served.wait_for(lambda: served.progress(closed["told_by"])["state"] == "sent")
    assert all(served.total(channel) > sent[channel] for channel in ("sms", "mail"))


async def test_identity_is_removed_only_by_typing_the_word(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """What cannot be taken back is said; a reason alone is not enough, and neither is another word. While it is stood down, no one is
    notified, and that is said, too.
    """
    alert_id = going(served, alert, ana, "remove")
    async with at(plain, served, bea, alert_id) as window:
        order = window.page.locator(".order")
        await window.press("Remove identity and photos")
        await expect(order).to_contain_text("Cannot be taken back: what people have already seen on a lock screen")
        await expect(order).to_contain_text("text messages (SMS) and e-mails that were sent")
        await expect(order).to_contain_text("Phones and browsers that have the alert get the reduced text")
        remove = order.get_by_role("button", name="Remove identity and photos")
        await window.fill("Reason (internal)", "Found, well")
        await expect(remove).to_be_disabled()
        await window.fill("Type “REMOVE” to confirm", "yes")
        await expect(remove).to_be_disabled()
        await window.press("Back")
        status, down = served.call("POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "Found, well"}, ana)
        assert status == 200, down
        await expect(window.page.locator(".alert-head .state")).to_have_text("Stood down")
        await window.press("Remove identity and photos")
        await expect(order).to_contain_text("No one is notified: if you reopen the alert")
        await window.fill("Type “REMOVE” to confirm", "remove ")
        await remove.click()
        await expect(window.page.locator(".times")).to_contain_text("Identity and photos removed")
    after = served.call("GET", f"/v1/alerts/{alert_id}")[1]
    assert (after["restricted"], after["told_by"]) == (True, down["told_by"])


async def test_an_extension_shows_both_ends_with_their_zone(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    alert_id = going(served, alert, ana, "extend")
    ends = datetime.fromisoformat(served.call("GET", f"/v1/alerts/{alert_id}")[1]["expires"]) + timedelta(hours=1)
    later = {"expires": ends.isoformat(), "reason": "Still missing"}
    assert served.call("POST", f"/v1/alerts/{alert_id}/extend", later, bea)[0] == 200
    async with at(plain, served, bea, alert_id) as window:
        await expect(window.page.get_by_text("Reason of the last decision: Still missing")).to_be_visible()
        await window.press("Extend")
        old, new = await window.page.locator(".ends dd").all_inner_texts()
        assert re.search(r"\bGMT\+[12]$", old)
        assert new != old
        await window.fill("New end", "2031-01-02T03:04")
        await expect(window.page.locator(".ends dd").last).to_have_text("Thu, Jan 2, 2031, 03:04 GMT+1")
        await check_in_both_lights(window)


async def test_a_stop_shows_at_each_alert_and_says_how_to_start_again(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """A pill on the alert, on the first screen and in the list; the names of the two buttons; and what a stop does to each decision. Who may
    not resume is offered no button.
    """
    served.control("push", SLOWLY)
    alert_id, waiting = (submitted(served, alert, ana, external_id=f"stop-{n}") for n in range(2))
    assert served.call("POST", f"/v1/alerts/{alert_id}/approve", {}, bea)[0] == 200
    viewer = served.call("POST", "/v1/keys", {"subject": "carla@centre.example", "scopes": ["alerts:read"]})[1]
    assert served.call("POST", "/v1/stop", {"reason": "A key is lost"}, ana)[0] == 200
    async with at(plain, served, bea, alert_id) as window:
        page = window.page
        how = "presses “Ask to resume” at the top of the page. A second person then presses “Resume sending”."
        await expect(page.locator(".alert-head .state")).to_have_text("Stopped")
        await expect(page.locator(".told")).to_contain_text(how)
        await expect(page.locator(".stopped")).to_contain_text(how)
        await window.press("Stand down")
        await expect(page.locator(".order .note")).to_contain_text(
            "Until two people resume, alertd notifies no one of this"
        )
        await check_in_both_lights(window)
        await page.goto(f"{served.url}/console#/")
        await expect(page.locator(".live-card .state")).to_have_text("Stopped")
        await page.goto(f"{served.url}/console#/alerts")
        line = page.locator(".line", has=page.locator(f"a[href='#/alerts/{alert_id}']"))
        await expect(line.locator(".state")).to_have_text("Stopped")
        await page.goto(f"{served.url}/console#/alerts/{waiting}")
        await expect(page.locator(".decide .note").first).to_contain_text(
            "alertd refuses this until two people resume."
        )
        await expect(page.get_by_role("button", name="Approve and send")).to_be_disabled()
        await window.press("Ask to resume")
        asked = "bea@centre.example asked to resume. A second person must now press “Resume sending”."
        await expect(page.locator(".decide .note").first).to_contain_text(asked)
    async with at(plain, served, viewer["token"], alert_id) as window:
        await expect(window.page.locator(".stopped")).to_contain_text("All sending is stopped")
        await expect(window.page.locator(".stopped button")).to_have_count(0)
    assert served.call("POST", "/v1/resume", {}, ana)[0] == 200
    served.control("push", {"rules": []})
    assert served.call("POST", f"/v1/alerts/{waiting}/reject", {"reason": "It was a test"}, bea)[0] == 200


async def test_a_stop_of_the_service_is_lifted_by_those_who_run_it(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """An approver reads who resumes, and is offered no button; an administrator is."""
    approver = served.call(
        "POST", "/v1/keys", {"subject": "fay@centre.example", "scopes": ["alerts:read", "alerts:approve"]}
    )[1]
    assert served.call("POST", "/v1/stop", {"what": "service", "reason": "A key is lost"}, ana)[0] == 200
    async with desk(plain, served.url) as window:
        await window.sign_in(approver["token"])
        stop = window.page.locator(".stopped")
        await expect(stop).to_contain_text("an administrator of the organisation that runs the service presses")
        await expect(stop.get_by_role("button")).to_have_count(0)
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await window.press("Ask to resume")
        await expect(window.page.locator(".stopped")).to_contain_text("A second person must now press")
    assert served.call("POST", "/v1/resume", {"what": "service"}, served.person("eve@centre.example"))[0] == 200


async def test_a_stop_of_one_key_is_not_called_a_stop_of_everything(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """It names the key, and the button lifts this stop."""
    key = served.call("POST", "/v1/keys", {"subject": "dan@centre.example", "scopes": ["alerts:write"]})[1]
    order = {"what": "key", "key": key["key"], "reason": "It is lost"}
    assert served.call("POST", "/v1/stop", order)[0] == 200
    async with desk(plain, served.url) as window:
        await window.sign_in(ana)
        await expect(window.page.locator(".stopped h2")).to_have_text(
            f"Sending by one key or person is stopped: {key['key']}"
        )
        await expect(window.page.locator(".health")).to_contain_text("Everything works")
        await window.press("Ask to resume")
        await expect(window.page.locator(".stopped")).to_contain_text("ana@centre.example asked to resume.")
    assert (
        served.call("POST", "/v1/resume", {"what": "key", "key": key["key"]}, served.person("eve@centre.example"))[0]
        == 200
    )
    assert served.call("GET", "/v1/stop")[1]["stops"] == []


async def test_an_end_before_everything_was_sent_says_how_much_was_not(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    alert_id = submitted(served, alert, ana, external_id="early", policy={**alert["policy"], "pace_per_min": 1})
    assert served.call("POST", f"/v1/alerts/{alert_id}/approve", {}, bea)[0] == 200
    served.wait_for(lambda: served.progress(alert_id)["planned"])
    assert served.call("POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "Found, well"}, ana)[0] == 200
    async with at(plain, served, bea, alert_id) as window:
        verdict = window.page.locator(".verdict")
        await expect(verdict).to_contain_text("Stood down before everything was sent. Not sent: ")
        assert served.call("POST", f"/v1/alerts/{alert_id}/cancel", {"reason": "It was a test"}, ana)[0] == 200
        await expect(verdict).to_contain_text("Cancelled before everything was sent. Not sent: ")
